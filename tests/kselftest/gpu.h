/* SPDX-License-Identifier: GPL-2.0-only */
/* The fake devices of mooncake_test.ko, for the tests that need them. */
#ifndef MC_GPU_H
#define MC_GPU_H

#include "harness.h"

#include <mooncake_test.h>
#include <sched.h>

static inline int device(void)
{
	int fd = open("/dev/mooncake-test", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		skip("mooncake_test.ko is not loaded");
	return fd;
}

/* A dma-buf of the fake GPU. */
static inline int gpu(uint32_t flags, uint64_t length, uint32_t fd_flags)
{
	struct mct_gpu a = { .length = length, .flags = flags, .fd_flags = fd_flags };
	int dev = device();

	ASSERT_EQ(SYS(ioctl(dev, MCT_GPU, &a)), 0);
	close(dev);
	return a.out_fd;
}

static inline struct mct_gpu_op gpu_op(int fd, uint32_t op, uint32_t count)
{
	struct mct_gpu_op a = { .fd = fd, .op = op, .count = count };
	int dev = device();

	EXPECT_EQ(SYS(ioctl(dev, MCT_GPU_OP, &a)), 0);
	close(dev);
	return a;
}

static inline void gpu_poke(int fd, uint64_t offset, uint64_t value)
{
	struct mct_gpu_op a = { .fd = fd, .op = MCT_OP_POKE, .offset = offset, .value = value };
	int dev = device();

	EXPECT_EQ(SYS(ioctl(dev, MCT_GPU_OP, &a)), 0);
	close(dev);
}

static inline uint64_t gpu_peek(int fd, uint64_t offset)
{
	struct mct_gpu_op a = { .fd = fd, .op = MCT_OP_PEEK, .offset = offset };
	int dev = device();

	EXPECT_EQ(SYS(ioctl(dev, MCT_GPU_OP, &a)), 0);
	close(dev);
	return a.value;
}

static inline void fail_at(uint32_t point, uint32_t skip_, uint32_t times, int err)
{
	struct mct_fail a = { .point = point, .skip = skip_, .times = times, .err = err };
	int dev = device();

	ASSERT_EQ(SYS(ioctl(dev, MCT_FAIL, &a)), 0);
	close(dev);
}

static inline long dev_attach(int dev, int buf, uint32_t dir, uint32_t flags)
{
	struct mct_attach a = { .fd = buf, .dir = dir, .flags = flags };

	return SYS(ioctl(dev, MCT_ATTACH, &a));
}

static inline struct mct_stat dev_stat(int dev)
{
	struct mct_stat s = { 0 };

	EXPECT_EQ(SYS(ioctl(dev, MCT_STAT, &s)), 0);
	return s;
}

static inline long dev_peek(int dev, uint64_t offset, uint64_t *value)
{
	struct mct_word w = { .offset = offset };
	long ret = SYS(ioctl(dev, MCT_PEEK, &w));

	*value = w.value;
	return ret;
}

static inline long dev_poke(int dev, uint64_t offset, uint64_t value)
{
	struct mct_word w = { .offset = offset, .value = value };

	return SYS(ioctl(dev, MCT_POKE, &w));
}

static inline struct mc_ioc_region_import dmabuf_arg(int fd, uint64_t length)
{
	return (struct mc_ioc_region_import){ .size = sizeof(struct mc_ioc_region_import), .fd = fd,
		.kind = MC_IMPORT_DMABUF, .length = length, .cq_fd = -1, .fd_flags = O_RDWR | O_CLOEXEC };
}

static inline int import_region(int ctx, struct mc_ioc_region_import a)
{
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_IMPORT, &a)), 0);
	return a.out_fd;
}

static inline long export_region(int r, uint64_t offset, uint64_t length, uint32_t flags, uint32_t fd_flags)
{
	struct mc_ioc_region_export a = { .size = sizeof(a), .flags = flags, .fd = -1, .offset = offset,
		.length = length, .fd_flags = fd_flags };
	long ret = SYS(ioctl(r, MC_IOC_REGION_EXPORT, &a));

	return ret ? ret : a.out_fd;
}

/* Between the caller's memory and a region. */
static inline long copy_with(int ctx, int r, uint64_t offset, void *buf, uint64_t length, bool to_region)
{
	struct mc_sge user = { .kind = MC_SGE_USER, .fd = -1, .addr = UPTR(buf), .length = length };
	struct mc_sge reg = { .kind = MC_SGE_REGION, .fd = r, .addr = offset, .length = length };
	struct mc_copy_vec v = { .src = to_region ? user : reg, .dst = to_region ? reg : user };
	struct mc_ioc_copy c = { .size = sizeof(c), .vec = UPTR(&v), .nr = 1, .cq_fd = -1 };

	return SYS(ioctl(ctx, MC_IOC_COPY, &c));
}

/* Until the module's own thread has seen to it; the test's time limit ends this. */
static inline void wait_revoked(int r)
{
	while (!(info(r).state & MC_STATE_REVOKED))
		sched_yield();
}

#endif /* MC_GPU_H */
