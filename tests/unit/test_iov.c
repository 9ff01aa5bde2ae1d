// SPDX-License-Identifier: Apache-2.0
/* Walking scattered memory: what is left, and pieces that touch. */
#include "mctest.h"

#include "base/hash.h"
#include "net/net_private.h"

static char mem[100];

static struct iovec at(size_t off, size_t len)
{
	return (struct iovec){ mem + off, len };
}

#define EXPECT_PIECE(v, off, len)                              \
	do {                                                   \
		EXPECT_EQ((char *)(v).iov_base - mem, (off)); \
		EXPECT_EQ((v).iov_len, (len));                 \
	} while (0)

TEST(pieces_that_touch_are_one)
{
	struct iovec in[] = { at(10, 5), at(15, 5), at(30, 0), at(20, 1), at(0, 2), at(2, 3), at(50, 4) }, out[7];
	struct iov_walk w = { .iov = in, .nr = 7 };

	EXPECT_EQ(iov_rest(&w, out, 7, UINT64_MAX), 3);
	EXPECT_PIECE(out[0], 10, 11u);
	EXPECT_PIECE(out[1], 0, 5u);
	EXPECT_PIECE(out[2], 50, 4u);
	EXPECT_EQ(iov_rest(&w, out, 1, UINT64_MAX), 1);
	EXPECT_PIECE(out[0], 10, 11u);
	EXPECT_EQ(iov_rest(&w, out, 7, 8), 1);
	EXPECT_PIECE(out[0], 10, 8u);
	iov_advance(&w, 7);
	EXPECT_EQ(iov_rest(&w, out, 2, UINT64_MAX), 2);
	EXPECT_PIECE(out[0], 17, 4u);
	EXPECT_PIECE(out[1], 0, 5u);
	EXPECT_EQ(iov_rest(&w, out, 0, UINT64_MAX), 0);
	iov_advance(&w, 13);
	EXPECT_EQ(iov_rest(&w, out, 7, UINT64_MAX), 0);
}

TEST(the_walk_keeps_the_pieces_apart)
{
	struct iovec in[] = { at(0, 40), at(40, 60) };
	struct iov_walk w = { .iov = in, .nr = 2 };
	uint32_t crc;

	for (int i = 0; i < 100; i++)
		mem[i] = (char)i;
	crc = iov_crc(&w, 50, 0);
	EXPECT_EQ(w.iov - in, 1);
	EXPECT_EQ(w.skip, 10u);
	EXPECT_EQ(crc, crc32c(0, mem, 50));
	EXPECT_EQ(iov_crc(&w, 50, crc), crc32c(0, mem, 100));
}
