// SPDX-License-Identifier: Apache-2.0
/*
 * Every decoder of binary messages. The first byte of the input chooses which; the rest is the message.
 * What a decoder accepts must encode to the very bytes it came from: there is one encoding of everything.
 */
#include "proto/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

typedef int fuzz_fn(const void *data, size_t len, struct scratch *s, struct buf *b);

#define FUZZ(msg)                                                                             \
	static int fuzz_##msg(const void *data, size_t len, struct scratch *s, struct buf *b) \
	{                                                                                     \
		struct msg m;                                                                 \
		int ret = msg##_decode(data, len, s, &m);                                     \
                                                                                              \
		if (!ret)                                                                     \
			msg##_encode(&m, b);                                                  \
		return ret;                                                                   \
	}

FUZZ(msg_hello)
FUZZ(msg_hello_reply)
FUZZ(msg_pool_join)
FUZZ(msg_pool_join_reply)
FUZZ(msg_pool_stat)
FUZZ(msg_publish)
FUZZ(msg_withdraw)
FUZZ(msg_drop)
FUZZ(msg_drop_match)
FUZZ(msg_dropped)
FUZZ(msg_keys)
FUZZ(msg_located)
FUZZ(msg_existing)
FUZZ(msg_statuses)
FUZZ(msg_published)
FUZZ(msg_match)
FUZZ(msg_count)
FUZZ(msg_list_reply)
FUZZ(msg_pools)
FUZZ(msg_attach)
FUZZ(msg_attach_reply)
FUZZ(msg_grant)
FUZZ(msg_grant_reply)
FUZZ(msg_return)
FUZZ(msg_commit)
FUZZ(msg_put)
FUZZ(msg_data)
FUZZ(msg_clear)
FUZZ(msg_copy)
FUZZ(msg_task_create)
FUZZ(msg_task_id)
FUZZ(msg_task)

/* New ones go to the end: the corpus names them by number. */
static fuzz_fn *const decoders[] = {
	fuzz_msg_hello,	      fuzz_msg_hello_reply, fuzz_msg_pool_join,	   fuzz_msg_pool_join_reply,
	fuzz_msg_pool_stat,   fuzz_msg_publish,	    fuzz_msg_withdraw,	   fuzz_msg_drop,
	fuzz_msg_drop_match,  fuzz_msg_keys,	    fuzz_msg_located,	   fuzz_msg_existing,
	fuzz_msg_statuses,    fuzz_msg_match,	    fuzz_msg_count,	   fuzz_msg_list_reply,
	fuzz_msg_pools,	      fuzz_msg_attach,	    fuzz_msg_attach_reply, fuzz_msg_grant,
	fuzz_msg_grant_reply, fuzz_msg_return,	    fuzz_msg_commit,	   fuzz_msg_put,
	fuzz_msg_data,	      fuzz_msg_clear,	    fuzz_msg_copy,	   fuzz_msg_task_create,
	fuzz_msg_task_id,     fuzz_msg_task,	    fuzz_msg_dropped,	   fuzz_msg_published,
};

static void split(const void *data, size_t len)
{
	struct key full = { data, (uint16_t)MIN(len, (size_t)UINT16_MAX) }, tenant, key;
	uint8_t again[FULL_KEY_MAX];
	char name[TENANT_MAX + 1];
	uint16_t again_len;

	if (key_split(&full, &tenant, &key))
		return;
	memcpy(name, tenant.data, tenant.len);
	name[tenant.len] = 0;
	if (strlen(name) != tenant.len)
		return; /* key_make() takes a C string */
	if (key_make(name, key.data, key.len, again, &again_len) || again_len != full.len ||
	    memcmp(again, full.data, full.len))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct scratch s; /* kept from message to message, as connections do */
	struct buf b = BUF_INIT;
	int ret;

	if (!len)
		return 0;
	if (data[0] == 255)
		split(data + 1, len - 1);
	if (data[0] >= ARRAY_SIZE(decoders))
		return 0;
	ret = decoders[data[0]](data + 1, len - 1, &s, &b);
	if (ret && ret != -EBADMSG)
		abort();
	if (!ret && (b.err || b.len != len - 1 || memcmp(b.data, data + 1, b.len)))
		abort();
	scratch_reset(&s);
	buf_fini(&b);
	return 0;
}
