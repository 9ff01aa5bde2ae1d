// SPDX-License-Identifier: Apache-2.0
/*
 * An owner's pool: putting, finding, reading, replacing, dropping, evicting, pins, leases, staging
 * against hostile clients.
 */
#include "mctest.h"
#include "pool_rig.h"

#define LEASE 1000000000u

static struct pool *pool_of(uint64_t bytes)
{
	struct pool_opts o = { .name = "test", .bytes = bytes };
	struct pool *p = NULL;

	if (pool_create(&o, &p))
		abort();
	return p;
}

static bool reads(struct pool *p, const struct key *key, uint64_t size, uint64_t seed)
{
	uint8_t *out = malloc(size + 1);
	uint64_t got = 0;
	bool ok;

	ok = !rig_get(pool_view(p), key, out, size, &got) && got == size &&
	     rig_check(out, size, seed);
	free(out);
	return ok;
}

static int put(struct pool *p, unsigned long nr, uint64_t size, uint32_t flags)
{
	uint8_t *data = malloc(size);
	struct rig_key k;
	int ret;

	rig_fill(data, size, nr);
	ret = rig_put(p, rig_key(&k, nr), data, size, flags);
	free(data);
	return ret;
}

static bool has(struct pool *p, unsigned long nr, uint64_t size)
{
	struct rig_key k;

	return reads(p, rig_key(&k, nr), size, nr);
}

static int find(struct pool *p, unsigned long nr, struct found *f)
{
	struct rig_key k;

	rig_key(&k, nr);
	return view_lookup(pool_view(p), k.key.data, k.key.len, f);
}

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

/* ---- clients with grants ---- */

/* Carves and fills; the caller stages. */
static int fill(struct pool *p, struct rig_client *c, struct extents *x, unsigned long nr,
		uint64_t size, uint16_t flags, struct publish_item *it, struct rig_key *k)
{
	uint8_t *data = malloc(size);
	struct iovec iov = { data, size };
	int ret;

	rig_key(k, nr);
	rig_fill(data, size, nr);
	ret = extents_carve(c->runs, pool_view(p)->nr_regions, size, k->key.len, c->gen, x);
	if (!ret) {
		c->gen += 2;
		x->put_id = x->gen;
		extents_fill(pool_view(p), x, &k->key, flags, &iov, 1);
		*it = rig_item(x, &k->key, flags);
	}
	free(data);
	return ret;
}

TEST(grant_and_commit)
{
	struct pool_opts o = { .bytes = 8 * MiB, .region_max = 2 * MiB };
	struct rig_client c = { 0 };
	struct publish_item it;
	struct pool_stat st;
	struct staged *s;
	struct extents x;
	struct rig_key k;
	struct pool *p;

	ASSERT_EQ(pool_create(&o, &p), 0);
	ASSERT_EQ(rig_grant(p, &c, 5 * MiB), 0);
	pool_stat(p, &st);
	EXPECT_EQ(st.granted, 5 * MiB);
	/* Larger than any region. */
	ASSERT_EQ(fill(p, &c, &x, 1, 3 * MiB, OBJ_CRC, &it, &k), 0);
	EXPECT_GT(x.nr, 1);
	ASSERT_EQ(pool_stage(p, &c.holder, &it, &s), 0);
	EXPECT_TRUE(!has(p, 1, 3 * MiB));
	EXPECT_TRUE(pool_staged_by_gen(p, x.gen) == s && !pool_staged_by_gen(p, x.gen + 2));
	EXPECT_EQ(staged_item(s)->size, 3 * MiB);
	pool_publish(p, s);
	EXPECT_TRUE(has(p, 1, 3 * MiB));
	/* The same generation again, or one of nobody. */
	EXPECT_EQ(pool_stage(p, &c.holder, &it, &s), -EINVAL);
	/* Given up: the holder has the space again. */
	ASSERT_EQ(fill(p, &c, &x, 2, 100000, 0, &it, &k), 0);
	ASSERT_EQ(pool_stage(p, &c.holder, &it, &s), 0);
	pool_unstage(p, s, &c.holder);
	extents_return(c.runs, &x);
	EXPECT_EQ(fill(p, &c, &x, 1, 100000, 0, &it, &k), 0);
	EXPECT_EQ(pool_stage(p, &c.holder, &it, &s), -EEXIST);
	extents_return(c.runs, &x);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(c.runs[i].bytes, c.holder.held[i].bytes);
	rig_client_fini(p, &c);
	pool_stat(p, &st);
	EXPECT_EQ(st.granted, 0);
	EXPECT_EQ(pool_drop_prefix(p, NULL, 0, true, 0, 0), 1);
	pool_stat(p, &st);
	EXPECT_EQ(st.used, 0);
	pool_close(p);
}

