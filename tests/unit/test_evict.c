// SPDX-License-Identifier: Apache-2.0
/* Every policy keeps the contract; each does what it is for. */
#include "mctest.h"
#include "pool/evict_twoq.h"

#define ENTRIES 4096

static uint64_t rng = 88172645463325252u;

static uint64_t rnd(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % below;
}

static uint64_t hash_of(uint64_t x)
{
	x = (x + 1) * 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static void contract(const struct evict_ops *ops)
{
	static uint8_t in[ENTRIES];
	uint64_t count = 0;
	struct evict *e;
	int64_t v;

	memset(in, 0, sizeof(in));
	ASSERT_EQ(ops->open(ENTRIES, ENTRIES, &e), 0);
	EXPECT_TRUE(ops->victim(e) == -1);
	for (int n = 0; n < 400000; n++) {
		uint32_t i = (uint32_t)rnd(ENTRIES);
		unsigned what = (unsigned)rnd(100);

		if (what < 50) {
			if (in[i])
				ops->touch(e, i);
			else
				ops->insert(e, i, hash_of(rnd(20000)), 1);
			count += !in[i];
			in[i] = 1;
		} else if (what < 70 && in[i]) {
			ops->remove(e, i);
			in[i] = 0;
			count--;
		} else if (what >= 70) {
			v = ops->victim(e);
			if (v < 0) {
				ASSERT_TRUE(!count);
				continue;
			}
			ASSERT_TRUE(v < ENTRIES && in[v]);
			if (what == 99) {
				ops->spare(e, (uint32_t)v, hash_of((uint64_t)v), 1);
				continue;
			}
			in[v] = 0;
			count--;
		}
	}
	while ((v = ops->victim(e)) >= 0) {
		ASSERT_TRUE(v < ENTRIES && in[v]);
		in[v] = 0;
		count--;
	}
	EXPECT_TRUE(!count);
	ops->close(e);
}

TEST(contracts)
{
	for (size_t i = 0; evict_policies[i]; i++) {
		printf("# %s\n", evict_policies[i]->name);
		contract(evict_policies[i]);
		EXPECT_TRUE(evict_find(evict_policies[i]->name) == evict_policies[i]);
	}
	EXPECT_TRUE(evict_find(NULL) == evict_policies[0]);
	EXPECT_TRUE(!evict_find("clairvoyant"));
}

TEST(lru_order)
{
	struct evict *e;

	ASSERT_EQ(evict_lru.open(8, 8, &e), 0);
	for (uint32_t i = 0; i < 5; i++)
		evict_lru.insert(e, i, 0, 1);
	evict_lru.touch(e, 0);
	evict_lru.touch(e, 2);
	evict_lru.remove(e, 3);
	EXPECT_EQ(evict_lru.victim(e), 1);
	evict_lru.spare(e, 1, 0, 1);
	EXPECT_EQ(evict_lru.victim(e), 4);
	EXPECT_EQ(evict_lru.victim(e), 0);
	EXPECT_EQ(evict_lru.victim(e), 2);
	EXPECT_EQ(evict_lru.victim(e), 1);
	EXPECT_EQ(evict_lru.victim(e), -1);
	evict_lru.close(e);
}

TEST(ghosts_remember_a_span)
{
	struct ghosts g = { 0 };
	unsigned young = 0, old = 0;

	EXPECT_TRUE(!ghosts_take(&g, 4));
	for (unsigned i = 0; i < 40000; i++)
		ghosts_add(&g, twoq_tag(hash_of(i)), 10000);
	for (unsigned i = 30100; i < 40000; i++)
		young += ghosts_take(&g, twoq_tag(hash_of(i)));
	for (unsigned i = 0; i < 29900; i++)
		old += ghosts_take(&g, twoq_tag(hash_of(i)));
	EXPECT_GT(young, 9000u);
	EXPECT_LT(old, 10u);
	EXPECT_TRUE(!ghosts_take(&g, twoq_tag(hash_of(39999)))); /* taken before */
	ghosts_fini(&g);
}

TEST(reading_back_is_one_use)
{
	struct twoq q;

	ASSERT_EQ(twoq_init(&q, 100, 2), 0);
	for (uint32_t i = 0; i < 100; i++)
		twoq_insert(&q, i, twoq_tag(hash_of(i)));
	twoq_touch(&q, 99);
	EXPECT_EQ(q.list[1].count, 0u);
	twoq_touch(&q, 0);
	EXPECT_EQ(q.list[1].count, 1u);
	twoq_touch(&q, 0);
	EXPECT_EQ(q.list[1].count, 1u);
	EXPECT_EQ(twoq_victim(&q), 1u);
	twoq_fini(&q);
}

/* Hits per cent of @ops with @cap entries. */
static unsigned hits_of(const struct evict_ops *ops, uint32_t cap, uint32_t (*next)(unsigned n))
{
	static uint32_t entry_of[1 << 16], key_of[ENTRIES];
	uint32_t used = 0, hits = 0, nr = 400000;
	struct evict *e;

	memset(entry_of, 0xff, sizeof(entry_of));
	if (ops->open(ENTRIES, cap, &e))
		abort();
	for (unsigned n = 0; n < nr; n++) {
		uint32_t key = next(n), i = entry_of[key];

		if (i != EVICT_NIL) {
			ops->touch(e, i);
			hits += n >= nr / 2;
			continue;
		}
		if (used < cap) {
			i = used++;
		} else {
			i = (uint32_t)ops->victim(e);
			entry_of[key_of[i]] = EVICT_NIL;
		}
		entry_of[key] = i;
		key_of[i] = key;
		ops->insert(e, i, hash_of(key), 1);
	}
	ops->close(e);
	return hits * 100 / (nr / 2);
}

/* Half the uses are of few keys at long intervals, the other half are of keys used once. */
static uint32_t next_scan(unsigned n)
{
	return n % 2 ? n / 2 % 900 : 1000 + n / 2 % 60000;
}

/* What was used lately is used again, and what was used often no longer is. */
static uint32_t next_drift(unsigned n)
{
	return (uint32_t)(n / 20 + rnd(900)) & 0xffff;
}

TEST(adaptive_follows_the_load)
{
	unsigned scan = hits_of(&evict_adaptive, 1000, next_scan),
		 lru_scan = hits_of(&evict_lru, 1000, next_scan);
	unsigned drift = hits_of(&evict_adaptive, 1000, next_drift),
		 lru_drift = hits_of(&evict_lru, 1000, next_drift);

	printf("# scan: %u%%, lru %u%%; drift: %u%%, lru %u%%\n", scan, lru_scan, drift, lru_drift);
	EXPECT_LT(lru_scan, 5u);
	EXPECT_GT(scan, 40u);
	EXPECT_GE(drift + 1, lru_drift);
}
