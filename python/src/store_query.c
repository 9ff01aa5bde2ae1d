/* SPDX-License-Identifier: Apache-2.0 */
/* Existence, sizes, removal. */
#include "store.h"

static PyObject *is_exist(PyObject *self, PyObject *key)
{
	struct mc_query q = { .result = -EINVAL };

	if (!arg_key(key, "key", &q.key))
		return NULL;
	run_exists(self, &q, 1);
	return PyLong_FromLongLong(mc_store_code(q.result));
}

static PyObject *get_size(PyObject *self, PyObject *key)
{
	struct mc_query q = { .result = -EINVAL };

	if (!arg_key(key, "key", &q.key))
		return NULL;
	run_size(self, &q, 1);
	return PyLong_FromLongLong(q.result == 1 ? (long long)q.bytes :
						   mc_store_code(q.result ? q.result : -ENOENT));
}

METHOD(batch_is_exist)
{
	static const struct sig sig = { "batch_is_exist", 1, 0, { { "keys", ARG_KEYS } } };
	PyObject *out = NULL;
	struct mc_query *q;
	struct arg a[1];

	if (!TAKE(&sig, a))
		return NULL;
	q = ITEMS_OF(struct mc_query, &a[0]);
	if (q) {
		run_exists(self, q, a[0].nr);
		/* A client of a node knows one number for every error: -1, which has no errno of its own. */
		for (Py_ssize_t i = 0; i < a[0].nr && store_is_dummy(self); i++)
			q[i].result = q[i].result < 0 ? -ENOSYS : q[i].result;
		out = LIST_OF_CODES(q, a[0].nr);
	}
	PyMem_Free(q);
	args_drop(&sig, a);
	return out;
}

/* ---- removal -------------------------------------------------------------------------------- */

METHOD(remove_key)
{
	static const struct sig sig = {
		"remove", 1, 0, { { "key", ARG_KEY }, { "force", ARG_BOOL } }
	};
	struct mc_remove r = { .result = -EINVAL };
	struct arg a[2];

	if (!TAKE(&sig, a))
		return NULL;
	r.key = a[0].key;
	run_remove(self, &r, 1, a[1].flag);
	return PyLong_FromLongLong(mc_store_code(r.result));
}

METHOD(batch_remove)
{
	static const struct sig sig = {
		"batch_remove", 1, 0, { { "keys", ARG_KEYS }, { "force", ARG_BOOL } }
	};
	PyObject *out = NULL;
	struct mc_remove *r;
	struct arg a[2];

	if (!TAKE(&sig, a))
		return NULL;
	r = ITEMS_OF(struct mc_remove, &a[0]);
	if (r) {
		run_remove(self, r, a[0].nr, a[1].flag);
		out = LIST_OF_CODES(r, a[0].nr);
	}
	PyMem_Free(r);
	args_drop(&sig, a);
	return out;
}

static PyObject *remove_matching(PyObject *self, const char *regex, bool force)
{
	uint32_t flags = force ? MC_REMOVE_FORCE : 0;
	struct shared *sh = store_get(self);
	int64_t ret;

	if (!sh)
		return PyLong_FromLong(NOT_SET_UP);
	UNLOCKED(ret = mc_store_remove_matching(sh->s, regex, flags, 0); store_put(sh));
	return PyLong_FromLongLong(mc_store_code(ret));
}

METHOD(remove_by_regex)
{
	static const struct sig sig = {
		"remove_by_regex", 1, 0, { { "regex_pattern", ARG_TEXT }, { "force", ARG_BOOL } }
	};
	struct arg a[2];

	char pattern[4097];

	if (!TAKE(&sig, a))
		return NULL;
	if (mc_store_pattern(a[0].text, pattern, sizeof(pattern)))
		return PyLong_FromLong(NOT_SET_UP);
	return remove_matching(self, pattern, a[1].flag);
}

METHOD(remove_all)
{
	static const struct sig sig = { "remove_all", 0, 0, { { "force", ARG_BOOL } } };
	struct arg a[1];

	return TAKE(&sig, a) ? remove_matching(self, NULL, a[0].flag) : NULL;
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
	  "not forced; -708 being copied or moved." },
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
