// SPDX-License-Identifier: Apache-2.0
/* The HTTP metadata service. */
#include "meta_server.h"

#include <fcntl.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/htab.h"
#include "base/log.h"
#include "svc.h"

struct entry {
	struct hnode node;
	char *key;
	uint8_t *value;
	size_t len;
};

struct meta_server {
	struct http_server *http;
	char *file;
	struct hash_key hash_key;
	pthread_mutex_t lock; /* all below */
	struct htab entries;
	size_t bytes;
	uint64_t changes, saved; /* counts of PUTs and DELETEs */
};

/* ---- the map, under the lock ---- */

static uint64_t hash_of(const struct meta_server *ms, const char *key)
{
	return siphash64(&ms->hash_key, key, strlen(key));
}

static struct entry *find(struct meta_server *ms, const char *key)
{
	struct hnode *n;

	for (n = htab_first(&ms->entries, hash_of(ms, key)); n; n = htab_next(n))
		if (!strcmp(container_of(n, struct entry, node)->key, key))
			return container_of(n, struct entry, node);
	return NULL;
}

static void entry_free(struct entry *e)
{
	free(e->key);
	free(e->value);
	free(e);
}

static int set_value(struct meta_server *ms, struct entry *e, const uint8_t *value, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		return -ENOMEM;
	if (len)
		memcpy(copy, value, len);
	free(e->value);
	ms->bytes += len - e->len;
	e->value = copy;
	e->len = len;
	return 0;
}

static int put(struct meta_server *ms, const char *key, const uint8_t *value, size_t len)
{
	struct entry *e = find(ms, key);
	int ret = -ENOMEM;

	if (ms->bytes + strlen(key) + len > META_TOTAL_MAX)
		return -ENOSPC;
	if (e)
		return set_value(ms, e, value, len);
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->key = strdup(key);
	if (e->key)
		ret = set_value(ms, e, value, len);
	if (!ret)
		ret = htab_add(&ms->entries, &e->node, hash_of(ms, key));
	if (ret) {
		ms->bytes -= e->len;
		entry_free(e);
		return ret;
	}
	ms->bytes += strlen(key);
	return 0;
}

static void del(struct meta_server *ms, struct entry *e)
{
	htab_del(&ms->entries, &e->node);
	ms->bytes -= e->len + strlen(e->key);
	entry_free(e);
}

/* ---- HTTP ---- */

static const char *key_of(struct http_req *r)
{
	const char *key = r->query(r, "key");

	if (key && *key)
		return key;
	r->status = 400;
	buf_printf(r->out, "Missing key parameter");
	return NULL;
}

static void http_get(void *arg, struct http_req *r)
{
	struct meta_server *ms = arg;
	const char *key = key_of(r);
	struct entry *e;

	if (!key)
		return;
	pthread_mutex_lock(&ms->lock);
	e = find(ms, key);
	if (e)
		buf_put(r->out, e->value, e->len);
	pthread_mutex_unlock(&ms->lock);
	r->content_type = "application/json";
	if (e)
		return;
	r->status = 404;
	buf_printf(r->out, "metadata not found");
}

/* A server's address must not change under its peers; telling the same again, as after a restart, is fine. */
static void put_locked(struct meta_server *ms, const char *key, struct http_req *r)
{
	struct entry *e = strstr(key, "rpc_meta") ? find(ms, key) : NULL;
	int ret;

	if (e && e->len == r->body_len && (!e->len || !memcmp(e->value, r->body, e->len))) {
		buf_printf(r->out, "metadata unchanged");
		return;
	}
	if (e) {
		r->status = 400;
		buf_printf(r->out, "Duplicate rpc_meta key not allowed");
		return;
	}
	ret = put(ms, key, r->body, r->body_len);
	if (ret) {
		r->status = ret == -ENOSPC ? 507 : 500;
		buf_printf(r->out, "%s", ret == -ENOSPC ? "metadata server is full" : "out of memory");
		return;
	}
	ms->changes++;
	buf_printf(r->out, "metadata updated");
}

static void http_put(void *arg, struct http_req *r)
{
	struct meta_server *ms = arg;
	const char *key = key_of(r);

	if (!key)
		return;
	pthread_mutex_lock(&ms->lock);
	put_locked(ms, key, r);
	pthread_mutex_unlock(&ms->lock);
}

static void http_delete(void *arg, struct http_req *r)
{
	struct meta_server *ms = arg;
	const char *key = key_of(r);
	struct entry *e;

	if (!key)
		return;
	pthread_mutex_lock(&ms->lock);
	e = find(ms, key);
	if (e) {
		del(ms, e);
		ms->changes++;
	}
	pthread_mutex_unlock(&ms->lock);
	r->status = e ? 200 : 404;
	buf_printf(r->out, e ? "metadata deleted" : "metadata not found");
}

