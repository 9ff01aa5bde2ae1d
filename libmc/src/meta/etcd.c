/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd v3 through its JSON gateway. A term is a lease, which keep.c keeps alive, so that what a process published goes when it
 * dies; upstream's keys have none and stay.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>

#include "base/log.h"
#include "meta/kv.h"
#include "proto/etcd.h"

#define ETCD_PORT 2379

struct etcd_meta {
	struct kv_meta kv;
	struct kv_url url;
	struct kv_access access;
	bool use_tls;
	unsigned ttl_s;
	_Atomic unsigned host; /* the one that answered last */

	pthread_mutex_t lock; /* guards what follows; never held during a request */
	char header[ETCD_TOKEN_MAX + 32];
};

/* ---- requests ------------------------------------------------------------------------------------------------------------ */

static int call(struct etcd_meta *m, unsigned host, const char *path, const struct buf *body,
		const char *header, uint64_t deadline_ns, struct buf *answer)
{
	struct buf url = BUF_INIT;
	struct http_call c = {
		.method = "POST",
		.content_type = "application/json",
		.header = header,
		.body = body->data,
		.len = body->len,
		.max = KV_ANSWER_MAX * 4 / 3 + KiB,
		.tls = m->use_tls ? &m->access.tls : NULL,
	};
	int ret;

	buf_printf(&url, "http%s://%s%s", m->use_tls ? "s" : "", m->url.hosts[host], path);
	buf_put_u8(&url, 0);
	c.url = (char *)url.data;
	ret = url.err ? url.err : http_call(&c, deadline_ns, answer);
	buf_fini(&url);
	return ret;
}

