/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects read or written in parts. The public calls are in session_read.c and session_write.c, their table is in session.c.
 *
 *	reading:  start: place and generation │ read: header, parts, header │ … │ end
 *	writing:  start: space that is granted, header odd │ parts │ … │ end: header even, COMMIT │ revoke: the space goes back
 *	          or, for pools elsewhere and several replicas, memory of ours │ … │ end: an ordinary put
 */
#ifndef MC_STORE_SESSION_H
#define MC_STORE_SESSION_H

#include <mooncake/session.h>

#include "base/htab.h"
#include "store/store.h"

enum session_kind { SESSION_READ, SESSION_WRITE };

struct session {
	struct hnode node;
	enum session_kind kind;
	int refs; /* the table's, and one of each call that uses it */
	uint64_t used_ns; /* when the last such call ended */
	struct session *next; /* of those that are given up together */
	bool listed;
	bool sealed;	  /* writing: it is ending */
	unsigned writers; /* calls that write to it */
	struct key key;	  /* the full one; its memory is the session's */
	void (*free)(struct mc_store *s, struct session *x);
};

#define SESSIONS_MAX (1u << 20)		     /* of one store; more: -ENOMEM */
#define SESSION_IDLE_NS (600 * NSEC_PER_SEC) /* upstream gives up puts that do not end after so long */
#define SESSION_IDLE_MAX_NS (365 * 24 * 3600 * NSEC_PER_SEC) /* for ever, and no sum wraps */

struct sessions {
	struct mc_store *store;
	uint64_t idle_ns; /* who is not used for so long is given up */
	pthread_mutex_t lock; /* guards what follows, and what struct session has; never held while bytes move */
	pthread_cond_t idle;  /* the last writer of a session left */
	struct htab table;
	struct hash_key hash;
	uint64_t memory, memory_max; /* of put sessions, in this process; max 0: not known yet */
	bool looking; /* the housekeeping loop does, now and then */
	struct loop_work look;
	struct loop_timer again;
};

/* For keys_enter(), of struct mc_session and struct mc_session_move. */
const struct mc_key *session_key(const void *items, unsigned i);
const struct mc_key *session_move_key(const void *items, unsigned i);

/* As keys_enter(). -EINVAL: a store of a node has none. */
int sessions_enter(struct mc_store *s, const void *items, unsigned nr, const struct mc_key *(*at)(const void *, unsigned),
		   struct keys *out);

int sessions_open(struct mc_store *s, const struct mc_store_opts *o);
void sessions_close(struct mc_store *s); /* when no call is under way; ends them all */

/* Memory of this process for a put session. -ENOSPC: the others have all there may be. */
int session_memory_take(struct mc_store *s, uint64_t bytes, void **out);
void session_memory_free(struct mc_store *s, uint64_t bytes, void *memory); /* what was taken */
void sessions_trim(struct mc_store *s, uint64_t deadline_ns); /* granted space that none of them has goes back */

/* A copy of @key goes into @x, whose memory is the table's from now on. -EEXIST: there is one of its kind; -ENOMEM. */
int session_init(struct session *x, enum session_kind kind, const struct key *key,
		 void (*free_fn)(struct mc_store *s, struct session *x));
int session_add(struct mc_store *s, struct session *x);
struct session *session_get(struct mc_store *s, enum session_kind kind, const struct key *key); /* a reference, or NULL */
void session_put(struct mc_store *s, struct session *x); /* NULL is fine */
void session_drop(struct mc_store *s, struct session *x); /* nobody finds it any more; the caller's reference stays */

/* Writing: between these the session is not sealed. False: it is. */
bool session_enter(struct mc_store *s, struct session *x);
void session_leave(struct mc_store *s, struct session *x);
/* No writer is inside, and none gets in. -EINVAL: it is sealed; -ETIMEDOUT: some stay inside. */
int session_seal(struct mc_store *s, struct session *x, uint64_t deadline_ns);
void session_unseal(struct mc_store *s, struct session *x);

/* For mc_last_error(): the first of @items that failed, when any did. */
void session_tell(struct mc_store *s, const char *what, const struct mc_session *items, unsigned nr);
void session_tell_moves(struct mc_store *s, const char *what, const struct mc_session_move *items, unsigned nr);

/* Can all parts be moved to or from an object of @size bytes? 0, -EINVAL, -ERANGE; their sum. */
int session_parts(const struct mc_session_move *m, uint64_t size, uint64_t *sum);

#endif
