/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: one thread owns it and everything registered with it; other threads hand work over with loop_post() or
 * loop_call(). All callbacks run on the owning thread, one at a time.
 */
#ifndef MC_LOOP_H
#define MC_LOOP_H

#include "base/base.h"

struct loop;

/* Lives in the caller's object; fields are the loop's. */
struct loop_fd {
	int fd;
	uint32_t events; /* EPOLLIN | EPOLLOUT | EPOLLRDHUP ... */
	void (*fn)(struct loop_fd *f, uint32_t ready);
	bool armed;
};

struct loop_timer {
	uint64_t at_ns;
	size_t slot; /* place in the heap + 1; 0 when not set */
	void (*fn)(struct loop_timer *t);
};

struct loop_work {
	struct loop_work *next;
	void (*fn)(struct loop_work *w);
};

int loop_open(struct loop **out);

/* Stops the thread when loop_start() made one, runs what was posted before, frees. Not from a callback. NULL is fine. */
void loop_close(struct loop *l);

/* A thread of its own, named @name (15 characters show in ps), all signals blocked. */
int loop_start(struct loop *l, const char *name);

/* On the calling thread, until loop_stop(). */
int loop_run(struct loop *l);
void loop_stop(struct loop *l); /* any thread, and signal handlers */

bool loop_inside(const struct loop *l); /* is the caller the owning thread? */

/* Owning thread only (or before it runs). Level-triggered. Deleting inside any callback is safe: no stale event arrives. */
int loop_fd_add(struct loop *l, struct loop_fd *f, int fd, uint32_t events,
		void (*fn)(struct loop_fd *f, uint32_t ready));
int loop_fd_mod(struct loop *l, struct loop_fd *f, uint32_t events);
void loop_fd_del(struct loop *l, struct loop_fd *f); /* before the descriptor is closed; twice is fine */

/* Owning thread only. Setting a timer that is set moves it. It fires once, never early. */
int loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t at_ns, void (*fn)(struct loop_timer *t));
void loop_timer_del(struct loop *l, struct loop_timer *t); /* not set: nothing happens */

/* Runs w->fn on the owning thread, in the order of posting from each thread. @w is the caller's until it ran. Any thread. */
void loop_post(struct loop *l, struct loop_work *w);

/*
 * Runs fn(arg) on the owning thread and waits for it; on that thread itself, calls it directly.
 * Return: what @fn returned; -ESHUTDOWN when the loop is closing.
 */
int loop_call(struct loop *l, int (*fn)(void *arg), void *arg);

#endif
