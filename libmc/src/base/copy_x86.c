// SPDX-License-Identifier: Apache-2.0
/* Copies past the cache on x86, and copies that compute CRC-32C from the registers they store. */
#include "base/copy_impl.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "base/crc.h"
#include "base/crc_fold.h"

/* ---- plain ---- */

static bool sse2_usable(void)
{
	return true; /* every x86-64 has it */
}

static void sse2_run(void *dst, const void *src, size_t len)
{
	const __m128i *from = src;
	__m128i *to = dst;

	for (; len; len -= COPY_LINE, from += 4, to += 4) {
		__m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
		__m128i c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);

		_mm_stream_si128(to, a);
		_mm_stream_si128(to + 1, b);
		_mm_stream_si128(to + 2, c);
		_mm_stream_si128(to + 3, d);
	}
	_mm_sfence();
}

const struct copy_stream copy_stream_sse2 = { "sse2", sse2_usable, sse2_run };

static bool avx2_usable(void)
{
	return __builtin_cpu_supports("avx2");
}

__attribute__((target("avx2"))) static void avx2_run(void *dst, const void *src, size_t len)
{
	const __m256i *from = src;
	__m256i *to = dst;

	for (; len >= 2 * COPY_LINE; len -= 2 * COPY_LINE, from += 4, to += 4) {
		__m256i a = _mm256_loadu_si256(from), b = _mm256_loadu_si256(from + 1);
		__m256i c = _mm256_loadu_si256(from + 2), d = _mm256_loadu_si256(from + 3);

		_mm256_stream_si256(to, a);
		_mm256_stream_si256(to + 1, b);
		_mm256_stream_si256(to + 2, c);
		_mm256_stream_si256(to + 3, d);
	}
	if (len) {
		_mm256_stream_si256(to, _mm256_loadu_si256(from));
		_mm256_stream_si256(to + 1, _mm256_loadu_si256(from + 1));
	}
	_mm_sfence();
}

const struct copy_stream copy_stream_avx2 = { "avx2", avx2_usable, avx2_run };

/* ---- with CRC, 512-bit folding ---- */

static bool avx512_usable(void)
{
	return crc_avx512.usable();
}

/* The checksum must be of the bytes that are stored, so the compiler may not load them a second time. */
#define LOADED_ONCE(constraint, v) __asm__("" : constraint(v))

/* One register on its way: what is returned is what was stored. */
crc_fold_fn __m512i move(char *to, const char *from, bool stream)
{
	__m512i v = crc_fold_load(from);

	LOADED_ONCE("+v", v);
	if (stream) {
		/* Two halves: measured a little faster past the cache than one 512-bit store (Zen 5), and never slower. */
		_mm256_stream_si256((__m256i *)to, _mm512_castsi512_si256(v));
		_mm256_stream_si256((__m256i *)to + 1, _mm512_extracti64x4_epi64(v, 1));
	} else {
		_mm512_storeu_si512(to, v);
	}
	return v;
}

/* @len is a multiple of CRC_FOLD_BYTES and not 0. */
crc_fold_fn uint32_t avx512_copy(uint32_t state, char *to, const char *from, size_t len,
				 bool stream)
{
	struct crc_fold f;
	__m512i a, b, c, d;

	a = move(to, from, stream);
	b = move(to + 64, from + 64, stream);
	c = move(to + 128, from + 128, stream);
	d = move(to + 192, from + 192, stream);
	crc_fold_start(&f, state, a, b, c, d);
	for (size_t i = CRC_FOLD_BYTES; i < len; i += CRC_FOLD_BYTES) {
		a = move(to + i, from + i, stream);
		b = move(to + i + 64, from + i + 64, stream);
		c = move(to + i + 128, from + i + 128, stream);
		d = move(to + i + 192, from + i + 192, stream);
		crc_fold_step(&f, a, b, c, d);
	}
	if (stream)
		_mm_sfence();
	return crc_fold_finish(&f);
}

crc_fold_target static uint32_t avx512_stream(uint32_t state, void *dst, const void *src,
					      size_t len)
{
	return avx512_copy(state, dst, src, len, true);
}

crc_fold_target static uint32_t avx512_near(uint32_t state, void *dst, const void *src, size_t len)
{
	return avx512_copy(state, dst, src, len, false);
}

const struct copy_crc copy_crc_avx512 = {
	.name = "avx512+vpclmulqdq",
	.usable = avx512_usable,
	.run = avx512_stream,
	.near = avx512_near,
	.granule = CRC_FOLD_BYTES,
	.stream_min = 16 * KiB,
};

/* ---- with CRC, 256-bit folding: CPUs that multiply vectors but have no 512-bit registers ---- */

#define AVX2_TARGET "avx2,vpclmulqdq,sse4.2,pclmul"
#define avx2_target __attribute__((target(AVX2_TARGET)))
#define avx2_fn	    avx2_target __attribute__((always_inline)) static inline

static bool avx2_crc_usable(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq") &&
	       crc_sse42.usable();
}

