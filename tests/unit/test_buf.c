// SPDX-License-Identifier: Apache-2.0
/* Byte buffers: what is written is read back, and nothing is read past the end. */
#include "mctest.h"

#include "base/buf.h"

TEST(round_trip)
{
	struct buf b = BUF_INIT;
	const void *p;
	struct cur c;
	size_t len;

	buf_put_u8(&b, 0x12);
	buf_put_u16(&b, 0x3456);
	buf_put_u32(&b, 0x789abcde);
	buf_put_u64(&b, 0x0123456789abcdefu);
	buf_put_str(&b, "key", 3);
	buf_put_str(&b, NULL, 0);
	buf_put(&b, "xy", 2);
	EXPECT_EQ(b.err, 0);
	EXPECT_EQ(b.len, 1 + 2 + 4 + 8 + 5 + 2 + 2u);
	EXPECT_EQ(b.data[1], 0x56); /* little endian */
	c = cur_init(b.data, b.len);
	EXPECT_EQ(cur_u8(&c), 0x12);
	EXPECT_EQ(cur_u16(&c), 0x3456);
	EXPECT_EQ(cur_u32(&c), 0x789abcdeu);
	EXPECT_EQ(cur_u64(&c), 0x0123456789abcdefu);
	p = cur_str(&c, &len);
	EXPECT_EQ(len, 3u);
	EXPECT_MEMEQ(p, "key", 3);
	EXPECT_TRUE(cur_str(&c, &len));
	EXPECT_EQ(len, 0u);
	EXPECT_EQ(cur_done(&c), -EBADMSG);
	EXPECT_TRUE(cur_take(&c, 2));
	EXPECT_EQ(cur_done(&c), 0);
	buf_fini(&b);
}

TEST(reading_past_the_end_sticks)
{
	const uint8_t m[] = { 5, 0, 'a', 'b' };
	struct cur c = cur_init(m, sizeof(m));
	size_t len;

	EXPECT_TRUE(!cur_str(&c, &len)); /* says five, has two */
	EXPECT_EQ(c.err, -EBADMSG);
	EXPECT_EQ(cur_u8(&c), 0); /* though a byte is there */
	EXPECT_EQ(cur_done(&c), -EBADMSG);
	c = cur_init(m, 3);
	EXPECT_EQ(cur_u32(&c), 0u);
	EXPECT_EQ(cur_done(&c), -EBADMSG);
	c = cur_init(m, 4);
	EXPECT_TRUE(!cur_take(&c, SIZE_MAX));
	c = cur_init(NULL, 0);
	EXPECT_EQ(cur_done(&c), 0);
}

TEST(grows)
{
	struct buf b = BUF_INIT;

	for (uint32_t i = 0; i < 100000; i++)
		buf_put_u32(&b, i);
	EXPECT_EQ(b.len, 400000u);
	EXPECT_LE(b.cap, 1000000u);
	for (uint32_t i = 0; i < 100000; i += 999)
		EXPECT_EQ(get_le32(b.data + 4 * i), i);
	buf_reset(&b);
	EXPECT_EQ(b.len, 0u);
	EXPECT_GE(b.cap, 400000u);
	buf_fini(&b);
	buf_put_u8(&b, 1);
	EXPECT_EQ(b.len, 1u);
	buf_fini(&b);
}

TEST(errors_stick)
{
	struct buf b = BUF_INIT;

	buf_put_u8(&b, 1);
	EXPECT_TRUE(!buf_push(&b, SIZE_MAX));
	EXPECT_EQ(b.err, -ENOMEM);
	buf_put_u8(&b, 2);
	EXPECT_EQ(b.len, 1u);
	buf_reset(&b);
	buf_put_str(&b, "", 65536);
	EXPECT_EQ(b.err, -EMSGSIZE);
	EXPECT_EQ(buf_reserve(&b, 1), -EMSGSIZE);
	buf_fini(&b);
}

TEST(prints)
{
	struct buf b = BUF_INIT;

	buf_printf(&b, "%s %d", "a", 5);
	buf_printf(&b, "%300d", 7);
	EXPECT_EQ(b.len, 303u);
	EXPECT_MEMEQ(b.data, "a 5   ", 6);
	EXPECT_EQ(b.data[302], '7');
	buf_fini(&b);
}
