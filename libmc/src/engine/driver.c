/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that moves batches on which nobody waits for: it looks at each, then waits for all
 * that any of them waits for at once. So no peer holds up another one's batches.
 */
#include "engine/engine.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

#define LOOK_NS (50 * NSEC_PER_MSEC) /* what shows in no descriptor: a machine that is gone, a turn given back */
#define SOON_NS (100 * NSEC_PER_USEC)

void driver_init(struct driver *d)
{
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->passed, NULL);
	pthread_cond_init(&d->asked, NULL);
	list_init(&d->active);
	list_init(&d->checks);
	d->looks.driver = d;
	d->kickfd = -1;
}

void driver_kick(struct driver *d)
{
	const uint64_t one = 1;

	/* In one order with the thread's going to sleep: either it sees the count, or we see it asleep. */
	atomic_fetch_add(&d->kicks, 1);
	if (atomic_load(&d->asleep) && write(d->kickfd, &one, sizeof(one)) < 0)
		log_debug("driver: %s", strerror(errno)); /* full: it is awake */
}

void driver_told(void *driver)
{
	driver_kick(driver);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void look_at(struct driver *d, struct mc_batch *b)
{
	/* Whoever has the turn moves it on, and says so when he leaves. */
	if (!turn_take(&b->turn, 0))
		return;
	batch_look(b, &d->looks);
	batch_leave(b, false);
}

/* Each batch once. The lock is released in between. */
static void pass(struct driver *d)
{
	struct looks *l = &d->looks;

	l->pfd[0] = (struct pollfd){ .fd = d->kickfd, .events = POLLIN };
	l->nr = 1;
	l->soon = false;
	l->deadline_ns = DEADLINE_NEVER;
	for (unsigned left = d->nr_active; left && !list_empty(&d->active); left--) {
		struct mc_batch *b = list_first(&d->active, struct mc_batch, node);

		list_del(&b->node);
		list_append(&d->active, &b->node);
		d->current = b;
		pthread_mutex_unlock(&d->lock);
		look_at(d, b);
		pthread_mutex_lock(&d->lock);
		d->current = NULL;
		pthread_cond_broadcast(&d->passed);
	}
}

static void sleep_a_while(struct driver *d, unsigned seen, bool idle)
{
	struct looks *l = &d->looks;
	uint64_t until_ns = MIN(l->deadline_ns, deadline_after_ns(l->soon ? SOON_NS : LOOK_NS));
	uint64_t now = clock_now_ns(), left = until_ns > now ? until_ns - now : 0, count;
	struct timespec ts = timespec_of(left);

	atomic_store(&d->asleep, true);
	if (atomic_load(&d->kicks) == seen)
		ppoll(l->pfd, l->nr, idle ? NULL : &ts, NULL);
	atomic_store(&d->asleep, false);
	if (read(d->kickfd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_debug("driver: %s", strerror(errno));
}

static void *driver_main(void *arg)
{
	struct driver *d = arg;

	pthread_mutex_lock(&d->lock);
	while (!d->stop) {
		unsigned seen = atomic_load(&d->kicks);
		bool idle;

		pass(d);
		idle = list_empty(&d->active);
		pthread_mutex_unlock(&d->lock);
		sleep_a_while(d, seen, idle);
		pthread_mutex_lock(&d->lock);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

int driver_start(struct driver *d)
{
	int ret = 0;

	pthread_mutex_lock(&d->lock);
	if (d->running)
		goto out;
	d->looks.max = 64;
	d->looks.pfd = calloc(d->looks.max, sizeof(*d->looks.pfd));
	d->kickfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = !d->looks.pfd ? -ENOMEM : d->kickfd < 0 ? -errno : 0;
	if (!ret)
		ret = thread_start(&d->thread, "mc-driver", driver_main, d);
	d->running = !ret;
	if (!ret)
		goto out;
	if (d->kickfd >= 0)
		close(d->kickfd);
	d->kickfd = -1;
	free(d->looks.pfd);
	d->looks.pfd = NULL;
out:
	pthread_mutex_unlock(&d->lock);
	return ret;
}

void driver_fini(struct driver *d)
{
	pthread_mutex_lock(&d->lock);
	d->stop = true;
	pthread_cond_broadcast(&d->asked);
	pthread_mutex_unlock(&d->lock);
	if (d->running) {
		driver_kick(d);
		pthread_join(d->thread, NULL);
		close(d->kickfd);
	}
	if (d->checking)
		pthread_join(d->checker, NULL);
	free(d->looks.pfd);
	pthread_cond_destroy(&d->asked);
	pthread_cond_destroy(&d->passed);
	pthread_mutex_destroy(&d->lock);
}

/* ---- its batches ----------------------------------------------------------------------------- */

void driver_add(struct mc_batch *b)
{
	struct driver *d = &b->eng->driver;

	pthread_mutex_lock(&d->lock);
	if (list_empty(&b->node)) {
		if (b->priority == MC_PRIORITY_HIGH)
			list_push(&d->active, &b->node);
		else
			list_append(&d->active, &b->node);
		d->nr_active++;
	}
	pthread_mutex_unlock(&d->lock);
}

void driver_leave(struct mc_batch *b)
{
	struct driver *d = &b->eng->driver;

	d->nr_active -= !list_empty(&b->node);
	list_del(&b->node);
}

void driver_forget(struct mc_batch *b)
{
	struct driver *d = &b->eng->driver;

	pthread_mutex_lock(&d->lock);
	while (d->current == b)
		pthread_cond_wait(&d->passed, &d->lock);
	driver_leave(b);
	pthread_mutex_unlock(&d->lock);
}
