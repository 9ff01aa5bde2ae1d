/* SPDX-License-Identifier: Apache-2.0 */
/* TransferEngine: moving bytes, at once or in the background. */
#include "engine.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* What one call moves: parallel lists as C arrays. */
struct work {
	const char *peer;
	PyObject *t[3]; /* keep alive */
	uint64_t *local, *remote, *len;
	uint64_t one[3]; /* single transfers need no arrays */
	Py_ssize_t nr;
	uint64_t bytes;
	bool mismatch;
};

/* None instead of a name is an error of the call, not of its type. */
static bool arg_peer(PyObject *o, const char **out)
{
	*out = NULL;
	return o == Py_None || arg_text(o, "target_hostname", out);
}

static void work_free(struct work *w)
{
	if (w->local != &w->one[0]) {
		PyMem_Free(w->local);
		PyMem_Free(w->remote);
		PyMem_Free(w->len);
	}
	for (int i = 0; i < 3; i++)
		Py_XDECREF(w->t[i]);
}

static bool work_one(struct work *w, PyObject *const *a)
{
	memset(w, 0, sizeof(*w));
	w->local = &w->one[0];
	w->remote = &w->one[1];
	w->len = &w->one[2];
	w->nr = 1;
	if (!arg_peer(a[0], &w->peer) || !arg_u64(a[1], "buffer", w->local) ||
	    !arg_u64(a[2], "peer_buffer_address", w->remote) || !arg_u64(a[3], "length", w->len))
		return false;
	w->bytes = *w->len;
	return true;
}

static bool work_many(struct work *w, PyObject *const *a)
{
	memset(w, 0, sizeof(*w));
	if (!arg_peer(a[0], &w->peer))
		return false;
	w->t[0] = arg_u64s(a[1], "buffers", &w->local);
	w->t[1] = w->t[0] ? arg_u64s(a[2], "peer_buffer_addresses", &w->remote) : NULL;
	w->t[2] = w->t[1] ? arg_u64s(a[3], "lengths", &w->len) : NULL;
	if (!w->t[2])
		return false;
	w->nr = PyTuple_Size(w->t[0]);
	w->mismatch = PyTuple_Size(w->t[1]) != w->nr || PyTuple_Size(w->t[2]) != w->nr;
	for (Py_ssize_t i = 0; i < w->nr && !w->mismatch; i++)
		w->bytes += w->len[i];
	return true;
}

/* The documented time-out: fixed, and a nanosecond more per byte. */
static uint64_t deadline_for(const struct engine_obj *o, const struct work *w)
{
	return mc_deadline_ms((o->timeout_ns + w->bytes) / 1000000 + 1);
}

/* Requests and their vectors in one allocation, or on the stack of the caller for one. */
struct reqs {
	struct mc_request small, *req;
	struct mc_vec small_vec, *vec;
};

static bool reqs_fill(struct reqs *q, const struct work *w, struct mc_segment *seg, enum mc_op op)
{
	q->req = &q->small;
	q->vec = &q->small_vec;
	if (w->nr > 1) {
		q->req = malloc((size_t)w->nr * (sizeof(*q->req) + sizeof(*q->vec)));
		if (!q->req)
			return false;
		q->vec = (struct mc_vec *)(q->req + w->nr);
	}
	for (Py_ssize_t i = 0; i < w->nr; i++) {
		q->vec[i] =
			(struct mc_vec){ (void *)(uintptr_t)w->local[i], w->remote[i], w->len[i] };
		q->req[i] = (struct mc_request){
			.op = op, .segment = seg, .vec = &q->vec[i], .nr_vec = 1
		};
	}
	return true;
}

static void reqs_free(struct reqs *q)
{
	if (q->req != &q->small)
		free(q->req);
}

/* ---- at once -------------------------------------------------------------------------------- */

