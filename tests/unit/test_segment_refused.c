// SPDX-License-Identifier: Apache-2.0
/* Upstream's JSON: what is refused of others. */
#include "mctest.h"
#include "unit/segment_rig.h"

TEST(refused)
{
	static const char *const bad[] = {
		"",
		"null\n",
		"[]",
		"1",
		"\"tcp\"",
		"{",
		"{}",
		"{} {}",
		"{\"name\":\"n\",\"protocol\":\"tcp\"}x",
		"{\"name\":\"n\"}",
		"{\"name\":\"n\",\"protocol\":\"\"}",
		"{\"name\":\"n\",\"protocol\":7}",
		"{\"name\":\"n\",\"protocol\":[]}",
		"{\"name\":\"n\",\"protocol\":[7]}",
		"{\"name\":7,\"protocol\":\"tcp\"}",
		"{\"name\":\"a\\u0000b\",\"protocol\":\"tcp\"}",
		"{\"name\":\"n\",\"protocol\":\"tcp\",\"tcp_data_port\":65536}",
		"{\"name\":\"n\",\"protocol\":\"tcp\",\"tcp_data_port\":-1}",
		"{\"name\":\"n\",\"protocol\":\"tcp\",\"tcp_data_port\":\"1\"}",
		"{\"name\":\"n\",\"protocol\":\"tcp\",\"tcp_proto_version\":2.0}",
		"{\"name\":\"n\",\"protocol\":\"tcp\",\"buffers\":{}}",
		"{\"name\":\"n\",\"protocol\":\"tcp\",\"buffers\":[null]}",
		"{\"name\":\"n\",\"protocol\":\"tcp\",\"buffers\":[[]]}",
	};
	static const char *const bad_buffers[] = {
		"{}",
		"{\"addr\":1,\"length\":1}",
		"{\"name\":\"\",\"addr\":1,\"length\":1}",
		"{\"name\":\"n\",\"addr\":0,\"length\":1}",
		"{\"name\":\"n\",\"addr\":1,\"length\":0}",
		"{\"name\":\"n\",\"length\":1}",
		"{\"name\":\"n\",\"addr\":1}",
		"{\"name\":\"n\",\"addr\":-1,\"length\":1}",
		"{\"name\":\"n\",\"addr\":1,\"length\":-1}",
		"{\"name\":\"n\",\"addr\":1.5,\"length\":1}",
		"{\"name\":\"n\",\"addr\":1e3,\"length\":1}",
		"{\"name\":\"n\",\"addr\":\"1\",\"length\":1}",
		"{\"name\":\"n\",\"addr\":18446744073709551616,\"length\":1}",
		"{\"name\":\"n\",\"addr\":18446744073709551614,\"length\":2}",
		"{\"name\":7,\"addr\":1,\"length\":1}",
	};
	struct segment_desc d = { .nr_buffers = 77 };
	char text[512];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (decode(bad[i], &d) != -EBADMSG)
			MCTEST_FAIL("accepted: %s", bad[i]);
	for (size_t i = 0; i < sizeof(bad_buffers) / sizeof(bad_buffers[0]); i++) {
		snprintf(text, sizeof(text),
			 "{\"name\":\"n\",\"protocol\":\"tcp\",\"buffers\":[{\"name\":\"n\","
			 "\"addr\":1,"
			 "\"length\":1},%s]}",
			 bad_buffers[i]);
		if (decode(text, &d) != -EBADMSG)
			MCTEST_FAIL("accepted: %s", text);
	}
	EXPECT_EQ(d.nr_buffers, 77u);
}

TEST(refused_extension)
{
	static const char good[] = "{\"name\":\"n\",\"protocol\":\"tcp\",\"mc\":{\"node\":"
				   "\"000102030405060708090a0b0c0d0e0f\",\"pid\":1,\"pid_ns\":2,"
				   "\"reach_fd\":-1,\"start_time\":3,\"version\":4,\"later\":5}}";
	static const struct {
		const char *from, *to;
	} spoil[] = {
		{ "\"0001", "\"000" },
		{ "0e0f\"", "0e0g\"" },
		{ "0e0f\"", "0e0F\"" },
		{ "\"pid\":1", "\"pid\":0" },
		{ "\"pid\":1", "\"pid\":4294967296" },
		{ "\"reach_fd\":-1", "\"reach_fd\":-2" },
		{ "\"version\":4", "\"version\":0" },
		{ "\"start_time\":3", "\"start_time\":null" },
		{ "\"pid_ns\":2", "\"pid_ns\":\"2\"" },
	};
	struct segment_desc d;

	ASSERT_EQ(decode(good, &d), 0);
	EXPECT_EQ(d.mc.node[15], 15);
	EXPECT_EQ(d.mc.reach_fd, -1);
	EXPECT_EQ(d.mc.version, 4);
	segment_desc_fini(&d);
	for (size_t i = 0; i < sizeof(spoil) / sizeof(spoil[0]); i++) {
		const char *at = strstr(good, spoil[i].from);
		char text[512];

		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, spoil[i].to,
			 at + strlen(spoil[i].from));
		if (decode(text, &d) != -EBADMSG)
			MCTEST_FAIL("accepted: %s", text);
	}
	EXPECT_EQ(decode("{\"name\":\"n\",\"protocol\":\"tcp\",\"mc\":1}", &d), -EBADMSG);
}