static void http_health(void *arg, struct http_req *r)
{
	buf_printf(r->out, "OK");
}

static const struct http_route routes[] = {
	{ "GET", "/metadata", http_get },
	{ "PUT", "/metadata", http_put },
	{ "DELETE", "/metadata", http_delete },
	{ "GET", "/health", http_health },
};

/* ---- the file ---- */

static int add_entry(struct hnode *n, void *arg)
{
	struct entry *e = container_of(n, struct entry, node);
	struct json_object *v = json_object_new_string_len((const char *)e->value, (int)e->len);

	return v && !json_object_object_add(arg, e->key, v) ? 0 : -ENOMEM;
}

static int write_file(const char *path, const char *text, size_t len)
{
	char tmp[4096];
	int fd, ret = 0;

	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.new", path) >= sizeof(tmp))
		return -ENAMETOOLONG;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	while (len && !ret) {
		ssize_t n = write(fd, text, len);

		if (n < 0)
			ret = errno == EINTR ? 0 : -errno;
		else
			text += n, len -= (size_t)n;
	}
	/* The name must not appear before the bytes. */
	if (!ret && fsync(fd))
		ret = -errno;
	close(fd);
	if (!ret && rename(tmp, path))
		ret = -errno;
	if (ret)
		unlink(tmp);
	return ret;
}

int meta_server_save(struct meta_server *ms)
{
	struct json_object *all;
	const char *text;
	uint64_t changes;
	size_t len = 0;
	int ret;

	if (!ms->file)
		return 0;
	pthread_mutex_lock(&ms->lock);
	changes = ms->changes;
	if (changes == ms->saved) {
		pthread_mutex_unlock(&ms->lock);
		return 0;
	}
	all = json_object_new_object();
	ret = all ? htab_walk(&ms->entries, add_entry, all) : -ENOMEM;
	pthread_mutex_unlock(&ms->lock);
	if (!ret) {
		text = json_object_to_json_string_length(all, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
		ret = text ? write_file(ms->file, text, len) : -ENOMEM;
	}
	json_object_put(all);
	if (ret)
		log_err_limited("cannot write %s: %s", ms->file, strerror(-ret));
	else
		ms->saved = changes;
	return ret;
}

static int load(struct meta_server *ms)
{
	struct json_object *all;
	int ret = 0;

	if (access(ms->file, F_OK))
		return 0; /* the first start */
	all = json_object_from_file(ms->file);
	if (!all || !json_object_is_type(all, json_type_object)) {
		log_err("%s is not a JSON object of keys and values: move it away or mend it", ms->file);
		json_object_put(all);
		return -EBADMSG;
	}
	json_object_object_foreach(all, key, v) {
		if (ret)
			continue;
		if (json_object_is_type(v, json_type_string))
			ret = put(ms, key, (const uint8_t *)json_object_get_string(v), (size_t)json_object_get_string_len(v));
		else
			log_warn("%s: key %s is not a string and was left out", ms->file, key);
	}
	json_object_put(all);
	if (ret)
		log_err("cannot load %s: %s", ms->file, strerror(-ret));
	return ret;
}

/* ---- from start to end ---- */

static int free_entry(struct hnode *n, void *arg)
{
	struct meta_server *ms = arg;

	del(ms, container_of(n, struct entry, node));
	return 0;
}

static void meta_free(struct meta_server *ms)
{
	htab_walk(&ms->entries, free_entry, ms);
	htab_fini(&ms->entries);
	pthread_mutex_destroy(&ms->lock);
	free(ms->file);
	free(ms);
}

int meta_server_open(const char *host, uint16_t port, const char *file, struct meta_server **out, uint16_t *bound)
{
	struct meta_server *ms = calloc(1, sizeof(*ms));
	int ret = -ENOMEM;

	if (!ms)
		return -ENOMEM;
	pthread_mutex_init(&ms->lock, NULL);
	random_bytes(&ms->hash_key, sizeof(ms->hash_key));
	if (file && *file) {
		ms->file = strdup(file);
		ret = ms->file ? load(ms) : -ENOMEM;
		if (ret)
			goto err;
	}
	ret = http_server_open(host, port, META_VALUE_MAX, routes, ARRAY_SIZE(routes), ms, &ms->http, bound);
	if (ret == -EADDRINUSE)
		log_err("is another metadata server running?");
	if (ret)
		goto err;
	*out = ms;
	return 0;

err:
	meta_free(ms);
	return ret;
}

void meta_server_close(struct meta_server *ms)
{
	if (!ms)
		return;
	http_server_close(ms->http);
	meta_server_save(ms);
	meta_free(ms);
}
