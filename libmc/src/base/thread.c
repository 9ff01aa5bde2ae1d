/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a thread that no signal of the program lands on, and waiting for one. */
#include "base/thread.h"

#include <signal.h>
#include <stdio.h>

#include "base/clock.h"

#define NAME_BYTES 16 /* the kernel's */

int thread_start(pthread_t *out, const char *name, void *(*fn)(void *), void *arg)
{
	char shown[NAME_BYTES];
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	/* The new thread inherits the mask. */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(out, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!ret && name) {
		snprintf(shown, sizeof(shown), "%s", name);
		pthread_setname_np(*out, shown);
	}
	return ret;
}

int cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, uint64_t deadline_ns)
{
	const struct timespec ts = timespec_of(deadline_ns);

	if (deadline_ns == DEADLINE_NEVER)
		return -pthread_cond_wait(c, m);
	return -pthread_cond_clockwait(c, m, CLOCK_MONOTONIC, &ts);
}
