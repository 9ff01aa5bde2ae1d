// SPDX-License-Identifier: Apache-2.0
/* Objects that are announced before their bytes are there: both ends, whoever is first, and what the space is afterwards. */
#include <unistd.h>

#include "pool_rig.h"

#include "mctest.h"

#define BYTES (4 * MiB)
#define SIZE  200000

struct rig {
	struct pool *p;
	struct rig_client c;
	struct rig_key k;
	struct extents x;
	struct publish_item it;
	struct staged *s;
	uint8_t data[SIZE], got[SIZE];
};

static int rig_announce(struct rig *r, unsigned long nr, uint64_t size, uint32_t flags)
{
	int ret;

	rig_key(&r->k, nr);
	rig_fill(r->data, MIN(size, (uint64_t)SIZE), nr);
	ret = extents_carve(r->c.runs, pool_view(r->p)->nr_regions, size, r->k.key.len, r->c.gen, &r->x);
	if (ret)
		return ret;
	r->c.gen += 2;
	r->x.put_id = r->x.gen;
	extents_begin(pool_view(r->p), &r->x, &r->k.key, (uint16_t)flags);
	r->it = rig_item(&r->x, &r->k.key, flags | OBJ_PENDING);
	ret = pool_stage(r->p, &r->c.holder, &r->it, &r->s);
	if (!ret)
		pool_publish(r->p, r->s);
	return ret;
}

static int rig_write(struct rig *r)
{
	struct iovec iov = { r->data, SIZE };

	extents_copy(pool_view(r->p), &r->x, OBJ_CRC, &iov, 1);
	return extents_reveal(pool_view(r->p), &r->x);
}

static int rig_has(struct rig *r, unsigned long nr)
{
	uint64_t size;
	int ret = rig_get(pool_view(r->p), rig_key(&r->k, nr), r->got, SIZE, &size);

	return ret ? ret : size == SIZE && rig_check(r->got, SIZE, nr) ? 0 : -EBADMSG;
}

static struct rig *rig_new(void)
{
	struct pool_opts o = { .bytes = BYTES };
	struct rig *r = calloc(1, sizeof(*r));

	EXPECT_EQ(pool_create(&o, &r->p), 0);
	EXPECT_EQ(rig_grant(r->p, &r->c, 1 * MiB), 0);
	return r;
}

/* Whatever became of announced objects, the books agree. */
static void rig_end(struct rig *r)
{
	struct pool_stat st;

	for (unsigned i = 0; i < pool_view(r->p)->nr_regions; i++) {
		EXPECT_EQ(r->c.holder.announced[i].bytes, 0);
		EXPECT_EQ(r->c.runs[i].bytes, r->c.holder.held[i].bytes);
	}
	rig_client_fini(r->p, &r->c);
	EXPECT_EQ(pool_drop_prefix(r->p, NULL, 0, true, 0, 0) < 3, true);
	pool_stat(r->p, &st);
	EXPECT_EQ(st.granted, 0);
	EXPECT_EQ(st.used, 0);
	EXPECT_EQ(st.objects, 0);
	EXPECT_EQ(st.pinned_bytes, 0);
	pool_close(r->p);
	free(r);
}

