// SPDX-License-Identifier: Apache-2.0
/* The growing half of byte buffers; readers are inline in the header. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#define BUF_FIRST 256

void buf_fini(struct buf *b)
{
	free(b->data);
	*b = BUF_INIT;
}

static int buf_fail(struct buf *b, int err)
{
	if (!b->err)
		b->err = err;
	return b->err;
}

int buf_reserve(struct buf *b, size_t more)
{
	size_t need, cap;
	uint8_t *data;

	if (b->err)
		return b->err;
	if (more <= b->cap - b->len)
		return 0;
	if (check_add(b->len, more, &need))
		return buf_fail(b, -ENOMEM);
	/* Doubling; a request beyond that gets what it asked for. */
	if (check_mul(b->cap, (size_t)2, &cap) || cap < need)
		cap = need;
	cap = MAX(cap, (size_t)BUF_FIRST);
	data = realloc(b->data, cap);
	if (!data)
		return buf_fail(b, -ENOMEM);
	b->data = data;
	b->cap = cap;
	return 0;
}

void *buf_push(struct buf *b, size_t len)
{
	void *p;

	if (buf_reserve(b, len))
		return NULL;
	p = b->data + b->len;
	b->len += len;
	return p;
}

void buf_put(struct buf *b, const void *data, size_t len)
{
	void *p;

	if (!len)
		return;
	p = buf_push(b, len);
	if (p)
		memcpy(p, data, len);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0) {
		buf_fail(b, -EINVAL);
		return;
	}
	/* vsnprintf() writes a terminator, which is not counted. */
	if (buf_reserve(b, (size_t)len + 1))
		return;
	va_start(ap, fmt);
	vsnprintf((char *)b->data + b->len, (size_t)len + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)len;
}

void buf_put_str(struct buf *b, const void *data, size_t len)
{
	if (len > UINT16_MAX) {
		buf_fail(b, -EMSGSIZE);
		return;
	}
	buf_put_u16(b, (uint16_t)len);
	buf_put(b, data, len);
}
