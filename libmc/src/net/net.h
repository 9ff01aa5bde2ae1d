/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams between processes: addresses, framing, and two ways to drive a framed stream.
 *
 *	conn	belongs to a loop: both ends may send requests and replies, nothing blocks, callbacks report. Daemons,
 *		owners, everything that serves.
 *	mux	belongs to nobody: the thread that wants an answer sends and receives itself, so a round trip costs two
 *		system calls and no thread switch. Many threads share one stream; whoever waits first reads for all.
 *
 * Both speak the same frames. net knows nothing of what the bodies mean.
 */
#ifndef MC_NET_H
#define MC_NET_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/loop.h"

/* ---- addresses (addr.c) --------------------------------------------------------------------------------------- */

/*
 * Text forms: "host:port", "[v6]:port", "host" (with @port as default), "unix:/path", "unix:@abstract".
 */
struct net_addr {
	struct sockaddr_storage ss;
	socklen_t len;
};

#define NET_ADDR_TEXT 128

/* Resolves names, so it may block for as long as the resolver does: never on a loop. -EINVAL says why in the log. */
int net_addr_parse(const char *text, uint16_t port, struct net_addr *out);
void net_addr_format(const struct net_addr *a, char *text, size_t size);
uint16_t net_addr_port(const struct net_addr *a); /* 0 for Unix sockets */
bool net_addr_is_unix(const struct net_addr *a);
bool net_addr_is_loopback(const struct net_addr *a);

/* "host:port" into its halves; brackets come off. @port 0 when there is none. -EINVAL: malformed. */
int net_split_host_port(const char *text, char *host, size_t size, uint16_t *port);

/* The source address the kernel would use towards @peer, with port 0: what this process may call itself to that peer. */
int net_source_addr(const struct net_addr *peer, struct net_addr *out);

/* Does @host mean every address of this machine? "*", or any way to write 0.0.0.0 or ::. */
bool net_host_is_any(const char *host);

/*
 * What others may call this machine: where @peer (may be NULL) is reached from, or else the first address of an interface that is
 * up, IPv4 before IPv6. -EADDRNOTAVAIL: there is nothing but loopback.
 */
int net_own_host(const struct net_addr *peer, char *host, size_t size);

/* A non-blocking, close-on-exec listening socket. TCP: SO_REUSEADDR, dual-stack for "[::]". Unix: a stale path is replaced,
 * mode 0660; a live one is -EADDRINUSE. */
int net_listen(const struct net_addr *a, int backlog, int *fd);
int net_listen_range(const char *host, uint16_t min_port, uint16_t max_port, int *fd, uint16_t *port); /* a random free one */

#define NET_KEEPALIVE_S 10 /* idle; then 3 probes of */
#define NET_KEEPALIVE_EACH_S 3
#define NET_CONNECT_NS (2 * NSEC_PER_SEC) /* the kernel asks at once and after a second: who is silent still, is not there */

/*
 * A connected, non-blocking socket with TCP_NODELAY and keep-alive, and within this machine no pacing, by @deadline_ns. -ETIMEDOUT:
 * not by then, or a host that was silent for NET_CONNECT_NS.
 */
int net_connect(const struct net_addr *a, uint64_t deadline_ns, int *fd);
void net_tune(int fd); /* the options just named, for sockets made by others */
void net_unpace(int fd, const struct net_addr *a); /* before it connects to @a or listens there: no pacing on loopback */
void net_keepalive(int fd, int idle_s, int each_s);

/*
 * A TCP connection whose other end owes something. Whoever waits says when bytes came, and asks when none did: true once the
 * machine there acknowledges nothing any more, after about 1.5 s where round trips are short, later where they are long.
 */
struct net_watch {
	uint64_t look_ns;
	bool probing;
};
void net_watch_heard(struct net_watch *w, int fd); /* also before waiting anew */
bool net_watch_cut_off(struct net_watch *w, int fd);

struct net_cred {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};
int net_peer_cred(int fd, struct net_cred *out); /* Unix sockets; -EOPNOTSUPP on others */

