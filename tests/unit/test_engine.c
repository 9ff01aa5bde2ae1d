// SPDX-License-Identifier: Apache-2.0
/* The engine between two processes: every size by every transport, and what happens when the peer misbehaves. */
#include "mctest.h"
#include "peer.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>

#include "base/clock.h"
#include "base/hash.h"

#define LEN (64 * MiB)

static struct mc_engine *engine_new(const char *transports)
{
	struct mc_engine_opts o = { .size = sizeof(o), .transports = transports };
	struct mc_engine *eng = NULL;

	EXPECT_EQ(mc_engine_open(&o, &eng), 0);
	return eng;
}

static uint64_t soon(void)
{
	return deadline_after_ms(10000);
}

static int move_one(struct mc_engine *eng, struct mc_segment *seg, enum mc_op op, void *local, const void *remote,
		    uint64_t len, const char *transport, uint64_t deadline_ns)
{
	const struct mc_vec v = { local, (uintptr_t)remote, len };
	const struct mc_request r = { .op = op, .segment = seg, .vec = &v, .nr_vec = 1, .transport = transport };

	return mc_transfer(eng, &r, 1, deadline_ns);
}

static void pattern(uint8_t *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((i + seed) * 0x9e3779b97f4a7c15u >> 56);
}

static const uint64_t sizes[] = { 1, 7, 64, 4095, 4096, 4097, 65536, 100000, MiB, MiB + 1, 4 * MiB, 16 * MiB + 3, LEN };

static void every_size(const char *transport, size_t upto)
{
	struct peer_proc p = { .len = LEN };
	struct mc_segment *seg;
	struct mc_engine *eng;
	uint8_t *mine = malloc(LEN + 64);

	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	for (size_t i = 0; i < upto; i++) {
		uint64_t n = sizes[i];

		pattern(p.mem, n, i);
		memset(mine, 0xee, n + 64);
		EXPECT_EQ(move_one(eng, seg, MC_READ, mine, p.mem, n, transport, soon()), 0);
		EXPECT_EQ(memcmp(mine, p.mem, n), 0);
		EXPECT_EQ(mine[n], 0xee);
		pattern(mine, n, i + 100);
		p.mem[n % LEN] = 0x77;
		EXPECT_EQ(move_one(eng, seg, MC_WRITE, mine, p.mem, n, transport, soon()), 0);
		EXPECT_EQ(memcmp(mine, p.mem, n), 0);
		if (n < LEN)
			EXPECT_EQ(p.mem[n], 0x77);
	}
	mc_segment_close(seg);
	mc_engine_close(eng);
	EXPECT_EQ(peer_stop(&p, 0), 0);
	peer_free(&p);
	free(mine);
}

TEST(local_moves_every_size)
{
	every_size("local", ARRAY_SIZE(sizes));
}

TEST(tcp_moves_every_size)
{
	every_size("tcp", ARRAY_SIZE(sizes));
}

TEST(local_is_preferred_and_said)
{
	struct peer_proc p = { .len = 4096 }, q = { .len = 4096, .transports = "tcp" };
	struct mc_segment *seg, *other;
	struct mc_engine *eng;
	uint64_t addr, len;

	ASSERT_EQ(peer_start(&p), 0);
	ASSERT_EQ(peer_start(&q), 0);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	ASSERT_EQ(mc_segment_open(eng, q.name, soon(), &other), 0);
	EXPECT_STREQ(mc_segment_transport(seg), "local");
	EXPECT_STREQ(mc_segment_transport(other), "tcp");
	EXPECT_EQ(mc_segment_buffer(seg, 0, &addr, &len), 0);
	EXPECT_EQ(addr, (uintptr_t)p.mem);
	EXPECT_EQ(len, 4096u);
	EXPECT_EQ(mc_segment_buffer(seg, 1, &addr, &len), -ENOENT);
	EXPECT_EQ(mc_probe(eng, p.name, soon()), 0);
	mc_segment_close(seg);
	mc_segment_close(other);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_stop(&q, 0);
	peer_free(&p);
	peer_free(&q);
}

