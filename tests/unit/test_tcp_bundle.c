// SPDX-License-Identifier: Apache-2.0
/* Small transfers of one submission that are one request on the wire: which, what each ends with, and one that leaves. */
#include "mctest.h"

#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "transport/tcp.h"

#define EACH 4096
#define NR   200
#define BYTES ((size_t)NR * EACH)

/* Two of the transports in one process: one serves, the other asks. */
struct pair {
	struct loop *loop;
	struct reach_table *reach;
	struct transport *served, *asking;
	struct peer *peer;
	uint8_t *there, *here;
	struct xvec v[NR];
	struct xfer x[NR], *ptr[NR];
	unsigned told;
};

static void told(void *arg)
{
	++*(unsigned *)arg;
}

static bool pair_open(struct pair *p, enum xfer_op op)
{
	struct transport_env env = { .bind_host = "127.0.0.1", .min_port = 20000, .max_port = 60000 };
	struct segment_desc d = { .protocol = (char *)"tcp", .host = (char *)"127.0.0.1", .mc = { true, PROTO_VERSION, .pid = 1 } };
	uint64_t cost;

	memset(p, 0, sizeof(*p));
	p->there = malloc(BYTES);
	p->here = calloc(1, BYTES);
	random_bytes(op == XFER_READ ? p->there : p->here, BYTES);
	if (loop_open(&p->loop) || loop_start(p->loop, "serving") || reach_open(&p->reach) ||
	    reach_add(p->reach, (uintptr_t)p->there, BYTES) || transport_tcp.open(&env, &p->asking))
		return false;
	env.loop = p->loop;
	env.reach = p->reach;
	if (transport_tcp.open(&env, &p->served))
		return false;
	transport_tcp.describe(p->served, &d);
	if (transport_tcp.connect(p->asking, &d, &p->peer, &cost))
		return false;
	for (unsigned i = 0; i < NR; i++) {
		p->v[i] = (struct xvec){ p->here + (size_t)i * EACH, (uintptr_t)p->there + (uint64_t)i * EACH, EACH };
		p->x[i] = (struct xfer){ .op = op, .vec = &p->v[i], .nr = 1, .told = told, .arg = &p->told };
		p->ptr[i] = &p->x[i];
	}
	return true;
}

static void pair_close(struct pair *p)
{
	transport_tcp.disconnect(p->peer);
	transport_tcp.close(p->asking);
	if (p->served)
		transport_tcp.close(p->served);
	loop_close(p->loop);
	reach_close(p->reach);
	free(p->there);
	free(p->here);
}

static uint64_t soon(void)
{
	return deadline_after_ms(10000);
}

static void submit(struct pair *p, unsigned from, unsigned nr)
{
	transport_tcp.submit(p->peer, p->ptr + from, nr);
}

static int end_of(struct pair *p, unsigned i)
{
	return transport_tcp.progress(p->peer, &p->x[i], soon()) ? p->x[i].status : -EINPROGRESS;
}

/* So that what follows is sent at once. */
static void connect_now(struct pair *p)
{
	submit(p, 0, 1);
	EXPECT_EQ(end_of(p, 0), 0);
}

static void move_all(enum xfer_op op)
{
	struct pair p;

	ASSERT_EQ(pair_open(&p, op), true);
	submit(&p, 0, NR);
	/* 256 KiB to a request. */
	EXPECT_TRUE(p.x[0].priv == p.x[63].priv);
	EXPECT_TRUE(p.x[0].priv != p.x[64].priv);
	EXPECT_EQ(transport_tcp.backlog(p.peer), BYTES);
	for (unsigned i = 0; i < NR; i++) {
		EXPECT_EQ(end_of(&p, i), 0);
		EXPECT_EQ(p.x[i].bytes, EACH);
	}
	EXPECT_MEMEQ(p.here, p.there, BYTES);
	EXPECT_EQ(transport_tcp.backlog(p.peer), 0);
	pair_close(&p);
}

TEST(small_reads_go_together)
{
	move_all(XFER_READ);
}

TEST(small_writes_go_together)
{
	move_all(XFER_WRITE);
}

