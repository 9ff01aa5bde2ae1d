// SPDX-License-Identifier: Apache-2.0
/* Owners killed at any moment: the next one finds every object that was published, byte for byte, and all the space. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mctest.h"
#include "pool_rig.h"

#define KEYS 300
#define POOL_BYTES (4 * MiB)

enum state { ABSENT, PRESENT, MAYBE };

/* What the child did, in memory that outlives it. MAYBE: a call that concerns the key has not returned. */
struct journal {
	struct {
		enum state state;
		uint32_t version, next; /* stored; being stored (0: none) */
	} key[KEYS];
	uint32_t touched[KEYS + 1], nr_touched; /* keys that go from MAYBE to ABSENT when the call returns: evicted ones */
	uint64_t calls, evicted;
};

static struct journal *j;
static struct {
	int dir, region[2];
} fds;

static uint64_t rng;

static uint64_t rnd(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % below;
}

static uint64_t seed_of(unsigned key, uint32_t version)
{
	return (uint64_t)key << 32 | version;
}

/* Small, middle, and some that need several extents when space is in pieces. */
static uint64_t size_of(unsigned key, uint32_t version)
{
	uint64_t x = seed_of(key, version) * 0x9e3779b97f4a7c15u >> 32;

	return 1 + x % (x & 1 ? 3000 : x & 2 ? 40000 : x & 60 ? 90000 : 700000);
}

static void on_evict(void *arg, const struct key *key, uint64_t gen)
{
	char text[RIG_KEY_MAX] = "";
	unsigned nr;

	memcpy(text, (const char *)key->data + 1, key->len - 1u);
	if (sscanf(text, "key-%u", &nr) != 1 || nr >= KEYS)
		abort();
	j->key[nr].state = MAYBE;
	j->touched[j->nr_touched] = nr;
	__atomic_store_n(&j->nr_touched, j->nr_touched + 1, __ATOMIC_RELEASE);
	j->evicted++;
}

static struct pool *adopt(uint64_t *kept, uint64_t *lost)
{
	int region[2] = { dup(fds.region[0]), dup(fds.region[1]) };
	struct pool *p = NULL;

	if (pool_adopt(dup(fds.dir), region, 2, NULL, &p, kept, lost))
		abort();
	return p;
}

static void settle(void)
{
	for (uint32_t i = 0; i < j->nr_touched; i++)
		j->key[j->touched[i]].state = ABSENT;
	j->nr_touched = 0;
}

static void one_put(struct pool *p, struct rig_client *c, unsigned nr, bool granted)
{
	static uint8_t data[MiB];
	uint32_t version = j->key[nr].version + 1;
	uint64_t size = size_of(nr, version);
	struct publish_item it;
	struct staged *s;
	struct extents x;
	struct rig_key k;
	struct iovec iov = { data, size };
	int ret;

	rig_key(&k, nr);
	rig_fill(data, size, seed_of(nr, version));
	if (j->key[nr].state == ABSENT)
		j->key[nr].version = 0;
	j->key[nr].next = version;
	__atomic_store_n(&j->key[nr].state, MAYBE, __ATOMIC_RELEASE);
	if (!granted) {
		ret = rig_put(p, &k.key, data, size, OBJ_REPLACE);
	} else {
		ret = extents_carve(c->runs, 2, size, k.key.len, c->gen, &x);
		if (ret && !rig_grant(p, c, 256 * KiB))
			ret = extents_carve(c->runs, 2, size, k.key.len, c->gen, &x);
		if (!ret) {
			x.put_id = c->gen;
			c->gen += 2;
			extents_fill(pool_view(p), &x, &k.key, 0, &iov, 1);
			it = rig_item(&x, &k.key, OBJ_REPLACE);
			ret = pool_stage(p, &c->holder, &it, &s);
			if (ret)
				abort();
			if (rnd(8)) {
				pool_publish(p, s);
			} else {
				pool_unstage(p, s, &c->holder);
				extents_return(c->runs, &x);
				ret = -ECANCELED;
			}
		}
	}
	settle();
	if (!ret)
		j->key[nr].version = version;
	/* Whether the old one was evicted for an attempt that failed, on_evict() said. */
	j->key[nr].state = ret ? MAYBE : PRESENT;
}

static void one_drop(struct pool *p, unsigned nr)
{
	struct rig_key k;

	j->key[nr].next = 0;
	__atomic_store_n(&j->key[nr].state, MAYBE, __ATOMIC_RELEASE);
	pool_drop(p, rig_key(&k, nr), 0, true, 0, 0);
	j->key[nr].state = ABSENT;
}

