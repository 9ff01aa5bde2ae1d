/* SPDX-License-Identifier: Apache-2.0 */
/* etcd's JSON gateway. */
#include "proto/etcd.h"

#include <stdio.h>

#include "base/base64.h"
#include "proto/json.h"

static void put_base64(struct buf *b, const char *name, const void *data, size_t len)
{
	buf_printf(b, "\"%s\":\"", name);
	base64_put(b, data, len);
	buf_put_u8(b, '"');
}

void etcd_encode_put(struct buf *b, const char *key, const void *value, size_t len, int64_t lease)
{
	buf_put_u8(b, '{');
	put_base64(b, "key", key, strlen(key));
	buf_put_u8(b, ',');
	put_base64(b, "value", value, len);
	if (lease)
		buf_printf(b, ",\"lease\":\"%lld\"", (long long)lease);
	buf_put_u8(b, '}');
}

void etcd_encode_key(struct buf *b, const char *key)
{
	buf_put_u8(b, '{');
	put_base64(b, "key", key, strlen(key));
	buf_put_u8(b, '}');
}

void etcd_encode_grant(struct buf *b, unsigned ttl_s)
{
	buf_printf(b, "{\"TTL\":\"%u\"}", ttl_s);
}

void etcd_encode_lease(struct buf *b, int64_t lease)
{
	buf_printf(b, "{\"ID\":\"%lld\"}", (long long)lease);
}

void etcd_encode_login(struct buf *b, const char *user, const char *password)
{
	buf_printf(b, "{\"name\":");
	json_put_text(b, user);
	buf_printf(b, ",\"password\":");
	json_put_text(b, password);
	buf_put_u8(b, '}');
}

/* ---- answers ------------------------------------------------------------------------------------------------------------- */

/* The gateway writes a 64-bit number as a string and leaves a zero out. */
static int get_i64(struct json_object *o, const char *name, int64_t *out)
{
	const char *text;
	char *end;
	int ret = json_get_text(o, name, &text);

	*out = 0;
	if (ret <= 0)
		return ret;
	errno = 0;
	*out = strtoll(text, &end, 10);
	return errno || end == text || *end ? -EBADMSG : 1;
}

static int first_value(struct json_object *o, struct buf *value)
{
	struct json_object *kvs, *kv;
	const char *text;
	int ret = json_get_array(o, "kvs", &kvs);

	if (ret <= 0 || !json_object_array_length(kvs))
		return ret < 0 ? ret : -ENOENT;
	kv = json_object_array_get_idx(kvs, 0);
	if (!json_object_is_type(kv, json_type_object))
		return -EBADMSG;
	ret = json_get_text(kv, "value", &text);
	return ret <= 0 ? ret :
			  base64_get(value, text, strlen(text)); /* left out: an empty value */
}

int etcd_decode_value(const char *text, size_t len, struct buf *value)
{
	struct json_object *o = json_read(text, len);
	int ret = o ? first_value(o, value) : -EBADMSG;

	json_object_put(o);
	return ret;
}

int etcd_decode_deleted(const char *text, size_t len)
{
	struct json_object *o = json_read(text, len);
	int64_t nr = 0;
	int ret = o ? get_i64(o, "deleted", &nr) : -EBADMSG;

	json_object_put(o);
	return ret < 0 ? ret : nr > 0 ? 0 : -ENOENT;
}

int etcd_decode_grant(const char *text, size_t len, int64_t *lease)
{
	struct json_object *o = json_read(text, len);
	int64_t id = 0;
	int ret = o ? get_i64(o, "ID", &id) : -EBADMSG;

	json_object_put(o);
	if (ret < 0 || !id)
		return -EBADMSG;
	*lease = id;
	return 0;
}

int etcd_decode_alive(const char *text, size_t len)
{
	struct json_object *o = json_read(text, len), *result;
	int64_t ttl = 0;
	int ret = o ? json_get_object(o, "result", &result) : -EBADMSG;

	if (ret > 0)
		ret = get_i64(result, "TTL", &ttl);
	else if (!ret)
		ret = -EBADMSG;
	json_object_put(o);
	return ret < 0 ? ret : ttl > 0 ? 0 : -ENOENT;
}

int etcd_decode_token(const char *text, size_t len, char token[ETCD_TOKEN_MAX])
{
	struct json_object *o = json_read(text, len);
	const char *t;
	int ret = o ? json_get_text(o, "token", &t) : -EBADMSG;

	if (ret > 0)
		ret = snprintf(token, ETCD_TOKEN_MAX, "%s", t) < ETCD_TOKEN_MAX &&
				      !strpbrk(t, "\r\n") ?
			      0 :
			      -EBADMSG;
	else
		ret = -EBADMSG;
	json_object_put(o);
	return ret;
}

void etcd_decode_error(const char *text, size_t len, char out[256])
{
	struct json_object *o = json_read(text, len);
	const char *t;

	out[0] = 0;
	if (o && (json_get_text(o, "message", &t) > 0 || json_get_text(o, "error", &t) > 0))
		snprintf(out, 256, "%s", t);
	json_object_put(o);
}