/*
 * A packet on a Unix socket, and a descriptor with it, -1: none; whoever receives one closes it. Neither waits. Return: bytes, or a
 * negative errno. -EBADMSG: more than one descriptor came, and none is left open.
 */
ssize_t net_packet_send(int sock, const void *data, size_t len, int fd);
ssize_t net_packet_recv(int sock, void *data, size_t len, int *fd);

/* ---- frames (frame.c) ----------------------------------------------------------------------------------------- */

/*
 * A frame is a 32-byte header, a body (structured, at most NET_BODY_MAX) and a payload (raw bytes, placed straight into
 * memory). docs/protocol.md, "Frames", has the layout.
 */
#define NET_FRAME_BYTES 32
#define NET_BODY_MAX (16 * MiB)
#define NET_PAYLOAD_MAX ((uint64_t)1 << 40)
#define NET_FDS_MAX 20
#define NET_SUM_BYTES 4 /* CRC-32C, not counted in payload_len */

enum net_frame_flag {
	NET_REPLY = 1,  /* answers the request of the same id */
	NET_ONEWAY = 2, /* a request that gets no reply */
	NET_FDS = 4,	/* file descriptors travel with the first byte of this frame; net sets and checks it itself */
	NET_SUM = 8,	/* the payload's checksum follows it; net sets and checks it itself */
};

struct net_frame {
	uint8_t flags;
	uint16_t type;	 /* proto's message number; a reply repeats the request's */
	int32_t status;	 /* replies: 0 or a negative errno (as on x86-64: proto.h has the table) */
	uint64_t id;
	uint32_t body_len;
	uint64_t payload_len;
};

void net_frame_encode(const struct net_frame *f, uint8_t out[NET_FRAME_BYTES]);
int net_frame_decode(const uint8_t in[NET_FRAME_BYTES], struct net_frame *f); /* -EBADMSG: magic, version, flags, limits */

/* ---- conn: driven by a loop (conn.c) -------------------------------------------------------------------------- */

struct conn;

/* A request that the other end sent. Lives from payload() (or request()) until conn_reply(); NET_ONEWAY: until request() ends. */
struct conn_req {
	struct conn *conn;
	struct net_frame frame;
	const uint8_t *body; /* frame.body_len bytes */
	void *user;	     /* the handler's */
	int nr_fds, fds[NET_FDS_MAX]; /* passed along (Unix only); the handler takes those it sets to -1, the rest are closed */
	/* With NET_SUM, for request(): the payload's CRC-32C as it arrived, and -EBADMSG when another one was sent. */
	uint32_t crc;
	int damaged;
	uint32_t *piece_crc; /* payload() may name a place for the CRC-32C of each piece it returned */
};

struct conn_ops {
	/*
	 * Header and body are here, @frame.payload_len > 0 bytes follow. Put where they belong into @iov (at most @max
	 * pieces, exactly payload_len bytes together) and return the number of pieces; the memory stays valid until
	 * request() or closed(). A negative errno refuses: the bytes are read and dropped, the reply carries the code.
	 * NULL: all payloads are refused with -EOPNOTSUPP.
	 */
	int (*payload)(struct conn_req *r, struct iovec *iov, int max);

	/* All of the request is here. Answer now or later with conn_reply(), exactly once (nothing for NET_ONEWAY: the
	 * request is gone when this returns). */
	void (*request)(struct conn_req *r);

	/*
	 * The stream ended (@err 0: the peer closed in order, or conn_close()). Open calls were failed before. A request in
	 * payload() state is gone, the handler frees what it hung on it; requests not yet answered must still be ended with
	 * conn_reply(), which frees them quietly. Last callback.
	 */
	void (*closed)(struct conn *c, int err);
};

/* Back-pressure: over one of the first two, reading stops, also of replies to conn_call(). */
struct conn_limits {
	size_t out_bytes_max;  /* queued output, and bodies of unanswered requests; 0: 64 MiB each */
	uint32_t requests_max; /* unanswered requests; 0: 1024 */
	uint64_t stall_ns;     /* queued output of which the peer takes nothing for so long ends the stream; 0: 2 minutes */
};

