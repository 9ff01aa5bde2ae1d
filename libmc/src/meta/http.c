/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP metadata service: GET, PUT and DELETE of <url>?key=<key>; only status 200 is success, as
 * upstream has it.
 */
#include <stdio.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "meta/backend.h"
#include "net/net.h"

#define ANSWER_MAX (4 * MiB)
#define ATTEMPT_NS (3 * NSEC_PER_SEC) /* upstream's limit for one request */

struct http_meta {
	struct meta base;
	char *url;
	char prefix[128]; /* of all keys */
};

static bool http_speaks(const char *conn)
{
	return !strncasecmp(conn, "http://", 7) || !strncasecmp(conn, "https://", 8);
}

static int http_open(const char *conn, struct meta **out)
{
	const char *cluster = getenv("MC_METADATA_CLUSTER_ID");
	struct http_meta *m = calloc(1, sizeof(*m));
	int n;

	if (!m)
		return -ENOMEM;
	m->base.ops = &meta_http;
	if (!cluster || !*cluster)
		n = snprintf(m->prefix, sizeof(m->prefix), "mooncake/");
	else
		n = snprintf(m->prefix, sizeof(m->prefix), "mooncake/%s%s", cluster,
			     cluster[strlen(cluster) - 1] == '/' ? "" : "/");
	if (n >= (int)sizeof(m->prefix)) {
		log_err("MC_METADATA_CLUSTER_ID has more than 100 characters");
		free(m);
		return -EINVAL;
	}
	m->url = strdup(conn);
	if (!m->url) {
		free(m);
		return -ENOMEM;
	}
	*out = &m->base;
	return 0;
}

static void http_close(struct meta *base)
{
	struct http_meta *m = container_of(base, struct http_meta, base);

	free(m->url);
	free(m);
}

/* One request. Return: the HTTP status, or a negative errno. */
static int ask(const struct http_meta *m, const char *method, const char *key,
	       const struct buf *body, uint64_t deadline_ns, struct buf *answer)
{
	struct buf url = BUF_INIT;
	int ret;

	buf_printf(&url, "%s?key=", m->url);
	ret = http_escape(key, &url);
	buf_put_u8(&url, 0);
	if (!ret)
		ret = url.err;
	if (!ret)
		ret = http_request(method, (const char *)url.data, body ? "application/json" : NULL,
				   body ? body->data : NULL, body ? body->len : 0, ANSWER_MAX,
				   MIN(deadline_ns, deadline_after_ns(ATTEMPT_NS)), answer);
	buf_fini(&url);
	if (ret < 0)
		log_warn_limited("metadata service %s: %s %s: %s", m->url, method, key,
				 strerror(-ret));
	return ret == -EMSGSIZE ? -EBADMSG : ret;
}

/* 0 for 200, -ENOENT for 404, -EIO with a line in the log for everything else. */
static int verdict(const struct http_meta *m, const char *method, const char *key, int status,
		   const struct buf *answer)
{
	if (status < 0)
		return status;
	if (status == 200)
		return 0;
	if (status == 404) {
		err_note("metadata service %s has no %s", m->url, key);
		return -ENOENT;
	}
	log_warn_limited("metadata service %s: %s %s: status %d: %.*s", m->url, method, key, status,
			 (int)MIN(answer->len, (size_t)200),
			 answer->data ? (const char *)answer->data : "");
	return -EIO;
}

static int http_get(const struct http_meta *m, const char *key, uint64_t deadline_ns,
		    struct buf *answer)
{
	int status = ask(m, "GET", key, NULL, deadline_ns, answer);

	return verdict(m, "GET", key, status, answer);
}

static int http_put(const struct http_meta *m, const char *key, const struct buf *body,
		    uint64_t deadline_ns)
{
	struct buf answer = BUF_INIT;
	int ret = ask(m, "PUT", key, body, deadline_ns, &answer);

	ret = verdict(m, "PUT", key, ret, &answer);
	buf_fini(&answer);
	return ret;
}

static int http_del(const struct http_meta *m, const char *key, uint64_t deadline_ns)
{
	struct buf answer = BUF_INIT;
	int ret = ask(m, "DELETE", key, NULL, deadline_ns, &answer);

	ret = verdict(m, "DELETE", key, ret, &answer);
	buf_fini(&answer);
	return ret;
}

/* A name with a slash is a key of its own (upstream: "nvmeof/xyz"). */
static void segment_key(const struct http_meta *m, const char *name, struct buf *key)
{
	name += *name == '/';
	buf_printf(key, "%s%s%s", m->prefix, strchr(name, '/') ? "" : "ram/", name);
	buf_put_u8(key, 0);
}

static void rpc_key(const struct http_meta *m, const char *name, struct buf *key)
{
	buf_printf(key, "%srpc_meta/%s", m->prefix, name + (*name == '/'));
	buf_put_u8(key, 0);
}

