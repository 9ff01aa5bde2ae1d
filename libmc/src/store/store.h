/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store client. A call runs on the caller's thread from end to end: it looks into the directories of this node's pools,
 * asks the master once for the rest, moves bytes, and checks them. One housekeeping thread notices owners that ended.
 *
 *	store.c		open, close, entering and leaving calls
 *	link.c		a connection that comes back: the master, owners elsewhere
 *	ask.c		questions to the master over it
 *	pools.c		which pools there are; this node's are mapped
 *	cache.c		where remote objects were last seen
 *	get.c		reading: from this node
 *	get_far.c	from others: where is it? remote.c: moving the bytes
 *	put.c		writing: place.c chooses where, put_round.c does it, grant.c has space for it
 *	prefault.c	page tables of mapped pools, ahead of use
 *	query.c		existence, removal, listing
 *	replicas.c	the copies of objects; tasks.c having them copied and moved
 *	session*.c	objects in parts (session.h)
 *	mount.c		memory that comes and goes
 *	embedded.c	one process with a pool of its own and no master
 *	stats.c		what was done; reason.c: why something was not
 */
#ifndef MC_STORE_PRIVATE_H
#define MC_STORE_PRIVATE_H

#include <mooncake/replicas.h>
#include <mooncake/store.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/backoff.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/range.h"
#include "net/net.h"
#include "pool/owner.h"
#include "pool/pool.h"
#include "proto/proto.h"

#define STORE_TIMEOUT_NS (10 * NSEC_PER_SEC)
#define STORE_GRANT_BYTES (4 * MiB)	/* asked for ahead of small puts */
#define STORE_KEEP_BYTES (8 * MiB)	/* granted space kept between calls */
#define STORE_TRIES 3			/* places or answers tried before an item fails */

/* ---- link.c ------------------------------------------------------------------------------------------------------- */

/* One live connection; users hold a reference, so a reconnect never closes it under them. */
struct link_conn {
	struct mux *mux;
	struct msg_hello_reply hello; /* without pointers into the wire */
	_Atomic int refs;
};

struct link {
	char addr[NET_ADDR_TEXT];
	const struct mc_store *store;
	uint8_t role;
	void (*renewed)(struct link *l); /* under the lock: another incarnation of the server answers; NULL: nobody cares */
	pthread_mutex_t lock; /* guards what follows; never held while waiting for the network */
	pthread_cond_t changed;
	struct link_conn *cur;
	struct mux *greeting; /* of the connecting thread */
	bool connecting; /* one thread connects for all */
	uint8_t peer_id[16];
	uint64_t retry_ns; /* not before */
	unsigned failures;
	bool closed;
};

int link_init(struct link *l, const struct mc_store *s, const char *addr, enum proto_role role);
void link_fini(struct link *l);
void link_shutdown(struct link *l); /* ends calls under way with -ECONNRESET; later ones fail with -ESHUTDOWN */

/* A live connection, made if there is none. -ECONNREFUSED, -ETIMEDOUT, -EPROTO; at once while backing off. */
int link_get(struct link *l, uint64_t deadline_ns, struct link_conn **out);
void link_put(struct link *l, struct link_conn *c); /* a broken one is forgotten */

/* One request. On success @reply holds the body (the caller's to buf_fini()). */
int link_call(struct link *l, uint16_t type, const struct buf *body, uint64_t deadline_ns, struct buf *reply);

/* Says HELLO on a fresh stream. */
int hello(struct mux *m, const struct mc_store *s, enum proto_role role, const char *peer, uint64_t deadline_ns,
	  struct msg_hello_reply *out);

/* ---- ask.c -------------------------------------------------------------------------------------------------------- */

/* A question to the master and its answer, which lies here until ask_end(); may be used again. */
struct ask {
	struct buf body, reply;
	struct scratch scratch;
	union { /* by the type of the question */
		struct msg_located located;
		struct msg_existing existing;
		struct msg_statuses statuses;
		struct msg_count count;
		struct msg_list_reply list;
		struct msg_pools pools;
		struct msg_task_id task_id;
		struct msg_task task;
	};
};
#define ASK_INIT ((struct ask){ .body = BUF_INIT, .reply = BUF_INIT, .scratch = SCRATCH_INIT })

