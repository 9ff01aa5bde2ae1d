/* SPDX-License-Identifier: Apache-2.0 */
/* MooncakeDistributedStore: what its files share. */
#ifndef MC_PY_STORE_H
#define MC_PY_STORE_H

#include "core.h"
#include "gather.h"

#include <sys/types.h>

/*
 * An open store. Calls hold a reference while the interpreter lock is released; close() takes
 * the object's away.
 */
struct shared {
	struct mc_store *s;
	struct room *room;	   /* local_buffer_size */
	struct engine_ref *engine; /* given to setup(); stays open as long as the store is */
	_Atomic int refs;
	pid_t owner; /* a forked child leaves it alone */
};

struct store_obj {
	PyObject_HEAD
	struct core_state *st;
	struct shared *sh;	      /* NULL: not set up, or closed */
	struct store_obj *next, **at; /* of the module's list, while set up */
};

/*
 * A reference, or NULL without an exception. Take it when every argument is converted, since
 * conversions run Python code, which may close the store and wait for references. Give it back
 * before the interpreter lock is taken again: a daemon thread may never get it.
 */
struct shared *store_get(PyObject *self);
void store_put(struct shared *sh);

extern PyMethodDef store_life[], store_bytes[], store_zero[], store_ranges[],
	store_query[]; /* each ends with a NULL name */

#define FAST (METH_FASTCALL | METH_KEYWORDS)
#define METHOD(name)                                                                   \
	static PyObject *name(PyObject *self, PyObject *const *args, Py_ssize_t nargs, \
			      PyObject *kwnames)
#define CALL(f)	   ((PyCFunction)(void (*)(void))(f))

#define NOT_SET_UP (-600)

#endif
