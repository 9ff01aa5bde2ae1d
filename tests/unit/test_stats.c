/* SPDX-License-Identifier: Apache-2.0 */
/* What a store says of itself: hits, misses by reason, bytes and times by way, and the last failure in words. */
#include "mctest.h"

#include "store/store.h"
#include "unit/store_callers.h"

static struct mc_store_stats stats_of(struct mc_store *s)
{
	struct mc_store_stats st = { .size = sizeof(st) };

	EXPECT_EQ(mc_store_stats(s, &st), 0);
	return st;
}

static struct mc_store *open_alone(void)
{
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .pool_bytes = 8 * MIB };
	struct mc_store *s = NULL;

	EXPECT_EQ(mc_store_open(&o, &s), 0);
	return s;
}

TEST(hits_bytes_and_reasons)
{
	struct mc_store *s = open_alone();
	struct mc_store_stats st;
	static uint8_t data[6000], buf[6000];
	struct mc_slice part = { buf, 100, 50, 0 };
	struct mc_get_slices sl = { .key = key_of("a"), .slices = &part, .nr = 1 };

	ASSERT_TRUE(s);
	st = stats_of(s);
	EXPECT_EQ(st.hits + st.misses + st.puts + st.puts_failed, 0);
	EXPECT_EQ(st_put(s, "a", data, 5000), 0);
	EXPECT_EQ(st_put(s, "b", data, 6000), 0);
	EXPECT_EQ(st_put(s, "a", data, 5000), 0); /* there already: nothing moves */
	EXPECT_LT(st_put(s, "", data, 5000), 0);
	EXPECT_EQ(st_get(s, "a", buf, sizeof(buf)), 5000);
	EXPECT_EQ(mc_store_get_slices(s, &sl, 1, 0), 1);
	EXPECT_EQ(st_get(s, "c", buf, sizeof(buf)), -ENOENT);
	EXPECT_EQ(st_get(s, "d", buf, sizeof(buf)), -ENOENT);
	EXPECT_EQ(st_get(s, "b", buf, 10), -EMSGSIZE);
	st = stats_of(s);
	EXPECT_EQ(st.hits, 2);
	EXPECT_EQ(st.misses, 3);
	EXPECT_EQ(st.miss[MC_MISS_ABSENT], 2);
	EXPECT_EQ(st.miss[MC_MISS_CALL], 1);
	EXPECT_EQ(st.get[MC_PATH_MAPPED].objects, 2);
	EXPECT_EQ(st.get[MC_PATH_MAPPED].bytes, 5050);
	EXPECT_EQ(st.puts, 3);
	EXPECT_EQ(st.puts_failed, 1);
	EXPECT_EQ(st.put[MC_PATH_MAPPED].objects, 2);
	EXPECT_EQ(st.put[MC_PATH_MAPPED].bytes, 11000);
	EXPECT_EQ(st.get[MC_PATH_TCP].objects + st.put[MC_PATH_TCP].objects, 0);
	mc_store_close(s);
}

TEST(times)
{
	struct mc_store *s = open_alone();
	struct mc_store_stats st;
	uint8_t buf[64] = { 0 };

	ASSERT_TRUE(s);
	EXPECT_EQ(st_put(s, "k", buf, sizeof(buf)), 0);
	for (unsigned i = 0; i < 3200; i++)
		EXPECT_EQ(st_get(s, "k", buf, sizeof(buf)), sizeof(buf));
	st = stats_of(s);
	EXPECT_EQ(st.get[MC_PATH_MAPPED].timed, 100); /* one in 32 */
	EXPECT_GT(st.get[MC_PATH_MAPPED].p50_ns, 0);
	EXPECT_GE(st.get[MC_PATH_MAPPED].p99_ns, st.get[MC_PATH_MAPPED].p50_ns);
	EXPECT_EQ(st.put[MC_PATH_MAPPED].timed, 1);
	EXPECT_LT(st.put[MC_PATH_MAPPED].p50_ns, 10 * NSEC_PER_SEC);
	EXPECT_EQ(st.get[MC_PATH_TCP].p50_ns, 0);
	mc_store_close(s);
}

