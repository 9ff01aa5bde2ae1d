// SPDX-License-Identifier: Apache-2.0
/*
 * Carrying out tasks. The owner of the source segment is asked to copy into one target after the other; the master looks whether
 * each copy can be read, and for a move has the source dropped then. All of a run is on the worker of the source's connection.
 */
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "master.h"

struct run {
	struct loop_work work;
	struct master *m;
	struct worker *w; /* the source's */
	struct task *t;
	unsigned at; /* targets done */
	unsigned there; /* of them, what needed no copy */
	bool unbound; /* the object is not ours any more */
	struct pool_address target;
	char error[TASK_MESSAGE_BYTES];
};

struct times task_times(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (struct times){ .now_ns = clock_now_ns(), .ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / NSEC_PER_MSEC };
}

/* The task is not ours any more: others that wait for this owner, or for the object, may begin. */
static void leave(struct run *r, uint32_t pool)
{
	struct master *m = r->m;

	free(r);
	tasks_kick(m, pool);
	atomic_fetch_sub(&m->ops, 1);
}

static void end(struct run *r)
{
	struct master *m = r->m;
	uint32_t pool = r->t->spec.source;
	char message[TASK_MESSAGE_BYTES];

	snprintf(message, sizeof(message), r->there ? "%u of %u targets held it already" : "%u", r->there, r->t->spec.nr_targets);
	if (!r->unbound)
		objects_unbind(m->ix, &r->t->spec.key, r->t->spec.put_id, r->error[0]);
	if (r->error[0])
		log_info("a %s of %u targets failed: %s", r->t->spec.type == TASK_MOVE ? "move" : "copy", r->t->spec.nr_targets, r->error);
	tasks_end(m->tasks, r->t, r->error[0] ? r->error : NULL, r->there ? message : "", task_times());
	leave(r, pool);
}

static void fail(struct run *r, const char *what, int err)
{
	snprintf(r->error, sizeof(r->error), "%s%s%s", what, err ? ": " : "", err ? strerror(-err) : "");
	end(r);
}

/* ---- a move's last step ---- */

static void dropped(void *arg, uint32_t tag, const struct holder *h, const struct key *key, int status)
{
	struct run *r = arg;

	/* Unheard of: if it comes back with its copy, that is one more replica of the same object. */
	if (status == DROP_UNHEARD)
		snprintf(r->error, sizeof(r->error), "copied, but the source did not say that it let go");
	else if (status)
		snprintf(r->error, sizeof(r->error), "copied, but the source keeps its copy: %s", strerror(-status));
	if (status >= 0)
		objects_withdraw(r->m->ix, h->slot, key, h->gen);
}

static void moved(void *arg, struct drops *d)
{
	drops_each(d, dropped, arg);
	end(arg);
}

static void drop_source(struct run *r)
{
	const struct task_spec *s = &r->t->spec;
	struct holder h;
	struct drops *d;
	int ret;

	ret = objects_spare(r->m->ix, &s->key, s->put_id, s->source, s->target[0], &h);
	if (ret == -EAGAIN) {
		fail(r, "the copy was evicted before the source could go", 0);
		return;
	}
	if (ret) { /* evicted there: what was asked for is so */
		end(r);
		return;
	}
	d = drops_new(r->w, true, moved, r);
	if (!d || drops_add(d, &h, &s->key, 0)) {
		if (d)
			drops_cancel(d);
		fail(r, "copied, but the source keeps its copy", -ENOMEM);
		return;
	}
	drops_send(d);
}

/* ---- copying ---- */

static void next_target(struct run *r);

/* Moved away or evicted since it was planned: whoever has it now is as good, unless one was named. */
static void other_source(struct run *r)
{
	struct master *m = r->m;
	struct task_spec s = r->t->spec;
	struct located at;
	uint32_t pool;

	objects_locate(m->ix, &s.key, false, clock_now_ns(), &at);
	if (s.type == TASK_MOVE || at.status || at.put_id != s.put_id || !task_source(m, &at, 0, &s)) {
		fail(r, "the source segment has it no more", 0);
		return;
	}
	objects_unbind(m->ix, &s.key, s.put_id, false);
	pool = r->t->spec.source;
	tasks_again(m->tasks, r->t, s.source, s.slot, s.pool, task_times());
	tasks_kick(m, s.source);
	leave(r, pool);
}

static const char *why_not(int status)
{
	switch (status) {
	case -ENOENT:
		return "the source evicted it";
	case -ENOSPC:
		return "no room at the target";
	case -ESHUTDOWN:
		return "the target takes nothing any more";
	case -ECONNRESET:
		return "the owner of the source or of the target ended";
	case -ETIMEDOUT:
		return "no answer in time";
	case -EEXIST:
		return "another object took its place";
	default:
		return "copying failed";
	}
}

