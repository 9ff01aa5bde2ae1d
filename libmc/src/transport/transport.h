/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving ranges between this process's memory and a peer's: one ops table per way of doing it. The
 * engine chooses; a transport moves. Adding one touches its own files and one line of the table in
 * transport.c.
 *
 *	local	the same node: copy through a mapping or process_vm_readv/writev
 *	module	the same node, where the kernel forbids that: copy through /dev/mooncake
 *	tcp	frames over a few long-lived streams per peer; upstream's protocol for its peers
 *	rdma	(a plug-in of its own, later) one-sided verbs; its places are env.places, env.pair, reg() and pair()
 */
#ifndef MC_TRANSPORT_H
#define MC_TRANSPORT_H

#include <sys/uio.h>

#include "base/base.h"
#include "base/list.h"
#include "base/loop.h"
#include "proto/proto.h"

struct transport;
struct peer; /* one remote process as one transport reaches it */

#define XFER_GLANCE 1u /* for transport_ops.progress */

enum xfer_op { XFER_READ, XFER_WRITE };

struct xvec {
	void *local;
	uint64_t remote; /* absolute address in the peer */
	uint64_t len;
};

/*
 * One transfer: vectors done in order (a later one never starts before an earlier one is complete
 * at the peer: readers of extents depend on it), one terminal status. The caller's memory from
 * submit until done or cancelled.
 */
struct xfer {
	enum xfer_op op;
	const struct xvec *vec;
	unsigned nr;
	bool sum;    /* of a read: its CRC-32C is wanted */
	bool urgent; /* goes before others, as far as there is a queue */
	/*
	 * NULL, or told that progress() would find it done, when somebody else brought that about:
	 * from any thread, in the middle of things. It may be told of more.
	 */
	void (*told)(void *arg);
	void *arg;
	/* Out: */
	bool done;
	int status;	/* 0 or a negative errno */
	uint64_t bytes; /* moved, when done */
	bool elsewhere; /* this transport cannot reach that memory, another may: with a status */
	bool summed;	/* @crc is that of the bytes read, computed on the way: not every transport does */
	uint32_t crc;
	/* The transport's: */
	struct peer *peer;
	void *priv;
};

static inline uint64_t xfer_bytes(const struct xfer *x)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < x->nr; i++)
		sum += x->vec[i].len;
	return sum;
}

/* ---- what peers may reach (reach.c, reach_view.c) -------------------------------------------- */

/*
 * The memory this process lets peers read and write; the engine owns the table, transports look
 * ranges up when they serve. The ranges are also in shared memory, where a neighbour checks them
 * before and after it copies. Thread-safe.
 */
struct reach_table;
#define REACH_MAX	  8192
#define REACH_TOKEN_BYTES 16

int reach_open(struct reach_table **out);
void reach_close(struct reach_table *t);
/* -EINVAL; -EEXIST overlap; -ENOSPC over REACH_MAX. */
int reach_add(struct reach_table *t, uint64_t addr, uint64_t len);

/*
 * Removes the range that starts at @addr, then waits until nobody uses it: transfers being served
 * (they hold it) and neighbours in the middle of writing. -ENOENT.
 */
int reach_del(struct reach_table *t, uint64_t addr);

/*
 * Holds the range that contains all of [addr, addr+len), which is not empty, against reach_del();
 * reach_put() takes any address inside.
 */
bool reach_get(struct reach_table *t, uint64_t addr, uint64_t len);
void reach_put(struct reach_table *t, uint64_t addr);
/* The same of many at once, all or none. Return: @nr, or the first that lies in no range. */
unsigned reach_get_all(struct reach_table *t, const struct iovec *v, unsigned nr);
void reach_put_all(struct reach_table *t, const struct iovec *v, unsigned nr);
/* Has reach_del() been waiting for longer than @ns for a range that any of @v is in? Who holds it then lets go. */
bool reach_overdue(struct reach_table *t, const struct iovec *v, unsigned nr, uint64_t ns);
/* The same with any range that contains @addr, and which it is. */
bool reach_hold(struct reach_table *t, uint64_t addr, uint64_t *start, uint64_t *len);

/*
 * @left, unless NULL, is called for each range that reach_del() removes, when nobody holds it any
 * more and before it ends, by that thread.
 */
void reach_on_leave(struct reach_table *t, void (*left)(void *arg, uint64_t addr, uint64_t len),
		    void *arg);
int reach_fd(const struct reach_table *t); /* the shared memory; neighbours open it through /proc */

/* A neighbour's table, seen from here. One per peer, usable by several threads. */
struct process_id;
struct reach_view;
struct reach_access { /* one stretch of copying */
	uint32_t seq;
	int slot; /* of the counter a writer holds; -1 for readers */
};

/*
 * @fd: the number of the descriptor in that process. -EOPNOTSUPP: no such table there, or too many
 * neighbours already.
 */
int reach_view_open(const struct process_id *who, int fd, struct reach_view **out);
void reach_view_close(struct reach_view *v);

/*
 * Random bytes that lie at *@addr in the owner's memory for as long as this table is there. Who
 * finds them in the process of that pid is in the right one: not in another that got the pid, nor
 * in another program.
 */
