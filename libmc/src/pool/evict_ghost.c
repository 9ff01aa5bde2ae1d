// SPDX-License-Identifier: Apache-2.0
/*
 * Remembering evictions: buckets of a cache line, in each slot a part of the tag and when it went.
 * A full bucket forgets its oldest, so there is room to spare: blocks of one request form a chain,
 * and forgetting one at random breaks the chain there. Wrong answers are rare (16 in 2^20) and
 * harmless.
 */
#include "pool/evict_twoq.h"

#define WAYS	  16
#define WHEN_BITS 12
#define WHEN_MASK ((1u << WHEN_BITS) - 1)
#define STEPS	  1024 /* of time in a span; the rest of WHEN_MASK tells old from new */

void ghosts_fini(struct ghosts *g)
{
	free(g->slots);
	*g = (struct ghosts){ 0 };
}

/* What was remembered is lost: it happens while a pool fills, or when objects become smaller. */
static void grow(struct ghosts *g, uint64_t span)
{
	uint64_t buckets = (span + span / 2) / WAYS + 4;
	uint32_t *slots;

	g->span = span;
	if (buckets > 1u << 28)
		return;
	slots = calloc(buckets * WAYS, sizeof(*slots));
	if (!slots)
		return;
	free(g->slots);
	g->slots = slots;
	g->buckets = (uint32_t)buckets;
}

static uint32_t now(const struct ghosts *g)
{
	uint64_t step = g->span / STEPS;

	return (uint32_t)(g->clock / (step ? step : 1)) & WHEN_MASK;
}

static uint32_t steps_ago(const struct ghosts *g, uint32_t slot)
{
	return (now(g) - slot) & WHEN_MASK;
}

static uint32_t *bucket(const struct ghosts *g, uint32_t tag)
{
	uint32_t mixed = tag * 0x9e3779b1u;

	return &g->slots[((uint64_t)mixed * g->buckets >> 32) * WAYS];
}

/* Of the tag; never 0, which is an empty slot. */
static uint32_t mark(uint32_t tag)
{
	uint32_t m = tag << (WHEN_BITS - 1); /* the lowest bit is always 0 */

	return m ? m : ~WHEN_MASK;
}

void ghosts_add(struct ghosts *g, uint32_t tag, uint64_t span)
{
	uint32_t *b, *oldest;

	if (span > g->span + g->span / 4)
		grow(g, span);
	g->clock++;
	if (!g->slots)
		return;
	b = bucket(g, tag);
	oldest = b;
	for (int i = 0; i < WAYS; i++) {
		if (!b[i]) {
			oldest = &b[i];
			break;
		}
		if (steps_ago(g, b[i]) > steps_ago(g, *oldest))
			oldest = &b[i];
	}
	*oldest = mark(tag) | now(g);
}

bool ghosts_take(struct ghosts *g, uint32_t tag)
{
	uint64_t limit = g->span < STEPS ? g->span : STEPS;
	uint32_t *b;

	if (!g->slots)
		return false;
	b = bucket(g, tag);
	for (int i = 0; i < WAYS; i++) {
		if (b[i] && (b[i] & ~WHEN_MASK) == mark(tag)) {
			bool young = steps_ago(g, b[i]) <= limit;

			b[i] = 0;
			return young;
		}
	}
	return false;
}