TEST(there_with_the_last_store)
{
	struct rig *r = rig_new();
	struct publish_item it;
	struct pool_stat st;
	uint64_t cursor = 0;

	ASSERT_EQ(rig_announce(r, 1, SIZE, OBJ_CRC | OBJ_HARD_PIN), 0);
	EXPECT_EQ(extents_agreed(pool_view(r->p), &r->x), 0);
	EXPECT_EQ(rig_has(r, 1), -ENOENT);
	EXPECT_EQ(pool_find(r->p, &r->k.key, &it), -ENOENT);
	ASSERT_EQ(pool_walk(r->p, &cursor, 1, &it), 1);
	EXPECT_EQ(it.flags, OBJ_CRC | OBJ_HARD_PIN | OBJ_PENDING);
	pool_stat(r->p, &st);
	EXPECT_EQ(st.pinned_bytes, 0);
	EXPECT_EQ(pool_announced_look(r->p, r->s), ANNOUNCED_WRITING);
	EXPECT_GT(r->c.holder.announced[0].bytes, SIZE);
	ASSERT_EQ(rig_write(r), 0);
	EXPECT_EQ(rig_has(r, 1), 0); /* before the owner looked */
	EXPECT_EQ(pool_announced_look(r->p, r->s), ANNOUNCED_STORED);
	EXPECT_EQ(pool_announced_end(r->p, r->s, true), ANNOUNCED_STORED);
	EXPECT_EQ(rig_has(r, 1), 0);
	cursor = 0;
	ASSERT_EQ(pool_walk(r->p, &cursor, 1, &it), 1);
	EXPECT_EQ(it.flags, OBJ_CRC | OBJ_HARD_PIN);
	pool_stat(r->p, &st);
	EXPECT_GT(st.pinned_bytes, SIZE);
	pool_announced_free(r->p, r->s);
	/* A holder that gives everything up while it writes: that part stays out of it. */
	ASSERT_EQ(rig_announce(r, 2, SIZE, 0), 0);
	pool_holder_fini(r->p, &r->c.holder);
	range_set_fini(&r->c.runs[0]);
	r->c.runs[0] = (struct range_set){ 0 };
	EXPECT_GT(r->c.holder.announced[0].bytes, SIZE);
	ASSERT_EQ(rig_write(r), 0);
	EXPECT_EQ(pool_announced_look(r->p, r->s), ANNOUNCED_STORED);
	pool_announced_free(r->p, r->s);
	EXPECT_EQ(rig_has(r, 2), 0);
	rig_end(r);
}

TEST(in_several_extents)
{
	struct rig *r = rig_new();
	uint64_t off = r->c.runs[0].r[0].off;

	/* What is granted lies in pieces. */
	for (unsigned i = 1; i < 16; i++) {
		struct grant_run run = { 0, off + i * 64 * KiB, 64 };
		struct msg_return m = { .nr = 1, .runs = &run };

		ASSERT_EQ(pool_return(r->p, &r->c.holder, &m), 0);
		ASSERT_EQ(range_set_del(&r->c.runs[0], run.off, run.len), 0);
	}

	ASSERT_EQ(rig_announce(r, 1, SIZE, OBJ_CRC), 0);
	ASSERT_GE(r->x.nr, 3);
	EXPECT_EQ(rig_has(r, 1), -ENOENT);
	ASSERT_EQ(rig_write(r), 0);
	EXPECT_EQ(rig_has(r, 1), 0);
	EXPECT_EQ(pool_announced_look(r->p, r->s), ANNOUNCED_STORED);
	pool_announced_free(r->p, r->s);
	EXPECT_EQ(rig_has(r, 1), 0);
	ASSERT_EQ(rig_announce(r, 2, SIZE, OBJ_CRC), 0);
	EXPECT_EQ(pool_announced_end(r->p, r->s, true), ANNOUNCED_GONE);
	EXPECT_EQ(rig_write(r), -ESTALE);
	extents_return(r->c.runs, &r->x);
	pool_announced_free(r->p, r->s);
	EXPECT_EQ(rig_has(r, 2), -ENOENT);
	rig_end(r);
}

TEST(removed_while_it_is_written)
{
	struct rig *r = rig_new();

	ASSERT_EQ(rig_announce(r, 1, SIZE, 0), 0);
	EXPECT_EQ(pool_drop(r->p, &r->k.key, r->x.gen, true, 0, 0), 0);
	EXPECT_EQ(pool_drop(r->p, &r->k.key, 0, true, 0, 0), -ENOENT);
	EXPECT_EQ(rig_write(r), -ENOENT);
	extents_return(r->c.runs, &r->x);
	EXPECT_EQ(pool_announced_look(r->p, r->s), ANNOUNCED_GONE);
	pool_announced_free(r->p, r->s);
	EXPECT_EQ(rig_has(r, 1), -ENOENT);
	/* All of them. */
	ASSERT_EQ(rig_announce(r, 2, SIZE, 0), 0);
	EXPECT_EQ(pool_drop_prefix(r->p, NULL, 0, true, 0, 0), 1);
	EXPECT_EQ(rig_write(r), -ENOENT);
	extents_return(r->c.runs, &r->x);
	pool_announced_free(r->p, r->s);
	/* After the last store, before the owner looked: like any other. */
	ASSERT_EQ(rig_announce(r, 3, SIZE, 0), 0);
	ASSERT_EQ(rig_write(r), 0);
	EXPECT_EQ(pool_drop(r->p, &r->k.key, 0, true, 0, 0), 0);
	EXPECT_EQ(pool_announced_look(r->p, r->s), ANNOUNCED_STORED);
	pool_announced_free(r->p, r->s);
	EXPECT_EQ(rig_has(r, 3), -ENOENT);
	rig_end(r);
}

