// SPDX-License-Identifier: Apache-2.0
/* The allocator and the sets, case by case and against a map of bytes. */
#include "mctest.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/range.h"

static uint64_t rnd_state = 1;

static uint64_t rnd(uint64_t below)
{
	rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
	return (rnd_state >> 33) % below;
}

static struct range_alloc *open_alloc(uint64_t size, uint64_t unit)
{
	struct range_alloc *a = NULL;

	EXPECT_EQ(range_alloc_open(size, unit, &a), 0);
	return a;
}

TEST(rejects_odd_arguments)
{
	struct range_alloc *a;
	uint64_t off;

	EXPECT_EQ(range_alloc_open(0, 64, &a), -EINVAL);
	EXPECT_EQ(range_alloc_open(100, 64, &a), -EINVAL);
	EXPECT_EQ(range_alloc_open(96, 48, &a), -EINVAL);
	EXPECT_EQ(range_alloc_open(64, 0, &a), -EINVAL);
	a = open_alloc(1024, 64);
	EXPECT_EQ(range_get(a, 0, &off), -EINVAL);
	EXPECT_EQ(range_get(a, 65, &off), -EINVAL);
	EXPECT_EQ(range_get(a, 2048, &off), -ENOSPC);
	EXPECT_EQ(range_take(a, 0, 0), -EINVAL);
	EXPECT_EQ(range_take(a, 64, 1024), -EINVAL);
	EXPECT_EQ(range_take(a, UINT64_MAX - 63, 128), -EINVAL);
	EXPECT_EQ(range_free_bytes(a), 1024u);
	range_alloc_close(a);
	range_alloc_close(NULL);
}

TEST(fills_to_the_last_byte)
{
	struct range_alloc *a = open_alloc(64 * 100, 64);
	uint64_t off;

	for (int i = 0; i < 100; i++)
		EXPECT_EQ(range_get(a, 64, &off), 0);
	EXPECT_EQ(range_get(a, 64, &off), -ENOSPC);
	EXPECT_EQ(range_get_some(a, 128, 64, &off), 0u);
	EXPECT_EQ(range_free_bytes(a), 0u);
	EXPECT_EQ(range_longest(a), 0u);
	/* In pieces, odd ones first: everything merges again. */
	for (uint64_t i = 1; i < 100; i += 2)
		range_put(a, 64 * i, 64);
	EXPECT_EQ(range_longest(a), 64u);
	for (uint64_t i = 0; i < 100; i += 2)
		range_put(a, 64 * i, 64);
	EXPECT_EQ(range_get(a, 6400, &off), 0);
	EXPECT_EQ(off, 0u);
	range_alloc_close(a);
}

TEST(gets_some)
{
	struct range_alloc *a = open_alloc(1000, 1);
	uint64_t off;

	EXPECT_EQ(range_take(a, 300, 400), 0);
	EXPECT_EQ(range_get_some(a, 500, 400, &off), 0u);
	EXPECT_EQ(range_get_some(a, 500, 100, &off), 300u);
	EXPECT_EQ(range_get_some(a, 500, 1, &off), 300u);
	EXPECT_EQ(range_get_some(a, 500, 1, &off), 0u);
	range_put(a, 400, 100);
	EXPECT_EQ(range_get_some(a, 40, 40, &off), 40u);
	EXPECT_EQ(range_free_bytes(a), 60u);
	range_alloc_close(a);
}

/* The child must die of abort(). */
static bool aborts(void (*fn)(struct range_alloc *a), struct range_alloc *a)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		signal(SIGABRT, SIG_DFL);
		fn(a);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void put_free(struct range_alloc *a)
{
	range_put(a, 0, 64);
}

static void put_straddling(struct range_alloc *a)
{
	range_put(a, 64 * 15, 128);
}

static void put_around(struct range_alloc *a)
{
	range_put(a, 64 * 10, 64 * 20);
}

static void put_outside(struct range_alloc *a)
{
	range_put(a, 64 * 100, 64);
}

static void put_held(struct range_alloc *a)
{
	range_put(a, 64 * 10, 64);
}

