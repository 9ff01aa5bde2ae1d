// SPDX-License-Identifier: Apache-2.0
/* Batches of the engine: a status for each request, many vectors, polling, cancelling, and bad ones. */
#include "mctest.h"
#include "peer.h"

#include <poll.h>

#include "base/hash.h"

static void batch_of_many(const char *transport)
{
	enum { NR = 600 };
	struct peer_proc p = { .len = 4 * MiB };
	static struct mc_request reqs[NR];
	static struct mc_vec vecs[NR][3];
	uint8_t *mine = calloc(1, 4 * MiB);
	struct mc_segment *seg;
	struct mc_engine *eng;
	struct mc_batch *b;
	struct mc_status st;

	ASSERT_EQ(peer_start(&p), 0);
	pattern(p.mem, p.len, 5);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	for (int i = 0; i < NR; i++) {
		int nr = 1 + i % 3;

		for (int k = 0; k < nr; k++) {
			uint64_t at = (uint64_t)i * 4096 + (uint64_t)k * 100;

			vecs[i][k] = (struct mc_vec){ mine + at, (uintptr_t)p.mem + at, 100 };
		}
		if (i % 50 == 49) /* outside of what the peer registered */
			vecs[i][nr - 1].remote = (uintptr_t)p.mem + p.len - 99;
		reqs[i] = (struct mc_request){ MC_READ, seg, vecs[i], (unsigned)nr, transport };
	}
	ASSERT_EQ(mc_batch_open(eng, NR, NULL, NULL, &b), 0);
	EXPECT_EQ(mc_batch_submit(b, reqs, NR, soon()), 0);
	EXPECT_EQ(mc_batch_submit(b, reqs, 1, soon()), -ENOSPC);
	EXPECT_EQ(mc_batch_wait(b, soon()), NR - NR / 50);
	for (int i = 0; i < NR; i++) {
		ASSERT_EQ(mc_batch_status(b, (unsigned)i, &st), 0);
		EXPECT_TRUE(st.state == MC_DONE);
		EXPECT_EQ(st.error, i % 50 == 49 ? -EFAULT : 0);
		if (!st.error) {
			EXPECT_EQ(st.bytes, 100u * (1u + (unsigned)i % 3));
			EXPECT_EQ(memcmp(mine + i * 4096, p.mem + i * 4096, st.bytes), 0);
			EXPECT_EQ(mine[i * 4096 + (int)st.bytes], 0);
		}
	}
	EXPECT_EQ(mc_batch_status(b, NR, &st), -ENOENT);
	EXPECT_EQ(mc_batch_reset(b), 0);
	EXPECT_EQ(mc_batch_submit(b, reqs, 3, soon()), 0);
	EXPECT_EQ(mc_batch_wait(b, soon()), 3);
	mc_batch_close(b);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
	free(mine);
}

TEST(a_batch_has_a_status_for_each_by_local)
{
	batch_of_many("local");
}

TEST(a_batch_has_a_status_for_each_by_tcp)
{
	batch_of_many("tcp");
}

/* The most vectors a request may have, scattered on both sides. */
static void many_vectors(const char *transport)
{
	enum { NR = 4096 };
	static struct mc_vec v[NR + 1];
	struct peer_proc p = { .len = 4 * MiB };
	uint8_t *mine = calloc(1, 4 * MiB);
	struct mc_request r = { .op = MC_READ, .vec = v, .nr_vec = NR, .transport = transport };
	struct mc_engine *eng;

	ASSERT_EQ(peer_start(&p), 0);
	pattern(p.mem, p.len, 6);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &r.segment), 0);
	for (size_t i = 0; i <= NR; i++)
		v[i] = (struct mc_vec){ mine + i * 1000, (uintptr_t)p.mem + i * 1000,
					1 + i % 1000 };
	EXPECT_EQ(mc_transfer(eng, &r, 1, soon()), 0);
	for (size_t i = 0; i < NR; i++) {
		EXPECT_EQ(memcmp(mine + i * 1000, p.mem + i * 1000, v[i].len), 0);
		if (i % 1000 < 999)
			EXPECT_EQ(mine[i * 1000 + v[i].len], 0);
	}
	pattern(mine, 4 * MiB, 7);
	r.op = MC_WRITE;
	EXPECT_EQ(mc_transfer(eng, &r, 1, soon()), 0);
	for (size_t i = 0; i < NR; i++)
		EXPECT_EQ(memcmp(mine + i * 1000, p.mem + i * 1000, v[i].len), 0);
	r.nr_vec = NR + 1;
	EXPECT_EQ(mc_transfer(eng, &r, 1, soon()), -EINVAL);
	mc_segment_close(r.segment);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
	free(mine);
}

