// SPDX-License-Identifier: GPL-2.0-only
/* Completion queues: posting, reading the ring, waiting, overflow, hostile and dying neighbours. */

#include "cq.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

TEST(cq_valid)
{
	struct cq q = cq_simple(5, MC_CQ_RESERVE);
	uint64_t before = now_ns();
	struct mc_cqe e;

	EXPECT_EQ(q.entries, 8);
	EXPECT_EQ(q.ring->magic, MC_CQ_MAGIC);
	EXPECT_EQ(q.ring->mask, 7);
	EXPECT_EQ(q.ring->cqe_size, sizeof(e));
	EXPECT_EQ(fcntl(q.post, F_GETFD), FD_CLOEXEC);
	EXPECT_EQ(take(&q, &e), 0);
	EXPECT_EQ(post_data(q.post, 77), 1);
	EXPECT_EQ(wait_cq(q.fd, 1, 0, 0), 1);
	ASSERT_EQ(take(&q, &e), 1);
	EXPECT_EQ(e.user_data, 77);
	EXPECT_EQ(e.data, ~77ull);
	EXPECT_EQ(e.type, MC_CQE_NOTIFY);
	EXPECT_EQ(e.flags, 0);
	EXPECT_GE(e.ts_ns, before);
	EXPECT_LE(e.ts_ns, now_ns());
	EXPECT_EQ(wait_cq(q.fd, 1, 0, 0), -EAGAIN);
}

TEST(cq_create_wrong)
{
	int ctx = ctx_open(), r = region(ctx, 4096, 0), ev = eventfd(0, 0);
	struct mc_ioc_cq_create good = create_arg(MC_CQ_POST_FD, 8, 0), with_ev = good;

#define W(field, v, e) WRONG(mc_ioc_cq_create, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_CQ_CREATE, good,
		    W(flags, 8, EINVAL), W(flags, MC_CQ_SPSC, EINVAL), W(flags, MC_CQ_EVENTFD, EBADF),
		    W(entries, 0, EINVAL), W(entries, 65537, EINVAL), W(entries, ~0, EINVAL), W(overflow, 2, EINVAL),
		    W(eventfd, ev, EINVAL), W(eventfd, 0, EINVAL), W(fd_flags, O_RDONLY, EINVAL),
		    W(fd_flags, O_WRONLY, EINVAL), W(fd_flags, O_RDWR | O_NONBLOCK, EINVAL));
	with_ev.flags |= MC_CQ_EVENTFD;
	with_ev.eventfd = ev;
	CHECK_WRONG(ctx, MC_IOC_CQ_CREATE, with_ev, W(eventfd, -1, EBADF), W(eventfd, 999, EBADF), W(eventfd, r, EINVAL));
#undef W
	check_sizes(ctx, MC_IOC_CQ_CREATE, &good, sizeof(good), r);
}

TEST(cq_mmap_wrong)
{
	struct cq q = cq_simple(1024, 0);

	EXPECT_EQ(SYS(mmap(NULL, q.size + 4096, PROT_READ, MAP_SHARED, q.fd, 0)), -EINVAL);
	EXPECT_EQ(SYS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, q.fd, 0)), -EINVAL);
	EXPECT_EQ(SYS(mmap(NULL, q.size, PROT_READ, MAP_SHARED, q.fd, 4096)), -EINVAL);
	EXPECT_EQ(SYS(mmap(NULL, q.size, PROT_READ, MAP_PRIVATE, q.fd, 0)), -EINVAL);
	EXPECT_EQ(SYS(mmap(NULL, q.size, PROT_READ, MAP_SHARED, q.post, 0)), -ENODEV);
	EXPECT_EQ(SYS(mremap(q.ring, q.size, 2 * q.size, MREMAP_MAYMOVE)) < 0, 1);
}

