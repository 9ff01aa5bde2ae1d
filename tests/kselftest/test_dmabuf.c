// SPDX-License-Identifier: GPL-2.0-only
/* REGION_IMPORT of dma-bufs: what can be done with one, by kind of exporter, and what happens when he takes it back. */

#include "cq.h"
#include "gpu.h"

#include <pthread.h>
#include <sys/syscall.h>

#define LEN (1 * MIB)

static int import_gpu(int ctx, int buf)
{
	return import_region(ctx, dmabuf_arg(buf, LEN));
}

TEST(valid)
{
	int ctx = ctx_open(), buf = gpu(MCT_G_MMAP, LEN, O_RDWR), r;
	struct mc_ioc_region_import a = dmabuf_arg(buf, LEN / 2);
	long used = sysfs_number("bytes_allocated");
	uint64_t word = 7;
	char *p;

	a.offset = LEN / 4;
	a.flags = MC_REGION_PERSIST_OK;
	r = import_region(ctx, a);
	EXPECT_EQ(info(r).backing, MC_BACKING_DMABUF);
	EXPECT_EQ(info(r).length, LEN / 2);
	EXPECT_EQ(info(r).resident, LEN / 2);
	EXPECT_EQ(info(r).pinned, 0);
	EXPECT_EQ(sysfs_number("bytes_allocated"), used);
	gpu_poke(buf, LEN / 4 + 8, 42);
	p = map(r, LEN / 2, PROT_READ | PROT_WRITE);
	EXPECT_EQ(info(r).nr_vmas, 1);
	EXPECT_EQ(*(uint64_t *)(p + 8), 42);
	*(uint64_t *)(p + LEN / 2 - 8) = 43;
	EXPECT_EQ(gpu_peek(buf, LEN / 4 * 3 - 8), 43);
	EXPECT_EQ(copy_with(ctx, r, 4096, &word, 8, true), -EOPNOTSUPP);
	EXPECT_EQ(copy_with(ctx, r, 8, &word, 8, false), -EOPNOTSUPP);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ, MAP_SHARED, r, 0)), -EINVAL);
	EXPECT_EQ(SYS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, r, 0)), -EINVAL);
	EXPECT_EQ(mark(r, MC_MARK_PUNCH, 0, 4096), -EOPNOTSUPP);
	EXPECT_EQ(mark(r, MC_MARK_SEAL_WRITE, 0, 0), -EOPNOTSUPP);
	/* Mapping and name outlive descriptors. */
	ASSERT_EQ(publish(r, "gpu-buffer", 0600), 0);
	close(r);
	close(buf);
	EXPECT_EQ(*(uint64_t *)(p + 8), 42);
	EXPECT_EQ(unpublish(ctx, "gpu-buffer", 0), 0);
	EXPECT_EQ(sysfs_number("regions"), 1);
	EXPECT_EQ(SYS(syscall(SYS_delete_module, "mooncake", O_NONBLOCK)), -EAGAIN);
	munmap(p, LEN / 2);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

TEST(wrong)
{
	int ctx = ctx_open(), buf = gpu(MCT_G_DYNAMIC, LEN, O_RDWR), ro = gpu(0, LEN, O_RDONLY), r = region(ctx, LEN, 0);
	int plain = import_gpu(ctx, gpu(MCT_G_DYNAMIC, LEN, O_RDWR)), forward = export_region(plain, 0, LEN, 0, O_RDWR);
	struct mc_ioc_region_import good = dmabuf_arg(buf, LEN);
	struct cq keeps = cq_simple(4, MC_CQ_RESERVE);

	ASSERT_GE(forward, 0);
#define W(field, v, e) WRONG(mc_ioc_region_import, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_REGION_IMPORT, good,
		    W(flags, 1, EINVAL), W(flags, 0x80000000, EINVAL), W(fd, -1, EBADF), W(fd, 999, EBADF),
		    W(fd, ctx, EINVAL), W(fd, r, EINVAL), W(fd, ro, EACCES), W(fd, forward, ELOOP),
		    W(kind, 0, EINVAL), W(kind, 4, EINVAL), W(kind, MC_IMPORT_MEMFD, EINVAL), W(offset, 1, EINVAL),
		    W(offset, 4096, EINVAL), W(offset, ~0ull - 4095, EINVAL), W(length, 0, EINVAL), W(length, 1, EINVAL),
		    W(length, LEN + 4096, EINVAL), W(length, ~0ull - 4095, EINVAL), W(user_data, 1, EINVAL),
		    W(cq_fd, 999, EBADF), W(cq_fd, -2, EBADF), W(cq_fd, buf, EINVAL), W(cq_fd, keeps.fd, EINVAL),
		    W(fd_flags, O_WRONLY, EINVAL), W(fd_flags, O_RDWR | O_NONBLOCK, EINVAL), W(rsv, 1, EINVAL));
