// SPDX-License-Identifier: Apache-2.0
/* Sizes, durations, truth values, suggestions. */
#include "mctest.h"

#include "base/conf.h"

TEST(sizes)
{
	static const struct {
		const char *text;
		uint64_t want;
	} good[] = {
		{ "0", 0 },
		{ "17", 17 },
		{ " 4gb ", 4 * GiB },
		{ "4 GB", 4 * GiB },
		{ "64 MiB", 64 * MiB },
		{ "1e9", 1000000000 },
		{ "1.5k", 1536 },
		{ "0.5 g", GiB / 2 },
		{ "16777216", 16777216 },
		{ "1T", 1024 * GiB },
		{ "2.5e3 b", 2500 },
		{ "1e-3kb", 1 },
		{ "infinite", UINT64_MAX },
		{ "18446744073709551615", UINT64_MAX },
		{ "0.33333333333333333333333333kb", 341 },
		{ "12E2", 1200 },
		{ "5\tm", 5 * MiB },
		{ "0e99", 0 },
		{ "1e-9999", 0 },
	};
	static const char *const bad[] = { "",	       " ",	      "gb",    "50%", "-1",
					   "1x",       "1 k b",	      "1.",    ".5",  "1e",
					   "1e+",      "0x10",	      "k1",    "inf", "nan",
					   "Infinite", "infinite gb", "1.5.2", "+5",  "4gbb" };
	static const char *const large[] = { "18446744073709551616", "20000000t", "1e20", "1e9999",
					     "16777216t" };
	uint64_t v;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		v = 99;
		EXPECT_EQ(parse_size(good[i].text, &v), 0);
		if (v != good[i].want)
			MCTEST_FAIL("\"%s\" is %" PRIu64 ", not %" PRIu64, good[i].text, v,
				    good[i].want);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		v = 99;
		if (parse_size(bad[i], &v) != -EINVAL || v != 99)
			MCTEST_FAIL("\"%s\" was taken", bad[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(large); i++)
		if (parse_size(large[i], &v) != -ERANGE)
			MCTEST_FAIL("\"%s\" was taken", large[i]);
}

TEST(durations)
{
	uint64_t v = 0;

	EXPECT_EQ(parse_duration_ns("10000", 0, &v), 0);
	EXPECT_EQ(v, 10000000000u);
	EXPECT_EQ(parse_duration_ns("10", 1000000000u, &v), 0);
	EXPECT_EQ(v, 10000000000u);
	EXPECT_EQ(parse_duration_ns(" 500 MS ", 0, &v), 0);
	EXPECT_EQ(v, 500000000u);
	EXPECT_EQ(parse_duration_ns("5m", 0, &v), 0);
	EXPECT_EQ(v, 300000000000u);
	EXPECT_EQ(parse_duration_ns("2h", 0, &v), 0);
	EXPECT_EQ(v, 7200000000000u);
	EXPECT_EQ(parse_duration_ns("7us", 0, &v), 0);
	EXPECT_EQ(v, 7000u);
	EXPECT_EQ(parse_duration_ns("-1", 0, &v), -EINVAL);
	EXPECT_EQ(parse_duration_ns("1.5s", 0, &v), -EINVAL);
	EXPECT_EQ(parse_duration_ns("", 0, &v), -EINVAL);
	EXPECT_EQ(parse_duration_ns("s", 0, &v), -EINVAL);
	EXPECT_EQ(parse_duration_ns("1 day", 0, &v), -EINVAL);
	EXPECT_EQ(parse_duration_ns("1s2", 0, &v), -EINVAL);
	EXPECT_EQ(parse_duration_ns("99999999999999999999", 0, &v), -ERANGE);
	EXPECT_EQ(parse_duration_ns("18446744073709551615h", 0, &v), -ERANGE);
}

TEST(bools)
{
	static const char *const yes[] = { "true", "1", "Yes", "ON", "enable", "t" };
	static const char *const no[] = { "false", "0", "No", "OFF", "disable", "n" };
	static const char *const bad[] = { "", "2", "tru", "yess", " true" };
	bool v;

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		v = false;
		EXPECT_EQ(parse_bool(yes[i], &v), 0);
		EXPECT_TRUE(v);
	}
	for (size_t i = 0; i < ARRAY_SIZE(no); i++) {
		v = true;
		EXPECT_EQ(parse_bool(no[i], &v), 0);
		EXPECT_TRUE(!v);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(parse_bool(bad[i], &v), -EINVAL);
}

TEST(suggestions)
{
	static const char *const known[] = { "rpc_port", "metrics_port", "port",
					     NULL,	 "enable_ha",	 "v" };

	EXPECT_STREQ(suggest("rpc_prot", known, ARRAY_SIZE(known)), "rpc_port");
	EXPECT_STREQ(suggest("metricsport", known, ARRAY_SIZE(known)), "metrics_port");
	EXPECT_STREQ(suggest("PORT", known, ARRAY_SIZE(known)), "port");
	EXPECT_STREQ(suggest("pot", known, ARRAY_SIZE(known)), "port");
	EXPECT_TRUE(!suggest("something", known, ARRAY_SIZE(known)));
	EXPECT_TRUE(!suggest("x", known, ARRAY_SIZE(known)));
	EXPECT_TRUE(!suggest("", known, ARRAY_SIZE(known)));
	EXPECT_TRUE(!suggest("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			     "aaaaaaaaaaaaaaaaaaaaaaaaa",
			     known, ARRAY_SIZE(known)));
}
