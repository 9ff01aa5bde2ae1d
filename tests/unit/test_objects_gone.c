// SPDX-License-Identifier: Apache-2.0
/* The master's index: pools that are away, what was removed meanwhile, and that it does not come back with them. */
#include "../../daemon/master/table.h"

#include "unit/objects_rig.h"

TEST(what_is_not_live_gives_way)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 1), b = slot_new(ix, 2), again;
	struct key k = key_of(0);
	struct located l;

	EXPECT_EQ(put(ix, a, k, 1, 0, 10, NULL), 0);
	objects_slot_set(ix, a, SLOT_GONE);
	EXPECT_TRUE(!exists(ix, k));
	objects_locate(ix, &k, true, 0, &l);
	EXPECT_EQ(l.status, -ENOENT);
	EXPECT_EQ(put(ix, b, k, 2, 0, 20, NULL), 0);
	EXPECT_TRUE(exists(ix, k));

	/* Its pool comes back with the old one. */
	again = slot_new(ix, 1);
	EXPECT_EQ(put(ix, again, k, 1, 0, 10, NULL), -EEXIST);
	objects_slot_set(ix, b, SLOT_GONE);
	EXPECT_EQ(put(ix, again, k, 1, 0, 10, NULL), 0);
	objects_locate(ix, &k, false, 0, &l);
	EXPECT_EQ(l.nr_replicas, 1);
	EXPECT_EQ(l.put_id, 1);
	objects_close(ix);
}

TEST(what_was_removed_does_not_come_back)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 1), b = slot_new(ix, 2), again;
	struct key k = key_of(0), k2 = key_of(1), k3 = key_of(2);
	struct holder h[REPLICAS_MAX];
	struct located l;
	unsigned nr = 0;

	EXPECT_EQ(put(ix, a, k, 1, 0, 10, NULL), 0);
	EXPECT_EQ(put(ix, b, k, 1, 0, 20, NULL), 0);
	EXPECT_EQ(put(ix, a, k2, 1, 0, 12, NULL), 0);
	EXPECT_EQ(put(ix, a, k3, 1, 0, 14, NULL), 0);
	objects_slot_set(ix, a, SLOT_GONE);
	EXPECT_EQ(objects_holders(ix, &k, true, 0, h, &nr), 0);
	EXPECT_EQ(nr, 1);
	EXPECT_TRUE(objects_withdraw(ix, b, &k, 20));
	EXPECT_EQ(objects_holders(ix, &k2, true, 0, h, &nr), -ENOENT);

	again = slot_new(ix, 1); /* the pool is back, and tells what it has */
	EXPECT_EQ(put(ix, again, k, 1, 0, 10, NULL), -EEXIST);
	EXPECT_EQ(put(ix, again, k2, 1, 0, 12, NULL), -EEXIST);
	EXPECT_EQ(put(ix, again, k3, 1, 0, 14, NULL), 0); /* nobody removed this one */
	EXPECT_TRUE(!exists(ix, k) && !exists(ix, k2) && exists(ix, k3));
	EXPECT_EQ(put(ix, again, k2, 2, OBJ_CRC, 16, NULL), 0); /* stored anew is stored */
	objects_locate(ix, &k2, false, 0, &l);
	EXPECT_EQ(l.status, 0);
	EXPECT_EQ(l.flags, OBJ_CRC);
	objects_slot_set(ix, again, SLOT_GONE);
	objects_slot_bury(ix, again); /* all of it was removed */
	b = slot_new(ix, 1);
	EXPECT_EQ(put(ix, b, k3, 1, 0, 14, NULL), -EEXIST);
	EXPECT_EQ(put(ix, b, k3, 7, 0, 18, NULL), 0);
	objects_close(ix);
}

/* Longer than the index remembers what the pool had. */
TEST(removed_while_away_for_long)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 1), b = slot_new(ix, 2);
	struct key k = key_of(0), k2 = key_of(1), k3 = key_of(2), k4 = key_of(3);
	struct holder h[REPLICAS_MAX];
	unsigned nr;

	EXPECT_EQ(put(ix, a, k, 1, 0, 10, NULL), 0);
	EXPECT_EQ(put(ix, b, k, 1, 0, 20, NULL), 0);
	EXPECT_EQ(put(ix, a, k2, 2, 0, 12, NULL), 0);
	EXPECT_EQ(put(ix, a, k3, 3, 0, 14, NULL), 0);
	EXPECT_EQ(put(ix, a, k4, 4, 0, 16, NULL), 0);
	EXPECT_TRUE(objects_bury(ix, a, &k2, 12)); /* removed; the pool did not say that it heard */
	objects_slot_set(ix, a, SLOT_GONE);
	EXPECT_EQ(objects_holders(ix, &k, true, 0, h, &nr), 0);
	EXPECT_TRUE(objects_withdraw(ix, b, &k, 20));
	EXPECT_EQ(put(ix, b, k3, 33, OBJ_REPLACE, 24, NULL), 0); /* replaced, then evicted */
	EXPECT_TRUE(objects_withdraw(ix, b, &k3, 24));
	while (objects_slot_purge(ix, a, 10))
		;
	objects_slot_close(ix, a);
	a = slot_new(ix, 1);
	EXPECT_EQ(put(ix, a, k, 1, 0, 10, NULL), -EEXIST);
	EXPECT_EQ(put(ix, a, k2, 2, 0, 12, NULL), -EEXIST);
	EXPECT_EQ(put(ix, a, k3, 3, 0, 14, NULL), -EEXIST);
	EXPECT_EQ(put(ix, a, k4, 4, 0, 16, NULL), 0); /* nobody removed this one */
	EXPECT_EQ(put(ix, a, k, 5, 0, 18, NULL), 0);

	objects_slot_set(ix, a, SLOT_GONE);
	objects_slot_bury(ix, a); /* everything was removed */
	while (objects_slot_purge(ix, a, 10))
		;
	objects_slot_close(ix, a);
	a = slot_new(ix, 1);
	EXPECT_EQ(put(ix, a, k4, 4, 0, 16, NULL), -EEXIST);
	EXPECT_EQ(put(ix, a, k, 5, 0, 18, NULL), -EEXIST);
	objects_close(ix);
}

TEST(graves_are_bounded)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 1), b;
	unsigned back = 0, nr = 4 * GRAVES_MAX; /* of two shards */
	struct holder h[REPLICAS_MAX];
	unsigned nr_h;

	for (unsigned i = 0; i < nr; i++)
		EXPECT_EQ(put(ix, a, key_of(i), i + 1, 0, 10 + 2 * i, NULL), 0);
	objects_slot_set(ix, a, SLOT_GONE);
	for (unsigned i = 0; i < nr; i++) {
		struct key k = key_of(i);

		EXPECT_EQ(objects_holders(ix, &k, true, 0, h, &nr_h), -ENOENT);
	}
	while (objects_slot_purge(ix, a, 10))
		;
	b = slot_new(ix, 1);
	for (unsigned i = 0; i < nr; i++)
		back += !put(ix, b, key_of(i), i + 1, 0, 10 + 2 * i, NULL);
	EXPECT_EQ(back, nr - 2 * GRAVES_MAX);
	objects_close(ix);
}
