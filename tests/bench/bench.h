/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bench program in one header: main() calls bench_pair() or bench_ns() for each case and prints one JSON line with
 * bench_row(). What is measured and the limit beside it take turns, so that both see the same machine.
 * BENCH_SECONDS: time per case (default 0.3). Arguments name the cases to run, by prefix; none: all.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Does the work @iterations times. */
typedef void (*bench_fn)(void *arg, uint64_t iterations);

#define BENCH_BATCHES 15

static int bench_argc;
static char **bench_argv;

static inline void bench_init(int argc, char **argv)
{
	bench_argc = argc;
	bench_argv = argv;
	setvbuf(stdout, NULL, _IOLBF, 0);
}

/* Also true for the first letters of a wanted name, so that the setup of a whole group can be left out. */
static inline bool bench_wanted(const char *name)
{
	for (int i = 1; i < bench_argc; i++) {
		size_t a = strlen(name), b = strlen(bench_argv[i]);

		if (!strncmp(name, bench_argv[i], a < b ? a : b))
			return true;
	}
	return bench_argc < 2;
}

static inline double bench_seconds(void)
{
	const char *s = getenv("BENCH_SECONDS");

	return s ? atof(s) : 0.3;
}

static inline double bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static inline double bench_once(bench_fn fn, void *arg, uint64_t iterations)
{
	double start = bench_now();

	fn(arg, iterations);
	return bench_now() - start;
}

static inline int bench_by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Iterations that take about @seconds; warms up on the way. */
static inline uint64_t bench_calibrate(bench_fn fn, void *arg, double seconds)
{
	uint64_t n = 1;
	double t;

	while ((t = bench_once(fn, arg, n)) < seconds / 2 && n < (uint64_t)1 << 40)
		n = t > seconds / 64 ? (uint64_t)((double)n * seconds / t) + 1 : n * 8;
	return n;
}

/* Median nanoseconds per iteration of both; either function may be NULL. */
static inline void bench_pair(bench_fn fn, void *arg, double *ns, bench_fn limit, void *limit_arg,
			      double *limit_ns)
{
	double each = bench_seconds() / (2 * BENCH_BATCHES), a[BENCH_BATCHES], b[BENCH_BATCHES];
	uint64_t na = fn ? bench_calibrate(fn, arg, each) : 0,
		 nb = limit ? bench_calibrate(limit, limit_arg, each) : 0;

	for (int i = 0; i < BENCH_BATCHES; i++) {
		a[i] = fn ? bench_once(fn, arg, na) * 1e9 / (double)na : 0;
		b[i] = limit ? bench_once(limit, limit_arg, nb) * 1e9 / (double)nb : 0;
	}
	qsort(a, BENCH_BATCHES, sizeof(*a), bench_by_value);
	qsort(b, BENCH_BATCHES, sizeof(*b), bench_by_value);
	if (ns)
		*ns = a[BENCH_BATCHES / 2];
	if (limit_ns)
		*limit_ns = b[BENCH_BATCHES / 2];
}

static inline double bench_ns(bench_fn fn, void *arg)
{
	double ns;

	bench_pair(fn, arg, &ns, NULL, NULL, NULL);
	return ns;
}

/*
 * One line. @unit says which way is better: "ns", "us", "ms", "s" and "bytes" are costs, everything else is a rate. `ratio`
 * is above 1 when we are better than the limit. @limit_name NULL: there is none.
 */
static inline void bench_row(const char *name, double value, const char *unit,
			     const char *limit_name, double limit)
{
	static const char *const costs[] = { "ns", "us", "ms", "s", "bytes" };
	bool cost = false;

	for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++)
		cost |= !strcmp(unit, costs[i]);
	printf("{\"case\": \"%s\", \"value\": %.5g, \"unit\": \"%s\"", name, value, unit);
	if (limit_name)
		printf(", \"limit\": %.5g, \"limit_name\": \"%s\", \"ratio\": %.3f", limit,
		       limit_name, cost ? limit / value : value / limit);
	printf("}\n");
}

/* Both at once, per iteration in nanoseconds, or in GB/s when an iteration moves @bytes. */
static inline void bench_case(const char *name, uint64_t bytes, bench_fn fn, void *arg,
			      const char *limit_name, bench_fn limit, void *limit_arg)
{
	double ns, limit_ns;

	if (!bench_wanted(name))
		return;
	bench_pair(fn, arg, &ns, limit, limit_arg, &limit_ns);
	if (bytes)
		bench_row(name, (double)bytes / ns, "GB/s", limit_name, (double)bytes / limit_ns);
	else
		bench_row(name, ns, "ns", limit_name, limit_ns);
}

/* The compiler must believe that @p and what it points to are used. */
static inline void bench_use(const void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

#endif
