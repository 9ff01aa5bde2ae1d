// SPDX-License-Identifier: Apache-2.0
/* The event loop: order, staleness, timers, posting from many threads, stopping. */
#include "mctest.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"

static struct loop *open_loop(void)
{
	struct loop *l = NULL;

	if (loop_open(&l))
		abort();
	return l;
}

/* Ends a loop_run() that should have ended long ago. */
static struct loop *guarded;
static bool timed_out;

static void give_up(struct loop_timer *t)
{
	timed_out = true;
	loop_stop(guarded);
}

static void run_guarded(struct loop *l)
{
	struct loop_timer guard = { 0 };

	guarded = l;
	timed_out = false;
	loop_timer_set(l, &guard, deadline_after_ms(20000), give_up);
	EXPECT_EQ(loop_run(l), 0);
	loop_timer_del(l, &guard);
	EXPECT_TRUE(!timed_out);
}

/* ---- descriptors ---- */

struct sock {
	struct loop_fd f;
	struct loop *l;
	struct sock *victim;
	int calls;
	uint32_t ready;
};

static void on_kill_other(struct loop_fd *f, uint32_t ready)
{
	struct sock *s = container_of(f, struct sock, f);

	s->calls++;
	loop_fd_del(s->l, &s->victim->f);
	memset(&s->victim->f, 0xff, sizeof(s->victim->f)); /* as if it were freed */
	loop_fd_del(s->l, &s->f);
	loop_stop(s->l);
}

/* Two descriptors ready in one batch; whichever runs first deletes the other. */
TEST(no_stale_event_after_deletion)
{
	struct loop *l = open_loop();
	struct sock a = { .l = l }, b = { .l = l };
	int fa = eventfd(1, 0), fb = eventfd(1, 0);

	a.victim = &b;
	b.victim = &a;
	EXPECT_EQ(loop_fd_add(l, &a.f, fa, EPOLLIN, on_kill_other), 0);
	EXPECT_EQ(loop_fd_add(l, &b.f, fb, EPOLLIN, on_kill_other), 0);
	run_guarded(l);
	EXPECT_EQ(a.calls + b.calls, 1);
	loop_close(l);
	close(fa);
	close(fb);
}

static void on_ready(struct loop_fd *f, uint32_t ready)
{
	struct sock *s = container_of(f, struct sock, f);

	s->calls++;
	s->ready = ready;
	if (s->calls == 3)
		loop_stop(s->l);
}

TEST(level_triggered_until_deleted)
{
	struct loop *l = open_loop();
	struct sock s = { .l = l };
	int fd = eventfd(1, 0);

	EXPECT_EQ(loop_fd_mod(l, &s.f, EPOLLIN), -ENOENT);
	EXPECT_EQ(loop_fd_add(l, &s.f, fd, EPOLLIN, on_ready), 0);
	run_guarded(l);
	EXPECT_EQ(s.calls, 3);
	EXPECT_EQ(s.ready, (uint32_t)EPOLLIN);
	s.calls = 0;
	EXPECT_EQ(loop_fd_mod(l, &s.f, EPOLLOUT), 0);
	run_guarded(l);
	EXPECT_EQ(s.ready, (uint32_t)EPOLLOUT);
	loop_fd_del(l, &s.f);
	loop_fd_del(l, &s.f);
	loop_close(l);
	close(fd);
}

TEST(refuses_what_epoll_refuses)
{
	struct loop *l = open_loop();
	struct sock s = { .l = l };
	FILE *f = tmpfile();

	EXPECT_EQ(loop_fd_add(l, &s.f, fileno(f), EPOLLIN, on_ready), -EPERM);
	EXPECT_EQ(loop_fd_add(l, &s.f, -1, EPOLLIN, on_ready), -EBADF);
	EXPECT_TRUE(!s.f.armed);
	fclose(f);
	loop_close(l);
}

/* ---- timers ---- */

struct tick {
	struct loop_timer t;
	struct loop *l;
	uint64_t fired_ns;
	int nr;
};

static int fired;
static struct tick *order[64];

static void on_tick(struct loop_timer *t)
{
	struct tick *k = container_of(t, struct tick, t);

	k->fired_ns = clock_now_ns();
	order[fired++] = k;
	if (fired == k->nr)
		loop_stop(k->l);
}

