/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the owner's tests are made of: a master that says what a test wants (struct fake), and a client that speaks the owner's
 * messages by itself (struct tc, owner_client.h).
 */
#ifndef OWNER_RIG_H
#define OWNER_RIG_H

#include <pthread.h>

#include "base/thread.h"
#include "pool/owner.h"
#include "unit/owner_client.h"

/* ---- a master ---- */

#define FAKE_KEYS 4096

struct fake {
	char addr[NET_ADDR_TEXT];
	struct loop *loop;
	struct listener *li;
	struct conn *conn;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* What came: */
	unsigned joins, synced, stats, publishes, left, lost;
	uint64_t items, withdrawn;
	uint32_t stat_flags, max_items;
	uint64_t gens[FAKE_KEYS]; /* of the items, in order */
	struct msg_pool_join join;
	uint64_t withdrawn_gen;
	uint64_t stored; /* told not to be pending any more */
	uint64_t stored_gen;
	uint32_t last_flags; /* of the last item published */
	/* What to do: */
	int verdict;	 /* of every item */
	unsigned again;	 /* so many messages are told first that another put is pending */
	bool hold;	 /* answer PUBLISH when told to */
	bool hang_up;	 /* close the connection instead of answering the next PUBLISH */
	uint16_t version;
	struct conn_req *held[64];
	unsigned nr_held;
	/* A request to the owner: */
	bool asked;
	int ask_status, ask_first;
	uint64_t ask_count, ask_kept_gen;
	uint32_t ask_kept;
};

static inline bool fake_wait_(struct fake *f, const unsigned *what, unsigned at_least)
{
	uint64_t end = soon();
	bool ok;

	pthread_mutex_lock(&f->lock);
	while (*what < at_least && !cond_wait_until(&f->cond, &f->lock, end))
		;
	ok = *what >= at_least;
	pthread_mutex_unlock(&f->lock);
	return ok;
}
#define fake_wait(f, field, n) fake_wait_(f, &(f)->field, n)

static inline void fake_verdicts(struct conn_req *r, int verdict)
{
	struct scratch s = SCRATCH_INIT;
	struct buf b = BUF_INIT;
	struct msg_publish m;
	struct msg_statuses st;

	if (msg_publish_decode(r->body, r->frame.body_len, &s, &m)) {
		conn_reply_status(r, -EBADMSG);
		return;
	}
	st = (struct msg_statuses){ .nr = m.nr, .status = scratch_alloc(&s, m.nr, sizeof(int32_t)) };
	for (uint32_t i = 0; i < m.nr; i++)
		st.status[i] = verdict;
	msg_statuses_encode(&st, &b);
	conn_reply(r, &(struct conn_reply){ .body = b.data, .body_len = b.len });
	buf_fini(&b);
	scratch_fini(&s);
}

static inline void fake_publish(struct fake *f, struct conn_req *r)
{
	struct scratch s = SCRATCH_INIT;
	struct msg_publish m;

	if (!msg_publish_decode(r->body, r->frame.body_len, &s, &m)) {
		for (uint32_t i = 0; i < m.nr; i++)
			f->gens[(f->items + i) % FAKE_KEYS] = m.items[i].loc.gen;
		f->items += m.nr;
		f->last_flags = m.nr ? m.items[m.nr - 1].flags : 0;
		f->max_items = MAX(f->max_items, m.nr);
	}
	f->publishes++;
	scratch_fini(&s);
	if (f->hang_up) {
		f->hang_up = false;
		conn_close(r->conn);
		conn_reply_status(r, -EIO);
	} else if (f->hold && f->nr_held < ARRAY_SIZE(f->held)) {
		f->held[f->nr_held++] = r;
	} else {
		fake_verdicts(r, f->again ? -EALREADY : f->verdict);
		f->again -= f->again != 0;
	}
}

