// SPDX-License-Identifier: GPL-2.0-only
/* Queues with names, posters that come and go, posting without system calls, and how often a poster may wake. */

#include "cq.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static const char name[] = "queue.1_x";

static long open_post(int ctx, const char *text, struct mc_ioc_region_open *a)
{
	long ret;

	*a = (struct mc_ioc_region_open){ .size = sizeof(*a), .name = UPTR(text), .name_len = strlen(text),
		.access = MC_ACCESS_POST, .fd_flags = O_CLOEXEC };
	ret = SYS(ioctl(ctx, MC_IOC_CQ_OPEN_POST, a));
	return ret ? ret : a->out_fd;
}

static struct cq cq_without_post(uint32_t entries)
{
	return cq_make(create_arg(0, entries, MC_CQ_RESERVE));
}

TEST(named_valid)
{
	struct cq q = cq_without_post(8);
	struct mc_ioc_region_open o;
	int ctx = ctx_open();
	struct mc_cqe e;
	long fd;

	ASSERT_EQ(publish(q.fd, name, 0200), 0);
	fd = open_post(ctx, name, &o);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	EXPECT_EQ(o.out_id, fdinfo_number(q.fd, "mc-id"));
	EXPECT_EQ(o.out_id, fdinfo_number(fd, "mc-id"));
	EXPECT_EQ(o.out_length, 0);
	EXPECT_EQ(o.out_epoch, 0);
	EXPECT_EQ(o.out_state, MC_STATE_PUBLISHED);
	EXPECT_EQ(post_data(fd, 5), 1);
	ASSERT_EQ(take(&q, &e), 1);
	EXPECT_EQ(e.user_data, 5);
	EXPECT_EQ(fdinfo_number(fd, "mc-uid"), 0);
	EXPECT_EQ(fdinfo_number(fd, "mc-pid"), getpid());
	EXPECT_EQ(fdinfo_number(fd, "mc-posted"), 1);
	EXPECT_EQ(unpublish(ctx, name, 0), 0);
	EXPECT_EQ(open_post(ctx, name, &o), -ENOENT);
	/* Who has a file keeps it. */
	EXPECT_EQ(post_data(fd, 6), 1);
}

TEST(publish_queue_wrong)
{
	struct cq q = cq_without_post(8), other = cq_without_post(8);
	struct mc_ioc_region_publish good = { .size = sizeof(good), .fd = -1, .mode = 0222, .uid = -1, .gid = -1,
		.name = UPTR(name), .name_len = sizeof(name) - 1 };
	int ctx = ctx_open(), r = region(ctx, 4096, MC_REGION_PERSIST_OK);

#define W(field, v, e) WRONG(mc_ioc_region_publish, field, v, e)
	CHECK_WRONG(q.fd, MC_IOC_REGION_PUBLISH, good,
		    W(flags, 1, EINVAL), W(fd, q.fd, EINVAL), W(fd, 0, EINVAL), W(mode, 0400, EINVAL), W(mode, 0600, EINVAL),
		    W(mode, 0100, EINVAL), W(mode, 01000, EINVAL), W(name, 0, EFAULT),
		    W(name_len, 0, EINVAL), W(name_len, 64, E2BIG), W(rsv, 1, EINVAL));
#undef W
	check_sizes(q.fd, MC_IOC_REGION_PUBLISH, &good, sizeof(good), ctx);
	EXPECT_EQ(publish(q.fd, ".hidden", 0200), -EINVAL);
	EXPECT_EQ(publish(q.fd, "sl/ash", 0200), -EINVAL);

	/* One set of names for both kinds. */
	ASSERT_EQ(publish(r, name, 0600), 0);
	EXPECT_EQ(publish(q.fd, name, 0200), -EEXIST);
	ASSERT_EQ(unpublish(ctx, name, 0), 0);
	ASSERT_EQ(publish(q.fd, name, 0200), 0);
	EXPECT_EQ(publish(q.fd, "another", 0200), -EEXIST);
	EXPECT_EQ(publish(other.fd, name, 0200), -EEXIST);
	EXPECT_EQ(publish(r, name, 0600), -EEXIST);
}