TEST(cq_wait_wrong)
{
	struct cq q = cq_simple(8, 0);
	struct mc_ioc_cq_wait good = { .size = sizeof(good), .fd = -1, .min = 1 };

	ASSERT_EQ(post_data(q.post, 1), 1);
#define W(field, v, e) WRONG(mc_ioc_cq_wait, field, v, e)
	CHECK_WRONG(q.fd, MC_IOC_CQ_WAIT, good,
		    W(flags, 1, EINVAL), W(fd, q.fd, EINVAL), W(fd, 0, EINVAL), W(min, 0, EINVAL), W(min, 9, EINVAL),
		    W(spin_us, 1001, EINVAL), W(sigmask, UPTR(&q), EOPNOTSUPP), W(sigsetsize, 8, EINVAL), W(rsv, 1, EINVAL));
#undef W
	check_sizes(q.fd, MC_IOC_CQ_WAIT, &good, sizeof(good), q.post);
}

TEST(cq_post_wrong)
{
	struct cq q = cq_simple(8, 0);
	struct mc_cqe e = { .type = MC_CQE_NOTIFY }, bad;
	struct mc_ioc_cq_post good = { .size = sizeof(good), .post_fd = -1, .nr = 1, .vec = UPTR(&e) };
	uint16_t type;

#define W(field, v, e) WRONG(mc_ioc_cq_post, field, v, e)
	CHECK_WRONG(q.post, MC_IOC_CQ_POST, good,
		    W(flags, 1, EINVAL), W(post_fd, q.post, EINVAL), W(nr, 0, EINVAL), W(nr, 1025, E2BIG), W(nr, ~0, E2BIG),
		    W(vec, 0, EFAULT), W(vec, 16, EFAULT), W(rsv, 1, EINVAL));
	good.vec = 0;
	good.nr = 0;
	EXPECT_EQ(SYS(ioctl(q.post, MC_IOC_CQ_POST, &good)), -EINVAL);
	good.vec = UPTR(&e);
	good.nr = 1;
#undef W
	check_sizes(q.post, MC_IOC_CQ_POST, &good, sizeof(good), q.fd);
	for (type = 0; type < 8; type++) {
		bad = (struct mc_cqe){ .type = type };
		EXPECT_EQ(post(q.post, &bad, 1), type == MC_CQE_NOTIFY ? 1 : -EINVAL);
	}
	bad = (struct mc_cqe){ .type = MC_CQE_NOTIFY, .flags = MC_CQE_F_OVERFLOW_BEFORE };
	EXPECT_EQ(post(q.post, &bad, 1), -EINVAL);
	EXPECT_EQ(wait_cq(q.fd, 2, 0, 0), -EAGAIN);
}

TEST(overflow_reserve)
{
	struct cq q = cq_simple(4, MC_CQ_RESERVE);
	struct mc_cqe e[6] = { { 0 } }, got;
	int i;

	for (i = 0; i < 6; i++)
		e[i] = (struct mc_cqe){ .user_data = i, .type = MC_CQE_NOTIFY };
	EXPECT_EQ(post(q.post, e, 6), 4);
	EXPECT_EQ(post(q.post, e, 6), -EAGAIN);
	ASSERT_EQ(take(&q, &got), 1);
	EXPECT_EQ(post(q.post, e + 4, 2), 1);
	for (i = 1; i < 5; i++) {
		ASSERT_EQ(take(&q, &got), 1);
		EXPECT_EQ(got.user_data, i);
		EXPECT_EQ(got.flags, 0);
	}
	EXPECT_EQ(q.ring->dropped, 0);
	EXPECT_EQ(q.ring->kflags, 0);
}

TEST(overflow_drop)
{
	struct cq q = cq_simple(4, MC_CQ_DROP_COUNT);
	struct mc_cqe got;
	int i;

	for (i = 0; i < 7; i++)
		EXPECT_EQ(post_data(q.post, i), 1);
	EXPECT_EQ(q.ring->dropped, 3);
	EXPECT_EQ(q.ring->kflags, MC_CQ_K_OVERFLOWED);
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(take(&q, &got), 1);
		EXPECT_EQ(got.user_data, i);
	}
	EXPECT_EQ(post_data(q.post, 9), 1);
	EXPECT_EQ(post_data(q.post, 10), 1);
	ASSERT_EQ(take(&q, &got), 1);
	EXPECT_EQ(got.flags, MC_CQE_F_OVERFLOW_BEFORE);
	ASSERT_EQ(take(&q, &got), 1);
	EXPECT_EQ(got.flags, 0);
}

