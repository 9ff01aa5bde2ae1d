/* SPDX-License-Identifier: Apache-2.0 */
/* Time: absolute CLOCK_MONOTONIC nanoseconds, set once at the API edge and passed down unchanged. */
#ifndef MC_CLOCK_H
#define MC_CLOCK_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define NSEC_PER_USEC ((uint64_t)1000)
#define NSEC_PER_MSEC ((uint64_t)1000000)
#define NSEC_PER_SEC ((uint64_t)1000000000)

/* Only for waits that something else is sure to end; a public call never uses it. */
#define DEADLINE_NEVER UINT64_MAX

static inline uint64_t clock_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* A moment or a length of time, as system calls want it. */
static inline struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NSEC_PER_SEC), .tv_nsec = (long)(ns % NSEC_PER_SEC) };
}

/* The deadline @ns from now, saturating at DEADLINE_NEVER. */
static inline uint64_t deadline_after_ns(uint64_t ns)
{
	uint64_t now = clock_now_ns();

	return ns > DEADLINE_NEVER - now ? DEADLINE_NEVER : now + ns;
}

static inline uint64_t deadline_after_ms(uint64_t ms)
{
	return deadline_after_ns(ms > UINT64_MAX / NSEC_PER_MSEC ? UINT64_MAX : ms * NSEC_PER_MSEC);
}

static inline bool deadline_passed(uint64_t deadline_ns)
{
	return deadline_ns != DEADLINE_NEVER && clock_now_ns() >= deadline_ns;
}

/* Milliseconds left, rounded up so that a wait never ends early, for poll() and epoll_wait(). */
static inline int deadline_left_ms(uint64_t deadline_ns)
{
	uint64_t now, left;

	if (deadline_ns == DEADLINE_NEVER)
		return -1;
	now = clock_now_ns();
	if (now >= deadline_ns)
		return 0;
	left = (deadline_ns - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
	return left > INT_MAX ? INT_MAX : (int)left;
}

#endif