/* LOCATE, EXISTS (both grant a lease), REMOVE: on success there is one answer for each key. Else as link_call(), or -EBADMSG. */
int store_ask_keys(struct mc_store *s, uint16_t type, const struct key *keys, unsigned nr, bool force, uint64_t deadline_ns,
	     struct ask *a);
int store_ask_keys_quietly(struct mc_store *s, uint16_t type, const struct key *keys, unsigned nr, uint64_t deadline_ns,
			   struct ask *a); /* grants no lease */
int store_ask_clear(struct mc_store *s, const struct msg_clear *m, uint64_t deadline_ns, struct ask *a);
int store_ask_task(struct mc_store *s, const struct msg_task_create *m, uint64_t deadline_ns, struct ask *a);
int store_ask_task_state(struct mc_store *s, const struct msg_task_id *m, uint64_t deadline_ns, struct ask *a);
int store_ask_match(struct mc_store *s, uint16_t type, const struct msg_match *m, uint64_t deadline_ns, struct ask *a);
int store_ask_pools(struct mc_store *s, uint64_t deadline_ns, struct ask *a);
void ask_end(struct ask *a);

/* ---- pools.c -------------------------------------------------------------------------------------------------------- */

/*
 * A pool as this client reaches it. This node's pools are attached: mapped, with a stream to their owner that lives as long
 * as the attachment. Others are reached by the engine (reads) and a link to their owner (puts).
 */
struct spool {
	_Atomic int refs; /* sets, and calls that outlive their set */
	uint8_t id[16];
	uint64_t epoch;
	_Atomic uint32_t index; /* the master's number; 0: attached before the master told, texts below not set yet */
	_Atomic uint32_t flags;
	_Atomic uint64_t capacity, used; /* hints for placing */
	uint16_t nr_regions;
	struct region_info region[POOL_REGIONS_MAX];
	char segment[NET_ADDR_TEXT], unix_path[NET_ADDR_TEXT], addr[NET_ADDR_TEXT];
	bool same_node;

	bool attached;
	_Atomic bool gone; /* the owner ended: nothing new is started here */
	struct pool_view view;
	struct mux *owner; /* attached: the stream that carries grants and commits; NULL: a borrowed view */
	struct loop_fd hup; /* watched by the housekeeping loop */
	struct loop_work leaving; /* on it, once the owner went */
	struct loop_timer prefault; /* on it, until page tables are filled */
	struct backoff watch; /* for the owner's yes, without sleeping */
	_Atomic bool no_announce; /* the owner does not know what that is */
	_Atomic uint64_t prefaulted; /* bytes from the first region's start on */
	struct mc_store *store;

	_Atomic uint64_t in_sessions; /* bytes that put sessions have here */
	_Atomic uint64_t suspect_ns; /* until then: it used up a read's time, other replicas are better */
	struct link remote; /* not attached: to the owner's TCP service */
	struct mc_segment *seg; /* opened on first use, under @lock */

	pthread_mutex_t lock; /* guards grants and seg; not held while waiting */
	struct range_set runs[POOL_REGIONS_MAX];
	uint64_t gen, gen_end;
	unsigned writers;  /* puts between grant_enter() and grant_leave() */
	struct asking *ahead; /* space for the next batch, on its way; NULL: none */
	uint64_t stray_ns; /* until then the owner may count space as ours that we do not know of; 0: none */
};

/* What a call works with: an immutable set of pools, replaced as a whole. */
struct pool_set {
	_Atomic int refs;
	unsigned nr;
	struct spool *pool[];
};