TEST(open_post_wrong)
{
	struct cq q = cq_without_post(8);
	struct mc_ioc_region_open good = { .size = sizeof(good), .name = UPTR(name), .name_len = sizeof(name) - 1,
		.access = MC_ACCESS_POST }, o;
	int ctx = ctx_open(), r = region(ctx, 4096, MC_REGION_PERSIST_OK);

	ASSERT_EQ(publish(q.fd, name, 0200), 0);
	ASSERT_EQ(publish(r, "a-region", 0600), 0);
#define W(field, v, e) WRONG(mc_ioc_region_open, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_CQ_OPEN_POST, good,
		    W(flags, 1, EINVAL), W(name, 0, EFAULT), W(name_len, 0, EINVAL), W(name_len, 64, E2BIG),
		    W(name_len, 3, ENOENT), W(access, 0, EINVAL), W(access, MC_ACCESS_R, EINVAL), W(access, MC_ACCESS_W, EINVAL),
		    W(access, MC_ACCESS_POST | MC_ACCESS_W, EINVAL), W(access, 16, EINVAL), W(id, 1, EINVAL),
		    W(id, fdinfo_number(q.fd, "mc-id"), EINVAL), W(fd_flags, O_RDWR, EINVAL), W(fd_flags, O_NONBLOCK, EINVAL),
		    W(rsv, 1, EINVAL));
#undef W
	check_sizes(ctx, MC_IOC_CQ_OPEN_POST, &good, sizeof(good), q.fd);
	EXPECT_EQ(open_post(ctx, "a-region", &o), -EPROTOTYPE);
	EXPECT_EQ(open_name(ctx, name, MC_ACCESS_R, &o), -EPROTOTYPE);
	EXPECT_EQ(open_name(ctx, name, MC_ACCESS_POST, &o), -EINVAL);
	unpublish(ctx, "a-region", 0);
}

TEST(unpublish_queue_wrong)
{
	struct cq q = cq_without_post(8), other = cq_without_post(8);
	struct mc_ioc_region_publish by_fd = { .size = sizeof(by_fd), .fd = q.fd }, on_q = { .size = sizeof(on_q), .fd = -1 };
	int ctx = ctx_open();

	ASSERT_EQ(publish(q.fd, name, 0200), 0);
#define W(field, v, e) WRONG(mc_ioc_region_publish, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_REGION_UNPUBLISH, by_fd,
		    W(flags, 2, EINVAL), W(fd, -1, EINVAL), W(fd, 999, EBADF), W(fd, ctx, EINVAL), W(fd, other.fd, ENOENT),
		    W(name, UPTR(name), EINVAL), W(mode, 0200, EINVAL), W(rsv, 1, EINVAL));
	CHECK_WRONG(q.fd, MC_IOC_REGION_UNPUBLISH, on_q,
		    W(fd, q.fd, EINVAL), W(fd, 0, EINVAL), W(name, 8, EINVAL), W(name_len, 4, EINVAL), W(uid, 1, EINVAL));
#undef W
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_UNPUBLISH, &by_fd)), 0);
	ASSERT_EQ(publish(q.fd, name, 0200), 0);
	EXPECT_EQ(SYS(ioctl(q.fd, MC_IOC_REGION_UNPUBLISH, &on_q)), 0);
	EXPECT_EQ(SYS(ioctl(q.fd, MC_IOC_REGION_UNPUBLISH, &on_q)), -ENOENT);
}

struct dac { uint32_t mode; long want_owner, want_group, want_other; };

static void try_post(void *arg)
{
	struct mc_ioc_region_open o;
	long fd = open_post(ctx_open(), name, &o);

	EXPECT_EQ(fd < 0 ? fd : 0, *(long *)arg);
	if (fd >= 0)
		EXPECT_EQ(post_data(fd, 1), 1);
}

static void take_name(void *arg)
{
	EXPECT_EQ(unpublish(ctx_open(), name, MC_UNPUBLISH_FORCE), *(long *)arg);
}

static void publish_others(void *arg)
{
	EXPECT_EQ(publish(*(int *)arg, "stolen", 0222), -EPERM);
}

