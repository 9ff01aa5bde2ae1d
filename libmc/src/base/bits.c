// SPDX-License-Identifier: Apache-2.0
/* Sets of integers as bits in levels. */
#include "base/bits.h"

int bits_init(struct bits *b, uint64_t size)
{
	uint64_t words = size;

	*b = (struct bits){ .size = size };
	if (!size)
		return -EINVAL;
	do {
		words = words / 64 + !!(words % 64);
		/* calloc() of much memory is untouched pages of zeros. */
		b->level[b->levels] = calloc(words, sizeof(uint64_t));
		if (!b->level[b->levels]) {
			bits_fini(b);
			return -ENOMEM;
		}
		b->levels++;
	} while (words > 1);
	return 0;
}

void bits_fini(struct bits *b)
{
	for (int i = 0; i < b->levels; i++)
		free(b->level[i]);
	*b = (struct bits){ 0 };
}

void bits_set(struct bits *b, uint64_t at)
{
	for (int i = 0; i < b->levels; i++, at /= 64) {
		uint64_t *word = &b->level[i][at / 64], before = *word;

		*word |= (uint64_t)1 << at % 64;
		if (before)
			return; /* the levels above know already */
	}
}

void bits_clear(struct bits *b, uint64_t at)
{
	for (int i = 0; i < b->levels; i++, at /= 64) {
		uint64_t *word = &b->level[i][at / 64];

		*word &= ~((uint64_t)1 << at % 64);
		if (*word)
			return;
	}
}

static inline uint64_t last_bit(uint64_t word)
{
	return 63 - (uint64_t)__builtin_clzll(word);
}

uint64_t bits_at_or_before(const struct bits *b, uint64_t at)
{
	uint64_t word;

	if (!b->size)
		return BITS_NONE;
	at = MIN(at, b->size - 1);
	for (int i = 0; i < b->levels; i++) {
		word = b->level[i][at / 64] & (UINT64_MAX >> (63 - at % 64));
		if (word) {
			at = at / 64 * 64 + last_bit(word);
			while (i--)
				at = at * 64 + last_bit(b->level[i][at]);
			return at;
		}
		/* Nothing in this word: one level up, only words strictly before it. */
		if (at < 64)
			break;
		at = at / 64 - 1;
	}
	return BITS_NONE;
}
