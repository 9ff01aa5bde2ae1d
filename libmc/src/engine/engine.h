/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's insides.
 *
 *	engine.c	open and close, what this process publishes about itself
 *	address.c	names, the address to listen on and the one to tell others
 *	region.c	memory that peers may reach
 *	segment.c	peers by name, and the ways to each
 *	batch.c		requests: from the caller's form to the transports'
 *	slice.c		background batches: so much at a time
 *	drive.c		moving batches on until each request has ended
 *	driver.c	the same by a thread of the engine's, for batches with a completion queue
 *	cq.c		completion queues
 *	check.c		is the peer another process by now? asked where nobody waits for the answer
 *	notify.c	messages, probes, and what peers ask on the handshake port
 *	pairs.c		queue pairs: what a transport here and one there say to join them
 *	topology.c	this machine's locations as upstream writes them
 *
 * Locks, in this order: mc_batch.turn, driver.lock, mc_segment.lock, mc_engine.seg_lock,
 * .region_lock, .desc_lock, .notify_lock, .background.lock.
 */
#ifndef MC_ENGINE_PRIVATE_H
#define MC_ENGINE_PRIVATE_H

#include <mooncake/engine.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/env.h"
#include "base/list.h"
#include "base/loop.h"
#include "meta/meta.h"
#include "proto/proto.h"
#include "transport/transport.h"
#include "base/turn.h"

#define ENGINE_TRANSPORTS_MAX 4
#define ENGINE_VECS_MAX	      DATA_VECS_MAX /* of one request */
#define MC_REQUEST_FLAGS      MC_REQUEST_CRC
#define ENGINE_OPEN_NS	      (10 * NSEC_PER_SEC)
#define ENGINE_META_NS	      (10 * NSEC_PER_SEC) /* publishing, where the caller has no deadline */
#define ENGINE_WITHDRAW_NS    (3 * NSEC_PER_SEC) /* closing is not held up by a dead service */
#define ENGINE_TIMEOUT_NS     (30 * NSEC_PER_SEC) /* of a caller who names none */
#define ENGINE_TIMEOUT_MIN_NS (5 * NSEC_PER_SEC)
/* Longer than anybody waits, and far from where sums with it would wrap. */
#define ENGINE_TIMEOUT_MAX_NS (365 * 24 * 3600 * NSEC_PER_SEC)
#define ENGINE_NOTIFIES_MAX   65536
#define ENGINE_NAME_MAX	      256 /* of a segment, and of a device */

/* Where to listen, and what to tell others. */
struct address {
	char name[ENGINE_NAME_MAX];	 /* of the segment */
	char bind[ENGINE_NAME_MAX];	 /* to listen on */
	char advertise[ENGINE_NAME_MAX]; /* the host peers connect to */
	uint16_t min_port, max_port;
	uint16_t rpc_port; /* to listen on for handshakes; 0: any of these */
};
int address_find(const struct mc_engine_opts *o, const struct env *env, bool p2p,
		 struct address *out);
/* P2P: the name is where this process listens. */
int address_name_with_port(struct address *a, uint16_t port);

struct notify_msg {
	struct list node;
	struct notify_json json;
};

/* ---- driver.c -------------------------------------------------------------------------------- */

/* What a round without waiting found that batches wait for; each descriptor once. */
struct looks {
	struct pollfd *pfd;
	unsigned nr, max;
	bool soon; /* something waits for no descriptor */
	uint64_t deadline_ns; /* the first of those under way */
	struct driver *driver; /* NULL: of a thread that polls */
};

/*
 * Moves the batches on that have a completion queue, all of them, and waits for none alone. Its
 * thread is started with the first.
 */
struct driver {
	pthread_mutex_t lock; /* guards what follows, and what of batches is said to be its */
	pthread_cond_t passed;
	struct list active; /* batches with requests under way */
	unsigned nr_active;
	struct mc_batch *current; /* the thread is in the middle of it */
	struct list checks;	  /* segments, see check.c */
	pthread_cond_t asked;
	bool stop, running, checking;
	pthread_t thread, checker;