static struct extent_hdr *hdr_of(struct pool *p, const struct extents *x, unsigned i)
{
	return (struct extent_hdr
			*)((char *)pool_view(p)->region[place_region(x->piece[i].place)].base +
			   place_off(x->piece[i].place));
}

TEST(hostile_commits)
{
	struct pool *p = pool_of(8 * MiB);
	struct rig_client c = { 0 }, other = { 0 };
	struct publish_item it, bad;
	struct pool_stat st, st2;
	struct extent_hdr *h;
	struct staged *s;
	struct extents x;
	struct rig_key k;

	ASSERT_EQ(rig_grant(p, &other, MiB), 0);
	ASSERT_EQ(rig_grant(p, &c, 4 * MiB), 0);
	ASSERT_EQ(fill(p, &c, &x, 1, 50000, 0, &it, &k), 0);
	pool_stat(p, &st);
	h = hdr_of(p, &x, 0);

	EXPECT_EQ(pool_stage(p, &other.holder, &it, &s),
		  -EINVAL); /* neither generation nor space */
#define WRONG(field, value, code)                                    \
	do {                                                         \
		bad = it;                                            \
		bad.field = value;                                   \
		EXPECT_EQ(pool_stage(p, &c.holder, &bad, &s), code); \
	} while (0)
	WRONG(loc.gen, it.loc.gen + 2, -EBADMSG);
	WRONG(loc.gen, it.loc.gen | 1, -EINVAL);
	WRONG(loc.gen, 0, -EINVAL);
	WRONG(loc.off, it.loc.off + 64, -EBADMSG);
	WRONG(loc.off, it.loc.off + 1, -EINVAL);
	WRONG(loc.off, 8 * MiB, -EINVAL);
	WRONG(loc.off, UINT64_MAX - 63, -EINVAL);
	WRONG(loc.off, 0, -EINVAL);
	WRONG(loc.region, 1, -EINVAL);
	WRONG(loc.region, 65535, -EINVAL);
	WRONG(loc.nr_extents, 0, -EINVAL);
	WRONG(loc.nr_extents, 2, -EINVAL);
	WRONG(loc.nr_extents, EXTENTS_MAX + 1, -EINVAL);
	WRONG(size, 0, -EINVAL);
	WRONG(size, 49999, -EBADMSG);
	WRONG(size, UINT64_MAX, -EINVAL);
	WRONG(put_id, 0, -EINVAL);
	WRONG(put_id, 99, -EBADMSG);
	WRONG(key.len, 0, -EINVAL);
	WRONG(key.len, FULL_KEY_MAX + 1, -EINVAL);
	WRONG(key.data, "\0other-key", -EBADMSG);
#define WRONG_HDR(field, value, code)                               \
	do {                                                        \
		struct extent_hdr was = *h;                         \
		h->field = value;                                   \
		EXPECT_EQ(pool_stage(p, &c.holder, &it, &s), code); \
		*h = was;                                           \
	} while (0)
	WRONG_HDR(gen, it.loc.gen | 1, -EBADMSG);
	WRONG_HDR(len, 50001, -EBADMSG);
	WRONG_HDR(len, UINT64_MAX - 100, -EBADMSG);
	WRONG_HDR(next, x.piece[0].place, -EBADMSG);
	WRONG_HDR(next, UINT64_MAX, -EBADMSG);
	WRONG_HDR(obj_len, 1, -EBADMSG);
	WRONG_HDR(key_len, 65535, -EBADMSG);
	WRONG_HDR(hash[1], 1, -EBADMSG);

	/* An extent that is its own successor, and one that lies in another client's space. */
	bad = it;
	bad.loc.nr_extents = 2;
	bad.size = 100000;
	h->obj_len = 100000;
	h->next = x.piece[0].place;
	EXPECT_EQ(pool_stage(p, &c.holder, &bad, &s), -EBADMSG); /* the second may have no key */
	h->next = place_pack(0, other.runs[0].r[0].off);
	EXPECT_EQ(pool_stage(p, &c.holder, &bad, &s), -EBADMSG);
	hdr_of(p, &x, 0)->obj_len = 50000;
	h->next = 0;
	pool_stat(p, &st2);
	EXPECT_MEMEQ(&st, &st2, sizeof(st));

	/*
	 * After all that, the honest commit. Whatever is scribbled over it later, the owner gets
	 * its space back.
	 */
	ASSERT_EQ(pool_stage(p, &c.holder, &it, &s), 0);
	h->len = UINT64_MAX;
	pool_publish(p, s);
	h->next = place_pack(0, 64);
	h->gen = 4;
	h->key_len = 65535;
	EXPECT_TRUE(!has(p, 1, 50000));
	EXPECT_EQ(pool_drop(p, &k.key, 0, true, 0, 0), 0);
	pool_stat(p, &st2);
	EXPECT_EQ(st2.used, 0);
	rig_client_fini(p, &c);
	rig_client_fini(p, &other);
	pool_close(p);
}

