// SPDX-License-Identifier: GPL-2.0-only
/* REGION_CREATE: sizes, pages, nodes. */

#include "harness.h"

static const struct mc_ioc_region_create good = { .size = sizeof(good), .length = 4 * MIB, .node = -1, .memfd = -1,
	.fd_flags = O_RDWR };

static struct mc_ioc_region_create create(int ctx, struct mc_ioc_region_create a)
{
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), 0);
	return a;
}

TEST(create_valid)
{
	int ctx = ctx_open();
	struct mc_ioc_region_create a = create(ctx, good), b = create(ctx, good);
	struct mc_ioc_region_info i = info(a.out_fd);

	EXPECT_NE(a.out_id, b.out_id);
	EXPECT_NE(a.out_fd, b.out_fd);
	EXPECT_EQ(i.id, a.out_id);
	EXPECT_EQ(i.length, good.length);
	EXPECT_EQ(i.resident, 0);
	EXPECT_EQ(i.nr_fds, 1);
	EXPECT_EQ(i.state, 0);
	EXPECT_EQ(fcntl(a.out_fd, F_GETFD), 0);
	EXPECT_EQ(sysfs_number("regions"), 2);
	EXPECT_EQ(sysfs_number("bytes_allocated"), 8 * MIB);
	close(a.out_fd);
	close(b.out_fd);
	EXPECT_EQ(sysfs_number("regions"), 0);
	EXPECT_EQ(sysfs_number("bytes_allocated"), 0);
}

TEST(create_wrong)
{
	int ctx = ctx_open(), r = region(ctx, 4096, 0);

#define W(field, v, e) WRONG(mc_ioc_region_create, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_REGION_CREATE, good,
		    W(flags, 0x20, EINVAL), W(flags, 0x80000000, EINVAL), W(flags, MC_REGION_PURGEABLE, EOPNOTSUPP),
		    W(flags, MC_REGION_NOHUGE_FALLBACK, EINVAL),
		    W(length, 0, EINVAL), W(length, 1, EINVAL), W(length, 4097, EINVAL), W(length, ~0ull, EINVAL),
		    W(length, ~0ull - 4095, EINVAL), W(length, 1ull << 63, EINVAL), W(length, 1ull << 50, ENOMEM),
		    W(backing, 4, EINVAL), W(backing, ~0, EINVAL), W(backing, MC_BACKING_POOL, EOPNOTSUPP),
		    W(page_shift, 1, EINVAL), W(page_shift, 13, EINVAL), W(page_shift, 64, EINVAL),
		    W(page_shift, 30, EOPNOTSUPP),
		    W(node, -2, EINVAL), W(node, 2, EINVAL), W(node, 1024, EINVAL), W(node, 0x7fffffff, EINVAL),
		    W(memfd, 0, EINVAL), W(memfd, -2, EINVAL),
		    W(align, 3, EINVAL), W(align, 4 * MIB, EINVAL), W(align, 1ull << 63, EINVAL),
		    W(fd_flags, O_WRONLY, EINVAL), W(fd_flags, O_RDWR | O_NONBLOCK, EINVAL),
		    W(fd_flags, O_ACCMODE, EINVAL), W(fd_flags, 0x80000000, EINVAL));
#undef W
	check_sizes(ctx, MC_IOC_REGION_CREATE, &good, sizeof(good), r);
}

/* Fields that contradict each other. */
TEST(create_contradictions)
{
	int ctx = ctx_open();
	struct mc_ioc_region_create bad[] = {
		CREATE(.length = 4 * MIB, .backing = MC_BACKING_SHMEM, .page_shift = 21),
		CREATE(.length = 4 * MIB, .backing = MC_BACKING_SHMEM_HUGE, .page_shift = 12),
		CREATE(.length = 3 * MIB, .page_shift = 21),
		CREATE(.length = 3 * MIB, .align = 2 * MIB),
		CREATE(.length = 4 * MIB, .backing = MC_BACKING_SHMEM,
		       .flags = MC_REGION_POPULATE | MC_REGION_NOHUGE_FALLBACK),
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		if (SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &bad[i])) != -EINVAL)
			FAIL("contradiction %zu is taken", i);
}