TEST(double_free_aborts)
{
	struct range_alloc *a = open_alloc(64 * 100, 64);

	EXPECT_EQ(range_take(a, 64 * 10, 64 * 6), 0);
	EXPECT_EQ(range_take(a, 64 * 20, 64 * 10), 0);
	EXPECT_TRUE(aborts(put_free, a));
	EXPECT_TRUE(aborts(put_straddling, a));
	EXPECT_TRUE(aborts(put_around, a));
	EXPECT_TRUE(aborts(put_outside, a));
	EXPECT_TRUE(!aborts(put_held, a));
	range_alloc_close(a);
}

/* ---- against a map of bytes ---- */

#define UNITS 2000u

static bool all(const uint8_t *map, uint64_t at, uint64_t len, uint8_t is)
{
	for (uint64_t i = at; i < at + len; i++)
		if (map[i] != is)
			return false;
	return true;
}

static uint64_t longest_free(const uint8_t *map)
{
	uint64_t best = 0, len = 0;

	for (unsigned i = 0; i < UNITS; i++) {
		len = map[i] ? 0 : len + 1;
		best = MAX(best, len);
	}
	return best;
}

static void one_get(struct range_alloc *a, uint8_t *map, uint64_t unit)
{
	uint64_t want = 1 + rnd(rnd(4) ? 20 : 300), off = 0, room = longest_free(map);
	int ret = range_get(a, want * unit, &off);

	if (ret) {
		EXPECT_EQ(ret, -ENOSPC);
		/* Below 64 units every length has a bin of its own, so the answer is exact. */
		EXPECT_TRUE(room < want || (want >= 64 && room < want + want / 64 + 1));
		return;
	}
	EXPECT_TRUE(all(map, off / unit, want, 0));
	memset(map + off / unit, 1, want);
}

static void one_get_some(struct range_alloc *a, uint8_t *map, uint64_t unit)
{
	uint64_t want = 1 + rnd(500), least = 1 + rnd(want), off = 0, room = longest_free(map);
	uint64_t got = range_get_some(a, want * unit, least * unit, &off) / unit;

	if (!got) {
		EXPECT_LE(room - room / 64, least);
		return;
	}
	EXPECT_GE(got, least);
	EXPECT_LE(got, want);
	EXPECT_TRUE(all(map, off / unit, got, 0));
	memset(map + off / unit, 1, got);
}

static void one_take(struct range_alloc *a, uint8_t *map, uint64_t unit)
{
	uint64_t at = rnd(UNITS), len = 1 + rnd(MIN(UNITS - at, 40u));
	bool can = all(map, at, len, 0);

	EXPECT_EQ(range_take(a, at * unit, len * unit), can ? 0 : -EBUSY);
	if (can)
		memset(map + at, 1, len);
}

static void one_put(struct range_alloc *a, uint8_t *map, uint64_t unit)
{
	uint64_t at = rnd(UNITS), len = 1 + rnd(MIN(UNITS - at, 60u));

	while (len && !all(map, at, len, 1))
		len /= 2;
	if (!len)
		return;
	range_put(a, at * unit, len * unit);
	memset(map + at, 0, len);
}

TEST(allocator_against_a_map)
{
	static uint8_t map[UNITS];

	for (uint64_t seed = 1; seed <= 20; seed++) {
		uint64_t unit = seed % 2 ? 64 : 4096, nr_free;
		struct range_alloc *a = open_alloc(UNITS * unit, unit);

		rnd_state = seed;
		memset(map, 0, sizeof(map));
		for (int i = 0; i < 4000 && !mctest_failed; i++) {
			switch (rnd(8)) {
			case 0:
			case 1:
			case 2:
				one_get(a, map, unit);
				break;
			case 3:
				one_get_some(a, map, unit);
				break;
			case 4:
				one_take(a, map, unit);
				break;
			default:
				one_put(a, map, unit);
			}
			nr_free = 0;
			for (unsigned u = 0; u < UNITS; u++)
				nr_free += !map[u];
			EXPECT_EQ(range_free_bytes(a), nr_free * unit);
			EXPECT_LE(range_longest(a), longest_free(map) * unit);
			EXPECT_GE(range_longest(a) * 64 + 64 * unit, longest_free(map) * 63 * unit);
		}
		/* Everything back: one run again. */
		for (uint64_t u = 0; u < UNITS; u++)
			if (map[u])
				range_put(a, u * unit, unit);
		EXPECT_EQ(range_longest(a), UNITS * unit);
		range_alloc_close(a);
	}
}

