/* SPDX-License-Identifier: Apache-2.0 */
/* Calls in the background: a bounded queue, a fixed number of threads, one descriptor. */
#include <mooncake/async.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/fork.h"
#include "base/log.h"
#include "base/opts.h"
#include "base/thread.h"

#define THREADS_DEFAULT 4
#define THREADS_MAX 64
#define JOBS_DEFAULT 4096

/*
 *	IDLE -> WAITING -> RUNNING -> ENDED -> IDLE (collected)
 *		   |          \________^ (its time was over)
 *		   '-> IDLE (cancelled)
 */
enum job_state { JOB_IDLE, JOB_WAITING, JOB_RUNNING, JOB_ENDED };

struct jobs {
	struct mc_job *first, *last;
};

struct mc_async {
	int fd;
	unsigned fork_gen, max, max_threads;

	pthread_mutex_t lock; /* guards what follows, and the queue's part of each job; never held while a job runs */
	pthread_cond_t more;  /* jobs wait, or it is closing */
	pthread_cond_t quiet; /* nothing runs */
	struct jobs waiting, ended;
	unsigned nr, nr_waiting; /* not collected; of these */
	unsigned running, idle, threads;
	bool waking; /* an idle thread was told that there is more, and has not looked yet */
	bool closing;
	pthread_t thread[THREADS_MAX];
};

/* ---- lists: the nodes are in a public struct, which knows no list.h --------------------------- */

static void jobs_add(struct jobs *l, struct mc_job *j, enum job_state state)
{
	j->state_ = state;
	j->next_ = NULL;
	j->prev_ = l->last;
	if (l->last)
		l->last->next_ = j;
	else
		l->first = j;
	l->last = j;
}

static void jobs_del(struct jobs *l, struct mc_job *j)
{
	if (j->prev_)
		j->prev_->next_ = j->next_;
	else
		l->first = j->next_;
	if (j->next_)
		j->next_->prev_ = j->prev_;
	else
		l->last = j->prev_;
}

/* ---- threads -------------------------------------------------------------------------------- */

static void say(struct mc_job *j, const char *text)
{
	if (j->text && j->text_bytes)
		snprintf(j->text, j->text_bytes, "%s", text);
}

/* With the lock. The descriptor becomes readable with the first and stays so until all are collected. */
static void end(struct mc_async *a, struct mc_job *j, int error)
{
	j->error = error;
	if (error == -ETIMEDOUT)
		say(j, "the deadline of the call passed before it began");
	else if (error)
		say(j, "the call did not begin: the queue was shut down");
	if (!a->ended.first)
		eventfd_write(a->fd, 1);
	jobs_add(&a->ended, j, JOB_ENDED);
}

static void take_waiting(struct mc_async *a, struct mc_job *j)
{
	jobs_del(&a->waiting, j);
	a->nr_waiting--;
}

/* With the lock. One thread at a time is woken, and wakes the next when there is more: a burst of jobs costs no burst of wakes. */
static void wake(struct mc_async *a)
{
	if (!a->waiting.first || !a->idle || a->waking)
		return;
	a->waking = true;
	pthread_cond_signal(&a->more);
}

/* With the lock, which is released meanwhile. */
static void run_one(struct mc_async *a, struct mc_job *j)
{
	unsigned errors = err_count();

	take_waiting(a, j);
	if (j->deadline_ns && deadline_passed(j->deadline_ns)) {
		end(a, j, -ETIMEDOUT);
		return;
	}
	j->state_ = JOB_RUNNING;
	j->joined_ = NULL;
	a->running++;
	wake(a);
	pthread_mutex_unlock(&a->lock);
	say(j, "");
	j->run(j);
	if (!j->joined_ && err_count() != errors)
		say(j, err_text());
	pthread_mutex_lock(&a->lock);
	for (struct mc_job *next; j; j = next) {
		next = j->joined_;
		end(a, j, 0);
	}
	if (!--a->running)
		pthread_cond_broadcast(&a->quiet);
}

unsigned mc_async_join(struct mc_async *a, struct mc_job *job, struct mc_job **out, unsigned max)
{
	struct mc_job **tail = &job->joined_, *j;
	unsigned nr = 0;

	while (*tail)
		tail = &(*tail)->joined_;
	pthread_mutex_lock(&a->lock);
	while (nr < max && (j = a->waiting.first) && job->group && j->group == job->group && j->run == job->run &&
	       !(j->deadline_ns && deadline_passed(j->deadline_ns))) {
		take_waiting(a, j);
		j->state_ = JOB_RUNNING;
		j->joined_ = NULL;
		say(j, "");
		*tail = j;
		tail = &j->joined_;
		out[nr++] = j;
	}
	pthread_mutex_unlock(&a->lock);
	return nr;
}