/* A bucket's longest time is no shorter than what is in it, and at most an eighth longer. */
TEST(times_are_told_to_an_eighth)
{
	struct mc_store s = { 0 };
	struct mc_store_stats st = { .size = sizeof(st) };
	struct tally t = { .way[MC_PATH_TCP] = { 1, 1 } };

	for (uint64_t ns = 1; ns < 1ull << 40; ns = ns * 9 / 7 + 1) {
		uint64_t p;

		ASSERT_EQ(stats_open(&s.stats), 0);
		stats_got(&s, &t, clock_now_ns() - ns);
		EXPECT_EQ(mc_store_stats(&s, &st), 0);
		p = st.get[MC_PATH_TCP].p99_ns;
		EXPECT_EQ(st.get[MC_PATH_TCP].timed, 1);
		EXPECT_GE(p, ns);
		if (ns > NSEC_PER_SEC) /* what passed between is nothing then */
			EXPECT_LE(p, ns + ns / 8 + NSEC_PER_SEC / 100);
		stats_close(s.stats);
	}
}

struct reader {
	struct mc_store *s;
	pthread_t thread;
};

static void *read_much(void *arg)
{
	struct reader *r = arg;
	uint8_t buf[64];

	for (unsigned i = 0; i < 2000; i++)
		st_get(r->s, i % 5 ? "k" : "none", buf, sizeof(buf));
	return NULL;
}

TEST(threads_lose_no_count)
{
	struct reader r[80]; /* more than there are stripes */
	struct mc_store *s = open_alone();
	struct mc_store_stats st;
	uint8_t buf[64] = { 0 };

	ASSERT_TRUE(s);
	EXPECT_EQ(st_put(s, "k", buf, sizeof(buf)), 0);
	for (unsigned i = 0; i < 80; i++) {
		r[i].s = s;
		ASSERT_EQ(pthread_create(&r[i].thread, NULL, read_much, &r[i]), 0);
	}
	for (unsigned i = 0; i < 80; i++)
		pthread_join(r[i].thread, NULL);
	st = stats_of(s);
	EXPECT_EQ(st.hits, 80 * 1600);
	EXPECT_EQ(st.miss[MC_MISS_ABSENT], 80 * 400);
	EXPECT_EQ(st.get[MC_PATH_MAPPED].bytes, 80 * 1600 * 64);
	mc_store_close(s);
}

TEST(callers_of_other_sizes)
{
	struct {
		struct mc_store_stats st;
		uint64_t newer;
	} big = { .st.size = sizeof(big), .newer = 7 };
	struct mc_store_stats small = { .size = offsetof(struct mc_store_stats, misses), .misses = 7 };
	struct mc_store *s = open_alone();
	char buf[4];

	ASSERT_TRUE(s);
	EXPECT_EQ(st_put(s, "k", "1234", 4), 0);
	EXPECT_EQ(st_get(s, "k", buf, 4), 4);
	EXPECT_EQ(st_get(s, "none", buf, 4), -ENOENT);
	EXPECT_EQ(mc_store_stats(s, &big.st), 0);
	EXPECT_EQ(big.st.size, sizeof(big));
	EXPECT_EQ(big.st.hits, 1);
	EXPECT_EQ(big.newer, 0);
	EXPECT_EQ(mc_store_stats(s, &small), 0);
	EXPECT_EQ(small.hits, 1);
	EXPECT_EQ(small.misses, 7); /* beyond what it said it has */
	small.size = 4;
	EXPECT_EQ(mc_store_stats(s, &small), -EINVAL);
	mc_store_close(s);
}

TEST(names)
{
	for (unsigned i = 0; i < MC_PATHS + 1; i++)
		EXPECT_TRUE(!mc_path_name(i) == (i > MC_PATH_TCP));
	for (unsigned i = 0; i < MC_MISSES + 1; i++)
		EXPECT_TRUE(!mc_miss_name(i) == (i > MC_MISS_CALL));
	EXPECT_STREQ(mc_path_name(MC_PATH_MAPPED), "mapped");
	EXPECT_STREQ(mc_miss_name(MC_MISS_TIMEOUT), "timeout");
}

/* ---- a cluster: the ways there are, and what can go wrong on them ---------------------------------------------------- */

