// SPDX-License-Identifier: Apache-2.0
/* Upstream's exchange of queue pairs: what one end of a connection between NICs tells the other. */
#include "proto/json.h"

void pairs_json_fini(struct pairs_json *p)
{
	free(p->local_nic_path);
	free(p->peer_nic_path);
	free(p->local_gid);
	free(p->payload);
	free(p->reply_msg);
	*p = (struct pairs_json){ 0 };
}

static void put_text(struct buf *b, const char *name, const char *text)
{
	buf_printf(b, ",\"%s\":", name);
	json_put_text(b, text ? text : "");
}

/* Members in byte order. */
int pairs_json_encode(const struct pairs_json *p, struct buf *b)
{
	buf_printf(b, "{\"local_gid\":");
	json_put_text(b, p->local_gid ? p->local_gid : "");
	buf_printf(b, ",\"local_lid\":%u", p->local_lid);
	put_text(b, "local_nic_path", p->local_nic_path);
	put_text(b, "payload", p->payload);
	put_text(b, "peer_nic_path", p->peer_nic_path);
	buf_printf(b, ",\"qp_num\":[");
	for (unsigned i = 0; i < p->nr_qps; i++)
		buf_printf(b, "%s%u", i ? "," : "", p->qp[i]);
	buf_put_u8(b, ']');
	if (p->ready != PAIRS_READY_UNSAID)
		buf_printf(b, ",\"ready_ack\":%s", p->ready == PAIRS_READY ? "true" : "false");
	put_text(b, "reply_msg", p->reply_msg);
	buf_printf(b, "}\n");
	return b->err;
}

static int read_text(struct json_object *o, const char *name, char **out)
{
	const char *text = "";

	if (json_get_text(o, name, &text) < 0)
		return -EBADMSG;
	*out = strdup(text);
	return *out ? 0 : -ENOMEM;
}

static int read_numbers(struct json_object *o, struct pairs_json *p)
{
	struct json_object *a, *v;
	int ret = json_get_array(o, "qp_num", &a);
	size_t nr;

	if (ret <= 0)
		return ret;
	nr = json_object_array_length(a);
	if (nr > QPS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < nr; i++) {
		int64_t n;

		v = json_object_array_get_idx(a, i);
		n = json_object_get_int64(v);
		if (!json_object_is_type(v, json_type_int) || n < 0 || n > UINT32_MAX)
			return -EBADMSG;
		p->qp[p->nr_qps++] = (uint32_t)n;
	}
	return 0;
}

static int read_pairs(struct json_object *o, struct pairs_json *p)
{
	struct json_object *ready;
	int64_t lid = 0;
	int ret;

	if (json_get_int(o, "local_lid", 0, UINT16_MAX, &lid) < 0)
		return -EBADMSG;
	p->local_lid = (uint16_t)lid;
	/* Its presence is the message, whatever it is. */
	if (json_object_object_get_ex(o, "ready_ack", &ready))
		p->ready = json_object_is_type(ready, json_type_boolean) && json_object_get_boolean(ready) ? PAIRS_READY :
													    PAIRS_READY_LATER;
	ret = read_text(o, "local_nic_path", &p->local_nic_path);
	if (!ret)
		ret = read_text(o, "peer_nic_path", &p->peer_nic_path);
	if (!ret)
		ret = read_text(o, "local_gid", &p->local_gid);
	if (!ret)
		ret = read_text(o, "payload", &p->payload);
	if (!ret)
		ret = read_text(o, "reply_msg", &p->reply_msg);
	return ret ? ret : read_numbers(o, p);
}

int pairs_json_decode(const char *json, size_t len, struct pairs_json *p)
{
	struct json_object *o = json_read(json, len);
	struct pairs_json got = { 0 };
	int ret;

	if (!o)
		return -EBADMSG;
	ret = read_pairs(o, &got);
	json_object_put(o);
	if (ret)
		pairs_json_fini(&got);
	else
		*p = got;
	return ret;
}
