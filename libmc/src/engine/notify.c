/* SPDX-License-Identifier: Apache-2.0 */
/* Messages and probes to peers, and what peers ask here on the handshake port. */
#include "engine/engine.h"

#include "base/log.h"

/* ---- asked by peers: on the loop ------------------------------------------------------------- */

/* The asker's own descriptor is in @text; nothing here needs it. */
static int serve_metadata(void *arg, const char *text, size_t len, struct buf *answer)
{
	struct mc_engine *eng = arg;
	int ret;

	pthread_mutex_lock(&eng->desc_lock);
	ret = segment_desc_encode(&eng->desc, answer);
	pthread_mutex_unlock(&eng->desc_lock);
	return ret ? ret : answer->err;
}

static void notify_free(struct notify_msg *n)
{
	notify_json_fini(&n->json);
	free(n);
}

static void keep(struct mc_engine *eng, struct notify_msg *n)
{
	struct notify_msg *old = NULL;

	pthread_mutex_lock(&eng->notify_lock);
	list_append(&eng->notifies, &n->node);
	if (eng->nr_notifies < ENGINE_NOTIFIES_MAX) {
		eng->nr_notifies++;
	} else {
		old = list_first(&eng->notifies, struct notify_msg, node);
		list_del(&old->node);
		eng->notifies_lost++;
		log_warn_limited("nobody collects messages: %llu were dropped, %d are kept",
				 (unsigned long long)eng->notifies_lost, ENGINE_NOTIFIES_MAX);
	}
	pthread_mutex_unlock(&eng->notify_lock);
	if (old)
		notify_free(old);
}

static int serve_notify(void *arg, const char *text, size_t len, struct buf *answer)
{
	struct notify_json yes = { .name = (char *)"", .msg = (char *)"success" };
	struct notify_msg *n = calloc(1, sizeof(*n));
	int ret = n ? notify_json_decode(text, len, &n->json) : -ENOMEM;

	if (ret) {
		free(n);
		return ret;
	}
	keep(arg, n);
	return notify_json_encode(&yes, answer);
}

const struct handshake_ops engine_handshake_ops = {
	.connection = pairs_serve,
	.metadata = serve_metadata,
	.notify = serve_notify,
};

void notifies_free(struct mc_engine *eng)
{
	while (!list_empty(&eng->notifies)) {
		struct notify_msg *n = list_first(&eng->notifies, struct notify_msg, node);

		list_del(&n->node);
		notify_free(n);
	}
}

/* ---- the calls ------------------------------------------------------------------------------- */

int engine_call(struct mc_engine *eng, const char *peer, enum handshake_type type, const char *text, uint64_t deadline_ns,
		struct buf *answer)
{
	struct rpc_meta rpc;
	int ret = meta_get_rpc(eng->meta, peer, deadline_ns, &rpc);

	return ret ? ret : handshake_call(rpc.host, rpc.port, type, text, deadline_ns, answer);
}

int mc_notify_send(struct mc_segment *seg, const char *name, const char *msg, uint64_t deadline_ns)
{
	const struct notify_json json = { .name = (char *)name, .msg = (char *)msg };
	struct buf text = BUF_INIT, answer = BUF_INIT;
	struct notify_json reply;
	int ret;

	if (engine_forked(seg->eng))
		return engine_refuse_fork();
	if (!name || !msg)
		return -EINVAL;
	ret = notify_json_encode(&json, &text);
	buf_put_u8(&text, 0);
	if (!ret)
		ret = text.err;
	if (!ret)
		ret = engine_call(seg->eng, seg->name, HANDSHAKE_NOTIFY, (const char *)text.data, deadline_ns, &answer);
	if (!ret)
		ret = notify_json_decode((const char *)answer.data, answer.len, &reply);
	if (!ret) {
		ret = *reply.msg ? 0 : -EPERM;
		notify_json_fini(&reply);
	}
	buf_fini(&text);
	buf_fini(&answer);
	return ret;
}

int mc_notify_recv(struct mc_engine *eng, struct mc_notify *out)
{
	struct notify_msg *n;

	if (engine_forked(eng))
		return engine_refuse_fork();
	pthread_mutex_lock(&eng->notify_lock);
	n = list_first(&eng->notifies, struct notify_msg, node);
	if (n) {
		list_del(&n->node);
		eng->nr_notifies--;
	}
	pthread_mutex_unlock(&eng->notify_lock);
	if (!n)
		return 0;
	/* The strings go to the caller, the rest goes. */
	*out = (struct mc_notify){ n->json.name, n->json.msg };
	free(n);
	return 1;
}

int mc_probe(struct mc_engine *eng, const char *name, uint64_t deadline_ns)
{
	struct buf answer = BUF_INIT;
	int ret;

	if (engine_forked(eng))
		return engine_refuse_fork();
	if (!name || !*name)
		return -ENOENT;
	ret = engine_call(eng, name, HANDSHAKE_PROBE, "{}", deadline_ns, &answer);
	buf_fini(&answer);
	return ret;
}
