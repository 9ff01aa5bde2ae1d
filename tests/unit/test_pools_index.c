// SPDX-License-Identifier: Apache-2.0
/* The master's table of pools: lives, indexes, silence, readiness, and what is forgotten when. */
#include "../../daemon/master/pools.h"

#include "mctest.h"

#pragma GCC diagnostic ignored "-Wsign-compare" /* plain numbers beside counters */

#define TTL 1000
#define SETTLE 100

struct setup {
	struct objects *ix;
	struct pools *ps;
};

static struct setup open_at(uint64_t now)
{
	struct objects_opts oo = { .shards = 2 };
	struct pools_opts po = { .ttl_ns = TTL, .settle_ns = SETTLE };
	struct setup s = { 0 };

	EXPECT_EQ(objects_open(&oo, &s.ix), 0);
	EXPECT_EQ(pools_open(&po, s.ix, now, &s.ps), 0);
	return s;
}

static void close_all(struct setup *s)
{
	pools_close(s->ps);
	objects_close(s->ix);
}

static struct pool_info info(uint8_t id, uint64_t epoch)
{
	struct pool_info in = { .epoch = epoch, .segment = { "seg", 3 }, .capacity = 100, .nr_regions = 1,
				.region = { { 0x1000, 100 } } };

	memset(in.id, id, sizeof(in.id));
	return in;
}

static int join(struct setup *s, uint8_t id, uint64_t epoch, uint64_t now, struct pool_life *l, struct pool_life *old)
{
	struct pool_info in = info(id, epoch);
	struct pool_life none;

	l->worker = id;
	return pools_join(s->ps, &in, now, l, old ? old : &none);
}

static void put(struct setup *s, const struct pool_life *l, const char *text)
{
	struct publish_item it = { .key = { text, (uint16_t)strlen(text) }, .put_id = 1, .size = 1, .loc = { .nr_extents = 1 } };
	struct holder old[REPLICAS_MAX];
	unsigned nr;

	EXPECT_EQ(objects_publish(s->ix, l->slot, &it, 0, old, &nr), 0);
}

static bool there(struct setup *s, const char *text)
{
	struct key k = { text, (uint16_t)strlen(text) };
	uint8_t found = 0;

	objects_exist(s->ix, &k, 1, false, 0, &found);
	return found;
}

static uint64_t objects_in(struct setup *s)
{
	struct objects_stat st;

	objects_stat(s->ix, &st);
	return st.objects;
}

static void note(void *arg, const struct pool_life *l)
{
	*(struct pool_life *)arg = *l;
}

TEST(bad_pools_do_not_join)
{
	struct setup s = open_at(0);
	struct pool_life l = { 0 }, old;
	struct pool_info in;

	in = info(0, 1);
	EXPECT_EQ(pools_join(s.ps, &in, 0, &l, &old), -EINVAL);
	in = info(1, 1);
	in.nr_regions = 0;
	EXPECT_EQ(pools_join(s.ps, &in, 0, &l, &old), -EINVAL);
	in = info(1, 1);
	in.region[0].len = 0;
	EXPECT_EQ(pools_join(s.ps, &in, 0, &l, &old), -EINVAL);
	in = info(1, 1);
	in.region[0] = (struct region_info){ UINT64_MAX - 5, 10 };
	EXPECT_EQ(pools_join(s.ps, &in, 0, &l, &old), -EINVAL);
	EXPECT_EQ(pools_view(s.ps), 1);
	close_all(&s);
}

TEST(a_pool_keeps_its_index_and_loses_its_past)
{
	struct setup s = open_at(0);
	struct pool_life a, b, again, old = { 0 };

	EXPECT_EQ(join(&s, 1, 5, 0, &a, NULL), 0);
	EXPECT_EQ(join(&s, 2, 1, 0, &b, NULL), 0);
	EXPECT_NE(a.index, 0);
	EXPECT_NE(a.index, b.index);
	put(&s, &a, "\0x");
	put(&s, &a, "k");
	EXPECT_TRUE(there(&s, "k"));

	EXPECT_EQ(join(&s, 1, 4, 1, &again, NULL), -ESTALE);
	EXPECT_TRUE(there(&s, "k"));
	EXPECT_EQ(join(&s, 1, 6, 1, &again, &old), 1);
	EXPECT_EQ(again.index, a.index);
	EXPECT_NE(again.slot, a.slot);
	EXPECT_EQ(old.slot, a.slot);
	EXPECT_EQ(old.worker, 1);
	EXPECT_TRUE(!there(&s, "k"));
	pools_ended(s.ps, &old, false, 2); /* its connection is told to end */
	EXPECT_TRUE(pools_life(s.ps, again.index, &old)); /* the new life goes on */
	EXPECT_EQ(old.slot, again.slot);
	put(&s, &again, "k");
	while (pools_purge(s.ps, 2, 1))
		;
	EXPECT_TRUE(there(&s, "k"));
	EXPECT_EQ(objects_in(&s), 1);
	close_all(&s);
}

