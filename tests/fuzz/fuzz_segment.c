// SPDX-License-Identifier: Apache-2.0
/*
 * The decoders of upstream's JSON. The first byte of the input chooses which; the rest is the text. What was
 * accepted and can be published again reads back as the same, from the second round on: in the first, what
 * is no UTF-8 becomes U+FFFD, and json-c 0.16 does the same to U+1D800 to U+1DFFF and their likes above.
 */
#include "base/log.h"
#include "proto/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void quiet(void *arg, enum mc_log_level level, const char *text)
{
}

/* Decodes @text and encodes what was read. */
typedef int round_fn(const char *text, size_t len, struct buf *out);

static int segment(const char *text, size_t len, struct buf *out)
{
	struct segment_desc d, copy;
	int ret = segment_desc_decode(text, len, &d);

	if (ret)
		return ret;
	ret = segment_desc_copy(&d, &copy);
	segment_desc_fini(&d);
	if (ret)
		return ret;
	ret = segment_desc_encode(&copy, out);
	segment_desc_fini(&copy);
	return ret;
}

static int rpc(const char *text, size_t len, struct buf *out)
{
	struct rpc_meta m;
	int ret = rpc_meta_decode(text, len, &m);

	return ret ? ret : rpc_meta_encode(&m, out);
}

static int notify(const char *text, size_t len, struct buf *out)
{
	struct notify_json n;
	int ret = notify_json_decode(text, len, &n);

	if (ret)
		return ret;
	ret = notify_json_encode(&n, out);
	notify_json_fini(&n);
	return ret;
}

static int topology(const char *text, size_t len, struct buf *out)
{
	struct places t;
	int ret = places_parse(text, len, &t);

	if (ret)
		return ret;
	places_print(&t, out);
	places_fini(&t);
	return out->err;
}

static int pairs(const char *text, size_t len, struct buf *out)
{
	struct pairs_json p;
	int ret = pairs_json_decode(text, len, &p);

	if (ret)
		return ret;
	ret = pairs_json_encode(&p, out);
	pairs_json_fini(&p);
	return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static round_fn *const decoders[] = { segment, rpc, notify, topology, pairs };
	struct buf b[3] = { BUF_INIT, BUF_INIT, BUF_INIT };
	round_fn *fn;

	mc_log_set(quiet, NULL, MC_LOG_ERR);
	/* '0' to '4': a corpus of text stays text. */
	if (!len || data[0] < '0' || data[0] >= '0' + ARRAY_SIZE(decoders))
		return 0;
	fn = decoders[data[0] - '0'];
	/* The second round may find that U+FFFD made a host name too long. */
	if (!fn((const char *)data + 1, len - 1, &b[0]) &&
	    !fn((const char *)b[0].data, b[0].len, &b[1])) {
		if (fn((const char *)b[1].data, b[1].len, &b[2]) || b[1].len != b[2].len ||
		    memcmp(b[1].data, b[2].data, b[1].len))
			abort();
	}
	for (int i = 0; i < 3; i++)
		buf_fini(&b[i]);
	return 0;
}