static void one_touch(struct pool *p, unsigned nr)
{
	struct rig_key k;
	struct found f;

	rig_key(&k, nr);
	if (!view_lookup(pool_view(p), k.key.data, k.key.len, &f))
		view_touch(pool_view(p), &f);
}

static void child(uint64_t after_ns)
{
	struct itimerspec at = { .it_value.tv_nsec = (long)after_ns + 1 };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	struct rig_client c = { 0 };
	uint64_t kept, lost;
	struct pool *p;
	timer_t timer;

	timer_create(CLOCK_MONOTONIC, &ev, &timer);
	timer_settime(timer, 0, &at, NULL);
	p = adopt(&kept, &lost);
	pool_on_evict(p, on_evict, NULL);
	for (;;) {
		unsigned nr = (unsigned)rnd(KEYS), what = (unsigned)rnd(16);

		if (what < 5)
			one_put(p, &c, nr, false);
		else if (what < 10)
			one_put(p, &c, nr, true);
		else if (what < 12)
			one_drop(p, nr);
		else
			one_touch(p, nr);
		j->calls++;
	}
}

/* Return: is version @v of the key there? -1: something else is. */
static int there(struct pool *p, unsigned nr, uint32_t v)
{
	static uint8_t out[MiB];
	struct rig_key k;
	uint64_t size;
	int ret;

	rig_key(&k, nr);
	ret = rig_get(pool_view(p), &k.key, out, sizeof(out), &size);
	if (ret)
		return ret == -ENOENT ? 0 : -1;
	return v && size == size_of(nr, v) && rig_check(out, size, seed_of(nr, v)) ? 1 : -1;
}

static void check_all(struct pool *p, uint64_t *present, uint64_t *half)
{
	for (unsigned nr = 0; nr < KEYS; nr++) {
		uint32_t was = j->key[nr].version;
		int old = there(p, nr, was), new = j->key[nr].next ? there(p, nr, j->key[nr].next) : old;

		if (j->key[nr].state == PRESENT)
			EXPECT_EQ(old, 1);
		else if (j->key[nr].state == ABSENT)
			EXPECT_EQ(there(p, nr, 0), 0);
		else
			EXPECT_TRUE(old >= 0 || new == 1);
		*present += j->key[nr].state == PRESENT;
		*half += j->key[nr].state == MAYBE;
		/* What is there now is what the next child starts from. */
		if (j->key[nr].state == MAYBE) {
			if (new == 1)
				j->key[nr].version = j->key[nr].next ? j->key[nr].next : was;
			j->key[nr].state = old == 1 || new == 1 ? PRESENT : ABSENT;
		}
		j->key[nr].next = 0;
	}
	j->nr_touched = 0;
}

static void check_space(struct pool *p)
{
	struct pool_stat st;
	struct extents x;

	pool_stat(p, &st);
	EXPECT_EQ(pool_drop_prefix(p, NULL, 0, true, 0, 0), st.objects);
	pool_stat(p, &st);
	EXPECT_EQ(st.used, 0);
	/* All of both regions is one run again. */
	EXPECT_EQ(pool_alloc(p, POOL_BYTES / 2 - 64 - 128, 64, &x), 0);
	EXPECT_EQ(x.nr, 1);
	EXPECT_EQ(pool_alloc(p, POOL_BYTES / 2 - 64 - 128, 64, &x), 0);
	EXPECT_EQ(x.nr, 1);
}

TEST(killed_owners)
{
	struct pool_opts o = { .bytes = POOL_BYTES, .region_max = POOL_BYTES / 2, .entries = 1024 };
	const char *rounds_text = getenv("RECOVER_ROUNDS"), *seed_text = getenv("RECOVER_SEED");
	unsigned rounds = rounds_text ? (unsigned)atoi(rounds_text) : 300;
	uint64_t kept, lost, all_lost = 0, present = 0, half = 0;
	struct msg_attach_reply info;
	int region[POOL_REGIONS_MAX], dir;
	struct pool *p;

	rng = seed_text ? strtoull(seed_text, NULL, 0) : (uint64_t)time(NULL) * 0x9e3779b97f4a7c15u | 1;
	printf("# seed 0x%llx\n", (unsigned long long)rng);
	j = mmap(NULL, sizeof(*j), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(j != MAP_FAILED);
	ASSERT_EQ(pool_create(&o, &p), 0);
	pool_fds(p, &dir, region, &info);
	fds.dir = dup(pool_view(p)->dir_region.fd);
	fds.region[0] = dup(region[0]);
	fds.region[1] = dup(region[1]);
	pool_close(p);
	for (unsigned i = 0; i < rounds && !mctest_failed; i++) {
		uint64_t after_ns = rnd(i % 4 ? 4000000 : 400000);
		int status;
		pid_t pid;

		rnd(2);
		fflush(stdout);
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid)
			child(after_ns);
		waitpid(pid, &status, 0);
		ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		p = adopt(&kept, &lost);
		check_all(p, &present, &half);
		all_lost += lost;
		if (i == rounds - 1)
			check_space(p);
		pool_close(p);
	}
	printf("# %u owners killed in %llu calls with %llu evictions; %llu objects checked, %llu half done, %llu entries dropped\n", rounds,
	       (unsigned long long)j->calls, (unsigned long long)j->evicted, (unsigned long long)present, (unsigned long long)half,
	       (unsigned long long)all_lost);
	EXPECT_LE(all_lost, half);
	EXPECT_GT(j->calls, rounds);
	close(fds.dir);
	close(fds.region[0]);
	close(fds.region[1]);
	munmap(j, sizeof(*j));
}

