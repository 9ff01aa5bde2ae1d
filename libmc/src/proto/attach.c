// SPDX-License-Identifier: Apache-2.0
/* Client and owner: attach to a pool, get space, commit what was written there, or hand bytes over. */
#include "proto/wire.h"

void msg_attach_encode(const struct msg_attach *m, struct buf *b)
{
	buf_put(b, m->id, 16);
	buf_put(b, m->node, 16);
	buf_put_u8(b, m->write);
}

int msg_attach_decode(const void *data, size_t len, struct scratch *s, struct msg_attach *m)
{
	struct cur c = cur_init(data, len);

	cur_id(&c, m->id);
	cur_id(&c, m->node);
	m->write = cur_bool(&c);
	return cur_done(&c);
}

void msg_attach_reply_encode(const struct msg_attach_reply *m, struct buf *b)
{
	if (m->nr_regions > POOL_REGIONS_MAX) {
		buf_refuse(b);
		return;
	}
	buf_put(b, m->pool_id, 16);
	buf_put_u64(b, m->epoch);
	buf_put_u64(b, m->dir_bytes);
	buf_put_u64(b, m->ring_bytes);
	buf_put_u16(b, m->nr_regions);
	for (unsigned i = 0; i < m->nr_regions; i++)
		buf_put_u64(b, m->region_bytes[i]);
}

int msg_attach_reply_decode(const void *data, size_t len, struct scratch *s,
			    struct msg_attach_reply *m)
{
	struct cur c = cur_init(data, len);

	cur_id(&c, m->pool_id);
	m->epoch = cur_u64(&c);
	m->dir_bytes = cur_u64(&c);
	m->ring_bytes = cur_u64(&c);
	m->nr_regions = cur_u16(&c);
	if (m->nr_regions > POOL_REGIONS_MAX)
		return -EBADMSG;
	for (unsigned i = 0; i < m->nr_regions; i++)
		m->region_bytes[i] = cur_u64(&c);
	return cur_done(&c);
}

void msg_grant_encode(const struct msg_grant *m, struct buf *b)
{
	buf_put_u64(b, m->bytes);
}

int msg_grant_decode(const void *data, size_t len, struct scratch *s, struct msg_grant *m)
{
	struct cur c = cur_init(data, len);

	m->bytes = cur_u64(&c);
	return cur_done(&c);
}

void msg_grant_reply_encode(const struct msg_grant_reply *m, struct buf *b)
{
	buf_put_u64(b, m->gen);
	buf_put_u32(b, m->gen_count);
	grant_runs_put(b, m->nr, m->runs);
}

int msg_grant_reply_decode(const void *data, size_t len, struct scratch *s,
			   struct msg_grant_reply *m)
{
	struct cur c = cur_init(data, len);

	m->gen = cur_u64(&c);
	m->gen_count = cur_u32(&c);
	m->runs = grant_runs_get(&c, s, &m->nr);
	return cur_done(&c);
}

void msg_return_encode(const struct msg_return *m, struct buf *b)
{
	grant_runs_put(b, m->nr, m->runs);
}

int msg_return_decode(const void *data, size_t len, struct scratch *s, struct msg_return *m)
{
	struct cur c = cur_init(data, len);

	m->runs = grant_runs_get(&c, s, &m->nr);
	return cur_done(&c);
}

void msg_commit_encode(const struct msg_commit *m, struct buf *b)
{
	publish_items_put(b, m->nr, m->items);
}

int msg_commit_decode(const void *data, size_t len, struct scratch *s, struct msg_commit *m)
{
	struct cur c = cur_init(data, len);

	m->items = publish_items_get(&c, s, &m->nr);
	return cur_done(&c);
}

void msg_put_encode(const struct msg_put *m, struct buf *b)
{
	buf_put_key(b, &m->key);
	buf_put_u64(b, m->put_id);
	buf_put_u64(b, m->size);
	buf_put_u32(b, m->flags);
	buf_put_u32(b, m->soft_pin_ms);
	buf_put_u32(b, m->group);
	buf_put_u32(b, m->crc);
}

int msg_put_decode(const void *data, size_t len, struct scratch *s, struct msg_put *m)
{
	struct cur c = cur_init(data, len);

	m->key = cur_key(&c);
	m->put_id = cur_u64(&c);
	m->size = cur_u64(&c);
	m->flags = known_flags(&c, cur_u32(&c), OBJ_FLAGS);
	m->soft_pin_ms = cur_u32(&c);
	m->group = cur_u32(&c);
	m->crc = cur_u32(&c);
	return cur_done(&c);
}
