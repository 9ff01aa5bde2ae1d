/* SPDX-License-Identifier: Apache-2.0 */
/* Segments and addresses as texts under keys, the same in every service. */
#include "meta/kv.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"

uint64_t kv_attempt(uint64_t deadline_ns, unsigned hosts_left)
{
	uint64_t now = clock_now_ns(), left = deadline_ns > now ? deadline_ns - now : 0;

	return now + MIN(left / hosts_left, KV_ATTEMPT_NS);
}

int kv_init(struct kv_meta *m, const struct meta_ops *ops, const struct kv_ops *kv,
	    const struct env *env)
{
	const char *cluster = env->metadata_cluster_id;
	int n;

	m->base.ops = ops;
	m->kv = kv;
	keep_init(&m->keep, (uint64_t)env->metadata_check_s * NSEC_PER_SEC);
	if (!*cluster)
		n = snprintf(m->prefix, sizeof(m->prefix), "mooncake/");
	else
		n = snprintf(m->prefix, sizeof(m->prefix), "mooncake/%s%s", cluster,
			     cluster[strlen(cluster) - 1] == '/' ? "" : "/");
	if (n < (int)sizeof(m->prefix))
		return 0;
	log_err("MC_METADATA_CLUSTER_ID has more than 100 characters");
	return -EINVAL;
}

void kv_fini(struct kv_meta *m)
{
	keep_fini(&m->keep);
}

void kv_close(struct meta *base, uint64_t deadline_ns)
{
	struct kv_meta *m = container_of(base, struct kv_meta, base);

	keep_stop(m, deadline_ns);
	m->kv->close(m);
}

/* A name with a slash is a key of its own (upstream: "nvmeof/xyz"). */
static int segment_key(const struct kv_meta *m, const char *name, char key[KV_KEY_MAX])
{
	name += *name == '/';
	return snprintf(key, KV_KEY_MAX, "%s%s%s", m->prefix, strchr(name, '/') ? "" : "ram/",
			name) < KV_KEY_MAX ?
		       0 :
		       -EINVAL;
}

static int rpc_key(const struct kv_meta *m, const char *name, char key[KV_KEY_MAX])
{
	return snprintf(key, KV_KEY_MAX, "%srpc_meta/%s", m->prefix, name + (*name == '/')) <
			       KV_KEY_MAX ?
		       0 :
		       -EINVAL;
}

static int put_text(struct kv_meta *m, const char *key, struct buf *text, uint64_t deadline_ns)
{
	if (m->ends_in_newline)
		buf_put_u8(text, '\n');
	return text->err ? text->err : keep_put(m, key, text->data, text->len, deadline_ns);
}

int kv_get_rpc(struct meta *base, const char *name, uint64_t deadline_ns, struct rpc_meta *out)
{
	struct kv_meta *m = container_of(base, struct kv_meta, base);
	struct buf answer = BUF_INIT;
	char key[KV_KEY_MAX];
	int ret = rpc_key(m, name, key);

	if (!ret)
		ret = m->kv->get(m, key, deadline_ns, &answer);
	if (!ret) {
		ret = rpc_meta_decode((const char *)answer.data, answer.len, out);
		if (ret)
			log_warn_limited("metadata service %s: the address of %s is malformed",
					 m->service, name);
	} else if (ret == -ENOENT) {
		err_note("metadata service %s has no %s", m->service, key);
	}
	buf_fini(&answer);
	return ret;
}

int kv_get_segment(struct meta *base, const char *name, const struct segment_desc *self,
		   uint64_t deadline_ns, struct segment_desc *out)
{
	struct kv_meta *m = container_of(base, struct kv_meta, base);
	struct buf answer = BUF_INIT;
	struct segment_desc desc = { 0 };
	struct rpc_meta rpc;
	char key[KV_KEY_MAX];
	int ret = segment_key(m, name, key);

	if (!ret)
		ret = m->kv->get(m, key, deadline_ns, &answer);
	if (ret == -ENOENT)
		err_note("metadata service %s has no %s", m->service, key);
	if (ret)
		goto out;
	ret = segment_desc_decode((const char *)answer.data, answer.len, &desc);
	if (ret) {
		log_warn_limited("metadata service %s: the descriptor of %s is malformed",
				 m->service, name);
		goto out;
	}
	ret = kv_get_rpc(base, name, deadline_ns, &rpc);
	if (!ret) {
		desc.host = strdup(rpc.host);
		ret = desc.host ? 0 : -ENOMEM;
	}
	if (ret)
		segment_desc_fini(&desc);
	else
		*out = desc;
out:
	buf_fini(&answer);
	return ret;
}

int kv_put_segment(struct meta *base, const struct segment_desc *desc, uint64_t deadline_ns)
{
	struct kv_meta *m = container_of(base, struct kv_meta, base);
	struct buf text = BUF_INIT;
	char key[KV_KEY_MAX];
	int ret = segment_key(m, desc->name, key);

	if (!ret)
		ret = segment_desc_encode(desc, &text);
	if (!ret)
		ret = put_text(m, key, &text, deadline_ns);
	buf_fini(&text);
	return ret;
}

int kv_put_rpc(struct meta *base, const char *name, const struct rpc_meta *rpc,
	       uint64_t deadline_ns)
{
	struct kv_meta *m = container_of(base, struct kv_meta, base);
	struct buf text = BUF_INIT;
	char key[KV_KEY_MAX];
	int ret = rpc_key(m, name, key);

	if (!ret)
		ret = rpc_meta_encode(rpc, &text);
	if (!ret)
		ret = put_text(m, key, &text, deadline_ns);
	buf_fini(&text);
	return ret;
}

int kv_del_segment(struct meta *base, const char *name, uint64_t deadline_ns)
{
	struct kv_meta *m = container_of(base, struct kv_meta, base);
	char key[KV_KEY_MAX];
	int ret = segment_key(m, name, key);

	return ret ? ret : keep_del(m, key, deadline_ns);
}

int kv_del_rpc(struct meta *base, const char *name, uint64_t deadline_ns)
{
	struct kv_meta *m = container_of(base, struct kv_meta, base);
	char key[KV_KEY_MAX];
	int ret = rpc_key(m, name, key);

	return ret ? ret : keep_del(m, key, deadline_ns);
}
