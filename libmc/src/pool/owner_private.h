/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of an owner. All of it runs on the owner's loop; only owner.c is called from other threads.
 *
 *	owner.c		 open, close, what other threads ask
 *	owner_serve.c	 clients: accepting, credentials, HELLO, dispatch, what a client leaves behind
 *	owner_attach.c	 descriptors
 *	owner_grant.c	 grants and returns
 *	owner_ledger.c	 what a next owner must know of grants
 *	owner_commit.c	 objects on their way to the master and into the directory
 *	owner_announce.c objects that are there before their bytes are
 *	owner_put.c	 objects that arrive through a socket
 *	owner_withdraw.c telling the master what was evicted, and what is not pending any more
 *	owner_link.c	 the connection to the master, owner_connect.c how it is made
 *	owner_refill.c	 telling a master everything
 *	owner_drop.c	 the master's DROP and DROP_MATCH
 *	owner_copy.c	 the master's COPY
 */
#ifndef MC_OWNER_PRIVATE_H
#define MC_OWNER_PRIVATE_H

#include <pthread.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "net/net.h"
#include "pool/owner.h"

#define OWNER_TICK_NS NSEC_PER_SEC
#define OWNER_HELLO_NS (10 * NSEC_PER_SEC) /* a client says HELLO by then */
#define OWNER_PUT_NS (30 * NSEC_PER_SEC)   /* a payload is here by then, and one second more for each MiB */
#define OWNER_PUT_IDLE_NS (10 * NSEC_PER_SEC) /* as the data service has it */
#define OWNER_LEAVE_NS NSEC_PER_SEC	   /* for the farewell to the master */
#define OWNER_REPLY_NS (5 * NSEC_PER_SEC)  /* the master answers HELLO and JOIN */

#define LINK_CONNECT_NS (3 * NSEC_PER_SEC)
#define LINK_BACKOFF_MIN_NS (50 * NSEC_PER_MSEC)
#define LINK_BACKOFF_MAX_NS NSEC_PER_SEC
#define LINK_OUT_MAX (64 * MiB) /* a master that reads slower than this is given up: the next one is told everything */

#define REFILL_BATCH 1024 /* small enough for a step of well under a millisecond */
#define REFILL_WINDOW 8

/* ---- clients (owner_serve.c, owner_attach.c, owner_grant.c) ------------------------------------------------------------- */

/* One connection, and what is left of it while its process can still write into what it was granted. */
struct client {
	struct list node; /* of owner.clients */
	struct owner *ow;
	struct conn *conn; /* NULL: it ended */
	uint64_t since_ns;
	bool local;	   /* Unix socket */
	bool hello, refused;
	bool writer;	   /* attached, and may be granted space */
	bool exited;	   /* the process is no more */
	bool told;	   /* farewell was said */
	struct net_cred cred;
	struct loop_fd exit; /* its pidfd; fd -1: none */
	struct pool_ring *ring; /* attached */
	struct pool_holder *holder; /* a writer's */
	int page;	   /* its number in the ledger; -1: none */
	unsigned pending;  /* commits, puts and announced objects that have not ended */
	struct put *put;   /* the payload that is arriving */
};

int serve_open(struct owner *ow, int unix_fd, int tcp_fd);
void serve_stop(struct owner *ow);  /* no new connections */
void serve_farewell(struct owner *ow); /* tells clients to return what they hold and go */
void serve_close(struct owner *ow); /* closes all connections; closed() follows from the loop */
void serve_free(struct owner *ow);  /* what is left, space included */
void serve_tick(struct owner *ow, uint64_t now_ns);
int client_watch(struct client *c, int pidfd); /* takes it over */
void client_release(struct client *c); /* frees it when nothing holds it any more */
uint64_t client_held_bytes(const struct client *c);
bool client_allowed(const struct owner *ow, int fd, const struct net_cred *cred);

void attach_request(struct client *c, struct conn_req *r);
void attach_undo(struct client *c);

struct granter {
	struct list later; /* requests that wait for a verdict */
	struct loop_work work;
	bool posted;
};
void grant_init(struct owner *ow);
void grant_request(struct client *c, struct conn_req *r);
void grant_later(struct owner *ow); /* a verdict came, or none will */
void return_request(struct client *c, struct conn_req *r);

/* ---- who holds what, for the next owner (owner_ledger.c) ---------------------------------------------------------------- */

#define LEDGER_PAGES 1024 /* writers at a time; more: -EMFILE */

