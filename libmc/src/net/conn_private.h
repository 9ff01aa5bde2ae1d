/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conn from the inside: conn.c opens, closes and keeps the calls, conn_rx.c receives, conn_tx.c sends.
 *
 *	open ──────────── conn_fail(), conn_close() ───────────┐
 *	  │ conn_drain(), last reply sent                       v
 *	  └──> lingering: sending side shut, input thrown away ──> closing ── posted work ──> closed, freed with the last request
 */
#ifndef MC_CONN_PRIVATE_H
#define MC_CONN_PRIVATE_H

#include "base/htab.h"
#include "net/net_private.h"

#define CONN_IOV_MAX 4096 /* pieces of one payload */

struct request {
	struct conn_req r;
	int refused; /* payload() said no: the reply's status */
	uint8_t body[];
};

struct conn {
	struct loop *loop;
	struct loop_fd lf;
	const struct conn_ops *ops;
	struct conn_limits lim;
	void *user;
	char peer[NET_ADDR_TEXT];
	bool is_unix;

	unsigned refs; /* one for the stream, one per request, one for posted work */
	bool closing, closed, draining, lingering;
	int err;
	struct loop_work close_work, resume_work;
	bool resume_posted;
	struct loop_timer linger;

	/* Sending: struct out, oldest first. */
	struct list out;
	uint64_t out_bytes;
	bool tx_shared;	 /* sends memory that others write */
	bool tx_blocked; /* the socket is full: wait for EPOLLOUT */
	struct loop_timer stall;
	uint64_t took_ns; /* when the peer last took something, while the timer is set */
	bool busy;	 /* inside receiving or flushing: replies only queue, one flush follows */

	/* Receiving. In RX_BODY and later the buffer is empty: what it held was moved on. */
	enum rx_state state;
	struct net_frame frame;
	struct request *req; /* NULL while a reply to a call is received */
	uint8_t *body;	     /* where the body goes: req->body, or the reply's own memory */
	uint64_t left;	     /* bytes missing in this state */
	uint8_t sum[NET_SUM_BYTES]; /* what RX_SUM brought so far */
	struct iovec *iov;   /* CONN_IOV_MAX, made on first use */
	struct iov_walk walk;
	uint8_t *rbuf; /* while there is something in it */
	size_t pos, end;
	struct fd_box box;
	uint32_t nr_reqs; /* unanswered, the one being received included */
	uint64_t body_bytes; /* theirs */

	/* Calls to the other end. */
	struct htab calls;
	uint64_t next_id;
};

/* conn.c */
void conn_fail(struct conn *c, int err); /* the stream is over: closed() follows from the loop */
void conn_get(struct conn *c);
void conn_put(struct conn *c);
void conn_update(struct conn *c); /* after any change: which events to wait for, whether drained */
bool conn_paused(const struct conn *c);
void conn_call_done(struct conn *c, uint64_t id, int status, const uint8_t *body, size_t len);

/* conn_rx.c */
void conn_receive(struct conn *c);
void conn_rx_fini(struct conn *c);
void request_free(struct request *q); /* drops its reference too */

/* conn_tx.c */
int conn_send(struct conn *c, const struct net_frame *f, const struct conn_reply *rep);
void conn_flush(struct conn *c);
void conn_watch_stall(struct conn *c); /* output is left behind */
void conn_tx_fini(struct conn *c);

#endif
