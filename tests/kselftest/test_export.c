// SPDX-License-Identifier: GPL-2.0-only
/* REGION_EXPORT: dma-bufs as a device (mooncake_test.ko) and a CPU see them. */

#include "gpu.h"

#include <linux/dma-buf.h>
#include <pthread.h>

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

/* An importer that can be told lets go in a REVOKE: nothing is pinned any more, and the memory is free at once. */
TEST(revoke_told)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0), buf = export(r, 0, LEN, 0, O_RDWR), dev = device(), keep = device();
	struct mc_ioc_region_revoke rv = { .size = sizeof(rv), .fd = -1 };
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);
	uint64_t v;

	ASSERT_EQ(dev_attach(dev, buf, 0, MCT_A_DYNAMIC | MCT_A_P2P), 0);
	p[0] = 5;
	EXPECT_EQ(dev_peek(dev, 0, &v), 0);
	EXPECT_EQ(v, 5);
	ASSERT_EQ(dev_attach(keep, export(r, 0, MIB, 0, O_RDWR), 0, MCT_A_KEEP), 0);
	EXPECT_EQ(info(r).pinned, LEN + MIB);
	ASSERT_EQ(SYS(ioctl(r, MC_IOC_REGION_REVOKE, &rv)), 0);
	/* Who was told and does not care still counts. */
	EXPECT_EQ(rv.out_pinned, MIB);
	EXPECT_EQ(dev_stat(dev).moves, 1);
	EXPECT_EQ(dev_stat(dev).mapped, 0);
	EXPECT_EQ(dev_stat(keep).moves, 1);
	EXPECT_EQ(dev_peek(dev, 0, &v), -ENXIO);
	EXPECT_EQ(dev_peek(keep, 0, &v), 0);
	EXPECT_EQ(v, 5);
	EXPECT_EQ(SYS(ioctl(dev, MCT_REMAP)), -EKEYREVOKED);
	EXPECT_EQ(info(r).resident, 0);
	EXPECT_EQ(SYS(ioctl(keep, MCT_UNMAP)), 0);
	EXPECT_EQ(info(r).pinned, 0);
	EXPECT_EQ(dev_attach(device(), buf, 0, MCT_A_DYNAMIC), -EKEYREVOKED);
	EXPECT_EQ(SYS(ioctl(r, MC_IOC_REGION_REVOKE, &rv)), 0);
	EXPECT_EQ(rv.out_pinned, 0);
	EXPECT_EQ(touch(p, false), SIGBUS);
}

/* What the device was given is what the CPU has mapped. */
TEST(export_same_pages)
{
	const uint32_t kinds[] = { 0, MCT_A_DYNAMIC, MCT_A_KEEP | MCT_A_P2P };
	int ctx = ctx_open(), r = region(ctx, LEN, 0), dev;
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);
	struct mct_verify v = { UPTR(p + MIB), 0, 2 * MIB };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		dev = device();
		ASSERT_EQ(dev_attach(dev, export(r, MIB, 2 * MIB, 0, O_RDWR), 0, kinds[i]), 0);
		v.addr = UPTR(p + MIB);
		EXPECT_EQ(SYS(ioctl(dev, MCT_VERIFY, &v)), 0);
		v.addr += 4096;
		EXPECT_EQ(SYS(ioctl(dev, MCT_VERIFY, &v)), -EBADSLT);
		close(dev);
	}
}

static int race_region;
static volatile bool race_stop;

static void *race_exports(void *arg)
{
	int dev, buf;
	uint64_t v;

	while (!race_stop) {
		buf = export_region(race_region, 0, MIB, 0, O_RDWR);
		if (buf < 0) {
			EXPECT_EQ(buf, -EKEYREVOKED);
			break;
		}
		dev = device();
		if (!dev_attach(dev, buf, 0, arg ? MCT_A_DYNAMIC : 0)) {
			dev_peek(dev, 0, &v);
			ioctl(dev, MCT_REMAP);
		}
		close(buf);
		close(dev);
	}
	return NULL;
}

