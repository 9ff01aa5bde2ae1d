/* SPDX-License-Identifier: Apache-2.0 */
/* What a metadata backend provides: one table each, one line in meta.c. */
#ifndef MC_META_BACKEND_H
#define MC_META_BACKEND_H

#include "base/env.h"
#include "meta/meta.h"

struct meta_ops {
	const char *name;
	bool (*speaks)(const char *conn);
	/* Keeps nothing of @env, which is the environment as it is now. */
	int (*open)(const char *conn, const struct env *env, struct meta **out);
	void (*close)(struct meta *m, uint64_t deadline_ns);
	int (*get_segment)(struct meta *m, const char *name, const struct segment_desc *self,
			   uint64_t deadline_ns, struct segment_desc *out);
	int (*put_segment)(struct meta *m, const struct segment_desc *desc, uint64_t deadline_ns);
	int (*del_segment)(struct meta *m, const char *name, uint64_t deadline_ns);
	int (*get_rpc)(struct meta *m, const char *name, uint64_t deadline_ns,
		       struct rpc_meta *out);
	int (*put_rpc)(struct meta *m, const char *name, const struct rpc_meta *rpc,
		       uint64_t deadline_ns);
	int (*del_rpc)(struct meta *m, const char *name, uint64_t deadline_ns);
};

struct meta {
	const struct meta_ops *ops;
};

extern const struct meta_ops meta_p2p, meta_http, meta_etcd, meta_redis; /* meta_redis: in builds with hiredis */

#endif
