/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls in the background: a bounded queue, a fixed number of threads, one descriptor that says when something has ended. For
 * programs with an event loop, whose thread must not wait. What a job does is a function of the caller's: any call of the store
 * or the engine, on memory that stays as it is until the job has been collected.
 *
 * Nothing is allocated per job, and its storage is the caller's: with a million jobs waiting there are as many threads and
 * descriptors as with one.
 */
#ifndef MOONCAKE_ASYNC_H
#define MOONCAKE_ASYNC_H

#include <mooncake/mooncake.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mc_async;

/**
 * struct mc_job - one call. All zero but for @run (@group, @deadline_ns) before mc_async_submit(); the queue's until
 * mc_async_collect() returned it or mc_async_cancel() said 0.
 */
struct mc_job {
	void (*run)(struct mc_job *job); /* on a thread of the queue */
	const void *group;		 /* NULL, or: of which jobs it is one that mc_async_join() may take together */
	uint64_t deadline_ns;		 /* not begun by then: it does not begin any more; 0: none */
	int error;			 /* out: 0 it ran; -ECANCELED, -ETIMEDOUT it did not */
	unsigned text_bytes;		 /* of @text */
	char *text;			 /* NULL, or memory for mc_last_error() as @run left it; "" when it set none */
	struct mc_job *next_, *prev_, *joined_; /* the queue's */
	int state_;
};

/** struct mc_async_opts - zero means the default. */
struct mc_async_opts {
	size_t size;	  /* sizeof(struct mc_async_opts) */
	unsigned threads; /* at most; they are started when jobs wait. Default 4, limit 64 */
	unsigned max;	  /* jobs submitted and not collected; default 4096 */
};

/**
 * mc_async_open - a queue without threads yet; one descriptor.
 * @opts NULL: all defaults. After a fork() the child is refused with -EPERM.
 * Return: 0; -EINVAL more than 64 threads; -E2BIG options of a newer library; -EMFILE; -ENOMEM.
 */
MC_API int mc_async_open(const struct mc_async_opts *opts, struct mc_async **out);

/** mc_async_fd - readable while ended jobs wait for mc_async_collect(). The queue's to close. */
MC_API int mc_async_fd(const struct mc_async *a);

/**
 * mc_async_submit - run it when its turn comes, in order of submission; with several threads jobs may end in another order.
 * Never waits. Return: 0; -EAGAIN as many as may be there are: collect some; -ESHUTDOWN; -EPERM; -ENOMEM, -EAGAIN no thread.
 */
MC_API int mc_async_submit(struct mc_async *a, struct mc_job *job);

/**
 * mc_async_cancel - take back a job that has not begun.
 * Return: 0 it is the caller's again and will not be collected; -EBUSY it runs or has ended: it will be collected.
 */
MC_API int mc_async_cancel(struct mc_async *a, struct mc_job *job);

/**
 * mc_async_join - from inside @job's run, on its thread: take up to @max jobs more that are next in the queue and have its @run and
 * its @group, to do them in the same call of the library. They have begun then, and end when @job does. The @text of jobs that
 * were done together is what @run writes there, for nobody else knows whose an error is.
 * Return: how many are in @out; 0 without a group.
 */
MC_API unsigned mc_async_join(struct mc_async *a, struct mc_job *job, struct mc_job **out, unsigned max);

/** mc_async_collect - jobs that have ended, in the order in which they did; never waits. Return: how many are in @out. */
MC_API unsigned mc_async_collect(struct mc_async *a, struct mc_job **out, unsigned max);

/**
 * mc_async_shutdown - nothing begins any more: what waits ends with -ECANCELED; waits for what runs. May be called again.
 * Return: 0 everything has ended and can be collected; -EINPROGRESS a job still runs at @deadline_ns.
 */
MC_API int mc_async_shutdown(struct mc_async *a, uint64_t deadline_ns);

/**
 * mc_async_close - shuts down, waits for what runs, frees; what was not collected is the caller's again. NULL is fine.
 * Not from a job.
 */
MC_API void mc_async_close(struct mc_async *a);

#ifdef __cplusplus
}
#endif

#endif
