// SPDX-License-Identifier: Apache-2.0
/* CRC-32C: RFC 3720 vectors, then every way this CPU has against the definition, bit by bit. */
#include "mctest.h"

#include "base/crc.h"
#include "base/hash.h"

static uint32_t by_definition(uint32_t crc, const uint8_t *p, size_t len)
{
	crc = ~crc;
	while (len--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = (crc >> 1) ^ (crc & 1 ? CRC_POLY : 0);
	}
	return ~crc;
}

/* RFC 3720, appendix B.4. */
TEST(rfc3720_vectors)
{
	static const uint8_t read10[48] = {
		0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0,
		0x14, 0,    0, 0, 0, 0, 4, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
		0x28, 0,    0, 0, 0, 0, 0, 0, 2, 0, 0, 0,    0, 0, 0, 0,
	};
	uint8_t m[32];

	memset(m, 0, sizeof(m));
	EXPECT_EQ(crc32c(0, m, sizeof(m)), 0x8a9136aau);
	memset(m, 0xff, sizeof(m));
	EXPECT_EQ(crc32c(0, m, sizeof(m)), 0x62a8ab43u);
	for (unsigned i = 0; i < 32; i++)
		m[i] = (uint8_t)i;
	EXPECT_EQ(crc32c(0, m, sizeof(m)), 0x46dd794eu);
	for (unsigned i = 0; i < 32; i++)
		m[i] = (uint8_t)(31 - i);
	EXPECT_EQ(crc32c(0, m, sizeof(m)), 0x113fdb5cu);
	EXPECT_EQ(crc32c(0, read10, sizeof(read10)), 0xd9963a56u);
	EXPECT_EQ(crc32c(0, "123456789", 9), 0xe3069283u);
	EXPECT_EQ(crc32c(0, NULL, 0), 0u);
}

static const struct crc_ops *const ways[] = {
	&crc_table,
#if defined(__x86_64__)
	&crc_sse42,
	&crc_avx512,
#elif defined(__aarch64__)
	&crc_arm,
#endif
};

TEST(every_way_agrees)
{
	static const size_t lens[] = { 0,    1,	   7,	  8,	 9,	63,    64,   255,  256,
				       257,  511,  512,	  513,	 767,	768,   769,  1024, 2047,
				       4096, 5000, 12287, 12288, 12289, 13056, 25000 };
	static uint8_t m[25000 + 64];

	random_bytes(m, sizeof(m));
	for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
		if (!ways[w]->usable()) {
			printf("# %s is not in this CPU\n", ways[w]->name);
			continue;
		}
		for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
			for (size_t off = 0; off < 64; off += 13) {
				uint32_t start = (uint32_t)(i * 0x9e3779b9u);

				EXPECT_EQ(~ways[w]->update(~start, m + off, lens[i]),
					  by_definition(start, m + off, lens[i]));
			}
	}
}

TEST(continues)
{
	uint8_t m[3000];

	random_bytes(m, sizeof(m));
	for (size_t cut = 0; cut <= sizeof(m); cut += 111)
		EXPECT_EQ(crc32c(crc32c(0, m, cut), m + cut, sizeof(m) - cut),
			  crc32c(0, m, sizeof(m)));
}

TEST(joins)
{
	static const size_t lens[] = { 0, 1, 2, 3, 64, 100, 4096, 65537, 1 << 20 };
	size_t size = 2 << 20;
	uint8_t *m = malloc(size);

	random_bytes(m, size);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
		for (size_t j = 0; j < sizeof(lens) / sizeof(lens[0]); j++) {
			uint32_t a = crc32c(0, m, lens[i]), b = crc32c(0, m + lens[i], lens[j]);

			EXPECT_EQ(crc32c_join(a, b, lens[j]), crc32c(0, m, lens[i] + lens[j]));
		}
	free(m);
}

TEST(sees_every_flipped_bit)
{
	uint8_t m[600];
	uint32_t good;

	random_bytes(m, sizeof(m));
	good = crc32c(0, m, sizeof(m));
	for (size_t bit = 0; bit < 8 * sizeof(m); bit++) {
		m[bit / 8] ^= (uint8_t)(1 << bit % 8);
		EXPECT_NE(crc32c(0, m, sizeof(m)), good);
		m[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}