/* The write bit of owner, group (1234, which every child has) and others, and nothing else, lets one post. */
TEST(queue_modes)
{
	const struct dac cases[] = {
		{ 0200, 0, -EACCES, -EACCES }, { 0020, -EACCES, 0, 0 }, { 0002, -EACCES, -EACCES, -EACCES },
		{ 0222, 0, 0, 0 }, { 0000, -EACCES, -EACCES, -EACCES },
	};
	struct mc_ioc_region_publish a = { .size = sizeof(a), .fd = -1, .uid = 1001, .gid = 1234, .name = UPTR(name),
		.name_len = sizeof(name) - 1 };
	struct cq q = cq_without_post(64);
	long want;
	size_t i;

	EXPECT_EQ(in_child(1001, publish_others, &q.fd), 0);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		a.mode = cases[i].mode;
		ASSERT_EQ(SYS(ioctl(q.fd, MC_IOC_REGION_PUBLISH, &a)), 0);
		want = cases[i].want_owner;
		EXPECT_EQ(in_child(1001, try_post, &want), 0);
		want = cases[i].want_group;
		EXPECT_EQ(in_child(1002, try_post, &want), 0);
		want = 0;
		EXPECT_EQ(in_child(0, try_post, &want), 0);
		/* One who may post may know of it; nobody else does. */
		want = cases[i].want_group ? -ENOENT : -EPERM;
		EXPECT_EQ(in_child(1002, take_name, &want), 0);
		want = 0;
		EXPECT_EQ(in_child(1001, take_name, &want), 0);
		a.uid = a.gid = -1;
		a.mode = 0;
	}
}

/* A queue without its consumer is of no use, so its name goes with it; a mapping is a consumer too. */
TEST(name_ends_with_queue)
{
	struct cq q = cq_without_post(8), next = cq_without_post(8);
	struct mc_ioc_region_open o;
	int ctx = ctx_open();
	long fd;

	ASSERT_EQ(publish(q.fd, name, 0200), 0);
	close(q.fd);
	fd = open_post(ctx, name, &o);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(post_data(fd, 1), 1);
	munmap(q.ring, q.size);
	EXPECT_EQ(open_post(ctx, name, &o), -ENOENT);
	EXPECT_EQ(unpublish(ctx, name, 0), -ENOENT);
	EXPECT_EQ(post_data(fd, 1), -EPIPE);
	EXPECT_EQ(publish(next.fd, name, 0200), 0);
}

static void publish_and_die(void *arg)
{
	struct cq q = cq_without_post(8);

	(void)arg;
	ASSERT_EQ(publish(q.fd, name, 0222), 0);
	kill(getpid(), SIGKILL);
}

TEST(name_ends_with_process)
{
	struct mc_ioc_region_open o;

	EXPECT_EQ(in_child(1001, publish_and_die, NULL), 128 + SIGKILL);
	EXPECT_EQ(open_post(ctx_open(), name, &o), -ENOENT);
}

static void open_post_and_die(void *arg)
{
	struct mc_ioc_region_open o;
	long fd = open_post(ctx_open(), name, &o);

	(void)arg;
	EXPECT_EQ(post_data(fd, getpid()), 1);
	kill(getpid(), SIGKILL);
}

static void *wait_one(void *arg)
{
	struct cq *q = arg;

	return (void *)(intptr_t)wait_cq(q->fd, 1, now_ns() + 20000000000ull, 0);
}

/* Posters come and go while the queue has a name: each end is told, but only without a name is it the end. */
TEST(posters_come_and_go)
{
	struct cq q = cq_without_post(64);
	struct pollfd p = { .fd = q.fd, .events = POLLIN };
	struct mc_cqe e;
	pthread_t t;
	void *ret;
	int i;

	ASSERT_EQ(publish(q.fd, name, 0200), 0);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(in_child(0, open_post_and_die, NULL), 128 + SIGKILL);
		ASSERT_EQ(take(&q, &e), 1);
		EXPECT_EQ(e.type, MC_CQE_NOTIFY);
		ASSERT_EQ(take(&q, &e), 1);
		EXPECT_EQ(e.type, MC_CQE_PEER);
		EXPECT_EQ(e.res, 0);
		EXPECT_EQ(q.ring->kflags & MC_CQ_K_HUP, MC_CQ_K_HUP);
		EXPECT_EQ(poll(&p, 1, 0), 0);
		EXPECT_EQ(wait_cq(q.fd, 1, 0, 0), -EAGAIN);
	}
	pthread_create(&t, NULL, wait_one, &q);
	EXPECT_EQ(unpublish(ctx_open(), name, 0), 0);
	pthread_join(t, &ret);
	EXPECT_EQ((intptr_t)ret, -EPIPE);
	EXPECT_EQ(poll(&p, 1, 0), 1);
	EXPECT_EQ(p.revents, POLLHUP);
}

