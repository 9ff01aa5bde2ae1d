// SPDX-License-Identifier: Apache-2.0
/* Arrays with a place for every possible entry, of which only those in use take memory. */
#include <sys/mman.h>

#include "pool/evict_inner.h"

void *sparse_alloc(size_t nr, size_t size)
{
	size_t bytes;
	void *p;

	if (check_mul(nr, size, &bytes))
		return NULL;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

void sparse_free(void *p, size_t nr, size_t size)
{
	if (p)
		munmap(p, nr * size);
}