#undef W
	check_sizes(ctx, MC_IOC_REGION_IMPORT, &good, sizeof(good), r);
	EXPECT_EQ(gpu_op(buf, MCT_OP_STAT, 0).out_pins, 0);
}

/* What an exporter refuses is his word; nothing is left behind. */
TEST(exporter_refuses)
{
	int ctx = ctx_open(), buf = gpu(MCT_G_DYNAMIC | MCT_G_MMAP, LEN, O_RDWR), r;
	struct mc_ioc_region_import a = dmabuf_arg(buf, LEN);

	fail_at(MCT_FAIL_ATTACH, 0, 1, -ENOMEM);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_IMPORT, &a)), -ENOMEM);
	EXPECT_EQ(sysfs_number("regions"), 0);
	r = import_gpu(ctx, buf);
	fail_at(MCT_FAIL_MMAP, 0, 1, -EAGAIN);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ, MAP_SHARED, r, 0)), -EAGAIN);
	EXPECT_EQ(info(r).nr_vmas, 0);
	EXPECT_EQ(gpu_op(buf, MCT_OP_STAT, 0).out_vmas, 0);
	close(r);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

/* System memory without CPU access: neither mapping nor copy, but export. */
TEST(no_cpu)
{
	const uint32_t kinds[] = { 0, MCT_G_DYNAMIC };
	int ctx = ctx_open(), buf, r, dev, fwd;
	uint64_t v;
	size_t i;
	char c;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		buf = gpu(kinds[i], LEN, O_RDWR);
		r = import_gpu(ctx, buf);
		dev = device();
		EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ, MAP_SHARED, r, 0)), -EOPNOTSUPP);
		EXPECT_EQ(copy_with(ctx, r, 0, &c, 1, false), -EOPNOTSUPP);
		EXPECT_EQ(copy_with(ctx, r, 0, &c, 1, true), -EOPNOTSUPP);
		fwd = export_region(r, 0, LEN, 0, O_RDWR);
		ASSERT_GE(fwd, 0);
		gpu_poke(buf, 16, 5);
		ASSERT_EQ(dev_attach(dev, fwd, 0, 0), 0);
		EXPECT_EQ(dev_peek(dev, 16, &v), 0);
		EXPECT_EQ(v, 5);
		close(dev);
		close(fwd);
		close(r);
		close(buf);
	}
	EXPECT_EQ(sysfs_number("regions"), 0);
}

/* One who fills mappings at once and never moves anything can be mapped; who moves cannot. */
TEST(filled_at_mmap)
{
	int ctx = ctx_open(), buf = gpu(MCT_G_MMAP_ALL, LEN, O_RDWR), r = import_gpu(ctx, buf), moves;
	char *p = map(r, LEN, PROT_READ | PROT_WRITE), *theirs = map(buf, LEN, PROT_READ | PROT_WRITE);

	p[5] = 1;
	EXPECT_EQ(theirs[5], 1);
	moves = import_gpu(ctx, gpu(MCT_G_MMAP_ALL | MCT_G_DYNAMIC, LEN, O_RDWR));
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ, MAP_SHARED, moves, 0)), -EOPNOTSUPP);
	EXPECT_EQ(revoke_region(r), 0);
	EXPECT_EQ(touch(p + 5, false), SIGBUS);
	EXPECT_EQ(touch(p + LEN - 1, true), SIGBUS);
	/* The exporter's other users are not concerned. */
	EXPECT_EQ(touch(theirs + 5, true), 0);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ, MAP_SHARED, r, 0)), -EKEYREVOKED);
	EXPECT_EQ(info(r).resident, 0);
	munmap(p, LEN);
	close(r);
	close(moves);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

