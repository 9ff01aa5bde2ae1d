// SPDX-License-Identifier: Apache-2.0
/* The store when others end, stop or lie: every call ends in time, with the right bytes or an error, and nothing is lost. */
#include "mctest.h"

#include "store/store.h"
#include "unit/store_callers.h"

/* A put that waits for a master to be found again. */
static int put_until(struct mc_store *s, const char *key, const void *data, size_t len)
{
	uint64_t end = SOON;
	int ret;

	do {
		ret = put_by(s, key, data, len, end);
		if (ret)
			usleep(2000);
	} while (ret && !deadline_passed(end));
	return ret;
}

/* ---- bytes ---------------------------------------------------------------------------------------------------------- */

static void flip(struct mc_store *own, struct mc_store *far, const char *key, size_t len, size_t where)
{
	const struct pool_view *v = owner_view(own->owner);
	uint8_t *data = malloc(len), *buf = malloc(len), *at;

	fill(data, len, len);
	EXPECT_EQ(st_put(far, key, data, len), 0);
	EXPECT_EQ(st_get(far, key, buf, len), (int64_t)len);
	at = memmem(v->region[0].base, v->region[0].size, data, len);
	ASSERT_TRUE(at);
	__atomic_fetch_xor(&at[where], 4, __ATOMIC_SEQ_CST);
	EXPECT_LT(st_get(far, key, buf, len), 0);
	__atomic_fetch_xor(&at[where], 4, __ATOMIC_SEQ_CST);
	EXPECT_EQ(st_get(far, key, buf, len), (int64_t)len);
	EXPECT_TRUE(filled(buf, len, len));
	free(data);
	free(buf);
}

TEST(a_flipped_byte_is_not_delivered)
{
	struct mc_store *own, *far;

	NEED_MASTER();
	own = st_open(master.port, 4 * MIB, NULL);
	far = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(own && far);
	flip(own, far, "small", 5000, 1234);
	flip(own, far, "first", 900000, 0);
	flip(own, far, "last", 700001, 700000);
	mc_store_close(far);
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(a_get_on_this_node_makes_no_system_call)
{
	struct mc_store *own;
	static uint8_t data[4096];
	struct child c;

	NEED_MASTER();
	own = st_open(master.port, 4 * MIB, NULL);
	ASSERT_TRUE(own);
	fill(data, sizeof(data), 7);
	EXPECT_EQ(st_put(own, "quiet", data, sizeof(data)), 0);
	ASSERT_EQ(child_start(&c, "quiet", master.port, 0), 0);
	EXPECT_EQ(child_stop(&c, 0), 0);
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

/* ---- owners --------------------------------------------------------------------------------------------------------- */

TEST(an_owner_that_leaves_does_not_wait_for_idle_clients)
{
	struct mc_store *a;
	uint64_t start;
	struct child c;

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 8 * MIB), 0);
	a = st_open(master.port, 0, NULL);
	ASSERT_TRUE(a);
	EXPECT_EQ(st_put(a, "k", "x", 1), 0); /* and space is kept for the next one */
	start = clock_now_ns();
	EXPECT_EQ(child_stop(&c, 0), 0);
	EXPECT_LT(ms_since(start), 700);
	EXPECT_EQ(st_exists(a, "k"), 0);
	EXPECT_EQ(st_put(a, "k", "x", 1), -ECONNREFUSED);
	mc_store_close(a);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(owners_and_writers_die_under_load)
{
	struct caller c[3] = { 0 };
	struct child owner, putter;

	NEED_MASTER();
	for (int round = 0; round < 3; round++) {
		struct child next;

		memset(c, 0, sizeof(c));
		ASSERT_EQ(child_start(&owner, "provider", master.port, 8 * MIB), 0);
		ASSERT_EQ(child_start(&putter, "putter", master.port, 0), 0);
		c[0].s = st_open(master.port, 0, NULL);
		c[1].s = st_open(master.port, 0, "tcp");
		c[2].s = st_open(master.port, 8 * MIB, NULL);
		ASSERT_TRUE(c[0].s && c[1].s && c[2].s);
		callers_start(c, 3);
		EXPECT_EQ(child_stop(&putter, SIGKILL), 128 + SIGKILL);
		EXPECT_EQ(child_stop(&owner, SIGKILL), 128 + SIGKILL);
		ASSERT_EQ(child_start(&next, "provider", master.port, 8 * MIB), 0);
		for (unsigned i = 0; i < 3; i++) {
			unsigned from = atomic_load(&c[i].calls);

			while (atomic_load(&c[i].calls) < from + 20)
				usleep(1000);
			EXPECT_EQ(put_until(c[i].s, "alive", "x", 1), 0);
		}
		callers_stop(c, 3);
		for (unsigned i = 0; i < 3; i++)
			mc_store_close(c[i].s);
		EXPECT_EQ(child_stop(&next, 0), 0);
	}
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

/* What was granted, or was on its way to a verdict, when a call gave up is not lost to the pool. */
TEST(space_of_puts_that_gave_up_comes_back)
{
	uint8_t *data = calloc(1, 7 * MIB);
	struct mc_store *a;
	struct child c;
	char key[16];

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 8 * MIB), 0);
	a = st_open(master.port, 0, NULL);
	ASSERT_TRUE(a && data);
	for (unsigned i = 0; i < 12; i++) {
		uint64_t start = clock_now_ns();

		snprintf(key, sizeof(key), "g%u", i);
		freeze(c.pid);
		EXPECT_EQ(put_by(a, key, data, MIB, deadline_after_ms(60)), -ETIMEDOUT);
		EXPECT_LT(ms_since(start), 60 + 150);
		kill(c.pid, SIGCONT);
	}
	EXPECT_EQ(put_by(a, "large", data, 7 * MIB, SOON), 0);
	mc_store_close(a);
	EXPECT_EQ(child_stop(&c, 0), 0);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
	free(data);
}

