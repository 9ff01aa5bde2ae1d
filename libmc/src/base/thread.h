/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the library: signals are the program's business. And waiting for each other by a deadline. */
#ifndef MC_THREAD_H
#define MC_THREAD_H

#include <pthread.h>
#include <stdint.h>

/*
 * Runs fn(arg) on a thread of its own, with all signals blocked but SIGBUS: a fault is no event, and blocked it
 * kills (dev/guard.c). @name: 15 characters show in ps; NULL: the program's. -EAGAIN, -ENOMEM.
 */
int thread_start(pthread_t *out, const char *name, void *(*fn)(void *), void *arg);

/* As pthread_cond_wait(), until a deadline; @c needs no attributes. Return: 0, maybe for nothing; -ETIMEDOUT. */
int cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, uint64_t deadline_ns);

#endif
