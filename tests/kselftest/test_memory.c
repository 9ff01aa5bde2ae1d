// SPDX-License-Identifier: GPL-2.0-only
/* Who pays for memory, what a limit does, and how a lot of it goes. */

#include "harness.h"

#include <sys/mount.h>

#define CG "/run/mc-cgroup"

static bool put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

	close(fd);
	return ok;
}

static long long get(const char *path)
{
	long long n = -1;
	FILE *f = fopen(path, "r");

	if (f) {
		if (fscanf(f, "%lld", &n) != 1)
			n = -1;
		fclose(f);
	}
	return n;
}

static void cgroup_make(const char *limit)
{
	mkdir(CG, 0700);
	if (mount("none", CG, "cgroup2", 0, NULL) && errno != EBUSY)
		skip("no cgroup2");
	if (!put(CG "/cgroup.subtree_control", "+memory"))
		skip("no memory controller");
	mkdir(CG "/t", 0700);
	ASSERT_EQ(put(CG "/t/memory.max", limit), 1);
}

static void cgroup_remove(void)
{
	int i;

	for (i = 0; i < 200 && rmdir(CG "/t"); i++)
		usleep(10000);
	umount(CG);
}

static void populate_charged(void *arg)
{
	int ctx = ctx_open();

	(void)arg;
	ASSERT_EQ(put(CG "/t/cgroup.procs", "0"), 1);
	close(region(ctx, 4 * MIB, 0));
	region(ctx, 32 * MIB, MC_REGION_POPULATE);
	EXPECT_GE(get(CG "/t/memory.current"), 32 * MIB);
	EXPECT_LE(get(CG "/t/memory.current"), 48 * MIB);
}

TEST(cgroup_charged)
{
	cgroup_make("max");
	EXPECT_EQ(in_child(0, populate_charged, NULL), 0);
	EXPECT_LE(get(CG "/t/memory.current"), 4 * MIB);
	cgroup_remove();
}

static void make_rings(void *arg)
{
	struct mc_ioc_cq_create a = { .size = sizeof(a), .entries = 65536, .eventfd = -1, .fd_flags = O_RDWR };
	int ctx = ctx_open(), i;

	(void)arg;
	ASSERT_EQ(put(CG "/t/cgroup.procs", "0"), 1);
	for (i = 0; i < 8; i++)
		ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_CQ_CREATE, &a)), 0);
	EXPECT_GE(get(CG "/t/memory.current"), 16 * MIB);
}

TEST(cgroup_charged_for_rings)
{
	cgroup_make("max");
	EXPECT_EQ(in_child(0, make_rings, NULL), 0);
	EXPECT_LE(get(CG "/t/memory.current"), 4 * MIB);
	cgroup_remove();
}

static void make_too_many_rings(void *arg)
{
	struct mc_ioc_cq_create a = { .size = sizeof(a), .entries = 65536, .eventfd = -1, .fd_flags = O_RDWR };
	int ctx = ctx_open(), i;
	long ret = 0;

	(void)arg;
	ASSERT_EQ(put(CG "/t/cgroup.procs", "0"), 1);
	for (i = 0; i < 16 && !ret; i++)
		ret = SYS(ioctl(ctx, MC_IOC_CQ_CREATE, &a));
	EXPECT_EQ(ret, -ENOMEM);
}

/* Over the limit there is no ring, and again nobody is killed. */
TEST(cgroup_limit_for_rings)
{
	cgroup_make("16M");
	EXPECT_EQ(in_child(0, make_too_many_rings, NULL), 0);
	cgroup_remove();
}

static void populate_too_much(void *arg)
{
	struct mc_ioc_region_create a = CREATE(.length = 64 * MIB, .flags = MC_REGION_POPULATE);
	int ctx = ctx_open();

	(void)arg;
	ASSERT_EQ(put(CG "/t/cgroup.procs", "0"), 1);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), -ENOMEM);
	EXPECT_EQ(sysfs_number("regions"), 0);
	close(region(ctx, 4 * MIB, MC_REGION_POPULATE));
}

/* Over the group's limit the call fails; nobody is killed for it. */
TEST(cgroup_limit)
{
	cgroup_make("24M");
	EXPECT_EQ(in_child(0, populate_too_much, NULL), 0);
	cgroup_remove();
}

#define THREADS "/sys/module/mooncake/parameters/populate_threads"

static void populate_charged_threads(void *arg)
{
	int ctx = ctx_open();

	(void)arg;
	ASSERT_EQ(put(CG "/t/cgroup.procs", "0"), 1);
	region(ctx, 192 * MIB, MC_REGION_POPULATE);
	EXPECT_GE(get(CG "/t/memory.current"), 192 * MIB);
}

/* Threads of the kernel fill it, who asked for it pays. */
TEST(cgroup_charged_for_threads)
{
	cgroup_make("max");
	ASSERT_EQ(put(THREADS, "3"), 1);
	EXPECT_EQ(in_child(0, populate_charged_threads, NULL), 0);
	put(THREADS, "0");
	EXPECT_LE(get(CG "/t/memory.current"), 4 * MIB);
	cgroup_remove();
}

static void populate_too_much_threads(void *arg)
{
	struct mc_ioc_region_create a = CREATE(.length = 192 * MIB, .flags = MC_REGION_POPULATE, .node = 0);
	int ctx = ctx_open();

	(void)arg;
	ASSERT_EQ(put(CG "/t/cgroup.procs", "0"), 1);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), -ENOMEM);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