TEST(the_writer_gives_up_or_dies)
{
	struct rig *r = rig_new();
	struct pool_stat before, after;

	pool_stat(r->p, &before);
	ASSERT_EQ(rig_announce(r, 1, SIZE, 0), 0);
	EXPECT_EQ(extents_abandon(pool_view(r->p), &r->x), 0);
	EXPECT_EQ(pool_announced_look(r->p, r->s), ANNOUNCED_GONE);
	pool_announced_free(r->p, r->s);
	ASSERT_EQ(rig_announce(r, 2, SIZE, 0), 0);
	EXPECT_EQ(pool_announced_end(r->p, r->s, false), ANNOUNCED_GONE);
	pool_announced_free(r->p, r->s);
	pool_stat(r->p, &after);
	EXPECT_GT(before.granted - after.granted, 2 * SIZE); /* free, not the holder's */
	EXPECT_EQ(after.used, 0);
	/* It was done when it died. */
	ASSERT_EQ(rig_announce(r, 3, SIZE, 0), 0);
	ASSERT_EQ(rig_write(r), 0);
	EXPECT_EQ(pool_announced_end(r->p, r->s, false), ANNOUNCED_STORED);
	pool_announced_free(r->p, r->s);
	EXPECT_EQ(rig_has(r, 3), 0);
	/* Too late to give up. */
	ASSERT_EQ(rig_announce(r, 4, SIZE, 0), 0);
	EXPECT_EQ(pool_announced_end(r->p, r->s, true), ANNOUNCED_GONE);
	EXPECT_EQ(extents_abandon(pool_view(r->p), &r->x), -ESTALE);
	extents_return(r->c.runs, &r->x);
	pool_announced_free(r->p, r->s);
	rig_end(r);
}

TEST(not_published_after_all)
{
	struct rig *r = rig_new();
	struct staged *s;

	for (int give_up = 0; give_up < 2; give_up++) {
		rig_key(&r->k, 1);
		ASSERT_EQ(extents_carve(r->c.runs, 1, SIZE, r->k.key.len, r->c.gen, &r->x), 0);
		r->c.gen += 2;
		r->x.put_id = r->x.gen;
		extents_begin(pool_view(r->p), &r->x, &r->k.key, 0);
		r->it = rig_item(&r->x, &r->k.key, OBJ_PENDING | OBJ_REPLACE);
		EXPECT_EQ(pool_stage(r->p, &r->c.holder, &r->it, &s), -EINVAL);
		r->it.flags = 0; /* as if it were written */
		EXPECT_EQ(pool_stage(r->p, &r->c.holder, &r->it, &s), -EBADMSG);
		r->it.flags = OBJ_PENDING;
		ASSERT_EQ(pool_stage(r->p, &r->c.holder, &r->it, &s), 0);
		EXPECT_EQ(extents_agreed(pool_view(r->p), &r->x), -EINPROGRESS);
		EXPECT_EQ(extents_reveal(pool_view(r->p), &r->x), -EBADMSG); /* nobody said yes */
		if (give_up)
			EXPECT_EQ(extents_abandon(pool_view(r->p), &r->x), 0);
		pool_unstage(r->p, s, &r->c.holder);
		EXPECT_EQ(extents_agreed(pool_view(r->p), &r->x), -ECANCELED);
		if (!give_up) {
			EXPECT_EQ(extents_reveal(pool_view(r->p), &r->x), -ENOENT);
			extents_return(r->c.runs, &r->x);
		}
	}
	rig_end(r);
}

