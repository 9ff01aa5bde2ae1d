// SPDX-License-Identifier: Apache-2.0
/*
 * A peer that is cut off, reset, silent, killed or stopped at every step of what is said: each request ends by its deadline and
 * 100 ms, once, and its memory is the caller's from then on.
 */
#include "mctest.h"
#include "metronome.h"
#include "proxy.h"

#include "base/log.h"

#define LEN 300000
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define GIVEN_MS 250 /* enough to get to the step */
#else
#define GIVEN_MS 60
#endif
#define LATE_NS (100 * NSEC_PER_MSEC)

enum manner { WAIT, POLL, QUEUE, NR_MANNERS };

struct scene {
	struct peer_proc peer;
	struct proxy proxy;
	struct metronome beat;
	struct mc_engine *eng;
	struct mc_segment *seg;
	struct mc_batch *b;
	struct mc_cq *q;
	uint8_t *mine, *was;
	unsigned told, collected;
	uint64_t by_ns;
};

static void no_log(void *arg, enum mc_log_level level, const char *text)
{
}

static void tell(void *arg)
{
	((struct scene *)arg)->told++;
}

static bool scene_open(struct scene *s, const struct proxy_step *step)
{
	*s = (struct scene){ .peer = { .len = LEN } };
	s->mine = calloc(1, LEN);
	s->was = malloc(LEN);
	if (peer_start(&s->peer) || proxy_start(&s->proxy, &s->peer, step))
		return false;
	pattern(s->peer.mem, LEN, 3);
	metronome_start(&s->beat);
	s->eng = engine_new("tcp");
	return s->eng;
}

static void scene_close(struct scene *s)
{
	mc_segment_close(s->seg);
	mc_engine_close(s->eng);
	proxy_stop(&s->proxy);
	metronome_stop(&s->beat);
	peer_stop(&s->peer, SIGKILL);
	peer_free(&s->peer);
	free(s->mine);
	free(s->was);
}

static void collect(struct scene *s, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = mc_cq_fd(s->q), .events = POLLIN };
	struct mc_batch *b;

	if (poll(&p, 1, deadline_left_ms(deadline_ns)) == 1)
		s->collected += mc_cq_collect(s->q, &b, 1);
}

static int drive(struct scene *s, enum mc_op op, enum manner how, bool fails)
{
	struct mc_vec v = { s->mine, (uintptr_t)s->peer.mem, LEN };
	struct mc_request r = { .op = op, .segment = s->seg, .vec = &v, .nr_vec = 1 };
	struct mc_status st;

	if (op == MC_WRITE)
		pattern(s->mine, LEN, 9);
	if (mc_batch_open(s->eng, 1, tell, s, &s->b) ||
	    (how == QUEUE && (mc_cq_open(s->eng, &s->q) || mc_batch_watch(s->b, s->q))))
		return 1;
	s->by_ns = fails ? deadline_after_ms(GIVEN_MS) : soon();
	if (mc_batch_submit(s->b, &r, 1, s->by_ns))
		return 1;
	if (how == WAIT)
		mc_batch_wait(s->b, soon());
	while (how == POLL && mc_batch_poll(s->b) > 0)
		sched_yield();
	if (how == QUEUE)
		collect(s, soon());
	if (clock_now_ns() > s->by_ns + LATE_NS + metronome_late(&s->beat))
		MCTEST_FAIL("ended %llu ms after its deadline", (unsigned long long)(clock_now_ns() - s->by_ns) / NSEC_PER_MSEC);
	if (mc_batch_status(s->b, 0, &st) || st.state != MC_DONE)
		return 1;
	return st.error;
}

/* Else all was said, or it goes over another connection. */
static bool fails(const struct proxy_step *step)
{
	return step->strike != CUT && step->strike != RESET && !(step->back && step->frame && step->part == ALL);
}

static void judge(const struct scene *s, const struct proxy_step *step, int error)
{
	EXPECT_LE(error, 0);
	if (!error)
		EXPECT_MEMEQ(s->mine, s->peer.mem, LEN);
	if (!fails(step))
		EXPECT_EQ(error, 0);
	else if (step->strike == SILENCE)
		EXPECT_EQ(error, -ETIMEDOUT);
	else if (step->back || step->part != ALL) /* else the peer may have been faster */
		EXPECT_LT(error, 0);
}

