// SPDX-License-Identifier: Apache-2.0
/*
 * A pool under fire. An owner, writers with grants and readers, each a process, on one pool that
 * is far too small:
 *
 *	writers ── seqpacket ──→ owner        put, overwrite, drop; killed at random, as the owner is
 *	readers ── memory ─────→ pool         look up, read, check; never killed: they see each owner end
 *
 * Values tell their key and version. Checked: no wrong byte; a key that is always there is never
 * missed, and never goes back to an earlier version; what a writer dropped is gone.
 * PROPERTY_SECONDS (3), PROPERTY_SEED.
 */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "mctest.h"
#include "pool_rig.h"

#define WRITERS	   3
#define READERS	   2
#define KEYS	   600 /* each belongs to the writer key % WRITERS */
#define ALWAYS	   9   /* the first ones: pinned, overwritten, never dropped */
#define VALUE_MAX  (300 * KiB)
#define REGIONS	   2
#define POOL_BYTES (3 * MiB)

struct counts {
	_Atomic uint64_t gets, bytes, misses, stale, puts, bytes_put, refused, drops, evicted,
		adopted, lost, returned;
	_Atomic uint64_t wrong, missed_always, went_back, undropped, broken;
	uint64_t early, announced; /* seen before it was there; those that came to be */ /* all 0 in the end */
	_Atomic uint32_t version[KEYS];
	_Atomic uint32_t stop;
};

static struct counts *n;
static struct msg_attach_reply info;
static int dir_rw, dir_ro, region_fd[REGIONS];
static uint64_t rng;

/* Something that may not happen: which line, and the code. */
static void broken(int line, int ret)
{
	n->broken++;
	fprintf(stderr, "# line %d: %d\n", line, ret);
}
#define CHECK(ok, ret) ((ok) ? (void)0 : broken(__LINE__, ret))

static uint64_t rnd(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % below;
}

static uint64_t seed_of(uint32_t key, uint32_t version)
{
	return (uint64_t)key << 32 | version;
}

static uint64_t size_of(uint32_t key, uint32_t version)
{
	uint64_t x = seed_of(key, version) * 0x9e3779b97f4a7c15u >> 32;
	uint64_t most = x & 1 ? 2000 : x & 2 ? 4100 : x & 60 || key < ALWAYS ? 60000 : VALUE_MAX;

	return 16 + (x >> 6) % (most - 16);
}

static void value_fill(uint8_t *out, uint32_t key, uint32_t version)
{
	uint32_t head[2] = { key, version };

	rig_fill(out, size_of(key, version), seed_of(key, version));
	memcpy(out, head, sizeof(head));
}

/* Return: the version; 0: these are not a value of @key. */
static uint32_t value_check(const uint8_t *value, uint64_t size, uint32_t key)
{
	static uint8_t want[VALUE_MAX];
	uint32_t head[2];

	memcpy(head, value, sizeof(head));
	if (head[0] != key || !head[1] || size != size_of(key, head[1]))
		return 0;
	value_fill(want, key, head[1]);
	return memcmp(want, value, size) ? 0 : head[1];
}

static struct pool_view view(bool writable)
{
	int fds[REGIONS];
	struct pool_view v;

	for (int i = 0; i < REGIONS; i++)
		fds[i] = dup(region_fd[i]);
	if (view_open(dup(dir_ro), -1, fds, &info, writable, &v))
		abort();
	return v;
}

/* Return: the version that was read, 0: none. */
static uint32_t get(const struct pool_view *v, uint32_t key)
{
	static uint8_t value[VALUE_MAX];
	uint64_t size = 0;
	struct rig_key k;
	uint32_t version;
	int ret;

	rig_key(&k, key);
	do {
		ret = rig_get(v, &k.key, value, sizeof(value), &size);
		n->stale += ret == -ESTALE;
	} while (ret == -ESTALE);
	n->gets++;
	if (ret) {
		n->misses += ret == -ENOENT;
		CHECK(ret == -ENOENT, ret);
		return 0;
	}
	version = value_check(value, size, key);
	n->wrong += !version;
	n->bytes += size;
	return version;
}