static void *worker(void *arg)
{
	struct mc_async *a = arg;

	pthread_mutex_lock(&a->lock);
	while (!a->closing) {
		if (a->waiting.first) {
			run_one(a, a->waiting.first);
			continue;
		}
		a->idle++;
		pthread_cond_wait(&a->more, &a->lock);
		a->idle--;
		a->waking = false;
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* With the lock, before one more job waits. A thread that cannot be started is missed only when there is no other. */
static int start_worker(struct mc_async *a)
{
	int ret;

	if (a->nr_waiting < a->idle || a->threads == a->max_threads)
		return 0;
	ret = thread_start(&a->thread[a->threads], "mc-async", worker, a);
	if (!ret)
		a->threads++;
	return a->threads ? 0 : ret;
}

/* ---- the calls ------------------------------------------------------------------------------ */

static bool foreign(const struct mc_async *a)
{
	return a->fork_gen != fork_generation();
}

int mc_async_open(const struct mc_async_opts *opts, struct mc_async **out)
{
	struct mc_async_opts o = { 0 };
	struct mc_async *a;
	int ret = opts ? opts_take(opts, sizeof(opts->size), &o, sizeof(o)) : 0;

	if (ret)
		return ret;
	if (o.threads > THREADS_MAX) {
		log_err("a queue of calls may have %u threads, not %u", THREADS_MAX, o.threads);
		return -EINVAL;
	}
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->fd < 0) {
		ret = -errno;
		free(a);
		return ret;
	}
	a->fork_gen = fork_watch();
	a->max = o.max ? o.max : JOBS_DEFAULT;
	a->max_threads = o.threads ? o.threads : THREADS_DEFAULT;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->more, NULL);
	pthread_cond_init(&a->quiet, NULL);
	*out = a;
	return 0;
}

int mc_async_fd(const struct mc_async *a)
{
	return a->fd;
}

int mc_async_submit(struct mc_async *a, struct mc_job *job)
{
	int ret;

	if (foreign(a)) {
		log_err_limited("a queue of calls cannot be used in a forked child; open one there after the fork");
		return -EPERM;
	}
	pthread_mutex_lock(&a->lock);
	ret = a->closing ? -ESHUTDOWN : a->nr == a->max ? -EAGAIN : start_worker(a);
	if (!ret) {
		a->nr++;
		a->nr_waiting++;
		jobs_add(&a->waiting, job, JOB_WAITING);
		wake(a);
	}
	pthread_mutex_unlock(&a->lock);
	return ret;
}

int mc_async_cancel(struct mc_async *a, struct mc_job *job)
{
	int ret = -EBUSY;

	if (foreign(a))
		return 0; /* nobody is here who could run it */
	pthread_mutex_lock(&a->lock);
	if (job->state_ == JOB_WAITING) {
		take_waiting(a, job);
		job->state_ = JOB_IDLE;
		job->error = -ECANCELED;
		a->nr--;
		ret = 0;
	}
	pthread_mutex_unlock(&a->lock);
	return ret;
}

unsigned mc_async_collect(struct mc_async *a, struct mc_job **out, unsigned max)
{
	struct mc_job *j;
	eventfd_t n;
	unsigned nr = 0;

	if (foreign(a))
		return 0;
	pthread_mutex_lock(&a->lock);
	for (; nr < max && a->ended.first; nr++) {
		j = a->ended.first;
		jobs_del(&a->ended, j);
		j->state_ = JOB_IDLE;
		out[nr] = j;
	}
	a->nr -= nr;
	if (!a->ended.first)
		eventfd_read(a->fd, &n);
	pthread_mutex_unlock(&a->lock);
	return nr;
}

int mc_async_shutdown(struct mc_async *a, uint64_t deadline_ns)
{
	int ret = 0;

	if (foreign(a))
		return 0;
	pthread_mutex_lock(&a->lock);
	a->closing = true;
	pthread_cond_broadcast(&a->more);
	for (struct mc_job *j; (j = a->waiting.first);) {
		take_waiting(a, j);
		end(a, j, -ECANCELED);
	}
	while (a->running && !ret)
		ret = cond_wait_until(&a->quiet, &a->lock, deadline_ns);
	ret = a->running ? -EINPROGRESS : 0;
	pthread_mutex_unlock(&a->lock);
	return ret;
}

void mc_async_close(struct mc_async *a)
{
	if (!a)
		return;
	if (!foreign(a)) {
		mc_async_shutdown(a, clock_now_ns());
		for (unsigned i = 0; i < a->threads; i++)
			pthread_join(a->thread[i], NULL);
		pthread_mutex_destroy(&a->lock);
		pthread_cond_destroy(&a->more);
		pthread_cond_destroy(&a->quiet);
	}
	close(a->fd);
	free(a);
}
