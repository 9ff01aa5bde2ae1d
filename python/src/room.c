/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room: memory of the library's own that objects are read into, a limit on it, and what was let go of, for the next read. Fresh
 * memory costs several times what a copy does, because the kernel has to clear and map each page.
 */
#include "core.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE  ((size_t)2 << 20)
#define KEPT_SHIFT 16 /* smaller memory is malloc's business */
#define CLASSES	   (4 * (48 - KEPT_SHIFT)) /* sizes: four to a doubling, so a quarter is wasted at most */

/* Memory that waits lies in two rings, through its own first bytes. */
struct ring {
	struct ring *next, *prev;
};
struct idle {
	struct ring same; /* of its class */
	struct ring age;  /* of all, the oldest last */
	size_t len;	  /* of its class */
};

struct room {
	uint64_t limit;
	_Atomic int refs;
	_Atomic uint64_t used;
	pthread_mutex_t lock; /* guards what follows; nothing is mapped or unmapped under it */
	uint64_t waiting;     /* bytes; with those in use within the limit */
	struct ring same[CLASSES], age;
	bool closed; /* nothing is kept any more */
};

static void ring_init(struct ring *r)
{
	r->next = r->prev = r;
}

static void ring_add(struct ring *head, struct ring *r)
{
	r->next = head->next;
	r->prev = head;
	head->next->prev = r;
	head->next = r;
}

static void ring_del(struct ring *r)
{
	r->next->prev = r->prev;
	r->prev->next = r->next;
}

#define idle_of(ring, member) ((struct idle *)((char *)(ring) - offsetof(struct idle, member)))

/* ---- sizes ---------------------------------------------------------------------------------- */

/* The class of @len and its size; -1: not one that is kept. */
static int class_of(size_t len, size_t *size)
{
	unsigned shift;
	size_t unit;

	if (len < (size_t)1 << KEPT_SHIFT || len > (size_t)1 << 47)
		return -1;
	shift = 63 - (unsigned)__builtin_clzll(len);
	unit = (size_t)1 << (shift - 2);
	*size = (len + unit - 1) / unit * unit;
	if (*size == (size_t)2 << shift)
		shift++;
	return (int)(4 * (shift - KEPT_SHIFT) + ((*size >> (shift - 2)) & 3));
}

void memory_fresh(void *mem, size_t len)
{
	uintptr_t from = ((uintptr_t)mem + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	uintptr_t to = ((uintptr_t)mem + len) / HUGE_PAGE * HUGE_PAGE;

	if (to > from)
		madvise((void *)from, to - from, MADV_HUGEPAGE); /* advice */
}

static void *fresh(size_t len)
{
	void *mem;

	if (posix_memalign(&mem, len >= HUGE_PAGE ? HUGE_PAGE : 64, len ? len : 1))
		return NULL;
	memory_fresh(mem, len);
	return mem;
}

/* ---- the room ------------------------------------------------------------------------------- */

struct room *room_new(uint64_t limit)
{
	struct room *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->limit = limit;
	atomic_init(&r->refs, 1);
	pthread_mutex_init(&r->lock, NULL);
	ring_init(&r->age);
	for (int i = 0; i < CLASSES; i++)
		ring_init(&r->same[i]);
	return r;
}

void room_ref(struct room *r)
{
	atomic_fetch_add(&r->refs, 1);
}

/* Does all fit, with @len bytes more? With the lock held. */
static bool fits(const struct room *r, uint64_t len)
{
	uint64_t used = atomic_load(&r->used);

	return used <= r->limit && r->waiting <= r->limit - used && len <= r->limit - used - r->waiting;
}

/* The oldest leave until @len bytes more fit, or nothing waits. With the lock held; @out, a ring of them, is freed without it. */
static void make_space(struct room *r, uint64_t len, struct ring *out)
{
	ring_init(out);
	while (r->age.prev != &r->age && !fits(r, len)) {
		struct idle *m = idle_of(r->age.prev, age);

		ring_del(&m->age);
		ring_del(&m->same);
		r->waiting -= m->len;
		ring_add(out, &m->age);
	}
}

static void free_ring(struct ring *ring)
{
	while (ring->next != ring) {
		struct idle *m = idle_of(ring->next, age);

		ring_del(&m->age);
		free(m);
	}
}

void room_close(struct room *r)
{
	struct ring out;

	pthread_mutex_lock(&r->lock);
	r->closed = true;
	make_space(r, UINT64_MAX, &out);
	pthread_mutex_unlock(&r->lock);
	free_ring(&out);
}

void room_unref(struct room *r)
{
	if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
		return;
	room_close(r);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

uint64_t room_limit(const struct room *r)
{
	return r->limit;
}

bool room_take(struct room *r, uint64_t len)
{
	uint64_t used = atomic_load(&r->used);
	struct ring out;

	do {
		if (len > r->limit || used > r->limit - len)
			return false;
	} while (!atomic_compare_exchange_weak(&r->used, &used, used + len));
	pthread_mutex_lock(&r->lock);
	make_space(r, 0, &out);
	pthread_mutex_unlock(&r->lock);
	free_ring(&out);
	return true;
}

void room_give(struct room *r, uint64_t len)
{
	atomic_fetch_sub(&r->used, len);
}

void *room_alloc(struct room *r, size_t len)
{
	size_t size = len;
	int class = class_of(len, &size);
	void *mem = NULL;

	if (class < 0)
		return fresh(len);
	pthread_mutex_lock(&r->lock);
	if (r->same[class].next != &r->same[class]) {
		struct idle *m = idle_of(r->same[class].next, same);

		ring_del(&m->same);
		ring_del(&m->age);
		r->waiting -= m->len;
		mem = m;
	}
	pthread_mutex_unlock(&r->lock);
	return mem ? mem : fresh(size);
}

/* Does not wait for the lock: whoever held it during a fork() does not give it back in the child. */
void room_free(struct room *r, void *mem, size_t len)
{
	size_t size = len;
	int class = class_of(len, &size);
	struct idle *m = mem;
	struct ring out;
	bool keep;

	if (!mem || class < 0 || pthread_mutex_trylock(&r->lock)) {
		free(mem);
		return;
	}
	keep = !r->closed && size <= r->limit && atomic_load(&r->used) <= r->limit - size;
	make_space(r, keep ? size : 0, &out);
	if (keep) {
		m->len = size;
		ring_add(&r->same[class], &m->same);
		ring_add(&r->age, &m->age);
		r->waiting += size;
	}
	pthread_mutex_unlock(&r->lock);
	free_ring(&out);
	if (!keep)
		free(mem);
}
