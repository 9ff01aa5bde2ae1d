// SPDX-License-Identifier: Apache-2.0
/* A mux whose peer is slow, silent, gone or hostile. */
#include "unit/mux_pair.h"

/* ---- deadlines ---- */

static void silent_peer(uint64_t ms, bool payload)
{
	static uint8_t in[LEN], zero[LEN];
	struct iovec iov = { in, LEN };
	struct mux_req r = { .type = 1, .in = &iov, .nr_in = 1 };
	uint64_t start = clock_now_ns(), took;
	struct pair p;

	pair_open(&p);
	if (payload) {
		ASSERT_EQ(mux_submit(p.m, &r, false), 0);
		ASSERT_TRUE(raw_head(p.fd, reply_to(&r, 0, LEN)));
		ASSERT_TRUE(raw_write(p.fd, zero, 10000));
		EXPECT_EQ(mux_wait(p.m, &r, start + ms * NSEC_PER_MSEC), -ETIMEDOUT);
	} else {
		EXPECT_EQ(mux_call(p.m, &r, start + ms * NSEC_PER_MSEC), -ETIMEDOUT);
	}
	took = (clock_now_ns() - start) / NSEC_PER_MSEC;
	EXPECT_GE(took, ms);
	EXPECT_LT(took, ms + 200);
	EXPECT_EQ(r.status, -ETIMEDOUT);
	memset(in, 0xee, LEN);
	/* The answer comes too late: read, dropped, and the stream is in step. */
	if (!payload)
		ASSERT_TRUE(raw_head(p.fd, reply_to(&r, 0, LEN)));
	ASSERT_TRUE(raw_write(p.fd, zero, payload ? LEN - 10000 : LEN));
	exchange(&p);
	for (size_t i = 0; i < LEN; i++)
		ASSERT_EQ(in[i], 0xee);
	pair_close(&p);
}

TEST(deadline_shorter_than_a_slice)
{
	silent_peer(20, false);
}

TEST(deadline_longer_than_a_slice)
{
	silent_peer(130, false);
}

TEST(deadline_within_a_payload)
{
	silent_peer(20, true);
	silent_peer(130, true);
}

TEST(deadline_passed_before_the_call)
{
	struct mux_req r = { .type = 1 };
	struct pair p;

	pair_open(&p);
	EXPECT_EQ(mux_call(p.m, &r, 1), -ETIMEDOUT);
	pair_close(&p);
}

/* mux_progress() gives up waiting, not the request: another thread may go on receiving it meanwhile. */
TEST(progress_in_turns)
{
	static uint8_t in[LEN], wire[LEN];
	struct iovec iov = { in, LEN };
	struct mux_req r = { .type = 1, .in = &iov, .nr_in = 1 };
	struct reader a = { .r.type = 2 };
	uint64_t start = clock_now_ns();
	pthread_t thread;
	struct pair p;

	memset(wire, 0x31, LEN);
	pair_open(&p);
	a.m = p.m;
	ASSERT_EQ(mux_submit(p.m, &r, true), 0);
	ASSERT_EQ(mux_submit(p.m, &a.r, false), 0);
	EXPECT_TRUE(!mux_progress(p.m, &r, start + 10 * NSEC_PER_MSEC));
	EXPECT_TRUE(!mux_progress(p.m, &r, deadline_after_ms(90)));
	ASSERT_TRUE(raw_head(p.fd, reply_to(&r, 0, LEN)));
	ASSERT_TRUE(raw_write(p.fd, wire, 40000));
	EXPECT_TRUE(!mux_progress(p.m, &r, deadline_after_ms(90)));
	EXPECT_GE(clock_now_ns() - start, 190 * NSEC_PER_MSEC);
	EXPECT_EQ(in[39999], 0x31);
	EXPECT_EQ(r.status, -EINPROGRESS);
	pthread_create(&thread, NULL, reader_main, &a); /* reads r's rest on the way to its own answer */
	ASSERT_TRUE(raw_write(p.fd, wire + 40000, LEN - 40000));
	ASSERT_TRUE(raw_head(p.fd, reply_to(&a.r, 0, 0)));
	pthread_join(thread, NULL);
	EXPECT_EQ(a.ret, 0);
	EXPECT_TRUE(mux_progress(p.m, &r, 1)); /* done already, whatever the deadline */
	EXPECT_EQ(r.status, 0);
	EXPECT_EQ(r.got, (uint64_t)LEN);
	EXPECT_MEMEQ(in, wire, LEN);
	pair_close(&p);
}

