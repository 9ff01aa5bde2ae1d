/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owner's side of the table of reachable ranges: a sorted array with hold counts, mirrored into
 * shared memory.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "dev/dev.h"
#include "transport/reach.h"

/* A neighbour that stopped in the middle of a write is waited for this long, then no more. */
#define NEIGHBOUR_WAIT_NS (10 * NSEC_PER_SEC)

struct reach_range {
	uint64_t addr, len;
	uint32_t held;
	struct list node; /* in reach_table.leaving */
	uint64_t left_ns; /* when it began to leave */
};

struct reach_table {
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t idle;
	struct reach_range **range; /* sorted by address */
	uint32_t nr;
	struct list leaving;	    /* removed, somebody still holds them */
	pthread_mutex_t phase_lock; /* one grace period at a time; taken alone */
	void (*left)(void *arg, uint64_t addr, uint64_t len);
	void *arg;
	struct reach_shared *shared;
	int fd;
};

int reach_open(struct reach_table **out)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	struct reach_table *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	t->range = calloc(REACH_MAX, sizeof(*t->range));
	t->fd = memfd_create("mooncake-reach", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	t->shared = MAP_FAILED;
	if (t->fd < 0 || ftruncate(t->fd, sizeof(*t->shared)) || fcntl(t->fd, F_ADD_SEALS, seals)) {
		ret = -errno;
		log_err("reach table: memfd: %s", strerror(-ret));
		goto err_free;
	}
	t->shared = mmap(NULL, sizeof(*t->shared), PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, 0);
	ret = -ENOMEM;
	if (t->shared == MAP_FAILED || !t->range)
		goto err_free;
	/* A child keeps no view of this: it serves nobody. */
	madvise(t->shared, sizeof(*t->shared), MADV_DONTFORK);
	t->shared->token_addr = (uintptr_t)t->shared->token;
	random_bytes(t->shared->token, sizeof(t->shared->token));
	t->shared->magic = REACH_MAGIC;
	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->phase_lock, NULL);
	pthread_cond_init(&t->idle, NULL);
	list_init(&t->leaving);
	*out = t;
	return 0;

err_free:
	if (t->shared != MAP_FAILED)
		munmap(t->shared, sizeof(*t->shared));
	if (t->fd >= 0)
		close(t->fd);
	free(t->range);
	free(t);
	return ret;
}

void reach_close(struct reach_table *t)
{
	if (!t)
		return;
	/* Neighbours that still map it must see that nothing is reachable any more. */
	while (t->nr)
		reach_del(t, t->range[t->nr - 1]->addr);
	munmap(t->shared, sizeof(*t->shared));
	close(t->fd);
	pthread_cond_destroy(&t->idle);
	pthread_mutex_destroy(&t->phase_lock);
	pthread_mutex_destroy(&t->lock);
	free(t->range);
	free(t);
}

int reach_fd(const struct reach_table *t)
{
	return t->fd;
}

