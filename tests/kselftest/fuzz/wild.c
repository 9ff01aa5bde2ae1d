// SPDX-License-Identifier: GPL-2.0-only
/*
 * A worker that knows nothing: threads that share one table of descriptors and one of mappings without any lock, so that
 * files are closed, mappings taken away and memory written to while another thread's call uses them. The grammar is the
 * table of calls: fields get plausible values, and now and then any.
 */

#include "fuzz.h"

#include <pthread.h>
#include <sys/eventfd.h>

#define FDS 24
#define MAPPINGS 12
#define THREADS 3

static volatile int fds[FDS];
static struct {
	char *volatile p;
	volatile size_t length;
} mappings[MAPPINGS];
static char *arena;			/* 1 MiB that calls are given as memory */

#define ARENA (1u << 20)

struct worker {
	struct rnd r;
	unsigned int ops;
	int mail;
	const int *post;
	unsigned int nr_post;
};

static int some_fd(struct rnd *r)
{
	return chance(r, 90) ? fds[below(r, FDS)] : (int)below(r, 64) - 1;
}

static void keep(struct rnd *r, int fd)
{
	unsigned int i = below(r, FDS);
	int old = fds[i];

	/* Two threads may close the same number: then one of them closes a stranger, as in bad programs. */
	fds[i] = fd;
	if (old > 2)
		close(old);
}

static uint64_t odd(struct rnd *r)
{
	static const uint64_t values[] = { 0, 1, 7, 4095, 4096, 4097, 1ull << 21, 1ull << 31, 1ull << 32, 1ull << 47, ~0ull,
					   ~0ull << 12, 1ull << 63, 0x7fffffffffffffff };

	return chance(r, 70) ? values[below(r, ARRAY_SIZE(values))] : rnd_next(r);
}

static uint64_t length(struct rnd *r)
{
	return chance(r, 90) ? (1 + below(r, chance(r, 80) ? 64 : 1024)) * PAGE : odd(r);
}

static uint64_t offset(struct rnd *r)
{
	return chance(r, 90) ? below(r, 512) * PAGE : odd(r);
}

static uint64_t memory(struct rnd *r)
{
	unsigned int i = below(r, MAPPINGS);

	if (chance(r, 25) && mappings[i].p)
		return UPTR(mappings[i].p);
	return chance(r, 95) ? UPTR(arena + below(r, ARENA / PAGE) * PAGE) : odd(r);
}

static uint32_t flags(struct rnd *r, uint32_t known)
{
	return chance(r, 95) ? (uint32_t)rnd_next(r) & known : (uint32_t)rnd_next(r);
}

static uint32_t fd_flags(struct rnd *r)
{
	static const uint32_t values[] = { O_RDWR, O_RDONLY, O_RDWR | O_CLOEXEC, O_CLOEXEC };

	return chance(r, 97) ? values[below(r, 4)] : (uint32_t)rnd_next(r);
}

static const char *name(struct rnd *r)
{
	static const char *const names[] = { "wild-a", "wild-b", "wild-c", "wild-d", "", ".hidden", "no/slash" };

	return names[chance(r, 90) ? below(r, 4) : below(r, ARRAY_SIZE(names))];
}

static uint64_t id(struct rnd *r)
{
	return chance(r, 80) ? below(r, 400) : odd(r);
}

union arg {
	uint32_t size;
	struct mc_ioc_query query;
	struct mc_ioc_region_create create;
	struct mc_ioc_region_pin pin;
	struct mc_ioc_region_import import;
	struct mc_ioc_region_open open;
	struct mc_ioc_region_info info;
	struct mc_ioc_region_publish publish;
	struct mc_ioc_region_revoke revoke;
	struct mc_ioc_region_export export;
	struct mc_ioc_region_mark mark;
	struct mc_ioc_copy copy;
	struct mc_ioc_cq_create cq_create;
	struct mc_ioc_cq_wait cq_wait;
	struct mc_ioc_cq_post cq_post;
	struct mc_ioc_events events;
	uint64_t words[32];
};

static void g_query(struct rnd *r, union arg *a)
{
	a->query = (struct mc_ioc_query){ .size = sizeof(a->query) };
}

static void g_create(struct rnd *r, union arg *a)
{
	static const uint32_t shifts[] = { 0, 0, 0, 12, 21, 30, 5 };

	a->create = (struct mc_ioc_region_create){ .size = sizeof(a->create), .flags = flags(r, 0x1f), .length = length(r),
		.backing = below(r, 4), .page_shift = shifts[below(r, 7)], .node = (int)below(r, 4) - 1, .memfd = -1,
		.align = chance(r, 80) ? 0 : 1ull << below(r, 40), .fd_flags = fd_flags(r) };
}

