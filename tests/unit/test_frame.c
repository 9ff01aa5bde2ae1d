// SPDX-License-Identifier: Apache-2.0
/* The frame header: layout to the byte, and every field that must be refused. */
#include "net/net.h"

#include "mctest.h"

static const struct net_frame sample = {
	.flags = NET_REPLY,
	.type = 0x1234,
	.status = -ENOENT,
	.id = 0x0102030405060708,
	.body_len = 0x00abcdef,
	.payload_len = 0x1122334455,
};

TEST(layout_is_what_the_document_says)
{
	static const uint8_t want[NET_FRAME_BYTES] = {
		0x4d, 0x43, 0x43, 0x31, 1, 1, 0x34, 0x12, 0xfe, 0xff, 0xff, 0xff, 0xef, 0xcd, 0xab, 0x00,
		8, 7, 6, 5, 4, 3, 2, 1, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 0, 0,
	};
	uint8_t got[NET_FRAME_BYTES];

	net_frame_encode(&sample, got);
	EXPECT_MEMEQ(got, want, sizeof(want));
}

TEST(decode_returns_what_was_encoded)
{
	uint8_t wire[NET_FRAME_BYTES];
	struct net_frame f;

	net_frame_encode(&sample, wire);
	ASSERT_EQ(net_frame_decode(wire, &f), 0);
	EXPECT_EQ(f.flags, sample.flags);
	EXPECT_EQ(f.type, sample.type);
	EXPECT_EQ(f.status, sample.status);
	EXPECT_EQ(f.id, sample.id);
	EXPECT_EQ(f.body_len, sample.body_len);
	EXPECT_EQ(f.payload_len, sample.payload_len);
}

static int decode_with(size_t at, uint64_t v, size_t len)
{
	struct net_frame f = { .flags = 77 };
	uint8_t wire[NET_FRAME_BYTES], le[8];
	int ret;

	net_frame_encode(&sample, wire);
	put_le64(le, v);
	memcpy(wire + at, le, len);
	ret = net_frame_decode(wire, &f);
	if (ret)
		EXPECT_EQ(f.flags, 77); /* written on success only */
	return ret;
}

TEST(one_wrong_field_at_a_time)
{
	EXPECT_EQ(decode_with(0, 0x3143434c, 4), -EBADMSG);
	EXPECT_EQ(decode_with(4, 0, 1), -EBADMSG);
	EXPECT_EQ(decode_with(4, 2, 1), -EBADMSG);
	EXPECT_EQ(decode_with(5, NET_REPLY | NET_SUM, 1), 0);
	EXPECT_EQ(decode_with(5, NET_REPLY | 16, 1), -EBADMSG);
	EXPECT_EQ(decode_with(5, NET_REPLY | 0x80, 1), -EBADMSG);
	EXPECT_EQ(decode_with(5, NET_REPLY | NET_ONEWAY, 1), -EBADMSG);
	EXPECT_EQ(decode_with(5, 0, 1), -EBADMSG); /* a request with a status */
	EXPECT_EQ(decode_with(8, 1, 4), -EBADMSG);
	EXPECT_EQ(decode_with(8, (uint32_t)-4096, 4), -EBADMSG);
	EXPECT_EQ(decode_with(8, 0x80000000, 4), -EBADMSG);
	EXPECT_EQ(decode_with(8, (uint32_t)-4095, 4), 0);
	EXPECT_EQ(decode_with(12, NET_BODY_MAX + 1, 4), -EBADMSG);
	EXPECT_EQ(decode_with(12, NET_BODY_MAX, 4), 0);
	EXPECT_EQ(decode_with(24, NET_PAYLOAD_MAX + 1, 8), -EBADMSG);
	EXPECT_EQ(decode_with(24, UINT64_MAX, 8), -EBADMSG);
	EXPECT_EQ(decode_with(24, NET_PAYLOAD_MAX, 8), 0);
}

TEST(a_checksum_of_nothing)
{
	struct net_frame f = { .flags = NET_SUM, .type = 1, .id = 1, .body_len = 3 };
	uint8_t wire[NET_FRAME_BYTES];

	net_frame_encode(&f, wire);
	EXPECT_EQ(net_frame_decode(wire, &f), -EBADMSG);
	f.payload_len = 1;
	net_frame_encode(&f, wire);
	EXPECT_EQ(net_frame_decode(wire, &f), 0);
}

/* docs/protocol.md gives numbers for the status values, which are this platform's errno or the build is wrong. */
TEST(status_numbers)
{
	static const int want[][2] = {
		{ EPERM, 1 }, { ENOENT, 2 }, { EIO, 5 }, { EAGAIN, 11 }, { ENOMEM, 12 }, { EACCES, 13 },
		{ EFAULT, 14 }, { EBUSY, 16 }, { EEXIST, 17 }, { EINVAL, 22 }, { EMFILE, 24 }, { ENOSPC, 28 },
		{ EBADMSG, 74 }, { ESTALE, 116 }, { EMSGSIZE, 90 }, { EPROTONOSUPPORT, 93 },
		{ EOPNOTSUPP, 95 }, { ECONNRESET, 104 }, { ESHUTDOWN, 108 }, { ETIMEDOUT, 110 },
		{ ECANCELED, 125 }, { E2BIG, 7 }, { EXDEV, 18 }, { ERANGE, 34 }, { EPROTO, 71 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		EXPECT_EQ(want[i][0], want[i][1]);
}