TEST(many_vectors_by_local)
{
	many_vectors("local");
}

TEST(many_vectors_by_tcp)
{
	many_vectors("tcp");
}

TEST(bad_requests_start_nothing)
{
	struct peer_proc p = { .len = 4096 };
	struct mc_segment *seg;
	struct mc_engine *eng;
	char byte;
	struct mc_vec v = { &byte, 0, 1 };
	struct mc_request r = { .op = MC_READ, .vec = &v, .nr_vec = 1 };

	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_EQ(mc_transfer(eng, &r, 1, soon()), -EINVAL);
	r.segment = seg;
	v.len = UINT64_MAX;
	EXPECT_EQ(mc_transfer(eng, &r, 1, soon()), -EINVAL);
	v = (struct mc_vec){ &byte, (uintptr_t)p.mem + 4096, 1 };
	EXPECT_EQ(mc_transfer(eng, &r, 1, soon()), -EFAULT);
	r.transport = "carrier pigeon";
	EXPECT_EQ(mc_transfer(eng, &r, 1, soon()), -EINVAL);
	EXPECT_EQ(mc_segment_open(eng, "127.0.0.1:1", soon(), &seg), -ECONNREFUSED);
	EXPECT_EQ(mc_segment_open(eng, "nobody", soon(), &seg), -ENOENT);
	EXPECT_EQ(mc_segment_open(eng, "", soon(), &seg), -EINVAL);
	mc_segment_close(r.segment);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
}

/* Requests and vectors without bytes succeed, wherever they are, and the others with them. */
static void nothing_is_moved(const char *transport, enum mc_priority priority, bool queue)
{
	struct peer_proc p = { .len = 4096 };
	uint8_t in[4096] = { 0 };
	struct mc_segment *seg;
	struct mc_engine *eng;
	struct mc_batch *b;
	struct mc_cq *q;
	struct mc_vec v[6];
	struct mc_request r[4];
	struct mc_status st;

	ASSERT_EQ(peer_start(&p), 0);
	pattern(p.mem, 4096, 3);
	eng = engine_new(transport);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	v[0] = (struct mc_vec){ in, (uintptr_t)p.mem, 100 };
	v[1] = (struct mc_vec){ NULL, 1, 0 }; /* nothing is registered there */
	v[2] = v[1];
	v[3] = (struct mc_vec){ in + 100, (uintptr_t)p.mem + 100, 1000 };
	v[4] = v[1];
	v[5] = (struct mc_vec){ in + 1100, (uintptr_t)p.mem + 1100, 4096 - 1100 };
	r[0] = (struct mc_request){ .op = MC_READ, .segment = seg, .vec = &v[0], .nr_vec = 1 };
	r[1] = (struct mc_request){ .op = MC_READ, .segment = seg, .vec = &v[1], .nr_vec = 1, .flags = MC_REQUEST_CRC };
	r[2] = (struct mc_request){ .op = MC_READ, .segment = seg, .vec = &v[2], .nr_vec = 4 };
	r[3] = (struct mc_request){ .op = MC_WRITE, .segment = seg, .vec = &v[1], .nr_vec = 2 };
	ASSERT_EQ(mc_batch_open(eng, 4, NULL, NULL, &b), 0);
	EXPECT_EQ(mc_batch_priority(b, priority), 0);
	ASSERT_EQ(mc_cq_open(eng, &q), 0);
	EXPECT_EQ(mc_batch_watch(b, queue ? q : NULL), 0);
	/* All of them, then such a one alone. */
	for (unsigned round = 0, nr = 4; round < 2; round++, nr = 1) {
		EXPECT_EQ(mc_batch_submit(b, nr == 4 ? r : &r[1], nr, soon()), 0);
		if (queue) {
			struct pollfd fd = { .fd = mc_cq_fd(q), .events = POLLIN };
			struct mc_batch *done = NULL;

			EXPECT_EQ(poll(&fd, 1, 10000), 1);
			EXPECT_EQ(mc_cq_collect(q, &done, 1), 1u);
			EXPECT_TRUE(done == b);
		}
		EXPECT_EQ(mc_batch_wait(b, soon()), nr);
		for (unsigned i = 0; i < nr; i++) {
			EXPECT_EQ(mc_batch_status(b, i, &st), 0);
			EXPECT_TRUE(st.state == MC_DONE && !st.error);
			EXPECT_EQ(st.bytes, nr == 1 || i % 2 ? 0u : i ? 4096 - 100u : 100u);
		}
		EXPECT_EQ(mc_batch_reset(b), 0);
	}
	EXPECT_MEMEQ(in, p.mem, 4096);
	mc_batch_close(b);
	mc_cq_close(q);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
}