/* Takes over @fd. @user is for conn_user(). All conn_ functions: on the loop's thread. */
int conn_open(struct loop *l, int fd, const struct conn_ops *ops, const struct conn_limits *lim, void *user,
	      struct conn **out);
void conn_close(struct conn *c); /* closed() follows, from the loop, not from within; queued output is dropped */
void conn_drain(struct conn *c); /* refuses new requests with -ESHUTDOWN, closes when the last reply has left */
void *conn_user(const struct conn *c);
struct loop *conn_loop(const struct conn *c);
int conn_fd(const struct conn *c);
uint64_t conn_out_bytes(const struct conn *c);
uint64_t conn_in_left(const struct conn *c); /* missing bytes of what arrives: a body, a payload */

/* What is sent between the two leaves in one system call. Return: was it not so already? Only then uncork. */
bool conn_cork(struct conn *c);
void conn_uncork(struct conn *c);

/*
 * Answers and frees @r. @body is copied. @payload (may be NULL) is not: the memory must stay until @sent(@arg) is called, which
 * always happens once, on success and on a dead stream; it may happen before conn_reply() returns. The iovec array is copied.
 * @fds are duplicated. @shared: others write the payload's memory while it is sent, and the receiver checks what it got.
 */
struct conn_reply {
	int status;
	const void *body;
	size_t body_len;
	const struct iovec *payload;
	int nr_payload;
	bool shared;
	const int *fds;
	int nr_fds;
	void (*sent)(void *arg);
	void *arg;
};
void conn_reply(struct conn_req *r, const struct conn_reply *rep);
void conn_reply_status(struct conn_req *r, int status);

/*
 * A request to the other end. @done runs once: status 0 or the peer's errno, -ETIMEDOUT, -ECONNRESET. @body in it is valid during
 * the call. NULL @done sends NET_ONEWAY. Replies to calls carry no payload.
 * Fails, without @done, with -ECONNRESET, -EMSGSIZE, -ENOMEM, or -ENOBUFS while more than out_bytes_max are queued.
 */
typedef void (*conn_done)(void *arg, int status, const uint8_t *body, size_t len);
int conn_call(struct conn *c, uint16_t type, const void *body, size_t len, uint64_t deadline_ns, conn_done done, void *arg);

/* ---- accepting (listener.c) ----------------------------------------------------------------------------------- */

struct listener;

/* Takes over the listening @fd; @accepted gets each new non-blocking socket. EMFILE pauses for 100 ms and says so. */
int listener_open(struct loop *l, int fd, void (*accepted)(void *arg, int fd), void *arg, struct listener **out);
void listener_close(struct listener *li);

/* ---- mux: driven by its callers (mux.c) ----------------------------------------------------------------------- */

struct mux;

/*
 * One request; the caller's memory, with all that it points to, from mux_submit() until mux_wait()/mux_poll() saw it done or
 * mux_cancel() returned. One thread at a time may use it.
 */
struct mux_req {
	/* In: */
	uint16_t type;
	const void *body;
	size_t body_len;
	const struct iovec *out; /* payload to send */
	int nr_out;
	const struct iovec *in;	 /* where a reply's payload goes; more than fits fails the request with -EMSGSIZE */
	int nr_in;
	const int *out_fds; /* to pass along (Unix sockets only) */
	int nr_out_fds;
	void (*ended)(struct mux_req *r); /* NULL, or told when it is done, by whoever ended it, in the middle of the mux */
	bool sum_out; /* the CRC-32C of @out goes behind it, computed as it leaves: for a peer that knows NET_SUM */
	bool sum_in;  /* compute @crc */
	/* Out, valid when done: */
	int status; /* 0, the peer's errno, -ECONNRESET, -ETIMEDOUT, -EBADMSG */
	struct buf reply; /* the reply's body; zero before the first use, memory is used again; buf_fini() is the caller's */
	uint64_t got;	  /* payload bytes placed in @in */
	uint32_t crc;	  /* their CRC-32C with @sum_in, computed as they arrived */
	int nr_fds, fds[NET_FDS_MAX]; /* the caller's to close */
	/* mux's own: */
	struct list node;
	uint64_t id, out_len, in_len, sent, summed;
	uint8_t sum[NET_SUM_BYTES]; /* of the first @summed bytes of @out */
	int state;
	void *waiter;
};

