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

/* ---- with CRC, three streams of the CRC32 instruction ---- */

#define EACH 1024u /* longer streams were slower on cold memory */

static uint64_t past_one, past_two;

static bool sse42_usable(void)
{
	if (!crc_sse42.usable())
		return false;
	past_one = crc_shift_const(8 * EACH);
	past_two = crc_shift_const(16 * EACH);
	return true;
}

#define crc_sse42_fn crc_sse42_target __attribute__((always_inline)) static inline

crc_sse42_fn uint64_t move64(char *to, const char *from, bool stream)
{
	uint64_t v = get_le64(from);

	LOADED_ONCE("+r", v);
	if (stream)
		_mm_stream_si64((long long *)to, (long long)v);
	else
		put_le64(to, v);
	return v;
}

crc_sse42_fn uint32_t sse42_copy(uint32_t state, char *to, const char *from, size_t len,
				 bool stream)
{
	for (; len; len -= 3 * EACH, from += 3 * EACH, to += 3 * EACH) {
		uint64_t a = state, b = 0, c = 0;

		for (size_t i = 0; i < EACH; i += 8) {
			a = _mm_crc32_u64(a, move64(to + i, from + i, stream));
			b = _mm_crc32_u64(b, move64(to + EACH + i, from + EACH + i, stream));
			c = _mm_crc32_u64(c,
					  move64(to + 2 * EACH + i, from + 2 * EACH + i, stream));
		}
		state = crc_shift(a, past_two) ^ crc_shift(b, past_one) ^ (uint32_t)c;
	}
	if (stream)
		_mm_sfence();
	return state;
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
	.name = "sse4.2",
	.usable = sse42_usable,
	.run = sse42_stream,
	.near = sse42_near,
	.granule = 3 * EACH,
	.stream_min = 16 * KiB,
};

#endif
