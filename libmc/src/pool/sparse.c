// SPDX-License-Identifier: Apache-2.0
/* Arrays with a place for every possible entry, of which only those in use take memory. */
#include <sys/mman.h>

#include "pool/evict_inner.h"

#define HUGE (2 * MiB)
#define HUGE_LEAST (16 * HUGE) /* smaller arrays shall not take more than they use */

void *sparse_alloc(size_t nr, size_t size)
{
	size_t bytes, room, head;
	char *p;

	if (check_mul(nr, size, &bytes) || check_add(bytes, (size_t)HUGE, &room))
		return NULL;
	if (bytes < HUGE_LEAST)
		room = bytes;
	p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (room == bytes)
		return p;
	/* Places are used in any order: fewer faults, and more of them within what the processor can address at once. */
	head = align_up((uintptr_t)p, HUGE) - (uintptr_t)p;
	if (head)
		munmap(p, head);
	bytes = align_up(bytes, 4096);
	if (room > head + bytes)
		munmap(p + head + bytes, room - head - bytes);
	madvise(p + head, bytes, MADV_HUGEPAGE);
	return p + head;
}

void sparse_free(void *p, size_t nr, size_t size)
{
	if (p)
		munmap(p, nr * size);
}
