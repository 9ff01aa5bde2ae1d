// SPDX-License-Identifier: Apache-2.0
/* A list of copies by memcpy, for bench_python.py: what a scattered read is held against. */
#include <stddef.h>
#include <string.h>

void scatter(void *const *to, void *const *from, size_t nr, size_t len);

void scatter(void *const *to, void *const *from, size_t nr, size_t len)
{
	for (size_t i = 0; i < nr; i++)
		memcpy(to[i], from[i], len);
}
