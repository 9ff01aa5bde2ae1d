/* SPDX-License-Identifier: Apache-2.0 */
/* A lock that is waited for by a deadline: whoever has the turn may itself wait for the network. */
#ifndef MC_TURN_H
#define MC_TURN_H

#include <pthread.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/thread.h"

struct turn {
	pthread_mutex_t lock; /* guards @taken, held for a moment only */
	pthread_cond_t given;
	bool taken;
};

static inline void turn_init(struct turn *t)
{
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->given, NULL);
	t->taken = false;
}

static inline void turn_fini(struct turn *t)
{
	pthread_cond_destroy(&t->given);
	pthread_mutex_destroy(&t->lock);
}

/* @deadline_ns 0: only if it is free. Return: is it the caller's? */
static inline bool turn_take(struct turn *t, uint64_t deadline_ns)
{
	int ret = deadline_ns ? 0 : -ETIMEDOUT;
	bool mine;

	pthread_mutex_lock(&t->lock);
	while (t->taken && !ret)
		ret = cond_wait_until(&t->given, &t->lock, deadline_ns);
	mine = !t->taken;
	t->taken = true;
	pthread_mutex_unlock(&t->lock);
	return mine;
}

static inline void turn_give(struct turn *t)
{
	pthread_mutex_lock(&t->lock);
	t->taken = false;
	pthread_cond_signal(&t->given);
	pthread_mutex_unlock(&t->lock);
}

#endif
