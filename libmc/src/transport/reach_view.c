/* SPDX-License-Identifier: Apache-2.0 */
/* A neighbour's table of reachable ranges, as whoever copies to or from its memory sees it. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "dev/dev.h"
#include "transport/reach.h"

#define SEQ_TRIES 256

struct reach_view {
	struct reach_shared *shared;
	int slot;
};

/* The mapping must never fault: sealed against shrinking and as long as we read. */
static int map_table(int fd, struct reach_shared **out)
{
	struct reach_shared *s;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) ||
	    st.st_size < (off_t)sizeof(*s))
		return -EOPNOTSUPP;
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s == MAP_FAILED)
		return -errno;
	if (s->magic != REACH_MAGIC) {
		munmap(s, sizeof(*s));
		return -EOPNOTSUPP;
	}
	madvise(s, sizeof(*s), MADV_DONTFORK);
	*out = s;
	return 0;
}

static bool slot_is_stale(uint64_t owner, const struct process_id *self)
{
	struct process_id who = {
		.pid = (pid_t)(owner & ((1u << 22) - 1)),
		.start_time = owner >> 22,
		.pid_ns = self->pid_ns,
	};

	return !process_alive(&who);
}

/* A free slot, else one whose owner died. */
static int take_slot(struct reach_shared *s)
{
	struct process_id self;
	int ret = process_self(&self);
	uint64_t me;

	if (ret)
		return ret;
	me = reach_owner_word(self.pid, self.start_time);
	for (int pass = 0; pass < 2; pass++) {
		for (int i = 0; i < REACH_SLOTS; i++) {
			uint64_t owner = atomic_load(&s->slot[i].owner);

			if (owner && (!pass || !slot_is_stale(owner, &self)))
				continue;
			if (!atomic_compare_exchange_strong(&s->slot[i].owner, &owner, me))
				continue;
			atomic_store(&s->slot[i].active[0], 0);
			atomic_store(&s->slot[i].active[1], 0);
			return i;
		}
	}
	return -EOPNOTSUPP;
}

int reach_view_open(const struct process_id *who, int fd, struct reach_view **out)
{
	struct reach_view *v = calloc(1, sizeof(*v));
	int here, ret;

	if (!v)
		return -ENOMEM;
	ret = process_open_fd(who, fd, true, &here);
	if (ret)
		goto err_free;
	ret = map_table(here, &v->shared);
	close(here);
	if (ret)
		goto err_free;
	ret = v->slot = take_slot(v->shared);
	if (ret < 0)
		goto err_unmap;
	*out = v;
	return 0;

err_unmap:
	munmap(v->shared, sizeof(*v->shared));
err_free:
	free(v);
	return ret;
}

void reach_view_close(struct reach_view *v)
{
	atomic_store(&v->shared->slot[v->slot].owner, 0);
	munmap(v->shared, sizeof(*v->shared));
	free(v);
}

const uint8_t *reach_view_token(const struct reach_view *v, uint64_t *addr)
{
	*addr = v->shared->token_addr;
	return v->shared->token;
}

int reach_view_begin(struct reach_view *v, bool write, struct reach_access *a)
{
	struct reach_shared *s = v->shared;

	a->slot = -1;
	if (write) {
		a->slot = (int)(atomic_load(&s->phase) & 1);
		atomic_fetch_add(&s->slot[v->slot].active[a->slot], 1);
		/*
		 * The count before the look at the table; pairs with the store of seq in publish().
		 */
		fence_full();
	}
	for (int i = 0; i < SEQ_TRIES; i++) {
		a->seq = atomic_load_explicit(&s->seq, memory_order_acquire);
		if (!(a->seq & 1))
			return 0;
		sched_yield();
	}
	reach_view_end(v, a);
	return -EAGAIN;
}

static bool unchanged(const struct reach_view *v, const struct reach_access *a)
{
	/*
	 * Everything read so far, table and copied bytes, before seq; pairs with the fence in
	 * publish().
	 */
	fence_acquire();
	return atomic_load_explicit(&v->shared->seq, memory_order_relaxed) == a->seq;
}

int reach_view_has(const struct reach_view *v, const struct reach_access *a, uint64_t addr,
		   uint64_t len)
{
	const struct reach_shared *s = v->shared;
	uint32_t hi = atomic_load_explicit(&s->nr, memory_order_relaxed), lo = 0;
	bool ok = false;

	hi = MIN(hi, (uint32_t)REACH_MAX);
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (atomic_load_explicit(&s->entry[mid].addr, memory_order_relaxed) <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo) {
		uint64_t at = atomic_load_explicit(&s->entry[lo - 1].addr, memory_order_relaxed);
		uint64_t n = atomic_load_explicit(&s->entry[lo - 1].len, memory_order_relaxed);

		ok = addr >= at && range_inside(addr - at, len, n);
	}
	return !unchanged(v, a) ? -EAGAIN : ok ? 0 : -EFAULT;
}

bool reach_view_end(struct reach_view *v, const struct reach_access *a)
{
	bool same = unchanged(v, a);

	if (a->slot >= 0)
		atomic_fetch_sub(&v->shared->slot[v->slot].active[a->slot], 1);
	return same;
}
