// SPDX-License-Identifier: Apache-2.0
/*
 * A peer that is cut off, reset, silent, killed or stopped at every step of what is said, in our protocol, in upstream's and on the
 * handshake port: each request ends by its deadline and 100 ms, once, and its memory is the caller's from then on.
 */
#include "mctest.h"
#include "metronome.h"
#include "proxy.h"

#include "base/log.h"

#define LEN  300000
#define HALF (LEN / 2)
#define GIVEN_MS     60 /* enough to get to the step; where the machine is too slow for that, twice as much, and so on */
#define GIVEN_MS_MAX 4000
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
	unsigned given_ms;
	uint64_t by_ns;
};

static void no_log(void *arg, enum mc_log_level level, const char *text)
{
}

static void tell(void *arg)
{
	((struct scene *)arg)->told++;
}

static bool scene_open(struct scene *s, const struct proxy_step *step, unsigned given_ms)
{
	*s = (struct scene){ .peer = { .len = LEN }, .given_ms = given_ms };
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

/* The time was over before the step was reached: that says nothing of it. */
static bool too_slow(const struct scene *s, int error)
{
	return error == -ETIMEDOUT && !s->proxy.struck && s->given_ms < GIVEN_MS_MAX;
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
	/* In upstream's protocol each is an exchange. */
	struct mc_vec v[] = { { s->mine, (uintptr_t)s->peer.mem, HALF },
			      { s->mine + HALF, (uintptr_t)s->peer.mem + HALF, LEN - HALF } };
	struct mc_request r = { .op = op, .segment = s->seg, .vec = v, .nr_vec = ARRAY_SIZE(v) };
	struct mc_status st;

	if (op == MC_WRITE)
		pattern(s->mine, LEN, 9);
	if (mc_batch_open(s->eng, 1, tell, s, &s->b) ||
	    (how == QUEUE && (mc_cq_open(s->eng, &s->q) || mc_batch_watch(s->b, s->q))))
		return 1;
	s->by_ns = fails ? deadline_after_ms(s->given_ms) : soon();
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

/* Else all was said, or it goes over another connection: in upstream's protocol only if this one had served before. */
static bool fails(const struct proxy_step *step)
{
	bool said = step->back && step->part == ALL;

	if (step->strike == CUT || step->strike == RESET)
		return step->classic && !step->frame && !(said && step->strike == CUT);
	return !(said && step->frame);
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
	else if (step->strike == RESET && step->back && step->part == ALL) /* it may overtake what was said */
		EXPECT_TRUE(!error || error == -ECONNRESET);
	else if (step->back || step->part != ALL) /* else the peer may have been faster */
		EXPECT_LT(error, 0);
}

static void strike_at(const struct proxy_step *step, enum mc_op op, enum manner how)
{
	struct scene s;
	int error;

	for (unsigned given = GIVEN_MS;; given *= 2) {
		ASSERT_TRUE(scene_open(&s, step, given));
		ASSERT_EQ(mc_segment_open(s.eng, s.proxy.name, soon(), &s.seg), 0);
		error = drive(&s, op, how, fails(step));
		if (!too_slow(&s, error))
			break;
		proxy_release(&s.proxy);
		mc_batch_close(s.b);
		mc_cq_close(s.q);
		scene_close(&s);
	}
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
		/* What was under way holds nothing there. */
		EXPECT_EQ(peer_tell(&s.peer, 'u'), 'k');
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

static void strike_everywhere(enum strike strike, enum mc_op op, bool classic)
{
	struct proxy_step step = { .strike = strike, .classic = classic };
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

#define STRIKE(name, strike)                                                 \
	TEST(reads_from_a_peer_that_is_##name)                               \
	{                                                                    \
		strike_everywhere(strike, MC_READ, false);                   \
	}                                                                    \
	TEST(writes_to_a_peer_that_is_##name)                                \
	{                                                                    \
		strike_everywhere(strike, MC_WRITE, false);                  \
	}                                                                    \
	TEST(reads_in_upstreams_protocol_from_a_peer_that_is_##name)         \
	{                                                                    \
		strike_everywhere(strike, MC_READ, true);                    \
	}                                                                    \
	TEST(writes_in_upstreams_protocol_to_a_peer_that_is_##name)          \
	{                                                                    \
		strike_everywhere(strike, MC_WRITE, true);                   \
	}

STRIKE(cut, CUT)
STRIKE(reset, RESET)
STRIKE(silent, SILENCE)
STRIKE(killed, KILL)
STRIKE(stopped, STOP)

/* The handshake port: opening a segment, asking, leaving a message. */
enum talk { OPEN, PROBE, NOTIFY };

static int talk(struct scene *s, enum talk what)
{
	switch (what) {
	case OPEN:
		return mc_segment_open(s->eng, s->proxy.name, s->by_ns, &s->seg);
	case PROBE:
		return mc_probe(s->eng, s->proxy.name, s->by_ns);
	default:
		return mc_notify_send(s->seg, "a name", "hello", s->by_ns);
	}
}

/* How many messages the peer has been left since it was asked last. */
static unsigned messages(struct scene *s)
{
	unsigned nr = 0;

	while (peer_tell(&s->peer, 'n') == 'k')
		nr++;
	return nr;
}

static void strike_handshake(const struct proxy_step *step, enum talk what)
{
	bool said = step->back && step->part == ALL;
	struct scene s;
	unsigned nr;
	int ret;

	for (unsigned given = GIVEN_MS;; given *= 2) {
		ASSERT_TRUE(scene_open(&s, step, given));
		if (what == NOTIFY)
			ASSERT_EQ(mc_segment_open(s.eng, s.proxy.name, soon(), &s.seg), 0);
		s.by_ns = deadline_after_ms(given);
		ret = talk(&s, what);
		if (!too_slow(&s, ret))
			break;
		proxy_release(&s.proxy);
		scene_close(&s);
	}
	EXPECT_LT(clock_now_ns(), s.by_ns + LATE_NS + metronome_late(&s.beat));
	EXPECT_TRUE(proxy_struck(&s.proxy));
	if (said)
		EXPECT_EQ(ret, 0);
	else if (step->back || step->part != ALL)
		EXPECT_LT(ret, 0);
	if (step->strike == SILENCE)
		EXPECT_TRUE(ret == -ETIMEDOUT || said);
	proxy_release(&s.proxy);
	if (step->strike != KILL) {
		if (!s.seg)
			EXPECT_EQ(mc_segment_open(s.eng, s.proxy.name, soon(), &s.seg), 0);
		EXPECT_EQ(mc_notify_send(s.seg, "a name", "hello", soon()), 0);
		/* A message that was said to have arrived has, and none comes twice. */
		nr = messages(&s);
		EXPECT_GE(nr, 1u + (what == NOTIFY && !ret));
		EXPECT_LE(nr, 1u + (what == NOTIFY));
	}
	scene_close(&s);
}

static void talk_everywhere(enum talk what)
{
	static const enum part parts[] = { NOTHING, HALF_A_HEADER, HALF_A_PAYLOAD, ALL_BUT_ONE, ALL };
	struct proxy_step step = { .handshake = true, .conn = what == NOTIFY };

	mc_log_set(no_log, NULL, MC_LOG_ERR);
	for (int strike = 0; strike < NR_STRIKES; strike++)
		for (int back = 0; back < 2; back++)
			for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
				step.strike = (enum strike)strike;
				step.back = back;
				step.part = parts[i];
				strike_handshake(&step, what);
				if (mctest_failed) {
					printf("# strike %d, %s, part %d\n", strike, back ? "back" : "there", parts[i]);
					return;
				}
			}
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}

TEST(opening_a_segment)
{
	talk_everywhere(OPEN);
}

TEST(asking_whether_it_is_there)
{
	talk_everywhere(PROBE);
}

TEST(leaving_a_message)
{
	talk_everywhere(NOTIFY);
}
