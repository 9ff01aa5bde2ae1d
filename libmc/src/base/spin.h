/* SPDX-License-Identifier: Apache-2.0 */
/*
 * To look again for a while before sleeping. Going to sleep and being woken costs both sides more time, and more of their
 * processors, than a question that is answered within some microseconds takes; where a processor sleeps too, several times more.
 *
 *	uint64_t until_ns = spin_start(&s, clock_now_ns());
 *
 *	while (!(found = look()) && spin_more(until_ns))
 *		;
 *	if (!found)
 *		wait();
 *	spin_ended(&s, found, clock_now_ns());
 *
 * It is done only where waits have been short lately, and given up for a while where it brings nothing. Between two looks whatever
 * else can run on this processor does: it may be the very thread that is waited for.
 *
 * One thread at a time uses a struct spin; all zero to begin with.
 */
#ifndef MC_SPIN_H
#define MC_SPIN_H

#include <sched.h>

#include "base/backoff.h"
#include "base/clock.h"

#define SPIN_NS	     (50 * NSEC_PER_USEC)  /* the longest look */
#define SPIN_SOON_NS (100 * NSEC_PER_USEC) /* a wait that short may become one of a few microseconds when both sides look */

struct spin {
	struct backoff vain;
	uint64_t began_ns;
	bool soon;  /* the last wait was short */
	bool looks; /* during this one */
};

/* A wait begins. Return: until when to look; 0: once. */
static inline uint64_t spin_start(struct spin *s, uint64_t now_ns)
{
	s->began_ns = now_ns;
	s->looks = s->soon && backoff_try(&s->vain);
	return s->looks ? now_ns + SPIN_NS : 0;
}

/* After a look that found nothing. Return: look again? */
static inline bool spin_more(uint64_t until_ns)
{
	if (!until_ns)
		return false;
	sched_yield();
	return clock_now_ns() < until_ns;
}

/* The wait is over. @found: by looking. */
static inline void spin_ended(struct spin *s, bool found, uint64_t now_ns)
{
	s->soon = now_ns - s->began_ns < SPIN_SOON_NS;
	if (!s->looks)
		return;
	if (found)
		backoff_worked(&s->vain);
	else
		backoff_failed(&s->vain);
}

#endif
