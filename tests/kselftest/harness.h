/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests of /dev/mooncake as programs that speak TAP. Each TEST runs in a process of its own with a time limit, so a
 * signal or a hang is that test's failure. Exit 0 pass, 1 fail, 77 nothing could be tested (4 below the kernel's runner).
 */
#ifndef MC_HARNESS_H
#define MC_HARNESS_H

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/mooncake.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEV "/dev/mooncake"
#define MIB (1024ull * 1024)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define UPTR(p) ((uint64_t)(uintptr_t)(p))

struct test {
	const char *name;
	void (*fn)(void);
	struct test *next;
};

static struct test *tests, **tests_end = &tests;
static int failed;

#define TEST(id)						\
	static void id(void);					\
	static struct test test_##id = { #id, id, NULL };	\
	__attribute__((constructor)) static void add_##id(void)	\
	{							\
		*tests_end = &test_##id;			\
		tests_end = &test_##id.next;			\
	}							\
	static void id(void)

#define FAIL(...)									\
	do {										\
		printf("# %s:%d: ", __FILE__, __LINE__);				\
		printf(__VA_ARGS__);							\
		printf("\n");								\
		failed = 1;								\
	} while (0)

#define CHECK(a, op, b, leave)								\
	do {										\
		long long a_ = (long long)(a), b_ = (long long)(b);			\
		if (!(a_ op b_)) {							\
			FAIL("%s %s %s: %lld against %lld", #a, #op, #b, a_, b_);	\
			leave;								\
		}									\
	} while (0)

#define EXPECT_EQ(a, b) CHECK(a, ==, b, (void)0)
#define EXPECT_NE(a, b) CHECK(a, !=, b, (void)0)
#define EXPECT_GE(a, b) CHECK(a, >=, b, (void)0)
#define EXPECT_LE(a, b) CHECK(a, <=, b, (void)0)
#define ASSERT_EQ(a, b) CHECK(a, ==, b, exit(1))
#define ASSERT_NE(a, b) CHECK(a, !=, b, exit(1))
#define ASSERT_GE(a, b) CHECK(a, >=, b, exit(1))

/* The result of a call as the kernel gives it: 0 or more, or a negative errno. */
#define SYS(call) ({ long r_ = (long)(call); r_ == -1 ? -(long)errno : r_; })

#define skip(why)					\
	do {						\
		printf("# skipped: %s\n", (why));	\
		fflush(stdout);				\
		_exit(77);				\
	} while (0)

/* The number that is found by @format in the first line of @path that has it; -1: in none. */
static inline long long number_in(const char *path, const char *format)
{
	char line[128];
	long long n = -1;
	FILE *f = fopen(path, "r");

	while (f && n < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, format, &n) != 1)
			n = -1;
	if (f)
		fclose(f);
	return n;
}

static inline int ctx_open(void)
{
	int fd = open(DEV, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		FAIL("open %s: %s", DEV, strerror(errno));
		exit(1);
	}
	return fd;
}

/* Kernels for hard real time come without huge pages. */
static inline bool has_huge(int ctx)
{
	struct mc_ioc_query a = { .size = sizeof(a) };

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_QUERY, &a)), 0);
	return a.features[0] >> MC_FEAT_HUGE & 1;
}

#define CREATE(...) ((struct mc_ioc_region_create){ .size = sizeof(struct mc_ioc_region_create), .node = -1,	\
	.memfd = -1, .fd_flags = O_RDWR | O_CLOEXEC, __VA_ARGS__ })

/* A region fd of @length bytes, or the test ends. */
static inline int region(int ctx, uint64_t length, uint32_t flags)
{
	struct mc_ioc_region_create a = CREATE(.length = length, .flags = flags);

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), 0);
	return a.out_fd;
}

static inline void *map(int fd, size_t length, int prot)
{
	void *p = mmap(NULL, length, prot, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED) {
		FAIL("mmap: %s", strerror(errno));
		exit(1);
	}
	return p;
}

static inline struct mc_ioc_region_info info(int region_fd)
{
	struct mc_ioc_region_info a = { .size = sizeof(a), .fd = -1 };

	ASSERT_EQ(SYS(ioctl(region_fd, MC_IOC_REGION_INFO, &a)), 0);
	return a;
}

