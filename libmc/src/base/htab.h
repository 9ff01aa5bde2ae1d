/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive hash table: chains, grows by doubling. The caller hashes (siphash64 for keys from outside) and compares. */
#ifndef MC_HTAB_H
#define MC_HTAB_H

#include "base/base.h"

struct hnode {
	struct hnode *next;
	uint64_t hash;
};

struct htab {
	struct hnode **slots;
	size_t nr_slots; /* power of two, or 0 before the first insertion */
	size_t count;
};

#define HTAB_INIT ((struct htab){ 0 })

void htab_fini(struct htab *t); /* frees the slots; the nodes are the caller's */

/* -ENOMEM only when the table has no slots yet; later growth that fails only makes chains longer. */
int htab_add(struct htab *t, struct hnode *n, uint64_t hash);
void htab_del(struct htab *t, struct hnode *n);

/* The first node of the chain with @hash, then the following ones; the caller compares the keys. */
struct hnode *htab_first(const struct htab *t, uint64_t hash);
struct hnode *htab_next(const struct hnode *n);

/* Calls @fn for every node; @fn may delete that node (and only that one). A non-zero result stops and is returned. */
int htab_walk(struct htab *t, int (*fn)(struct hnode *n, void *arg), void *arg);

#endif
