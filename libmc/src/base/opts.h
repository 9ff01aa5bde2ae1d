/* SPDX-License-Identifier: Apache-2.0 */
/* Options of public calls: structs that begin with their size, so that an old caller works with a new library. */
#ifndef MC_OPTS_H
#define MC_OPTS_H

#include "base/base.h"

/*
 * Copies @in, which may be shorter or longer than @out's @size bytes; what it lacks is zero. @in->size is at least @min.
 * -EINVAL: it is less; -E2BIG: something is set that this library does not know. Then there is nothing in @out.
 */
static inline int opts_take(const void *in, size_t min, void *out, size_t size)
{
	const uint8_t *p = in;
	size_t given = *(const size_t *)in;

	if (given < min)
		return -EINVAL;
	for (size_t i = size; i < given; i++)
		if (p[i])
			return -E2BIG;
	memset(out, 0, size);
	memcpy(out, in, MIN(given, size));
	return 0;
}

#endif
