/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pools there are, who serves them, and since when nothing was heard of them. Time is an argument.
 *
 *	        join                 silence or end of the stream          client_ttl
 *	 (none) ────► ONLINE ──────────────────────────────────► LOST ────────────────► (none)
 *	               │  ▲ answers again                          │ joins: the same index, another slot
 *	      no answer└► SUSPECT                                  └────► ONLINE
 *	  or a short silence
 *
 * Only ONLINE pools are shown to clients; their slot is live. The slot of a life that ended is *retired*: after a while
 * pools_purge() forgets its replicas in steps. Only whoever publishes into a slot may retire it, so nothing is published later.
 *
 * Thread-safe. Lock order: pools, then the index.
 */
#ifndef MC_MASTER_POOLS_H
#define MC_MASTER_POOLS_H

#include "base/base.h"
#include "base/buf.h"
#include "objects.h"
#include "proto/proto.h"

struct pools;

enum pool_state { POOL_ONLINE = 1, POOL_SUSPECT, POOL_LOST };

struct pool {
	struct pool_info info; /* texts are owned; info.index is the name in locations */
	enum pool_state state;
	bool silent; /* that is why it is suspect: any message ends it */
	bool synced;
	uint16_t slot;
	unsigned worker; /* who serves its owner's connection */
	uint64_t joined_ns, heard_ns, lost_ns;
	struct msg_pool_stat stat;
};

struct pools_opts {
	uint64_t ttl_ns;    /* silence after which a pool is lost, and time until a lost one is forgotten */
	uint64_t quiet_ns;  /* silence after which it is suspect: owners say something every second; 0: never */
	uint64_t settle_ns; /* a fresh master waits this long for pools */
};

int pools_open(const struct pools_opts *o, struct objects *ix, uint64_t now, struct pools **out);
void pools_close(struct pools *ps);

/* ---- owners ------------------------------------------------------------------------------------------------------ */

/* A life of a pool, as its connection knows it. */
struct pool_life {
	uint32_t index;
	uint16_t slot;
	unsigned worker;
};

/*
 * @life->worker is the caller's; the rest is the new life. A known pool keeps its index, and what it had is invisible at once.
 * @old is its former life when that has not ended by itself (old->slot differs from life->slot), for the caller to end.
 * Return: 1 with @old; 0; -EINVAL no id, no regions, or ranges that wrap; -ESTALE a newer incarnation is here; -ENOSPC; -ENOMEM.
 */
int pools_join(struct pools *ps, const struct pool_info *in, uint64_t now, struct pool_life *life, struct pool_life *old);
void pools_heard(struct pools *ps, const struct pool_life *l, const struct msg_pool_stat *st, uint64_t now);
void pools_synced(struct pools *ps, const struct pool_life *l);

/* The stream ended, orderly (@leave: forgotten now) or not. Retires the slot. */
void pools_ended(struct pools *ps, const struct pool_life *l, bool leave, uint64_t now);

/* All it published so far is gone: life goes on in an empty slot, l->slot. -ENOSPC, -ENOMEM. */
int pools_emptied(struct pools *ps, struct pool_life *l, const struct msg_dropped *d, uint64_t now);

/* Everything was removed: pools that are away must not bring their part back. @all_tenants: that of other tenants too. */
void pools_bury(struct pools *ps, bool all_tenants);

/* It does not answer, or answers again. */
void pools_suspect(struct pools *ps, uint32_t index, bool suspect);

/* ---- housekeeping ------------------------------------------------------------------------------------------------ */

/* Lives silent for too long are LOST now and reported to @expired (called without the lock), which ends their streams. */
void pools_tick(struct pools *ps, uint64_t now, void (*expired)(void *arg, const struct pool_life *l), void *arg);

/* Forgets up to @max replicas of retired slots that are due. Return: is there more to do now? */
bool pools_purge(struct pools *ps, uint64_t now, unsigned max);

/* ---- everybody --------------------------------------------------------------------------------------------------- */

uint32_t pools_view(const struct pools *ps);
bool pools_ready(struct pools *ps, uint64_t now);
bool pools_id(struct pools *ps, uint32_t index, uint8_t out[16]); /* false: there is none */

/* How the owner of a pool that takes objects is reached. False: there is none, or it takes none. */
struct pool_address {
	uint8_t id[16], node[16];
	char unix_path[TEXT_MAX + 1], addr[TEXT_MAX + 1];
};
bool pools_address(struct pools *ps, uint32_t index, struct pool_address *out);
bool pools_life(struct pools *ps, uint32_t index, struct pool_life *out); /* false: not online, nobody to ask */
void pools_encode(struct pools *ps, struct buf *out); /* msg_pools */

/* Every pool, lost ones too, by index. @fn runs under the lock. */
void pools_each(struct pools *ps, void (*fn)(void *arg, const struct pool *p), void *arg);

#endif