static void reader(void)
{
	uint32_t seen[ALWAYS] = { 0 };
	struct pool_view v = view(false);

	while (!n->stop) {
		uint32_t key = (uint32_t)(rnd(3) ? rnd(KEYS) : rnd(ALWAYS)), version = get(&v, key);

		if (key >= ALWAYS)
			continue;
		n->missed_always += !version;
		n->went_back += version < seen[key];
		seen[key] = MAX(seen[key], version);
	}
	_exit(0);
}

/* ---- between writer and owner ---- */

enum ask { GRANT, COMMIT, ANNOUNCE, DROP, RETURN };

struct request {
	enum ask ask;
	uint32_t key;
	uint64_t bytes;
	struct publish_item item;
	char text[RIG_KEY_MAX];
	uint32_t nr_runs;
	struct grant_run run[GRANT_RUNS_MAX];
};

struct reply {
	int ret;
	struct msg_grant_reply m;
	struct grant_run run[GRANT_RUNS_MAX];
};

static struct reply call(int fd, struct request *q)
{
	struct reply a;

	if (send(fd, q, sizeof(*q), MSG_NOSIGNAL) != sizeof(*q) ||
	    recv(fd, &a, sizeof(a), 0) != sizeof(a))
		_exit(1); /* the owner is gone: nothing may be written any more */
	return a;
}

struct writer {
	int fd;
	struct pool_view v;
	struct range_set runs[POOL_REGIONS_MAX];
	uint64_t gen, gens;
};

static bool more(struct writer *w, uint64_t bytes)
{
	struct request q = { .ask = RETURN };
	struct reply a;
	int ret;

	/* What is left is too short: it goes back first. */
	for (unsigned r = 0; r < REGIONS; r++) {
		for (size_t i = 0; i < w->runs[r].count && q.nr_runs < GRANT_RUNS_MAX; i++)
			q.run[q.nr_runs++] = (struct grant_run){ .region = (uint16_t)r,
								 .off = w->runs[r].r[i].off,
								 .len = w->runs[r].r[i].len };
		range_set_fini(&w->runs[r]);
	}
	a = call(w->fd, &q);
	CHECK(!a.ret, a.ret);
	q = (struct request){ .ask = GRANT, .bytes = bytes };
	a = call(w->fd, &q);
	if (a.ret) {
		CHECK(a.ret == -ENOSPC, a.ret);
		return false;
	}
	a.m.runs = a.run;
	w->gen = a.m.gen;
	w->gens = a.m.gen_count;
	ret = view_granted(&w->v, &a.m, w->runs);
	CHECK(!ret, ret);
	return !ret;
}

static int put(struct writer *w, uint32_t key, uint32_t version)
{
	static uint8_t value[VALUE_MAX];
	uint64_t size = size_of(key, version);
	uint16_t flags = (uint16_t)(OBJ_REPLACE | (rnd(2) ? OBJ_CRC : 0) |
				    (key < ALWAYS ? OBJ_HARD_PIN : 0));
	struct iovec iov[2] = { { value, 7 }, { value + 7, size - 7 } };
	struct request q = { .ask = COMMIT }, drop = { .ask = DROP, .key = key };
	bool announce = key >= ALWAYS && !rnd(3);
	struct extents x;
	struct rig_key k;
	struct reply a;
	int ret;

	if (announce) { /* takes nobody's place */
		flags &= (uint16_t)~OBJ_REPLACE;
		q.ask = ANNOUNCE;
		call(w->fd, &drop);
	}
	rig_key(&k, key);
	value_fill(value, key, version);
	for (int tries = 0;; tries++) {
		ret = w->gens ? extents_carve(w->runs, REGIONS, size, k.key.len, w->gen, &x) :
				-ENOSPC;
		if (!ret)
			break;
		/* The second time with a header for every piece there can be. */
		if (tries == 2 ||
		    !more(w, tries ? extent_bytes(size, k.key.len) + EXTENTS_MAX * 64 :
				     MAX(extent_bytes(size, k.key.len), 64 * KiB)))
			return -ENOSPC;
	}
	w->gen += 2;
	w->gens--;
	x.put_id = x.gen;
	if (announce)
		extents_begin(&w->v, &x, &k.key, flags);
	else
		extents_fill(&w->v, &x, &k.key, flags, iov, 2);
	q.item = rig_item(&x, &k.key, flags);
	memcpy(q.text, k.text, k.key.len);
	a = call(w->fd, &q);
	if (!a.ret && announce) {
		n->early += get(&w->v, key) != 0;
		extents_copy(&w->v, &x, flags, iov, 2);
		a.ret = extents_reveal(&w->v, &x);
		n->announced += !a.ret;
	}
	if (a.ret)
		extents_return(w->runs, &x);
	CHECK(!a.ret || a.ret == -ENOSPC, a.ret);
	n->puts += !a.ret;
	n->bytes_put += a.ret ? 0 : size;
	return a.ret;
}

