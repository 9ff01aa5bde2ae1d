/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP metadata service: GET, PUT and DELETE of <url>?key=<key>; only status 200 is success, as
 * upstream has it.
 */
#include <stdio.h>
#include <strings.h>

#include "base/log.h"
#include "meta/kv.h"

struct http_meta {
	struct kv_meta kv;
	char *url;
};

static bool http_speaks(const char *conn)
{
	return !strncasecmp(conn, "http://", 7) || !strncasecmp(conn, "https://", 8);
}

static void http_close(struct kv_meta *kv)
{
	struct http_meta *m = container_of(kv, struct http_meta, kv);

	kv_fini(kv);
	free(m->url);
	free(m);
}

/* One request. Return: the HTTP status, or a negative errno. */
static int ask(const struct http_meta *m, const char *method, const char *key, const void *body,
	       size_t len, uint64_t deadline_ns, struct buf *answer)
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
				   body, len, KV_ANSWER_MAX,
				   kv_attempt(deadline_ns, 1), answer);
	buf_fini(&url);
	if (ret < 0)
		log_warn_limited("metadata service %s: %s %s: %s", m->kv.service, method, key,
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
	if (status == 404)
		return -ENOENT;
	log_warn_limited("metadata service %s: %s %s: status %d: %.*s", m->kv.service, method, key, status,
			 (int)MIN(answer->len, (size_t)200),
			 answer->data ? (const char *)answer->data : "");
	return -EIO;
}

static int http_get(struct kv_meta *kv, const char *key, uint64_t deadline_ns, struct buf *answer)
{
	struct http_meta *m = container_of(kv, struct http_meta, kv);

	return verdict(m, "GET", key, ask(m, "GET", key, NULL, 0, deadline_ns, answer), answer);
}

static int http_del(struct kv_meta *kv, const char *key, uint64_t deadline_ns)
{
	struct http_meta *m = container_of(kv, struct http_meta, kv);
	struct buf answer = BUF_INIT;
	int ret = ask(m, "DELETE", key, NULL, 0, deadline_ns, &answer);

	ret = verdict(m, "DELETE", key, ret, &answer);
	buf_fini(&answer);
	return ret;
}

/*
 * Servers refuse to replace an rpc_meta: upstream's in Python even by the same text. A record under
 * our own name that is still there is from an earlier run that ended without removing it.
 */
static int make_way(struct kv_meta *kv, const char *key, const void *text, size_t len,
		    uint64_t deadline_ns)
{
	struct buf answer = BUF_INIT;
	int ret = http_get(kv, key, deadline_ns, &answer);
	bool same = !ret && answer.len == len && !memcmp(answer.data, text, len);

	buf_fini(&answer);
	if (same)
		return -EALREADY;
	ret = http_del(kv, key, deadline_ns);
	return ret == -ENOENT ? 0 : ret;
}

static int http_put(struct kv_meta *kv, const char *key, const void *text, size_t len, int64_t term,
		    uint64_t deadline_ns)
{
	struct http_meta *m = container_of(kv, struct http_meta, kv);
	struct buf answer = BUF_INIT;
	int ret = ask(m, "PUT", key, text, len, deadline_ns, &answer);

	if (ret == 400 && strstr(key, "rpc_meta")) {
		ret = make_way(kv, key, text, len, deadline_ns);
		if (!ret)
			ret = ask(m, "PUT", key, text, len, deadline_ns, &answer);
		if (ret == -EALREADY)
			ret = 200;
	}
	ret = verdict(m, "PUT", key, ret, &answer);
	buf_fini(&answer);
	return ret == -ENOENT ? -EIO : ret; /* no such service at that path */
}

static const struct kv_ops http_ops = {
	.get = http_get,
	.put = http_put,
	.del = http_del,
	.close = http_close,
};

static void hide_login(const char *url, char *out, size_t size)
{
	const char *host = strstr(url, "://") + 3;
	const char *at = memrchr(host, '@', strcspn(host, "/?#"));

	snprintf(out, size, "%.*s%s", (int)(host - url), url, at ? at + 1 : host);
}

static int http_open(const char *conn, const struct env *env, struct meta **out)
{
	struct http_meta *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return -ENOMEM;
	hide_login(conn, m->kv.service, sizeof(m->kv.service));
	m->url = strdup(conn);
	ret = kv_init(&m->kv, &meta_http, &http_ops, env);
	if (!ret && !m->url)
		ret = -ENOMEM;
	if (ret) {
		http_close(&m->kv);
		return ret;
	}
	*out = &m->kv.base;
	return 0;
}

const struct meta_ops meta_http = {
	.name = "http",
	.speaks = http_speaks,
	.open = http_open,
	KV_OPS,
};