TEST(the_end_of_a_stream)
{
	struct setup s = open_at(0);
	struct pool_life a, b, l;
	uint32_t view;

	EXPECT_EQ(join(&s, 1, 1, 0, &a, NULL), 0);
	EXPECT_EQ(join(&s, 2, 1, 0, &b, NULL), 0);
	put(&s, &a, "a");
	put(&s, &b, "b");
	view = pools_view(s.ps);
	pools_ended(s.ps, &a, false, 100);
	EXPECT_NE(pools_view(s.ps), view);
	EXPECT_TRUE(!there(&s, "a") && there(&s, "b"));
	EXPECT_TRUE(!pools_life(s.ps, a.index, &l));
	EXPECT_TRUE(!pools_purge(s.ps, 100 + TTL - 1, 10)); /* not yet */
	EXPECT_EQ(objects_in(&s), 2);
	while (pools_purge(s.ps, 100 + TTL, 10))
		;
	EXPECT_EQ(objects_in(&s), 1);

	pools_ended(s.ps, &b, true, 2000); /* in order: at once */
	while (pools_purge(s.ps, 2000, 10))
		;
	EXPECT_EQ(objects_in(&s), 0);
	close_all(&s);
}

TEST(silence)
{
	struct msg_pool_stat st = { .capacity = 7, .used = 3 };
	struct setup s = open_at(0);
	struct pool_life a, gone = { 0 };

	EXPECT_EQ(join(&s, 1, 1, 0, &a, NULL), 0);
	put(&s, &a, "a");
	pools_tick(s.ps, TTL - 1, note, &gone);
	EXPECT_EQ(gone.index, 0);
	pools_heard(s.ps, &a, &st, TTL - 1);
	pools_tick(s.ps, 2 * TTL - 2, note, &gone);
	EXPECT_EQ(gone.index, 0);
	pools_tick(s.ps, 2 * TTL - 1, note, &gone);
	EXPECT_EQ(gone.index, a.index);
	EXPECT_EQ(gone.slot, a.slot);
	EXPECT_EQ(gone.worker, 1);
	EXPECT_TRUE(!there(&s, "a"));
	gone.index = 0;
	pools_tick(s.ps, 2 * TTL, note, &gone);
	EXPECT_EQ(gone.index, 0); /* told once */
	close_all(&s);
}

TEST(suspicion)
{
	struct setup s = open_at(0);
	struct pool_life a, l;
	uint32_t view;

	EXPECT_EQ(join(&s, 1, 1, 0, &a, NULL), 0);
	put(&s, &a, "a");
	view = pools_view(s.ps);
	pools_suspect(s.ps, a.index, true);
	EXPECT_TRUE(!there(&s, "a"));
	EXPECT_TRUE(pools_life(s.ps, a.index, &l)); /* still asked to drop */
	EXPECT_EQ(pools_view(s.ps), view + 1);
	pools_suspect(s.ps, a.index, true);
	EXPECT_EQ(pools_view(s.ps), view + 1);
	pools_suspect(s.ps, a.index, false);
	EXPECT_TRUE(there(&s, "a"));
	EXPECT_EQ(pools_view(s.ps), view + 2);
	pools_ended(s.ps, &a, false, 5);
	pools_suspect(s.ps, a.index, false); /* late: a lost one stays lost */
	EXPECT_TRUE(!there(&s, "a"));
	close_all(&s);
}

