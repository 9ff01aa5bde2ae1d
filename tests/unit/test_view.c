// SPDX-License-Identifier: Apache-2.0
/*
 * Readers of a pool: opening views, what they refuse, and threads that read while the owner
 * changes everything.
 */
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "mctest.h"
#include "pool_rig.h"

static struct pool *pool_of(uint64_t bytes)
{
	struct pool_opts o = { .name = "test", .bytes = bytes, .region_max = bytes / 2 };
	struct pool *p = NULL;

	if (pool_create(&o, &p))
		abort();
	return p;
}

struct fds {
	int dir, region[POOL_REGIONS_MAX];
	struct msg_attach_reply info;
};

static struct fds fds_of(struct pool *p)
{
	struct fds f;
	int dir;

	pool_fds(p, &dir, f.region, &f.info);
	f.dir = dup(dir);
	for (int i = 0; i < f.info.nr_regions; i++)
		f.region[i] = dup(f.region[i]);
	return f;
}

static int open_fds(void)
{
	int nr = 0;

	for (int i = 0; i < 256; i++)
		nr += fcntl(i, F_GETFD) >= 0;
	return nr;
}

TEST(attach)
{
	struct pool *p = pool_of(4 * MiB);
	struct pool_ring *ring;
	struct pool_view v;
	struct found f;
	struct rig_key k;
	uint8_t data[777], out[777];
	struct fds fds = fds_of(p);
	uint64_t size = 0;

	ASSERT_EQ(pool_ring_open(p, &ring), 0);
	fds.info.ring_bytes = ring->region.size;
	ASSERT_EQ(view_open(fds.dir, dup(ring->region.fd), fds.region, &fds.info, false, &v), 0);
	rig_fill(data, sizeof(data), 3);
	EXPECT_EQ(rig_put(p, rig_key(&k, 3), data, sizeof(data), OBJ_CRC), 0);
	EXPECT_EQ(rig_get(&v, &k.key, out, sizeof(out), &size), 0);
	EXPECT_TRUE(size == sizeof(out) && rig_check(out, size, 3));
	/* A touch through the client's ring is a lease. */
	ASSERT_EQ(view_lookup(&v, k.key.data, k.key.len, &f), 0);
	EXPECT_EQ(f.flags, OBJ_CRC);
	EXPECT_EQ(pool_drop(p, &k.key, f.loc.gen, false, 10, 5), 0);
	EXPECT_EQ(rig_put(p, &k.key, data, sizeof(data), 0), 0);
	ASSERT_EQ(view_lookup(&v, k.key.data, k.key.len, &f), 0);
	view_touch(&v, &f);
	EXPECT_EQ(pool_drop(p, &k.key, f.loc.gen, false, 10, 5), -EBUSY);
	/* Nonsense in the ring is ignored; a touch of an earlier object at that entry, too. */
	for (uint64_t i = 1; i < 20000; i++)
		lossy_ring_push(v.touches, v.touch_mask, i * 0x9e3779b97f4a7c15u);
	EXPECT_EQ(pool_drop(p, &k.key, f.loc.gen, false, 20, 5), 0);
	EXPECT_EQ(rig_put(p, &k.key, data, sizeof(data), 0), 0);
	view_touch(&v, &f);
	EXPECT_EQ(pool_drop(p, &k.key, 0, false, 21, 5), 0);
	EXPECT_TRUE(!view_dead(&v));
	pool_farewell(p);
	EXPECT_TRUE(view_dead(&v));
	pool_ring_close(p, ring);
	pool_close(p);
	/* The memory is there as long as somebody has it. */
	EXPECT_EQ(rig_get(&v, &k.key, out, sizeof(out), &size), -ENOENT);
	view_close(&v);
}

