/* SPDX-License-Identifier: Apache-2.0 */
/* TransferEngine: moving bytes at once. What transfers in the background share with it comes first. */
#include "transfer.h"

#include <stdlib.h>

static struct work work_of(const struct arg *a, bool many)
{
	struct work w = { .peer = a[0].text, .nr = 1 };

	if (!many) {
		w.local = &a[1].u64;
		w.remote = &a[2].u64;
		w.len = &a[3].u64;
	} else {
		w.local = a[1].u64s;
		w.remote = a[2].u64s;
		w.len = a[3].u64s;
		w.nr = a[1].nr;
		w.mismatch = a[2].nr != w.nr || a[3].nr != w.nr;
	}
	for (Py_ssize_t i = 0; i < w.nr && !w.mismatch; i++)
		w.bytes += w.len[i];
	return w;
}

uint64_t work_deadline(const struct engine_obj *o, const struct work *w)
{
	return mc_deadline_ms((o->timeout_ns + w->bytes) / 1000000 + 1);
}

int work_peer(struct engine_ref *r, const struct work *w, uint64_t deadline_ns,
	      struct mc_segment **out)
{
	int ret = w->peer ? engine_peer(r, w->peer, deadline_ns, out) : -EINVAL;

	if (ret)
		return ret;
	return w->mismatch ? -EINVAL : !w->nr;
}

bool reqs_fill(struct reqs *q, const struct work *w, struct mc_segment *seg, enum mc_op op)
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

void reqs_free(struct reqs *q)
{
	if (q->req != &q->small)
		free(q->req);
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

PyObject *move_fixed(PyObject *self, const struct sig *sig, ARGS, enum mc_op op, bool many, mover run)
{
	struct arg a[5];
	struct work w;
	PyObject *out;

	if (!TAKE(sig, a))
		return NULL;
	w = work_of(a, many);
	out = run(self, &w, op, NULL);
	args_drop(sig, a);
	return out;
}

PyObject *move_opcode(PyObject *self, const struct sig *sig, ARGS, bool many, mover run)
{
	PyObject *out = NULL;
	struct arg a[7];
	struct work w;
	enum mc_op op;

	if (!TAKE(sig, a))
		return NULL;
	w = work_of(a, many);
	if (arg_opcode(((struct engine_obj *)self)->st, a[4].o, &op))
		out = run(self, &w, op, a[5].o);
	args_drop(sig, a);
	return out;
}

/* ---- at once -------------------------------------------------------------------------------- */

static int transfer(struct engine_ref *r, const struct work *w, enum mc_op op,
		    const char *note_name, const char *note_msg, uint64_t deadline_ns)
{
	struct mc_segment *seg;
	struct reqs q;
	int ret = work_peer(r, w, deadline_ns, &seg);

	if (ret)
		return ret < 0 || note_name ? -EINVAL : 0;
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

static PyObject *run_sync(PyObject *self, const struct work *w, enum mc_op op, PyObject *note)
{
	struct engine_obj *o = (struct engine_obj *)self;
	uint64_t deadline = work_deadline(o, w);
	const char *name, *msg;
	struct engine_ref *r;
	PyObject *keep[2], *out = NULL;
	int ret = -1;

	if (read_note(o->st, note, &name, &msg, keep)) {
		r = engine_get(self);
		if (r)
			UNLOCKED(ret = transfer(r, w, op, name, msg, deadline); engine_put(r));
		out = PyLong_FromLong(ret ? -1 : 0);
	}
	Py_XDECREF(keep[0]);
	Py_XDECREF(keep[1]);
	return out;
}

METHOD(transfer_sync_write)
{
	static const struct sig sig = { "transfer_sync_write", 4, 0, { ONE_RANGE, HINT } };

	return move_fixed(self, &sig, PASSED, MC_WRITE, false, run_sync);
}

METHOD(transfer_sync_read)
{
	static const struct sig sig = { "transfer_sync_read", 4, 0, { ONE_RANGE, HINT } };

	return move_fixed(self, &sig, PASSED, MC_READ, false, run_sync);
}

METHOD(batch_transfer_sync_write)
{
	static const struct sig sig = { "batch_transfer_sync_write", 4, 0, { MANY_RANGES, HINT } };

	return move_fixed(self, &sig, PASSED, MC_WRITE, true, run_sync);
}

METHOD(batch_transfer_sync_read)
{
	static const struct sig sig = { "batch_transfer_sync_read", 4, 0, { MANY_RANGES, HINT } };

	return move_fixed(self, &sig, PASSED, MC_READ, true, run_sync);
}

METHOD(transfer_sync)
{
	static const struct sig sig = {
		"transfer_sync",
		5,
		0,
		{ ONE_RANGE, { "opcode", ARG_ANY }, { "notify", ARG_ANY }, HINT }
	};

	return move_opcode(self, &sig, PASSED, false, run_sync);
}

METHOD(batch_transfer_sync)
{
	static const struct sig sig = {
		"batch_transfer_sync",
		5,
		0,
		{ MANY_RANGES, { "opcode", ARG_ANY }, { "notify", ARG_ANY }, HINT }
	};

	return move_opcode(self, &sig, PASSED, true, run_sync);
}

#define TRANSFER_DOC "\n\nReturns 0; -1 for every failure (the log says which)."

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
	{ NULL, NULL, 0, NULL },
};
