/* SPDX-License-Identifier: Apache-2.0 */
/* Completion queues: batches whose requests have all ended, and a descriptor that says so. */
#include "engine/engine.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"

int mc_cq_open(struct mc_engine *eng, struct mc_cq **out)
{
	struct mc_cq *q;
	int ret;

	if (engine_forked(eng))
		return engine_refuse_fork();
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->eng = eng;
	list_init(&q->ended);
	q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = q->fd < 0 ? -errno : driver_start(&eng->driver);
	if (ret) {
		if (q->fd >= 0)
			close(q->fd);
		free(q);
		return ret;
	}
	*out = q;
	return 0;
}

void mc_cq_close(struct mc_cq *q)
{
	if (!q)
		return;
	close(q->fd);
	free(q);
}

int mc_cq_fd(const struct mc_cq *q)
{
	return q->fd;
}

/* With the driver's lock. */
static void show(struct mc_cq *q, bool any)
{
	uint64_t v = 1;

	if ((any ? write(q->fd, &v, sizeof(v)) : read(q->fd, &v, sizeof(v))) < 0)
		log_debug("completion queue: %s", strerror(errno));
}

void cq_push(struct mc_batch *b)
{
	struct driver *d = &b->eng->driver;
	struct mc_cq *q = b->cq;

	pthread_mutex_lock(&d->lock);
	driver_leave(b);
	if (list_empty(&b->ended)) {
		if (list_empty(&q->ended))
			show(q, true);
		list_append(&q->ended, &b->ended);
	}
	pthread_mutex_unlock(&d->lock);
}

/* With the driver's lock. */
static void drop(struct mc_batch *b)
{
	if (list_empty(&b->ended))
		return;
	list_del(&b->ended);
	if (list_empty(&b->cq->ended))
		show(b->cq, false);
}

void cq_take_back(struct mc_batch *b)
{
	pthread_mutex_lock(&b->eng->driver.lock);
	drop(b);
	pthread_mutex_unlock(&b->eng->driver.lock);
}

void cq_leave(struct mc_batch *b)
{
	driver_forget(b);
	cq_take_back(b);
}

unsigned mc_cq_collect(struct mc_cq *q, struct mc_batch **out, unsigned max)
{
	struct driver *d = &q->eng->driver;
	unsigned nr = 0;

	if (engine_forked(q->eng))
		return 0;
	pthread_mutex_lock(&d->lock);
	while (nr < max && !list_empty(&q->ended)) {
		out[nr] = list_first(&q->ended, struct mc_batch, ended);
		drop(out[nr++]);
	}
	pthread_mutex_unlock(&d->lock);
	return nr;
}

int mc_batch_watch(struct mc_batch *b, struct mc_cq *q)
{
	int ret = -EBUSY;

	if (engine_forked(b->eng))
		return engine_refuse_fork();
	if (q && q->eng != b->eng)
		return -EINVAL;
	if (b->pending)
		return ret;
	turn_take(&b->turn, DEADLINE_NEVER);
	if (!b->pending) {
		if (b->cq)
			cq_leave(b);
		b->cq = q;
		ret = 0;
	}
	turn_give(&b->turn);
	return ret;
}

void *mc_batch_arg(const struct mc_batch *b)
{
	return b->arg;
}
