// SPDX-License-Identifier: Apache-2.0
/* The tcp transport: ranges to read or write; the bytes themselves are the frame's payload. */
#include "proto/wire.h"

#define DATA_VEC_WIRE 16

void msg_data_encode(const struct msg_data *m, struct buf *b)
{
	uint8_t *p;

	if (!buf_put_count(b, m->nr, DATA_VECS_MAX) || !m->nr)
		return;
	p = buf_push(b, m->nr * (size_t)DATA_VEC_WIRE);
	for (uint32_t i = 0; p && i < m->nr; i++) {
		out_u64(&p, m->vecs[i].addr);
		out_u64(&p, m->vecs[i].len);
	}
}

int msg_data_decode(const void *data, size_t len, struct scratch *s, struct msg_data *m)
{
	struct cur c = cur_init(data, len);
	const uint8_t *p;

	m->vecs = cur_items(&c, s, DATA_VECS_MAX, DATA_VEC_WIRE, sizeof(*m->vecs), &m->nr);
	p = cur_take(&c, m->nr * (size_t)DATA_VEC_WIRE);
	for (uint32_t i = 0; p && i < m->nr; i++) {
		m->vecs[i].addr = in_u64(&p);
		m->vecs[i].len = in_u64(&p);
	}
	return cur_done(&c);
}
