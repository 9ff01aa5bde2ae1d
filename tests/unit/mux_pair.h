/* SPDX-License-Identifier: Apache-2.0 */
/* A mux and a peer that the test plays byte by byte. */
#ifndef MUX_PAIR_H
#define MUX_PAIR_H

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

static inline void pair_open(struct pair *p)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) || mux_open(fd[0], &p->m))
		abort();
	p->fd = fd[1];
}

static inline void pair_close(struct pair *p)
{
	mux_close(p->m);
	close(p->fd);
}

static inline struct net_frame reply_to(const struct mux_req *r, uint32_t body, uint64_t payload)
{
	return (struct net_frame){ .flags = NET_REPLY, .type = r->type, .id = r->id, .body_len = body, .payload_len = payload };
}

/* A whole exchange, to see that the stream is still good. */
static inline void exchange(struct pair *p)
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

static inline void *reader_main(void *arg)
{
	struct reader *a = arg;

	a->ret = mux_wait(a->m, &a->r, deadline_after_ms(10000));
	return NULL;
}

#endif
