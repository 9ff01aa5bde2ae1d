/* SPDX-License-Identifier: Apache-2.0 */
/* Calls in the background: order, bounds, taking back, time, ends. */
#include <mooncake/async.h>

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mctest.h"

struct work {
	struct mc_job job; /* first */
	sem_t *begun, *go;
	int ran;
	bool taken_back;
};

static _Atomic int counter;

static void run(struct mc_job *job)
{
	struct work *w = (struct work *)job;

	if (w->begun)
		sem_post(w->begun);
	if (w->go)
		sem_wait(w->go);
	w->ran = ++counter;
}

static struct mc_async *queue(unsigned threads, unsigned max)
{
	struct mc_async_opts o = { .size = sizeof(o), .threads = threads, .max = max };
	struct mc_async *a = NULL;

	EXPECT_EQ(mc_async_open(&o, &a), 0);
	counter = 0;
	return a;
}

static bool readable(struct mc_async *a, int ms)
{
	struct pollfd p = { .fd = mc_async_fd(a), .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

/* Until @nr were collected. */
static unsigned collect(struct mc_async *a, struct mc_job **out, unsigned nr)
{
	unsigned n = 0;

	while (n < nr && readable(a, 5000))
		n += mc_async_collect(a, out + n, nr - n);
	return n;
}

static int threads(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = -2;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

struct telling {
	struct mc_job job; /* first */
	const char *says; /* NULL: nothing */
	char text[32];
};

static void tell(struct mc_job *job)
{
	const struct telling *t = (const struct telling *)job;

	if (t->says)
		mc_error_set(t->says);
}

/* Each job's error is its own, also of those that run on one thread one after the other, and cut to the room there is. */
TEST(what_went_wrong)
{
	static const char *const says[] = { "first", NULL, "a text that has more than thirty-one bytes", "first" };
	struct mc_async *a = queue(1, 0);
	struct telling t[6] = { 0 };
	struct mc_job *out[6];

	mc_error_set("mine");
	for (unsigned i = 0; i < 6; i++) {
		t[i].job = (struct mc_job){ .run = tell, .text = i == 4 ? NULL : t[i].text, .text_bytes = sizeof(t[i].text) };
		strcpy(t[i].text, "untouched");
		t[i].says = i < 4 ? says[i] : "nobody asks";
		t[i].job.deadline_ns = i == 5 ? 1 : 0;
		ASSERT_EQ(mc_async_submit(a, &t[i].job), 0);
	}
	ASSERT_EQ(collect(a, out, 6), 6);
	EXPECT_STREQ(t[0].text, "first");
	EXPECT_STREQ(t[1].text, "");
	EXPECT_STREQ(t[2].text, "a text that has more than thirt");
	EXPECT_STREQ(t[3].text, "first");
	EXPECT_STREQ(t[4].text, "untouched");
	EXPECT_TRUE(strstr(t[5].text, "deadline"));
	EXPECT_STREQ(mc_last_error(), "mine");
	mc_error_set(t[0].text);
	EXPECT_STREQ(mc_last_error(), "first");
	mc_error_set(NULL);
	EXPECT_STREQ(mc_last_error(), "");
	mc_async_close(a);
}

TEST(in_order_by_one_thread)
{
	static struct work w[1000];
	static struct mc_job *out[1000];
	struct mc_async *a = queue(1, 0);

	memset(w, 0, sizeof(w));
	EXPECT_EQ(readable(a, 0), false);
	for (int i = 0; i < 1000; i++) {
		w[i].job.run = run;
		EXPECT_EQ(mc_async_submit(a, &w[i].job), 0);
	}
	ASSERT_EQ(collect(a, out, 1000), 1000);
	for (int i = 0; i < 1000; i++) {
		EXPECT_EQ(out[i] == &w[i].job, true);
		EXPECT_EQ(w[i].ran, i + 1);
		EXPECT_EQ(w[i].job.error, 0);
	}
	EXPECT_EQ(readable(a, 0), false);
	EXPECT_EQ(mc_async_submit(a, &w[0].job), 0); /* a collected job may go again */
	EXPECT_EQ(collect(a, out, 1), 1);
	mc_async_close(a);
}

TEST(bounded_threads_and_jobs)
{
	struct work w[5] = { 0 };
	struct mc_async *a = queue(2, 4);
	struct mc_job *out[5];
	sem_t begun, go;
	int before = threads();

	sem_init(&begun, 0, 0);
	sem_init(&go, 0, 0);
	for (int i = 0; i < 5; i++) {
		w[i] = (struct work){ .job = { .run = run }, .begun = &begun, .go = &go };
		EXPECT_EQ(mc_async_submit(a, &w[i].job), i < 4 ? 0 : -EAGAIN);
	}
	sem_wait(&begun);
	sem_wait(&begun);
	EXPECT_EQ(threads(), before + 2);
	EXPECT_EQ(sem_trywait(&begun), -1);
	for (int i = 0; i < 4; i++)
		sem_post(&go);
	EXPECT_EQ(collect(a, out, 4), 4);
	EXPECT_EQ(mc_async_submit(a, &w[4].job), 0);
	sem_post(&go);
	EXPECT_EQ(collect(a, out, 1), 1);
	mc_async_close(a);
	EXPECT_EQ(threads(), before);
}

TEST(cancel_and_deadline)
{
	struct work w[4] = { 0 };
	struct mc_async *a = queue(1, 0);
	struct mc_job *out[4];
	sem_t begun, go;

	sem_init(&begun, 0, 0);
	sem_init(&go, 0, 0);
	for (int i = 0; i < 4; i++)
		w[i] = (struct work){ .job = { .run = run }, .begun = &begun, .go = &go };
	w[2].job.deadline_ns = 1; /* long ago */
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(mc_async_submit(a, &w[i].job), 0);
	sem_wait(&begun);
	EXPECT_EQ(mc_async_cancel(a, &w[0].job), -EBUSY);
	EXPECT_EQ(mc_async_cancel(a, &w[1].job), 0);
	EXPECT_EQ(w[1].job.error, -ECANCELED);
	sem_post(&go);
	sem_post(&go);
	ASSERT_EQ(collect(a, out, 3), 3);
	EXPECT_EQ(out[0] == &w[0].job && out[1] == &w[2].job && out[2] == &w[3].job, true);
	EXPECT_EQ(w[2].job.error, -ETIMEDOUT);
	EXPECT_EQ(w[1].ran, 0);
	EXPECT_EQ(w[2].ran, 0);
	EXPECT_EQ(w[3].ran, 2);
	EXPECT_EQ(mc_async_cancel(a, &w[3].job), -EBUSY); /* collected: there is nothing to take back */
	mc_async_close(a);
}

TEST(shutdown_ends_what_waits)
{
	struct work w[3] = { 0 };
	struct mc_async *a = queue(1, 0);
	struct mc_job *out[3];
	sem_t begun, go;

	sem_init(&begun, 0, 0);
	sem_init(&go, 0, 0);
	for (int i = 0; i < 3; i++) {
		w[i] = (struct work){ .job = { .run = run }, .begun = &begun, .go = &go };
		EXPECT_EQ(mc_async_submit(a, &w[i].job), 0);
	}
	sem_wait(&begun);
	EXPECT_EQ(mc_async_shutdown(a, mc_deadline_ms(20)), -EINPROGRESS);
	EXPECT_EQ(mc_async_submit(a, &w[1].job), -ESHUTDOWN);
	EXPECT_EQ(collect(a, out, 2), 2);
	EXPECT_EQ(w[1].job.error, -ECANCELED);
	EXPECT_EQ(w[2].job.error, -ECANCELED);
	sem_post(&go);
	EXPECT_EQ(mc_async_shutdown(a, mc_deadline_ms(5000)), 0);
	EXPECT_EQ(collect(a, out, 1), 1);
	EXPECT_EQ(out[0] == &w[0].job, true);
	mc_async_close(a);
	mc_async_close(NULL);
}

static void *post_later(void *go)
{
	usleep(20000);
	sem_post(go);
	return NULL;
}

TEST(close_waits_for_what_runs)
{
	struct work w = { .job = { .run = run } };
	struct mc_async *a = queue(3, 0);
	sem_t begun, go;
	pthread_t t;

	sem_init(&begun, 0, 0);
	sem_init(&go, 0, 0);
	w.begun = &begun;
	w.go = &go;
	EXPECT_EQ(mc_async_submit(a, &w.job), 0);
	sem_wait(&begun);
	pthread_create(&t, NULL, post_later, &go);
	mc_async_close(a);
	EXPECT_EQ(w.ran, 1);
	pthread_join(t, NULL);
}

struct group {
	struct mc_async *a;
	_Atomic int calls, most;
};

struct member {
	struct mc_job job; /* first */
	struct group *of;
	int seen;
};

static void run_group(struct mc_job *job)
{
	struct group *g = ((struct member *)job)->of;
	struct mc_job *more[7];
	int nr = (int)mc_async_join(g->a, job, more, 4);

	nr += (int)mc_async_join(g->a, job, more + nr, 3);
	((struct member *)job)->seen++;
	for (int i = 0; i < nr; i++)
		((struct member *)more[i])->seen++;
	g->calls++;
	if (nr + 1 > g->most)
		g->most = nr + 1;
}

TEST(joined_jobs)
{
	static struct member m[100];
	struct work stop = { .job = { .run = run } }, last = { .job = { .run = run } };
	struct group g[2] = { { .a = queue(1, 0) }, { 0 } };
	struct mc_job *out[102];
	sem_t begun, go;

	g[1].a = g[0].a;
	sem_init(&begun, 0, 0);
	sem_init(&go, 0, 0);
	stop.begun = &begun;
	stop.go = &go;
	EXPECT_EQ(mc_async_submit(g[0].a, &stop.job), 0);
	sem_wait(&begun);
	memset(m, 0, sizeof(m));
	for (int i = 0; i < 100; i++) { /* 64 of one group, 20 of another, 16 of none */
		m[i].of = &g[i >= 64];
		m[i].job = (struct mc_job){ .run = run_group, .group = i < 84 ? m[i].of : NULL };
		if (i == 10)
			m[i].job.deadline_ns = 1;
		EXPECT_EQ(mc_async_submit(g[0].a, &m[i].job), 0);
	}
	EXPECT_EQ(mc_async_submit(g[0].a, &last.job), 0);
	EXPECT_EQ(mc_async_cancel(g[0].a, &m[63].job), 0);
	sem_post(&go);
	ASSERT_EQ(collect(g[0].a, out, 101), 101);
	EXPECT_EQ(out[100] == &last.job, true);
	for (int i = 0; i < 100; i++)
		EXPECT_EQ(m[i].seen, i != 10 && i != 63);
	EXPECT_EQ(m[10].job.error, -ETIMEDOUT);
	EXPECT_EQ(g[0].most, 8);
	EXPECT_EQ(g[0].calls, 2 + 7); /* 0-9, then 11-62 */
	EXPECT_EQ(g[1].calls, 3 + 16);
	for (int i = 2; i < 100; i++) /* in order still */
		EXPECT_EQ(out[i] > out[i - 1], true);
	mc_async_close(g[0].a);
}

static struct mc_async *shared;

static void *submitter(void *arg)
{
	struct work *w = arg;

	for (int i = 0; i < 500; i++) {
		w[i] = (struct work){ .job = { .run = run } };
		if (mc_async_submit(shared, &w[i].job))
			return (void *)1;
		if (i % 7 == 0)
			w[i].taken_back = !mc_async_cancel(shared, &w[i].job);
	}
	return NULL;
}

TEST(many_threads)
{
	static struct work w[4][500];
	static struct mc_job *out[2000];
	unsigned want = 2000, n = 0;
	pthread_t t[4];
	void *bad;

	shared = queue(4, 0);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, submitter, w[i]);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &bad);
		EXPECT_EQ(bad == NULL, true);
	}
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < 500; k++)
			want -= w[i][k].taken_back;
	n = collect(shared, out, want);
	EXPECT_EQ(n, want);
	EXPECT_EQ(counter, want);
	mc_async_close(shared);
}

TEST(forked_child_is_refused)
{
	struct work w = { .job = { .run = run } };
	struct mc_async *a = queue(1, 0);
	struct mc_job *out[1];
	int status = 1;
	pid_t pid;

	EXPECT_EQ(mc_async_submit(a, &w.job), 0);
	EXPECT_EQ(collect(a, out, 1), 1);
	pid = fork();
	if (!pid) {
		status = mc_async_submit(a, &w.job) != -EPERM;
		mc_async_close(a);
		_exit(status);
	}
	waitpid(pid, &status, 0);
	EXPECT_EQ(status, 0);
	mc_async_close(a);
}

TEST(bad_options)
{
	struct mc_async_opts o = { .size = sizeof(o), .threads = 65 };
	struct mc_async *a;

	EXPECT_EQ(mc_async_open(&o, &a), -EINVAL);
	o = (struct mc_async_opts){ .size = 1 };
	EXPECT_EQ(mc_async_open(&o, &a), -EINVAL);
	ASSERT_EQ(mc_async_open(NULL, &a), 0);
	mc_async_close(a);
}