/* A consumer that writes nonsense hurts itself only, and for good. */
TEST(hostile_consumer)
{
	struct cq q = cq_simple(4, MC_CQ_RESERVE);
	struct mc_cq_ring keep = *q.ring;
	struct mc_cqe got;

	memset(q.ring, 0xff, q.size);
	q.ring->head = 0;
	EXPECT_EQ(post_data(q.post, 1), 1);
	EXPECT_EQ(post_data(q.post, 2), 1);
	EXPECT_EQ(q.ring->tail, 2);
	q.ring->mask = keep.mask;
	q.ring->cqe_off = keep.cqe_off;
	q.ring->cqe_size = keep.cqe_size;
	ASSERT_EQ(take(&q, &got), 1);
	EXPECT_EQ(got.user_data, 1);
	q.ring->head = 100;
	EXPECT_EQ(post_data(q.post, 3), -EPIPE);
	EXPECT_EQ(q.ring->kflags & MC_CQ_K_DEAD, MC_CQ_K_DEAD);
	q.ring->head = 2;
	EXPECT_EQ(post_data(q.post, 3), -EPIPE);
	EXPECT_EQ(wait_cq(q.fd, 1, ~0ull, 0), -EPIPE);
}

TEST(wait_times_out)
{
	struct cq q = cq_simple(4, 0);
	uint64_t t = now_ns();

	EXPECT_EQ(wait_cq(q.fd, 1, t + 30000000, 0), -ETIME);
	EXPECT_GE(now_ns() - t, 30000000);
	EXPECT_EQ(wait_cq(q.fd, 1, 1, 100), -ETIME);
	post_data(q.post, 1);
	EXPECT_EQ(wait_cq(q.fd, 2, now_ns() + 1000000, 0), -ETIME);
	EXPECT_EQ(wait_cq(q.fd, 1, ~0ull, 1000), 1);
}

static void on_alarm(int sig)
{
	(void)sig;
}

TEST(wait_interrupted)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct cq q = cq_simple(4, 0);

	sigaction(SIGALRM, &sa, NULL);
	ualarm(30000, 0);
	EXPECT_EQ(wait_cq(q.fd, 1, ~0ull, 0), -EINTR);
	sa.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &sa, NULL);
	ualarm(30000, 0);
	EXPECT_EQ(wait_cq(q.fd, 1, now_ns() + 100000000, 0), -ETIME);
	sa.sa_handler = SIG_DFL;
	sigaction(SIGALRM, &sa, NULL);
	alarm(30);
}

TEST(eventfd_and_poll)
{
	int ev = eventfd(0, EFD_NONBLOCK);
	struct mc_ioc_cq_create a = create_arg(MC_CQ_POST_FD | MC_CQ_EVENTFD, 4, MC_CQ_RESERVE);
	struct pollfd p[2];
	struct cq q;
	struct mc_cqe got;
	uint64_t n;
	int i;

	a.eventfd = ev;
	q = cq_make(a);
	p[0] = (struct pollfd){ .fd = q.fd, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = q.post, .events = POLLOUT };
	EXPECT_EQ(poll(p, 2, 0), 1);
	EXPECT_EQ(p[1].revents, POLLOUT);
	EXPECT_EQ(SYS(read(ev, &n, 8)), -EAGAIN);
	for (i = 0; i < 4; i++)
		post_data(q.post, i);
	EXPECT_EQ(SYS(read(ev, &n, 8)), 8);
	EXPECT_EQ(poll(p, 2, 0), 1);
	EXPECT_EQ(p[0].revents, POLLIN);
	EXPECT_EQ(p[1].revents, 0);
	q.ring->uflags = MC_CQ_U_NO_EVENTFD;
	take(&q, &got);
	post_data(q.post, 5);
	EXPECT_EQ(SYS(read(ev, &n, 8)), -EAGAIN);
}

struct pair { struct cq q; int total; };

static void *poster(void *arg)
{
	struct pair *p = arg;
	struct pollfd out = { .fd = p->q.post, .events = POLLOUT };
	int i;

	for (i = 1; i <= p->total; ) {
		long ret = post_data(p->q.post, i);

		if (ret == 1)
			i++;
		else if (ret == -EAGAIN)
			poll(&out, 1, 1);
		else
			FAIL("post: %ld", ret);
	}
	return NULL;
}

