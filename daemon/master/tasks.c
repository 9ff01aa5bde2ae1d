// SPDX-License-Identifier: Apache-2.0
/* The table of tasks. */
#include "tasks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/htab.h"
#include "base/list.h"

struct entry {
	struct task task;
	struct hnode by_id;
	struct list queue; /* its pool's, while it waits; then the finished ones' */
	struct list age;   /* all that wait, oldest first */
	enum task_status status;
	uint64_t created_ms, updated_ms, expires_ns, not_before_ns;
	uint32_t retries;
	char message[TASK_MESSAGE_BYTES];
	uint8_t key[];
};

struct tasks {
	struct tasks_opts o;
	atomic_uint nr_waiting; /* stat.pending, for who has not the lock */
	pthread_mutex_t lock; /* all below */
	struct htab ids;
	struct list waiting, finished;
	struct {
		struct list queue;
		unsigned running;
	} pool[POOLS_MAX];
	struct tasks_stat stat;
};

int tasks_open(const struct tasks_opts *o, struct tasks **out)
{
	struct tasks *ts = calloc(1, sizeof(*ts));

	if (!ts)
		return -ENOMEM;
	ts->o = *o;
	ts->ids = HTAB_INIT;
	list_init(&ts->waiting);
	list_init(&ts->finished);
	for (unsigned i = 0; i < POOLS_MAX; i++)
		list_init(&ts->pool[i].queue);
	pthread_mutex_init(&ts->lock, NULL);
	*out = ts;
	return 0;
}

static uint64_t id_hash(const uint8_t id[16])
{
	uint64_t h;

	memcpy(&h, id, sizeof(h)); /* they are random */
	return h;
}

static int free_entry(struct hnode *n, void *arg)
{
	free(container_of(n, struct entry, by_id));
	return 0;
}

void tasks_close(struct tasks *ts)
{
	if (!ts)
		return;
	htab_walk(&ts->ids, free_entry, NULL);
	htab_fini(&ts->ids);
	pthread_mutex_destroy(&ts->lock);
	free(ts);
}

static void wait(struct tasks *ts, struct entry *e)
{
	e->status = TASK_PENDING;
	list_append(&ts->pool[e->task.spec.source].queue, &e->queue);
	atomic_store(&ts->nr_waiting, ++ts->stat.pending);
}

int tasks_create(struct tasks *ts, const struct task_spec *spec, struct times t, uint8_t id[16])
{
	struct entry *e = malloc(sizeof(*e) + spec->key.len);
	int ret;

	if (!e)
		return -ENOMEM;
	*e = (struct entry){
		.task.spec = *spec, .created_ms = t.ms, .updated_ms = t.ms, .expires_ns = t.now_ns + ts->o.pending_ns,
	};
	random_bytes(e->task.id, sizeof(e->task.id));
	memcpy(e->key, spec->key.data, spec->key.len);
	e->task.spec.key.data = e->key;
	memcpy(id, e->task.id, 16);

	pthread_mutex_lock(&ts->lock);
	ret = ts->stat.pending >= ts->o.max_pending ? -EDQUOT : htab_add(&ts->ids, &e->by_id, id_hash(e->task.id));
	if (!ret) {
		wait(ts, e);
		list_append(&ts->waiting, &e->age);
		ts->stat.created++;
	}
	pthread_mutex_unlock(&ts->lock);
	if (ret)
		free(e);
	return ret;
}

/* ---- with the lock ---- */

static void forget_old(struct tasks *ts)
{
	while (ts->stat.finished > ts->o.max_finished) {
		struct entry *e = list_first(&ts->finished, struct entry, queue);

		list_del(&e->queue);
		htab_del(&ts->ids, &e->by_id);
		free(e);
		ts->stat.finished--;
	}
}

static void stop_waiting(struct tasks *ts, struct entry *e)
{
	list_del(&e->queue);
	list_del(&e->age);
	atomic_store(&ts->nr_waiting, --ts->stat.pending);
}

static void stop_running(struct tasks *ts, struct entry *e, struct times t)
{
	ts->pool[e->task.spec.source].running--;
	ts->stat.processing--;
	e->updated_ms = t.ms;
}

static void finish(struct tasks *ts, struct entry *e, const char *error, const char *message, struct times t)
{
	e->status = error ? TASK_FAILED : TASK_SUCCESS;
	e->updated_ms = t.ms;
	snprintf(e->message, sizeof(e->message), "%s", error ? error : message);
	list_append(&ts->finished, &e->queue);
	ts->stat.finished++;
	ts->stat.succeeded += !error;
	ts->stat.failed += error != NULL;
	forget_old(ts);
}

static void fail_waiting(struct tasks *ts, struct entry *e, const char *error, struct times t)
{
	stop_waiting(ts, e);
	finish(ts, e, error, NULL, t);
}

/* ---- */

