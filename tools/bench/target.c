// SPDX-License-Identifier: Apache-2.0
/* The target: registers its buffers, says how to reach it, and waits to be told to stop. Meanwhile it serves bare streams. */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "bench.h"
#include "net/net.h"

#define SERVED_MAX 256 /* streams at a time */
#define PORT_MIN   15000
#define PORT_MAX   17000

struct server {
	struct memory *mem;
	int listener;
};
struct stream {
	struct server *server;
	int fd;
};
static _Atomic int nr_streams;

uint64_t cpu_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

bool send_all(int fd, const void *p, size_t len)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		p = (const uint8_t *)p + n;
		len -= (size_t)n;
	}
	return true;
}

bool recv_all(int fd, void *p, size_t len)
{
	while (len) {
		ssize_t n = recv(fd, p, len, MSG_WAITALL);

		if (n <= 0)
			return false;
		p = (uint8_t *)p + n;
		len -= (size_t)n;
	}
	return true;
}

/* ---- bare streams ---- */

static const uint8_t answer[8]; /* not from the block: that may be smaller */

static bool serve_one(struct server *s, int fd, const struct bare_ask *a)
{
	uint8_t *p = s->mem->buffer[0] + a->offset;
	uint64_t cpu;

	if (a->op != BARE_CPU && (!a->len || !range_inside(a->offset, a->len, s->mem->len)))
		return false;
	switch (a->op) {
	case BARE_READ:
		return send_all(fd, p, a->len);
	case BARE_WRITE:
		return recv_all(fd, p, a->len) && send_all(fd, answer, sizeof(answer));
	case BARE_CPU:
		cpu = cpu_now_ns();
		return send_all(fd, &cpu, sizeof(cpu));
	}
	return false;
}

static void *serve_stream(void *arg)
{
	struct stream st = *(struct stream *)arg;
	struct bare_ask a;

	free(arg);
	while (recv_all(st.fd, &a, sizeof(a)) && serve_one(st.server, st.fd, &a))
		;
	close(st.fd);
	atomic_fetch_sub(&nr_streams, 1);
	return NULL;
}

static void start_stream(struct server *s, int fd)
{
	struct stream *st = malloc(sizeof(*st));
	pthread_t t;

	if (st)
		*st = (struct stream){ s, fd };
	net_tune(fd);
	if (!st || atomic_fetch_add(&nr_streams, 1) >= SERVED_MAX || thread_start(&t, "bare", serve_stream, st)) {
		if (st)
			atomic_fetch_sub(&nr_streams, 1);
		free(st);
		close(fd);
		return;
	}
	pthread_detach(t);
}

/* Ends with the process: it holds nothing that somebody waits for. */
static void *serve(void *arg)
{
	struct server *s = arg;

	for (;;) {
		struct pollfd p = { .fd = s->listener, .events = POLLIN };
		int fd;

		poll(&p, 1, -1);
		fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			start_stream(s, fd);
	}
	return NULL;
}

/* At the host peers know: of the segment's name, or of local_server_name with a metadata service. */
static int listen_beside(struct server *s, const char *name, struct card *card)
{
	char host[200];
	uint16_t port;
	int ret = net_split_host_port(name, host, sizeof(host), &port);

	if (!ret)
		ret = net_listen_range(host, PORT_MIN, PORT_MAX, &s->listener, &port);
	if (ret) {
		log_warn("no bare streams for comparison: %s is no address of this machine", name);
		return ret;
	}
	card->port = port;
	snprintf(card->address, sizeof(card->address), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
	return 0;
}

/* ---- the role ---- */

static int open_engine(const struct options *o, struct mc_engine **eng)
{
	const struct mc_engine_opts opts = {
		.size = sizeof(opts),
		.local_name = o->local_server_name,
		.metadata = o->metadata_server,
		.devices = o->device_name,
	};
	int ret = mc_engine_open(&opts, eng);

	if (ret)
		fprintf(stderr, "transfer_engine_bench: the engine does not open: %s\n", mc_last_error());
	return ret;
}

static int publish(struct mc_engine *eng, struct server *s, const struct options *o, struct card *card)
{
	pthread_t t;

	card->magic = CARD_MAGIC;
	if (o->limit && !listen_beside(s, mc_engine_name(eng), card) && thread_start(&t, "bare", serve, s))
		card->port = 0;
	return mc_region_add(eng, card, CARD_BYTES, "cpu:0", NULL);
}

int run_target(struct options *o)
{
	struct server s = { .listener = -1 };
	struct mc_engine *eng;
	struct memory mem;
	struct card *card;
	sigset_t end;
	int ret, sig;

	/* Before any thread: they inherit it. */
	sigemptyset(&end);
	sigaddset(&end, SIGINT);
	sigaddset(&end, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &end, NULL);
	card = mmap(NULL, CARD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (card == MAP_FAILED)
		return -ENOMEM;
	ret = open_engine(o, &eng);
	if (ret)
		return ret;
	ret = memory_open(&mem, eng, o);
	if (ret)
		goto close_engine;
	s.mem = &mem;
	ret = publish(eng, &s, o, card);
	if (ret)
		goto close_engine;
	printf("segment_id %s\n", mc_engine_name(eng));
	fflush(stdout);
	fprintf(stderr, "start the other side with: transfer_engine_bench --mode=initiator --metadata_server=%s --segment_id=%s\n",
		o->metadata_server, mc_engine_name(eng));
	sigwait(&end, &sig);
close_engine:
	mc_engine_close(eng);
	return ret; /* memory goes with the process: streams may still be using it */
}