TEST(timers_in_order_and_never_early)
{
	struct loop *l = open_loop();
	struct tick k[40];
	uint64_t now = clock_now_ns();

	fired = 0;
	for (int i = 0; i < 40; i++) {
		k[i] = (struct tick){ .l = l, .nr = 29 };
		EXPECT_EQ(loop_timer_set(l, &k[i].t, now + 1000, on_tick), 0);
	}
	for (uint64_t i = 0; i < 40; i++) /* moved, both ways */
		EXPECT_EQ(loop_timer_set(l, &k[i].t, now + (i * 7 % 40) * 300000, on_tick), 0);
	for (int i = 0; i < 40; i++)
		if (i % 4 == 1)
			loop_timer_del(l, &k[i].t);
	loop_timer_del(l, &k[2].t);
	loop_timer_del(l, &k[2].t);
	run_guarded(l);
	EXPECT_EQ(fired, 29);
	for (int i = 0; i < fired; i++) {
		EXPECT_GE(order[i]->fired_ns, order[i]->t.at_ns);
		EXPECT_EQ(order[i]->t.slot, 0u);
		if (i)
			EXPECT_GE(order[i]->t.at_ns, order[i - 1]->t.at_ns);
	}
	EXPECT_EQ(k[1].fired_ns, 0u);
	EXPECT_EQ(k[2].fired_ns, 0u);
	loop_close(l);
}

static int rounds;

static void on_again(struct loop_timer *t)
{
	struct tick *k = container_of(t, struct tick, t);

	rounds++;
	loop_timer_set(k->l, t, 0, on_again);
}

/* A timer that is always due must not starve descriptors and posts. */
TEST(busy_timer_leaves_room)
{
	struct loop *l = open_loop();
	struct tick k = { .l = l };
	struct sock s = { .l = l };
	int fd = eventfd(1, 0);

	rounds = 0;
	loop_timer_set(l, &k.t, 0, on_again);
	loop_fd_add(l, &s.f, fd, EPOLLIN, on_ready);
	run_guarded(l);
	EXPECT_EQ(s.calls, 3);
	EXPECT_LE(rounds, 3);
	loop_timer_del(l, &k.t);
	loop_fd_del(l, &s.f);
	loop_close(l);
	close(fd);
}

/* ---- posting ---- */

#define POSTERS 4
#define EACH	5000

struct msg {
	struct loop_work w;
	struct poster *from;
	int nr;
};

struct poster {
	struct loop *l;
	struct msg m[EACH];
	int seen;
	bool out_of_order;
};

static atomic_int total;

static void on_msg(struct loop_work *w)
{
	struct msg *m = container_of(w, struct msg, w);

	m->from->out_of_order |= m->nr != m->from->seen;
	m->from->seen++;
	atomic_fetch_add(&total, 1);
}

static void *post_all(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < EACH; i++) {
		p->m[i] = (struct msg){ .w.fn = on_msg, .from = p, .nr = i };
		loop_post(p->l, &p->m[i].w);
	}
	return NULL;
}

static int nothing(void *arg)
{
	return 7;
}

TEST(posts_arrive_once_and_in_order)
{
	struct loop *l = open_loop();
	struct poster *p = calloc(POSTERS, sizeof(*p));
	pthread_t t[POSTERS];

	atomic_store(&total, 0);
	EXPECT_EQ(loop_start(l, "mc-test-loop-with-a-long-name"), 0);
	EXPECT_EQ(loop_start(l, "again"), -EALREADY);
	for (int i = 0; i < POSTERS; i++) {
		p[i].l = l;
		pthread_create(&t[i], NULL, post_all, &p[i]);
	}
	for (int i = 0; i < POSTERS; i++)
		pthread_join(t[i], NULL);
	EXPECT_EQ(loop_call(l, nothing, NULL), 7); /* everything posted before has run */
	EXPECT_EQ(atomic_load(&total), POSTERS * EACH);
	for (int i = 0; i < POSTERS; i++)
		EXPECT_TRUE(!p[i].out_of_order);
	loop_close(l);
	free(p);
}

static int check_inside(void *arg)
{
	sigset_t set;
	char name[16];

	EXPECT_TRUE(loop_inside(arg));
	EXPECT_EQ(loop_call(arg, nothing, NULL), 7); /* nested: called directly */
	pthread_getname_np(pthread_self(), name, sizeof(name));
	EXPECT_STREQ(name, "mc-inside");
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	EXPECT_TRUE(sigismember(&set, SIGTERM));
	return -EIO;
}

