// SPDX-License-Identifier: Apache-2.0
/*
 * Regions: created, populated, sealed, shared, read-only copies, and what is refused; the same of either backend, for
 * MC_KERNEL_MODULE says which (tests/vm runs this with both).
 */
#include "mctest.h"
#include "dev/dev.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t resident(const struct region *r)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), nr = r->size / page, there = 0;
	unsigned char *vec = malloc(nr);

	if (mincore(r->base, r->size, vec))
		nr = 0;
	for (uint64_t i = 0; i < nr; i++)
		there += vec[i] & 1;
	free(vec);
	return there * page;
}

static bool by_module(void)
{
	return !strcmp(region_backend(), "/dev/mooncake");
}

static int nr_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int nr = 0;

	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

/* What /proc/self/smaps says of the mapping at @at in the line of @field. */
static void smaps(void *at, const char *field, char *out, size_t size)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512], start[32];
	bool here = false;

	out[0] = 0;
	snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)at);
	while (f && fgets(line, sizeof(line), f)) {
		here |= !strncmp(line, start, strlen(start));
		if (here && !strncmp(line, field, strlen(field))) {
			snprintf(out, size, "%s", line + strlen(field));
			break;
		}
	}
	if (f)
		fclose(f);
}

static bool vm_flag(void *at, const char *flag)
{
	char flags[512];

	smaps(at, "VmFlags:", flags, sizeof(flags));
	return strstr(flags, flag);
}

static uint64_t mapped(void *at)
{
	char kb[512];

	smaps(at, "Rss:", kb, sizeof(kb));
	return strtoull(kb, NULL, 10) * KiB;
}

