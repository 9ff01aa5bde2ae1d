/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis: GET, SET and DEL over one connection, which is made again when it broke. The bytes go by a line of net (TLS, deadlines);
 * hiredis writes commands and reads replies.
 */
#include "meta/redis.h"

#include <stdio.h>
#include <strings.h>

#include "base/log.h"
#include "base/turn.h"
#include "meta/kv.h"

/* What upstream's parser takes when no port is given, not Redis' own 6379: both have to end at the same server. */
#define REDIS_PORT 12001
#define REPLY_MAX  (KV_ANSWER_MAX + KiB)

struct redis_meta {
	struct kv_meta kv;
	struct kv_url url;
	struct kv_access access;
	bool use_tls;
	unsigned database;

	struct turn turn; /* guards what follows, for one command */
	struct line *line;
	redisReader *reader;
};

static struct redis_meta *of(struct kv_meta *kv)
{
	return container_of(kv, struct redis_meta, kv);
}

/* ---- one exchange -------------------------------------------------------------------------------------------------------- */

static void hang_up(struct redis_meta *m)
{
	line_close(m->line);
	if (m->reader)
		redisReaderFree(m->reader);
	m->line = NULL;
	m->reader = NULL;
}

int redis_feed(redisReader *reader, size_t before, const void *data, size_t len, redisReply **reply)
{
	void *r = NULL;

	/* None is answered by an array, and a list could announce any number of things. */
	if ((!before && !memchr("+-:$", *(const char *)data, 4)) || before + len > REPLY_MAX)
		return -EBADMSG;
	if (redisReaderFeed(reader, data, len) != REDIS_OK ||
	    redisReaderGetReply(reader, &r) != REDIS_OK)
		return reader->err == REDIS_ERR_OOM ? -ENOMEM : -EBADMSG;
	if (!r)
		return 0;
	if (reader->pos == reader->len) {
		*reply = r;
		return 1;
	}
	freeReplyObject(r); /* the rest would be taken for the next answer */
	return -EBADMSG;
}

static int receive(struct redis_meta *m, uint64_t deadline_ns, redisReply **reply)
{
	size_t before = 0, got;
	char in[4096];
	int ret;

	for (;; before += got) {
		ret = line_recv(m->line, in, sizeof(in), &got, deadline_ns);
		if (!ret)
			ret = redis_feed(m->reader, before, in, got, reply);
		if (ret)
			return ret < 0 ? ret : 0;
	}
}

/* Return: 0 with *reply to be freed; a negative errno when the connection is of no use any more. */
static int exchange(struct redis_meta *m, int argc, const char **argv, const size_t *len,
		    uint64_t deadline_ns, redisReply **reply)
{
	char *cmd;
	int n = redisFormatCommandArgv(&cmd, argc, argv, len);
	int ret;

	if (n < 0)
		return -ENOMEM;
	ret = line_send(m->line, cmd, (size_t)n, deadline_ns);
	redisFreeCommand(cmd);
	if (!ret)
		ret = receive(m, deadline_ns, reply);
	if (ret)
		hang_up(m);
	return ret;
}

/* ---- the connection ------------------------------------------------------------------------------------------------------ */

