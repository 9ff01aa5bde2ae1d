/* SPDX-License-Identifier: Apache-2.0 */
/* What is said to etcd's gateway, to the byte, and what it answers: as version 3.4 does, and malformed. */
#include "mctest.h"

#include "proto/etcd.h"

static bool says(struct buf *b, const char *want)
{
	bool same = !b->err && b->len == strlen(want) && !memcmp(b->data, want, b->len);

	if (!same)
		printf("# %.*s\n", (int)b->len, (char *)b->data);
	buf_fini(b);
	return same;
}

TEST(requests)
{
	struct buf b = BUF_INIT;

	etcd_encode_put(&b, "mooncake/ram/a", "{}\n", 3, 0);
	EXPECT_TRUE(says(&b, "{\"key\":\"bW9vbmNha2UvcmFtL2E=\",\"value\":\"e30K\"}"));
	etcd_encode_put(&b, "k", "v", 1, 7587854321);
	EXPECT_TRUE(says(&b, "{\"key\":\"aw==\",\"value\":\"dg==\",\"lease\":\"7587854321\"}"));
	etcd_encode_key(&b, "k");
	EXPECT_TRUE(says(&b, "{\"key\":\"aw==\"}"));
	etcd_encode_grant(&b, 30);
	EXPECT_TRUE(says(&b, "{\"TTL\":\"30\"}"));
	etcd_encode_lease(&b, INT64_MAX);
	EXPECT_TRUE(says(&b, "{\"ID\":\"9223372036854775807\"}"));
	etcd_encode_login(&b, "me", "a\"b\\");
	EXPECT_TRUE(says(&b, "{\"name\":\"me\",\"password\":\"a\\\"b\\\\\"}"));
}

static int value(const char *answer, const char *want)
{
	struct buf b = BUF_INIT;
	int ret = etcd_decode_value(answer, strlen(answer), &b);

	if (!ret && (b.len != strlen(want) || (b.len && memcmp(b.data, want, b.len))))
		ret = 1;
	buf_fini(&b);
	return ret;
}

TEST(values)
{
	EXPECT_EQ(value("{\"header\":{\"revision\":\"3\"},\"kvs\":[{\"key\":\"aw==\",\"value\":"
			"\"e30K\"}],\"count\":\"1\"}",
			"{}\n"),
		  0);
	EXPECT_EQ(value("{\"header\":{\"revision\":\"3\"}}", ""), -ENOENT);
	EXPECT_EQ(value("{\"kvs\":[]}", ""), -ENOENT);
	EXPECT_EQ(value("{\"kvs\":[{\"key\":\"aw==\"}]}", ""), 0); /* it leaves out what is empty */
	EXPECT_EQ(value("{\"kvs\":{}}", ""), -EBADMSG);
	EXPECT_EQ(value("{\"kvs\":[3]}", ""), -EBADMSG);
	EXPECT_EQ(value("{\"kvs\":[{\"value\":\"e30\"}]}", ""), -EBADMSG);
	EXPECT_EQ(value("{\"kvs\":[{\"value\":7}]}", ""), -EBADMSG);
	EXPECT_EQ(value("", ""), -EBADMSG);
}

#define DECODE(f, text, ...) f(text, strlen(text), ##__VA_ARGS__)

TEST(the_rest)
{
	char token[ETCD_TOKEN_MAX], why[256];
	int64_t lease = 0;

	EXPECT_EQ(DECODE(etcd_decode_deleted, "{\"header\":{},\"deleted\":\"1\"}"), 0);
	EXPECT_EQ(DECODE(etcd_decode_deleted, "{\"header\":{}}"), -ENOENT);
	EXPECT_EQ(DECODE(etcd_decode_deleted, "{\"deleted\":\"x\"}"), -EBADMSG);
	EXPECT_EQ(DECODE(etcd_decode_grant, "{\"ID\":\"7587854321\",\"TTL\":\"30\"}", &lease), 0);
	EXPECT_TRUE(lease == 7587854321);
	EXPECT_EQ(DECODE(etcd_decode_grant, "{\"TTL\":\"30\"}", &lease), -EBADMSG);
	EXPECT_EQ(DECODE(etcd_decode_grant, "{\"ID\":\"99999999999999999999\"}", &lease), -EBADMSG);
	EXPECT_EQ(DECODE(etcd_decode_alive, "{\"result\":{\"ID\":\"5\",\"TTL\":\"30\"}}"), 0);
	EXPECT_EQ(DECODE(etcd_decode_alive, "{\"result\":{\"ID\":\"5\"}}"), -ENOENT);
	EXPECT_EQ(DECODE(etcd_decode_alive, "{\"error\":\"x\"}"), -EBADMSG);
	EXPECT_EQ(DECODE(etcd_decode_token, "{\"token\":\"abc.1\"}", token), 0);
	EXPECT_STREQ(token, "abc.1");
	EXPECT_EQ(DECODE(etcd_decode_token, "{\"token\":\"a\\nHost: b\"}", token), -EBADMSG);
	EXPECT_EQ(DECODE(etcd_decode_token, "{}", token), -EBADMSG);
	DECODE(etcd_decode_error, "{\"error\":\"e\",\"message\":\"m\",\"code\":3}", why);
	EXPECT_STREQ(why, "m");
	DECODE(etcd_decode_error, "<html>", why);
	EXPECT_STREQ(why, "");
}
