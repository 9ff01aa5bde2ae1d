// SPDX-License-Identifier: GPL-2.0-only
/* REGION_IMPORT of hugetlb memfds, on kernels where a module can pin them: copied and exported, not mapped. */

#include "gpu.h"

#define HUGE_LEN (2 * MIB)
#define LEN (4 * HUGE_LEN)

static void reserve(int pages)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "w");

	if (!f || fprintf(f, "%d", pages) < 0 || fclose(f))
		skip("no hugetlb pages to be had");
}

static int hugetlb(int seals)
{
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_ALLOW_SEALING);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(SYS(ftruncate(fd, LEN)), 0);
	if (seals)
		ASSERT_EQ(SYS(fcntl(fd, F_ADD_SEALS, seals)), 0);
	return fd;
}

static struct mc_ioc_region_import import_arg(int fd)
{
	return (struct mc_ioc_region_import){ .size = sizeof(struct mc_ioc_region_import), .fd = fd,
		.kind = MC_IMPORT_MEMFD, .length = LEN, .cq_fd = -1, .fd_flags = O_RDWR };
}

/* A context, or the test is over: the kernel says by the feature bit and by the error that it cannot. */
static int can_import(void)
{
	struct mc_ioc_query q = { .size = sizeof(q) };
	struct mc_ioc_region_import a;
	int ctx = ctx_open();

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_QUERY, &q)), 0);
	if (q.features[0] >> MC_FEAT_IMPORT_HUGETLB & 1) {
		reserve(8);
		if (number_in("/proc/meminfo", "HugePages_Free: %lld") < 4)
			skip("no hugetlb pages to be had");
		return ctx;
	}
	reserve(8);
	a = import_arg(hugetlb(F_SEAL_SHRINK));
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_IMPORT, &a)), -EOPNOTSUPP);
	reserve(0);
	if (failed)
		exit(1);
	skip("this kernel cannot pin hugetlb memfds");
}

TEST(valid)
{
	int ctx = can_import(), fd = hugetlb(F_SEAL_SHRINK), r, buf, dev;
	struct mc_ioc_region_import a = import_arg(fd);
	char *own = map(fd, LEN, PROT_READ | PROT_WRITE), c[64] = "into it";
	struct mct_verify v;

	/* Neither end on a huge page. */
	a.offset = HUGE_LEN - 8192;
	a.length = 2 * HUGE_LEN;
	strcpy(own + HUGE_LEN, "from hugetlb");
	r = import_region(ctx, a);
	EXPECT_EQ(info(r).backing, MC_BACKING_MEMFD);
	EXPECT_EQ(info(r).page_shift, 21);
	EXPECT_EQ(info(r).resident, 2 * HUGE_LEN);
	EXPECT_EQ(info(r).pinned, 2 * HUGE_LEN);
	EXPECT_EQ(sysfs_number("bytes_allocated"), 2 * HUGE_LEN);
	EXPECT_EQ(copy_with(ctx, r, 2 * HUGE_LEN - 64, c, 64, true), 0);
	EXPECT_EQ(strcmp(own + 3 * HUGE_LEN - 8192 - 64, "into it"), 0);
	EXPECT_EQ(copy_with(ctx, r, 8192, c, 64, false), 0);
	EXPECT_EQ(strcmp(c, "from hugetlb"), 0);
	EXPECT_EQ(SYS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, r, 0)), -ENODEV);
	EXPECT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)), -EBUSY);
	buf = export_region(r, 4096, 2 * HUGE_LEN - 4096, 0, O_RDWR);
	ASSERT_GE(buf, 0);
	dev = device();
	ASSERT_EQ(dev_attach(dev, buf, 0, MCT_A_DYNAMIC), 0);
	v = (struct mct_verify){ UPTR(own + HUGE_LEN - 4096), 0, HUGE_LEN + 8192 };
	EXPECT_EQ(SYS(ioctl(dev, MCT_VERIFY, &v)), 0);
	EXPECT_EQ(revoke_region(r), 0);
	EXPECT_EQ(info(r).pinned, 0);
	EXPECT_EQ(copy_with(ctx, r, 0, c, 1, false), -EKEYREVOKED);
	close(dev);
	close(buf);
	close(r);
	munmap(own, LEN);
	close(fd);
	EXPECT_EQ(sysfs_number("regions"), 0);
	EXPECT_EQ(number_in("/proc/meminfo", "HugePages_Free: %lld"), number_in("/proc/meminfo", "HugePages_Total: %lld"));
	reserve(0);
	EXPECT_EQ(number_in("/proc/meminfo", "HugePages_Total: %lld"), 0);
}

TEST(wrong)
{
	int ctx = can_import(), fd = hugetlb(F_SEAL_SHRINK);
	struct mc_ioc_region_import good = import_arg(fd);
	char ro[64];

	snprintf(ro, sizeof(ro), "/proc/self/fd/%d", fd);
#define W(field, v, e) WRONG(mc_ioc_region_import, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_REGION_IMPORT, good,
		    W(fd, hugetlb(0), EINVAL), W(fd, hugetlb(F_SEAL_SHRINK | F_SEAL_WRITE), EACCES),
		    W(fd, hugetlb(F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE), EACCES), W(fd, open(ro, O_RDONLY), EACCES),
		    W(length, LEN + 4096, EINVAL), W(offset, 4096, EINVAL), W(kind, MC_IMPORT_DMABUF, EINVAL));
#undef W
	EXPECT_EQ(number_in("/proc/meminfo", "HugePages_Free: %lld"), number_in("/proc/meminfo", "HugePages_Total: %lld"));
}

/* More than there is: ENOMEM, and what was had is given back. Sealed afterwards where nothing of ours writes. */
TEST(too_much)
{
	int ctx = can_import(), fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_ALLOW_SEALING), r;
	struct mc_ioc_region_import a = import_arg(fd);
	long total = number_in("/proc/meminfo", "HugePages_Total: %lld");

	ASSERT_EQ(SYS(ftruncate(fd, (total + 4) * HUGE_LEN)), 0);
	ASSERT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)), 0);
	a.length = (total + 4) * HUGE_LEN;
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_IMPORT, &a)), -ENOMEM);
	EXPECT_EQ(sysfs_number("regions"), 0);
	a.length = HUGE_LEN;
	a.fd_flags = O_RDONLY;
	r = import_region(ctx, a);
	EXPECT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)) <= 0, 1);
	close(r);
	EXPECT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)), 0);
	close(fd);
	EXPECT_EQ(number_in("/proc/meminfo", "HugePages_Free: %lld"), total);
}

/* More than anybody has memory to list the pages of: no warning. A file may be as long as that and empty. */
TEST(too_much_to_list)
{
	int ctx = can_import(), fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_ALLOW_SEALING);
	struct mc_ioc_region_import a = import_arg(fd);

	a.length = 2ull << 40;
	if (ftruncate(fd, a.length))
		skip("no file as long as that");
	ASSERT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)), 0);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_IMPORT, &a)), -ENOMEM);
	EXPECT_EQ(sysfs_number("regions"), 0);
}