struct ledger {
	struct region region;
	struct ledger_file *file; /* NULL: none is kept */
	uint16_t unused[LEDGER_PAGES];
	unsigned nr_unused;
};

int ledger_open(struct owner *ow, int fd);   /* before the loop runs; takes over what lives of an earlier owner's clients */
void ledger_close(struct owner *ow);
int ledger_enter(struct client *c); /* a new writer */
void ledger_leave(struct client *c);
void ledger_note(struct client *c); /* what it holds now; before it is told of a grant */

/* ---- commits (owner_commit.c) ------------------------------------------------------------------------------------------- */

/*
 * The objects of one COMMIT or PUT between staging and their end.
 *
 *	staged ──▸ queue ──PUBLISH──▸ sent ──verdict──▸ findable or given back ──▸ reply
 *		     ▴                  │
 *		     ├── lost, once ────┤
 *		     └── again ◂────────┘ another put of the key is pending
 */
struct commit {
	struct list node;
	struct client *client;
	struct conn_req *req;
	bool own;	      /* the owner's own space (PUT), not a grant */
	bool partly;	      /* some items are settled, maybe: no status for all */
	bool announce;
	uint64_t bytes;	      /* of all objects; announced ones only */
	bool given_back;      /* some space is the client's again */
	uint64_t deadline_ns;
	size_t wire_bytes;    /* at least what the items take in a message */
	unsigned tries;
	uint32_t nr, nr_staged;
	int32_t *status;
	struct staged **staged; /* NULL: decided */
};

struct publisher {
	struct list queue, sent, again;
	uint32_t nr_queued, nr_sent, nr_again; /* staged objects */
	bool busy;		     /* a PUBLISH is under way */
	struct htab dropped;	     /* generations of @sent that the master dropped before its verdict arrived */
	struct loop_timer expire, retry;
	unsigned retries; /* since something last came of it */
};

uint32_t publish_pending(const struct owner *ow);
void commit_request(struct client *c, struct conn_req *r);
void commit_queue(struct commit *cm); /* takes it over */
int commit_new(struct client *c, struct conn_req *r, uint32_t nr, size_t wire_bytes, struct commit **out);
void commit_settle(struct commit *cm, int status); /* all that is staged ends with @status; replies, frees */
void publish_kick(struct owner *ow);
void publish_fail_all(struct owner *ow, int status);
bool publish_announces(const struct owner *ow, const struct client *c); /* is one of its announcements at the master? */
int publish_dropped(struct owner *ow, uint64_t gen); /* -ENOMEM */
void publish_forget_dropped(struct owner *ow);

/* ---- announced objects (owner_announce.c) ------------------------------------------------------------------------------- */

#define ANNOUNCE_LOOK_NS NSEC_PER_MSEC	       /* how often somebody looks whether the bytes are there */
#define ANNOUNCE_NS (100 * NSEC_PER_MSEC)      /* they are by then, unless the options say otherwise, and later for each MiB: */
#define ANNOUNCE_MIB_NS (20 * NSEC_PER_MSEC)

struct announcer {
	struct list writing;
	struct loop_timer look;
	uint64_t patience_ns;
};

void announce_request(struct client *c, struct conn_req *r);
void announce_add(struct client *c, struct staged *s, uint64_t bytes); /* the master agreed; takes @s */
void announce_look(struct owner *ow); /* before anything is evicted, and before other news for the master */
void announce_exited(struct client *c); /* its process writes no more */
void announce_forget(struct client *c); /* nobody is told; the next owner finds out */

/* ---- puts (owner_put.c) ------------------------------------------------------------------------------------------------- */

int put_payload(struct client *c, struct conn_req *r, struct iovec *iov, int max);
void put_request(struct client *c, struct conn_req *r);
void put_abandon(struct client *c); /* the stream ended */
void put_tick(struct owner *ow, uint64_t now_ns);

/* ---- withdrawals (owner_withdraw.c) ------------------------------------------------------------------------------------- */

struct withdraw {
	struct owner *ow;
	uint16_t type; /* MSG_WITHDRAW, MSG_STORED */
	struct loop_work work;
	bool posted;
	struct drop_item *items; /* keys are offsets into @keys until they are sent */
	uint32_t nr, cap;
	struct buf keys;
	uint64_t forgotten; /* no memory to remember them */
};
void withdraw_init(struct owner *ow);
void withdraw_fini(struct owner *ow);
void withdraw_add(struct owner *ow, const struct key *key, uint64_t gen);
void stored_add(struct owner *ow, const struct key *key, uint64_t gen);
void withdraw_flush(struct owner *ow); /* both; before a PUBLISH, and at the end of each turn of the loop */
void withdraw_reset(struct owner *ow);

