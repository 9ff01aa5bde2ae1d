/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master as a process: workers that each own a loop and the connections spread over them, on one index and one table of
 * pools that all of them share.
 *
 *	main.c		options, listen, ready, loop, stop
 *	settings.c	the table of flags
 *	server.c	workers, connections, dispatch, HELLO
 *	owners.c	what owners say: join, stat, publish, withdraw
 *	clients.c	what clients ask: exists, locate, pools, list, remove
 *	drops.c		asking owners to drop objects, and waiting for all of them
 *	removal.c	removing what matches, in slices
 *	tasks_ask.c	copy and move tasks: asked for, tasks_run.c carried out
 *	pattern.c	regular expressions from strangers
 *	status.c	JSON for people and tools
 *	admin*.c	HTTP
 *	objects*.c table.c pools.c tasks.c	the state
 */
#ifndef MC_MASTER_H
#define MC_MASTER_H

#include <inttypes.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/loop.h"
#include "meta_server.h"
#include "net/net.h"
#include "objects.h"
#include "pools.h"
#include "proto/proto.h"
#include "settings.h"
#include "svc.h"
#include "tasks.h"

#define DROP_PATIENCE_NS NSEC_PER_SEC /* an owner silent for longer is suspect */
#define WORKERS_MAX 64

/* Counted per worker, summed when somebody looks. */
enum counter {
	CNT_EXIST, CNT_EXIST_BATCH, CNT_EXIST_ITEMS, CNT_EXIST_MISSED,
	CNT_GET, CNT_GET_BATCH, CNT_GET_ITEMS, CNT_GET_MISSED,
	CNT_PUBLISH, CNT_PUBLISH_ITEMS, CNT_PUBLISH_REFUSED,
	CNT_WITHDRAW_ITEMS,
	CNT_REMOVE, CNT_REMOVE_ITEMS, CNT_REMOVE_REFUSED,
	CNT_MATCH, CNT_MATCH_REMOVED,
	CNT_LIST, CNT_POOLS, CNT_JOIN, CNT_LEAVE, CNT_STAT,
	CNT_BAD, /* messages that were refused */
	CNT_NR,
};

struct master;

struct worker {
	struct master *m;
	unsigned index;
	struct loop *loop;
	struct list peers;
	struct peer *owners[POOLS_MAX]; /* by pool index: connections of this worker that joined */
	bool stopping;

	/* One message at a time is worked on, so one of each will do. */
	struct scratch scratch;
	struct buf out;
	uint8_t found[BATCH_MAX];
	int32_t status[BATCH_MAX];

	_Atomic uint64_t counters[CNT_NR]; /* written by this worker alone */
	atomic_uint nr_conns;		    /* the accepting thread adds, this worker subtracts */
	atomic_uint nr_peers[ROLE_ENGINE + 1];
};

struct peer {
	struct list node;
	struct worker *w;
	struct conn *conn;
	bool greeted, joined;
	bool synced; /* joined, and told us all that it has */
	uint8_t role;
	uint16_t version; /* that both speak */
	char name[64]; /* for the log */
	struct pool_life life;
};

struct master {
	struct svc svc;
	struct settings set;
	uint8_t id[16];
	uint64_t started_ns;
	struct objects *ix;
	struct pools *pools;
	struct tasks *tasks;
	struct worker *workers;
	unsigned nr_workers;
	atomic_uint next_worker;
	atomic_uint ops; /* drops, removals and tasks under way */
	atomic_uint emptying; /* removals of everything: no task begins */
	uint16_t port, http_port;

	struct listener *tcp, *local;
	struct http_server *admin;
	struct meta_server *meta; /* NULL: not asked for */
	uint16_t meta_port;
	struct loop_timer tick, purge, drain, report;
	uint64_t reported; /* requests at the last summary */
	uint64_t stop_at_ns;
};

static inline void count(struct worker *w, enum counter c, uint64_t n)
{
	/* One writer, so no locked instruction. */
	uint64_t v = atomic_load_explicit(&w->counters[c], memory_order_relaxed);

	atomic_store_explicit(&w->counters[c], v + n, memory_order_relaxed);
}

uint64_t counted(const struct master *m, enum counter c);
unsigned peers_of_role(const struct master *m, enum proto_role role);

/* ---- server.c ---------------------------------------------------------------------------------------------------- */

