/* SPDX-License-Identifier: Apache-2.0 */
/* What callers hand over for a tensor, for axes of parallelism, for a target. Duck typed: whatever has the attributes will do. */
#include "tensor.h"

#include <string.h>
#include <strings.h>

PyObject *tensor_module(struct core_state *st)
{
	if (!st->tensor) {
		PyObject *module = PyImport_ImportModule(
			"mooncake._tensor"); /* other threads may run meanwhile */

		if (st->tensor)
			Py_XDECREF(module);
		else
			st->tensor = module;
	}
	return Py_XNewRef(st->tensor);
}

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

bool tensor_take(struct core_state *st, PyObject *o, struct mc_tensor_put *it, PyObject **keep)
{
	PyObject *module = tensor_module(st);
	PyObject *d = module ? PyObject_CallMethod(module, "describe", "O", o) : NULL;
	bool ok = d && described(d, it, keep);

	forgive();
	Py_XDECREF(d);
	Py_XDECREF(module);
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

PyObject *tensor_view(struct core_state *st, PyObject *memory, uint64_t off,
		      const struct mc_tensor *t)
{
	PyObject *module = tensor_module(st), *shape = module ? shape_tuple(t) : NULL, *out = NULL;

	if (shape)
		out = PyObject_CallMethod(module, "view", "OKiO", memory, (unsigned long long)off,
					  (int)t->dtype, shape);
	Py_XDECREF(shape);
	Py_XDECREF(module);
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
