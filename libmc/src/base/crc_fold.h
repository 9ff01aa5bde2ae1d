/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of CRC-32C on x86 that the checksum shares with the copies that compute one. */
#ifndef MC_CRC_FOLD_H
#define MC_CRC_FOLD_H

#include <immintrin.h>

#include "base/base.h"

#define CRC_SSE42_TARGET "sse4.2,pclmul"
#define crc_sse42_target __attribute__((target(CRC_SSE42_TARGET)))
#define crc_sse42_fn	 crc_sse42_target __attribute__((always_inline)) static inline

#define CRC_FOLD_TARGET	 "avx512f,vpclmulqdq,sse4.2,pclmul"
#define CRC_FOLD_BYTES	 256
#define CRC_FOLDS	 8

/* Multipliers of the low and high half of each 128-bit lane, by distance in bits: see sse42_usable(). */
extern uint64_t crc_fold_const[CRC_FOLDS][2];
enum { FOLD_2048, FOLD_1536, FOLD_1024, FOLD_768, FOLD_512, FOLD_384, FOLD_256, FOLD_128 };

/* ---- 128 bits ---- */

/* @v moved on by that distance, plus @next. */
crc_sse42_fn __m128i crc_fold_lane(__m128i v, int distance, __m128i next)
{
	__m128i by = _mm_loadu_si128((const __m128i *)crc_fold_const[distance]);

	v = _mm_xor_si128(_mm_clmulepi64_si128(v, by, 0x00), _mm_clmulepi64_si128(v, by, 0x11));
	return _mm_xor_si128(v, next);
}

/* The state after 16 bytes: they have the message's remainder, so their CRC is its CRC. */
crc_sse42_fn uint32_t crc_fold_last(__m128i v)
{
	return (uint32_t)_mm_crc32_u64(_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(v)),
				       (uint64_t)_mm_extract_epi64(v, 1));
}

/* The state after 64 bytes in four registers. */
crc_sse42_fn uint32_t crc_fold_lanes(__m128i a, __m128i b, __m128i c, __m128i d)
{
	d = crc_fold_lane(a, FOLD_384, d);
	d = crc_fold_lane(b, FOLD_256, d);
	return crc_fold_last(crc_fold_lane(c, FOLD_128, d));
}

/* ---- 512 bits ---- */

struct crc_fold {
	__m512i a, b, c, d, by;
};

#define crc_fold_target __attribute__((target(CRC_FOLD_TARGET)))
#define crc_fold_fn	crc_fold_target __attribute__((always_inline)) static inline

crc_fold_fn __m512i crc_fold_load(const void *p)
{
	return _mm512_loadu_si512(p);
}

crc_fold_fn __m512i crc_fold_by(int distance)
{
	return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)crc_fold_const[distance]));
}

/* @v moved on by the distance of @by, plus @next. */
crc_fold_fn __m512i crc_fold_one(__m512i v, __m512i by, __m512i next)
{
	__m512i lo = _mm512_clmulepi64_epi128(v, by, 0x00);
	__m512i hi = _mm512_clmulepi64_epi128(v, by, 0x11);

	return _mm512_ternarylogic_epi64(lo, hi, next, 0x96); /* three-way exclusive or */
}

crc_fold_fn void crc_fold_start(struct crc_fold *f, uint32_t state, __m512i a, __m512i b, __m512i c,
				__m512i d)
{
	f->a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)state)));
	f->b = b;
	f->c = c;
	f->d = d;
	f->by = crc_fold_by(FOLD_2048);
}

crc_fold_fn void crc_fold_step(struct crc_fold *f, __m512i a, __m512i b, __m512i c, __m512i d)
{
	f->a = crc_fold_one(f->a, f->by, a);
	f->b = crc_fold_one(f->b, f->by, b);
	f->c = crc_fold_one(f->c, f->by, c);
	f->d = crc_fold_one(f->d, f->by, d);
}

/* The state after everything that was folded in. */
crc_fold_fn uint32_t crc_fold_finish(const struct crc_fold *f)
{
	__m512i v = crc_fold_one(f->a, crc_fold_by(FOLD_1536), f->d);

	v = crc_fold_one(f->b, crc_fold_by(FOLD_1024), v);
	v = crc_fold_one(f->c, crc_fold_by(FOLD_512), v);
	return crc_fold_lanes(_mm512_castsi512_si128(v), _mm512_extracti32x4_epi32(v, 1),
			      _mm512_extracti32x4_epi32(v, 2), _mm512_extracti32x4_epi32(v, 3));
}

#endif