TEST(order_and_generations_survive)
{
	struct pool_opts o = { .bytes = 2 * MiB };
	uint64_t kept, lost, gen, epoch;
	struct pool *p, *q;
	struct rig_key k;
	struct found f;
	uint8_t data[100000];
	int dir, region;

	ASSERT_EQ(pool_create(&o, &p), 0);
	for (unsigned i = 0; i < 20; i++) {
		rig_fill(data, sizeof(data), i);
		EXPECT_EQ(rig_put(p, rig_key(&k, i), data, sizeof(data), i == 7 ? OBJ_HARD_PIN : i == 8 ? OBJ_SOFT_PIN : 0), 0);
	}
	rig_key(&k, 0);
	ASSERT_EQ(view_lookup(pool_view(p), k.key.data, k.key.len, &f), 0);
	view_touch(pool_view(p), &f);
	pool_drain_touches(p, 5);
	gen = pool_view(p)->dir->next_gen;
	epoch = pool_view(p)->dir->epoch;
	pool_farewell(p);
	EXPECT_TRUE(view_dead(pool_view(p)));
	dir = dup(pool_view(p)->dir_region.fd);
	region = dup(pool_view(p)->region[0].fd);
	ASSERT_EQ(pool_adopt(dir, &region, 1, NULL, &q, &kept, &lost), 0);
	pool_close(p);
	EXPECT_EQ(kept, 20);
	EXPECT_EQ(lost, 0);
	EXPECT_TRUE(!view_dead(pool_view(q)));
	EXPECT_GT(pool_view(q)->dir->next_gen, gen + 1000000);
	EXPECT_EQ(pool_view(q)->dir->epoch, epoch + 1);
	for (unsigned i = 100; i < 117; i++)
		EXPECT_EQ(rig_put(q, rig_key(&k, i), data, sizeof(data), 0), 0);
	/* The one used last before the restart stays, and so do pins. */
	for (unsigned i = 0; i < 20; i++) {
		rig_key(&k, i);
		EXPECT_EQ(view_lookup(pool_view(q), k.key.data, k.key.len, &f), i == 0 || i == 7 || i == 8 ? 0 : -ENOENT);
	}
	pool_close(q);
}

TEST(damaged_memory)
{
	struct pool_opts o = { .bytes = 2 * MiB };
	uint64_t kept, lost;
	struct pool *p, *q;
	struct rig_key k;
	struct found f[4];
	uint8_t data[1000];
	int dir, region;

	ASSERT_EQ(pool_create(&o, &p), 0);
	for (unsigned i = 0; i < 4; i++) {
		rig_fill(data, sizeof(data), i);
		EXPECT_EQ(rig_put(p, rig_key(&k, i), data, sizeof(data), 0), 0);
		EXPECT_EQ(view_lookup(pool_view(p), k.key.data, k.key.len, &f[i]), 0);
	}
#define HDR(i) ((struct extent_hdr *)((char *)pool_view(p)->region[0].base + f[i].loc.off))
	HDR(0)->gen ^= 1;
	HDR(1)->key_len = 3;
	/* Entry 2 claims entry 3's extent: its hash is another. */
	((struct dir_entry *)((char *)pool_view(p)->dir_region.base + pool_view(p)->entries_off))[2].first = f[3].loc.off;
	dir = dup(pool_view(p)->dir_region.fd);
	region = dup(pool_view(p)->region[0].fd);
	ASSERT_EQ(pool_adopt(dir, &region, 1, NULL, &q, &kept, &lost), 0);
	EXPECT_EQ(kept, 1);
	EXPECT_EQ(lost, 3);
	for (unsigned i = 0; i < 4; i++) {
		rig_key(&k, i);
		EXPECT_EQ(view_lookup(pool_view(q), k.key.data, k.key.len, &f[0]), i == 3 ? 0 : -ENOENT);
	}
	pool_close(q);
	pool_close(p);
}
