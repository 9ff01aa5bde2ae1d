// SPDX-License-Identifier: Apache-2.0
/* mooncake-metadata as a program: the HTTP contract, and what outlives a restart. */
#include "mctest.h"

#include "integration/master_rig.h"

#pragma GCC diagnostic ignored "-Wsign-compare" /* plain numbers beside counters */

static int http(const struct rig *r, const char *method, const char *key, const char *body, struct buf *out)
{
	struct buf url = BUF_INIT;
	int ret;

	buf_reset(out);
	buf_printf(&url, "http://127.0.0.1:%u/metadata", r->port);
	if (key) {
		buf_printf(&url, "?key=");
		http_escape(key, &url);
	}
	buf_put_u8(&url, 0);
	ret = http_request(method, (char *)url.data, "application/json", body, body ? strlen(body) : 0, 32 * MiB, SOON, out);
	buf_fini(&url);
	return ret;
}

static bool is(const struct buf *b, const char *text)
{
	return b->len == strlen(text) && !memcmp(b->data, text, b->len);
}

static int start(struct rig *r, const char *file)
{
	const char *argv[] = { "mooncake-metadata", "--port=0", file, NULL };
	int ret = rig_start(r, argv);

	if (ret)
		MCTEST_FAIL("the metadata server did not start: %d\n%s", ret, r->said);
	return ret;
}

TEST(the_contract)
{
	struct buf b = BUF_INIT;
	struct rig r;

	if (start(&r, NULL))
		return;
	EXPECT_EQ(http(&r, "GET", NULL, NULL, &b), 400);
	EXPECT_TRUE(is(&b, "Missing key parameter"));
	EXPECT_EQ(http(&r, "GET", "mooncake/ram/a", NULL, &b), 404);
	EXPECT_TRUE(is(&b, "metadata not found"));
	EXPECT_EQ(http(&r, "PUT", "mooncake/ram/a", "{\"x\": 1}", &b), 200);
	EXPECT_TRUE(is(&b, "metadata updated"));
	EXPECT_EQ(http(&r, "GET", "mooncake/ram/a", NULL, &b), 200);
	EXPECT_TRUE(is(&b, "{\"x\": 1}"));
	EXPECT_EQ(http(&r, "PUT", "mooncake/ram/a", "2", &b), 200);
	EXPECT_EQ(http(&r, "GET", "mooncake/ram/a", NULL, &b), 200);
	EXPECT_TRUE(is(&b, "2"));
	EXPECT_EQ(http(&r, "PUT", "mooncake/rpc_meta/a", "1", &b), 200);
	EXPECT_TRUE(is(&b, "metadata updated"));
	EXPECT_EQ(http(&r, "PUT", "mooncake/rpc_meta/a", "1", &b), 200);
	EXPECT_TRUE(is(&b, "metadata unchanged"));
	EXPECT_EQ(http(&r, "PUT", "mooncake/rpc_meta/a", "2", &b), 400);
	EXPECT_TRUE(is(&b, "Duplicate rpc_meta key not allowed"));
	EXPECT_EQ(http(&r, "DELETE", "mooncake/rpc_meta/a", NULL, &b), 200);
	EXPECT_TRUE(is(&b, "metadata deleted"));
	EXPECT_EQ(http(&r, "DELETE", "mooncake/rpc_meta/a", NULL, &b), 404);
	EXPECT_EQ(http(&r, "PUT", "mooncake/rpc_meta/a", "2", &b), 200);
	EXPECT_EQ(http(&r, "POST", "mooncake/rpc_meta/a", "2", &b), 405);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
	buf_fini(&b);
}

TEST(big_values_and_too_big_ones)
{
	char *big = malloc(17 * MiB + 1);
	struct buf b = BUF_INIT;
	struct rig r;

	memset(big, 'x', 17 * MiB);
	big[17 * MiB] = 0;
	if (!start(&r, NULL)) {
		EXPECT_EQ(http(&r, "PUT", "k", big, &b), 413);
		big[2 * MiB] = 0;
		EXPECT_EQ(http(&r, "PUT", "k", big, &b), 200);
		EXPECT_EQ(http(&r, "GET", "k", NULL, &b), 200);
		EXPECT_TRUE(is(&b, big));
		EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
	}
	buf_fini(&b);
	free(big);
}

TEST(a_file_keeps_it)
{
	char dir[] = "/tmp/mc-metadata-XXXXXX", path[64], flag[80];
	struct buf b = BUF_INIT;
	uint64_t end = SOON;
	struct rig r;

	EXPECT_TRUE(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/keys.json", dir);
	snprintf(flag, sizeof(flag), "--file=%s", path);
	if (start(&r, flag))
		goto out;
	EXPECT_EQ(http(&r, "PUT", "mooncake/ram/\"a\"\n", "{\"name\": \"\\u00e4 /\"}", &b), 200);
	EXPECT_EQ(http(&r, "PUT", "gone", "1", &b), 200);
	EXPECT_EQ(http(&r, "DELETE", "gone", NULL, &b), 200);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);

	if (start(&r, flag))
		goto out;
	EXPECT_EQ(http(&r, "GET", "mooncake/ram/\"a\"\n", NULL, &b), 200);
	EXPECT_TRUE(is(&b, "{\"name\": \"\\u00e4 /\"}"));
	EXPECT_EQ(http(&r, "GET", "gone", NULL, &b), 404);

	/* Without an orderly end the file is at most a moment old. */
	unlink(path);
	EXPECT_EQ(http(&r, "PUT", "late", "1", &b), 200);
	while (access(path, R_OK) && !deadline_passed(end))
		;
	EXPECT_EQ(rig_stop(&r, SIGKILL), 128 + SIGKILL);
	if (start(&r, flag))
		goto out;
	EXPECT_EQ(http(&r, "GET", "late", NULL, &b), 200);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);

	EXPECT_EQ(truncate(path, 10), 0);
	{
		const char *argv[] = { "mooncake-metadata", "--port=0", flag, NULL };

		EXPECT_EQ(rig_start(&r, argv), 1);
		EXPECT_TRUE(strstr(r.said, "is not a JSON object"));
	}
out:
	unlink(path);
	rmdir(dir);
	buf_fini(&b);
}