/* As a stopped process: it is there, and takes nothing. */
TEST(peer_that_does_not_read)
{
	struct iovec iov = { calloc(1, 16 * MiB), 16 * MiB };
	struct mux_req r = { .type = 1, .out = &iov, .nr_out = 1 }, next = { .type = 2 };
	uint64_t start = clock_now_ns();
	struct pair p;

	pair_open(&p);
	mc_log_set(log_count, NULL, MC_LOG_WARN);
	EXPECT_EQ(mux_call(p.m, &r, start + 100 * NSEC_PER_MSEC), -ETIMEDOUT);
	mc_log_set(NULL, NULL, MC_LOG_WARN);
	EXPECT_LT(clock_now_ns() - start, 300 * NSEC_PER_MSEC);
	EXPECT_TRUE(mux_broken(p.m)); /* nobody can make up the rest of the frame */
	EXPECT_EQ(mux_submit(p.m, &next, false), -ECONNRESET);
	pair_close(&p);
	free(iov.iov_base);
}

/* ---- two threads, one full socket ---- */

struct stuck {
	struct mux *m;
	struct mux_req small, large;
	int ret;
};

/* Has a thread taken the role? */
static bool taken(struct mux *m, const bool *role)
{
	bool is;

	pthread_mutex_lock(&m->lock);
	is = *role;
	pthread_mutex_unlock(&m->lock);
	return is;
}

/* Waits for the small request while the large one fills the socket. */
static void *stuck_main(void *arg)
{
	struct stuck *s = arg;

	s->ret = mux_wait(s->m, &s->small, deadline_after_ms(10000));
	return NULL;
}

static void *drain_main(void *arg)
{
	static uint8_t dropped[1 << 20];
	int fd = *(int *)arg;

	while (recv(fd, dropped, sizeof(dropped), 0) > 0)
		;
	return NULL;
}

/* One thread reads, the other waits for room; when the reader leaves, the other must wake and read for itself. */
TEST(the_reader_leaves_while_the_writer_waits)
{
	struct iovec iov = { calloc(1, 8 * MiB), 8 * MiB };
	struct stuck s = { .small.type = 2, .large = { .type = 3, .out = &iov, .nr_out = 1 } };
	struct reader a = { .r.type = 1 };
	uint64_t start = clock_now_ns();
	pthread_t reader, writer, drain;
	struct pair p;

	pair_open(&p);
	s.m = a.m = p.m;
	ASSERT_EQ(mux_submit(p.m, &a.r, true), 0);
	ASSERT_EQ(mux_submit(p.m, &s.small, false), 0);
	pthread_create(&reader, NULL, reader_main, &a);
	ASSERT_TRUE(EVENTUALLY(taken(p.m, &p.m->reading)));
	ASSERT_EQ(mux_submit(p.m, &s.large, false), 0);
	pthread_create(&writer, NULL, stuck_main, &s);
	ASSERT_TRUE(EVENTUALLY(taken(p.m, &p.m->writing)));
	ASSERT_TRUE(raw_head(p.fd, reply_to(&a.r, 0, 0)));
	pthread_join(reader, NULL);
	EXPECT_EQ(a.ret, 0);
	ASSERT_TRUE(raw_head(p.fd, reply_to(&s.small, 0, 0)));
	pthread_join(writer, NULL);
	EXPECT_EQ(s.ret, 0);
	EXPECT_LT(clock_now_ns() - start, 1000 * NSEC_PER_MSEC);
	/* The large one goes out once the peer reads. */
	pthread_create(&drain, NULL, drain_main, &p.fd);
	EXPECT_EQ(mux_wait(p.m, &s.large, deadline_after_ms(200)), -ETIMEDOUT);
	EXPECT_TRUE(!mux_broken(p.m));
	mux_close(p.m);
	pthread_join(drain, NULL);
	close(p.fd);
	free(iov.iov_base);
}

/* A reader is blocked for a long time; another thread's large request must not wait for it. */
TEST(writing_does_not_wait_for_the_reader)
{
	struct iovec out = { calloc(1, 8 * MiB), 8 * MiB }, in = { calloc(1, 8 * MiB), 8 * MiB };
	struct mux_req r = { .type = SRV_ECHO, .out = &out, .nr_out = 1, .in = &in, .nr_in = 1 };
	struct reader a = { .r.type = SRV_HOLD };
	struct mux_req release = { .type = SRV_RELEASE };
	pthread_t reader;
	struct server s;

	memset(out.iov_base, 3, 8 * MiB);
	server_start(&s);
	ASSERT_EQ(mux_open(server_connect(&s, false), &a.m), 0);
	ASSERT_EQ(mux_submit(a.m, &a.r, false), 0);
	pthread_create(&reader, NULL, reader_main, &a);
	ASSERT_TRUE(EVENTUALLY(taken(a.m, &a.m->reading)));
	for (int i = 0; i < 5; i++) {
		memset(in.iov_base, 0, 8 * MiB);
		EXPECT_EQ(mux_call(a.m, &r, SOON), 0);
		EXPECT_MEMEQ(in.iov_base, out.iov_base, 8 * MiB);
	}
	EXPECT_EQ(mux_call(a.m, &release, SOON), 0);
	pthread_join(reader, NULL);
	EXPECT_EQ(a.ret, 0);
	mux_close(a.m);
	server_stop(&s);
	free(in.iov_base);
	free(out.iov_base);
}

