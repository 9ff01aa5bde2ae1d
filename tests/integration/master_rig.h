/* SPDX-License-Identifier: Apache-2.0 */
/* A master as a process of its own, clients on mux, and owners that do what the test says, on conn. */
#ifndef MASTER_RIG_H
#define MASTER_RIG_H

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/net.h"
#include "proto/proto.h"

#define SOON deadline_after_ms(10000)

/* Tests include mctest.h before this; benches just end. */
#ifdef MCTEST_H
#define RIG_FAIL MCTEST_FAIL
#else
#define RIG_FAIL(...)                         \
	do {                                  \
		fprintf(stderr, __VA_ARGS__); \
		exit(1);                      \
	} while (0)
#endif

/* ---- the process -------------------------------------------------------------------------------------------------- */

struct rig {
	pid_t pid;
	uint16_t port, http_port;
	FILE *err;
	pthread_t reader;
	char said[65536]; /* its log; stable after rig_stop() */
	size_t len;
};

/* Beside this program: build/tests/integration/x and build/bin/y. */
static inline void rig_program(const char *name, char *out, size_t size)
{
	char self[PATH_MAX] = "";

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		self[0] = 0;
	snprintf(out, size, "%s/../../bin/%s", dirname(self), name);
}

static inline void rig_keep(struct rig *r, const char *line)
{
	size_t n = strlen(line);

	if (r->len + n < sizeof(r->said)) {
		memcpy(r->said + r->len, line, n + 1);
		r->len += n;
	}
}

static inline void *rig_read(void *arg)
{
	struct rig *r = arg;
	char line[1024];

	while (fgets(line, sizeof(line), r->err))
		rig_keep(r, line);
	return NULL;
}