TEST(ways_and_reasons_of_a_cluster)
{
	struct mc_store *near, *far;
	struct mc_store_stats st;
	static uint8_t data[5000], buf[5000];
	struct child c;

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 8 * MIB), 0);
	near = st_open(master.port, 0, NULL);
	far = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(near && far);
	EXPECT_EQ(st_put(near, "n", data, sizeof(data)), 0);
	EXPECT_EQ(st_put(far, "f", data, sizeof(data)), 0);
	EXPECT_EQ(st_get(near, "f", buf, sizeof(buf)), sizeof(buf));
	EXPECT_EQ(st_get(far, "n", buf, sizeof(buf)), sizeof(buf));
	EXPECT_EQ(st_get(far, "none", buf, sizeof(buf)), -ENOENT);
	EXPECT_EQ(st_remove(near, "n"), 0);
	EXPECT_EQ(st_get(far, "n", buf, sizeof(buf)), -ENOENT); /* whose place it remembers */
	st = stats_of(near);
	EXPECT_EQ(st.get[MC_PATH_MAPPED].bytes, sizeof(buf));
	EXPECT_EQ(st.put[MC_PATH_MAPPED].bytes, sizeof(buf));
	EXPECT_EQ(st.get[MC_PATH_TCP].objects + st.put[MC_PATH_TCP].objects, 0);
	st = stats_of(far);
	EXPECT_EQ(st.get[MC_PATH_TCP].bytes, sizeof(buf));
	EXPECT_EQ(st.put[MC_PATH_TCP].bytes, sizeof(buf));
	EXPECT_EQ(st.get[MC_PATH_TCP].timed, 1);
	EXPECT_EQ(st.get[MC_PATH_MAPPED].objects + st.put[MC_PATH_MAPPED].objects, 0);
	EXPECT_EQ(st.miss[MC_MISS_ABSENT], 1);
	EXPECT_EQ(st.miss[MC_MISS_GONE], 1);

	EXPECT_EQ(st_put(near, "n", data, sizeof(data)), 0);
	freeze(c.pid);
	EXPECT_EQ(get_by(far, "n", buf, sizeof(buf), deadline_after_ms(300)), -ETIMEDOUT);
	EXPECT_TRUE(strstr(mc_last_error(), "\"n\"") && strstr(mc_last_error(), "deadline"));
	rig_stop(&master, SIGKILL);
	EXPECT_LT(get_by(near, "none", buf, sizeof(buf), deadline_after_ms(300)), 0);
	EXPECT_TRUE(strstr(mc_last_error(), "the master could not be asked"));
	EXPECT_EQ(st_get(near, "n", buf, sizeof(buf)), sizeof(buf)); /* nobody needs to be asked */
	st = stats_of(far);
	EXPECT_EQ(st.miss[MC_MISS_TIMEOUT], 1);
	st = stats_of(near);
	EXPECT_EQ(st.miss[MC_MISS_MASTER], 1);
	kill(c.pid, SIGCONT);
	child_stop(&c, SIGKILL);
	mc_store_close(far);
	mc_store_close(near);
}

TEST(failures_in_words)
{
	struct mc_store *s = open_alone();
	struct mc_remove rm = { .key = key_of("k\n") };
	struct mc_iov iov = { 0 };
	struct mc_put two[2] = { { .key = key_of("x"), .iov = &iov, .nr_iov = 0 }, { .key = key_of("y"), .iov = &iov, .nr_iov = 0 } };
	char buf[4], longer[200];

	ASSERT_TRUE(s);
	EXPECT_EQ(st_get(s, "gone", buf, 4), -ENOENT);
	EXPECT_STREQ(mc_last_error(), "get \"gone\": nobody has it (No such file or directory)");
	EXPECT_EQ(st_put(s, "k\n", "1234", 4), 0);
	EXPECT_EQ(st_get(s, "k\n", buf, 4), 4);
	EXPECT_STREQ(mc_last_error(), "get \"gone\": nobody has it (No such file or directory)"); /* success says nothing */
	EXPECT_EQ(mc_store_remove(s, &rm, 1, 0, 0), 0);
	EXPECT_TRUE(strstr(mc_last_error(), "remove \"k?\": ") && strstr(mc_last_error(), "leased"));
	EXPECT_EQ(mc_store_put(s, two, 2, NULL, 0), 0);
	EXPECT_TRUE(strstr(mc_last_error(), "put \"x\": ") && strstr(mc_last_error(), "; 1 more failed"));
	memset(longer, 'z', sizeof(longer));
	longer[199] = 0;
	EXPECT_EQ(st_get(s, longer, buf, 4), -ENOENT);
	EXPECT_TRUE(strstr(mc_last_error(), "zzz...\": nobody"));
	mc_store_close(s);
}

