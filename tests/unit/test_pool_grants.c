// SPDX-License-Identifier: Apache-2.0
/* An owner's pool and its clients: space that was granted, what is committed in it, and what hostile ones say. */
#include "mctest.h"
#include "unit/pool_puts.h"

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

/* What a holder was granted in one go stays its own, in however many answers; with others in between, the oldest is forgotten. */
TEST(generations_of_many_grants)
{
	struct pool_opts o = { .bytes = 8 * MiB };
	struct rig_client c = { 0 }, other = { 0 };
	struct extents first, late;
	struct publish_item it, old;
	struct rig_key k, kk;
	struct staged *s;
	struct pool *p;

	ASSERT_EQ(pool_create(&o, &p), 0);
	ASSERT_EQ(rig_grant(p, &c, 4 * KiB), 0);
	ASSERT_EQ(fill(p, &c, &first, 1, 1000, 0, &old, &k), 0);
	for (unsigned i = 0; i < 200; i++)
		ASSERT_EQ(rig_grant(p, &c, 4 * KiB), 0);
	ASSERT_EQ(pool_stage(p, &c.holder, &old, &s), 0);
	pool_publish(p, s);
	EXPECT_EQ(pool_stage(p, &c.holder, &old, &s), -EINVAL); /* known to be used */
	ASSERT_EQ(fill(p, &c, &late, 2, 1000, 0, &it, &kk), 0);
	for (unsigned i = 0; i < 2 * HOLDER_GENS; i++) {
		ASSERT_EQ(rig_grant(p, &other, 4 * KiB), 0);
		ASSERT_EQ(rig_grant(p, &c, 4 * KiB), 0);
	}
	EXPECT_EQ(pool_stage(p, &c.holder, &it, &s), -ESTALE);
	EXPECT_EQ(pool_stage(p, &other.holder, &it, &s), -ESTALE); /* nor are its own so old */
	it.loc.gen = c.gen + 2 * 256;
	EXPECT_EQ(pool_stage(p, &c.holder, &it, &s), -EINVAL); /* of nobody yet */
	extents_return(c.runs, &late);
	EXPECT_EQ(fill(p, &c, &late, 2, 1000, 0, &it, &kk), 0);
	EXPECT_EQ(pool_stage(p, &c.holder, &it, &s), 0);
	pool_publish(p, s);
	EXPECT_TRUE(has(p, 1, 1000) && has(p, 2, 1000));
	rig_client_fini(p, &c);
	rig_client_fini(p, &other);
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
