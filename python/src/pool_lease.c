/* SPDX-License-Identifier: Apache-2.0 */
/* BufferLease: memory of a pool on loan; BufferLeaseView: what looks at it. */
#include "pool.h"

/* ---- views ---------------------------------------------------------------------------------- */

struct view {
	PyObject_HEAD struct block *b;
	size_t size;
};

/* Takes the reference to @b, also when it fails. */
static PyObject *view_new(struct core_state *st, struct block *b, size_t size)
{
	struct view *v = (struct view *)PyType_GenericAlloc(st->lease_view, 0);

	if (!v) {
		block_put(b);
		return NULL;
	}
	v->b = b;
	v->size = size;
	return (PyObject *)v;
}

static void view_dealloc(struct view *v)
{
	PyTypeObject *type = Py_TYPE((PyObject *)v);

	if (v->b)
		block_put(v->b);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(v);
	Py_DECREF(type);
}

static int view_export(PyObject *self, Py_buffer *out, int flags)
{
	struct view *v = (struct view *)self;
	int ret = PyBuffer_FillInfo(out, self, v->b->mem, (Py_ssize_t)v->size, 0, flags);

	if (!ret)
		atomic_fetch_add(&v->b->views, 1);
	return ret;
}

static void view_unexport(PyObject *self, Py_buffer *out)
{
	atomic_fetch_sub(&((struct view *)self)->b->views, 1);
}

static PyObject *view_buffer(PyObject *self, void *closure)
{
	return PyMemoryView_FromObject(self);
}

static PyGetSetDef view_attrs[] = {
	{ "buffer", view_buffer, NULL, "memoryview: the memory, writable bytes", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot view_slots[] = {
	{ Py_tp_doc, (void *)"Memory of a lease, as a buffer of writable bytes. Keeps the memory, "
			     "not the lease." },
	{ Py_tp_dealloc, view_dealloc },
	{ Py_tp_getset, view_attrs },
	{ Py_bf_getbuffer, view_export },
	{ Py_bf_releasebuffer, view_unexport },
	{ 0, NULL },
};

PyType_Spec lease_view_spec = {
	.name = "mooncake.store.BufferLeaseView",
	.basicsize = sizeof(struct view),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = view_slots,
};

/* ---- leases --------------------------------------------------------------------------------- */

struct lease {
	PyObject_HEAD struct core_state *st;
	struct guard guard;
	struct block *b; /* under @guard; NULL: given back */
	size_t size;
};

PyObject *lease_new(struct core_state *st, struct block *b, size_t size)
{
	struct lease *l = (struct lease *)PyType_GenericAlloc(st->lease, 0);

	if (!l) {
		block_return(b, size);
		return NULL;
	}
	l->st = st;
	l->b = b;
	l->size = size;
	return (PyObject *)l;
}

/* False: it is being looked at, and @anyway is not said. */
static bool give_back(struct lease *l, bool anyway)
{
	struct block *b;
	bool seen;

	guard_lock(&l->guard);
	b = l->b;
	seen = b && !anyway && atomic_load(&b->views);
	if (!seen)
		l->b = NULL;
	guard_unlock(&l->guard);
	if (b && !seen)
		block_return(b, l->size);
	return !seen;
}

static void lease_dealloc(struct lease *l)
{
	PyTypeObject *type = Py_TYPE((PyObject *)l);

	give_back(l, true);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(l);
	Py_DECREF(type);
}

static PyObject *release(PyObject *self, PyObject *unused)
{
	if (!give_back((struct lease *)self, false)) {
		PyErr_SetString(PyExc_RuntimeError,
				"the lease has exported views: drop them before its release()");
		return NULL;
	}
	Py_RETURN_NONE;
}

static PyObject *enter(PyObject *self, PyObject *unused)
{
	return Py_NewRef(self);
}

METHOD(leave)
{
	return release(self, NULL);
}

static PyObject *get_ptr(PyObject *self, void *closure)
{
	struct lease *l = (struct lease *)self;
	uintptr_t at;

	guard_lock(&l->guard);
	at = l->b ? (uintptr_t)l->b->mem : 0;
	guard_unlock(&l->guard);
	return PyLong_FromUnsignedLongLong(at);
}

static PyObject *get_size(PyObject *self, void *closure)
{
	return PyLong_FromSize_t(((struct lease *)self)->size);
}

static PyObject *get_buffer(PyObject *self, void *closure)
{
	struct lease *l = (struct lease *)self;
	PyObject *v, *out;
	struct block *b;

	guard_lock(&l->guard);
	b = l->b;
	if (b)
		atomic_fetch_add(&b->refs, 1);
	guard_unlock(&l->guard);
	if (!b) {
		PyErr_SetString(PyExc_RuntimeError, "the lease was released");
		return NULL;
	}
	v = view_new(l->st, b, l->size);
	out = v ? PyMemoryView_FromObject(v) : NULL;
	Py_XDECREF(v);
	return out;
}

static PyGetSetDef lease_attrs[] = {
	{ "ptr", get_ptr, NULL, "int: address of the first byte; 0 after release()", NULL },
	{ "size", get_size, NULL, "int: bytes asked for", NULL },
	{ "buffer", get_buffer, NULL, "memoryview: the memory, writable bytes", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyMethodDef lease_methods[] = {
	{ "release", release, METH_NOARGS,
	  "release($self, /)\n--\n\nGive the memory back. RuntimeError while views of it are "
	  "alive; a second call does nothing." },
	{ "__enter__", enter, METH_NOARGS, NULL },
	{ "__exit__", CALL(leave), FAST, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot lease_slots[] = {
	{ Py_tp_doc, (void *)"Registered memory on loan from a BufferPool. Goes back with "
			     "release(), at the end of a with block, or with "
			     "the object." },
	{ Py_tp_dealloc, lease_dealloc },
	{ Py_tp_getset, lease_attrs },
	{ Py_tp_methods, lease_methods },
	{ 0, NULL },
};

PyType_Spec lease_spec = {
	.name = "mooncake.store.BufferLease",
	.basicsize = sizeof(struct lease),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = lease_slots,
};