/* A post file that nobody got is no poster: the call fails at its last step, and the consumer hears nothing. */
TEST(post_not_delivered)
{
	struct mc_ioc_region_open *o = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct cq q = cq_without_post(8);
	struct mc_cqe e;

	ASSERT_EQ(publish(q.fd, name, 0200), 0);
	*o = (struct mc_ioc_region_open){ .size = sizeof(*o), .name = UPTR(name), .name_len = strlen(name),
		.access = MC_ACCESS_POST };
	mprotect(o, 4096, PROT_READ);
	EXPECT_EQ(SYS(ioctl(ctx_open(), MC_IOC_CQ_OPEN_POST, o)), -EFAULT);
	EXPECT_EQ(take(&q, &e), 0);
	EXPECT_EQ(q.ring->kflags, 0);
	EXPECT_EQ(fdinfo_number(q.fd, "mc-posters"), 0);
}

static void *open_and_close(void *arg)
{
	struct mc_ioc_region_open o;
	int ctx = ctx_open(), i;
	long fd;

	(void)arg;
	for (i = 0; i < 300; i++) {
		fd = open_post(ctx, name, &o);
		if (fd >= 0) {
			post_data(fd, 1);
			close(fd);
		} else if (fd != -ENOENT && fd != -EPIPE) {	/* found just before it went */
			FAIL("open: %ld", fd);
		}
	}
	close(ctx);
	return NULL;
}

/* Names given, used and lost all at once; who wins does not matter, that nothing breaks does. */
TEST(name_races)
{
	struct mc_ioc_cq_create a;
	int ctx = ctx_open(), i, j;
	pthread_t t[3];

	for (i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, open_and_close, NULL);
	for (i = 0; i < 300; i++) {
		a = create_arg(0, 8, MC_CQ_DROP_COUNT);
		ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_CQ_CREATE, &a)), 0);
		EXPECT_EQ(publish(a.out_fd, name, 0200), 0);
		if (i % 2)
			for (j = 0; j < 3; j++)
				sched_yield();
		if (i % 3 == 0)
			EXPECT_EQ(unpublish(ctx, name, 0), 0);
		close(a.out_fd);
	}
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	EXPECT_EQ(sysfs_number("bytes_allocated"), 0);
}

/* ---- posting without system calls ---- */

struct spsc {
	int fd;
	const struct mc_cq_ring *head;	/* first page, read only */
	char *own;			/* the rest */
	_Atomic uint32_t *tail;
	struct mc_cqe *cqes;
	uint32_t at;
};

static struct spsc spsc_map(int fd, size_t size)
{
	const size_t page = getpagesize();
	struct spsc s = { .fd = fd, .head = map(fd, page, PROT_READ) };

	ASSERT_EQ(s.head->tail_off, page);
	s.own = mmap(NULL, size - page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, page);
	ASSERT_NE((intptr_t)s.own, (intptr_t)MAP_FAILED);
	s.tail = (_Atomic uint32_t *)s.own;
	s.cqes = (struct mc_cqe *)(s.own + s.head->cqe_off - page);
	s.at = *s.tail;
	return s;
}

static struct cq spsc_queue(uint32_t flags, uint32_t entries)
{
	struct cq q = cq_make(create_arg(MC_CQ_SPSC | flags, entries, MC_CQ_RESERVE));

	q.ring->head = 0;
	return q;
}