/* Ours is revoked: our mappings end, the exporter's own go on; the buffer is given back. */
TEST(revoke_ours)
{
	const uint32_t kinds[] = { MCT_G_MMAP, MCT_G_MMAP_PFN, MCT_G_MMAP | MCT_G_DYNAMIC, MCT_G_MMAP_PFN | MCT_G_DYNAMIC };
	int ctx = ctx_open(), buf, r;
	char *p, *theirs, c;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		buf = gpu(kinds[i], LEN, O_RDWR);
		r = import_gpu(ctx, buf);
		p = map(r, LEN, PROT_READ | PROT_WRITE);
		theirs = map(buf, LEN, PROT_READ | PROT_WRITE);
		memset(p, 3, LEN);
		EXPECT_EQ(theirs[LEN - 1], 3);
		EXPECT_EQ(gpu_op(buf, MCT_OP_STAT, 0).out_vmas, 2);
		EXPECT_EQ(revoke_region(r), 0);
		EXPECT_EQ(touch(p, false), SIGBUS);
		EXPECT_EQ(touch(p + LEN - 1, true), SIGBUS);
		EXPECT_EQ(touch(theirs, true), 0);
		EXPECT_EQ(theirs[LEN - 1], 3);
		EXPECT_EQ(copy_with(ctx, r, 0, &c, 1, false), -EKEYREVOKED);
		EXPECT_EQ(export_region(r, 0, LEN, 0, O_RDWR), -EKEYREVOKED);
		EXPECT_EQ(revoke_region(r), 0);
		munmap(p, LEN / 2);
		munmap(p + LEN / 2, LEN / 2);
		munmap(theirs, LEN);
		EXPECT_EQ(gpu_op(buf, MCT_OP_STAT, 0).out_vmas, 0);
		close(r);
		close(buf);
	}
	EXPECT_EQ(sysfs_number("regions"), 0);
}

/* The exporter moves the memory: nobody notices. */
TEST(moves)
{
	int ctx = ctx_open(), buf = gpu(MCT_G_DYNAMIC | MCT_G_MMAP_PFN, LEN, O_RDWR), r = import_gpu(ctx, buf);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);
	int i;

	for (i = 0; i < 50; i++) {
		p[4096 * i] = i;
		gpu_op(buf, MCT_OP_MOVE, 4);
		EXPECT_EQ(p[4096 * i], i);
		EXPECT_EQ(gpu_peek(buf, 4096 * i), (uint64_t)i);
	}
	EXPECT_EQ(info(r).state, 0);
}

