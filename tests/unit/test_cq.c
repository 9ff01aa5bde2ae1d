// SPDX-License-Identifier: Apache-2.0
/* Completion queues: batches end without anybody waiting, the descriptor says so, and no peer holds up another. */
#include "mctest.h"
#include "metronome.h"
#include "peer.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>

/* One batch of one read of @len. */
struct one {
	struct mc_batch *b;
	struct mc_vec v;
	struct mc_request r;
	uint8_t *mem;
	unsigned collected;
};

static int one_open(struct one *o, struct mc_engine *eng, struct mc_cq *q, struct mc_segment *seg, const uint8_t *there,
		    size_t len)
{
	o->mem = calloc(1, len);
	o->v = (struct mc_vec){ o->mem, (uintptr_t)there, len };
	o->r = (struct mc_request){ .op = MC_READ, .segment = seg, .vec = &o->v, .nr_vec = 1 };
	o->collected = 0;
	return mc_batch_open(eng, 1, NULL, o, &o->b) || mc_batch_watch(o->b, q);
}

static void one_close(struct one *o)
{
	mc_batch_close(o->b);
	free(o->mem);
}

static int one_error(const struct one *o)
{
	struct mc_status st = { .error = 1 };

	mc_batch_status(o->b, 0, &st);
	return st.state == MC_DONE ? st.error : -EINPROGRESS;
}

static bool readable(const struct mc_cq *q, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = mc_cq_fd(q), .events = POLLIN };

	return poll(&p, 1, deadline_left_ms(deadline_ns)) == 1;
}

/* As an event loop does. Return: how many were collected before the deadline. */
static unsigned collect(struct mc_cq *q, unsigned nr, uint64_t deadline_ns)
{
	struct mc_batch *b[7];
	unsigned have = 0, n;

	while (have < nr && readable(q, deadline_ns)) {
		n = mc_cq_collect(q, b, ARRAY_SIZE(b));
		EXPECT_GT(n, 0u);
		for (unsigned i = 0; i < n; i++)
			((struct one *)mc_batch_arg(b[i]))->collected++;
		have += n;
	}
	return have;
}

static void many_batches(const char *transport, size_t len)
{
	enum { NR = 300 };
	struct peer_proc p = { .len = 8 * MiB };
	static struct one o[NR];
	struct mc_segment *seg;
	struct mc_engine *eng;
	struct mc_batch *none;
	struct mc_cq *q;

	ASSERT_EQ(peer_start(&p), 0);
	pattern(p.mem, p.len, 4);
	eng = engine_new(transport);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	ASSERT_EQ(mc_cq_open(eng, &q), 0);
	EXPECT_EQ(mc_cq_collect(q, &none, 1), 0u);
	for (unsigned i = 0; i < NR; i++)
		ASSERT_EQ(one_open(&o[i], eng, q, seg, p.mem + i * 1000, len), 0);
	for (int again = 0; again < 2; again++) {
		for (unsigned i = 0; i < NR; i++)
			ASSERT_EQ(mc_batch_submit(o[i].b, &o[i].r, 1, soon()), 0);
		EXPECT_EQ(collect(q, NR, soon()), (unsigned)NR);
		EXPECT_TRUE(!readable(q, deadline_after_ms(0)));
		for (unsigned i = 0; i < NR; i++) {
			EXPECT_EQ(o[i].collected, 1u + (unsigned)again);
			EXPECT_EQ(one_error(&o[i]), 0);
			EXPECT_MEMEQ(o[i].mem, p.mem + i * 1000, len);
			ASSERT_EQ(mc_batch_reset(o[i].b), 0);
		}
	}
	for (unsigned i = 0; i < NR; i++)
		one_close(&o[i]);
	mc_cq_close(q);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
}

TEST(many_batches_one_descriptor_by_local)
{
	many_batches("local", 5000);
}

TEST(many_batches_one_descriptor_by_tcp)
{
	many_batches("tcp", 5000);
}

TEST(large_ones_by_tcp)
{
	many_batches("tcp", 300000);
}

