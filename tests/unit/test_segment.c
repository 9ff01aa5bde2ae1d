// SPDX-License-Identifier: Apache-2.0
/* Upstream's JSON: the bytes we publish, what we accept of others, 64-bit values, our extension. */
#include "mctest.h"
#include "unit/segment_rig.h"

#include <time.h>

#include "base/log.h"

TEST(published_bytes)
{
	struct segment_desc d = sample();

	EXPECT_JSON(&d, "{\"buffers\":["
			"{\"addr\":140000000000000,\"length\":4096,\"name\":\"10.0.0.1:15003\"},"
			"{\"addr\":18446744073709551614,\"length\":1,\"name\":\"10.0.0.1:15003\"}],"
			"\"name\":\"10.0.0.1:15003\",\"protocol\":\"tcp\",\"tcp_data_port\":16001,"
			"\"tcp_proto_version\":2,\"timestamp\":\"2026-08-22 10:11:12.000345\"}");
	d.nr_buffers = 0;
	d.timestamp = NULL;
	d.tcp_proto_version = 0;
	EXPECT_JSON(&d, "{\"buffers\":[],\"name\":\"10.0.0.1:15003\",\"protocol\":\"tcp\","
			"\"tcp_data_port\":16001,\"tcp_proto_version\":1}");
}

TEST(published_bytes_with_our_extension)
{
	struct segment_desc d = sample(), back;

	d.nr_buffers = 0;
	d.timestamp = NULL;
	d.mc.present = true;
	d.mc.version = 1;
	for (int i = 0; i < 16; i++)
		d.mc.node[i] = (uint8_t)(0xf8 + i);
	d.mc.pid = 4242;
	d.mc.start_time = 987654;
	d.mc.pid_ns = UINT64_MAX - 1;
	d.mc.reach_fd = 9;
	EXPECT_JSON(&d, "{\"buffers\":[],\"mc\":{\"node\":\"f8f9fafbfcfdfeff0001020304050607\","
			"\"pid\":4242,\"pid_ns\":18446744073709551614,\"reach_fd\":9,"
			"\"start_time\":987654,\"version\":1},\"name\":\"10.0.0.1:15003\","
			"\"protocol\":\"tcp\",\"tcp_data_port\":16001,\"tcp_proto_version\":2}");
	{
		char *text = encode(&d);

		ASSERT_EQ(decode(text, &back), 0);
		free(text);
	}
	EXPECT_TRUE(back.mc.present);
	EXPECT_MEMEQ(back.mc.node, d.mc.node, 16);
	EXPECT_EQ(back.mc.pid, 4242);
	EXPECT_EQ(back.mc.pid_ns, UINT64_MAX - 1);
	EXPECT_EQ(back.mc.start_time, 987654u);
	EXPECT_EQ(back.mc.reach_fd, 9);
	EXPECT_EQ(back.mc.version, 1);
	segment_desc_fini(&back);
}

/* jsoncpp's escapes: the short ones, no escaped slash, \u in lower-case hex, surrogate pairs, U+FFFD for what is no UTF-8. */
TEST(strings_as_jsoncpp_spells_them)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{ "plain a/b:1", "plain a/b:1" },
		{ "q\"b\\s", "q\\\"b\\\\s" },
		{ "\b\f\n\r\t", "\\b\\f\\n\\r\\t" },
		{ "\x01\x1f\x7f", "\\u0001\\u001f\x7f" },
		{ "\xc3\xa9", "\\u00e9" },
		{ "\xe4\xb8\xad\xe6\x96\x87", "\\u4e2d\\u6587" },
		{ "\xef\xbf\xbf", "\\uffff" },
		{ "\xf0\x9f\x98\x80", "\\ud83d\\ude00" },
		{ "\xf4\x8f\xbf\xbf", "\\udbff\\udfff" },
		{ "\xff", "\\ufffd" },
		{ "a\xc3", "a\\ufffd" },
		{ "\xc0\xaf", "\\ufffd\\ufffd" },
		{ "\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd" },
		{ "\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd" },
		{ "\x80z", "\\ufffdz" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct notify_json n = { .name = (char *)t[i].in };
		char want[128];
		struct buf b = BUF_INIT;

		snprintf(want, sizeof(want), "{\"name\":\"%s\",\"notify_msg\":\"\"}", t[i].out);
		EXPECT_EQ(notify_json_encode(&n, &b), 0);
		buf_put_u8(&b, 0);
		EXPECT_STREQ((char *)b.data, want);
		buf_fini(&b);
	}
}

