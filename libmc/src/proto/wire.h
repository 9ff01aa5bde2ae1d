/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the message files share: limits checked in one way, and the pieces that several messages are
 * made of. Nothing outside proto includes this.
 *
 * A decoder reads through one `cur` and looks at its err last. Parts of fixed size are taken and
 * pushed in one go: buffers are checked once per item, not once per field.
 */
#ifndef MC_PROTO_WIRE_H
#define MC_PROTO_WIRE_H

#include "proto/proto.h"

/* ---- fields inside a part of fixed size: *p moves on ----------------------------------------- */

static inline uint8_t in_u8(const uint8_t **p)
{
	return *(*p)++;
}

static inline uint16_t in_u16(const uint8_t **p)
{
	*p += 2;
	return get_le16(*p - 2);
}

static inline uint32_t in_u32(const uint8_t **p)
{
	*p += 4;
	return get_le32(*p - 4);
}

static inline uint64_t in_u64(const uint8_t **p)
{
	*p += 8;
	return get_le64(*p - 8);
}

static inline void out_u8(uint8_t **p, uint8_t v)
{
	*(*p)++ = v;
}

static inline void out_u16(uint8_t **p, uint16_t v)
{
	put_le16(*p, v);
	*p += 2;
}

static inline void out_u32(uint8_t **p, uint32_t v)
{
	put_le32(*p, v);
	*p += 4;
}

static inline void out_u64(uint8_t **p, uint64_t v)
{
	put_le64(*p, v);
	*p += 8;
}

/* ---- checked reading ------------------------------------------------------------------------- */

/* Refuses the message; what is read afterwards is zero. */
static inline void cur_fail(struct cur *c, int err)
{
	if (!c->err)
		c->err = err;
}

static inline bool cur_bool(struct cur *c)
{
	uint8_t v = cur_u8(c);

	if (v > 1)
		cur_fail(c, -EBADMSG);
	return v == 1;
}

static inline uint32_t known_flags(struct cur *c, uint32_t v, uint32_t known)
{
	if (v & ~known)
		cur_fail(c, -EBADMSG);
	return v;
}

static inline void cur_id(struct cur *c, uint8_t out[16])
{
	const void *p = cur_take(c, 16);

	if (p)
		memcpy(out, p, 16);
}

/* u16 length and bytes: at least @min, at most @max. */
static inline struct key cur_bytes(struct cur *c, size_t min, size_t max)
{
	struct key k;
	size_t len;

	k.data = cur_str(c, &len);
	k.len = (uint16_t)len;
	if (unlikely(len < min || len > max))
		cur_fail(c, -EBADMSG);
	return k;
}

static inline struct key cur_text(struct cur *c)
{
	return cur_bytes(c, 0, TEXT_MAX);
}

static inline struct key cur_key(struct cur *c)
{
	return cur_bytes(c, 1, FULL_KEY_MAX);
}

/*
 * A u32 count and memory for as many items of @size. Each takes at least @wire bytes of what is left,
 * so a short message cannot ask for much memory. NULL, *nr 0: no items, or c->err has the reason.
 */
void *cur_items(struct cur *c, struct scratch *s, uint32_t max, size_t wire, size_t size,
		uint32_t *nr);

/* ---- checked writing ------------------------------------------------------------------------- */

static inline void buf_refuse(struct buf *b)
{
	if (!b->err)
		b->err = -EMSGSIZE;
}

/* Writes the count; false: over the limit, refused. */
static inline bool buf_put_count(struct buf *b, uint32_t nr, uint32_t max)
{
	if (nr > max) {
		buf_refuse(b);
		return false;
	}
	buf_put_u32(b, nr);
	return !b->err;
}

void buf_put_bytes(struct buf *b, const struct key *k, size_t min, size_t max);

static inline void buf_put_text(struct buf *b, const struct key *k)
{
	buf_put_bytes(b, k, 0, TEXT_MAX);
}

static inline void buf_put_key(struct buf *b, const struct key *k)
{
	buf_put_bytes(b, k, 1, FULL_KEY_MAX);
}

/* ---- pieces (pieces.c): *_WIRE is the smallest number of bytes one takes --------------------- */

#define LOC_WIRE 20
void out_loc(uint8_t **p, const struct loc *l);
struct loc in_loc(const uint8_t **p);

#define POOL_INFO_WIRE 72
void pool_info_put(struct buf *b, const struct pool_info *p);
void pool_info_get(struct cur *c, struct pool_info *p);

#define PUBLISH_ITEM_WIRE (2 + 28 + LOC_WIRE)
void publish_items_put(struct buf *b, uint32_t nr, const struct publish_item *items);
struct publish_item *publish_items_get(struct cur *c, struct scratch *s, uint32_t *nr);

#define DROP_ITEM_WIRE (2 + 8)
void drop_items_put(struct buf *b, uint32_t nr, const struct drop_item *items);
struct drop_item *drop_items_get(struct cur *c, struct scratch *s, uint32_t *nr);

#define GRANT_RUN_WIRE 18
void grant_runs_put(struct buf *b, uint32_t nr, const struct grant_run *runs);
struct grant_run *grant_runs_get(struct cur *c, struct scratch *s, uint32_t *nr);

#endif
