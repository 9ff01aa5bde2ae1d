// SPDX-License-Identifier: Apache-2.0
/* Priorities: what is urgent is there before what was asked for earlier, and of the background little is under way. */
#include "mctest.h"
#include "metronome.h"
#include "peer.h"

#include "base/hash.h"
#include "engine/engine.h"

#include <poll.h>
#include <sched.h>

#define LARGE (8 * MiB)
#define NR_BULK 16
#define NR_SMALL 50

struct load {
	struct mc_batch *b;
	struct mc_vec v[NR_BULK];
	struct mc_request r[NR_BULK];
	uint8_t *mine;
};

static void load_open(struct load *l, struct mc_engine *eng, struct mc_segment *seg, const uint8_t *there, enum mc_priority p)
{
	l->mine = calloc(NR_BULK, LARGE);
	for (int i = 0; i < NR_BULK; i++) {
		l->v[i] = (struct mc_vec){ l->mine + (uint64_t)i * LARGE, (uintptr_t)there, LARGE };
		l->r[i] = (struct mc_request){ .op = MC_READ, .segment = seg, .vec = &l->v[i], .nr_vec = 1, .flags = MC_REQUEST_CRC };
	}
	ASSERT_EQ(mc_batch_open(eng, NR_BULK, NULL, NULL, &l->b), 0);
	ASSERT_EQ(mc_batch_priority(l->b, p), 0);
}

static unsigned in_state(struct mc_batch *b, unsigned nr, enum mc_state state)
{
	struct mc_status st;
	unsigned n = 0;

	for (unsigned i = 0; i < nr; i++)
		n += !mc_batch_status(b, i, &st) && st.state == state;
	return n;
}

static void stop(const struct peer_proc *p)
{
	int status;

	kill(p->pid, SIGSTOP);
	EXPECT_EQ(waitpid(p->pid, &status, WUNTRACED), p->pid);
}

/* Everything is asked for while the peer is stopped; the small reads were asked for last, and come first. */
static void overtake(enum mc_priority bulk, enum mc_priority small)
{
	struct peer_proc p = { .len = LARGE };
	static uint8_t mem[NR_SMALL][4096];
	struct mc_request r[NR_SMALL];
	struct mc_vec v[NR_SMALL];
	struct mc_segment *seg;
	struct mc_engine *eng;
	struct mc_batch *b, *first = NULL;
	struct pollfd pfd = { .events = POLLIN };
	struct mc_cq *q;
	struct load l;
	unsigned before;

	ASSERT_EQ(peer_start(&p), 0);
	pattern(p.mem, LARGE, 2);
	eng = engine_new("tcp");
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	load_open(&l, eng, seg, p.mem, bulk);
	ASSERT_EQ(mc_batch_open(eng, NR_SMALL, NULL, NULL, &b), 0);
	ASSERT_EQ(mc_batch_priority(b, small), 0);
	for (int i = 0; i < NR_SMALL; i++) {
		v[i] = (struct mc_vec){ mem[i], (uintptr_t)p.mem + (uint64_t)i * 4096, 4096 };
		r[i] = (struct mc_request){ .op = MC_READ, .segment = seg, .vec = &v[i], .nr_vec = 1 };
	}
	/* Streams are open before. */
	EXPECT_EQ(mc_batch_submit(b, r, 1, soon()), 0);
	EXPECT_EQ(mc_batch_wait(b, soon()), 1);
	EXPECT_EQ(mc_batch_reset(b), 0);
	ASSERT_EQ(mc_cq_open(eng, &q), 0);
	ASSERT_EQ(mc_batch_watch(l.b, q) | mc_batch_watch(b, q), 0);
	stop(&p);
	EXPECT_EQ(mc_batch_submit(l.b, l.r, NR_BULK, soon()), 0);
	EXPECT_EQ(mc_batch_submit(b, r, NR_SMALL, soon()), 0);
	kill(p.pid, SIGCONT);
	pfd.fd = mc_cq_fd(q);
	EXPECT_EQ(poll(&pfd, 1, 10000), 1);
	before = in_state(l.b, NR_BULK, MC_DONE);
	EXPECT_EQ(mc_cq_collect(q, &first, 1), 1u);
	EXPECT_TRUE(first == b);
	EXPECT_LT(before, NR_BULK / 2u);
	EXPECT_EQ(mc_batch_wait(b, soon()), NR_SMALL);
	for (int i = 0; i < NR_SMALL; i++)
		EXPECT_MEMEQ(mem[i], p.mem + i * 4096, 4096);
	EXPECT_EQ(mc_batch_wait(l.b, soon()), NR_BULK);
	for (int i = 0; i < NR_BULK; i++) {
		struct mc_status st;

		EXPECT_EQ(mc_batch_status(l.b, (unsigned)i, &st), 0);
		EXPECT_EQ(st.bytes, LARGE);
		EXPECT_EQ(st.crc, crc32c(0, p.mem, LARGE));
		EXPECT_EQ(memcmp(l.v[i].local, p.mem, LARGE), 0);
	}
	mc_batch_close(b);
	mc_batch_close(l.b);
	mc_cq_close(q);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
	free(l.mine);
}