/* Many requests, some of several vectors, some wrong: each has its own status. */
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
	v.len = 0;
	EXPECT_EQ(mc_transfer(eng, &r, 1, soon()), -EINVAL);
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

/* Unregistered memory is out of reach at once, registered again it is back. */
static void unregistering(const char *transport)
{
	struct peer_proc p = { .len = 65536 };
	struct mc_segment *seg;
	struct mc_engine *eng;
	char buf[100];

	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem, 100, transport, soon()), 0);
	EXPECT_EQ(peer_tell(&p, 'u'), 'k');
	EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem, 100, transport, soon()), -EFAULT);
	EXPECT_EQ(move_one(eng, seg, MC_WRITE, buf, p.mem, 100, transport, soon()), -EFAULT);
	EXPECT_EQ(peer_tell(&p, 'r'), 'k');
	EXPECT_EQ(peer_tell(&p, 'r'), 'e');
	EXPECT_EQ(move_one(eng, seg, MC_WRITE, buf, p.mem, 100, transport, soon()), 0);
	mc_segment_close(seg);
	mc_engine_close(eng);
	EXPECT_EQ(peer_stop(&p, 0), 0);
	peer_free(&p);
}

TEST(unregistered_memory_is_out_of_reach_by_local)
{
	unregistering("local");
}

TEST(unregistered_memory_is_out_of_reach_by_tcp)
{
	unregistering("tcp");
}

/* Each request ends by its deadline, and the buffer stays as it is then. */
TEST(a_stopped_peer_holds_up_nobody)
{
	struct peer_proc p = { .len = 8 * MiB };
	uint8_t *mine = calloc(1, 8 * MiB);
	struct mc_segment *seg;
	struct mc_engine *eng;
	uint64_t start, took;
	uint32_t crc;
	int status;

	ASSERT_EQ(peer_start(&p), 0);
	pattern(p.mem, p.len, 1);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_EQ(move_one(eng, seg, MC_READ, mine, p.mem, 4096, "tcp", soon()), 0);
	memset(mine, 0, 4096);
	kill(p.pid, SIGSTOP);
	EXPECT_EQ(waitpid(p.pid, &status, WUNTRACED), p.pid);
	for (int op = 0; op < 2; op++) {
		start = clock_now_ns();
		EXPECT_EQ(move_one(eng, seg, op ? MC_WRITE : MC_READ, mine, p.mem, p.len, "tcp", deadline_after_ms(150)),
			  -ETIMEDOUT);
		took = (clock_now_ns() - start) / NSEC_PER_MSEC;
		EXPECT_GE(took, 150u);
		EXPECT_LE(took, 250u);
	}
	crc = crc32c(0, mine, p.len);
	/* By other means it is still reached: its memory needs no help of its own. */
	EXPECT_EQ(move_one(eng, seg, MC_READ, mine, p.mem, 1, NULL, soon()), 0);
	mine[0] = 0;
	kill(p.pid, SIGCONT);
	EXPECT_EQ(move_one(eng, seg, MC_WRITE, mine + 4096, p.mem, 4096, "tcp", soon()), 0);
	EXPECT_EQ(crc32c(0, mine, p.len), crc);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
	free(mine);
}

static void killed(const char *transport)
{
	struct peer_proc p = { .len = MiB };
	char *mine = calloc(1, MiB);
	struct mc_segment *seg;
	struct mc_engine *eng;
	uint64_t start;

	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_EQ(move_one(eng, seg, MC_READ, mine, p.mem, MiB, transport, soon()), 0);
	peer_stop(&p, SIGKILL);
	start = clock_now_ns();
	for (int i = 0; i < 3; i++) {
		int ret = move_one(eng, seg, i & 1 ? MC_WRITE : MC_READ, mine, p.mem, MiB, transport, soon());

		EXPECT_TRUE(ret == -ECONNRESET || ret == -ECONNREFUSED);
	}
	EXPECT_LT(clock_now_ns() - start, NSEC_PER_SEC);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_free(&p);
	free(mine);
}