TEST(what_must_not_be_published)
{
	struct segment_buffer bad[] = {
		{ NULL, 1, 1 },	       { (char *)"", 1, 1 },	       { (char *)"n", 0, 1 },
		{ (char *)"n", 1, 0 }, { (char *)"n", 2, UINT64_MAX },
	};
	struct segment_desc d = sample();
	struct buf b = BUF_INIT;

	d.nr_buffers = 1;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		d.buffers = &bad[i];
		EXPECT_EQ(segment_desc_encode(&d, &b), -EINVAL);
	}
	d = sample();
	d.protocol = (char *)"efa";
	EXPECT_EQ(segment_desc_encode(&d, &b), -EINVAL);
	d = sample();
	d.protocol = (char *)"rdma";
	d.nics = &(struct segment_nic){ (char *)"mlx5_0", (char *)"fe:80", 0 };
	d.nr_nics = 1; /* and no keys */
	EXPECT_EQ(segment_desc_encode(&d, &b), -EINVAL);
	d.nr_buffers = 0;
	d.nics->gid = (char *)"";
	EXPECT_EQ(segment_desc_encode(&d, &b), -EINVAL);
	d = sample();
	d.name = (char *)"";
	EXPECT_EQ(segment_desc_encode(&d, &b), -EINVAL);
	d = sample();
	d.nr_buffers = SEGMENT_BUFFERS_MAX + 1;
	EXPECT_EQ(segment_desc_encode(&d, &b), -EINVAL);
	EXPECT_EQ(b.len, 0u);
	buf_fini(&b);
}

/* As upstream's writer prints it, with the newline that etcd and redis values have; other orders and spaces are fine too. */
TEST(upstream_tcp_descriptor)
{
	static const char *const texts[] = {
		"{\"buffers\":[{\"addr\":18446744073709543424,\"length\":4096,\"name\":\"n1:"
		"15001\"},"
		"{\"addr\":9223372036854775808,\"length\":9223372036854775807,\"name\":\"n1:"
		"15001\"}],"
		"\"name\":\"n1:15001\",\"protocol\":\"tcp\",\"tcp_data_port\":15002,"
		"\"tcp_proto_version\":2,\"timestamp\":\"2026-08-22 10:11:12.000345\"}\n",
		" { \"timestamp\" : \"2026-08-22 10:11:12.000345\", \"tcp_proto_version\":2,\n"
		"\t\"tcp_data_port\":15002, \"unknown\": {\"a\":[1,2.5,null,true]}, \"protocol\": "
		"\"tcp\",\n"
		"\"name\":\"n1:15001\", \"priority_matrix\":null, \"mc\":null, \"buffers\" : [\n"
		"{\"name\":\"n1:15001\",\"length\":4096,\"addr\":18446744073709543424,\"x\":1},\n"
		"{\"name\":\"n1:15001\",\"length\":9223372036854775807,\"addr\":"
		"9223372036854775808}]}",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct segment_desc d;

		ASSERT_EQ(decode(texts[i], &d), 0);
		EXPECT_STREQ(d.name, "n1:15001");
		EXPECT_STREQ(d.protocol, "tcp");
		EXPECT_STREQ(d.timestamp, "2026-08-22 10:11:12.000345");
		EXPECT_EQ(d.tcp_data_port, 15002);
		EXPECT_EQ(d.tcp_proto_version, 2);
		ASSERT_EQ(d.nr_buffers, 2u);
		EXPECT_EQ(d.buffers[0].addr, 18446744073709543424u);
		EXPECT_EQ(d.buffers[0].len, 4096u);
		EXPECT_EQ(d.buffers[1].addr, (uint64_t)1 << 63);
		EXPECT_EQ(d.buffers[1].len, (uint64_t)INT64_MAX);
		EXPECT_STREQ(d.buffers[1].name, "n1:15001");
		EXPECT_TRUE(!d.mc.present && !d.host);
		segment_desc_fini(&d);
	}
}

TEST(absent_and_null_members)
{
	static const char *const texts[] = {
		"{\"name\":\"n\",\"protocol\":\"tcp\"}",
		("{\"name\":\"n\",\"protocol\":\"tcp\",\"buffers\":null,\"tcp_data_port\":null,"
		"\"tcp_proto_version\":null,\"timestamp\":null,\"mc\":null}"),
		"{\"name\":\"n\",\"protocol\":\"tcp\",\"buffers\":[]}",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct segment_desc d;

		ASSERT_EQ(decode(texts[i], &d), 0);
		EXPECT_EQ(d.nr_buffers, 0u);
		EXPECT_EQ(d.tcp_data_port, 0);
		EXPECT_EQ(d.tcp_proto_version, 1);
		EXPECT_STREQ(d.timestamp, "");
		segment_desc_fini(&d);
	}
}

