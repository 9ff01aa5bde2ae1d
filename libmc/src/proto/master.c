// SPDX-License-Identifier: Apache-2.0
/* Client and master: where objects are, which exist, what to remove, what there is. */
#include "proto/wire.h"

#define LOCATED_FIXED	(8 + 8 + 4 + 1) /* after the status, when that is 0 */
#define REPLICA_WIRE	(4 + LOC_WIRE)
#define LIST_ITEM_FIXED (8 + 4 + 1)

void msg_keys_encode(const struct msg_keys *m, struct buf *b)
{
	buf_put_u8(b, m->touch);
	buf_put_u8(b, m->force);
	if (!buf_put_count(b, m->nr, BATCH_MAX))
		return;
	for (uint32_t i = 0; i < m->nr; i++)
		buf_put_key(b, &m->keys[i]);
}

int msg_keys_decode(const void *data, size_t len, struct scratch *s, struct msg_keys *m)
{
	struct cur c = cur_init(data, len);

	m->touch = cur_bool(&c);
	m->force = cur_bool(&c);
	m->keys = cur_items(&c, s, BATCH_MAX, 2 + 1, sizeof(*m->keys), &m->nr);
	for (uint32_t i = 0; i < m->nr && !c.err; i++)
		m->keys[i] = cur_key(&c);
	return cur_done(&c);
}

void msg_located_add(struct buf *b, const struct located *l)
{
	unsigned nr = l->status ? 0 : l->nr_replicas;
	uint8_t *p;

	if (nr > REPLICAS_MAX) {
		buf_refuse(b);
		return;
	}
	p = buf_push(b, l->status ? 4 : 4 + LOCATED_FIXED + nr * REPLICA_WIRE);
	if (!p)
		return;
	out_u32(&p, (uint32_t)l->status);
	if (l->status)
		return;
	out_u64(&p, l->size);
	out_u64(&p, l->put_id);
	out_u32(&p, l->flags);
	out_u8(&p, l->nr_replicas);
	for (unsigned i = 0; i < nr; i++) {
		out_u32(&p, l->replica[i].pool);
		out_loc(&p, &l->replica[i].loc);
	}
}

static void located_get(struct cur *c, struct located *l)
{
	const uint8_t *p;

	l->status = (int32_t)cur_u32(c);
	l->size = 0;
	l->put_id = 0;
	l->flags = 0;
	l->nr_replicas = 0;
	if (l->status)
		return;
	p = cur_take(c, LOCATED_FIXED);
	if (!p)
		return;
	l->size = in_u64(&p);
	l->put_id = in_u64(&p);
	l->flags = known_flags(c, in_u32(&p), OBJ_FLAGS | OBJ_PENDING);
	l->nr_replicas = in_u8(&p);
	if (l->nr_replicas > REPLICAS_MAX) {
		cur_fail(c, -EBADMSG);
		return;
	}
	p = cur_take(c, l->nr_replicas * (size_t)REPLICA_WIRE);
	for (unsigned i = 0; p && i < l->nr_replicas; i++) {
		l->replica[i].pool = in_u32(&p);
		l->replica[i].loc = in_loc(&p);
	}
}

void msg_located_begin(struct buf *b, uint32_t view, uint32_t nr)
{
	buf_put_u32(b, view);
	buf_put_count(b, nr, BATCH_MAX);
}

void msg_located_encode(const struct msg_located *m, struct buf *b)
{
	msg_located_begin(b, m->view, m->nr);
	for (uint32_t i = 0; i < m->nr && !b->err; i++)
		msg_located_add(b, &m->items[i]);
}

int msg_located_decode(const void *data, size_t len, struct scratch *s, struct msg_located *m)
{
	struct cur c = cur_init(data, len);

	m->view = cur_u32(&c);
	m->items = cur_items(&c, s, BATCH_MAX, 4, sizeof(*m->items), &m->nr);
	for (uint32_t i = 0; i < m->nr && !c.err; i++)
		located_get(&c, &m->items[i]);
	return cur_done(&c);
}

void msg_existing_encode(const struct msg_existing *m, struct buf *b)
{
	buf_put_u32(b, m->view);
	if (!buf_put_count(b, m->nr, BATCH_MAX))
		return;
	buf_put(b, m->found, m->nr);
}

int msg_existing_decode(const void *data, size_t len, struct scratch *s, struct msg_existing *m)
{
	struct cur c = cur_init(data, len);
	bool bad = false;

	m->view = cur_u32(&c);
	m->nr = cur_u32(&c);
	if (m->nr > BATCH_MAX)
		cur_fail(&c, -EBADMSG);
	m->found = cur_take(&c, m->nr);
	for (uint32_t i = 0; m->found && i < m->nr; i++)
		bad |= m->found[i] > 2;
	if (bad)
		cur_fail(&c, -EBADMSG);
	return cur_done(&c);
}

void msg_statuses_encode(const struct msg_statuses *m, struct buf *b)
{
	uint8_t *p;

	if (!buf_put_count(b, m->nr, BATCH_MAX) || !m->nr)
		return;
	p = buf_push(b, m->nr * (size_t)4);
	for (uint32_t i = 0; p && i < m->nr; i++)
		out_u32(&p, (uint32_t)m->status[i]);
}

static void statuses_get(struct cur *c, struct scratch *s, struct msg_statuses *m)
{
	const uint8_t *p;

	m->status = cur_items(c, s, BATCH_MAX, 4, sizeof(*m->status), &m->nr);
	p = cur_take(c, m->nr * (size_t)4);
	for (uint32_t i = 0; p && i < m->nr; i++)
		m->status[i] = (int32_t)in_u32(&p);
}

