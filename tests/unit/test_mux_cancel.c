// SPDX-License-Identifier: Apache-2.0
/* Requests given up in every state: afterwards nothing touches their memory, and the stream is still in step. */
#include "unit/mux_pair.h"

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