/* What an owner that is busy, or was away for a moment, says. A full target stays so, and time that is up is not given again. */
static bool may_pass(int status)
{
	return status == -EAGAIN || status == -ECONNRESET || status == -ECONNREFUSED || status == -ENOTCONN || status == -EHOSTUNREACH;
}

/* Later once more; or that was it. */
static void fail_or_retry(struct run *r, int status)
{
	struct master *m = r->m;
	uint32_t pool = r->t->spec.source;

	if (may_pass(status) && !r->w->stopping) {
		objects_unbind(m->ix, &r->t->spec.key, r->t->spec.put_id, true); /* the copy may yet come */
		r->unbound = true;
		if (tasks_retry(m->tasks, r->t, task_times())) {
			leave(r, pool);
			return;
		}
	}
	fail(r, why_not(status), status);
}

static void copied(void *arg, int status, const uint8_t *body, size_t len)
{
	const struct task_spec *s = &((struct run *)arg)->t->spec;
	struct run *r = arg;
	struct holder h;

	/* EEXIST: somebody else put a copy there meanwhile, or another object. Which, is what the index says. */
	if (status && status != -EEXIST) {
		fail_or_retry(r, status);
	} else if (objects_replica(r->m->ix, &s->key, s->put_id, s->target[r->at], &h)) {
		fail(r, status ? why_not(status) : "the copy was removed or evicted at once", 0);
	} else {
		r->at++;
		next_target(r);
	}
}

static int ask_owner(struct run *r, const struct holder *h)
{
	const struct task_spec *s = &r->t->spec;
	struct peer *p = r->w->owners[s->source];
	uint64_t timeout_ns = r->m->set.task_ns;
	struct msg_copy msg = {
		.key = s->key, .gen = h->gen, .timeout_ms = timeout_ns / NSEC_PER_MSEC,
		.unix_path = { r->target.unix_path, (uint16_t)strlen(r->target.unix_path) },
		.addr = { r->target.addr, (uint16_t)strlen(r->target.addr) },
	};
	struct buf b = BUF_INIT;
	int ret;

	if (!p || p->life.slot != h->slot)
		return -ECONNRESET;
	memcpy(msg.pool, r->target.id, 16);
	memcpy(msg.node, r->target.node, 16);
	msg_copy_encode(&msg, &b);
	/* Its own deadline comes first: then it says what happened. */
	ret = b.err ? b.err : conn_call(p->conn, MSG_COPY, b.data, b.len, deadline_after_ns(timeout_ns + NSEC_PER_SEC), copied, r);
	buf_fini(&b);
	return ret;
}

static void next_target(struct run *r)
{
	const struct task_spec *s = &r->t->spec;
	struct holder h;
	int ret;

	while (r->at < s->nr_targets && !objects_replica(r->m->ix, &s->key, s->put_id, s->target[r->at], &h)) {
		r->at++; /* it is there */
		r->there++;
	}
	if (r->at == s->nr_targets) {
		if (s->type == TASK_MOVE)
			drop_source(r);
		else
			end(r);
	} else if (r->w->stopping) {
		fail(r, "the master is stopping", 0);
	} else if (objects_replica(r->m->ix, &s->key, s->put_id, s->source, &h)) {
		other_source(r);
	} else if (!pools_address(r->m->pools, s->target[r->at], &r->target)) {
		fail(r, "the target segment is gone, or takes nothing", 0);
	} else {
		ret = ask_owner(r, &h);
		if (ret)
			fail_or_retry(r, ret);
	}
}

static void begin(struct loop_work *work)
{
	struct run *r = container_of(work, struct run, work);

	next_target(r);
}

/* ---- which ---- */

/* Not while everything is being removed: what is copied then would come back. */
static int may(void *arg, const struct task_spec *s)
{
	struct master *m = arg;
	int ret = objects_bind(m->ix, &s->key, s->put_id);

	if (!ret && atomic_load(&m->emptying)) {
		objects_unbind(m->ix, &s->key, s->put_id, false);
		ret = -EBUSY;
	}
	return ret;
}

void tasks_kick(struct master *m, uint32_t pool)
{
	struct pool_life life;
	struct task *t;

	while ((t = tasks_next(m->tasks, pool, task_times(), may, m))) {
		struct run *r = calloc(1, sizeof(*r));

		if (!r || !pools_life(m->pools, pool, &life)) {
			objects_unbind(m->ix, &t->spec.key, t->spec.put_id, false);
			tasks_end(m->tasks, t, r ? "the owner of the source segment is gone" : "no memory", NULL, task_times());
			free(r);
			continue;
		}
		*r = (struct run){ .work.fn = begin, .m = m, .w = &m->workers[life.worker], .t = t };
		atomic_fetch_add(&m->ops, 1);
		loop_post(r->w->loop, &r->work);
	}
}

static void waits(void *arg, uint32_t pool)
{
	tasks_kick(arg, pool);
}

void tasks_housekeeping(struct master *m)
{
	tasks_tick(m->tasks, task_times(), waits, m);
}