/* ---- master (owner_link.c, owner_connect.c, owner_refill.c, owner_drop.c) ----------------------------------------------- */

enum link_state { LINK_DOWN, LINK_CONNECTING, LINK_HELLO, LINK_JOINING, LINK_UP, LINK_LOST };

struct connector {
	pthread_t thread;
	bool running;
	char addr[NET_ADDR_TEXT];
	struct loop *loop;
	struct loop_work done;
	int fd, err;
};

struct refill {
	struct loop_work work;
	bool posted, walking;
	uint64_t round; /* answers of earlier connections are stale */
	uint64_t cursor, items, refused, began_ns;
	bool again; /* another put of some key is pending there */
	struct loop_timer timer;
	unsigned in_flight;
	struct publish_item *batch;
};

struct master_link {
	enum link_state state;
	struct conn *conn;
	struct net_watch watch;
	struct connector connector;
	struct loop_timer retry;
	unsigned failures;
	bool stopped; /* do not come back */
	int why;      /* the last attempt's error, for owner_joined() */
	uint8_t master_id[16];
	uint64_t lease_ns;
	uint32_t index;
	struct refill refill;
	uint64_t joins;
};

void link_start(struct owner *ow);
void link_stop(struct owner *ow);   /* closed() follows when there was a connection */
void link_leave(struct owner *ow);  /* farewell; owner.left is set when the master answered or cannot */
void link_lose(struct owner *ow, const char *why); /* the connection is of no use any more */
void link_tick(struct owner *ow);
void link_synced(struct owner *ow);
void link_connected(struct owner *ow, int fd, int err);
bool link_is_open(const struct owner *ow); /* commits are worth waiting for it */
void link_send(struct owner *ow, uint16_t type, const struct buf *b); /* one way; nothing when not joined */

int connector_start(struct owner *ow);
void connector_join(struct owner *ow);

void refill_start(struct owner *ow);
void refill_stop(struct owner *ow);

void drop_request(struct owner *ow, struct conn_req *r);
void drop_match_request(struct owner *ow, struct conn_req *r);

/* ---- copies into other pools (owner_copy.c) ------------------------------------------------------------------------------ */

#define COPIES_MAX 8 /* at a time; more: -EAGAIN */

void copy_request(struct owner *ow, struct conn_req *r);
void copies_cut(struct owner *ow); /* those under way end soon */

/* ---- the whole ---------------------------------------------------------------------------------------------------------- */

struct owner {
	struct loop *loop;
	struct pool *pool;
	const struct pool_view *view;
	uint8_t id[16], node[16];
	char metadata[256];
	char master[NET_ADDR_TEXT], segment[NET_ADDR_TEXT], unix_path[NET_ADDR_TEXT], addr[NET_ADDR_TEXT];
	unsigned refill_batch;
	gid_t group;
	bool apart;
	uint64_t put_idle_ns;

	struct listener *unix_listener, *tcp_listener;
	struct list clients;
	unsigned nr_clients;
	struct list puts;
	struct list copies;
	unsigned nr_copies;
	int ro_fd[POOL_REGIONS_MAX]; /* of the regions, for clients that only read; -1: not made yet */
	uid_t refused_uid; /* the last one that the log was told of */
	bool refused_any;

	struct ledger ledger;
	struct publisher publish;
	struct granter grant;
	struct withdraw withdraw, stored;
	struct announcer announce;
	struct master_link link;
	struct scratch scratch; /* of the message being handled */
	struct loop_timer tick;
	bool draining, closing, revoked;

	struct {
		uint64_t commits, committed, refused, puts, put_bytes, grants, drops, copies;
	} count;

	/* What waiting threads look at. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct {
		bool synced, done, quiet, left, empty, revoked;
		int why; /* nothing yet: -ECONNREFUSED … */
		bool version; /* the master speaks no version of ours */
	} seen;
};

void owner_check(struct owner *ow); /* after anything that owner_close() waits for */
int owner_status_buf(struct owner *ow, struct buf *out); /* owner_status.c; on the loop */

/* Answers with an encoded body; -ENOMEM when encoding failed. Frees @b. */
void reply_buf(struct conn_req *r, struct buf *b);

#endif
