/* SPDX-License-Identifier: Apache-2.0 */
/* A large set of small integers that also answers "which member is the last at or before x": bits in levels of 64. */
#ifndef MC_BITS_H
#define MC_BITS_H

#include "base/base.h"

#define BITS_LEVELS 11 /* 64^11 > 2^64 */
#define BITS_NONE   UINT64_MAX

struct bits {
	uint64_t *level[BITS_LEVELS]; /* a bit of level i + 1 says that a word of level i is not 0 */
	int levels;
	uint64_t size;
};

/* Members are below @size; memory is touched only where members are. -EINVAL for 0; -ENOMEM. */
int bits_init(struct bits *b, uint64_t size);
void bits_fini(struct bits *b);
void bits_set(struct bits *b, uint64_t at);
void bits_clear(struct bits *b, uint64_t at);
uint64_t bits_at_or_before(const struct bits *b, uint64_t at); /* BITS_NONE when there is none */

static inline bool bits_has(const struct bits *b, uint64_t at)
{
	return at < b->size && b->level[0][at / 64] >> (at % 64) & 1;
}

#endif
