/* SPDX-License-Identifier: Apache-2.0 */
/* Calls with a deadline of the test's choice, and threads that call all the time. */
#ifndef STORE_CALLERS_H
#define STORE_CALLERS_H

#include "unit/metronome.h"
#include "unit/store_rig.h"

static struct metronome beat;

__attribute__((constructor)) static void start_beat(void)
{
	metronome_start(&beat);
}

static inline uint64_t ms_since(uint64_t start_ns)
{
	return metronome_ms_since(&beat, start_ns);
}

static inline int put_by(struct mc_store *s, const char *key, const void *data, size_t len, uint64_t deadline_ns)
{
	struct mc_iov iov = { (void *)(uintptr_t)data, len };
	struct mc_put p = { .key = key_of(key), .iov = &iov, .nr_iov = 1 };

	mc_store_put(s, &p, 1, NULL, deadline_ns);
	return p.result;
}

static inline int64_t get_by(struct mc_store *s, const char *key, void *data, size_t len, uint64_t deadline_ns)
{
	struct mc_iov iov = { data, len };
	struct mc_get g = { .key = key_of(key), .iov = &iov, .nr_iov = 1 };

	mc_store_get(s, &g, 1, deadline_ns);
	return g.result;
}

/* Returns when it has stopped. */
static inline void freeze(pid_t pid)
{
	int status;

	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
}

struct caller {
	int ret;
	struct mc_store *s;
	atomic_bool stop;
	atomic_uint calls, wrong;
	pthread_t thread;
};

static inline void *call_on(void *arg)
{
	struct caller *c = arg;
	uint8_t *data = malloc(100000);
	char key[32];

	for (unsigned i = 0; !atomic_load(&c->stop); i++) {
		int64_t n;

		snprintf(key, sizeof(key), "p%u", i % 200);
		n = get_by(c->s, key, data, 100000, deadline_after_ms(1000));
		if (n >= 0 && (n != 100000 || !filled(data, 100000, i % 200)))
			atomic_fetch_add(&c->wrong, 1);
		if (n == -ESHUTDOWN)
			break;
		if (i % 7 == 0) {
			fill(data, 100000, i % 200);
			put_by(c->s, key, data, 100000, deadline_after_ms(1000));
		}
		atomic_fetch_add(&c->calls, 1);
	}
	free(data);
	return NULL;
}

static inline void callers_start(struct caller *c, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		pthread_create(&c[i].thread, NULL, call_on, &c[i]);
	for (unsigned i = 0; i < nr; i++)
		while (atomic_load(&c[i].calls) < 20)
			usleep(1000);
}

static inline void callers_stop(struct caller *c, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		atomic_store(&c[i].stop, true);
		pthread_join(c[i].thread, NULL);
		EXPECT_EQ(atomic_load(&c[i].wrong), 0);
	}
}

#endif
