// SPDX-License-Identifier: Apache-2.0
/* Threads that signals do not reach, and waits that end by a deadline. */
#include "mctest.h"

#include <signal.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/thread.h"

struct met {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	sigset_t mask;
	char name[16];
	bool there;
};

static void *arrive(void *arg)
{
	struct met *m = arg;

	pthread_mutex_lock(&m->lock);
	pthread_sigmask(SIG_SETMASK, NULL, &m->mask);
	m->there = true;
	pthread_cond_signal(&m->changed);
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

TEST(no_signal_but_a_fault)
{
	struct met m = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	uint64_t end = deadline_after_ms(10000);
	pthread_t t;
	int ret = 0;

	pthread_mutex_lock(&m.lock);
	ASSERT_EQ(thread_start(&t, "a-name-that-is-too-long", arrive, &m), 0);
	ASSERT_EQ(pthread_getname_np(t, m.name, sizeof(m.name)), 0);
	while (!m.there && !ret)
		ret = cond_wait_until(&m.changed, &m.lock, end);
	EXPECT_EQ(ret, 0);
	pthread_mutex_unlock(&m.lock);
	pthread_join(t, NULL);
	EXPECT_STREQ(m.name, "a-name-that-is-");
	EXPECT_TRUE(sigismember(&m.mask, SIGTERM) && sigismember(&m.mask, SIGUSR1) && !sigismember(&m.mask, SIGBUS));
	pthread_sigmask(SIG_SETMASK, NULL, &m.mask);
	EXPECT_TRUE(!sigismember(&m.mask, SIGTERM)); /* the starter keeps its own */
}

/* A condition without attributes, and yet by the clock that deadlines have. */
TEST(a_wait_ends_by_its_deadline)
{
	struct met m = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	uint64_t end = deadline_after_ms(20);
	int ret = 0;

	pthread_mutex_lock(&m.lock);
	while (!ret)
		ret = cond_wait_until(&m.changed, &m.lock, end);
	EXPECT_EQ(ret, -ETIMEDOUT);
	EXPECT_TRUE(deadline_passed(end));
	EXPECT_EQ(cond_wait_until(&m.changed, &m.lock, 0), -ETIMEDOUT);
	pthread_mutex_unlock(&m.lock);
}

/* The longest there is: somebody else ends it. */
TEST(a_wait_without_one_is_ended)
{
	struct met m = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	pthread_t t;

	pthread_mutex_lock(&m.lock);
	ASSERT_EQ(thread_start(&t, NULL, arrive, &m), 0);
	while (!m.there)
		EXPECT_EQ(cond_wait_until(&m.changed, &m.lock, DEADLINE_NEVER), 0);
	pthread_mutex_unlock(&m.lock);
	pthread_join(t, NULL);
}
