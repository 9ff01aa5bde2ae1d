/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing a pool. */
#include "mctest.h"

#include "store/store.h"

static const struct candidate near_half = { .usable = true, .same_node = true, .capacity = GiB, .used = GiB / 2 };
static const struct candidate far_empty = { .usable = true, .capacity = GiB };

TEST(nothing_usable)
{
	struct candidate c[2] = { near_half, far_empty };

	EXPECT_EQ(place_pick(c, 0, 7), -1);
	c[0].usable = c[1].usable = false;
	EXPECT_EQ(place_pick(c, 2, 7), -1);
}

TEST(this_node_before_others_and_preferred_before_all)
{
	struct candidate c[3] = { far_empty, near_half, far_empty };

	for (uint64_t r = 0; r < 1000; r++)
		EXPECT_EQ(place_pick(c, 3, r * 7919), 1);
	c[2].preferred = true;
	for (uint64_t r = 0; r < 1000; r++)
		EXPECT_EQ(place_pick(c, 3, r * 7919), 2);
}

TEST(weighted_by_free_space_and_full_pools_keep_a_share)
{
	struct candidate c[2] = { far_empty, far_empty };
	unsigned hits[2] = { 0, 0 };

	c[0].used = GiB; /* full: weight 1/16 against 1 */
	for (uint64_t r = 0; r < 100000; r++)
		hits[place_pick(c, 2, r * 2654435761u)]++;
	EXPECT_GT(hits[0], 100000 / 17 * 8 / 10);
	EXPECT_LT(hits[0], 100000 / 17 * 12 / 10);
}

TEST(tiny_pools_can_be_chosen)
{
	struct candidate c[1] = { { .usable = true, .capacity = 0, .used = 0 } };

	EXPECT_EQ(place_pick(c, 1, UINT64_MAX), 0);
}

/* ---- what is tried again after a while ------------------------------------------------------------------------------- */

static unsigned skipped(struct backoff *b)
{
	unsigned n = 0;

	while (!backoff_try(b))
		n++;
	return n;
}

TEST(one_failure_costs_one_try)
{
	struct backoff b = { 0 };

	EXPECT_TRUE(backoff_try(&b));
	backoff_worked(&b);
	EXPECT_TRUE(backoff_try(&b));
	backoff_failed(&b);
	EXPECT_EQ(skipped(&b), 1);
	backoff_worked(&b);
	EXPECT_EQ(skipped(&b), 0);
	backoff_failed(&b);
	EXPECT_EQ(skipped(&b), 1);
}

TEST(failures_in_a_row_are_tried_ever_more_seldom)
{
	struct backoff b = { 0 };

	for (unsigned n = 1; n <= BACKOFF_MAX; n *= 2) {
		backoff_failed(&b);
		EXPECT_EQ(skipped(&b), n);
	}
	backoff_failed(&b);
	EXPECT_EQ(skipped(&b), BACKOFF_MAX);
	backoff_failed(&b);
	backoff_worked(&b); /* seen without trying */
	EXPECT_EQ(skipped(&b), 0);
}
