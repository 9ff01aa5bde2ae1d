/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A metadata service that stores text under keys: HTTP, etcd, Redis. The keys and the texts are the same
 * everywhere (kv.c); how text gets there and back is the service's.
 */
#ifndef MC_META_KV_H
#define MC_META_KV_H

#include <pthread.h>

#include "base/list.h"
#include "base/turn.h"
#include "meta/backend.h"
#include "net/net.h"

#define KV_ANSWER_MAX (4 * MiB)
#define KV_ATTEMPT_NS (3 * NSEC_PER_SEC) /* upstream's limit for one request */
#define KV_KEY_MAX    4096

struct kv_meta;

struct kv_ops {
	/* By the deadline. -ENOENT; -ECONNREFUSED, -ETIMEDOUT, -EIO the service; -EBADMSG its answer. Each logs but -ENOENT. */
	int (*get)(struct kv_meta *m, const char *key, uint64_t deadline_ns, struct buf *answer);
	/* In @term; -ENOENT: that is over. */
	int (*put)(struct kv_meta *m, const char *key, const void *text, size_t len, int64_t term,
		   uint64_t deadline_ns);
	int (*del)(struct kv_meta *m, const char *key,
		   uint64_t deadline_ns); /* of nothing: 0 or -ENOENT */
	/* Terms, where the service has a word in them (else NULL): a new one, above 0; is it on, or -ENOENT; it ends, and keys with it. */
	int (*begin)(struct kv_meta *m, uint64_t deadline_ns, int64_t *term);
	int (*alive)(struct kv_meta *m, int64_t term, uint64_t deadline_ns);
	void (*end)(struct kv_meta *m, int64_t term, uint64_t deadline_ns);
	void (*close)(struct kv_meta *m);
};

/* ---- what was published (keep.c) ----------------------------------------------------------------------------------------- */

struct kept { /* a key of ours, to be written again when the service lost it */
	struct list node;
	char *key;
	struct buf text;
	uint64_t version; /* counts the texts */
	int64_t term;	  /* in which this text was written; 0: it was not yet */
};

struct keep {
	struct turn writing; /* one request at a time changes keys: the last word said is the last one that arrives */
	uint64_t period_ns;  /* between two looks */

	pthread_mutex_t lock; /* guards what follows; never held during a request */
	int64_t term;	      /* 0: none yet */
	struct list kept;     /* what was said last comes first */
	pthread_t keeper;
	pthread_cond_t wake;
	bool keeping, stop;
};

void keep_init(struct keep *k, uint64_t period_ns); /* keep_fini() is due in any case */
/*
 * Stores a key for as long as this process lives; the first one starts the keeper. When it fails, what was published under the key
 * before stays, or comes back with the service.
 */
int keep_put(struct kv_meta *m, const char *key, const void *text, size_t len, uint64_t deadline_ns);
int keep_del(struct kv_meta *m, const char *key, uint64_t deadline_ns);
void keep_stop(struct kv_meta *m, uint64_t deadline_ns); /* one second later at most; before anything that requests need goes */
void keep_fini(struct keep *k);

/* ---- services ------------------------------------------------------------------------------------------------------------ */

struct kv_meta { /* the first member of each service's struct */
	struct meta base;
	const struct kv_ops *kv;
	char service[256];    /* for messages: without a password */
	char prefix[128];     /* of all keys */
	bool ends_in_newline; /* texts do, as upstream writes them to databases */
	struct keep keep;
};

/* Of one attempt, with @hosts_left hosts still to be asked: one that swallows everything leaves time for the others. */
uint64_t kv_attempt(uint64_t deadline_ns, unsigned hosts_left);

/* Fills all but @kv->service; kv_fini() is due in any case. -EINVAL: MC_METADATA_CLUSTER_ID is too long. */
int kv_init(struct kv_meta *m, const struct meta_ops *ops, const struct kv_ops *kv,
	    const struct env *env);
void kv_fini(struct kv_meta *m);

/* The entries of a struct meta_ops. */
void kv_close(struct meta *m, uint64_t deadline_ns);
int kv_get_segment(struct meta *m, const char *name, const struct segment_desc *self,
		   uint64_t deadline_ns, struct segment_desc *out);
int kv_put_segment(struct meta *m, const struct segment_desc *desc, uint64_t deadline_ns);
int kv_del_segment(struct meta *m, const char *name, uint64_t deadline_ns);
int kv_get_rpc(struct meta *m, const char *name, uint64_t deadline_ns, struct rpc_meta *out);
int kv_put_rpc(struct meta *m, const char *name, const struct rpc_meta *rpc, uint64_t deadline_ns);
int kv_del_rpc(struct meta *m, const char *name, uint64_t deadline_ns);
#define KV_OPS                                                                           \
	.close = kv_close, .get_segment = kv_get_segment, .put_segment = kv_put_segment, \
	.del_segment = kv_del_segment, .get_rpc = kv_get_rpc, .put_rpc = kv_put_rpc,     \
	.del_rpc = kv_del_rpc

/* ---- connection strings (kv_url.c) --------------------------------------------------------------------------------------- */

#define KV_HOSTS_MAX 16

/* scheme://[user[:password]@]host:port[;host:port…][/database]; both ; and , part hosts. */
struct kv_url {
	char *hosts[KV_HOSTS_MAX]; /* "host:port" */
	unsigned nr_hosts;
	char *user, *password, *path; /* "" when not there; percent-decoded */
	char *text;		      /* that all of them point into */
};
/* @conn without its scheme. -EINVAL with a message: no host, more than KV_HOSTS_MAX, a port that is none; -ENOMEM. */
int kv_url_parse(const char *conn, uint16_t default_port, struct kv_url *out);
void kv_url_fini(struct kv_url *u);

struct kv_access { /* who we are, and who the service has to be */
	char *user, *password; /* "": nobody logs in */
	struct http_tls tls;
};
/* Copies from the connection string, else from the environment. -ENOMEM. */
int kv_access_read(const struct kv_url *u, const struct env_access *env, struct kv_access *out);
void kv_access_fini(struct kv_access *a);

bool kv_url_is_bare(const char *conn); /* "host:port…" without a scheme: an etcd, says upstream */

#endif
