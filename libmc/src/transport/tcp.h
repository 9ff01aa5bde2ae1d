/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tcp transport's insides.
 *
 *	tcp.c		  the ops table; one port for both kinds of peers
 *	tcp_serve.c	  our frames, served on the loop
 *	tcp_stream.c	  one stream to a peer: connect, HELLO, ready
 *	tcp_peer.c	  transfers over a few such streams
 *	tcp_bundle.c	  requests on them: of one transfer, or of many small ones together
 *	classic_serve.c	  upstream's 24-byte protocol, served on the loop
 *	classic_peer.c	  the same, towards upstream's peers
 */
#ifndef MC_TRANSPORT_TCP_H
#define MC_TRANSPORT_TCP_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "net/net.h"
#include "transport/transport.h"
#include "base/turn.h"

#define TCP_COST_NS_PER_MIB 400000
#define TCP_STALL_NS	    (10 * NSEC_PER_SEC)

struct bundle;
struct bundle_pool { /* records of requests, for the next ones to any peer */
	pthread_mutex_t lock;
	struct bundle *first;
	unsigned nr;
};
void bundle_pool_fini(struct bundle_pool *pool);

struct tcp {
	struct transport base;
	struct loop *loop; /* NULL: serves nobody */
	struct reach_table *reach;
	uint8_t id[16], node[16];

	/* Serving; the loop's thread only, but for the count. */
	struct listener *listener;
	uint16_t port;
	struct scratch scratch;
	uint64_t stall_ns; /* a transfer that moves no byte for so long is dropped */
	struct list fresh, streams, classics;

	struct bundle_pool spare;
	pthread_mutex_t lock; /* guards @serving */
	pthread_cond_t quiet;
	unsigned serving; /* connections, and replies still being sent */
};

void tcp_serving_get(struct tcp *t);
void tcp_serving_put(struct tcp *t);

/* What peers of both kinds begin with. */
struct tcp_peer_head {
	struct peer base;
	const struct tcp_peer_ops *ops;
};
struct tcp_peer_ops {
	void (*disconnect)(struct tcp_peer_head *p);
	void (*submit)(struct tcp_peer_head *p, struct xfer *const *x, unsigned nr);
	bool (*progress)(struct tcp_peer_head *p, struct xfer *x, uint64_t deadline_ns);
	int (*wants)(struct tcp_peer_head *p, const struct xfer *x, short *events);
	void (*cancel)(struct tcp_peer_head *p, struct xfer *x);
	uint64_t (*backlog)(const struct tcp_peer_head *p);
};

/* Neither waits for the network. */
int tcp_peer_open(struct tcp *t, const struct net_addr *a, bool near, struct tcp_peer_head **out);
int classic_peer_open(struct tcp *t, const struct net_addr *a, int version,
		      struct tcp_peer_head **out);

/* A non-blocking socket on its way to @a. */
int tcp_connect_start(const struct net_addr *a, int *fd);

/* ---- serving: on the loop -------------------------------------------------------------------- */

int stream_serve(struct tcp *t, int fd); /* both take over @fd, also when they fail */
int classic_serve(struct tcp *t, int fd);
void stream_close_all(struct tcp *t);
void classic_close_all(struct tcp *t);

/* ---- tcp_stream.c ---------------------------------------------------------------------------- */

/*
 * CONNECTING ── connected ──> HELLO ── answered ──> READY
 *	└──────────── any failure ──┴─────────────────────┴──> BROKEN (@err says why, for good)
 */
enum stream_state { STREAM_CONNECTING, STREAM_HELLO, STREAM_READY, STREAM_BROKEN };

struct tcp_stream {
	_Atomic int refs;	  /* the peer's, and one per transfer */
	_Atomic uint64_t backlog; /* bytes of transfers under way */
	_Atomic int state;
	struct turn turn; /* of whoever moves it towards READY; guards what follows */
	int err;
	int fd;		 /* until the mux has it */
	bool near;
	uint64_t connect_by_ns;
	struct mux *mux; /* constant once READY */
	struct mux_req hello;
	struct buf hello_body;
};