TEST(high_before_normal)
{
	overtake(MC_PRIORITY_NORMAL, MC_PRIORITY_HIGH);
}

TEST(normal_before_background)
{
	overtake(MC_PRIORITY_BACKGROUND, MC_PRIORITY_NORMAL);
}

TEST(high_before_background)
{
	overtake(MC_PRIORITY_BACKGROUND, MC_PRIORITY_HIGH);
}

/* Two slices are under way, whatever waits; what waits ends by its deadline, or is cancelled. */
TEST(little_of_the_background_is_under_way)
{
	struct peer_proc p = { .len = LARGE };
	struct mc_segment *seg;
	struct mc_engine *eng;
	struct mc_status st;
	struct metronome beat;
	uint64_t by_ns;
	struct load l;

	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new("tcp");
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	load_open(&l, eng, seg, p.mem, MC_PRIORITY_BACKGROUND);
	EXPECT_EQ(mc_batch_priority(l.b, (enum mc_priority)7), -EINVAL);
	stop(&p);
	metronome_start(&beat);
	by_ns = deadline_after_ms(100);
	EXPECT_EQ(mc_batch_submit(l.b, l.r, NR_BULK, by_ns), 0);
	EXPECT_EQ(mc_batch_priority(l.b, MC_PRIORITY_HIGH), -EBUSY);
	mc_batch_poll(l.b);
	EXPECT_EQ(in_state(l.b, NR_BULK, MC_PENDING), 2u);
	EXPECT_EQ(in_state(l.b, NR_BULK, MC_WAITING), NR_BULK - 2u);
	EXPECT_EQ(mc_batch_wait(l.b, soon()), 0);
	EXPECT_LT(clock_now_ns(), by_ns + 100 * NSEC_PER_MSEC + metronome_late(&beat));
	metronome_stop(&beat);
	for (unsigned i = 0; i < NR_BULK; i++) {
		EXPECT_EQ(mc_batch_status(l.b, i, &st), 0);
		EXPECT_EQ(st.error, -ETIMEDOUT);
	}
	EXPECT_EQ(mc_batch_reset(l.b), 0);
	EXPECT_EQ(mc_batch_submit(l.b, l.r, NR_BULK, soon()), 0);
	mc_batch_cancel(l.b);
	EXPECT_EQ(in_state(l.b, NR_BULK, MC_DONE), (unsigned)NR_BULK);
	EXPECT_EQ(mc_batch_status(l.b, NR_BULK - 1, &st), 0);
	EXPECT_EQ(st.error, -ECANCELED);
	mc_batch_close(l.b);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&p, SIGKILL);
	peer_free(&p);
	free(l.mine);
}

#define MANY 40

