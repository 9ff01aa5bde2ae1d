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

static long long mem_available_kb(void)
{
	char line[128];
	long long kb = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %lld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
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
