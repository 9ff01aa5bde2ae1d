/* SPDX-License-Identifier: Apache-2.0 */
/* Owners that do what the test says, on conn, of a master that is a process. */
#ifndef MASTER_OWNERS_H
#define MASTER_OWNERS_H

#include "integration/master_rig.h"

/* ---- owners ------------------------------------------------------------------------------------------------------- */

enum owner_manner { OWNER_OBEYS, OWNER_BUSY, OWNER_SILENT };

struct owner_rig {
	struct loop *loop;
	struct conn *conn;
	uint8_t id[16];
	uint64_t epoch;
	uint32_t index, view;
	atomic_int manner;
	atomic_uint drops, dropped, forced; /* messages, objects, objects with force */
	atomic_uint matches;
	atomic_uint have, gen; /* what DROP_MATCH answers, and of what it keeps */
	atomic_bool closed;
	struct conn_req *held[16];
	unsigned nr_held;

	/* A call under way. */
	uint16_t type;
	struct buf body, reply;
	int status;
	sem_t answered;
};

static inline void owner_answer(struct owner_rig *o, struct conn_req *r)
{
	struct scratch s = SCRATCH_INIT;
	struct buf out = BUF_INIT;
	struct msg_drop m;

	if (r->frame.type == MSG_DROP_MATCH) {
		struct msg_dropped n = { .count = atomic_load(&o->have) };
		struct msg_drop_match dm;

		/* It has those that the master leased. */
		if (!msg_drop_match_decode(r->body, r->frame.body_len, &s, &dm) && !dm.force) {
			n.nr = dm.nr;
			n.kept = dm.leased;
		}
		for (uint32_t i = 0; i < n.nr; i++)
			n.kept[i].gen = atomic_load(&o->gen);
		atomic_fetch_add(&o->matches, 1);
		msg_dropped_encode(&n, &out);
	} else if (r->frame.type == MSG_DROP && !msg_drop_decode(r->body, r->frame.body_len, &s, &m)) {
		int32_t *status = scratch_alloc(&s, m.nr, sizeof(*status));
		struct msg_statuses st = { m.nr, status };

		for (uint32_t i = 0; i < m.nr; i++)
			status[i] = atomic_load(&o->manner) == OWNER_BUSY && !m.force ? -EBUSY : 0;
		msg_statuses_encode(&st, &out);
		atomic_fetch_add(&o->drops, 1);
		atomic_fetch_add(&o->dropped, m.nr);
		atomic_fetch_add(&o->forced, m.force ? m.nr : 0);
	}
	conn_reply(r, &(struct conn_reply){ .body = out.data, .body_len = out.len });
	buf_fini(&out);
	scratch_fini(&s);
}

static inline void owner_request(struct conn_req *r)
{
	struct owner_rig *o = conn_user(r->conn);

	if (atomic_load(&o->manner) == OWNER_SILENT)
		o->held[o->nr_held++] = r;
	else
		owner_answer(o, r);
}

static inline void owner_closed(struct conn *c, int err)
{
	struct owner_rig *o = conn_user(c);

	while (o->nr_held)
		conn_reply_status(o->held[--o->nr_held], 0);
	o->conn = NULL;
	atomic_store(&o->closed, true);
}

static const struct conn_ops owner_rig_ops = { .request = owner_request, .closed = owner_closed };

static inline void owner_done(void *arg, int status, const uint8_t *body, size_t len)
{
	struct owner_rig *o = arg;

	buf_reset(&o->reply);
	buf_put(&o->reply, body, len);
	o->status = status;
	sem_post(&o->answered);
}

static inline int owner_start_call(void *arg)
{
	struct owner_rig *o = arg;

	return o->conn ? conn_call(o->conn, o->type, o->body.data, o->body.len, SOON, owner_done, o) : -ECONNRESET;
}

/* Sends o->body, waits for the answer in o->reply. */
static inline int owner_call(struct owner_rig *o, uint16_t type)
{
	int ret;

	o->type = type;
	ret = o->body.err ? o->body.err : loop_call(o->loop, owner_start_call, o);
	if (ret)
		return ret;
	sem_wait(&o->answered);
	return o->status;
}

static inline int owner_start_tell(void *arg)
{
	struct owner_rig *o = arg;

	return o->conn ? conn_call(o->conn, o->type, o->body.data, o->body.len, SOON, NULL, NULL) : -ECONNRESET;
}

static inline int owner_tell(struct owner_rig *o, uint16_t type)
{
	o->type = type;
	return o->body.err ? o->body.err : loop_call(o->loop, owner_start_tell, o);
}

static inline int owner_release(void *arg)
{
	struct owner_rig *o = arg;

	for (unsigned i = 0; i < o->nr_held; i++)
		owner_answer(o, o->held[i]);
	o->nr_held = 0;
	return 0;
}

static inline int owner_nr_held(void *arg)
{
	return (int)((struct owner_rig *)arg)->nr_held;
}

static inline int owner_do_close(void *arg)
{
	struct owner_rig *o = arg;

	if (o->conn)
		conn_close(o->conn);
	return 0;
}