struct pool_set *pools_get(struct mc_store *s); /* never NULL; a reference */
void pools_put(struct pool_set *set);
struct spool *pools_by_index(const struct pool_set *set, uint32_t index); /* NULL: unknown, or gone */
void spool_get(struct spool *p);
void spool_put(struct spool *p);

/* Asks the master for its pools when they changed since (or @force), attaches new ones of this node. */
int pools_refresh(struct mc_store *s, bool force, uint64_t deadline_ns);
void pools_view_seen(struct mc_store *s, uint32_t view); /* from any reply of the master */
struct pool_set *pools_for(struct mc_store *s, const struct msg_located *m, uint64_t deadline_ns); /* with those that @m names */
void pools_fini(struct mc_store *s);

/* A pool of this very process, without the master having told: own reads need no message from the first moment on. */
int pools_attach(struct mc_store *s, const char *unix_path, struct spool **out, uint64_t deadline_ns);

/* The pool of an embedded store: the views' memory stays the lender's. */
int pools_borrow(struct mc_store *s, const struct pool_view *v, const struct pool_ring *ring);

int spool_segment(struct spool *p, uint64_t deadline_ns, struct mc_segment **out); /* the pool keeps it open */

/* prefault.c. Start and stop: on the housekeeping loop. Run: any thread, before it writes granted space. */
void prefault_start(struct spool *p);
void prefault_stop(struct spool *p);
void prefault_run(struct spool *p, const struct grant_run *run);

/* ---- cache.c -------------------------------------------------------------------------------------------------------- */

struct cached {
	uint8_t pool[16];
	uint64_t size, put_id;
	uint32_t flags;
	struct loc loc;
};
struct loc_cache;
int cache_open(unsigned entries, struct loc_cache **out);
void cache_close(struct loc_cache *c);
bool cache_find(struct loc_cache *c, const struct key *key, struct cached *out);
void cache_store(struct loc_cache *c, const struct key *key, const struct cached *v);
void cache_drop(struct loc_cache *c, const struct key *key);

/* ---- place.c: pure -------------------------------------------------------------------------------------------------- */

struct candidate {
	bool usable, same_node, preferred;
	uint64_t capacity, used;
};
/*
 * The pool for one replica: preferred ones first, then this node, then the rest; among equals by chance weighted with free
 * space (a full pool keeps a small share: it evicts). @random is uniform. Return: index; -1 none usable.
 */
int place_pick(const struct candidate *c, unsigned nr, uint64_t random);

/* ---- the rest ------------------------------------------------------------------------------------------------------- */

/* Does one more key fit a message that has *bytes, itself and its answer? Counts it. And: how many from the front do? */
bool key_fits(size_t *bytes, const struct key *key);
unsigned keys_fit(const struct key *key, unsigned nr);

struct keys { /* full keys of a batch in one allocation; small batches live on the stack */
	struct key *key;
	void *heap;
	struct key small[8];
	uint8_t bytes[8 * 64];
};
/* @at(items, i) gives the i-th caller's key. Keys that are too long or empty get len 0. -ENOMEM. */
int keys_make(const struct mc_store *s, const void *items, unsigned nr, const struct mc_key *(*at)(const void *, unsigned),
	      struct keys *out);
void keys_free(struct keys *k);
unsigned keys_run(const struct key *keys, unsigned nr); /* how many from the front are good: a bad one would spoil a message */

/* The public calls on batches are between these. -E2BIG; as store_enter() and keys_make(). */
int keys_enter(struct mc_store *s, const void *items, unsigned nr, const struct mc_key *(*at)(const void *, unsigned),
	       struct keys *out);
void keys_leave(struct mc_store *s, struct keys *k);