static void strike_at(const struct proxy_step *step, enum mc_op op, enum manner how)
{
	struct scene s;
	int error;

	ASSERT_TRUE(scene_open(&s, step));
	ASSERT_EQ(mc_segment_open(s.eng, s.proxy.name, soon(), &s.seg), 0);
	error = drive(&s, op, how, fails(step));
	EXPECT_TRUE(proxy_struck(&s.proxy));
	judge(&s, step, error);
	memcpy(s.was, s.mine, LEN);
	/* Late bytes arrive now, while others use the stream. */
	memset(s.peer.mem, 0x55, LEN);
	proxy_release(&s.proxy);
	if (step->strike != KILL) {
		uint8_t *other = malloc(LEN);

		EXPECT_EQ(move_one(s.eng, s.seg, MC_READ, other, s.peer.mem, LEN, NULL, soon()), 0);
		free(other);
	}
	EXPECT_MEMEQ(s.mine, s.was, LEN);
	if (how == QUEUE)
		collect(&s, deadline_after_ms(0));
	EXPECT_EQ(s.told, how == QUEUE ? 0u : 1u);
	EXPECT_EQ(s.collected, how == QUEUE ? 1u : 0u);
	mc_batch_close(s.b);
	mc_cq_close(s.q);
	scene_close(&s);
}

static void strike_everywhere(enum strike strike, enum mc_op op)
{
	struct proxy_step step = { .strike = strike };
	unsigned n = (unsigned)op;

	mc_log_set(no_log, NULL, MC_LOG_ERR);
	for (step.frame = 0; step.frame < 2; step.frame++)
		for (int back = 0; back < 2; back++)
			for (int part = 0; part < NR_PARTS; part++) {
				step.back = back;
				step.part = (enum part)part;
				strike_at(&step, op, (enum manner)(n++ % NR_MANNERS));
				if (mctest_failed) {
					printf("# frame %u, %s, part %d, manner %u\n", step.frame, back ? "back" : "there", part,
					       (n - 1) % NR_MANNERS);
					return;
				}
			}
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}

#define STRIKE(name, strike)                              \
	TEST(reads_from_a_peer_that_is_##name)            \
	{                                                 \
		strike_everywhere(strike, MC_READ);       \
	}                                                 \
	TEST(writes_to_a_peer_that_is_##name)             \
	{                                                 \
		strike_everywhere(strike, MC_WRITE);      \
	}

STRIKE(cut, CUT)
STRIKE(reset, RESET)
STRIKE(silent, SILENCE)
STRIKE(killed, KILL)
STRIKE(stopped, STOP)

/* The handshake port: opening a segment, asking, leaving a message. */
static void strike_handshake(const struct proxy_step *step, int what)
{
	struct scene s;
	uint64_t by_ns;
	int ret;

	ASSERT_TRUE(scene_open(&s, step));
	by_ns = deadline_after_ms(GIVEN_MS);
	ret = what ? mc_probe(s.eng, s.proxy.name, by_ns) : mc_segment_open(s.eng, s.proxy.name, by_ns, &s.seg);
	EXPECT_LT(clock_now_ns(), by_ns + LATE_NS + metronome_late(&s.beat));
	EXPECT_TRUE(proxy_struck(&s.proxy));
	if (step->back && step->part == ALL)
		EXPECT_EQ(ret, 0);
	else if (step->back || step->part != ALL)
		EXPECT_LT(ret, 0);
	if (step->strike == SILENCE)
		EXPECT_TRUE(ret == -ETIMEDOUT || (step->back && step->part == ALL));
	proxy_release(&s.proxy);
	if (step->strike != KILL && !s.seg)
		EXPECT_EQ(mc_segment_open(s.eng, s.proxy.name, soon(), &s.seg), 0);
	if (step->strike != KILL)
		EXPECT_EQ(mc_notify_send(s.seg, "a name", "hello", soon()), 0);
	scene_close(&s);
}

TEST(handshakes)
{
	struct proxy_step step = { .handshake = true };
	static const enum part parts[] = { NOTHING, HALF_A_HEADER, HALF_A_PAYLOAD, ALL_BUT_ONE, ALL };

	mc_log_set(no_log, NULL, MC_LOG_ERR);
	for (int strike = 0; strike < NR_STRIKES; strike++)
		for (int back = 0; back < 2; back++)
			for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
				step.strike = (enum strike)strike;
				step.back = back;
				step.part = parts[i];
				strike_handshake(&step, (int)i % 2);
				if (mctest_failed) {
					printf("# strike %d, %s, part %d\n", strike, back ? "back" : "there", parts[i]);
					return;
				}
			}
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}