static int transfer(struct engine_ref *r, const struct work *w, enum mc_op op,
		    const char *note_name, const char *note_msg, uint64_t deadline_ns)
{
	struct mc_segment *seg;
	struct reqs q;
	int ret;

	ret = w->peer ? engine_peer(r, w->peer, deadline_ns, &seg) : -EINVAL;
	if (ret)
		return ret;
	if (w->mismatch || (!w->nr && note_name))
		return -EINVAL;
	if (!w->nr)
		return 0;
	if (!reqs_fill(&q, w, seg, op))
		return -ENOMEM;
	ret = mc_transfer(r->eng, q.req, (unsigned)w->nr, deadline_ns);
	reqs_free(&q);
	/* A message that gets lost is the receiver's to miss: the bytes are there. */
	if (!ret && note_name)
		mc_notify_send(seg, note_name, note_msg, deadline_ns);
	return ret;
}

/* name and msg of a TransferNotify; None: none. Texts live as long as @keep. */
static bool read_note(struct core_state *st, PyObject *note, const char **name, const char **msg,
		      PyObject *keep[2])
{
	PyObject *type;
	int is;

	*name = *msg = NULL;
	keep[0] = keep[1] = NULL;
	if (!note || note == Py_None)
		return true;
	type = core_type(st, "TransferNotify");
	is = type ? PyObject_IsInstance(note, type) : -1;
	Py_XDECREF(type);
	if (!is)
		PyErr_SetString(
			PyExc_TypeError,
			"incompatible function arguments: notify must be a TransferNotify or None");
	if (is <= 0)
		return false;
	keep[0] = attr(note, "name");
	keep[1] = keep[0] ? attr(note, "msg") : NULL;
	return keep[1] && arg_text(keep[0], "notify.name", name) &&
	       arg_text(keep[1], "notify.msg", msg);
}

static PyObject *run_sync(PyObject *self, struct work *w, enum mc_op op, PyObject *note)
{
	struct engine_obj *o = (struct engine_obj *)self;
	uint64_t deadline = deadline_for(o, w);
	const char *name, *msg;
	struct engine_ref *r;
	PyObject *keep[2], *out = NULL;
	int ret = -1;

	if (!read_note(o->st, note, &name, &msg, keep))
		goto out;
	r = engine_get(self);
	if (r) {
		Py_BEGIN_ALLOW_THREADS ret = transfer(r, w, op, name, msg, deadline);
		engine_put(r);
		Py_END_ALLOW_THREADS
	}
	out = PyLong_FromLong(ret ? -1 : 0);
out:
	Py_XDECREF(keep[0]);
	Py_XDECREF(keep[1]);
	return out;
}

static bool check_hint(PyObject *hint)
{
	const char *text;

	return !hint || arg_text(hint, "transport_hint", &text);
}

static PyObject *sync_fixed(PyObject *self, const struct sig *sig, PyObject *const *args,
			    Py_ssize_t nargs, PyObject *kwnames, enum mc_op op, bool many)
{
	PyObject *a[5], *out = NULL;
	struct work w;

	if (!bind_args(sig, args, nargs, kwnames, a) || !check_hint(a[4]))
		return NULL;
	if (many ? work_many(&w, a) : work_one(&w, a))
		out = run_sync(self, &w, op, NULL);
	work_free(&w);
	return out;
}

#define ONE                                                                                     \
	{                                                                                       \
		"target_hostname", "buffer", "peer_buffer_address", "length", "transport_hint", \
			NULL                                                                    \
	}
#define MANY                                                                      \
	{                                                                         \
		"target_hostname", "buffers", "peer_buffer_addresses", "lengths", \
			"transport_hint", NULL                                    \
	}

METHOD(transfer_sync_write)
{
	static const struct sig sig = { "transfer_sync_write", ONE, 4, 0 };

	return sync_fixed(self, &sig, args, nargs, kwnames, MC_WRITE, false);
}

METHOD(transfer_sync_read)
{
	static const struct sig sig = { "transfer_sync_read", ONE, 4, 0 };

	return sync_fixed(self, &sig, args, nargs, kwnames, MC_READ, false);
}

