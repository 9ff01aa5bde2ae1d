// SPDX-License-Identifier: Apache-2.0
/* The admin HTTP server: its table of routes, and those that need one line. */
#include "admin.h"

#include "base/log.h"

#define BODY_MAX (64 * KiB)

void answer_json(struct http_req *r, int status, struct json_object *o)
{
	size_t len = 0;
	const char *text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);

	r->status = text ? status : 500;
	r->content_type = MIME_JSON;
	if (text)
		buf_put(r->out, text, len);
	json_object_put(o);
}

void answer_error(struct http_req *r, int status, int code, const char *text)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "success", json_object_new_boolean(false));
	json_object_object_add(o, "error_code", json_object_new_int(code));
	json_object_object_add(o, "error_message", json_object_new_string(text));
	answer_json(r, status, o);
}

void uuid_text(const uint8_t id[16], char out[48])
{
	snprintf(out, 48, "%" PRIu64 "-%" PRIu64, get_le64(id), get_le64(id + 8));
}

static void http_health(void *arg, struct http_req *r)
{
	r->content_type = MIME_JSON;
	buf_printf(r->out, "{\"status\":\"ok\",\"role\":\"leader\",\"ha_state\":\"serving\",\"service_ready\":true,"
		   "\"leader_address\":null,\"view_version\":null}");
}

static void http_ready(void *arg, struct http_req *r)
{
	struct master *m = arg;
	bool yes = pools_ready(m->pools, clock_now_ns());

	r->status = yes ? 200 : 503;
	buf_printf(r->out, "%s\n", yes ? "ready" : "waiting for pools");
}

static void http_role(void *arg, struct http_req *r)
{
	buf_printf(r->out, "leader");
}

static void http_ha_status(void *arg, struct http_req *r)
{
	buf_printf(r->out, "serving");
}

static void http_leader(void *arg, struct http_req *r)
{
	r->content_type = MIME_JSON;
	buf_printf(r->out, "{\"present\":false,\"leader_address\":null,\"view_version\":null}");
}

static void http_kv_events(void *arg, struct http_req *r)
{
	r->content_type = MIME_JSON;
	buf_printf(r->out, "{\"enabled\":false,\"published_batches\":0,\"published_events\":0,\"dropped_events\":0,"
		   "\"skipped_unparsed_keys\":0}");
}

static void http_quotas(void *arg, struct http_req *r)
{
	answer_error(r, 409, -1011, "multi-tenant mode is off");
}

static void http_status(void *arg, struct http_req *r)
{
	r->content_type = MIME_JSON;
	if (status_json(arg, r->out))
		r->status = 500;
}

static void http_config(void *arg, struct http_req *r)
{
	struct master *m = arg;

	r->content_type = MIME_JSON;
	conf_print(&m->svc.conf, true, r->out);
}

static const struct http_route routes[] = {
	{ "GET", "/", http_page },
	{ "GET", "/health", http_health },
	{ "GET", "/ready", http_ready },
	{ "GET", "/status", http_status },
	{ "GET", "/config", http_config },
	{ "GET", "/metrics", http_metrics },
	{ "GET", "/metrics/summary", http_summary },
	{ "GET", "/role", http_role },
	{ "GET", "/ha_status", http_ha_status },
	{ "GET", "/leader", http_leader },
	{ "GET", "/kv_events/status", http_kv_events },
	{ "GET", "/query_key", http_query_key },
	{ "GET", "/batch_query_keys", http_batch_query_keys },
	{ "GET", "/get_all_keys", http_all_keys },
	{ "GET", "/get_all_segments", http_all_segments },
	{ "GET", "/query_segment", http_query_segment },
	{ "GET", "/get_segments_detail", http_segments_detail },
	{ "GET", "/api/v1/segments/status", http_segment_status },
	{ "POST", "/api/v1/remove_all", http_remove_all },
	{ NULL, "/api/v1/tenant_quotas", http_quotas },
};

int admin_open(struct master *m)
{
	int ret;

	ret = http_server_open(m->set.metrics_host, (uint16_t)m->set.metrics_port, BODY_MAX, routes, ARRAY_SIZE(routes), m,
			       &m->admin, &m->http_port);
	if (ret == -EADDRINUSE)
		log_err("--metrics_port chooses another port for HTTP");
	if (ret || !m->set.metadata_on)
		return ret;
	return meta_server_open(m->set.metadata_host, (uint16_t)m->set.metadata_port, NULL, &m->meta, &m->meta_port);
}

void admin_close(struct master *m)
{
	http_server_close(m->admin);
	meta_server_close(m->meta);
	m->admin = NULL;
	m->meta = NULL;
}
