// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every allocation of every call fails once: the n-th, for n from 1 until the call meets no n-th. What failed must have
 * changed nothing, and the same call right after it must succeed. Needs a kernel with fault injection (fail-nth).
 *
 * First in the alphabet, so that what the module allocates only once is not there yet.
 */

#include "cq.h"

#include <sys/eventfd.h>
#include <sys/syscall.h>

#define LEN (64 * 1024ull)
#define NTH_MAX 2000

static int nth_fd = -1;

static bool put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

	close(fd);
	return ok;
}

/* Allocations that may sleep fail too, and none of them with a trace in the log. */
static void injection_start(void)
{
	static const char *const kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	char path[96];
	size_t i;

	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth_fd < 0)
		skip("the kernel has no fault injection");
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/verbose", kinds[i]);
		if (!put(path, "0"))
			skip("no debugfs for fault injection");
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/ignore-gfp-wait", kinds[i]);
		put(path, "N");
	}
	put("/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem", "N");
	put("/sys/kernel/debug/fail_page_alloc/min-order", "0");
}

static bool nth_armed, nth_met;

static void nth_set(int n)
{
	char s[16];
	int len = snprintf(s, sizeof(s), "%d", n);

	/* The write itself is a call that can be made to fail, once. */
	if (pwrite(nth_fd, s, len, 0) != len)
		ASSERT_EQ(pwrite(nth_fd, s, len, 0), len);
	nth_armed = n > 0;
}

/* No fault from here on. @nth_met: there was one. */
static void nth_end(void)
{
	char s[16] = "";

	if (!nth_armed)
		return;
	/* So is this read, when what it asks about did not fail. */
	nth_met = pread(nth_fd, s, sizeof(s) - 1, 0) >= 1 && atoi(s) == 0;
	nth_set(0);
}

/* What the calls work on, made once before faults begin. */
static int ctx, named, small, queue, poster, sealed_memfd, event_fd;
static char *mine;

static int next_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static void setup(void)
{
	struct mc_ioc_cq_create c = create_arg(MC_CQ_POST_FD, 16, MC_CQ_DROP_COUNT);

	injection_start();
	ctx = ctx_open();
	named = region(ctx, LEN, MC_REGION_PERSIST_OK);
	ASSERT_EQ(publish(named, "alloc-named", 0600), 0);
	small = region(ctx, LEN, MC_REGION_PERSIST_OK);
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_CQ_CREATE, &c)), 0);
	queue = c.out_fd;
	poster = c.out_post_fd;
	sealed_memfd = memfd_create("alloc", MFD_ALLOW_SEALING);
	ASSERT_EQ(SYS(ftruncate(sealed_memfd, LEN)), 0);
	ASSERT_EQ(SYS(fcntl(sealed_memfd, F_ADD_SEALS, F_SEAL_SHRINK)), 0);
	event_fd = eventfd(0, 0);
	mine = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(mine, 7, LEN);
}

static void teardown(void)
{
	EXPECT_EQ(unpublish(ctx, "alloc-named", 0), 0);
}

/*
 * Run @call with each allocation failing. It returns a descriptor (closed here), 0, or an error, which is one that
 * @allowed lists (zero-terminated, negative). Neither descriptors nor regions nor bytes may be left over.
 */
static void sweep(const char *what, long (*call)(void), const int *allowed)
{
	static const int usual[] = { -ENOMEM, -EFAULT, 0 };
	long regions = sysfs_number("regions"), bytes = sysfs_number("bytes_allocated"), ret = 0;
	int n, fd = next_fd(), faults = 0, refused = 0, i;

	nth_met = true;
	for (n = 1; nth_met && n < NTH_MAX; n++) {
		nth_set(n);
		ret = call();
		nth_end();
		faults += nth_met;
		if (ret > 0)
			close(ret);
		if (ret < 0) {
			refused++;
			for (i = 0; usual[i] && usual[i] != ret; i++)
				;
			if (!usual[i] && allowed)
				for (i = 0; allowed[i] && allowed[i] != ret; i++)
					;
			if (!(usual[i] == ret || (allowed && allowed[i] == ret)))
				FAIL("%s: allocation %d: error %ld", what, n, -ret);
		}
		if (next_fd() != fd || sysfs_number("regions") != regions || sysfs_number("bytes_allocated") != bytes) {
			FAIL("%s: allocation %d left something: fd %d for %d, regions %ld for %ld, bytes %ld for %ld", what, n,
			     next_fd(), fd, sysfs_number("regions"), regions, sysfs_number("bytes_allocated"), bytes);
			exit(1);
		}
	}
	printf("# %s: %d faults, %d refusals\n", what, faults, refused);
	if (nth_met || ret < 0)
		FAIL("%s: does not succeed without a fault: %ld", what, ret);
}