/* How many ranges start at or below @addr: the one that could contain it is the last of them. */
static uint32_t upto(const struct reach_table *t, uint64_t addr)
{
	uint32_t lo = 0, hi = t->nr;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (t->range[mid]->addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Writes the entries from @from on anew. Neighbours retry while seq is odd or changed. */
static void publish(struct reach_table *t, uint32_t from)
{
	struct reach_shared *s = t->shared;
	uint32_t seq = atomic_load_explicit(&s->seq, memory_order_relaxed);

	atomic_store_explicit(&s->seq, seq + 1, memory_order_relaxed);
	/*
	 * Orders the odd number before the entries; pairs with the acquire load of seq in
	 * reach_view.c.
	 */
	fence_release();
	for (uint32_t i = from; i < t->nr; i++) {
		atomic_store_explicit(&s->entry[i].addr, t->range[i]->addr, memory_order_relaxed);
		atomic_store_explicit(&s->entry[i].len, t->range[i]->len, memory_order_relaxed);
	}
	atomic_store_explicit(&s->nr, t->nr, memory_order_relaxed);
	/*
	 * Release: the entries before the even number. Sequentially consistent: before the look at
	 * the writers' counters.
	 */
	atomic_store_explicit(&s->seq, seq + 2, memory_order_seq_cst);
}

static bool overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b ? b - a < a_len : a - b < b_len;
}

static int can_add(const struct reach_table *t, uint64_t addr, uint64_t len, uint32_t at)
{
	const struct reach_range *r;

	if (at && overlaps(t->range[at - 1]->addr, t->range[at - 1]->len, addr, len))
		return -EEXIST;
	if (at < t->nr && overlaps(t->range[at]->addr, t->range[at]->len, addr, len))
		return -EEXIST;
	list_for_each_entry(r, &t->leaving, node) {
		if (overlaps(r->addr, r->len, addr, len))
			return -EEXIST;
	}
	return t->nr < REACH_MAX ? 0 : -ENOSPC;
}

int reach_add(struct reach_table *t, uint64_t addr, uint64_t len)
{
	struct reach_range *r;
	uint64_t end;
	uint32_t at;
	int ret;

	if (!addr || !len || check_add(addr, len, &end))
		return -EINVAL;
	r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct reach_range){ .addr = addr, .len = len };
	list_init(&r->node);
	pthread_mutex_lock(&t->lock);
	at = upto(t, addr);
	ret = can_add(t, addr, len, at);
	if (!ret) {
		memmove(&t->range[at + 1], &t->range[at], (t->nr - at) * sizeof(*t->range));
		t->range[at] = r;
		t->nr++;
		publish(t, at);
	}
	pthread_mutex_unlock(&t->lock);
	if (ret)
		free(r);
	return ret;
}

/* Are writers that began in phase @which still at work? Dead neighbours do not count. */
static bool writers_in(const struct reach_table *t, unsigned which)
{
	for (unsigned i = 0; i < REACH_SLOTS; i++) {
		struct reach_slot *s = &t->shared->slot[i];
		uint64_t owner = atomic_load(&s->owner);
		struct process_id self, who;

		if (!owner || !atomic_load(&s->active[which]) || process_self(&self))
			continue;
		who = (struct process_id){
			.pid = (pid_t)(owner & ((1u << 22) - 1)),
			.start_time = owner >> 22,
			.pid_ns = self.pid_ns,
		};
		if (process_alive(&who))
			return true;
	}
	return false;
}

static bool wait_for_phase(const struct reach_table *t, unsigned which, uint64_t deadline_ns)
{
	struct timespec nap = { .tv_nsec = 20 * NSEC_PER_USEC };

	while (writers_in(t, which)) {
		if (deadline_passed(deadline_ns))
			return false;
		nanosleep(&nap, NULL);
		nap.tv_nsec = MIN(2 * nap.tv_nsec, (long)NSEC_PER_MSEC);
	}
	return true;
}

/*
 * Neighbours write with no message to us, so their end is awaited as in sleepable RCU: whoever
 * counted itself in before the phase flipped is waited for. Two flips, because a neighbour may have
 * read the phase long before it counts.
 */
static void wait_for_neighbours(struct reach_table *t)
{
	uint64_t deadline_ns = deadline_after_ns(NEIGHBOUR_WAIT_NS);
	bool gone = true;

	pthread_mutex_lock(&t->phase_lock);
	for (int i = 0; i < 2 && gone; i++) {
		unsigned was = atomic_fetch_add(&t->shared->phase, 1) & 1;

		gone = wait_for_phase(t, was, deadline_ns);
	}
	pthread_mutex_unlock(&t->phase_lock);
	if (!gone)
		log_warn("memory is unregistered while a stopped neighbour was writing to it");
}

void reach_on_leave(struct reach_table *t, void (*left)(void *arg, uint64_t addr, uint64_t len),
		    void *arg)
{
	pthread_mutex_lock(&t->lock);
	t->left = left;
	t->arg = arg;
	pthread_mutex_unlock(&t->lock);
}