/* As the header says; -EAGAIN full. *calls counts the system calls. */
static long spsc_post(struct spsc *s, uint64_t data, int *calls)
{
	struct mc_ioc_cq_post kick = { .size = sizeof(kick), .post_fd = -1 };
	uint32_t used = s->at - __atomic_load_n(&s->head->head, __ATOMIC_ACQUIRE);
	long ret;

	if (used >= s->head->entries)
		return -EAGAIN;
	s->cqes[s->at & s->head->mask] = (struct mc_cqe){ .type = MC_CQE_NOTIFY, .user_data = data, .data = ~data };
	atomic_store_explicit(s->tail, ++s->at, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
	if (!(__atomic_load_n(&s->head->kflags, __ATOMIC_RELAXED) & MC_CQ_K_ARMED))
		return 1;
	(*calls)++;
	ret = SYS(ioctl(s->fd, MC_IOC_CQ_POST, &kick));
	return ret ? ret : 1;
}

static bool spsc_take(struct cq *q, struct mc_cqe *e)
{
	uint32_t head = q->ring->head;

	if (head == __atomic_load_n((uint32_t *)((char *)q->ring + q->ring->tail_off), __ATOMIC_ACQUIRE))
		return false;
	memcpy(e, (char *)q->ring + q->ring->cqe_off + (size_t)(head & q->ring->mask) * q->ring->cqe_size, sizeof(*e));
	__atomic_store_n(&q->ring->head, head + 1, __ATOMIC_RELEASE);
	return true;
}

TEST(spsc_valid)
{
	struct cq q = spsc_queue(MC_CQ_POST_FD, 8);
	struct spsc s = spsc_map(q.post, q.size);
	struct pollfd p[2] = { { .fd = q.fd, .events = POLLIN }, { .fd = q.post, .events = POLLOUT } };
	struct mc_cqe e;
	int calls = 0, i;

	for (i = 0; i < 8; i++)
		EXPECT_EQ(spsc_post(&s, i, &calls), 1);
	EXPECT_EQ(spsc_post(&s, 9, &calls), -EAGAIN);
	EXPECT_EQ(calls, 0);
	EXPECT_EQ(poll(p, 2, 0), 1);
	EXPECT_EQ(p[0].revents, POLLIN);
	EXPECT_EQ(p[1].revents, 0);
	EXPECT_EQ(wait_cq(q.fd, 8, 0, 0), 8);
	for (i = 0; i < 8; i++) {
		ASSERT_EQ(spsc_take(&q, &e), 1);
		EXPECT_EQ(e.user_data, i);
	}
	EXPECT_EQ(spsc_take(&q, &e), 0);
	EXPECT_EQ(wait_cq(q.fd, 1, 0, 0), -EAGAIN);
}

TEST(spsc_wrong)
{
	long ret;
	struct cq q = spsc_queue(MC_CQ_POST_FD, 8);
	const size_t page = getpagesize(), rest = q.size - page;
	struct mc_ioc_cq_create good = create_arg(MC_CQ_SPSC | MC_CQ_POST_FD, 8, MC_CQ_RESERVE);
	struct mc_cqe e = { .type = MC_CQE_NOTIFY };
	struct mc_ioc_cq_post kick = { .size = sizeof(kick), .post_fd = -1 };
	void *p;

#define W(field, v, e) WRONG(mc_ioc_cq_create, field, v, e)
	CHECK_WRONG(ctx_open(), MC_IOC_CQ_CREATE, good, W(overflow, MC_CQ_DROP_COUNT, EINVAL),
		    W(flags, MC_CQ_SPSC | MC_CQ_EVENTFD, EINVAL));
#undef W
#define W(field, v, e) WRONG(mc_ioc_cq_post, field, v, e)
	CHECK_WRONG(q.post, MC_IOC_CQ_POST, kick, W(flags, 1, EINVAL), W(post_fd, 0, EINVAL), W(vec, UPTR(&e), EINVAL),
		    W(rsv, 1, EINVAL), W(nr, 1025, E2BIG), W(nr, 1, EINVAL));
#undef W
	EXPECT_EQ(post(q.post, &e, 1), -EINVAL);
	EXPECT_EQ(SYS(ioctl(q.post, MC_IOC_CQ_POST, &kick)), 0);
	EXPECT_EQ(SYS(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, q.post, 0)), -EACCES);
	EXPECT_EQ(SYS(mmap(NULL, page, PROT_READ, MAP_PRIVATE, q.post, 0)), -EINVAL);
	EXPECT_EQ(SYS(mmap(NULL, q.size, PROT_READ, MAP_SHARED, q.post, 0)), -EINVAL);
	EXPECT_EQ(SYS(mmap(NULL, page, PROT_READ, MAP_SHARED, q.post, 2 * page)), -EINVAL);
	EXPECT_EQ(SYS(mmap(NULL, rest + page, PROT_READ, MAP_SHARED, q.post, page)), -EINVAL);
	/* Newer kernels refuse first, for every file of this kind. */
	ret = SYS(mmap(NULL, rest, PROT_READ | PROT_EXEC, MAP_SHARED, q.post, page));
	EXPECT_EQ(ret == -EACCES || ret == -EPERM, 1);
	p = mmap(NULL, page, PROT_READ, MAP_SHARED, q.post, 0);
	EXPECT_EQ(SYS(mprotect(p, page, PROT_READ | PROT_WRITE)), -EACCES);
	EXPECT_EQ(touch(p, true), SIGSEGV);
	EXPECT_EQ(SYS(mremap(p, page, q.size, MREMAP_MAYMOVE)) < 0, 1);
}