TEST(refusals)
{
	struct pool *p = pool_of(4 * MiB);
	int before = open_fds();
	struct dir_header *h = pool_view(p)->dir_region.base, good = *h;
	struct pool_view v;
	struct fds f;

#define REFUSED(change, code)                                                        \
	do {                                                                         \
		f = fds_of(p);                                                       \
		change;                                                              \
		EXPECT_EQ(view_open(f.dir, -1, f.region, &f.info, false, &v), code); \
		*h = good;                                                           \
	} while (0)
	REFUSED(h->magic ^= 1, -EBADMSG);
	REFUSED(h->layout++, -EPROTO);
	REFUSED(h->nr_buckets--, -EBADMSG);
	REFUSED(h->nr_buckets = (uint64_t)1 << 61, -EBADMSG);
	REFUSED(h->nr_entries *= 2, -EBADMSG);
	REFUSED(h->nr_entries = (uint64_t)1 << 32, -EBADMSG);
	REFUSED(h->buckets_off++, -EBADMSG);
	REFUSED(h->entries_off = UINT64_MAX - 63, -EBADMSG);
	REFUSED(h->nr_regions = 1, -EBADMSG);
	REFUSED(h->region_bytes[1] += 4096, -EBADMSG);
	REFUSED(f.info.pool_id[3] ^= 1, -EBADMSG);
	REFUSED(f.info.dir_bytes = 64, -EBADMSG);
	REFUSED(f.info.dir_bytes *= 4, -EINVAL);
	REFUSED(f.info.region_bytes[0] *= 4, -EINVAL);
	f = fds_of(p);
	EXPECT_EQ(view_open(f.dir, dup(f.dir), f.region, &f.info, false, &v),
		  -EBADMSG); /* a ring of no bytes */
	EXPECT_EQ(open_fds(), before);
	f = fds_of(p);
	EXPECT_EQ(view_open(f.dir, -1, f.region, &f.info, false, &v), 0);
	view_close(&v);
	EXPECT_EQ(open_fds(), before);
	pool_close(p);
}

TEST(grants_outside)
{
	struct pool *p = pool_of(4 * MiB);
	struct range_set runs[POOL_REGIONS_MAX] = { 0 };
	struct grant_run run[2] = { { .region = 1, .off = 4096, .len = 4096 } };
	struct msg_grant_reply m = { .nr = 2, .runs = run };

	run[1] = run[0];
	EXPECT_EQ(view_granted(pool_view(p), &m, runs), -EBADMSG);
	run[1] = (struct grant_run){ .region = 2, .off = 64, .len = 64 };
	EXPECT_EQ(view_granted(pool_view(p), &m, runs), -EBADMSG);
	run[1] = (struct grant_run){ .off = 0, .len = 64 };
	EXPECT_EQ(view_granted(pool_view(p), &m, runs), -EBADMSG);
	run[1] = (struct grant_run){ .off = 64, .len = 2 * MiB };
	EXPECT_EQ(view_granted(pool_view(p), &m, runs), -EBADMSG);
	EXPECT_EQ(runs[0].bytes + runs[1].bytes, 0);
	run[1] = (struct grant_run){ .off = 64, .len = 2 * MiB - 64 };
	EXPECT_EQ(view_granted(pool_view(p), &m, runs), 0);
	EXPECT_EQ(runs[0].bytes + runs[1].bytes, 2 * MiB - 64 + 4096);
	range_set_fini(&runs[0]);
	range_set_fini(&runs[1]);
	pool_close(p);
}

