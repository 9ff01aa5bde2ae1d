/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of Calls share: the queue of an event loop, and one call in it. */
#ifndef MC_PY_CALLS_H
#define MC_PY_CALLS_H

#include "store.h"

#include <mooncake/async.h>

struct calls {
	PyObject_HEAD struct core_state *st;
	struct guard guard;
	struct mc_async *queue; /* NULL: closed. Set under both this guard and the lists', looked at under either */
	struct calls *next, **at; /* of the module's list, while open */
};

/* One call. While the queue has it, it has a reference to this. */
struct call {
	PyObject_HEAD struct mc_job job;
	PyObject *f;	  /* called without arguments; NULL: a get */
	PyObject *future; /* whoever waits; the caller's business */
	PyObject *value;  /* what it returned, or the exception */
	char failed, ended;
	char error[256]; /* what the library said when it failed; "" */

	PyObject *key;	     /* a get: of this, which keeps @name */
	struct mc_key name;
	struct mc_async *queue;
	struct shared *sh; /* a reference until it has ended */
	void *mem;	     /* the value's bytes, by malloc */
	int64_t len;	     /* of them, or a negative errno */
};

static inline struct call *call_of(struct mc_job *job)
{
	return (struct call *)((char *)job - offsetof(struct call, job));
}

struct call *call_new(struct calls *q, PyObject *future); /* NULL with an exception */
PyObject *call_submit(struct calls *q, struct call *c);	  /* steals @c */

/* calls_get.c */
PyObject *calls_submit_get(PyObject *self, PyObject *args);
void get_end(struct call *c);  /* collected: makes its value */
void get_drop(struct call *c); /* what a get holds that did not run, or is not wanted */

#endif
