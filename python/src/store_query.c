/* SPDX-License-Identifier: Apache-2.0 */
/* Existence, sizes, removal. */
#include "store.h"

#include <errno.h>

static long long query_one(PyObject *self, PyObject *arg, bool size, bool *bad)
{
	struct mc_query q = { .result = 0 };
	struct shared *sh;

	*bad = !arg_key(arg, "key", &q.key);
	if (*bad)
		return 0;
	sh = store_get(self);
	if (!sh)
		return NOT_SET_UP;
	Py_BEGIN_ALLOW_THREADS if (size) mc_store_size(sh->s, &q, 1, 0);
	else mc_store_exists(sh->s, &q, 1, 0);
	store_put(sh);
	Py_END_ALLOW_THREADS if (size && q.result >= 0) return q.result ? (long long)q.bytes :
									  mc_store_code(-ENOENT);
	return mc_store_code(q.result);
}

static PyObject *is_exist(PyObject *self, PyObject *key)
{
	bool bad;
	long long ret = query_one(self, key, false, &bad);

	return bad ? NULL : PyLong_FromLongLong(ret);
}

static PyObject *get_size(PyObject *self, PyObject *key)
{
	bool bad;
	long long ret = query_one(self, key, true, &bad);

	return bad ? NULL : PyLong_FromLongLong(ret);
}

METHOD(batch_is_exist)
{
	static const struct sig sig = { "batch_is_exist", { "keys", NULL }, 1, 0 };
	PyObject *a[1], *keys, *out = NULL;
	struct mc_query *q = NULL;
	struct mc_key *key = NULL;
	struct shared *sh;
	Py_ssize_t nr;

	if (!bind_args(&sig, args, nargs, kwnames, a))
		return NULL;
	keys = arg_keys(a[0], "keys", &key);
	if (!keys)
		return NULL;
	nr = PyTuple_Size(keys);
	q = PyMem_Calloc((size_t)nr + 1, sizeof(*q));
	if (!q) {
		PyErr_NoMemory();
		goto done;
	}
	for (Py_ssize_t i = 0; i < nr; i++)
		q[i] = (struct mc_query){ .key = key[i], .result = -EINVAL };
	sh = store_get(self);
	if (!sh) {
		out = list_of_value(nr, NOT_SET_UP);
		goto done;
	}
	Py_BEGIN_ALLOW_THREADS mc_store_exists(sh->s, q, (unsigned)nr, 0);
	store_put(sh);
	Py_END_ALLOW_THREADS out = PyList_New(nr);
	for (Py_ssize_t i = 0; out && i < nr; i++) {
		PyObject *x = PyLong_FromLongLong(mc_store_code(q[i].result));

		if (!x || PyList_SetItem(out, i, x))
			Py_CLEAR(out);
	}
done:
	PyMem_Free(q);
	PyMem_Free(key);
	Py_DECREF(keys);
	return out;
}

/* ---- removal -------------------------------------------------------------------------------- */

METHOD(remove_key)
{
	static const struct sig sig = { "remove", { "key", "force", NULL }, 1, 0 };
	struct mc_remove r = { .result = 0 };
	struct shared *sh;
	bool force = false;
	PyObject *a[2];

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_key(a[0], "key", &r.key) ||
	    (a[1] && !arg_bool(a[1], "force", &force)))
		return NULL;
	sh = store_get(self);
	if (!sh)
		return PyLong_FromLong(NOT_SET_UP);
	Py_BEGIN_ALLOW_THREADS mc_store_remove(sh->s, &r, 1, force ? MC_REMOVE_FORCE : 0, 0);
	store_put(sh);
	Py_END_ALLOW_THREADS return PyLong_FromLongLong(mc_store_code(r.result));
}

