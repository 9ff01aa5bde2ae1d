// SPDX-License-Identifier: Apache-2.0
/* Lossy rings: order, overrun, hostile heads, many writers. */
#include "mctest.h"

#include <pthread.h>

#include "base/ring.h"

static struct lossy_ring *make(uint64_t places)
{
	struct lossy_ring *r = aligned_alloc(64, align_up(LOSSY_RING_BYTES(places), 64));

	lossy_ring_init(r, places);
	return r;
}

TEST(keeps_order)
{
	struct lossy_ring *r = make(8);
	uint64_t tail = 0, out[8];

	for (uint64_t round = 0; round < 10; round++) {
		for (uint64_t v = 1; v <= 5; v++)
			lossy_ring_push(r, 7, round * 10 + v);
		EXPECT_EQ(lossy_ring_drain(r, 7, &tail, out, 3), 3u);
		EXPECT_EQ(out[0], round * 10 + 1);
		EXPECT_EQ(out[2], round * 10 + 3);
		EXPECT_EQ(lossy_ring_drain(r, 7, &tail, out, 8), 2u);
		EXPECT_EQ(out[1], round * 10 + 5);
		EXPECT_EQ(lossy_ring_drain(r, 7, &tail, out, 8), 0u);
	}
	free(r);
}

TEST(loses_the_oldest)
{
	struct lossy_ring *r = make(8);
	uint64_t tail = 0, out[16];

	for (uint64_t v = 1; v <= 21; v++)
		lossy_ring_push(r, 7, v);
	EXPECT_EQ(lossy_ring_drain(r, 7, &tail, out, 16), 8u);
	EXPECT_EQ(out[0], 14u);
	EXPECT_EQ(out[7], 21u);
	EXPECT_EQ(tail, 21u);
	free(r);
}

/* A writer that died between its two operations leaves a hole; nothing waits for it. */
TEST(skips_what_was_never_written)
{
	struct lossy_ring *r = make(4);
	uint64_t tail = 0, out[4];

	lossy_ring_push(r, 3, 1);
	atomic_fetch_add(&r->head, 1);
	lossy_ring_push(r, 3, 3);
	EXPECT_EQ(lossy_ring_drain(r, 3, &tail, out, 4), 2u);
	EXPECT_EQ(out[0], 1u);
	EXPECT_EQ(out[1], 3u);
	free(r);
}

TEST(hostile_head_is_bounded)
{
	static const uint64_t heads[] = { UINT64_MAX, (uint64_t)1 << 63, 1000, 0 };
	struct lossy_ring *r = make(16);
	uint64_t tail = 500, out[64];

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		atomic_store(&r->head, heads[i]);
		r->mask = UINT64_MAX; /* not looked at */
		EXPECT_LE(lossy_ring_drain(r, 15, &tail, out, 64), 16u);
		EXPECT_EQ(tail, heads[i]);
	}
	free(r);
}

#define WRITERS 3
#define EACH	20000u
#define PLACES	((uint64_t)1 << 16)

static struct lossy_ring *shared;

static void *writer(void *arg)
{
	for (uint64_t i = 1; i <= EACH; i++)
		lossy_ring_push(shared, PLACES - 1, (uint64_t)(uintptr_t)arg << 32 | i);
	return NULL;
}

/* Room for all, so nothing may be lost or come twice, whenever the reader looks; but a hole may be passed (counted). */
TEST(many_writers)
{
	uint64_t tail = 0, out[256], sum = 0, got = 0;
	pthread_t t[WRITERS];

	shared = make(PLACES);
	for (uintptr_t i = 0; i < WRITERS; i++)
		pthread_create(&t[i], NULL, writer, (void *)(i + 1));
	for (int joined = 0; joined < WRITERS; joined++) {
		pthread_join(t[joined], NULL);
		for (size_t n;
		     (n = lossy_ring_drain(shared, PLACES - 1, &tail, out, ARRAY_SIZE(out)));)
			for (size_t i = 0; i < n; i++, got++)
				sum += out[i] & UINT32_MAX;
	}
	for (uint64_t i = 0; i < PLACES; i++) { /* written after the reader had passed */
		uint64_t v = atomic_load(&shared->slot[i]);

		got += !!v;
		sum += v & UINT32_MAX;
	}
	EXPECT_EQ(tail, WRITERS * EACH);
	EXPECT_EQ(got, WRITERS * EACH);
	EXPECT_EQ(sum, WRITERS * (uint64_t)EACH * (EACH + 1) / 2);
	free(shared);
}