TEST(of_no_bytes_nothing_is_moved)
{
	for (int priority = MC_PRIORITY_NORMAL; priority <= MC_PRIORITY_BACKGROUND; priority++)
		for (int queue = 0; queue < 2; queue++) {
			nothing_is_moved("local", (enum mc_priority)priority, queue);
			nothing_is_moved("tcp", (enum mc_priority)priority, queue);
		}
}

/* Unregistered memory is out of reach at once, registered again it is back. */
static void count(void *arg)
{
	++*(int *)arg;
}

TEST(polling_and_cancelling)
{
	struct peer_proc p = { .len = 32 * MiB };
	uint8_t *mine = calloc(1, 32 * MiB);
	struct mc_vec v = { mine, 0, 32 * MiB };
	struct mc_request r = { .op = MC_READ, .vec = &v, .nr_vec = 1, .transport = "tcp" };
	struct mc_engine *eng;
	struct mc_status st;
	struct mc_batch *b;
	int told = 0;

	ASSERT_EQ(peer_start(&p), 0);
	pattern(p.mem, p.len, 3);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &r.segment), 0);
	v.remote = (uintptr_t)p.mem;
	ASSERT_EQ(mc_batch_open(eng, 1, count, &told, &b), 0);
	EXPECT_EQ(mc_batch_submit(b, &r, 1, soon()), 0);
	while (mc_batch_poll(b) > 0)
		;
	EXPECT_EQ(told, 1);
	EXPECT_EQ(mc_batch_status(b, 0, &st), 0);
	EXPECT_EQ(st.error, 0);
	EXPECT_EQ(memcmp(mine, p.mem, p.len), 0);

	EXPECT_EQ(mc_batch_reset(b), 0);
	EXPECT_EQ(mc_batch_submit(b, &r, 1, soon()), 0);
	EXPECT_EQ(mc_batch_reset(b), -EBUSY);
	mc_batch_cancel(b);
	EXPECT_EQ(told, 2);
	EXPECT_EQ(mc_batch_status(b, 0, &st), 0);
	EXPECT_EQ(st.error, -ECANCELED);
	mc_batch_close(b);
	/* The stream lives on. */
	v.len = 1000;
	EXPECT_EQ(mc_transfer(eng, &r, 1, soon()), 0);
	mc_segment_close(r.segment);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
	free(mine);
}

static void checksum(const char *transport)
{
	struct peer_proc p = { .len = 3 * MiB };
	uint8_t *mine = calloc(1, 3 * MiB);
	struct mc_vec v[3] = { { mine, 0, 64 }, { mine + 64, 0, 2 * MiB }, { mine + 64 + 2 * MiB, 0, 1 } };
	struct mc_request r = { .op = MC_READ, .vec = v, .nr_vec = 3, .transport = transport, .flags = MC_REQUEST_CRC };
	struct mc_engine *eng;
	struct mc_status st;
	struct mc_batch *b;

	ASSERT_EQ(peer_start(&p), 0);
	pattern(p.mem, p.len, 8);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &r.segment), 0);
	for (int i = 0; i < 3; i++)
		v[i].remote = (uintptr_t)p.mem + (uint64_t)(2 - i) * 1000;
	ASSERT_EQ(mc_batch_open(eng, 1, NULL, NULL, &b), 0);
	EXPECT_EQ(mc_batch_submit(b, &r, 1, soon()), 0);
	EXPECT_EQ(mc_batch_wait(b, soon()), 1);
	EXPECT_EQ(mc_batch_status(b, 0, &st), 0);
	EXPECT_EQ(st.bytes, 65 + 2 * MiB);
	EXPECT_EQ(st.crc, crc32c(0, mine, st.bytes));
	EXPECT_NE(st.crc, 0u);
	r.flags = 1u << 31;
	EXPECT_EQ(mc_batch_reset(b), 0);
	EXPECT_EQ(mc_batch_submit(b, &r, 1, soon()), -EINVAL);
	mc_batch_close(b);
	mc_segment_close(r.segment);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
	free(mine);
}

TEST(a_read_with_its_checksum_by_local)
{
	checksum("local");
}

TEST(a_read_with_its_checksum_by_tcp)
{
	checksum("tcp");
}
