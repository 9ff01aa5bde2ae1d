// SPDX-License-Identifier: Apache-2.0
/* The master's index: who wins, who is seen, what a walk shows, what it costs, and a model it is held against. */
#include "unit/objects_rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

TEST(first_put_wins)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 7), b = slot_new(ix, 8);
	struct key k = key_of(0);
	struct located l;
	unsigned nr_old;

	EXPECT_TRUE(!exists(ix, k));
	EXPECT_EQ(put(ix, a, k, 1, 0, 10, NULL), 0);
	EXPECT_EQ(put(ix, b, k, 2, 0, 20, NULL), -EEXIST);
	EXPECT_EQ(put(ix, b, k, 1, OBJ_SOFT_PIN, 22, NULL), 0); /* the same put's second replica */
	objects_locate(ix, &k, false, 0, &l);
	ASSERT_EQ(l.status, 0);
	EXPECT_EQ(l.size, 101);
	EXPECT_EQ(l.put_id, 1);
	EXPECT_EQ(l.flags, 0);
	ASSERT_EQ(l.nr_replicas, 2);
	EXPECT_EQ(l.replica[0].pool, 7);
	EXPECT_EQ(l.replica[0].loc.gen, 10);
	EXPECT_EQ(l.replica[0].loc.off, 640);
	EXPECT_EQ(l.replica[0].loc.region, 1);
	EXPECT_EQ(l.replica[1].pool, 8);

	EXPECT_EQ(put(ix, a, k, 1, 0, 12, &nr_old), 0); /* moved within its pool */
	objects_locate(ix, &k, false, 0, &l);
	EXPECT_EQ(l.nr_replicas, 2);
	EXPECT_EQ(l.replica[0].loc.gen, 12);
	objects_close(ix);
}

TEST(upsert_names_the_old_holders)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 1), b = slot_new(ix, 2), c = slot_new(ix, 3);
	struct publish_item it = { .key = key_of(0), .put_id = 2, .size = 5, .flags = OBJ_REPLACE | OBJ_HARD_PIN,
				   .loc = { .nr_extents = 1, .gen = 30 } };
	struct holder old[REPLICAS_MAX];
	struct located l;
	unsigned nr;

	EXPECT_EQ(put(ix, a, it.key, 1, 0, 10, NULL), 0);
	EXPECT_EQ(put(ix, b, it.key, 1, 0, 20, NULL), 0);
	objects_slot_set(ix, b, SLOT_GONE); /* gone: nobody to tell */
	EXPECT_EQ(objects_publish(ix, c, &it, 0, old, &nr), 0);
	ASSERT_EQ(nr, 1);
	EXPECT_EQ(old[0].slot, a);
	EXPECT_EQ(old[0].pool, 1);
	EXPECT_EQ(old[0].gen, 10);
	objects_locate(ix, &it.key, false, 0, &l);
	EXPECT_EQ(l.size, 5);
	EXPECT_EQ(l.flags, OBJ_HARD_PIN);
	EXPECT_EQ(l.nr_replicas, 1);
	EXPECT_EQ(l.replica[0].pool, 3);
	EXPECT_TRUE(!objects_withdraw(ix, a, &it.key, 10));
	objects_close(ix);
}

TEST(withdraw_needs_the_generation)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 1);
	struct key k = key_of(0);

	EXPECT_EQ(put(ix, a, k, 1, 0, 10, NULL), 0);
	EXPECT_EQ(put(ix, a, k, 1, 0, 12, NULL), 0);
	EXPECT_TRUE(!objects_withdraw(ix, a, &k, 10)); /* on its way when the newer one was published */
	EXPECT_TRUE(exists(ix, k));
	EXPECT_TRUE(objects_withdraw(ix, a, &k, 12));
	EXPECT_TRUE(!exists(ix, k));
	EXPECT_TRUE(!objects_withdraw(ix, a, &k, 12));
	objects_close(ix);
}