static int http_get_rpc(struct meta *base, const char *name, uint64_t deadline_ns,
			struct rpc_meta *out)
{
	struct http_meta *m = container_of(base, struct http_meta, base);
	struct buf key = BUF_INIT, answer = BUF_INIT;
	int ret;

	rpc_key(m, name, &key);
	ret = key.err ? key.err : http_get(m, (const char *)key.data, deadline_ns, &answer);
	if (!ret)
		ret = rpc_meta_decode((const char *)answer.data, answer.len, out);
	buf_fini(&key);
	buf_fini(&answer);
	return ret;
}

static int http_get_segment(struct meta *base, const char *name, const struct segment_desc *self,
			    uint64_t deadline_ns, struct segment_desc *out)
{
	struct http_meta *m = container_of(base, struct http_meta, base);
	struct buf key = BUF_INIT, answer = BUF_INIT;
	struct segment_desc desc = { 0 };
	struct rpc_meta rpc;
	int ret;

	segment_key(m, name, &key);
	ret = key.err ? key.err : http_get(m, (const char *)key.data, deadline_ns, &answer);
	if (ret)
		goto out;
	ret = segment_desc_decode((const char *)answer.data, answer.len, &desc);
	if (ret) {
		log_warn_limited("metadata service %s: the descriptor of %s is malformed", m->url,
				 name);
		goto out;
	}
	ret = http_get_rpc(base, name, deadline_ns, &rpc);
	if (!ret) {
		desc.host = strdup(rpc.host);
		ret = desc.host ? 0 : -ENOMEM;
	}
	if (ret)
		segment_desc_fini(&desc);
	else
		*out = desc;
out:
	buf_fini(&key);
	buf_fini(&answer);
	return ret;
}

static int http_put_segment(struct meta *base, const struct segment_desc *desc,
			    uint64_t deadline_ns)
{
	struct http_meta *m = container_of(base, struct http_meta, base);
	struct buf key = BUF_INIT, body = BUF_INIT;
	int ret;

	segment_key(m, desc->name, &key);
	ret = segment_desc_encode(desc, &body);
	if (!ret)
		ret = key.err ? key.err : body.err;
	if (!ret)
		ret = http_put(m, (const char *)key.data, &body, deadline_ns);
	buf_fini(&key);
	buf_fini(&body);
	return ret;
}

/*
 * Servers refuse to replace an rpc_meta: upstream's in Python even by the same text. A record under
 * our own name that is still there is from an earlier run that ended without removing it.
 */
static int put_rpc_again(const struct http_meta *m, const char *key, const struct buf *body,
			 uint64_t deadline_ns)
{
	struct buf answer = BUF_INIT;
	int ret = http_get(m, key, deadline_ns, &answer);
	bool same = !ret && answer.len == body->len && !memcmp(answer.data, body->data, body->len);

	buf_fini(&answer);
	if (same)
		return 0;
	ret = http_del(m, key, deadline_ns);
	if (ret && ret != -ENOENT)
		return ret;
	return http_put(m, key, body, deadline_ns);
}

static int http_put_rpc(struct meta *base, const char *name, const struct rpc_meta *rpc,
			uint64_t deadline_ns)
{
	struct http_meta *m = container_of(base, struct http_meta, base);
	struct buf key = BUF_INIT, body = BUF_INIT, answer = BUF_INIT;
	int ret;

	rpc_key(m, name, &key);
	ret = rpc_meta_encode(rpc, &body);
	if (!ret)
		ret = key.err ? key.err : body.err;
	if (ret)
		goto out;
	ret = ask(m, "PUT", (const char *)key.data, &body, deadline_ns, &answer);
	if (ret == 400)
		ret = put_rpc_again(m, (const char *)key.data, &body, deadline_ns);
	else
		ret = verdict(m, "PUT", (const char *)key.data, ret, &answer);
out:
	buf_fini(&key);
	buf_fini(&body);
	buf_fini(&answer);
	return ret;
}

static int http_del_segment(struct meta *base, const char *name, uint64_t deadline_ns)
{
	struct http_meta *m = container_of(base, struct http_meta, base);
	struct buf key = BUF_INIT;
	int ret;

	segment_key(m, name, &key);
	ret = key.err ? key.err : http_del(m, (const char *)key.data, deadline_ns);
	buf_fini(&key);
	return ret;
}

static int http_del_rpc(struct meta *base, const char *name, uint64_t deadline_ns)
{
	struct http_meta *m = container_of(base, struct http_meta, base);
	struct buf key = BUF_INIT;
	int ret;

	rpc_key(m, name, &key);
	ret = key.err ? key.err : http_del(m, (const char *)key.data, deadline_ns);
	buf_fini(&key);
	return ret;
}

const struct meta_ops meta_http = {
	.name = "http",
	.speaks = http_speaks,
	.open = http_open,
	.close = http_close,
	.get_segment = http_get_segment,
	.put_segment = http_put_segment,
	.del_segment = http_del_segment,
	.get_rpc = http_get_rpc,
	.put_rpc = http_put_rpc,
	.del_rpc = http_del_rpc,
};