static void writer(unsigned id, int fd)
{
	struct writer w = { .fd = fd, .v = view(true) };

	while (!n->stop) {
		uint32_t key = (uint32_t)(rnd(4) ? rnd(KEYS / WRITERS) : rnd(ALWAYS / WRITERS)) *
				       WRITERS +
			       id,
			 version, there;

		if (key >= ALWAYS && !rnd(5)) {
			struct request q = { .ask = DROP, .key = key };

			call(fd, &q);
			n->drops++;
			n->undropped += get(&w.v, key) != 0;
			continue;
		}
		version = ++n->version[key];
		if (put(&w, key, version)) {
			n->refused++;
			continue;
		}
		there = get(&w.v, key);
		/* Nobody else writes it: this version, or evicted. */
		n->went_back += there && there != version;
		n->missed_always += key < ALWAYS && !there;
	}
	_exit(0);
}

static void on_evict(void *arg, const struct key *key, uint64_t gen)
{
	n->evicted++;
}

/* Announced, and not known to be there yet. */
#define WRITING 64
static struct {
	struct staged *s;
	unsigned writer;
} writing[WRITING];

/* @dead: that writer is; -1: none. */
static void look(struct pool *p, int dead)
{
	for (int i = 0; i < WRITING; i++) {
		enum announced how = ANNOUNCED_WRITING;

		if (writing[i].s)
			how = (int)writing[i].writer == dead ? pool_announced_end(p, writing[i].s, false) :
							       pool_announced_look(p, writing[i].s);
		if (how == ANNOUNCED_WRITING)
			continue;
		pool_announced_free(p, writing[i].s);
		writing[i].s = NULL;
	}
}

static int announce(struct pool *p, struct pool_holder *h, struct request *q, unsigned writer)
{
	int i, ret;

	for (i = 0; i < WRITING && writing[i].s; i++)
		;
	if (i == WRITING)
		return -EAGAIN;
	q->item.key.data = q->text;
	q->item.flags |= OBJ_PENDING;
	ret = pool_stage(p, h, &q->item, &writing[i].s);
	writing[i].writer = writer;
	if (ret)
		writing[i].s = NULL;
	else
		pool_publish(p, writing[i].s);
	return ret;
}

static int answer(struct pool *p, unsigned writer, struct pool_holder *h, struct request *q, struct scratch *s,
		  struct reply *a)
{
	struct msg_return back = { .nr = q->nr_runs, .runs = q->run };
	struct staged *staged;
	struct rig_key k;
	int ret;

	switch (q->ask) {
	case GRANT:
		ret = pool_grant(p, h, q->bytes, s, &a->m);
		if (!ret)
			memcpy(a->run, a->m.runs, a->m.nr * sizeof(a->run[0]));
		return ret;
	case COMMIT:
		q->item.key.data = q->text;
		ret = pool_stage(p, h, &q->item, &staged);
		if (!ret)
			pool_publish(p, staged);
		return ret;
	case ANNOUNCE:
		return announce(p, h, q, writer);
	case DROP:
		return pool_drop(p, rig_key(&k, q->key), 0, true, 0, 0);
	case RETURN:
		return pool_return(p, h, &back);
	}
	return -EINVAL;
}

