/* SPDX-License-Identifier: Apache-2.0 */
/* A master as a process of its own, and clients on mux. */
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

#endif