struct run { struct cq q; struct spsc s; int total, calls; };

static void *spsc_poster(void *arg)
{
	struct run *r = arg;
	int i = 1;
	long ret;

	while (i <= r->total) {
		ret = spsc_post(&r->s, i, &r->calls);
		if (ret == 1 || (ret == -EAGAIN && r->s.at == (uint32_t)i))
			i++;
		else if (ret == -EAGAIN)
			sched_yield();
		else
			FAIL("post: %ld", ret);
	}
	return NULL;
}

/* Each once and in order, whether the consumer spins, sleeps in WAIT or in poll: no wake-up is lost. */
TEST(spsc_stream)
{
	struct run r = { .q = spsc_queue(MC_CQ_POST_FD, 16), .total = 20000 };
	struct pollfd p = { .fd = r.q.fd, .events = POLLIN };
	struct mc_cqe e;
	pthread_t t;
	int want = 1;

	r.s = spsc_map(r.q.post, r.q.size);
	pthread_create(&t, NULL, spsc_poster, &r);
	while (want <= r.total) {
		if (want % 5 == 0)
			ASSERT_EQ(poll(&p, 1, 10000), 1);
		else if (want % 5 < 4)
			ASSERT_GE(wait_cq(r.q.fd, 1, now_ns() + 10000000000ull, want % 3 * 20), 1);
		while (spsc_take(&r.q, &e)) {
			ASSERT_EQ(e.user_data, want);
			want++;
		}
	}
	pthread_join(t, NULL);
	printf("# %d posts, %d system calls\n", r.total, r.calls);
}

/* A consumer that never sleeps costs its poster no system call at all. */
TEST(spsc_awake)
{
	struct run r = { .q = spsc_queue(MC_CQ_POST_FD, 1024), .total = 20000 };
	struct mc_cqe e;
	pthread_t t;
	int want = 1;

	r.s = spsc_map(r.q.post, r.q.size);
	pthread_create(&t, NULL, spsc_poster, &r);
	while (want <= r.total) {
		if (spsc_take(&r.q, &e))
			ASSERT_EQ(e.user_data, want++);
		else
			sched_yield();
	}
	pthread_join(t, NULL);
	EXPECT_EQ(r.calls, 0);
}

static void spsc_die(void *arg)
{
	struct mc_ioc_region_open o;
	struct spsc s;
	int calls = 0;
	long fd = open_post(ctx_open(), name, &o);

	ASSERT_GE(fd, 0);
	s = spsc_map(fd, o.out_length);
	close(fd);
	s.fd = -1;
	EXPECT_EQ(spsc_post(&s, 1, &calls), 1);
	/* Half an entry, never published. */
	if (arg)
		s.cqes[s.at & s.head->mask].user_data = 666;
	kill(getpid(), SIGKILL);
}

/* One poster at a time; when it is gone, its mapping too, the consumer is told in order and the next one may come. */
TEST(spsc_posters)
{
	struct cq q = spsc_queue(0, 8);
	struct mc_ioc_region_open o;
	struct spsc s;
	int ctx = ctx_open(), calls = 0, i;
	struct mc_cqe e;
	long fd;

	ASSERT_EQ(publish(q.fd, name, 0200), 0);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(in_child(0, spsc_die, (void *)(intptr_t)i), 128 + SIGKILL);
		ASSERT_EQ(spsc_take(&q, &e), 1);
		EXPECT_EQ(e.type, MC_CQE_NOTIFY);
		EXPECT_EQ(e.user_data, 1);
		ASSERT_EQ(spsc_take(&q, &e), 1);
		EXPECT_EQ(e.type, MC_CQE_PEER);
		EXPECT_EQ(e.user_data, 0);
		EXPECT_EQ(spsc_take(&q, &e), 0);
	}
	fd = open_post(ctx, name, &o);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(o.out_length, q.size);
	s = spsc_map(fd, o.out_length);
	EXPECT_EQ(s.at, 6);
	EXPECT_EQ(open_post(ctx, name, &o), -EBUSY);
	close(fd);
	EXPECT_EQ(open_post(ctx, name, &o), -EBUSY);
	EXPECT_EQ(spsc_post(&s, 7, &calls), 1);
	munmap(s.own, o.out_length);
	munmap(s.own, q.size - getpagesize());
	munmap((void *)s.head, getpagesize());
	fd = open_post(ctx, name, &o);
	EXPECT_GE(fd, 0);
	close(fd);
}

