// SPDX-License-Identifier: Apache-2.0
/* CRC-32C with the ARMv8 CRC instructions, in three interleaved streams. */
#include "base/crc.h"

#if defined(__aarch64__)
#include <sys/auxv.h>

#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif

#define EACH 4096u

static uint32_t past_one, past_two; /* x^(bits of one and of two streams) */

static bool arm_usable(void)
{
	past_one = crc_xpow(8 * EACH);
	past_two = crc_xpow(16 * EACH);
	return getauxval(AT_HWCAP) & HWCAP_CRC32;
}

/* Written out, because compilers disagree on how a single function gets the extension. */
static inline uint32_t step8(uint32_t state, uint64_t v)
{
	uint32_t next;

	__asm__(".arch_extension crc\n\tcrc32cx %w0, %w1, %x2" : "=r"(next) : "r"(state), "r"(v));
	return next;
}

static inline uint32_t step1(uint32_t state, uint8_t v)
{
	uint32_t next;

	__asm__(".arch_extension crc\n\tcrc32cb %w0, %w1, %w2"
		: "=r"(next)
		: "r"(state), "r"((uint32_t)v));
	return next;
}

static uint32_t three(uint32_t a, const uint8_t *p)
{
	uint32_t b = 0, c = 0;

	for (size_t i = 0; i < EACH; i += 8) {
		a = step8(a, get_le64(p + i));
		b = step8(b, get_le64(p + EACH + i));
		c = step8(c, get_le64(p + 2 * EACH + i));
	}
	return crc_mul(a, past_two) ^ crc_mul(b, past_one) ^ c;
}

static uint32_t arm_update(uint32_t state, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (; len >= 3 * EACH; p += 3 * EACH, len -= 3 * EACH)
		state = three(state, p);
	for (; len >= 8; p += 8, len -= 8)
		state = step8(state, get_le64(p));
	while (len--)
		state = step1(state, *p++);
	return state;
}

const struct crc_ops crc_arm = { "armv8", arm_usable, arm_update };

#endif
