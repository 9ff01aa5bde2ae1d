// SPDX-License-Identifier: Apache-2.0
/* Expressions of ECMAScript, put into POSIX's words: what they find, and which are refused. */
#include <mooncake/compat.h>

#include "base/pattern.h"

#include "mctest.h"

/* 1 found, 0 not, negative: refused. */
static int search(const char *pattern, const char *text)
{
	char posix[4097];
	struct pattern *p;
	int ret = mc_store_pattern(pattern, posix, sizeof(posix));

	if (!ret)
		ret = pattern_open(posix, strlen(posix), &p);
	if (ret)
		return ret;
	ret = pattern_find(p, text, strlen(text));
	pattern_close(p);
	return ret;
}

static const struct {
	const char *pattern, *yes, *no;
} found[] = {
	{ "", "anything", NULL },
	{ "abc", "xabcx", "ab" },
	{ "^a$", "a", "ba" },
	{ "^e\\d+$", "e12", "ex" },
	{ "\\D", "a1", "11" },
	{ "^\\w+\\s\\S$", "ab c", "ab  " },
	{ "\\bfoo\\b", "a foo b", "afoo" },
	{ "(?:ab)+c", "xababc", "ac" },
	{ "(?<year>\\d{4})-", "2026-", "206-" },
	{ "a{2,3}?b", "caab", "cab" },
	{ "a.*?b", "azzb", "azz" },
	{ "a.b", "a.b", "a\nb" },
	{ "x+?y??z", "xz", "yz" },
	{ "a\\.b", "a.b", "axb" },
	{ "a\\/b\\-c\\<d", "a/b-c<d", "ab-c" },
	{ "\\x41\\u0042\\cA?", "AB", "A" },
	{ "\\x2eb", ".b", "ab" },
	{ "\\t", "a\tb", "atb" },
	{ "[a-c]+d", "abcd", "d" },
	{ "^[^a-c]$", "d", "b" },
	{ "^[\\d]$", "7", "d" },
	{ "^[\\w.]+$", "a_1.", "a-" },
	{ "^[\\]]$", "]", "\\" },
	{ "^[\\^]$", "^", "\\" },
	{ "^[\\^a]$", "^", "\\" },
	{ "^[\\-^]$", "^", "]" },
	{ "^[\\-^]$", "-", "a" },
	{ "^[a\\-c]$", "-", "b" },
	{ "^[a-]$", "-", "b" },
	{ "^[-a]$", "-", "b" },
	{ "^[a-c-e]$", "-", "d" },
	{ "^[\\\\]$", "\\", "a" },
	{ "^[\\x41-\\x43]$", "B", "D" },
	{ "^[^\\]]$", "a", "]" },
	{ "^[[:digit:]x]$", "5", "y" },
	{ "^[*+?(){}|$.]$", "*", "a" },
	{ "a|b", "b", "c" },
	{ "}]", "}]", "]" },
};

TEST(what_they_find)
{
	for (unsigned i = 0; i < sizeof(found) / sizeof(found[0]); i++) {
		if (search(found[i].pattern, found[i].yes) != 1)
			MCTEST_FAIL("%s: not found in %s", found[i].pattern, found[i].yes);
		if (found[i].no && search(found[i].pattern, found[i].no) != 0)
			MCTEST_FAIL("%s: found in %s, or refused", found[i].pattern, found[i].no);
	}
}

TEST(what_is_refused)
{
	static const char *const bad[] = { "(", ")", "a)", "(a", "[", "[]", "[^]", "[a", "*a", "+", "a**", "(*a)", "|?", "^*", "\\",
					   "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", "(?<a", "(?x", "(a)\\1", "\\x4", "\\u00e4", "\\x00",
					   "[\\D]", "[a-\\d]", "[\\]-a]", "[a-\\]]", "[\\", "[\\x", "\\0" };
	char small[4];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (search(bad[i], "a") >= 0)
			MCTEST_FAIL("%s is accepted", bad[i]);
	EXPECT_EQ(mc_store_pattern("abc", small, sizeof(small)), 0);
	EXPECT_STREQ(small, "abc");
	EXPECT_EQ(mc_store_pattern("abcd", small, sizeof(small)), -22);
	EXPECT_EQ(mc_store_pattern("", small, 0), -22);
	EXPECT_TRUE(strstr(mc_last_error(), "no room"));
}
