// SPDX-License-Identifier: Apache-2.0
/* Opening and closing a store: under load, with owners that do not answer, a thousand times, under any name. */
#include "mctest.h"

#include <dirent.h>
#include <malloc.h>
#include <netinet/in.h>

#include "store/store.h"
#include "unit/store_callers.h"

TEST(closing_while_others_call)
{
	struct caller c[4];
	struct child owner;
	uint64_t start;

	NEED_MASTER();
	ASSERT_EQ(child_start(&owner, "provider", master.port, 8 * MIB), 0);
	for (int round = 0; round < 6; round++) {
		struct mc_store *s = st_open(master.port, 0, round % 2 ? "tcp" : NULL);

		ASSERT_TRUE(s);
		memset(c, 0, sizeof(c));
		for (unsigned i = 0; i < 4; i++)
			c[i].s = s;
		callers_start(c, 4);
		if (round >= 4)
			freeze(owner.pid); /* an owner that answers nothing is no reason to wait */
		start = clock_now_ns();
		mc_store_shutdown(s);
		callers_stop(c, 4);
		mc_store_close(s);
		EXPECT_LT(ms_since(start), 2500);
		kill(owner.pid, SIGCONT);
	}
	EXPECT_EQ(child_stop(&owner, 0), 0);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

static void *put_for_long(void *arg)
{
	struct caller *c = arg;

	c->ret = put_by(c->s, "late", "x", 1, deadline_after_ms(20000));
	return NULL;
}

/* Nobody told the call to stop but the one that closes. */
TEST(closing_ends_a_call_that_waits_for_a_stopped_owner)
{
	struct child owner;

	NEED_MASTER();
	ASSERT_EQ(child_start(&owner, "provider", master.port, 8 * MIB), 0);
	for (int tcp = 0; tcp < 2; tcp++) {
		struct caller c = { .s = st_open(master.port, 0, tcp ? "tcp" : NULL) };
		uint64_t start;

		ASSERT_TRUE(c.s);
		EXPECT_EQ(st_put(c.s, "k", "x", 1), 0);
		freeze(owner.pid);
		ASSERT_EQ(pthread_create(&c.thread, NULL, put_for_long, &c), 0);
		while (!atomic_load(&c.s->users))
			usleep(1000);
		start = clock_now_ns();
		mc_store_close(c.s);
		EXPECT_LT(ms_since(start), 3500);
		pthread_join(c.thread, NULL);
		EXPECT_LT(c.ret, 0);
		kill(owner.pid, SIGCONT);
	}
	EXPECT_EQ(child_stop(&owner, 0), 0);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

static unsigned entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

#ifdef __SANITIZE_THREAD__
#define ROUNDS 200 /* each takes ten times as long */
#else
#define ROUNDS 1000
#endif

TEST(opening_and_closing_leaves_nothing)
{
	unsigned fds = 0, threads = 0;
	size_t heap = 0;
	struct mc_store *own, *s;
	char buf[8];

	NEED_MASTER();
	own = st_open(master.port, 4 * MIB, NULL);
	ASSERT_TRUE(own);
	EXPECT_EQ(st_put(own, "k", "x", 1), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (i == 20) {
			fds = entries("/proc/self/fd");
			threads = entries("/proc/self/task");
			heap = mallinfo2().uordblks;
		}
		s = st_open(master.port, i % 50 ? 0 : 2 * MIB, i % 3 ? NULL : "tcp");
		ASSERT_TRUE(s);
		EXPECT_EQ(st_get(s, "k", buf, sizeof(buf)), 1);
		if (i % 5 == 0)
			EXPECT_EQ(st_put_opts(s, "u", "y", 1, (struct mc_put_opts){ .flags = MC_PUT_REPLACE }), 0);
		mc_store_close(s);
	}
	EXPECT_LE(entries("/proc/self/fd"), fds + 2);
	EXPECT_LE(entries("/proc/self/task"), threads);
	EXPECT_LE(mallinfo2().uordblks, heap + 256 * 1024);
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(an_engine_of_the_caller_is_left_as_it_was)
{
	struct mc_engine_opts eo = { .size = sizeof(eo), .local_name = "127.0.0.1" };
	struct mc_engine *eng, *peer;
	struct mc_segment *seg;
	struct mc_store *s;
	uint64_t addr, len;

	NEED_MASTER();
	ASSERT_EQ(mc_engine_open(&eo, &eng), 0);
	ASSERT_EQ(mc_engine_open(&eo, &peer), 0);
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(st_open_opts(master.port, (struct mc_store_opts){ .engine = eng, .pool_bytes = 2 * MIB }, &s), 0);
		EXPECT_EQ(st_put(s, "k", "x", 1), 0);
		ASSERT_EQ(mc_segment_open(peer, mc_engine_name(eng), SOON, &seg), 0);
		EXPECT_EQ(mc_segment_refresh(seg, SOON), 0);
		EXPECT_EQ(mc_segment_buffer(seg, 0, &addr, &len), 0);
		mc_store_close(s);
		EXPECT_EQ(mc_segment_refresh(seg, SOON), 0);
		EXPECT_EQ(mc_segment_buffer(seg, 0, &addr, &len), -ENOENT);
		mc_segment_close(seg);
	}
	mc_engine_close(peer);
	mc_engine_close(eng);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

/* What is no address of anybody is not told to anybody. */
TEST(every_address_is_made_one)
{
	static const char *const names[] = { "0.0.0.0", "[::]", "0.0.0.0:7", "*", "0", "[::ffff:0.0.0.0]" };
	char host[NET_ADDR_TEXT], buf[8];
	struct mc_store *s, *far;
	uint16_t port;

	NEED_MASTER();
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		struct mc_store_opts o = { .pool_bytes = 2 * MIB, .local_name = names[i] };
		struct pool_set *set;

		ASSERT_EQ(st_open_opts(master.port, o, &s), 0);
		EXPECT_EQ(net_split_host_port(mc_store_name(s), host, sizeof(host), &port), 0);
		EXPECT_TRUE(!net_host_is_any(host));
		EXPECT_TRUE(port);
		far = st_open(master.port, 0, "tcp");
		ASSERT_TRUE(far);
		set = pools_get(far);
		ASSERT_EQ(set->nr, 1);
		EXPECT_EQ(net_split_host_port(set->pool[0]->addr, host, sizeof(host), &port), 0);
		EXPECT_TRUE(!net_host_is_any(host));
		pools_put(set);
		EXPECT_EQ(st_put(far, "k", "x", 1), 0);
		EXPECT_EQ(st_get(far, "k", buf, sizeof(buf)), 1);
		mc_store_close(far);
		o.pool_bytes = 0;
		ASSERT_EQ(st_open_opts(master.port, o, &far), 0);
		EXPECT_EQ(net_split_host_port(mc_store_name(far), host, sizeof(host), &port), 0);
		EXPECT_TRUE(!net_host_is_any(host));
		mc_store_close(far);
		mc_store_close(s);
	}
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

/* A client without memory has a port of the range as its name, and none where all are taken. */
TEST(ports_of_names)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .pool_bytes = 2 * MIB };
	socklen_t len = sizeof(a);
	char text[8], want[32];
	struct mc_store *s, *second;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ASSERT_EQ(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ASSERT_EQ(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	snprintf(text, sizeof(text), "%u", ntohs(a.sin_port));
	snprintf(want, sizeof(want), "127.0.0.1:%s", text);
	setenv("MC_STORE_CLIENT_MIN_PORT", text, 1);
	setenv("MC_STORE_CLIENT_MAX_PORT", text, 1);
	ASSERT_EQ(mc_store_open(&o, &s), 0);
	EXPECT_STREQ(mc_store_name(s), want);
	EXPECT_EQ(mc_store_open(&o, &second), -EADDRINUSE);
	mc_store_close(s);
	unsetenv("MC_STORE_CLIENT_MIN_PORT");
	unsetenv("MC_STORE_CLIENT_MAX_PORT");
}
