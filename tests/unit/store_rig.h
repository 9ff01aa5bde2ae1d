/* SPDX-License-Identifier: Apache-2.0 */
/* A master as a process, stores in this process, and stores in others: this program again, told its role by the environment. */
#ifndef STORE_RIG_H
#define STORE_RIG_H

#include <mooncake/store.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "integration/master_rig.h"

#define MIB (1 << 20)

static struct rig master;

static inline bool no_master(void)
{
	char path[PATH_MAX];

	rig_program("mooncake-master", path, sizeof(path));
	return access(path, X_OK);
}

#define NEED_MASTER()                                                  \
	do {                                                           \
		if (no_master())                                       \
			SKIP("build/bin/mooncake-master is not built"); \
		ASSERT_EQ(rig_master(&master, NULL, NULL, NULL), 0);   \
	} while (0)

static inline struct mc_key key_of(const char *text)
{
	return (struct mc_key){ text, strlen(text) };
}

static inline int st_open_opts(uint16_t port, struct mc_store_opts o, struct mc_store **out)
{
	char addr[64];

	snprintf(addr, sizeof(addr), "127.0.0.1:%u", port);
	o.size = sizeof(o);
	o.master = addr;
	o.deadline_ns = o.deadline_ns ? o.deadline_ns : SOON;
	*out = NULL;
	return mc_store_open(&o, out);
}

static inline struct mc_store *st_open(uint16_t port, uint64_t bytes, const char *transports)
{
	struct mc_store *s;

	st_open_opts(port, (struct mc_store_opts){ .pool_bytes = bytes, .transports = transports }, &s);
	return s;
}

static inline int st_put_opts(struct mc_store *s, const char *key, const void *data, size_t len, struct mc_put_opts o)
{
	struct mc_iov iov = { (void *)(uintptr_t)data, len };
	struct mc_put p = { .key = key_of(key), .iov = &iov, .nr_iov = 1 };

	o.size = sizeof(o);
	mc_store_put(s, &p, 1, &o, SOON);
	return p.result;
}

static inline int st_put(struct mc_store *s, const char *key, const void *data, size_t len)
{
	return st_put_opts(s, key, data, len, (struct mc_put_opts){ 0 });
}

static inline int64_t st_get(struct mc_store *s, const char *key, void *data, size_t len)
{
	struct mc_iov iov = { data, len };
	struct mc_get g = { .key = key_of(key), .iov = &iov, .nr_iov = 1 };

	mc_store_get(s, &g, 1, SOON);
	return g.result;
}

static inline int st_exists(struct mc_store *s, const char *key)
{
	struct mc_query q = { .key = key_of(key) };

	mc_store_exists(s, &q, 1, SOON);
	return q.result;
}

static inline int st_remove(struct mc_store *s, const char *key)
{
	struct mc_remove r = { .key = key_of(key) };

	mc_store_remove(s, &r, 1, MC_REMOVE_FORCE, SOON);
	return r.result;
}

/* Bytes that say whose they are: 8 at a time, so that a mix of two objects shows. */
static inline void fill(void *data, size_t len, uint64_t seed)
{
	uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((seed * 0x9e3779b97f4a7c15ULL + i / 8 * 0xff51afd7ed558ccdULL) >> (8 * (i % 8)));
}

static inline bool filled(const void *data, size_t len, uint64_t seed)
{
	uint8_t want[8];
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i += 8) {
		size_t n = len - i < 8 ? len - i : 8;
		uint64_t v = seed * 0x9e3779b97f4a7c15ULL + i / 8 * 0xff51afd7ed558ccdULL;

		memcpy(want, &v, 8);
		if (memcmp(p + i, want, n))
			return false;
	}
	return true;
}

/* ---- other processes ------------------------------------------------------------------------------------------------ */

struct child {
	pid_t pid;
	int in, out; /* its stdin and stdout */
};

#define ENV_MAX 1024

/* What this process has, and three more: other threads may read the real one, so it stays as it is. */
static inline void child_env(char *env[ENV_MAX + 4], char *a, char *b, char *c)
{
	extern char **environ;
	unsigned nr = 0;

	for (char **e = environ; *e && nr < ENV_MAX; e++)
		env[nr++] = *e;
	env[nr++] = a;
	env[nr++] = b;
	env[nr++] = c;
	env[nr] = NULL;
}

