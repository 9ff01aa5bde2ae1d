// SPDX-License-Identifier: Apache-2.0
/* Upstream's two small records: where a server's handshake port is, and a notification. */
#include "proto/json.h"

int rpc_meta_encode(const struct rpc_meta *m, struct buf *json)
{
	if (!m->host[0] || !memchr(m->host, 0, sizeof(m->host)) || !m->port)
		return -EINVAL;
	buf_printf(json, "{\"ip_or_host_name\":");
	json_put_text(json, m->host);
	buf_printf(json, ",\"rpc_port\":%u}", m->port);
	return json->err;
}

int rpc_meta_decode(const char *json, size_t len, struct rpc_meta *m)
{
	struct json_object *o = json_read(json, len);
	const char *host;
	int ret = -EBADMSG;
	int64_t port;

	if (json_get_text(o, "ip_or_host_name", &host) > 0 && *host &&
	    strlen(host) < sizeof(m->host) &&
	    json_get_int(o, "rpc_port", 1, UINT16_MAX, &port) > 0) {
		memset(m, 0, sizeof(*m));
		strcpy(m->host, host);
		m->port = (uint16_t)port;
		ret = 0;
	}
	json_object_put(o);
	return ret;
}

void notify_json_fini(struct notify_json *n)
{
	free(n->name);
	free(n->msg);
	*n = (struct notify_json){ 0 };
}

int notify_json_encode(const struct notify_json *n, struct buf *json)
{
	buf_printf(json, "{\"name\":");
	json_put_text(json, n->name ? n->name : "");
	buf_printf(json, ",\"notify_msg\":");
	json_put_text(json, n->msg ? n->msg : "");
	buf_put_u8(json, '}');
	return json->err;
}

int notify_json_decode(const char *json, size_t len, struct notify_json *n)
{
	struct json_object *o = json_read(json, len);
	const char *name = "", *msg = "";
	struct notify_json got;
	int ret = -EBADMSG;

	if (!o)
		return ret;
	if (json_get_text(o, "name", &name) >= 0 && json_get_text(o, "notify_msg", &msg) >= 0) {
		got = (struct notify_json){ .name = strdup(name), .msg = strdup(msg) };
		ret = got.name && got.msg ? 0 : -ENOMEM;
		if (ret)
			notify_json_fini(&got);
		else
			*n = got;
	}
	json_object_put(o);
	return ret;
}
