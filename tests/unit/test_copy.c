// SPDX-License-Identifier: Apache-2.0
/* Every copy loop this CPU can run: all alignments, lengths around each threshold, nothing written outside, right checksums. */
#include "mctest.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/copy.h"
#include "base/copy_impl.h"
#include "base/hash.h"

#define ROOM ((size_t)1 << 20)
#define EDGE 128

static uint8_t *src, *dst, *want;

static void setup(void)
{
	if (src)
		return;
	src = aligned_alloc(4096, ROOM);
	dst = aligned_alloc(4096, ROOM);
	want = aligned_alloc(4096, ROOM);
	random_bytes(src, ROOM);
}

static const size_t lens[] = { 0,      1,      63,     64,     65,     127,   255,   256,   257,
			       319,    320,    511,    1000,   3071,   3072,  3135,  3136,  3137,
			       4096,   4097,   9000,   16383,  16384,  16640, 16704, 20000, 65536,
			       100003, 262143, 262144, 262145, 300001, 700000 };

/* Only [at, at + len) may change, and must be the source. */
static void check(size_t at, size_t from, size_t len)
{
	memset(want, 0xa5, len + 2 * EDGE + at);
	memcpy(want + EDGE + at, src + from, len);
	EXPECT_MEMEQ(dst, want, len + 2 * EDGE + at);
}

static void prepare(size_t at, size_t len)
{
	memset(dst, 0xa5, len + 2 * EDGE + at);
}

TEST(copies)
{
	static const size_t ats[] = { 0, 1, 8, 33, 63 };

	setup();
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++)
		for (size_t j = 0; j < ARRAY_SIZE(ats); j++)
			for (size_t from = 0; from < 64; from += 29) {
				prepare(ats[j], lens[i]);
				copy_bytes(dst + EDGE + ats[j], src + from, lens[i]);
				check(ats[j], from, lens[i]);
				prepare(ats[j], lens[i]);
				copy_racy(dst + EDGE + ats[j], src + from, lens[i]);
				check(ats[j], from, lens[i]);
			}
}

TEST(copies_with_checksum)
{
	static const size_t ats[] = { 0, 1, 8, 33, 63 };

	setup();
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++)
		for (size_t j = 0; j < ARRAY_SIZE(ats); j++)
			for (size_t from = 0; from < 64; from += 29) {
				uint32_t start = (uint32_t)i * 0x01234567u, got;

				prepare(ats[j], lens[i]);
				got = copy_crc32c(dst + EDGE + ats[j], src + from, lens[i], start);
				EXPECT_EQ(got, crc32c(start, src + from, lens[i]));
				check(ats[j], from, lens[i]);
			}
}

#if defined(__x86_64__)
/* Also those that the CPU could run but that were not chosen. */
TEST(every_way)
{
	static const struct copy_crc *const ways[] = { &copy_crc_avx512, &copy_crc_avx2, &copy_crc_sse42 };
	static const struct copy_stream *const streams[] = { &copy_stream_avx2, &copy_stream_sse2 };

	setup();
	for (size_t w = 0; w < ARRAY_SIZE(ways); w++) {
		if (!ways[w]->usable()) {
			printf("# %s is not in this CPU\n", ways[w]->name);
			continue;
		}
		for (size_t n = 1; n < 40; n += 6)
			for (int near = 0; near < 2; near++) {
				size_t len = n * ways[w]->granule;
				uint32_t got;

				prepare(0, len);
				got = ~(near ? ways[w]->near : ways[w]->run)(~7u, dst + EDGE,
									     src + 5, len);
				EXPECT_EQ(got, crc32c(7, src + 5, len));
				check(0, 5, len);
			}
	}
	for (size_t w = 0; w < ARRAY_SIZE(streams); w++) {
		if (!streams[w]->usable())
			continue;
		for (size_t len = 0; len < 20 * 64; len += 64) {
			prepare(0, len);
			streams[w]->run(dst + EDGE, src + 3, len);
			check(0, 3, len);
		}
	}
}
#endif

/* The checksum is of what was stored, even when somebody writes the source at the same time. */
static atomic_bool stop;

__attribute__((no_sanitize("thread"))) static void *scribble(void *arg)
{
	volatile uint8_t *p = arg;

	for (uint8_t v = 0; !atomic_load(&stop); v++)
		for (size_t i = 0; i < 65536; i += 61)
			p[i] = v;
	return NULL;
}

TEST(checksum_is_of_what_was_stored)
{
#if defined(__SANITIZE_THREAD__)
	SKIP("races on purpose");
#endif
	pthread_t t;

	setup();
	atomic_store(&stop, false);
	pthread_create(&t, NULL, scribble, src);
	for (int i = 0; i < 300; i++) {
		size_t len = i % 3 ? 65536 : 4096;
		uint32_t crc = copy_crc32c(dst, src, len, 0);

		if (crc != crc32c(0, dst, len)) {
			MCTEST_FAIL("round %d, %zu bytes: checksum of other bytes", i, len);
			break;
		}
	}
	atomic_store(&stop, true);
	pthread_join(t, NULL);
}
