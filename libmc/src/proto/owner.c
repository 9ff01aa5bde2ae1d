// SPDX-License-Identifier: Apache-2.0
/* Owner and master: a pool joins, reports, publishes, withdraws; the master asks for drops. */
#include "proto/wire.h"

void msg_pool_join_encode(const struct msg_pool_join *m, struct buf *b)
{
	pool_info_put(b, &m->pool);
}

int msg_pool_join_decode(const void *data, size_t len, struct scratch *s, struct msg_pool_join *m)
{
	struct cur c = cur_init(data, len);

	pool_info_get(&c, &m->pool);
	return cur_done(&c);
}

void msg_pool_join_reply_encode(const struct msg_pool_join_reply *m, struct buf *b)
{
	buf_put_u32(b, m->index);
	buf_put_u32(b, m->view);
	if (!m->has_rules)
		return;
	buf_put_u32(b, m->rules.soft_pin_ms);
	buf_put_u32(b, m->rules.flags);
}

int msg_pool_join_reply_decode(const void *data, size_t len, struct scratch *s,
			       struct msg_pool_join_reply *m)
{
	struct cur c = cur_init(data, len);

	m->index = cur_u32(&c);
	m->view = cur_u32(&c);
	m->has_rules = !c.err && cur_left(&c);
	m->rules = (struct pool_rules){ 0 };
	if (m->has_rules) {
		m->rules.soft_pin_ms = cur_u32(&c);
		m->rules.flags = cur_u32(&c); /* rules that are not known here are a newer master's wish */
	}
	return cur_done(&c);
}

void msg_pool_stat_encode(const struct msg_pool_stat *m, struct buf *b)
{
	buf_put_u32(b, m->flags);
	buf_put_u64(b, m->capacity);
	buf_put_u64(b, m->used);
	buf_put_u64(b, m->objects);
	buf_put_u64(b, m->evicted);
	buf_put_u64(b, m->evicted_bytes);
}

int msg_pool_stat_decode(const void *data, size_t len, struct scratch *s, struct msg_pool_stat *m)
{
	struct cur c = cur_init(data, len);

	m->flags = known_flags(&c, cur_u32(&c), POOL_FLAGS);
	m->capacity = cur_u64(&c);
	m->used = cur_u64(&c);
	m->objects = cur_u64(&c);
	m->evicted = cur_u64(&c);
	m->evicted_bytes = cur_u64(&c);
	return cur_done(&c);
}

void msg_publish_encode(const struct msg_publish *m, struct buf *b)
{
	publish_items_put(b, m->nr, m->items);
}

int msg_publish_decode(const void *data, size_t len, struct scratch *s, struct msg_publish *m)
{
	struct cur c = cur_init(data, len);

	m->items = publish_items_get(&c, s, &m->nr);
	return cur_done(&c);
}

void msg_withdraw_encode(const struct msg_withdraw *m, struct buf *b)
{
	drop_items_put(b, m->nr, m->items);
}

int msg_withdraw_decode(const void *data, size_t len, struct scratch *s, struct msg_withdraw *m)
{
	struct cur c = cur_init(data, len);

	m->items = drop_items_get(&c, s, &m->nr);
	return cur_done(&c);
}

void msg_drop_encode(const struct msg_drop *m, struct buf *b)
{
	buf_put_u8(b, m->force);
	drop_items_put(b, m->nr, m->items);
}

int msg_drop_decode(const void *data, size_t len, struct scratch *s, struct msg_drop *m)
{
	struct cur c = cur_init(data, len);

	m->force = cur_bool(&c);
	m->items = drop_items_get(&c, s, &m->nr);
	return cur_done(&c);
}

void msg_drop_match_encode(const struct msg_drop_match *m, struct buf *b)
{
	buf_put_u8(b, m->force);
	buf_put_u8(b, m->all_tenants);
	buf_put_bytes(b, &m->tenant, 0, TENANT_MAX);
	drop_items_put(b, m->nr, m->leased);
}

int msg_drop_match_decode(const void *data, size_t len, struct scratch *s, struct msg_drop_match *m)
{
	struct cur c = cur_init(data, len);

	m->force = cur_bool(&c);
	m->all_tenants = cur_bool(&c);
	m->tenant = cur_bytes(&c, 0, TENANT_MAX);
	m->leased = drop_items_get(&c, s, &m->nr);
	return cur_done(&c);
}

void msg_dropped_encode(const struct msg_dropped *m, struct buf *b)
{
	buf_put_u64(b, m->count);
	drop_items_put(b, m->nr, m->kept);
}

int msg_dropped_decode(const void *data, size_t len, struct scratch *s, struct msg_dropped *m)
{
	struct cur c = cur_init(data, len);

	m->count = cur_u64(&c);
	m->kept = drop_items_get(&c, s, &m->nr);
	return cur_done(&c);
}
