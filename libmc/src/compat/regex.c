/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions as callers of older interfaces write them, ECMAScript's, in the form the store takes, POSIX extended. What is
 * searched for is whether they are found, so that it does not matter how much a sign of repetition likes to take.
 */
#include <mooncake/compat.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"

struct to {
	char *at, *end;
	bool full;
};

static void put(struct to *o, char c)
{
	if (o->at < o->end)
		*o->at++ = c;
	else
		o->full = true;
}

static void put_text(struct to *o, const char *text)
{
	while (*text)
		put(o, *text++);
}

/* Outside of brackets: a character that means itself. */
static void put_plain(struct to *o, char c)
{
	if (strchr(".[]()*+?{}|^$\\", c))
		put(o, '\\');
	put(o, c);
}

static int hex_digits(const char *p, int nr, unsigned *out)
{
	char text[5] = { 0 }, *end;

	for (int i = 0; i < nr && p[i]; i++)
		text[i] = p[i];
	*out = (unsigned)strtoul(text, &end, 16);
	return end == text + nr && text[0] != '-' && text[0] != '+' && text[0] != ' ' ? 0 : -EINVAL;
}

/*
 * An escape that stands for one character: *@p is behind the backslash, and moves to its last character. -EINVAL: it is none, or
 * not of ASCII: what its bytes are in a key nobody knows.
 */
static int escaped(const char **p, char *out)
{
	static const char from[] = "tnrfv", to[] = "\t\n\r\f\v";
	const char *known = strchr(from, **p);
	unsigned code;
	int nr = **p == 'x' ? 2 : 4;

	if (!**p || strchr("0123456789", **p))
		return -EINVAL;
	if (known) {
		*out = to[known - from];
	} else if (**p == 'x' || **p == 'u') {
		if (hex_digits(*p + 1, nr, &code) || !code || code > 127)
			return -EINVAL;
		*out = (char)code;
		*p += nr;
	} else if (**p == 'c' && (((*p)[1] >= 'a' && (*p)[1] <= 'z') || ((*p)[1] >= 'A' && (*p)[1] <= 'Z'))) {
		*out = (char)((*p)[1] & 31);
		(*p)++;
	} else {
		*out = **p;
	}
	return 0;
}

/* ---- "[...]" ------------------------------------------------------------------------------------------------------- */

/* POSIX knows no escapes there: what has a meaning goes where it has none. */
struct set {
	bool not, bracket, caret, dash;
	bool one;   /* the last member is a character, from which a range may go */
	bool range; /* the next member is where it ends */
	char rest[512];
	size_t len;
};

static int set_add(struct set *s, const char *text, size_t len)
{
	if (s->len + len > sizeof(s->rest))
		return -EINVAL;
	memcpy(s->rest + s->len, text, len);
	s->len += len;
	return 0;
}

/* @begins: a range. Its ends stay where they are, so they cannot be among those that have to go elsewhere. */
static int set_char(struct set *s, char c, bool begins)
{
	bool *special = c == ']' ? &s->bracket : c == '^' ? &s->caret : c == '-' ? &s->dash : NULL, range = s->range;

	s->one = !range;
	s->range = false;
	if (!special)
		return set_add(s, &c, 1);
	*special = true;
	return range || begins ? -EINVAL : 0;
}

static int set_many(struct set *s, const char *text, size_t len)
{
	s->one = false;
	return s->range ? -EINVAL : set_add(s, text, len);
}

static const char *class_of(char c)
{
	return c == 'd' ? "0-9" : c == 'w' ? "A-Za-z0-9_" : c == 's' ? " \t\n\r\f\v" : NULL;
}

/* "[:alpha:]" and the like, which both know. Return: its length; 0: it is none. */
static size_t named_class(const char *p)
{
	const char *end = p[0] == '[' && p[1] == ':' ? strstr(p + 2, ":]") : NULL;

	return end ? (size_t)(end + 2 - p) : 0;
}

/* One member; *@p moves to its last character. */
static int set_member(struct set *s, const char **p)
{
	size_t len = named_class(*p);
	char c = **p;

	if (len) {
		*p += len - 1;
		return set_many(s, *p - len + 1, len);
	}
	if (c == '-' && s->one && (*p)[1] != ']') {
		s->one = false;
		s->range = true;
		return set_add(s, "-", 1);
	}
	if (c == '\\') {
		(*p)++;
		if (class_of(**p))
			return set_many(s, class_of(**p), strlen(class_of(**p)));
		if (strchr("DWSB", **p)) /* what is not in a class cannot be added to others */
			return -EINVAL;
		c = '\b';
		if (**p != 'b' && escaped(p, &c))
			return -EINVAL;
	}
	return set_char(s, c, (*p)[1] == '-' && (*p)[2] != ']');
}

