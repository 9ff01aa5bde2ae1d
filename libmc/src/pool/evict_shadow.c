// SPDX-License-Identifier: Apache-2.0
/* A small model of the cache: which weight would have had how many hits on a sample of the keys. */
#include "pool/evict_twoq.h"

#define HEADS (2 * SHADOW_MAX)

int shadow_init(struct shadow *s, uint32_t weight)
{
	*s = (struct shadow){ .unused = EVICT_NIL };
	s->heads = malloc(HEADS * sizeof(*s->heads));
	s->chain = malloc((SHADOW_MAX + 1) * sizeof(*s->chain));
	if (!s->heads || !s->chain || twoq_init(&s->q, SHADOW_MAX + 1, weight)) {
		shadow_fini(s);
		return -ENOMEM;
	}
	memset(s->heads, 0xff, HEADS * sizeof(*s->heads));
	return 0;
}

void shadow_fini(struct shadow *s)
{
	free(s->heads);
	free(s->chain);
	twoq_fini(&s->q);
	*s = (struct shadow){ 0 };
}

static uint32_t *head_of(struct shadow *s, uint32_t tag)
{
	return &s->heads[(tag >> 1) & (HEADS - 1)];
}

static uint32_t find(struct shadow *s, uint32_t tag)
{
	uint32_t i = *head_of(s, tag);

	while (i != EVICT_NIL && (s->q.nodes[i].tag & ~1u) != tag)
		i = s->chain[i];
	return i;
}

/* @i is out of the queues. */
static void forget(struct shadow *s, uint32_t i)
{
	uint32_t *at = head_of(s, s->q.nodes[i].tag);

	while (*at != i)
		at = &s->chain[*at];
	*at = s->chain[i];
	s->chain[i] = s->unused;
	s->unused = i;
}

void shadow_access(struct shadow *s, uint32_t tag, uint32_t cap)
{
	uint32_t i = find(s, tag);

	if (i != EVICT_NIL) {
		s->hits++;
		twoq_touch(&s->q, i);
		return;
	}
	while (twoq_count(&s->q) && twoq_count(&s->q) >= cap)
		forget(s, twoq_victim(&s->q));
	i = s->unused;
	if (i != EVICT_NIL)
		s->unused = s->chain[i];
	else
		i = s->top++;
	twoq_insert(&s->q, i, tag);
	s->chain[i] = *head_of(s, tag);
	*head_of(s, tag) = i;
}

void shadow_thin(struct shadow *s, bool (*keep)(uint32_t tag, unsigned shift), unsigned shift)
{
	for (int k = 0; k < 2; k++) {
		uint32_t i = s->q.list[k].first;

		while (i != EVICT_NIL) {
			uint32_t next = s->q.nodes[i].link.next;

			if (!keep(s->q.nodes[i].tag, shift)) {
				twoq_remove(&s->q, i);
				forget(s, i);
			}
			i = next;
		}
	}
}
