/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mux from the inside: mux.c is the interface, mux_wait.c shares the work among waiting threads, mux_tx.c sends,
 * mux_rx.c receives.
 *
 * The lock guards everything and is never held across a call that can block. Two roles are taken by waiting threads and
 * handed on when they leave:
 *	reader	receives for all. Only it touches rbuf, so it may block there without the lock. Memory of other threads'
 *		requests is filled under the lock, without blocking: that is what makes mux_cancel() final.
 *	writer	waits for room in the socket while the reader is blocked in a read.
 */
#ifndef MC_MUX_PRIVATE_H
#define MC_MUX_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/spin.h"
#include "net/net_private.h"

#define MUX_LARGE (16 * KiB)	    /* a payload worth a read of its own, straight into place */
#define MUX_TAIL_MAX (64 * KiB)	    /* what a cancelled request may still have to send, from a copy */
#define MUX_SLICE_NS (50 * NSEC_PER_MSEC) /* SO_RCVTIMEO: no blocking read is longer */

enum mux_state { MUX_NEW, MUX_QUEUED, MUX_SENT, MUX_DONE };

/* A thread inside mux_wait(). */
struct waiter {
	struct list node;
	pthread_cond_t cond;
	bool polling; /* it has the writer's role and waits in poll(), not for cond */
};

struct mux {
	int fd;
	bool is_unix;
	bool is_near; /* who sends is delayed by whom it has to wake */
	char peer[NET_ADDR_TEXT];
	pthread_mutex_t lock;
	atomic_bool broken;
	uint64_t next_id;

	/* Sending. */
	struct list sendq;	   /* not fully sent; only the first may be sent in part */
	uint8_t *tail;		   /* rest of a cancelled request, goes before sendq */
	size_t tail_len, tail_at;
	bool tx_full;		   /* the socket took less than it was offered */

	/* Receiving. */
	struct list waitq;	   /* sent, not answered */
	enum rx_state state;
	struct net_frame frame;
	struct mux_req *cur;	   /* whose reply is coming in; NULL in RX_HEADER and RX_SKIP */
	uint64_t left;
	struct iov_walk walk;
	uint8_t sum[NET_SUM_BYTES]; /* what RX_SUM brought so far */
	uint8_t *rbuf; /* while requests are open, or there is something in it */
	size_t pos, end;
	struct fd_box box;
	struct net_watch watch; /* TCP only */
	struct spin spin;	/* the reader's */

	/* Roles. */
	bool reading, writing;
	struct list waiters;
	unsigned inside;
	pthread_cond_t empty; /* inside is 0 */
	int kickfd;	      /* wakes the writer; made on first use */
	bool kicked;
};

/* mux.c; all with the lock held */
void mux_break(struct mux *m, int err); /* ends every request with @err */
void mux_complete(struct mux *m, struct mux_req *r, int status);
void mux_drop(struct mux *m, struct mux_req *r, int status); /* cancels */

/* mux_tx.c; all with the lock held */
bool mux_unsent(const struct mux *m);
void mux_flush(struct mux *m);
int mux_detach_rest(struct mux *m, struct mux_req *r); /* -EMSGSIZE: over MUX_TAIL_MAX */

/* mux_rx.c */
bool mux_rbuf(struct mux *m); /* is there a buffer? If not, the stream is broken */
void mux_rest(struct mux *m); /* lock held; lets go of what an idle stream does not need */
int mux_pieces(struct mux *m, struct iovec *iov, int max, bool only, uint64_t *direct);
ssize_t mux_recv(struct mux *m, struct iovec *iov, int nr, int flags); /* blocks unless MSG_DONTWAIT: without the lock */
void mux_received(struct mux *m, ssize_t n, uint64_t direct); /* lock held; what mux_recv() returned */
ssize_t mux_read_now(struct mux *m); /* lock held; -EAGAIN: nothing there */

/* mux_wait.c; lock held */
void mux_heard(struct mux *m);	  /* bytes came, or a wait begins */
void mux_look_after(struct mux *m); /* none came: breaks the stream when the other end is cut off */
void waiter_wake(struct mux *m, struct waiter *w);

#endif