static inline long publish(int fd, const char *name, uint32_t mode)
{
	struct mc_ioc_region_publish a = { .size = sizeof(a), .fd = -1, .mode = mode, .uid = -1, .gid = -1,
		.name = UPTR(name), .name_len = strlen(name) };

	return SYS(ioctl(fd, MC_IOC_REGION_PUBLISH, &a));
}

static inline long unpublish(int ctx, const char *name, uint32_t flags)
{
	struct mc_ioc_region_publish a = { .size = sizeof(a), .flags = flags, .fd = -1,
		.name = UPTR(name), .name_len = strlen(name) };

	return SYS(ioctl(ctx, MC_IOC_REGION_UNPUBLISH, &a));
}

/* Opens into @a, whose other outputs the caller may look at; the fd or a negative errno. */
static inline long open_name(int ctx, const char *name, uint32_t access, struct mc_ioc_region_open *a)
{
	long ret;

	*a = (struct mc_ioc_region_open){ .size = sizeof(*a), .name = UPTR(name), .name_len = strlen(name),
		.access = access, .fd_flags = O_CLOEXEC };
	ret = SYS(ioctl(ctx, MC_IOC_REGION_OPEN, a));
	return ret ? ret : a->out_fd;
}

static inline long mark(int fd, uint32_t op, uint64_t offset, uint64_t length)
{
	struct mc_ioc_region_mark a = { .size = sizeof(a), .fd = -1, .op = op, .offset = offset, .length = length };

	return SYS(ioctl(fd, MC_IOC_REGION_MARK, &a));
}

static inline long revoke_region(int fd)
{
	struct mc_ioc_region_revoke a = { .size = sizeof(a), .fd = -1 };

	return SYS(ioctl(fd, MC_IOC_REGION_REVOKE, &a));
}

/* A number that /proc says of @fd, -1: it says none. */
static inline long fdinfo_number(int fd, const char *field)
{
	char path[64], line[128];
	long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)) && line[strlen(field)] == ':')
			n = strtol(line + strlen(field) + 1, NULL, 0);
	if (f)
		fclose(f);
	return n;
}

static inline long sysfs_number(const char *attr)
{
	char path[128];
	long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/misc/mooncake/%s", attr);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%ld", &n) != 1)
			n = -1;
		fclose(f);
	}
	return n;
}

/* One field of a valid argument made wrong, and what the call must say. */
struct wrong {
	const char *what;
	size_t offset, width;
	uint64_t value;
	int err;
};

#define WRONG(type, field, v, e)							\
	{ #field " = " #v, offsetof(struct type, field), sizeof(((struct type *)0)->field), (uint64_t)(v), e }

static inline void set_field(void *arg, const struct wrong *w)
{
	uint32_t v32 = (uint32_t)w->value;

	if (w->width == 4)
		memcpy((char *)arg + w->offset, &v32, 4);
	else
		memcpy((char *)arg + w->offset, &w->value, 8);
}

/* Each wrong field alone: exactly its errno, no output written, no region made or lost, no fd used up. */
static inline void check_wrong(int fd, unsigned long cmd, const void *good, size_t size, const struct wrong *w, size_t n)
{
	long before = sysfs_number("regions");
	char arg[256], sent[256];
	int next;
	size_t i;

	for (i = 0; i < n; i++) {
		memcpy(arg, good, size);
		set_field(arg, &w[i]);
		memcpy(sent, arg, size);
		next = dup(0);
		close(next);
		if (SYS(ioctl(fd, cmd, arg)) != -w[i].err)
			FAIL("%s: want %s, got %s", w[i].what, strerror(w[i].err), strerror(errno));
		if (memcmp(arg, sent, size))
			FAIL("%s: the argument was changed", w[i].what);
		EXPECT_EQ(dup(0), next);
		close(next);
	}
	EXPECT_EQ(sysfs_number("regions"), before);
}

#define CHECK_WRONG(fd, cmd, good, ...)								\
	do {											\
		const struct wrong w_[] = { __VA_ARGS__ };					\
		check_wrong(fd, cmd, &(good), sizeof(good), w_, ARRAY_SIZE(w_));		\
	} while (0)

/* What the size field may be, for any call; nothing here may succeed. @elsewhere is a file the call is not for, or -1. */
static inline void check_sizes(int fd, unsigned long cmd, const void *good, size_t size, int elsewhere)
{
	char arg[8192];
	uint32_t bad[] = { 0, 4, (uint32_t)size - 8, (uint32_t)size - 1 };
	uint32_t s;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		memcpy(arg, good, size);
		memcpy(arg, &bad[i], 4);
		EXPECT_EQ(SYS(ioctl(fd, cmd, arg)), -EINVAL);
	}
	/* A newer caller with a tail this kernel does not know. */
	memset(arg, 0, sizeof(arg));
	memcpy(arg, good, size);
	s = size + 8;
	memcpy(arg, &s, 4);
	arg[size + 7] = 1;
	EXPECT_EQ(SYS(ioctl(fd, cmd, arg)), -E2BIG);
	s = sizeof(arg);
	memcpy(arg, &s, 4);
	EXPECT_EQ(SYS(ioctl(fd, cmd, arg)), -E2BIG);
	EXPECT_EQ(SYS(ioctl(fd, cmd, NULL)), -EFAULT);
	EXPECT_EQ(SYS(ioctl(fd, cmd, (void *)16)), -EFAULT);
	if (elsewhere >= 0) {
		memcpy(arg, good, size);
		EXPECT_EQ(SYS(ioctl(elsewhere, cmd, arg)), -ENOTTY);
	}
}