TEST(a_killed_peer_is_noticed_by_local)
{
	killed("local");
}

TEST(a_killed_peer_is_noticed_by_tcp)
{
	killed("tcp");
}

/* The same name, another process: transfers find it without being told. */
static void restarted(const char *transport)
{
	struct peer_proc p = { .len = MiB }, q;
	struct mc_segment *seg;
	struct mc_engine *eng;
	uint8_t buf[16] = { 0 };

	ASSERT_EQ(peer_start(&p), 0);
	q = p;
	ASSERT_EQ(peer_fork(&q), 0);
	p.mem[0] = 1;
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem, 16, transport, soon()), 0);
	EXPECT_EQ(buf[0], 1);
	EXPECT_EQ(peer_stop(&p, SIGKILL), 128 + SIGKILL);
	p.mem[0] = 2;
	ASSERT_EQ(peer_go(&q, p.name), 0);
	EXPECT_STREQ(q.name, p.name);
	EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem, 16, transport, soon()), 0);
	EXPECT_EQ(buf[0], 2);
	EXPECT_EQ(mc_segment_refresh(seg, soon()), 0);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&q, 0);
	peer_free(&p);
}

TEST(a_restarted_peer_is_found_again_by_local)
{
	restarted("local");
}

TEST(a_restarted_peer_is_found_again_by_tcp)
{
	restarted("tcp");
}

TEST(messages_arrive)
{
	struct peer_proc p = { .len = 4096 };
	struct mc_segment *seg;
	struct mc_engine *eng;

	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_EQ(peer_tell(&p, 'n'), '0');
	EXPECT_EQ(mc_notify_send(seg, "a name", "hello", soon()), 0);
	EXPECT_EQ(peer_tell(&p, 'n'), 'k');
	EXPECT_EQ(peer_tell(&p, 'n'), '0');
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
}

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

/* ---- many at once ------------------------------------------------------------------------------------------------------ */

#define SLICE MiB

struct worker {
	pthread_t thread;
	struct mc_engine *eng;
	struct mc_segment *seg;
	uint8_t *there; /* its own part of the peer's memory */
	unsigned seed, rounds;
	_Atomic unsigned moved, failed;
};

static unsigned next(struct worker *w)
{
	return w->seed = w->seed * 1103515245 + 12345, w->seed >> 8;
}

/* Writes in pieces of its own choice, now and then cancels in the middle and writes again; reads back and compares. */
static void one_round(struct worker *w, uint8_t *out, uint8_t *in)
{
	const char *const ways[] = { NULL, "local", "tcp" };
	const char *way = ways[next(w) % 3];
	uint64_t len = 1 + next(w) % (SLICE / 2), at = next(w) % (SLICE / 2), cut = next(w) % len;
	struct mc_vec v[2] = { { out, (uintptr_t)w->there + at, cut }, { out + cut, (uintptr_t)w->there + at + cut, len - cut } };
	struct mc_request r = { MC_WRITE, w->seg, cut ? v : v + 1, cut ? 2 : 1, way };
	struct mc_batch *b;
	int ret;

	pattern(out, len, next(w));
	if (next(w) % 4 == 0) {
		EXPECT_EQ(mc_batch_open(w->eng, 1, NULL, NULL, &b), 0);
		EXPECT_EQ(mc_batch_submit(b, &r, 1, soon()), 0);
		if (next(w) % 2)
			mc_batch_poll(b);
		mc_batch_close(b);
	}
	ret = mc_transfer(w->eng, &r, 1, soon());
	if (!ret)
		ret = move_one(w->eng, w->seg, MC_READ, in, w->there + at, len, ways[next(w) % 3], soon());
	if (ret) {
		w->failed++;
		return;
	}
	w->moved++;
	if (memcmp(in, out, len))
		MCTEST_FAIL("wrong bytes after a %s write of %llu", way ? way : "any", (unsigned long long)len);
}