/* He takes it back: REVOKED, mappings end, the queue is told once and so are subscribers. */
TEST(exporter_revokes)
{
	int ctx = ctx_open(), buf = gpu(MCT_G_DYNAMIC | MCT_G_MMAP, LEN, O_RDWR), r;
	struct cq q = cq_simple(8, MC_CQ_DROP_COUNT), all = cq_simple(8, MC_CQ_DROP_COUNT);
	struct mc_ioc_events ev = { .size = sizeof(ev), .cq_fd = all.fd, .mask = MC_EVENT_REGION, .user_data = 77 };
	struct mc_ioc_region_import a = dmabuf_arg(buf, LEN);
	struct mc_cqe e;
	uint64_t id;
	char *p, c;

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_EVENTS, &ev)), 0);
	a.cq_fd = q.fd;
	a.user_data = 0x1234;
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_IMPORT, &a)), 0);
	r = a.out_fd;
	id = a.out_id;
	p = map(r, LEN, PROT_READ | PROT_WRITE);
	memset(p, 1, LEN);
	gpu_op(buf, MCT_OP_REVOKE, 0);
	EXPECT_EQ(wait_cq(q.fd, 1, now_ns() + 10000000000ull, 0), 1);
	ASSERT_EQ(take(&q, &e), true);
	EXPECT_EQ(e.type, MC_CQE_REGION);
	EXPECT_EQ(e.res, MC_EV_REVOKED);
	EXPECT_EQ(e.user_data, 0x1234);
	EXPECT_EQ(e.data, id);
	EXPECT_EQ(wait_cq(all.fd, 1, now_ns() + 10000000000ull, 0), 1);
	ASSERT_EQ(take(&all, &e), true);
	EXPECT_EQ(e.user_data, 77);
	EXPECT_EQ(e.data, id);
	EXPECT_EQ(info(r).state, MC_STATE_REVOKED);
	EXPECT_EQ(touch(p, false), SIGBUS);
	EXPECT_EQ(copy_with(ctx, r, 0, &c, 1, false), -EKEYREVOKED);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ, MAP_SHARED, r, 0)), -EKEYREVOKED);
	EXPECT_EQ(export_region(r, 0, LEN, 0, O_RDWR), -EKEYREVOKED);
	EXPECT_EQ(revoke_region(r), 0);
	EXPECT_EQ(take(&q, &e), false);
	close(r);
	munmap(p, LEN);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

/* Whether it is a move or the end is found by asking; an exporter who cannot say just then is asked again. */
TEST(no_answer)
{
	const int errs[] = { -ENOMEM, -EAGAIN, -EBUSY };
	int ctx = ctx_open(), buf = gpu(MCT_G_DYNAMIC, LEN, O_RDWR), r = import_gpu(ctx, buf);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(errs); i++) {
		fail_at(MCT_FAIL_MAP, 0, 3, errs[i]);
		gpu_op(buf, MCT_OP_MOVE, 1);
	}
	usleep(20000);
	EXPECT_EQ(info(r).state, 0);
	fail_at(MCT_FAIL_PIN, 0, 2, -ENOMEM);
	gpu_op(buf, MCT_OP_REVOKE, 0);
	wait_revoked(r);
}

/* A storm of notices while everything else goes on; then the end. */
static int storm_ctx, storm_buf, storm_region;
static volatile bool storm_stop;

static void *storm_moves(void *arg)
{
	(void)arg;
	while (!storm_stop)
		gpu_op(storm_buf, MCT_OP_MOVE, 20);
	return NULL;
}

static void *storm_touches(void *arg)
{
	volatile char *p = arg;
	unsigned int i = 0;

	while (!storm_stop)
		i++, touch(p + 4096 * (i % (LEN / 4096)), i & 1);
	return NULL;
}

static void *storm_exports(void *arg)
{
	unsigned int n = 0;
	uint64_t v;
	long ret;
	int dev;

	(void)arg;
	while (!storm_stop) {
		ret = export_region(storm_region, 0, LEN, 0, O_RDWR);
		if (ret < 0) {
			EXPECT_EQ(ret, -EKEYREVOKED);
			continue;
		}
		dev = device();
		if (!dev_attach(dev, ret, 0, n++ & 1 ? MCT_A_DYNAMIC : 0))
			dev_peek(dev, 0, &v);
		close(ret);
		close(dev);
	}
	return NULL;
}

static void *storm_maps(void *arg)
{
	void *p;

	(void)arg;
	while (!storm_stop) {
		p = mmap(NULL, LEN, PROT_READ, MAP_SHARED, storm_region, 0);
		if (p != MAP_FAILED) {
			touch((char *)p + 8192, false);
			munmap(p, LEN);
		}
	}
	return NULL;
}