TEST(populate_huge)
{
	int ctx = ctx_open();
	struct mc_ioc_region_create a = CREATE(.length = 8 * MIB, .page_shift = 21,
					       .flags = MC_REGION_POPULATE | MC_REGION_NOHUGE_FALLBACK);
	struct mc_ioc_region_info i;

	if (!has_huge(ctx)) {
		EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), -EOPNOTSUPP);
		skip("no huge pages on this kernel");
	}
	a = create(ctx, a);
	i = info(a.out_fd);
	EXPECT_EQ(i.backing, MC_BACKING_SHMEM_HUGE);
	EXPECT_EQ(i.resident, 8 * MIB);
	EXPECT_EQ(i.huge, 8 * MIB);
	EXPECT_EQ(i.pinned, 0);
}

/* A region's tail below a huge page does not take a whole one, nor does a small region. */
TEST(populate_tail)
{
	int ctx = ctx_open(), small = region(ctx, 4096, MC_REGION_POPULATE);
	int r = region(ctx, 2 * MIB + 8192, MC_REGION_POPULATE);

	EXPECT_EQ(info(small).resident, 4096);
	EXPECT_EQ(info(r).resident, 2 * MIB + 8192);
	EXPECT_EQ(info(r).huge, has_huge(ctx) ? 2 * MIB : 0);
}

TEST(small_pages)
{
	int ctx = ctx_open();
	struct mc_ioc_region_create a = create(ctx, CREATE(.length = 4 * MIB, .backing = MC_BACKING_SHMEM,
							   .flags = MC_REGION_POPULATE));

	EXPECT_EQ(info(a.out_fd).resident, 4 * MIB);
	EXPECT_EQ(info(a.out_fd).huge, 0);
	EXPECT_EQ(info(a.out_fd).page_shift, 12);
}

static bool two_nodes(void)
{
	return !access("/sys/devices/system/node/node1", F_OK);
}

/* How many KiB of the mapping at @p lie on @node. */
static long kb_on_node(const void *p, int node)
{
	char line[512], key[8], *at;
	unsigned long from;
	long n = 0, unit = 4;
	FILE *f = fopen("/proc/self/numa_maps", "r");

	snprintf(key, sizeof(key), " N%d=", node);
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx", &from) != 1 || from != (unsigned long)p)
			continue;
		at = strstr(line, key);
		n = at ? strtol(at + 4, NULL, 10) : 0;
		at = strstr(line, "kernelpagesize_kB=");
		unit = at ? strtol(at + 18, NULL, 10) : unit;
	}
	if (f)
		fclose(f);
	return n * unit;
}

TEST(node)
{
	const long length = 8 * MIB;
	struct mc_ioc_region_create a;
	int ctx = ctx_open(), n, pass;
	char *p;

	if (!two_nodes())
		skip("one node only");
	/* Populated by the module, and by a page fault of this task, wherever it runs. */
	for (pass = 0; pass < 2; pass++) {
		for (n = 0; n < 2; n++) {
			a = create(ctx, CREATE(.length = length, .node = n, .flags = pass ? MC_REGION_POPULATE : 0));
			EXPECT_EQ(info(a.out_fd).node, n);
			p = map(a.out_fd, length, PROT_READ | PROT_WRITE);
			memset(p, 1, length);
			EXPECT_EQ(kb_on_node(p, n), length / 1024);
			EXPECT_EQ(kb_on_node(p, !n), 0);
			munmap(p, length);
			close(a.out_fd);
		}
	}
}

/* More than a node has is ENOMEM, kills nobody and leaves nothing. */
TEST(node_full)
{
	int ctx = ctx_open();
	struct mc_ioc_region_create a = CREATE(.length = 1024 * MIB, .node = 1, .flags = MC_REGION_POPULATE);

	if (!two_nodes())
		skip("one node only");
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), -ENOMEM);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

/* What it wipes nobody can look at; that it ends, for any size and state, one can. */
TEST(zero_on_free)
{
	int ctx = ctx_open(), r = region(ctx, 6 * MIB, MC_REGION_ZERO_ON_FREE | MC_REGION_POPULATE);

	memset(map(r, 6 * MIB, PROT_READ | PROT_WRITE), 1, 6 * MIB);
	close(r);
	close(region(ctx, 6 * MIB, MC_REGION_ZERO_ON_FREE));
	r = region(ctx, 6 * MIB, MC_REGION_ZERO_ON_FREE | MC_REGION_POPULATE);
	EXPECT_EQ(revoke_region(r), 0);
}

TEST(out_of_fds)
{
	struct mc_ioc_region_create a = good;
	int ctx = ctx_open();

	while (dup(0) >= 0)
		;
	EXPECT_EQ(errno, EMFILE);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), -EMFILE);
	close(0);
	EXPECT_EQ(sysfs_number("regions"), 0);
}
