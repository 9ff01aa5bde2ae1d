// SPDX-License-Identifier: GPL-2.0-only
/* MARK: punching holes and sealing; the lease's marks are in test_publish. */

#include "middle.h"

#include <pthread.h>
#include <sched.h>

#define LEN (8 * MIB)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

TEST(mark_wrong)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	struct mc_ioc_region_mark punch = { .size = sizeof(punch), .fd = -1, .op = MC_MARK_PUNCH, .length = LEN },
		seal = { .size = sizeof(seal), .fd = -1, .op = MC_MARK_SEAL_WRITE };
	struct mc_ioc_region_create ro = CREATE(.length = LEN, .fd_flags = O_RDONLY);

#define W(field, v, e) WRONG(mc_ioc_region_mark, field, v, e)
	CHECK_WRONG(r, MC_IOC_REGION_MARK, punch,
		    W(flags, 1, EINVAL), W(fd, r, EINVAL), W(fd, 0, EINVAL), W(op, 0, EINVAL), W(op, 7, EINVAL),
		    W(op, ~0, EINVAL), W(op, MC_MARK_COLD, EOPNOTSUPP), W(op, MC_MARK_HOT, EOPNOTSUPP),
		    W(op, MC_MARK_SEAL_WRITE, EINVAL), W(op, MC_MARK_CLEAN, EINVAL), W(op, MC_MARK_DIRTY, EINVAL),
		    W(offset, 1, EINVAL), W(offset, 4096, EINVAL), W(offset, LEN, EINVAL), W(offset, ~0ull - 4095, EINVAL),
		    W(length, 0, EINVAL), W(length, 1, EINVAL), W(length, LEN + 4096, EINVAL), W(length, ~0ull, EINVAL),
		    W(length, ~0ull - 4095, EINVAL));
	CHECK_WRONG(r, MC_IOC_REGION_MARK, seal,
		    W(op, MC_MARK_CLEAN, EPERM), W(op, MC_MARK_DIRTY, EPERM), W(offset, 4096, EINVAL),
		    W(length, 4096, EINVAL));
#undef W
	check_sizes(r, MC_IOC_REGION_MARK, &punch, sizeof(punch), ctx);
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &ro)), 0);
	EXPECT_EQ(mark(ro.out_fd, MC_MARK_PUNCH, 0, LEN), -EACCES);
	EXPECT_EQ(mark(ro.out_fd, MC_MARK_SEAL_WRITE, 0, 0), -EACCES);
	EXPECT_EQ(info(r).gen, 0);
}

TEST(punch)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_POPULATE);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);
	struct mc_ioc_region_mark a = { .size = sizeof(a), .fd = -1, .op = MC_MARK_PUNCH, .offset = 2 * MIB,
		.length = 2 * MIB };

	memset(p, 5, LEN);
	ASSERT_EQ(SYS(ioctl(r, MC_IOC_REGION_MARK, &a)), 0);
	EXPECT_EQ(a.out_purged, 2 * MIB);
	EXPECT_EQ(a.out_gen, 1);
	EXPECT_EQ(info(r).resident, LEN - 2 * MIB);
	EXPECT_EQ(p[2 * MIB - 1], 5);
	EXPECT_EQ(p[2 * MIB], 0);
	EXPECT_EQ(p[4 * MIB - 1], 0);
	EXPECT_EQ(p[4 * MIB], 5);
	/* Less than a huge page: the rest of it keeps its bytes. */
	ASSERT_EQ(mark(r, MC_MARK_PUNCH, 4 * MIB + 4096, 4096), 0);
	EXPECT_EQ(p[4 * MIB + 4095], 5);
	EXPECT_EQ(p[4 * MIB + 4096], 0);
	EXPECT_EQ(p[4 * MIB + 8191], 0);
	EXPECT_EQ(p[4 * MIB + 8192], 5);
	EXPECT_EQ(info(r).gen, 2);
	ASSERT_EQ(mark(r, MC_MARK_PUNCH, 0, LEN), 0);
	EXPECT_EQ(info(r).resident, 0);
	EXPECT_EQ(p[LEN - 1], 0);
}

static volatile int stop;

static void *writer(void *arg)
{
	char *p = arg;
	unsigned int seed = 1;

	while (!stop)
		p[rand_r(&seed) % LEN] = 1;
	return NULL;
}

/* Faults wait while a hole is made, and go on; a read after PUNCH with nobody writing is zero. */
TEST(punch_race)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0), i;
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);
	pthread_t t[3];

	for (i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, writer, p);
	for (i = 0; i < 20; i++)
		EXPECT_EQ(mark(r, MC_MARK_PUNCH, i % 4 * 2 * MIB, 2 * MIB), 0);
	stop = 1;
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	EXPECT_EQ(mark(r, MC_MARK_PUNCH, 0, LEN), 0);
	for (i = 0; i < (int)LEN; i += 4096)
		ASSERT_EQ(p[i], 0);
}