#define RDMA(protocol, devices, keys)                                                              \
	"{\"name\":\"n\",\"protocol\":" protocol ",\"devices\":" devices                           \
	",\"priority_matrix\":null,"                                                               \
	"\"tcp_data_port\":-1094795586,\"buffers\":[{\"name\":\"cpu:0\",\"addr\":4096,\"length\":" \
	"8," keys "}]}"
#define NIC(n) "{\"name\":\"mlx5_" n "\",\"lid\":0,\"gid\":\"fe:80\"}"

TEST(published_bytes_of_rdma)
{
	struct segment_keys keys[] = { { 7, UINT32_MAX }, { 9, 10 } };
	struct segment_nic nics[] = { { (char *)"mlx5_1", (char *)"fe:80:01", 0 }, { (char *)"mlx5_0", (char *)"fe:80:02", 65535 } };
	struct segment_buffer buffer = { .name = (char *)"cpu:0", .addr = 4096, .len = 8, .keys = keys, .nr_keys = 2 };
	struct segment_desc d = {
		.name = (char *)"n1:15001",
		.protocol = (char *)"rdma",
		.tcp_data_port = 16001,
		.tcp_proto_version = 2,
		.buffers = &buffer,
		.nr_buffers = 1,
		.nics = nics,
		.nr_nics = 2,
		.rdma_server_name = (char *)"10.1.0.1:15001",
	};
	static const char start[] = "{\"buffers\":["
				    "{\"addr\":4096,\"length\":8,\"lkey\":[4294967295,10],\"name\":\"cpu:0\",\"rkey\":[7,9]}],"
				    "\"devices\":[{\"gid\":\"fe:80:01\",\"lid\":0,\"name\":\"mlx5_1\"},"
				    "{\"gid\":\"fe:80:02\",\"lid\":65535,\"name\":\"mlx5_0\"}],\"name\":\"n1:15001\",\"priority_matrix\":",
		end[] = ",\"protocol\":\"rdma\",\"rdma_server_name\":\"10.1.0.1:15001\",\"tcp_data_port\":16001,\"tcp_proto_version\":2}";
	static const char *const matrix[] = { "null", "{\"cpu:0\":[[\"mlx5_1\"],[\"mlx5_0\"]],\"cuda:1\":[[],[]]}" };
	struct segment_desc back, copy;
	struct place *p;
	char want[1024];

	for (int i = 0; i < 2; i++) {
		snprintf(want, sizeof(want), "%s%s%s", start, matrix[i], end);
		EXPECT_JSON(&d, want);
		ASSERT_EQ(decode(want, &back), 0);
		ASSERT_EQ(segment_desc_copy(&back, &copy), 0);
		segment_desc_fini(&back);
		ASSERT_EQ(copy.nr_nics, 2u);
		EXPECT_STREQ(copy.nics[1].gid, "fe:80:02");
		EXPECT_EQ(copy.nics[1].lid, 65535);
		EXPECT_STREQ(copy.rdma_server_name, "10.1.0.1:15001");
		ASSERT_EQ(copy.buffers[0].nr_keys, 2u);
		EXPECT_MEMEQ(copy.buffers[0].keys, keys, sizeof(keys));
		EXPECT_EQ(copy.places.nr, i ? 2u : 0u);
		EXPECT_EQ(copy.tcp_data_port, 0); /* of upstream's, which leave it as it was */
		free(copy.timestamp);
		copy.timestamp = NULL;
		copy.tcp_data_port = 16001;
		copy.tcp_proto_version = 2;
		EXPECT_JSON(&copy, want);
		segment_desc_fini(&copy);
		ASSERT_EQ(i || places_add(&d.places, "cpu:0", &p) || place_add_nic(p, true, "mlx5_1") ||
				  place_add_nic(p, false, "mlx5_0") || places_add(&d.places, "cuda:1", &p), i);
	}
	places_fini(&d.places);
	d.mc.present = true; /* ours are there by tcp too */
	d.mc.version = 1;
	d.mc.pid = 1;
	{
		char *text = encode(&d);

		ASSERT_EQ(decode(text, &back), 0);
		EXPECT_EQ(back.tcp_data_port, 16001);
		segment_desc_fini(&back);
		free(text);
	}
}

