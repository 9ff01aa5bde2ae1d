/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BufferPool: registered memory on loan.
 *
 *	pool.c		the pool and its memory
 *	pool_lease.c	a loan, and views of it
 */
#ifndef MC_PY_POOL_H
#define MC_PY_POOL_H

#include "core.h"

#include <stdatomic.h>

struct pool;

/*
 * One range of memory. It lives as long as a loan, a view or the pool's stock refers to it, so that
 * a view never looks at memory that is gone.
 */
struct block {
	void *mem;
	size_t bytes;
	_Atomic int refs, views;
	struct pool *pool;  /* a reference */
	struct block *next; /* in the pool's stock */
	bool in_room;	    /* counted against the store's local buffer */
};

void block_put(struct block *b); /* with the interpreter lock */

/* A loan of @size bytes comes back. */
void block_return(struct block *b, size_t size);

PyObject *lease_new(struct core_state *st, struct block *b,
		    size_t size); /* takes the reference, also when it fails */

#endif
