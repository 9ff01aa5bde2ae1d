// SPDX-License-Identifier: GPL-2.0-only
/* COPY between regions, pinned memory and the caller: against memcpy, with every field wrong, with the ground moving. */

#include "harness.h"

#include <pthread.h>

#define LEN (4 * MIB)

static struct mc_sge user(const void *p, uint64_t n)
{
	return (struct mc_sge){ .kind = MC_SGE_USER, .fd = -1, .addr = UPTR(p), .length = n };
}

static struct mc_sge in_region(int fd, uint64_t offset, uint64_t n)
{
	return (struct mc_sge){ .kind = MC_SGE_REGION, .fd = fd, .addr = offset, .length = n };
}

static struct mc_ioc_copy copy_arg(const struct mc_copy_vec *v, uint32_t nr)
{
	return (struct mc_ioc_copy){ .size = sizeof(struct mc_ioc_copy), .vec = UPTR(v), .nr = nr, .cq_fd = -1 };
}

static long copy_one(int ctx, struct mc_sge src, struct mc_sge dst)
{
	struct mc_copy_vec v = { src, dst };
	struct mc_ioc_copy a = copy_arg(&v, 1);
	long ret = SYS(ioctl(ctx, MC_IOC_COPY, &a));

	return ret ? ret : a.out_error ? a.out_error : (long)a.out_bytes;
}

static char *fill(size_t n, unsigned int seed)
{
	char *p = malloc(n);
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = rand_r(&seed);
	return p;
}

/* Random splits through two regions, one of them of pinned memory, must give what memcpy gives. */
TEST(copy_like_memcpy)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	char *model = calloc(1, LEN), *data = fill(LEN, 1), *back = malloc(LEN), *pinned;
	struct mc_ioc_region_pin pin = { .size = sizeof(pin), .length = LEN, .fd_flags = O_RDWR };
	unsigned int seed = 7, i;

	pinned = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pin.addr = UPTR(pinned);
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_PIN, &pin)), 0);
	for (i = 0; i < 200; i++) {
		uint64_t n = 1 + rand_r(&seed) % (i % 4 ? 9000 : 200000), from = rand_r(&seed) % (LEN - n),
			 to = rand_r(&seed) % (LEN - n);

		memcpy(model + to, data + from, n);
		if (i & 1) {
			ASSERT_EQ(copy_one(ctx, user(data + from, n), in_region(r, to, n)), n);
		} else {
			memcpy(pinned + from, data + from, n);
			ASSERT_EQ(copy_one(ctx, in_region(pin.out_fd, from, n), in_region(r, to, n)), n);
		}
	}
	ASSERT_EQ(copy_one(ctx, in_region(r, 0, LEN), user(back, LEN)), LEN);
	EXPECT_EQ(memcmp(back, model, LEN), 0);
	EXPECT_EQ(memcmp(map(r, LEN, PROT_READ), model, LEN), 0);
	ASSERT_EQ(copy_one(ctx, in_region(r, 0, LEN), in_region(pin.out_fd, 0, LEN)), LEN);
	EXPECT_EQ(memcmp(pinned, model, LEN), 0);
}

TEST(copy_batch)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0), i;
	struct mc_copy_vec v[1024];
	struct mc_ioc_copy a = copy_arg(v, 1024);
	uint64_t in[1024];
	char *p = map(r, LEN, PROT_READ);

	for (i = 0; i < 1024; i++) {
		in[i] = i;
		v[i] = (struct mc_copy_vec){ user(&in[i], 8), in_region(r, i * 4096, 8) };
	}
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_COPY, &a)), 0);
	EXPECT_EQ(a.out_bytes, 8192);
	EXPECT_EQ(a.out_index, -1);
	EXPECT_EQ(a.out_error, 0);
	for (i = 0; i < 1024; i++)
		EXPECT_EQ(*(uint64_t *)(p + i * 4096), i);
}

TEST(copy_wrong)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	char buf[64] = "";
	struct mc_copy_vec v = { user(buf, 64), in_region(r, 0, 64) };
	struct mc_ioc_copy good = copy_arg(&v, 1);

#define W(field, v, e) WRONG(mc_ioc_copy, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_COPY, good,
		    W(flags, 0x10, EINVAL), W(flags, 0x80000000, EINVAL), W(flags, MC_COPY_ASYNC, EOPNOTSUPP),
		    W(flags, MC_COPY_PER_ELEMENT_CQE, EOPNOTSUPP), W(vec, 0, EFAULT), W(vec, 16, EFAULT),
		    W(nr, 0, EINVAL), W(nr, 1025, E2BIG), W(nr, ~0, E2BIG), W(cq_fd, 0, EINVAL), W(user_data, 1, EINVAL));
#undef W
	check_sizes(ctx, MC_IOC_COPY, &good, sizeof(good), r);
	good.flags = MC_COPY_DMA_HINT | MC_COPY_NOCACHE;
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_COPY, &good)), 0);
}

/* Each field of an element, on either side; nothing may move. */
TEST(copy_wrong_element)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0), sealed = region(ctx, LEN, 0), gone = region(ctx, LEN, 0);
	struct mc_ioc_region_create ro = CREATE(.length = LEN, .fd_flags = O_RDONLY);
	char *buf = fill(8192, 3), *p = map(r, LEN, PROT_READ);
	struct mc_sge u = user(buf, 64), g = in_region(r, 0, 64), bad;
	uint64_t far_off = sizeof(void *) == 8 ? ~0ull - 4095 : 0xfffff000;

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &ro)), 0);
	ASSERT_EQ(mark(sealed, MC_MARK_SEAL_WRITE, 0, 0), 0);
	ASSERT_EQ(revoke_region(gone), 0);