static void storm(uint32_t flags, bool ours)
{
	void *(*const fns[])(void *) = { storm_moves, storm_touches, storm_exports, storm_maps };
	pthread_t t[ARRAY_SIZE(fns)];
	size_t i;
	char *p;

	storm_ctx = ctx_open();
	storm_buf = gpu(flags, LEN, O_RDWR);
	storm_region = import_gpu(storm_ctx, storm_buf);
	storm_stop = false;
	p = map(storm_region, LEN, PROT_READ | PROT_WRITE);
	for (i = 0; i < ARRAY_SIZE(fns); i++)
		pthread_create(&t[i], NULL, fns[i], p);
	usleep(300000);
	if (ours)
		EXPECT_EQ(revoke_region(storm_region), 0);
	else
		gpu_op(storm_buf, MCT_OP_REVOKE, 0);
	wait_revoked(storm_region);
	storm_stop = true;
	for (i = 0; i < ARRAY_SIZE(fns); i++)
		pthread_join(t[i], NULL);
	while (touch(p, false) != SIGBUS)
		sched_yield();
	for (i = 0; i < LEN; i += 4096)
		EXPECT_EQ(touch(p + i, false), SIGBUS);
	munmap(p, LEN);
	close(storm_region);
	close(storm_buf);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

TEST(storm_revoked_by_exporter)
{
	storm(MCT_G_DYNAMIC | MCT_G_MMAP, false);
	storm(MCT_G_DYNAMIC | MCT_G_MMAP_PFN, false);
}

TEST(storm_revoked_by_us)
{
	storm(MCT_G_DYNAMIC | MCT_G_MMAP, true);
	storm(MCT_G_MMAP_ALL, true);
}

static void *move_on(void *arg)
{
	while (!storm_stop)
		gpu_op(*(int *)arg, MCT_OP_MOVE, 20);
	return NULL;
}

/* The notice of a move is on its way when the region lets go of what moved. */
TEST(let_go_while_it_moves)
{
	int ctx = ctx_open(), buf = gpu(MCT_G_DYNAMIC, 65536, O_RDWR), i, r;
	struct mc_ioc_region_import a = dmabuf_arg(buf, 65536);
	pthread_t t;

	storm_stop = false;
	pthread_create(&t, NULL, move_on, &buf);
	for (i = 0; i < 200; i++) {
		r = import_region(ctx, a);
		if (i & 1)
			EXPECT_EQ(revoke_region(r), 0);
		close(r);
	}
	storm_stop = true;
	pthread_join(t, NULL);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

/* Importing what is being revoked: an answer either way, nothing left. */
static void *revoke_soon(void *arg)
{
	gpu_op(*(int *)arg, MCT_OP_REVOKE, 0);
	return NULL;
}

TEST(import_while_revoked)
{
	int ctx = ctx_open(), i, buf;
	struct mc_ioc_region_import a;
	pthread_t t;
	long ret;

	for (i = 0; i < 40; i++) {
		buf = gpu(MCT_G_DYNAMIC, 65536, O_RDWR);
		pthread_create(&t, NULL, revoke_soon, &buf);
		a = dmabuf_arg(buf, 65536);
		ret = SYS(ioctl(ctx, MC_IOC_REGION_IMPORT, &a));
		EXPECT_EQ(ret, 0);
		pthread_join(t, NULL);
		/* After the notice an attachment of ours is told; before it there is nothing to tell, and maps fail. */
		if (!ret && i & 1)
			close(a.out_fd);
		close(buf);
		if (!ret && !(i & 1))
			close(a.out_fd);
	}
	EXPECT_EQ(sysfs_number("regions"), 0);
}

static void use_in_child(void *arg)
{
	char *p = arg;

	EXPECT_EQ(touch(p, true), 0);
	p[1] = 9;
	munmap(p, LEN / 2);
	EXPECT_EQ(touch(p + LEN - 1, true), 0);
}

/* Mappings and descriptors in children. */
TEST(fork_and_exit)
{
	int ctx = ctx_open(), buf = gpu(MCT_G_DYNAMIC | MCT_G_MMAP, LEN, O_RDWR), r = import_gpu(ctx, buf), i;
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);

	p[0] = 1;
	for (i = 0; i < 4; i++)
		EXPECT_EQ(in_child(0, use_in_child, p), 0);
	EXPECT_EQ(p[1], 9);
	EXPECT_EQ(info(r).nr_vmas, 1);
	EXPECT_EQ(gpu_op(buf, MCT_OP_STAT, 0).out_vmas, 1);
	p = mremap(p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, (char *)p + 64 * LEN);
	EXPECT_EQ(p[1], 9);
	EXPECT_EQ(SYS(mremap(p, LEN, 2 * LEN, MREMAP_MAYMOVE)), -EFAULT);
	revoke_region(r);
	EXPECT_EQ(touch(p, false), SIGBUS);
}

static void die_with_it(void *arg)
{
	int ctx = ctx_open(), r = import_gpu(ctx, *(int *)arg);

	touch(map(r, LEN, PROT_READ), false);
	export_region(r, 0, LEN, 0, O_RDWR);
	kill(getpid(), SIGKILL);
}

TEST(killed)
{
	int buf = gpu(MCT_G_DYNAMIC | MCT_G_MMAP, LEN, O_RDWR);

	EXPECT_EQ(in_child(0, die_with_it, &buf), 128 + SIGKILL);
	EXPECT_EQ(sysfs_number("regions"), 0);
	EXPECT_EQ(gpu_op(buf, MCT_OP_STAT, 0).out_vmas, 0);
}

/* Read-only all the way. */
TEST(read_only)
{
	int ctx = ctx_open(), r, fwd;
	struct mc_ioc_region_import a = dmabuf_arg(gpu(MCT_G_MMAP, LEN, O_RDONLY), LEN);
	char *p, c = 0;

	a.fd_flags = O_RDONLY;
	r = import_region(ctx, a);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, r, 0)), -EACCES);
	p = map(r, LEN, PROT_READ);
	EXPECT_EQ(p[0], 0);
	EXPECT_EQ(SYS(mprotect(p, LEN, PROT_READ | PROT_WRITE)), -EACCES);
	EXPECT_EQ(copy_with(ctx, r, 0, &c, 1, true), -EACCES);
	EXPECT_EQ(copy_with(ctx, r, 0, &c, 1, false), -EOPNOTSUPP);
	EXPECT_EQ(export_region(r, 0, LEN, 0, O_RDONLY), -EACCES);
	fwd = export_region(r, 0, LEN, MC_EXPORT_RDONLY, O_RDONLY);
	ASSERT_GE(fwd, 0);
	EXPECT_EQ(dev_attach(device(), fwd, 0, 0), -EACCES);
	EXPECT_EQ(dev_attach(device(), fwd, 1, 0), 0);
}

