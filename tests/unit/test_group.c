// SPDX-License-Identifier: Apache-2.0
/* Objects that are evicted together, and what pins of a replaced object become. */
#include "mctest.h"

#include "unit/pool_puts.h"

#include "base/clock.h"

#include <unistd.h>

#define SIZE (60 * KiB)

static int put_in(struct pool *p, unsigned long nr, uint32_t group, uint32_t flags)
{
	uint8_t data[SIZE];
	struct rig_key k;

	rig_fill(data, SIZE, nr);
	return rig_put_in(p, rig_key(&k, nr), data, SIZE, flags, group, 0);
}

static unsigned count(struct pool *p, unsigned long first, unsigned nr)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nr; i++)
		n += has(p, first + i, SIZE);
	return n;
}

static void touch(struct pool *p, unsigned long nr, uint64_t now_ns)
{
	struct found f;

	if (find(p, nr, &f))
		return;
	view_touch(pool_view(p), &f);
	pool_drain_touches(p, now_ns);
}

/* Members between others, so that no order of use explains it. */
TEST(all_or_none)
{
	struct pool *p = pool_of(4 * MiB);
	unsigned long next = 1000;
	unsigned left;

	for (unsigned long i = 0; i < 10; i++) {
		EXPECT_EQ(put_in(p, i, 7, 0), 0);
		EXPECT_EQ(put_in(p, 100 + i, 0, 0), 0);
	}
	while (count(p, 0, 10) == 10)
		ASSERT_EQ(put_in(p, next++, 0, 0), 0);
	for (unsigned i = 0; i < 12; i++)
		ASSERT_EQ(put_in(p, next++, 0, 0), 0);
	EXPECT_EQ(count(p, 0, 10), 0);
	left = count(p, 100, 10);
	EXPECT_GE(left, 5); /* which would have been first */
	pool_close(p);
}

TEST(one_that_is_used_keeps_the_others)
{
	struct pool *p = pool_of(4 * MiB);
	unsigned long next = 1000;

	for (unsigned long i = 0; i < 4; i++)
		EXPECT_EQ(put_in(p, i, 7, 0), 0);
	for (unsigned i = 0; i < 400; i++) {
		ASSERT_EQ(put_in(p, next++, 0, 0), 0);
		touch(p, 2, (i + 1) * (uint64_t)1000);
	}
	EXPECT_EQ(count(p, 0, 4), 4);
	for (unsigned i = 0; i < 400; i++)
		ASSERT_EQ(put_in(p, next++, 0, 0), 0);
	EXPECT_EQ(count(p, 0, 4), 0);
	pool_close(p);
}

TEST(a_lease_is_everybodys)
{
	struct pool *p = pool_of(4 * MiB);
	struct rig_key k;

	EXPECT_EQ(put_in(p, 1, 7, 0), 0);
	EXPECT_EQ(put_in(p, 2, 7, 0), 0);
	EXPECT_EQ(put_in(p, 3, 0, 0), 0);
	touch(p, 2, LEASE);
	EXPECT_EQ(pool_drop(p, rig_key(&k, 1), 0, false, LEASE + 1, LEASE), -EBUSY);
	EXPECT_EQ(pool_drop(p, rig_key(&k, 3), 0, false, LEASE + 1, LEASE), 0);
	EXPECT_EQ(pool_drop(p, rig_key(&k, 1), 0, true, LEASE + 1, LEASE), 0);
	EXPECT_EQ(pool_drop(p, rig_key(&k, 2), 0, false, 3 * (uint64_t)LEASE, LEASE), 0);
	pool_close(p);
}

TEST(pinned_members_stay)
{
	struct pool *p = pool_of(4 * MiB);
	unsigned long next = 1000;

	EXPECT_EQ(put_in(p, 0, 7, OBJ_HARD_PIN), 0);
	EXPECT_EQ(put_in(p, 1, 7, OBJ_SOFT_PIN), 0);
	EXPECT_EQ(put_in(p, 2, 7, 0), 0);
	for (unsigned i = 0; i < 300; i++)
		ASSERT_EQ(put_in(p, next++, i % 3 ? 0 : 8, 0), 0);
	EXPECT_TRUE(has(p, 0, SIZE) && has(p, 1, SIZE) && !has(p, 2, SIZE));
	pool_close(p);
}

static struct publish_item item_of(struct pool *p, unsigned long nr)
{
	struct publish_item it = { 0 };
	struct rig_key k;

	EXPECT_EQ(pool_find(p, rig_key(&k, nr), &it), 0);
	return it;
}

