/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the library: signals are the program's business. */
#ifndef MC_THREAD_H
#define MC_THREAD_H

#include <pthread.h>

/*
 * Runs fn(arg) on a thread of its own, with all signals blocked but SIGBUS: a fault is no event, and blocked it
 * kills (dev/guard.c). @name: 15 characters show in ps; NULL: the program's. -EAGAIN, -ENOMEM.
 */
int thread_start(pthread_t *out, const char *name, void *(*fn)(void *), void *arg);

#endif
