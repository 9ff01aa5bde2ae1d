/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process with an engine of its own for tests. Its memory is shared with the test, which can look
 * at it directly.
 */
#ifndef MC_TEST_PEER_H
#define MC_TEST_PEER_H

#include <mooncake/engine.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

struct peer_proc {
	/* In: */
	const char *local_name, *metadata, *transports;
	size_t len;
	bool hidden;	      /* not shared with the test: the memory of the peer alone */
	void (*before)(void); /* runs first in the new process */
	/* Out: */
	pid_t pid;
	int to, from;
	char name[256];
	uint8_t *mem;
};

/*
 * With a @name it takes the old one's handshake port; the two ports of the range come in random
 * order.
 */
static inline int peer_engine(const struct peer_proc *p, const char *name, struct mc_engine **eng)
{
	uint16_t port = *name ? (uint16_t)atoi(strrchr(name, ':') + 1) : 0;
	struct mc_engine_opts o = {
		.size = sizeof(o),
		.local_name = p->local_name,
		.metadata = p->metadata,
		.transports = p->transports,
		.min_port = port,
		.max_port = port ? (uint16_t)(port + 1) : 0,
	};
	int ret;

	for (;;) {
		ret = mc_engine_open(&o, eng);
		if (ret || !port || mc_engine_rpc_port(*eng) == port)
			return ret;
		mc_engine_close(*eng);
	}
}

/*
 * What the child does when told to, one byte each: 'u' unregister, 'r' register again, 'n' collect a
 * message, 'x' become another program, 'm' other shared memory of 'z' at
 * the same address, 'q' end.
 */
static inline int peer_main(const struct peer_proc *p, int from, int to)
{
	char name[256], cmd, answer;
	struct mc_engine *eng;
	struct mc_notify n;

	if (read(from, name, sizeof(name)) != sizeof(name) || peer_engine(p, name, &eng) ||
	    mc_region_add(eng, p->mem, p->len, NULL, NULL))
		return 1;
	snprintf(name, sizeof(name), "%s", mc_engine_name(eng));
	if (write(to, name, sizeof(name)) != sizeof(name))
		return 1;
	while (read(from, &cmd, 1) == 1 && cmd != 'q') {
		answer = 'k';
		if (cmd == 'x')
			execl("/bin/sleep", "sleep", "60", (char *)NULL);
		if (cmd == 'm') {
			if (mc_region_del_addr(eng, p->mem) ||
			    mmap(p->mem, p->len, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != p->mem)
				break;
			memset(p->mem, 'z', p->len);
			if (mc_region_add(eng, p->mem, p->len, NULL, NULL))
				break;
		}
		if (cmd == 'u')
			answer = mc_region_del_addr(eng, p->mem) ? 'e' : 'k';
		else if (cmd == 'r')
			answer = mc_region_add(eng, p->mem, p->len, NULL, NULL) ? 'e' : 'k';
		else if (cmd == 'n' && mc_notify_recv(eng, &n) == 1) {
			answer = !strcmp(n.name, "a name") && !strcmp(n.msg, "hello") ? 'k' : 'e';
			free(n.name);
			free(n.msg);
		} else if (cmd == 'n') {
			answer = '0';
		}
		if (write(to, &answer, 1) != 1)
			break;
	}
	mc_engine_close(eng);
	return 0;
}

/* The caller has no thread at this moment. */
static inline int peer_fork(struct peer_proc *p)
{
	int to[2], from[2];

	if (!p->mem) {
		p->mem = mmap(NULL, p->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			      0);
		if (p->mem == MAP_FAILED)
			return -1;
	}
	if (pipe(to) || pipe(from))
		return -1;
	p->pid = fork();
	if (!p->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		close(from[0]);
		if (p->hidden && mmap(p->mem, p->len, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != p->mem)
			_exit(4);
		if (p->before)
			p->before();
		_exit(peer_main(p, to[0], from[1]));
	}
	close(to[0]);
	close(from[1]);
	p->to = to[1];
	p->from = from[0];
	return p->pid > 0 ? 0 : -1;
}

/* @name: whose place to take; "": nobody's. */
static inline int peer_go(struct peer_proc *p, const char *name)
{
	char text[sizeof(p->name)] = "";

	snprintf(text, sizeof(text), "%s", name);
	return write(p->to, text, sizeof(text)) == sizeof(text) &&
			       read(p->from, p->name, sizeof(p->name)) == sizeof(p->name) ?
		       0 :
		       -1;
}

static inline int peer_start(struct peer_proc *p)
{
	int ret = peer_fork(p);

	return ret ? ret : peer_go(p, "");
}

static inline char peer_tell(struct peer_proc *p, char cmd)
{
	char answer = 0;

	return write(p->to, &cmd, 1) == 1 && read(p->from, &answer, 1) == 1 ? answer : 0;
}

/* @sig 0: asks it to end. Return: its exit status, 128 + signal. */
static inline int peer_stop(struct peer_proc *p, int sig)
{
	int status;

	/* Closing the pipe is not enough: later peers inherited it. */
	if (sig || write(p->to, "q", 1) != 1)
		kill(p->pid, sig ? sig : SIGKILL);
	close(p->to);
	if (waitpid(p->pid, &status, 0) != p->pid)
		return -1;
	close(p->from);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline void peer_free(struct peer_proc *p)
{
	munmap(p->mem, p->len);
}

/* ---- what the tests of the engine share ------------------------------------------------------ */

static inline struct mc_engine *engine_new(const char *ways)
{
	struct mc_engine_opts o = { .size = sizeof(o), .transports = ways };
	struct mc_engine *eng = NULL;

	return mc_engine_open(&o, &eng) ? NULL : eng;
}

static inline uint64_t soon(void)
{
	return deadline_after_ms(10000);
}

static inline int move_one(struct mc_engine *eng, struct mc_segment *seg, enum mc_op op,
			   void *local, const void *remote, uint64_t len, const char *transport,
			   uint64_t deadline_ns)
{
	const struct mc_vec v = { local, (uintptr_t)remote, len };
	const struct mc_request r = {
		.op = op, .segment = seg, .vec = &v, .nr_vec = 1, .transport = transport
	};

	return mc_transfer(eng, &r, 1, deadline_ns);
}

static inline void pattern(uint8_t *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((i + seed) * 0x9e3779b97f4a7c15u >> 56);
}

#endif