METHOD(batch_transfer_sync_write)
{
	static const struct sig sig = { "batch_transfer_sync_write", MANY, 4, 0 };

	return sync_fixed(self, &sig, args, nargs, kwnames, MC_WRITE, true);
}

METHOD(batch_transfer_sync_read)
{
	static const struct sig sig = { "batch_transfer_sync_read", MANY, 4, 0 };

	return sync_fixed(self, &sig, args, nargs, kwnames, MC_READ, true);
}

/* A member of TransferOpcode; plain ints are refused. */
static bool arg_opcode(struct core_state *st, PyObject *v, enum mc_op *out)
{
	PyObject *type = core_type(st, "TransferOpcode");
	int is = type ? PyObject_IsInstance(v, type) : -1;

	Py_XDECREF(type);
	if (is < 0)
		return false;
	if (!is) {
		PyErr_SetString(PyExc_TypeError,
				"incompatible function arguments: opcode must be a TransferOpcode");
		return false;
	}
	*out = PyLong_AsLong(v) ? MC_WRITE : MC_READ;
	return !PyErr_Occurred();
}

static PyObject *sync_opcode(PyObject *self, const struct sig *sig, PyObject *const *args,
			     Py_ssize_t nargs, PyObject *kwnames, bool many)
{
	PyObject *a[7], *out = NULL;
	struct work w;
	enum mc_op op;

	if (!bind_args(sig, args, nargs, kwnames, a) || !check_hint(a[6]) ||
	    !arg_opcode(((struct engine_obj *)self)->st, a[4], &op))
		return NULL;
	if (many ? work_many(&w, a) : work_one(&w, a))
		out = run_sync(self, &w, op, a[5]);
	work_free(&w);
	return out;
}

METHOD(transfer_sync)
{
	static const struct sig sig = { "transfer_sync",
					{ "target_hostname", "buffer", "peer_buffer_address",
					  "length", "opcode", "notify", "transport_hint", NULL },
					5,
					0 };

	return sync_opcode(self, &sig, args, nargs, kwnames, false);
}

METHOD(batch_transfer_sync)
{
	static const struct sig sig = { "batch_transfer_sync",
					{ "target_hostname", "buffers", "peer_buffer_addresses",
					  "lengths", "opcode", "notify", "transport_hint", NULL },
					5,
					0 };

	return sync_opcode(self, &sig, args, nargs, kwnames, true);
}

/* ---- in the background ---------------------------------------------------------------------- */

/* A batch under way. Its number is a handle, so a stale or made-up one is simply not found. */
struct pending {
	struct pending *next;
	uint64_t id;
	struct engine_ref *ref;
	struct mc_batch *batch; /* NULL: it was empty, and is complete */
	unsigned nr;
	int users; /* threads inside transfer_check_status(); under the interpreter lock */
	bool collected; /* in no list any more: the last user frees */
	uint64_t deadline_ns;
};

/* Ends and frees; without the interpreter lock. */
static void pending_free(struct pending *p)
{
	mc_batch_close(p->batch);
	engine_put(p->ref);
	free(p);
}

/* With the lock. */
static void pending_done(struct pending *p)
{
	p->collected = true;
	if (p->users)
		return;
	Py_BEGIN_ALLOW_THREADS pending_free(p);
	Py_END_ALLOW_THREADS
}

void pending_drop_all(struct engine_obj *o)
{
	struct pending *p = o->pending, *next;

	o->pending = NULL;
	for (; p; p = next) {
		next = p->next;
		pending_done(p);
	}
}

static struct pending *pending_find(const struct engine_obj *o, uint64_t id)
{
	struct pending *p = o->pending;

	while (p && p->id != id)
		p = p->next;
	return p;
}

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

static void pending_back(struct engine_obj *o, struct pending *p)
{
	p->next = o->pending;
	o->pending = p;
}

