/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of replicas, and clearing one's own. */
#include "store.h"

#include <mooncake/replicas.h>

static bool run_replicas(PyObject *self, struct mc_replicas *r, Py_ssize_t nr)
{
	struct shared *sh = store_get(self);

	if (sh)
		UNLOCKED(mc_store_replicas(sh->s, r, (unsigned)nr, 0); store_put(sh));
	return sh;
}

/* A list of mooncake._types.ReplicaDescriptor. */
static PyObject *descriptors(struct core_state *st, const struct mc_replicas *r)
{
	Py_ssize_t nr = r->result > 0 ? r->result : 0;
	PyObject *make = core_type(st, "_memory_replica");
	PyObject *list = make ? PyList_New(nr) : NULL;

	for (Py_ssize_t i = 0; list && i < nr; i++) {
		const struct mc_replica *one = &r->replica[i];

		if (!list_set(list, i,
			      PyObject_CallFunction(make, "KKs", (unsigned long long)one->bytes,
						    (unsigned long long)one->addr, one->segment)))
			Py_CLEAR(list);
	}
	Py_XDECREF(make);
	return list;
}

METHOD(get_replica_desc)
{
	static const struct sig sig = { "get_replica_desc", 1, 0, { { "key", ARG_KEY } } };
	struct mc_replicas r = { .result = -EINVAL };
	PyObject *out;
	struct arg a[1];

	if (!TAKE(&sig, a))
		return NULL;
	r.key = a[0].key;
	run_replicas(self, &r, 1);
	out = descriptors(((struct store_obj *)self)->st, &r);
	mc_replicas_free(&r, 1);
	args_drop(&sig, a);
	return out;
}

static PyObject *dict_of(struct core_state *st, PyObject *keys, const struct mc_replicas *r)
{
	PyObject *out = PyDict_New(), *list;

	for (Py_ssize_t i = 0; out && i < PyTuple_Size(keys); i++) {
		if (r[i].result <= 0)
			continue;
		list = descriptors(st, &r[i]);
		if (!list || PyDict_SetItem(out, PyTuple_GetItem(keys, i), list))
			Py_CLEAR(out);
		Py_XDECREF(list);
	}
	return out;
}

METHOD(batch_get_replica_desc)
{
	static const struct sig sig = { "batch_get_replica_desc", 1, 0, { { "keys", ARG_KEYS } } };
	struct mc_replicas *r;
	PyObject *out = NULL;
	struct arg a[1];

	if (!TAKE(&sig, a))
		return NULL;
	r = ITEMS_OF(struct mc_replicas, &a[0]);
	if (r) {
		run_replicas(self, r, a[0].nr);
		out = dict_of(((struct store_obj *)self)->st, a[0].list, r);
		mc_replicas_free(r, (unsigned)a[0].nr);
	}
	PyMem_Free(r);
	args_drop(&sig, a);
	return out;
}

/* The keys of those that went. */
static PyObject *cleared(PyObject *keys, const struct mc_remove *r)
{
	PyObject *out = PyList_New(0);

	for (Py_ssize_t i = 0; out && i < PyTuple_Size(keys); i++)
		if (!r[i].result && PyList_Append(out, PyTuple_GetItem(keys, i)))
			Py_CLEAR(out);
	return out;
}

METHOD(batch_replica_clear)
{
	static const struct sig sig = {
		"batch_replica_clear", 1, 0, { { "keys", ARG_KEYS }, { "segment_name", ARG_TEXT } }
	};
	struct shared *sh;
	struct mc_remove *r;
	PyObject *out = NULL;
	struct arg a[2];

	if (!TAKE(&sig, a))
		return NULL;
	r = ITEMS_OF(struct mc_remove, &a[0]);
	sh = r && !store_is_dummy(self) ? store_get(self) : NULL; /* a client of a node clears nothing */
	if (sh)
		UNLOCKED(mc_store_clear(sh->s, r, (unsigned)a[0].nr, a[1].text, 0); store_put(sh));
	if (r)
		out = cleared(a[0].list, r);
	PyMem_Free(r);
	args_drop(&sig, a);
	return out;
}

PyMethodDef store_replicas[] = {
	{ "get_replica_desc", CALL(get_replica_desc), FAST,
	  "get_replica_desc($self, /, key)\n--\n\nA ReplicaDescriptor for each copy of the object; "
	  "[] when it is missing. Grants a lease." },
	{ "batch_get_replica_desc", CALL(batch_get_replica_desc), FAST,
	  "batch_get_replica_desc($self, /, keys)\n--\n\nkey: list of ReplicaDescriptor, for the "
	  "keys that exist. Grants leases." },
	{ "batch_replica_clear", CALL(batch_replica_clear), FAST,
	  "batch_replica_clear($self, /, keys, segment_name='')\n--\n\nRemove objects that this "
	  "store has put and that nobody read lately; with a segment, their copies there.\nReturns "
	  "the keys of which something went." },
	{ NULL, NULL, 0, NULL },
};
