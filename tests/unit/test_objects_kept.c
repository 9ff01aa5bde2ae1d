// SPDX-License-Identifier: Apache-2.0
/* The master's index: what stays with a key (its group, its type), and what stays when all else goes. */
#include "unit/objects_rig.h"

static int put_in(struct objects *ix, uint16_t slot, struct key key, uint64_t put_id, uint32_t flags, uint32_t group)
{
	struct publish_item it = { .key = key, .put_id = put_id, .size = 5, .flags = flags, .group = group,
				   .loc = { .nr_extents = 1, .off = put_id * 64, .gen = put_id * 2 } };
	struct holder old[REPLICAS_MAX];
	unsigned nr;

	return objects_publish(ix, slot, &it, 0, old, &nr);
}

TEST(a_key_stays_in_its_group)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 7), b = slot_new(ix, 8);
	struct key k = key_of(0), lone = key_of(1);

	EXPECT_EQ(put_in(ix, a, k, 1, 0, 70), 0);
	EXPECT_EQ(put_in(ix, a, k, 2, 0, 71), -EEXIST); /* not replaced, so not moved */
	EXPECT_EQ(put_in(ix, b, k, 3, OBJ_REPLACE, 71), -EINVAL);
	EXPECT_EQ(put_in(ix, b, k, 4, OBJ_REPLACE, 70), 0);
	EXPECT_EQ(put_in(ix, b, k, 5, OBJ_REPLACE, 0), 0); /* stays */
	EXPECT_EQ(put_in(ix, b, k, 6, OBJ_REPLACE, 71), -EINVAL);
	objects_slot_set(ix, b, SLOT_HIDDEN);
	EXPECT_EQ(put_in(ix, a, k, 7, OBJ_REPLACE, 71), -EINVAL); /* it may come back */
	objects_slot_set(ix, b, SLOT_GONE);
	EXPECT_EQ(put_in(ix, a, k, 8, OBJ_REPLACE, 71), 0);
	EXPECT_EQ(put_in(ix, a, lone, 9, 0, 0), 0);
	EXPECT_EQ(put_in(ix, a, lone, 10, OBJ_REPLACE, 70), -EINVAL);
	objects_close(ix);
}

TEST(data_types_are_kept)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 7);
	struct key k = key_of(0);
	struct located l;

	EXPECT_EQ(put_in(ix, a, k, 1, 3 << OBJ_TYPE_SHIFT | OBJ_KEEP_PIN | OBJ_REPLACE | OBJ_HARD_PIN, 0), 0);
	objects_locate(ix, &k, false, 0, &l);
	EXPECT_EQ(l.flags, 3 << OBJ_TYPE_SHIFT | OBJ_HARD_PIN);
	objects_close(ix);
}

static bool count_one(void *arg, const struct object_view *o)
{
	++*(int *)arg;
	return true;
}

static int leased_now(struct objects *ix, uint64_t now)
{
	int nr = 0;

	EXPECT_EQ(objects_each_leased(ix, now, 10, count_one, &nr), 0);
	return nr;
}

TEST(leases_are_counted_while_they_are_few)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 1);
	struct located l;
	struct key k;
	int nr = 0;

	for (unsigned i = 0; i < 100; i++)
		EXPECT_EQ(put(ix, a, key_of(i), 1, 0, 10, NULL), 0);
	for (unsigned i = 0; i < 11; i++) {
		EXPECT_EQ(leased_now(ix, 600), (int)i);
		k = key_of(i);
		objects_locate(ix, &k, true, 500, &l);
	}
	EXPECT_EQ(objects_each_leased(ix, 600, 10, count_one, &nr), -E2BIG);
	EXPECT_EQ(objects_each_leased(ix, 600, 11, count_one, &nr), 0);
	objects_close(ix);
}

TEST(what_stays_moves_to_the_fresh_slot)
{
	struct objects *ix = index_new(2);
	uint16_t old = slot_new(ix, 7), fresh = slot_new(ix, 7), other = slot_new(ix, 8);
	struct slot_stat st;
	struct key k;

	for (unsigned i = 0; i < 20; i++) {
		EXPECT_EQ(put(ix, i % 2 ? other : old, key_of(i), 1, 0, 10 + i, NULL), 0);
		EXPECT_EQ(put(ix, i % 2 ? old : other, key_of(i), 1, 0, 50 + i, NULL), 0); /* a second replica */
	}
	for (unsigned i = 0; i < 4; i++) {
		k = key_of(i);
		EXPECT_TRUE(!objects_move(ix, old, fresh, &k, 99));
		EXPECT_TRUE(objects_move(ix, old, fresh, &k, i % 2 ? 50 + i : 10 + i));
		EXPECT_TRUE(!objects_move(ix, old, fresh, &k, i % 2 ? 50 + i : 10 + i));
	}
	objects_slot_stat(ix, fresh, &st);
	EXPECT_EQ(st.replicas, 4);
	EXPECT_EQ(st.objects, 2);
	objects_slot_set(ix, old, SLOT_GONE);
	objects_slot_set(ix, other, SLOT_GONE);
	EXPECT_EQ(objects_slot_purge(ix, old, 1000), 16);
	EXPECT_EQ(objects_slot_purge(ix, other, 1000), 20);
	objects_slot_stat(ix, fresh, &st);
	EXPECT_EQ(st.replicas, 4);
	EXPECT_EQ(st.objects, 4);
	for (unsigned i = 0; i < 20; i++)
		EXPECT_EQ(exists(ix, key_of(i)), i < 4);
	objects_close(ix);
}