int msg_statuses_decode(const void *data, size_t len, struct scratch *s, struct msg_statuses *m)
{
	struct cur c = cur_init(data, len);

	statuses_get(&c, s, m);
	return cur_done(&c);
}

#define INHERITED_WIRE 12

void msg_published_encode(const struct msg_published *m, struct buf *b)
{
	uint8_t *p;

	msg_statuses_encode(&m->statuses, b);
	if (!m->nr || !buf_put_count(b, m->nr, BATCH_MAX))
		return;
	p = buf_push(b, m->nr * (size_t)INHERITED_WIRE);
	for (uint32_t i = 0; p && i < m->nr; i++) {
		out_u32(&p, m->inherited[i].index);
		out_u32(&p, m->inherited[i].group);
		out_u32(&p, m->inherited[i].soft_pin_ms);
	}
}

static void inherited_get(struct cur *c, struct scratch *s, struct msg_published *m)
{
	const uint8_t *p;

	m->inherited = cur_items(c, s, BATCH_MAX, INHERITED_WIRE, sizeof(*m->inherited), &m->nr);
	p = cur_take(c, m->nr * (size_t)INHERITED_WIRE);
	for (uint32_t i = 0; p && i < m->nr; i++) {
		struct inherited *in = &m->inherited[i];

		in->index = in_u32(&p);
		in->group = in_u32(&p);
		in->soft_pin_ms = in_u32(&p);
		if (in->index >= m->statuses.nr || (i && in->index <= in[-1].index))
			cur_fail(c, -EBADMSG);
	}
	if (!m->nr)
		cur_fail(c, -EBADMSG); /* then there is nothing there */
}

int msg_published_decode(const void *data, size_t len, struct scratch *s, struct msg_published *m)
{
	struct cur c = cur_init(data, len);

	*m = (struct msg_published){ 0 };
	statuses_get(&c, s, &m->statuses);
	if (!c.err && cur_left(&c))
		inherited_get(&c, s, m);
	return cur_done(&c);
}

void msg_match_encode(const struct msg_match *m, struct buf *b)
{
	buf_put_u8(b, m->force);
	buf_put_bytes(b, &m->tenant, 0, TENANT_MAX);
	buf_put_bytes(b, &m->pattern, 0, PATTERN_MAX);
	buf_put_u64(b, m->cursor);
	buf_put_u32(b, m->max);
}

int msg_match_decode(const void *data, size_t len, struct scratch *s, struct msg_match *m)
{
	struct cur c = cur_init(data, len);

	m->force = cur_bool(&c);
	m->tenant = cur_bytes(&c, 0, TENANT_MAX);
	m->pattern = cur_bytes(&c, 0, PATTERN_MAX);
	m->cursor = cur_u64(&c);
	m->max = cur_u32(&c);
	return cur_done(&c);
}

void msg_clear_encode(const struct msg_clear *m, struct buf *b)
{
	buf_put_text(b, &m->segment);
	drop_items_put(b, m->nr, m->items);
}

int msg_clear_decode(const void *data, size_t len, struct scratch *s, struct msg_clear *m)
{
	struct cur c = cur_init(data, len);

	m->segment = cur_text(&c);
	m->items = drop_items_get(&c, s, &m->nr);
	return cur_done(&c);
}

void msg_count_encode(const struct msg_count *m, struct buf *b)
{
	buf_put_u64(b, m->count);
}

int msg_count_decode(const void *data, size_t len, struct scratch *s, struct msg_count *m)
{
	struct cur c = cur_init(data, len);

	m->count = cur_u64(&c);
	return cur_done(&c);
}

void msg_list_reply_encode(const struct msg_list_reply *m, struct buf *b)
{
	buf_put_u64(b, m->cursor);
	if (!buf_put_count(b, m->nr, BATCH_MAX))
		return;
	for (uint32_t i = 0; i < m->nr; i++) {
		const struct list_item *it = &m->items[i];

		buf_put_key(b, &it->key);
		buf_put_u64(b, it->size);
		buf_put_u32(b, it->flags);
		buf_put_u8(b, it->nr_replicas);
	}
}

int msg_list_reply_decode(const void *data, size_t len, struct scratch *s, struct msg_list_reply *m)
{
	struct cur c = cur_init(data, len);

	m->cursor = cur_u64(&c);
	m->items = cur_items(&c, s, BATCH_MAX, 2 + 1 + LIST_ITEM_FIXED, sizeof(*m->items), &m->nr);
	for (uint32_t i = 0; i < m->nr && !c.err; i++) {
		struct list_item *it = &m->items[i];

		it->key = cur_key(&c);
		it->size = cur_u64(&c);
		it->flags = known_flags(&c, cur_u32(&c), OBJ_FLAGS);
		it->nr_replicas = cur_u8(&c);
	}
	return cur_done(&c);
}

void msg_pools_encode(const struct msg_pools *m, struct buf *b)
{
	buf_put_u32(b, m->view);
	if (!buf_put_count(b, m->nr, POOLS_MAX))
		return;
	for (uint32_t i = 0; i < m->nr; i++)
		pool_info_put(b, &m->pools[i]);
}

int msg_pools_decode(const void *data, size_t len, struct scratch *s, struct msg_pools *m)
{
	struct cur c = cur_init(data, len);

	m->view = cur_u32(&c);
	m->pools = cur_items(&c, s, POOLS_MAX, POOL_INFO_WIRE, sizeof(*m->pools), &m->nr);
	for (uint32_t i = 0; i < m->nr && !c.err; i++)
		pool_info_get(&c, &m->pools[i]);
	return cur_done(&c);
}
