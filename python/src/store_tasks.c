/* SPDX-License-Identifier: Apache-2.0 */
/* Copy and move tasks. */
#include "store.h"

#include <mooncake/replicas.h>

static PyObject *uuid_tuple(const struct mc_uuid *id)
{
	return Py_BuildValue("(KK)", (unsigned long long)id->hi, (unsigned long long)id->lo);
}

/* (uuid, code) */
static PyObject *created(const struct mc_uuid *id, int ret)
{
	PyObject *uuid = uuid_tuple(id);

	return uuid ? Py_BuildValue("(NL)", uuid, (long long)mc_store_code(ret)) : NULL;
}

static PyObject *copy(PyObject *self, const struct mc_key *key, PyObject *list)
{
	Py_ssize_t nr = PyTuple_Size(list);
	const char **targets = PyMem_Calloc((size_t)nr + 1, sizeof(*targets));
	struct shared *sh = NULL;
	struct mc_uuid id = { 0, 0 };
	int ret = -EINVAL;

	if (!targets)
		return PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < nr; i++) {
		if (!arg_text(PyTuple_GetItem(list, i), "targets", &targets[i])) {
			PyMem_Free(targets);
			return NULL;
		}
	}
	sh = store_get(self);
	if (sh)
		UNLOCKED(ret = mc_store_copy(sh->s, key, targets, (unsigned)nr, 0, &id);
			 store_put(sh));
	PyMem_Free(targets);
	return created(&id, ret);
}

METHOD(create_copy_task)
{
	static const struct sig sig = {
		"create_copy_task", 2, 0, { { "key", ARG_KEY }, { "targets", ARG_LIST } }
	};
	struct arg a[2];
	PyObject *out;

	if (!TAKE(&sig, a))
		return NULL;
	out = copy(self, &a[0].key, a[1].list);
	args_drop(&sig, a);
	return out;
}

METHOD(create_move_task)
{
	static const struct sig sig = {
		"create_move_task",
		3,
		0,
		{ { "key", ARG_KEY }, { "source", ARG_TEXT }, { "target", ARG_TEXT } },
	};
	struct mc_uuid id = { 0, 0 };
	struct shared *sh;
	int ret = -EINVAL;
	struct arg a[3];

	if (!TAKE(&sig, a))
		return NULL;
	sh = store_get(self);
	if (sh)
		UNLOCKED(ret = mc_store_move(sh->s, &a[0].key, a[1].text, a[2].text, 0, &id);
			 store_put(sh));
	args_drop(&sig, a);
	return created(&id, ret);
}

/* A QueryTaskResponse, or None. */
static PyObject *response(struct core_state *st, const struct mc_task *t, int ret)
{
	PyObject *make, *id, *owner, *out = NULL;

	if (ret)
		return Py_NewRef(Py_None);
	make = core_type(st, "_task");
	id = make ? uuid_tuple(&t->id) : NULL;
	owner = id ? uuid_tuple(&t->assigned) : NULL;
	if (owner)
		out = PyObject_CallFunction(make, "OiiKKOs", id, t->type, t->status,
					    (unsigned long long)t->created_ms,
					    (unsigned long long)t->updated_ms, owner, t->message);
	Py_XDECREF(owner);
	Py_XDECREF(id);
	Py_XDECREF(make);
	return out;
}

METHOD(query_task)
{
	static const struct sig sig = { "query_task", 1, 0, { { "task_id", ARG_U64S } } };
	struct shared *sh;
	struct mc_uuid id;
	struct mc_task t;
	int ret = -EINVAL;
	struct arg a[1];
	PyObject *resp;

	if (!TAKE(&sig, a))
		return NULL;
	if (a[0].nr != 2) {
		PyErr_SetString(PyExc_TypeError,
				"incompatible function arguments: task_id must be a tuple of two ints");
		args_drop(&sig, a);
		return NULL;
	}
	id = (struct mc_uuid){ a[0].u64s[0], a[0].u64s[1] };
	args_drop(&sig, a);
	sh = store_get(self);
	if (sh)
		UNLOCKED(ret = mc_store_task(sh->s, &id, 0, &t); store_put(sh));
	resp = response(((struct store_obj *)self)->st, &t, ret);
	return resp ? Py_BuildValue("(NL)", resp, (long long)mc_store_code(ret)) : NULL;
}

PyMethodDef store_tasks[] = {
	{ "create_copy_task", CALL(create_copy_task), FAST,
	  "create_copy_task($self, /, key, targets)\n--\n\nHave the object copied into other "
	  "segments, by their names. While that runs it cannot be removed (-708).\nReturns ((hi, "
	  "lo), 0), the task to ask query_task() for; else ((0, 0), code): -600 no targets, or not "
	  "mounted; -704 missing;\n-1010 a target takes nothing now; -1 no source; -1401 too many "
	  "tasks wait." },
	{ "create_move_task", CALL(create_move_task), FAST,
	  "create_move_task($self, /, key, source, target)\n--\n\nThe same into one segment; the "
	  "source gives its copy up once the new one can be read.\nCodes as create_copy_task(), "
	  "-600 also when source has no copy or is the target." },
	{ "query_task", CALL(query_task), FAST,
	  "query_task($self, /, task_id)\n--\n\n(QueryTaskResponse, 0); (None, -1400) when the "
	  "task is unknown: never made, long over, or its master was restarted." },
	{ NULL, NULL, 0, NULL },
};