static long create(uint64_t length, uint32_t flags, uint32_t backing, int node)
{
	struct mc_ioc_region_create a = CREATE(.length = length, .flags = flags, .backing = backing, .node = node);
	long ret = SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a));

	return ret ? ret : a.out_fd;
}

static long create_plain(void)
{
	return create(LEN, 0, MC_BACKING_SHMEM, -1);
}

static long create_populated(void)
{
	return create(LEN, MC_REGION_POPULATE, MC_BACKING_SHMEM, -1);
}

/* Its mount is made by the first call that gets so far. */
static long create_on_node(void)
{
	return create(LEN, MC_REGION_POPULATE, MC_BACKING_SHMEM, 0);
}

static long create_huge(void)
{
	return create(4 * MIB, MC_REGION_POPULATE, MC_BACKING_SHMEM_HUGE, -1);
}

static long create_by_threads(void)
{
	return create(64 * MIB, MC_REGION_POPULATE, MC_BACKING_SHMEM_HUGE, -1);
}

TEST(create_)
{
	setup();
	sweep("create on a node", create_on_node, NULL);
	sweep("create", create_plain, NULL);
	sweep("create and populate", create_populated, NULL);
	if (has_huge(ctx)) {
		sweep("create huge", create_huge, NULL);
		sweep("create by threads", create_by_threads, NULL);
	}
	teardown();
}

static long query(void)
{
	struct mc_ioc_query a = { .size = sizeof(a) };

	return SYS(ioctl(ctx, MC_IOC_QUERY, &a));
}

static long info_named(void)
{
	char name[64];
	struct mc_ioc_region_info a = { .size = sizeof(a), .fd = -1, .name = UPTR(name), .name_len = sizeof(name) };

	return SYS(ioctl(named, MC_IOC_REGION_INFO, &a));
}

static long open_dev(void)
{
	return SYS(open(DEV, O_RDWR | O_CLOEXEC));
}

static long pin(void)
{
	struct mc_ioc_region_pin a = { .size = sizeof(a), .addr = UPTR(mine), .length = LEN, .fd_flags = O_RDWR | O_CLOEXEC };
	long ret = SYS(ioctl(ctx, MC_IOC_REGION_PIN, &a));

	return ret ? ret : a.out_fd;
}

static long import(void)
{
	struct mc_ioc_region_import a = { .size = sizeof(a), .fd = sealed_memfd, .kind = MC_IMPORT_MEMFD, .length = LEN,
		.cq_fd = -1, .fd_flags = O_RDWR | O_CLOEXEC };
	long ret = SYS(ioctl(ctx, MC_IOC_REGION_IMPORT, &a));

	return ret ? ret : a.out_fd;
}

static long open_plain(void)
{
	struct mc_ioc_region_open a;

	return open_name(ctx, "alloc-named", MC_ACCESS_R, &a);
}

