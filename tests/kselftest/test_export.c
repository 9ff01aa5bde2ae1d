// SPDX-License-Identifier: GPL-2.0-only
/* REGION_EXPORT: dma-bufs as a device (mooncake_test.ko) and a CPU see them. */

#include "harness.h"

#include <linux/dma-buf.h>
#include <mooncake_test.h>

#define LEN (4 * MIB)

static struct mc_ioc_region_export export_arg(uint64_t offset, uint64_t length, uint32_t flags, uint32_t fd_flags)
{
	return (struct mc_ioc_region_export){ .size = sizeof(struct mc_ioc_region_export), .flags = flags, .fd = -1,
		.offset = offset, .length = length, .fd_flags = fd_flags };
}

static int export(int r, uint64_t offset, uint64_t length, uint32_t flags, uint32_t fd_flags)
{
	struct mc_ioc_region_export a = export_arg(offset, length, flags, fd_flags);

	ASSERT_EQ(SYS(ioctl(r, MC_IOC_REGION_EXPORT, &a)), 0);
	return a.out_fd;
}

static long attach(int dev, int buf, uint32_t dir, struct mct_attach *a)
{
	*a = (struct mct_attach){ .fd = buf, .dir = dir };
	return SYS(ioctl(dev, MCT_ATTACH, a));
}

static int device(void)
{
	int fd = open("/dev/mooncake-test", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		skip("mooncake_test.ko is not loaded");
	return fd;
}

TEST(export_valid)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0), buf, dev = device();
	char *p = map(r, LEN, PROT_READ | PROT_WRITE), *q;
	struct mct_word w = { .offset = 8 };
	struct mct_attach a;

	buf = export(r, MIB, 2 * MIB, 0, O_RDWR | O_CLOEXEC);
	EXPECT_EQ(fcntl(buf, F_GETFD), FD_CLOEXEC);
	EXPECT_EQ(lseek(buf, 0, SEEK_END), 2 * MIB);
	EXPECT_EQ(info(r).nr_attach, 1);
	EXPECT_EQ(info(r).pinned, 2 * MIB);
	ASSERT_EQ(attach(dev, buf, 0, &a), 0);
	EXPECT_EQ(a.out_bytes, 2 * MIB);
	/* Two halves of huge pages, so at most two entries. */
	if (has_huge(ctx))
		EXPECT_LE(a.out_entries, 2);
	*(uint64_t *)(p + MIB + 8) = 0x1122334455667788;
	ASSERT_EQ(SYS(ioctl(dev, MCT_PEEK, &w)), 0);
	EXPECT_EQ(w.value, 0x1122334455667788);
	w = (struct mct_word){ 2 * MIB - 8, 42 };
	ASSERT_EQ(SYS(ioctl(dev, MCT_POKE, &w)), 0);
	EXPECT_EQ(*(uint64_t *)(p + 3 * MIB - 8), 42);
	/* The dma-buf's own mapping is a window of the region. */
	q = map(buf, 2 * MIB, PROT_READ | PROT_WRITE);
	EXPECT_EQ(*(uint64_t *)(q + 2 * MIB - 8), 42);
	EXPECT_EQ(SYS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, buf, 2 * MIB)) < 0, 1);
	EXPECT_EQ(info(r).nr_vmas, 2);
	close(buf);
	EXPECT_EQ(info(r).nr_attach, 1);
	close(dev);
	EXPECT_EQ(info(r).nr_attach, 0);
	EXPECT_EQ(info(r).pinned, 0);
	EXPECT_EQ(*(uint64_t *)(q + 2 * MIB - 8), 42);
}

TEST(export_wrong)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	struct mc_ioc_region_create ro = CREATE(.length = LEN, .fd_flags = O_RDONLY);
	struct mc_ioc_region_export good = export_arg(0, LEN, 0, O_RDWR);

#define W(field, v, e) WRONG(mc_ioc_region_export, field, v, e)
	CHECK_WRONG(r, MC_IOC_REGION_EXPORT, good,
		    W(flags, 2, EINVAL), W(flags, MC_EXPORT_RDONLY, EINVAL), W(fd, r, EINVAL), W(fd, 0, EINVAL),
		    W(fd_flags, O_WRONLY, EINVAL), W(fd_flags, O_RDWR | O_NONBLOCK, EINVAL), W(offset, 1, EINVAL),
		    W(offset, 4096, EINVAL), W(offset, LEN, EINVAL), W(offset, ~0ull - 4095, EINVAL), W(length, 0, EINVAL),
		    W(length, 1, EINVAL), W(length, LEN + 4096, EINVAL), W(length, ~0ull - 4095, EINVAL), W(rsv, 1, EINVAL));
#undef W
	check_sizes(r, MC_IOC_REGION_EXPORT, &good, sizeof(good), ctx);
	EXPECT_EQ(info(r).nr_attach, 0);
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &ro)), 0);
	EXPECT_EQ(SYS(ioctl(ro.out_fd, MC_IOC_REGION_EXPORT, &good)), -EACCES);
	good.fd_flags = O_RDONLY;
	EXPECT_EQ(SYS(ioctl(ro.out_fd, MC_IOC_REGION_EXPORT, &good)), -EACCES);
	ASSERT_EQ(mark(r, MC_MARK_SEAL_WRITE, 0, 0), 0);
	EXPECT_EQ(SYS(ioctl(r, MC_IOC_REGION_EXPORT, &good)), -EACCES);
	ASSERT_EQ(revoke_region(r), 0);
	EXPECT_EQ(SYS(ioctl(r, MC_IOC_REGION_EXPORT, &good)), -EKEYREVOKED);
	EXPECT_EQ(info(r).nr_attach, 0);
}

