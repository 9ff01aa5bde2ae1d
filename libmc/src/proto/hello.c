// SPDX-License-Identifier: Apache-2.0
/* First on every connection. The layout is the same in all versions: only `auth` may grow. */
#include "proto/wire.h"

void msg_hello_encode(const struct msg_hello *m, struct buf *b)
{
	buf_put_u16(b, m->version_min);
	buf_put_u16(b, m->version_max);
	buf_put_u8(b, m->role);
	buf_put(b, m->id, 16);
	buf_put(b, m->node, 16);
	buf_put_text(b, &m->name);
	buf_put_text(b, &m->software);
	buf_put_text(b, &m->auth);
}

int msg_hello_decode(const void *data, size_t len, struct scratch *s, struct msg_hello *m)
{
	struct cur c = cur_init(data, len);

	m->version_min = cur_u16(&c);
	m->version_max = cur_u16(&c);
	if (!m->version_min || m->version_min > m->version_max)
		cur_fail(&c, -EBADMSG);
	/* A role unknown here may be fine in the peer's version: the server decides. */
	m->role = cur_u8(&c);
	cur_id(&c, m->id);
	cur_id(&c, m->node);
	m->name = cur_text(&c);
	m->software = cur_text(&c);
	m->auth = cur_text(&c);
	return cur_done(&c);
}

void msg_hello_reply_encode(const struct msg_hello_reply *m, struct buf *b)
{
	buf_put_u16(b, m->version);
	buf_put(b, m->id, 16);
	buf_put_u64(b, m->lease_ns);
	buf_put_u32(b, m->view);
	buf_put_text(b, &m->software);
}

int msg_hello_reply_decode(const void *data, size_t len, struct scratch *s,
			   struct msg_hello_reply *m)
{
	struct cur c = cur_init(data, len);

	m->version = cur_u16(&c);
	cur_id(&c, m->id);
	m->lease_ns = cur_u64(&c);
	m->view = cur_u32(&c);
	m->software = cur_text(&c);
	return cur_done(&c);
}