struct task *tasks_next(struct tasks *ts, uint32_t pool, struct times t, int (*may)(void *arg, const struct task_spec *spec),
			void *arg)
{
	struct task *found = NULL;
	struct entry *e, *tmp;

	pthread_mutex_lock(&ts->lock);
	if (ts->pool[pool].running >= TASKS_PER_POOL || ts->stat.processing >= ts->o.max_processing)
		goto out;
	list_for_each_entry_safe(e, tmp, &ts->pool[pool].queue, queue) {
		int ret = e->not_before_ns > t.now_ns ? -EBUSY : may(arg, &e->task.spec);

		if (ret == -EBUSY)
			continue;
		if (ret) {
			fail_waiting(ts, e, ret == -ENOENT ? "the object is not there any more" : strerror(-ret), t);
			continue;
		}
		stop_waiting(ts, e);
		e->status = TASK_PROCESSING;
		e->updated_ms = t.ms;
		ts->pool[pool].running++;
		ts->stat.processing++;
		found = &e->task;
		break;
	}
out:
	pthread_mutex_unlock(&ts->lock);
	return found;
}

void tasks_end(struct tasks *ts, struct task *task, const char *error, const char *message, struct times t)
{
	struct entry *e = container_of(task, struct entry, task);

	pthread_mutex_lock(&ts->lock);
	stop_running(ts, e, t);
	finish(ts, e, error, message, t);
	pthread_mutex_unlock(&ts->lock);
}

void tasks_again(struct tasks *ts, struct task *task, uint32_t source, uint16_t slot, const uint8_t pool[16], struct times t)
{
	struct entry *e = container_of(task, struct entry, task);

	pthread_mutex_lock(&ts->lock);
	stop_running(ts, e, t);
	task->spec.source = source;
	task->spec.slot = slot;
	memcpy(task->spec.pool, pool, 16);
	wait(ts, e);
	list_push(&ts->waiting, &e->age); /* among the oldest */
	pthread_mutex_unlock(&ts->lock);
}

#define RETRY_NS (50 * NSEC_PER_MSEC) /* before the first; twice as long before each that follows, up to */
#define RETRY_SHIFT_MAX 6	      /* 3.2 s */

bool tasks_retry(struct tasks *ts, struct task *task, struct times t)
{
	struct entry *e = container_of(task, struct entry, task);
	bool again;

	pthread_mutex_lock(&ts->lock);
	again = e->retries < ts->o.max_retries;
	if (again) {
		stop_running(ts, e, t);
		e->not_before_ns = t.now_ns + (RETRY_NS << MIN(e->retries, (uint32_t)RETRY_SHIFT_MAX));
		e->retries++;
		e->expires_ns = MAX(e->expires_ns, e->not_before_ns + ts->o.pending_ns);
		wait(ts, e);
		list_append(&ts->waiting, &e->age);
	}
	pthread_mutex_unlock(&ts->lock);
	return again;
}

void tasks_pool_gone(struct tasks *ts, uint32_t pool, uint16_t slot, struct times t)
{
	struct entry *e, *tmp;

	pthread_mutex_lock(&ts->lock);
	list_for_each_entry_safe(e, tmp, &ts->pool[pool].queue, queue)
		if (e->task.spec.slot == slot)
			fail_waiting(ts, e, "the source segment went away", t);
	pthread_mutex_unlock(&ts->lock);
}

void tasks_tick(struct tasks *ts, struct times t, void (*waits)(void *arg, uint32_t pool), void *arg)
{
	struct entry *e;
	uint32_t next = 0;

	pthread_mutex_lock(&ts->lock);
	while ((e = list_first(&ts->waiting, struct entry, age)) && e->expires_ns <= t.now_ns)
		fail_waiting(ts, e, "the owner of the source segment was too busy for too long", t);
	while (ts->stat.pending && next < POOLS_MAX) {
		for (; next < POOLS_MAX && list_empty(&ts->pool[next].queue); next++)
			;
		if (next == POOLS_MAX)
			break;
		pthread_mutex_unlock(&ts->lock);
		waits(arg, next++);
		pthread_mutex_lock(&ts->lock);
	}
	pthread_mutex_unlock(&ts->lock);
}

int tasks_query(struct tasks *ts, const uint8_t id[16], struct msg_task *out, char message[TASK_MESSAGE_BYTES])
{
	struct hnode *n;
	int ret = -ESRCH;

	pthread_mutex_lock(&ts->lock);
	for (n = htab_first(&ts->ids, id_hash(id)); n && ret; n = htab_next(n)) {
		const struct entry *e = container_of(n, struct entry, by_id);

		if (memcmp(e->task.id, id, 16))
			continue;
		ret = 0;
		memcpy(message, e->message, TASK_MESSAGE_BYTES);
		*out = (struct msg_task){
			.type = (uint8_t)e->task.spec.type, .status = (uint8_t)e->status, .created_ms = e->created_ms,
			.updated_ms = e->updated_ms, .message = { message, (uint16_t)strlen(message) },
		};
		memcpy(out->id, id, 16);
		memcpy(out->pool, e->task.spec.pool, 16);
	}
	pthread_mutex_unlock(&ts->lock);
	return ret;
}

bool tasks_waiting(const struct tasks *ts)
{
	return atomic_load_explicit(&ts->nr_waiting, memory_order_relaxed);
}

void tasks_stat(struct tasks *ts, struct tasks_stat *out)
{
	pthread_mutex_lock(&ts->lock);
	*out = ts->stat;
	pthread_mutex_unlock(&ts->lock);
}
