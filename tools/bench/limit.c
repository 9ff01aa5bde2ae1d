// SPDX-License-Identifier: Apache-2.0
/*
 * What could be reached: where the engine uses TCP, as many bare streams as it has, going round the same memory; on the same
 * host, memcpy() of the same blocks by as many threads.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
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

#define STREAMS_MAX   64u
#define DATA_STREAM   (64 * KiB) /* a stream that carried more than this carries data */
#define PATIENCE_S    10
#define CARD_NS	      (5 * NSEC_PER_SEC)
#define TRIPS_SECONDS 0.05

struct runner {
	struct limit *l;
	unsigned nr; /* of this one */
	uint64_t stop_ns, bytes, blocks;
	int failed;
};

/* ---- bare streams ---- */

static bool carries_data(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	struct tcp_info info = { 0 };

	if (getpeername(fd, (struct sockaddr *)&peer, &len) || (peer.ss_family != AF_INET && peer.ss_family != AF_INET6))
		return false;
	len = sizeof(info);
	return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) && info.tcpi_bytes_acked + info.tcpi_bytes_received > DATA_STREAM;
}

static unsigned count_streams(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned nr = 0;

	for (struct dirent *e; d && (e = readdir(d));)
		nr += e->d_name[0] != '.' && carries_data(atoi(e->d_name));
	if (d)
		closedir(d);
	nr = MAX(nr, 1u);
	return MIN(nr, STREAMS_MAX);
}

/* The target's last range, if it is one of ours, says where its bare streams are. */
static int read_card(struct limit *l, struct mc_segment *seg, struct mc_engine *eng)
{
	struct card *card = calloc(1, CARD_BYTES);
	uint64_t addr = 0, len = 0;
	struct mc_vec v;
	int ret = -ENOENT;

	for (unsigned i = 0; !mc_segment_buffer(seg, i, &addr, &len); i++)
		;
	if (card && len == CARD_BYTES) {
		v = (struct mc_vec){ card, addr, CARD_BYTES };
		ret = mc_transfer(eng, &(struct mc_request){ MC_READ, seg, &v, 1, NULL }, 1, deadline_after_ns(CARD_NS));
		if (!ret && (card->magic != CARD_MAGIC || !card->port))
			ret = -ENOENT;
	}
	if (!ret)
		snprintf(l->address, sizeof(l->address), "%.*s", (int)sizeof(card->address), card->address);
	free(card);
	return ret;
}

static int stream_open(const struct limit *l)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	struct net_addr a;
	int fd, ret = net_addr_parse(l->address, 0, &a);

	if (!ret)
		ret = net_connect(&a, deadline_after_ns(CARD_NS), &fd);
	if (ret)
		return ret;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return fd;
}

static bool receive_until(struct runner *r, int fd, uint8_t *p, uint64_t len)
{
	uint64_t at = 0;

	while (clock_now_ns() < r->stop_ns) {
		ssize_t n = recv(fd, p + at, MIN(len - at, BARE_CHUNK), 0);

		if (n <= 0)
			return false;
		r->bytes += (uint64_t)n;
		at = at + (uint64_t)n < len ? at + (uint64_t)n : 0;
	}
	return true;
}