TEST(quiet)
{
	struct objects_opts oo = { .shards = 2 };
	struct pools_opts po = { .ttl_ns = TTL, .quiet_ns = 300, .settle_ns = SETTLE };
	struct msg_pool_stat st = { .capacity = 7, .used = 3 };
	struct pool_life a, gone = { 0 };
	struct setup s = { 0 };

	EXPECT_EQ(objects_open(&oo, &s.ix), 0);
	EXPECT_EQ(pools_open(&po, s.ix, 0, &s.ps), 0);
	EXPECT_EQ(join(&s, 1, 1, 0, &a, NULL), 0);
	put(&s, &a, "a");
	pools_tick(s.ps, 299, note, &gone);
	EXPECT_TRUE(there(&s, "a"));
	pools_tick(s.ps, 300, note, &gone);
	EXPECT_TRUE(!there(&s, "a"));
	EXPECT_TRUE(pools_life(s.ps, a.index, &gone)); /* still asked to drop */
	pools_heard(s.ps, &a, &st, 400);
	EXPECT_TRUE(there(&s, "a"));

	/* Who did not answer has to answer; to be heard of is not enough. */
	pools_tick(s.ps, 700, note, &gone);
	pools_suspect(s.ps, a.index, true);
	pools_heard(s.ps, &a, &st, 800);
	EXPECT_TRUE(!there(&s, "a"));
	pools_suspect(s.ps, a.index, false);
	EXPECT_TRUE(there(&s, "a"));
	gone.index = 0;
	pools_tick(s.ps, 800 + TTL, note, &gone);
	EXPECT_EQ(gone.index, a.index);
	close_all(&s);
}

TEST(emptying)
{
	struct setup s = open_at(0);
	struct pool_life a, first;

	EXPECT_EQ(join(&s, 1, 1, 0, &a, NULL), 0);
	put(&s, &a, "a");
	first = a;
	EXPECT_EQ(pools_emptied(s.ps, &a, &(struct msg_dropped){ 0 }, 1), 0);
	EXPECT_NE(a.slot, first.slot);
	EXPECT_TRUE(!there(&s, "a"));
	put(&s, &a, "b");
	while (pools_purge(s.ps, 1, 10))
		;
	EXPECT_TRUE(there(&s, "b"));
	EXPECT_EQ(objects_in(&s), 1);
	pools_ended(s.ps, &a, false, 2);
	EXPECT_TRUE(!there(&s, "b"));
	close_all(&s);
}

TEST(readiness)
{
	struct setup s = open_at(1000);
	struct pool_life a, b;

	EXPECT_TRUE(!pools_ready(s.ps, 1000 + SETTLE - 1));
	EXPECT_EQ(join(&s, 1, 1, 1050, &a, NULL), 0);
	EXPECT_TRUE(!pools_ready(s.ps, 1000 + SETTLE)); /* counts from the last one to join */
	EXPECT_TRUE(!pools_ready(s.ps, 1050 + SETTLE)); /* and it has not told all */
	EXPECT_EQ(join(&s, 2, 1, 1100, &b, NULL), 0);
	pools_synced(s.ps, &a);
	EXPECT_TRUE(!pools_ready(s.ps, 2000));
	pools_ended(s.ps, &b, false, 2000); /* nobody waits for the dead */
	EXPECT_TRUE(pools_ready(s.ps, 2000));
	EXPECT_EQ(join(&s, 3, 1, 2001, &b, NULL), 0);
	EXPECT_TRUE(pools_ready(s.ps, 2002)); /* once is for ever */
	close_all(&s);

	s = open_at(0);
	EXPECT_TRUE(pools_ready(s.ps, SETTLE)); /* no pools at all */
	close_all(&s);
}

TEST(indexes_rest_before_they_are_used_again)
{
	struct setup s = open_at(0);
	struct pool_life l;
	uint32_t last = 0;

	for (unsigned i = 0; i < 3 * POOLS_MAX; i++) {
		ASSERT_EQ(join(&s, 1, 1, i, &l, NULL), 0);
		EXPECT_NE(l.index, 0);
		EXPECT_NE(l.index, last);
		last = l.index;
		pools_ended(s.ps, &l, true, i);
		while (pools_purge(s.ps, i, 10))
			;
	}
	close_all(&s);
}

TEST(too_many_pools)
{
	struct setup s = open_at(0);
	struct pool_life l = { 0 }, old;
	struct pool_info in = info(1, 1);
	unsigned nr;

	for (nr = 0; nr < POOLS_MAX + 5; nr++) {
		put_le32(in.id, nr + 1);
		if (pools_join(s.ps, &in, 0, &l, &old))
			break;
	}
	EXPECT_EQ(nr, POOLS_MAX - 1);
	EXPECT_EQ(pools_join(s.ps, &in, 0, &l, &old), -ENOSPC);
	close_all(&s);
}
