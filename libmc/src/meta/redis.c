/* SPDX-License-Identifier: Apache-2.0 */
/* Redis: GET, SET and DEL over one connection, which is made again when it broke. */
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>
#include <sys/time.h>

#include "base/clock.h"
#include "base/log.h"
#include "meta/kv.h"

#if __has_include(<hiredis/hiredis_ssl.h>)
#include <hiredis/hiredis_ssl.h>
#define WITH_TLS 1
#else
#define WITH_TLS 0
#endif

/* What upstream's parser takes when no port is given, not Redis' own 6379: both have to end at the same server. */
#define REDIS_PORT 12001

struct redis_meta {
	struct kv_meta kv;
	struct kv_url url;
	const char *user, *password;
	unsigned database;
	pthread_mutex_t lock; /* one exchange at a time */
	redisContext *c;
#if WITH_TLS
	redisSSLContext *tls; /* NULL: plain */
#endif
};

static struct redis_meta *of(struct kv_meta *kv)
{
	return container_of(kv, struct redis_meta, kv);
}

static struct timeval left_of(uint64_t deadline_ns)
{
	uint64_t until = MIN(deadline_ns, deadline_after_ns(KV_ATTEMPT_NS)), now = clock_now_ns();
	uint64_t left = until > now ? until - now : 0;

	/* Zero would mean for ever. */
	return (struct timeval){ (time_t)(left / NSEC_PER_SEC),
				 (suseconds_t)MAX(left % NSEC_PER_SEC / 1000, (uint64_t)1) };
}

static int failure(const redisContext *c)
{
	if (c->err == REDIS_ERR_PROTOCOL)
		return -EBADMSG;
	if (c->err == REDIS_ERR_EOF)
		return -ECONNRESET;
	if (c->err == REDIS_ERR_IO &&
	    (errno == EAGAIN || errno == EWOULDBLOCK || errno == ETIMEDOUT))
		return -ETIMEDOUT;
	return c->err == REDIS_ERR_IO && errno == ECONNREFUSED ? -ECONNREFUSED : -EIO;
}

static void hang_up(struct redis_meta *m)
{
	if (m->c)
		redisFree(m->c);
	m->c = NULL;
}

/* Return: 0 with *reply to be freed; a negative errno when the connection is of no use any more. */
static int exchange(struct redis_meta *m, int argc, const char **argv, const size_t *len,
		    redisReply **reply)
{
	int ret;

	*reply = redisCommandArgv(m->c, argc, argv, len);
	if (*reply)
		return 0;
	ret = failure(m->c);
	hang_up(m);
	return ret;
}

/* A command of the greeting, whose answer is OK. */
static int greet(struct redis_meta *m, int argc, const char **argv)
{
	redisReply *r;
	int ret = exchange(m, argc, argv, NULL, &r);

	if (ret)
		return ret;
	if (r->type == REDIS_REPLY_ERROR) {
		log_err_limited("metadata service %s: %s: %s", m->kv.service, argv[0], r->str);
		ret = -EACCES;
	}
	freeReplyObject(r);
	if (ret)
		hang_up(m);
	return ret;
}

static int start_tls(struct redis_meta *m)
{
#if WITH_TLS
	if (m->tls && redisInitiateSSLWithContext(m->c, m->tls) != REDIS_OK) {
		log_err_limited("metadata service %s: TLS: %s", m->kv.service, m->c->errstr);
		hang_up(m);
		return -EACCES;
	}
#endif
	return 0;
}

static int connect_to(struct redis_meta *m, const char *where, uint64_t deadline_ns)
{
	const char *colon = strrchr(where, ':');
	char host[256], db[16];
	const char *auth[] = { "AUTH", m->password, NULL }, *select[] = { "SELECT", db };
	int ret;

	snprintf(host, sizeof(host), "%.*s", (int)(colon - where), where);
	if (host[0] == '[') {
		memmove(host, host + 1, strlen(host));
		host[strlen(host) - 1] = 0;
	}
	errno = 0;
	m->c = redisConnectWithTimeout(host, atoi(colon + 1), left_of(deadline_ns));
	if (!m->c)
		return -ENOMEM;
	if (m->c->err) {
		ret = strstr(m->c->errstr, "refused") ? -ECONNREFUSED : failure(m->c);
		hang_up(m);
		return ret;
	}
	redisSetTimeout(m->c, left_of(deadline_ns));
	ret = start_tls(m);
	if (!ret && *m->password) {
		if (*m->user) {
			auth[1] = m->user;
			auth[2] = m->password;
		}
		ret = greet(m, auth[2] ? 3 : 2, auth);
	}
	if (!ret && m->database) {
		snprintf(db, sizeof(db), "%u", m->database);
		ret = greet(m, 2, select);
	}
	return ret;
}

static int connected(struct redis_meta *m, uint64_t deadline_ns)
{
	int ret = -EIO;

	if (m->c) {
		redisSetTimeout(m->c, left_of(deadline_ns));
		return 0;
	}
	for (unsigned i = 0; i < m->url.nr_hosts; i++) {
		ret = connect_to(m, m->url.hosts[i], deadline_ns);
		if (!ret || ret == -EACCES)
			break;
	}
	return ret;
}

