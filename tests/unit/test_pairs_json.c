// SPDX-License-Identifier: Apache-2.0
/* Upstream's exchange of queue pairs: the bytes we write, and what we read of others. */
#include "mctest.h"

#include "proto/proto.h"

#define GID "fe:80:00:00:00:00:00:00:02:42:ac:ff:fe:11:00:02"

static const char asked[] =
	"{\"local_gid\":\"" GID "\",\"local_lid\":3,\"local_nic_path\":\"10.0.0.1:15001@mlx5_0\",\"payload\":\"\","
	"\"peer_nic_path\":\"[::1]:15002@mlx5_1\",\"qp_num\":[17,4294967295],\"ready_ack\":false,\"reply_msg\":\"\"}\n";

static int decode(const char *text, struct pairs_json *p)
{
	return pairs_json_decode(text, strlen(text), p);
}

static void expect_text(const struct pairs_json *p, const char *want)
{
	struct buf b = BUF_INIT;

	EXPECT_EQ(pairs_json_encode(p, &b), 0);
	buf_put_u8(&b, 0);
	EXPECT_STREQ((char *)b.data, want);
	buf_fini(&b);
}

TEST(golden_bytes)
{
	const struct pairs_json p = {
		.local_nic_path = (char *)"10.0.0.1:15001@mlx5_0",
		.peer_nic_path = (char *)"[::1]:15002@mlx5_1",
		.local_gid = (char *)GID,
		.local_lid = 3,
		.qp = { 17, UINT32_MAX },
		.nr_qps = 2,
		.ready = PAIRS_READY_LATER,
	};
	struct pairs_json back;

	expect_text(&p, asked);
	ASSERT_EQ(decode(asked, &back), 0);
	EXPECT_STREQ(back.local_nic_path, p.local_nic_path);
	EXPECT_STREQ(back.peer_nic_path, p.peer_nic_path);
	EXPECT_STREQ(back.local_gid, GID);
	EXPECT_STREQ(back.payload, "");
	EXPECT_STREQ(back.reply_msg, "");
	EXPECT_EQ(back.local_lid, 3);
	EXPECT_EQ(back.nr_qps, 2u);
	EXPECT_EQ(back.qp[0], 17u);
	EXPECT_EQ(back.qp[1], UINT32_MAX);
	EXPECT_EQ(back.ready, PAIRS_READY_LATER);
	expect_text(&back, asked);
	pairs_json_fini(&back);
}

/* A refusal, and the answer to who is ready: every member is there and empty. */
TEST(empty_answers)
{
	const struct pairs_json none = { 0 }, no = { .reply_msg = (char *)"no \"NIC\"" };

	expect_text(&none, "{\"local_gid\":\"\",\"local_lid\":0,\"local_nic_path\":\"\",\"payload\":\"\",\"peer_nic_path\":\"\","
			   "\"qp_num\":[],\"reply_msg\":\"\"}\n");
	expect_text(&no, "{\"local_gid\":\"\",\"local_lid\":0,\"local_nic_path\":\"\",\"payload\":\"\",\"peer_nic_path\":\"\","
			 "\"qp_num\":[],\"reply_msg\":\"no \\\"NIC\\\"\"}\n");
}

/* Older releases say less; the member's presence alone says that a second question will come. */
TEST(members_that_may_be_absent)
{
	static const struct {
		const char *text;
		int ready;
		unsigned nr;
	} t[] = {
		{ "{}", PAIRS_READY_UNSAID, 0 },
		{ "{\"qp_num\":null,\"local_lid\":null,\"local_gid\":null}", PAIRS_READY_UNSAID, 0 },
		{ "{\"ready_ack\":false,\"qp_num\":[]}", PAIRS_READY_LATER, 0 },
		{ "{\"ready_ack\":null,\"qp_num\":[0]}", PAIRS_READY_LATER, 1 },
		{ "{\"ready_ack\":\"yes\",\"barex_port\":7}", PAIRS_READY_LATER, 0 },
		{ " {\"ready_ack\" : true,\n\"protocol\":\"rdma\", \"qp_num\":[1,2,3]} ", PAIRS_READY, 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct pairs_json p;

		ASSERT_EQ(decode(t[i].text, &p), 0);
		EXPECT_EQ((int)p.ready, t[i].ready);
		EXPECT_EQ(p.nr_qps, t[i].nr);
		EXPECT_STREQ(p.local_gid, "");
		EXPECT_STREQ(p.reply_msg, "");
		pairs_json_fini(&p);
	}
}

TEST(refused)
{
	static const char *const bad[] = {
		"",
		"null\n",
		"[]",
		"{",
		"{\"qp_num\":7}",
		"{\"qp_num\":[-1]}",
		"{\"qp_num\":[4294967296]}",
		"{\"qp_num\":[1.5]}",
		"{\"qp_num\":[\"1\"]}",
		"{\"qp_num\":[null]}",
		"{\"local_lid\":65536}",
		"{\"local_lid\":-1}",
		"{\"local_lid\":\"1\"}",
		"{\"local_gid\":1}",
		"{\"local_nic_path\":[]}",
		"{\"peer_nic_path\":{}}",
		"{\"payload\":false}",
		"{\"reply_msg\":0}",
		"{\"local_nic_path\":\"a\\u0000b\"}",
	};
	struct pairs_json p = { .nr_qps = 77 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (decode(bad[i], &p) != -EBADMSG)
			MCTEST_FAIL("accepted: %s", bad[i]);
	for (size_t n = 0; n + 2 < sizeof(asked); n++) {
		char *part = malloc(n + !n);

		memcpy(part, asked, n);
		if (pairs_json_decode(part, n, &p) != -EBADMSG)
			MCTEST_FAIL("%zu bytes were accepted", n);
		free(part);
	}
	EXPECT_EQ(p.nr_qps, 77u);
}

TEST(as_many_pairs_as_there_may_be)
{
	for (unsigned nr = QPS_MAX; nr < QPS_MAX + 2; nr++) {
		struct pairs_json p = { .nr_qps = 77 };
		struct buf b = BUF_INIT;

		buf_printf(&b, "{\"qp_num\":[");
		for (unsigned i = 0; i < nr; i++)
			buf_printf(&b, "%s%u", i ? "," : "", i);
		buf_printf(&b, "]}");
		EXPECT_EQ(pairs_json_decode((char *)b.data, b.len, &p), nr == QPS_MAX ? 0 : -E2BIG);
		EXPECT_EQ(p.nr_qps, nr == QPS_MAX ? nr : 77u);
		if (nr == QPS_MAX)
			pairs_json_fini(&p);
		buf_fini(&b);
	}
}
