/* SPDX-License-Identifier: Apache-2.0 */
/* Four characters for three bytes. */
#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_put(struct buf *b, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (; len; p += MIN(len, (size_t)3), len -= MIN(len, (size_t)3)) {
		uint32_t v = (uint32_t)p[0] << 16 | (len > 1 ? (uint32_t)p[1] << 8 : 0) |
			     (len > 2 ? p[2] : 0);

		buf_put_u8(b, (uint8_t)alphabet[v >> 18]);
		buf_put_u8(b, (uint8_t)alphabet[v >> 12 & 63]);
		buf_put_u8(b, (uint8_t)(len > 1 ? alphabet[v >> 6 & 63] : '='));
		buf_put_u8(b, (uint8_t)(len > 2 ? alphabet[v & 63] : '='));
	}
}

static int value_of(char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

int base64_get(struct buf *b, const char *text, size_t len)
{
	size_t before = b->len;

	if (len % 4)
		return -EBADMSG;
	for (size_t i = 0; i < len; i += 4) {
		int pad = i + 4 < len || text[i + 3] != '=' ? 0 : text[i + 2] == '=' ? 2 : 1;
		uint32_t v = 0;

		for (int k = 0; k < 4; k++) {
			int six = k >= 4 - pad ? 0 : value_of(text[i + (size_t)k]);

			if (six < 0)
				goto bad;
			v = v << 6 | (uint32_t)six;
		}
		if (pad && v & (pad == 1 ? 0xff : 0xffff))
			goto bad;
		buf_put_u8(b, (uint8_t)(v >> 16));
		if (pad < 2)
			buf_put_u8(b, (uint8_t)(v >> 8));
		if (!pad)
			buf_put_u8(b, (uint8_t)v);
	}
	return b->err;
bad:
	b->len = before;
	return -EBADMSG;
}