TEST(create_and_close)
{
	struct region r;
	int fds = (region_backend(), nr_fds()); /* the device stays open */

	ASSERT_EQ(region_create("test", 10000, 0, -1, &r), 0);
	EXPECT_EQ(r.page_size, (uint32_t)sysconf(_SC_PAGESIZE));
	EXPECT_EQ(r.size % r.page_size, 0u);
	EXPECT_GE(r.size, 10000u);
	EXPECT_TRUE(r.writable);
	EXPECT_EQ(resident(&r), 0u);
	for (uint64_t i = 0; i < r.size; i++)
		if (((uint8_t *)r.base)[i])
			MCTEST_FAIL("fresh memory is not zero");
	memset(r.base, 7, r.size);
	EXPECT_EQ(fcntl(r.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	region_close(&r);
	EXPECT_EQ(r.fd, -1);
	region_close(&r);
	region_close(&(struct region){ 0 });
	EXPECT_EQ(nr_fds(), fds);
}

TEST(refused_sizes)
{
	struct region r = { .fd = 77 };
	int fds = nr_fds();

	EXPECT_EQ(region_create("test", 0, 0, -1, &r), -EINVAL);
	EXPECT_EQ(region_create("test", UINT64_MAX, 0, -1, &r), -ENOMEM);
	EXPECT_TRUE(region_create("test", (uint64_t)1 << 62, 0, -1, &r) < 0);
	EXPECT_EQ(region_create("test", mem_available_bytes() * 4, REGION_POPULATE, -1, &r),
		  -ENOMEM);
	EXPECT_EQ(r.fd, 77);
	EXPECT_EQ(nr_fds(), fds);
}

TEST(sealed)
{
	struct region r;

	ASSERT_EQ(region_create("test", 1 * MiB, REGION_MEMFD, -1, &r), 0);
	EXPECT_EQ(fcntl(r.fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	EXPECT_EQ(ftruncate(r.fd, 4096), -1);
	EXPECT_EQ(errno, EPERM);
	EXPECT_EQ(ftruncate(r.fd, 2 * MiB), -1);
	EXPECT_EQ(fcntl(r.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	region_close(&r);
	ASSERT_EQ(region_create("test", 1 * MiB, 0, -1, &r), 0);
	EXPECT_EQ(ftruncate(r.fd, 4096), -1);
	EXPECT_EQ(fallocate(r.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), by_module() ? -1 : 0);
	region_close(&r);
}

/* Above the size at which threads share the work, and no multiple of what one of them takes at a time. */
TEST(populated_in_parallel)
{
	struct region r;

	if (mem_available_bytes() < 400 * MiB)
		SKIP("less than 400 MiB of memory");
	ASSERT_EQ(region_create("test", 150 * MiB + 4096, REGION_POPULATE, -1, &r), 0);
	EXPECT_EQ(resident(&r), r.size);
	EXPECT_EQ(*(uint8_t *)r.base, 0);
	region_close(&r);
}

TEST(prefaulted)
{
	struct region r, ro;
	int fd;

	ASSERT_EQ(region_create("test", 16 * MiB, REGION_POPULATE, -1, &r), 0);
	ASSERT_EQ(region_readonly_fd(&r, &fd), 0);
	ASSERT_EQ(region_map(fd, 16 * MiB, false, &ro), 0);
	EXPECT_EQ(mapped(ro.base), 0u);
	region_prefault(&ro, 1 * MiB + 100, 1 * MiB);
	EXPECT_GE(mapped(ro.base), 1 * MiB);
	EXPECT_LT(mapped(ro.base), 16 * MiB);
	region_prefault(&ro, 16 * MiB, 1);
	region_prefault(&ro, UINT64_MAX, UINT64_MAX);
	region_prefault(&ro, 0, 16 * MiB);
	EXPECT_EQ(mapped(ro.base), 16 * MiB);
	region_close(&ro);
	region_close(&r);
}

TEST(huge_or_not_it_works)
{
	struct region r;

	ASSERT_EQ(region_create("test", 4 * MiB + 1, REGION_HUGE | REGION_POPULATE, -1, &r), 0);
	EXPECT_GE(r.size, 4 * MiB + 1);
	EXPECT_EQ(r.size % r.page_size, 0u);
	/* So that 2 MiB pages fit, now or when the kernel gets round to it. */
	EXPECT_EQ((uintptr_t)r.base % (2 * MiB), 0u);
	memset(r.base, 1, r.size);
	region_close(&r);
}

TEST(hugetlb_pages)
{
	struct region r, copy;
	uint64_t before = huge_pages_free_bytes();

	if (by_module())
		SKIP("the module's regions have huge pages without any set aside");
	if (before < 4 * MiB)
		SKIP("no free huge pages (vm.nr_hugepages)");
	ASSERT_EQ(region_create("test", 2 * MiB + 1, REGION_HUGE, -1, &r), 0);
	EXPECT_GE(r.page_size, 2 * MiB);
	EXPECT_EQ(r.size % r.page_size, 0u);
	/* Reserved already, so that touching them later cannot fail. */
	EXPECT_EQ(huge_pages_free_bytes(), before - r.size);
	ASSERT_EQ(region_map(dup(r.fd), 1, false, &copy), 0);
	EXPECT_EQ(copy.page_size, r.page_size);
	region_close(&copy);
	region_close(&r);
	EXPECT_EQ(huge_pages_free_bytes(), before);
}

TEST(numa_node_preferred)
{
	struct region r;

	ASSERT_EQ(region_create("test", 1 * MiB, REGION_POPULATE, 0, &r), 0);
	region_close(&r);
	/* A node that does not exist is no reason to fail. */
	ASSERT_EQ(region_create("test", 1 * MiB, REGION_POPULATE, 1000, &r), 0);
	region_close(&r);
}

TEST(shared_with_another_mapping)
{
	struct region r, w, ro;
	int fd;

	ASSERT_EQ(region_create("test", 64 * KiB, 0, -1, &r), 0);
	ASSERT_EQ(region_map(dup(r.fd), 64 * KiB, true, &w), 0);
	ASSERT_EQ(region_readonly_fd(&r, &fd), 0);
	ASSERT_EQ(region_map(fd, 60 * KiB, false, &ro), 0);
	EXPECT_TRUE(!ro.writable && w.writable);
	strcpy(w.base, "here");
	EXPECT_STREQ((char *)r.base, "here");
	EXPECT_STREQ((char *)ro.base, "here");

	/* The memory lives as long as anybody holds it. */
	region_close(&r);
	region_close(&w);
	EXPECT_STREQ((char *)ro.base, "here");
	region_close(&ro);
}

TEST(map_refuses_and_closes)
{
	struct region r, out = { .fd = 77 };
	int fds = nr_fds(), fd, pipes[2];

	ASSERT_EQ(region_create("test", 64 * KiB, 0, -1, &r), 0);
	EXPECT_EQ(region_map(dup(r.fd), 64 * KiB + 1, true, &out), -EINVAL);
	EXPECT_EQ(region_map(dup(r.fd), UINT64_MAX, true, &out), -EINVAL);
	EXPECT_EQ(region_map(dup(r.fd), 0, true, &out), -EINVAL);
	ASSERT_EQ(region_readonly_fd(&r, &fd), 0);
	EXPECT_EQ(region_map(fd, 64 * KiB, true, &out), -EACCES);
	region_close(&r);

	/* Not sealed: its maker could pull the pages away under us. */
	fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ASSERT_EQ(ftruncate(fd, 64 * KiB), 0);
	EXPECT_EQ(region_map(fd, 64 * KiB, true, &out), -EINVAL);
	ASSERT_EQ(pipe(pipes), 0);
	EXPECT_EQ(region_map(pipes[0], 4096, false, &out), -EINVAL);
	close(pipes[1]);
	EXPECT_EQ(region_map(-1, 4096, false, &out), -EINVAL);
	EXPECT_EQ(out.fd, 77);
	EXPECT_EQ(nr_fds(), fds);
	EXPECT_EQ(region_readonly_fd(&(struct region){ .fd = -1 }, &fd), -EBADF);
}

static int in_child(void (*fn)(void *), void *arg)
{
	pid_t pid = fork();
	int st;

	if (!pid) {
		fn(arg);
		_exit(0);
	}
	return waitpid(pid, &st, 0) == pid && WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

/* Exits 1 when the descriptor can be mapped for writing, 2 when it can be opened again for writing. */
static void try_to_write(void *arg)
{
	int fd = *(int *)arg;
	char path[32];

	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
		_exit(1);
	if (getuid() == 0 && (setgid(65534) || setuid(65534)))
		_exit(3);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (open(path, O_RDWR) >= 0)
		_exit(2);
}

TEST(read_only_stays_read_only)
{
	struct region r;
	int fd;

	ASSERT_EQ(region_create("test", 64 * KiB, 0, -1, &r), 0);
	ASSERT_EQ(region_readonly_fd(&r, &fd), 0);
	if (getuid() == 0)
		EXPECT_EQ(in_child(try_to_write, &fd), 0);
	EXPECT_TRUE(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	EXPECT_EQ(errno, EACCES);
	close(fd);
	region_close(&r);
}

static void is_mapped(void *arg)
{
	unsigned char vec[16];

	if (!mincore(arg, 64 * KiB, vec))
		_exit(1);
}

TEST(not_in_children_nor_in_core_files)
{
	struct region r, w;

	ASSERT_EQ(region_create("test", 64 * KiB, 0, -1, &r), 0);
	ASSERT_EQ(region_map(dup(r.fd), 64 * KiB, true, &w), 0);
	EXPECT_EQ(in_child(is_mapped, r.base), 0);
	EXPECT_EQ(in_child(is_mapped, w.base), 0);
	EXPECT_TRUE(vm_flag(r.base, " dd"));
	EXPECT_TRUE(vm_flag(w.base, " dd"));
	region_close(&w);
	region_close(&r);
}

TEST(backend_has_a_name)
{
	const char *asked = getenv("MC_KERNEL_MODULE");
	struct module_status st;
	struct region r;

	module_status(NULL, &st);
	if (asked && !strcmp(asked, "off"))
		EXPECT_STREQ(region_backend(), "memfd");
	else if (!st.err)
		EXPECT_STREQ(region_backend(), "/dev/mooncake");
	else if (!asked)
		EXPECT_STREQ(region_backend(), "memfd");
	EXPECT_EQ(region_source("sometimes"), -EINVAL);
	/* Small things never need the module. */
	ASSERT_EQ(region_create("test", 4096, REGION_MEMFD, -1, &r), 0);
	EXPECT_TRUE(fcntl(r.fd, F_GET_SEALS) > 0);
	region_close(&r);
}

TEST(what_was_had)
{
	struct region_stat st;
	struct region r;
	uint64_t size;

	ASSERT_EQ(region_create("test", 4 * MiB, REGION_POPULATE | REGION_HUGE, -1, &r), 0);
	ASSERT_EQ(region_stat(&r, &st), 0);
	EXPECT_STREQ(st.backend, region_backend());
	EXPECT_EQ(st.resident, r.size);
	EXPECT_LE(st.huge, st.resident);
	EXPECT_EQ(st.node, -1);
	if (by_module())
		EXPECT_EQ(st.huge, 4 * MiB);
	ASSERT_EQ(region_size(r.fd, &size), 0);
	EXPECT_EQ(size, r.size);
	EXPECT_EQ(region_size(-1, &size), -EINVAL);
	region_close(&r);
	EXPECT_EQ(region_stat(&r, &st), -EBADF);
}

/* What the library concludes from what opening and asking came to. */
TEST(module_judged)
{
	const uint64_t all = ~(uint64_t)0;
	struct module_status s = { 0 };

	module_judge(-ENOENT, &s);
	EXPECT_EQ(s.err, -ENOENT);
	EXPECT_TRUE(strstr(s.fix, "modprobe mooncake"));
	module_judge(-EACCES, &s);
	EXPECT_EQ(s.err, -EACCES);
	EXPECT_TRUE(strstr(s.fix, "mooncake USER"));
	module_judge(-ENOTTY, &s);
	EXPECT_EQ(s.err, -ENOTTY);
	s.q = (struct mc_ioc_query){ .abi_major = MC_ABI_MAJOR + 1, .features = { all, all } };
	module_judge(0, &s);
	EXPECT_EQ(s.err, -EPROTO);
	s.q = (struct mc_ioc_query){ .abi_major = MC_ABI_MAJOR, .features = { 1 } };
	module_judge(0, &s);
	EXPECT_EQ(s.err, -EOPNOTSUPP);
	EXPECT_TRUE(s.missing && s.fix && strstr(s.why, "too old"));
	/* Newer ones have more. */
	s.q = (struct mc_ioc_query){ .abi_major = MC_ABI_MAJOR, .abi_minor = 99, .features = { all, all } };
	module_judge(0, &s);
	EXPECT_EQ(s.err, 0);
	EXPECT_TRUE(!s.fix);
	module_status("/dev/null", &s);
	EXPECT_EQ(s.err, -ENOTTY);
	module_status("/nowhere/mooncake", &s);
	EXPECT_EQ(s.err, -ENOENT);
}

TEST(names_need_the_module)
{
	struct region_lease l, again;
	struct region r, named, same;
	char name[64];

	if (!by_module()) {
		EXPECT_EQ(region_create("test", 4096, REGION_KEEP, -1, &r), -EOPNOTSUPP);
		ASSERT_EQ(region_create("test", 4096, 0, -1, &r), 0);
		EXPECT_EQ(region_publish(&r, "test", 0600, 0), -EOPNOTSUPP);
		EXPECT_EQ(region_clean(&r), -EOPNOTSUPP);
		EXPECT_EQ(region_open("test", false, &named, &l), -EOPNOTSUPP);
		EXPECT_EQ(region_unpublish("test"), -EOPNOTSUPP);
		region_close(&r);
		return;
	}
	snprintf(name, sizeof(name), "test-region-%d", getpid());
	EXPECT_EQ(region_open(name, false, &named, &l), -ENOENT);
	ASSERT_EQ(region_create(name, 64 * KiB, REGION_KEEP, -1, &r), 0);
	EXPECT_EQ(region_publish(&r, "no/name", 0600, 0), -EINVAL);
	ASSERT_EQ(region_publish(&r, name, 0600, 0), 0);
	strcpy(r.base, "kept");
	region_close(&r);

	ASSERT_EQ(region_open(name, true, &named, &l), 0);
	EXPECT_STREQ((char *)named.base, "kept");
	EXPECT_TRUE(named.writable && named.size == 64 * KiB && !l.dirty);
	EXPECT_EQ(region_open(name, true, &same, &again), -EBUSY);
	EXPECT_EQ(region_unpublish(name), -EBUSY);
	region_close(&named); /* without a word: whoever comes next is told */
	ASSERT_EQ(region_open(name, true, &named, &again), 0);
	EXPECT_TRUE(again.dirty);
	EXPECT_EQ(again.epoch, l.epoch + 1);
	EXPECT_EQ(region_clean(&named), 0);
	region_close(&named);
	ASSERT_EQ(region_open(name, true, &named, &l), 0);
	EXPECT_TRUE(!l.dirty);
	EXPECT_EQ(l.epoch, again.epoch);
	region_close(&named);
	EXPECT_EQ(region_unpublish(name), 0);
	EXPECT_EQ(region_unpublish(name), -ENOENT);
}

static void fault_elsewhere(void *arg)
{
	memset(arg, 1, 4096);
}

/* A revoked region reads as zeroes, and takes writes that go nowhere; a fault elsewhere ends the process as ever. */
TEST(revoked)
{
	struct mc_ioc_region_revoke a = { .size = sizeof(a), .fd = -1 };
	struct region r, w, ro, out;
	struct region_stat st;
	uint8_t got[64];
	int fd, file;
	void *p;

	if (!by_module())
		SKIP("only the module revokes");
	ASSERT_EQ(region_create("test", 4 * MiB + 4096, REGION_HUGE | REGION_POPULATE, -1, &r), 0);
	ASSERT_EQ(region_map(dup(r.fd), r.size, true, &w), 0);
	ASSERT_EQ(region_readonly_fd(&r, &fd), 0);
	ASSERT_EQ(region_map(fd, r.size, false, &ro), 0);
	memset(r.base, 7, r.size);
	EXPECT_TRUE(!region_revoked(&r) && !region_revoked(&ro));
	ASSERT_EQ(ioctl(r.fd, MC_IOC_REGION_REVOKE, &a), 0);

	memcpy(got, (uint8_t *)ro.base + 3 * MiB, sizeof(got));
	for (size_t i = 0; i < sizeof(got); i++)
		EXPECT_EQ(got[i], 0);
	EXPECT_TRUE(region_revoked(&ro));
	EXPECT_TRUE(!region_revoked(&w)); /* not touched yet */
	memset(w.base, 9, 100);
	EXPECT_TRUE(region_revoked(&w));
	EXPECT_EQ(((uint8_t *)ro.base)[0], 0);
	EXPECT_EQ(((uint8_t *)r.base)[r.size - 1], 0);
	EXPECT_EQ(region_stat(&r, &st), -EKEYREVOKED);
	EXPECT_EQ(region_map(dup(r.fd), r.size, true, &out), -EKEYREVOKED);
	EXPECT_EQ(region_readonly_fd(&r, &fd), -EKEYREVOKED);
	region_close(&ro);
	region_close(&w);
	region_close(&r);

	file = memfd_create("short", MFD_CLOEXEC);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	EXPECT_EQ(in_child(fault_elsewhere, p), -1);
	munmap(p, 4096);
	close(file);
}