/* A token, when the connection string or the environment names a user. Return: 0, or what call() says of a host that failed. */
static int login(struct etcd_meta *m, unsigned host, uint64_t deadline_ns, struct buf *answer)
{
	struct buf body = BUF_INIT;
	char token[ETCD_TOKEN_MAX], why[256];
	int ret;

	etcd_encode_login(&body, m->access.user, m->access.password);
	ret = body.err ? body.err :
			 call(m, host, "/v3/auth/authenticate", &body, NULL, deadline_ns, answer);
	buf_fini(&body);
	if (ret < 0 || ret >= 500)
		return ret;
	if (ret != 200) {
		etcd_decode_error((char *)answer->data, answer->len, why);
		log_err_limited("metadata service %s: user %s is refused: %s", m->kv.service,
				m->access.user, why);
		return -EACCES;
	}
	ret = etcd_decode_token((char *)answer->data, answer->len, token);
	if (ret)
		return ret;
	pthread_mutex_lock(&m->lock);
	snprintf(m->header, sizeof(m->header), "Authorization: %s", token);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int call_as_user(struct etcd_meta *m, unsigned host, const char *path,
			const struct buf *body, uint64_t deadline_ns, struct buf *answer)
{
	char header[sizeof(m->header)];

	pthread_mutex_lock(&m->lock);
	memcpy(header, m->header, sizeof(header));
	pthread_mutex_unlock(&m->lock);
	return call(m, host, path, body, *header ? header : NULL, deadline_ns, answer);
}

static bool has_token(struct etcd_meta *m)
{
	bool has;

	pthread_mutex_lock(&m->lock);
	has = m->header[0];
	pthread_mutex_unlock(&m->lock);
	return has;
}

/* At one host; tokens run out, so a refused one is renewed. Return: status, or a negative errno. */
static int ask_host(struct etcd_meta *m, unsigned host, const char *path, const struct buf *body,
		    uint64_t deadline_ns, struct buf *answer)
{
	bool has_user = *m->access.user;
	int ret = has_user && !has_token(m) ? login(m, host, deadline_ns, answer) : 0;

	if (!ret)
		ret = call_as_user(m, host, path, body, deadline_ns, answer);
	if (ret != 401 || !has_user)
		return ret;
	ret = login(m, host, deadline_ns, answer);
	return ret ? ret : call_as_user(m, host, path, body, deadline_ns, answer);
}

/* Is the next host worth asking? What this one refuses, the others refuse too. */
static bool host_failed(int ret)
{
	return ret == -ECONNREFUSED || ret == -ETIMEDOUT || ret == -EHOSTUNREACH || ret == -EIO ||
	       ret >= 500;
}

/* A 404 of the gateway is of a lease; of something else that is no etcd, it is only an error. */
static bool is_lost_lease(const struct buf *answer)
{
	char why[256];

	etcd_decode_error((char *)answer->data, answer->len, why);
	return strstr(why, "lease");
}

static void complain(const struct etcd_meta *m, const char *path, int ret, const struct buf *answer)
{
	char why[256];

	if (ret < 0) {
		log_warn_limited("metadata service %s: %s: %s", m->kv.service, path,
				 strerror(-ret));
		return;
	}
	etcd_decode_error((char *)answer->data, answer->len, why);
	log_warn_limited("metadata service %s: %s: status %d: %s", m->kv.service, path, ret, why);
}

/* One request to the first host that answers. 0: status 200; -ENOENT: its lease is no more. Logs what goes wrong. */
static int ask(struct etcd_meta *m, const char *path, const struct buf *body, uint64_t deadline_ns,
	       struct buf *answer)
{
	unsigned first = atomic_load(&m->host), nr = m->url.nr_hosts;
	int ret = -EIO;

	if (body->err)
		return body->err;
	for (unsigned i = 0; i < nr; i++) {
		unsigned host = (first + i) % nr;

		ret = ask_host(m, host, path, body, kv_attempt(deadline_ns, nr - i), answer);
		if (!host_failed(ret)) {
			atomic_store(&m->host, host);
			break;
		}
	}
	if (ret == 200)
		return 0;
	if (ret == 404 && is_lost_lease(answer))
		return -ENOENT;
	complain(m, path, ret, answer);
	return ret == -EMSGSIZE		? -EBADMSG :
	       ret < 0			? ret :
	       ret == 401 || ret == 403 ? -EACCES :
					  -EIO;
}

/* ---- what kv.h wants ----------------------------------------------------------------------------------------------------- */

static struct etcd_meta *of(struct kv_meta *kv)
{
	return container_of(kv, struct etcd_meta, kv);
}

static int etcd_get(struct kv_meta *kv, const char *key, uint64_t deadline_ns, struct buf *value)
{
	struct buf body = BUF_INIT, answer = BUF_INIT;
	int ret;

	etcd_encode_key(&body, key);
	ret = ask(of(kv), "/v3/kv/range", &body, deadline_ns, &answer);
	if (!ret)
		ret = etcd_decode_value((char *)answer.data, answer.len, value);
	buf_fini(&body);
	buf_fini(&answer);
	return ret;
}

static int etcd_put(struct kv_meta *kv, const char *key, const void *text, size_t len, int64_t term,
		    uint64_t deadline_ns)
{
	struct buf body = BUF_INIT, answer = BUF_INIT;
	int ret;

	etcd_encode_put(&body, key, text, len, term);
	ret = ask(of(kv), "/v3/kv/put", &body, deadline_ns, &answer);
	buf_fini(&body);
	buf_fini(&answer);
	return ret;
}

static int etcd_del(struct kv_meta *kv, const char *key, uint64_t deadline_ns)
{
	struct buf body = BUF_INIT, answer = BUF_INIT;
	int ret;

	etcd_encode_key(&body, key);
	ret = ask(of(kv), "/v3/kv/deleterange", &body, deadline_ns, &answer);
	if (!ret)
		ret = etcd_decode_deleted((char *)answer.data, answer.len);
	buf_fini(&body);
	buf_fini(&answer);
	return ret;
}

static int etcd_begin(struct kv_meta *kv, uint64_t deadline_ns, int64_t *term)
{
	struct buf body = BUF_INIT, answer = BUF_INIT;
	int ret;

	etcd_encode_grant(&body, of(kv)->ttl_s);
	ret = ask(of(kv), "/v3/lease/grant", &body, deadline_ns, &answer);
	if (!ret)
		ret = etcd_decode_grant((char *)answer.data, answer.len, term);
	buf_fini(&body);
	buf_fini(&answer);
	return ret;
}

/* And lives a whole term longer. */
static int etcd_alive(struct kv_meta *kv, int64_t term, uint64_t deadline_ns)
{
	struct buf body = BUF_INIT, answer = BUF_INIT;
	int ret;

	etcd_encode_lease(&body, term);
	ret = ask(of(kv), "/v3/lease/keepalive", &body, deadline_ns, &answer);
	if (!ret)
		ret = etcd_decode_alive((char *)answer.data, answer.len);
	buf_fini(&body);
	buf_fini(&answer);
	return ret;
}

static void etcd_end(struct kv_meta *kv, int64_t term, uint64_t deadline_ns)
{
	struct buf body = BUF_INIT, answer = BUF_INIT;

	etcd_encode_lease(&body, term);
	ask(of(kv), "/v3/lease/revoke", &body, deadline_ns, &answer);
	buf_fini(&body);
	buf_fini(&answer);
}

static void etcd_close(struct kv_meta *kv)
{
	struct etcd_meta *m = of(kv);

	kv_fini(kv);
	pthread_mutex_destroy(&m->lock);
	kv_access_fini(&m->access);
	kv_url_fini(&m->url);
	free(m);
}

static const struct kv_ops etcd_ops = {
	.get = etcd_get,
	.put = etcd_put,
	.del = etcd_del,
	.begin = etcd_begin,
	.alive = etcd_alive,
	.end = etcd_end,
	.close = etcd_close,
};

static bool etcd_speaks(const char *conn)
{
	return !strncasecmp(conn, "etcd://", 7) || !strncasecmp(conn, "etcds://", 8) ||
	       kv_url_is_bare(conn);
}

static int etcd_open(const char *conn, const struct env *env, struct meta **out)
{
	const char *hosts = strstr(conn, "://");
	struct etcd_meta *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return -ENOMEM;
	ret = kv_url_parse(hosts ? hosts + 3 : conn, ETCD_PORT, &m->url);
	if (ret) {
		free(m);
		return ret;
	}
	pthread_mutex_init(&m->lock, NULL);
	m->kv.ends_in_newline = true;
	snprintf(m->kv.service, sizeof(m->kv.service), "etcd://%s%s", m->url.hosts[0],
		 m->url.nr_hosts > 1 ? ";..." : "");
	ret = kv_init(&m->kv, &meta_etcd, &etcd_ops, env);
	if (!ret)
		ret = kv_access_read(&m->url, &env->etcd, &m->access);
	m->ttl_s = (unsigned)env->etcd_lease_ttl_s;
	m->kv.keep.period_ns = m->ttl_s * NSEC_PER_SEC / 3; /* it may fail twice */
	m->use_tls = !strncasecmp(conn, "etcds://", 8) || m->access.tls.ca;
	if (ret) {
		etcd_close(&m->kv);
		return ret;
	}
	*out = &m->kv.base;
	return 0;
}

const struct meta_ops meta_etcd = {
	.name = "etcd",
	.speaks = etcd_speaks,
	.open = etcd_open,
	KV_OPS,
};
