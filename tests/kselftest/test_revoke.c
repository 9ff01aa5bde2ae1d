// SPDX-License-Identifier: GPL-2.0-only
/* REVOKE: at once, for everybody, under load. */

#include "middle.h"

#include <pthread.h>

#define LEN (4 * MIB)

TEST(revoke_valid)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE), *q = map(r, LEN, PROT_READ);
	struct mc_ioc_region_revoke a = { .size = sizeof(a), .fd = -1, .out_pinned = 77 };
	struct mc_ioc_region_open o;

	memset(p, 1, LEN);
	ASSERT_EQ(publish(r, "revoked", 0600), 0);
	ASSERT_EQ(SYS(ioctl(r, MC_IOC_REGION_REVOKE, &a)), 0);
	EXPECT_EQ(a.out_pinned, 0);
	EXPECT_EQ(touch(p, false), SIGBUS);
	EXPECT_EQ(touch(p + LEN - 1, true), SIGBUS);
	EXPECT_EQ(touch(q, false), SIGBUS);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ, MAP_SHARED, r, 0)), -EKEYREVOKED);
	EXPECT_EQ(info(r).state, MC_STATE_REVOKED | MC_STATE_PUBLISHED);
	EXPECT_EQ(info(r).resident, 0);
	EXPECT_EQ(open_name(ctx, "revoked", MC_ACCESS_R, &o), -EKEYREVOKED);
	EXPECT_EQ(mark(r, MC_MARK_SEAL_WRITE, 0, 0), -EKEYREVOKED);
	EXPECT_EQ(mark(r, MC_MARK_PUNCH, 0, LEN), -EKEYREVOKED);
	EXPECT_EQ(revoke_region(r), 0);
	EXPECT_EQ(unpublish(ctx, "revoked", 0), 0);
	EXPECT_EQ(publish(r, "revoked", 0600), -EKEYREVOKED);
	/* System calls that reach for the memory fail like the memory itself. */
	EXPECT_EQ(SYS(write(fileno(tmpfile()), p, 64)), -EFAULT);
}

TEST(revoke_wrong)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	struct mc_ioc_region_revoke by_fd = { .size = sizeof(by_fd), .fd = r }, on_r = { .size = sizeof(on_r), .fd = -1 },
		by_id = { .size = sizeof(by_id), .fd = -1, .id = info(r).id };

#define W(field, v, e) WRONG(mc_ioc_region_revoke, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_REGION_REVOKE, by_fd,
		    W(flags, 1, EINVAL), W(fd, 999, EBADF), W(fd, ctx, EINVAL), W(fd, 0, EINVAL), W(rsv, 1, EINVAL),
		    W(id, by_id.id, EINVAL));
	CHECK_WRONG(r, MC_IOC_REGION_REVOKE, on_r,
		    W(flags, 1, EINVAL), W(fd, r, EINVAL), W(rsv, 1, EINVAL), W(id, by_id.id, EINVAL));
	CHECK_WRONG(ctx, MC_IOC_REGION_REVOKE, by_id,
		    W(id, 0, ENOENT), W(id, by_id.id + 1, ENOENT), W(id, ~0ull, ENOENT));
#undef W
	check_sizes(ctx, MC_IOC_REGION_REVOKE, &by_fd, sizeof(by_fd), -1);
	EXPECT_EQ(info(r).state, 0);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_REVOKE, &by_id)), 0);
	EXPECT_EQ(info(r).state, MC_STATE_REVOKED);
	r = by_fd.fd = region(ctx, LEN, 0);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_REVOKE, &by_fd)), 0);
	EXPECT_EQ(info(r).state, MC_STATE_REVOKED);
}

static void revoke_as_stranger(void *arg)
{
	EXPECT_EQ(revoke_region(*(int *)arg), -EPERM);
}

/* A region's fd gives access to its bytes, not the right to take them from others. */
TEST(revoke_by_fd_holder)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);

	EXPECT_EQ(in_child(1002, revoke_as_stranger, &r), 0);
	EXPECT_EQ(info(r).state, 0);
}

struct load {
	char *p;
	int revoked;
	pthread_barrier_t start;
};

/* Touch pages at random; once REVOKE has returned, none may answer. */
static void *toucher(void *arg)
{
	struct load *l = arg;
	unsigned int seed = (unsigned int)(uintptr_t)&seed;
	int bus = 0, i, sig, revoked;

	pthread_barrier_wait(&l->start);
	for (i = 0; i < 20000 && bus < 100; i++) {
		revoked = __atomic_load_n(&l->revoked, __ATOMIC_SEQ_CST);
		sig = touch(l->p + rand_r(&seed) % LEN, i & 1);
		if (sig && sig != SIGBUS)
			FAIL("signal %d", sig);
		if (!sig && revoked)
			FAIL("a page answers after REVOKE");
		bus += sig != 0;
	}
	return NULL;
}

/* Pages that are there, and pages that are being allocated while the gate closes. */
TEST(revoke_race)
{
	struct load l = { 0 };
	pthread_t t[4];
	int ctx = ctx_open(), round, i;
	struct mc_ioc_region_create a;

	for (round = 0; round < 12; round++) {
		a = CREATE(.length = LEN, .backing = round & 1 ? MC_BACKING_SHMEM : MC_BACKING_AUTO,
			   .flags = round & 2 ? MC_REGION_POPULATE : 0);
		ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), 0);
		l.p = map(a.out_fd, LEN, PROT_READ | PROT_WRITE);
		l.revoked = 0;
		pthread_barrier_init(&l.start, NULL, ARRAY_SIZE(t) + 1);
		for (i = 0; i < (int)ARRAY_SIZE(t); i++)
			pthread_create(&t[i], NULL, toucher, &l);
		pthread_barrier_wait(&l.start);
		EXPECT_EQ(revoke_region(a.out_fd), 0);
		__atomic_store_n(&l.revoked, 1, __ATOMIC_SEQ_CST);
		for (i = 0; i < 64; i++)
			EXPECT_EQ(touch(l.p + i * (LEN / 64), i & 1), SIGBUS);
		for (i = 0; i < (int)ARRAY_SIZE(t); i++)
			pthread_join(t[i], NULL);
		EXPECT_EQ(info(a.out_fd).resident, 0);
		munmap(l.p, LEN);
		close(a.out_fd);
	}
}

/* Who is killed while a large region is freed has ended all access, and somebody else can free the rest. */
TEST(revoke_killed_in_the_middle)
{
	char *last;
	int r = killed_in_the_middle(revoke_region, &last), n;

	EXPECT_EQ(info(r).state, MC_STATE_REVOKED);
	EXPECT_EQ(touch(last, false), SIGBUS);
	EXPECT_EQ(SYS(mmap(NULL, LARGE, PROT_READ, MAP_SHARED, r, 0)), -EKEYREVOKED);
	for (n = 0; n < 2; n++) {
		ASSERT_EQ(revoke_region(r), 0);
		EXPECT_EQ(info(r).resident, 0);
	}
}