/* ---- a stream that ends ---- */

static void peer_gone(size_t sent)
{
	struct reader a = { .r = { .type = 1 } };
	static uint8_t bytes[64];
	pthread_t thread;
	struct pair p;

	pair_open(&p);
	a.m = p.m;
	ASSERT_EQ(mux_submit(p.m, &a.r, false), 0);
	net_frame_encode(&(struct net_frame){ .flags = NET_REPLY, .id = a.r.id, .body_len = 32 }, bytes);
	ASSERT_TRUE(raw_write(p.fd, bytes, sent));
	pthread_create(&thread, NULL, reader_main, &a);
	shutdown(p.fd, SHUT_WR);
	pthread_join(thread, NULL);
	EXPECT_EQ(a.ret, -ECONNRESET);
	EXPECT_TRUE(mux_broken(p.m));
	pair_close(&p);
	buf_fini(&a.r.reply);
}

TEST(peer_closes)
{
	mc_log_set(log_count, NULL, MC_LOG_WARN);
	log_lines = 0;
	peer_gone(0);
	EXPECT_EQ(atomic_load(&log_lines), 0); /* between frames: nothing to complain about */
	peer_gone(7);
	peer_gone(32);
	peer_gone(50);
	EXPECT_EQ(atomic_load(&log_lines), 3);
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}

TEST(close_wakes_a_waiting_thread)
{
	struct reader a = { .r = { .type = 1 } };
	struct net_frame f;
	pthread_t thread;
	struct pair p;

	pair_open(&p);
	a.m = p.m;
	ASSERT_EQ(mux_submit(p.m, &a.r, true), 0);
	pthread_create(&thread, NULL, reader_main, &a);
	ASSERT_TRUE(raw_frame(p.fd, &f)); /* the thread is inside */
	mux_close(p.m);
	pthread_join(thread, NULL);
	EXPECT_EQ(a.ret, -ECONNRESET);
	close(p.fd);
}

static void garbage(struct net_frame f, bool whole, const char *what)
{
	struct mux_req r = { .type = 1 };
	uint8_t noise[NET_FRAME_BYTES];
	struct pair p;

	pair_open(&p);
	memset(noise, 0xa5, sizeof(noise));
	log_lines = 0;
	ASSERT_EQ(mux_submit(p.m, &r, false), 0);
	if (!whole)
		ASSERT_TRUE(raw_write(p.fd, noise, sizeof(noise)));
	else
		ASSERT_TRUE(raw_head(p.fd, f));
	EXPECT_EQ(mux_wait(p.m, &r, SOON), -EBADMSG);
	EXPECT_TRUE(mux_broken(p.m));
	EXPECT_EQ(atomic_load(&log_lines), 1);
	EXPECT_TRUE(strstr(log_last, what) && strstr(log_last, "process"));
	pair_close(&p);
}

TEST(garbage_ends_the_stream)
{
	mc_log_set(log_count, NULL, MC_LOG_WARN);
	garbage((struct net_frame){ 0 }, false, "malformed");
	garbage((struct net_frame){ .flags = NET_REPLY, .id = 2 }, true, "nothing that was asked");
	garbage((struct net_frame){ .flags = NET_REPLY, .id = 0 }, true, "nothing that was asked");
	garbage((struct net_frame){ .id = 1, .type = 3 }, true, "does not serve");
	garbage((struct net_frame){ .flags = NET_REPLY | NET_FDS, .id = 1 }, true, "malformed");
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}

TEST(one_way_frames_are_dropped)
{
	static uint8_t zero[100];
	struct mux_req r = { .type = 1 };
	struct pair p;

	pair_open(&p);
	ASSERT_EQ(mux_submit(p.m, &r, false), 0);
	ASSERT_TRUE(raw_head(p.fd, (struct net_frame){ .flags = NET_ONEWAY, .id = 5, .body_len = 60, .payload_len = 40 }));
	ASSERT_TRUE(raw_write(p.fd, zero, 100));
	ASSERT_TRUE(raw_head(p.fd, reply_to(&r, 0, 0)));
	EXPECT_EQ(mux_wait(p.m, &r, SOON), 0);
	pair_close(&p);
}

TEST(server_closes_within_a_callback)
{
	struct mux_req r = { .type = SRV_CLOSE };
	struct server s;
	struct mux *m;

	server_start(&s);
	ASSERT_EQ(mux_open(server_connect(&s, true), &m), 0);
	EXPECT_EQ(mux_call(m, &r, SOON), -ECONNRESET);
	mux_close(m);
	server_stop(&s);
}
