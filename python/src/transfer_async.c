/* SPDX-License-Identifier: Apache-2.0 */
/* TransferEngine: moving bytes in the background. */
#include "transfer.h"

#include <stdlib.h>

/* A batch under way. Its number is a handle, so a stale or made-up one is simply not found. */
struct pending {
	struct pending *next;
	uint64_t id;
	struct engine_ref *ref;
	struct mc_batch *batch; /* NULL: it was empty, and is complete */
	unsigned nr;
	int users;	/* threads that do something with it; like the next under the engine object's guard */
	bool collected; /* in no list any more: the last user frees */
	uint64_t deadline_ns;
};

/* Ends and frees; without the interpreter lock. */
static void pending_free(struct pending *p)
{
	pthread_mutex_lock(&p->ref->cq_lock); /* who collects looks at batches that are there */
	mc_batch_close(p->batch);
	pthread_mutex_unlock(&p->ref->cq_lock);
	engine_put(p->ref);
	free(p);
}

/* Out of the list for good. With the guard held. Return: free it. */
static bool pending_done(struct pending *p)
{
	p->collected = true;
	return !p->users;
}

/* A user less. Return as above. */
static bool pending_unused(struct pending *p)
{
	return !--p->users && p->collected;
}

void pending_drop_all(struct engine_obj *o)
{
	struct pending *all, *p, *next, *mine = NULL;

	guard_lock(&o->guard);
	all = o->pending;
	o->pending = NULL;
	for (p = all; p; p = next) {
		next = p->next;
		if (pending_done(p)) {
			p->next = mine;
			mine = p;
		}
	}
	guard_unlock(&o->guard);
	for (p = mine; p; p = next) {
		next = p->next;
		UNLOCKED(pending_free(p));
	}
}

/* The batch called @id with a user more, or NULL. */
static struct pending *pending_use(struct engine_obj *o, uint64_t id)
{
	struct pending *p;

	guard_lock(&o->guard);
	for (p = o->pending; p && p->id != id;)
		p = p->next;
	if (p)
		p->users++;
	guard_unlock(&o->guard);
	return p;
}

/* Out of the list. With the guard held. */
static struct pending *pending_take(struct engine_obj *o, uint64_t id)
{
	struct pending **at = &o->pending, *p;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	p = *at;
	if (p)
		*at = p->next;
	return p;
}

/* A user less; @collect: nobody finds it from now on. */
static void pending_unuse(struct engine_obj *o, struct pending *p, bool collect)
{
	bool gone;

	guard_lock(&o->guard);
	if (collect && !p->collected) {
		pending_take(o, p->id);
		p->collected = true;
	}
	gone = pending_unused(p);
	guard_unlock(&o->guard);
	if (gone)
		UNLOCKED(pending_free(p));
}

/* Into the list under a new number, with one user. */
static void pending_add(struct engine_obj *o, struct pending *p)
{
	p->users = 1;
	guard_lock(&o->guard);
	p->id = o->next_id++;
	p->next = o->pending;
	o->pending = p;
	guard_unlock(&o->guard);
}

/* Batches are told of when they have ended from the moment on at which somebody asked for the descriptor. */
static int watch(struct pending *p)
{
	struct mc_cq *cq;

	pthread_mutex_lock(&p->ref->cq_lock);
	cq = p->ref->cq;
	pthread_mutex_unlock(&p->ref->cq_lock);
	return cq ? mc_batch_watch(p->batch, cq) : 0;
}

static int submit(struct pending *p, const struct work *w, enum mc_op op)
{
	struct mc_segment *seg;
	struct reqs q;
	int ret = work_peer(p->ref, w, p->deadline_ns, &seg);

	if (ret)
		return ret < 0 ? ret : 0;
	if (!reqs_fill(&q, w, seg, op))
		return -ENOMEM;
	ret = mc_batch_open(p->ref->eng, (unsigned)w->nr, NULL, p, &p->batch);
	if (!ret)
		ret = watch(p);
	if (!ret)
		ret = mc_batch_submit(p->batch, q.req, (unsigned)w->nr, p->deadline_ns);
	reqs_free(&q);
	return ret;
}

static PyObject *run_async(PyObject *self, const struct work *w, enum mc_op op, PyObject *note)
{
	struct engine_obj *o = (struct engine_obj *)self;
	struct engine_ref *r = engine_get(self);
	struct pending *p = r ? calloc(1, sizeof(*p)) : NULL;
	uint64_t id;
	int ret;

	if (!p) {
		if (r)
			UNLOCKED(engine_put(r));
		return PyLong_FromLong(0);
	}
	p->ref = r;
	p->nr = (unsigned)w->nr;
	p->deadline_ns = work_deadline(o, w);
	pending_add(o, p); /* first: it may have ended, and be asked for, before this thread runs again */
	id = p->id;
	UNLOCKED(ret = submit(p, w, op));
	pending_unuse(o, p, ret);
	return PyLong_FromUnsignedLongLong(ret ? 0 : id);
}

