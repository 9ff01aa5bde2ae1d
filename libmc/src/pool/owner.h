/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An owner: the one thread that allocates in a pool, publishes to the master and serves the pool's clients. mooncake-node
 * runs one as a daemon; a store client that contributes memory runs one as a thread.
 *
 *	 clients on this node ── Unix socket ──┐                    ┌── TCP ── master (join, publish, withdraw; drops come back)
 *	 clients elsewhere ──────── TCP ───────┴── owner thread ────┘
 *
 * While the master is away reads go on, commits and puts end with -ENOTCONN; it is looked for until the owner is closed, and
 * told everything again when it is found.
 */
#ifndef MC_OWNER_H
#define MC_OWNER_H

#include <sys/types.h>

#include "base/base.h"
#include "pool/pool.h"

struct owner;
struct mux;

/* Limits; what is over one is refused with the code named. */
#define OWNER_CLIENTS_MAX 4096		/* connections and processes still holding space; more: closed at once */
#define OWNER_REQUESTS_MAX 256		/* unanswered requests of one client; more: its socket is not read */
#define OWNER_PENDING_MAX (1u << 20)	/* objects waiting for the master's word; more: -EAGAIN */
#define OWNER_PUBLISH_NS (5 * 1000000000ull) /* how long a commit or put may wait for the master: -ENOTCONN */
#define OWNER_RETURN_NS 1000000000ull /* how long a closing owner waits for granted space; idle clients may notice later */
#define OWNER_LEASE_NS (10 * 1000000000ull) /* until a master says otherwise */

struct owner_opts {
	struct pool *pool;	/* taken over on success; NULL: made from @pool_opts */
	struct pool_opts pool_opts;
	const char *master;	/* "host:port", "unix:/path" */
	const char *segment;	/* engine segment name that reaches the regions from other nodes; may be NULL */
	const char *metadata;	/* told to who asks, for clients of this machine; NULL: nothing to tell */
	const char *unix_path;	/* "unix:…"; NULL: an abstract name from the pool id */
	const char *listen;	/* "host:port" for other nodes; NULL: this node only; port 0: any */
	const char *advertise;	/* "host:port" told to others; NULL: what was bound */
	unsigned refill_batch;	/* items per PUBLISH when refilling; 0: 1024 */
	uint64_t announce_ns;	/* how long the bytes of an announced object may take, and 20 ms more for each MiB; 0: 100 ms */
	uint64_t put_idle_ns;	/* of a payload in which no byte moves for so long the stream ends; 0: 10 s */
	int ledger_fd;		/* from owner_ledger_create(), maybe of an earlier owner of @pool; stays the caller's; 0: none */
	bool apart;		/* the memory cannot be mapped by others: clients on this machine reach it as those elsewhere do */
	gid_t group;		/* members may use the Unix socket, beside this user and root; 0: nobody else */
};

/*
 * Memory in which an owner notes who holds which granted space. Kept beside the pool's own descriptors, it lets the next owner
 * leave alone what processes that still live may be writing to.
 */
int owner_ledger_create(int *fd);
int owner_ledger_region(unsigned flags, struct region *out); /* the same as a region, made with @flags; kept.c names it */

/*
 * Starts the thread. Does not wait for the master: owner_joined() does. Resolves @listen, so it may block as long as the resolver
 * does. -EINVAL: an address; -EADDRINUSE: another process listens there; pool_create()'s errors.
 */
int owner_open(const struct owner_opts *o, struct owner **out);

/*
 * Orderly end: no new work; what is under way is finished until the deadline; clients see view_dead() and the end of the
 * stream, and those with granted space have a second to return it; the master is told. Then everything is freed, the pool too.
 * Return: 0; -EBUSY: a process that still lives kept granted space: without a ledger the memory must not be adopted.
 */
int owner_close(struct owner *ow, uint64_t deadline_ns);

/* The same; @last runs when the master knows and no client is left, and before the memory goes: to take it from an engine. */
int owner_close_then(struct owner *ow, uint64_t deadline_ns, void (*last)(void *arg), void *arg);

/* Waits until the master knows this pool and all its objects. -ETIMEDOUT; -EPROTO version; -ECONNREFUSED at the deadline. */
int owner_joined(struct owner *ow, uint64_t deadline_ns);

/* Within @last: every object goes, for those too who still have the memory mapped. Not for a pool that the next owner adopts. */
void owner_empty(struct owner *ow);

const struct pool_view *owner_view(const struct owner *ow); /* for a store in the same process: no attach needed */
const char *owner_unix_path(const struct owner *ow);
const char *owner_addr(const struct owner *ow); /* what is told to others; "" when this node only */
void owner_pool_id(const struct owner *ow, uint8_t out[16]);
void owner_stat(struct owner *ow, struct pool_stat *out); /* any thread */
int owner_status_json(struct owner *ow, struct buf *out);  /* any thread; one JSON object, no newline */

/*
 * The pool's memory was taken away with REGION_REVOKE: the master was told that this pool left, grants and puts are
 * refused, and what clients find reads as nothing. All that is left to do is to close. Noticed within a second or two.
 */
bool owner_revoked(struct owner *ow);

/* Refuses grants and puts with -ESHUTDOWN, keeps serving reads and commits of space granted before: SIGTERM's first half. */
void owner_drain(struct owner *ow);

/* ---- the other side: who calls an owner or a master on a stream of its own (greet.c) ---- */

struct greeting {
	enum proto_role role;
	const uint8_t *id, *node; /* 16 bytes each */
	const char *name;	  /* what logs there should call us */
};
/* Says HELLO on a fresh stream. @peer is for our log. -EPROTO: no common version; as mux_call(). */
int greet(struct mux *m, const struct greeting *g, const char *peer, uint64_t deadline_ns, struct msg_hello_reply *out);

#endif
