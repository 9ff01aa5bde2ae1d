// SPDX-License-Identifier: Apache-2.0
/* When to look again before sleeping: only where waits were short, and ever more seldom where it brings nothing. */
#include "mctest.h"

#include "base/spin.h"

#define T0 NSEC_PER_SEC

static uint64_t now_ns = T0;

/* A wait of @ns. Return: was it looked for? */
static bool wait_of(struct spin *s, uint64_t ns)
{
	uint64_t until_ns = spin_start(s, now_ns);

	EXPECT_TRUE(!until_ns || until_ns == now_ns + SPIN_NS);
	now_ns += ns;
	spin_ended(s, until_ns && ns < SPIN_NS, now_ns);
	return until_ns;
}

TEST(first_wait_sleeps)
{
	struct spin s = { 0 };

	EXPECT_TRUE(!wait_of(&s, 1));
}

TEST(after_short_waits_it_looks)
{
	struct spin s = { 0 };

	wait_of(&s, SPIN_SOON_NS - 1);
	for (int i = 0; i < 100; i++)
		EXPECT_TRUE(wait_of(&s, 5 * NSEC_PER_USEC));
}

TEST(after_a_long_wait_it_sleeps)
{
	struct spin s = { 0 };

	wait_of(&s, 1);
	EXPECT_TRUE(wait_of(&s, SPIN_SOON_NS));
	EXPECT_TRUE(!wait_of(&s, SPIN_SOON_NS));
	EXPECT_TRUE(!wait_of(&s, NSEC_PER_SEC));
}

/* Waits that looking always just misses: it costs at most a thirtieth of what it would. */
TEST(looking_in_vain_becomes_seldom)
{
	struct spin s = { 0 };
	unsigned looked = 0;

	for (int i = 0; i < 1000; i++)
		looked += wait_of(&s, SPIN_SOON_NS - 1);
	EXPECT_TRUE(looked > 10 && looked < 40);
	while (!wait_of(&s, 1))
		;
	EXPECT_TRUE(wait_of(&s, 1)); /* once it worked, it is done again */
}

TEST(no_second_look_without_reason)
{
	EXPECT_TRUE(!spin_more(0));
	EXPECT_TRUE(!spin_more(clock_now_ns()));
	EXPECT_TRUE(spin_more(DEADLINE_NEVER));
}