TEST(carving)
{
	struct range_set runs[2] = { 0 };
	struct extents x;

	for (uint64_t i = 0; i < 300; i++)
		EXPECT_EQ(range_set_add(&runs[i & 1], 64 + i * 256, 128), 0);
	EXPECT_EQ(extents_carve(runs, 2, 64 * 300, 0, 2, &x), -E2BIG);
	EXPECT_EQ(extents_carve(runs, 2, 128 * 300 + 1, 0, 2, &x), -ENOSPC);
	EXPECT_EQ(extents_carve(runs, 2, 10, 100, 2, &x), -ENOSPC); /* the key fits nowhere */
	EXPECT_EQ(runs[0].bytes + runs[1].bytes, 300 * 128);
	EXPECT_EQ(runs[0].count + runs[1].count, 300);
	EXPECT_EQ(extents_carve(runs, 2, 1000, 60, 2, &x), 0);
	EXPECT_EQ(x.nr, 17);
	extents_return(runs, &x);
	EXPECT_EQ(runs[0].bytes + runs[1].bytes, 300 * 128);
	/* One piece when there is one, the shortest that does. */
	EXPECT_EQ(range_set_add(&runs[1], 1 << 20, 8192), 0);
	EXPECT_EQ(range_set_add(&runs[0], 1 << 20, 4096), 0);
	EXPECT_EQ(extents_carve(runs, 2, 4000, 32, 2, &x), 0);
	EXPECT_TRUE(x.nr == 1 && x.piece[0].place == place_pack(0, 1 << 20));
	EXPECT_EQ(extents_carve(runs, 2, 4033, 0, 2, &x), 0);
	EXPECT_TRUE(x.nr == 1 && x.piece[0].place == place_pack(1, 1 << 20));
	range_set_fini(&runs[0]);
	range_set_fini(&runs[1]);
}

/* ---- one process, owner and readers as threads: for the thread sanitizer, too ---- */

#define KEYS 64

struct race {
	struct pool *p;
	_Atomic bool stop;
	_Atomic uint64_t gets, hits, wrong, missed;
};

static void *race_reader(void *arg)
{
	struct race *r = arg;
	static _Thread_local uint8_t out[20000];
	uint64_t x = (uintptr_t)&r | 1, size = 0;
	struct found f;
	struct rig_key k;

	while (!atomic_load(&r->stop)) {
		uint32_t key =
			(uint32_t)((x = x * 6364136223846793005u + 1442695040888963407u) >> 33) %
			KEYS;
		int ret;

		rig_key(&k, key);
		do
			ret = rig_get(pool_view(r->p), &k.key, out, sizeof(out), &size);
		while (ret == -ESTALE);
		r->gets++;
		r->missed += ret && key == 0;
		if (ret)
			continue;
		r->hits++;
		r->wrong += !rig_check(out, size, (uint64_t)key << 32 | size);
		if (!view_lookup(pool_view(r->p), k.key.data, k.key.len, &f))
			view_touch(pool_view(r->p), &f);
	}
	return NULL;
}

TEST(readers_and_owner)
{
	static uint8_t data[20000];
	struct race r = { .p = pool_of(2 * MiB) };
	uint64_t x = 12345, rounds = 30000;
	pthread_t t[2];
	struct rig_key k;

	data[0] = 0;
	rig_fill(data, 100, 100);
	EXPECT_EQ(rig_put(r.p, rig_key(&k, 0), data, 100, OBJ_HARD_PIN), 0);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(pthread_create(&t[i], NULL, race_reader, &r), 0);
	for (uint64_t n = 0; n < rounds || (atomic_load(&r.hits) < 1000 && n < 100 * rounds); n++) {
		uint32_t key =
			(uint32_t)((x = x * 6364136223846793005u + 1442695040888963407u) >> 33);
		uint64_t size = 1 + (key >> 8) % (n % 7 ? 3000 : 20000);

		key %= KEYS;
		rig_key(&k, key);
		if (key && n % 5 == 0) {
			pool_drop(r.p, &k.key, 0, true, 0, 0);
			continue;
		}
		if (!key)
			size = 100;
		rig_fill(data, size, (uint64_t)key << 32 | size);
		EXPECT_EQ(rig_put(r.p, &k.key, data, size, OBJ_REPLACE | (key ? 0 : OBJ_HARD_PIN)),
			  0);
		pool_drain_touches(r.p, n + 1);
	}
	r.stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	printf("# %llu gets, %llu hits\n", (unsigned long long)r.gets, (unsigned long long)r.hits);
	EXPECT_EQ(r.wrong, 0);
	EXPECT_EQ(r.missed, 0);
	pool_close(r.p);
}
