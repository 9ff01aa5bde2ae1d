// SPDX-License-Identifier: Apache-2.0
/* The pieces that messages of several conversations are made of. */
#include "proto/wire.h"

void *cur_items(struct cur *c, struct scratch *s, uint32_t max, size_t wire, size_t size,
		uint32_t *nr)
{
	uint32_t count = cur_u32(c);
	void *items;

	*nr = 0;
	if (c->err || !count)
		return NULL;
	if (count > max || count > cur_left(c) / wire) {
		cur_fail(c, -EBADMSG);
		return NULL;
	}
	items = scratch_alloc(s, count, size);
	if (!items) {
		cur_fail(c, -ENOMEM);
		return NULL;
	}
	*nr = count;
	return items;
}

void buf_put_bytes(struct buf *b, const struct key *k, size_t min, size_t max)
{
	uint8_t *p;

	if (k->len < min || k->len > max) {
		buf_refuse(b);
		return;
	}
	p = buf_push(b, 2 + (size_t)k->len);
	if (!p)
		return;
	put_le16(p, k->len);
	if (k->len)
		memcpy(p + 2, k->data, k->len);
}

void out_loc(uint8_t **p, const struct loc *l)
{
	out_u16(p, l->region);
	out_u16(p, l->nr_extents);
	out_u64(p, l->off);
	out_u64(p, l->gen);
}

struct loc in_loc(const uint8_t **p)
{
	struct loc l;

	l.region = in_u16(p);
	l.nr_extents = in_u16(p);
	l.off = in_u64(p);
	l.gen = in_u64(p);
	return l;
}

void pool_info_put(struct buf *b, const struct pool_info *p)
{
	if (p->nr_regions > POOL_REGIONS_MAX) {
		buf_refuse(b);
		return;
	}
	buf_put(b, p->id, 16);
	buf_put(b, p->node, 16);
	buf_put_u64(b, p->epoch);
	buf_put_u32(b, p->index);
	buf_put_u32(b, p->flags);
	buf_put_text(b, &p->segment);
	buf_put_text(b, &p->unix_path);
	buf_put_text(b, &p->addr);
	buf_put_u64(b, p->capacity);
	buf_put_u64(b, p->used);
	buf_put_u16(b, p->nr_regions);
	for (unsigned i = 0; i < p->nr_regions; i++) {
		buf_put_u64(b, p->region[i].addr);
		buf_put_u64(b, p->region[i].len);
	}
}

void pool_info_get(struct cur *c, struct pool_info *p)
{
	*p = (struct pool_info){ 0 };
	cur_id(c, p->id);
	cur_id(c, p->node);
	p->epoch = cur_u64(c);
	p->index = cur_u32(c);
	p->flags = known_flags(c, cur_u32(c), POOL_FLAGS);
	p->segment = cur_text(c);
	p->unix_path = cur_text(c);
	p->addr = cur_text(c);
	p->capacity = cur_u64(c);
	p->used = cur_u64(c);
	p->nr_regions = cur_u16(c);
	if (p->nr_regions > POOL_REGIONS_MAX) {
		cur_fail(c, -EBADMSG);
		p->nr_regions = 0;
	}
	for (unsigned i = 0; i < p->nr_regions; i++) {
		p->region[i].addr = cur_u64(c);
		p->region[i].len = cur_u64(c);
	}
}

void publish_items_put(struct buf *b, uint32_t nr, const struct publish_item *items)
{
	if (!buf_put_count(b, nr, BATCH_MAX))
		return;
	for (uint32_t i = 0; i < nr; i++) {
		const struct publish_item *it = &items[i];
		uint8_t *p;

		buf_put_key(b, &it->key);
		p = buf_push(b, PUBLISH_ITEM_WIRE - 2);
		if (!p)
			return;
		out_u64(&p, it->put_id);
		out_u64(&p, it->size);
		out_u32(&p, it->flags);
		out_u32(&p, it->soft_pin_ms);
		out_u32(&p, it->group);
		out_loc(&p, &it->loc);
	}
}

struct publish_item *publish_items_get(struct cur *c, struct scratch *s, uint32_t *nr)
{
	struct publish_item *items;

	items = cur_items(c, s, BATCH_MAX, PUBLISH_ITEM_WIRE, sizeof(*items), nr);
	for (uint32_t i = 0; i < *nr; i++) {
		struct publish_item *it = &items[i];
		const uint8_t *p;

		it->key = cur_key(c);
		p = cur_take(c, PUBLISH_ITEM_WIRE - 2);
		if (!p)
			break;
		it->put_id = in_u64(&p);
		it->size = in_u64(&p);
		it->flags = known_flags(c, in_u32(&p), OBJ_FLAGS | OBJ_PENDING);
		it->soft_pin_ms = in_u32(&p);
		it->group = in_u32(&p);
		it->loc = in_loc(&p);
	}
	return items;
}

void drop_items_put(struct buf *b, uint32_t nr, const struct drop_item *items)
{
	if (!buf_put_count(b, nr, BATCH_MAX))
		return;
	for (uint32_t i = 0; i < nr; i++) {
		buf_put_key(b, &items[i].key);
		buf_put_u64(b, items[i].gen);
	}
}

struct drop_item *drop_items_get(struct cur *c, struct scratch *s, uint32_t *nr)
{
	struct drop_item *items = cur_items(c, s, BATCH_MAX, DROP_ITEM_WIRE, sizeof(*items), nr);

	for (uint32_t i = 0; i < *nr && !c->err; i++) {
		items[i].key = cur_key(c);
		items[i].gen = cur_u64(c);
	}
	return items;
}

void grant_runs_put(struct buf *b, uint32_t nr, const struct grant_run *runs)
{
	if (!buf_put_count(b, nr, GRANT_RUNS_MAX))
		return;
	for (uint32_t i = 0; i < nr; i++) {
		uint8_t *p = buf_push(b, GRANT_RUN_WIRE);

		if (!p)
			return;
		out_u16(&p, runs[i].region);
		out_u64(&p, runs[i].off);
		out_u64(&p, runs[i].len);
	}
}

struct grant_run *grant_runs_get(struct cur *c, struct scratch *s, uint32_t *nr)
{
	struct grant_run *runs = cur_items(c, s, GRANT_RUNS_MAX, GRANT_RUN_WIRE, sizeof(*runs), nr);

	for (uint32_t i = 0; i < *nr; i++) {
		const uint8_t *p = cur_take(c, GRANT_RUN_WIRE);

		if (!p)
			break;
		runs[i].region = in_u16(&p);
		runs[i].off = in_u64(&p);
		runs[i].len = in_u64(&p);
	}
	return runs;
}