METHOD(batch_transfer_async_write)
{
	static const struct sig sig = { "batch_transfer_async_write", 4, 0, { MANY_RANGES, HINT } };

	return move_fixed(self, &sig, PASSED, MC_WRITE, true, run_async);
}

METHOD(batch_transfer_async_read)
{
	static const struct sig sig = { "batch_transfer_async_read", 4, 0, { MANY_RANGES, HINT } };

	return move_fixed(self, &sig, PASSED, MC_READ, true, run_async);
}

METHOD(transfer_submit_write)
{
	static const struct sig sig = { "transfer_submit_write", 4, 0, { ONE_RANGE, HINT } };

	return move_fixed(self, &sig, PASSED, MC_WRITE, false, run_async);
}

METHOD(batch_transfer_async)
{
	static const struct sig sig = {
		"batch_transfer_async", 5, 0, { MANY_RANGES, { "opcode", ARG_ANY }, HINT }
	};

	return move_opcode(self, &sig, PASSED, true, run_async);
}

static int wait_all(struct pending *list)
{
	int ret = 0;

	for (struct pending *p = list; p && !ret; p = p->next)
		if (p->batch && mc_batch_wait(p->batch, p->deadline_ns) != (int)p->nr)
			ret = -1;
	return ret;
}

/* Blocks. Every id is collected by this, whatever the result. */
METHOD(get_batch_transfer_status)
{
	static const struct sig sig = {
		"get_batch_transfer_status", 1, 1, { { "batch_ids", ARG_U64S } }
	};
	struct engine_obj *o = (struct engine_obj *)self;
	struct pending *list = NULL, *p, *next;
	struct arg a[1];
	int ret = 0, waited;

	if (!TAKE(&sig, a))
		return NULL;
	guard_lock(&o->guard);
	for (Py_ssize_t i = 0; i < a[0].nr; i++) {
		p = pending_take(o, a[0].u64s[i]);
		if (p) {
			p->users++;
			p->collected = true;
			p->next = list;
			list = p;
		} else {
			ret = -1; /* unknown, or collected before */
		}
	}
	guard_unlock(&o->guard);
	args_drop(&sig, a);
	UNLOCKED(waited = wait_all(list));
	for (p = list; p; p = next) {
		next = p->next;
		pending_unuse(o, p, false);
	}
	return PyLong_FromLong(ret ? ret : waited);
}

METHOD(transfer_check_status)
{
	static const struct sig sig = { "transfer_check_status", 1, 1, { { "batch_id", ARG_U64 } } };
	struct engine_obj *o = (struct engine_obj *)self;
	struct mc_status st = { .state = MC_DONE };
	struct pending *p;
	struct arg a[1];
	int left = 0;

	if (!TAKE(&sig, a))
		return NULL;
	p = pending_use(o, a[0].u64);
	if (!p)
		return PyLong_FromLong(-1);
	if (p->batch)
		UNLOCKED(left = mc_batch_poll(p->batch); mc_batch_status(p->batch, 0, &st));
	pending_unuse(o, p, !left && st.error != -ETIMEDOUT);
	return PyLong_FromLong(left ? 0 : st.error == -ETIMEDOUT ? -2 : st.error ? -1 : 1);
}

/* ---- without waiting ------------------------------------------------------------------------ */

static int open_cq(struct engine_ref *r)
{
	int ret = 0;

	pthread_mutex_lock(&r->cq_lock);
	if (!r->cq)
		ret = mc_cq_open(r->eng, &r->cq);
	ret = ret ? ret : mc_cq_fd(r->cq);
	pthread_mutex_unlock(&r->cq_lock);
	return ret;
}

static PyObject *get_transfer_fd(PyObject *self, PyObject *unused)
{
	int fd = ON_ENGINE(self, r, open_cq(r));

	return PyLong_FromLong(fd < 0 ? -1 : fd);
}

#define COLLECT 64

/* With the lock. */
static unsigned ended_ids(struct mc_cq *cq, uint64_t *id)
{
	struct mc_batch *b[COLLECT];
	unsigned nr = mc_cq_collect(cq, b, COLLECT);

	for (unsigned i = 0; i < nr; i++)
		id[i] = ((struct pending *)mc_batch_arg(b[i]))->id;
	return nr;
}

static PyObject *get_ended_transfers(PyObject *self, PyObject *unused)
{
	struct engine_ref *r = engine_get(self);
	PyObject *list = PyList_New(0), *id;
	uint64_t ids[COLLECT];
	unsigned nr = COLLECT;

	while (r && list && nr == COLLECT) {
		UNLOCKED(pthread_mutex_lock(&r->cq_lock); nr = r->cq ? ended_ids(r->cq, ids) : 0;
			 pthread_mutex_unlock(&r->cq_lock));
		for (unsigned i = 0; i < nr && list; i++) {
			id = PyLong_FromUnsignedLongLong(ids[i]);
			if (!id || PyList_Append(list, id))
				Py_CLEAR(list);
			Py_XDECREF(id);
		}
	}
	if (r)
		UNLOCKED(engine_put(r));
	return list;
}

