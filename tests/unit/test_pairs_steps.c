// SPDX-License-Identifier: Apache-2.0
/*
 * A peer that is cut off, reset, silent, killed or stopped at each step of joining queue pairs: the request that waits for it
 * ends by its deadline and 100 ms, once, and when the peer is there again so is the connection.
 */
#include "mctest.h"

#include "base/log.h"
#include "unit/metronome.h"
#include "unit/paper.h"
#include "unit/proxy.h"

#define LEN 5000
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define GIVEN_MS 250
#else
#define GIVEN_MS 60
#endif
#define LATE_NS (100 * NSEC_PER_MSEC)

enum { DESCRIPTION, JOIN, READY }; /* the connections to the handshake port, in their order */

struct scene {
	struct peer_proc peer;
	struct proxy proxy;
	struct metronome beat;
	struct mc_engine *eng;
	struct mc_segment *seg;
	uint8_t mine[LEN], was[LEN];
	unsigned told;
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
	*s = (struct scene){ .peer = { .len = LEN, .transports = "rdma,tcp" } };
	if (peer_start(&s->peer) || proxy_start(&s->proxy, &s->peer, step))
		return false;
	pattern(s->peer.mem, LEN, 3);
	metronome_start(&s->beat);
	s->eng = engine_new("rdma");
	return s->eng && !mc_segment_open(s->eng, s->proxy.name, soon(), &s->seg);
}

static void scene_close(struct scene *s)
{
	mc_segment_close(s->seg);
	mc_engine_close(s->eng);
	proxy_stop(&s->proxy);
	metronome_stop(&s->beat);
	peer_stop(&s->peer, SIGKILL);
	peer_free(&s->peer);
}

/* A read by a deadline, driven in the one way or the other. */
static int read_by(struct scene *s, uint64_t by_ns, bool polled)
{
	struct mc_vec v = { s->mine, (uintptr_t)s->peer.mem, LEN };
	struct mc_request r = { .op = MC_READ, .segment = s->seg, .vec = &v, .nr_vec = 1 };
	struct mc_status st = { 0 };
	struct mc_batch *b;

	if (mc_batch_open(s->eng, 1, tell, s, &b) || mc_batch_submit(b, &r, 1, by_ns))
		return 1;
	while (polled && mc_batch_poll(b) > 0)
		sched_yield();
	if (!polled)
		mc_batch_wait(b, soon());
	EXPECT_LT(clock_now_ns(), by_ns + LATE_NS + metronome_late(&s->beat));
	EXPECT_EQ(mc_batch_status(b, 0, &st), 0);
	EXPECT_EQ(st.state, MC_DONE);
	mc_batch_close(b);
	return st.error;
}

/* Nothing is missing of what is said over that connection, and the other goes on. */
static bool goes_on(const struct proxy_step *step)
{
	return step->back && step->part == ALL && (step->conn == READY || step->strike == CUT || step->strike == RESET);
}

static void judge(const struct proxy_step *step, int error)
{
	bool back = step->back || step->part != ALL; /* else the peer may have been faster */

	EXPECT_LE(error, 0);
	if (!goes_on(step) && back)
		EXPECT_LT(error, 0);
	else if (step->strike == RESET) /* it may overtake what was said */
		EXPECT_TRUE(!error || error == -ECONNRESET);
	else if (goes_on(step) && (step->strike == CUT || step->strike == SILENCE)) /* else there may be nobody to copy from */
		EXPECT_EQ(error, 0);
	else if (step->strike == SILENCE)
		EXPECT_EQ(error, -ETIMEDOUT);
}

static void strike_at(const struct proxy_step *step, bool polled)
{
	struct scene s;
	int error;

	ASSERT_TRUE(scene_open(&s, step));
	error = read_by(&s, goes_on(step) ? soon() : deadline_after_ms(GIVEN_MS), polled);
	EXPECT_TRUE(proxy_struck(&s.proxy));
	judge(step, error);
	EXPECT_EQ(s.told, 1u);
	memcpy(s.was, s.mine, LEN);
	pattern(s.peer.mem, LEN, 4);
	proxy_release(&s.proxy);
	if (step->strike != KILL) {
		while ((error = read_by(&s, soon(), false)) == -ETIMEDOUT)
			; /* of joining, not of this: its patience began before */
		if (error)
			error = read_by(&s, soon(), false);
		EXPECT_EQ(error, 0);
		EXPECT_MEMEQ(s.mine, s.peer.mem, LEN);
	} else {
		EXPECT_MEMEQ(s.mine, s.was, LEN);
	}
	scene_close(&s);
}

static void strike_everywhere(enum strike strike)
{
	static const enum part parts[] = { NOTHING, HALF_A_HEADER, HALF_A_PAYLOAD, ALL_BUT_ONE, ALL };
	static const char topology[] = "{\"cpu:0\":[[\"mlx5_0\"],[]]}";
	struct proxy_step step = { .handshake = true, .named = true, .strike = strike };
	char path[] = "/tmp/mc-topology-XXXXXX";
	int fd = mkstemp(path);
	unsigned n = 0;

	EXPECT_EQ(write(fd, topology, sizeof(topology) - 1), (ssize_t)sizeof(topology) - 1);
	close(fd);
	setenv("MC_CUSTOM_TOPO_JSON", path, 1);
	paper_new_book();
	mc_log_set(no_log, NULL, MC_LOG_ERR);
	for (step.conn = JOIN; step.conn <= READY; step.conn++)
		for (int back = 0; back < 2; back++)
			for (unsigned i = 0; i < ARRAY_SIZE(parts) && !mctest_failed; i++) {
				step.back = back;
				step.part = parts[i];
				strike_at(&step, n++ % 2);
				if (mctest_failed)
					printf("# %s, %s, part %d\n", step.conn == JOIN ? "join" : "ready", back ? "back" : "there", step.part);
			}
	mc_log_set(NULL, NULL, MC_LOG_WARN);
	unlink(path);
}

TEST(cut)
{
	strike_everywhere(CUT);
}

TEST(reset)
{
	strike_everywhere(RESET);
}

TEST(silent)
{
	strike_everywhere(SILENCE);
}

TEST(killed)
{
	strike_everywhere(KILL);
}

TEST(stopped)
{
	strike_everywhere(STOP);
}
