/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An owner: the one thread that allocates in a pool, publishes to the master and serves the pool's clients. mooncake-node
 * runs one as a daemon; a store client that contributes memory runs one as a thread.
 *
 *	 clients on this node ── Unix socket ──┐                    ┌── TCP ── master (join, publish, withdraw; drops come back)
 *	 clients elsewhere ──────── TCP ───────┴── owner thread ────┘
 */
#ifndef MC_OWNER_H
#define MC_OWNER_H

#include "base/base.h"
#include "pool/pool.h"

struct owner;

struct owner_opts {
	struct pool *pool;	/* taken over; NULL: made from @pool_opts */
	struct pool_opts pool_opts;
	const char *master;	/* "host:port", "unix:/path" */
	const char *segment;	/* engine segment name that reaches the regions from other nodes; may be NULL at first */
	const char *unix_path;	/* "unix:…"; NULL: an abstract name from the pool id */
	const char *listen;	/* "host:port" for other nodes; NULL: this node only; port 0: any */
	const char *advertise;	/* "host:port" told to others; NULL: what was bound */
	unsigned refill_batch;	/* items per PUBLISH when refilling; 0: 4096 */
};

/* Starts the thread. Does not wait for the master: owner_joined() does. */
int owner_open(const struct owner_opts *o, struct owner **out);

/*
 * Orderly end: no new work, grants outstanding with live clients are waited for until the deadline, the master is told,
 * clients see pool_view dead. Then everything is freed.
 */
void owner_close(struct owner *ow, uint64_t deadline_ns);

/* Waits until the master knows this pool and all its objects. -ETIMEDOUT; -EPROTO version; -ECONNREFUSED at the deadline. */
int owner_joined(struct owner *ow, uint64_t deadline_ns);

const struct pool_view *owner_view(const struct owner *ow); /* for a store in the same process: no attach needed */
const char *owner_unix_path(const struct owner *ow);
const char *owner_addr(const struct owner *ow); /* what is told to others; "" when this node only */
void owner_pool_id(const struct owner *ow, uint8_t out[16]);
void owner_stat(struct owner *ow, struct pool_stat *out); /* any thread */
int owner_status_json(struct owner *ow, struct buf *out);  /* any thread */

/* Refuses puts, keeps serving reads: SIGTERM's first half. */
void owner_drain(struct owner *ow);

#endif