/* Run @fn(@arg) in a child as @uid without privileges (0: as we are); its exit status, or 128 + signal. */
static inline int in_child(uid_t uid, void (*fn)(void *), void *arg)
{
	const gid_t device_group = 1234;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (uid && (setgroups(1, &device_group) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid)))
			_exit(99);
		failed = 0;
		fn(arg);
		fflush(stdout);
		_exit(failed);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static __thread sigjmp_buf touch_jump;
static __thread volatile sig_atomic_t touching;

static inline void touch_handler(int sig)
{
	if (!touching)
		_exit(128 + sig);
	siglongjmp(touch_jump, sig);
}

/* 0, or the signal that touching @p gives; from any thread. */
static inline int touch(volatile char *p, bool write)
{
	static volatile int ready;
	struct sigaction sa = { .sa_handler = touch_handler, .sa_flags = SA_NODEFER };
	int sig;

	if (!ready) {
		sigaction(SIGBUS, &sa, NULL);
		sigaction(SIGSEGV, &sa, NULL);
		ready = 1;
	}
	sig = sigsetjmp(touch_jump, 0);
	if (!sig) {
		touching = 1;
		if (write)
			*p = 1;
		else
			(void)*p;
	}
	touching = 0;
	return sig;
}

static inline void run_test(void *arg)
{
	const char *slow = getenv("MC_TEST_SLOW");	/* how many times slower this machine is than one is */

	alarm(30 * (slow && atoi(slow) > 0 ? atoi(slow) : 1));
	((struct test *)arg)->fn();
}

int main(int argc, char **argv)
{
	int n = 0, bad = 0, skipped = 0, status;
	struct test *t;

	if (access(DEV, F_OK)) {
		printf("TAP version 13\n1..0 # SKIP no %s: the module is not loaded\n", DEV);
		return getenv("KSELFTEST") ? 4 : 77;
	}
	for (t = tests; t; t = t->next)
		n++;
	printf("TAP version 13\n1..%d\n", n);
	for (t = tests, n = 1; t; t = t->next, n++) {
		if (argc > 1 && strcmp(argv[1], t->name))
			continue;
		status = in_child(0, run_test, t);
		if (status > 128)
			printf("# signal %d\n", status - 128);
		skipped += status == 77;
		bad += status && status != 77;
		printf("%s %d - %s%s\n", status && status != 77 ? "not ok" : "ok", n, t->name,
		       status == 77 ? " # SKIP" : "");
		fflush(stdout);
	}
	if (bad)
		return 1;
	return skipped == n - 1 ? getenv("KSELFTEST") ? 4 : 77 : 0;
}

#endif /* MC_HARNESS_H */
