/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MooncakeDistributedStore: what its files share. Each has a table of methods; store.c makes one
 * of them, so another group of calls is another file and a line there.
 *
 *	store.c			the type, and references to what is open
 *	store_setup.c		setup(), in both forms
 *	store_dummy.c		setup_dummy(): the client of the node on this host
 *	store_life.c		close and its kin; store_stats.c: what it has done
 *	store_calls.c		the library's calls without the interpreter lock
 *	store_bytes.c		values that are Python objects
 *	store_zero.c		memory by address: registration, one object
 *	store_zero_batch.c	many objects
 *	store_ranges.c		fragments of objects
 *	store_session.c		objects in parts, layer by layer
 *	store_query.c		existence, sizes, removal
 *	store_replicas.c	where copies are, clearing them; store_tasks.c making them
 *	store_mount.c		memory that is contributed later
 *	store_tensor*.c, store_parallel.c: tensors (tensor.h)
 *	config.c, handle.c	ReplicateConfig, BufferHandle
 *	calls.c, calls_get.c	calls in the background, for mooncake.async_store
 */
#ifndef MC_PY_STORE_H
#define MC_PY_STORE_H

#include "core.h"
#include "gather.h"

#include <errno.h>
#include <semaphore.h>
#include <sys/types.h>

/*
 * An open store. Calls hold a reference while the interpreter lock is released; close() takes
 * the object's away and waits for the last one.
 */
struct shared {
	struct mc_store *s;
	struct room *room;	   /* local_buffer_size */
	struct engine_ref *engine; /* given to setup(); stays open as long as the store is */
	char *node;		   /* set up by setup_dummy(): the address of the node; else NULL */
	_Atomic int refs;
	sem_t out;   /* posted when the last reference goes */
	pid_t owner; /* a forked child leaves it alone */
};

struct store_obj {
	PyObject_HEAD struct core_state *st;
	struct guard guard;
	struct shared *sh;	      /* under @guard; NULL: not set up, or closed */
	struct store_obj *next, **at; /* of the module's list, while set up */
};

#define NOT_SET_UP   (-600)

#define TAKE(sig, a) args_take(((struct store_obj *)self)->st, sig, PASSED, a)

/* ---- store.c -------------------------------------------------------------------------------- */

/*
 * A reference, or NULL without an exception. Take it when every argument is converted, since
 * conversions run Python code, which may close the store and wait for references. Give it back
 * before the interpreter lock is taken again: a daemon thread may never get it.
 */
struct shared *store_get(PyObject *self); /* NULL: not set up */
void store_put(struct shared *sh);

/* Is it set up, at this moment? And how large may a value be that passes through the library's memory? */
bool store_is_open(PyObject *self);
bool store_limit(PyObject *self, uint64_t *bytes); /* false: not set up */

/* An open store with one reference; @engine is its from now on, also when this fails. */
int store_open(struct mc_store_opts *opts, struct engine_ref *engine, struct shared **out);

/*
 * Takes what is open away from @o and puts @sh, which may be NULL, in its place; closes the old
 * one.
 */
void store_replace(struct store_obj *o, struct shared *sh);
/* @engine: a reference, passed on, or NULL. @node: of setup_dummy(), or NULL. Gives setup()'s result. */
PyObject *store_run_setup(struct store_obj *o, struct mc_store_opts *opts, struct engine_ref *engine, const char *node);

/* Was @self set up by setup_dummy()? Calls then have the results that clients of a node know. */
bool store_is_dummy(PyObject *self);
int store_hook_exit(struct core_state *st); /* open stores are closed when the interpreter ends */

extern PyMethodDef store_setup[], store_dummy[], store_stats[], store_life[], store_bytes[], store_zero[], store_zero_batch[],
	store_ranges[], store_session[], store_query[], store_replicas[], store_tasks[], store_mount[], store_tensor[], store_tensor_tp[],
	store_parallel[]; /* each ends with a NULL name */

/* ---- store_calls.c -------------------------------------------------------------------------- */

/*
 * Each runs on @self's open store and fills the items' results; callers set them to -EINVAL before.
 * False: not set up, nothing was done.
 */
bool run_put(PyObject *self, struct mc_put *p, Py_ssize_t nr, const struct mc_put_opts *o);
bool run_get(PyObject *self, struct mc_get *g, Py_ssize_t nr);
bool run_exists(PyObject *self, struct mc_query *q, Py_ssize_t nr);
bool run_size(PyObject *self, struct mc_query *q, Py_ssize_t nr);
bool run_remove(PyObject *self, struct mc_remove *r, Py_ssize_t nr, bool force);

/*
 * Stores one object. @limit: a value that passes through the library's memory may not be larger
 * than local_buffer_size. No bytes at all give @none. Return: 0 or a code.
 */
long put_object(PyObject *self, const struct mc_put *p, struct put_config *cfg, uint32_t flags,
		bool limit, long none);

/* May @bytes pass through the library's memory? Without memory for more than @most: no, and last_error() says so. */
bool bytes_fit(uint64_t bytes, uint64_t most);

/* Bytes of @iov; UINT64_MAX when a piece is nowhere, or they are more than can be. */
uint64_t pieces_bytes(const struct mc_iov *iov, unsigned nr);
/* May a call by address use them? False: the store is a node's, and they are not registered. Of a store that is not set up: yes. */
bool pieces_usable(PyObject *self, const struct mc_iov *iov, unsigned nr);

/* An item of @type for each of @named, an ARG_KEYS, not done yet; PyMem memory, or NULL with an exception. */
#define ITEMS_OF(type, named)                                                          \
	({                                                                            \
		const struct arg *keys_ = (named);                                     \
		type *items_ = PyMem_Calloc((size_t)keys_->nr + 1, sizeof(*items_));  \
                                                                                      \
		for (Py_ssize_t i_ = 0; items_ && i_ < keys_->nr; i_++)               \
			items_[i_] = (type){ .key = keys_->keys[i_], .result = -EINVAL }; \
		if (!items_)                                                          \
			PyErr_NoMemory();                                             \
		items_;                                                               \
	})

static inline struct mc_iov piece(uint64_t addr, uint64_t len)
{
	return (struct mc_iov){ (void *)(uintptr_t)addr, len };
}

/* ---- store_dummy.c -------------------------------------------------------------------------- */

/* Is [@addr, @addr + @len) all of some memory that can be shared with a node? Only such may be registered after setup_dummy(). */
bool dummy_memory(uint64_t addr, uint64_t len);

#endif