struct get_item { /* one object on its way, in get.c and remote.c */
	struct key key;
	uint64_t size;
	uint64_t put_id; /* what the header must say; 0: not known, and not needed */
	uint32_t flags;
	struct loc loc;
	struct spool *pool; /* a reference while set */
	int64_t result;
	/* where the bytes go: either an array of pieces in order, or fragments of the object */
	const struct mc_iov *iov;
	unsigned nr_iov;
	struct mc_slice *slices;
	unsigned nr_slices;
	void *(*alloc)(void *arg, size_t len);
	void *arg;
	struct mc_iov own; /* what @alloc gave, or @bounce */
	void *bounce;	   /* ours: the size came from the cache, and @alloc is asked once only */
	uint32_t avoid[STORE_TRIES]; /* pools (by index) where it could not be read */
	unsigned nr_avoid;
	uint8_t path;	   /* enum mc_path: the way its bytes came */
	uint8_t why;	   /* enum mc_miss: it did not */
	bool unasked;	   /* the master did not answer */
	bool cached;	   /* loc came from the cache */
	bool stale;	   /* the current replica was asked for twice */
	bool sole;	   /* no other replica is left to try */
	int hope;	   /* get_far.c: how long to wait for it */
};
/* Fixes the destination now that the size is known; fails with -EMSGSIZE or -ENOMEM into it->result. */
bool get_prepare(struct get_item *it);
/* From a mapped pool. 0, -ESTALE. */
int get_mapped(const struct pool_view *v, struct get_item *it);
/* Reads all @it[i] with pool set through the engine, in parallel. Results: bytes, -ESTALE, -EBADMSG (CRC), -EIO, -ETIMEDOUT. */
void remote_read(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns);

/* ---- stats.c, reason.c ----------------------------------------------------------------------------------------------- */

/* What one call did. */
struct tally {
	struct tally_way {
		uint64_t objects, bytes;
	} way[MC_PATH_TCP + 1];
	uint64_t retries, puts;
	uint64_t missed, miss[MC_MISS_CALL + 1]; /* @miss is not set unless something missed: most calls need not clear it */
};

static inline void tally_init(struct tally *t)
{
	memset(t, 0, offsetof(struct tally, miss));
}

struct stats;
int stats_open(struct stats **out);
void stats_close(struct stats *st);
/* The time, for some calls; 0 for the others, which shall not be late because of it. */
uint64_t stats_sample_ns(void);
void stats_got(struct mc_store *s, const struct tally *t, uint64_t start_ns); /* @start_ns 0: not timed */
void stats_put(struct mc_store *s, const struct tally *t, uint64_t start_ns);

static inline void tally_add(struct tally *t, enum mc_path path, uint64_t bytes)
{
	t->way[path].objects++;
	t->way[path].bytes += bytes;
}

enum mc_miss reason_of(const struct get_item *it, uint64_t deadline_ns);
/* For mc_last_error(): what happened to @key, and to @others of the same call. */
void note_words(const char *what, const struct mc_key *key, const char *words, int err, unsigned others);
void note_miss(const struct mc_key *key, enum mc_miss why, int err, unsigned others);
void note_part(const struct mc_key *key, int err);
void note_put(const struct mc_key *key, int err, unsigned others);
void note_asked(const char *what, const struct mc_key *key, int err, unsigned others); /* of the master */
void note_task(const char *what, const struct mc_key *key, int err);
void note_session(const char *what, const struct mc_key *key, int err);

struct store_ops { /* with a master, or embedded */
	int (*put)(struct mc_store *s, struct mc_put *items, unsigned nr, const struct mc_put_opts *o, struct tally *t,
		   uint64_t deadline_ns);
	void (*get_missing)(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns);
	/* Where they are, without reading: a pool (a reference) and the place in it, or a result. The array is sorted anew. */
	void (*locate)(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns);
	/* Results are 1 with one replica and its size where this node has it, else 0; more may be known elsewhere. */
	int (*query)(struct mc_store *s, struct mc_query **q, const struct key *keys, unsigned nr, bool sizes, uint64_t deadline_ns);
	int (*remove)(struct mc_store *s, struct mc_remove *items, const struct key *keys, unsigned nr, uint32_t flags,
		      uint64_t deadline_ns);
	int64_t (*remove_matching)(struct mc_store *s, const char *regex, uint32_t flags, uint64_t deadline_ns);
	int64_t (*list)(struct mc_store *s, const char *regex, int (*fn)(void *, const struct mc_list_item *), void *arg,
			uint64_t deadline_ns);
	int (*replicas)(struct mc_store *s, struct mc_replicas *items, const struct key *keys, unsigned nr, uint64_t deadline_ns);
	int (*clear)(struct mc_store *s, struct mc_remove *items, const struct key *keys, unsigned nr, const char *segment,
		     uint64_t deadline_ns);
	int (*status)(struct mc_store *s, struct buf *json, uint64_t deadline_ns);
	int (*health)(struct mc_store *s, uint64_t deadline_ns);
};
extern const struct store_ops cluster_ops, embedded_ops;