/* Counts when the other side has all. */
static bool send_until(struct runner *r, int fd, uint8_t *p, uint64_t len)
{
	uint64_t at = 0, answer;

	while (clock_now_ns() < r->stop_ns) {
		ssize_t n = send(fd, p + at, MIN(len - at, BARE_CHUNK), MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		r->bytes += (uint64_t)n;
		at = at + (uint64_t)n < len ? at + (uint64_t)n : 0;
	}
	shutdown(fd, SHUT_WR);
	return recv_all(fd, &answer, sizeof(answer));
}

static void *run_stream(void *arg)
{
	struct runner *r = arg;
	struct memory *m = r->l->mem;
	bool write = *r->l->opt->operation == 'w';
	uint64_t least = MIN(m->used, BARE_CHUNK), len = MAX(m->used / r->l->streams, least), offset;
	struct bare_ask a;
	int fd = stream_open(r->l);

	if (fd < 0) {
		r->failed = fd;
		return NULL;
	}
	offset = MIN(m->used / r->l->streams * r->nr, m->used - len);
	a = (struct bare_ask){ write ? BARE_TAKE : BARE_SEND, offset, len };
	if (!send_all(fd, &a, sizeof(a)) || !(write ? send_until : receive_until)(r, fd, m->buffer[0] + offset, len))
		r->failed = -ECONNRESET;
	close(fd);
	return NULL;
}

/* One block and back, as many times as fit. */
static int run_trips(struct limit *l)
{
	bool write = *l->opt->operation == 'w';
	struct bare_ask a = { write ? BARE_WRITE : BARE_READ, 0, l->opt->block_size };
	uint64_t stop = clock_now_ns() + (uint64_t)(TRIPS_SECONDS * 1e9), start;
	uint8_t *p = l->mem->buffer[0], answer[8];

	while ((start = clock_now_ns()) < stop) {
		if (!send_all(l->talk, &a, sizeof(a)) || (write && !send_all(l->talk, p, a.len)) ||
		    !recv_all(l->talk, write ? answer : p, write ? sizeof(answer) : a.len))
			return -ECONNRESET;
		hist_add(&l->trip, clock_now_ns() - start);
	}
	return 0;
}

uint64_t limit_peer_cpu_ns(struct limit *l)
{
	struct bare_ask a = { .op = BARE_CPU };
	uint64_t ns;

	return l->talk >= 0 && send_all(l->talk, &a, sizeof(a)) && recv_all(l->talk, &ns, sizeof(ns)) ? ns : 0;
}

/* ---- memcpy ---- */

static void *run_memcpy(void *arg)
{
	struct runner *r = arg;
	const struct options *o = r->l->opt;
	uint8_t *mine = r->l->mem->buffer[r->nr % (unsigned)r->l->mem->nr];

	while (clock_now_ns() < r->stop_ns) {
		for (unsigned i = 0; i < o->batch_size; i++) {
			uint64_t at = block_at(o, r->nr, i);

			if (*o->operation == 'w')
				memcpy(r->l->shadow + at, mine + at, o->block_size);
			else
				memcpy(mine + at, r->l->shadow + at, o->block_size);
		}
		r->bytes += o->block_size * (uint64_t)o->batch_size;
	}
	return NULL;
}

/* ---- rounds ---- */

void limit_open(struct limit *l, const struct options *o, struct memory *m, struct mc_segment *seg, struct mc_engine *eng,
		const char *transport)
{
	int ret;

	*l = (struct limit){ .mem = m, .opt = o, .talk = -1, .shadow = MAP_FAILED };
	ret = read_card(l, seg, eng);
	if (!ret)
		l->talk = stream_open(l);
	if (!strcmp(transport, "local")) {
		l->shadow = mmap(NULL, m->used, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (l->shadow == MAP_FAILED)
			return;
		memset(l->shadow, 0xcc, m->used);
		l->kind = "memcpy";
		l->streams = (unsigned)o->threads;
	} else if (l->talk >= 0) {
		l->kind = "socket";
		l->streams = count_streams();
	} else {
		log_warn("nothing to compare with: the target offers no bare streams");
	}
}

void limit_close(struct limit *l)
{
	if (l->talk >= 0)
		close(l->talk);
	if (l->shadow != MAP_FAILED)
		munmap(l->shadow, l->mem->used);
}

int limit_round(struct limit *l, double seconds, struct part *out)
{
	uint64_t cpu = cpu_now_ns(), peer = limit_peer_cpu_ns(l), start = clock_now_ns();
	bool sockets = !strcmp(l->kind, "socket");
	struct runner r[STREAMS_MAX] = { { 0 } };
	pthread_t t[STREAMS_MAX];
	unsigned nr = MIN(l->streams, STREAMS_MAX), started = 0;
	int ret = 0;

	for (; started < nr && !ret; started += !ret) {
		r[started] = (struct runner){ .l = l, .nr = started, .stop_ns = start + (uint64_t)(seconds * 1e9) };
		ret = thread_start(&t[started], "limit", sockets ? run_stream : run_memcpy, &r[started]);
	}
	for (unsigned i = 0; i < started; i++) {
		pthread_join(t[i], NULL);
		out->bytes += r[i].bytes;
		ret = ret ? ret : r[i].failed;
	}
	out->seconds += (double)(clock_now_ns() - start) / 1e9;
	out->cpu_s += (double)(cpu_now_ns() - cpu) / 1e9;
	out->peer_cpu_s += (double)(limit_peer_cpu_ns(l) - peer) / 1e9;
	return !ret && sockets ? run_trips(l) : ret;
}