TEST(only_what_is_alike)
{
	unsigned other = 0;
	struct pair p;

	ASSERT_EQ(pair_open(&p, XFER_READ), true);
	p.x[1].op = p.x[2].op = XFER_WRITE;
	p.x[3].urgent = true;
	p.x[5].arg = &other;
	p.v[7].len = 100 * EACH; /* too large for company */
	submit(&p, 0, 9);
	EXPECT_TRUE(p.x[0].priv != p.x[1].priv);
	EXPECT_TRUE(p.x[1].priv == p.x[2].priv);
	EXPECT_TRUE(p.x[2].priv != p.x[3].priv);
	EXPECT_TRUE(p.x[3].priv != p.x[4].priv);
	EXPECT_TRUE(p.x[4].priv != p.x[5].priv);
	EXPECT_TRUE(p.x[6].priv != p.x[7].priv);
	EXPECT_TRUE(p.x[7].priv != p.x[8].priv);
	for (unsigned i = 0; i < 9; i++)
		EXPECT_EQ(end_of(&p, i), 0);
	EXPECT_GT(other, 0u);
	pair_close(&p);
}

TEST(one_that_is_refused_leaves_the_others_alone)
{
	struct pair p;

	ASSERT_EQ(pair_open(&p, XFER_WRITE), true);
	connect_now(&p);
	p.told = 0;
	p.v[10].remote -= BYTES + 2 * EACH;
	p.v[150].remote += BYTES;
	submit(&p, 0, NR);
	for (unsigned i = NR; i--;)
		EXPECT_EQ(end_of(&p, i), i == 10 || i == 150 ? -EFAULT : 0);
	EXPECT_GT(p.told, 2u);
	EXPECT_MEMEQ(p.here, p.there, 10 * EACH);
	EXPECT_MEMEQ(p.here + 11 * EACH, p.there + 11 * EACH, 139 * EACH);
	EXPECT_MEMEQ(p.here + 151 * EACH, p.there + 151 * EACH, 49 * EACH);
	EXPECT_EQ(transport_tcp.backlog(p.peer), 0);
	pair_close(&p);
}

/* @connected: what leaves was sent already. */
static void leave(bool connected)
{
	uint8_t was[EACH];
	struct pair p;

	ASSERT_EQ(pair_open(&p, XFER_READ), true);
	if (connected)
		connect_now(&p);
	submit(&p, 0, 50);
	for (unsigned i = 7; i < 50; i += 20) {
		transport_tcp.cancel(p.peer, &p.x[i]);
		EXPECT_TRUE(p.x[i].done);
		EXPECT_EQ(p.x[i].status, -ECANCELED);
	}
	memcpy(was, p.v[7].local, EACH);
	EXPECT_EQ(transport_tcp.backlog(p.peer), 47 * EACH);
	for (unsigned i = 0; i < 50; i++) {
		if (i % 20 == 7)
			continue;
		EXPECT_EQ(end_of(&p, i), 0);
		EXPECT_MEMEQ(p.v[i].local, p.there + i * EACH, EACH);
	}
	EXPECT_MEMEQ(p.v[7].local, was, EACH);
	submit(&p, 100, 50);
	for (unsigned i = 100; i < 150; i++)
		transport_tcp.cancel(p.peer, &p.x[i]);
	EXPECT_EQ(transport_tcp.backlog(p.peer), 0);
	connect_now(&p); /* the stream goes on */
	pair_close(&p);
}

TEST(one_leaves_before_the_request_is_sent)
{
	leave(false);
}

TEST(one_leaves_while_the_request_is_under_way)
{
	leave(true);
}

TEST(all_end_with_a_peer_that_is_not_there)
{
	struct pair p;

	ASSERT_EQ(pair_open(&p, XFER_READ), true);
	connect_now(&p);
	transport_tcp.close(p.served);
	p.served = NULL;
	submit(&p, 0, NR);
	for (unsigned i = 0; i < NR; i++)
		EXPECT_LT(end_of(&p, i), 0);
	EXPECT_GT(p.told, 0u);
	EXPECT_EQ(transport_tcp.backlog(p.peer), 0);
	pair_close(&p);
}