/* One command; a connection that went stale while it was idle is replaced once. */
static int command(struct redis_meta *m, int argc, const char **argv, const size_t *len,
		   uint64_t deadline_ns, redisReply **reply)
{
	bool stale = m->c;
	int ret = connected(m, deadline_ns);

	if (!ret)
		ret = exchange(m, argc, argv, len, reply);
	if (stale && (ret == -ECONNRESET || ret == -EIO) && !deadline_passed(deadline_ns)) {
		ret = connected(m, deadline_ns);
		if (!ret)
			ret = exchange(m, argc, argv, len, reply);
	}
	if (ret) {
		log_warn_limited("metadata service %s: %s: %s", m->kv.service, argv[0],
				 strerror(-ret));
		return ret;
	}
	if ((*reply)->type != REDIS_REPLY_ERROR)
		return 0;
	log_warn_limited("metadata service %s: %s: %s", m->kv.service, argv[0], (*reply)->str);
	freeReplyObject(*reply);
	return -EIO;
}

static int redis_get(struct kv_meta *kv, const char *key, uint64_t deadline_ns, struct buf *answer)
{
	struct redis_meta *m = of(kv);
	const char *argv[] = { "GET", key };
	redisReply *r;
	int ret;

	pthread_mutex_lock(&m->lock);
	ret = command(m, 2, argv, NULL, deadline_ns, &r);
	if (!ret) {
		if (r->type == REDIS_REPLY_STRING && r->len <= KV_ANSWER_MAX) {
			buf_put(answer, r->str, r->len);
			ret = answer->err;
		} else {
			ret = r->type == REDIS_REPLY_NIL ? -ENOENT : -EBADMSG;
		}
		freeReplyObject(r);
	}
	pthread_mutex_unlock(&m->lock);
	return ret;
}

static int redis_put(struct kv_meta *kv, const char *key, const void *text, size_t text_len,
		     uint64_t deadline_ns)
{
	struct redis_meta *m = of(kv);
	const char *argv[] = { "SET", key, text };
	size_t len[] = { 3, strlen(key), text_len };
	redisReply *r;
	int ret;

	pthread_mutex_lock(&m->lock);
	ret = command(m, 3, argv, len, deadline_ns, &r);
	if (!ret)
		freeReplyObject(r);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

static int redis_del(struct kv_meta *kv, const char *key, uint64_t deadline_ns)
{
	struct redis_meta *m = of(kv);
	const char *argv[] = { "DEL", key };
	redisReply *r;
	int ret;

	pthread_mutex_lock(&m->lock);
	ret = command(m, 2, argv, NULL, deadline_ns, &r);
	if (!ret) {
		ret = r->type == REDIS_REPLY_INTEGER && r->integer > 0 ? 0 : -ENOENT;
		freeReplyObject(r);
	}
	pthread_mutex_unlock(&m->lock);
	return ret;
}

static void redis_close(struct kv_meta *kv)
{
	struct redis_meta *m = of(kv);

	hang_up(m);
#if WITH_TLS
	if (m->tls)
		redisFreeSSLContext(m->tls);
#endif
	pthread_mutex_destroy(&m->lock);
	kv_url_fini(&m->url);
	free(m);
}

static const struct kv_ops redis_ops = {
	.get = redis_get,
	.put = redis_put,
	.del = redis_del,
	.close = redis_close,
};

/* ---- opening ------------------------------------------------------------------------------------------------------------- */

static bool redis_speaks(const char *conn)
{
	return !strncasecmp(conn, "redis://", 8) || !strncasecmp(conn, "rediss://", 9);
}

static int take_database(struct redis_meta *m)
{
	const char *text = *m->url.path ? m->url.path : getenv("MC_REDIS_DB_INDEX") ?: "";
	unsigned long n;
	char *end;

	if (!*text)
		return 0;
	n = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || n > 255) {
		log_err("metadata service %s: database \"%s\" is not a number from 0 to 255",
			m->kv.service, text);
		return -EINVAL;
	}
	m->database = (unsigned)n;
	return 0;
}

static int prepare_tls(struct redis_meta *m, bool wanted)
{
	if (!wanted)
		return 0;
#if WITH_TLS
	redisSSLContextError err;

	redisInitOpenSSL();
	m->tls = redisCreateSSLContext(getenv("MC_REDIS_CA"), NULL, getenv("MC_REDIS_CERT"),
				       getenv("MC_REDIS_KEY"), NULL, &err);
	if (m->tls)
		return 0;
	log_err("metadata service %s: TLS: %s; look at MC_REDIS_CA, MC_REDIS_CERT and MC_REDIS_KEY",
		m->kv.service, redisSSLContextGetError(err));
	return -EINVAL;
#else
	log_err("metadata service %s: TLS needs a build with hiredis 1.0 or newer and its "
		"hiredis_ssl",
		m->kv.service);
	return -EPROTONOSUPPORT;
#endif
}

static int redis_open(const char *conn, struct meta **out)
{
	struct redis_meta *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return -ENOMEM;
	ret = kv_url_parse(strstr(conn, "://") + 3, REDIS_PORT, &m->url);
	if (ret) {
		free(m);
		return ret;
	}
	pthread_mutex_init(&m->lock, NULL);
	snprintf(m->kv.service, sizeof(m->kv.service), "redis://%s", m->url.hosts[0]);
	m->kv.ends_in_newline = true;
	m->user = *m->url.user ? m->url.user : getenv("MC_REDIS_USERNAME") ?: "";
	m->password = *m->url.password ? m->url.password : getenv("MC_REDIS_PASSWORD") ?: "";
	ret = kv_init(&m->kv, &meta_redis, &redis_ops);
	if (!ret)
		ret = take_database(m);
	if (!ret)
		ret = prepare_tls(m, !strncasecmp(conn, "rediss://", 9));
	if (ret) {
		redis_close(&m->kv);
		return ret;
	}
	*out = &m->kv.base;
	return 0;
}

const struct meta_ops meta_redis = {
	.name = "redis",
	.speaks = redis_speaks,
	.open = redis_open,
	KV_OPS,
};
