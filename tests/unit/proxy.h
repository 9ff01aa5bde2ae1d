/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sits between an engine and a peer, knows the steps of what they say, and strikes at one of them. The peer is reached by the
 * proxy's own handshake port; the descriptor that comes back names its data port.
 */
#ifndef MC_TEST_PROXY_H
#define MC_TEST_PROXY_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "net/net.h"
#include "strike.h"
#include "transport/tcp.h"
#include "unit/peer.h"

/* How much of a message passes before it happens. */
enum part { NOTHING, HALF_A_HEADER, NO_PAYLOAD, HALF_A_PAYLOAD, ALL_BUT_ONE, ALL, NR_PARTS };

struct proxy_step {
	bool handshake; /* else a data connection */
	unsigned conn;	/* which of them: 0 is the first */
	bool classic;	/* nothing is said of our extension, so all is upstream's protocol */
	bool named;	/* on the handshake port each end is told the name it expects */
	bool back;	/* what the peer says */
	unsigned frame; /* of a data connection: 0 is HELLO, or in upstream's protocol the first exchange */
	enum part part;
	enum strike strike;
};

struct proxy_way { /* one direction */
	int from, to;
	uint8_t *held; /* read and not passed on */
	size_t nr, room;
	uint64_t done; /* bytes of this frame that were passed on */
	unsigned frame;
	bool stopped; /* until proxy_release() */
	uint64_t answers; /* of upstream's protocol, bytes that follow the status of this frame */
};

struct proxy_conn {
	bool handshake, open;
	unsigned number; /* of its kind */
	struct proxy_way way[2]; /* there, back */
};

#define PROXY_CONNS 64

struct proxy {
	struct proxy_step step;
	const struct peer_proc *peer;
	char name[64];
	uint16_t port[2]; /* handshake, data */
	int listener[2];
	uint16_t peer_port[2];
	struct proxy_conn conn[PROXY_CONNS];
	unsigned nr, nr_of[2];
	atomic_bool struck, silent, released, stop;
	pthread_t thread;
};

static inline int proxy_dial(uint16_t port)
{
	struct net_addr a;
	int fd;

	if (net_addr_parse("127.0.0.1", port, &a) || net_connect(&a, deadline_after_ms(2000), &fd))
		return -1;
	return fd;
}

static inline void proxy_drop(struct proxy_conn *c, bool hard)
{
	if (!c->open)
		return;
	for (int i = 0; i < 2; i++) {
		strike_close(c->way[i].from, hard);
		free(c->way[i].held);
		c->way[i] = (struct proxy_way){ 0 };
	}
	c->open = false;
}

static inline void proxy_accept(struct proxy *p, int which)
{
	int fd = accept4(p->listener[which], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), to;
	struct proxy_conn *c = &p->conn[p->nr];

	if (fd < 0)
		return;
	to = p->nr < PROXY_CONNS ? proxy_dial(p->peer_port[which]) : -1;
	if (to < 0) {
		close(fd);
		return;
	}
	p->nr++;
	*c = (struct proxy_conn){ .handshake = !which, .number = p->nr_of[which]++, .open = true };
	c->way[0] = (struct proxy_way){ .from = fd, .to = to };
	c->way[1] = (struct proxy_way){ .from = to, .to = fd };
}

/* The same of upstream's protocol: what the header asks for is known when the answer comes. */
static inline uint64_t proxy_exchange(struct proxy_conn *c, const struct proxy_way *w, uint64_t *body)
{
	struct classic_header h;

	if (w == &c->way[1]) {
		*body = CLASSIC_STATUS_BYTES;
		return *body + w->answers;
	}
	if (w->nr < CLASSIC_HEADER_BYTES)
		return 0;
	classic_header_decode(w->held, &h);
	c->way[1].answers = h.write ? 0 : h.size;
	*body = CLASSIC_HEADER_BYTES;
	return *body + (h.write ? h.size : 0);
}

