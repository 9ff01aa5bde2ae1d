// SPDX-License-Identifier: Apache-2.0
/* The copy loops of the data path: which one for which size. Figures: docs/performance.md, `make bench`. */
#include "base/copy.h"

#include "base/copy_impl.h"
#include "base/hash.h"

/*
 * Where copying past the cache starts to win by more than it loses when the destination was in the cache. Cold buffers gain
 * from 16 KiB on (10 to 40 %), buffers in the second-level cache lose up to a factor of three. Plain copies mostly go to
 * a caller that reads soon; copies with a checksum go to the pool or the wire's buffers, which are cold.
 */
#define STREAM_MIN (256 * KiB)

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

static const struct copy_stream *const streams[] = {
#if defined(__x86_64__)
	&copy_stream_avx2,
	&copy_stream_sse2,
#endif
	NULL,
};

static const struct copy_crc *const crcs[] = {
#if defined(__x86_64__)
	&copy_crc_avx512,
	&copy_crc_avx2,
	&copy_crc_sse42,
#endif
	NULL,
};

static const struct copy_stream *stream; /* NULL: memcpy() only */
static const struct copy_crc *crc_way;	 /* NULL: memcpy() and crc32c() in turn */

/* After the constructor in crc.c, whose constants are used. */
__attribute__((constructor(102))) static void choose(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
#endif
	for (size_t i = 0; streams[i] && !stream; i++)
		if (streams[i]->usable())
			stream = streams[i];
	for (size_t i = 0; crcs[i] && !crc_way; i++)
		if (crcs[i]->usable())
			crc_way = crcs[i];
}

/* Bytes up to the next line of the destination. */
static size_t to_line(const void *dst)
{
	return -(uintptr_t)dst & (COPY_LINE - 1);
}

void copy_bytes(void *restrict dst, const void *restrict src, size_t len)
{
	size_t head, body;

	if (!len)
		return;
	if (len < STREAM_MIN || !stream) {
		memcpy(dst, src, len);
		return;
	}
	head = to_line(dst);
	body = (len - head) & ~(size_t)(COPY_LINE - 1);
	memcpy(dst, src, head);
	stream->run((char *)dst + head, (const char *)src + head, body);
	memcpy((char *)dst + head + body, (const char *)src + head + body, len - head - body);
}

/* The checksum is of the destination: it must describe the bytes that were stored, even if the source changes meanwhile. */
static uint32_t in_turn(void *dst, const void *src, size_t len, uint32_t crc)
{
	const size_t block = 4096; /* still in the first-level cache for the second look */

	while (len) {
		size_t n = MIN(len, block);

		memcpy(dst, src, n);
		crc = crc32c(crc, dst, n);
		dst = (char *)dst + n;
		src = (const char *)src + n;
		len -= n;
	}
	return crc;
}

uint32_t copy_crc32c(void *restrict dst, const void *restrict src, size_t len, uint32_t crc)
{
	size_t head, body;

	if (!crc_way || len < crc_way->granule + COPY_LINE)
		return in_turn(dst, src, len, crc);
	head = to_line(dst);
	body = (len - head) / crc_way->granule * crc_way->granule;
	crc = in_turn(dst, src, head, crc);
	dst = (char *)dst + head;
	src = (const char *)src + head;
	crc = ~(body < crc_way->stream_min ? crc_way->near : crc_way->run)(~crc, dst, src, body);
	return in_turn((char *)dst + body, (const char *)src + body, len - head - body, crc);
}

#ifdef UNDER_TSAN
/* volatile: the compiler must not turn this into memcpy(), which the sanitizer intercepts. */
__attribute__((no_sanitize("thread"))) void copy_racy(void *restrict dst, const void *restrict src,
						      size_t len)
{
	const volatile uint8_t *from = src;
	volatile uint8_t *to = dst;

	while (len--)
		*to++ = *from++;
}
#else
void copy_racy(void *restrict dst, const void *restrict src, size_t len)
{
	copy_bytes(dst, src, len);
}
#endif