/* Return: 0 once it said that it is ready. */
static inline int child_start(struct child *c, const char *role, uint16_t port, uint64_t bytes)
{
	char self[PATH_MAX], r[64], p[32], b[48], ready, *env[ENV_MAX + 4];
	char *argv[] = { self, NULL };
	posix_spawn_file_actions_t fa;
	int in[2], out[2], ret;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0 || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		return -1;
	self[n] = 0;
	snprintf(r, sizeof(r), "STORE_ROLE=%s", role);
	snprintf(p, sizeof(p), "STORE_PORT=%u", port);
	snprintf(b, sizeof(b), "STORE_BYTES=%llu", (unsigned long long)bytes);
	child_env(env, r, p, b);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in[0], 0);
	posix_spawn_file_actions_adddup2(&fa, out[1], 1);
	ret = posix_spawn(&c->pid, self, &fa, NULL, argv, env);
	posix_spawn_file_actions_destroy(&fa);
	close(in[0]);
	close(out[1]);
	c->in = in[1];
	c->out = out[0];
	if (!ret && read(c->out, &ready, 1) != 1)
		ret = -1;
	return ret;
}

/* @sig 0: asks it to end. Return: as rig_stop(). */
static inline int child_stop(struct child *c, int sig)
{
	int status = -1;

	if (sig)
		kill(c->pid, sig);
	close(c->in);
	waitpid(c->pid, &status, 0);
	close(c->out);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- roles of other processes --------------------------------------------------------------------------------------- */

static inline void say_ready(void)
{
	if (write(1, "r", 1) != 1)
		_exit(3);
}

static inline int role_provider(uint16_t port, uint64_t bytes)
{
	struct mc_store *s;
	char c;

	/* A bench's pool takes long to populate. */
	st_open_opts(port, (struct mc_store_opts){ .pool_bytes = bytes, .deadline_ns = deadline_after_ms(60000) }, &s);
	if (!s)
		return 2;
	say_ready();
	while (read(0, &c, 1) > 0)
		;
	mc_store_close(s);
	return 0;
}

/* Puts for ever; somebody kills it. */
static inline int role_putter(uint16_t port, uint64_t bytes)
{
	struct mc_store *s = st_open(port, 0, NULL);
	static uint8_t data[100000];
	char key[32];

	if (!s)
		return 2;
	say_ready();
	for (unsigned i = 0;; i++) {
		snprintf(key, sizeof(key), "p%u", i % 200);
		fill(data, sizeof(data), i % 200);
		st_put_opts(s, key, data, sizeof(data), (struct mc_put_opts){ .flags = MC_PUT_REPLACE });
	}
}

/* Reads "quiet" with nothing allowed but to end. */
static inline int role_quiet(uint16_t port, uint64_t bytes)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = { 4, f };
	struct mc_store *s = st_open(port, 0, NULL);
	static uint8_t data[4096];
	bool ok = true;

	if (!s)
		return 2;
	say_ready();
	if (st_get(s, "quiet", data, sizeof(data)) != sizeof(data))
		return 4;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		return 5;
	for (int i = 0; i < 100; i++) {
		struct mc_iov iov = { data, sizeof(data) };
		struct mc_get g = { .key = key_of("quiet"), .iov = &iov, .nr_iov = 1 };
		struct mc_query q = { .key = key_of("quiet") };

		ok &= mc_store_get(s, &g, 1, 0) == 1 && mc_store_exists(s, &q, 1, 0) == 1 &&
		      mc_store_size(s, &q, 1, 0) == 1 && q.bytes == sizeof(data);
	}
	ok &= filled(data, sizeof(data), 7);
	syscall(SYS_exit_group, ok ? 0 : 6);
	return 7;
}

__attribute__((constructor)) static void play_role(void)
{
	const char *role = getenv("STORE_ROLE"), *port = getenv("STORE_PORT"), *bytes = getenv("STORE_BYTES");
	int ret = 1;

	if (!role || !port || !bytes)
		return;
	unsetenv("STORE_ROLE");
	if (!strcmp(role, "provider"))
		ret = role_provider((uint16_t)atoi(port), strtoull(bytes, NULL, 10));
	else if (!strcmp(role, "putter"))
		ret = role_putter((uint16_t)atoi(port), 0);
	else if (!strcmp(role, "quiet"))
		ret = role_quiet((uint16_t)atoi(port), 0);
	_exit(ret);
}

#endif