int cluster_put(struct mc_store *s, struct mc_put *items, unsigned nr, const struct mc_put_opts *o, struct tally *t,
		uint64_t deadline_ns);
void cluster_get_missing(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns);
void cluster_locate(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns);
int cluster_replicas(struct mc_store *s, struct mc_replicas *items, const struct key *keys, unsigned nr, uint64_t deadline_ns);
int cluster_clear(struct mc_store *s, struct mc_remove *items, const struct key *keys, unsigned nr, const char *segment,
		  uint64_t deadline_ns);
int replicas_reserve(struct mc_replicas *it, unsigned nr); /* memory for so many; none yet */
void replicas_add(struct mc_replicas *it, const char *segment, const struct region_info *r, const struct loc *loc, uint64_t bytes);

/* Is an object there of which the master only knows that a put began? 1, 0, or why it cannot be said (query.c). */
int store_look_there(struct mc_store *s, const struct key *key, uint64_t deadline_ns);

struct mc_store {
	const struct store_ops *ops;
	char name[NET_ADDR_TEXT];
	char tenant[TENANT_MAX + 1];
	uint8_t id[16], node[16];
	uint64_t timeout_ns;
	char transports[64];
	bool map_ok; /* may this node's pools be mapped? not when transports says otherwise */
	bool remote_ok;
	bool of_node;
	unsigned fork_gen;
	_Atomic uint32_t users; /* calls under way, and STORE_CLOSING */
	_Atomic bool closing;
	int name_fd; /* holds the port of the name */

	struct mc_engine *serving; /* opened when something is mounted and @engine serves nobody; under engine_lock */
	struct mounts *mounts;
	struct mc_engine *engine; /* opened on first use for clients without a pool */
	bool engine_ours;
	void *served[POOL_REGIONS_MAX]; /* the pool's regions, registered with it */
	unsigned nr_served;
	char metadata[256], protocol[32], devices[256], host[128];
	pthread_mutex_t engine_lock;

	struct link master;
	struct loop *loop; /* housekeeping */
	struct owner *owner;
	struct embedded *embedded;

	pthread_spinlock_t set_lock;
	struct pool_set *set;
	pthread_mutex_t refresh_lock;
	_Atomic uint32_t view_seen, view_known; /* known 0: ask at the next chance */
	_Atomic uint64_t refreshed_ns;

	struct loc_cache *cache;
	_Atomic uint64_t next_put;
	uint64_t put_salt;

	pthread_rwlock_t buffers_lock;
	struct range_set buffers;
	struct buffer *buffer_list; /* as registered, for exact removal */
	unsigned nr_buffers;
	struct parked *parked; /* unregistered while calls were under way */
	_Atomic bool any_parked;

	struct stats *stats;
	struct sessions *sessions;
};

void buffers_fini(struct mc_store *s); /* buffers.c */
void buffers_unpark(struct mc_store *s);
int store_serving_engine(struct mc_store *s, uint64_t deadline_ns, struct mc_engine **out); /* one that peers can reach */
int store_engine(struct mc_store *s, struct mc_engine **out); /* opens a client engine when there is none */
struct mc_uuid store_uuid(const uint8_t id[16]);
uint64_t store_put_id(struct mc_store *s);
bool store_put_is_ours(const struct mc_store *s, uint64_t put_id); /* did store_put_id() give it to this store? */
uint64_t store_deadline(const struct mc_store *s, uint64_t deadline_ns); /* 0: the default time-out from now */