int reach_del(struct reach_table *t, uint64_t addr)
{
	void (*left)(void *arg, uint64_t addr, uint64_t len);
	struct reach_range *r;
	uint32_t at;
	void *arg;

	pthread_mutex_lock(&t->lock);
	at = upto(t, addr);
	if (!at || t->range[at - 1]->addr != addr) {
		pthread_mutex_unlock(&t->lock);
		return -ENOENT;
	}
	r = t->range[--at];
	t->nr--;
	memmove(&t->range[at], &t->range[at + 1], (t->nr - at) * sizeof(*t->range));
	list_append(&t->leaving, &r->node);
	r->left_ns = clock_now_ns();
	publish(t, at);
	while (r->held)
		pthread_cond_wait(&t->idle, &t->lock);
	left = t->left;
	arg = t->arg;
	pthread_mutex_unlock(&t->lock);

	if (left)
		left(arg, r->addr, r->len);
	wait_for_neighbours(t);

	pthread_mutex_lock(&t->lock);
	list_del(&r->node);
	pthread_mutex_unlock(&t->lock);
	free(r);
	return 0;
}

static bool inside(const struct reach_range *r, uint64_t addr, uint64_t len)
{
	return addr >= r->addr && range_inside(addr - r->addr, len, r->len);
}

bool reach_hold(struct reach_table *t, uint64_t addr, uint64_t *start, uint64_t *len)
{
	bool ok = false;
	uint32_t at;

	pthread_mutex_lock(&t->lock);
	at = upto(t, addr);
	if (at && addr - t->range[at - 1]->addr < t->range[at - 1]->len) {
		struct reach_range *r = t->range[at - 1];

		*start = r->addr;
		*len = r->len;
		r->held++;
		ok = true;
	}
	pthread_mutex_unlock(&t->lock);
	return ok;
}

bool reach_overdue(struct reach_table *t, const struct iovec *v, unsigned nr, uint64_t ns)
{
	const struct reach_range *r;
	bool overdue = false;

	pthread_mutex_lock(&t->lock);
	list_for_each_entry(r, &t->leaving, node)
		for (unsigned i = 0; i < nr && !overdue && clock_now_ns() - r->left_ns > ns; i++)
			overdue = inside(r, (uintptr_t)v[i].iov_base, 1);
	pthread_mutex_unlock(&t->lock);
	return overdue;
}

/* A held range is in the array or among those that leave, and no other range overlaps it. */
static struct reach_range *held_range(struct reach_table *t, uint64_t addr)
{
	uint32_t at = upto(t, addr);
	struct reach_range *r;

	if (at && inside(t->range[at - 1], addr, 1))
		return t->range[at - 1];
	list_for_each_entry(r, &t->leaving, node) {
		if (inside(r, addr, 1))
			return r;
	}
	return NULL;
}

/* What is asked for together mostly lies in one range, which is looked for once. */
static void put_locked(struct reach_table *t, const struct iovec *v, unsigned nr)
{
	struct reach_range *r = NULL;

	for (unsigned i = 0; i < nr; i++) {
		uint64_t addr = (uintptr_t)v[i].iov_base;

		if (!r || !inside(r, addr, 1))
			r = held_range(t, addr);
		if (r && !--r->held)
			pthread_cond_broadcast(&t->idle);
	}
}

unsigned reach_get_all(struct reach_table *t, const struct iovec *v, unsigned nr)
{
	struct reach_range *r = NULL;
	unsigned i;

	pthread_mutex_lock(&t->lock);
	for (i = 0; i < nr; i++) {
		uint64_t addr = (uintptr_t)v[i].iov_base, len = v[i].iov_len;

		if (!r || !inside(r, addr, len)) {
			uint32_t at = upto(t, addr);

			r = at ? t->range[at - 1] : NULL;
		}
		if (!r || !len || !inside(r, addr, len))
			break;
		r->held++;
	}
	if (i < nr)
		put_locked(t, v, i);
	pthread_mutex_unlock(&t->lock);
	return i;
}

void reach_put_all(struct reach_table *t, const struct iovec *v, unsigned nr)
{
	pthread_mutex_lock(&t->lock);
	put_locked(t, v, nr);
	pthread_mutex_unlock(&t->lock);
}

bool reach_get(struct reach_table *t, uint64_t addr, uint64_t len)
{
	return reach_get_all(t, &(struct iovec){ (void *)(uintptr_t)addr, len }, 1);
}

void reach_put(struct reach_table *t, uint64_t addr)
{
	reach_put_all(t, &(struct iovec){ (void *)(uintptr_t)addr, 1 }, 1);
}
