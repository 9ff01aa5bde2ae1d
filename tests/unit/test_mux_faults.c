// SPDX-License-Identifier: Apache-2.0
/* A mux whose peer is slow, silent, gone or hostile, and requests cancelled in every state. */
#include "net/mux_private.h"

#include "mctest.h"
#include "unit/net_server.h"

#define SOON deadline_after_ms(5000)
#define LEN 100000

/* Both ends of a stream: a mux and a peer that the test plays. */
struct pair {
	struct mux *m;
	int fd;
};

static void pair_open(struct pair *p)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) || mux_open(fd[0], &p->m))
		abort();
	p->fd = fd[1];
}

static void pair_close(struct pair *p)
{
	mux_close(p->m);
	close(p->fd);
}

static struct net_frame reply_to(const struct mux_req *r, uint32_t body, uint64_t payload)
{
	return (struct net_frame){ .flags = NET_REPLY, .type = r->type, .id = r->id, .body_len = body, .payload_len = payload };
}

/* A whole exchange, to see that the stream is still good. */
static void exchange(struct pair *p)
{
	struct mux_req r = { .type = 9 };
	struct net_frame f;

	ASSERT_EQ(mux_submit(p->m, &r, false), 0);
	do
		ASSERT_TRUE(raw_frame(p->fd, &f));
	while (f.id != r.id);
	ASSERT_TRUE(raw_head(p->fd, reply_to(&r, 2, 0)));
	ASSERT_TRUE(raw_write(p->fd, "ok", 2));
	EXPECT_EQ(mux_wait(p->m, &r, SOON), 0);
	EXPECT_EQ(r.reply.len, 2u);
	buf_fini(&r.reply);
}

/* A thread that waits for one request. */
struct reader {
	struct mux *m;
	struct mux_req r;
	int ret;
};

static void *reader_main(void *arg)
{
	struct reader *a = arg;

	a->ret = mux_wait(a->m, &a->r, deadline_after_ms(10000));
	return NULL;
}

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

/* ---- cancelling ---- */

TEST(cancel_before_sending)
{
	struct mux_req r = { .type = 1 };
	struct net_frame f;
	struct pair p;
	uint8_t c;

	pair_open(&p);
	ASSERT_EQ(mux_submit(p.m, &r, true), 0);
	EXPECT_EQ(recv(p.fd, &c, 1, MSG_DONTWAIT), -1); /* corked */
	mux_cancel(p.m, &r);
	EXPECT_EQ(r.status, -ECANCELED);
	EXPECT_EQ(mux_wait(p.m, &r, SOON), -ECANCELED);
	r.type = 3;
	ASSERT_EQ(mux_submit(p.m, &r, false), 0);
	ASSERT_TRUE(raw_frame(p.fd, &f));
	EXPECT_EQ(f.type, 3); /* the first was never seen */
	pair_close(&p);
	EXPECT_EQ(r.status, -ECONNRESET);
}

/* Cancels after @bytes of a reply with 50 bytes of body came in; nothing may change afterwards. */
static void cancel_at(size_t bytes)
{
	static uint8_t in[LEN], seen[LEN], wire[LEN + 64];
	struct iovec iov[2] = { { in, 300 }, { in + 300, LEN - 300 } };
	struct mux_req r = { .type = 1, .in = iov, .nr_in = 2 }, other = { .type = 2 };
	size_t total = 50 + LEN;
	struct pair p;

	memset(in, 0, LEN);
	memset(wire, 0x55, sizeof(wire));
	pair_open(&p);
	ASSERT_EQ(mux_submit(p.m, &r, true), 0);
	ASSERT_EQ(mux_submit(p.m, &other, false), 0);
	ASSERT_TRUE(raw_head(p.fd, reply_to(&r, 50, LEN)));
	ASSERT_TRUE(raw_write(p.fd, wire, bytes));
	EXPECT_TRUE(!mux_poll(p.m, &r));
	if (bytes > 60)
		EXPECT_EQ(in[bytes - 51], 0x55); /* it did arrive */
	mux_cancel(p.m, &r);
	memcpy(seen, in, LEN);
	EXPECT_EQ(r.reply.len, 0u);
	for (size_t at = bytes; at < total; at += MIN(total - at, (size_t)LEN / 2))
		ASSERT_TRUE(raw_write(p.fd, wire, MIN(total - at, (size_t)LEN / 2)));
	ASSERT_TRUE(raw_head(p.fd, reply_to(&other, 0, 0)));
	EXPECT_EQ(mux_wait(p.m, &other, SOON), 0);
	EXPECT_MEMEQ(in, seen, LEN);
	exchange(&p);
	buf_fini(&r.reply);
	pair_close(&p);
}