/* A command of the greeting, whose answer is OK. */
static int greet(struct redis_meta *m, int argc, const char **argv, uint64_t deadline_ns)
{
	redisReply *r;
	int ret = exchange(m, argc, argv, NULL, deadline_ns, &r);

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

static int connect_to(struct redis_meta *m, const char *where, uint64_t deadline_ns)
{
	const char *as[] = { "AUTH", m->access.user, m->access.password };
	const char *alone[] = { "AUTH", m->access.password };
	char db[16];
	const char *select[] = { "SELECT", db };
	int ret = line_open(where, m->use_tls ? &m->access.tls : NULL, deadline_ns, &m->line);

	if (ret)
		return ret;
	m->reader = redisReaderCreate();
	if (!m->reader) {
		hang_up(m);
		return -ENOMEM;
	}
	if (*m->access.password)
		ret = *m->access.user ? greet(m, 3, as, deadline_ns) :
					greet(m, 2, alone, deadline_ns);
	if (!ret && m->database) {
		snprintf(db, sizeof(db), "%u", m->database);
		ret = greet(m, 2, select, deadline_ns);
	}
	return ret;
}

static int connected(struct redis_meta *m, uint64_t deadline_ns)
{
	unsigned nr = m->url.nr_hosts;
	int ret = -EIO;

	if (m->line)
		return 0;
	for (unsigned i = 0; i < nr; i++) {
		ret = connect_to(m, m->url.hosts[i], kv_attempt(deadline_ns, nr - i));
		if (!ret || ret == -EACCES)
			break;
	}
	return ret;
}

/* ---- commands ------------------------------------------------------------------------------------------------------------ */

/* A connection that went stale while it was idle is replaced once. */
static int try_command(struct redis_meta *m, int argc, const char **argv, const size_t *len,
		       uint64_t deadline_ns, redisReply **reply)
{
	bool stale = m->line;
	int ret = connected(m, deadline_ns);

	if (!ret)
		ret = exchange(m, argc, argv, len, kv_attempt(deadline_ns, 1), reply);
	if (!stale || ret != -ECONNRESET)
		return ret;
	ret = connected(m, deadline_ns);
	return ret ? ret : exchange(m, argc, argv, len, kv_attempt(deadline_ns, 1), reply);
}

static bool is_refusal(const char *error)
{
	return !strncmp(error, "NOAUTH", 6) || !strncmp(error, "NOPERM", 6);
}

/* Return: 0 with *reply, which is no error, to be freed. */
static int command(struct redis_meta *m, int argc, const char **argv, const size_t *len,
		   uint64_t deadline_ns, redisReply **reply)
{
	int ret = turn_take(&m->turn, deadline_ns) ? 0 : -ETIMEDOUT;

	if (!ret) {
		ret = try_command(m, argc, argv, len, deadline_ns, reply);
		turn_give(&m->turn);
	}
	if (ret) {
		log_warn_limited("metadata service %s: %s: %s", m->kv.service, argv[0],
				 strerror(-ret));
		return ret;
	}
	if ((*reply)->type != REDIS_REPLY_ERROR)
		return 0;
	log_warn_limited("metadata service %s: %s: %s", m->kv.service, argv[0], (*reply)->str);
	ret = is_refusal((*reply)->str) ? -EACCES : -EIO;
	freeReplyObject(*reply);
	return ret;
}

static int redis_get(struct kv_meta *kv, const char *key, uint64_t deadline_ns, struct buf *answer)
{
	const char *argv[] = { "GET", key };
	redisReply *r;
	int ret = command(of(kv), 2, argv, NULL, deadline_ns, &r);

	if (ret)
		return ret;
	if (r->type == REDIS_REPLY_STRING) {
		buf_put(answer, r->str, (size_t)r->len);
		ret = answer->err;
	} else {
		ret = r->type == REDIS_REPLY_NIL ? -ENOENT : -EBADMSG;
	}
	freeReplyObject(r);
	return ret;
}

static int redis_put(struct kv_meta *kv, const char *key, const void *text, size_t text_len,
		     int64_t term, uint64_t deadline_ns)
{
	const char *argv[] = { "SET", key, text };
	size_t len[] = { 3, strlen(key), text_len };
	redisReply *r;
	int ret = command(of(kv), 3, argv, len, deadline_ns, &r);

	if (!ret)
		freeReplyObject(r);
	return ret;
}

static int redis_del(struct kv_meta *kv, const char *key, uint64_t deadline_ns)
{
	const char *argv[] = { "DEL", key };
	redisReply *r;
	int ret = command(of(kv), 2, argv, NULL, deadline_ns, &r);

	if (ret)
		return ret;
	ret = r->type == REDIS_REPLY_INTEGER && r->integer > 0 ? 0 : -ENOENT;
	freeReplyObject(r);
	return ret;
}

static void redis_close(struct kv_meta *kv)
{
	struct redis_meta *m = of(kv);

	kv_fini(kv);
	hang_up(m);
	turn_fini(&m->turn);
	kv_access_fini(&m->access);
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

static bool is_tls(const char *conn)
{
	return !strncasecmp(conn, "rediss://", 9);
}

static bool redis_speaks(const char *conn)
{
	return !strncasecmp(conn, "redis://", 8) || is_tls(conn);
}

static int take_database(struct redis_meta *m, const struct env *env)
{
	const char *text = m->url.path;
	unsigned long n;
	char *end;

	m->database = (unsigned)env->redis_db_index;
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

static void redis_init(struct redis_meta *m, bool tls)
{
	turn_init(&m->turn);
	m->use_tls = tls;
	m->kv.ends_in_newline = true;
	snprintf(m->kv.service, sizeof(m->kv.service), "redis%s://%s%s", tls ? "s" : "",
		 m->url.hosts[0], m->url.nr_hosts > 1 ? ";..." : "");
}

static int redis_open(const char *conn, const struct env *env, struct meta **out)
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
	redis_init(m, is_tls(conn));
	ret = kv_init(&m->kv, &meta_redis, &redis_ops, env);
	if (!ret)
		ret = kv_access_read(&m->url, &env->redis, &m->access);
	if (!ret)
		ret = take_database(m, env);
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
