/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No metadata service: the peer itself, whose name is where it listens, is asked for its
 * descriptor.
 */
#include "base/log.h"
#include "meta/backend.h"
#include "net/net.h"

static bool p2p_speaks(const char *conn)
{
	return !strcmp(conn, "P2PHANDSHAKE");
}

static int p2p_open(const char *conn, const struct env *env, struct meta **out)
{
	struct meta *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->ops = &meta_p2p;
	*out = m;
	return 0;
}

static void p2p_close(struct meta *m, uint64_t deadline_ns)
{
	free(m);
}

static int p2p_get_rpc(struct meta *m, const char *name, uint64_t deadline_ns, struct rpc_meta *out)
{
	struct rpc_meta rpc;
	int ret = net_split_host_port(name, rpc.host, sizeof(rpc.host), &rpc.port);

	if (ret || !rpc.port) {
		err_note("peer \"%s\": without a metadata service a name must be host:port", name);
		return -ENOENT;
	}
	*out = rpc;
	return 0;
}

/* Both descriptors cross in one exchange: upstream expects ours in the request. */
static int p2p_get_segment(struct meta *m, const char *name, const struct segment_desc *self,
			   uint64_t deadline_ns, struct segment_desc *out)
{
	struct buf text = BUF_INIT, answer = BUF_INIT;
	struct segment_desc desc = { 0 };
	struct rpc_meta rpc;
	int ret = p2p_get_rpc(m, name, deadline_ns, &rpc);

	if (ret)
		return ret;
	ret = segment_desc_encode(self, &text);
	buf_put_u8(&text, 0);
	if (!ret)
		ret = text.err;
	if (!ret)
		ret = handshake_call(rpc.host, rpc.port, HANDSHAKE_METADATA,
				     (const char *)text.data, deadline_ns, &answer);
	if (ret)
		goto out;
	ret = segment_desc_decode((const char *)answer.data, answer.len, &desc);
	if (ret) {
		log_warn_limited("peer %s: its segment descriptor is malformed", name);
		goto out;
	}
	desc.host = strdup(rpc.host);
	if (!desc.host) {
		segment_desc_fini(&desc);
		ret = -ENOMEM;
		goto out;
	}
	*out = desc;
out:
	buf_fini(&text);
	buf_fini(&answer);
	return ret;
}

static int p2p_put_segment(struct meta *m, const struct segment_desc *desc, uint64_t deadline_ns)
{
	return 0;
}

static int p2p_put_rpc(struct meta *m, const char *name, const struct rpc_meta *rpc,
		       uint64_t deadline_ns)
{
	return 0;
}

static int p2p_del(struct meta *m, const char *name, uint64_t deadline_ns)
{
	return 0;
}

const struct meta_ops meta_p2p = {
	.name = "P2PHANDSHAKE",
	.speaks = p2p_speaks,
	.open = p2p_open,
	.close = p2p_close,
	.get_segment = p2p_get_segment,
	.put_segment = p2p_put_segment,
	.del_segment = p2p_del,
	.get_rpc = p2p_get_rpc,
	.put_rpc = p2p_put_rpc,
	.del_rpc = p2p_del,
};