avx2_fn __m256i move256(char *to, const char *from, bool stream)
{
	__m256i v = _mm256_loadu_si256((const __m256i *)from);

	LOADED_ONCE("+x", v);
	if (stream)
		_mm256_stream_si256((__m256i *)to, v);
	else
		_mm256_storeu_si256((__m256i *)to, v);
	return v;
}

avx2_fn __m256i fold256(__m256i v, int distance, __m256i next)
{
	__m128i one = _mm_loadu_si128((const __m128i *)crc_fold_const[distance]);
	__m256i by = _mm256_broadcastsi128_si256(one);

	v = _mm256_xor_si256(_mm256_clmulepi64_epi128(v, by, 0x00),
			     _mm256_clmulepi64_epi128(v, by, 0x11));
	return _mm256_xor_si256(v, next);
}

/* @len is a multiple of 2 * COPY_LINE and not 0. */
avx2_fn uint32_t avx2_copy(uint32_t state, char *to, const char *from, size_t len, bool stream)
{
	__m256i a = move256(to, from, stream), b = move256(to + 32, from + 32, stream);
	__m256i c = move256(to + 64, from + 64, stream), d = move256(to + 96, from + 96, stream);

	a = _mm256_xor_si256(a, _mm256_zextsi128_si256(_mm_cvtsi32_si128((int)state)));
	for (size_t i = 2 * COPY_LINE; i < len; i += 2 * COPY_LINE) {
		a = fold256(a, FOLD_1024, move256(to + i, from + i, stream));
		b = fold256(b, FOLD_1024, move256(to + i + 32, from + i + 32, stream));
		c = fold256(c, FOLD_1024, move256(to + i + 64, from + i + 64, stream));
		d = fold256(d, FOLD_1024, move256(to + i + 96, from + i + 96, stream));
	}
	if (stream)
		_mm_sfence();
	d = fold256(a, FOLD_768, d);
	d = fold256(b, FOLD_512, d);
	d = fold256(c, FOLD_256, d);
	return crc_fold_last(
		crc_fold_lane(_mm256_castsi256_si128(d), FOLD_128, _mm256_extracti128_si256(d, 1)));
}

avx2_target static uint32_t avx2_stream(uint32_t state, void *dst, const void *src, size_t len)
{
	return avx2_copy(state, dst, src, len, true);
}

avx2_target static uint32_t avx2_near(uint32_t state, void *dst, const void *src, size_t len)
{
	return avx2_copy(state, dst, src, len, false);
}

const struct copy_crc copy_crc_avx2 = {
	.name = "avx2+vpclmulqdq",
	.usable = avx2_crc_usable,
	.run = avx2_stream,
	.near = avx2_near,
	.granule = 2 * COPY_LINE,
	.stream_min = 16 * KiB,
};

/* ---- with CRC, 128-bit folding ---- */

/*
 * One stream from the first byte to the last, which the prefetchers like. Three streams of the CRC32 instruction compute
 * faster, but measured half as fast on cold memory.
 */
static bool sse42_usable(void)
{
	return crc_sse42.usable();
}

crc_sse42_fn __m128i move128(char *to, const char *from, bool stream)
{
	__m128i v = _mm_loadu_si128((const __m128i *)from);

	LOADED_ONCE("+x", v);
	if (stream)
		_mm_stream_si128((__m128i *)to, v);
	else
		_mm_storeu_si128((__m128i *)to, v);
	return v;
}

/* @len is a multiple of COPY_LINE and not 0. */
crc_sse42_fn uint32_t sse42_copy(uint32_t state, char *to, const char *from, size_t len,
				 bool stream)
{
	__m128i a = move128(to, from, stream), b = move128(to + 16, from + 16, stream);
	__m128i c = move128(to + 32, from + 32, stream), d = move128(to + 48, from + 48, stream);

	a = _mm_xor_si128(a, _mm_cvtsi32_si128((int)state));
	for (size_t i = COPY_LINE; i < len; i += COPY_LINE) {
		a = crc_fold_lane(a, FOLD_512, move128(to + i, from + i, stream));
		b = crc_fold_lane(b, FOLD_512, move128(to + i + 16, from + i + 16, stream));
		c = crc_fold_lane(c, FOLD_512, move128(to + i + 32, from + i + 32, stream));
		d = crc_fold_lane(d, FOLD_512, move128(to + i + 48, from + i + 48, stream));
	}
	if (stream)
		_mm_sfence();
	return crc_fold_lanes(a, b, c, d);
}

crc_sse42_target static uint32_t sse42_stream(uint32_t state, void *dst, const void *src,
					      size_t len)
{
	return sse42_copy(state, dst, src, len, true);
}

crc_sse42_target static uint32_t sse42_near(uint32_t state, void *dst, const void *src, size_t len)
{
	return sse42_copy(state, dst, src, len, false);
}

const struct copy_crc copy_crc_sse42 = {
	.name = "pclmul",
	.usable = sse42_usable,
	.run = sse42_stream,
	.near = sse42_near,
	.granule = COPY_LINE,
	.stream_min = 16 * KiB,
};

#endif
