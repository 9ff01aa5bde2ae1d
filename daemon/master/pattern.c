// SPDX-License-Identifier: Apache-2.0
/*
 * Regular expressions from strangers. glibc's matcher is linear in the key for what is regular; back references make it
 * exponential, and nested repetition counts make compiling so: both are refused.
 */
#include <stdio.h>

#include "base/log.h"
#include "master.h"

#define REPEAT_MAX 1000 /* product of all upper bounds */

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

static const char *refusal(const char *text)
{
	unsigned long repeats = 1;

	for (const char *p = text; *p; p++) {
		if (*p == '\\' && p[1] >= '1' && p[1] <= '9')
			return "back references are not supported";
		if (*p == '\\' && p[1])
			p++;
		else if (*p == '[')
			p = skip_bracket(p);
		else if (*p == '{' && (check_mul(repeats, bound(p), &repeats) || repeats > REPEAT_MAX))
			return "its repetition counts multiply to more than 1000";
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

	return !regexec(re, key->data, 1, &where, REG_STARTEND);
}
