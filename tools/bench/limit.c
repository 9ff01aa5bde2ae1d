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

#define DATA_STREAM   (64 * KiB) /* a stream that carried more than this carries data */
#define PATIENCE_S    10
#define CARD_NS	      (5 * NSEC_PER_SEC)
#define TRIPS_NS      (30 * NSEC_PER_MSEC)
#define AHEAD	      2	      /* asks on the way, so that a stream never runs dry */
#define ASK_MAX	      (4 * MiB) /* of one ask; small enough that a round ends in time */

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
	return MIN(nr, (unsigned)STREAMS_MAX);
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

/* One stream of a round: its part of the memory is gone round in asks, at both ends, as the engine does. */
struct course {
	int fd;
	uint8_t *mem; /* first byte of the part here */
	uint64_t start, len, ask;
	uint64_t asked, taken; /* where the next of each lies, in the part */
};

static uint64_t go_on(const struct course *c, uint64_t *at)
{
	uint64_t now = *at;

	*at = now + 2 * c->ask <= c->len ? now + c->ask : 0;
	return now;
}

static bool ask_read(struct course *c)
{
	struct bare_ask a = { BARE_READ, c->start + go_on(c, &c->asked), c->ask };

	return send_all(c->fd, &a, sizeof(a));
}

static bool take_read(struct course *c)
{
	return recv_all(c->fd, c->mem + go_on(c, &c->taken), c->ask);
}

static bool ask_write(struct course *c)
{
	uint64_t at = go_on(c, &c->asked);
	struct bare_ask a = { BARE_WRITE, c->start + at, c->ask };

	return send_all(c->fd, &a, sizeof(a)) && send_all(c->fd, c->mem + at, c->ask);
}

static bool take_write(struct course *c)
{
	uint8_t answer[8];

	return recv_all(c->fd, answer, sizeof(answer));
}

static void *run_stream(void *arg)
{
	struct runner *r = arg;
	struct memory *m = r->l->mem;
	bool write = *r->l->opt->operation == 'w';
	uint64_t len = m->used / r->l->streams ?: m->used, start = MIN(len * r->nr, m->used - len);
	struct course c = { r->l->stream[r->nr], m->buffer[0] + start, start, len, MIN(len, ASK_MAX), 0, 0 };
	unsigned asked = 0;
	bool ok = true;

	while (ok && (asked || clock_now_ns() < r->stop_ns)) {
		while (ok && asked < AHEAD && clock_now_ns() < r->stop_ns) {
			ok = (write ? ask_write : ask_read)(&c);
			asked++;
		}
		ok = ok && (!asked || (write ? take_write : take_read)(&c));
		if (ok && asked) {
			asked--;
			r->bytes += c.ask;
		}
	}
	r->failed = ok ? 0 : -ECONNRESET;
	return NULL;
}

/* One block and back, as many times as fit. */
static int run_trips(struct limit *l)
{
	bool write = *l->opt->operation == 'w';
	struct bare_ask a = { write ? BARE_WRITE : BARE_READ, 0, l->opt->block_size };
	uint64_t stop = clock_now_ns() + TRIPS_NS, start;
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

static int open_streams(struct limit *l)
{
	unsigned wanted = count_streams();

	while (l->streams < wanted) {
		int fd = stream_open(l);

		if (fd < 0)
			return fd;
		l->stream[l->streams++] = fd;
	}
	return 0;
}

void limit_open(struct limit *l, const struct options *o, struct memory *m, struct mc_segment *seg, struct mc_engine *eng,
		const char *transport)
{
	*l = (struct limit){ .mem = m, .opt = o, .talk = -1, .shadow = MAP_FAILED };
	if (!read_card(l, seg, eng))
		l->talk = stream_open(l);
	if (!strcmp(transport, "local")) {
		l->shadow = mmap(NULL, m->used, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (l->shadow == MAP_FAILED)
			return;
		memset(l->shadow, 0xcc, m->used);
		l->kind = "memcpy";
		l->streams = (unsigned)MIN(o->threads, STREAMS_MAX);
	} else if (l->talk >= 0 && !open_streams(l)) {
		l->kind = "socket";
	} else {
		log_warn("nothing to compare with: the target offers no bare streams");
	}
}

void limit_close(struct limit *l)
{
	if (l->talk >= 0)
		close(l->talk);
	for (unsigned i = 0; l->shadow == MAP_FAILED && i < l->streams; i++)
		close(l->stream[i]);
	if (l->shadow != MAP_FAILED)
		munmap(l->shadow, l->mem->used);
}

int limit_round(struct limit *l, double seconds, struct part *out)
{
	uint64_t cpu = cpu_now_ns(), peer = limit_peer_cpu_ns(l), start = clock_now_ns();
	bool sockets = !strcmp(l->kind, "socket");
	struct runner r[STREAMS_MAX] = { { 0 } };
	pthread_t t[STREAMS_MAX];
	unsigned started = 0;
	int ret = 0;

	for (; started < l->streams && !ret; started += !ret) {
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
