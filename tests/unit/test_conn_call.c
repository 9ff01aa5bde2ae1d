// SPDX-License-Identifier: Apache-2.0
/* Requests that a conn sends: answers, deadlines, the peer's end; both ends of each stream live on one loop. */
#include "net/net.h"

#include "mctest.h"
#include "unit/net_server.h"

struct client {
	struct server *s;
	struct conn *c;
	atomic_int done, last, closed;
	char text[64];
};

static void client_request(struct conn_req *r)
{
	conn_reply(r, &(struct conn_reply){ .body = "pong", .body_len = 4 });
}

static void client_closed(struct conn *c, int err)
{
	struct client *cl = conn_user(c);

	cl->c = NULL;
	atomic_fetch_add(&cl->closed, 1);
}

static const struct conn_ops client_ops = { .request = client_request, .closed = client_closed };

static void on_done(void *arg, int status, const uint8_t *body, size_t len)
{
	struct client *cl = arg;

	snprintf(cl->text, sizeof(cl->text), "%.*s", (int)len, (const char *)body);
	atomic_store(&cl->last, status);
	atomic_fetch_add(&cl->done, 1);
}

static int client_add(void *arg)
{
	struct srv_add *a = arg;
	struct client *cl = (struct client *)a->s;

	return conn_open(cl->s->loop, a->fd, &client_ops, NULL, cl, &cl->c);
}

static void client_open(struct client *cl, struct server *s, bool tcp)
{
	struct srv_add a = { .s = (struct server *)cl };

	*cl = (struct client){ .s = s };
	a.fd = server_connect(s, tcp);
	if (loop_call(s->loop, client_add, &a))
		abort();
}

static int client_close(void *arg)
{
	struct client *cl = arg;

	if (cl->c)
		conn_close(cl->c);
	return 0;
}

struct ask {
	struct client *cl;
	uint16_t type;
	const char *body;
	uint64_t deadline_ns;
	bool oneway;
};

static int ask_fn(void *arg)
{
	struct ask *a = arg;

	return conn_call(a->cl->c, a->type, a->body, strlen(a->body), a->deadline_ns, a->oneway ? NULL : on_done, a->cl);
}

static int ask(struct client *cl, uint16_t type, const char *body, uint64_t ms)
{
	struct ask a = { .cl = cl, .type = type, .body = body, .deadline_ns = deadline_after_ms(ms) };

	return loop_call(cl->s->loop, ask_fn, &a);
}

#define DONE(cl, n) EVENTUALLY(atomic_load(&(cl)->done) == (n))

TEST(calls_are_answered)
{
	struct client cl;
	struct server s;

	for (int tcp = 0; tcp < 2; tcp++) {
		server_start(&s);
		client_open(&cl, &s, tcp);
		ASSERT_EQ(ask(&cl, SRV_ECHO, "hello", 5000), 0);
		ASSERT_TRUE(DONE(&cl, 1));
		EXPECT_EQ(atomic_load(&cl.last), 0);
		EXPECT_STREQ(cl.text, "hello");
		ASSERT_EQ(ask(&cl, SRV_ERROR, "", 5000), 0);
		ASSERT_TRUE(DONE(&cl, 2));
		EXPECT_EQ(atomic_load(&cl.last), -ENOENT);
		/* The server asks us back before it answers. */
		ASSERT_EQ(ask(&cl, SRV_CALL, "ping", 5000), 0);
		ASSERT_TRUE(DONE(&cl, 3));
		EXPECT_EQ(atomic_load(&cl.last), 0);
		EXPECT_STREQ(cl.text, "pong");
		loop_call(s.loop, client_close, &cl);
		EXPECT_TRUE(EVENTUALLY(atomic_load(&cl.closed) == 1));
		server_stop(&s);
	}
}

TEST(one_way_calls)
{
	struct client cl;
	struct server s;
	struct ask a = { .cl = &cl, .type = SRV_ONEWAY, .body = "x", .oneway = true };

	server_start(&s);
	client_open(&cl, &s, false);
	for (int i = 0; i < 10; i++)
		ASSERT_EQ(loop_call(s.loop, ask_fn, &a), 0);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.oneway) == 10));
	EXPECT_EQ(atomic_load(&cl.done), 0);
	loop_call(s.loop, client_close, &cl);
	server_stop(&s);
}