TEST(cancel_while_receiving)
{
	static const size_t at[] = { 0, 1, 49, 50, 51, 349, 350, 351, 2000, 70000, LEN + 49 };

	for (size_t i = 0; i < ARRAY_SIZE(at); i++)
		cancel_at(at[i]);
}

/* How many bytes a fresh pair's socket takes before it is full. */
static uint64_t socket_room(void)
{
	struct iovec iov = { calloc(1, 16 * MiB), 16 * MiB };
	struct mux_req r = { .type = 1, .out = &iov, .nr_out = 1 };
	struct pair p;

	pair_open(&p);
	if (mux_submit(p.m, &r, false))
		abort();
	pair_close(&p);
	free(iov.iov_base);
	return r.sent;
}

/* The rest of a frame that is partly out is sent from a copy: the caller's memory is its own again at once. */
TEST(cancel_partly_sent)
{
	uint64_t len = socket_room() + 20000;
	struct iovec iov = { malloc(len), len };
	struct mux_req r = { .type = 1, .body = "hi", .body_len = 2, .out = &iov, .nr_out = 1 }, next = { .type = 2 };
	uint8_t head[NET_FRAME_BYTES + 2], *got = malloc(len);
	struct net_frame f;
	struct pair p;

	pair_open(&p);
	for (uint64_t i = 0; i < len; i++)
		((uint8_t *)iov.iov_base)[i] = (uint8_t)(i * 3);
	ASSERT_EQ(mux_submit(p.m, &r, false), 0);
	ASSERT_TRUE(r.sent > 100 && r.sent < len);
	mux_cancel(p.m, &r);
	EXPECT_TRUE(!mux_broken(p.m));
	memset(iov.iov_base, 0xff, len);
	ASSERT_EQ(mux_submit(p.m, &next, false), 0);
	/* The peer reads while the mux sends on. */
	ASSERT_TRUE(raw_read(p.fd, head, sizeof(head)));
	ASSERT_TRUE(raw_read(p.fd, got, len - 30000));
	EXPECT_TRUE(!mux_poll(p.m, &next));
	ASSERT_TRUE(raw_read(p.fd, got + len - 30000, 30000));
	for (uint64_t i = 0; i < len; i++)
		ASSERT_EQ(got[i], (uint8_t)(i * 3));
	ASSERT_TRUE(raw_frame(p.fd, &f));
	EXPECT_EQ(f.type, 2);
	ASSERT_TRUE(raw_head(p.fd, reply_to(&r, 0, 0)));
	ASSERT_TRUE(raw_head(p.fd, reply_to(&next, 0, 0)));
	EXPECT_EQ(mux_wait(p.m, &next, SOON), 0);
	exchange(&p);
	pair_close(&p);
	free(iov.iov_base);
	free(got);
}

