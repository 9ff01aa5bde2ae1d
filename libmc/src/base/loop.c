// SPDX-License-Identifier: Apache-2.0
/* The event loop: epoll, a heap of timers, and a stack of posted work that other threads push to without a lock. */
#include "base/loop.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/spin.h"
#include "base/thread.h"

#define LOOP_BATCH 64

struct loop {
	int epfd, wakefd;

	/* Other threads. */
	_Atomic(struct loop_work *) posted; /* newest first */
	atomic_bool asleep; /* the owner is about to wait, or waits: write to wakefd */
	atomic_bool stop, closing;
	atomic_uint posting; /* callers between looking at closing and having posted */

	/* Owning thread. */
	struct loop_timer **heap; /* heap[i]->slot == i + 1 */
	size_t nr_timers, cap_timers;
	uint64_t timers_now; /* while timers run: those due at this time */
	struct epoll_event ready[LOOP_BATCH];
	int nr_ready, at_ready; /* the batch being dispatched */
	struct spin spin;

	pthread_t thread;
	bool started;
};

static _Thread_local const struct loop *running;

bool loop_inside(const struct loop *l)
{
	return running == l;
}

/* ---- waking ---- */

/* Async-signal-safe. */
static void wake(struct loop *l)
{
	const uint64_t one = 1;
	int saved = errno;
	ssize_t ret;

	/*
	 * Pairs with the sequentially consistent store in prepare_sleep(): either we see the owner asleep, or it sees what
	 * we published before. The exchange lets one of several callers pay for the system call.
	 */
	if (!atomic_load(&l->asleep) || !atomic_exchange(&l->asleep, false))
		return;
	do
		ret = write(l->wakefd, &one, sizeof(one));
	while (ret < 0 && errno == EINTR);
	errno = saved;
}

/* Return: may the owner wait, or is there something to do at once? */
static bool prepare_sleep(struct loop *l)
{
	atomic_store(&l->asleep, true);
	if (!atomic_load(&l->posted) && !atomic_load(&l->stop))
		return true;
	atomic_store(&l->asleep, false);
	return false;
}

/* ---- posted work ---- */

static void push(struct loop *l, struct loop_work *w)
{
	struct loop_work *head = atomic_load_explicit(&l->posted, memory_order_relaxed);

	do
		w->next = head;
	while (!atomic_compare_exchange_weak(&l->posted, &head, w));
}

void loop_post(struct loop *l, struct loop_work *w)
{
	push(l, w);
	if (!loop_inside(l)) /* the owner looks again before it waits */
		wake(l);
}

/* Runs what was there on entry, oldest first; what that posts waits for the next round, so that events get their turn. */
static bool run_posted(struct loop *l)
{
	struct loop_work *w, *next, *oldest = NULL;

	if (!atomic_load_explicit(&l->posted, memory_order_relaxed))
		return false;
	for (w = atomic_exchange(&l->posted, NULL); w; w = next) {
		next = w->next;
		w->next = oldest;
		oldest = w;
	}
	for (w = oldest; w; w = next) {
		next = w->next; /* fn may free w */
		w->fn(w);
	}
	return true;
}

struct call {
	struct loop_work work;
	int (*fn)(void *arg);
	void *arg;
	int ret;
	sem_t done;
};

static void run_call(struct loop_work *w)
{
	struct call *c = container_of(w, struct call, work);

	c->ret = c->fn(c->arg);
	sem_post(&c->done);
}

int loop_call(struct loop *l, int (*fn)(void *arg), void *arg)
{
	struct call c = { .work.fn = run_call, .fn = fn, .arg = arg };

	if (loop_inside(l))
		return fn(arg);
	atomic_fetch_add(&l->posting, 1);
	if (atomic_load(&l->closing)) {
		atomic_fetch_sub(&l->posting, 1);
		return -ESHUTDOWN;
	}
	sem_init(&c.done, 0, 0);
	loop_post(l, &c.work);
	atomic_fetch_sub(&l->posting, 1); /* the loop may go away from here on */
	while (sem_wait(&c.done) < 0 && errno == EINTR)
		;
	sem_destroy(&c.done);
	return c.ret;
}

/* ---- timers ---- */

static void heap_place(struct loop *l, size_t i, struct loop_timer *t)
{
	l->heap[i] = t;
	t->slot = i + 1;
}