const uint8_t *reach_view_token(const struct reach_view *v, uint64_t *addr);

/*
 * Between begin and end the neighbour does not finish removing a range that @write'rs were told
 * they may use; readers learn at the end. Who reads where it would fault, in the same process, asks
 * as a writer. -EAGAIN: the neighbour is in the middle of a change (or died in it): look again
 * later.
 */
int reach_view_begin(struct reach_view *v, bool write, struct reach_access *a);
/* 0, -EFAULT, -EAGAIN. */
int reach_view_has(const struct reach_view *v, const struct reach_access *a, uint64_t addr,
		   uint64_t len);
/* false: the table changed, every range must be looked up again. */
bool reach_view_end(struct reach_view *v, const struct reach_access *a);

/* ---- transports ------------------------------------------------------------------------------ */

struct transport_env {
	struct loop *loop; /* NULL: this process serves nobody */
	struct reach_table *reach;
	const char *bind_host; /* where to listen; loopback until told otherwise */
	uint16_t min_port, max_port;

	/* For transports that move memory by NICs: */
	const char *name;    /* of this process's segment: before the @ of its NICs' paths */
	const char *devices; /* comma list of those that may be used; NULL: all. While it is opened */
	/* Which NICs are near which memory of this machine; places_fini() is the caller's. -EBADMSG, -ENOMEM. */
	int (*places)(const char *devices, struct places *out);
	/*
	 * Asks the peer whose segment is @peer to join queue pairs: blocks, by the deadline, so never on the loop.
	 * pairs_json_fini(@answer) is the caller's. 0: an answer, and if it has no reply_msg, one for the NICs that were asked
	 * for, with as many pairs. -EPROTO: an answer that makes no sense, or the peer knows no such question; else as connecting to it.
	 */
	int (*pair)(void *arg, const char *peer, const struct pairs_json *ask, uint64_t deadline_ns, struct pairs_json *answer);
	void *arg;
};

struct transport_ops {
	const char *name;
	/* -ENODEV: this machine has nothing for it, which is no error. */
	int (*open)(const struct transport_env *env, struct transport **out);
	void (*close)(struct transport *t); /* no peer left open, nothing registered, nothing in flight */

	/*
	 * What a descriptor must say so that peers can come here; who this process is, the engine
	 * has written already.
	 */
	void (*describe)(struct transport *t, struct segment_desc *desc);

	/*
	 * NULL, or memory that peers may reach from now on: reg() sets @b's keys, one pair for each NIC that describe() named;
	 * after dereg() they are of no use to anybody.
	 */
	int (*reg)(struct transport *t, struct segment_buffer *b);
	void (*dereg)(struct transport *t, const struct segment_buffer *b);

	/*
	 * NULL, or a peer wants queue pairs joined: on the loop. @asked names a NIC of ours and at least one pair. The answer's gid,
	 * lid and as many pairs are to be set, or its reply_msg, which refuses. The same pairs once more are the same connection,
	 * others a peer that started again; asked->ready: only now may it be used, if there is such a word. -ENOMEM and the
	 * like refuse too.
	 */
	int (*pair)(struct transport *t, const struct pairs_json *asked, struct pairs_json *answer);

	/*
	 * A way to the process that @desc describes, or -EOPNOTSUPP when this transport cannot
	 * reach it. Does not wait for the peer: whether it is there shows in the first transfer.
	 * @cost: expected ns per MiB, for choosing.
	 */
	int (*connect)(struct transport *t, const struct segment_desc *desc, struct peer **out,
		       uint64_t *cost);
	void (*disconnect)(struct peer *p); /* nothing in flight */

	/*
	 * Starts @nr transfers to one peer; each ends in its own status. Does not wait for the
	 * network. What was started together is moved on by one thread at a time.
	 */
	void (*submit)(struct peer *p, struct xfer *const *x, unsigned nr);

	/*
	 * Moves things on until @x is done or the deadline passed (deadline 0: one look;
	 * XFER_GLANCE: not even that, somebody has just looked at what it waits for). Return: is it
	 * done? Only then are its status fields to be read. One thread at a time per transfer, for
	 * this, wants() and cancel().
	 */
	bool (*progress)(struct peer *p, struct xfer *x, uint64_t deadline_ns);

	/*
	 * What @x waits for, while it is not known to be done: a descriptor and poll() events. -1:
	 * no descriptor, look again. It is good until the next look at anything that goes the same
	 * way, by any thread; afterwards it may be closed, or another's.
	 */
	int (*wants)(struct peer *p, const struct xfer *x, short *events);

	/*
	 * Ends @x with -ECANCELED unless it is done; afterwards nothing touches its local memory,
	 * and it is done.
	 */
	void (*cancel)(struct peer *p, struct xfer *x);

	/* Bytes queued towards the peer, for the engine's choice. */
	uint64_t (*backlog)(const struct peer *p);
};

/* Common heads; every transport's own structures begin with them. */
struct transport {
	const struct transport_ops *ops;
};
struct peer {
	struct transport *transport;
};

extern const struct transport_ops transport_local, transport_module, transport_tcp;

/* All that this build knows, in order of preference; ends with NULL. */
extern const struct transport_ops *const transports[];

#endif
