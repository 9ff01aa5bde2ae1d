// SPDX-License-Identifier: Apache-2.0
/* Regular expressions from strangers: what is refused, what matches, and that none takes long. */
#include "../../daemon/master/master.h"

#include "mctest.h"

static int compile(const char *text)
{
	struct key k = { text, (uint16_t)strlen(text) };
	regex_t re;
	int ret = pattern_compile(&k, &re);

	if (!ret)
		regfree(&re);
	return ret;
}

static bool matches(const char *text, const char *key)
{
	struct key t = { text, (uint16_t)strlen(text) }, k = { key, (uint16_t)strlen(key) };
	regex_t re;
	bool ret;

	if (pattern_compile(&t, &re))
		return false;
	ret = pattern_matches(&re, &k);
	regfree(&re);
	return ret;
}

TEST(what_is_refused)
{
	struct key nul = { "a\0b", 3 };
	char big[PATTERN_MAX + 2];
	regex_t re;

	EXPECT_EQ(compile("("), -EINVAL);
	EXPECT_EQ(compile("[a"), -EINVAL);
	EXPECT_EQ(compile("[[:nosuch:]]"), -EINVAL);
	EXPECT_EQ(compile("[[:"), -EINVAL);
	EXPECT_EQ(compile("(a)\\1"), -EINVAL);
	EXPECT_EQ(compile("a{1020}"), -EINVAL);
	EXPECT_EQ(compile("(((a{20}){20}){20}){20}"), -EINVAL);
	EXPECT_EQ(compile("a{1,99999999999999999999}"), -EINVAL);
	EXPECT_EQ(compile("a++++++++++++++++++++++++++++++++"), -EINVAL);
	EXPECT_EQ(compile("((((((((((a+)+)+)+)+)+)+)+)+)+)+"), -EINVAL);
	EXPECT_EQ(compile("a*****+***+b"), -EINVAL);
	EXPECT_EQ(compile("a?b?c?d?e?f?g?h?i?j?k?l?m?n?o?p?q?r?s?t?u?v?w?x?y?z?1?2?3?4?5?6?7?"), -EINVAL);
	EXPECT_EQ(compile("((((a*)*)*)*)*b"), -EINVAL);
	EXPECT_EQ(compile("(a+){500}|(b+){500}"), -EINVAL);
	EXPECT_EQ(pattern_compile(&nul, &re), -EINVAL);
	memset(big, 'a', sizeof(big));
	EXPECT_EQ(pattern_compile(&(struct key){ big, PATTERN_MAX + 1 }, &re), -EINVAL);
	EXPECT_EQ(pattern_compile(&(struct key){ big, PATTERN_MAX }, &re), 0);
	regfree(&re);
}

TEST(what_is_taken)
{
	EXPECT_EQ(compile("a{1,1000}"), 0);
	EXPECT_EQ(compile("a+b+c+d+e+f+g+h+i+j+k+l+(m+n+)+"), 0);
	EXPECT_EQ(compile("[\\1]{3}"), 0); /* in brackets a backslash is itself */
	EXPECT_EQ(compile("[]{9999]"), 0);
	EXPECT_EQ(compile("[[:alpha:]{9]+"), 0);
	EXPECT_EQ(compile("\\\\1"), 0); /* a backslash, then a digit */
	EXPECT_TRUE(matches("^block-[0-9]+$", "block-17"));
	EXPECT_TRUE(!matches("^block-[0-9]+$", "block-17x"));
	EXPECT_TRUE(matches("17", "block-17x")); /* searched, not anchored */
}

TEST(keys_are_bytes)
{
	struct key t = { "b$", 2 }, k = { "a\0b", 3 }; /* the search does not end at 0 */
	regex_t re;

	ASSERT_EQ(pattern_compile(&t, &re), 0);
	EXPECT_TRUE(pattern_matches(&re, &k));
	regfree(&re);
}

TEST(none_takes_long)
{
	static const char *const nasty[] = { "(a*)*b", "(a|aa)+$", "(a|b|ab)*c", "(.*)(.*)(.*)(.*)(.*)x", "(x+x+)+y",
					     "((a*)*)*b" };
	static char key[KEY_MAX + 1];
	uint64_t start = clock_now_ns();

	memset(key, 'a', KEY_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(nasty); i++)
		EXPECT_TRUE(!matches(nasty[i], key) || i == 1);
	EXPECT_LE((int64_t)(clock_now_ns() - start), (int64_t)(2 * NSEC_PER_SEC));
}
