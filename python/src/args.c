/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments: bound by position or keyword without building tuples, converted with messages that
 * name what was wrong.
 */
#include "core.h"

#include <string.h>

static int find_param(const struct sig *s, PyObject *name)
{
	for (int i = s->positional; s->params[i]; i++)
		if (PyUnicode_CompareWithASCIIString(name, s->params[i]) == 0)
			return i;
	return -1;
}

bool bind_args(const struct sig *s, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
	       PyObject **out)
{
	int max = 0;

	while (s->params[max])
		max++;
	if (nargs > max) {
		PyErr_Format(PyExc_TypeError,
			     "%s(): incompatible function arguments: takes at most %d, got %zd",
			     s->name, max, nargs);
		return false;
	}
	for (int i = 0; i < max; i++)
		out[i] = i < nargs ? args[i] : NULL;
	for (Py_ssize_t k = 0; kwnames && k < PyTuple_Size(kwnames); k++) {
		PyObject *name = PyTuple_GetItem(kwnames, k);
		int i = find_param(s, name);

		if (i < 0) {
			PyErr_Format(PyExc_TypeError,
				     "%s(): incompatible function arguments: unexpected keyword "
				     "argument '%U'",
				     s->name, name);
			return false;
		}
		if (out[i]) {
			PyErr_Format(PyExc_TypeError,
				     "%s(): incompatible function arguments: '%s' given twice",
				     s->name, s->params[i]);
			return false;
		}
		out[i] = args[nargs + k];
	}
	for (int i = 0; i < s->required; i++) {
		if (!out[i]) {
			PyErr_Format(PyExc_TypeError,
				     "%s(): incompatible function arguments: missing '%s'", s->name,
				     s->params[i]);
			return false;
		}
	}
	return true;
}

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

PyObject *list_of_codes(const int64_t *v, Py_ssize_t nr)
{
	PyObject *list = PyList_New(nr), *x;

	for (Py_ssize_t i = 0; list && i < nr; i++) {
		x = PyLong_FromLongLong(mc_store_code(v[i]));
		if (!x || PyList_SetItem(list, i, x))
			Py_CLEAR(list);
	}
	return list;
}

PyObject *list_of_value(Py_ssize_t nr, long value)
{
	PyObject *list = PyList_New(nr), *x;

	for (Py_ssize_t i = 0; list && i < nr; i++) {
		x = PyLong_FromLong(value);
		if (!x || PyList_SetItem(list, i, x))
			Py_CLEAR(list);
	}
	return list;
}
