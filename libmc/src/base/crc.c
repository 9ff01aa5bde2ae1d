// SPDX-License-Identifier: Apache-2.0
/* CRC-32C: the choice of a way to compute it, the table that works everywhere, and joining. */
#include "base/crc.h"

#include "base/hash.h"

/*
 * Polynomials over GF(2) are bit-reflected: bit 31 is the coefficient of x^0. Constants are computed at start from the
 * polynomial, so there is none to mistype.
 */
static uint32_t mul_x(uint32_t a)
{
	return (a >> 1) ^ (a & 1 ? CRC_POLY : 0);
}

uint32_t crc_mul(uint32_t a, uint32_t b)
{
	uint32_t sum = 0;

	for (uint32_t bit = (uint32_t)1 << 31; bit; bit >>= 1) {
		if (b & bit)
			sum ^= a;
		a = mul_x(a);
	}
	return sum;
}

static uint32_t x_to_2_to[64]; /* x^(2^i) */
static uint32_t table[8][256]; /* [k][byte]: the byte followed by k zero bytes */

uint32_t crc_xpow(uint64_t n)
{
	uint32_t r = (uint32_t)1 << 31;

	for (int i = 0; n; i++, n >>= 1)
		if (n & 1)
			r = crc_mul(r, x_to_2_to[i]);
	return r;
}

uint32_t crc32c_join(uint32_t crc_a, uint32_t crc_b, uint64_t len_b)
{
	/* Eight bits a byte; x^(2^64) and above would need lengths that no memory has. */
	return crc_mul(crc_a, crc_xpow(len_b * 8)) ^ crc_b;
}

static bool table_usable(void)
{
	return true;
}

static uint32_t table_update(uint32_t state, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (; len >= 8; p += 8, len -= 8) {
		uint64_t v = get_le64(p) ^ state;

		state = 0;
		for (int i = 0; i < 8; i++)
			state ^= table[7 - i][(v >> (8 * i)) & 0xff];
	}
	while (len--)
		state = (state >> 8) ^ table[0][(state ^ *p++) & 0xff];
	return state;
}

const struct crc_ops crc_table = { "table", table_usable, table_update };

static const struct crc_ops *const ways[] = {
#if defined(__x86_64__)
	&crc_avx512,
	&crc_sse42,
#elif defined(__aarch64__)
	&crc_arm,
#endif
	&crc_table,
};

static uint32_t (*update)(uint32_t state, const void *data, size_t len);

static void make_constants(void)
{
	x_to_2_to[0] = (uint32_t)1 << 30;
	for (int i = 1; i < 64; i++)
		x_to_2_to[i] = crc_mul(x_to_2_to[i - 1], x_to_2_to[i - 1]);
	for (unsigned b = 0; b < 256; b++) {
		uint32_t v = b;

		for (int i = 0; i < 8; i++)
			v = mul_x(v);
		table[0][b] = v;
	}
	for (int k = 1; k < 8; k++)
		for (int b = 0; b < 256; b++)
			table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 0xff];
}

__attribute__((constructor(101))) static void choose(void)
{
	make_constants();
#if defined(__x86_64__)
	__builtin_cpu_init(); /* this early it may not have been called yet */
#endif
	for (size_t i = 0; !update; i++)
		if (ways[i]->usable())
			update = ways[i]->update;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	return ~update(~crc, data, len);
}
