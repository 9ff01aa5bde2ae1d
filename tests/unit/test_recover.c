// SPDX-License-Identifier: Apache-2.0
/*
 * Owners killed at any moment: the next one finds every object that was published, byte for byte,
 * and all the space.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mctest.h"
#include "pool_rig.h"

#define KEYS	   300
#define POOL_BYTES (4 * MiB)

enum state { ABSENT, PRESENT, MAYBE };

/*
 * What the child did, in memory that outlives it. MAYBE: a call that concerns the key has not
 * returned.
 */
struct journal {
	struct {
		enum state state;
		uint32_t version, next; /* stored; being stored (0: none) */
	} key[KEYS];
	/* Keys that go from MAYBE to ABSENT when the call returns: evicted ones. */
	uint32_t touched[KEYS + 1], nr_touched;
	uint64_t calls, evicted;
};

static struct journal *j;
static struct {
	int dir, region[2], nr;
} fds;
static uint64_t size_max; /* 0: all sizes */

#ifdef __SANITIZE_THREAD__
#define SLOW 8 /* a process begins so much later: it would be killed before it did anything */
#else
#define SLOW 1
#endif

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

	if (size_max)
		return 1 + x % size_max;
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
	int region[2] = { dup(fds.region[0]), fds.nr == 2 ? dup(fds.region[1]) : -1 };
	struct pool *p = NULL;

	if (pool_adopt(dup(fds.dir), region, (unsigned)fds.nr, NULL, &p, kept, lost))
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
		ret = extents_carve(c->runs, (unsigned)fds.nr, size, k.key.len, c->gen, &x);
		if (ret) {
			rig_client_fini(p, c); /* what is left is of no use */
			*c = (struct rig_client){ 0 };
		}
		if (ret && !rig_grant(p, c, size_max ? size_max + 300 : 256 * KiB))
			ret = extents_carve(c->runs, (unsigned)fds.nr, size, k.key.len, c->gen, &x);
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

