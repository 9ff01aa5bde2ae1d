// SPDX-License-Identifier: Apache-2.0
/* Touches all pages of a region: zeroing memory is slow on one processor, so several share the work. */
#include "dev/region.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/thread.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ  22 /* linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

#define CHUNK_BYTES  (16 * MiB)
#define THREAD_BYTES (64 * MiB) /* a thread is not worth starting for less */
#define THREADS_MAX  16

struct populate {
	const struct region *r;
	_Atomic uint64_t next; /* the first byte nobody has taken */
	_Atomic int err;
};

/* Only for memory nobody else has seen yet: without the madvise() it writes a zero to each page. */
static int touch(uint8_t *p, uint64_t len, uint64_t page)
{
	if (!madvise(p, len, MADV_POPULATE_WRITE))
		return 0;
	if (errno != EINVAL)
		return errno == EFAULT || errno == EAGAIN ? -ENOMEM : -errno;
	for (uint64_t off = 0; off < len; off += page)
		*(volatile uint8_t *)(p + off) = 0;
	return 0;
}

static void *work(void *arg)
{
	struct populate *w = arg;
	const struct region *r = w->r;
	const uint64_t chunk = MAX(CHUNK_BYTES, (uint64_t)r->page_size);

	while (!atomic_load_explicit(&w->err, memory_order_relaxed)) {
		uint64_t off = atomic_fetch_add_explicit(&w->next, chunk, memory_order_relaxed);
		uint64_t len;
		int ret;

		if (off >= r->size)
			break;
		len = MIN(chunk, r->size - off);
		ret = touch((uint8_t *)r->base + off, len, r->page_size);
		if (ret)
			atomic_store_explicit(&w->err, ret, memory_order_relaxed);
	}
	return NULL;
}

static unsigned threads_for(uint64_t size)
{
	uint64_t nr = MIN(size / THREAD_BYTES, (uint64_t)THREADS_MAX);
	cpu_set_t set;

	if (!sched_getaffinity(0, sizeof(set), &set))
		nr = MIN(nr, (uint64_t)CPU_COUNT(&set));
	return nr ? (unsigned)nr : 1;
}

int region_populate(const struct region *r)
{
	struct populate w = { .r = r };
	pthread_t thread[THREADS_MAX];
	unsigned nr = threads_for(r->size), started = 0;

	/* The caller is one of them; threads that cannot be had are not missed. */
	for (unsigned i = 1; i < nr; i++)
		if (!thread_start(&thread[started], "mc-populate", work, &w))
			started++;
	work(&w);
	for (unsigned i = 0; i < started; i++)
		pthread_join(thread[i], NULL);
	return atomic_load_explicit(&w.err, memory_order_relaxed);
}

/*
 * For reading, even when the mapping is writable: shared memory needs no second fault for the first write,
 * and the kernel takes neighbouring pages along, which it does not when it prepares a write.
 */
void region_prefault(const struct region *r, uint64_t off, uint64_t len)
{
	uint64_t start = off & ~((uint64_t)r->page_size - 1);

	if (len && range_inside(off, len, r->size))
		madvise((uint8_t *)r->base + start, off + len - start, MADV_POPULATE_READ);
}
