// SPDX-License-Identifier: GPL-2.0-only
/*
 * REGION_IMPORT of device memory by address, from the fake of NVIDIA's driver in mooncake_test.ko: pages of 64 KiB, the
 * owner freeing the memory under devices, and that racing with everything that gives it back.
 */

#include "cq.h"
#include "gpu.h"

#include <pthread.h>

#define PAGE64 65536ull
#define LEN (16 * PAGE64)

static struct mct_p2p p2p(int dev, struct mct_p2p a)
{
	EXPECT_EQ(SYS(ioctl(dev, MCT_P2P, &a)), 0);
	return a;
}

static uint64_t p2p_alloc(int dev)
{
	return p2p(dev, (struct mct_p2p){ .op = MCT_P2P_ALLOC, .length = LEN }).addr;
}

static struct mct_p2p p2p_stat(int dev, uint64_t addr)
{
	return p2p(dev, (struct mct_p2p){ .op = MCT_P2P_STAT, .addr = addr });
}

static struct mc_ioc_region_import p2p_arg(uint64_t addr, uint64_t length)
{
	return (struct mc_ioc_region_import){ .size = sizeof(struct mc_ioc_region_import), .fd = -1, .kind = MC_IMPORT_P2P,
		.offset = addr, .length = length, .cq_fd = -1, .fd_flags = O_RDWR };
}

TEST(valid)
{
	int ctx = ctx_open(), gpu_ = device(), dev = device(), r, fwd, i;
	uint64_t addr = p2p_alloc(gpu_), v;
	char c;

	for (i = 0; i < 3; i++) {
		r = import_region(ctx, p2p_arg(addr + PAGE64, 8 * PAGE64));
		EXPECT_EQ(info(r).backing, MC_BACKING_P2P);
		EXPECT_EQ(info(r).length, 8 * PAGE64);
		EXPECT_EQ(SYS(mmap(NULL, PAGE64, PROT_READ, MAP_SHARED, r, 0)), -EOPNOTSUPP);
		EXPECT_EQ(copy_with(ctx, r, 0, &c, 1, false), -EOPNOTSUPP);
		fwd = export_region(r, 2 * PAGE64, 4 * PAGE64, 0, O_RDWR);
		ASSERT_GE(fwd, 0);
		EXPECT_EQ(SYS(mmap(NULL, PAGE64, PROT_READ, MAP_SHARED, fwd, 0)), -EOPNOTSUPP);
		ASSERT_EQ(dev_attach(dev, fwd, 0, MCT_A_DYNAMIC | MCT_A_P2P), 0);
		p2p(gpu_, (struct mct_p2p){ .op = MCT_P2P_POKE, .addr = addr + 4 * PAGE64 + 8, .value = i });
		EXPECT_EQ(dev_peek(dev, PAGE64 + 8, &v), 0);
		EXPECT_EQ(v, (uint64_t)i);
		EXPECT_EQ(dev_poke(dev, 4 * PAGE64 - 8, 99), 0);
		EXPECT_EQ(p2p(gpu_, (struct mct_p2p){ .op = MCT_P2P_PEEK, .addr = addr + 7 * PAGE64 - 8 }).value, 99);
		close(fwd);
		close(r);
		/* The device keeps it. */
		EXPECT_EQ(dev_peek(dev, PAGE64 + 8, &v), 0);
		EXPECT_EQ(p2p_stat(gpu_, addr).out_persistent, 1);
		close(dev);
		dev = device();
		EXPECT_EQ(p2p_stat(gpu_, addr).out_persistent, 0);
		EXPECT_EQ(p2p_stat(gpu_, addr).out_pins, 0);
	}
	EXPECT_EQ(sysfs_number("regions"), 0);
}

