// SPDX-License-Identifier: GPL-2.0-only
/*
 * fuzz_calls [SECONDS [SEED [OPS]]]: workers that know what must succeed beside workers that try everything, as two
 * users without privileges; all are killed at random. With OPS one worker of the first kind runs with exactly SEED.
 *
 * The two kinds share the machine, the module and its names, and nothing else: what the second does, the first must not
 * be able to tell.
 */

#include "fuzz.h"

#include <grp.h>
#include <sys/resource.h>
#include <time.h>

#define MODELS 2
#define WILDS 2
#define WORKERS (MODELS + WILDS)

struct tally *tally;

static __thread sigjmp_buf *my_jump;

static void on_signal(int sig)
{
	if (!my_jump)
		_exit(128 + sig);
	siglongjmp(*my_jump, sig);
}

void touch_init(void)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_NODEFER };

	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
}

int touch(volatile char *p, bool write, char value)
{
	sigjmp_buf here;
	int sig;

	my_jump = &here;
	sig = sigsetjmp(here, 0);
	if (!sig) {
		if (write)
			*p = value;
		else
			(void)*p;
	}
	my_jump = NULL;
	return sig;
}

int fd_send(int sock, int fd)
{
	char c = 0, buf[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof(buf) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	return sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : -1;
}

int fd_receive(int sock)
{
	char c, buf[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof(buf) };
	struct cmsghdr *h;
	int fd;

	if (recvmsg(sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
		return -1;
	h = CMSG_FIRSTHDR(&m);
	if (!h || h->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	return fd;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

static void put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd >= 0 && write(fd, value, strlen(value)) < 0)
		perror(path);
	close(fd);
}

static bool faults;

/* Where the kernel can: one allocation in a hundred fails for those who ask for it. */
static void faults_prepare(bool on)
{
	static const char *const kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	const char *const set[][2] = { { "verbose", "0" }, { "ignore-gfp-wait", "N" }, { "ignore-gfp-highmem", "N" },
				       { "min-order", "0" }, { "task-filter", "Y" }, { "times", "-1" },
				       { "probability", on ? "1" : "0" } };
	char path[96];
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		for (j = 0; j < ARRAY_SIZE(set); j++) {
			snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", kinds[i], set[j][0]);
			if (!access(path, W_OK)) {
				put(path, set[j][1]);
				faults = on;
			}
		}
}

static void become(uid_t uid, bool faulty)
{
	const struct rlimit pins = { 64 << 20, 64 << 20 };
	const gid_t device_group = 1234;

	setrlimit(RLIMIT_MEMLOCK, &pins);
	if (faulty && faults)
		put("/proc/self/make-it-fail", "1");
	if (setgroups(1, &device_group) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
		_exit(99);
	touch_init();
	alarm(300);
}

static int mail[WILDS][2];

static pid_t start(unsigned int i, uint64_t seed, unsigned int ops)
{
	int post[WILDS];
	unsigned int j;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	for (j = 0; j < WILDS; j++)
		post[j] = mail[j][1];
	if (i < MODELS) {
		become(2000, false);
		_exit(fuzz_model(seed, ops));
	}
	become(2001, i & 1);
	_exit(fuzz_wild(seed, ops, mail[i - MODELS][0], post, WILDS));
}

/* Names outlive the killed. */
static void unpublish(const char *prefix)
{
	struct mc_ioc_region_publish u = { .size = sizeof(u), .flags = MC_UNPUBLISH_FORCE, .fd = -1 };
	struct mc_ioc_region_info a;
	int ctx = open(DEV, O_RDWR);
	char name[MC_NAME_MAX];
	uint64_t id = 0;

	for (;;) {
		a = (struct mc_ioc_region_info){ .size = sizeof(a), .flags = MC_INFO_NEXT, .fd = -1, .id = id,
						 .name = UPTR(name), .name_len = sizeof(name) };
		if (ioctl(ctx, MC_IOC_REGION_INFO, &a))
			break;
		id = a.id;
		u.name = UPTR(name);
		u.name_len = a.name_len;
		if (a.name_len && a.name_len >= strlen(prefix) && !memcmp(name, prefix, strlen(prefix)))
			ioctl(ctx, MC_IOC_REGION_UNPUBLISH, &u);
	}
	close(ctx);
}

/* Afterwards nothing may be left. */
static long sweep(void)
{
	long n = -1;
	FILE *f;
	int i;

	unpublish("");
	for (i = 0; i < 300; i++) {
		f = fopen("/sys/class/misc/mooncake/bytes_allocated", "r");
		if (!f || fscanf(f, "%ld", &n) != 1)
			n = -1;
		if (f)
			fclose(f);
		if (!n)
			break;
		usleep(10000);
	}
	return n;
}

/* What a model left behind would some day be the whole quota of those that follow. */
static void clean_up_after(pid_t pid)
{
	char prefix[32];

	snprintf(prefix, sizeof(prefix), "model-%d-", pid);
	unpublish(prefix);
}

static int finished(pid_t pid, int status, uint64_t seed, bool model, unsigned int ops)
{
	if (model)
		clean_up_after(pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return 0;
	if (!model && (WIFSIGNALED(status) || WEXITSTATUS(status) >= 99))
		return 0;	/* it wrote into what it unmapped, or failed to start for want of memory: its own fault */
	if (!status)
		return 0;
	COUNT(wrong);
	printf("# worker %d of seed %llu: status %#x; again: fuzz_calls 0 %llu %u\n", pid, (unsigned long long)seed, status,
	       (unsigned long long)seed, ops);
	return 1;
}

static void run(unsigned int seconds, uint64_t seed)
{
	uint64_t end = now_ms() + seconds * 1000ull, seeds[WORKERS];
	unsigned int i, ops[WORKERS];
	pid_t pid[WORKERS] = { 0 };
	struct rnd r = { seed };
	int status;

	for (;;) {
		for (i = 0; i < WORKERS; i++) {
			if (pid[i] > 0 && waitpid(pid[i], &status, WNOHANG) == pid[i]) {
				finished(pid[i], status, seeds[i], i < MODELS, ops[i]);
				pid[i] = 0;
			}
			if (pid[i] <= 0 && now_ms() < end && tally->wrong < 5) {
				seeds[i] = rnd_next(&r) >> 16;
				ops[i] = 200 + below(&r, 2000);
				pid[i] = start(i, seeds[i], ops[i]);
				COUNT(workers);
			}
			if (pid[i] > 0 && chance(&r, 1)) {
				kill(pid[i], SIGKILL);
				COUNT(killed);
			}
		}
		if (now_ms() >= end || tally->wrong >= 5)
			break;
		usleep(10000);
	}
	/* Who knows what it does may finish; the others never do. */
	for (i = 0; i < WORKERS; i++) {
		if (pid[i] <= 0)
			continue;
		if (i >= MODELS)
			kill(pid[i], SIGKILL);
		waitpid(pid[i], &status, 0);
		finished(pid[i], status, seeds[i], i < MODELS, ops[i]);
	}
}

int main(int argc, char **argv)
{
	unsigned int seconds = argc > 1 ? atoi(argv[1]) : 10, i;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	int status;
	long left;

	if (access(DEV, F_OK)) {
		printf("TAP version 13\n1..0 # SKIP no %s: the module is not loaded\n", DEV);
		return 77;
	}
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!seed)
		seed = now_ms() ^ (uint64_t)getpid() << 20;
	printf("TAP version 13\n1..1\n# %u s, seed %llu\n", seconds, (unsigned long long)seed);
	fflush(stdout);
	if (argc > 3) {
		waitpid(start(0, seed, atoi(argv[3])), &status, 0);
		return status != 0;
	}
	for (i = 0; i < WILDS; i++)
		if (socketpair(AF_UNIX, SOCK_DGRAM, 0, mail[i]))
			return 1;
	faults_prepare(true);
	run(seconds, seed);
	faults_prepare(false);
	for (i = 0; i < WILDS; i++) {
		close(mail[i][0]);
		close(mail[i][1]);
	}
	left = sweep();
	if (left)
		printf("# %ld bytes are left\n", left);
	printf("# %lu workers, %lu killed; %lu calls foretold, %lu of them done; %lu wild ones\n", tally->workers,
	       tally->killed, tally->calls, tally->done, tally->wild);
	printf("%s 1 - random calls, seed %llu\n", tally->wrong || left ? "not ok" : "ok", (unsigned long long)seed);
	return tally->wrong || left;
}