/* Batches to a stopped peer stay under way, those to a live one go on; each ends by its deadline. */
TEST(a_stopped_peer_holds_up_nobody_else)
{
	enum { NR = 20 };
	struct peer_proc p[2] = { { .len = MiB }, { .len = MiB } };
	struct one stuck[NR], o;
	struct mc_segment *seg[2];
	struct mc_engine *eng;
	struct mc_cq *q, *other;
	struct metronome beat;
	uint64_t began, by_ns;
	int status;

	for (int i = 0; i < 2; i++)
		ASSERT_EQ(peer_start(&p[i]), 0);
	eng = engine_new("tcp");
	ASSERT_EQ(mc_cq_open(eng, &q) | mc_cq_open(eng, &other), 0);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(mc_segment_open(eng, p[i].name, soon(), &seg[i]), 0);
	ASSERT_EQ(one_open(&o, eng, other, seg[1], p[1].mem, 4096), 0);
	kill(p[0].pid, SIGSTOP);
	EXPECT_EQ(waitpid(p[0].pid, &status, WUNTRACED), p[0].pid);
	metronome_start(&beat);
	by_ns = deadline_after_ms(1000);
	for (int i = 0; i < NR; i++) {
		ASSERT_EQ(one_open(&stuck[i], eng, q, seg[0], p[0].mem, 200000), 0);
		ASSERT_EQ(mc_batch_submit(stuck[i].b, &stuck[i].r, 1, by_ns), 0);
	}
	began = clock_now_ns();
	for (int i = 0; i < 50; i++) {
		ASSERT_EQ(mc_batch_submit(o.b, &o.r, 1, soon()), 0);
		ASSERT_EQ(collect(other, 1, soon()), 1u);
		EXPECT_EQ(one_error(&o), 0);
		ASSERT_EQ(mc_batch_reset(o.b), 0);
	}
	/* A round over all that looks at each stuck one for a moment would take longer. */
	EXPECT_LT(clock_now_ns() - began, 500 * NSEC_PER_MSEC + 50 * metronome_late(&beat));
	EXPECT_TRUE(deadline_passed(by_ns) || !readable(q, deadline_after_ms(0)));
	EXPECT_EQ(collect(q, NR, soon()), (unsigned)NR);
	EXPECT_GE(clock_now_ns(), by_ns);
	EXPECT_LT(clock_now_ns(), by_ns + 100 * NSEC_PER_MSEC + metronome_late(&beat));
	metronome_stop(&beat);
	for (int i = 0; i < NR; i++) {
		EXPECT_EQ(one_error(&stuck[i]), -ETIMEDOUT);
		EXPECT_EQ(stuck[i].collected, 1u);
		one_close(&stuck[i]);
	}
	one_close(&o);
	for (int i = 0; i < 2; i++) {
		mc_segment_close(seg[i]);
		peer_stop(&p[i], SIGKILL);
		peer_free(&p[i]);
	}
	mc_cq_close(q);
	mc_cq_close(other);
	mc_engine_close(eng);
}

TEST(cancelled_and_closed_ones)
{
	struct peer_proc p = { .len = MiB };
	struct mc_segment *seg;
	struct mc_engine *eng;
	struct mc_batch *b;
	struct one o[3];
	struct mc_cq *q;
	int status;

	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new("tcp");
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	ASSERT_EQ(mc_cq_open(eng, &q), 0);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(one_open(&o[i], eng, q, seg, p.mem, 100000), 0);
	ASSERT_EQ(mc_batch_submit(o[0].b, &o[0].r, 1, soon()), 0);
	EXPECT_EQ(collect(q, 1, soon()), 1u);
	EXPECT_EQ(mc_batch_reset(o[0].b), 0);
	kill(p.pid, SIGSTOP);
	EXPECT_EQ(waitpid(p.pid, &status, WUNTRACED), p.pid);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(mc_batch_submit(o[i].b, &o[i].r, 1, soon()), 0);
	EXPECT_EQ(mc_batch_watch(o[0].b, NULL), -EBUSY);
	mc_batch_cancel(o[0].b);
	EXPECT_EQ(collect(q, 1, soon()), 1u);
	EXPECT_EQ(o[0].collected, 2u);
	EXPECT_EQ(one_error(&o[0]), -ECANCELED);
	/* Ended, and taken back before it was collected. */
	mc_batch_cancel(o[1].b);
	EXPECT_TRUE(readable(q, soon()));
	EXPECT_EQ(mc_batch_reset(o[1].b), 0);
	EXPECT_TRUE(!readable(q, deadline_after_ms(0)));
	EXPECT_EQ(mc_cq_collect(q, &b, 1), 0u);
	EXPECT_EQ(mc_batch_watch(o[1].b, NULL), 0);
	EXPECT_EQ(mc_batch_submit(o[1].b, &o[1].r, 1, deadline_after_ms(10)), 0);
	EXPECT_EQ(mc_batch_wait(o[1].b, soon()), 0);
	EXPECT_EQ(mc_cq_collect(q, &b, 1), 0u);
	for (int i = 0; i < 3; i++) /* the last one is under way */
		one_close(&o[i]);
	EXPECT_EQ(mc_cq_collect(q, &b, 1), 0u);
	mc_cq_close(q);
	mc_segment_close(seg);
	peer_stop(&p, SIGKILL);
	mc_engine_close(eng);
	peer_free(&p);
}