/* @near: the peer is on this machine. */
int stream_open(const struct tcp *t, const struct net_addr *a, bool near, struct tcp_stream **out);
void stream_get(struct tcp_stream *s);
void stream_put(struct tcp_stream *s);

/* Towards READY: 0; -EINPROGRESS not by the deadline (0: one look); else why it is broken. */
int stream_advance(struct tcp_stream *s, uint64_t deadline_ns);
int stream_wants(struct tcp_stream *s, short *events); /* as transport_ops.wants */

/* ---- tcp_bundle.c ----------------------------------------------------------------------------- */

/*
 * Transfers of one operation that are one request on a stream: each of them has it as @priv, and all end with it. One
 * that is refused comes apart, for a status each.
 */
struct bundle {
	struct bundle *next; /* in the pool */
	struct xfer **x;
	unsigned nr, max_x;
	struct tcp_stream *stream; /* a reference, and @bytes of its backlog; NULL: none could be had */
	bool submitted, again;
	bool stale; /* has lost transfers since the request was made */
	uint64_t bytes;
	struct mux_req req;
	struct buf body;
	struct iovec *iov;
	struct data_vec *vec; /* the same ranges at the peer */
	unsigned nr_vec, max_vec;
};

/* How many of @x, at least one, go together, and their bytes. */
unsigned bundle_size(struct xfer *const *x, unsigned nr, uint64_t *bytes);
/* -ENOMEM. The transfers have it from here on. */
int bundle_new(struct bundle_pool *pool, struct xfer *const *x, unsigned nr, struct bundle **out);
void bundle_free(struct bundle_pool *pool, struct bundle *b); /* on no stream */
void bundle_join(struct bundle *b, struct tcp_stream *s);
void bundle_leave(struct bundle *b);
/* It becomes a request on its stream, once that is READY. -ENOMEM, or as mux_submit(). */
int bundle_submit(struct bundle *b, bool more);
void bundle_drop(struct bundle *b, struct xfer *x); /* goes on without @x; is not submitted */
/*
 * The mux tells of what it ends. Of the rest this does: whoever moves one of several transfers on may have looked at the
 * others a moment ago.
 */
void bundle_tell(const struct bundle *b);
/* Ends all of them, and the bundle; tells of a failure. */
void bundle_end(struct bundle_pool *pool, struct bundle *b, int status);

/* ---- the classic protocol's bytes (transfer header and status) ------------------------------- */

#define CLASSIC_HEADER_BYTES 24
#define CLASSIC_STATUS_BYTES 8
#define CLASSIC_READ	     0
#define CLASSIC_WRITE	     1
#define CLASSIC_V2	     0x80

struct classic_header {
	uint64_t size, addr;
	bool write, v2;
};

static inline void classic_header_encode(const struct classic_header *h,
					 uint8_t out[CLASSIC_HEADER_BYTES])
{
	memset(out, 0, CLASSIC_HEADER_BYTES);
	put_le64(out, h->size);
	put_le64(out + 8, h->addr);
	out[16] = (uint8_t)((h->write ? CLASSIC_WRITE : CLASSIC_READ) | (h->v2 ? CLASSIC_V2 : 0));
}

/* Every 24 bytes are a header; its padding is not initialised by upstream. */
static inline void classic_header_decode(const uint8_t in[CLASSIC_HEADER_BYTES],
					 struct classic_header *h)
{
	h->size = get_le64(in);
	h->addr = get_le64(in + 8);
	h->write = (in[16] & ~CLASSIC_V2) == CLASSIC_WRITE;
	h->v2 = in[16] & CLASSIC_V2;
}

static inline uint64_t classic_status(uint32_t code)
{
	return (uint64_t)0x4d435456 << 32 | code;
}

#endif