TEST(too_many_buffers)
{
	struct segment_desc d = { .nr_buffers = 77 };
	struct buf b = BUF_INIT;

	for (int extra = 0; extra < 2; extra++) {
		buf_reset(&b);
		buf_printf(&b, "{\"name\":\"n\",\"protocol\":\"tcp\",\"buffers\":[");
		for (int i = 0; i < SEGMENT_BUFFERS_MAX + extra; i++)
			buf_printf(&b, "%s{\"addr\":%d,\"length\":1,\"name\":\"n\"}", i ? "," : "",
				   i + 1);
		buf_printf(&b, "]}");
		ASSERT_EQ(segment_desc_decode((char *)b.data, b.len, &d), extra ? -EBADMSG : 0);
		if (!extra) {
			EXPECT_EQ(d.nr_buffers, (uint32_t)SEGMENT_BUFFERS_MAX);
			segment_desc_fini(&d);
		}
	}
	buf_fini(&b);
}

TEST(too_many_nics)
{
	struct segment_desc d;
	struct buf b = BUF_INIT;

	for (int extra = 0; extra < 2; extra++) {
		buf_reset(&b);
		buf_printf(&b, "{\"name\":\"n\",\"protocol\":\"rdma\",\"devices\":[");
		for (int i = 0; i < SEGMENT_NICS_MAX + extra; i++)
			buf_printf(&b, "%s{\"name\":\"n%d\",\"gid\":\"g\"}", i ? "," : "", i);
		buf_printf(&b, "]}");
		ASSERT_EQ(segment_desc_decode((char *)b.data, b.len, &d), extra ? -EBADMSG : 0);
		if (!extra) {
			EXPECT_EQ(d.nr_nics, (uint32_t)SEGMENT_NICS_MAX);
			segment_desc_fini(&d);
		}
	}
	buf_fini(&b);
}

TEST(every_truncation_is_refused)
{
	struct segment_desc d = sample(), got;
	char *text = encode(&d);
	size_t len = strlen(text);

	for (size_t n = 0; n < len; n++) {
		char *part = malloc(n + !n);

		memcpy(part, text, n);
		if (segment_desc_decode(part, n, &got) != -EBADMSG)
			MCTEST_FAIL("%zu of %zu bytes were accepted", n, len);
		free(part);
	}
	free(text);
}

TEST(rpc_meta_refused)
{
	static const char *const bad[] = {
		"null",
		"{}",
		"{\"ip_or_host_name\":\"h\"}",
		"{\"rpc_port\":1}",
		"{\"ip_or_host_name\":\"\",\"rpc_port\":1}",
		"{\"ip_or_host_name\":\"h\",\"rpc_port\":0}",
		"{\"ip_or_host_name\":\"h\",\"rpc_port\":65536}",
		"{\"ip_or_host_name\":\"h\",\"rpc_port\":\"1\"}",
		"{\"ip_or_host_name\":null,\"rpc_port\":1}",
		"{\"ip_or_host_name\":\"h\",\"rpc_port\":-1}",
	};
	struct rpc_meta m;
	char text[400];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (rpc_meta_decode(bad[i], strlen(bad[i]), &m) != -EBADMSG)
			MCTEST_FAIL("accepted: %s", bad[i]);
	for (int len = 255; len < 257; len++) {
		snprintf(text, sizeof(text), "{\"ip_or_host_name\":\"%0*d\",\"rpc_port\":1}", len,
			 0);
		EXPECT_EQ(rpc_meta_decode(text, strlen(text), &m), len < 256 ? 0 : -EBADMSG);
	}
}
