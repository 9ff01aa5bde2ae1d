// SPDX-License-Identifier: Apache-2.0
/* SipHash against its authors' vectors; randomness that is not constant. */
#include "mctest.h"

#include "base/hash.h"

/* Key 00..0f, message 00 01 02 ..., as in the paper's appendix A and the authors' vectors.h. */
static const struct hash_key key = { { 0x0706050403020100u, 0x0f0e0d0c0b0a0908u } };

static void counting(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)i;
}

TEST(siphash64_vectors)
{
	static const struct {
		size_t len;
		uint64_t want;
	} v[] = {
		{ 0, 0x726fdb47dd0e0e31u },  { 1, 0x74f839c593dc67fdu },
		{ 2, 0x0d6c8009d9a94f5au },  { 3, 0x85676696d7fb7e2du },
		{ 7, 0xab0200f58b01d137u },  { 8, 0x93f5f5799a932462u },
		{ 15, 0xa129ca6149be45e5u }, { 63, 0x958a324ceb064572u },
	};
	uint8_t m[64];

	counting(m, sizeof(m));
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		EXPECT_EQ(siphash64(&key, m, v[i].len), v[i].want);
}

TEST(siphash128_vectors)
{
	static const struct {
		size_t len;
		uint64_t want[2];
	} v[] = {
		{ 0, { 0xe6a825ba047f81a3u, 0x930255c71472f66du } },
		{ 1, { 0x44af996bd8c187dau, 0x45fc229b11597634u } },
		{ 15, { 0x11a8b03399e99354u, 0xd9c3cf970fec087eu } },
		{ 63, { 0x4a83502f77d15051u, 0x7cbd3f979a063e50u } },
	};
	uint8_t m[64];
	uint64_t out[2];

	counting(m, sizeof(m));
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		siphash128(&key, m, v[i].len, out);
		EXPECT_EQ(out[0], v[i].want[0]);
		EXPECT_EQ(out[1], v[i].want[1]);
	}
}

TEST(siphash_ignores_alignment)
{
	uint8_t m[80];

	for (size_t off = 0; off < 8; off++) {
		counting(m + off, 63);
		EXPECT_EQ(siphash64(&key, m + off, 63), 0x958a324ceb064572u);
	}
}

TEST(random_differs)
{
	uint8_t a[512] = { 0 }, b[512] = { 0 };

	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	EXPECT_TRUE(memcmp(a, b, sizeof(a)));
	EXPECT_TRUE(memcmp(a + 256, b + 256, 256));
	random_bytes(a, 0);
}
