// SPDX-License-Identifier: Apache-2.0
/*
 * Regular expressions from strangers. glibc's matcher is linear in the key for what is regular, but back references make it
 * exponential, and its compiler copies what is repeated: "a++++++" doubles with each sign; and it follows every way through parts
 * that may be absent: "a?b?c?..." takes it seconds from some eighty on. So back references are refused, what grows too large when
 * repetitions are written out, repetitions piled on each other, and too many of them.
 */
#include <stdio.h>

#include "base/log.h"
#include "master.h"

#define GROWTH_MAX 1000 /* elements more than the pattern has characters, with repetitions written out */
#define SIGNS_MAX 32	/* of repetition */
#define DEPTH_MAX 100	/* of parentheses */
#define HEIGHT_MAX 3	/* repetitions of repetitions: "((a*)+)*" */

/* Skips "[...]"; @p is at the bracket. Return: its last character. */
static const char *skip_bracket(const char *p)
{
	p++;
	if (*p == '^')
		p++;
	if (*p == ']')
		p++;
	while (*p && *p != ']') {
		if (*p == '[' && (p[1] == ':' || p[1] == '.' || p[1] == '=')) {
			char kind = p[1];

			for (p += 2; *p && !(*p == kind && p[1] == ']'); p++)
				;
			if (!*p)
				return p - 1;
			p++;
		}
		p++;
	}
	return *p ? p : p - 1;
}

/* "{n}", "{n,}", "{n,m}": the larger number. */
static unsigned long bound(const char *p)
{
	char *end;
	unsigned long lo = strtoul(p + 1, &end, 10), hi = *end == ',' ? strtoul(end + 1, NULL, 10) : 0;

	hi = MAX(lo, hi);
	return hi ? hi : 1;
}

/* The pattern's size with repetitions written out, one level of parentheses at a time. */
struct level {
	unsigned long all, last; /* elements so far, of these in what a repetition sign would repeat */
	unsigned height, last_height;
};

static void element(struct level *l, unsigned long size, unsigned height)
{
	l->all += size;
	l->last = size;
	l->last_height = height;
}

static void repeat(struct level *l, unsigned long times)
{
	unsigned long more = 0;

	if (check_mul(l->last, times - 1, &more) || check_add(l->all, more, &l->all))
		l->all = GROWTH_MAX + PATTERN_MAX;
	l->last += more;
	l->last_height++;
	l->height = MAX(l->height, l->last_height);
}

static const char *refusal(const char *text)
{
	struct level level[DEPTH_MAX + 1] = { 0 }, *l = level;
	unsigned long most = GROWTH_MAX + strlen(text);
	unsigned signs = 0;

	for (const char *p = text; *p; p++) {
		signs += strchr("*?+{", *p) != NULL;
		if (*p == '\\' && p[1] >= '1' && p[1] <= '9')
			return "back references are not supported";
		if (*p == '(') {
			if (l == &level[DEPTH_MAX])
				return "its parentheses are more than 100 deep";
			*++l = (struct level){ 0 };
		} else if (*p == ')' && l > level) {
			l--;
			element(l, l[1].all + 1, l[1].height);
		} else if (*p == '+') {
			repeat(l, 2);
		} else if (*p == '*' || *p == '?') {
			repeat(l, 1);
			l->all++;
			l->last++;
		} else if (*p == '{') {
			repeat(l, bound(p));
		} else {
			if (*p == '[')
				p = skip_bracket(p);
			else if (*p == '\\' && p[1])
				p++;
			element(l, 1, 0);
		}
		if (l->all > most)
			return "its repetitions make it too large";
		if (signs > SIGNS_MAX)
			return "it has more than 32 repetitions";
		if (l->height > HEIGHT_MAX)
			return "it repeats repetitions of repetitions of repetitions";
	}
	return NULL;
}

int pattern_compile(const struct key *text, regex_t *out)
{
	char pat[PATTERN_MAX + 1], why[128];
	const char *no;
	int ret;

	if (text->len > PATTERN_MAX || memchr(text->data, 0, text->len)) {
		err_note("pattern of %u bytes: at most %u, none of them 0", text->len, PATTERN_MAX);
		return -EINVAL;
	}
	memcpy(pat, text->data, text->len);
	pat[text->len] = 0;
	no = refusal(pat);
	if (no) {
		err_note("pattern %s: %s", pat, no);
		return -EINVAL;
	}
	ret = regcomp(out, pat, REG_EXTENDED | REG_NOSUB);
	if (!ret)
		return 0;
	regerror(ret, out, why, sizeof(why));
	err_note("pattern %s: %s", pat, why);
	return ret == REG_ESPACE ? -ENOMEM : -EINVAL;
}

bool pattern_matches(const regex_t *re, const struct key *key)
{
	regmatch_t where = { .rm_so = 0, .rm_eo = key->len };
	char text[KEY_MAX + 1];

	if (key->len > KEY_MAX)
		return false;
	/* regexec() needs no terminator with REG_STARTEND, but the address sanitizer thinks so. */
	memcpy(text, key->data, key->len);
	text[key->len] = 0;
	return !regexec(re, text, 1, &where, REG_STARTEND);
}
