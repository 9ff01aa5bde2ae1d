/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has a peer that failed become another process? To ask takes as long as the metadata service or
 * the peer's port, so a thread of its own asks for the driver, one segment after the other.
 */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/thread.h"

#define CHECK_NS (1 * NSEC_PER_SEC)

/* With the lock, which is released meanwhile. */
static void check(struct driver *d, struct mc_segment *seg)
{
	uint64_t gen = seg->check_gen;
	bool stop = d->stop;

	list_del(&seg->check);
	pthread_mutex_unlock(&d->lock);
	if (!stop)
		segment_changed(seg, gen, deadline_after_ns(CHECK_NS));
	pthread_mutex_lock(&d->lock);
	seg->checking = false;
	pthread_mutex_unlock(&d->lock);
	driver_kick(d);
	mc_segment_close(seg);
	pthread_mutex_lock(&d->lock);
}

static void *checker_main(void *arg)
{
	struct driver *d = arg;

	pthread_mutex_lock(&d->lock);
	while (!d->stop || !list_empty(&d->checks)) {
		if (list_empty(&d->checks))
			pthread_cond_wait(&d->asked, &d->lock);
		else
			check(d, list_first(&d->checks, struct mc_segment, check));
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

/* With the lock. */
static int ask(struct driver *d, struct mc_segment *seg, uint64_t gen)
{
	int ret = 0;

	if (!d->checking)
		ret = thread_start(&d->checker, "mc-check", checker_main, d);
	if (ret)
		return ret;
	d->checking = true;
	seg->checking = true;
	seg->check_gen = gen;
	segment_get(seg);
	list_append(&d->checks, &seg->check);
	pthread_cond_signal(&d->asked);
	return 0;
}

int driver_changed(struct driver *d, struct mc_segment *seg, uint64_t gen, bool *asked)
{
	bool first = !*asked;
	int ret = 0;

	pthread_mutex_lock(&d->lock);
	if (first && !seg->checking)
		ret = ask(d, seg, gen);
	*asked = true;
	if (!ret && seg->checking)
		ret = -EINPROGRESS;
	pthread_mutex_unlock(&d->lock);
	return ret ? ret : segment_gen(seg) != gen;
}