static int threads_here(void)
{
	DIR *d = opendir("/proc/self/task");
	int nr = -2;

	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

/* The peer dies; another comes under its name: what was under way starts once more, and nobody waits for the question. */
TEST(a_peer_that_restarts)
{
	struct peer_proc p = { .len = MiB }, next = { .len = MiB }, live = { .len = MiB };
	char name[sizeof(p.name)];
	struct mc_segment *seg, *well;
	struct mc_engine *eng;
	struct one o, w;
	struct mc_cq *q;
	uint64_t end;
	int before;

	ASSERT_EQ(peer_start(&p) | peer_start(&live) | peer_fork(&next), 0);
	before = threads_here();
	eng = engine_new("tcp");
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	ASSERT_EQ(mc_segment_open(eng, live.name, soon(), &well), 0);
	ASSERT_EQ(mc_cq_open(eng, &q), 0);
	ASSERT_EQ(one_open(&o, eng, q, seg, p.mem, 4096), 0);
	ASSERT_EQ(one_open(&w, eng, q, well, live.mem, 4096), 0);
	ASSERT_EQ(mc_batch_submit(o.b, &o.r, 1, soon()), 0);
	EXPECT_EQ(collect(q, 1, soon()), 1u);
	memcpy(name, p.name, sizeof(name));
	peer_stop(&p, SIGKILL);
	/* Nobody is there. */
	EXPECT_EQ(mc_batch_reset(o.b), 0);
	ASSERT_EQ(mc_batch_submit(o.b, &o.r, 1, soon()), 0);
	ASSERT_EQ(mc_batch_submit(w.b, &w.r, 1, soon()), 0);
	EXPECT_EQ(collect(q, 2, soon()), 2u);
	EXPECT_LT(one_error(&o), 0);
	EXPECT_NE(one_error(&o), -EINPROGRESS);
	EXPECT_EQ(one_error(&w), 0);
	/* Somebody else is. */
	ASSERT_EQ(peer_go(&next, name), 0);
	pattern(next.mem, next.len, 77);
	o.v.remote = (uintptr_t)next.mem;
	end = soon();
	while (one_error(&o) && !deadline_passed(end)) { /* a failed question is not repeated at once */
		EXPECT_EQ(mc_batch_reset(o.b), 0);
		ASSERT_EQ(mc_batch_submit(o.b, &o.r, 1, soon()), 0);
		EXPECT_EQ(collect(q, 1, soon()), 1u);
	}
	EXPECT_EQ(one_error(&o), 0);
	EXPECT_MEMEQ(o.mem, next.mem, 4096);
	one_close(&o);
	one_close(&w);
	mc_cq_close(q);
	mc_segment_close(seg);
	mc_segment_close(well);
	mc_engine_close(eng);
	EXPECT_EQ(threads_here(), before);
	peer_stop(&next, SIGKILL);
	peer_stop(&live, SIGKILL);
	peer_free(&p);
	peer_free(&next);
	peer_free(&live);
}

struct busy {
	struct mc_engine *eng;
	struct mc_segment *seg;
	const uint8_t *there;
	_Atomic unsigned failed;
};

static void *wait_in_turn(void *arg)
{
	struct busy *w = arg;
	uint8_t *mem = malloc(70000);

	for (unsigned i = 0; i < 300; i++)
		w->failed += move_one(w->eng, w->seg, MC_READ, mem, w->there, 10 + i * 200, NULL, soon()) != 0;
	free(mem);
	return NULL;
}

/* Threads that wait read the same streams: what they find for others must not be lost. */
TEST(beside_threads_that_wait)
{
	enum { NR = 40 };
	struct peer_proc p = { .len = MiB };
	struct one o[NR];
	pthread_t thread[2];
	struct busy w = { 0 };
	struct mc_cq *q;

	ASSERT_EQ(peer_start(&p), 0);
	w.eng = engine_new("tcp");
	w.there = p.mem;
	ASSERT_EQ(mc_segment_open(w.eng, p.name, soon(), &w.seg), 0);
	ASSERT_EQ(mc_cq_open(w.eng, &q), 0);
	for (int i = 0; i < NR; i++)
		ASSERT_EQ(one_open(&o[i], w.eng, q, w.seg, p.mem, 3000), 0);
	for (int i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, wait_in_turn, &w);
	for (int round = 0; round < 30; round++) {
		for (int i = 0; i < NR; i++)
			ASSERT_EQ(mc_batch_submit(o[i].b, &o[i].r, 1, soon()), 0);
		if (round % 3 == 0) /* these wait for what the driver drives */
			EXPECT_EQ(mc_batch_wait(o[0].b, soon()), 1);
		EXPECT_EQ(collect(q, NR, soon()), (unsigned)NR);
		for (int i = 0; i < NR; i++) {
			EXPECT_EQ(one_error(&o[i]), 0);
			EXPECT_EQ(mc_batch_reset(o[i].b), 0);
		}
	}
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	EXPECT_EQ(w.failed, 0u);
	for (int i = 0; i < NR; i++)
		one_close(&o[i]);
	mc_cq_close(q);
	mc_segment_close(w.seg);
	mc_engine_close(w.eng);
	peer_stop(&p, 0);
	peer_free(&p);
}