static void *worker_main(void *arg)
{
	uint8_t *out = malloc(SLICE), *in = malloc(SLICE);
	struct worker *w = arg;

	for (unsigned i = 0; i < w->rounds && !w->failed; i++)
		one_round(w, out, in);
	free(out);
	free(in);
	return NULL;
}

static void start_workers(struct worker *w, int nr, struct peer_proc *p, unsigned rounds)
{
	for (int i = 0; i < nr; i++) {
		w[i] = (struct worker){ .eng = w[0].eng, .there = p->mem + (uint64_t)i * SLICE, .seed = (unsigned)i + 1,
					.rounds = rounds };
		EXPECT_EQ(mc_segment_open(w[i].eng, p->name, soon(), &w[i].seg), 0);
		pthread_create(&w[i].thread, NULL, worker_main, &w[i]);
	}
}

static void join_workers(struct worker *w, int nr)
{
	for (int i = 0; i < nr; i++) {
		pthread_join(w[i].thread, NULL);
		mc_segment_close(w[i].seg);
	}
}

TEST(threads_share_streams)
{
	struct peer_proc p = { .len = 4 * SLICE };
	struct worker w[4];

	ASSERT_EQ(peer_start(&p), 0);
	w[0].eng = engine_new(NULL);
	start_workers(w, 4, &p, 60);
	join_workers(w, 4);
	for (int i = 0; i < 4; i++) {
		EXPECT_EQ(w[i].failed, 0u);
		EXPECT_EQ(w[i].moved, 60u);
	}
	mc_engine_close(w[0].eng);
	EXPECT_EQ(peer_stop(&p, 0), 0);
	peer_free(&p);
}

TEST(threads_end_when_the_peer_is_killed)
{
	struct peer_proc p = { .len = 4 * SLICE };
	struct worker w[4];
	uint64_t began;

	ASSERT_EQ(peer_start(&p), 0);
	w[0].eng = engine_new(NULL);
	start_workers(w, 4, &p, 1000000);
	while (!w[3].moved && !w[3].failed)
		sched_yield();
	peer_stop(&p, SIGKILL);
	began = clock_now_ns();
	join_workers(w, 4);
	EXPECT_LT(clock_now_ns() - began, 3 * NSEC_PER_SEC);
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(w[i].failed, 1u);
	mc_engine_close(w[0].eng);
	peer_free(&p);
}

/* One peer is stopped: a batch to it and to another is held up only where it must be. */
TEST(a_batch_to_two_peers_waits_only_for_the_stopped_one)
{
	struct peer_proc p[2] = { { .len = MiB }, { .len = MiB } };
	uint8_t *mine = calloc(2, MiB);
	struct mc_request r[2];
	struct mc_vec v[2];
	struct mc_status st;
	struct mc_engine *eng;
	struct mc_batch *b;
	int status;

	for (int i = 0; i < 2; i++)
		ASSERT_EQ(peer_start(&p[i]), 0);
	eng = engine_new("tcp");
	for (int i = 0; i < 2; i++) {
		v[i] = (struct mc_vec){ mine + i * MiB, (uintptr_t)p[i].mem, MiB };
		r[i] = (struct mc_request){ .op = MC_READ, .vec = &v[i], .nr_vec = 1 };
		ASSERT_EQ(mc_segment_open(eng, p[i].name, soon(), &r[i].segment), 0);
		EXPECT_EQ(mc_transfer(eng, &r[i], 1, soon()), 0);
	}
	kill(p[0].pid, SIGSTOP);
	EXPECT_EQ(waitpid(p[0].pid, &status, WUNTRACED), p[0].pid);
	pattern(p[1].mem, MiB, 9);
	ASSERT_EQ(mc_batch_open(eng, 2, NULL, NULL, &b), 0);
	EXPECT_EQ(mc_batch_submit(b, r, 2, deadline_after_ms(200)), 0);
	EXPECT_EQ(mc_batch_wait(b, deadline_after_ms(100)), -EINPROGRESS);
	EXPECT_EQ(mc_batch_status(b, 1, &st), 0);
	EXPECT_TRUE(st.state == MC_DONE && !st.error);
	EXPECT_EQ(mc_batch_status(b, 0, &st), 0);
	EXPECT_TRUE(st.state == MC_PENDING);
	EXPECT_EQ(mc_batch_wait(b, soon()), 1);
	EXPECT_EQ(mc_batch_status(b, 0, &st), 0);
	EXPECT_EQ(st.error, -ETIMEDOUT);
	EXPECT_EQ(memcmp(mine + MiB, p[1].mem, MiB), 0);
	mc_batch_close(b);
	for (int i = 0; i < 2; i++) {
		mc_segment_close(r[i].segment);
		peer_stop(&p[i], SIGKILL);
		peer_free(&p[i]);
	}
	mc_engine_close(eng);
	free(mine);
}