#define DST(err, ...) bad = g; __VA_ARGS__; EXPECT_EQ(copy_one(ctx, u, bad), -(err))
#define SRC(err, ...) bad = u; __VA_ARGS__; EXPECT_EQ(copy_one(ctx, bad, g), -(err))
	DST(EINVAL, bad.kind = 0);
	DST(EINVAL, bad.kind = 4);
	DST(EOPNOTSUPP, bad.kind = MC_SGE_COOKIE);
	DST(EINVAL, bad = user(buf + 4096, 64));
	DST(EBADF, bad.fd = -1);
	DST(EBADF, bad.fd = 999);
	DST(EINVAL, bad.fd = 0);
	DST(EINVAL, bad.fd = ctx);
	DST(EACCES, bad.fd = ro.out_fd);
	DST(EACCES, bad.fd = sealed);
	DST(EKEYREVOKED, bad.fd = gone);
	DST(EINVAL, bad.addr = LEN - 63);
	DST(EINVAL, bad.addr = LEN);
	DST(EINVAL, bad.addr = ~0ull);
	DST(EINVAL, bad.length = 63);
	DST(EINVAL, bad.length = 0);
	DST(EINVAL, bad.cookie[0] = 1);
	DST(EINVAL, bad.cookie[1] = 1);
	SRC(EINVAL, bad.fd = 0);
	SRC(EFAULT, bad.addr = 0);
	SRC(EFAULT, bad.addr = far_off);
	SRC(EINVAL, bad.length = 65);
	SRC(EINVAL, bad.cookie[1] = 1);
	SRC(EINVAL, bad = in_region(r, 63, 64));
	SRC(EKEYREVOKED, bad = in_region(gone, 0, 64));
	/* Reading what may be read. */
	EXPECT_EQ(copy_one(ctx, in_region(ro.out_fd, 0, 64), g), 64);
	EXPECT_EQ(copy_one(ctx, in_region(sealed, 0, 64), g), 64);
	EXPECT_EQ(copy_one(ctx, in_region(r, 64, 64), g), 64);
	for (int i = 0; i < 128; i++)
		EXPECT_EQ(p[i], 0);
	/* All of nothing: the second element is wrong, so the first does not move either. */
	struct mc_copy_vec v[2] = { { u, g }, { u, in_region(gone, 0, 64) } };
	struct mc_ioc_copy a = copy_arg(v, 2);

	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_COPY, &a)), -EKEYREVOKED);
	EXPECT_EQ(p[0], 0);
}

/* The caller's memory ends in the middle: what was copied is told. */
TEST(copy_partial)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	char *u = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct mc_copy_vec v[2] = { { user(u, 100), in_region(r, 0, 100) }, { user(u, 8192), in_region(r, 4096, 8192) } };
	struct mc_ioc_copy a = copy_arg(v, 2);
	char *p = map(r, LEN, PROT_READ);

	memset(u, 1, 4096);
	munmap(u + 4096, 4096);
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_COPY, &a)), 0);
	EXPECT_EQ(a.out_bytes, 4196);
	EXPECT_EQ(a.out_index, 1);
	EXPECT_EQ(a.out_error, -EFAULT);
	EXPECT_EQ(p[8191], 1);
	EXPECT_EQ(p[8192], 0);
	a = copy_arg(&(struct mc_copy_vec){ in_region(r, 0, 8192), user(u + 100, 8192) }, 1);
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_COPY, &a)), 0);
	EXPECT_EQ(a.out_error, -EFAULT);
	EXPECT_LE(a.out_bytes, 3996);
}

/* To and from a mapping of the same region: both sides take the same faults. */
TEST(copy_own_mapping)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);

	strcpy(p, "own");
	EXPECT_EQ(copy_one(ctx, user(p, 2 * MIB), in_region(r, 2 * MIB, 2 * MIB)), 2 * MIB);
	EXPECT_EQ(strcmp(p + 2 * MIB, "own"), 0);
	EXPECT_EQ(revoke_region(r), 0);
	EXPECT_EQ(copy_one(ctx, user(p, 64), in_region(region(ctx, LEN, 0), 0, 64)), -EFAULT);
}

static void *copier(void *arg)
{
	int *fd = arg, ctx = ctx_open();
	char *buf = fill(MIB, 5);
	struct mc_copy_vec v[2] = { { user(buf, MIB), in_region(*fd, 0, MIB) },
				    { in_region(*fd, 0, MIB), in_region(*fd, 2 * MIB, MIB) } };
	long ret = 0;

	for (;;) {
		struct mc_ioc_copy a = copy_arg(v, 2);

		ret = SYS(ioctl(ctx, MC_IOC_COPY, &a));
		if (!ret)
			ret = a.out_error;
		if (ret)
			break;
	}
	if (ret != -EKEYREVOKED)
		FAIL("copying ended with %ld", ret);
	return NULL;
}

/* Holes are made under running copies, then the region is revoked: nothing comes back into it. */
TEST(copy_race)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0), i;
	pthread_t t[3];

	for (i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, copier, &r);
	for (i = 0; i < 10; i++) {
		EXPECT_EQ(mark(r, MC_MARK_PUNCH, i % 2 * 2 * MIB, 2 * MIB), 0);
	}
	EXPECT_EQ(revoke_region(r), 0);
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}