TEST(cgroup_limit_for_threads)
{
	cgroup_make("100M");
	ASSERT_EQ(put(THREADS, "3"), 1);
	EXPECT_EQ(in_child(0, populate_too_much_threads, NULL), 0);
	put(THREADS, "0");
	EXPECT_LE(get(CG "/t/memory.current"), 4 * MIB);
	cgroup_remove();
}

/* Whole, in order and on the node asked for, however many threads there were. */
TEST(populate_threads)
{
	struct mc_ioc_region_create a = CREATE(.length = 200 * MIB, .flags = MC_REGION_POPULATE);
	static const char *const n[] = { "1", "2", "16", "99" };
	int ctx = ctx_open();
	size_t i;

	for (i = 0; i < ARRAY_SIZE(n); i++) {
		ASSERT_EQ(put(THREADS, n[i]), 1);
		a.node = i & 1 ? 0 : -1;
		ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), 0);
		EXPECT_EQ(info(a.out_fd).resident, a.length);
		if (has_huge(ctx))
			EXPECT_EQ(info(a.out_fd).huge, a.length);
		close(a.out_fd);
	}
	put(THREADS, "0");
	EXPECT_EQ(sysfs_number("regions"), 0);
}

/* Killed while threads work: the call ends at once and nothing is left. */
TEST(populate_killed)
{
	struct mc_ioc_region_create a = CREATE(.length = 384 * MIB, .backing = MC_BACKING_SHMEM, .node = 0,
					       .flags = MC_REGION_POPULATE);
	int ctx = ctx_open(), i, status;
	pid_t pid;

	ASSERT_EQ(put(THREADS, "4"), 1);
	for (i = 0; i < 4; i++) {
		pid = fork();
		if (!pid)
			_exit(ioctl(ctx, MC_IOC_REGION_CREATE, &a) != 0);
		while (sysfs_number("regions") == 0 && waitpid(pid, &status, WNOHANG) == 0)
			usleep(1000);
		usleep(i * 20000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		EXPECT_EQ(sysfs_number("regions"), 0);
	}
	put(THREADS, "0");
}

/* What processors keep for themselves is free but does not count as that; since Linux 6.7 it may be an eighth of a zone. */
static long long kept_kb(int only_node)
{
	int node = -1, count;
	long long pages = 0;
	char line[128];
	FILE *f = fopen("/proc/zoneinfo", "r");

	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "Node %d", &node);
		if ((only_node < 0 || node == only_node) && sscanf(line, " count: %d", &count) == 1)
			pages += count;
	}
	if (f)
		fclose(f);
	return pages * 4;
}

static long long mem_available_kb(void)
{
	return number_in("/proc/meminfo", "MemAvailable: %lld") + kept_kb(-1);
}

static long long node_free_kb(int node)
{
	char path[64];
	long long kb;

	/* What files left in memory does not count. */
	put("/proc/sys/vm/drop_caches", "3");
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
	kb = number_in(path, "Node %*d MemFree: %lld");
	return kb < 0 ? kb : kb + kept_kb(node);
}

/* More than the node has, while another has plenty: refused, nobody is killed for it, everything comes back. */
TEST(node_full)
{
	struct mc_ioc_region_create a = CREATE(.flags = MC_REGION_POPULATE, .node = 1);
	long long before = node_free_kb(1);
	int ctx = ctx_open(), i;

	if (before < 0)
		skip("one node");
	a.length = (before * 1024 + 256 * MIB) & ~(2 * MIB - 1);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), -ENOMEM);
	EXPECT_EQ(sysfs_number("regions"), 0);
	for (i = 0; i < 200 && node_free_kb(1) < before - 64 * 1024; i++)
		usleep(10000);
	EXPECT_GE(node_free_kb(1), before - 64 * 1024);
}

/* Three processes share what the machine can give, in small pages, and are killed together. */
TEST(kill_large)
{
	long long before = mem_available_kb();
	uint64_t length = before * 1024 / 2 & ~(2 * MIB - 1);
	struct mc_ioc_region_create a = CREATE(.length = length, .backing = MC_BACKING_SHMEM,
					       .flags = MC_REGION_POPULATE);
	int ctx = ctx_open(), up[2], i, status;
	pid_t pid[3];
	size_t n;
	char *p, c;

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), 0);
	ASSERT_EQ(SYS(pipe(up)), 0);
	for (i = 0; i < 3; i++) {
		pid[i] = fork();
		if (pid[i])
			continue;
		p = map(a.out_fd, length, PROT_READ | PROT_WRITE);
		for (n = 0; n < length; n += 4096 * 16)
			p[n] = 1;
		if (write(up[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	for (i = 0; i < 3; i++)
		ASSERT_EQ(SYS(read(up[0], &c, 1)), 1);
	close(a.out_fd);
	for (i = 0; i < 3; i++)
		kill(pid[i], SIGKILL);
	for (i = 0; i < 3; i++)
		waitpid(pid[i], &status, 0);
	for (i = 0; i < 500 && sysfs_number("regions"); i++)
		usleep(10000);
	EXPECT_EQ(sysfs_number("regions"), 0);
	for (i = 0; i < 200 && mem_available_kb() < before - 32 * 1024; i++)
		usleep(10000);
	EXPECT_GE(mem_available_kb(), before - 32 * 1024);
}
