/* SPDX-License-Identifier: Apache-2.0 */
/* Byte buffers for messages: `buf` grows while it is written, `cur` walks received bytes and never leaves them. */
#ifndef MC_BUF_H
#define MC_BUF_H

#include "base/base.h"

/*
 * An append-only writer. Errors stick (-ENOMEM): write everything, then look at err once.
 */
struct buf {
	uint8_t *data;
	size_t len, cap;
	int err;
};

#define BUF_INIT ((struct buf){ 0 })

void buf_fini(struct buf *b); /* frees the memory; the buffer may be used again */
int buf_reserve(struct buf *b, size_t more);
void *buf_push(struct buf *b, size_t len); /* room for @len bytes at the end; NULL on error */
void buf_put(struct buf *b, const void *data, size_t len);
void buf_printf(struct buf *b, const char *fmt, ...) mc_printf(2, 3); /* no terminator is counted */

static inline void buf_reset(struct buf *b)
{
	b->len = 0;
	b->err = 0;
}

static inline void buf_put_u8(struct buf *b, uint8_t v)
{
	uint8_t *p = buf_push(b, 1);

	if (p)
		*p = v;
}

static inline void buf_put_u16(struct buf *b, uint16_t v)
{
	void *p = buf_push(b, 2);

	if (p)
		put_le16(p, v);
}

static inline void buf_put_u32(struct buf *b, uint32_t v)
{
	void *p = buf_push(b, 4);

	if (p)
		put_le32(p, v);
}

static inline void buf_put_u64(struct buf *b, uint64_t v)
{
	void *p = buf_push(b, 8);

	if (p)
		put_le64(p, v);
}

/* u16 length, then the bytes. Longer than 65535 sets err to -EMSGSIZE. */
void buf_put_str(struct buf *b, const void *data, size_t len);

/*
 * A reader over bytes that somebody else sent. Running off the end sets err to -EBADMSG, after which everything reads as
 * zero: decode a whole message, then look at err once, before any value is used as a size.
 */
struct cur {
	const uint8_t *p, *end;
	int err;
};

static inline struct cur cur_init(const void *data, size_t len)
{
	return (struct cur){ .p = data, .end = (const uint8_t *)data + len };
}

static inline size_t cur_left(const struct cur *c)
{
	return (size_t)(c->end - c->p);
}

/* The next @len bytes in place, or NULL. */
static inline const void *cur_take(struct cur *c, size_t len)
{
	const uint8_t *p = c->p;

	if (unlikely(c->err || len > cur_left(c))) {
		c->err = -EBADMSG;
		return NULL;
	}
	c->p += len;
	return p;
}

static inline uint8_t cur_u8(struct cur *c)
{
	const uint8_t *p = cur_take(c, 1);

	return p ? *p : 0;
}

static inline uint16_t cur_u16(struct cur *c)
{
	const void *p = cur_take(c, 2);

	return p ? get_le16(p) : 0;
}

static inline uint32_t cur_u32(struct cur *c)
{
	const void *p = cur_take(c, 4);

	return p ? get_le32(p) : 0;
}

static inline uint64_t cur_u64(struct cur *c)
{
	const void *p = cur_take(c, 8);

	return p ? get_le64(p) : 0;
}

/* u16 length, then the bytes, in place. */
static inline const void *cur_str(struct cur *c, size_t *len)
{
	*len = cur_u16(c);
	return cur_take(c, *len);
}

/* 0 when everything was there and nothing is left over; -EBADMSG otherwise. */
static inline int cur_done(const struct cur *c)
{
	return c->err ? c->err : c->p == c->end ? 0 : -EBADMSG;
}

#endif