	/* Counts what the thread may have missed while it looked; @asleep: it has to be woken too. */
	_Atomic unsigned kicks;
	_Atomic bool asleep;
	int kickfd; /* -1 until the thread runs */
	struct looks looks; /* the thread's own */
};
void driver_init(struct driver *d);
void driver_fini(struct driver *d); /* no batch has a queue any more */
int driver_start(struct driver *d);
void driver_kick(struct driver *d);
void driver_told(void *driver); /* for struct xfer */
void driver_add(struct mc_batch *b);   /* its requests are under way; on its turn, a kick follows */
void driver_leave(struct mc_batch *b); /* they have ended; with the lock */
void driver_forget(struct mc_batch *b); /* the thread is not in it, and will not come back */

/* Is @seg another process than at @gen? -EINPROGRESS: ask again after a kick. *@asked: false at first. */
int driver_changed(struct driver *d, struct mc_segment *seg, uint64_t gen, bool *asked);

/* Of all background batches, see slice.c. */
struct background {
	pthread_mutex_t lock;
	uint64_t bytes;	  /* under way */
	unsigned batches; /* that have some */
};

struct mc_engine {
	uint64_t fork_gen; /* engine_fork_gen when it was opened */
	struct address address;
	uint16_t rpc_port;
	struct meta *meta;
	struct reach_table *reach;
	struct loop *loop; /* NULL: MC_ENGINE_CLIENT */
	struct handshake_server *handshake;
	struct transport *transport[ENGINE_TRANSPORTS_MAX];
	unsigned nr_transports;
	bool published;

	pthread_mutex_t region_lock; /* one change of the regions at a time, with its publication */
	struct list regions;

	pthread_mutex_t desc_lock; /* short: the loop takes it */
	struct segment_desc desc;

	pthread_mutex_t seg_lock;
	struct list segments;

	struct driver driver;
	struct background background;

	pthread_mutex_t notify_lock;
	struct list notifies;
	unsigned nr_notifies;
	uint64_t notifies_lost;
};

/* Counts the forks this process is away from the one that loaded the library. */
extern _Atomic uint64_t engine_fork_gen;

/* After a fork the loop's thread is gone and locks may be held by nobody: everything is refused. */
static inline bool engine_forked(const struct mc_engine *eng)
{
	return eng->fork_gen != atomic_load_explicit(&engine_fork_gen, memory_order_relaxed);
}
int engine_refuse_fork(void); /* -EPERM, with the words */

int engine_publish(struct mc_engine *eng, uint64_t deadline_ns); /* the descriptor as it is now */
/* A copy; segment_desc_fini() is the caller's. */
int engine_describe(struct mc_engine *eng, struct segment_desc *out);

/* ---- region.c -------------------------------------------------------------------------------- */

struct mc_region {
	struct mc_engine *eng;
	struct list node;
	uint64_t addr, len;
};
void regions_free(struct mc_engine *eng);

/* ---- segment.c ------------------------------------------------------------------------------- */

/* One way to a peer; transfers hold it, so a refresh never takes it away under them. */
struct way {
	_Atomic int refs;
	struct peer *peer;
	uint64_t cost;
};
void way_put(struct way *w);

static inline const struct transport_ops *way_ops(const struct way *w)
{
	return w->peer->transport->ops;
}

struct mc_segment {
	struct mc_engine *eng;
	struct list node;
	unsigned refs; /* under mc_engine.seg_lock */
	char *name;

	pthread_mutex_t lock; /* guards what follows; nobody waits for the network with it */
	bool fetching;	      /* somebody fetches the description; others wait for it here: */
	pthread_cond_t fetched;
	struct segment_desc desc;
	uint64_t gen; /* counts how often the peer became another process */
	struct way *way[ENGINE_TRANSPORTS_MAX];
	bool tried[ENGINE_TRANSPORTS_MAX];
	uint64_t failed_ns; /* when the last fetch failed, and how */
	int failed;

	/* driver.lock guards these. */
	struct list check; /* in driver.checks, while @checking and not under way */
	bool checking;
	uint64_t check_gen;
};
uint64_t segment_gen(struct mc_segment *seg);
void segment_get(struct mc_segment *seg); /* mc_segment_close() gives back */

/*
 * The way for a transfer: the first transport that reaches the peer, or only @name. A reference;
 * @gen for segment_changed().
 */
int segment_way(struct mc_segment *seg, const char *name, struct way **out, uint64_t *gen);

/* No transfer goes that way any more: it does not reach all of the peer's memory. The caller has a reference. */
void segment_leave_way(struct mc_segment *seg, const struct way *w);