METHOD(batch_remove)
{
	static const struct sig sig = { "batch_remove", { "keys", "force", NULL }, 1, 0 };
	PyObject *a[2], *keys, *out = NULL;
	struct mc_remove *r = NULL;
	struct mc_key *key = NULL;
	struct shared *sh;
	bool force = false;
	Py_ssize_t nr;

	if (!bind_args(&sig, args, nargs, kwnames, a) || (a[1] && !arg_bool(a[1], "force", &force)))
		return NULL;
	keys = arg_keys(a[0], "keys", &key);
	if (!keys)
		return NULL;
	nr = PyTuple_Size(keys);
	r = PyMem_Calloc((size_t)nr + 1, sizeof(*r));
	if (!r) {
		PyErr_NoMemory();
		goto done;
	}
	for (Py_ssize_t i = 0; i < nr; i++)
		r[i] = (struct mc_remove){ .key = key[i], .result = -EINVAL };
	sh = store_get(self);
	if (!sh) {
		out = list_of_value(nr, NOT_SET_UP);
		goto done;
	}
	Py_BEGIN_ALLOW_THREADS mc_store_remove(sh->s, r, (unsigned)nr, force ? MC_REMOVE_FORCE : 0,
					       0);
	store_put(sh);
	Py_END_ALLOW_THREADS out = PyList_New(nr);
	for (Py_ssize_t i = 0; out && i < nr; i++) {
		PyObject *x = PyLong_FromLongLong(mc_store_code(r[i].result));

		if (!x || PyList_SetItem(out, i, x))
			Py_CLEAR(out);
	}
done:
	PyMem_Free(r);
	PyMem_Free(key);
	Py_DECREF(keys);
	return out;
}

static PyObject *remove_matching(PyObject *self, const char *regex, bool force)
{
	struct shared *sh = store_get(self);
	int64_t ret;

	if (!sh)
		return PyLong_FromLong(NOT_SET_UP);
	Py_BEGIN_ALLOW_THREADS ret =
		mc_store_remove_matching(sh->s, regex, force ? MC_REMOVE_FORCE : 0, 0);
	store_put(sh);
	Py_END_ALLOW_THREADS return PyLong_FromLongLong(mc_store_code(ret));
}

METHOD(remove_by_regex)
{
	static const struct sig sig = {
		"remove_by_regex", { "regex_pattern", "force", NULL }, 1, 0
	};
	const char *regex;
	bool force = false;
	PyObject *a[2];

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_text(a[0], "regex_pattern", &regex) ||
	    (a[1] && !arg_bool(a[1], "force", &force)))
		return NULL;
	return remove_matching(self, regex, force);
}

METHOD(remove_all)
{
	static const struct sig sig = { "remove_all", { "force", NULL }, 0, 0 };
	bool force = false;
	PyObject *a[1];

	if (!bind_args(&sig, args, nargs, kwnames, a) || (a[0] && !arg_bool(a[0], "force", &force)))
		return NULL;
	return remove_matching(self, NULL, force);
}

PyMethodDef store_query[] = {
	{ "is_exist", is_exist, METH_O,
	  "is_exist($self, key, /)\n--\n\n1 it can be read; 0 not; -900 the master does not "
	  "answer. Grants a lease, so an unforced remove()\n"
	  "right afterwards gives -706." },
	{ "batch_is_exist", CALL(batch_is_exist), FAST,
	  "batch_is_exist($self, /, keys)\n--\n\nAs is_exist() for each key." },
	{ "get_size", get_size, METH_O, "get_size($self, key, /)\n--\n\nBytes; -704 missing." },
	{ "remove", CALL(remove_key), FAST,
	  "remove($self, /, key, force=False)\n--\n\nReturns 0; -704 missing; -706 read lately and "
	  "not forced." },
	{ "batch_remove", CALL(batch_remove), FAST,
	  "batch_remove($self, /, keys, force=False)\n--\n\nAs remove() for each key." },
	{ "remove_by_regex", CALL(remove_by_regex), FAST,
	  "remove_by_regex($self, /, regex_pattern, force=False)\n--\n\nRemove all keys in which "
	  "the expression is found (it is searched, not\n"
	  "anchored). Returns how many went; -600 a bad expression. Keys read lately stay unless "
	  "forced." },
	{ "remove_all", CALL(remove_all), FAST,
	  "remove_all($self, /, force=False)\n--\n\nRemove every key of this tenant. Returns how "
	  "many went." },
	{ NULL, NULL, 0, NULL },
};