static void g_pin(struct rnd *r, union arg *a)
{
	a->pin = (struct mc_ioc_region_pin){ .size = sizeof(a->pin), .flags = flags(r, 1), .addr = memory(r),
		.length = length(r), .fd_flags = fd_flags(r) };
}

static void g_import(struct rnd *r, union arg *a)
{
	a->import = (struct mc_ioc_region_import){ .size = sizeof(a->import), .flags = flags(r, 2), .fd = some_fd(r),
		.kind = 1 + below(r, 2), .offset = chance(r, 50) ? 0 : offset(r), .length = length(r),
		.user_data = chance(r, 50) ? 0 : rnd_next(r), .cq_fd = chance(r, 50) ? -1 : some_fd(r),
		.fd_flags = fd_flags(r) };
}

static void g_open(struct rnd *r, union arg *a)
{
	static const uint32_t access[] = { 1, 3, 7, 8, 2, 4 };
	const char *n = name(r);

	a->open = (struct mc_ioc_region_open){ .size = sizeof(a->open), .access = access[below(r, 6)],
		.fd_flags = chance(r, 90) ? O_CLOEXEC : (uint32_t)rnd_next(r) };
	if (chance(r, 80)) {
		a->open.name = UPTR(n);
		a->open.name_len = strlen(n);
	} else {
		a->open.id = id(r);
	}
}

static void g_info(struct rnd *r, union arg *a)
{
	a->info = (struct mc_ioc_region_info){ .size = sizeof(a->info), .fd = -1 };
	if (chance(r, 50)) {
		a->info.flags = below(r, 2);
		a->info.id = id(r);
	}
	if (chance(r, 50)) {
		a->info.name = memory(r);
		a->info.name_len = below(r, 100);
	}
}

static void g_publish(struct rnd *r, union arg *a)
{
	const char *n = name(r);

	a->publish = (struct mc_ioc_region_publish){ .size = sizeof(a->publish), .fd = -1,
		.mode = chance(r, 50) ? 0222 : flags(r, 0666), .uid = chance(r, 90) ? -1u : below(r, 3000),
		.gid = chance(r, 90) ? -1u : 1234, .name = UPTR(n), .name_len = strlen(n) };
}

static void g_unpublish(struct rnd *r, union arg *a)
{
	const char *n = name(r);

	a->publish = (struct mc_ioc_region_publish){ .size = sizeof(a->publish), .flags = flags(r, 1), .fd = -1 };
	if (chance(r, 80)) {
		a->publish.name = UPTR(n);
		a->publish.name_len = strlen(n);
	}
}

static void g_revoke(struct rnd *r, union arg *a)
{
	a->revoke = (struct mc_ioc_region_revoke){ .size = sizeof(a->revoke), .fd = chance(r, 70) ? -1 : some_fd(r) };
	if (chance(r, 20))
		a->revoke.id = id(r);
}

static void g_export(struct rnd *r, union arg *a)
{
	a->export = (struct mc_ioc_region_export){ .size = sizeof(a->export), .flags = flags(r, 1), .fd = -1,
		.fd_flags = fd_flags(r), .offset = chance(r, 60) ? 0 : offset(r), .length = length(r) };
}

static void g_mark(struct rnd *r, union arg *a)
{
	a->mark = (struct mc_ioc_region_mark){ .size = sizeof(a->mark), .fd = -1, .op = below(r, 8) };
	if (a->mark.op == MC_MARK_PUNCH || chance(r, 10)) {
		a->mark.offset = offset(r);
		a->mark.length = length(r);
	}
}

static void g_sge(struct rnd *r, struct mc_sge *s, uint64_t n)
{
	*s = (struct mc_sge){ .kind = chance(r, 95) ? 1 + below(r, 2) : below(r, 5), .fd = -1, .length = n };
	if (s->kind == MC_SGE_USER) {
		s->addr = memory(r) + below(r, 4096);
	} else {
		s->fd = some_fd(r);
		s->addr = offset(r) + below(r, 4096);
	}
}

static void g_copy(struct rnd *r, union arg *a)
{
	struct mc_copy_vec *v = (void *)(arena + below(r, 16) * 2 * PAGE);
	uint32_t n = 1 + below(r, chance(r, 90) ? 4 : 1100), i;
	uint64_t len;

	for (i = 0; i < n && i < 8; i++) {
		len = 1 + below(r, 8 * PAGE);
		g_sge(r, &v[i].src, len);
		g_sge(r, &v[i].dst, chance(r, 95) ? len : odd(r));
	}
	a->copy = (struct mc_ioc_copy){ .size = sizeof(a->copy), .flags = flags(r, 0xc), .vec = UPTR(v), .nr = n, .cq_fd = -1 };
}