static inline void fake_request(struct conn_req *r)
{
	struct fake *f = conn_user(r->conn);
	struct msg_hello_reply hr = { .version = f->version, .lease_ns = 10 * NSEC_PER_SEC };
	struct msg_pool_join_reply jr = { .index = 7, .view = 1 };
	struct scratch s = SCRATCH_INIT;
	struct msg_withdraw wd;
	struct msg_pool_stat st;
	struct buf b = BUF_INIT;

	pthread_mutex_lock(&f->lock);
	switch (r->frame.type) {
	case MSG_HELLO:
		msg_hello_reply_encode(&hr, &b);
		conn_reply(r, &(struct conn_reply){ .status = f->version == PROTO_VERSION ? 0 : -EPROTO,
						    .body = b.data, .body_len = b.len });
		break;
	case MSG_POOL_JOIN:
		f->joins++;
		msg_pool_join_decode(r->body, r->frame.body_len, &s, &f->join);
		msg_pool_join_reply_encode(&jr, &b);
		conn_reply(r, &(struct conn_reply){ .body = b.data, .body_len = b.len });
		break;
	case MSG_POOL_STAT:
		f->stats++;
		if (!msg_pool_stat_decode(r->body, r->frame.body_len, &s, &st))
			f->stat_flags = st.flags;
		break;
	case MSG_POOL_SYNCED:
		f->synced++;
		break;
	case MSG_POOL_LEAVE:
		f->left++;
		conn_reply_status(r, 0);
		break;
	case MSG_PUBLISH:
		fake_publish(f, r);
		break;
	case MSG_WITHDRAW:
		if (!msg_withdraw_decode(r->body, r->frame.body_len, &s, &wd)) {
			f->withdrawn += wd.nr;
			f->withdrawn_gen = wd.nr ? wd.items[wd.nr - 1].gen : 0;
		}
		break;
	case MSG_STORED:
		if (!msg_withdraw_decode(r->body, r->frame.body_len, &s, &wd)) {
			f->stored += wd.nr;
			f->stored_gen = wd.nr ? wd.items[wd.nr - 1].gen : 0;
		}
		break;
	default:
		if (!(r->frame.flags & NET_ONEWAY))
			conn_reply_status(r, -EOPNOTSUPP);
	}
	pthread_cond_broadcast(&f->cond);
	pthread_mutex_unlock(&f->lock);
	buf_fini(&b);
	scratch_fini(&s);
}

static inline void fake_closed(struct conn *c, int err)
{
	struct fake *f = conn_user(c);

	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < f->nr_held; i++)
		if (f->held[i]->conn == c)
			conn_reply_status(f->held[i], -EIO);
	f->nr_held = 0;
	if (f->conn == c)
		f->conn = NULL;
	f->lost++;
	pthread_cond_broadcast(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

static const struct conn_ops fake_ops = { .request = fake_request, .closed = fake_closed };

static inline void fake_accepted(void *arg, int fd)
{
	struct fake *f = arg;

	if (conn_open(f->loop, fd, &fake_ops, NULL, f, &f->conn))
		close(fd);
}

struct fake_call {
	struct fake *f;
	int (*fn)(struct fake *f);
};

static inline int fake_listen_(void *arg)
{
	struct fake *f = arg;
	struct net_addr a;
	int fd, ret;

	ret = net_addr_parse(f->addr, 0, &a);
	if (!ret)
		ret = net_listen(&a, 16, &fd);
	return ret ? ret : listener_open(f->loop, fd, fake_accepted, f, &f->li);
}

static inline int fake_listen(struct fake *f)
{
	return loop_call(f->loop, fake_listen_, f);
}

static inline int fake_open(struct fake *f)
{
	static unsigned nr;
	int ret;

	*f = (struct fake){ .version = PROTO_VERSION };
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->cond, NULL);
	snprintf(f->addr, sizeof(f->addr), "unix:@mc-test-master-%d-%u", getpid(), nr++);
	ret = loop_open(&f->loop);
	return ret ? ret : loop_start(f->loop, "fake-master");
}

/* Everybody is thrown out, nobody let in: the master is dead. */
static inline int fake_kill_(void *arg)
{
	struct fake *f = arg;

	if (f->li)
		listener_close(f->li);
	f->li = NULL;
	if (f->conn)
		conn_close(f->conn);
	return 0;
}

static inline void fake_kill(struct fake *f)
{
	unsigned lost;
	bool open;

	pthread_mutex_lock(&f->lock);
	lost = f->lost;
	open = f->conn;
	pthread_mutex_unlock(&f->lock);
	loop_call(f->loop, fake_kill_, f);
	if (open)
		fake_wait(f, lost, lost + 1);
}

static inline void fake_close(struct fake *f)
{
	fake_kill(f);
	loop_close(f->loop);
	pthread_cond_destroy(&f->cond);
	pthread_mutex_destroy(&f->lock);
}

static inline int fake_release_(void *arg)
{
	struct fake *f = arg;

	pthread_mutex_lock(&f->lock);
	f->hold = false;
	for (unsigned i = 0; i < f->nr_held; i++)
		fake_verdicts(f->held[i], f->verdict);
	f->nr_held = 0;
	pthread_mutex_unlock(&f->lock);
	return 0;
}

static inline void fake_release(struct fake *f)
{
	loop_call(f->loop, fake_release_, f);
}