/* A batch as a client sends it: good ones, bad ones, long keys, large objects, in any order. */
TEST(stage_many)
{
	enum { NR = 100 };
	struct pool_opts o = { .bytes = 16 * MiB, .region_max = 1 * MiB };
	static struct publish_item it[NR], bad[NR];
	static struct rig_key k[NR];
	static uint8_t long_key[NR][300];
	struct staged *s[NR];
	int32_t status[NR];
	struct rig_client c = { 0 };
	struct iovec iov;
	struct extents x;
	struct pool *p;

	ASSERT_EQ(pool_create(&o, &p), 0);
	ASSERT_EQ(rig_grant(p, &c, 8 * MiB), 0);
	for (unsigned turn = 0; turn < 3; turn++) {
		for (unsigned i = 0; i < NR; i++) {
			unsigned long nr = turn * NR + i;

			if (i % 10) {
				ASSERT_EQ(fill(p, &c, &x, nr, i == 33 ? 2 * MiB : 500 + i, OBJ_CRC, &it[i], &k[i]), 0);
				continue;
			}
			rig_fill(long_key[i], 296, nr);
			long_key[i][0] = 0;
			k[i].key = (struct key){ long_key[i], (uint16_t)(100 + 2 * i) };
			iov = (struct iovec){ long_key[i], 50 };
			ASSERT_EQ(extents_carve(c.runs, pool_view(p)->nr_regions, 50, k[i].key.len, c.gen, &x), 0);
			c.gen += 2;
			x.put_id = x.gen;
			extents_fill(pool_view(p), &x, &k[i].key, 0, &iov, 1);
			it[i] = rig_item(&x, &k[i].key, 0);
		}
		memcpy(bad, it, sizeof(it));
		bad[1].loc.gen += 1;
		bad[2].loc.region = 999;
		bad[3].loc.off = UINT64_MAX;
		bad[4].size = UINT64_MAX;
		bad[5].loc.nr_extents = UINT16_MAX;
		bad[6].key.len--;
		bad[7].loc.off += 1;
		bad[8].loc = it[9].loc;
		EXPECT_EQ(pool_stage_many(p, &c.holder, bad, NR, s, status), NR - 8);
		for (unsigned i = 0; i < NR; i++) {
			bool wrong = i && i < 9;

			EXPECT_EQ(status[i] != 0, wrong);
			EXPECT_EQ(s[i] == NULL, wrong);
			/* One in three is given up. */
			if (s[i] && i % 3)
				pool_publish(p, s[i]);
			else if (s[i])
				pool_unstage(p, s[i], NULL);
		}
		/* What was refused is the holder's still. */
		EXPECT_EQ(pool_stage_many(p, &c.holder, it + 1, 8, s, status), 8);
		for (unsigned i = 0; i < 8; i++)
			pool_publish(p, s[i]);
		for (unsigned i = 0; i < NR; i++)
			if (i % 10)
				EXPECT_EQ(has(p, turn * NR + i, i == 33 ? 2 * MiB : 500 + i), (i && i < 9) || i % 3);
		/* Staged when the pool closes. */
		ASSERT_EQ(fill(p, &c, &x, 1000000 + turn, 100, 0, &it[0], &k[0]), 0);
		EXPECT_EQ(pool_stage_many(p, &c.holder, it, 1, s, status), 1);
		/* There already. */
		ASSERT_EQ(fill(p, &c, &x, turn * NR + 1, 100, 0, &it[1], &k[1]), 0);
		EXPECT_EQ(pool_stage_many(p, &c.holder, it + 1, 1, s, status), 0);
		EXPECT_EQ(status[0], -EEXIST);
	}
	rig_client_fini(p, &c);
	pool_close(p);
}