TEST(a_replacement_stays_in_its_group)
{
	struct pool *p = pool_of(4 * MiB);

	EXPECT_EQ(put_in(p, 1, 7, 0), 0);
	EXPECT_EQ(item_of(p, 1).group, 7);
	EXPECT_EQ(put_in(p, 1, 0, OBJ_REPLACE), 0);
	EXPECT_EQ(item_of(p, 1).group, 7);
	EXPECT_EQ(put_in(p, 1, 9, OBJ_REPLACE), 0); /* the master would not have it, but it judges */
	EXPECT_EQ(item_of(p, 1).group, 9);
	EXPECT_EQ(put_in(p, 2, 0, 0), 0);
	EXPECT_EQ(item_of(p, 2).group, 0);
	pool_close(p);
}

TEST(what_becomes_of_a_soft_pin)
{
	struct pool *p = pool_of(4 * MiB);
	struct rig_key k;
	uint8_t data[SIZE] = { 0 };

	pool_drain_touches(p, 100000 * NSEC_PER_SEC); /* a machine that is up for a day */
	EXPECT_EQ(rig_put_in(p, rig_key(&k, 1), data, SIZE, OBJ_SOFT_PIN, 0, 60000), 0);
	EXPECT_TRUE(item_of(p, 1).soft_pin_ms >= 60000 && item_of(p, 1).soft_pin_ms < 61000);
	pool_drain_touches(p, 100020 * NSEC_PER_SEC);
	touch(p, 1, 100020 * NSEC_PER_SEC); /* makes it no longer */
	EXPECT_EQ(rig_put_in(p, rig_key(&k, 1), data, SIZE, OBJ_REPLACE | OBJ_KEEP_PIN, 0, 0), 0);
	EXPECT_EQ(item_of(p, 1).flags & (OBJ_FLAGS & ~OBJ_CRC), OBJ_SOFT_PIN);
	EXPECT_TRUE(item_of(p, 1).soft_pin_ms >= 39000 && item_of(p, 1).soft_pin_ms < 41000);
	EXPECT_EQ(rig_put_in(p, rig_key(&k, 1), data, SIZE, OBJ_REPLACE, 0, 0), 0);
	EXPECT_EQ(item_of(p, 1).flags & OBJ_SOFT_PIN, 0);
	EXPECT_EQ(rig_put_in(p, rig_key(&k, 1), data, SIZE, OBJ_REPLACE | OBJ_KEEP_PIN, 0, 0), 0);
	EXPECT_EQ(item_of(p, 1).flags & OBJ_SOFT_PIN, 0); /* nothing to keep */
	pool_close(p);
}

/* It ends when it was said to, not when it was last used. */
TEST(a_soft_pin_protects_until_it_ends)
{
	struct pool *p = pool_of(2 * MiB);
	uint8_t data[SIZE];
	struct rig_key k;

	pool_drain_touches(p, 100000 * NSEC_PER_SEC);
	rig_fill(data, SIZE, 1);
	EXPECT_EQ(rig_put_in(p, rig_key(&k, 1), data, SIZE, OBJ_SOFT_PIN, 0, 60000), 0);
	for (unsigned long i = 10; i < 100; i++)
		ASSERT_EQ(put_in(p, i, 0, 0), 0);
	EXPECT_TRUE(has(p, 1, SIZE));
	touch(p, 1, 100050 * NSEC_PER_SEC);
	pool_drain_touches(p, 100070 * NSEC_PER_SEC);
	for (unsigned long i = 100; i < 300; i++)
		ASSERT_EQ(put_in(p, i, 0, 0), 0);
	EXPECT_TRUE(!has(p, 1, SIZE));
	pool_close(p);
}

/* What the master's settings say: how long a pin is that does not say so, and that it stays until its end. */
TEST(rules_of_soft_pins)
{
	const struct pool_rules rules = { .soft_pin_ms = 60000, .flags = POOL_RULE_SOFT_STAYS };
	struct pool *p = pool_of(2 * MiB);
	uint64_t now = 100000 * NSEC_PER_SEC;
	unsigned long nr;

	pool_drain_touches(p, now);
	pool_set_rules(p, &rules);
	for (nr = 0; !put_in(p, nr, 0, OBJ_SOFT_PIN); nr++)
		ASSERT_TRUE(nr < 100);
	EXPECT_GE(nr, 30); /* then there was no room for more */
	EXPECT_EQ(count(p, 0, (unsigned)nr), nr);
	EXPECT_TRUE(item_of(p, 0).soft_pin_ms >= 60000 && item_of(p, 0).soft_pin_ms < 61000);
	EXPECT_EQ(put_in(p, 200, 0, 0), -ENOSPC);
	pool_drain_touches(p, now + 61 * NSEC_PER_SEC);
	for (unsigned long i = 200; i < 300; i++)
		EXPECT_EQ(put_in(p, i, 0, 0), 0);
	EXPECT_EQ(count(p, 0, (unsigned)nr), 0);
	pool_close(p);
}