/* Our own dma-buf, imported back: two regions of the same pages. */
TEST(loop)
{
	int ctx = ctx_open(), inner = region(ctx, LEN, 0), buf, r, fwd, dev = device();
	char *p = map(inner, LEN, PROT_READ | PROT_WRITE), *q;
	uint64_t v;

	buf = export_region(inner, 0, LEN, 0, O_RDWR);
	ASSERT_GE(buf, 0);
	r = import_gpu(ctx, buf);
	q = map(r, LEN, PROT_READ | PROT_WRITE);
	strcpy(p + 4096, "loop");
	EXPECT_EQ(strcmp(q + 4096, "loop"), 0);
	fwd = export_region(r, 4096, 8192, 0, O_RDWR);
	ASSERT_GE(fwd, 0);
	ASSERT_EQ(dev_attach(dev, fwd, 0, MCT_A_DYNAMIC), 0);
	EXPECT_EQ(dev_peek(dev, 0, &v), 0);
	EXPECT_EQ(memcmp(&v, "loop", 5), 0);
	EXPECT_EQ(revoke_region(inner), 0);
	wait_revoked(r);
	/* The state is the first thing that changes. */
	while (touch(q, false) != SIGBUS)
		sched_yield();
	EXPECT_EQ(dev_stat(dev).mapped, 0);
	EXPECT_GE(dev_stat(dev).moves, 1);
	EXPECT_EQ(SYS(ioctl(dev, MCT_REMAP)), -EKEYREVOKED);
}
