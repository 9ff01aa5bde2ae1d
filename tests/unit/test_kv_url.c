/* SPDX-License-Identifier: Apache-2.0 */
/* Where a metadata database is, as callers write it. */
#include "mctest.h"

#include "meta/kv.h"

TEST(good_ones)
{
	struct kv_url u;

	ASSERT_EQ(kv_url_parse("etcd-0:2379;etcd-1,[::1]:99;http://etcd-2:1", 2379, &u), 0);
	ASSERT_EQ(u.nr_hosts, 4);
	EXPECT_STREQ(u.hosts[0], "etcd-0:2379");
	EXPECT_STREQ(u.hosts[1], "etcd-1:2379");
	EXPECT_STREQ(u.hosts[2], "[::1]:99");
	EXPECT_STREQ(u.hosts[3], "etcd-2:1");
	EXPECT_STREQ(u.user, "");
	EXPECT_STREQ(u.password, "");
	kv_url_fini(&u);
	ASSERT_EQ(kv_url_parse("me:a%40b%3a/@host/7", 6379, &u), 0);
	ASSERT_EQ(u.nr_hosts, 1);
	EXPECT_STREQ(u.hosts[0], "host:6379");
	EXPECT_STREQ(u.user, "me");
	EXPECT_STREQ(u.password, "a@b:/");
	EXPECT_STREQ(u.path, "7");
	kv_url_fini(&u);
	ASSERT_EQ(kv_url_parse(":only@h:1", 6379, &u), 0);
	EXPECT_STREQ(u.user, "");
	EXPECT_STREQ(u.password, "only");
	kv_url_fini(&u);
}

TEST(bad_ones)
{
	static const char *const bad[] = {
		"",    ";",	  "/3",	  ":1",	   "h:",
		"h:0", "h:65536", "h:1x", "h:-1",  "[::1",
		"[]",  "[::1]x",  "%4@h", "%00@h", "a;b;c;d;e;f;g;h;i;j;k;l;m;n;o;p;q"
	};
	struct kv_url u;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (kv_url_parse(bad[i], 1, &u) != -EINVAL)
			MCTEST_FAIL("\"%s\" passed", bad[i]);
}

TEST(without_a_scheme)
{
	EXPECT_TRUE(kv_url_is_bare("127.0.0.1:2379"));
	EXPECT_TRUE(kv_url_is_bare("a:1;b:2"));
	EXPECT_TRUE(!kv_url_is_bare("P2PHANDSHAKE"));
	EXPECT_TRUE(!kv_url_is_bare("zk://a:1"));
	EXPECT_TRUE(!kv_url_is_bare(""));
	EXPECT_TRUE(!kv_url_is_bare(":1"));
	EXPECT_TRUE(!kv_url_is_bare("C:drive"));
}
