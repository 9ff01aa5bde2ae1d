// SPDX-License-Identifier: Apache-2.0
/* Regular expressions from strangers: what is refused, what is found, as libc finds it, and that none takes long. */
#include <regex.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/pattern.h"
#include "proto/proto.h"

#include "mctest.h"

static int compile(const char *text)
{
	struct pattern *p;
	int ret = pattern_open(text, strlen(text), &p);

	if (!ret)
		pattern_close(p);
	return ret;
}

/* 1, 0, or why not. */
static int found(const char *text, const char *key)
{
	struct pattern *p;
	int ret = pattern_open(text, strlen(text), &p);

	if (ret)
		return ret;
	ret = pattern_find(p, key, strlen(key));
	pattern_close(p);
	return ret;
}

static bool matches(const char *text, const char *key)
{
	return found(text, key) == 1;
}

TEST(what_is_refused)
{
	char big[PATTERN_MAX + 2], deep[103];
	struct pattern *p;

	EXPECT_EQ(compile("("), -EINVAL);
	EXPECT_EQ(compile("[a"), -EINVAL);
	EXPECT_EQ(compile("[[:nosuch:]]"), -EINVAL);
	EXPECT_EQ(compile("[[:"), -EINVAL);
	EXPECT_EQ(compile("[b-a]"), -EINVAL);
	EXPECT_EQ(compile("[a-[:digit:]]"), -EINVAL);
	EXPECT_EQ(compile("a{2"), -EINVAL);
	EXPECT_EQ(compile("a{3,2}"), -EINVAL);
	EXPECT_EQ(compile("a{}"), -EINVAL);
	EXPECT_EQ(compile("*a"), -EINVAL);
	EXPECT_EQ(compile("a|+"), -EINVAL);
	EXPECT_EQ(compile("^*"), -EINVAL);
	EXPECT_EQ(compile("a\\"), -EINVAL);
	EXPECT_EQ(compile("(a)\\1"), -EINVAL);
	EXPECT_TRUE(strstr(err_text(), "back references"));
	EXPECT_EQ(compile("a{1020}"), -EINVAL);
	EXPECT_EQ(compile("(((a{20}){20}){20}){20}"), -EINVAL);
	EXPECT_EQ(compile("((((a{0,9}){0,9}){0,9}){0,9}){0,9}"), -EINVAL);
	EXPECT_EQ(compile("(((((^|)*){999}){999}){999}){999}"), -EINVAL);
	EXPECT_EQ(compile("((\\b){999}){999}"), -EINVAL);
	EXPECT_EQ(compile("a{1,99999999999999999999}"), -EINVAL);
	EXPECT_EQ(pattern_open("a\0b", 3, &p), -EINVAL);
	memset(big, 'a', sizeof(big));
	EXPECT_EQ(pattern_open(big, PATTERN_MAX + 1, &p), -EINVAL);
	ASSERT_EQ(pattern_open(big, PATTERN_MAX, &p), 0);
	pattern_close(p);
	memset(deep, '(', sizeof(deep));
	EXPECT_EQ(pattern_open(deep, sizeof(deep), &p), -EINVAL);
	EXPECT_TRUE(strstr(err_text(), "100 deep"));
}

TEST(what_is_taken)
{
	EXPECT_EQ(compile("a{1,1000}"), 0);
	EXPECT_EQ(compile("a+b+c+d+e+f+g+h+i+j+k+l+(m+n+)+"), 0);
	EXPECT_EQ(compile("[\\1]{3}"), 0); /* in brackets a backslash is itself */
	EXPECT_EQ(compile("[]{9999]"), 0);
	EXPECT_EQ(compile("[[:alpha:]{9]+"), 0);
	EXPECT_EQ(compile("\\\\1"), 0); /* a backslash, then a digit */
	EXPECT_EQ(compile("((((()*){999}){999}){999}){999}"), 0);
	EXPECT_TRUE(matches("^block-[0-9]+$", "block-17"));
	EXPECT_TRUE(!matches("^block-[0-9]+$", "block-17x"));
	EXPECT_TRUE(matches("17", "block-17x")); /* searched, not anchored */
}