/* Bytes of the frame that @w is in, its whole header and all; 0: not known yet. */
static inline uint64_t proxy_frame(const struct proxy *p, struct proxy_conn *c, const struct proxy_way *w, uint64_t *body)
{
	struct net_frame f;

	if (c->handshake) {
		*body = 8;
		return w->nr < 8 ? 0 : 8 + get_le64(w->held);
	}
	if (p->step.classic)
		return proxy_exchange(c, w, body);
	if (w->nr < NET_FRAME_BYTES || net_frame_decode(w->held, &f))
		return 0;
	*body = NET_FRAME_BYTES + f.body_len;
	return *body + f.payload_len + (f.flags & NET_SUM ? NET_SUM_BYTES : 0);
}

static inline uint64_t proxy_upto(enum part part, uint64_t body, uint64_t whole)
{
	switch (part) {
	case NOTHING:
		return 0;
	case HALF_A_HEADER:
		return MIN(16u, body / 2);
	case NO_PAYLOAD:
		return MIN(body, whole - 1);
	case HALF_A_PAYLOAD:
		return MIN(body + (whole - body) / 2, whole - 1);
	case ALL_BUT_ONE:
		return whole - 1;
	default:
		return whole;
	}
}

static inline void proxy_strike(struct proxy *p, struct proxy_conn *c)
{
	switch (p->step.strike) {
	case CUT:
	case RESET:
		proxy_drop(c, p->step.strike == RESET);
		break;
	case SILENCE:
		atomic_store(&p->silent, true);
		break;
	default:
		kill(p->peer->pid, p->step.strike == KILL ? SIGKILL : SIGSTOP);
	}
	atomic_store(&p->struck, true);
}

/* The peer's descriptor names its own data port: ours has as many digits. Without our extension it is one of upstream's. */
static inline void proxy_rewrite(struct proxy *p, struct proxy_way *w)
{
	static const char key[] = "\"tcp_data_port\":", extension[] = "\"mc\":";
	char *at = memmem(w->held, w->nr, extension, sizeof(extension) - 1), digits[8];

	if (at && p->step.classic)
		at[1] = 'n'; /* a member that nobody knows */
	at = memmem(w->held, w->nr, key, sizeof(key) - 1);

	if (!at)
		return;
	at += sizeof(key) - 1;
	p->peer_port[1] = (uint16_t)atoi(at);
	snprintf(digits, sizeof(digits), "%05u", p->port[1]);
	memcpy(at, digits, 5);
}

/* Ports have five digits everywhere. */
static inline void proxy_rename(struct proxy_way *w, const char *from, const char *to)
{
	size_t len = strlen(from);
	uint8_t *at = w->held;

	while (len == strlen(to) && (at = memmem(at, w->nr - (size_t)(at - w->held), from, len)))
		memcpy(at, to, len);
}

/* Passes on what may pass. Return: false when the connection is gone. */
static inline bool proxy_pass(struct proxy *p, struct proxy_conn *c, struct proxy_way *w)
{
	while (w->nr && !p->silent && !w->stopped) {
		bool here = !p->struck && p->step.handshake == c->handshake && p->step.conn == c->number &&
			    p->step.back == (w == &c->way[1]) && p->step.frame == w->frame;
		uint64_t body, whole = proxy_frame(p, c, w, &body), upto;
		ssize_t n;

		/* A frame is passed on when all of it is here, so that its parts can be told. */
		if (!whole || w->nr < whole)
			return true;
		if (c->handshake && w == &c->way[1] && !w->done)
			proxy_rewrite(p, w);
		if (c->handshake && p->step.named && !w->done)
			proxy_rename(w, w == &c->way[1] ? p->peer->name : p->name, w == &c->way[1] ? p->name : p->peer->name);
		upto = here ? proxy_upto(p->step.part, body, whole) : whole;
		while (w->done < upto) {
			struct pollfd f = { .fd = w->to, .events = POLLOUT };

			n = send(w->to, w->held + w->done, upto - w->done, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n < 0 && (errno != EAGAIN || p->stop))
				return false;
			if (n < 0)
				poll(&f, 1, 100);
			else
				w->done += (uint64_t)n;
		}
		if (here) {
			w->stopped = true;
			proxy_strike(p, c);
			return true;
		}
		memmove(w->held, w->held + whole, w->nr - whole);
		w->nr -= whole;
		w->done = 0;
		w->frame++;
	}
	return true;
}

