// SPDX-License-Identifier: Apache-2.0
/*
 * What would a completion ring of the module change for a commit on this machine? One message there and one back between
 * two processes: over the Unix socket as client and owner do it, and over two queues of /dev/mooncake (where it is there),
 * with both sides asleep in between, and with both awake. The limit beside each is the same over a pair of eventfds: a wake
 * each way and no bytes.
 */
#include "bench.h"

#include <fcntl.h>
#include <linux/mooncake.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGE 120 /* bytes of a commit of one object, and more than those of its answer */

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* The other process: does @fn until it is killed. */
static pid_t other(void (*fn)(void *), void *arg)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pin(1);
		for (;;)
			fn(arg);
	}
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void must(bool ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

/* ---- sockets and eventfds: the owner sleeps in epoll_wait(), the client in the call that waits for its answer ---- */

struct wire {
	int client, server, epoll;
};

static void wire_open(struct wire *w, int kind)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int fd[2];

	if (kind == AF_UNIX) {
		must(!socketpair(AF_UNIX, SOCK_STREAM, 0, fd), "socketpair");
	} else {
		fd[0] = eventfd(0, 0); /* to the server */
		fd[1] = eventfd(0, 0);
	}
	w->client = fd[0];
	w->server = fd[1];
	w->epoll = epoll_create1(0);
	epoll_ctl(w->epoll, EPOLL_CTL_ADD, kind == AF_UNIX ? w->server : w->client, &ev);
}

static void wire_close(struct wire *w)
{
	close(w->client);
	close(w->server);
	close(w->epoll);
}

static void socket_serve(void *arg)
{
	struct wire *w = arg;
	struct epoll_event ev;
	char m[MESSAGE];

	must(epoll_wait(w->epoll, &ev, 1, -1) == 1 && recv(w->server, m, MESSAGE, 0) == MESSAGE &&
	     send(w->server, m, MESSAGE, MSG_NOSIGNAL) == MESSAGE, "serve");
}

static void socket_ask(void *arg, uint64_t nr)
{
	struct wire *w = arg;
	char m[MESSAGE] = "";

	while (nr--)
		must(send(w->client, m, MESSAGE, MSG_NOSIGNAL) == MESSAGE && recv(w->client, m, MESSAGE, MSG_WAITALL) == MESSAGE, "ask");
}

static void eventfd_serve(void *arg)
{
	struct wire *w = arg;
	struct epoll_event ev;
	uint64_t v;

	must(epoll_wait(w->epoll, &ev, 1, -1) == 1 && read(w->client, &v, 8) == 8 && write(w->server, &v, 8) == 8, "serve");
}

static void eventfd_ask(void *arg, uint64_t nr)
{
	struct wire *w = arg;
	uint64_t v = 1;

	while (nr--)
		must(write(w->client, &v, 8) == 8 && read(w->server, &v, 8) == 8, "ask");
}

static void socket_serve_awake(void *arg)
{
	struct wire *w = arg;
	char m[MESSAGE];

	while (recv(w->server, m, MESSAGE, MSG_DONTWAIT) != MESSAGE)
		;
	must(send(w->server, m, MESSAGE, MSG_NOSIGNAL) == MESSAGE, "serve");
}

static void socket_ask_awake(void *arg, uint64_t nr)
{
	struct wire *w = arg;
	char m[MESSAGE] = "";

	while (nr--) {
		must(send(w->client, m, MESSAGE, MSG_NOSIGNAL) == MESSAGE, "ask");
		while (recv(w->client, m, MESSAGE, MSG_DONTWAIT) != MESSAGE)
			;
	}
}

/* ---- queues of the module ---- */

struct queue {
	int fd, post;
	struct mc_cq_ring *ring;  /* the consumer's mapping */
	_Atomic uint32_t *tail;   /* where the poster, or the module, stores it */
	_Atomic uint32_t *tail_w; /* of SPSC: the same, to write */
	struct mc_cqe *entries_w;
};

struct rings {
	struct queue there, back;
	int epoll;
};

