/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments: bound by position or keyword without building tuples, converted with messages that
 * name what was wrong. Lists of results.
 */
#include "core.h"

#include <string.h>

/* ---- binding -------------------------------------------------------------------------------- */

#define MISMATCH "%s(): incompatible function arguments: "

static int find_param(const struct sig *s, PyObject *name)
{
	for (int i = s->positional; i < PARAMS_MAX && s->param[i].name; i++)
		if (PyUnicode_CompareWithASCIIString(name, s->param[i].name) == 0)
			return i;
	return -1;
}

static int nr_params(const struct sig *s)
{
	int nr = 0;

	while (nr < PARAMS_MAX && s->param[nr].name)
		nr++;
	return nr;
}

static bool bind(const struct sig *s, ARGS, struct arg *out)
{
	int max = nr_params(s);

	if (nargs > max) {
		PyErr_Format(PyExc_TypeError, MISMATCH "takes at most %d, got %zd", s->name, max,
			     nargs);
		return false;
	}
	for (int i = 0; i < max; i++)
		out[i] = (struct arg){ .o = i < nargs ? args[i] : NULL };
	for (Py_ssize_t k = 0; kwnames && k < PyTuple_Size(kwnames); k++) {
		PyObject *name = PyTuple_GetItem(kwnames, k);
		int i = find_param(s, name);

		if (i < 0) {
			PyErr_Format(PyExc_TypeError, MISMATCH "unexpected keyword argument '%U'",
				     s->name, name);
			return false;
		}
		if (out[i].o) {
			PyErr_Format(PyExc_TypeError, MISMATCH "'%s' given twice", s->name,
				     s->param[i].name);
			return false;
		}
		out[i].o = args[nargs + k];
	}
	for (int i = 0; i < s->required; i++) {
		if (!out[i].o) {
			PyErr_Format(PyExc_TypeError, MISMATCH "missing '%s'", s->name,
				     s->param[i].name);
			return false;
		}
	}
	return true;
}

static bool convert(struct core_state *st, const struct param *p, struct arg *a)
{
	if (p->kind == ARG_CONFIG)
		return config_get(st, a->o, &a->config);
	if (!a->o)
		return true;
	switch (p->kind) {
	case ARG_KEY:
		return arg_key(a->o, p->name, &a->key);
	case ARG_NAME:
		return a->o == Py_None || arg_text(a->o, p->name, &a->text);
	case ARG_TEXT:
		return arg_text(a->o, p->name, &a->text);
	case ARG_U64:
		return arg_u64(a->o, p->name, &a->u64);
	case ARG_I64:
		return arg_i64(a->o, p->name, &a->i64);
	case ARG_BOOL:
		return arg_bool(a->o, p->name, &a->flag);
	case ARG_BYTES:
		return arg_buffer(a->o, p->name, &a->bytes);
	case ARG_OPTIONS:
		if (a->o == Py_None)
			return true;
		/* fall through */
	case ARG_LIST:
		a->list = arg_tuple(a->o, p->name);
		break;
	case ARG_KEYS:
		a->list = arg_keys(a->o, p->name, &a->keys);
		break;
	case ARG_U64S:
		a->list = arg_u64s(a->o, p->name, &a->u64s);
		break;
	default:
		return true;
	}
	a->nr = a->list ? PyTuple_Size(a->list) : 0;
	return a->list;
}

static void drop(const struct param *p, struct arg *a)
{
	if (p->kind == ARG_CONFIG)
		config_put(&a->config);
	else if (p->kind == ARG_BYTES && a->o)
		PyBuffer_Release(&a->bytes);
	else if (p->kind == ARG_KEYS)
		PyMem_Free(a->keys);
	else if (p->kind == ARG_U64S)
		PyMem_Free(a->u64s);
	Py_XDECREF(a->list);
}

bool args_take(struct core_state *st, const struct sig *s, ARGS, struct arg *out)
{
	int max = nr_params(s);

	if (!bind(s, PASSED, out))
		return false;
	for (int i = 0; i < max; i++) {
		if (convert(st, &s->param[i], &out[i]))
			continue;
		while (i-- > 0)
			drop(&s->param[i], &out[i]);
		return false;
	}
	return true;
}

void args_drop(const struct sig *s, struct arg *a)
{
	for (int i = 0; i < PARAMS_MAX && s->param[i].name; i++)
		drop(&s->param[i], &a[i]);
}

/* ---- conversions ---------------------------------------------------------------------------- */

static bool wrong(const char *name, const char *wanted, PyObject *got)
{
	PyObject *type = PyObject_Str((PyObject *)Py_TYPE(got));

	PyErr_Format(PyExc_TypeError, "incompatible function arguments: %s must be %s, not %V",
		     name, wanted, type, "?");
	Py_XDECREF(type);
	return false;
}

bool arg_key(PyObject *o, const char *name, struct mc_key *out)
{
	Py_ssize_t len;
	char *bytes;

	if (PyUnicode_Check(o)) {
		out->data = PyUnicode_AsUTF8AndSize(o, &len);
		if (!out->data && PyErr_ExceptionMatches(PyExc_UnicodeError))
			PyErr_Format(
				PyExc_TypeError,
				"incompatible function arguments: %s cannot be encoded as UTF-8",
				name);
		out->len = (size_t)len;
		return out->data;
	}
	if (!PyBytes_Check(o))
		return wrong(name, "str or bytes", o);
	if (PyBytes_AsStringAndSize(o, &bytes, &len))
		return false;
	out->data = bytes;
	out->len = (size_t)len;
	return true;
}

