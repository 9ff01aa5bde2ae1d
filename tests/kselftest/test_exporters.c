// SPDX-License-Identifier: GPL-2.0-only
/* REGION_IMPORT of dma-bufs that the kernel's own exporters make: udmabuf and the system heap. */

#include "gpu.h"

#include <linux/dma-heap.h>
#include <linux/udmabuf.h>

#define LEN (1 * MIB)

static int udmabuf(int memfd)
{
	struct udmabuf_create c = { .memfd = memfd, .flags = UDMABUF_FLAGS_CLOEXEC, .size = LEN };
	int dev = open("/dev/udmabuf", O_RDWR), buf;

	if (dev < 0)
		skip("this kernel has no udmabuf");
	buf = ioctl(dev, UDMABUF_CREATE, &c);
	ASSERT_GE(buf, 0);
	close(dev);
	return buf;
}

static int heap(void)
{
	struct dma_heap_allocation_data a = { .len = LEN, .fd_flags = O_RDWR | O_CLOEXEC };
	int dev = open("/dev/dma_heap/system", O_RDWR);

	if (dev < 0)
		skip("this kernel has no system heap");
	ASSERT_EQ(SYS(ioctl(dev, DMA_HEAP_IOCTL_ALLOC, &a)), 0);
	close(dev);
	return a.fd;
}

/* @theirs is the exporter's memory as the test has it mapped. */
static void check(int buf, volatile char *theirs)
{
	int ctx = ctx_open(), r = import_region(ctx, dmabuf_arg(buf, LEN)), fwd, dev = device(), dyn = device();
	char *p = map(r, LEN, PROT_READ | PROT_WRITE), c;
	uint64_t v;

	EXPECT_EQ(info(r).backing, MC_BACKING_DMABUF);
	theirs[4096] = 5;
	EXPECT_EQ(p[4096], 5);
	p[LEN - 1] = 6;
	EXPECT_EQ(theirs[LEN - 1], 6);
	EXPECT_EQ(copy_with(ctx, r, 0, &c, 1, false), -EOPNOTSUPP);
	fwd = export_region(r, 4096, 8192, 0, O_RDWR);
	ASSERT_GE(fwd, 0);
	/* One after the other: these exporters say of no mapping that it may overlap, and a kernel that looks would warn. */
	ASSERT_EQ(dev_attach(dyn, fwd, 0, MCT_A_DYNAMIC), 0);
	EXPECT_EQ(dev_poke(dyn, 16, 0x1122334455667788), 0);
	EXPECT_EQ(*(volatile uint64_t *)(theirs + 4096 + 16), 0x1122334455667788);
	close(dyn);
	ASSERT_EQ(dev_attach(dev, fwd, 0, 0), 0);
	EXPECT_EQ(dev_peek(dev, 16, &v), 0);
	EXPECT_EQ(v, 0x1122334455667788);
	EXPECT_EQ(revoke_region(r), 0);
	EXPECT_EQ(touch(p, false), SIGBUS);
	EXPECT_EQ(touch(p + LEN - 1, true), SIGBUS);
	/* Theirs goes on, and so do devices that had mapped it. */
	EXPECT_EQ(touch((char *)theirs, true), 0);
	EXPECT_EQ(theirs[LEN - 1], 6);
	EXPECT_EQ(dev_peek(dev, 16, &v), 0);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ, MAP_SHARED, r, 0)), -EKEYREVOKED);
	EXPECT_EQ(info(r).pinned, 8192);
	close(dev);
	close(fwd);
	EXPECT_EQ(info(r).pinned, 0);
	munmap(p, LEN);
	close(r);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

TEST(from_udmabuf)
{
	int fd = memfd_create("udmabuf", MFD_CLOEXEC | MFD_ALLOW_SEALING), buf;

	ASSERT_EQ(SYS(ftruncate(fd, LEN)), 0);
	ASSERT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)), 0);
	buf = udmabuf(fd);
	check(buf, map(fd, LEN, PROT_READ | PROT_WRITE));
}

TEST(from_system_heap)
{
	int buf = heap();

	check(buf, map(buf, LEN, PROT_READ | PROT_WRITE));
}

static void use_in_child(void *arg)
{
	volatile char *p = arg;

	EXPECT_EQ(p[0], 1);
	p[1] = 2;
}

/* A mapping filled at mmap() is copied by fork and ends everywhere. */
TEST(heap_and_fork)
{
	int ctx = ctx_open(), r = import_region(ctx, dmabuf_arg(heap(), LEN));
	char *p = map(r, LEN, PROT_READ | PROT_WRITE), *q;

	p[0] = 1;
	EXPECT_EQ(in_child(0, use_in_child, p), 0);
	EXPECT_EQ(p[1], 2);
	q = mremap(p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, p + 16 * LEN);
	ASSERT_EQ(q == p + 16 * LEN, 1);
	EXPECT_EQ(q[1], 2);
	munmap(q, 4096);
	EXPECT_EQ(info(r).nr_vmas, 1);
	EXPECT_EQ(revoke_region(r), 0);
	EXPECT_EQ(touch(q + 4096, false), SIGBUS);
}
