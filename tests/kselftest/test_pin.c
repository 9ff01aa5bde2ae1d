// SPDX-License-Identifier: GPL-2.0-only
/* REGION_PIN: which memory can be pinned, by whom, and how long it stays so. What it holds test_copy reads. */

#include "harness.h"

#include <sys/resource.h>

#define LEN (64 * 4096)

static void *anon(size_t length)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static struct mc_ioc_region_pin pin_arg(void *p, size_t length)
{
	return (struct mc_ioc_region_pin){ .size = sizeof(struct mc_ioc_region_pin), .addr = UPTR(p), .length = length,
		.fd_flags = O_RDWR };
}

TEST(pin_valid)
{
	int ctx = ctx_open();
	struct mc_ioc_region_pin a = pin_arg(anon(LEN), LEN);

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_PIN, &a)), 0);
	EXPECT_EQ(info(a.out_fd).backing, MC_BACKING_PINNED);
	EXPECT_EQ(info(a.out_fd).pinned, LEN);
	EXPECT_EQ(info(a.out_fd).id, a.out_id);
	EXPECT_EQ(number_in("/proc/self/status", "VmPin: %lld"), LEN / 1024);
	EXPECT_EQ(sysfs_number("bytes_allocated"), 0);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ, MAP_SHARED, a.out_fd, 0)), -ENODEV);
	EXPECT_EQ(publish(a.out_fd, "pinned", 0600), -EPERM);
	EXPECT_EQ(mark(a.out_fd, MC_MARK_SEAL_WRITE, 0, 0), -EOPNOTSUPP);
	close(a.out_fd);
	EXPECT_EQ(number_in("/proc/self/status", "VmPin: %lld"), 0);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

TEST(pin_wrong)
{
	int ctx = ctx_open(), r = region(ctx, 4096, 0);
	char *p = anon(2 * LEN);
	struct mc_ioc_region_pin good = pin_arg(p, LEN);

	munmap(p + LEN, LEN);
#define W(field, v, e) WRONG(mc_ioc_region_pin, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_REGION_PIN, good,
		    W(flags, 2, EINVAL), W(flags, 0x80000000, EINVAL), W(flags, MC_PIN_RDONLY, EINVAL),
		    W(addr, UPTR(p) + 1, EINVAL), W(addr, 0, EFAULT), W(addr, UPTR(p) + 4096, EFAULT),
		    W(addr, ~0ull - 4095, EINVAL), W(addr, 1ull << 60, EFAULT),
		    W(length, 0, EINVAL), W(length, 1, EINVAL), W(length, ~0ull, EINVAL), W(length, LEN + 4096, EFAULT),
		    W(length, ~0ull - 4095, EINVAL),
		    W(fd_flags, O_WRONLY, EINVAL), W(fd_flags, O_RDWR | O_APPEND, EINVAL));
#undef W
	check_sizes(ctx, MC_IOC_REGION_PIN, &good, sizeof(good), r);
	EXPECT_EQ(number_in("/proc/self/status", "VmPin: %lld"), 0);
	mprotect(p, LEN, PROT_READ);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_PIN, &good)), -EFAULT);
	good.flags = MC_PIN_RDONLY;
	good.fd_flags = O_RDONLY;
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_PIN, &good)), 0);
}

static void memlock_child(void *arg)
{
	struct mc_ioc_region_pin a;
	int ctx = ctx_open(), fd;

	(void)arg;
	a = pin_arg(anon(2 * LEN), LEN);
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_PIN, &a)), 0);
	fd = a.out_fd;
	a.length = 4096;
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_PIN, &a)), -ENOMEM);
	close(fd);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_PIN, &a)), 0);
	a.length = 2 * LEN;
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_PIN, &a)), -ENOMEM);
}

TEST(memlock)
{
	struct rlimit old, lim = { LEN, LEN };

	getrlimit(RLIMIT_MEMLOCK, &old);
	setrlimit(RLIMIT_MEMLOCK, &lim);
	EXPECT_EQ(in_child(1001, memlock_child, NULL), 0);
	/* Nothing of the first child's charge is left. */
	EXPECT_EQ(in_child(1001, memlock_child, NULL), 0);
}

/* More than could be counted: an error, not a complaint in the kernel's log. */
TEST(pin_absurd)
{
	struct mc_ioc_region_pin a = pin_arg((void *)4096, LEN);

	a.length = 1ull << 46;
	EXPECT_EQ(SYS(ioctl(ctx_open(), MC_IOC_REGION_PIN, &a)), -ENOMEM);
}

/* Gone pages: the pin, not the mapping, keeps them. REVOKE lets go of them at once. */
TEST(pin_outlives_mapping)
{
	int ctx = ctx_open();
	char *p = anon(LEN);
	struct mc_ioc_region_pin a = pin_arg(p, LEN);

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_PIN, &a)), 0);
	munmap(p, LEN);
	EXPECT_EQ(info(a.out_fd).pinned, LEN);
	EXPECT_EQ(revoke_region(a.out_fd), 0);
	EXPECT_EQ(info(a.out_fd).pinned, 0);
	EXPECT_EQ(number_in("/proc/self/status", "VmPin: %lld"), 0);
	EXPECT_EQ(revoke_region(a.out_fd), 0);
}

/* A region's own mapping: its INFO shows the pin, PUNCH and SEAL refuse, REVOKE spares the pages and counts them. */
TEST(pinned_region)
{
	int ctx = ctx_open(), r = region(ctx, 4 * MIB, 0);
	char *p = map(r, 4 * MIB, PROT_READ | PROT_WRITE);
	struct mc_ioc_region_pin a = pin_arg(p, LEN);
	struct mc_ioc_region_revoke rv = { .size = sizeof(rv), .fd = -1 };

	memset(p, 3, 4 * MIB);
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_PIN, &a)), 0);
	EXPECT_GE(info(r).pinned, LEN);
	EXPECT_EQ(mark(r, MC_MARK_PUNCH, 0, 4 * MIB), -EBUSY);
	EXPECT_EQ(p[0], 3);
	munmap(p, 4 * MIB);
	EXPECT_EQ(mark(r, MC_MARK_SEAL_WRITE, 0, 0), -EBUSY);
	ASSERT_EQ(SYS(ioctl(r, MC_IOC_REGION_REVOKE, &rv)), 0);
	EXPECT_GE(rv.out_pinned, LEN);
	EXPECT_LE(info(r).resident, 2 * MIB);
	EXPECT_GE(info(r).resident, LEN);
	close(a.out_fd);
	EXPECT_EQ(info(r).pinned, 0);
	ASSERT_EQ(SYS(ioctl(r, MC_IOC_REGION_REVOKE, &rv)), 0);
	EXPECT_EQ(rv.out_pinned, 0);
	EXPECT_EQ(info(r).resident, 0);
}

static void pin_and_die(void *arg)
{
	struct mc_ioc_region_pin a = pin_arg(anon(LEN), LEN);

	(void)arg;
	ASSERT_EQ(SYS(ioctl(ctx_open(), MC_IOC_REGION_PIN, &a)), 0);
	kill(getpid(), SIGKILL);
}

TEST(pin_and_die_)
{
	EXPECT_EQ(in_child(0, pin_and_die, NULL), 128 + SIGKILL);
	EXPECT_EQ(sysfs_number("regions"), 0);
}