TEST(what_is_hidden_counts)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 1), b = slot_new(ix, 2);
	struct key k = key_of(0);
	struct holder h[REPLICAS_MAX];
	struct located l;
	unsigned nr = 0;

	EXPECT_EQ(put(ix, a, k, 1, 0, 10, NULL), 0);
	objects_slot_set(ix, a, SLOT_HIDDEN);
	EXPECT_TRUE(!exists(ix, k));
	objects_locate(ix, &k, true, 0, &l);
	EXPECT_EQ(l.status, -ENOENT);
	EXPECT_EQ(put(ix, b, k, 2, 0, 20, NULL), -EEXIST); /* its pool may answer again */
	EXPECT_EQ(objects_holders(ix, &k, false, 0, h, &nr), 0);
	EXPECT_EQ(nr, 1);
	EXPECT_EQ(put(ix, b, k, 2, OBJ_REPLACE, 20, &nr), 0);
	EXPECT_EQ(nr, 1); /* and has to drop it then */
	objects_slot_set(ix, a, SLOT_LIVE);
	objects_locate(ix, &k, false, 0, &l);
	EXPECT_EQ(l.nr_replicas, 1);
	EXPECT_EQ(l.put_id, 2);
	objects_close(ix);
}

static uint8_t found(struct objects *ix, struct key key)
{
	uint8_t f = 9;

	EXPECT_EQ(objects_exist(ix, &key, 1, false, 0, &f), f != 0);
	return f;
}

TEST(pending_promises_nothing)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 7), b = slot_new(ix, 8);
	struct key k = key_of(0);
	struct located l;
	unsigned nr_old;

	EXPECT_EQ(put(ix, a, k, 1, OBJ_PENDING | OBJ_CRC, 10, NULL), 0);
	EXPECT_EQ(found(ix, k), 2);
	objects_locate(ix, &k, false, 0, &l);
	ASSERT_EQ(l.status, 0);
	EXPECT_EQ(l.flags, OBJ_PENDING | OBJ_CRC);
	EXPECT_EQ(l.replica[0].loc.gen, 10);
	EXPECT_EQ(put(ix, b, k, 2, 0, 20, NULL), -EALREADY);
	EXPECT_EQ(put(ix, b, k, 2, OBJ_PENDING, 20, NULL), -EALREADY);
	EXPECT_TRUE(!objects_stored(ix, a, &k, 11));
	EXPECT_TRUE(!objects_stored(ix, b, &k, 10));
	EXPECT_TRUE(objects_stored(ix, a, &k, 10));
	EXPECT_TRUE(!objects_stored(ix, a, &k, 10));
	EXPECT_EQ(found(ix, k), 1);
	EXPECT_EQ(put(ix, b, k, 2, 0, 20, NULL), -EEXIST);
	objects_locate(ix, &k, false, 0, &l);
	EXPECT_EQ(l.flags, OBJ_CRC);

	/* Not finished: the next one is the first. */
	k = key_of(1);
	EXPECT_EQ(put(ix, a, k, 3, OBJ_PENDING, 30, NULL), 0);
	EXPECT_TRUE(objects_withdraw(ix, a, &k, 30));
	EXPECT_EQ(found(ix, k), 0);
	EXPECT_EQ(put(ix, b, k, 4, 0, 40, NULL), 0);
	EXPECT_TRUE(!objects_stored(ix, a, &k, 30));

	/* What replaces waits for nobody, and names whom to tell. */
	k = key_of(2);
	EXPECT_EQ(put(ix, a, k, 5, OBJ_PENDING, 50, NULL), 0);
	EXPECT_EQ(put(ix, b, k, 6, OBJ_REPLACE, 60, &nr_old), 0);
	EXPECT_EQ(nr_old, 1);
	EXPECT_EQ(found(ix, k), 1);

	/* Told again as it is by now. */
	k = key_of(3);
	EXPECT_EQ(put(ix, a, k, 7, OBJ_PENDING, 70, NULL), 0);
	EXPECT_EQ(put(ix, a, k, 7, 0, 70, NULL), 0);
	EXPECT_EQ(found(ix, k), 1);
	objects_close(ix);
}

TEST(pending_in_a_pool_that_is_away)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 7), b = slot_new(ix, 8);
	struct key k = key_of(0), k2 = key_of(1);

	EXPECT_EQ(put(ix, a, k, 1, OBJ_PENDING, 10, NULL), 0);
	EXPECT_EQ(put(ix, a, k2, 1, OBJ_PENDING, 12, NULL), 0);
	objects_slot_set(ix, a, SLOT_HIDDEN);
	EXPECT_EQ(found(ix, k), 0);
	/* It may have been promised to somebody: only what is certain takes its place. */
	EXPECT_EQ(put(ix, b, k, 2, OBJ_PENDING, 20, NULL), -EAGAIN);
	EXPECT_EQ(put(ix, b, k, 2, 0, 20, NULL), 0);
	objects_slot_set(ix, a, SLOT_GONE);
	EXPECT_EQ(put(ix, b, k2, 2, OBJ_PENDING, 22, NULL), 0);
	objects_close(ix);
}