/* Of all the batches to a peer that is stopped little more than of one; each has its part, and so has one to another peer. */
TEST(little_of_many_backgrounds_is_under_way)
{
	struct peer_proc p = { .len = LARGE }, other = { .len = LARGE };
	struct mc_segment *seg, *to_other;
	static struct load l[MANY];
	struct mc_engine *eng;
	struct load good;
	uint64_t most = 0;

	ASSERT_EQ(peer_start(&p) | peer_start(&other), 0);
	pattern(p.mem, LARGE, 5);
	pattern(other.mem, LARGE, 6);
	eng = engine_new("tcp");
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	ASSERT_EQ(mc_segment_open(eng, other.name, soon(), &to_other), 0);
	load_open(&good, eng, to_other, other.mem, MC_PRIORITY_BACKGROUND);
	stop(&p);
	for (int i = 0; i < MANY; i++) {
		load_open(&l[i], eng, seg, p.mem, MC_PRIORITY_BACKGROUND);
		EXPECT_EQ(mc_batch_submit(l[i].b, l[i].r, 2, deadline_after_ms(60000)), 0);
		mc_batch_poll(l[i].b);
		EXPECT_GE(in_state(l[i].b, 2, MC_PENDING), 1u);
		most = MAX(most, eng->background.bytes);
		EXPECT_LE(eng->background.bytes, 2 * MiB + (uint64_t)i * 64 * KiB);
	}
	EXPECT_EQ(mc_batch_submit(good.b, good.r, 4, soon()), 0);
	EXPECT_EQ(mc_batch_wait(good.b, soon()), 4);
	EXPECT_EQ(memcmp(good.v[3].local, other.mem, LARGE), 0);
	EXPECT_LE(most, 2 * MiB + MANY * 64 * KiB);
	printf("# %d batches of 16 MiB: %llu KiB under way\n", MANY, (unsigned long long)most / KiB);
	kill(p.pid, SIGCONT);
	for (int i = 0; i < MANY; i++) {
		if (i % 4 == 3) {
			mc_batch_cancel(l[i].b);
		} else {
			EXPECT_EQ(mc_batch_wait(l[i].b, soon()), 2);
			EXPECT_EQ(memcmp(l[i].v[1].local, p.mem, LARGE), 0);
		}
		mc_batch_close(l[i].b);
		free(l[i].mine);
	}
	EXPECT_TRUE(!eng->background.bytes && !eng->background.batches);
	mc_batch_close(good.b);
	free(good.mine);
	mc_segment_close(seg);
	mc_segment_close(to_other);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_stop(&other, 0);
	peer_free(&p);
	peer_free(&other);
}

/* Writes and reads of many uneven pieces, over every transport, by waiting and by a queue. */
static void in_pieces(const char *transport, bool queue)
{
	enum { NR = 3000 };
	struct peer_proc p = { .len = LARGE };
	static struct mc_vec v[NR];
	uint8_t *out = malloc(LARGE), *in = calloc(1, LARGE);
	struct mc_request r = { .vec = v, .nr_vec = NR };
	struct mc_engine *eng;
	struct mc_status st;
	struct mc_batch *b;
	struct mc_cq *q;
	uint64_t at;

	ASSERT_EQ(peer_start(&p), 0);
	pattern(out, LARGE, 12);
	eng = engine_new(transport);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &r.segment), 0);
	ASSERT_EQ(mc_batch_open(eng, 1, NULL, NULL, &b), 0);
	ASSERT_EQ(mc_batch_priority(b, MC_PRIORITY_BACKGROUND), 0);
	ASSERT_EQ(mc_cq_open(eng, &q), 0);
	if (queue)
		ASSERT_EQ(mc_batch_watch(b, q), 0);
	for (int op = MC_WRITE; op >= MC_READ; op--) {
		at = 0;
		for (unsigned i = 0; i < NR; i++) {
			uint64_t len = i % 500 == 7 ? MiB + 3 : 1 + i % 300;

			v[i] = (struct mc_vec){ (op == MC_WRITE ? out : in) + at, (uintptr_t)p.mem + at, len };
			at += len;
		}
		r.op = (enum mc_op)op;
		r.flags = op == MC_READ ? MC_REQUEST_CRC : 0;
		mc_batch_reset(b);
		EXPECT_EQ(mc_batch_submit(b, &r, 1, soon()), 0);
		while (queue && mc_batch_status(b, 0, &st) == 0 && st.state != MC_DONE)
			sched_yield();
		EXPECT_EQ(mc_batch_wait(b, soon()), 1);
		EXPECT_EQ(mc_batch_status(b, 0, &st), 0);
		EXPECT_EQ(st.bytes, at);
	}
	EXPECT_EQ(memcmp(in, out, at), 0);
	EXPECT_EQ(st.crc, crc32c(0, out, at));
	mc_batch_close(b);
	mc_cq_close(q);
	mc_segment_close(r.segment);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
	free(out);
	free(in);
}

TEST(pieces_by_tcp)
{
	in_pieces("tcp", false);
	in_pieces("tcp", true);
}

TEST(pieces_by_local)
{
	in_pieces("local", false);
	in_pieces("local", true);
}
