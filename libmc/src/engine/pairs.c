/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queue pairs are joined over the handshake port: whose NICs they are and that both sides mean the same is looked after here,
 * the pairs are the transport's.
 *
 *	asker	 its pairs ──> here	checked, the transport's pair() ──> its pairs, or why not
 *		 ready ──────> here	pair() again ──> an answer without a word
 */
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "engine/engine.h"

#define WHY_MAX 512

/* ---- asked by peers: on the loop ------------------------------------------------------------- */

static struct transport *pairing(struct mc_engine *eng)
{
	for (unsigned i = 0; i < eng->nr_transports; i++)
		if (eng->transport[i]->ops->pair)
			return eng->transport[i];
	return NULL;
}

/* Always false, which is a refusal. */
__attribute__((format(printf, 2, 3))) static bool refuse(char why[WHY_MAX], const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, WHY_MAX, format, ap);
	va_end(ap);
	return false;
}

static bool has_nic(const struct segment_desc *d, const char *name)
{
	for (uint32_t i = 0; i < d->nr_nics; i++)
		if (!strcmp(d->nics[i].name, name))
			return true;
	return false;
}

static void list_nics(const struct segment_desc *d, char *out, size_t size)
{
	size_t len = 0;

	*out = 0;
	for (uint32_t i = 0; i < d->nr_nics && len < size; i++)
		len += (size_t)snprintf(out + len, size - len, "%s%s", i ? ", " : "", d->nics[i].name);
}

/* Is @path, "server@device", one of this process's NICs? What is there does not change once peers can ask. */
static bool path_ok(const struct segment_desc *d, const char *path, char why[WHY_MAX])
{
	const char *server = d->rdma_server_name ? d->rdma_server_name : d->name;
	const char *at = strrchr(path, '@');
	char nics[200];

	if (!at || at == path || !at[1])
		return refuse(why, "peer_nic_path \"%.200s\" is no server@device", path);
	if ((size_t)(at - path) != strlen(server) || memcmp(path, server, (size_t)(at - path)))
		return refuse(why, "peer_nic_path \"%.200s\" is not of this server, which is %.200s", path, server);
	if (has_nic(d, at + 1))
		return true;
	list_nics(d, nics, sizeof(nics));
	return refuse(why, "there is no device %.100s here, but %s", at + 1, nics);
}

static bool asked_well(const struct segment_desc *d, const struct pairs_json *asked, char why[WHY_MAX])
{
	const char *at = strrchr(asked->local_nic_path, '@');

	if (!path_ok(d, asked->peer_nic_path, why))
		return false;
	if (!at || at == asked->local_nic_path || !at[1])
		return refuse(why, "local_nic_path \"%.200s\" is no server@device", asked->local_nic_path);
	return asked->nr_qps || refuse(why, "qp_num is empty: at least one queue pair is expected");
}

static bool joined(struct mc_engine *eng, const struct pairs_json *asked, struct pairs_json *ours, char why[WHY_MAX])
{
	struct transport *t = pairing(eng);
	int ret;

	if (!t)
		return refuse(why, "%.200s has no RDMA here: its descriptor says \"%s\", which is how to reach it", eng->desc.name,
			      eng->desc.protocol);
	if (!asked_well(&eng->desc, asked, why))
		return false;
	ret = t->ops->pair(t, asked, ours);
	if (ours->reply_msg && *ours->reply_msg)
		return refuse(why, "%s", ours->reply_msg);
	if (ret)
		return refuse(why, "queue pairs cannot be joined: %s", strerror(-ret));
	if (asked->ready == PAIRS_READY) {
		pairs_json_fini(ours);
		return true;
	}
	ours->local_nic_path = strdup(asked->peer_nic_path);
	ours->peer_nic_path = strdup(asked->local_nic_path);
	return ours->local_nic_path && ours->peer_nic_path ? true : refuse(why, "no memory");
}

/* Nothing but why. */
static int answer_refusal(const char *asker, const char *why, struct buf *answer)
{
	const struct pairs_json no = { .reply_msg = (char *)why };

	log_warn_limited("peer %.200s wants queue pairs: %s", asker, why);
	return pairs_json_encode(&no, answer);
}

int pairs_serve(void *arg, const char *text, size_t len, struct buf *answer)
{
	struct pairs_json asked, ours = { 0 };
	char why[WHY_MAX];
	int ret = pairs_json_decode(text, len, &asked);

	if (ret == -E2BIG) {
		snprintf(why, sizeof(why), "qp_num is too long: at most %d queue pairs are possible", QPS_MAX);
		return answer_refusal("unknown", why, answer);
	}
	if (ret == -EBADMSG)
		return answer_refusal("unknown", "the exchange is malformed", answer);
	if (ret)
		return ret;
	if (joined(arg, &asked, &ours, why))
		ret = pairs_json_encode(&ours, answer);
	else
		ret = answer_refusal(asked.local_nic_path, why, answer);
	pairs_json_fini(&asked);
	pairs_json_fini(&ours);
	return ret;
}

/* ---- asked by a transport here --------------------------------------------------------------- */

static bool answered_well(const struct pairs_json *ask, const struct pairs_json *got)
{
	if (*got->reply_msg || ask->ready == PAIRS_READY)
		return true;
	return got->nr_qps == ask->nr_qps && !strcmp(got->local_nic_path, ask->peer_nic_path) &&
	       !strcmp(got->peer_nic_path, ask->local_nic_path);
}

int pairs_ask(void *arg, const char *peer, const struct pairs_json *ask, uint64_t deadline_ns, struct pairs_json *answer)
{
	struct buf text = BUF_INIT, in = BUF_INIT;
	struct pairs_json got;
	int ret = pairs_json_encode(ask, &text);

	buf_put_u8(&text, 0);
	if (!ret)
		ret = text.err;
	if (!ret)
		ret = engine_call(arg, peer, HANDSHAKE_CONNECTION, (const char *)text.data, deadline_ns, &in);
	if (ret)
		goto out;
	ret = pairs_json_decode((const char *)in.data, in.len, &got);
	if (!ret && !answered_well(ask, &got)) {
		pairs_json_fini(&got);
		ret = -EPROTO;
	}
	if (ret == -EBADMSG || ret == -E2BIG || ret == -EPROTO) {
		log_warn_limited("peer %s: its answer to queue pairs for %s makes no sense", peer, ask->peer_nic_path);
		ret = -EPROTO;
	}
	if (!ret)
		*answer = got;
out:
	buf_fini(&text);
	buf_fini(&in);
	return ret;
}