/* Takes over the connected @fd. */
int mux_open(int fd, struct mux **out);
void mux_set_near(struct mux *m); /* before the first request: the other end is on this machine, whatever its address says */
void mux_close(struct mux *m); /* fails what is open with -ECONNRESET; no other thread may be inside afterwards */
bool mux_broken(const struct mux *m); /* the stream failed: nothing works any more, open another */
int mux_fd(const struct mux *m);     /* to wait for; nothing else */

/*
 * Queues @r and sends what the socket takes. Several requests submitted before a wait share system calls when @more is set
 * on all but the last. Fails only before anything was queued (-ECONNRESET, -EMSGSIZE, -EINVAL): then @r was never submitted.
 */
int mux_submit(struct mux *m, struct mux_req *r, bool more);

/*
 * Sends and receives until @r is done or the deadline passed; then the request is cancelled.
 * Return: r->status; -ETIMEDOUT after the deadline: no byte of r->in changes any more. Thread-safe for different requests.
 */
int mux_wait(struct mux *m, struct mux_req *r, uint64_t deadline_ns);

/* The same, but after the deadline the request stays under way. Return: is it done? */
bool mux_progress(struct mux *m, struct mux_req *r, uint64_t deadline_ns);

bool mux_poll(struct mux *m, struct mux_req *r); /* progress without waiting; is @r done? */
bool mux_done(struct mux *m, const struct mux_req *r); /* is it, without any progress? */
short mux_events(struct mux *m); /* for poll() on mux_fd(): when mux_poll() is worth another call */
void mux_cancel(struct mux *m, struct mux_req *r); /* after it, nothing touches r->in or r->out; idempotent */

/* mux_submit() and mux_wait() in one. */
int mux_call(struct mux *m, struct mux_req *r, uint64_t deadline_ns);

/* ---- HTTP client (http.c, on libcurl) ------------------------------------------------------------------------- */

struct http_tls { /* files in PEM form; NULL: the system's authorities, and no certificate of ours */
	const char *ca, *cert, *key;
};
struct http_call {
	const char *method, *url;
	const char *content_type, *header; /* NULL: none; @header is a whole line */
	const void *body;		   /* NULL: none */
	size_t len;
	size_t max; /* bytes of an answer */
	const struct http_tls *tls;
};
/*
 * One request, blocking, by the deadline. Return: the HTTP status (200 …), or -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH, -EIO,
 * -EACCES (TLS: who is who could not be settled), -EMSGSIZE (answer over @max bytes). @answer receives the body.
 */
int http_call(const struct http_call *c, uint64_t deadline_ns, struct buf *answer);
int http_request(const char *method, const char *url, const char *content_type, const void *body, size_t len, size_t max,
		 uint64_t deadline_ns, struct buf *answer);
int http_escape(const char *text, struct buf *out); /* percent-encodes all but unreserved characters */

/* ---- byte streams for protocols that are not ours (line.c, on libcurl) ------------------------------------------------ */

struct line;
/* "host:port", by the deadline. @tls NULL: none. Errors as http_call()'s. */
int line_open(const char *host_port, const struct http_tls *tls, uint64_t deadline_ns,
		struct line **out);
void line_close(struct line *s);
int line_send(struct line *s, const void *data, size_t len, uint64_t deadline_ns); /* all; -ETIMEDOUT, -ECONNRESET */
/* At least one byte, at most @len. -ECONNRESET: the end, too. */
int line_recv(struct line *s, void *data, size_t len, size_t *got, uint64_t deadline_ns);

#endif
