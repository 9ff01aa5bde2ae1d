/* SPDX-License-Identifier: Apache-2.0 */
/* What etcd.c (requests) and etcd_lease.c (keeping what was published) share. */
#ifndef MC_META_ETCD_H
#define MC_META_ETCD_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/turn.h"
#include "meta/kv.h"
#include "proto/etcd.h"

struct kept { /* a key of ours, to be written again when the service lost it */
	struct list node;
	char *key;
	struct buf text;
	uint64_t version; /* counts the texts */
	int64_t lease;	  /* on which this text was written; 0: it was not yet */
};

struct etcd_meta {
	struct kv_meta kv;
	struct kv_url url;
	struct kv_access access;
	bool use_tls;
	_Atomic unsigned host;	     /* the one that answered last */

	pthread_mutex_t lock; /* guards what follows; never held during a request */
	char header[ETCD_TOKEN_MAX + 32];
	int64_t lease; /* 0: none yet */
	struct list kept; /* what was said last comes first */

	struct turn writing; /* one request at a time changes keys: the last word said is the last one that arrives */

	unsigned ttl_s;
	pthread_t keeper;
	pthread_cond_t wake;
	bool keeping, stop;
};

/* One request to the first host that answers. 0: status 200; -ENOENT: its lease is no more. Logs what goes wrong. */
int etcd_ask(struct etcd_meta *m, const char *path, const struct buf *body, uint64_t deadline_ns,
	     struct buf *answer);
int etcd_write(struct etcd_meta *m, const char *key, const void *text, size_t len, int64_t lease,
	       uint64_t deadline_ns);

void lease_init(struct etcd_meta *m);
int lease_read_ttl(struct etcd_meta *m); /* -EINVAL: MC_ETCD_LEASE_TTL_S */
/*
 * Stores a key that lives as long as this process does; the first one starts the keeper. When it fails, what was published under
 * the key before stays, or comes back with the service.
 */
int lease_put(struct etcd_meta *m, const char *key, const void *text, size_t len,
	      uint64_t deadline_ns);
void lease_forget(struct etcd_meta *m, const char *key); /* with the turn @writing */
void lease_end(struct etcd_meta *m); /* within two seconds; keys that are left go with the lease */

#endif