TEST(wrong)
{
	int ctx = ctx_open(), gpu_ = device(), r;
	uint64_t addr = p2p_alloc(gpu_);
	struct mc_ioc_region_import good = p2p_arg(addr, LEN);
	struct mc_ioc_region_export e = { .size = sizeof(e), .fd = -1, .length = PAGE64, .fd_flags = O_RDWR };

#define W(field, v, e) WRONG(mc_ioc_region_import, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_REGION_IMPORT, good,
		    W(flags, 1, EINVAL), W(fd, 0, EINVAL), W(fd, ctx, EINVAL), W(kind, 4, EINVAL), W(offset, 0, EINVAL),
		    W(offset, addr + 4096, EINVAL), W(offset, addr + PAGE64, EINVAL), W(offset, ~0ull - 65535, EINVAL),
		    W(length, 0, EINVAL), W(length, 4096, EINVAL), W(length, LEN + 4096, EINVAL), W(length, LEN + PAGE64, EINVAL),
		    W(user_data, 1, EINVAL), W(cq_fd, 999, EBADF), W(cq_fd, ctx, EINVAL), W(fd_flags, O_WRONLY, EINVAL),
		    W(rsv, 1, EINVAL));
#undef W
	EXPECT_EQ(p2p_stat(gpu_, addr).out_persistent, 0);
	EXPECT_EQ(p2p_stat(gpu_, addr).out_pins, 0);
	r = import_region(ctx, good);
#define W(field, v, e) WRONG(mc_ioc_region_export, field, v, e)
	CHECK_WRONG(r, MC_IOC_REGION_EXPORT, e, W(offset, 4096, EINVAL), W(length, 4096, EINVAL), W(length, LEN + PAGE64, EINVAL));
#undef W
	/* Importers that would look for pages. */
	EXPECT_EQ(dev_attach(device(), export_region(r, 0, LEN, 0, O_RDWR), 0, 0), -EOPNOTSUPP);
	EXPECT_EQ(dev_attach(device(), export_region(r, 0, LEN, 0, O_RDWR), 0, MCT_A_DYNAMIC), -EOPNOTSUPP);
}

/* Each of the two pins failing, and memory that is another process's. */
static void import_foreign(void *arg)
{
	struct mc_ioc_region_import a = p2p_arg(*(uint64_t *)arg, LEN);

	EXPECT_EQ(SYS(ioctl(ctx_open(), MC_IOC_REGION_IMPORT, &a)), -EINVAL);
}

TEST(refusals)
{
	int ctx = ctx_open(), gpu_ = device(), i;
	uint64_t addr = p2p_alloc(gpu_);
	struct mc_ioc_region_import a;

	for (i = 0; i < 2; i++) {
		a = p2p_arg(addr, LEN);
		fail_at(MCT_FAIL_P2P, i, 1, -ENOMEM);
		EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_IMPORT, &a)), -ENOMEM);
		fail_at(MCT_FAIL_P2P, i, 1, -524);
		EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_IMPORT, &a)), -EOPNOTSUPP);
		EXPECT_EQ(p2p_stat(gpu_, addr).out_persistent, 0);
		EXPECT_EQ(p2p_stat(gpu_, addr).out_pins, 0);
	}
	EXPECT_EQ(in_child(0, import_foreign, &addr), 0);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

/* The owner frees it: revoked and reported; devices that can be told let go, and with the last the memory goes. */
TEST(freed)
{
	int ctx = ctx_open(), gpu_ = device(), told = device(), keeps = device(), r, fwd, i;
	uint64_t addr = p2p_alloc(gpu_), v;
	struct cq q = cq_simple(8, MC_CQ_DROP_COUNT);
	struct mc_ioc_region_import a = p2p_arg(addr, LEN);
	uint32_t allocs = p2p_stat(gpu_, addr).out_allocs;
	struct mc_cqe e;

	a.cq_fd = q.fd;
	a.user_data = 5;
	r = import_region(ctx, a);
	fwd = export_region(r, 0, LEN, 0, O_RDWR);
	ASSERT_EQ(dev_attach(told, fwd, 0, MCT_A_DYNAMIC | MCT_A_P2P), 0);
	ASSERT_EQ(dev_attach(keeps, fwd, 0, MCT_A_KEEP | MCT_A_P2P), 0);
	EXPECT_EQ(dev_poke(keeps, 0, 77), 0);
	p2p(gpu_, (struct mct_p2p){ .op = MCT_P2P_FREE, .addr = addr });
	EXPECT_EQ(wait_cq(q.fd, 1, now_ns() + 10000000000ull, 0), 1);
	ASSERT_EQ(take(&q, &e), true);
	EXPECT_EQ(e.user_data, 5);
	EXPECT_EQ(e.res, MC_EV_REVOKED);
	EXPECT_EQ(info(r).state, MC_STATE_REVOKED);
	EXPECT_EQ(dev_stat(told).mapped, 0);
	EXPECT_EQ(SYS(ioctl(told, MCT_REMAP)), -EKEYREVOKED);
	EXPECT_EQ(info(r).pinned, LEN);
	EXPECT_EQ(dev_peek(keeps, 0, &v), 0);
	EXPECT_EQ(v, 77);
	EXPECT_EQ(p2p_stat(gpu_, addr).out_allocs, allocs);
	EXPECT_EQ(export_region(r, 0, LEN, 0, O_RDWR), -EKEYREVOKED);
	close(keeps);
	EXPECT_EQ(info(r).pinned, 0);
	/* The module's worker gives it back after it has told us, so perhaps now. */
	for (i = 0; i < 1000 && p2p_stat(gpu_, addr).out_allocs == allocs; i++)
		usleep(10000);
	EXPECT_EQ(p2p_stat(gpu_, addr).out_allocs, allocs - 1);
}