/* mount.c: pools beside the first. */
struct mounts;
int mounts_open(struct mounts **out);
void mounts_close(struct mounts *ms); /* when no call is under way any more */

/* embedded.c: the pool of a store without a master. */
struct embedded;
int embedded_open(struct mc_store *s, uint64_t pool_bytes);
void embedded_close(struct mc_store *s);

/* Every public call is between these. -ESHUTDOWN closing; -EPERM in a forked child. */
#define STORE_CLOSING (1u << 31)
int store_enter(struct mc_store *s);
void store_leave(struct mc_store *s);

/* ---- put.c, grant.c: writing ------------------------------------------------------------------------------------------ */

/* Space of one piece, which most objects have. The start of a struct extents that ends behind its first piece. */
struct put_room {
	uint64_t words[(offsetof(struct extents, piece) + sizeof(((struct extents *)0)->piece[0])) / sizeof(uint64_t)];
};

/* One replica of one object on its way into one pool. */
struct put_task {
	struct mc_put *it;
	struct key key;
	uint64_t bytes, put_id;
	uint32_t flags, soft_pin_ms, group;
	unsigned item; /* index in the caller's batch */
	unsigned at;   /* index of the pool in the set */
	struct spool *pool;
	struct extents *x; /* carved space, on this node: @room, or its own memory */
	struct put_room *room;
	int result;
};

/* Sorts them; results are in the tasks. @announce: those that pay may be announced before they are copied. */
void put_round(struct put_task **task, unsigned nr, bool announce, uint64_t deadline_ns);
uint32_t put_object_flags(const struct mc_put_opts *o); /* enum object_flag */
uint32_t put_group(const struct mc_store *s, const struct mc_key *name); /* as a number; 0: none */
bool put_check(const struct mc_put *it, uint64_t *bytes); /* key and sizes fit? */
int put_opts_take(const struct mc_put_opts *in, struct mc_put_opts *o); /* NULL: all defaults; -EINVAL, -E2BIG */

/* Tasks of one attached pool, written and sealed by the caller. What is refused keeps its space, the caller's to undo. */
void put_commit(struct put_task **task, unsigned nr, uint64_t deadline_ns);

/* Around everything that carves from a pool or writes to it: what is not known to be ours goes back when nobody is inside. */
void grant_enter(struct spool *p);
void grant_leave(struct spool *p, uint64_t deadline_ns);

/*
 * Space in an attached pool for as many of @t[0..nr) as can be had now; their x is set. Return: how many from the front. When that
 * is not all, *err: -EAGAIN (when these are stored there may be room), -ENOSPC, -ESHUTDOWN, -ECONNRESET, -ETIMEDOUT.
 */
unsigned grant_carve(struct spool *p, struct put_task **t, unsigned nr, uint64_t deadline_ns, int *err);
void grant_spent(struct put_task *t); /* published, or it will show: t->x is forgotten */
void grant_undo(struct spool *p, struct put_task *t); /* not published: the space serves the next put */
void grant_stale(struct spool *p); /* the generations that are left may be as old as one that was refused: ask for others */
/* Will a call like this one run out of space the next time? Then it may be asked for ahead, without waiting. */
bool grant_short(struct spool *p, struct put_task **t, unsigned nr);
void grant_ahead(struct spool *p, struct put_task **t, unsigned nr);
void grant_forget(struct spool *p); /* what was asked for and not waited for; with the lock, or nobody else there */
void grant_lost(struct spool *p, uint64_t for_ns);   /* whose some space is will be known after so long */
void grant_trim(struct spool *p, uint64_t deadline_ns);	   /* gives back what is more than STORE_KEEP_BYTES */
void grant_release(struct spool *p, uint64_t deadline_ns); /* everything, unless somebody writes: then the last one does */

#endif
