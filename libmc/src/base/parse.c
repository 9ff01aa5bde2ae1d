// SPDX-License-Identifier: Apache-2.0
/* Words that people write: sizes, durations, truth values, and what they may have meant. */
#include <ctype.h>
#include <strings.h>

#include "base/conf.h"

static const char *skip_blanks(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* @p is the unit with blanks around it, or nothing. Return: its factor, @without for nothing, 0 when it is unknown. */
static uint64_t unit_factor(const char *p, const struct unit *units, size_t nr, uint64_t without)
{
	size_t len;

	p = skip_blanks(p);
	len = strlen(p);
	while (len && (p[len - 1] == ' ' || p[len - 1] == '\t'))
		len--;
	if (!len)
		return without;
	for (size_t i = 0; i < nr; i++)
		if (strlen(units[i].name) == len && !strncasecmp(p, units[i].name, len))
			return units[i].factor;
	return 0;
}

static const struct unit size_units[] = {
	{ "b", 1 },
	{ "k", KiB },
	{ "kb", KiB },
	{ "kib", KiB },
	{ "m", MiB },
	{ "mb", MiB },
	{ "mib", MiB },
	{ "g", GiB },
	{ "gb", GiB },
	{ "gib", GiB },
	{ "t", 1024 * GiB },
	{ "tb", 1024 * GiB },
	{ "tib", 1024 * GiB },
};

/* A decimal number as digits * 10^exp10. Digits beyond what 64 bits hold are dropped behind the point, refused before. */
struct decimal {
	uint64_t digits;
	int exp10;
};

static int take_digits(const char **p, struct decimal *d, bool behind_point)
{
	bool full = false;

	if (!digit(**p))
		return -EINVAL;
	for (; digit(**p); (*p)++) {
		uint64_t next;

		if (full || check_mul(d->digits, (uint64_t)10, &next) ||
		    check_add(next, (uint64_t)(**p - '0'), &next)) {
			if (!behind_point)
				return -ERANGE;
			full = true;
			continue;
		}
		d->digits = next;
		d->exp10 -= behind_point;
	}
	return 0;
}

static int take_exponent(const char **p, struct decimal *d)
{
	const char *q = *p + 1;
	bool negative = *q == '-';
	int exp = 0;

	if (*q == '-' || *q == '+')
		q++;
	if (!digit(*q))
		return -EINVAL;
	for (; digit(*q); q++)
		exp = MIN(exp * 10 + (*q - '0'), 1000);
	d->exp10 += negative ? -exp : exp;
	*p = q;
	return 0;
}

static int take_decimal(const char **p, struct decimal *d)
{
	int ret;

	*d = (struct decimal){ 0 };
	ret = take_digits(p, d, false);
	if (ret)
		return ret;
	if (**p == '.') {
		(*p)++;
		ret = take_digits(p, d, true);
	}
	if (!ret && (**p == 'e' || **p == 'E'))
		ret = take_exponent(p, d);
	return ret;
}

/* digits * 10^exp10 * factor, rounded down. */
static int decimal_value(const struct decimal *d, uint64_t factor, uint64_t *out)
{
	unsigned __int128 v = (unsigned __int128)d->digits * factor;
	int exp = d->exp10;

	for (; exp < 0 && v; exp++)
		v /= 10;
	for (; exp > 0 && v; exp--) {
		if (v > UINT64_MAX / 10)
			return -ERANGE;
		v *= 10;
	}
	if (v > UINT64_MAX)
		return -ERANGE;
	*out = (uint64_t)v;
	return 0;
}

int parse_size(const char *text, uint64_t *out)
{
	const char *p = skip_blanks(text);
	struct decimal d;
	uint64_t factor;
	int ret;

	if (!strcmp(p, "infinite")) {
		*out = UINT64_MAX;
		return 0;
	}
	ret = take_decimal(&p, &d);
	if (ret)
		return ret;
	factor = unit_factor(p, size_units, ARRAY_SIZE(size_units), 1);
	return factor ? decimal_value(&d, factor, out) : -EINVAL;
}

int parse_duration_ns(const char *text, uint64_t unit_ns, uint64_t *out)
{
	static const struct unit units[] = {
		{ "ns", 1 },	      { "us", 1000 },	     { "ms", 1000000 },
		{ "s", 1000000000u }, { "m", 60000000000u }, { "h", 3600000000000u },
	};
	const char *p = skip_blanks(text);
	struct decimal d = { 0 };
	uint64_t factor;
	int ret;

	ret = take_digits(&p, &d, false);
	if (ret)
		return ret;
	factor = unit_factor(p, units, ARRAY_SIZE(units), unit_ns ? unit_ns : 1000000);
	if (!factor)
		return -EINVAL;
	return check_mul(d.digits, factor, out) ? -ERANGE : 0;
}

int parse_bool(const char *text, bool *out)
{
	static const char *const words[2][7] = {
		{ "false", "0", "no", "off", "disable", "f", "n" },
		{ "true", "1", "yes", "on", "enable", "t", "y" },
	};

	for (int v = 0; v < 2; v++)
		for (size_t i = 0; i < ARRAY_SIZE(words[v]); i++)
			if (!strcasecmp(text, words[v][i])) {
				*out = v;
				return 0;
			}
	return -EINVAL;
}

/* ---- what they may have meant ---- */

#define WORD_MAX 64

/* Insertions, deletions and replacements from @a to @b (Wagner and Fischer), for words up to WORD_MAX. */
static size_t edits(const char *a, const char *b)
{
	size_t len_a = strlen(a), len_b = strlen(b);
	size_t row[WORD_MAX + 1];

	if (len_a > WORD_MAX || len_b > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= len_b; j++)
		row[j] = j;
	for (size_t i = 1; i <= len_a; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= len_b; j++) {
			size_t replace = diagonal + (tolower((unsigned char)a[i - 1]) !=
						     tolower((unsigned char)b[j - 1]));

			diagonal = row[j];
			row[j] = MIN(row[j], row[j - 1]) + 1;
			row[j] = MIN(row[j], replace);
		}
	}
	return row[len_b];
}

const char *suggest(const char *word, const char *const *candidates, size_t nr)
{
	const char *best = NULL;
	size_t best_edits = 3;

	for (size_t i = 0; i < nr; i++) {
		size_t n = candidates[i] ? edits(word, candidates[i]) : WORD_MAX;

		/* A word with every letter replaced is another word. */
		if (n < best_edits && n < strlen(word) && n < strlen(candidates[i])) {
			best = candidates[i];
			best_edits = n;
		}
	}
	return best;
}

bool list_has(const char *list, const char *word)
{
	size_t len = strlen(word);

	if (!list || !*list)
		return true;
	while (*list) {
		size_t n = strcspn(list, ", \t");

		if (n == len && !memcmp(list, word, len))
			return true;
		list += n;
		list += strspn(list, ", \t");
	}
	return false;
}
