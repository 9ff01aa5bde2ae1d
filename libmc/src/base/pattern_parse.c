/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions, POSIX extended ones, as programs: repetitions with numbers are written out, the others are loops. */
#include "base/pattern_impl.h"

#include <ctype.h>

#define GROWTH_MAX 1000 /* elements more than the expression has characters, with repetitions written out */
#define PROGRAM_MAX 16384
#define DEPTH_MAX 100 /* of parentheses */
#define REPEAT_MAX 32767

struct parser {
	struct pattern *p;
	const char *at, *end;
	uint32_t cap; /* of the code */
	uint32_t elements, max;
	unsigned depth;
	const char *why; /* it is refused */
	bool no_memory;
};

/* ---- code --------------------------------------------------------------------------------------------------------- */

static bool has(const struct parser *r)
{
	return r->at < r->end && !r->why && !r->no_memory;
}

static void refuse(struct parser *r, const char *why)
{
	r->why = r->why ? r->why : why;
}

/* Room for @nr more. */
static bool room(struct parser *r, uint32_t nr)
{
	struct pattern *p = r->p;
	struct op_at *code;

	if (nr > PROGRAM_MAX || p->nr + nr > PROGRAM_MAX)
		refuse(r, "its repetitions make it too large");
	if (r->why || r->no_memory)
		return false;
	if (p->nr + nr <= r->cap)
		return true;
	while (r->cap < p->nr + nr)
		r->cap = r->cap ? 2 * r->cap : 64;
	code = realloc(p->code, r->cap * sizeof(*code));
	if (code)
		p->code = code;
	r->no_memory = !code;
	return code;
}

static void count(struct parser *r, const struct op_at *o)
{
	if (o->op < OP_JUMP && ++r->elements > r->max)
		refuse(r, "its repetitions make it too large");
}

static void emit(struct parser *r, struct op_at o)
{
	if (!room(r, 1))
		return;
	r->p->code[r->p->nr++] = o;
	count(r, &o);
}

/* Before what lies from @from on. */
static void emit_before(struct parser *r, uint32_t from, struct op_at o)
{
	struct pattern *p = r->p;

	if (!room(r, 1))
		return;
	memmove(p->code + from + 1, p->code + from, (p->nr - from) * sizeof(*p->code));
	p->code[from] = o;
	p->nr++;
}

/* Once more what lies from @from on, @nr long. */
static void emit_again(struct parser *r, uint32_t from, uint32_t nr)
{
	struct pattern *p = r->p;

	if (!room(r, nr))
		return;
	memcpy(p->code + p->nr, p->code + from, nr * sizeof(*p->code));
	p->nr += nr;
	for (uint32_t i = 0; i < nr; i++)
		count(r, &p->code[from + i]);
}

/* ---- "[...]" ------------------------------------------------------------------------------------------------------ */

bool is_word(unsigned c)
{
	return c < 128 && (isalnum((int)c) || c == '_');
}

static bool is_of_class(const char *name, size_t len, int c)
{
	static const struct {
		const char *name;
		int (*is)(int c);
	} classes[] = {
		{ "alnum", isalnum }, { "alpha", isalpha }, { "blank", isblank }, { "cntrl", iscntrl },
		{ "digit", isdigit }, { "graph", isgraph }, { "lower", islower }, { "print", isprint },
		{ "punct", ispunct }, { "space", isspace }, { "upper", isupper }, { "xdigit", isxdigit },
	};

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (len == strlen(classes[i].name) && !memcmp(name, classes[i].name, len))
			return classes[i].is(c);
	return false;
}

/* "[:alpha:]" into @s, at its second character. False: there is no such class. */
static bool named_class(struct parser *r, struct set *s)
{
	const char *name = r->at + 1, *end = memmem(name, (size_t)(r->end - name), ":]", 2);
	bool any = false;

	for (int c = 0; end && c < 128; c++)
		if (is_of_class(name, (size_t)(end - name), c)) {
			set_add(s, (unsigned)c);
			any = true;
		}
	if (any)
		r->at = end + 2;
	return any;
}