/* Puts @t into the hole at @i, moving the hole up or down first. */
static void heap_sift(struct loop *l, size_t i, struct loop_timer *t)
{
	while (i && l->heap[(i - 1) / 2]->at_ns > t->at_ns) {
		heap_place(l, i, l->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (;;) {
		size_t kid = 2 * i + 1;

		if (kid + 1 < l->nr_timers && l->heap[kid + 1]->at_ns < l->heap[kid]->at_ns)
			kid++;
		if (kid >= l->nr_timers || l->heap[kid]->at_ns >= t->at_ns)
			break;
		heap_place(l, i, l->heap[kid]);
		i = kid;
	}
	heap_place(l, i, t);
}

static int heap_reserve(struct loop *l)
{
	size_t cap = l->cap_timers ? l->cap_timers * 2 : 32;
	struct loop_timer **heap;

	if (l->nr_timers < l->cap_timers)
		return 0;
	heap = realloc(l->heap, cap * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	l->heap = heap;
	l->cap_timers = cap;
	return 0;
}

int loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t at_ns,
		   void (*fn)(struct loop_timer *t))
{
	int ret;

	if (!t->slot) {
		ret = heap_reserve(l);
		if (ret)
			return ret;
		t->slot = ++l->nr_timers;
	}
	/* Set for the past by a timer's own function, it waits for the next round: other events get their turn. */
	t->at_ns = MAX(at_ns, l->timers_now + 1);
	t->fn = fn;
	heap_sift(l, t->slot - 1, t);
	return 0;
}

void loop_timer_del(struct loop *l, struct loop_timer *t)
{
	size_t hole = t->slot - 1;
	struct loop_timer *last;

	if (!t->slot)
		return;
	t->slot = 0;
	last = l->heap[--l->nr_timers];
	if (last != t)
		heap_sift(l, hole, last);
}

static void run_timers(struct loop *l)
{
	if (!l->nr_timers)
		return;
	l->timers_now = clock_now_ns();
	while (l->nr_timers && l->heap[0]->at_ns <= l->timers_now) {
		struct loop_timer *t = l->heap[0];

		loop_timer_del(l, t);
		t->fn(t);
	}
	l->timers_now = 0;
}

/* ---- descriptors ---- */

static int fd_ctl(struct loop *l, int op, struct loop_fd *f)
{
	struct epoll_event ev = { .events = f->events, .data.ptr = f };

	return epoll_ctl(l->epfd, op, f->fd, &ev) ? -errno : 0;
}

int loop_fd_add(struct loop *l, struct loop_fd *f, int fd, uint32_t events,
		void (*fn)(struct loop_fd *f, uint32_t ready))
{
	int ret;

	*f = (struct loop_fd){ .fd = fd, .events = events, .fn = fn };
	ret = fd_ctl(l, EPOLL_CTL_ADD, f);
	f->armed = !ret;
	return ret;
}

int loop_fd_mod(struct loop *l, struct loop_fd *f, uint32_t events)
{
	if (!f->armed)
		return -ENOENT;
	if (f->events == events)
		return 0;
	f->events = events;
	return fd_ctl(l, EPOLL_CTL_MOD, f);
}

void loop_fd_del(struct loop *l, struct loop_fd *f)
{
	if (!f->armed)
		return;
	f->armed = false;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, f->fd, NULL);
	/* Events of this batch that were not delivered yet would reach freed memory. */
	for (int i = l->at_ready; i < l->nr_ready; i++)
		if (l->ready[i].data.ptr == f)
			l->ready[i].data.ptr = NULL;
}

static void run_ready(struct loop *l)
{
	for (l->at_ready = 0; l->at_ready < l->nr_ready;) {
		struct epoll_event *ev = &l->ready[l->at_ready++];
		struct loop_fd *f = ev->data.ptr;
		uint32_t ready;

		if (!f)
			continue; /* deleted meanwhile, or wakefd */
		ready = ev->events & (f->events | EPOLLERR | EPOLLHUP);
		if (ready)
			f->fn(f, ready);
	}
	l->nr_ready = 0;
}

/* ---- running ---- */

/* Nanosecond waits where the kernel has them (5.11); milliseconds rounded up elsewhere. */
static int wait_until(struct loop *l, uint64_t at_ns)
{
	static atomic_bool no_pwait2;
	struct timespec ts, *timeout = NULL;
	uint64_t now;
	int ret;

	if (atomic_load_explicit(&no_pwait2, memory_order_relaxed))
		return epoll_wait(l->epfd, l->ready, LOOP_BATCH, deadline_left_ms(at_ns));
	if (at_ns != DEADLINE_NEVER) {
		now = at_ns ? clock_now_ns() : 0;
		now = at_ns > now ? at_ns - now : 0;
		ts = timespec_of(now);
		timeout = &ts;
	}
	ret = epoll_pwait2(l->epfd, l->ready, LOOP_BATCH, timeout, NULL);
	if (ret < 0 && (errno == ENOSYS || errno == EPERM)) { /* EPERM: a container's older filter */
		atomic_store_explicit(&no_pwait2, true, memory_order_relaxed);
		return wait_until(l, at_ns);
	}
	return ret;
}

static bool called(const struct loop *l)
{
	return atomic_load_explicit(&l->posted, memory_order_relaxed) || atomic_load_explicit(&l->stop, memory_order_relaxed);
}

/* Looks for events without sleeping, where they have been coming fast. Who posts meanwhile does not have to wake anybody. */
static int look(struct loop *l)
{
	uint64_t until_ns = spin_start(&l->spin, clock_now_ns());
	int nr = 0;

	if (!until_ns || called(l))
		return 0;
	if (l->nr_timers)
		until_ns = MIN(until_ns, l->heap[0]->at_ns);
	do
		nr = epoll_wait(l->epfd, l->ready, LOOP_BATCH, 0);
	while (!nr && !called(l) && spin_more(until_ns));
	return nr;
}

static int await_events(struct loop *l)
{
	uint64_t until = 0;
	int nr;

	if (prepare_sleep(l))
		until = l->nr_timers ? l->heap[0]->at_ns : DEADLINE_NEVER;
	nr = wait_until(l, until);
	atomic_store_explicit(&l->asleep, false, memory_order_relaxed);
	return nr;
}

static int run_once(struct loop *l)
{
	bool found;

	l->nr_ready = look(l);
	found = l->nr_ready || called(l);
	if (!l->nr_ready)
		l->nr_ready = await_events(l);
	spin_ended(&l->spin, found, clock_now_ns());
	if (l->nr_ready < 0) {
		l->nr_ready = 0;
		if (errno != EINTR)
			return -errno;
	}
	run_ready(l);
	run_timers(l);
	run_posted(l);
	return 0;
}

int loop_run(struct loop *l)
{
	const struct loop *outer = running;
	int ret = 0;

	running = l;
	while (!ret && !atomic_load_explicit(&l->stop, memory_order_relaxed))
		ret = run_once(l);
	atomic_store(&l->stop, false);
	running = outer;
	if (ret)
		log_err("event loop: waiting failed: %s", strerror(-ret));
	return ret;
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stop, true);
	wake(l);
}