static void owner(const int *fds)
{
	static struct pool_holder holder[WRITERS];
	static struct request q;
	static struct reply a;
	struct scratch s = SCRATCH_INIT;
	struct pollfd pfd[WRITERS];
	uint64_t kept, lost;
	int region[REGIONS], ret;
	struct pool *p;

	for (int i = 0; i < REGIONS; i++)
		region[i] = dup(region_fd[i]);
	ret = pool_adopt(dup(dir_rw), region, REGIONS, NULL, &p, &kept, &lost);
	CHECK(!ret, ret);
	if (ret)
		_exit(1);
	n->adopted += kept;
	n->lost += lost;
	pool_on_evict(p, on_evict, NULL);
	for (int i = 0; i < WRITERS; i++)
		pfd[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	while (poll(pfd, WRITERS, -1) > 0) {
		for (int i = 0; i < WRITERS; i++) {
			if (!pfd[i].revents)
				continue;
			if (recv(fds[i], &q, sizeof(q), MSG_DONTWAIT) == sizeof(q)) {
				scratch_reset(&s);
				look(p, -1);
				a.ret = answer(p, (unsigned)i, &holder[i], &q, &s, &a);
				send(fds[i], &a, sizeof(a), MSG_NOSIGNAL | MSG_DONTWAIT);
			} else if (pfd[i].revents & POLLHUP) {
				/*
				 * It is dead; what it held is free. Its successor has a new owner:
				 * see run().
				 */
				look(p, i);
				for (int r = 0; r < REGIONS; r++)
					n->returned += holder[i].held[r].bytes;
				pool_holder_fini(p, &holder[i]);
				pfd[i].fd = -1;
			}
		}
	}
	_exit(0);
}

/* ---- who lives ---- */

static pid_t spawn(void (*fn)(unsigned id, int fd), unsigned id, int fd, const int *close_fds,
		   int nr)
{
	uint64_t seed = rnd(UINT64_MAX) | 1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	rng = seed;
	for (int i = 0; i < nr; i++)
		if (close_fds[i] != fd)
			close(close_fds[i]);
	fn(id, fd);
	_exit(0);
}

static void reader_main(unsigned id, int fd)
{
	reader();
}

static const int *owner_fds;

static void owner_main(unsigned id, int fd)
{
	owner(owner_fds);
}

static pid_t pids[1 + WRITERS + READERS];

static void end(pid_t *pid, int sig)
{
	int status;

	if (*pid <= 0)
		return;
	if (sig)
		kill(*pid, sig);
	waitpid(*pid, &status, 0);
	if (!sig)
		CHECK(WIFEXITED(status) && !WEXITSTATUS(status), status);
	*pid = 0;
}

static void wait_ns(uint64_t ns)
{
	struct timespec ts = { .tv_nsec = (long)ns };

	ppoll(NULL, 0, &ts, NULL);
}

/* One owner's life: writers are killed one by one, at last the owner. */
static uint64_t life(uint64_t until_ns)
{
	int pair[WRITERS][2], mine[WRITERS], theirs[WRITERS], all[2 * WRITERS];
	uint64_t killed = 0;

	for (int i = 0; i < WRITERS; i++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair[i]))
			abort();
		mine[i] = pair[i][0];
		theirs[i] = pair[i][1];
		all[2 * i] = pair[i][0];
		all[2 * i + 1] = pair[i][1];
	}
	owner_fds = mine;
	pids[0] = spawn(owner_main, 0, -1, theirs, WRITERS);
	for (unsigned i = 0; i < WRITERS; i++)
		pids[1 + i] = spawn(writer, i, pair[i][1], all, 2 * WRITERS);
	for (int i = 0; i < WRITERS; i++)
		close(pair[i][1]);
	for (unsigned i = 0; i < WRITERS; i++) {
		wait_ns(rnd(60000000));
		if (clock_now_ns() > until_ns)
			break;
		end(&pids[1 + rnd(WRITERS)], SIGKILL);
		killed++;
	}
	/* The owner first: writers are in the middle of something then. */
	end(&pids[0], SIGKILL);
	for (unsigned i = 0; i < WRITERS; i++) {
		end(&pids[1 + i], SIGKILL);
		close(pair[i][0]);
	}
	return killed;
}