static bool queue_open(int device, uint32_t flags, struct queue *q)
{
	struct mc_ioc_cq_create a = {
		.size = sizeof(a),
		.flags = MC_CQ_POST_FD | flags,
		.entries = 64,
		.overflow = MC_CQ_RESERVE,
		.eventfd = -1,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	uint8_t *tail_page;

	if (ioctl(device, MC_IOC_CQ_CREATE, &a))
		return false;
	q->fd = a.out_fd;
	q->post = a.out_post_fd;
	q->ring = mmap(NULL, a.out_ring_size, PROT_READ | PROT_WRITE, MAP_SHARED, q->fd, 0);
	must(q->ring != MAP_FAILED, "map a queue");
	q->tail = (_Atomic uint32_t *)((uint8_t *)q->ring + q->ring->tail_off);
	if (!(flags & MC_CQ_SPSC))
		return true;
	tail_page = mmap(NULL, a.out_ring_size - 4096, PROT_READ | PROT_WRITE, MAP_SHARED, q->post, 4096);
	must(tail_page != MAP_FAILED, "map a post file");
	q->tail_w = (_Atomic uint32_t *)(tail_page + q->ring->tail_off - 4096);
	q->entries_w = (struct mc_cqe *)(tail_page + q->ring->cqe_off - 4096);
	return true;
}

static void queue_close(struct queue *q)
{
	close(q->fd);
	close(q->post);
}

static bool take(struct queue *q)
{
	uint32_t head = q->ring->head;

	if (atomic_load_explicit(q->tail, memory_order_acquire) == head)
		return false;
	__atomic_store_n(&q->ring->head, head + 1, __ATOMIC_RELEASE);
	return true;
}

static void post(struct queue *q)
{
	struct mc_cqe e = { .type = MC_CQE_NOTIFY };
	struct mc_ioc_cq_post a = { .size = sizeof(a), .post_fd = -1, .nr = 1, .vec = (uint64_t)(uintptr_t)&e };

	must(!ioctl(q->post, MC_IOC_CQ_POST, &a), "CQ_POST");
}

/* No system call: the entry is written here. */
static void post_awake(struct queue *q)
{
	uint32_t tail = atomic_load_explicit(q->tail_w, memory_order_relaxed);

	q->entries_w[tail & q->ring->mask] = (struct mc_cqe){ .type = MC_CQE_NOTIFY, .user_data = tail };
	atomic_store_explicit(q->tail_w, tail + 1, memory_order_release);
}

static void ring_serve(void *arg)
{
	struct rings *r = arg;
	struct epoll_event ev;

	must(epoll_wait(r->epoll, &ev, 1, -1) == 1, "epoll");
	while (take(&r->there))
		post(&r->back);
}

static void ring_ask(void *arg, uint64_t nr)
{
	struct rings *r = arg;

	while (nr--) {
		struct mc_ioc_cq_wait w = { .size = sizeof(w), .fd = -1, .min = 1, .timeout_ns = UINT64_MAX };

		post(&r->there);
		must(!ioctl(r->back.fd, MC_IOC_CQ_WAIT, &w) && take(&r->back), "CQ_WAIT");
	}
}

static void ring_serve_awake(void *arg)
{
	struct rings *r = arg;

	while (!take(&r->there))
		;
	post_awake(&r->back);
}

static void ring_ask_awake(void *arg, uint64_t nr)
{
	struct rings *r = arg;

	while (nr--) {
		post_awake(&r->there);
		while (!take(&r->back))
			;
	}
}

/* ---- cases ---- */

/* @calls: of both sides together, for one message there and back. */
static void pair(const char *name, bench_fn ask, void (*serve)(void *), void *arg, int calls)
{
	struct wire limit;
	pid_t a, b;
	double ns, limit_ns;

	if (!bench_wanted(name))
		return;
	/* One after the other: a server that is awake leaves its processor to nobody. */
	a = other(serve, arg);
	ns = bench_ns(ask, arg);
	stop(a);
	wire_open(&limit, 0);
	b = other(eventfd_serve, &limit);
	limit_ns = bench_ns(eventfd_ask, &limit);
	stop(b);
	wire_close(&limit);
	bench_row(name, ns, "ns", "two eventfds", limit_ns);
	printf("{\"case\": \"%s_calls\", \"value\": %d, \"unit\": \"system calls\"}\n", name, calls);
}

static void sockets(void)
{
	struct wire w;

	wire_open(&w, AF_UNIX);
	pair("ring_socket_asleep", socket_ask, socket_serve, &w, 5);
	wire_close(&w);
	wire_open(&w, AF_UNIX);
	pair("ring_socket_awake", socket_ask_awake, socket_serve_awake, &w, 4);
	wire_close(&w);
}

static void queues(int device)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct rings r = { .epoll = epoll_create1(0) };

	must(queue_open(device, 0, &r.there) && queue_open(device, 0, &r.back), "CQ_CREATE");
	epoll_ctl(r.epoll, EPOLL_CTL_ADD, r.there.fd, &ev);
	pair("ring_queue_asleep", ring_ask, ring_serve, &r, 4);
	queue_close(&r.there);
	queue_close(&r.back);
	if (queue_open(device, MC_CQ_SPSC, &r.there) && queue_open(device, MC_CQ_SPSC, &r.back))
		pair("ring_queue_awake", ring_ask_awake, ring_serve_awake, &r, 0);
	close(r.epoll);
}

int main(int argc, char **argv)
{
	int device = open("/dev/mooncake", O_RDWR | O_CLOEXEC);

	bench_init(argc, argv);
	pin(0);
	sockets();
	if (device >= 0)
		queues(device);
	else
		fprintf(stderr, "bench_ring: no /dev/mooncake: its queues were not measured\n");
	return 0;
}