/* Those that ended lie among others that did not. */
TEST(ended_pins_are_found)
{
	const struct pool_rules rules = { .soft_pin_ms = 1000, .flags = POOL_RULE_SOFT_STAYS };
	struct pool *p = pool_of(8 * MiB);
	uint64_t now = 100000 * NSEC_PER_SEC;
	uint8_t data[SIZE] = { 0 };
	struct rig_key k;
	unsigned long nr;

	pool_drain_touches(p, now);
	pool_set_rules(p, &rules);
	for (nr = 0; !rig_put_in(p, rig_key(&k, nr), data, SIZE, OBJ_SOFT_PIN, 0, nr % 8 == 5 ? 0 : 600000); nr++)
		ASSERT_TRUE(nr < 300);
	pool_drain_touches(p, now + 2 * NSEC_PER_SEC);
	for (unsigned i = 0; i < nr / 8; i++)
		EXPECT_EQ(put_in(p, 1000 + i, 0, 0), 0);
	for (unsigned long i = 0; i < nr; i++) {
		struct found f;

		EXPECT_TRUE(i % 8 == 5 || !find(p, i, &f));
	}
	pool_close(p);
}

static struct pool *adopt(struct pool *p)
{
	const struct pool_view *v = pool_view(p);
	int dir = dup(v->dir_region.fd), region = dup(v->region[0].fd);
	uint64_t kept, lost;
	struct pool *q;

	pool_close(p);
	return pool_adopt(dir, &region, 1, NULL, &q, &kept, &lost) ? NULL : q;
}

/* The next owner knows the groups and the pins, of objects that replaced others in their entries too. */
TEST(the_next_owner_knows)
{
	struct pool *p = pool_of(4 * MiB);
	uint64_t now = clock_now_ns();
	unsigned long next = 1000;
	uint8_t data[SIZE];
	struct rig_key k;

	pool_drain_touches(p, now);
	for (unsigned long i = 0; i < 10; i++) {
		EXPECT_EQ(put_in(p, i, 7, 0), 0);
		EXPECT_EQ(pool_drop(p, rig_key(&k, i), 0, true, now, 0), 0); /* leaves its note behind */
		EXPECT_EQ(put_in(p, 100 + i, 0, 0), 0);
	}
	for (unsigned long i = 0; i < 10; i++)
		EXPECT_EQ(put_in(p, i, 7, 0), 0);
	EXPECT_EQ(put_in(p, 3, 0, OBJ_REPLACE), 0);
	rig_fill(data, SIZE, 50);
	EXPECT_EQ(rig_put_in(p, rig_key(&k, 50), data, SIZE, OBJ_SOFT_PIN, 9, 60000), 0);
	p = adopt(p);
	ASSERT_TRUE(p != NULL);
	pool_drain_touches(p, now);
	for (unsigned long i = 0; i < 10; i++) {
		EXPECT_EQ(item_of(p, i).group, 7);
		EXPECT_EQ(item_of(p, 100 + i).group, 0);
	}
	EXPECT_EQ(item_of(p, 50).group, 9);
	EXPECT_TRUE(item_of(p, 50).soft_pin_ms > 50000 && item_of(p, 50).soft_pin_ms < 61000);
	while (count(p, 0, 10) == 10)
		ASSERT_EQ(put_in(p, next++, 0, 0), 0);
	for (unsigned i = 0; i < 24; i++)
		ASSERT_EQ(put_in(p, next++, 0, 0), 0);
	EXPECT_EQ(count(p, 0, 10), 0);
	pool_close(p);
}

/* Random puts, removals and replacements in a few groups: nothing is lost track of. */
TEST(churn)
{
	struct pool *p = pool_of(4 * MiB);
	struct pool_stat st;
	struct rig_key k;
	unsigned seed = 5;

	for (unsigned i = 0; i < 20000; i++) {
		unsigned long nr = (unsigned long)rand_r(&seed) % 200;

		switch (rand_r(&seed) % 8) {
		case 0:
			pool_drop(p, rig_key(&k, nr), 0, true, 0, 0);
			break;
		case 1:
			touch(p, nr, i);
			break;
		default:
			ASSERT_EQ(put_in(p, nr, (uint32_t)rand_r(&seed) % 6, OBJ_REPLACE), 0);
		}
	}
	for (unsigned long i = 0; i < 200; i++)
		pool_drop(p, rig_key(&k, i), 0, true, 0, 0);
	pool_stat(p, &st);
	EXPECT_EQ(st.objects, 0);
	EXPECT_EQ(st.used, 0);
	pool_close(p);
}