/* One thread reads for all; another cancels the request whose payload is just coming in. */
TEST(cancel_while_another_thread_receives_it)
{
	static uint8_t wire[1 << 20], in[1 << 20], seen[1 << 20];
	struct iovec iov = { in, sizeof(in) };
	unsigned seed = 1;

	memset(wire, 0x77, sizeof(wire));
	for (int round = 0; round < 30; round++) {
		struct reader a = { .r.type = 1 };
		struct mux_req r = { .type = 2, .in = &iov, .nr_in = 1 };
		pthread_t thread;
		struct pair p;
		size_t part;

		pair_open(&p);
		memset(in, 0, sizeof(in));
		a.m = p.m;
		ASSERT_EQ(mux_submit(p.m, &a.r, true), 0);
		ASSERT_EQ(mux_submit(p.m, &r, false), 0);
		pthread_create(&thread, NULL, reader_main, &a);
		seed = seed * 1103515245 + 12345;
		part = seed % sizeof(wire);
		ASSERT_TRUE(raw_head(p.fd, reply_to(&r, 0, sizeof(in))));
		ASSERT_TRUE(raw_write(p.fd, wire, part));
		mux_cancel(p.m, &r); /* the reader may be anywhere */
		memcpy(seen, in, sizeof(in));
		ASSERT_TRUE(raw_write(p.fd, wire + part, sizeof(wire) - part));
		ASSERT_TRUE(raw_head(p.fd, reply_to(&a.r, 0, 0)));
		pthread_join(thread, NULL);
		EXPECT_EQ(a.ret, 0);
		EXPECT_MEMEQ(in, seen, sizeof(in));
		pair_close(&p);
	}
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

/* ---- all at once: threads that give up at random moments share a stream ---- */

struct giver_up {
	pthread_t thread;
	struct mux *m;
	unsigned seed, done, late, wrong;
};

static unsigned rnd(struct giver_up *g)
{
	g->seed = g->seed * 1103515245 + 12345;
	return g->seed >> 8;
}

static bool all_bytes(const uint8_t *p, size_t len, uint8_t v)
{
	return !len || (p[0] == v && !memcmp(p, p + 1, len - 1));
}

static void *give_up_main(void *arg)
{
	uint8_t *out = malloc(60000), *in = malloc(60000);
	struct giver_up *g = arg;
	struct mux_req r = { .type = SRV_ECHO };

	for (unsigned i = 0; i < 400; i++) {
		size_t len = rnd(g) % 60000;
		struct iovec o = { out, len }, n = { in, 60000 };
		int ret;

		memset(out, (int)i, len);
		memset(in, 0xcc, 60000);
		r.body = &i;
		r.body_len = sizeof(i);
		r.out = &o;
		r.in = &n;
		r.nr_out = r.nr_in = 1;
		if (rnd(g) % 4)
			ret = mux_call(g->m, &r, deadline_after_ns(rnd(g) % 500000));
		else
			ret = mux_call(g->m, &r, deadline_after_ms(20000));
		if (!ret) {
			g->done++;
			g->wrong += r.got != len || !all_bytes(in, len, (uint8_t)i) || memcmp(r.reply.data, &i, sizeof(i));
			continue;
		}
		/* Ours again from here on: sent or received, nothing may touch it. */
		memset(in, 0xdd, 60000);
		memset(out, 0xee, 60000);
		g->late++;
		g->wrong += ret != -ETIMEDOUT || r.reply.len;
		for (int j = 0; j < 5; j++)
			sched_yield();
		g->wrong += !all_bytes(in, 60000, 0xdd);
	}
	buf_fini(&r.reply);
	free(out);
	free(in);
	return NULL;
}

static void give_up(bool tcp)
{
	struct giver_up g[5];
	unsigned done = 0, late = 0;
	struct server s;
	struct mux *m;

	server_start(&s);
	ASSERT_EQ(mux_open(server_connect(&s, tcp), &m), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(g); i++) {
		g[i] = (struct giver_up){ .m = m, .seed = i + 77 };
		pthread_create(&g[i].thread, NULL, give_up_main, &g[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(g); i++) {
		pthread_join(g[i].thread, NULL);
		EXPECT_EQ(g[i].wrong, 0u);
		done += g[i].done;
		late += g[i].late;
	}
	EXPECT_TRUE(!mux_broken(m));
	EXPECT_TRUE(done > 100 && late > 10); /* else this showed nothing */
	mux_close(m);
	server_stop(&s);
}

TEST(giving_up_at_random_unix)
{
	give_up(false);
}

TEST(giving_up_at_random_tcp)
{
	give_up(true);
}
