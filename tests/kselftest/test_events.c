// SPDX-License-Identifier: GPL-2.0-only
/* EVENTS: who is told what, and that nobody else is. */

#include "cq.h"

#define LEN (64 * 1024)

static const char name[] = "events";

static long subscribe(int ctx, int cq, uint64_t mask, uint64_t user_data)
{
	struct mc_ioc_events a = { .size = sizeof(a), .cq_fd = cq, .mask = mask, .user_data = user_data };

	return SYS(ioctl(ctx, MC_IOC_EVENTS, &a));
}

static void expect(struct cq *q, uint16_t type, int32_t what, uint64_t id)
{
	struct mc_cqe e;

	ASSERT_EQ(wait_cq(q->fd, 1, now_ns() + 5000000000ull, 0) >= 1, 1);
	ASSERT_EQ(take(q, &e), 1);
	EXPECT_EQ(e.type, type);
	EXPECT_EQ(e.res, what);
	EXPECT_EQ(e.data, id);
	EXPECT_EQ(e.user_data, 55);
}

static void take_lease(void *arg)
{
	struct mc_ioc_region_open o;
	long fd = open_name(ctx_open(), name, MC_ACCESS_R | MC_ACCESS_W | MC_ACCESS_EXCL_WRITER, &o);

	ASSERT_GE(fd, 0);
	if (arg)
		mark(fd, MC_MARK_CLEAN, 0, 0);
	else
		kill(getpid(), SIGKILL);
}

TEST(events_valid)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK);
	struct cq q = cq_make(create_arg(0, 16, MC_CQ_DROP_COUNT));
	uint64_t id = info(r).id;

	ASSERT_EQ(subscribe(ctx, q.fd, MC_EVENT_REGION | MC_EVENT_PEER, 55), 0);
	ASSERT_EQ(publish(r, name, 0600), 0);
	expect(&q, MC_CQE_REGION, MC_EV_PUBLISHED, id);
	EXPECT_EQ(in_child(0, take_lease, (void *)1), 0);
	expect(&q, MC_CQE_PEER, MC_EV_LEASE_CLEAN, id);
	EXPECT_EQ(in_child(0, take_lease, NULL), 128 + SIGKILL);
	expect(&q, MC_CQE_PEER, MC_EV_LEASE_DIRTY, id);
	ASSERT_EQ(revoke_region(r), 0);
	expect(&q, MC_CQE_REGION, MC_EV_REVOKED, id);
	ASSERT_EQ(unpublish(ctx, name, 0), 0);
	expect(&q, MC_CQE_REGION, MC_EV_UNPUBLISHED, id);
	EXPECT_EQ(wait_cq(q.fd, 1, 0, 0), -EAGAIN);
	/* No posters, no hang-up. */
	EXPECT_EQ(q.ring->kflags, 0);
}

TEST(events_wrong)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	struct cq q = cq_simple(4, MC_CQ_DROP_COUNT), reserve = cq_simple(4, MC_CQ_RESERVE);
	struct mc_ioc_events good = { .size = sizeof(good), .cq_fd = q.fd, .mask = MC_EVENT_REGION, .user_data = 1 },
		off = { .size = sizeof(off), .cq_fd = -1 };

#define W(field, v, e) WRONG(mc_ioc_events, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_EVENTS, good,
		    W(flags, 1, EINVAL), W(cq_fd, -1, EBADF), W(cq_fd, 999, EBADF), W(cq_fd, 0, EINVAL), W(cq_fd, r, EINVAL),
		    W(cq_fd, q.post, EINVAL), W(cq_fd, reserve.fd, EINVAL), W(rsv, 1, EINVAL), W(mask, 0, EINVAL),
		    W(mask, 8, EINVAL), W(mask, 1ull << 63, EINVAL));
	CHECK_WRONG(ctx, MC_IOC_EVENTS, off, W(cq_fd, q.fd, EINVAL), W(user_data, 1, EINVAL), W(flags, 1, EINVAL));
#undef W
	check_sizes(ctx, MC_IOC_EVENTS, &good, sizeof(good), r);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_EVENTS, &good)), 0);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_EVENTS, &off)), 0);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_EVENTS, &off)), 0);
}

struct other { int go[2]; uint32_t want; };

/* Another user: of root's regions he hears about those everybody may read. */
static void listen_as_other(void *arg)
{
	struct other *o = arg;
	struct cq q = cq_make(create_arg(0, 16, MC_CQ_DROP_COUNT));
	int ctx = ctx_open();
	char c = 0;

	ASSERT_EQ(subscribe(ctx, q.fd, MC_EVENT_REGION, 55), 0);
	EXPECT_EQ(SYS(write(o->go[1], &c, 1)), 1);
	EXPECT_EQ(SYS(read(o->go[1], &c, 1)), 1);
	EXPECT_EQ(q.ring->tail, o->want);
}

static void check_other(uint32_t mode, uint32_t want)
{
	struct other o = { .want = want };
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK), status;
	char c;
	pid_t pid;

	ASSERT_EQ(SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, o.go)), 0);
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(in_child(1002, listen_as_other, &o));
	ASSERT_EQ(SYS(read(o.go[0], &c, 1)), 1);
	ASSERT_EQ(publish(r, name, mode), 0);
	ASSERT_EQ(unpublish(ctx, name, 0), 0);
	ASSERT_EQ(SYS(write(o.go[0], &c, 1)), 1);
	waitpid(pid, &status, 0);
	EXPECT_EQ(status, 0);
}

TEST(events_private)
{
	check_other(0600, 0);
}

TEST(events_public)
{
	check_other(0644, 2);
}

/* A queue whose consumer is gone, or which is full, disturbs nobody. */
TEST(events_nobody_listens)
{
	int ctx = ctx_open(), other = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK), i;
	struct cq q = cq_make(create_arg(0, 2, MC_CQ_DROP_COUNT)), gone = cq_simple(2, MC_CQ_DROP_COUNT);

	ASSERT_EQ(subscribe(ctx, q.fd, MC_EVENT_REGION, 55), 0);
	ASSERT_EQ(subscribe(other, gone.fd, MC_EVENT_REGION, 55), 0);
	munmap(gone.ring, gone.size);
	close(gone.fd);
	for (i = 0; i < 5; i++) {
		EXPECT_EQ(publish(r, name, 0600), 0);
		EXPECT_EQ(unpublish(ctx, name, 0), 0);
	}
	EXPECT_EQ(q.ring->tail, 2);
	EXPECT_EQ(q.ring->dropped, 8);
	close(other);
	EXPECT_EQ(subscribe(ctx, -1, 0, 0), 0);
}
