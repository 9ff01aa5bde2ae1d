// SPDX-License-Identifier: Apache-2.0
/*
 * What memory behind /dev/mooncake costs, each figure beside its limit of the same run. Counts (page faults, system calls)
 * must hold anywhere and are checked; under emulation times mean something only as ratios.
 */

#include "../bench.h"

#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <linux/filter.h>
#include <linux/mooncake.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEV "/dev/mooncake"
#define MIB (1024ull * 1024)
#define UPTR(p) ((uint64_t)(uintptr_t)(p))

static int ctx, failures;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int region(uint64_t length, const char *name)
{
	struct mc_ioc_region_create a = { .size = sizeof(a), .length = length, .node = -1, .memfd = -1,
		.flags = MC_REGION_POPULATE | MC_REGION_PERSIST_OK, .fd_flags = O_RDWR };
	struct mc_ioc_region_publish p = { .size = sizeof(p), .fd = -1, .mode = 0600, .uid = -1, .gid = -1 };

	if (ioctl(ctx, MC_IOC_REGION_CREATE, &a))
		die("create");
	if (name) {
		p.name = UPTR(name);
		p.name_len = strlen(name);
		if (ioctl(a.out_fd, MC_IOC_REGION_PUBLISH, &p))
			die("publish");
	}
	return a.out_fd;
}