static int submit(struct pending *p, const struct work *w, enum mc_op op)
{
	struct mc_segment *seg;
	struct reqs q;
	int ret;

	ret = w->peer ? engine_peer(p->ref, w->peer, p->deadline_ns, &seg) : -EINVAL;
	if (ret)
		return ret;
	if (w->mismatch)
		return -EINVAL;
	if (!w->nr)
		return 0;
	if (!reqs_fill(&q, w, seg, op))
		return -ENOMEM;
	ret = mc_batch_open(p->ref->eng, (unsigned)w->nr, NULL, NULL, &p->batch);
	if (!ret)
		ret = mc_batch_submit(p->batch, q.req, (unsigned)w->nr, p->deadline_ns);
	reqs_free(&q);
	return ret;
}

static PyObject *run_async(PyObject *self, struct work *w, enum mc_op op)
{
	struct engine_obj *o = (struct engine_obj *)self;
	struct engine_ref *r = engine_get(self);
	struct pending *p = r ? calloc(1, sizeof(*p)) : NULL;
	int ret;

	if (!p) {
		if (r)
			engine_put(r);
		return PyLong_FromLong(0);
	}
	p->ref = r;
	p->nr = (unsigned)w->nr;
	p->deadline_ns = deadline_for(o, w);
	p->id = o->next_id++;
	Py_BEGIN_ALLOW_THREADS ret = submit(p, w, op);
	if (ret)
		pending_free(p);
	Py_END_ALLOW_THREADS if (ret) return PyLong_FromLong(0);
	pending_back(o, p);
	return PyLong_FromUnsignedLongLong(p->id);
}

static PyObject *async_fixed(PyObject *self, const struct sig *sig, PyObject *const *args,
			     Py_ssize_t nargs, PyObject *kwnames, enum mc_op op, bool many)
{
	PyObject *a[5], *out = NULL;
	struct work w;

	if (!bind_args(sig, args, nargs, kwnames, a) || !check_hint(a[4]))
		return NULL;
	if (many ? work_many(&w, a) : work_one(&w, a))
		out = run_async(self, &w, op);
	work_free(&w);
	return out;
}

METHOD(batch_transfer_async_write)
{
	static const struct sig sig = { "batch_transfer_async_write", MANY, 4, 0 };

	return async_fixed(self, &sig, args, nargs, kwnames, MC_WRITE, true);
}

METHOD(batch_transfer_async_read)
{
	static const struct sig sig = { "batch_transfer_async_read", MANY, 4, 0 };

	return async_fixed(self, &sig, args, nargs, kwnames, MC_READ, true);
}

METHOD(transfer_submit_write)
{
	static const struct sig sig = { "transfer_submit_write", ONE, 4, 0 };

	return async_fixed(self, &sig, args, nargs, kwnames, MC_WRITE, false);
}

METHOD(batch_transfer_async)
{
	static const struct sig sig = { "batch_transfer_async",
					{ "target_hostname", "buffers", "peer_buffer_addresses",
					  "lengths", "opcode", "transport_hint", NULL },
					5,
					0 };
	PyObject *a[6], *out = NULL;
	struct work w;
	enum mc_op op;

	if (!bind_args(&sig, args, nargs, kwnames, a) || !check_hint(a[5]) ||
	    !arg_opcode(((struct engine_obj *)self)->st, a[4], &op))
		return NULL;
	if (work_many(&w, a))
		out = run_async(self, &w, op);
	work_free(&w);
	return out;
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
	static const struct sig sig = { "get_batch_transfer_status", { "batch_ids", NULL }, 1, 1 };
	struct engine_obj *o = (struct engine_obj *)self;
	struct pending *list = NULL, *p, *next;
	uint64_t *ids = NULL;
	PyObject *a[1], *t;
	int ret = 0, waited;

	if (!bind_args(&sig, args, nargs, kwnames, a))
		return NULL;
	t = arg_u64s(a[0], "batch_ids", &ids);
	if (!t)
		return NULL;
	for (Py_ssize_t i = 0; i < PyTuple_Size(t); i++) {
		p = pending_take(o, ids[i]);
		if (p) {
			p->next = list;
			list = p;
		} else {
			ret = -1; /* unknown, or collected before */
		}
	}
	Py_BEGIN_ALLOW_THREADS waited = wait_all(list);
	Py_END_ALLOW_THREADS for (p = list; p; p = next)
	{
		next = p->next;
		pending_done(p);
	}
	PyMem_Free(ids);
	Py_DECREF(t);
	return PyLong_FromLong(ret ? ret : waited);
}