/* A poster that writes nonsense makes its queue useless and nothing else. */
TEST(spsc_hostile)
{
	struct cq q = spsc_queue(MC_CQ_POST_FD, 8);
	struct spsc s = spsc_map(q.post, q.size);
	struct pollfd p = { .fd = q.fd, .events = POLLIN };

	memset(s.own, 0xff, q.size - getpagesize());
	EXPECT_EQ(wait_cq(q.fd, 1, ~0ull, 0), -EPIPE);
	EXPECT_EQ(poll(&p, 1, 0), 1);
	close(q.post);
	munmap(s.own, q.size - getpagesize());
	munmap((void *)s.head, getpagesize());
	EXPECT_EQ(q.ring->kflags & MC_CQ_K_DEAD, MC_CQ_K_DEAD);
	EXPECT_EQ(wait_cq(q.fd, 1, ~0ull, 0), -EPIPE);
}

TEST(spsc_consumer_dies)
{
	struct cq q = spsc_queue(MC_CQ_POST_FD, 8);
	struct spsc s = spsc_map(q.post, q.size);
	struct mc_ioc_cq_post kick = { .size = sizeof(kick), .post_fd = -1 };
	int calls = 0;

	close(q.fd);
	munmap(q.ring, q.size);
	EXPECT_EQ(s.head->kflags & MC_CQ_K_DEAD, MC_CQ_K_DEAD);
	EXPECT_EQ(spsc_post(&s, 1, &calls), 1);
	EXPECT_EQ(SYS(ioctl(q.post, MC_IOC_CQ_POST, &kick)), -EPIPE);
}

/* ---- how often a poster may wake ---- */

static void set_max_wakes(const char *n)
{
	int fd = open("/sys/module/mooncake/parameters/max_wakes", O_WRONLY);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(write(fd, n, strlen(n)), (ssize_t)strlen(n));
	close(fd);
}

static void *wait_many(void *arg)
{
	struct cq *q = arg;

	return (void *)(intptr_t)wait_cq(q->fd, 60000, ~0ull, 0);
}

/* Posts of @n that were refused. */
static int post_often(int fd, int n)
{
	int i, refused = 0;
	long ret;

	for (i = 0; i < n; i++) {
		ret = post_data(fd, i);
		refused += ret == -EAGAIN;
		if (ret != 1 && ret != -EAGAIN)
			FAIL("post: %ld", ret);
	}
	return refused;
}

/* Only posts that find somebody asleep count, each file for itself. */
TEST(wakes_limited)
{
	struct cq q = cq_simple(65536, MC_CQ_DROP_COUNT);
	struct mc_ioc_region_open o;
	int ctx = ctx_open(), refused;
	uint64_t start;
	long other;
	pthread_t t;
	void *ret;

	set_max_wakes("10");
	ASSERT_EQ(publish(q.fd, name, 0200), 0);
	other = open_post(ctx, name, &o);
	ASSERT_GE(other, 0);
	EXPECT_EQ(post_often(q.post, 2000), 0);

	/* A sleeper that so few posts do not satisfy. */
	start = now_ns();
	pthread_create(&t, NULL, wait_many, &q);
	do
		refused = post_often(q.post, 500);
	while (!refused && now_ns() < start + 10000000000ull);
	EXPECT_GE(refused, 1);
	EXPECT_EQ(fdinfo_number(q.post, "mc-limited"), refused);
	EXPECT_EQ(post_often(other, 1), 0);
	set_max_wakes("0");
	EXPECT_EQ(post_often(q.post, 500), 0);

	EXPECT_EQ(unpublish(ctx, name, 0), 0);
	close(other);
	close(q.post);
	pthread_join(t, &ret);
	EXPECT_GE((intptr_t)ret, 2000);
	set_max_wakes("100000");
}
