// SPDX-License-Identifier: Apache-2.0
/* The engine when peers stop, die and come back, and with many threads at once. */
#include "mctest.h"
#include "metronome.h"
#include "peer.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/hash.h"

/* Each request ends by its deadline, and the buffer stays as it is then. */
TEST(a_stopped_peer_holds_up_nobody)
{
	struct peer_proc p = { .len = 8 * MiB };
	uint8_t *mine = calloc(1, 8 * MiB);
	struct mc_segment *seg;
	struct mc_engine *eng;
	struct metronome beat;
	uint64_t start;
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
	metronome_start(&beat);
	for (int op = 0; op < 2; op++) {
		start = clock_now_ns();
		EXPECT_EQ(move_one(eng, seg, op ? MC_WRITE : MC_READ, mine, p.mem, p.len, "tcp",
				   deadline_after_ms(150)),
			  -ETIMEDOUT);
		EXPECT_GE(clock_now_ns() - start, 150 * NSEC_PER_MSEC);
		EXPECT_LE(metronome_ms_since(&beat, start), 250u);
	}
	metronome_stop(&beat);
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
		int ret = move_one(eng, seg, i & 1 ? MC_WRITE : MC_READ, mine, p.mem, MiB,
				   transport, soon());

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

/* The pid is the same, the start time is the same, the memory is another's. */
TEST(a_peer_that_became_another_program_is_noticed)
{
	struct peer_proc p = { .len = MiB };
	struct mc_segment *seg;
	struct mc_engine *eng;
	char path[64], exe[64] = "", buf[16], x = 'x';
	uint64_t limit = soon();

	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem, 16, "local", soon()), 0);
	EXPECT_EQ(write(p.to, &x, 1), 1);
	snprintf(path, sizeof(path), "/proc/%d/exe", p.pid);
	while (!strstr(exe, "sleep") && !deadline_passed(limit)) {
		ssize_t n = readlink(path, exe, sizeof(exe) - 1);

		exe[n > 0 ? n : 0] = 0;
		sched_yield();
	}
	for (int op = MC_READ; op <= MC_WRITE; op++)
		EXPECT_LT(move_one(eng, seg, (enum mc_op)op, buf, p.mem, 16, "local", soon()), 0);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&p, SIGKILL);
	peer_free(&p);
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

/* ---- many at once ---------------------------------------------------------------------------- */

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

/*
 * Writes in pieces of its own choice, now and then cancels in the middle and writes again; reads
 * back and compares.
 */
static void one_round(struct worker *w, uint8_t *out, uint8_t *in)
{
	const char *const ways[] = { NULL, "local", "tcp" };
	const char *way = ways[next(w) % 3];
	uint64_t len = 1 + next(w) % (SLICE / 2), at = next(w) % (SLICE / 2), cut = next(w) % len;
	struct mc_vec v[2] = { { out, (uintptr_t)w->there + at, cut },
			       { out + cut, (uintptr_t)w->there + at + cut, len - cut } };
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
		ret = move_one(w->eng, w->seg, MC_READ, in, w->there + at, len, ways[next(w) % 3],
			       soon());
	if (ret) {
		w->failed++;
		return;
	}
	w->moved++;
	if (memcmp(in, out, len))
		MCTEST_FAIL("wrong bytes after a %s write of %llu", way ? way : "any",
			    (unsigned long long)len);
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
		w[i] = (struct worker){ .eng = w[0].eng,
					.there = p->mem + (uint64_t)i * SLICE,
					.seed = (unsigned)i + 1,
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

/* ---- memory of this very process that goes while it is read ---- */

struct inside {
	struct mc_engine *eng;
	const char *name;
	_Atomic(void *) mem;
	atomic_bool stop;
	atomic_uint reads;
};

static void *read_inside(void *arg)
{
	struct inside *in = arg;
	struct mc_segment *seg = NULL;
	char *mine = malloc(MiB);

	while (!seg && mc_segment_open(in->eng, in->name, soon(), &seg))
		;
	while (!atomic_load(&in->stop)) {
		void *mem = atomic_load(&in->mem);

		/* 0, or that it is not registered: what it may not do is die. */
		if (mem && !move_one(in->eng, seg, MC_READ, mine, mem, MiB, "local", soon()))
			atomic_fetch_add(&in->reads, 1);
	}
	mc_segment_close(seg);
	free(mine);
	return NULL;
}

TEST(what_is_unregistered_may_be_unmapped)
{
	struct mc_engine *owner = engine_new(NULL);
	struct inside in = { .eng = engine_new(NULL), .name = mc_engine_name(owner) };
	pthread_t t;

	pthread_create(&t, NULL, read_inside, &in);
	for (unsigned round = 0; round < 300; round++) {
		unsigned before = atomic_load(&in.reads);
		uint64_t end = soon();
		void *p = mmap(NULL, MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		ASSERT_TRUE(p != MAP_FAILED);
		ASSERT_EQ(mc_region_add(owner, p, MiB, NULL, NULL), 0);
		atomic_store(&in.mem, p);
		while (atomic_load(&in.reads) == before && !deadline_passed(end))
			sched_yield();
		ASSERT_EQ(mc_region_del_addr(owner, p), 0);
		munmap(p, MiB);
	}
	EXPECT_GE(atomic_load(&in.reads), 300u);
	atomic_store(&in.stop, true);
	pthread_join(t, NULL);
	mc_engine_close(in.eng);
	mc_engine_close(owner);
}