TEST(replicas_have_a_limit)
{
	struct objects *ix = index_new(2);
	struct key k = key_of(0);
	uint16_t s[REPLICAS_MAX + 1];
	struct publish_item other = { .key = k, .put_id = 1, .size = 1, .loc = { .nr_extents = 1 } };
	struct holder old[REPLICAS_MAX];
	unsigned nr;

	for (unsigned i = 0; i <= REPLICAS_MAX; i++)
		s[i] = slot_new(ix, i + 1);
	for (unsigned i = 0; i < REPLICAS_MAX; i++)
		EXPECT_EQ(put(ix, s[i], k, 1, 0, i + 1, NULL), 0);
	EXPECT_EQ(put(ix, s[REPLICAS_MAX], k, 1, 0, 99, NULL), -ENOSPC);
	EXPECT_EQ(objects_publish(ix, s[3], &other, 0, old, &nr), -EINVAL); /* another size */
	objects_slot_set(ix, s[0], SLOT_GONE);
	objects_slot_set(ix, s[5], SLOT_GONE);
	EXPECT_EQ(put(ix, s[REPLICAS_MAX], k, 1, 0, 99, NULL), 0);
	EXPECT_EQ(objects_holders(ix, &k, true, 0, old, &nr), 0);
	EXPECT_EQ(nr, REPLICAS_MAX - 1);
	objects_close(ix);
}

TEST(leases_hold_off_removal)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 1);
	struct key k = key_of(0);
	struct holder h[REPLICAS_MAX];
	struct located l;
	uint8_t found;
	unsigned nr;

	EXPECT_EQ(objects_holders(ix, &k, true, 0, h, &nr), -ENOENT);
	EXPECT_EQ(put(ix, a, k, 1, 0, 10, NULL), 0);
	EXPECT_EQ(objects_holders(ix, &k, false, 500, h, &nr), 0);
	EXPECT_EQ(nr, 1);
	objects_exist(ix, &k, 1, false, 500, &found); /* without touching: no lease */
	EXPECT_EQ(objects_holders(ix, &k, false, 500, h, &nr), 0);
	objects_locate(ix, &k, true, 500, &l);
	EXPECT_EQ(objects_holders(ix, &k, false, 500 + LEASE - 1, h, &nr), -EBUSY);
	EXPECT_EQ(nr, 0);
	EXPECT_EQ(objects_holders(ix, &k, true, 500 + LEASE - 1, h, &nr), 0);
	EXPECT_EQ(objects_holders(ix, &k, false, 500 + LEASE, h, &nr), 0);
	objects_exist(ix, &k, 1, true, 600, &found);
	EXPECT_EQ(objects_holders(ix, &k, false, 600 + LEASE - 1, h, &nr), -EBUSY);
	objects_close(ix);
}

TEST(purge_goes_in_steps)
{
	struct objects *ix = index_new(16);
	uint16_t a = slot_new(ix, 1), b = slot_new(ix, 2);
	struct objects_stat st;
	struct slot_stat ss;
	unsigned steps = 0;

	for (unsigned i = 0; i < 1000; i++) {
		EXPECT_EQ(put(ix, a, key_of(i), 1, OBJ_SOFT_PIN, 10, NULL), 0);
		if (i % 2)
			EXPECT_EQ(put(ix, b, key_of(i), 1, 0, 10, NULL), 0);
	}
	objects_stat(ix, &st);
	EXPECT_EQ(st.objects, 1000);
	EXPECT_EQ(st.bytes, 101000);
	EXPECT_EQ(st.soft_pinned, 1000);
	objects_slot_set(ix, a, SLOT_GONE);
	while (objects_slot_purge(ix, a, 64) == 64)
		steps++;
	EXPECT_EQ(steps, 1000 / 64);
	objects_slot_stat(ix, a, &ss);
	EXPECT_EQ(ss.replicas, 0);
	EXPECT_EQ(ss.objects, 0);
	objects_slot_close(ix, a);
	objects_slot_stat(ix, b, &ss);
	EXPECT_EQ(ss.replicas, 500);
	EXPECT_EQ(ss.objects, 500); /* what was second is first now */
	objects_stat(ix, &st);
	EXPECT_EQ(st.objects, 500);
	for (unsigned i = 0; i < 1000; i++)
		EXPECT_EQ(exists(ix, key_of(i)), i % 2);
	objects_close(ix);
}