/* Announced, and then what may become of it. */
static void one_announce(struct pool *p, struct rig_client *c, unsigned nr)
{
	static uint8_t data[MiB];
	uint32_t version = j->key[nr].version + 1;
	uint64_t size = size_of(nr, version);
	struct iovec iov = { data, size };
	struct publish_item it;
	struct staged *s;
	struct extents x;
	struct rig_key k;
	int ret = -1;

	rig_key(&k, nr);
	rig_fill(data, size, seed_of(nr, version));
	j->key[nr].next = version;
	__atomic_store_n(&j->key[nr].state, MAYBE, __ATOMIC_RELEASE);
	pool_drop(p, &k.key, 0, true, 0, 0);
	if (extents_carve(c->runs, (unsigned)fds.nr, size, k.key.len, c->gen, &x)) {
		rig_client_fini(p, c);
		*c = (struct rig_client){ 0 };
		if (rig_grant(p, c, size_max ? size_max + 300 : 1 * MiB) ||
		    extents_carve(c->runs, (unsigned)fds.nr, size, k.key.len, c->gen, &x))
			goto out;
	}
	x.put_id = c->gen;
	c->gen += 2;
	extents_begin(pool_view(p), &x, &k.key, 0);
	it = rig_item(&x, &k.key, OBJ_PENDING);
	if (pool_stage(p, &c->holder, &it, &s))
		abort();
	pool_publish(p, s);
	extents_copy(pool_view(p), &x, 0, &iov, 1);
	switch (rnd(6)) {
	case 0:
		extents_abandon(pool_view(p), &x);
		break;
	case 1:
		pool_announced_end(p, s, true);
		break;
	case 2:
		pool_drop(p, &k.key, 0, true, 0, 0);
		break;
	}
	ret = extents_reveal(pool_view(p), &x);
	if (!ret) {
		j->key[nr].version = version;
		__atomic_store_n(&j->key[nr].state, PRESENT, __ATOMIC_RELEASE);
	}
	if (pool_announced_look(p, s) != (ret ? ANNOUNCED_GONE : ANNOUNCED_STORED))
		abort();
	pool_announced_free(p, s);
	if (ret == -ENOENT || ret == -ESTALE)
		extents_return(c->runs, &x);
out:
	settle();
	if (ret)
		j->key[nr].state = ABSENT;
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

static void one_call(struct pool *p, struct rig_client *c, unsigned keys)
{
	unsigned nr = (unsigned)rnd(keys), what = (unsigned)rnd(16);

	if (what < 5)
		one_put(p, c, nr, false);
	else if (what < 8)
		one_put(p, c, nr, true);
	else if (what < 10)
		one_announce(p, c, nr);
	else if (what < 12)
		one_drop(p, nr);
	else
		one_touch(p, nr);
	j->calls++;
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
	for (;;)
		one_call(p, &c, KEYS);
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
		int old = there(p, nr, was),
		    new = j->key[nr].next ? there(p, nr, j->key[nr].next) : old;

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

	rng = seed_text ? strtoull(seed_text, NULL, 0) :
			  (uint64_t)time(NULL) * 0x9e3779b97f4a7c15u | 1;
	printf("# seed 0x%llx\n", (unsigned long long)rng);
	j = mmap(NULL, sizeof(*j), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(j != MAP_FAILED);
	ASSERT_EQ(pool_create(&o, &p), 0);
	pool_fds(p, &dir, region, &info);
	fds.dir = dup(pool_view(p)->dir_region.fd);
	fds.region[0] = dup(region[0]);
	fds.region[1] = dup(region[1]);
	fds.nr = 2;
	pool_close(p);
	for (unsigned i = 0; i < rounds && !mctest_failed; i++) {
		uint64_t after_ns = rnd(i % 4 ? 4000000 : 400000) * SLOW;
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
	printf("# %u owners killed in %llu calls with %llu evictions; %llu objects checked, %llu "
	       "half done, %llu entries dropped\n",
	       rounds, (unsigned long long)j->calls, (unsigned long long)j->evicted,
	       (unsigned long long)present, (unsigned long long)half, (unsigned long long)all_lost);
	EXPECT_LE(all_lost, half);
	EXPECT_GT(j->calls, rounds);
	close(fds.dir);
	close(fds.region[0]);
	close(fds.region[1]);
	munmap(j, sizeof(*j));
}

/*
 * ---- every instruction ---- The owner is stepped, and whenever the pool's memory changed, a copy
 * of it is adopted.
 */

#define STEP_KEYS 12
#define STEP_ROOM (20 * KiB) /* what an object that fills the rest leaves to them */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STEP_CALLS 4 /* of six times as many instructions */
#else
#define STEP_CALLS 12
#endif

struct memory {
	struct region dir, data;
};

/* Bytes of the directory up to the last entry that was ever used, and some. */
static uint64_t dir_used(const struct memory *m)
{
	const struct dir_header *h = m->dir.base;

	return h->entries_off + 64 * sizeof(struct dir_entry);
}

static void memory_of(struct memory *m)
{
	uint64_t dir, data;

	if (region_size(fds.dir, &dir) || region_size(fds.region[0], &data) ||
	    region_map(dup(fds.dir), dir, true, &m->dir) ||
	    region_map(dup(fds.region[0]), data, true, &m->data))
		abort();
}

/* The child's calls; after each, and before the first, it stops. */
static void stepped(unsigned calls)
{
	struct rig_client c = { 0 };
	uint64_t kept, lost;
	struct pool *p;

	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(77);
	p = adopt(&kept, &lost);
	pool_on_evict(p, on_evict, NULL);
	for (unsigned i = 0; i < 30; i++)
		one_call(p, &c, STEP_KEYS); /* until it is full */
	raise(SIGSTOP);
	for (unsigned i = 0; i < calls; i++) {
		if (i % 4 == 3)
			one_drop(p, (i + 1) % STEP_KEYS);
		else
			one_put(p, &c, i % STEP_KEYS, i & 1);
	}
	_exit(0);
}

struct step_counts {
	uint64_t steps, changes, present, half, lost;
};

/* What a new owner would find, if the old one ended here. */
static void adopt_copy(const struct memory *from, const struct memory *to, struct step_counts *n)
{
	struct journal *real = j, snapshot = *j;
	uint64_t kept, lost, used = dir_used(from);
	struct pool *p;

	memcpy(to->dir.base, from->dir.base, used);
	memcpy(to->data.base, from->data.base, from->data.size);
	j = &snapshot;
	p = adopt(&kept, &lost);
	check_all(p, &n->present, &n->half);
	n->lost += lost;
	pool_close(p);
	j = real;
}

static void step_through(pid_t pid, const struct memory *m, struct step_counts *n)
{
	struct memory copy;
	uint64_t used = dir_used(m), room = STEP_ROOM + 4096;
	uint8_t *last = malloc(used + room);
	int keep[2] = { fds.dir, fds.region[0] }, status;

	if (region_create("mc-copy", m->dir.size, 0, -1, &copy.dir) ||
	    region_create("mc-copy", m->data.size, 0, -1, &copy.data))
		abort();
	fds.dir = copy.dir.fd;
	fds.region[0] = copy.data.fd;
	while (!ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL)) {
		waitpid(pid, &status, 0);
		if (!WIFSTOPPED(status) || mctest_failed)
			break;
		n->steps++;
		if (!memcmp(last, m->dir.base, used) && !memcmp(last + used, m->data.base, room))
			continue;
		memcpy(last, m->dir.base, used);
		memcpy(last + used, m->data.base, room);
		n->changes++;
		adopt_copy(m, &copy, n);
	}
	free(last);
	region_close(&copy.dir);
	region_close(&copy.data);
	fds.dir = keep[0];
	fds.region[0] = keep[1];
}

TEST(every_instruction)
{
	struct pool_opts o = { .bytes = MiB, .entries = 1024 };
	const char *calls_text = getenv("RECOVER_CALLS");
	unsigned calls = calls_text ? (unsigned)atoi(calls_text) : STEP_CALLS;
	struct msg_attach_reply info;
	int region[POOL_REGIONS_MAX], dir, status;
	struct step_counts n = { 0 };
	static uint8_t filler[MiB];
	struct memory m;
	struct rig_key k;
	struct pool *p;
	pid_t pid;

	rng = 0x853c49e6748fea9bu;
	size_max = 2500;
	j = mmap(NULL, sizeof(*j), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(j != MAP_FAILED);
	ASSERT_EQ(pool_create(&o, &p), 0);
	ASSERT_EQ(rig_put(p, rig_key(&k, KEYS), filler, MiB - STEP_ROOM, OBJ_HARD_PIN), 0);
	pool_fds(p, &dir, region, &info);
	fds.dir = dup(pool_view(p)->dir_region.fd);
	fds.region[0] = dup(region[0]);
	fds.nr = 1;
	pool_close(p);
	memory_of(&m);
	fflush(stdout);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		stepped(calls);
	waitpid(pid, &status, 0);
	if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP)
		step_through(pid, &m, &n);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	region_close(&m.dir);
	region_close(&m.data);
	close(fds.dir);
	close(fds.region[0]);
	munmap(j, sizeof(*j));
	size_max = 0;
	if (!n.steps)
		SKIP("no tracing here");
	printf("# %llu instructions, %llu of them changed the pool: %llu objects checked, %llu "
	       "half done, %llu entries dropped\n",
	       (unsigned long long)n.steps, (unsigned long long)n.changes,
	       (unsigned long long)n.present, (unsigned long long)n.half,
	       (unsigned long long)n.lost);
	EXPECT_GT(n.changes, 50);
	EXPECT_LE(n.lost, n.half);
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
		EXPECT_EQ(rig_put(p, rig_key(&k, i), data, sizeof(data),
				  i == 7 ? OBJ_HARD_PIN :
				  i == 8 ? OBJ_SOFT_PIN :
					   0),
			  0);
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
		EXPECT_EQ(view_lookup(pool_view(q), k.key.data, k.key.len, &f),
			  i == 0 || i == 7 || i == 8 ? 0 : -ENOENT);
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
	((struct dir_entry *)((char *)pool_view(p)->dir_region.base + pool_view(p)->entries_off))[2]
		.first = f[3].loc.off;
	dir = dup(pool_view(p)->dir_region.fd);
	region = dup(pool_view(p)->region[0].fd);
	ASSERT_EQ(pool_adopt(dir, &region, 1, NULL, &q, &kept, &lost), 0);
	EXPECT_EQ(kept, 1);
	EXPECT_EQ(lost, 3);
	for (unsigned i = 0; i < 4; i++) {
		rig_key(&k, i);
		EXPECT_EQ(view_lookup(pool_view(q), k.key.data, k.key.len, &f[0]),
			  i == 3 ? 0 : -ENOENT);
	}
	pool_close(q);
	pool_close(p);
}