static long open_lease(void)
{
	struct mc_ioc_region_open a;
	long fd = open_name(ctx, "alloc-named", MC_ACCESS_R | MC_ACCESS_W | MC_ACCESS_EXCL_WRITER, &a), ret;

	if (fd < 0)
		return fd;
	ret = mark(fd, MC_MARK_CLEAN, 0, 0);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

static long publish_(void)
{
	long ret = publish(small, "alloc-small", 0600), gone;

	nth_end();
	gone = unpublish(ctx, "alloc-small", 0);
	if (!ret)
		EXPECT_EQ(gone, 0);
	else if (ret != -EFAULT)	/* an answer that got lost: see mooncake(4) */
		EXPECT_EQ(gone, -ENOENT);
	return ret;
}

static long unpublish_(void)
{
	long ret, again;

	publish(small, "alloc-small", 0600);
	ret = unpublish(ctx, "alloc-small", 0);
	if (ret) {
		again = unpublish(ctx, "alloc-small", 0);
		if (again != 0 && again != -ENOENT)
			FAIL("unpublish again: %ld", -again);
	}
	return ret;
}

TEST(open_)
{
	static const int lease[] = { -EBUSY, 0 };

	setup();
	sweep("query", query, NULL);
	sweep("info", info_named, NULL);
	sweep("open of the device", open_dev, NULL);
	sweep("pin", pin, NULL);
	sweep("import", import, NULL);
	sweep("open", open_plain, NULL);
	sweep("open with lease", open_lease, lease);
	teardown();
}

static long export(void)
{
	struct mc_ioc_region_export a = { .size = sizeof(a), .fd = -1, .fd_flags = O_RDWR | O_CLOEXEC, .length = LEN };
	long ret = SYS(ioctl(small, MC_IOC_REGION_EXPORT, &a));

	return ret ? ret : a.out_fd;
}

static long punch(void)
{
	return mark(small, MC_MARK_PUNCH, 0, LEN);
}

static long copy(void)
{
	struct mc_copy_vec v[2] = { { { .kind = MC_SGE_USER, .fd = -1, .addr = UPTR(mine), .length = LEN },
				      { .kind = MC_SGE_REGION, .fd = small, .length = LEN } },
				    { { .kind = MC_SGE_REGION, .fd = small, .length = LEN },
				      { .kind = MC_SGE_REGION, .fd = named, .length = LEN } } };
	struct mc_ioc_copy a = { .size = sizeof(a), .vec = UPTR(v), .nr = 2, .cq_fd = -1 };
	long ret = SYS(ioctl(ctx, MC_IOC_COPY, &a));

	if (ret)
		return ret;
	/* Part of it counts as success; then an error says why not all. */
	if (a.out_bytes != 2 * LEN)
		EXPECT_EQ(a.out_error == -ENOMEM || a.out_error == -EFAULT, 1);
	return 0;
}

static long punch_and_copy(void)
{
	long ret = mark(small, MC_MARK_PUNCH, 0, LEN);

	return ret ? ret : copy();
}

static long revoke_new(void)
{
	long fd = create(LEN, MC_REGION_POPULATE, MC_BACKING_SHMEM, -1), ret;

	if (fd < 0)
		return fd;
	ret = revoke_region(fd);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

static long seal_new(void)
{
	long fd = create(LEN, 0, MC_BACKING_SHMEM, -1), ret;

	if (fd < 0)
		return fd;
	ret = mark(fd, MC_MARK_SEAL_WRITE, 0, 0);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

TEST(work)
{
	setup();
	sweep("export", export, NULL);
	sweep("punch", punch, NULL);
	sweep("copy", copy, NULL);
	sweep("punch and copy", punch_and_copy, NULL);
	sweep("revoke", revoke_new, NULL);
	sweep("seal", seal_new, NULL);
	teardown();
}

static long cq_create(uint32_t flags)
{
	struct mc_ioc_cq_create a = create_arg(flags, 256, MC_CQ_DROP_COUNT);
	long ret;

	a.eventfd = flags & MC_CQ_EVENTFD ? event_fd : -1;
	ret = SYS(ioctl(ctx, MC_IOC_CQ_CREATE, &a));
	if (ret)
		return ret;
	if (a.out_post_fd >= 0)
		close(a.out_post_fd);
	return a.out_fd;
}

static long cq_plain(void)
{
	return cq_create(0);
}

static long cq_full(void)
{
	return cq_create(MC_CQ_POST_FD | MC_CQ_EVENTFD);
}

static long cq_post_(void)
{
	struct mc_cqe e[4] = { { .type = MC_CQE_NOTIFY }, { .type = MC_CQE_NOTIFY }, { .type = MC_CQE_NOTIFY },
			       { .type = MC_CQE_NOTIFY } };
	long ret = post(poster, e, 4);

	return ret < 0 ? ret : 0;
}

static long cq_wait_(void)
{
	long ret = wait_cq(queue, 1, ~0ull, 0);

	return ret < 0 ? ret : 0;
}

static long events(void)
{
	struct mc_ioc_events a = { .size = sizeof(a), .cq_fd = queue, .mask = MC_EVENT_REGION };

	return SYS(ioctl(ctx, MC_IOC_EVENTS, &a));
}

TEST(cq)
{
	setup();
	sweep("queue", cq_plain, NULL);
	sweep("queue with everything", cq_full, NULL);
	sweep("post", cq_post_, NULL);
	ASSERT_EQ(post_data(poster, 1), 1);
	sweep("wait", cq_wait_, NULL);
	sweep("events", events, NULL);
	teardown();
}

static long map_file(int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	long ret = p == MAP_FAILED ? -errno : 0;

	if (!ret)
		ret = SYS(madvise(p, size, MADV_POPULATE_WRITE));
	nth_end();
	if (p != MAP_FAILED)
		munmap(p, size);
	return ret == -EINVAL ? 0 : ret;	/* memory that is not made of pages takes no advice */
}

static long map_region(void)
{
	return map_file(small, LEN);
}

static long map_queue(void)
{
	return map_file(queue, 4096);
}

static long fork_mapped(void)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(0);
	if (pid < 0)
		return -errno;
	nth_end();
	waitpid(pid, &status, 0);
	return 0;
}

TEST(map_)
{
	static const int fork_errors[] = { -EAGAIN, 0 };

	setup();
	sweep("map a region", map_region, NULL);
	sweep("map a queue", map_queue, NULL);
	map(named, LEN, PROT_READ | PROT_WRITE);
	sweep("fork", fork_mapped, fork_errors);
	teardown();
}

TEST(names)
{
	static const int names[] = { -ENOENT, -EEXIST, 0 };

	setup();
	sweep("publish", publish_, names);
	sweep("unpublish", unpublish_, names);
	teardown();
}
