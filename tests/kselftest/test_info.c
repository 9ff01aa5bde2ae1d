// SPDX-License-Identifier: GPL-2.0-only
/* REGION_INFO: by fd, by id, one after the other; fdinfo and sysfs. */

#include "harness.h"

#define LEN (64 * 1024)

TEST(info_wrong)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	struct mc_ioc_region_info by_fd = { .size = sizeof(by_fd), .fd = r }, on_r = { .size = sizeof(on_r), .fd = -1 },
		by_id = { .size = sizeof(by_id), .fd = -1, .id = info(r).id };

#define W(field, v, e) WRONG(mc_ioc_region_info, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_REGION_INFO, by_fd,
		    W(flags, 1, EINVAL), W(flags, 2, EINVAL), W(fd, 999, EBADF), W(fd, -2, EBADF), W(fd, 0, EINVAL),
		    W(fd, ctx, EINVAL), W(id, 1, EINVAL), W(name_len, 8, EINVAL), W(rsv, 1, EINVAL));
	CHECK_WRONG(r, MC_IOC_REGION_INFO, on_r,
		    W(flags, 1, EINVAL), W(fd, r, EINVAL), W(id, 1, EINVAL), W(name_len, 1, EINVAL), W(rsv, 1, EINVAL));
	CHECK_WRONG(ctx, MC_IOC_REGION_INFO, by_id,
		    W(id, 0, ENOENT), W(id, by_id.id + 1, ENOENT), W(id, ~0ull, ENOENT), W(flags, 4, EINVAL));
#undef W
	check_sizes(ctx, MC_IOC_REGION_INFO, &by_fd, sizeof(by_fd), -1);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_INFO, &by_fd)), 0);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_INFO, &by_id)), 0);
	EXPECT_EQ(by_id.length, LEN);
	EXPECT_EQ(by_id.owner_pid, getpid());
	EXPECT_EQ(by_id.uid, 0);
}

TEST(info_name_buffer)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK);
	char got[8] = "#######";
	struct mc_ioc_region_info a = { .size = sizeof(a), .fd = -1, .name = UPTR(got), .name_len = 3 };

	ASSERT_EQ(publish(r, "long-name", 0600), 0);
	EXPECT_EQ(SYS(ioctl(r, MC_IOC_REGION_INFO, &a)), 0);
	EXPECT_EQ(a.name_len, 9);
	EXPECT_EQ(strcmp(got, "lon####"), 0);
	a = (struct mc_ioc_region_info){ .size = sizeof(a), .fd = -1, .name = 8, .name_len = 9 };
	EXPECT_EQ(SYS(ioctl(r, MC_IOC_REGION_INFO, &a)), -EFAULT);
	unpublish(ctx, "long-name", 0);
}

TEST(info_next)
{
	int ctx = ctx_open(), r[3], n = 0, i;
	struct mc_ioc_region_info a = { .size = sizeof(a), .flags = MC_INFO_NEXT, .fd = -1 };
	uint64_t last = 0;

	for (i = 0; i < 3; i++)
		r[i] = region(ctx, LEN * (i + 1), 0);
	close(r[1]);
	while (!SYS(ioctl(ctx, MC_IOC_REGION_INFO, &a))) {
		CHECK(a.id, >, last, exit(1));
		last = a.id;
		EXPECT_EQ(a.length, n ? 3 * LEN : LEN);
		n++;
	}
	EXPECT_EQ(errno, ENOENT);
	EXPECT_EQ(n, 2);
	a.id = ~0ull;
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_INFO, &a)), -ENOENT);
}

TEST(info_pinned)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_POPULATE);

	EXPECT_EQ(info(r).resident, LEN);
	EXPECT_EQ(info(r).pinned, 0);
	EXPECT_EQ(info(r).gen, 0);
}

TEST(fdinfo)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0), seen = 0;
	char path[64], line[128];
	unsigned long long n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", r);
	f = fopen(path, "r");
	ASSERT_EQ(!f, 0);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "mc-length: %llu", &n) == 1)
			seen += n == LEN;
		if (sscanf(line, "mc-id: %llu", &n) == 1)
			seen += n == info(r).id;
	}
	fclose(f);
	EXPECT_EQ(seen, 2);
}

TEST(sysfs)
{
	EXPECT_EQ(sysfs_number("abi_version"), 0);
	EXPECT_GE(sysfs_number("quota_default"), MIB);
	EXPECT_EQ(sysfs_number("regions"), 0);
}
