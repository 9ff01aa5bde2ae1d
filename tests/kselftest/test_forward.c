// SPDX-License-Identifier: GPL-2.0-only
/* REGION_EXPORT of imported dma-bufs: windows, devices of both kinds, notices and revocation passed on. */

#include "gpu.h"

#include <linux/dma-buf.h>

#define LEN (1 * MIB)

static int import_gpu(int ctx, int buf)
{
	return import_region(ctx, dmabuf_arg(buf, LEN));
}

/* A window of a window, for every kind of exporter and importer. */
TEST(windows)
{
	const uint32_t gpus[] = { MCT_G_MMAP, MCT_G_MMAP | MCT_G_DYNAMIC };
	const uint32_t devs[] = { 0, MCT_A_DYNAMIC, MCT_A_KEEP | MCT_A_P2P };
	struct mc_ioc_region_import a;
	int ctx = ctx_open(), buf, r, fwd, dev;
	uint64_t v, i;
	char *p;

	for (i = 0; i < ARRAY_SIZE(gpus) * ARRAY_SIZE(devs); i++) {
		buf = gpu(gpus[i & 1], LEN, O_RDWR);
		a = dmabuf_arg(buf, LEN / 2);
		a.offset = 12288;
		r = import_region(ctx, a);
		fwd = export_region(r, 8192, LEN / 4, 0, O_RDWR | O_CLOEXEC);
		ASSERT_GE(fwd, 0);
		EXPECT_EQ(fcntl(fwd, F_GETFD), FD_CLOEXEC);
		EXPECT_EQ(lseek(fwd, 0, SEEK_END), LEN / 4);
		EXPECT_EQ(info(r).nr_attach, 1);
		EXPECT_EQ(info(r).pinned, LEN / 4);
		dev = device();
		ASSERT_EQ(dev_attach(dev, fwd, 0, devs[i / 2]), 0);
		gpu_poke(buf, 20480 + 64, i + 1);
		EXPECT_EQ(dev_peek(dev, 64, &v), 0);
		EXPECT_EQ(v, i + 1);
		EXPECT_EQ(dev_poke(dev, LEN / 4 - 8, i + 2), 0);
		EXPECT_EQ(gpu_peek(buf, 20480 + LEN / 4 - 8), i + 2);
		EXPECT_EQ(dev_peek(dev, LEN / 4, &v), -EINVAL);
		p = map(fwd, LEN / 4, PROT_READ | PROT_WRITE);
		EXPECT_EQ(*(uint64_t *)(p + 64), i + 1);
		EXPECT_EQ(SYS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fwd, LEN / 4)) < 0, 1);
		munmap(p, LEN / 4);
		close(fwd);
		close(r);
		EXPECT_EQ(dev_peek(dev, 64, &v), 0);
		close(dev);
		EXPECT_EQ(gpu_op(buf, MCT_OP_STAT, 0).out_maps, 0);
		EXPECT_EQ(gpu_op(buf, MCT_OP_STAT, 0).out_pins, 0);
		close(buf);
	}
	EXPECT_EQ(sysfs_number("regions"), 0);
}

TEST(wrong)
{
	int ctx = ctx_open(), r = import_gpu(ctx, gpu(0, LEN, O_RDWR));
	struct mc_ioc_region_export good = { .size = sizeof(good), .fd = -1, .length = LEN, .fd_flags = O_RDWR };

#define W(field, v, e) WRONG(mc_ioc_region_export, field, v, e)
	CHECK_WRONG(r, MC_IOC_REGION_EXPORT, good,
		    W(flags, 2, EINVAL), W(flags, MC_EXPORT_RDONLY, EINVAL), W(fd, r, EINVAL), W(fd_flags, O_WRONLY, EINVAL),
		    W(offset, 1, EINVAL), W(offset, 4096, EINVAL), W(offset, ~0ull - 4095, EINVAL), W(length, 0, EINVAL),
		    W(length, 1, EINVAL), W(length, LEN + 4096, EINVAL), W(rsv, 1, EINVAL));
#undef W
	check_sizes(r, MC_IOC_REGION_EXPORT, &good, sizeof(good), ctx);
	EXPECT_EQ(info(r).nr_attach, 0);
}

/* An exporter's notice reaches our importers, who map again at the new place. */
TEST(moved)
{
	int ctx = ctx_open(), buf = gpu(MCT_G_DYNAMIC, LEN, O_RDWR), r = import_gpu(ctx, buf), dev = device(), kept = device();
	int fwd = export_region(r, 4096, 8192, 0, O_RDWR);
	uint64_t v;

	ASSERT_GE(fwd, 0);
	ASSERT_EQ(dev_attach(dev, fwd, 0, MCT_A_DYNAMIC | MCT_A_P2P), 0);
	gpu_poke(buf, 4096, 11);
	EXPECT_EQ(gpu_op(buf, MCT_OP_MOVE, 1).out_moved, 1);
	EXPECT_EQ(dev_stat(dev).moves, 1);
	EXPECT_EQ(dev_stat(dev).mapped, 0);
	EXPECT_EQ(SYS(ioctl(dev, MCT_REMAP)), 0);
	EXPECT_EQ(dev_peek(dev, 0, &v), 0);
	EXPECT_EQ(v, 11);
	/* One that cannot be told holds it in place. */
	ASSERT_EQ(dev_attach(kept, fwd, 0, 0), 0);
	EXPECT_GE(gpu_op(buf, MCT_OP_STAT, 0).out_pins, 1);
	EXPECT_EQ(gpu_op(buf, MCT_OP_MOVE, 1).out_moved, 0);
	EXPECT_EQ(dev_peek(kept, 0, &v), 0);
	EXPECT_EQ(v, 11);
	EXPECT_EQ(info(r).state, 0);
}