/* An end of a range, or a member by itself: "a", "[.a.]", "[=a=]". */
static int set_byte(struct parser *r)
{
	const char *p = r->at;

	if (*p == '[' && r->end - p >= 5 && (p[1] == '.' || p[1] == '=') && p[3] == p[1] && p[4] == ']') {
		r->at += 5;
		return (uint8_t)p[2];
	}
	if (*p == '[' && r->end - p >= 2 && (p[1] == '.' || p[1] == '=' || p[1] == ':'))
		return -1;
	r->at++;
	return (uint8_t)*p;
}

static bool set_member(struct parser *r, struct set *s)
{
	int from, to;

	if (r->end - r->at >= 2 && r->at[0] == '[' && r->at[1] == ':') {
		r->at++;
		return named_class(r, s);
	}
	from = to = set_byte(r);
	if (r->end - r->at >= 2 && r->at[0] == '-' && r->at[1] != ']') {
		r->at++;
		to = set_byte(r);
	}
	for (int c = from; c >= 0 && c <= to; c++)
		set_add(s, (unsigned)c);
	return from >= 0 && to >= from;
}

static void emit_set(struct parser *r, const struct set *s, bool not)
{
	struct pattern *p = r->p;
	struct set *sets = realloc(p->sets, (p->nr_sets + 1) * sizeof(*sets));

	if (!sets) {
		r->no_memory = true;
		return;
	}
	p->sets = sets;
	for (unsigned i = 0; i < ARRAY_SIZE(s->bits); i++)
		sets[p->nr_sets].bits[i] = not ? ~s->bits[i] : s->bits[i];
	emit(r, (struct op_at){ .op = OP_SET, .set = (uint16_t)p->nr_sets++ });
}

/* Behind the bracket. One that closes is a member when it comes first. */
static void brackets(struct parser *r)
{
	bool not = has(r) && *r->at == '^', ok = true;
	struct set s = { { 0 } };
	const char *first;

	first = r->at += not;
	while (ok && r->at < r->end && (*r->at != ']' || r->at == first))
		ok = set_member(r, &s);
	if (!ok || r->at == r->end)
		refuse(r, ok ? "a bracket is not closed" : "a class or a range in brackets is none");
	else
		r->at++;
	if (!r->why)
		emit_set(r, &s, not);
}

/* ---- the rest ----------------------------------------------------------------------------------------------------- */

#define MANY UINT32_MAX

/* What lies from @from on, @lo to @hi times. */
static void repeat(struct parser *r, uint32_t from, uint32_t lo, uint32_t hi)
{
	uint32_t nr = r->p->nr - from, least = MAX(lo, 1u);

	if (!nr || r->why)
		return;
	if (!hi) {
		r->p->nr = from;
		return;
	}
	for (uint32_t i = 1; i < least && !r->why; i++)
		emit_again(r, from, nr);
	if (hi == MANY)
		emit(r, (struct op_at){ .op = OP_BOTH, .to = -(int32_t)nr });
	if (!lo) {
		emit_before(r, from, (struct op_at){ .op = OP_BOTH, .to = (int32_t)(r->p->nr - from) + 1 });
		from++;
	}
	for (uint32_t i = least; hi != MANY && i < hi && !r->why; i++) {
		emit(r, (struct op_at){ .op = OP_BOTH, .to = (int32_t)nr + 1 });
		emit_again(r, from, nr);
	}
}

static bool number(struct parser *r, uint32_t *out)
{
	uint32_t n = 0;
	bool any = false;

	for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; any = true)
		n = MIN(n * 10 + (uint32_t)(*r->at++ - '0'), REPEAT_MAX + 1u);
	if (any)
		*out = n;
	return any;
}

/* Behind "{": "n}", "n,}", "n,m}", ",m}", ",}". */
static void interval(struct parser *r, uint32_t from)
{
	uint32_t lo = 0, hi = MANY;
	bool some = number(r, &lo);

	if (has(r) && *r->at == ',') {
		r->at++;
		number(r, &hi);
		some = true;
	} else {
		hi = lo;
	}
	if (!has(r) || *r->at != '}' || !some || lo > hi) {
		refuse(r, "an interval in braces is none");
		return;
	}
	r->at++;
	if (lo > REPEAT_MAX || (hi != MANY && hi > REPEAT_MAX))
		refuse(r, "its repetitions make it too large");
	repeat(r, from, lo, hi);
}

