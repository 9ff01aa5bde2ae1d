// SPDX-License-Identifier: Apache-2.0
/* Memory for the arrays of one decoded message: taken from the front of blocks, released at once. */
#include "proto/proto.h"

#include <stdalign.h>

#define SCRATCH_FIRST ((size_t)16 * KiB)
/* One huge message must not hold its memory for as long as the connection lives. */
#define SCRATCH_KEEP ((size_t)4 * MiB)

struct scratch_block {
	struct scratch_block *next;
	size_t size;
	alignas(max_align_t) uint8_t data[];
};

static struct scratch_block *block_add(struct scratch *s, size_t need)
{
	size_t size = s->blocks ? s->blocks->size : SCRATCH_FIRST / 2, bytes;
	struct scratch_block *blk;

	/* Doubling keeps the number of blocks small until one block is enough for every message. */
	if (check_mul(size, (size_t)2, &size) || size > SCRATCH_KEEP || size < need)
		size = MAX(need, SCRATCH_FIRST);
	if (check_add(size, sizeof(*blk), &bytes))
		return NULL;
	blk = malloc(bytes);
	if (!blk)
		return NULL;
	blk->size = size;
	blk->next = s->blocks;
	s->blocks = blk;
	s->used = 0;
	return blk;
}

void *scratch_alloc(struct scratch *s, size_t nr, size_t size)
{
	struct scratch_block *blk = s->blocks;
	size_t bytes;
	void *p;

	if (check_mul(nr, size, &bytes) || check_add(bytes, alignof(max_align_t) - 1, &bytes))
		return NULL;
	bytes &= ~(alignof(max_align_t) - 1);
	if (!blk || bytes > blk->size - s->used) {
		blk = block_add(s, bytes);
		if (!blk)
			return NULL;
	}
	p = blk->data + s->used;
	s->used += bytes;
	return p;
}

void scratch_reset(struct scratch *s)
{
	struct scratch_block *keep = NULL, *blk, *next;

	for (blk = s->blocks; blk; blk = next) {
		next = blk->next;
		if (blk->size <= SCRATCH_KEEP && (!keep || blk->size > keep->size)) {
			free(keep);
			keep = blk;
		} else {
			free(blk);
		}
	}
	if (keep)
		keep->next = NULL;
	s->blocks = keep;
	s->used = 0;
}

void scratch_fini(struct scratch *s)
{
	struct scratch_block *blk, *next;

	for (blk = s->blocks; blk; blk = next) {
		next = blk->next;
		free(blk);
	}
	*s = SCRATCH_INIT;
}
