/* SPDX-License-Identifier: Apache-2.0 */
/* stats(): what a store has done, as a dict. */
#include "store.h"

/* Steals @value. False with an exception. */
static bool set(PyObject *dict, const char *name, PyObject *value)
{
	bool ok = value && !PyDict_SetItemString(dict, name, value);

	Py_XDECREF(value);
	return ok;
}

static bool set_u64(PyObject *dict, const char *name, uint64_t value)
{
	return set(dict, name, PyLong_FromUnsignedLongLong(value));
}

static PyObject *misses(const struct mc_store_stats *s)
{
	PyObject *d = PyDict_New();

	for (unsigned i = 0; d && i < MC_MISSES && mc_miss_name(i); i++)
		if (!set_u64(d, mc_miss_name(i), s->miss[i]))
			Py_CLEAR(d);
	return d;
}

static PyObject *path(const struct mc_path_stats *p)
{
	PyObject *d = PyDict_New();

	if (d && set_u64(d, "objects", p->objects) && set_u64(d, "bytes", p->bytes) && set_u64(d, "timed", p->timed) &&
	    set_u64(d, "p50_ns", p->p50_ns) && set_u64(d, "p99_ns", p->p99_ns))
		return d;
	Py_XDECREF(d);
	return NULL;
}

static PyObject *paths(const struct mc_path_stats *p)
{
	PyObject *d = PyDict_New();

	for (unsigned i = 0; d && i < MC_PATHS && mc_path_name(i); i++)
		if (!set(d, mc_path_name(i), path(&p[i])))
			Py_CLEAR(d);
	return d;
}

static PyObject *stats(PyObject *self, PyObject *unused)
{
	struct mc_store_stats s = { .size = sizeof(s) };
	struct shared *sh = store_get(self);
	PyObject *d = PyDict_New();
	int ret = -EINVAL;

	if (sh) {
		ret = mc_store_stats(sh->s, &s); /* waits for nothing */
		store_put(sh);
	}
	if (!d || ret)
		return d;
	if (set_u64(d, "hits", s.hits) && set_u64(d, "misses", s.misses) && set(d, "miss", misses(&s)) &&
	    set_u64(d, "retries", s.retries) && set_u64(d, "puts", s.puts) && set_u64(d, "puts_failed", s.puts_failed) &&
	    set(d, "get", paths(s.get)) && set(d, "put", paths(s.put)))
		return d;
	Py_DECREF(d);
	return NULL;
}

PyMethodDef store_stats[] = {
	{ "stats", stats, METH_NOARGS,
	  "stats($self, /)\n--\n\n"
	  "What this store has done since setup(): hits, misses, and miss by reason (absent, gone, master, ...); retries of reads\n"
	  "that were overtaken; puts, puts_failed; get and put by path (mapped: this host's memory, local, tcp), each with objects,\n"
	  "bytes, and of timed calls p50_ns and p99_ns. {} when not set up." },
	{ NULL, NULL, 0, NULL },
};
