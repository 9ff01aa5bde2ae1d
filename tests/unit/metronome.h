/* SPDX-License-Identifier: Apache-2.0 */
/* How late this machine lets threads run: a test that says "at most 100 ms late" must not count what the scheduler took. */
#ifndef MC_TEST_METRONOME_H
#define MC_TEST_METRONOME_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"

#define BEAT_NS (5 * NSEC_PER_MSEC)

struct metronome {
	pthread_t thread;
	atomic_bool stop;
	_Atomic uint64_t worst_ns, next_ns;
};

static inline void *metronome_main(void *arg)
{
	struct metronome *m = arg;

	while (!m->stop) {
		const struct timespec ts = { .tv_nsec = BEAT_NS };
		uint64_t late;

		atomic_store(&m->next_ns, deadline_after_ns(BEAT_NS));
		nanosleep(&ts, NULL);
		late = clock_now_ns() - m->next_ns;
		if (late > m->worst_ns)
			atomic_store(&m->worst_ns, late);
	}
	return NULL;
}

static inline void metronome_start(struct metronome *m)
{
	*m = (struct metronome){ .next_ns = DEADLINE_NEVER };
	pthread_create(&m->thread, NULL, metronome_main, m);
}

/* The worst so far, several of which may meet: who sleeps, who wakes him, who is woken. */
static inline uint64_t metronome_late(const struct metronome *m)
{
	uint64_t now = clock_now_ns(), next = m->next_ns, worst = m->worst_ns;

	return 3 * (now > next && now - next > worst ? now - next : worst);
}

/* How many milliseconds ago @start_ns was, but for those that the scheduler took. */
static inline uint64_t metronome_ms_since(const struct metronome *m, uint64_t start_ns)
{
	uint64_t took = clock_now_ns() - start_ns, late = metronome_late(m);

	return took > late ? (took - late) / NSEC_PER_MSEC : 0;
}

static inline void metronome_stop(struct metronome *m)
{
	atomic_store(&m->stop, true);
	pthread_join(m->thread, NULL);
}

#endif
