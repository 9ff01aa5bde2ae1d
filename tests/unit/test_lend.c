// SPDX-License-Identifier: Apache-2.0
/* Objects lent to who sends them: their bytes stay while everything around them is evicted, and while they are removed. */
#include "mctest.h"
#include "unit/pool_puts.h"

static uint64_t gen_of(struct pool *p, unsigned long nr, struct found *f)
{
	struct rig_key k;

	rig_key(&k, nr);
	return view_lookup(pool_view(p), k.key.data, k.key.len, f) ? 0 : f->loc.gen;
}

static int lend(struct pool *p, unsigned long nr, uint64_t gen, struct lent **out)
{
	struct rig_key k;

	return pool_lend(p, rig_key(&k, nr), gen, out);
}

static bool bytes_are(struct pool *p, const struct found *f, unsigned long nr)
{
	const struct extent_hdr *h = (void *)((char *)pool_view(p)->region[f->loc.region].base + f->loc.off);

	return rig_check(h + 1, f->size, nr);
}

static uint64_t used(struct pool *p)
{
	struct pool_stat st;

	pool_stat(p, &st);
	return st.used;
}

TEST(is_not_evicted)
{
	struct pool *p = pool_of(2 * MiB);
	struct lent *a, *b;
	struct found f;
	uint64_t gen;

	EXPECT_EQ(put(p, 1, 300 * KiB, 0), 0);
	gen = gen_of(p, 1, &f);
	EXPECT_EQ(lend(p, 1, gen + 2, &a), -ENOENT);
	EXPECT_EQ(lend(p, 2, gen, &a), -ENOENT);
	ASSERT_EQ(lend(p, 1, gen, &a), 0);
	ASSERT_EQ(lend(p, 1, gen, &b), 0);
	EXPECT_TRUE(a == b);
	for (unsigned long i = 10; i < 100; i++)
		EXPECT_EQ(put(p, i, 200 * KiB, 0), 0);
	EXPECT_TRUE(has(p, 1, 300 * KiB));
	pool_give_back(p, a);
	for (unsigned long i = 100; i < 150; i++)
		EXPECT_EQ(put(p, i, 200 * KiB, 0), 0);
	EXPECT_TRUE(has(p, 1, 300 * KiB));
	pool_give_back(p, b);
	for (unsigned long i = 150; i < 200; i++)
		EXPECT_EQ(put(p, i, 200 * KiB, 0), 0);
	EXPECT_TRUE(!has(p, 1, 300 * KiB));
	pool_close(p);
}

/* Removed, replaced, or in everybody's way: readers miss it, the borrower does not. */
TEST(keeps_its_bytes_when_it_goes)
{
	static const char *const how[] = { "drop", "drop all", "replace", "replace pinned" };

	for (unsigned k = 0; k < ARRAY_SIZE(how); k++) {
		uint32_t flags = k == 3 ? OBJ_HARD_PIN : 0;
		struct pool *p = pool_of(2 * MiB);
		struct rig_key key;
		struct lent *l;
		struct found f;
		uint64_t before;

		EXPECT_EQ(put(p, 1, 300 * KiB, flags), 0);
		ASSERT_EQ(lend(p, 1, gen_of(p, 1, &f), &l), 0);
		rig_key(&key, 1);
		if (k == 0)
			EXPECT_EQ(pool_drop(p, &key.key, 0, true, 0, 0), 0);
		else if (k == 1)
			EXPECT_EQ(pool_drop_prefix(p, NULL, 0, true, 0, 0), 1);
		else
			EXPECT_EQ(put(p, 1, 100 * KiB, OBJ_REPLACE), 0);
		EXPECT_TRUE(!view_valid(pool_view(p), &f.loc));
		for (unsigned long i = 10; i < 100; i++)
			EXPECT_EQ(put(p, i, 200 * KiB, 0), 0);
		if (!bytes_are(p, &f, 1))
			MCTEST_FAIL("%s: the bytes changed while they were lent", how[k]);
		before = used(p);
		pool_give_back(p, l);
		EXPECT_TRUE(used(p) + 300 * KiB <= before);
		pool_drop_prefix(p, NULL, 0, true, 0, 0);
		EXPECT_EQ(used(p), 0);
		pool_close(p);
	}
}

TEST(pieces)
{
	struct pool *p = pool_of(2 * MiB);
	struct rig_key key;
	struct lent *l;
	struct found f;

	/* Every second of many goes: what is free lies in pieces. */
	for (unsigned long i = 10; i < 40; i++)
		EXPECT_EQ(put(p, i, 65 * KiB, OBJ_HARD_PIN), 0);
	for (unsigned long i = 10; i < 40; i += 2)
		EXPECT_EQ(pool_drop(p, rig_key(&key, i), 0, true, 0, 0), 0);
	EXPECT_EQ(put(p, 1, 500 * KiB, 0), 0);
	ASSERT_TRUE(gen_of(p, 1, &f));
	EXPECT_TRUE(f.loc.nr_extents > 1);
	ASSERT_EQ(lend(p, 1, f.loc.gen, &l), 0);
	EXPECT_EQ(pool_drop(p, rig_key(&key, 1), 0, true, 0, 0), 0);
	pool_give_back(p, l);
	EXPECT_EQ(put(p, 2, 500 * KiB, 0), 0); /* only there is so much room */
	pool_drop_prefix(p, NULL, 0, true, 0, 0);
	EXPECT_EQ(used(p), 0);
	ASSERT_EQ(put(p, 3, 1000, 0), 0);
	ASSERT_EQ(lend(p, 3, gen_of(p, 3, &f), &l), 0);
	pool_close(p); /* in the middle */
}