/* The signs of repetition behind what lies from @from on. Those without numbers are one together: "a+?" is "a*". */
static void repetitions(struct parser *r, uint32_t from)
{
	bool none = false, many = false;

	for (; has(r) && strchr("*+?{", *r->at); r->at++) {
		none |= *r->at == '*' || *r->at == '?';
		many |= *r->at == '*' || *r->at == '+';
		if (*r->at != '{')
			continue;
		repeat(r, from, !none, many ? MANY : 1);
		none = many = false;
		r->at++;
		interval(r, from);
		r->at--;
	}
	repeat(r, from, !none, many ? MANY : 1);
}

/* Behind the backslash. Return: can it be repeated? */
static bool escape(struct parser *r)
{
	static const char places[] = "bB<>`'";
	static const uint8_t ops[] = { OP_EDGE, OP_NO_EDGE, OP_WORD_START, OP_WORD_END, OP_START, OP_END };
	struct set s = { { 0 } };
	const char *place;
	char c;

	if (!has(r)) {
		refuse(r, "it ends with a backslash");
		return false;
	}
	c = *r->at++;
	place = strchr(places, c);
	if (place) {
		emit(r, (struct op_at){ .op = ops[place - places] });
		return false;
	}
	if (c >= '1' && c <= '9') {
		refuse(r, "back references are not supported");
	} else if (strchr("wWsS", c)) {
		for (unsigned b = 0; b < 128; b++)
			if (c == 'w' || c == 'W' ? is_word(b) : isspace((int)b))
				set_add(&s, b);
		emit_set(r, &s, c == 'W' || c == 'S');
	} else {
		emit(r, (struct op_at){ .op = OP_BYTE, .byte = (uint8_t)c });
	}
	return true;
}

static void alternatives(struct parser *r);

/* Behind the parenthesis. */
static void group(struct parser *r)
{
	if (++r->depth > DEPTH_MAX) {
		refuse(r, "its parentheses are more than 100 deep");
		return;
	}
	alternatives(r);
	if (!has(r))
		refuse(r, "a parenthesis is not closed");
	else
		r->at++;
	r->depth--;
}

/* One element and its repetitions. */
static void element(struct parser *r)
{
	uint32_t from = r->p->nr;
	char c = *r->at++;

	switch (c) {
	case '*':
	case '+':
	case '?':
	case '{':
		refuse(r, "there is nothing to repeat");
		return;
	case '^':
	case '$':
		emit(r, (struct op_at){ .op = c == '^' ? OP_START : OP_END });
		return;
	case '\\':
		if (!escape(r))
			return;
		break;
	case '(':
		group(r);
		break;
	case '[':
		brackets(r);
		break;
	case '.':
		emit(r, (struct op_at){ .op = OP_ANY });
		break;
	default:
		emit(r, (struct op_at){ .op = OP_BYTE, .byte = (uint8_t)c });
	}
	repetitions(r, from);
}

/* Up to the end, or to the parenthesis that closes. Jumps to behind the last one are a list until it is known where that is. */
static void alternatives(struct parser *r)
{
	struct pattern *p = r->p;
	uint32_t from = p->nr;
	int32_t jumps = -1, next;

	while (has(r) && (*r->at != ')' || !r->depth)) {
		if (*r->at != '|') {
			element(r);
			continue;
		}
		r->at++;
		emit_before(r, from, (struct op_at){ .op = OP_BOTH, .to = (int32_t)(p->nr - from) + 2 });
		emit(r, (struct op_at){ .op = OP_JUMP, .to = jumps });
		from = p->nr;
		jumps = (int32_t)from - 1;
	}
	for (; jumps >= 0 && !r->why && !r->no_memory; jumps = next) {
		next = p->code[jumps].to;
		p->code[jumps].to = (int32_t)p->nr - jumps;
	}
}

int pattern_parse(struct pattern *p, const char *text, size_t len, const char **why)
{
	struct parser r = { .p = p, .at = text, .end = text + len, .max = (uint32_t)len + GROWTH_MAX };

	alternatives(&r);
	emit(&r, (struct op_at){ .op = OP_FOUND });
	*why = r.why;
	return r.no_memory ? -ENOMEM : r.why ? -EINVAL : 0;
}