static inline void fake_answer(void *arg, int status, const uint8_t *body, size_t len)
{
	struct fake *f = arg;
	struct scratch s = SCRATCH_INIT;
	struct msg_statuses st;
	struct msg_dropped d;
	struct msg_count c;

	pthread_mutex_lock(&f->lock);
	f->ask_status = status;
	if (!status && !msg_statuses_decode(body, len, &s, &st) && st.nr)
		f->ask_first = st.status[0];
	if (!status && !msg_count_decode(body, len, &s, &c))
		f->ask_count = c.count;
	if (!status && !msg_dropped_decode(body, len, &s, &d)) {
		f->ask_count = d.count;
		f->ask_kept = d.nr;
		f->ask_kept_gen = d.nr ? d.kept[0].gen : 0;
	}
	f->asked = true;
	pthread_cond_broadcast(&f->cond);
	pthread_mutex_unlock(&f->lock);
	scratch_fini(&s);
}

struct fake_ask {
	struct fake *f;
	uint16_t type;
	struct buf *body;
};

static inline int fake_ask_(void *arg)
{
	struct fake_ask *a = arg;

	if (!a->f->conn)
		return -ENOTCONN;
	return conn_call(a->f->conn, a->type, a->body->data, a->body->len, soon(), fake_answer, a->f);
}

static inline int fake_ask(struct fake *f, uint16_t type, struct buf *body)
{
	int ret;

	f->asked = false;
	f->ask_first = 1;
	ret = loop_call(f->loop, fake_ask_, &(struct fake_ask){ f, type, body });
	buf_fini(body);
	if (ret)
		return ret;
	pthread_mutex_lock(&f->lock);
	while (!f->asked)
		pthread_cond_wait(&f->cond, &f->lock);
	ret = f->ask_status;
	pthread_mutex_unlock(&f->lock);
	return ret;
}

/* The first item's status, or the call's. */
static inline int fake_drop(struct fake *f, const struct key *key, uint64_t gen, bool force)
{
	struct drop_item it = { .key = *key, .gen = gen };
	struct msg_drop m = { .force = force, .nr = 1, .items = &it };
	struct buf b = BUF_INIT;
	int ret;

	msg_drop_encode(&m, &b);
	ret = fake_ask(f, MSG_DROP, &b);
	return ret ? ret : f->ask_first;
}

/* ---- both ---- */

struct rig {
	struct fake master;
	struct owner *ow;
	struct tc c;
};

static inline int rig_open_opts(struct rig *r, struct owner_opts *o, bool master)
{
	int ret;

	*r = (struct rig){ 0 };
	ret = fake_open(&r->master);
	if (ret)
		return ret;
	if (master)
		ret = fake_listen(&r->master);
	o->master = r->master.addr;
	if (!ret)
		ret = owner_open(o, &r->ow);
	if (!ret && master)
		ret = owner_joined(r->ow, soon());
	if (!ret)
		ret = tc_open(&r->c, owner_unix_path(r->ow));
	return ret;
}

static inline int rig_open(struct rig *r, uint64_t pool_bytes)
{
	struct owner_opts o = { .pool_opts = { .name = "test", .bytes = pool_bytes } };

	return rig_open_opts(r, &o, true);
}

static inline void rig_close(struct rig *r)
{
	tc_close(&r->c);
	owner_close(r->ow, deadline_after_ms(100));
	fake_close(&r->master);
}

/* A put of "k" that the master has and does not answer. */
struct held {
	uint8_t full[FULL_KEY_MAX];
	struct key key;
	struct publish_item it;
	struct buf body;
	struct mux_req q;
};

static inline int rig_hold_put(struct rig *r, struct held *h)
{
	struct msg_commit m = { .nr = 1, .items = &h->it };
	struct extents x;
	int ret = tc_grant(&r->c, 64 * KiB);

	*h = (struct held){ .body = BUF_INIT };
	h->key = full_key("k", h->full);
	if (!ret)
		ret = tc_fill(&r->c, &h->key, "bytes", 5, 0, &x, &h->it);
	if (ret)
		return ret;
	msg_commit_encode(&m, &h->body);
	h->q = (struct mux_req){ .type = MSG_COMMIT, .body = h->body.data, .body_len = h->body.len };
	r->master.hold = true;
	ret = mux_submit(r->c.m, &h->q, false);
	return ret || fake_wait(&r->master, publishes, 1) ? ret : -ETIMEDOUT;
}

/* What came of it. */
static inline int rig_held_end(struct rig *r, struct held *h)
{
	int ret = mux_wait(r->c.m, &h->q, soon());

	buf_fini(&h->q.reply);
	buf_fini(&h->body);
	return ret;
}

/* Until the owner's statistics say @want, or the rig's patience ends. */
static inline bool rig_granted(struct rig *r, uint64_t want)
{
	struct pool_stat st;
	uint64_t end = soon();

	do {
		owner_stat(r->ow, &st);
		if (st.granted == want)
			return true;
		usleep(1000);
	} while (!deadline_passed(end));
	printf("# granted %llu\n", (unsigned long long)st.granted);
	return false;
}

#endif