/* ---- the master ----------------------------------------------------------------------------------------------------- */

TEST(a_blank_master_is_refilled)
{
	struct mc_store *own, *other, *far;
	uint8_t *big = calloc(1, 6 * MIB);
	char port[32], key[16], buf[64];
	struct mc_query q = { .key = key_of("m1") };
	uint64_t end;

	NEED_MASTER();
	own = st_open(master.port, 8 * MIB, NULL);
	other = st_open(master.port, 8 * MIB, NULL);
	far = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(own && other && far && big);
	for (unsigned i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "m%u", i);
		EXPECT_EQ(st_put(i % 2 ? own : other, key, key, strlen(key)), 0);
	}
	snprintf(port, sizeof(port), "--port=%u", master.port);
	EXPECT_EQ(rig_stop(&master, SIGKILL), 128 + SIGKILL);
	EXPECT_EQ(st_get(own, "m1", buf, sizeof(buf)), 2); /* what is here needs no master */
	EXPECT_EQ(st_exists(own, "m1"), 1);
	EXPECT_EQ(mc_store_size(own, &q, 1, SOON), 1);
	EXPECT_EQ(mc_store_stat(own, &q, 1, SOON), -ECONNREFUSED); /* nobody can count the replicas */
	EXPECT_EQ(mc_store_health(own), -ECONNREFUSED);
	for (unsigned i = 0; i < 30; i++) {
		snprintf(key, sizeof(key), "n%u", i);
		EXPECT_EQ(put_by(own, key, big, MIB, deadline_after_ms(200)) < 0, 1);
	}
	ASSERT_EQ(rig_master(&master, port, NULL, NULL), 0);
	EXPECT_EQ(put_until(own, "large", big, 6 * MIB), 0); /* refused puts left no space behind */
	end = SOON;
	for (unsigned i = 0; i < 50; i++) {
		int64_t n;

		snprintf(key, sizeof(key), "m%u", i);
		do
			n = st_get(far, key, buf, sizeof(buf));
		while (n < 0 && i % 2 == 0 && !deadline_passed(end));
		EXPECT_TRUE(i % 2 ? n == (int64_t)strlen(key) || n == -ENOENT : n == (int64_t)strlen(key));
		EXPECT_TRUE(n < 0 || !memcmp(buf, key, (size_t)n));
	}
	mc_store_close(far);
	mc_store_close(other);
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
	free(big);
}

#define IN_TIME(call, want)                                    \
	do {                                                   \
		uint64_t start_ = clock_now_ns();              \
		EXPECT_EQ(call, want);                         \
		EXPECT_LT(ms_since(start_), 150 + 100);        \
	} while (0)