TEST(revoked_by_exporter)
{
	int ctx = ctx_open(), buf = gpu(MCT_G_DYNAMIC, LEN, O_RDWR), r = import_gpu(ctx, buf), dev = device();
	int fwd = export_region(r, 0, LEN, 0, O_RDWR);

	ASSERT_GE(fwd, 0);
	ASSERT_EQ(dev_attach(dev, fwd, 0, MCT_A_DYNAMIC), 0);
	gpu_op(buf, MCT_OP_REVOKE, 0);
	EXPECT_EQ(dev_stat(dev).mapped, 0);
	EXPECT_EQ(SYS(ioctl(dev, MCT_REMAP)) < 0, 1);
	wait_revoked(r);
	EXPECT_EQ(SYS(ioctl(dev, MCT_REMAP)), -EKEYREVOKED);
	EXPECT_EQ(dev_attach(device(), fwd, 0, 0), -EKEYREVOKED);
	/* The state is the first thing that changes. */
	while (info(r).pinned)
		sched_yield();
}

/* Our REVOKE: who can be told lets go, who cannot is counted until he does; the exporter's own users stay. */
TEST(revoked_by_us)
{
	int ctx = ctx_open(), buf = gpu(MCT_G_DYNAMIC, LEN, O_RDWR), r = import_gpu(ctx, buf);
	int told = device(), pinned = device(), theirs = device();
	struct mc_ioc_region_revoke rv = { .size = sizeof(rv), .fd = -1 };
	uint64_t v;

	ASSERT_EQ(dev_attach(told, export_region(r, 0, LEN / 2, 0, O_RDWR), 0, MCT_A_DYNAMIC), 0);
	ASSERT_EQ(dev_attach(pinned, export_region(r, 0, LEN / 4, 0, O_RDWR), 0, 0), 0);
	ASSERT_EQ(dev_attach(theirs, buf, 0, MCT_A_DYNAMIC), 0);
	EXPECT_EQ(info(r).pinned, LEN / 4 * 3);
	ASSERT_EQ(SYS(ioctl(r, MC_IOC_REGION_REVOKE, &rv)), 0);
	EXPECT_EQ(rv.out_pinned, LEN / 4);
	EXPECT_EQ(dev_stat(told).mapped, 0);
	EXPECT_EQ(dev_stat(theirs).mapped, 1);
	EXPECT_EQ(dev_stat(theirs).moves, 0);
	EXPECT_EQ(dev_peek(pinned, 0, &v), 0);
	close(pinned);
	EXPECT_EQ(info(r).pinned, 0);
	EXPECT_EQ(SYS(ioctl(theirs, MCT_REMAP)), 0);
}

/* The exporter's refusals are our dma-buf's. */
TEST(refusals)
{
	const uint32_t gpus[] = { 0, MCT_G_DYNAMIC };
	int ctx = ctx_open(), buf, r, fwd, dev;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(gpus); i++) {
		buf = gpu(gpus[i], LEN, O_RDWR);
		r = import_gpu(ctx, buf);
		fwd = export_region(r, 0, LEN, 0, O_RDWR);
		ASSERT_GE(fwd, 0);
		fail_at(MCT_FAIL_ATTACH, 0, 1, -EBUSY);
		EXPECT_EQ(dev_attach(device(), fwd, 0, 0), -EBUSY);
		fail_at(MCT_FAIL_MAP, 0, 1, -ENOMEM);
		EXPECT_EQ(dev_attach(device(), fwd, 0, MCT_A_DYNAMIC), -ENOMEM);
		fail_at(MCT_FAIL_MAP, 0, 1, -EAGAIN);
		EXPECT_EQ(dev_attach(device(), fwd, 0, 0), -EAGAIN);
		if (gpus[i] & MCT_G_DYNAMIC) {
			fail_at(MCT_FAIL_PIN, 0, 1, -ENOMEM);
			EXPECT_EQ(dev_attach(device(), fwd, 0, 0), -ENOMEM);
		}
		EXPECT_EQ(info(r).pinned, LEN);
		dev = device();
		EXPECT_EQ(dev_attach(dev, fwd, 0, 0), 0);
		close(dev);
		EXPECT_EQ(gpu_op(buf, MCT_OP_STAT, 0).out_maps, 0);
		EXPECT_EQ(gpu_op(buf, MCT_OP_STAT, 0).out_pins, 0);
		close(fwd);
		close(r);
	}
}

TEST(cpu_sync)
{
	int ctx = ctx_open(), fwd = export_region(import_gpu(ctx, gpu(0, LEN, O_RDWR)), 0, LEN, 0, O_RDWR);
	struct dma_buf_sync s = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };

	ASSERT_GE(fwd, 0);
	EXPECT_EQ(SYS(ioctl(fwd, DMA_BUF_IOCTL_SYNC, &s)), 0);
	s.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
	EXPECT_EQ(SYS(ioctl(fwd, DMA_BUF_IOCTL_SYNC, &s)), 0);
}
