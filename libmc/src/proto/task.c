// SPDX-License-Identifier: Apache-2.0
/* Copy and move tasks: asked for by clients, carried out by owners. */
#include "proto/wire.h"

void msg_copy_encode(const struct msg_copy *m, struct buf *b)
{
	buf_put_key(b, &m->key);
	buf_put_u64(b, m->gen);
	buf_put_u64(b, m->timeout_ms);
	buf_put(b, m->pool, 16);
	buf_put(b, m->node, 16);
	buf_put_text(b, &m->unix_path);
	buf_put_text(b, &m->addr);
}

int msg_copy_decode(const void *data, size_t len, struct scratch *s, struct msg_copy *m)
{
	struct cur c = cur_init(data, len);

	m->key = cur_key(&c);
	m->gen = cur_u64(&c);
	m->timeout_ms = cur_u64(&c);
	cur_id(&c, m->pool);
	cur_id(&c, m->node);
	m->unix_path = cur_text(&c);
	m->addr = cur_text(&c);
	return cur_done(&c);
}

static uint8_t cur_enum(struct cur *c, uint8_t last)
{
	uint8_t v = cur_u8(c);

	if (v > last)
		cur_fail(c, -EBADMSG);
	return v;
}

void msg_task_create_encode(const struct msg_task_create *m, struct buf *b)
{
	if (m->nr_targets > TASK_TARGETS_MAX || m->type > TASK_MOVE) {
		buf_refuse(b);
		return;
	}
	buf_put_u8(b, m->type);
	buf_put_key(b, &m->key);
	buf_put_text(b, &m->source);
	buf_put_u16(b, m->nr_targets);
	for (unsigned i = 0; i < m->nr_targets; i++)
		buf_put_text(b, &m->target[i]);
}

int msg_task_create_decode(const void *data, size_t len, struct scratch *s, struct msg_task_create *m)
{
	struct cur c = cur_init(data, len);

	m->type = cur_enum(&c, TASK_MOVE);
	m->key = cur_key(&c);
	m->source = cur_text(&c);
	m->nr_targets = cur_u16(&c);
	if (m->nr_targets > TASK_TARGETS_MAX) {
		cur_fail(&c, -EBADMSG);
		m->nr_targets = 0;
	}
	for (unsigned i = 0; i < m->nr_targets; i++)
		m->target[i] = cur_text(&c);
	return cur_done(&c);
}

void msg_task_id_encode(const struct msg_task_id *m, struct buf *b)
{
	buf_put(b, m->id, 16);
}

int msg_task_id_decode(const void *data, size_t len, struct scratch *s, struct msg_task_id *m)
{
	struct cur c = cur_init(data, len);

	cur_id(&c, m->id);
	return cur_done(&c);
}

void msg_task_encode(const struct msg_task *m, struct buf *b)
{
	if (m->type > TASK_MOVE || m->status > TASK_SUCCESS) {
		buf_refuse(b);
		return;
	}
	buf_put(b, m->id, 16);
	buf_put_u8(b, m->type);
	buf_put_u8(b, m->status);
	buf_put_u64(b, m->created_ms);
	buf_put_u64(b, m->updated_ms);
	buf_put(b, m->pool, 16);
	buf_put_text(b, &m->message);
}

int msg_task_decode(const void *data, size_t len, struct scratch *s, struct msg_task *m)
{
	struct cur c = cur_init(data, len);

	cur_id(&c, m->id);
	m->type = cur_enum(&c, TASK_MOVE);
	m->status = cur_enum(&c, TASK_SUCCESS);
	m->created_ms = cur_u64(&c);
	m->updated_ms = cur_u64(&c);
	cur_id(&c, m->pool);
	m->message = cur_text(&c);
	return cur_done(&c);
}
