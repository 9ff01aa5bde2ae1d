/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the handshake channel from a hostile peer. */
#include "base/buf.h"
#include "meta/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct handshake_frame f, again;
	struct buf b = BUF_INIT;
	int ret = handshake_parse(data, len, &f), part;

	must(ret == 0 || ret == -EAGAIN || ret == -EBADMSG);
	/* Of a frame that has come in part nothing is said too early, and nothing else later. */
	part = handshake_parse(data, len / 2, &again);
	must(part == -EAGAIN || part == ret);
	if (!ret) {
		must((const uint8_t *)f.text >= data && f.len <= HANDSHAKE_MAX &&
		     (const uint8_t *)f.text + f.len <= data + len);
		handshake_put(&b, &f);
		must(!b.err && b.len <= len && !memcmp(b.data, data, b.len));
		must(!handshake_parse(b.data, b.len, &again));
		must(again.type == f.type && again.legacy == f.legacy && again.len == f.len);
	}
	buf_fini(&b);
	return 0;
}