METHOD(transfer_check_status)
{
	static const struct sig sig = { "transfer_check_status", { "batch_id", NULL }, 1, 1 };
	struct engine_obj *o = (struct engine_obj *)self;
	struct mc_status st = { .state = MC_DONE };
	struct pending *p;
	uint64_t id;
	PyObject *a[1];
	int left = 0;

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_u64(a[0], "batch_id", &id))
		return NULL;
	p = pending_find(o, id);
	if (!p)
		return PyLong_FromLong(-1);
	p->users++;
	Py_BEGIN_ALLOW_THREADS if (p->batch)
	{
		left = mc_batch_poll(p->batch);
		mc_batch_status(p->batch, 0, &st);
	}
	Py_END_ALLOW_THREADS p->users--;
	if (p->collected || (!left && st.error != -ETIMEDOUT)) {
		if (!p->collected)
			pending_take(o, id);
		pending_done(p);
	}
	return PyLong_FromLong(left ? 0 : st.error == -ETIMEDOUT ? -2 : st.error ? -1 : 1);
}

#define TRANSFER_DOC "\n\nReturns 0; -1 for every failure (the log says which)."
#define ASYNC_DOC    "\n\nReturns a number for get_batch_transfer_status(); 0 on failure."

PyMethodDef engine_transfer[] = {
	{ "transfer_sync_write", CALL(transfer_sync_write), FAST,
	  "transfer_sync_write($self, /, target_hostname, buffer, peer_buffer_address, length, "
	  "transport_hint='')\n--" TRANSFER_DOC },
	{ "transfer_sync_read", CALL(transfer_sync_read), FAST,
	  "transfer_sync_read($self, /, target_hostname, buffer, peer_buffer_address, length, "
	  "transport_hint='')\n--" TRANSFER_DOC },
	{ "transfer_sync", CALL(transfer_sync), FAST,
	  "transfer_sync($self, /, target_hostname, buffer, peer_buffer_address, length, opcode, "
	  "notify=None, transport_hint='')\n--" TRANSFER_DOC },
	{ "batch_transfer_sync_write", CALL(batch_transfer_sync_write), FAST,
	  "batch_transfer_sync_write($self, /, target_hostname, buffers, peer_buffer_addresses, "
	  "lengths, transport_hint='')\n--" TRANSFER_DOC },
	{ "batch_transfer_sync_read", CALL(batch_transfer_sync_read), FAST,
	  "batch_transfer_sync_read($self, /, target_hostname, buffers, peer_buffer_addresses, "
	  "lengths, transport_hint='')\n--" TRANSFER_DOC },
	{ "batch_transfer_sync", CALL(batch_transfer_sync), FAST,
	  "batch_transfer_sync($self, /, target_hostname, buffers, peer_buffer_addresses, lengths, "
	  "opcode, notify=None, transport_hint='')\n--" TRANSFER_DOC },
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
	{ "transfer_submit_write", CALL(transfer_submit_write), FAST,
	  "transfer_submit_write($self, /, target_hostname, buffer, peer_buffer_address, length, "
	  "transport_hint='')\n--\n\nReturns a number for\n"
	  "transfer_check_status(); 0 on failure." },
	{ "transfer_check_status", CALL(transfer_check_status), FAST,
	  "transfer_check_status($self, batch_id, /)\n--\n\n1 done; 0 pending; -1 failed; -2 timed "
	  "out. 1 and -1 collect the id." },
	{ NULL, NULL, 0, NULL },
};