/* ---- walking ---- */

#define WALKED 5000

struct seen {
	uint8_t times[WALKED * 2];
	unsigned left; /* stop after so many */
};

static bool note(void *arg, const struct object_view *o)
{
	struct seen *s = arg;
	char text[32];

	if (!s->left)
		return false;
	s->left--;
	snprintf(text, sizeof(text), "%.*s", o->key.len - 1, (const char *)o->key.data + 1);
	s->times[atoi(text + 1)]++;
	return true;
}

TEST(walk_shows_each_once_while_others_come_and_go)
{
	struct objects *ix = index_new(4);
	uint16_t a = slot_new(ix, 1);
	static struct seen seen;
	unsigned coming = WALKED, going = 0;
	uint64_t cursor = 0;

	memset(&seen, 0, sizeof(seen));
	for (unsigned i = 0; i < WALKED; i++)
		put(ix, a, key_of(i), 1, 0, 10, NULL);
	do {
		seen.left = 7;
		cursor = objects_walk(ix, cursor, 11, 0, note, &seen);
		/* The tables grow and shrink under the walk; keys divisible by 3 stay all the time. */
		if (coming < 2 * WALKED)
			put(ix, a, key_of(coming++), 1, 0, 10, NULL);
		for (; going < WALKED && going % 3 == 0; going++)
			;
		if (going < WALKED) {
			struct key k = key_of(going++);

			objects_withdraw(ix, a, &k, 10);
		}
	} while (cursor);
	for (unsigned i = 0; i < WALKED; i++) {
		if (i % 3 == 0 && seen.times[i] != 1)
			MCTEST_FAIL("key %u was shown %u times", i, seen.times[i]);
		if (seen.times[i] > 1)
			MCTEST_FAIL("key %u was shown %u times", i, seen.times[i]);
	}
	objects_slot_set(ix, a, SLOT_GONE);
	seen.left = 1;
	EXPECT_EQ(objects_walk(ix, 0, 1 << 30, 0, note, &seen), 0);
	EXPECT_EQ(seen.left, 1); /* nothing visible */
	objects_close(ix);
}

/* ---- against a model ---- */

#define KEYS 100 /* few enough for every put to have a grave */
#define PUTS 3
#define SLOTS 4

struct model {
	uint64_t put_id, gen[SLOTS]; /* 0: none */
	bool buried[PUTS];	     /* replaced while a pool was away */
};

static bool model_visible(const struct model *m, const bool *live)
{
	for (int s = 0; s < SLOTS; s++)
		if (m->gen[s] && live[s])
			return true;
	return false;
}

static uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void model_over(struct model *m, const bool *live, uint32_t flags)
{
	for (int s = 0; s < SLOTS; s++)
		if (flags && m->gen[s] && !live[s])
			m->buried[(m->put_id - 1) % PUTS] = true;
	m->put_id = 0;
	memset(m->gen, 0, sizeof(m->gen));
}

static void model_put(struct objects *ix, struct model *m, const uint16_t *slot, const bool *live, unsigned k, uint64_t gen)
{
	unsigned s = rnd() % SLOTS, n = rnd() % PUTS;
	uint64_t put_id = 1 + k * PUTS + n;
	uint32_t flags = rnd() % 4 ? 0 : OBJ_REPLACE;
	int want = 0;

	if (!live[s])
		return; /* who publishes is live */
	if (m->buried[n]) {
		want = -EEXIST;
	} else if (m->put_id && m->put_id != put_id) {
		if (!flags && model_visible(m, live))
			want = -EEXIST;
		else
			model_over(m, live, flags);
	}
	if (!want) {
		m->put_id = put_id;
		m->gen[s] = gen;
	}
	EXPECT_EQ(put(ix, slot[s], key_of(k), put_id, flags, gen, NULL), want);
}

