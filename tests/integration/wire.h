/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sits between an engine and its metadata service, whatever they speak: what one says until the other answers is a turn. Strikes in
 * the middle of one.
 */
#ifndef MC_TEST_WIRE_H
#define MC_TEST_WIRE_H

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/net.h"
#include "strike.h"

#define WIRE_CONNS 64
#define WIRE_TURNS 64

struct wire_conn {
	int fd[2];  /* the engine's, the service's; -1 when closed */
	bool stuck; /* until wire_struck() */
};

struct wire {
	uint16_t port, to;
	int listener;
	pid_t service;
	pthread_t thread;
	atomic_bool stop, silent;

	pthread_mutex_t lock; /* guards what follows */
	struct wire_conn conn[WIRE_CONNS];
	unsigned nr;
	int last; /* who spoke last: connection and side; -1: nobody */
	int turn;
	uint64_t passed;	     /* of this turn */
	uint64_t bytes[WIRE_TURNS]; /* of each turn, while nothing is to happen */
	int at;			     /* the turn in which it happens; -1: none */
	uint64_t upto;
	enum strike strike;
	bool struck;
};

static inline void wire_drop(struct wire_conn *c, bool hard)
{
	for (int i = 0; i < 2; i++) {
		if (c->fd[i] < 0)
			continue;
		strike_close(c->fd[i], hard);
		c->fd[i] = -1;
	}
}

static inline void wire_accept(struct wire *w)
{
	int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
	struct wire_conn *c = NULL;
	struct net_addr a;

	if (fd < 0)
		return;
	for (unsigned i = 0; i < w->nr && !c; i++)
		if (w->conn[i].fd[0] < 0)
			c = &w->conn[i];
	if (!c && w->nr < WIRE_CONNS)
		c = &w->conn[w->nr++];
	if (!c || net_addr_parse("127.0.0.1", w->to, &a) || net_connect(&a, deadline_after_ms(500), &c->fd[1])) {
		if (c)
			c->fd[0] = c->fd[1] = -1;
		close(fd);
		return;
	}
	c->fd[0] = fd;
	c->stuck = false;
	if (w->last / 2 == c - w->conn)
		w->last = -1; /* another one, in its place */
}

/* With the lock. */
static inline void wire_do(struct wire *w, struct wire_conn *c)
{
	w->struck = true;
	switch (w->strike) {
	case CUT:
	case RESET:
		wire_drop(c, w->strike == RESET);
		break;
	case SILENCE:
		w->silent = true;
		break;
	/* It may have said the rest already. */
	case KILL:
		kill(w->service, SIGKILL);
		wire_drop(c, false);
		break;
	default:
		kill(w->service, SIGSTOP);
		c->stuck = true;
	}
}

static inline void wire_pass(struct wire *w, struct wire_conn *c, int side)
{
	int who = (int)(c - w->conn) * 2 + side;
	uint8_t bytes[16384];
	size_t n, most = sizeof(bytes);
	ssize_t got;

	if (who != w->last) {
		w->last = who;
		w->turn++;
		w->passed = 0;
	}
	if (w->turn == w->at && !w->struck) {
		most = MIN(most, (size_t)(w->upto - w->passed));
		if (!most) {
			wire_do(w, c);
			return;
		}
	}
	got = recv(c->fd[side], bytes, most, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		wire_drop(c, false);
		return;
	}
	n = (size_t)got;
	if (send(c->fd[!side], bytes, n, MSG_NOSIGNAL) != got) {
		wire_drop(c, false);
		return;
	}
	w->passed += n;
	if (w->at < 0 && w->turn < WIRE_TURNS)
		w->bytes[w->turn] = w->passed;
}

static inline void *wire_main(void *arg)
{
	struct wire *w = arg;

	while (!w->stop) {
		struct pollfd f[1 + 2 * WIRE_CONNS] = { { .fd = w->listener, .events = POLLIN } };
		unsigned nr;

		pthread_mutex_lock(&w->lock);
		nr = w->nr;
		for (unsigned i = 0; i < 2 * nr; i++)
			f[1 + i] = (struct pollfd){ .fd = w->conn[i / 2].stuck ? -1 : w->conn[i / 2].fd[i % 2], .events = POLLIN };
		pthread_mutex_unlock(&w->lock);
		if (w->silent)
			poll(NULL, 0, 5);
		else
			poll(f, 1 + 2 * nr, 5);
		pthread_mutex_lock(&w->lock);
		if (f[0].revents && !w->silent)
			wire_accept(w);
		for (unsigned i = 0; i < 2 * nr && !w->silent; i++)
			if (f[1 + i].revents && w->conn[i / 2].fd[i % 2] == f[1 + i].fd)
				wire_pass(w, &w->conn[i / 2], i % 2);
		pthread_mutex_unlock(&w->lock);
	}
	for (unsigned i = 0; i < w->nr; i++)
		wire_drop(&w->conn[i], false);
	return NULL;
}

static inline int wire_start(struct wire *w, uint16_t to)
{
	memset(w, 0, sizeof(*w));
	w->to = to;
	w->at = -1;
	w->last = -1;
	pthread_mutex_init(&w->lock, NULL);
	if (net_listen_range("127.0.0.1", 20000, 30000, &w->listener, &w->port))
		return -1;
	return -pthread_create(&w->thread, NULL, wire_main, w);
}

static inline void wire_stop(struct wire *w)
{
	w->stop = true;
	pthread_join(w->thread, NULL);
	close(w->listener);
	pthread_mutex_destroy(&w->lock);
}

/* Turns are counted from here. @at -1: nothing happens, and their bytes are counted. */
static inline void wire_arm(struct wire *w, int at, uint64_t upto, enum strike strike)
{
	pthread_mutex_lock(&w->lock);
	w->last = -1;
	w->turn = -1;
	w->at = at;
	w->upto = upto;
	w->strike = strike;
	w->struck = false;
	pthread_mutex_unlock(&w->lock);
}

/* How many turns there were, and the bytes of each. */
static inline int wire_turns(struct wire *w, uint64_t bytes[WIRE_TURNS])
{
	int nr;

	pthread_mutex_lock(&w->lock);
	nr = MIN(w->turn + 1, WIRE_TURNS);
	memcpy(bytes, w->bytes, sizeof(w->bytes));
	pthread_mutex_unlock(&w->lock);
	return nr;
}

static inline bool wire_struck(struct wire *w)
{
	bool struck;

	pthread_mutex_lock(&w->lock);
	struck = w->struck;
	w->at = -1;
	w->silent = false;
	for (unsigned i = 0; i < w->nr; i++)
		w->conn[i].stuck = false;
	pthread_mutex_unlock(&w->lock);
	return struck;
}

#endif