TEST(calls_end_while_the_master_is_stopped)
{
	struct mc_store *own, *far;
	struct mc_query q = { .key = key_of("none") };
	struct mc_remove r = { .key = key_of("none") };
	char buf[8];

	NEED_MASTER();
	own = st_open(master.port, 4 * MIB, NULL);
	far = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(own && far);
	freeze(master.pid);
	IN_TIME(get_by(far, "none", buf, 8, deadline_after_ms(150)), -ETIMEDOUT);
	IN_TIME(put_by(own, "k", "x", 1, deadline_after_ms(150)), -ETIMEDOUT);
	IN_TIME(put_by(far, "k2", "x", 1, deadline_after_ms(150)), -ETIMEDOUT);
	IN_TIME(mc_store_exists(far, &q, 1, deadline_after_ms(150)), -ETIMEDOUT);
	IN_TIME(mc_store_remove(far, &r, 1, 0, deadline_after_ms(150)), 0);
	EXPECT_EQ(r.result, -ETIMEDOUT);
	IN_TIME(mc_store_list(far, NULL, NULL, NULL, deadline_after_ms(150)), -ETIMEDOUT);
	kill(master.pid, SIGCONT);
	EXPECT_EQ(put_until(far, "k3", "x", 1), 0);
	mc_store_close(far);
	mc_store_close(own);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

struct getter {
	struct link *l;
	pthread_t thread;
	int ret;
};

static void *get_long(void *arg)
{
	struct getter *g = arg;
	struct link_conn *c;

	g->ret = link_get(g->l, deadline_after_ms(20000), &c);
	return NULL;
}

/* A server that accepts and says nothing. */
/* Each get of it once cost all the time there was, although another replica was there. */
TEST(a_stopped_owner_is_learnt_once)
{
	static uint8_t data[20000], buf[20000];
	struct child c, d;
	uint64_t start;
	struct mc_store *b;
	char key[16];

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 8 * MIB), 0);
	ASSERT_EQ(child_start(&d, "provider", master.port, 8 * MIB), 0);
	b = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(b);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "both%u", i);
		fill(data, sizeof(data), i);
		EXPECT_EQ(st_put_opts(b, key, data, sizeof(data), (struct mc_put_opts){ .replicas = 2 }), 0);
		EXPECT_EQ(st_get(b, key, buf, sizeof(buf)), sizeof(buf));
	}
	freeze(c.pid);
	start = clock_now_ns();
	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "both%u", i);
		memset(buf, 0, sizeof(buf));
		EXPECT_EQ(get_by(b, key, buf, sizeof(buf), deadline_after_ms(4000)), sizeof(buf));
		EXPECT_TRUE(filled(buf, sizeof(buf), i));
	}
	EXPECT_LT(clock_now_ns() - start, 5 * NSEC_PER_SEC);
	kill(c.pid, SIGCONT);
	mc_store_close(b);
	EXPECT_EQ(child_stop(&c, 0), 0);
	EXPECT_EQ(child_stop(&d, 0), 0);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(who_connects_holds_up_nobody_else)
{
	struct mc_store s = { .name = "test" };
	struct getter g = { 0 };
	struct link_conn *c;
	struct net_addr a;
	char text[NET_ADDR_TEXT];
	struct link l;
	uint64_t start;
	uint16_t port;
	int fd;

	ASSERT_EQ(net_listen_range("127.0.0.1", 20000, 30000, &fd, &port), 0);
	snprintf(text, sizeof(text), "127.0.0.1:%u", port);
	ASSERT_EQ(net_addr_parse(text, 0, &a), 0);
	ASSERT_EQ(link_init(&l, &s, text, ROLE_CLIENT), 0);
	g.l = &l;
	pthread_create(&g.thread, NULL, get_long, &g);
	for (bool busy = false; !busy; usleep(500)) {
		pthread_mutex_lock(&l.lock);
		busy = l.greeting;
		pthread_mutex_unlock(&l.lock);
	}
	start = clock_now_ns();
	EXPECT_EQ(link_get(&l, deadline_after_ms(50), &c), -ETIMEDOUT);
	EXPECT_LT(ms_since(start), 150);
	start = clock_now_ns();
	link_shutdown(&l);
	pthread_join(g.thread, NULL);
	EXPECT_LT(g.ret, 0);
	EXPECT_LT(ms_since(start), 500);
	EXPECT_EQ(link_get(&l, SOON, &c), -ESHUTDOWN);
	link_fini(&l);
	close(fd);
}