struct owner_opening {
	struct owner_rig *o;
	int fd;
};

static inline int owner_do_open(void *arg)
{
	struct owner_opening *op = arg;

	atomic_store(&op->o->closed, false);
	return conn_open(op->o->loop, op->fd, &owner_rig_ops, NULL, op->o, &op->o->conn);
}

static inline int owner_join(struct owner_rig *o)
{
	struct msg_pool_join m = { .pool = { .epoch = o->epoch, .segment = { "seg", 3 }, .unix_path = { "unix:@x", 7 },
					     .capacity = 1 << 30, .nr_regions = 1, .region = { { 4096, 1 << 30 } } } };
	struct msg_pool_join_reply rep;
	struct scratch s = SCRATCH_INIT;
	int ret;

	memcpy(m.pool.id, o->id, 16);
	buf_reset(&o->body);
	msg_pool_join_encode(&m, &o->body);
	ret = owner_call(o, MSG_POOL_JOIN);
	if (!ret)
		ret = msg_pool_join_reply_decode(o->reply.data, o->reply.len, &s, &rep);
	if (!ret) {
		o->index = rep.index;
		o->view = rep.view;
	}
	scratch_fini(&s);
	return ret;
}

/* Connects and greets; joins when @join. */
static inline int owner_connect(struct owner_rig *o, const struct rig *r, bool join)
{
	struct owner_opening op = { o, rig_connect(r, false) };
	struct msg_hello h = rig_hello(ROLE_OWNER);
	int ret = loop_call(o->loop, owner_do_open, &op);

	if (ret)
		return ret;
	buf_reset(&o->body);
	msg_hello_encode(&h, &o->body);
	ret = owner_call(o, MSG_HELLO);
	return ret || !join ? ret : owner_join(o);
}

static inline int owner_rig_open(struct owner_rig *o, const struct rig *r, uint8_t id)
{
	int ret;

	memset(o, 0, sizeof(*o));
	memset(o->id, id, sizeof(o->id));
	o->epoch = 1;
	sem_init(&o->answered, 0, 0);
	ret = loop_open(&o->loop);
	if (!ret)
		ret = loop_start(o->loop, "owner");
	return ret ? ret : owner_connect(o, r, true);
}

static inline void owner_disconnect(struct owner_rig *o)
{
	loop_call(o->loop, owner_do_close, o);
	while (!atomic_load(&o->closed))
		loop_call(o->loop, owner_release, o); /* closed() comes from the loop: a few rounds */
}

static inline void owner_rig_close(struct owner_rig *o)
{
	owner_disconnect(o);
	loop_close(o->loop);
	buf_fini(&o->body);
	buf_fini(&o->reply);
	sem_destroy(&o->answered);
}

/* All items alike but for key and generation. Statuses go to @status when not NULL. */
static inline int owner_publish(struct owner_rig *o, const struct key *keys, uint32_t nr, uint64_t put_id, uint32_t flags,
				uint64_t gen, int32_t *status)
{
	struct publish_item *items = calloc(nr, sizeof(*items));
	struct msg_publish m = { nr, items };
	struct scratch s = SCRATCH_INIT;
	struct msg_statuses st;
	int ret;

	for (uint32_t i = 0; i < nr; i++)
		items[i] = (struct publish_item){ .key = keys[i], .put_id = put_id, .size = 4096, .flags = flags,
						  .loc = { .nr_extents = 1, .off = 64 * gen, .gen = gen } };
	buf_reset(&o->body);
	msg_publish_encode(&m, &o->body);
	ret = owner_call(o, MSG_PUBLISH);
	if (!ret)
		ret = msg_statuses_decode(o->reply.data, o->reply.len, &s, &st);
	if (!ret && st.nr != nr)
		ret = -EBADMSG;
	for (uint32_t i = 0; i < nr && !ret; i++) {
		if (status)
			status[i] = st.status[i];
		else if (st.status[i])
			ret = st.status[i];
	}
	scratch_fini(&s);
	free(items);
	return ret;
}

/* ---- what most tests begin and end with ---------------------------------------------------------------------------- */

/* A master, a client, and owners of pools 1 and 2. */
struct owners {
	struct rig r;
	struct client c;
	struct owner_rig a, b;
	unsigned nr;
};

/* @nr: how many owners; @flag: of the master, or NULL. */
static inline int owners_open(struct owners *o, unsigned nr, const char *flag)
{
	int ret = rig_master(&o->r, flag, NULL, NULL);

	o->nr = nr;
	if (!ret)
		ret = client_open(&o->c, &o->r, false);
	if (!ret)
		ret = owner_rig_open(&o->a, &o->r, 1);
	if (!ret && nr > 1)
		ret = owner_rig_open(&o->b, &o->r, 2);
	if (ret)
		RIG_FAIL("no master with %u owners: %d", nr, ret);
	return ret;
}

static inline void owners_close(struct owners *o)
{
	client_close(&o->c);
	owner_rig_close(&o->a);
	if (o->nr > 1)
		owner_rig_close(&o->b);
	if (rig_stop(&o->r, SIGTERM))
		RIG_FAIL("the master does not end in order");
}

#endif
