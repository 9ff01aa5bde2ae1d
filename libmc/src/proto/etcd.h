/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said to etcd's JSON gateway (v3): requests are written, answers read. Keys and values travel in base64, 64-bit numbers as
 * strings.
 */
#ifndef MC_PROTO_ETCD_H
#define MC_PROTO_ETCD_H

#include "base/buf.h"

#define ETCD_TOKEN_MAX 1024

void etcd_encode_put(struct buf *b, const char *key, const void *value, size_t len,
		     int64_t lease);		       /* /v3/kv/put; @lease 0: none */
void etcd_encode_key(struct buf *b, const char *key);  /* /v3/kv/range, /v3/kv/deleterange */
void etcd_encode_grant(struct buf *b, unsigned ttl_s); /* /v3/lease/grant */
void etcd_encode_lease(struct buf *b, int64_t lease);  /* /v3/lease/keepalive, /v3/lease/revoke */
void etcd_encode_login(struct buf *b, const char *user,
		       const char *password); /* /v3/auth/authenticate */

/* All: -EBADMSG. */
int etcd_decode_value(const char *text, size_t len,
		      struct buf *value); /* of range: appended; -ENOENT: no such key */
int etcd_decode_deleted(const char *text, size_t len); /* of deleterange: 0; -ENOENT */
int etcd_decode_grant(const char *text, size_t len, int64_t *lease);
int etcd_decode_alive(const char *text,
		      size_t len); /* of keepalive: 0; -ENOENT: that lease is no more */
int etcd_decode_token(const char *text, size_t len, char token[ETCD_TOKEN_MAX]);
/* The message of an answer that is an error; "" when there is none. */
void etcd_decode_error(const char *text, size_t len, char out[256]);

#endif