TEST(two_of_one_key)
{
	struct rig *r = rig_new();
	struct staged *first;
	struct extents x;

	/* The second is announced, too, so the first's put may not say that it is stored. */
	ASSERT_EQ(rig_announce(r, 1, SIZE, 0), 0);
	first = r->s;
	x = r->x;
	ASSERT_EQ(rig_announce(r, 1, SIZE, 0), 0);
	EXPECT_EQ(extents_reveal(pool_view(r->p), &x), -ESTALE);
	extents_return(r->c.runs, &x);
	EXPECT_EQ(pool_announced_look(r->p, first), ANNOUNCED_GONE);
	pool_announced_free(r->p, first);
	ASSERT_EQ(rig_write(r), 0);
	EXPECT_EQ(rig_has(r, 1), 0);
	/* A third finds it there, though the owner did not look. */
	EXPECT_EQ(rig_announce(r, 1, SIZE, 0), -EEXIST);
	extents_return(r->c.runs, &r->x);
	EXPECT_EQ(pool_announced_look(r->p, r->s), ANNOUNCED_STORED);
	pool_announced_free(r->p, r->s);
	/* One that is whole takes the place for good. */
	ASSERT_EQ(rig_announce(r, 2, SIZE, 0), 0);
	EXPECT_EQ(rig_put(r->p, &r->k.key, r->data, SIZE, 0), 0);
	EXPECT_EQ(extents_reveal(pool_view(r->p), &r->x), -ENOENT);
	extents_return(r->c.runs, &r->x);
	pool_announced_free(r->p, r->s);
	EXPECT_EQ(rig_has(r, 2), 0);
	rig_end(r);
}

TEST(eviction_passes_it_by)
{
	struct rig *r = rig_new();
	struct rig_key k;
	unsigned long i;

	ASSERT_EQ(rig_announce(r, 1, SIZE, 0), 0);
	for (i = 10; i < 60; i++)
		EXPECT_EQ(rig_put(r->p, rig_key(&k, i), r->got, SIZE, 0), 0);
	EXPECT_EQ(pool_announced_look(r->p, r->s), ANNOUNCED_WRITING);
	ASSERT_EQ(rig_write(r), 0);
	for (; i < 100; i++)
		EXPECT_EQ(rig_put(r->p, rig_key(&k, i), r->got, SIZE, 0), 0);
	EXPECT_EQ(rig_has(r, 1), 0);
	EXPECT_EQ(pool_announced_look(r->p, r->s), ANNOUNCED_STORED);
	pool_announced_free(r->p, r->s);
	for (; i < 140; i++)
		EXPECT_EQ(rig_put(r->p, rig_key(&k, i), r->got, SIZE, 0), 0);
	EXPECT_EQ(rig_has(r, 1), -ENOENT);
	pool_drop_prefix(r->p, NULL, 0, true, 0, 0);
	rig_end(r);
}

/* The owner dies with three of them: written, being written, given up. The writer lives on. */
TEST(the_next_owner)
{
	struct rig *r = rig_new();
	struct extents half, left;
	struct msg_attach_reply info;
	int region[POOL_REGIONS_MAX], dir, rw;
	uint64_t kept, lost;
	struct pool *next;
	struct pool_stat st;

	ASSERT_EQ(rig_announce(r, 1, SIZE, 0), 0);
	ASSERT_EQ(rig_write(r), 0);
	pool_announced_free(r->p, r->s);
	ASSERT_EQ(rig_announce(r, 2, SIZE, 0), 0);
	half = r->x;
	pool_announced_free(r->p, r->s);
	ASSERT_EQ(rig_announce(r, 3, SIZE, 0), 0);
	left = r->x;
	pool_announced_free(r->p, r->s);
	EXPECT_EQ(extents_abandon(pool_view(r->p), &left), 0);
	pool_fds(r->p, &dir, region, &info);
	rw = dup(pool_view(r->p)->dir_region.fd);
	region[0] = dup(region[0]);
	ASSERT_EQ(pool_adopt(rw, region, 1, NULL, &next, &kept, &lost), 0);
	EXPECT_EQ(kept, 1);
	EXPECT_EQ(lost, 0);
	EXPECT_EQ(rig_has(r, 1), 0);
	EXPECT_EQ(extents_reveal(pool_view(r->p), &half), -ESTALE);
	EXPECT_EQ(rig_has(r, 2), -ENOENT);
	EXPECT_EQ(rig_has(r, 3), -ENOENT);
	pool_stat(next, &st);
	EXPECT_LT(st.used, 2 * SIZE);
	EXPECT_EQ(pool_drop_prefix(next, NULL, 0, true, 0, 0), 1);
	pool_stat(next, &st);
	EXPECT_EQ(st.used, 0);
	pool_close(next);
	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++)
		range_set_fini(&r->c.holder.announced[i]);
	rig_client_fini(r->p, &r->c);
	pool_close(r->p);
	free(r);
}
