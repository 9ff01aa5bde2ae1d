/* SPDX-License-Identifier: Apache-2.0 */
/* What callers hand over for a tensor, for axes of parallelism, for a target. Duck typed: whatever has the attributes will do. */
#include "tensor.h"

#include <string.h>
#include <strings.h>

static bool shape_take(PyObject *shape, struct mc_tensor *t)
{
	Py_ssize_t nr = PyTuple_Size(shape);

	if (nr < 0 || nr > MC_TENSOR_MAX_DIMS)
		return false;
	t->ndim = (int32_t)nr;
	for (Py_ssize_t i = 0; i < nr; i++) {
		t->shape[i] = PyLong_AsLongLong(PyTuple_GetItem(shape, i));
		if (t->shape[i] < 0)
			return false;
	}
	return true;
}

/* (type's number, shape, address, owner) */
static bool described(PyObject *d, struct mc_tensor_put *it, PyObject **keep)
{
	if (!PyTuple_Check(d) || PyTuple_Size(d) != 4)
		return false;
	it->tensor.dtype = (int32_t)PyLong_AsLong(PyTuple_GetItem(d, 0));
	it->data = PyLong_AsVoidPtr(PyTuple_GetItem(d, 2));
	if (!shape_take(PyTuple_GetItem(d, 1), &it->tensor) || PyErr_Occurred())
		return false;
	*keep = Py_NewRef(PyTuple_GetItem(d, 3));
	return true;
}

static bool is_a(PyObject *o, PyObject *type)
{
	return type != Py_None && PyObject_TypeCheck(o, (PyTypeObject *)type);
}

bool tensor_take(struct core_state *st, PyObject *o, struct mc_tensor_put *it, PyObject **keep)
{
	const struct tensor_lib *lib = tensor_lib(st);
	PyObject *d;
	bool ok;

	if (!lib)
		return false;
	if ((is_a(o, lib->torch) && torch_take(lib, o, it, keep)) ||
	    (is_a(o, lib->numpy) && numpy_take(lib, o, it, keep)))
		return true;
	if (!forgive())
		return false;
	d = PyObject_CallFunctionObjArgs(lib->describe, o, NULL);
	ok = d && described(d, it, keep);
	forgive();
	Py_XDECREF(d);
	return ok;
}

static PyObject *shape_tuple(const struct mc_tensor *t)
{
	PyObject *s = PyTuple_New(t->ndim);

	for (int i = 0; s && i < t->ndim; i++) {
		PyObject *n = PyLong_FromLongLong(t->shape[i]);

		if (!n || PyTuple_SetItem(s, i, n))
			Py_CLEAR(s);
	}
	return s;
}

PyObject *tensor_over(struct core_state *st, PyObject *memory, uint64_t off, const struct mc_tensor *t)
{
	const struct tensor_lib *lib = tensor_lib(st);
	PyObject *shape = lib ? shape_tuple(t) : NULL, *out = NULL;

	if (shape && lib->torch == Py_None && lib->numpy != Py_None)
		out = numpy_view(lib, memory, off, t, shape);
	else if (shape)
		out = PyObject_CallFunction(lib->view, "OKiO", memory, (unsigned long long)off, (int)t->dtype, shape);
	Py_XDECREF(shape);
	return out;
}

void tensor_memory_free(struct tensor_memory *m)
{
	if (!m->mem)
		return;
	room_free(m->room, m->mem, m->len);
	room_unref(m->room);
	m->mem = NULL;
}

PyObject *tensor_view(struct core_state *st, struct tensor_memory *memory, void *at, uint64_t len, uint64_t off,
		      const struct mc_tensor *t)
{
	const struct tensor_lib *lib = tensor_lib(st);
	PyObject *bytes, *out;

	if (!lib)
		return NULL;
	if (lib->dlpack >> t->dtype & 1)
		return torch_view(lib, memory, (char *)at + off, t);
	if (memory->mem) {
		bytes = handle_new(st, memory->mem, memory->len, memory->room, false);
		off += (uint64_t)((char *)at - (char *)memory->mem);
		if (bytes) {
			room_unref(memory->room); /* the handle has its own reference */
			memory->mem = NULL;
		}
	} else {
		bytes = PyMemoryView_FromMemory(at, (Py_ssize_t)len, PyBUF_WRITE);
	}
	out = bytes ? tensor_over(st, bytes, off, t) : NULL;
	Py_XDECREF(bytes);
	return out;
}

