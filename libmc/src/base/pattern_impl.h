/* SPDX-License-Identifier: Apache-2.0 */
/* A regular expression as a program: pattern_parse.c writes it, pattern.c runs it. */
#ifndef MC_PATTERN_IMPL_H
#define MC_PATTERN_IMPL_H

#include "base/pattern.h"

enum op {
	/* What takes a byte: */
	OP_BYTE,
	OP_ANY,
	OP_SET,
	/* What looks at a place between two: */
	OP_START,
	OP_END,
	OP_EDGE, /* of a word */
	OP_NO_EDGE,
	OP_WORD_START,
	OP_WORD_END,
	/* What leads elsewhere, by so many places, so that a run of these means the same wherever it lies: */
	OP_JUMP,
	OP_BOTH, /* there, and to the next */
	OP_FOUND,
};

struct op_at {
	uint8_t op, byte;
	uint16_t set;
	int32_t to;
};

struct set {
	uint32_t bits[8];
};

struct pattern {
	struct op_at *code;
	struct set *sets;
	uint32_t nr, nr_sets;
	/* While looking: places where a byte is taken, here and behind the next byte; those still to follow; when each was seen. */
	uint32_t *here, *next, *todo, *seen;
	uint32_t *memory; /* of these */
	uint32_t now;
};

static inline void set_add(struct set *s, unsigned byte)
{
	s->bits[byte / 32] |= 1u << byte % 32;
}

static inline bool set_has(const struct set *s, unsigned byte)
{
	return s->bits[byte / 32] >> byte % 32 & 1;
}

bool is_word(unsigned c);

/* -EINVAL: *why it is refused; -ENOMEM. What is in @p belongs to it either way. */
int pattern_parse(struct pattern *p, const char *text, size_t len, const char **why);

#endif