int workers_open(struct master *m, unsigned nr);
void workers_adopt(struct master *m, int fd); /* a new connection, for one of the workers */
void workers_drain(struct master *m);	      /* no new requests; connections close as replies leave */
bool workers_idle(const struct master *m);    /* all connections are gone */
void workers_cut(struct master *m);	      /* connections close now */
void workers_close(struct master *m);	      /* once idle: ends the threads */

/*
 * A handler answers at once or later and returns 0, or returns a negative errno for the answer. Messages that proto.h calls one way
 * get no answer.
 */
typedef int (*handler)(struct peer *p, struct conn_req *r);

void reply_out(struct worker *w, struct conn_req *r); /* w->out is the body */

/* owners.c */
int on_join(struct peer *p, struct conn_req *r);
int on_stat(struct peer *p, struct conn_req *r);
int on_synced(struct peer *p, struct conn_req *r);
int on_leave(struct peer *p, struct conn_req *r);
int on_publish(struct peer *p, struct conn_req *r);
int on_withdraw(struct peer *p, struct conn_req *r);
int on_stored(struct peer *p, struct conn_req *r);
void owner_gone(struct peer *p, bool leave);
void owner_expired(void *arg, const struct pool_life *l); /* main thread: pools_tick()'s callback */

/* clients.c */
int on_exists(struct peer *p, struct conn_req *r);
int on_locate(struct peer *p, struct conn_req *r);
int on_pools(struct peer *p, struct conn_req *r);
int on_list(struct peer *p, struct conn_req *r);
int on_remove(struct peer *p, struct conn_req *r);
int on_clear(struct peer *p, struct conn_req *r);
int on_remove_match(struct peer *p, struct conn_req *r);
int on_status(struct peer *p, struct conn_req *r);

/* tasks_ask.c */
int on_task_create(struct peer *p, struct conn_req *r);
int on_task_query(struct peer *p, struct conn_req *r);

/* A replica whose owner can be asked, of this pool unless it is 0: into @s. False: there is none. */
bool task_source(struct master *m, const struct located *at, uint32_t pool, struct task_spec *s);

/* tasks_run.c */
struct times task_times(void);
void tasks_kick(struct master *m, uint32_t pool); /* begins what waits for this pool's owner; any thread */
void tasks_housekeeping(struct master *m);

/* ---- drops.c ----------------------------------------------------------------------------------------------------- */

/*
 * Asks the holders of replicas to drop them: one message per pool, all at once. Made, used and finished on one worker's thread.
 * A pool that is gone has dropped everything; one that is silent for DROP_PATIENCE_NS is suspect and counted as dropped.
 */
struct drops;

struct drops *drops_new(struct worker *w, bool force, void (*done)(void *arg, struct drops *d), void *arg); /* NULL: no memory */

/* @key's bytes stay until done(). @tag is given back. -ENOMEM. */
int drops_add(struct drops *d, const struct holder *h, const struct key *key, uint32_t tag);

/* Without anything added done() is called at once. @d is gone when done() has returned. */
void drops_send(struct drops *d);
void drops_cancel(struct drops *d); /* instead of sending */

/*
 * Within done(): every replica with its owner's answer. DROP_UNHEARD: it did not say. That counts as dropped, but must be
 * remembered (objects_bury()).
 */
#define DROP_UNHEARD 1
void drops_each(struct drops *d, void (*fn)(void *arg, uint32_t tag, const struct holder *h, const struct key *key, int status),
		void *arg);

/* ---- removal.c --------------------------------------------------------------------------------------------------- */

struct removal_opts {
	bool force, all_tenants;
	struct key tenant;  /* copied */
	struct key pattern; /* searched in the key; empty: all */
	void (*done)(void *arg, int status, uint64_t removed); /* on the worker's thread, once */
	void *arg;
};

/* On @w's thread. -EINVAL pattern; -ENOMEM. Then done() was not and will not be called. */
int removal_start(struct worker *w, const struct removal_opts *o);

/* ---- status.c, admin*.c ------------------------------------------------------------------------------------------ */

int status_json(struct master *m, struct buf *out);
const char *pool_state_name(const struct pool *p);

void summary_text(struct master *m, struct buf *out); /* one line, for the log too */

int admin_open(struct master *m); /* -EADDRINUSE after a message */
void admin_close(struct master *m); /* requests under way are finished */

#endif