static void *map(int fd, uint64_t length)
{
	void *p = mmap(NULL, length, PROT_READ | PROT_WRITE, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

/* A count that must not be exceeded. */
static void count_row(const char *name, double value, const char *unit, double limit)
{
	printf("{\"case\": \"%s\", \"value\": %.5g, \"unit\": \"%s\", \"limit\": %.5g, \"limit_name\": \"at most\", \"ratio\": %.3f}\n",
	       name, value, unit, limit, value > 0 ? limit / value : 1.0);
	if (value > limit) {
		printf("# %s: %g is more than %g\n", name, value, limit);
		failures++;
	}
}

/* Values of 64 KiB, one after the other from 64 MiB: too much for any cache. */
#define SET (64 * MIB)
#define VALUE (64 * 1024ull)

struct source {
	char *from, *to;
	uint64_t at;
};

static void read_values(void *arg, uint64_t n)
{
	struct source *s = arg;

	while (n--) {
		memcpy(s->to, s->from + s->at, VALUE);
		s->at = (s->at + VALUE) % SET;
	}
	bench_use(s->to);
}

static void bench_read(void)
{
	int r = region(SET, NULL), m = memfd_create("bench", 0);
	char *to = map(-1, VALUE);
	struct source ours = { map(r, SET), to, 0 }, theirs, plain;

	if (ftruncate(m, SET))
		die("memfd");
	theirs = (struct source){ map(m, SET), to, 0 };
	plain = (struct source){ map(-1, SET), to, 0 };
	memset(ours.from, 1, SET);
	memset(theirs.from, 1, SET);
	memset(plain.from, 1, SET);
	bench_case("region_read/64KiB", VALUE, read_values, &ours, "the same from a memfd", read_values, &theirs);
	bench_case("region_read_memcpy/64KiB", VALUE, read_values, &ours, "memcpy in one process", read_values, &plain);
	munmap(ours.from, SET);
	munmap(theirs.from, SET);
	munmap(plain.from, SET);
	close(r);
	close(m);
}

static void bench_faults(void)
{
	const uint64_t length = 256 * MIB;
	int r = region(length, NULL);
	char *p = map(r, length);
	struct rusage before, after;
	uint64_t i;

	getrusage(RUSAGE_SELF, &before);
	for (i = 0; i < length; i += 4096)
		p[i] = 1;
	getrusage(RUSAGE_SELF, &after);
	count_row("page_faults_per_GiB", (double)(after.ru_minflt - before.ru_minflt) * 1024 * MIB / length, "faults", 1024);
	munmap(p, length);
	close(r);
}

static volatile unsigned int trapped;

static void on_call(int sig)
{
	trapped++;
}

/* From here on every system call of this thread is counted instead of made; but for leaving. */
static void count_calls(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = sizeof(f) / sizeof(f[0]), .filter = f };

	signal(SIGSYS, on_call);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		die("seccomp");
}

#define POSTS 20000u

struct shared {
	uint32_t ready;
	uint32_t trapped;
	uint32_t lost;
};

static void consume(struct mc_cq_ring *ring, const uint32_t *tail, struct shared *s)
{
	const struct mc_cqe *e;
	uint32_t head = 0;

	count_calls();
	__atomic_store_n(&s->ready, 1, __ATOMIC_RELEASE);
	while (head < POSTS) {
		if (head == __atomic_load_n(tail, __ATOMIC_ACQUIRE))
			continue;
		e = (void *)((char *)ring + ring->cqe_off + (size_t)(head & ring->mask) * sizeof(*e));
		s->lost += e->user_data != head;
		__atomic_store_n(&ring->head, ++head, __ATOMIC_RELEASE);
	}
	s->trapped = trapped;
	_exit(0);
}

static void no_call(void *arg, uint64_t n)
{
	while (n--)
		syscall(SYS_getppid);
}

static void bench_post(void)
{
	struct mc_ioc_cq_create c = { .size = sizeof(c), .flags = MC_CQ_POST_FD, .entries = 1024, .overflow = MC_CQ_RESERVE,
		.eventfd = -1, .fd_flags = O_RDWR };
	struct shared *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct mc_cqe e = { .type = MC_CQE_NOTIFY };
	struct mc_ioc_cq_post p = { .size = sizeof(p), .post_fd = -1, .nr = 1, .vec = UPTR(&e) };
	struct mc_cq_ring *ring;
	uint32_t i;
	double ns, start, bare;
	pid_t pid;

	if (ioctl(ctx, MC_IOC_CQ_CREATE, &c))
		die("queue");
	ring = map(c.out_fd, c.out_ring_size);
	pid = fork();
	if (!pid)
		consume(ring, (void *)((char *)ring + ring->tail_off), s);
	while (!__atomic_load_n(&s->ready, __ATOMIC_ACQUIRE))
		;
	start = bench_now();
	for (i = 0; i < POSTS; i++) {
		e.user_data = i;
		while (ioctl(c.out_post_fd, MC_IOC_CQ_POST, &p))
			if (errno != EAGAIN)
				die("post");
	}
	waitpid(pid, NULL, 0);
	ns = (bench_now() - start) * 1e9 / POSTS;
	bare = bench_ns(no_call, NULL);
	count_row("ring_consumer_calls/20000 entries", s->trapped, "system calls", 0);
	count_row("ring_lost/20000 entries", s->lost, "entries", 0);
	bench_row("ring_post", ns, "ns", "a bare system call", bare);
	munmap(ring, c.out_ring_size);
	close(c.out_fd);
	close(c.out_post_fd);
}

/* The poster of an SPSC ring writes entries itself: no calls on either side while the consumer is awake. */
static void bench_spsc(void)
{
	struct mc_ioc_cq_create c = { .size = sizeof(c), .flags = MC_CQ_POST_FD | MC_CQ_SPSC, .entries = 1024,
		.overflow = MC_CQ_RESERVE, .eventfd = -1, .fd_flags = O_RDWR };
	struct shared *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct mc_cq_ring *ring;
	const struct mc_cq_ring *seen;
	uint32_t i, *tail;
	struct mc_cqe *slot;
	pid_t pid[2];
	char *rest;

	if (ioctl(ctx, MC_IOC_CQ_CREATE, &c))
		die("queue");
	ring = map(c.out_fd, c.out_ring_size);
	seen = mmap(NULL, 4096, PROT_READ, MAP_SHARED, c.out_post_fd, 0);
	rest = mmap(NULL, c.out_ring_size - 4096, PROT_READ | PROT_WRITE, MAP_SHARED, c.out_post_fd, 4096);
	if (seen == MAP_FAILED || rest == MAP_FAILED)
		die("the poster's part");
	tail = (void *)(rest + ring->tail_off - 4096);
	pid[0] = fork();
	if (!pid[0])
		consume(ring, (void *)((char *)ring + ring->tail_off), s);
	while (!__atomic_load_n(&s->ready, __ATOMIC_ACQUIRE))
		;
	pid[1] = fork();
	if (!pid[1]) {
		count_calls();
		for (i = 0; i < POSTS; i++) {
			while (i - __atomic_load_n(&seen->head, __ATOMIC_ACQUIRE) >= seen->entries)
				;
			slot = (void *)(rest + seen->cqe_off - 4096 + (size_t)(i & seen->mask) * sizeof(*slot));
			*slot = (struct mc_cqe){ .type = MC_CQE_NOTIFY, .user_data = i };
			__atomic_store_n(tail, i + 1, __ATOMIC_RELEASE);
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			if (__atomic_load_n(&seen->kflags, __ATOMIC_RELAXED) & MC_CQ_K_ARMED)
				trapped++;
		}
		s[1].trapped = trapped;
		_exit(0);
	}
	waitpid(pid[0], NULL, 0);
	waitpid(pid[1], NULL, 0);
	count_row("spsc_consumer_calls/20000 entries", s->trapped, "system calls", 0);
	count_row("spsc_poster_calls/20000 entries", s[1].trapped, "system calls", 0);
	count_row("spsc_lost/20000 entries", s->lost, "entries", 0);
	munmap(ring, c.out_ring_size);
	munmap((void *)seen, 4096);
	munmap(rest, c.out_ring_size - 4096);
	close(c.out_fd);
	close(c.out_post_fd);
}

struct reg {
	struct ibv_pd *pd;
	char *p;
};

static void register_once(void *arg, uint64_t n)
{
	struct reg *r = arg;
	struct ibv_mr *mr;

	while (n--) {
		mr = ibv_reg_mr(r->pd, r->p, SET, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
		if (!mr)
			die("ibv_reg_mr");
		ibv_dereg_mr(mr);
	}
}

static void bench_register(void)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_context *dev = list && list[0] ? ibv_open_device(list[0]) : NULL;
	struct ibv_pd *pd = dev ? ibv_alloc_pd(dev) : NULL;
	struct reg ours, theirs;
	int r;

	if (!pd) {
		printf("# no RDMA device\n");
		return;
	}
	r = region(SET, NULL);
	ours = (struct reg){ pd, map(r, SET) };
	theirs = (struct reg){ pd, map(-1, SET + 2 * MIB) };
	theirs.p = (char *)((UPTR(theirs.p) + 2 * MIB - 1) & ~(2 * MIB - 1));
	madvise(theirs.p, SET, MADV_HUGEPAGE);
	memset(ours.p, 1, SET);
	memset(theirs.p, 1, SET);
	bench_case("register/64MiB", 0, register_once, &ours, "the same on anonymous huge pages", register_once, &theirs);
	ibv_dealloc_pd(pd);
	ibv_close_device(dev);
	munmap(ours.p, SET);
	close(r);
}

static void attach(void *arg, uint64_t n)
{
	const char *name = arg;
	volatile char *p;

	while (n--) {
		struct mc_ioc_region_open a = { .size = sizeof(a), .name = UPTR(name), .name_len = strlen(name),
			.access = MC_ACCESS_R | MC_ACCESS_W };

		if (ioctl(ctx, MC_IOC_REGION_OPEN, &a))
			die("open");
		p = map(a.out_fd, a.out_length);
		(void)*p;
		munmap((void *)p, a.out_length);
		close(a.out_fd);
	}
}

static void bench_attach(void)
{
	struct mc_ioc_region_publish u = { .size = sizeof(u), .fd = -1 };
	int small = region(2 * MIB, "bench-small"), large = region(512 * MIB, "bench-large");

	bench_case("attach/512MiB", 0, attach, (void *)"bench-large", "attach/2MiB", attach, (void *)"bench-small");
	ioctl(small, MC_IOC_REGION_UNPUBLISH, &u);
	ioctl(large, MC_IOC_REGION_UNPUBLISH, &u);
	close(small);
	close(large);
}

int main(int argc, char **argv)
{
	bench_init(argc, argv);
	ctx = open(DEV, O_RDWR);
	if (ctx < 0) {
		printf("1..0 # SKIP no %s\n", DEV);
		return 77;
	}
	bench_faults();
	bench_post();
	bench_spsc();
	bench_read();
	bench_register();
	bench_attach();
	printf("%s - counts within their limits\n", failures ? "not ok" : "ok");
	return failures != 0;
}
