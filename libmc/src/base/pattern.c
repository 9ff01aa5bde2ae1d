/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking for regular expressions. All ways through the program are followed at the same time: a list of places, each there once,
 * moves through the text. Libraries' matchers are made for friends: glibc's takes a minute and a gigabyte to look for
 * "[ab]*a[ab]{900}c" in a thousand letters.
 * Source: K. Thompson, "Regular Expression Search Algorithm", Communications of the ACM 11(6), 1968.
 */
#include "base/pattern_impl.h"

#include "base/log.h"

void pattern_close(struct pattern *p)
{
	if (!p)
		return;
	free(p->code);
	free(p->sets);
	free(p->memory);
	free(p);
}

static int prepare(struct pattern *p)
{
	p->memory = calloc(p->nr, 4 * sizeof(*p->memory));
	if (!p->memory)
		return -ENOMEM;
	p->here = p->memory;
	p->next = p->here + p->nr;
	p->todo = p->next + p->nr;
	p->seen = p->todo + p->nr;
	return 0;
}

int pattern_open(const void *text, size_t len, struct pattern **out)
{
	struct pattern *p;
	const char *why;
	int ret;

	if (len > PATTERN_MAX || (len && memchr(text, 0, len))) {
		err_note("pattern of %zu bytes: at most %u, none of them 0", len, PATTERN_MAX);
		return -EINVAL;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	ret = pattern_parse(p, text, len, &why);
	if (ret == -EINVAL)
		err_note("pattern %.*s: %s", (int)len, (const char *)text, why);
	if (!ret)
		ret = prepare(p);
	if (ret) {
		pattern_close(p);
		return ret;
	}
	*out = p;
	return 0;
}

struct text {
	const uint8_t *at;
	size_t len;
};

/* Is that so before byte @i? */
static bool holds(enum op op, const struct text *t, size_t i)
{
	bool before = i && is_word(t->at[i - 1]), behind = i < t->len && is_word(t->at[i]);

	switch (op) {
	case OP_START:
		return !i;
	case OP_END:
		return i == t->len;
	case OP_EDGE:
		return before != behind;
	case OP_NO_EDGE:
		return before == behind;
	case OP_WORD_START:
		return !before && behind;
	default:
		return before && !behind;
	}
}

/* Follows the ways from @place on, before byte @i, up to where a byte is taken: these go into @list. Return: was it found? */
static bool follow(struct pattern *p, uint32_t place, const struct text *t, size_t i, uint32_t *list, uint32_t *nr)
{
	uint32_t todo = 0;

	p->todo[todo++] = place;
	while (todo) {
		const struct op_at *o = &p->code[place = p->todo[--todo]];

		if (p->seen[place] == p->now)
			continue;
		p->seen[place] = p->now;
		if (o->op == OP_FOUND)
			return true;
		if (o->op <= OP_SET) {
			list[(*nr)++] = place;
			continue;
		}
		/* At most one more than was taken, and each place is taken once. */
		if (o->op == OP_JUMP || o->op == OP_BOTH)
			p->todo[todo++] = place + (uint32_t)o->to;
		if (o->op == OP_BOTH || (o->op != OP_JUMP && holds((enum op)o->op, t, i)))
			p->todo[todo++] = place + 1;
	}
	return false;
}

static bool takes(const struct pattern *p, const struct op_at *o, uint8_t byte)
{
	return o->op == OP_BYTE ? o->byte == byte : o->op == OP_ANY || set_has(&p->sets[o->set], byte);
}

static void tick(struct pattern *p)
{
	if (++p->now)
		return;
	memset(p->seen, 0, p->nr * sizeof(*p->seen));
	p->now = 1;
}

bool pattern_find(struct pattern *p, const void *text, size_t len)
{
	const struct text t = { text, len };
	uint32_t nr = 0, nr_next, *list;

	tick(p);
	if (follow(p, 0, &t, 0, p->here, &nr))
		return true;
	for (size_t i = 0; i < len && (nr || p->code[0].op != OP_START); i++) {
		nr_next = 0;
		tick(p);
		for (uint32_t k = 0; k < nr; k++)
			if (takes(p, &p->code[p->here[k]], t.at[i]) && follow(p, p->here[k] + 1, &t, i + 1, p->next, &nr_next))
				return true;
		if (follow(p, 0, &t, i + 1, p->next, &nr_next)) /* or it begins here */
			return true;
		list = p->here;
		p->here = p->next;
		p->next = list;
		nr = nr_next;
	}
	return false;
}