/* Every entry once and in order, through sleeping and spinning, with a small ring. */
TEST(stream)
{
	struct pair p = { cq_simple(16, MC_CQ_RESERVE), 5000 };
	struct mc_cqe e;
	pthread_t t;
	int want = 1;

	pthread_create(&t, NULL, poster, &p);
	while (want <= p.total) {
		ASSERT_GE(wait_cq(p.q.fd, 1, now_ns() + 10000000000ull, want % 3 * 20), 1);
		while (take(&p.q, &e)) {
			EXPECT_EQ(e.user_data, want);
			EXPECT_EQ(e.data, ~(uint64_t)want);
			want++;
		}
	}
	pthread_join(t, NULL);
}

/* Several posters at once: nothing lost, nothing twice, each one's entries in order. */
TEST(many_posters)
{
	enum { POSTERS = 4, EACH = 1000 };
	struct pair p = { cq_simple(64, MC_CQ_RESERVE), EACH };
	uint64_t seen[EACH + 1] = { 0 };
	struct mc_cqe e;
	pthread_t t[POSTERS];
	int i, n = 0;

	for (i = 0; i < POSTERS; i++)
		pthread_create(&t[i], NULL, poster, &p);
	while (n < POSTERS * EACH) {
		ASSERT_GE(wait_cq(p.q.fd, 1, now_ns() + 10000000000ull, 0), 1);
		while (take(&p.q, &e)) {
			seen[e.user_data]++;
			n++;
		}
	}
	for (i = 0; i < POSTERS; i++)
		pthread_join(t[i], NULL);
	for (i = 1; i <= EACH; i++)
		EXPECT_EQ(seen[i], POSTERS);
	EXPECT_EQ(take(&p.q, &e), 0);
}

static void post_and_die(void *arg)
{
	struct cq *q = arg;

	close(q->fd);
	munmap(q->ring, q->size);
	post_data(q->post, 1);
	kill(getpid(), SIGKILL);
}

static void *wait_forever(void *arg)
{
	struct cq *q = arg;

	return (void *)(intptr_t)wait_cq(q->fd, 3, ~0ull, 0);
}

/* The last poster dies: who waits is told, by an entry, a flag and poll. */
TEST(poster_dies)
{
	struct cq q = cq_simple(8, MC_CQ_RESERVE);
	struct pollfd p = { .fd = q.fd, .events = POLLIN };
	struct mc_cqe e;
	pthread_t t;
	void *ret;

	pthread_create(&t, NULL, wait_forever, &q);
	EXPECT_EQ(in_child(0, post_and_die, &q), 128 + SIGKILL);
	EXPECT_EQ(q.ring->kflags, 0);
	close(q.post);
	pthread_join(t, &ret);
	EXPECT_EQ((intptr_t)ret, 2);
	EXPECT_EQ(q.ring->kflags, MC_CQ_K_HUP);
	EXPECT_EQ(poll(&p, 1, 0), 1);
	EXPECT_EQ(p.revents, POLLIN | POLLHUP);
	ASSERT_EQ(take(&q, &e), 1);
	EXPECT_EQ(e.type, MC_CQE_NOTIFY);
	ASSERT_EQ(take(&q, &e), 1);
	EXPECT_EQ(e.type, MC_CQE_PEER);
	EXPECT_EQ(wait_cq(q.fd, 1, ~0ull, 0), -EPIPE);
}

TEST(consumer_dies)
{
	struct cq q = cq_simple(8, MC_CQ_RESERVE);
	struct pollfd p = { .fd = q.post, .events = POLLOUT };

	close(q.fd);
	/* The mapping holds the queue's file. */
	EXPECT_EQ(post_data(q.post, 1), 1);
	munmap(q.ring, q.size);
	EXPECT_EQ(post_data(q.post, 1), -EPIPE);
	EXPECT_EQ(poll(&p, 1, 0), 1);
	EXPECT_EQ(p.revents, POLLERR);
	close(q.post);
	EXPECT_EQ(sysfs_number("bytes_allocated"), 0);
}
