/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TransferEngine: what its files share. Each has a table of methods; engine.c makes one of them.
 *
 *	engine.c		the type, its life, references to what is open
 *	engine_peers.c		what peers are asked and told
 *	engine_memory.c		memory that peers may reach; managed.c: the engine's own
 *	transfer.c		moving bytes at once
 *	transfer_async.c	in the background
 */
#ifndef MC_PY_ENGINE_H
#define MC_PY_ENGINE_H

#include "core.h"
#include "gather.h"

#include <errno.h>
#include <pthread.h>

/*
 * An open engine; TransferEngine, what get_engine() returned, stores, and running calls hold
 * references.
 */
struct engine_ref {
	struct mc_engine *eng;
	_Atomic int refs;
	struct managed *managed;
	struct open_peer *peers; /* segments by name, opened once */
	pthread_mutex_t cq_lock; /* guards the next, and batches that come out of it */
	struct mc_cq *cq;	 /* of batches in the background, once somebody wants a descriptor */
};

struct engine_obj {
	PyObject_HEAD struct core_state *st;
	struct guard guard;	 /* for the next three, and how the batches are used */
	struct engine_ref *ref;	 /* NULL before initialize() */
	struct pending *pending; /* asynchronous batches not collected yet */
	uint64_t next_id;
	uint64_t timeout_ns;
};

struct inner_obj {
	PyObject_HEAD struct engine_ref *ref;
};

struct engine_ref *engine_get(PyObject *self); /* a reference, or NULL without an exception */

/* The peer called @name, open. Call without the interpreter lock. 0 or a negative errno. */
int engine_peer(struct engine_ref *r, const char *name, uint64_t deadline_ns,
		struct mc_segment **out);

/* managed.c: buffers in size classes, registered as long as the engine lives. */
int managed_open(struct engine_ref *r);
void managed_close(struct engine_ref *r);
void *managed_get(struct engine_ref *r, uint64_t len); /* NULL: no memory */
void managed_put(struct engine_ref *r, void *addr, uint64_t len);

void pending_drop_all(struct engine_obj *o); /* transfer_async.c; cancels */

extern PyMethodDef engine_life[], engine_peers[], engine_memory[], engine_transfer[],
	engine_transfer_async[]; /* each ends with a NULL name */

PyObject *engine_result(int ret); /* the number callers expect for 0 or a negative errno */

/* What @call gives, without the interpreter lock, for @self's open engine @r; -EINVAL before initialize(). */
#define ON_ENGINE(self, r, call)                                          \
	({                                                                \
		struct engine_ref *r = engine_get(self);                  \
		int ret_ = -EINVAL;                                       \
									  \
		if (r)                                                    \
			UNLOCKED(ret_ = (call); engine_put(r));           \
		ret_;                                                     \
	})

#define TAKE(sig, a) args_take(((struct engine_obj *)self)->st, sig, PASSED, a)

#endif
