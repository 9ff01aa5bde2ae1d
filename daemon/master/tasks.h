/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copy and move tasks: what is asked for, what waits, what runs, how it ended. Data with functions on it; times are arguments. They
 * live as long as the master: a task that is forgotten has moved nothing or everything, never lost a byte.
 *
 *	create ──▸ PENDING ──next──▸ PROCESSING ──end──▸ SUCCESS, FAILED ──▸ forgotten when there are many newer ones
 *		      │ ▴                 └── may work later: it waits again
 *		      └── too old, or its pool went: FAILED
 *
 * Thread-safe. Lock order: tasks, then the index.
 */
#ifndef MC_MASTER_TASKS_H
#define MC_MASTER_TASKS_H

#include "base/base.h"
#include "proto/proto.h"

struct tasks;

#define TASKS_PER_POOL 4 /* that one owner works on at a time */
#define TASK_MESSAGE_BYTES 160

struct tasks_opts {
	uint32_t max_pending, max_processing, max_finished;
	uint64_t pending_ns; /* waits so long at most */
	uint32_t max_retries;
};

struct task_spec {
	enum task_type type;
	struct key key; /* full */
	uint64_t put_id;
	uint32_t source; /* pool index, and its life: */
	uint16_t slot;
	uint8_t pool[16]; /* its id */
	unsigned nr_targets;
	uint32_t target[TASK_TARGETS_MAX]; /* pool indices */
};

/* One that runs; whoever got it from tasks_next() has it until tasks_end(). */
struct task {
	uint8_t id[16];
	struct task_spec spec; /* the key's memory is the task's */
};

struct tasks_stat {
	uint32_t pending, processing, finished;
	uint64_t created, succeeded, failed;
};

struct times {
	uint64_t now_ns; /* monotonic */
	uint64_t ms;	 /* since 1970 */
};

int tasks_open(const struct tasks_opts *o, struct tasks **out);
void tasks_close(struct tasks *ts);

/* Copies @spec. -EDQUOT: max_pending wait; -ENOMEM. */
int tasks_create(struct tasks *ts, const struct task_spec *spec, struct times t, uint8_t id[16]);

/*
 * The next one of this pool, PROCESSING from now on; NULL: none waits, or enough run. @may is asked with the lock held:
 * 0 yes; -EBUSY later, another one may; any other error ends the task with FAILED.
 */
struct task *tasks_next(struct tasks *ts, uint32_t pool, struct times t, int (*may)(void *arg, const struct task_spec *spec),
			void *arg);

/* @error NULL: SUCCESS, with @message; else FAILED, and why. @task is gone for the caller. */
void tasks_end(struct tasks *ts, struct task *task, const char *error, const char *message, struct times t);

/* Instead: it waits again, for another owner, until what was its time at first. */
void tasks_again(struct tasks *ts, struct task *task, uint32_t source, uint16_t slot, const uint8_t pool[16], struct times t);

/*
 * Instead, for a reason that may pass: it waits again, a little longer each time. False: that was its last try, and it is still
 * the caller's.
 */
bool tasks_retry(struct tasks *ts, struct task *task, struct times t);

/* This life of a pool ended: what waits for its owner fails. */
void tasks_pool_gone(struct tasks *ts, uint32_t pool, uint16_t slot, struct times t);

/* What waited for too long fails. Calls @waits for every pool that has something waiting, without the lock. */
void tasks_tick(struct tasks *ts, struct times t, void (*waits)(void *arg, uint32_t pool), void *arg);

/* -ESRCH: unknown, or forgotten. @message has the text. */
int tasks_query(struct tasks *ts, const uint8_t id[16], struct msg_task *out, char message[TASK_MESSAGE_BYTES]);
bool tasks_waiting(const struct tasks *ts); /* does any? A glance, without the lock */
void tasks_stat(struct tasks *ts, struct tasks_stat *out);

#endif