static void g_cq_create(struct rnd *r, union arg *a)
{
	a->cq_create = (struct mc_ioc_cq_create){ .size = sizeof(a->cq_create), .flags = flags(r, 7),
		.entries = chance(r, 90) ? 1 + below(r, 200) : (uint32_t)odd(r), .overflow = below(r, 2), .eventfd = -1,
		.fd_flags = chance(r, 90) ? O_RDWR : fd_flags(r) };
	if (a->cq_create.flags & MC_CQ_EVENTFD)
		a->cq_create.eventfd = some_fd(r);
}

static void g_cq_wait(struct rnd *r, union arg *a)
{
	a->cq_wait = (struct mc_ioc_cq_wait){ .size = sizeof(a->cq_wait), .fd = -1, .min = 1 + below(r, 4),
		.timeout_ns = chance(r, 60) ? 0 : 1 + below(r, 1000), .spin_us = chance(r, 90) ? below(r, 50) : (uint32_t)odd(r) };
}

static void g_cq_post(struct rnd *r, union arg *a)
{
	struct mc_cqe *e = (void *)(arena + below(r, 64) * PAGE);
	uint32_t n = below(r, 6), i;

	for (i = 0; i < n; i++)
		e[i] = (struct mc_cqe){ .user_data = i, .type = chance(r, 95) ? MC_CQE_NOTIFY : (uint16_t)rnd_next(r) };
	a->cq_post = (struct mc_ioc_cq_post){ .size = sizeof(a->cq_post), .post_fd = -1, .nr = n, .vec = n ? UPTR(e) : 0 };
}

static void g_events(struct rnd *r, union arg *a)
{
	a->events = (struct mc_ioc_events){ .size = sizeof(a->events), .cq_fd = some_fd(r), .mask = flags(r, 7),
		.user_data = rnd_next(r) };
}

static const struct grammar {
	unsigned int cmd;
	void (*make)(struct rnd *r, union arg *a);
	bool new_file;
} grammar[] = {
	{ MC_IOC_QUERY, g_query, false }, { MC_IOC_REGION_CREATE, g_create, true }, { MC_IOC_REGION_PIN, g_pin, true },
	{ MC_IOC_REGION_IMPORT, g_import, true }, { MC_IOC_REGION_OPEN, g_open, true }, { MC_IOC_REGION_INFO, g_info, false },
	{ MC_IOC_REGION_PUBLISH, g_publish, false }, { MC_IOC_REGION_UNPUBLISH, g_unpublish, false },
	{ MC_IOC_REGION_REVOKE, g_revoke, false }, { MC_IOC_REGION_EXPORT, g_export, true },
	{ MC_IOC_REGION_MARK, g_mark, false }, { MC_IOC_COPY, g_copy, false }, { MC_IOC_CQ_CREATE, g_cq_create, true },
	{ MC_IOC_CQ_WAIT, g_cq_wait, false }, { MC_IOC_CQ_POST, g_cq_post, false }, { MC_IOC_CQ_OPEN_POST, g_open, true },
	{ MC_IOC_EVENTS, g_events, false },
};

/* Where a call leaves its new descriptor. */
static int *out_fd(unsigned int cmd, union arg *a)
{
	switch (cmd) {
	case MC_IOC_REGION_CREATE: return &a->create.out_fd;
	case MC_IOC_REGION_PIN: return &a->pin.out_fd;
	case MC_IOC_REGION_IMPORT: return &a->import.out_fd;
	case MC_IOC_REGION_EXPORT: return &a->export.out_fd;
	case MC_IOC_CQ_CREATE: return &a->cq_create.out_fd;
	default: return &a->open.out_fd;
	}
}

static void w_call(struct worker *w)
{
	const struct grammar *g = &grammar[below(&w->r, ARRAY_SIZE(grammar))];
	union arg *a, local;
	int fd = some_fd(&w->r);

	memset(&local, 0, sizeof(local));
	g->make(&w->r, &local);
	if (chance(&w->r, 5))
		local.words[below(&w->r, local.size / 8)] = odd(&w->r);
	if (chance(&w->r, 3))
		local.size = below(&w->r, sizeof(local) + 64);
	/* Now and then where another thread writes. */
	a = chance(&w->r, 90) ? &local : (void *)(arena + below(&w->r, ARENA / PAGE) * PAGE);
	if (a != &local)
		memcpy(a, &local, sizeof(local));
	if (ioctl(fd, g->cmd, a))
		return;
	if (g->new_file)
		keep(&w->r, *out_fd(g->cmd, a));
	if (g->cmd == MC_IOC_CQ_CREATE && a->cq_create.flags & MC_CQ_POST_FD)
		keep(&w->r, a->cq_create.out_post_fd);
}