/* One that makes no sense is none; upstream's readers warn and go on. */
TEST(a_malformed_priority_matrix)
{
	static const char *const bad[] = { "7", "[]", "{\"cpu:0\":[]}", "{\"cpu:0\":[[],[],[]]}", "{\"cpu:0\":[[7],[]]}" };
	struct segment_desc d;
	char text[256];

	mc_log_set(NULL, NULL, MC_LOG_ERR);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "{\"name\":\"n\",\"protocol\":\"rdma\",\"devices\":[],\"buffers\":[],\"priority_matrix\":%s}",
			 bad[i]);
		ASSERT_EQ(decode(text, &d), 0);
		EXPECT_EQ(d.places.nr, 0u);
		segment_desc_fini(&d);
	}
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}

/* Upstream's rules. */
TEST(rdma_descriptors)
{
	static const struct {
		const char *json;
		int ret;
	} t[] = {
		{ RDMA("\"rdma\"", "[" NIC("0") "," NIC("1") "]",
		       "\"rkey\":[1,4294967295],\"lkey\":[3,4]"),
		  0 },
		{ RDMA("\"efa\"", "[]", "\"rkey\":[],\"lkey\":[]"), 0 },
		{ RDMA("\"barex\"", "[" NIC("0") "]", "\"rkey\":[1,2],\"lkey\":[3,4]"), 0 },
		{ RDMA("\"rdma\"", "[" NIC("0") "]", "\"rkey\":[1,2],\"lkey\":[3,4]"), -EBADMSG },
		{ RDMA("\"cxi\"", "[" NIC("0") "]", "\"rkey\":null"), -EBADMSG },
		{ RDMA("\"barex\"", "null", "\"rkey\":[1],\"lkey\":[]"), -EBADMSG },
		{ RDMA("\"rdma\"", "[{\"name\":\"\",\"gid\":\"x\"}]", "\"rkey\":[1],\"lkey\":[3]"),
		  -EBADMSG },
		{ RDMA("\"rdma\"", "[{\"name\":\"x\",\"gid\":\"\"}]", "\"rkey\":[1],\"lkey\":[3]"),
		  -EBADMSG },
		{ RDMA("\"rdma\"", "[7]", "\"rkey\":[1],\"lkey\":[3]"), -EBADMSG },
		{ RDMA("\"rdma\"", "7", "\"rkey\":[],\"lkey\":[]"), -EBADMSG },
		{ RDMA("\"rdma\"", "[{\"name\":\"x\",\"gid\":\"y\",\"lid\":65536}]", "\"rkey\":[1],\"lkey\":[3]"), -EBADMSG },
		{ RDMA("\"rdma\"", "[" NIC("0") "]", "\"rkey\":[4294967296],\"lkey\":[3]"), -EBADMSG },
		{ RDMA("\"rdma\"", "[" NIC("0") "]", "\"rkey\":[1],\"lkey\":[-3]"), -EBADMSG },
		{ RDMA("\"rdma\"", "[" NIC("0") "]", "\"rkey\":[\"1\"],\"lkey\":[3]"), -EBADMSG },
		{ RDMA("\"rdma\"", "[" NIC("0") "],\"rdma_server_name\":1", "\"rkey\":[1],\"lkey\":[3]"), -EBADMSG },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct segment_desc d;
		int ret = decode(t[i].json, &d);

		if (ret != t[i].ret)
			MCTEST_FAIL("%d instead of %d: %s", ret, t[i].ret, t[i].json);
		if (ret)
			continue;
		EXPECT_EQ(d.nr_buffers, 1u);
		EXPECT_EQ(d.buffers[0].addr, 4096u);
		EXPECT_STREQ(d.buffers[0].name, "cpu:0");
		EXPECT_EQ(d.tcp_data_port, 0); /* garbage there, ignored */
		segment_desc_fini(&d);
	}
}

TEST(other_protocols_are_named)
{
	struct segment_desc d;

	ASSERT_EQ(decode("{\"name\":\"n\",\"protocol\":\"cxl\",\"buffers\":[{\"name\":\"\","
			 "\"offset\":0}],"
			 "\"tcp_data_port\":-7}",
			 &d),
		  0);
	EXPECT_STREQ(d.protocol, "cxl");
	EXPECT_EQ(d.nr_buffers, 0u);
	segment_desc_fini(&d);
}