METHOD(cancel_transfer)
{
	static const struct sig sig = { "cancel_transfer", 1, 1, { { "batch_id", ARG_U64 } } };
	struct pending *p;
	struct arg a[1];

	if (!TAKE(&sig, a))
		return NULL;
	p = pending_use((struct engine_obj *)self, a[0].u64);
	if (!p)
		return PyLong_FromLong(-1);
	if (p->batch)
		UNLOCKED(mc_batch_cancel(p->batch));
	pending_unuse((struct engine_obj *)self, p, false);
	return PyLong_FromLong(0);
}

static long item_status(const struct mc_status *st)
{
	if (st->state != MC_DONE)
		return 0;
	return !st->error ? 1 : st->error == -ETIMEDOUT ? -2 : -1;
}

METHOD(get_transfer_statuses)
{
	static const struct sig sig = { "get_transfer_statuses", 1, 1, { { "batch_id", ARG_U64 } } };
	struct mc_status st;
	struct pending *p;
	PyObject *list;
	struct arg a[1];

	if (!TAKE(&sig, a))
		return NULL;
	p = pending_use((struct engine_obj *)self, a[0].u64);
	if (p && p->batch)
		UNLOCKED(mc_batch_poll(p->batch));
	list = PyList_New(p ? (Py_ssize_t)p->nr : 0);
	for (unsigned i = 0; p && list && i < p->nr; i++) {
		if (mc_batch_status(p->batch, i, &st) ||
		    !list_set(list, i, PyLong_FromLong(item_status(&st))))
			Py_CLEAR(list);
	}
	if (p)
		pending_unuse((struct engine_obj *)self, p, false);
	return list;
}

#define ASYNC_DOC "\n\nReturns a number for get_batch_transfer_status(); 0 on failure."

PyMethodDef engine_transfer_async[] = {
	{ "batch_transfer_async_write", CALL(batch_transfer_async_write), FAST,
	  "batch_transfer_async_write($self, /, target_hostname, buffers, peer_buffer_addresses, "
	  "lengths, transport_hint='')\n--" ASYNC_DOC },
	{ "batch_transfer_async_read", CALL(batch_transfer_async_read), FAST,
	  "batch_transfer_async_read($self, /, target_hostname, buffers, peer_buffer_addresses, "
	  "lengths, transport_hint='')\n--" ASYNC_DOC },
	{ "batch_transfer_async", CALL(batch_transfer_async), FAST,
	  "batch_transfer_async($self, /, target_hostname, buffers, peer_buffer_addresses, "
	  "lengths, opcode, transport_hint='')\n--" ASYNC_DOC },
	{ "get_batch_transfer_status", CALL(get_batch_transfer_status), FAST,
	  "get_batch_transfer_status($self, batch_ids, /)\n--\n\nWait until all have ended. 0 all "
	  "succeeded; -1 one failed, timed out, or is\n"
	  "unknown. Collects every id." },
	{ "get_transfer_fd", get_transfer_fd, METH_NOARGS,
	  "get_transfer_fd($self, /)\n--\n\nA descriptor that is readable while transfers in the background have ended, of those "
	  "submitted\nafter this call; for select() or an event loop, which then calls get_ended_transfers(). The engine's to "
	  "close.\n-1 before initialize()." },
	{ "get_ended_transfers", get_ended_transfers, METH_NOARGS,
	  "get_ended_transfers($self, /)\n--\n\nNumbers of transfers that have ended since the last call. Their results are still to be "
	  "collected\nwith get_batch_transfer_status(), which does not wait then. An empty batch is not among them." },
	{ "cancel_transfer", CALL(cancel_transfer), FAST,
	  "cancel_transfer($self, batch_id, /)\n--\n\nEnd what has not ended; afterwards nothing touches its memory. It has failed then, "
	  "and is still to be\ncollected. Returns 0; -1 unknown." },
	{ "get_transfer_statuses", CALL(get_transfer_statuses), FAST,
	  "get_transfer_statuses($self, batch_id, /)\n--\n\nOf each item: 1 done; 0 pending; -1 failed; -2 timed out. Collects "
	  "nothing. [] unknown." },
	{ "transfer_submit_write", CALL(transfer_submit_write), FAST,
	  "transfer_submit_write($self, /, target_hostname, buffer, peer_buffer_address, length, "
	  "transport_hint='')\n--\n\nReturns a number for\n"
	  "transfer_check_status(); 0 on failure." },
	{ "transfer_check_status", CALL(transfer_check_status), FAST,
	  "transfer_check_status($self, batch_id, /)\n--\n\n1 done; 0 pending; -1 failed; -2 timed "
	  "out. 1 and -1 collect the id." },
	{ NULL, NULL, 0, NULL },
};