static inline bool proxy_read(struct proxy *p, struct proxy_conn *c, struct proxy_way *w)
{
	ssize_t n;

	if (w->nr == w->room) {
		w->room = MAX(2 * w->room, (size_t)65536);
		w->held = realloc(w->held, w->room);
	}
	n = recv(w->from, w->held + w->nr, w->room - w->nr, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0)
		return false;
	w->nr += (size_t)n;
	return proxy_pass(p, c, w);
}

/* What was held goes on. Return: false, for the connections are not what they were. */
static inline bool proxy_let_go(struct proxy *p)
{
	atomic_store(&p->silent, false);
	atomic_store(&p->released, false);
	for (unsigned i = 0; i < p->nr; i++)
		for (int k = 0; k < 2 && p->conn[i].open; k++) {
			p->conn[i].way[k].stopped = false;
			if (!proxy_pass(p, &p->conn[i], &p->conn[i].way[k]))
				proxy_drop(&p->conn[i], false);
		}
	return false;
}

static inline void *proxy_main(void *arg)
{
	struct proxy *p = arg;

	while (!p->stop) {
		struct pollfd f[2 + 2 * PROXY_CONNS] = { { .fd = p->listener[0], .events = POLLIN },
							 { .fd = p->listener[1], .events = POLLIN } };
		struct proxy_conn *of[2 + 2 * PROXY_CONNS];
		unsigned nr = 2;

		for (unsigned i = 0; i < p->nr && !p->silent; i++)
			for (int k = 0; k < 2 && p->conn[i].open; k++) {
				of[nr] = &p->conn[i];
				f[nr++] = (struct pollfd){ .fd = p->conn[i].way[k].from, .events = POLLIN };
			}
		poll(f, nr, 5);
		for (int i = 0; i < 2 && !p->silent; i++)
			if (f[i].revents)
				proxy_accept(p, i);
		if (p->released && !proxy_let_go(p))
			continue;
		for (unsigned i = 2; i < nr; i++) {
			struct proxy_way *w = &of[i]->way[of[i]->way[1].from == f[i].fd];

			/* Nothing is passed on of a connection that one end has left: the other sees it end. */
			if (f[i].revents && of[i]->open && !p->silent && !proxy_read(p, of[i], w))
				proxy_drop(of[i], false);
		}
	}
	for (unsigned i = 0; i < p->nr; i++)
		proxy_drop(&p->conn[i], false);
	return NULL;
}

static inline int proxy_start(struct proxy *p, const struct peer_proc *peer, const struct proxy_step *step)
{
	memset(p, 0, sizeof(*p));
	p->peer = peer;
	p->step = *step;
	p->peer_port[0] = (uint16_t)atoi(strrchr(peer->name, ':') + 1);
	for (int i = 0; i < 2; i++)
		if (net_listen_range("127.0.0.1", 20000, 30000, &p->listener[i], &p->port[i]))
			return -1;
	snprintf(p->name, sizeof(p->name), "127.0.0.1:%u", p->port[0]);
	return -pthread_create(&p->thread, NULL, proxy_main, p);
}

/* It strikes a moment after what it let pass. */
static inline bool proxy_struck(const struct proxy *p)
{
	uint64_t end = soon();

	while (!p->struck && !deadline_passed(end))
		sched_yield();
	return p->struck;
}

static inline void proxy_release(struct proxy *p)
{
	atomic_store(&p->released, true);
	if (p->step.strike == STOP)
		kill(p->peer->pid, SIGCONT);
	while (p->released)
		sched_yield();
}

static inline void proxy_stop(struct proxy *p)
{
	atomic_store(&p->stop, true);
	pthread_join(p->thread, NULL);
	close(p->listener[0]);
	close(p->listener[1]);
}

#endif
