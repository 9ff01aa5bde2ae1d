/* SPDX-License-Identifier: GPL-2.0-only */
/* Making, filling and reading a completion queue, for the tests that need one. */
#ifndef MC_CQ_H
#define MC_CQ_H

#include "harness.h"

#include <time.h>

struct cq {
	int fd, post;
	uint32_t entries;
	size_t size;
	struct mc_cq_ring *ring;
};

static inline struct mc_ioc_cq_create create_arg(uint32_t flags, uint32_t entries, uint32_t overflow)
{
	return (struct mc_ioc_cq_create){ .size = sizeof(struct mc_ioc_cq_create), .flags = flags, .entries = entries,
		.overflow = overflow, .eventfd = -1, .fd_flags = O_RDWR | O_CLOEXEC };
}

static inline struct cq cq_make(struct mc_ioc_cq_create a)
{
	struct cq q;

	ASSERT_EQ(SYS(ioctl(ctx_open(), MC_IOC_CQ_CREATE, &a)), 0);
	q = (struct cq){ a.out_fd, a.out_post_fd, a.out_entries, a.out_ring_size, NULL };
	q.ring = map(q.fd, q.size, PROT_READ | PROT_WRITE);
	EXPECT_EQ(a.out_cqe_off, q.ring->cqe_off);
	return q;
}

static inline struct cq cq_simple(uint32_t entries, uint32_t overflow)
{
	return cq_make(create_arg(MC_CQ_POST_FD, entries, overflow));
}

static inline long post(int fd, const struct mc_cqe *e, uint32_t nr)
{
	struct mc_ioc_cq_post a = { .size = sizeof(a), .post_fd = -1, .nr = nr, .vec = UPTR(e) };
	long ret = SYS(ioctl(fd, MC_IOC_CQ_POST, &a));

	return ret ? ret : (long)a.out_posted;
}

static inline long post_data(int fd, uint64_t data)
{
	struct mc_cqe e = { .user_data = data, .type = MC_CQE_NOTIFY, .data = ~data };

	return post(fd, &e, 1);
}

/* As the header says it is done; false when the ring is empty. */
static inline bool take(struct cq *q, struct mc_cqe *e)
{
	uint32_t head = q->ring->head;

	if (head == __atomic_load_n(&q->ring->tail, __ATOMIC_ACQUIRE))
		return false;
	memcpy(e, (char *)q->ring + q->ring->cqe_off + (size_t)(head & q->ring->mask) * q->ring->cqe_size, sizeof(*e));
	__atomic_store_n(&q->ring->head, head + 1, __ATOMIC_RELEASE);
	return true;
}

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static inline long wait_cq(int fd, uint32_t min, uint64_t timeout_ns, uint32_t spin_us)
{
	struct mc_ioc_cq_wait a = { .size = sizeof(a), .fd = -1, .min = min, .timeout_ns = timeout_ns, .spin_us = spin_us };
	long ret = SYS(ioctl(fd, MC_IOC_CQ_WAIT, &a));

	return ret ? ret : (long)a.out_ready;
}

#endif /* MC_CQ_H */