/*
 * Is the peer another process than at @gen? Fetches its description unless somebody did meanwhile.
 * Return: 1, 0, or why it could not be fetched.
 */
int segment_changed(struct mc_segment *seg, uint64_t gen, uint64_t deadline_ns);

/* ---- batch.c, drive.c ------------------------------------------------------------------------ */

#define SLICE_VECS 32

/* A background request that may need several slices: @x of its item is a slice, this is all of it. */
struct bulk {
	const struct xvec *vec;
	unsigned nr, at; /* where the next slice begins */
	uint64_t skip;
	uint64_t moved;
	uint32_t crc;
	struct xvec part[SLICE_VECS];
};

struct item {
	struct xfer x;
	struct xvec one; /* the vector of the usual request */
	struct mc_segment *seg;
	struct way *way; /* while it runs */
	uint64_t gen, deadline_ns;
	const char *transport; /* the only one allowed; one of the table's names, or NULL */
	bool again;	       /* had its second attempt */
	struct bulk *bulk;     /* NULL: goes whole */
	uint64_t under_way;    /* bytes; of background requests only */
	bool checking;	       /* may have one if its peer is another process: being asked */
	/* Written once, @state last. */
	int error;
	uint64_t bytes;
	uint32_t crc;
	_Atomic int state; /* enum mc_state */
};

struct vec_block;

struct mc_batch {
	struct mc_engine *eng;
	void (*done)(void *arg);
	void *arg;
	unsigned max;
	struct turn turn;    /* of whoever drives; guards all that is not atomic */
	_Atomic bool cancel; /* asks the driver to end everything */
	_Atomic unsigned nr;
	_Atomic unsigned pending;
	bool told; /* @done was called for what was submitted */
	struct mc_cq *cq; /* NULL: none */
	enum mc_priority priority;
	unsigned next;	    /* the first that may be waiting; background only */
	uint64_t under_way; /* bytes; background only */
	/* driver.lock guards these. */
	struct list node;  /* in driver.active, or alone */
	struct list ended; /* in mc_cq.ended, or alone */
	struct vec_block *vecs;
	struct xfer **run; /* room for one submission's transfers, behind the items */
	struct item item[];
};

struct mc_cq {
	struct mc_engine *eng;
	int fd;
	struct list ended; /* driver.lock guards it */
};
void cq_push(struct mc_batch *b);      /* on its turn: all its requests have ended */
void cq_take_back(struct mc_batch *b); /* it is not collected any more */
void cq_leave(struct mc_batch *b);     /* the same, and nobody moves it on */

/* ---- slice.c */
int slice_prepare(struct item *it);  /* a background request, before slices_start(). -ENOMEM */
unsigned slices_start(struct mc_batch *b); /* what waits, as far as it may; how many requests */
bool slice_next(struct mc_batch *b, struct item *it); /* one ended well; false: that was all of it */
void slice_rewind(struct mc_batch *b, struct item *it); /* from the start */
void slice_end(struct mc_batch *b, struct item *it); /* the request has ended */

void batch_look(struct mc_batch *b, struct looks *l); /* a round on the caller's turn; batch_leave() follows */
void item_end(struct mc_batch *b, struct item *it, int error);
void item_start(struct mc_batch *b, struct item *it, unsigned nr); /* items that may share a way */
/* Ends the caller's turn; calls @done if it is time. @kick: the driver goes on from here. */
void batch_leave(struct mc_batch *b, bool kick);

/* ---- pairs.c --------------------------------------------------------------------------------- */

/* For struct handshake_ops: on the loop. */
int pairs_serve(void *eng, const char *text, size_t len, struct buf *answer);
/* For struct transport_env. */
int pairs_ask(void *eng, const char *peer, const struct pairs_json *ask, uint64_t deadline_ns, struct pairs_json *answer);

/* ---- notify.c -------------------------------------------------------------------------------- */

extern const struct handshake_ops engine_handshake_ops;
void notifies_free(struct mc_engine *eng);
/* One exchange on the handshake port of the segment @peer. Blocks, by the deadline. */
int engine_call(struct mc_engine *eng, const char *peer, enum handshake_type type, const char *text, uint64_t deadline_ns,
		struct buf *answer);

#endif
