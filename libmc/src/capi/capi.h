/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upstream's C interface (transfer_engine_c.h) on top of <mooncake/engine.h>, and of nothing else.
 *
 *	handles.c	what callers hold: numbers, so that a stale one is seen
 *	engine.c	engines: made, destroyed, asked
 *	memory.c	registered memory
 *	segment.c	peers by name
 *	batch.c		requests, and the messages that follow them
 *	notify.c	messages
 *
 * An object lives until its last reference goes: a batch keeps its engine and its requests' segments, a segment its engine.
 */
#ifndef MC_CAPI_H
#define MC_CAPI_H

#include <errno.h>
#include <mooncake/compat.h>
#include <mooncake/engine.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <transfer_engine_c.h>

#define INVALID_ARGUMENT mc_engine_code(-EINVAL)

/* ---- handles.c ----------------------------------------------------------------------------------------------------------- */

struct object {
	_Atomic unsigned refs;
	void (*fini)(struct object *o); /* the last reference is gone: frees it */
	uint64_t id;			/* in its table */
};
void object_init(struct object *o, void (*fini)(struct object *o)); /* with one reference */
void object_put(struct object *o);				     /* NULL is fine */

struct slot {
	struct object *object; /* NULL: free */
	uint64_t gen;	       /* of the id, for this slot's present or next object */
};
struct table {
	pthread_rwlock_t lock;
	uint64_t gen_mask; /* so many generations until an id comes again */
	struct slot *slot;
	uint32_t nr, cap, free_from; /* below @free_from none is free */
	bool closed;
};
#define TABLE_INIT(mask) ((struct table){ .lock = PTHREAD_RWLOCK_INITIALIZER, .gen_mask = (mask) })
#define GEN_ANY	   0xfffffffffffull
#define GEN_SHORT  0x7ffull /* ids are positive numbers of 32 bits */

void table_drop(struct table *t); /* all that is in it; nothing more gets in */
void table_fini(struct table *t);
int table_add(struct table *t, struct object *o); /* takes the caller's reference, sets @o->id; -ENOMEM, -ESHUTDOWN */
struct object *table_get(struct table *t, uint64_t id);	 /* a reference, or NULL */
struct object *table_take(struct table *t, uint64_t id); /* the table's reference: the id is no more */
struct object *table_next(struct table *t, uint32_t *at); /* from place @at on, which moves: a reference, NULL at the end */
/* The first that @match: a reference, with @take the table's. */
struct object *table_find(struct table *t, bool (*match)(struct object *o, const void *arg), const void *arg, bool take);

/* ---- engine.c ------------------------------------------------------------------------------------------------------------ */

struct local_range { /* registered for nobody else */
	void *addr;
	size_t len;
};

struct te {
	struct object object;
	struct mc_engine *engine;
	char host[256];
	bool p2p;
	_Atomic bool graceful;
	uint64_t timeout_ms; /* of transfers */
	struct table segments, batches;

	pthread_mutex_t lock; /* guards what follows */
	struct local_range *range;
	size_t nr_ranges;
};

struct te *te_get(transfer_engine_t handle); /* a reference, or NULL */
void te_put(struct te *te);
uint64_t te_deadline(const struct te *te); /* of a transfer that starts now */
uint64_t te_talk_deadline(void);	    /* of a question to a peer or to the metadata service */

/* ---- segment.c ----------------------------------------------------------------------------------------------------------- */

struct seg {
	struct object object;
	struct te *te;
	struct mc_segment *segment;
	unsigned opens; /* under te->lock */
	char name[];
};
/* LOCAL_SEGMENT too. Return: a reference through @out; 0 or a negative errno. */
int seg_get(struct te *te, uint64_t id, struct seg **out);
void seg_put(struct seg *s);

/* ---- notify.c ------------------------------------------------------------------------------------------------------------ */

int notify_send(struct seg *to, const notify_msg_t *m); /* a code */

#endif