TEST(what_is_found)
{
	static const struct {
		const char *pattern, *yes, *no;
	} t[] = {
		{ "", "", NULL },
		{ "^$", "", "a" },
		{ "a|bc|", "", NULL },
		{ "^(a|bc|def)$", "def", "ab" },
		{ "^(|a|b)c$", "c", "abc" },
		{ "^a{3}$", "aaa", "aa" },
		{ "^a{2,}$", "aaaa", "a" },
		{ "^a{,2}$", "", "aaa" },
		{ "^a{,}b$", "aaab", "ac" },
		{ "^a{0,3}$", "aaa", "aaaa" },
		{ "^a{2,4}b$", "aaaab", "aaaaab" },
		{ "^ca{0}b$", "cb", "cab" },
		{ "^(ab){1,2}c$", "ababc", "abababc" },
		{ "^((a|b){2}c){2}$", "abcbac", "abcac" },
		{ "^(a?){3}$", "aa", "aaaa" },
		{ "^a+?$", "", "b" },
		{ "^a{2}{2}$", "aaaa", "aaa" },
		{ "^a{2}*$", "aaaa", "aaa" },
		{ "^(a*)*$", "aaa", "ab" },
		{ "a)b", "a)b", "ab" },
		{ "[]a]b", "]b", "b" },
		{ "[^]a]b", "xb", "]b" },
		{ "^[a-c-]$", "-", "d" },
		{ "^[--/]$", ".", "0" },
		{ "^[[:upper:][:digit:]_]$", "Q", "q" },
		{ "^[[.-.]x]$", "-", "." },
		{ "^[[=a=]]$", "a", "=" },
		{ "^[a\\]$", "\\", "]" },
		{ "a.c", "a\nc", "ac" },
		{ "^\\w+\\W\\s\\S$", "ab- c", "ab  " },
		{ "\\bfoo\\B", "a food", "a foo" },
		{ "\\<foo\\>", "a foo.", "afoo" },
		{ "\\`a\\'", "a", "ab" },
		{ "a\\.b\\{", "a.b{", "axb{" },
		{ "a^b", "", "a^b" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		if (*t[i].yes && found(t[i].pattern, t[i].yes) != 1)
			MCTEST_FAIL("%s: not found in %s", t[i].pattern, t[i].yes);
		if (t[i].no && found(t[i].pattern, t[i].no) != 0)
			MCTEST_FAIL("%s: found in %s, or refused", t[i].pattern, t[i].no);
	}
	EXPECT_EQ(found("", ""), 1);
	EXPECT_EQ(found("^$", ""), 1);
	EXPECT_EQ(found("\\b", ""), 0);
}

/* Short ones, of which libc has an opinion too: by the sanitizer's side, or not, they are the same. */
TEST(what_libc_finds)
{
	static const char *const parts[] = { "a", "b", "-", ".", "*", "+", "?", "|", "(", ")", "^", "$", "[ab]", "[^a-]", "{2}", "{1,2}",
					     "{0,1}", "{2,}", "\\w", "\\W", "\\b", "\\B", "\\<", "\\>", "[[:alpha:]-]", "((a|b)*b)", "(a)" };
	unsigned both = 0, hits = 0;
	uint32_t r = 1;

	for (unsigned n = 0; n < 20000; n++) {
		char text[64] = "", key[12] = "";
		int mine;
		regex_t re;

		for (r = r * 1664525 + 1013904223; strlen(text) < (r >> 24) % 20; r = r * 1664525 + 1013904223)
			strcat(text, parts[(r >> 8) % ARRAY_SIZE(parts)]);
		if (regcomp(&re, text, REG_EXTENDED | REG_NOSUB))
			continue;
		for (unsigned k = 0; k < 20; k++) {
			for (size_t i = 0; i < sizeof(key) - 1; i++) {
				r = r * 1664525 + 1013904223;
				key[i] = "aabb-"[(r >> 24) % 5];
			}
			key[(r >> 12) % sizeof(key)] = 0;
			mine = found(text, key);
			if (mine < 0)
				MCTEST_FAIL("%s: refused, not by libc", text);
			if (mine != !regexec(&re, key, 0, NULL, 0))
				MCTEST_FAIL("%s: %d for %s, not for libc", text, mine, key);
			both++;
			hits += mine;
		}
		regfree(&re);
	}
	EXPECT_GT(both, 50000u);
	EXPECT_GT(hits, both / 10);
	EXPECT_LT(hits, both);
}

TEST(keys_are_bytes)
{
	struct pattern *p;

	ASSERT_EQ(pattern_open("^a.b$", 5, &p), 0);
	EXPECT_TRUE(pattern_find(p, "a\0b", 3)); /* the search does not end at 0 */
	EXPECT_TRUE(pattern_find(p, "a\377b", 3));
	EXPECT_TRUE(!pattern_find(p, "a\0bc", 4));
	EXPECT_TRUE(!pattern_find(p, NULL, 0));
	pattern_close(p);
}

TEST(none_takes_long)
{
	static const char *const nasty[] = {
		"(a*)*b", "(a|aa)+$", "(a|b|ab)*c", "(.*)(.*)(.*)(.*)(.*)x", "(x+x+)+y", "((a*)*)*b", "[ab]*a[ab]{900}c", "(a|b)*a(a|b){100}c",
		"a++++++++++++++++++++++++++++++++b", "((((((((((a+)+)+)+)+)+)+)+)+)+)+b", "a*****+***+b", "(a+){300}c|(b+){300}d",
		"a?b?c?d?e?f?g?h?i?j?k?l?m?n?o?p?q?r?s?t?u?v?w?x?y?z?1?2?3?4?5?6?7?8Z", "((((a*)*)*)*)*c", "a.*a.*a.*a.*c",
	};
	static char key[KEY_MAX + 1], mixed[KEY_MAX + 1];
	uint64_t start = clock_now_ns();
	uint32_t r = 1;

	memset(key, 'a', KEY_MAX);
	for (size_t i = 0; i < KEY_MAX; i++)
		mixed[i] = "ab"[(r = r * 1664525 + 1013904223) >> 31];
	for (size_t i = 0; i < ARRAY_SIZE(nasty); i++) {
		EXPECT_TRUE(matches(nasty[i], key) == (i == 1));
		EXPECT_GE(found(nasty[i], mixed), 0);
	}
	EXPECT_LE((int64_t)(clock_now_ns() - start), (int64_t)(2 * NSEC_PER_SEC));
}