/* ---- axes ----------------------------------------------------------------------------------- */

/* An int attribute that fits; None and absent are @none. */
static bool int_attr(PyObject *o, const char *name, int32_t none, int32_t *out)
{
	PyObject *v = attr(o, name);
	bool ok = true;
	long n;

	if (!v || v == Py_None) {
		ok = forgive();
		*out = none;
	} else {
		n = PyLong_AsLong(v);
		/* What means "not given" in C cannot be given. */
		ok = !(n == -1 && PyErr_Occurred()) && n >= 0 && n <= INT32_MAX;
		*out = (int32_t)n;
	}
	Py_XDECREF(v);
	return ok;
}

static bool kind_attr(PyObject *o, int32_t *out)
{
	static const struct {
		const char *word;
		int32_t kind;
	} kinds[] = { { "dp", MC_AXIS_DATA },
		      { "tp", MC_AXIS_TENSOR },
		      { "ep", MC_AXIS_EXPERT },
		      { "pp", MC_AXIS_PIPELINE } };
	PyObject *v = attr(o, "kind");
	const char *text;
	bool ok = false;

	if (v && arg_text(v, "kind", &text)) {
		for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && !ok; i++) {
			ok = !strcasecmp(text, kinds[i].word);
			*out = kinds[i].kind;
		}
	}
	Py_XDECREF(v);
	return ok;
}

static bool axis_take(PyObject *o, struct mc_axis *a)
{
	a->id = MC_AXIS_NONE;
	return kind_attr(o, &a->kind) && int_attr(o, "rank", 0, &a->rank) &&
	       int_attr(o, "size", 1, &a->size) &&
	       int_attr(o, "split_dim", MC_AXIS_NONE, &a->split_dim) &&
	       (a->kind != MC_AXIS_EXPERT || int_attr(o, "expert_id", MC_AXIS_NONE, &a->id)) &&
	       (a->kind != MC_AXIS_PIPELINE || int_attr(o, "stage_id", MC_AXIS_NONE, &a->id));
}

bool parallel_take(PyObject *o, struct mc_parallel *out)
{
	PyObject *axes = attr(o, "axes"), *t = axes ? arg_tuple(axes, "axes") : NULL;
	Py_ssize_t nr = t ? PyTuple_Size(t) : 0;
	bool ok = nr > 0 && nr <= MC_TENSOR_MAX_AXES;

	out->nr_axes = ok ? (unsigned)nr : 0;
	for (Py_ssize_t i = 0; i < nr && ok; i++)
		ok = axis_take(PyTuple_GetItem(t, i), &out->axis[i]);
	forgive();
	Py_XDECREF(t);
	Py_XDECREF(axes);
	return ok;
}

bool writer_take(PyObject *o, struct mc_partition *out)
{
	bool ok = int_attr(o, "rank", -1, &out->rank) && int_attr(o, "size", -1, &out->size) &&
		  int_attr(o, "split_dim", -1, &out->split_dim);

	forgive();
	return ok;
}

/* ---- targets -------------------------------------------------------------------------------- */

static bool mode_attr(PyObject *o, int *mode)
{
	static const char *const modes[] = { "as_stored", "shard", "full" };
	PyObject *v = attr(o, "mode");
	const char *text;
	bool ok = false;

	if (v && arg_text(v, "mode", &text)) {
		for (int i = 0; i < 3 && !ok; i++) {
			ok = !strcasecmp(text, modes[i]);
			*mode = MC_TENSOR_AS_STORED + i;
		}
	}
	Py_XDECREF(v);
	return ok;
}

bool target_take(PyObject *o, int *mode, struct mc_parallel *out, bool *has)
{
	PyObject *p = NULL;
	bool ok = true;

	*mode = MC_TENSOR_AS_STORED;
	*has = false;
	if (!o || o == Py_None)
		return true;
	if (mode_attr(o, mode)) {
		p = attr(o, "parallelism");
		*has = p && p != Py_None;
		ok = p && (!*has || parallel_take(p, out));
	} else {
		ok = false;
	}
	forgive();
	Py_XDECREF(p);
	/* A shard is of something, and what is stored is not cut. */
	return ok && (*mode != MC_TENSOR_SHARD || *has) && (*mode != MC_TENSOR_AS_STORED || !*has);
}