static void *thread_main(void *arg)
{
	loop_run(arg);
	return NULL;
}

int loop_start(struct loop *l, const char *name)
{
	int ret;

	if (l->started)
		return -EALREADY;
	ret = thread_start(&l->thread, name, thread_main, l);
	l->started = !ret;
	return ret;
}

int loop_open(struct loop **out)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	struct loop *l;
	int ret;

	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		ret = -errno;
		goto err_free;
	}
	l->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wakefd < 0) {
		ret = -errno;
		goto err_epfd;
	}
	/* Edge-triggered: each write is an event of its own, so the counter never has to be read. */
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->wakefd, &ev)) {
		ret = -errno;
		goto err_wakefd;
	}
	*out = l;
	return 0;

err_wakefd:
	close(l->wakefd);
err_epfd:
	close(l->epfd);
err_free:
	free(l);
	return ret;
}

void loop_close(struct loop *l)
{
	const struct loop *outer = running;

	if (!l)
		return;
	atomic_store(&l->closing, true);
	if (l->started) {
		loop_stop(l);
		pthread_join(l->thread, NULL);
	}
	running = l; /* what is left runs here */
	while (atomic_load(&l->posting))
		sched_yield(); /* a few instructions in loop_call() */
	while (run_posted(l))
		;
	running = outer;
	close(l->wakefd);
	close(l->epfd);
	free(l->heap);
	free(l);
}