TEST(stage_another_clients_space)
{
	struct pool *p = pool_of(8 * MiB);
	struct rig_client c = { 0 }, thief = { 0 };
	struct publish_item it;
	struct staged *s;
	struct extents x;
	struct rig_key k;

	ASSERT_EQ(rig_grant(p, &c, MiB), 0);
	ASSERT_EQ(rig_grant(p, &thief, MiB), 0);
	c.gen = thief.gen;
	ASSERT_EQ(fill(p, &c, &x, 1, 5000, 0, &it, &k), 0);
	EXPECT_EQ(pool_stage(p, &thief.holder, &it, &s), -EINVAL);
	rig_client_fini(p, &c);
	rig_client_fini(p, &thief);
	pool_close(p);
}

TEST(grants_evict_what_they_need)
{
	struct pool *p = pool_of(16 * MiB);
	struct rig_client c = { 0 };
	struct msg_return back;
	struct pool_stat st;

	for (unsigned long i = 0; i < 5000; i++)
		EXPECT_EQ(put(p, i, 4096, 0), 0);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(rig_grant(p, &c, MiB), 0);
	pool_stat(p, &st);
	EXPECT_EQ(st.granted, 3 * MiB);
	EXPECT_LE(st.capacity - st.used - st.granted, st.capacity / 128 + 8192);
	back = (struct msg_return){ .nr = 1,
				    .runs = &(struct grant_run){ .off = c.runs[0].r[0].off,
								 .len = c.runs[0].r[0].len } };
	EXPECT_EQ(pool_return(p, &c.holder, &back), 0);
	EXPECT_EQ(pool_return(p, &c.holder, &back), -EINVAL);
	back.runs[0].region = 7;
	EXPECT_EQ(pool_return(p, &c.holder, &back), -EINVAL);
	rig_client_fini(p, &c);
	/* All of it, and nothing when nothing is left. */
	ASSERT_EQ(rig_grant(p, &c, 16 * MiB - 64), 0);
	EXPECT_EQ(c.holder.held[0].bytes, 16 * MiB - 64);
	EXPECT_EQ(rig_grant(p, &c, 64), -ENOSPC);
	EXPECT_EQ(put(p, 1, 100, 0), -ENOSPC);
	rig_client_fini(p, &c);
	EXPECT_EQ(put(p, 1, 100, 0), 0);
	pool_close(p);
}