bool arg_text(PyObject *o, const char *name, const char **out)
{
	struct mc_key k;

	if (!arg_key(o, name, &k))
		return false;
	if (strlen(k.data) != k.len) {
		PyErr_Format(PyExc_ValueError, "%s has a NUL inside", name);
		return false;
	}
	*out = k.data;
	return true;
}

bool arg_u64(PyObject *o, const char *name, uint64_t *out)
{
	PyObject *i;

	if (PyLong_Check(o)) {
		*out = PyLong_AsUnsignedLongLong(o);
	} else {
		if (!PyIndex_Check(o))
			return wrong(name, "a non-negative int", o);
		i = PyNumber_Index(o);
		if (!i)
			return false;
		*out = PyLong_AsUnsignedLongLong(i);
		Py_DECREF(i);
	}
	if (*out == UINT64_MAX && PyErr_Occurred()) {
		PyErr_Format(PyExc_TypeError,
			     "incompatible function arguments: %s must be an int from 0 to 2**64-1",
			     name);
		return false;
	}
	return true;
}

bool arg_i64(PyObject *o, const char *name, int64_t *out)
{
	PyObject *i;

	if (!PyIndex_Check(o))
		return wrong(name, "an int", o);
	i = PyNumber_Index(o);
	if (!i)
		return false;
	*out = PyLong_AsLongLong(i);
	Py_DECREF(i);
	if (*out == -1 && PyErr_Occurred()) {
		PyErr_Format(PyExc_TypeError, "incompatible function arguments: %s must be an int of 64 bits", name);
		return false;
	}
	return true;
}

bool arg_bool(PyObject *o, const char *name, bool *out)
{
	int is;

	/*
	 * None and whatever knows its own truth (ints, numpy.bool_) pass, as callers are used
	 * to; text and lists do not.
	 */
	if (o != Py_None && !PyType_GetSlot(Py_TYPE(o), Py_nb_bool))
		return wrong(name, "bool", o);
	is = PyObject_IsTrue(o);
	*out = is > 0;
	return is >= 0;
}

PyObject *arg_tuple(PyObject *o, const char *name)
{
	PyObject *t;

	if (PyUnicode_Check(o) || PyBytes_Check(o) || !PySequence_Check(o)) {
		wrong(name, "a list", o);
		return NULL;
	}
	t = PySequence_Tuple(o);
	if (t && PyTuple_Size(t) > INT32_MAX) { /* C counts items in 32 bits */
		PyErr_Format(PyExc_ValueError, "%s has too many items", name);
		Py_CLEAR(t);
	}
	return t;
}

PyObject *arg_u64s(PyObject *o, const char *name, uint64_t **out)
{
	PyObject *t = arg_tuple(o, name);
	Py_ssize_t nr;

	if (!t)
		return NULL;
	nr = PyTuple_Size(t);
	*out = PyMem_Malloc((size_t)(nr ? nr : 1) * sizeof(**out));
	if (!*out) {
		Py_DECREF(t);
		return PyErr_NoMemory();
	}
	for (Py_ssize_t i = 0; i < nr; i++) {
		if (arg_u64(PyTuple_GetItem(t, i), name, &(*out)[i]))
			continue;
		PyMem_Free(*out);
		*out = NULL;
		Py_DECREF(t);
		return NULL;
	}
	return t;
}

bool arg_buffer(PyObject *o, const char *name, Py_buffer *out)
{
	if (!PyObject_CheckBuffer(o))
		return wrong(name, "a bytes-like object", o);
	return !PyObject_GetBuffer(o, out, PyBUF_CONTIG_RO);
}

PyObject *arg_keys(PyObject *o, const char *name, struct mc_key **out)
{
	PyObject *t = arg_tuple(o, name);
	Py_ssize_t nr;

	if (!t)
		return NULL;
	nr = PyTuple_Size(t);
	*out = PyMem_Calloc((size_t)nr + 1, sizeof(**out));
	if (!*out) {
		Py_DECREF(t);
		return PyErr_NoMemory();
	}
	for (Py_ssize_t i = 0; i < nr; i++) {
		if (arg_key(PyTuple_GetItem(t, i), name, &(*out)[i]))
			continue;
		PyMem_Free(*out);
		*out = NULL;
		Py_DECREF(t);
		return NULL;
	}
	return t;
}

bool forgive(void)
{
	if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception) &&
	    !PyErr_ExceptionMatches(PyExc_MemoryError))
		PyErr_Clear();
	return !PyErr_Occurred();
}

/* ---- results -------------------------------------------------------------------------------- */

bool list_set(PyObject *list, Py_ssize_t i, PyObject *x)
{
	return x && !PyList_SetItem(list, i, x);
}

PyObject *list_of_value(Py_ssize_t nr, long value)
{
	PyObject *list = PyList_New(nr);

	for (Py_ssize_t i = 0; list && i < nr; i++)
		if (!list_set(list, i, PyLong_FromLong(value)))
			Py_CLEAR(list);
	return list;
}
