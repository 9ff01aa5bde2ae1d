// SPDX-License-Identifier: GPL-2.0-only
/* Mapping a region, and everything one can do to a mapping. */

#include "harness.h"

#include <sys/syscall.h>
#include <sys/uio.h>

#define LEN (4 * MIB)

TEST(map_valid)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	char *a = map(r, LEN, PROT_READ | PROT_WRITE), *b = map(r, LEN, PROT_READ);
	size_t i;

	for (i = 0; i < LEN; i += 4096)
		EXPECT_EQ(a[i], 0);
	memset(a, 0x5a, LEN);
	EXPECT_EQ(memcmp(a, b, LEN), 0);
	EXPECT_EQ(info(r).nr_vmas, 2);
	EXPECT_EQ(info(r).resident, LEN);
	munmap(a, LEN);
	munmap(b, LEN);
	EXPECT_EQ(info(r).nr_vmas, 0);
}

TEST(map_wrong)
{
	struct { size_t len; int prot, flags; off_t off; int err; } w[] = {
		{ LEN, PROT_READ, MAP_PRIVATE, 0, EINVAL },
		{ LEN + 4096, PROT_READ, MAP_SHARED, 0, EINVAL },
		{ 4096, PROT_READ, MAP_SHARED, LEN, EINVAL },
		{ 8192, PROT_READ, MAP_SHARED, LEN - 4096, EINVAL },
		{ LEN, PROT_READ, MAP_SHARED, 4096, EINVAL },
		{ 4096, PROT_READ, MAP_SHARED, 1ll << 40, EINVAL },
		{ 4096, PROT_READ | PROT_EXEC, MAP_SHARED, 0, EACCES },
	};
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(w); i++) {
		if (mmap(NULL, w[i].len, w[i].prot, w[i].flags, r, w[i].off) != MAP_FAILED)
			FAIL("mapping %zu succeeds", i);
		else if (errno != w[i].err && !(w[i].prot & PROT_EXEC && errno == EPERM))
			FAIL("mapping %zu: %s", i, strerror(errno));
	}
	EXPECT_EQ(info(r).nr_vmas, 0);
	EXPECT_EQ(SYS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, ctx, 0)), -ENODEV);
}

/* A read-only fd gives a mapping nothing can make writable. */
TEST(map_read_only)
{
	int ctx = ctx_open();
	struct mc_ioc_region_create a = CREATE(.length = LEN, .fd_flags = O_RDONLY);
	char *p;

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), 0);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, a.out_fd, 0)), -EACCES);
	p = map(a.out_fd, LEN, PROT_READ);
	EXPECT_EQ(p[0], 0);
	EXPECT_EQ(SYS(mprotect(p, LEN, PROT_READ | PROT_WRITE)), -EACCES);
	EXPECT_EQ(SYS(mprotect(p, LEN, PROT_READ | PROT_EXEC)), -EACCES);
	EXPECT_EQ(SYS(syscall(SYS_remap_file_pages, p, 4096, 0, 1, 0)), -EINVAL);
	EXPECT_EQ(touch(p, true), SIGSEGV);
	EXPECT_EQ(touch(p, false), 0);
}

TEST(no_way_round)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0), fd;
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);
	char path[64];

	memset(p, 1, LEN);
	EXPECT_EQ(SYS(madvise(p, LEN, MADV_REMOVE)), -EOPNOTSUPP);
	/* Would map the mapping's file, which is not the region's. */
	EXPECT_EQ(SYS(syscall(SYS_remap_file_pages, p, 4096, 0, 1, 0)), -ENODEV);
	EXPECT_EQ(SYS(fallocate(r, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096)) < 0, 1);
	EXPECT_EQ(SYS(ftruncate(r, 0)) < 0, 1);
	EXPECT_EQ(SYS(read(r, path, 1)) < 0, 1);
	EXPECT_EQ(SYS(write(r, path, 1)) < 0, 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", r);
	EXPECT_EQ(SYS(open(path, O_RDWR)), -ENXIO);
	/* Root can open the memory file itself, and gets nothing out of it. */
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (long)p, (long)(p + LEN));
	fd = open(path, O_RDWR);
	if (fd >= 0) {
		EXPECT_EQ(SYS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0)), -ENODEV);
		EXPECT_EQ(SYS(ftruncate(fd, 0)), -EPERM);
		EXPECT_EQ(SYS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096)), -EOPNOTSUPP);
		EXPECT_EQ(SYS(pread(fd, path, 1, 0)) < 0, 1);
		EXPECT_EQ(SYS(pwrite(fd, path, 1, 0)) < 0, 1);
		close(fd);
	}
	EXPECT_EQ(p[0], 1);
	EXPECT_EQ(info(r).resident, LEN);
}