TEST(calls)
{
	struct loop *l = open_loop(), *other = open_loop();

	EXPECT_EQ(loop_start(l, "mc-inside"), 0);
	EXPECT_TRUE(!loop_inside(l));
	EXPECT_TRUE(!loop_inside(other));
	EXPECT_EQ(loop_call(l, check_inside, l), -EIO);
	loop_close(l);
	loop_close(other);
	loop_close(NULL);
}

static atomic_int left;
static struct loop *chain_loop;

static void on_chain(struct loop_work *w)
{
	if (atomic_fetch_sub(&left, 1) > 1)
		loop_post(chain_loop, w); /* may be posted again from its own function */
	else
		loop_stop(chain_loop);
}

TEST(posting_from_inside)
{
	struct loop *l = chain_loop = open_loop();
	struct loop_work w = { .fn = on_chain };

	atomic_store(&left, 1000);
	loop_post(l, &w);
	run_guarded(l);
	EXPECT_EQ(atomic_load(&left), 0);
	loop_close(l);
}

static void count_work(struct loop_work *w)
{
	atomic_fetch_add(&total, 1);
	free(w);
}

static struct loop_work *new_work(void)
{
	struct loop_work *w = calloc(1, sizeof(*w));

	w->fn = count_work;
	return w;
}

TEST(close_runs_what_was_posted)
{
	struct loop *l = open_loop();

	atomic_store(&total, 0);
	for (int i = 0; i < 10; i++)
		loop_post(l, new_work());
	loop_close(l); /* never ran */
	EXPECT_EQ(atomic_load(&total), 10);
	l = open_loop();
	loop_start(l, "x");
	for (int i = 0; i < 10; i++)
		loop_post(l, new_work());
	loop_close(l);
	EXPECT_EQ(atomic_load(&total), 20);
}

static struct loop *signalled;

static void on_signal(int sig)
{
	loop_stop(signalled);
}

TEST(stops_from_a_signal_handler)
{
	const struct itimerval soon = { .it_value.tv_usec = 20000 };
	struct loop *l = signalled = open_loop();

	signal(SIGALRM, on_signal);
	setitimer(ITIMER_REAL, &soon, NULL);
	run_guarded(l);
	signal(SIGALRM, SIG_DFL);
	loop_stop(l); /* before it runs: returns at once */
	run_guarded(l);
	loop_close(l);
}

/* Several callers at once, all answered. */
static struct loop *called;
static atomic_bool go;

static void *call_often(void *arg)
{
	while (!atomic_load(&go))
		;
	for (int i = 0; i < 200; i++) {
		int ret = loop_call(called, nothing, NULL);

		if (ret != 7)
			return (void *)1;
	}
	return NULL;
}

static void let_callers_go(struct loop_work *w)
{
	atomic_store(&go, true);
}

TEST(calls_are_answered)
{
	struct loop_work w = { .fn = let_callers_go };
	pthread_t t[2];
	void *bad;

	atomic_store(&go, false);
	called = open_loop();
	loop_start(called, "x");
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, call_often, NULL);
	loop_post(called, &w);
	for (int i = 0; i < 2; i++) {
		pthread_join(t[i], &bad);
		EXPECT_TRUE(!bad);
	}
	loop_close(called);
}

static void *from_elsewhere(void *arg)
{
	return (void *)(intptr_t)loop_call(arg, nothing, NULL);
}

/* Work that runs while the loop closes sees other threads' calls refused. */
struct closing_work {
	struct loop_work w;
	struct loop *l;
	int ret;
};

static void on_closing(struct loop_work *w)
{
	struct closing_work *cw = container_of(w, struct closing_work, w);
	pthread_t t;
	void *ret;

	pthread_create(&t, NULL, from_elsewhere, cw->l);
	pthread_join(t, &ret);
	cw->ret = (int)(intptr_t)ret;
}

TEST(calls_while_closing_are_refused)
{
	struct loop *l = open_loop();
	struct closing_work cw = { .w.fn = on_closing, .l = l };

	loop_post(l, &cw.w);
	loop_close(l);
	EXPECT_EQ(cw.ret, -ESHUTDOWN);
}