/* Builds with several protocols publish an array, and each buffer says whose it is. */
TEST(protocol_arrays)
{
	struct segment_desc d;

	ASSERT_EQ(decode("{\"name\":\"n\",\"protocol\":[\"rdma\",\"tcp\"],\"tcp_data_port\":15002,"
			 "\"buffers\":["
			 "{\"name\":\"cpu:0\",\"addr\":4096,\"length\":8,\"rkey\":[1],\"protocol\":"
			 "\"rdma\"},"
			 "{\"name\":\"n\",\"addr\":8192,\"length\":8,\"protocol\":\"tcp\"},"
			 "{\"name\":\"n\",\"addr\":16384,\"length\":8}]}",
			 &d),
		  0);
	EXPECT_STREQ(d.protocol, "tcp");
	EXPECT_EQ(d.tcp_data_port, 15002);
	ASSERT_EQ(d.nr_buffers, 2u);
	EXPECT_EQ(d.buffers[0].addr, 8192u);
	EXPECT_EQ(d.buffers[1].addr, 16384u);
	segment_desc_fini(&d);

	ASSERT_EQ(decode("{\"name\":\"n\",\"protocol\":[\"cxl\",\"hip\"]}", &d), 0);
	EXPECT_STREQ(d.protocol, "hip");
	segment_desc_fini(&d);
	ASSERT_EQ(decode("{\"name\":\"n\",\"protocol\":[\"new\"]}", &d), 0);
	EXPECT_STREQ(d.protocol, "new");
	segment_desc_fini(&d);
}

TEST(copy_is_deep)
{
	struct segment_desc d = sample(), c;
	char *a, *b;

	d.host = (char *)"10.0.0.1";
	ASSERT_EQ(segment_desc_copy(&d, &c), 0);
	EXPECT_TRUE(c.name != d.name && c.buffers != d.buffers &&
		    c.buffers[1].name != d.buffers[1].name);
	EXPECT_STREQ(c.host, "10.0.0.1");
	a = encode(&d);
	b = encode(&c);
	EXPECT_STREQ(a, b);
	free(a);
	free(b);
	segment_desc_fini(&c);
	EXPECT_TRUE(!c.name && !c.buffers);
	segment_desc_fini(&c);

	ASSERT_EQ(segment_desc_copy(&(struct segment_desc){ 0 }, &c), 0);
	EXPECT_TRUE(!c.name && !c.host);
	segment_desc_fini(&c);
}

TEST(timestamp)
{
	char text[SEGMENT_TIMESTAMP_BYTES];
	struct tm tm = { 0 };
	int us, n = 0;

	segment_timestamp(text);
	EXPECT_EQ(sscanf(text, "%4d-%2d-%2d %2d:%2d:%2d.%6d%n", &tm.tm_year, &tm.tm_mon,
			 &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &us, &n),
		  7);
	EXPECT_EQ(n, 26);
	EXPECT_EQ(strlen(text), 26u);
}

TEST(rpc_meta)
{
	struct rpc_meta m = { .host = "2001:db8::1", .port = 15003 }, back;
	struct buf b = BUF_INIT;

	ASSERT_EQ(rpc_meta_encode(&m, &b), 0);
	EXPECT_EQ(b.len, strlen("{\"ip_or_host_name\":\"2001:db8::1\",\"rpc_port\":15003}"));
	EXPECT_MEMEQ(b.data, "{\"ip_or_host_name\":\"2001:db8::1\",\"rpc_port\":15003}", b.len);
	ASSERT_EQ(rpc_meta_decode((char *)b.data, b.len, &back), 0);
	EXPECT_STREQ(back.host, m.host);
	EXPECT_EQ(back.port, 15003);
	buf_fini(&b);
	EXPECT_EQ(rpc_meta_encode(&(struct rpc_meta){ .host = "h" }, &b), -EINVAL);
	EXPECT_EQ(rpc_meta_encode(&(struct rpc_meta){ .port = 1 }, &b), -EINVAL);
	memset(m.host, 'x', sizeof(m.host));
	EXPECT_EQ(rpc_meta_encode(&m, &b), -EINVAL);
}

TEST(notify)
{
	static const char text[] = "{\"name\":\"a\",\"notify_msg\":\"\\u4e2d \\\"x\\\"\"}";
	struct notify_json n;
	struct buf b = BUF_INIT;

	ASSERT_EQ(notify_json_decode(text, strlen(text), &n), 0);
	EXPECT_STREQ(n.name, "a");
	EXPECT_STREQ(n.msg, "\xe4\xb8\xad \"x\"");
	ASSERT_EQ(notify_json_encode(&n, &b), 0);
	EXPECT_EQ(b.len, strlen(text));
	EXPECT_MEMEQ(b.data, text, b.len);
	notify_json_fini(&n);
	notify_json_fini(&n);
	buf_fini(&b);

	ASSERT_EQ(notify_json_decode("{}", 2, &n), 0);
	EXPECT_STREQ(n.msg, "");
	notify_json_fini(&n);
	EXPECT_EQ(notify_json_decode("null\n", 5, &n), -EBADMSG);
	EXPECT_EQ(notify_json_decode("{\"name\":1}", 10, &n), -EBADMSG);
}
