// SPDX-License-Identifier: Apache-2.0
/*
 * CRC-32C on x86: the CRC32 instruction in three interleaved streams, and folding by carry-less multiplication of 512-bit
 * registers (method: Gopal et al., "Fast CRC Computation Using PCLMULQDQ", Intel 2009).
 */
#include "base/crc.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "base/crc_fold.h"

/* ---- the CRC32 instruction: 3 cycles of latency, one a cycle, so three streams keep it busy ---- */

#define STREAM_LONG  4096u
#define STREAM_SHORT 256u

static uint64_t shift_long[2], shift_short[2]; /* past one stream, past two */

/*
 * The state after @bits further zero bits: shift(state, shift_const(bits)). The factor leaves out x^33, of which
 * the CRC32 instruction contributes x^32 and the reflected product the rest.
 */
static uint64_t shift_const(uint64_t bits)
{
	return crc_xpow(bits - 33);
}

crc_sse42_target static inline uint32_t shift(uint64_t state, uint64_t by)
{
	__m128i p = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)state),
					 _mm_cvtsi64_si128((long long)by), 0);

	return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(p));
}

uint64_t crc_fold_const[CRC_FOLDS][2];

static uint64_t fold_const(uint64_t bits)
{
	/*
	 * A 64-bit reflected register holds a polynomial of degree < 32 in its upper half. The product of two such registers
	 * comes out one power of x too high.
	 */
	return (uint64_t)crc_xpow(bits - 1) << 32;
}

static bool sse42_usable(void)
{
	static const unsigned distance[CRC_FOLDS] = { 2048, 1536, 1024, 768, 512, 384, 256, 128 };

	if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("pclmul"))
		return false;
	shift_long[0] = shift_const(8 * STREAM_LONG);
	shift_long[1] = shift_const(16 * STREAM_LONG);
	shift_short[0] = shift_const(8 * STREAM_SHORT);
	shift_short[1] = shift_const(16 * STREAM_SHORT);
	for (size_t i = 0; i < CRC_FOLDS; i++) {
		crc_fold_const[i][0] = fold_const(distance[i] + 64);
		crc_fold_const[i][1] = fold_const(distance[i]);
	}
	return true;
}

crc_sse42_target static inline uint32_t three(uint32_t state, const uint8_t *p, size_t each,
					      const uint64_t by[2])
{
	uint64_t a = state, b = 0, c = 0;

	for (size_t i = 0; i < each; i += 8) {
		a = _mm_crc32_u64(a, get_le64(p + i));
		b = _mm_crc32_u64(b, get_le64(p + each + i));
		c = _mm_crc32_u64(c, get_le64(p + 2 * each + i));
	}
	return shift(a, by[1]) ^ shift(b, by[0]) ^ (uint32_t)c;
}

crc_sse42_target static uint32_t sse42_update(uint32_t state, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t s;

	for (; len >= 3 * STREAM_LONG; p += 3 * STREAM_LONG, len -= 3 * STREAM_LONG)
		state = three(state, p, STREAM_LONG, shift_long);
	for (; len >= 3 * STREAM_SHORT; p += 3 * STREAM_SHORT, len -= 3 * STREAM_SHORT)
		state = three(state, p, STREAM_SHORT, shift_short);
	for (s = state; len >= 8; p += 8, len -= 8)
		s = _mm_crc32_u64(s, get_le64(p));
	state = (uint32_t)s;
	while (len--)
		state = _mm_crc32_u8(state, *p++);
	return state;
}

const struct crc_ops crc_sse42 = { "sse4.2", sse42_usable, sse42_update };

/* ---- folding in 512-bit registers ---- */

static bool avx512_usable(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq") &&
	       sse42_usable();
}

crc_fold_target static uint32_t avx512_update(uint32_t state, const void *data, size_t len)
{
	const uint8_t *p = data;
	struct crc_fold f;

	if (len < CRC_FOLD_BYTES)
		return sse42_update(state, data, len);
	crc_fold_start(&f, state, crc_fold_load(p), crc_fold_load(p + 64), crc_fold_load(p + 128),
		       crc_fold_load(p + 192));
	for (p += CRC_FOLD_BYTES, len -= CRC_FOLD_BYTES; len >= CRC_FOLD_BYTES;
	     p += CRC_FOLD_BYTES, len -= CRC_FOLD_BYTES)
		crc_fold_step(&f, crc_fold_load(p), crc_fold_load(p + 64), crc_fold_load(p + 128),
			      crc_fold_load(p + 192));
	return sse42_update(crc_fold_finish(&f), p, len);
}

const struct crc_ops crc_avx512 = { "avx512+vpclmulqdq", avx512_usable, avx512_update };

#endif