static void pool_memory(void)
{
	struct pool_opts o = { .bytes = POOL_BYTES,
			       .region_max = POOL_BYTES / REGIONS,
			       .entries = 1024 };
	static uint8_t value[VALUE_MAX];
	int fds[POOL_REGIONS_MAX], dir;
	struct rig_key k;
	struct pool *p;

	if (pool_create(&o, &p))
		abort();
	for (uint32_t key = 0; key < ALWAYS; key++) {
		n->version[key] = 1;
		value_fill(value, key, 1);
		if (rig_put(p, rig_key(&k, key), value, size_of(key, 1), OBJ_HARD_PIN))
			abort();
	}
	pool_fds(p, &dir, fds, &info);
	dir_rw = dup(pool_view(p)->dir_region.fd);
	dir_ro = dup(dir);
	for (int i = 0; i < REGIONS; i++)
		region_fd[i] = dup(fds[i]);
	pool_close(p);
}

TEST(under_fire)
{
	const char *seconds = getenv("PROPERTY_SECONDS"), *seed = getenv("PROPERTY_SEED");
	uint64_t start = clock_now_ns(), until, owners = 0, writers = 0;

	rng = seed ? strtoull(seed, NULL, 0) : (start * 0x9e3779b97f4a7c15u) | 1;
	printf("# seed 0x%llx\n", (unsigned long long)rng);
	n = mmap(NULL, sizeof(*n), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(n != MAP_FAILED);
	pool_memory();
	until = start + (uint64_t)(seconds ? atof(seconds) : 3.0) * NSEC_PER_SEC;
	for (unsigned i = 0; i < READERS; i++)
		pids[1 + WRITERS + i] = spawn(reader_main, i, -1, NULL, 0);
	while (clock_now_ns() < until) {
		writers += life(until);
		owners++;
	}
	n->stop = 1;
	for (unsigned i = 0; i < READERS; i++)
		end(&pids[1 + WRITERS + i], 0);
	printf("# %llu gets (%llu MB checked, %llu misses, %llu stale), %llu puts (%llu MB, %llu "
	       "refused), %llu drops, %llu evictions\n",
	       (unsigned long long)n->gets, (unsigned long long)n->bytes / 1000000,
	       (unsigned long long)n->misses, (unsigned long long)n->stale,
	       (unsigned long long)n->puts, (unsigned long long)n->bytes_put / 1000000,
	       (unsigned long long)n->refused, (unsigned long long)n->drops,
	       (unsigned long long)n->evicted);
	printf("# killed: %llu owners, %llu writers before them, who left %llu MB; %llu objects "
	       "adopted, %llu half done dropped\n",
	       (unsigned long long)owners, (unsigned long long)writers,
	       (unsigned long long)n->returned / 1000000, (unsigned long long)n->adopted,
	       (unsigned long long)n->lost);
	EXPECT_EQ(n->wrong, 0);
	EXPECT_EQ(n->missed_always, 0);
	EXPECT_EQ(n->went_back, 0);
	EXPECT_EQ(n->undropped, 0);
	EXPECT_EQ(n->broken, 0);
	EXPECT_EQ(n->refused, 0);
	EXPECT_EQ(n->early, 0);
	EXPECT_GT(n->announced, 10);
	EXPECT_GT(n->gets, 1000);
	EXPECT_GT(n->puts, 100);
	EXPECT_GT(n->evicted, 10);
	close(dir_rw);
	close(dir_ro);
	for (int i = 0; i < REGIONS; i++)
		close(region_fd[i]);
	munmap(n, sizeof(*n));
}
