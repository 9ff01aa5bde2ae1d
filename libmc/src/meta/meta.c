/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses the metadata backend by the connection string; everything else is the backend's. */
#include <strings.h>

#include "base/log.h"
#include "meta/backend.h"

static const struct meta_ops *const backends[] = {
	&meta_p2p,
	&meta_http,
	&meta_etcd,
#ifdef MC_WITH_REDIS
	&meta_redis,
#endif
};

static int open_with(const struct meta_ops *ops, const char *conn, struct meta **out)
{
	struct env env;
	int ret = env_open(&env);

	if (ret)
		return ret;
	ret = ops->open(conn, &env, out);
	env_close(&env);
	return ret;
}

int meta_open(const char *conn, struct meta **out)
{
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
		if (backends[i]->speaks(conn))
			return open_with(backends[i], conn, out);
	}
#ifndef MC_WITH_REDIS
	if (!strncasecmp(conn, "redis", 5)) {
		log_err("metadata service %s: this build has no Redis; build where libhiredis-dev is installed", conn);
		return -EPROTONOSUPPORT;
	}
#endif
	log_err("metadata service \"%s\" is of no kind that this build knows: use \"P2PHANDSHAKE\", "
		"\"http://host:port/metadata\", \"etcd://host:port\" or \"redis://host:port\"",
		conn);
	return -EPROTONOSUPPORT;
}

void meta_close(struct meta *m, uint64_t deadline_ns)
{
	if (m)
		m->ops->close(m, deadline_ns);
}

bool meta_is_p2p(const struct meta *m)
{
	return m->ops == &meta_p2p;
}

int meta_get_segment(struct meta *m, const char *name, const struct segment_desc *self,
		     uint64_t deadline_ns, struct segment_desc *out)
{
	return m->ops->get_segment(m, name, self, deadline_ns, out);
}

int meta_put_segment(struct meta *m, const struct segment_desc *desc, uint64_t deadline_ns)
{
	return m->ops->put_segment(m, desc, deadline_ns);
}

int meta_del_segment(struct meta *m, const char *name, uint64_t deadline_ns)
{
	return m->ops->del_segment(m, name, deadline_ns);
}

int meta_get_rpc(struct meta *m, const char *name, uint64_t deadline_ns, struct rpc_meta *out)
{
	return m->ops->get_rpc(m, name, deadline_ns, out);
}

int meta_put_rpc(struct meta *m, const char *name, const struct rpc_meta *rpc, uint64_t deadline_ns)
{
	return m->ops->put_rpc(m, name, rpc, deadline_ns);
}

int meta_del_rpc(struct meta *m, const char *name, uint64_t deadline_ns)
{
	return m->ops->del_rpc(m, name, deadline_ns);
}