/* Exporting, attaching, mapping and revoking at once, with whatever outcome: nothing stays. */
TEST(revoke_races)
{
	int ctx = ctx_open(), i;
	pthread_t t[4];

	close(device());
	for (i = 0; i < 24; i++) {
		if (!(i % 4)) {
			race_region = region(ctx, MIB, 0);
			race_stop = false;
		}
		pthread_create(&t[i % 4], NULL, race_exports, i & 1 ? &t : NULL);
		if (i % 4 < 3)
			continue;
		usleep(20000);
		EXPECT_EQ(revoke_region(race_region), 0);
		usleep(5000);
		race_stop = true;
		for (int j = 0; j < 4; j++)
			pthread_join(t[j], NULL);
		EXPECT_EQ(info(race_region).pinned, 0);
		EXPECT_EQ(info(race_region).resident, 0);
		EXPECT_EQ(info(race_region).nr_attach, 0);
		close(race_region);
	}
	EXPECT_EQ(sysfs_number("regions"), 0);
}

static int pass_fd(int fd)
{
	char buf[CMSG_SPACE(sizeof(int))] = { 0 }, c = 0;
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof(buf) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	int s[2], got;

	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	*h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(h), &fd, sizeof(int));
	ASSERT_EQ(sendmsg(s[0], &m, 0), 1);
	/* Its owner is gone before it arrives. */
	close(fd);
	ASSERT_EQ(recvmsg(s[1], &m, 0), 1);
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	close(s[0]);
	close(s[1]);
	return got;
}

TEST(passed_on)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0), buf, dev = device();
	uint64_t v;

	memset(map(r, LEN, PROT_READ | PROT_WRITE), 3, 16);
	buf = pass_fd(export(r, 0, LEN, 0, O_RDWR));
	r = pass_fd(r);
	ASSERT_EQ(dev_attach(dev, buf, 0, MCT_A_DYNAMIC), 0);
	EXPECT_EQ(dev_peek(dev, 8, &v), 0);
	EXPECT_EQ(v, 0x0303030303030303);
	EXPECT_EQ(revoke_region(r), 0);
	EXPECT_EQ(dev_peek(dev, 8, &v), -ENXIO);
}

/* The kernel may tell us at once, as it would on a machine check. */
static int poison(char *p)
{
	int ret = 0;

	touch(p, false);
	if (!sigsetjmp(touch_jump, 0)) {
		touching = 1;
		ret = madvise(p, 4096, MADV_HWPOISON);
	}
	touching = 0;
	return ret;
}

/* A page that the hardware reported broken: SIGBUS to CPUs, an error to copies, no dma-buf; the rest is as before. */
TEST(poisoned)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE), c;

	memset(p, 7, LEN);
	if (poison(p + MIB))
		skip("this kernel cannot poison memory");
	EXPECT_EQ(touch(p + MIB, false), SIGBUS);
	EXPECT_EQ(copy_with(ctx, r, MIB, &c, 1, false), -EREMOTEIO);
	EXPECT_EQ(copy_with(ctx, r, MIB, &c, 1, true), -EREMOTEIO);
	EXPECT_EQ(export_region(r, 0, LEN, 0, O_RDWR), -EREMOTEIO);
	EXPECT_EQ(p[MIB + 4096], 7);
	EXPECT_EQ(p[MIB - 1], 7);
	EXPECT_GE(export_region(r, 0, MIB, 0, O_RDWR), 0);
	EXPECT_EQ(info(r).nr_attach, 1);
	EXPECT_EQ(revoke_region(r), 0);
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

/* A revoked region keeps what devices have mapped, and gives it up with the last of them. */
TEST(revoked_then_let_go)
{
	int r = region(ctx_open(), LEN, MC_REGION_POPULATE), dev = device();

	export(r, 0, MIB, 0, O_RDWR);
	ASSERT_EQ(dev_attach(dev, export(r, 2 * MIB, MIB, MC_EXPORT_RDONLY, O_RDONLY), 1, 0), 0);
	EXPECT_EQ(info(r).pinned, 2 * MIB);
	ASSERT_EQ(revoke_region(r), 0);
	EXPECT_EQ(info(r).pinned, MIB);
	close(dev);
	EXPECT_EQ(info(r).pinned, 0);
	EXPECT_EQ(info(r).resident, 0);
}