TEST(revoked_by_us)
{
	int ctx = ctx_open(), gpu_ = device(), r;
	uint64_t addr = p2p_alloc(gpu_);

	r = import_region(ctx, p2p_arg(addr, LEN));
	EXPECT_EQ(p2p_stat(gpu_, addr).out_pins, 1);
	EXPECT_EQ(revoke_region(r), 0);
	EXPECT_EQ(p2p_stat(gpu_, addr).out_pins, 0);
	EXPECT_EQ(p2p_stat(gpu_, addr).out_persistent, 0);
	p2p(gpu_, (struct mct_p2p){ .op = MCT_P2P_FREE, .addr = addr });
	EXPECT_EQ(revoke_region(r), 0);
}

/* The callback on its way while the region goes, in every order and with a delay in between. */
struct race {
	int gpu, r;
	uint64_t addr;
	uint32_t delay;
};

static void *race_free(void *arg)
{
	struct race *c = arg;

	p2p(c->gpu, (struct mct_p2p){ .op = MCT_P2P_FREE, .addr = c->addr, .delay_us = c->delay });
	return NULL;
}

static void *race_attach(void *arg)
{
	struct race *c = arg;
	int dev = device(), fwd = export_region(c->r, 0, LEN, 0, O_RDWR);
	uint64_t v;

	if (fwd >= 0 && !dev_attach(dev, fwd, 0, MCT_A_DYNAMIC | MCT_A_P2P))
		dev_peek(dev, 0, &v);
	if (fwd >= 0)
		close(fwd);
	close(dev);
	return NULL;
}

TEST(free_races)
{
	int ctx = ctx_open(), gpu_ = device(), i;
	uint32_t before = p2p_stat(gpu_, 0).out_callbacks;
	pthread_t t[2];
	struct race c;

	for (i = 0; i < 120; i++) {
		c = (struct race){ .gpu = gpu_, .addr = p2p_alloc(gpu_), .delay = i % 4 * 300 };
		c.r = import_region(ctx, p2p_arg(c.addr, LEN));
		pthread_create(&t[0], NULL, race_free, &c);
		pthread_create(&t[1], NULL, race_attach, &c);
		if (i % 3 == 1)
			usleep(i % 7 * 100);
		if (i % 2)
			revoke_region(c.r);
		if (i % 5)
			pthread_join(t[1], NULL);
		close(c.r);
		pthread_join(t[0], NULL);
		if (!(i % 5))
			pthread_join(t[1], NULL);
	}
	EXPECT_EQ(p2p_stat(gpu_, 0).out_allocs, 0);
	EXPECT_GE(p2p_stat(gpu_, 0).out_callbacks, before);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

static void die_with_it(void *arg)
{
	int ctx = ctx_open(), gpu_ = device(), dev = device();
	int r = import_region(ctx, p2p_arg(p2p_alloc(gpu_), LEN));

	(void)arg;
	dev_attach(dev, export_region(r, 0, LEN, 0, O_RDWR), 0, MCT_A_KEEP | MCT_A_P2P);
	kill(getpid(), SIGKILL);
}

TEST(killed)
{
	int gpu_ = device();

	EXPECT_EQ(in_child(0, die_with_it, NULL), 128 + SIGKILL);
	EXPECT_EQ(p2p_stat(gpu_, 0).out_allocs, 0);
	EXPECT_EQ(sysfs_number("regions"), 0);
}