static void model_forget(struct model *m, unsigned s)
{
	m->gen[s] = 0;
	for (int i = 0; i < SLOTS; i++)
		if (m->gen[i])
			return;
	m->put_id = 0;
}

TEST(agrees_with_a_model)
{
	static struct model model[KEYS];
	struct objects *ix = index_new(2);
	bool live[SLOTS] = { true, true, true, true };
	uint16_t slot[SLOTS];
	uint64_t gen = 2;

	memset(model, 0, sizeof(model));
	for (unsigned s = 0; s < SLOTS; s++)
		slot[s] = slot_new(ix, s + 1);
	for (unsigned step = 0; step < 200000; step++) {
		unsigned k = rnd() % KEYS, s = rnd() % SLOTS, what = rnd() % 100;
		struct key key = key_of(k);
		struct model *m = &model[k];

		if (what < 55) {
			model_put(ix, m, slot, live, k, gen += 2);
		} else if (what < 80) {
			EXPECT_EQ(objects_withdraw(ix, slot[s], &key, m->gen[s] ? m->gen[s] : 1), m->gen[s] != 0);
			if (m->gen[s])
				model_forget(m, s);
		} else if (what < 98 || step % 50) {
			EXPECT_EQ(exists(ix, key), model_visible(m, live));
		} else if (live[s]) {
			live[s] = false;
			objects_slot_set(ix, slot[s], SLOT_GONE);
		} else {
			while (objects_slot_purge(ix, slot[s], 10) == 10)
				;
			objects_slot_close(ix, slot[s]);
			for (unsigned i = 0; i < KEYS; i++)
				if (model[i].gen[s])
					model_forget(&model[i], s);
			slot[s] = slot_new(ix, s + 1);
			live[s] = true;
		}
		if (mctest_failed) {
			MCTEST_FAIL("at step %u", step);
			break;
		}
	}
	for (unsigned k = 0; k < KEYS; k++)
		EXPECT_EQ(exists(ix, key_of(k)), model_visible(&model[k], live));
	objects_close(ix);
}

/* ---- threads ---- */

struct crowd {
	struct objects *ix;
	uint16_t slot;
	unsigned seed;
	atomic_bool *stop;
};

static void *publish_and_withdraw(void *arg)
{
	struct crowd *c = arg;

	for (unsigned i = 0; i < 20000; i++) {
		char text[16] = "";
		struct key k = { text, 0 };
		struct publish_item it = { .put_id = c->seed, .size = 1, .loc = { .nr_extents = 1, .gen = i * 2 + 2 } };
		struct holder old[REPLICAS_MAX];
		unsigned nr;

		k.len = (uint16_t)(1 + snprintf(text + 1, 15, "%u", (i * 7 + c->seed) % 500));
		it.key = k;
		if (!objects_publish(c->ix, c->slot, &it, 0, old, &nr) && i % 3)
			objects_withdraw(c->ix, c->slot, &k, it.loc.gen);
	}
	return NULL;
}

static void *ask(void *arg)
{
	struct crowd *c = arg;
	char text[100][16];
	struct key keys[100];
	uint8_t found[100];

	for (unsigned i = 0; i < 100; i++) {
		text[i][0] = 0;
		keys[i] = (struct key){ text[i], (uint16_t)(1 + snprintf(text[i] + 1, 15, "%u", i * 5)) };
	}
	while (!atomic_load(c->stop)) {
		struct objects_stat st;
		struct located l;

		objects_exist(c->ix, keys, 100, true, 5, found);
		objects_locate(c->ix, &keys[3], true, 5, &l);
		objects_stat(c->ix, &st);
	}
	return NULL;
}

TEST(threads)
{
	struct objects *ix = index_new(8);
	atomic_bool stop = false;
	struct crowd c[4];
	pthread_t t[4];
	struct objects_stat st;

	for (unsigned i = 0; i < 4; i++) {
		c[i] = (struct crowd){ ix, slot_new(ix, i + 1), i + 1, &stop };
		pthread_create(&t[i], NULL, i < 2 ? publish_and_withdraw : ask, &c[i]);
	}
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	for (unsigned i = 0; i < 2; i++) {
		objects_slot_set(ix, c[i].slot, SLOT_GONE);
		while (objects_slot_purge(ix, c[i].slot, 100) == 100)
			;
		objects_slot_close(ix, c[i].slot);
	}
	atomic_store(&stop, true);
	pthread_join(t[2], NULL);
	pthread_join(t[3], NULL);
	objects_stat(ix, &st);
	EXPECT_EQ(st.objects, 0);
	EXPECT_EQ(st.bytes, 0);
	objects_close(ix);
}