static int entries(const char *path)
{
	DIR *d = opendir(path);
	int nr = 0;

	while (d && readdir(d))
		nr++;
	closedir(d);
	return nr;
}

TEST(nothing_is_left_behind)
{
	struct peer_proc p = { .len = 65536 };
	int fds = 0, threads = 0;
	char buf[100];

	ASSERT_EQ(peer_start(&p), 0);
	for (int i = 0; i < 5; i++) {
		struct mc_engine *eng = engine_new(NULL);
		struct mc_segment *seg;

		EXPECT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
		EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem, 100, "tcp", soon()), 0);
		EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem, 100, "local", soon()), 0);
		EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem + p.len, 100, "tcp", soon()), -EFAULT);
		EXPECT_LE(entries("/proc/self/task"), 2 + 2 + 2); /* two entries are dots, one may be a sanitizer's */
		mc_segment_close(seg);
		mc_engine_close(eng);
		if (!i) {
			fds = entries("/proc/self/fd");
			threads = entries("/proc/self/task");
		}
	}
	EXPECT_EQ(entries("/proc/self/fd"), fds);
	EXPECT_EQ(entries("/proc/self/task"), threads);
	peer_stop(&p, 0);
	peer_free(&p);
}

TEST(refused_in_a_child)
{
	struct mc_engine *eng = engine_new(NULL);
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct mc_segment *seg;
		int ret = mc_segment_open(eng, "127.0.0.1:1", soon(), &seg);

		_exit(ret == -EPERM && strstr(mc_last_error(), "fork") ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	EXPECT_EQ(status, 0);
	mc_engine_close(eng);
}

TEST(options_are_checked)
{
	struct mc_engine *eng;
	struct {
		struct mc_engine_opts o;
		uint64_t tail;
	} later = { .o.size = sizeof(later), .tail = 1 };
	struct mc_engine_opts o = { .size = sizeof(o), .metadata = "carrier://pigeon" };

	EXPECT_EQ(mc_engine_open(&later.o, &eng), -E2BIG);
	EXPECT_EQ(mc_engine_open(&o, &eng), -EPROTONOSUPPORT);
	o = (struct mc_engine_opts){ .size = sizeof(o), .protocol = "smoke" };
	EXPECT_EQ(mc_engine_open(&o, &eng), -EPROTONOSUPPORT);
	o = (struct mc_engine_opts){ .size = sizeof(o), .local_name = "[::1" };
	EXPECT_EQ(mc_engine_open(&o, &eng), -EINVAL);
	o = (struct mc_engine_opts){ .size = sizeof(o), .min_port = 2000, .max_port = 1999 };
	EXPECT_EQ(mc_engine_open(&o, &eng), -EINVAL);
	o = (struct mc_engine_opts){ .size = sizeof(o), .transports = "smoke" };
	EXPECT_EQ(mc_engine_open(&o, &eng), -EINVAL);
	ASSERT_EQ(mc_engine_open(NULL, &eng), 0);
	EXPECT_TRUE(!strncmp(mc_engine_name(eng), "127.0.0.1:", 10));
	EXPECT_TRUE(mc_engine_rpc_port(eng) >= 15000 && mc_engine_rpc_port(eng) <= 17000);
	mc_engine_close(eng);
	mc_engine_close(NULL);
}