/* *@p is at the bracket and moves to the closing one. */
static int set_take(struct to *o, const char **p)
{
	struct set s = { 0 };
	const char *start;
	int ret = 0;

	s.not = (*p)[1] == '^';
	start = *p += 1 + s.not;
	while (**p && **p != ']' && !ret) {
		ret = set_member(&s, p);
		*p += **p != 0;
	}
	if (ret || **p != ']' || *p == start)
		return -EINVAL;
	if (s.caret && !s.not && !s.bracket && !s.len && !s.dash) { /* "[^]" would be something else */
		put_text(o, "\\^");
		return 0;
	}
	put(o, '[');
	if (s.not)
		put(o, '^');
	if (s.bracket)
		put(o, ']');
	for (size_t i = 0; i < s.len; i++)
		put(o, s.rest[i]);
	/* Not the first, unless it says "not" already. And "-" is first or last. */
	if (s.caret && !s.len && !s.bracket && !s.not)
		put_text(o, "-^");
	else if (s.caret)
		put(o, '^');
	if (s.dash && (!s.caret || s.len || s.bracket || s.not))
		put(o, '-');
	put(o, ']');
	return 0;
}

/* ---- the rest ------------------------------------------------------------------------------------------------------- */

/* *@p is at "("; moves to the last character of what begins the group. */
static const char *group_begin(struct to *o, const char **p)
{
	const char *name;

	put(o, '(');
	if ((*p)[1] != '?')
		return NULL;
	if ((*p)[2] == ':') {
		*p += 2;
		return NULL;
	}
	name = (*p)[2] == '<' && (*p)[3] != '=' && (*p)[3] != '!' ? strchr(*p, '>') : NULL;
	if (!name)
		return "it looks ahead or behind, which is not supported";
	*p = name;
	return NULL;
}

static const char *take_escape(struct to *o, const char **p)
{
	char c;

	(*p)++;
	if (**p >= '1' && **p <= '9')
		return "back references are not supported";
	if (**p == 'd') {
		put_text(o, "[0-9]");
	} else if (**p == 'D') {
		put_text(o, "[^0-9]");
	} else if (**p && strchr("wWsSbB", **p)) {
		put(o, '\\');
		put(o, **p);
	} else if (escaped(p, &c)) {
		return "it has an escape that is not understood";
	} else {
		put_plain(o, c);
	}
	return NULL;
}

/* *@p is at a sign of repetition and moves to its end, past the "?" that makes it take little. */
static void take_sign(struct to *o, const char **p)
{
	put(o, **p);
	if (**p == '{')
		while ((*p)[1] && **p != '}')
			put(o, *++*p);
	if ((*p)[1] == '?')
		(*p)++;
}

static const char *translate(struct to *o, const char *p)
{
	bool something = false; /* that can be repeated */
	unsigned depth = 0;
	const char *why;

	for (; *p; p++) {
		why = NULL;
		switch (*p) {
		case '*':
		case '+':
		case '?':
		case '{':
			why = something ? NULL : "there is nothing to repeat";
			if (!why)
				take_sign(o, &p);
			something = false;
			break;
		case '(':
			why = group_begin(o, &p);
			depth++;
			something = false;
			break;
		case ')':
			if (!depth--)
				why = "a parenthesis was not opened";
			put(o, ')');
			something = true;
			break;
		case '[':
			why = set_take(o, &p) ? "a set in brackets is not understood" : NULL;
			something = true;
			break;
		case '\\':
			something = !p[1] || !strchr("bB", p[1]);
			why = take_escape(o, &p);
			break;
		case '.': /* any but what ends a line */
			put_text(o, "[^\n\r]");
			something = true;
			break;
		case ']':
		case '}':
			put_plain(o, *p);
			something = true;
			break;
		default:
			put(o, *p);
			something = !strchr("^$|", *p);
		}
		if (why)
			return why;
	}
	return depth ? "a parenthesis is not closed" : NULL;
}

int mc_store_pattern(const char *pattern, char *out, size_t size)
{
	struct to o = { out, size ? out + size - 1 : out, false };
	const char *why = size ? translate(&o, pattern) : "there is no room for it";

	if (!why && o.full)
		why = "it is too long";
	if (why) {
		err_note("pattern %.200s: %s", pattern, why);
		return -EINVAL;
	}
	*o.at = 0;
	return 0;
}