/* @argv[0] is the program's name. Return: 0; the exit status when it ended before it was ready. */
static inline int rig_start(struct rig *r, const char *const argv[])
{
	char path[PATH_MAX], line[1024];
	int p[2], status;
	unsigned port, http;

	memset(r, 0, sizeof(*r));
	rig_program(argv[0], path, sizeof(path));
	if (pipe2(p, O_CLOEXEC))
		return -1;
	r->pid = fork();
	if (!r->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing stays behind */
		dup2(p[1], 2);
		execv(path, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(p[1]);
	r->err = fdopen(p[0], "r");
	while (fgets(line, sizeof(line), r->err)) {
		const char *at = strstr(line, "started on port "), *h = strstr(line, "HTTP port ");

		rig_keep(r, line);
		if (at && sscanf(at, "started on port %u", &port) == 1) {
			r->port = (uint16_t)port;
			if (h && sscanf(h, "HTTP port %u", &http) == 1)
				r->http_port = (uint16_t)http;
			pthread_create(&r->reader, NULL, rig_read, r);
			return 0;
		}
	}
	waitpid(r->pid, &status, 0);
	fclose(r->err);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline int rig_master(struct rig *r, const char *extra1, const char *extra2, const char *extra3)
{
	const char *argv[] = { "mooncake-master", "--port=0", "--metrics_port=0", "--rpc_thread_num=2", extra1, extra2, extra3, NULL };
	int ret = rig_start(r, argv);

	if (ret)
		RIG_FAIL("the master did not start: %d\n%s", ret, r->said);
	return ret;
}

/* @signal 0: only wait. Return: exit status, or 128 + the signal that ended it. */
static inline int rig_stop(struct rig *r, int sig)
{
	int status = -1;

	if (sig)
		kill(r->pid, sig);
	waitpid(r->pid, &status, 0);
	pthread_join(r->reader, NULL);
	fclose(r->err);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline int rig_connect(const struct rig *r, bool local)
{
	struct net_addr a;
	char text[64];
	int fd = -1;

	snprintf(text, sizeof(text), local ? "unix:@mooncake-master-%u" : "127.0.0.1:%u", r->port);
	if (net_addr_parse(text, 0, &a) || net_connect(&a, SOON, &fd))
		RIG_FAIL("cannot connect to %s", text);
	return fd;
}

static inline struct msg_hello rig_hello(enum proto_role role)
{
	return (struct msg_hello){
		.version_min = PROTO_VERSION_MIN, .version_max = PROTO_VERSION, .role = (uint8_t)role,
		.name = { "rig", 3 }, .software = { "test", 4 },
	};
}

/* ---- clients ------------------------------------------------------------------------------------------------------ */

struct client {
	struct mux *mux;
	struct scratch s;
	struct buf body;
	struct mux_req req;
	struct msg_hello_reply hello;
};

/* Sends what is in c->body. The reply is c->req.reply until the next call. */
static inline int client_call(struct client *c, uint16_t type)
{
	buf_fini(&c->req.reply);
	scratch_reset(&c->s);
	c->req = (struct mux_req){ .type = type, .body = c->body.data, .body_len = c->body.len };
	if (c->body.err)
		return c->body.err;
	return mux_call(c->mux, &c->req, SOON);
}

static inline int client_open(struct client *c, const struct rig *r, bool local)
{
	struct msg_hello h = rig_hello(ROLE_CLIENT);
	int ret;

	memset(c, 0, sizeof(*c));
	ret = mux_open(rig_connect(r, local), &c->mux);
	if (ret)
		return ret;
	msg_hello_encode(&h, &c->body);
	ret = client_call(c, MSG_HELLO);
	if (!ret)
		ret = msg_hello_reply_decode(c->req.reply.data, c->req.reply.len, &c->s, &c->hello);
	return ret;
}

static inline void client_close(struct client *c)
{
	mux_close(c->mux);
	buf_fini(&c->body);
	buf_fini(&c->req.reply);
	scratch_fini(&c->s);
}

/* Full keys of the default tenant: "k<n>". @text holds 16 bytes each. */
static inline void make_keys(struct key *keys, char (*text)[16], unsigned first, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		text[i][0] = 0;
		keys[i] = (struct key){ text[i], (uint16_t)(1 + snprintf(text[i] + 1, 15, "k%u", first + i)) };
	}
}

static inline int ask_keys(struct client *c, uint16_t type, const struct key *keys, uint32_t nr, bool touch, bool force)
{
	struct msg_keys m = { .touch = touch, .force = force, .nr = nr, .keys = (struct key *)keys };

	buf_reset(&c->body);
	msg_keys_encode(&m, &c->body);
	return client_call(c, type);
}

/* -1: failed. */
static inline int client_count(struct client *c, const struct key *keys, uint32_t nr)
{
	struct msg_existing e;
	int count = 0;

	if (ask_keys(c, MSG_EXISTS, keys, nr, false, false) ||
	    msg_existing_decode(c->req.reply.data, c->req.reply.len, &c->s, &e) || e.nr != nr)
		return -1;
	for (uint32_t i = 0; i < nr; i++)
		count += e.found[i];
	return count;
}

static inline int client_exists(struct client *c, const struct key *key)
{
	return client_count(c, key, 1);
}

static inline int client_locate(struct client *c, const struct key *key, bool touch, struct located *out, uint32_t *view)
{
	struct msg_located m;
	int ret = ask_keys(c, MSG_LOCATE, key, 1, touch, false);

	if (!ret)
		ret = msg_located_decode(c->req.reply.data, c->req.reply.len, &c->s, &m);
	if (ret || m.nr != 1)
		return ret ? ret : -EBADMSG;
	*out = m.items[0];
	if (view)
		*view = m.view;
	return 0;
}

static inline int client_remove(struct client *c, const struct key *keys, uint32_t nr, bool force, int32_t *status)
{
	struct msg_statuses m;
	int ret = ask_keys(c, MSG_REMOVE, keys, nr, false, force);

	if (!ret)
		ret = msg_statuses_decode(c->req.reply.data, c->req.reply.len, &c->s, &m);
	if (ret || m.nr != nr)
		return ret ? ret : -EBADMSG;
	memcpy(status, m.status, nr * sizeof(*status));
	return 0;
}

static inline int64_t client_remove_match(struct client *c, const char *pattern, bool force)
{
	struct msg_match m = { .force = force, .pattern = { pattern, (uint16_t)strlen(pattern) } };
	struct msg_count n;
	int ret;

	buf_reset(&c->body);
	msg_match_encode(&m, &c->body);
	ret = client_call(c, MSG_REMOVE_MATCH);
	if (!ret)
		ret = msg_count_decode(c->req.reply.data, c->req.reply.len, &c->s, &n);
	return ret ? ret : (int64_t)n.count;
}

/* How many online pools; their infos in c->s. */
static inline int client_pools(struct client *c, struct msg_pools *m)
{
	int ret;

	buf_reset(&c->body);
	ret = client_call(c, MSG_POOLS);
	if (!ret)
		ret = msg_pools_decode(c->req.reply.data, c->req.reply.len, &c->s, m);
	return ret ? ret : (int)m->nr;
}

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
	atomic_uint have; /* what DROP_MATCH answers */
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
		struct msg_count n = { .count = atomic_load(&o->have) };

		atomic_fetch_add(&o->matches, 1);
		msg_count_encode(&n, &out);
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

#endif