/* What may only be read, no device may write. */
TEST(export_read_only)
{
	int ctx = ctx_open(), buf;
	struct mc_ioc_region_create ro = CREATE(.length = LEN, .fd_flags = O_RDONLY);
	struct mct_attach a;

	device();
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &ro)), 0);
	buf = export(ro.out_fd, 0, LEN, MC_EXPORT_RDONLY, O_RDONLY);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0)), -EACCES);
	EXPECT_EQ(SYS(mprotect(map(buf, LEN, PROT_READ), LEN, PROT_READ | PROT_WRITE)), -EACCES);
	EXPECT_EQ(attach(device(), buf, 0, &a), -EACCES);
	EXPECT_EQ(attach(device(), buf, 2, &a), -EACCES);
	EXPECT_EQ(attach(device(), buf, 1, &a), 0);
}

/* A dma-buf keeps its pages: no hole, no seal; after REVOKE the device goes on and nobody new comes. */
TEST(export_holds)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0), buf, dev = device();
	struct mc_ioc_region_revoke rv = { .size = sizeof(rv), .fd = -1 };
	struct mct_word w = { 0, 7 };
	struct mct_attach a;
	char *q;

	buf = export(r, 0, MIB, 0, O_RDWR);
	q = map(buf, MIB, PROT_READ | PROT_WRITE);
	q[0] = 1;
	EXPECT_EQ(mark(r, MC_MARK_PUNCH, 0, LEN), -EBUSY);
	EXPECT_EQ(mark(r, MC_MARK_SEAL_WRITE, 0, 0), -EBUSY);
	ASSERT_EQ(attach(dev, buf, 0, &a), 0);
	ASSERT_EQ(SYS(ioctl(r, MC_IOC_REGION_REVOKE, &rv)), 0);
	EXPECT_EQ(rv.out_pinned, MIB);
	EXPECT_EQ(touch(q, false), SIGBUS);
	EXPECT_EQ(SYS(mmap(NULL, MIB, PROT_READ, MAP_SHARED, buf, 0)), -EKEYREVOKED);
	EXPECT_EQ(SYS(ioctl(dev, MCT_POKE, &w)), 0);
	w.value = 0;
	EXPECT_EQ(SYS(ioctl(dev, MCT_PEEK, &w)), 0);
	EXPECT_EQ(w.value, 7);
	EXPECT_EQ(attach(device(), buf, 0, &a), -EKEYREVOKED);
	munmap(q, MIB);
	close(r);
	/* The device alone keeps region and module. */
	close(buf);
	EXPECT_EQ(SYS(ioctl(dev, MCT_PEEK, &w)), 0);
	EXPECT_EQ(sysfs_number("regions"), 1);
	close(dev);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

/* Pinned memory as dma-buf: the pages outlive process memory and pin. */
TEST(export_pinned)
{
	int ctx = ctx_open(), buf, dev = device();
	char *p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct mc_ioc_region_pin pin = { .size = sizeof(pin), .addr = UPTR(p), .length = MIB, .fd_flags = O_RDWR };
	struct mct_word w = { 4096, 5 };
	struct mct_attach a;

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_PIN, &pin)), 0);
	buf = export(pin.out_fd, 0, MIB, 0, O_RDWR);
	ASSERT_EQ(attach(dev, buf, 0, &a), 0);
	EXPECT_EQ(SYS(ioctl(dev, MCT_POKE, &w)), 0);
	EXPECT_EQ(*(uint64_t *)(p + 4096), 5);
	EXPECT_EQ(SYS(mmap(NULL, MIB, PROT_READ, MAP_SHARED, buf, 0)), -ENODEV);
	munmap(p, MIB);
	EXPECT_EQ(revoke_region(pin.out_fd), 0);
	close(pin.out_fd);
	EXPECT_EQ(SYS(ioctl(dev, MCT_PEEK, &w)), 0);
	EXPECT_EQ(w.value, 5);
}

TEST(export_cpu_sync)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0), buf = export(r, 0, LEN, 0, O_RDWR), dev = device();
	struct dma_buf_sync s = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };
	struct mct_attach a;

	ASSERT_EQ(attach(dev, buf, 0, &a), 0);
	EXPECT_EQ(SYS(ioctl(buf, DMA_BUF_IOCTL_SYNC, &s)), 0);
	s.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
	EXPECT_EQ(SYS(ioctl(buf, DMA_BUF_IOCTL_SYNC, &s)), 0);
}

static void die_exporting(void *arg)
{
	int r = region(ctx_open(), LEN, 0), dev = device(), i;
	struct mct_attach a;

	(void)arg;
	for (i = 0; i < 4; i++)
		export(r, 0, LEN, 0, O_RDWR);
	ASSERT_EQ(attach(dev, export(r, 0, LEN, 0, O_RDWR), 0, &a), 0);
	kill(getpid(), SIGKILL);
}

TEST(killed_exporting)
{
	close(device());
	EXPECT_EQ(in_child(0, die_exporting, NULL), 128 + SIGKILL);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

/* What only the dma-buf kept goes with it, though the region itself stays. */
TEST(revoked_then_let_go)
{
	int r = region(ctx_open(), LEN, MC_REGION_POPULATE), a, b;

	a = export(r, 0, MIB, 0, O_RDWR);
	b = export(r, 2 * MIB, MIB, MC_EXPORT_RDONLY, O_RDONLY);
	ASSERT_EQ(revoke_region(r), 0);
	EXPECT_GE(info(r).resident, 2 * MIB);
	EXPECT_EQ(info(r).pinned, 2 * MIB);
	close(a);
	EXPECT_EQ(info(r).pinned, MIB);
	close(b);
	EXPECT_EQ(info(r).pinned, 0);
	EXPECT_EQ(info(r).resident, 0);
}