static long punch_large(int r)
{
	return mark(r, MC_MARK_PUNCH, 0, LARGE);
}

/* A large hole ends in the middle when who makes it is killed, and can be finished by somebody else. */
TEST(punch_killed_in_the_middle)
{
	char *last;
	int r = killed_in_the_middle(punch_large, &last);

	EXPECT_EQ(*last, 1);
	EXPECT_EQ(info(r).gen, 1);
	ASSERT_EQ(punch_large(r), 0);
	EXPECT_EQ(*last, 0);
	ASSERT_EQ(punch_large(r), 0);
	EXPECT_EQ(info(r).resident, 0);
	EXPECT_EQ(info(r).gen, 3);
}

static void *punch_until_revoked(void *arg)
{
	char *p = map(*(int *)arg, LARGE, PROT_READ | PROT_WRITE);
	long ret;

	do {
		madvise(p, LARGE, MADV_POPULATE_WRITE);
		ret = mark(*(int *)arg, MC_MARK_PUNCH, 0, LARGE);
	} while (!ret);
	return (void *)ret;
}

/* Nobody waits for a hole to be finished before taking the region away. */
TEST(punch_revoked_in_the_middle)
{
	int ctx = ctx_open(), r = region(ctx, LARGE, MC_REGION_POPULATE);
	pthread_t t;
	void *ret;

	pthread_create(&t, NULL, punch_until_revoked, &r);
	while (info(r).gen < 2)
		sched_yield();
	EXPECT_EQ(revoke_region(r), 0);
	pthread_join(t, &ret);
	EXPECT_EQ((long)ret, -EKEYREVOKED);
	EXPECT_EQ(info(r).resident, 0);
}

static void overcommit(char how)
{
	int fd = open("/proc/sys/vm/overcommit_memory", O_WRONLY);

	if (fd < 0 || write(fd, &how, 1) != 1)
		skip("needs a region larger than memory");
	close(fd);
}

/* A hole as long as the region, which is mostly hole: what is not there takes no time. */
TEST(punch_sparse)
{
	const uint64_t huge = sizeof(long) == 8 ? 1ull << 50 : 1ull << 43;	/* of what mmap2() can reach */
	int ctx = ctx_open(), r;
	char *p;

	overcommit('1');
	r = region(ctx, huge, 0);
	overcommit('0');
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r, huge - 4 * MIB);
	ASSERT_EQ(p == MAP_FAILED, 0);
	*p = 1;
	ASSERT_EQ(mark(r, MC_MARK_PUNCH, 4096, huge - 8192), 0);
	EXPECT_EQ(info(r).resident, 0);
	EXPECT_EQ(*p, 0);
}

TEST(seal)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);
	struct mc_ioc_region_open o;

	memset(p, 6, LEN);
	/* Somebody can write, or could after mprotect: not yet. */
	EXPECT_EQ(mark(r, MC_MARK_SEAL_WRITE, 0, 0), -EBUSY);
	mprotect(p, LEN, PROT_READ);
	EXPECT_EQ(mark(r, MC_MARK_SEAL_WRITE, 0, 0), -EBUSY);
	munmap(p, LEN);
	EXPECT_EQ(mark(r, MC_MARK_SEAL_WRITE, 0, 0), 0);
	EXPECT_EQ(mark(r, MC_MARK_SEAL_WRITE, 0, 0), 0);
	EXPECT_EQ(info(r).state, MC_STATE_SEALED);

	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, r, 0)), -EACCES);
	p = map(r, LEN, PROT_READ);
	EXPECT_EQ(SYS(mprotect(p, LEN, PROT_READ | PROT_WRITE)), -EACCES);
	EXPECT_EQ(p[LEN - 1], 6);
	EXPECT_EQ(mark(r, MC_MARK_PUNCH, 0, LEN), -EPERM);
	ASSERT_EQ(publish(r, "sealed", 0666), 0);
	EXPECT_EQ(open_name(ctx, "sealed", MC_ACCESS_R | MC_ACCESS_W, &o), -EACCES);
	EXPECT_GE(open_name(ctx, "sealed", MC_ACCESS_R, &o), 0);
	unpublish(ctx, "sealed", 0);
}

static void child_with_copy(void *arg)
{
	EXPECT_EQ(mark(*(int *)arg, MC_MARK_SEAL_WRITE, 0, 0), -EBUSY);
}

/* A forked child's copy of a writable mapping counts; its exit takes it back. */
TEST(seal_after_fork)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);

	EXPECT_EQ(in_child(0, child_with_copy, &r), 0);
	munmap(p, LEN);
	EXPECT_EQ(mark(r, MC_MARK_SEAL_WRITE, 0, 0), 0);
}
