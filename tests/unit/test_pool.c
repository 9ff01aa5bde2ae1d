// SPDX-License-Identifier: Apache-2.0
/* An owner's pool: putting, finding, reading, replacing, dropping, evicting, pins, leases. */
#include "mctest.h"
#include "unit/pool_puts.h"

TEST(sizes)
{
	static const uint64_t sizes[] = { 1, 7, 63, 64, 65, 4095, 4096, 65536, 1000003, 3 << 20 };
	struct pool *p = pool_of(16 * MiB);
	struct found f;
	struct rig_key k;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		EXPECT_EQ(put(p, i, sizes[i], 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		EXPECT_TRUE(has(p, i, sizes[i]));
	rig_key(&k, 99);
	EXPECT_EQ(view_lookup(pool_view(p), k.key.data, k.key.len, &f), -ENOENT);
	EXPECT_EQ(put(p, 3, 64, 0), -EEXIST);
	EXPECT_EQ(put(p, 100, 0, 0), -EINVAL);
	EXPECT_EQ(put(p, 101, 17 * MiB, 0), -ENOSPC);
	pool_close(p);
}

TEST(bad_options)
{
	struct pool_opts o = { .bytes = POOL_MIN_BYTES - 1 };
	struct pool *p;

	EXPECT_EQ(pool_create(&o, &p), -EINVAL);
	o = (struct pool_opts){ .bytes = UINT64_MAX };
	EXPECT_EQ(pool_create(&o, &p), -EINVAL);
	o = (struct pool_opts){ .bytes = 64 * MiB, .region_max = MiB };
	EXPECT_EQ(pool_create(&o, &p), -EINVAL);
	o = (struct pool_opts){ .bytes = MiB, .policy = "clairvoyant" };
	EXPECT_EQ(pool_create(&o, &p), -EINVAL);
}

TEST(ranges)
{
	struct pool *p = pool_of(4 * MiB);
	const struct pool_view *v = pool_view(p);
	uint8_t want[5000], got[5000];
	struct iovec iov[3] = { { got, 10 }, { got + 10, 0 }, { got + 10, 4990 } };
	struct found f;
	struct rig_key k;

	rig_fill(want, sizeof(want), 5);
	EXPECT_EQ(put(p, 5, sizeof(want), 0), 0);
	rig_key(&k, 5);
	ASSERT_EQ(view_lookup(v, k.key.data, k.key.len, &f), 0);
	EXPECT_EQ(f.size, sizeof(want));
	EXPECT_EQ(view_read(v, &f.loc, f.size, 100, got, 1000), 0);
	EXPECT_MEMEQ(got, want + 100, 1000);
	EXPECT_EQ(view_read(v, &f.loc, f.size, 4999, got, 1), 0);
	EXPECT_EQ(view_read(v, &f.loc, f.size, 4999, got, 2), -EINVAL);
	EXPECT_EQ(view_read(v, &f.loc, f.size, UINT64_MAX, got, 2), -EINVAL);
	EXPECT_EQ(view_read(v, &f.loc, f.size - 1, 0, got, 2), -ESTALE);
	EXPECT_EQ(view_readv(v, &f.loc, f.size, iov, 3), 0);
	EXPECT_MEMEQ(got, want, sizeof(want));
	iov[1].iov_len = 1; /* pieces that hold less than the object: its first bytes */
	EXPECT_EQ(view_readv(v, &f.loc, f.size, iov, 2), 0);
	EXPECT_EQ(view_map(v, &f.loc, f.size, iov, 3), 1);
	EXPECT_EQ(iov[0].iov_len, sizeof(want));
	EXPECT_MEMEQ(iov[0].iov_base, want, sizeof(want));
	EXPECT_TRUE(view_valid(v, &f.loc));
	EXPECT_EQ(pool_drop(p, &k.key, f.loc.gen + 2, true, 0, 0), -ENOENT);
	EXPECT_EQ(pool_drop(p, &k.key, f.loc.gen, true, 0, 0), 0);
	EXPECT_TRUE(!view_valid(v, &f.loc));
	EXPECT_EQ(view_read(v, &f.loc, f.size, 0, got, 1), -ESTALE);
	EXPECT_EQ(pool_drop(p, &k.key, 0, true, 0, 0), -ENOENT);
	pool_close(p);
}

TEST(replace)
{
	struct pool *p = pool_of(4 * MiB);
	struct pool_stat before, after;
	uint8_t data[3000];
	struct rig_key k;

	EXPECT_EQ(put(p, 1, 5000, 0), 0);
	pool_stat(p, &before);
	rig_key(&k, 1);
	for (uint64_t v = 100; v < 400; v++) {
		rig_fill(data, sizeof(data), v);
		EXPECT_EQ(rig_put(p, &k.key, data, sizeof(data), OBJ_REPLACE), 0);
		EXPECT_TRUE(reads(p, &k.key, sizeof(data), v));
	}
	pool_stat(p, &after);
	EXPECT_EQ(after.objects, 1);
	EXPECT_LT(after.used, before.used);
	EXPECT_EQ(after.evicted, 0);
	pool_close(p);
}

struct gone {
	unsigned long last, count;
};

static void on_evict(void *arg, const struct key *key, uint64_t gen)
{
	struct gone *g = arg;
	char text[RIG_KEY_MAX] = "";

	memcpy(text, (const char *)key->data + 1, key->len - 1u);
	g->count++;
	EXPECT_EQ(sscanf(text, "key-%lu", &g->last), 1);
	EXPECT_TRUE(gen && !(gen & 1));
}

TEST(evicts_what_it_needs)
{
	struct pool *p = pool_of(4 * MiB);
	struct pool_stat st;
	struct gone g = { 0 };

	pool_on_evict(p, on_evict, &g);
	for (unsigned long i = 0; i < 1000; i++) {
		EXPECT_EQ(put(p, i, 64000, 0), 0);
		EXPECT_TRUE(has(p, i, 64000));
	}
	pool_stat(p, &st);
	EXPECT_EQ(st.evicted, g.count);
	EXPECT_EQ(st.objects, 1000 - g.count);
	EXPECT_EQ(st.objects, 4 * MiB / extent_bytes(64000, 8));
	/* A large one takes the place of as many as it needs. */
	EXPECT_EQ(put(p, 5000, 2 * MiB, 0), 0);
	EXPECT_TRUE(has(p, 5000, 2 * MiB));
	pool_stat(p, &st);
	EXPECT_LE(st.capacity - st.used, 2 * 64000 + st.capacity / 128);
	pool_close(p);
}

TEST(small_holes_become_large_objects)
{
	struct pool *p = pool_of(4 * MiB);
	struct pool_stat st;
	struct rig_key k;
	struct found f;
	uint64_t evicted;

	for (unsigned long i = 0; i < 250; i++)
		EXPECT_EQ(put(p, i, 16 * KiB, OBJ_HARD_PIN), 0);
	for (unsigned long i = 0; i < 250; i += 2)
		EXPECT_EQ(pool_drop(p, rig_key(&k, i), 0, true, 0, 0), 0);
	/* Half is free, in 125 holes between pins. */
	EXPECT_EQ(put(p, 1000, 1500 * KiB, 0), 0);
	EXPECT_TRUE(has(p, 1000, 1500 * KiB));
	ASSERT_EQ(find(p, 1000, &f), 0);
	EXPECT_GT(f.loc.nr_extents, 90);
	for (unsigned long i = 1; i < 250; i += 2)
		EXPECT_TRUE(has(p, i, 16 * KiB));
	EXPECT_EQ(put(p, 1001, 1500 * KiB, 0), 0);
	EXPECT_TRUE(has(p, 1001, 1500 * KiB) && !has(p, 1000, 1500 * KiB));
	/* Pins leave no room: nothing is evicted in vain. */
	pool_stat(p, &st);
	evicted = st.evicted;
	EXPECT_EQ(put(p, 1002, 2500 * KiB, 0), -ENOSPC);
	pool_stat(p, &st);
	EXPECT_EQ(st.evicted, evicted);
	EXPECT_TRUE(has(p, 1001, 1500 * KiB));
	pool_close(p);
}

TEST(pins)
{
	struct pool *p = pool_of(2 * MiB);

	EXPECT_EQ(put(p, 1, 300 * KiB, OBJ_HARD_PIN), 0);
	EXPECT_EQ(put(p, 2, 300 * KiB, OBJ_SOFT_PIN), 0);
	for (unsigned long i = 10; i < 100; i++)
		EXPECT_EQ(put(p, i, 100 * KiB, 0), 0);
	EXPECT_TRUE(has(p, 1, 300 * KiB) && has(p, 2, 300 * KiB));
	EXPECT_EQ(put(p, 200, 1650 * KiB, 0), 0); /* needs the soft pin's room as well */
	EXPECT_TRUE(has(p, 1, 300 * KiB) && !has(p, 2, 300 * KiB));
	EXPECT_EQ(put(p, 201, 1850 * KiB, 0), -ENOSPC);
	pool_close(p);
}

TEST(soft_pin_runs_out)
{
	struct pool *p = pool_of(2 * MiB);

	EXPECT_EQ(put(p, 2, 300 * KiB, OBJ_SOFT_PIN), 0);
	EXPECT_EQ(put(p, 3, 300 * KiB, 0), 0);
	pool_drain_touches(p, (uint64_t)3600 * LEASE);
	for (unsigned long i = 10; i < 40; i++)
		EXPECT_EQ(put(p, i, 200 * KiB, 0), 0);
	EXPECT_TRUE(!has(p, 2, 300 * KiB));
	pool_close(p);
}

TEST(touches)
{
	struct pool *p = pool_of(2 * MiB);
	struct rig_key k;
	struct found f;

	for (unsigned long i = 0; i < 100; i++) {
		EXPECT_EQ(put(p, i, 200 * KiB, 0), 0);
		ASSERT_EQ(find(p, 0, &f), 0);
		view_touch(pool_view(p), &f);
	}
	EXPECT_TRUE(has(p, 0, 200 * KiB));
	pool_drain_touches(p, 5 * (uint64_t)LEASE);
	rig_key(&k, 0);
	view_touch(pool_view(p), &f);
	EXPECT_EQ(pool_drop(p, &k.key, 0, false, 6 * (uint64_t)LEASE, LEASE), -EBUSY);
	EXPECT_EQ(pool_drop(p, &k.key, 0, false, 7 * (uint64_t)LEASE, LEASE), 0);
	pool_close(p);
}

TEST(drop_prefix_and_walk)
{
	struct pool *p = pool_of(8 * MiB);
	struct publish_item items[64];
	uint64_t cursor = 0, seen = 0;
	struct pool_stat st;

	for (unsigned long i = 0; i < 1000; i++)
		EXPECT_EQ(put(p, i, 1000, 0), 0);
	do {
		uint32_t nr = pool_walk(p, &cursor, 64, items);

		for (uint32_t i = 0; i < nr; i++) {
			struct publish_item it;

			EXPECT_EQ(pool_find(p, &items[i].key, &it), 0);
			EXPECT_EQ(it.loc.gen, items[i].loc.gen);
			EXPECT_EQ(it.size, 1000);
		}
		seen += nr;
	} while (cursor);
	EXPECT_EQ(seen, 1000);
	EXPECT_EQ(pool_drop_prefix(p, "\0key-1", 6, true, 0, 0), 111);
	EXPECT_EQ(pool_drop_prefix(p, "\0key-1", 6, true, 0, 0), 0);
	EXPECT_TRUE(has(p, 2, 1000) && !has(p, 1, 1000) && !has(p, 100, 1000));
	EXPECT_EQ(pool_drop_prefix(p, NULL, 0, true, 0, 0), 889);
	pool_stat(p, &st);
	EXPECT_EQ(st.used, 0);
	EXPECT_EQ(st.objects, 0);
	pool_close(p);
}

TEST(entries_run_out)
{
	struct pool_opts o = { .bytes = 8 * MiB, .entries = 1024 };
	struct pool *p;
	struct pool_stat st;

	ASSERT_EQ(pool_create(&o, &p), 0);
	for (unsigned long i = 0; i < 3000; i++)
		EXPECT_EQ(put(p, i, 100, 0), 0);
	pool_stat(p, &st);
	EXPECT_EQ(st.objects, 1024);
	EXPECT_EQ(st.evicted, 3000 - 1024);
	EXPECT_EQ(st.entries_free, 0);
	pool_close(p);
}