static int corked_calls(void *arg)
{
	struct ask *a = arg;
	struct conn *c = a->cl->c;
	bool ok = conn_cork(c) && !conn_cork(c);

	ok &= !ask_fn(a) && !ask_fn(a) && conn_out_bytes(c) == 2 * (NET_FRAME_BYTES + strlen(a->body));
	conn_uncork(c);
	return ok && !conn_out_bytes(c) ? 0 : -EIO;
}

TEST(corked_calls_leave_together)
{
	struct client cl;
	struct server s;
	struct ask a = { .cl = &cl, .type = SRV_ECHO, .body = "hello", .deadline_ns = deadline_after_ms(5000) };

	server_start(&s);
	client_open(&cl, &s, false);
	EXPECT_EQ(loop_call(s.loop, corked_calls, &a), 0);
	EXPECT_TRUE(DONE(&cl, 2));
	EXPECT_STREQ(cl.text, "hello");
	loop_call(s.loop, client_close, &cl);
	server_stop(&s);
}

static int release(void *arg)
{
	struct server *s = arg;

	for (unsigned i = 0; i < s->nr_held; i++)
		srv_echo(s->held[i]);
	s->nr_held = 0;
	return 0;
}

TEST(calls_time_out_and_late_answers_are_dropped)
{
	struct client cl;
	struct server s;
	uint64_t start = clock_now_ns();

	server_start(&s);
	client_open(&cl, &s, true);
	ASSERT_EQ(ask(&cl, SRV_HOLD, "a", 30), 0);
	ASSERT_TRUE(DONE(&cl, 1));
	EXPECT_EQ(atomic_load(&cl.last), -ETIMEDOUT);
	EXPECT_GE(clock_now_ns() - start, 30 * NSEC_PER_MSEC);
	loop_call(s.loop, release, &s);
	ASSERT_EQ(ask(&cl, SRV_ECHO, "b", 5000), 0);
	ASSERT_TRUE(DONE(&cl, 2));
	EXPECT_STREQ(cl.text, "b");
	loop_call(s.loop, client_close, &cl);
	server_stop(&s);
}

TEST(calls_end_with_the_stream)
{
	struct client cl;
	struct server s;

	server_start(&s);
	client_open(&cl, &s, true);
	for (int i = 0; i < 100; i++)
		ASSERT_EQ(ask(&cl, SRV_HOLD, "a", 60000), 0);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.requests) == 100));
	ASSERT_EQ(ask(&cl, SRV_CLOSE, "", 60000), 0);
	ASSERT_TRUE(DONE(&cl, 101));
	EXPECT_EQ(atomic_load(&cl.last), -ECONNRESET);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&cl.closed) == 1));
	server_stop(&s);
}

static int call_closed(void *arg)
{
	struct client *cl = arg;
	int ret;

	conn_close(cl->c);
	ret = conn_call(cl->c, 1, NULL, 0, DEADLINE_NEVER, on_done, cl);
	conn_close(cl->c);
	return ret;
}

TEST(calls_on_a_closed_conn)
{
	struct client cl;
	struct server s;

	server_start(&s);
	client_open(&cl, &s, true);
	EXPECT_EQ(loop_call(s.loop, call_closed, &cl), -ECONNRESET);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&cl.closed) == 1));
	EXPECT_EQ(atomic_load(&cl.done), 0);
	server_stop(&s);
}

static int flood(void *arg)
{
	struct client *cl = arg;
	uint8_t *body = calloc(1, NET_BODY_MAX + 1);
	int ret = 0, n = 0;

	if (conn_call(cl->c, SRV_HOLD, body, NET_BODY_MAX + 1, DEADLINE_NEVER, on_done, cl) != -EMSGSIZE)
		n = -1000;
	while (!ret && n++ < 20)
		ret = conn_call(cl->c, SRV_HOLD, body, NET_BODY_MAX, DEADLINE_NEVER, on_done, cl);
	free(body);
	return ret == -ENOBUFS ? n : -1;
}

/* Everything is on one thread here, so nothing is read meanwhile and the queue only grows. */
TEST(the_queue_is_bounded)
{
	struct client cl;
	struct server s;
	int n;

	server_start(&s);
	client_open(&cl, &s, true);
	n = loop_call(s.loop, flood, &cl);
	EXPECT_TRUE(n >= 4 && n <= 8);
	loop_call(s.loop, client_close, &cl);
	EXPECT_TRUE(DONE(&cl, n - 1));
	server_stop(&s);
}
