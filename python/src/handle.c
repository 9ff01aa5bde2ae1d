/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BufferHandle: an object's bytes in memory of the library, exported without a copy.
 */
#include "core.h"

struct handle {
	PyObject_HEAD void *mem;
	size_t len;
	struct room *room;
	bool counted;
};

PyObject *handle_new(struct core_state *st, void *mem, size_t len, struct room *room, bool counted)
{
	struct handle *h = (struct handle *)PyType_GenericAlloc(st->handle, 0);

	if (!h)
		return NULL;
	h->mem = mem;
	h->len = len;
	h->room = room;
	h->counted = counted;
	room_ref(room);
	return (PyObject *)h;
}

/* Exports keep the object alive, so nothing refers to the memory any more. */
static void handle_dealloc(struct handle *h)
{
	PyTypeObject *type = Py_TYPE((PyObject *)h);

	if (h->counted)
		room_give(h->room, h->len);
	room_free(h->room, h->mem, h->len);
	room_unref(h->room);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(h);
	Py_DECREF(type);
}

static int handle_export(PyObject *self, Py_buffer *view, int flags)
{
	struct handle *h = (struct handle *)self;

	return PyBuffer_FillInfo(view, self, h->mem, (Py_ssize_t)h->len, 0, flags);
}

static Py_ssize_t handle_len(PyObject *self)
{
	return (Py_ssize_t)((struct handle *)self)->len;
}

static PyObject *handle_repr(PyObject *self)
{
	return PyUnicode_FromFormat("<BufferHandle %zu bytes>", ((struct handle *)self)->len);
}

static PyObject *handle_ptr(PyObject *self, PyObject *unused)
{
	return PyLong_FromUnsignedLongLong((uintptr_t)((struct handle *)self)->mem);
}

static PyObject *handle_size(PyObject *self, PyObject *unused)
{
	return PyLong_FromSsize_t(handle_len(self));
}

static PyMethodDef handle_methods[] = {
	{ "ptr", handle_ptr, METH_NOARGS,
	  "ptr($self, /)\n--\n\nAddress of the first byte, valid while this object lives." },
	{ "size", handle_size, METH_NOARGS, "size($self, /)\n--\n\nBytes." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot handle_slots[] = {
	{ Py_tp_doc, (void *)"Bytes of one object: a writable buffer of bytes. Made by "
			     "get_buffer(); freed with the object.\n\n"
			     "Counts against the store's local buffer while it lives." },
	{ Py_tp_dealloc, handle_dealloc },
	{ Py_tp_repr, handle_repr },
	{ Py_bf_getbuffer, handle_export },
	{ Py_sq_length, handle_len },
	{ Py_tp_methods, handle_methods },
	{ 0, NULL },
};

PyType_Spec handle_spec = {
	.name = "mooncake.store.BufferHandle",
	.basicsize = sizeof(struct handle),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = handle_slots,
};