/* Whatever advice is given, the bytes stay. */
TEST(madvise_all)
{
	const int advice[] = { MADV_DONTNEED, MADV_FREE, MADV_WILLNEED, MADV_PAGEOUT, MADV_COLD, MADV_HUGEPAGE,
			       MADV_NOHUGEPAGE, MADV_DONTFORK, MADV_DOFORK, MADV_MERGEABLE, MADV_WIPEONFORK, MADV_DODUMP };
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);
	size_t i, n;

	memset(p, 7, LEN);
	for (i = 0; i < ARRAY_SIZE(advice); i++)
		madvise(p, LEN, advice[i]);
	for (n = 0; n < LEN; n += 512)
		ASSERT_EQ(p[n], 7);
	EXPECT_EQ(SYS(msync(p, LEN, MS_SYNC)), 0);
	EXPECT_EQ(info(r).resident, LEN);
}

TEST(mremap_split_merge)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE), *q;

	memset(p, 9, LEN);
	EXPECT_EQ(SYS(mremap(p, LEN, 2 * LEN, MREMAP_MAYMOVE)) < 0, 1);
	/* Three mappings out of one, then fewer. */
	ASSERT_EQ(SYS(mprotect(p + MIB, MIB, PROT_READ)), 0);
	EXPECT_EQ(info(r).nr_vmas, 3);
	munmap(p + MIB, MIB);
	EXPECT_EQ(info(r).nr_vmas, 2);
	q = mremap(p + 2 * MIB, 2 * MIB, 2 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED,
		   mmap(NULL, 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	ASSERT_EQ(q == MAP_FAILED, 0);
	EXPECT_EQ(q[0], 9);
	EXPECT_EQ(q[2 * MIB - 1], 9);
	q = mremap(q, 2 * MIB, MIB, 0);
	EXPECT_EQ(q[MIB - 1], 9);
	munmap(p, MIB);
	munmap(q, MIB);
	EXPECT_EQ(info(r).nr_vmas, 0);
}

static size_t smaps_kb(const void *addr, const char *key)
{
	char line[256];
	bool in = false;
	size_t kb = 0;
	unsigned long from;
	FILE *f = fopen("/proc/self/smaps", "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-", &from) == 1 && strchr(line, '-') && strchr(line, '-') < strchr(line, ' '))
			in = from == (unsigned long)addr;
		else if (in && !strncmp(line, key, strlen(key)))
			kb = strtoul(line + strlen(key) + 1, NULL, 10);
	}
	if (f)
		fclose(f);
	return kb;
}

/* Huge pages are mapped as such: 512 faults per GiB instead of 262144. */
TEST(map_huge)
{
	int ctx = ctx_open();
	struct mc_ioc_region_create a = CREATE(.length = 16 * MIB, .page_shift = 21,
					       .flags = MC_REGION_POPULATE | MC_REGION_NOHUGE_FALLBACK);
	char *p;

	if (sizeof(void *) == 4)
		skip("32-bit programs get no aligned addresses");
	if (!has_huge(ctx))
		skip("no huge pages on this kernel");
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), 0);
	p = map(a.out_fd, 16 * MIB, PROT_READ | PROT_WRITE);
	EXPECT_EQ((uintptr_t)p & (2 * MIB - 1), 0);
	memset(p, 1, 16 * MIB);
	EXPECT_EQ(smaps_kb(p, "ShmemPmdMapped:"), 16 * 1024);
}

/* Ordinary pages to the rest of the kernel: pinned by O_DIRECT and vmsplice, copied by process_vm_readv. */
TEST(gup)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0), pipes[2];
	char *p = map(r, LEN, PROT_READ | PROT_WRITE), out[64] = "";
	struct iovec iov = { p, 64 }, local = { out, sizeof(out) };

	strcpy(p, "through the pipe");
	ASSERT_EQ(SYS(pipe(pipes)), 0);
	EXPECT_EQ(SYS(vmsplice(pipes[1], &iov, 1, 0)), 64);
	EXPECT_EQ(SYS(read(pipes[0], out, 64)), 64);
	EXPECT_EQ(strcmp(out, p), 0);
	out[0] = '\0';
	EXPECT_EQ(SYS(process_vm_readv(getpid(), &local, 1, &iov, 1, 0)), 64);
	EXPECT_EQ(strcmp(out, p), 0);
}

/* The mapping alone keeps region and module. */
TEST(map_outlives_fd)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);

	p[0] = 3;
	close(r);
	close(ctx);
	EXPECT_EQ(p[0], 3);
	EXPECT_EQ(sysfs_number("regions"), 1);
	EXPECT_EQ(SYS(syscall(SYS_delete_module, "mooncake", O_NONBLOCK)), -EAGAIN);
	p[LEN - 1] = 4;
	munmap(p, LEN);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

static void map_child(void *arg)
{
	char *p = arg;

	EXPECT_EQ(p[0], 1);
	p[1] = 2;
}

TEST(fork_shares)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);

	p[0] = 1;
	EXPECT_EQ(in_child(0, map_child, p), 0);
	EXPECT_EQ(p[1], 2);
	EXPECT_EQ(info(r).nr_vmas, 1);
}