TEST(large_and_sparse)
{
	struct range_alloc *a = open_alloc((uint64_t)1 << 36, 64);
	uint64_t off;

	for (uint64_t i = 1; i < 1000; i++)
		EXPECT_EQ(range_take(a, i << 26, 4096), 0);
	EXPECT_EQ(range_take(a, (uint64_t)5 << 26, 64), -EBUSY);
	EXPECT_EQ(range_get(a, ((uint64_t)1 << 26) - 4096, &off), 0);
	for (uint64_t i = 1; i < 1000; i++)
		range_put(a, i << 26, 4096);
	range_put(a, off, ((uint64_t)1 << 26) - 4096);
	EXPECT_EQ(range_longest(a), (uint64_t)1 << 36);
	range_alloc_close(a);
}

/* ---- sets ---- */

static void check_set(const struct range_set *s, const uint8_t *map, uint64_t size)
{
	uint64_t bytes = 0, sum = 0;

	for (uint64_t i = 0; i < size; i++)
		bytes += map[i];
	EXPECT_EQ(s->bytes, bytes);
	for (size_t i = 0; i < s->count; i++) {
		EXPECT_TRUE(s->r[i].len);
		EXPECT_TRUE(all(map, s->r[i].off, s->r[i].len, 1));
		if (i)
			EXPECT_GT(s->r[i].off,
				  s->r[i - 1].off + s->r[i - 1].len); /* neighbours have merged */
		sum += s->r[i].len;
	}
	EXPECT_EQ(sum, bytes);
}

TEST(set_against_a_map)
{
	enum { SIZE = 300 };
	struct range_set s = { 0 };
	uint8_t map[SIZE] = { 0 };

	rnd_state = 42;
	for (int i = 0; i < 30000 && !mctest_failed; i++) {
		uint64_t off = rnd(SIZE), len = rnd(MIN(SIZE - off, (uint64_t)20) + 1), got;
		bool in = all(map, off, len, 1), out = all(map, off, len, 0);

		EXPECT_EQ(range_set_has(&s, off, len), in);
		switch (rnd(5)) {
		case 0:
		case 1:
			EXPECT_EQ(range_set_add(&s, off, len), out ? 0 : -EEXIST);
			if (out)
				memset(map + off, 1, len);
			break;
		case 2:
		case 3:
			EXPECT_EQ(range_set_del(&s, off, len), in ? 0 : -ENOENT);
			if (in)
				memset(map + off, 0, len);
			break;
		default:
			got = range_set_cut(&s, len, &off);
			EXPECT_LE(got, len);
			if (got) {
				EXPECT_TRUE(all(map, off, got, 1));
				memset(map + off, 0, got);
			}
		}
		check_set(&s, map, SIZE);
	}
	range_set_fini(&s);
}

TEST(set_cut_prefers_the_tightest)
{
	struct range_set s = { 0 };
	uint64_t off;

	EXPECT_EQ(range_set_cut(&s, 10, &off), 0u);
	range_set_add(&s, 0, 100);
	range_set_add(&s, 200, 20);
	range_set_add(&s, 300, 30);
	EXPECT_EQ(range_set_cut(&s, 25, &off), 25u);
	EXPECT_EQ(off, 300u);
	EXPECT_EQ(range_set_cut(&s, 1000, &off), 100u);
	EXPECT_EQ(off, 0u);
	EXPECT_EQ(s.bytes, 25u);
	EXPECT_EQ(range_set_add(&s, UINT64_MAX, 2), -EINVAL);
	range_set_fini(&s);
}