/* ---- memory ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifndef SANITIZED
static uint64_t resident(void)
{
	unsigned long all = 0, res = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%lu %lu", &all, &res) != 2)
		res = 0;
	if (f)
		fclose(f);
	return res * (uint64_t)sysconf(_SC_PAGESIZE);
}
#endif

TEST(a_million_objects_in_250_bytes_each)
{
#ifdef SANITIZED
	SKIP("a sanitizer changes what memory costs");
#else
	uint64_t before = resident(), used, t0 = clock_now_ns(), t1, t2;
	struct objects *ix = index_new(0);
	uint16_t a = slot_new(ix, 1);
	const unsigned nr = 1000000;
	char text[26] = "";
	struct key k = { text, 25 };

	for (unsigned i = 0; i < nr; i++) {
		snprintf(text + 1, 25, "%024u", i);
		ASSERT_EQ(put(ix, a, k, 1, 0, 10, NULL), 0);
	}
	t1 = clock_now_ns();
	used = resident() - before;
	printf("# %.1f bytes per object, %.2f million published per second\n", (double)used / nr, nr * 1e3 / (double)(t1 - t0));
	EXPECT_LE(used / nr, 250);
	objects_slot_set(ix, a, SLOT_GONE);
	while (objects_slot_purge(ix, a, 500) == 500)
		;
	t2 = clock_now_ns();
	printf("# %.2f million purged per second\n", nr * 1e3 / (double)(t2 - t1));
	objects_close(ix);
#endif
}
TEST(one_puts_replicas_are_cleared)
{
	struct objects *ix = index_new(2);
	uint16_t a = slot_new(ix, 1), b = slot_new(ix, 2), c = slot_new(ix, 3);
	struct pool_mask in = { 0 };
	struct holder h[REPLICAS_MAX];
	struct key k = key_of(0);
	struct located l;
	unsigned nr = 9;

	pool_mask_add(&in, 2);
	EXPECT_EQ(objects_clear(ix, &k, 1, NULL, 0, h, &nr), -ENOENT);
	EXPECT_EQ(nr, 0);
	EXPECT_EQ(put(ix, a, k, 1, 0, 10, NULL), 0);
	EXPECT_EQ(put(ix, b, k, 1, 0, 20, NULL), 0);
	EXPECT_EQ(objects_clear(ix, &k, 2, NULL, 0, h, &nr), -ENOENT); /* another put's */
	EXPECT_EQ(objects_clear(ix, &k, 1, NULL, 0, h, &nr), 0);
	EXPECT_EQ(nr, 2);
	EXPECT_EQ(objects_clear(ix, &k, 1, &in, 0, h, &nr), 0);
	EXPECT_EQ(nr, 1);
	EXPECT_EQ(h[0].pool, 2);
	EXPECT_EQ(h[0].gen, 20);
	EXPECT_TRUE(objects_withdraw(ix, b, &k, 20));
	EXPECT_EQ(objects_clear(ix, &k, 1, &in, 0, h, &nr), -ENOENT);

	EXPECT_EQ(put(ix, c, k, 1, OBJ_PENDING, 30, NULL), 0);
	EXPECT_EQ(objects_clear(ix, &k, 1, NULL, 0, h, &nr), -EAGAIN);
	EXPECT_TRUE(objects_stored(ix, c, &k, 30));
	objects_locate(ix, &k, true, 100, &l);
	EXPECT_EQ(objects_clear(ix, &k, 1, NULL, 100, h, &nr), -EBUSY);
	EXPECT_EQ(objects_clear(ix, &k, 1, NULL, 100 + LEASE, h, &nr), 0);
	objects_slot_set(ix, a, SLOT_GONE);
	objects_slot_set(ix, c, SLOT_GONE);
	EXPECT_EQ(objects_clear(ix, &k, 1, NULL, 100 + LEASE, h, &nr), -ENOENT);
	objects_close(ix);
}

