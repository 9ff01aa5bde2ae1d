/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where segment descriptors are found: one ops table per backend, chosen by the connection string
 * (docs/protocol.md, "Metadata"; keys and JSON are upstream's to the byte).
 *
 *	P2PHANDSHAKE	no service: the peer itself is asked on its handshake port
 *	http(s)://	mooncake-metadata, the master's built-in server, or upstream's
 *	etcd(s)://	v3, through its JSON gateway; several hosts; also "host:port" without a scheme
 *	redis(s)://	in builds with hiredis
 */
#ifndef MC_META_H
#define MC_META_H

#include "base/base.h"
#include "base/loop.h"
#include "proto/proto.h"

struct meta;

/* -EPROTONOSUPPORT: unknown scheme, named in the log with the known ones. */
int meta_open(const char *conn, struct meta **out);
void meta_close(struct meta *m, uint64_t deadline_ns); /* of what is to be said to the service before */
bool meta_is_p2p(const struct meta *m);

/*
 * All block, by the deadline; -ENOENT: no such name; -ECONNREFUSED, -ETIMEDOUT, -EIO: the service;
 * -EBADMSG: its answer.
 */

/*
 * The descriptor of @name. P2P: connects to @name ("host:port") and hands over @self as upstream
 * does.
 */
int meta_get_segment(struct meta *m, const char *name, const struct segment_desc *self,
		     uint64_t deadline_ns, struct segment_desc *out);
/* Publishes; P2P: nothing to do, 0. etcd: for as long as this process lives. */
int meta_put_segment(struct meta *m, const struct segment_desc *desc, uint64_t deadline_ns);
int meta_del_segment(struct meta *m, const char *name, uint64_t deadline_ns);

/*
 * name → host and handshake port. P2P: the name itself. A server that still holds our own stale
 * record is overwritten.
 */
int meta_get_rpc(struct meta *m, const char *name, uint64_t deadline_ns, struct rpc_meta *out);
int meta_put_rpc(struct meta *m, const char *name, const struct rpc_meta *rpc,
		 uint64_t deadline_ns);
int meta_del_rpc(struct meta *m, const char *name, uint64_t deadline_ns);

/* ---- the handshake channel (handshake.c): one request per TCP connection, upstream's framing - */

enum handshake_type { HANDSHAKE_CONNECTION, HANDSHAKE_METADATA, HANDSHAKE_NOTIFY, HANDSHAKE_PROBE };
#define HANDSHAKE_MAX (1 * MiB)

struct handshake_frame {
	uint8_t type; /* enum handshake_type; others are answered with "null" */
	bool legacy;  /* without a type byte: answered in the same way */
	const char *text;
	size_t len;
};
/*
 * 0: a whole frame, @out points into @data; -EAGAIN: more bytes are needed; -EBADMSG: length 0 or
 * over the limit.
 */
int handshake_parse(const void *data, size_t len, struct handshake_frame *out);
void handshake_put(struct buf *b, const struct handshake_frame *f);

/*
 * Sends JSON @text to host:port and receives the answer into @answer (JSON, no terminator counted).
 * Blocks, by the deadline.
 */
int handshake_call(const char *host, uint16_t port, enum handshake_type type, const char *text,
		   uint64_t deadline_ns, struct buf *answer);

struct handshake_server;
struct handshake_ops {
	/* On the loop. The answer's JSON goes into @answer; a negative errno closes without one. NULL: answered with "null". */
	int (*connection)(void *arg, const char *text, size_t len, struct buf *answer);
	int (*metadata)(void *arg, const char *text, size_t len, struct buf *answer);
	int (*notify)(void *arg, const char *text, size_t len, struct buf *answer);
	uint64_t lasts_ns; /* a connection at most, however it goes on; 0: 30 s */
};
/*
 * Takes over the listening @fd. Connections are served concurrently; a silent one is dropped after
 * 5 s, and every one after @ops->lasts_ns.
 */
int handshake_serve(struct loop *l, int fd, const struct handshake_ops *ops, void *arg,
		    struct handshake_server **out);
void handshake_close(struct handshake_server *s);

#endif