static void w_map(struct worker *w)
{
	static const int prots[] = { PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_EXEC | PROT_READ };
	unsigned int i = below(&w->r, MAPPINGS);
	size_t n = chance(&w->r, 30) ? 1 + below(&w->r, 3) : 1 + below(&w->r, 64);
	void *p;

	p = mmap(NULL, n * PAGE, prots[below(&w->r, 4)], chance(&w->r, 95) ? MAP_SHARED : MAP_PRIVATE, some_fd(&w->r),
		 chance(&w->r, 60) ? 0 : below(&w->r, 64) * PAGE);
	if (p == MAP_FAILED)
		return;
	if (mappings[i].p)
		munmap(mappings[i].p, mappings[i].length);
	mappings[i].length = n * PAGE;
	mappings[i].p = p;
}

static void w_memory(struct worker *w)
{
	unsigned int i = below(&w->r, MAPPINGS);
	char *p = mappings[i].p, *q;
	size_t n = mappings[i].length;

	if (!p || !n)
		return;
	switch (below(&w->r, 7)) {
	case 0:
		mappings[i].p = NULL;
		munmap(p, n);
		break;
	case 1:
		munmap(p + below(&w->r, n / PAGE) * PAGE, PAGE);
		break;
	case 2:
		q = mremap(p, n, chance(&w->r, 50) ? n : (1 + below(&w->r, 80)) * PAGE, MREMAP_MAYMOVE);
		if (q != MAP_FAILED)
			mappings[i].p = q;
		break;
	case 3:
		madvise(p, n, below(&w->r, 26));
		break;
	case 4:
		mprotect(p, n, below(&w->r, 8));
		break;
	default:
		touch(p + below(&w->r, n), chance(&w->r, 50), (char)rnd_next(&w->r));
	}
}

static void w_file(struct worker *w)
{
	int fd = some_fd(&w->r), s;

	switch (below(&w->r, 9)) {
	case 0: keep(&w->r, open(DEV, O_RDWR)); break;
	case 1: keep(&w->r, dup(fd)); break;
	case 2: fd_send(w->post[below(&w->r, w->nr_post)], fd); break;
	case 3:
		s = fd_receive(w->mail);
		if (s >= 0)
			keep(&w->r, s);
		break;
	case 4: keep(&w->r, eventfd(0, EFD_NONBLOCK)); break;
	case 5:
		s = memfd_create("wild", MFD_ALLOW_SEALING);
		if (!ftruncate(s, length(&w->r) % (1 << 24)))
			fcntl(s, F_ADD_SEALS, F_SEAL_SHRINK);
		keep(&w->r, s);
		break;
	case 6: fcntl(fd, F_ADD_SEALS, 1 << below(&w->r, 5)); break;
	case 7:
		if (ftruncate(fd, length(&w->r) % (1 << 24)))
			fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE);
		break;
	case 8: keep(&w->r, -1); break;
	}
}

/* A child with everything the parent has, for a moment. */
static void w_fork(struct worker *w)
{
	pid_t pid = fork();
	unsigned int i;

	if (!pid) {
		for (i = 0; i < 20; i++)
			w_memory(w);
		if (chance(&w->r, 50))
			kill(getpid(), SIGKILL);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void *w_run(void *arg)
{
	struct worker *w = arg;
	uint32_t dice;

	while (w->ops--) {
		dice = below(&w->r, 1000);
		if (dice < 600)
			w_call(w);
		else if (dice < 720)
			w_map(w);
		else if (dice < 890)
			w_memory(w);
		else if (dice < 995)
			w_file(w);
		else
			w_fork(w);
		COUNT(wild);
	}
	return NULL;
}

int fuzz_wild(uint64_t seed, unsigned int ops, int mail, const int *post, unsigned int nr_post)
{
	struct worker w[THREADS];
	pthread_t t[THREADS];
	unsigned int i;

	signal(SIGALRM, SIG_DFL);
	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < FDS; i++)
		fds[i] = i < 4 ? open(DEV, O_RDWR) : -1;
	for (i = 0; i < THREADS; i++) {
		w[i] = (struct worker){ .r = { seed * THREADS + i + 1 }, .ops = ops, .mail = mail, .post = post,
			.nr_post = nr_post };
		pthread_create(&t[i], NULL, w_run, &w[i]);
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	return 0;
}
