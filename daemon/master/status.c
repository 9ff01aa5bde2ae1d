// SPDX-License-Identifier: Apache-2.0
/* STATUS: what a person or a tool wants to know, as one JSON object. */
#include <json-c/json.h>
#include <stdio.h>

#include "master.h"

static const struct {
	enum counter c;
	const char *name;
} shown[] = {
	{ CNT_EXIST, "exist_requests" },
	{ CNT_EXIST_BATCH, "batch_exist_requests" },
	{ CNT_EXIST_ITEMS, "exist_keys" },
	{ CNT_EXIST_MISSED, "exist_keys_missing" },
	{ CNT_GET, "locate_requests" },
	{ CNT_GET_BATCH, "batch_locate_requests" },
	{ CNT_GET_ITEMS, "locate_keys" },
	{ CNT_GET_MISSED, "locate_keys_missing" },
	{ CNT_PUBLISH, "publish_requests" },
	{ CNT_PUBLISH_ITEMS, "publish_objects" },
	{ CNT_PUBLISH_REFUSED, "publish_objects_refused" },
	{ CNT_WITHDRAW_ITEMS, "withdraw_objects" },
	{ CNT_REMOVE, "remove_requests" },
	{ CNT_REMOVE_ITEMS, "remove_keys" },
	{ CNT_REMOVE_REFUSED, "remove_keys_refused" },
	{ CNT_MATCH, "remove_match_requests" },
	{ CNT_MATCH_REMOVED, "remove_match_objects" },
	{ CNT_LIST, "list_requests" },
	{ CNT_POOLS, "pools_requests" },
	{ CNT_JOIN, "pool_joins" },
	{ CNT_LEAVE, "pool_leaves" },
	{ CNT_STAT, "pool_stats" },
	{ CNT_BAD, "refused_messages" },
};

static void add(struct json_object *o, const char *name, struct json_object *v)
{
	json_object_object_add(o, name, v);
}

static void add_u64(struct json_object *o, const char *name, uint64_t v)
{
	add(o, name, json_object_new_uint64(v));
}

static void add_id(struct json_object *o, const char *name, const uint8_t id[16])
{
	char text[33];

	add(o, name, json_object_new_string(hex_text(text, id, 16)));
}

static void add_text(struct json_object *o, const char *name, const struct key *k)
{
	add(o, name, json_object_new_string_len(k->data ? k->data : "", k->len));
}

const char *pool_state_name(const struct pool *p)
{
	if (p->state == POOL_LOST)
		return "lost";
	if (p->state == POOL_SUSPECT)
		return "suspect";
	return p->info.flags & POOL_DRAINING ? "draining" : "online";
}

struct pools_json {
	struct master *m;
	struct json_object *list;
	uint64_t now, capacity, used;
};

static void add_pool(void *arg, const struct pool *p)
{
	struct pools_json *pj = arg;
	struct json_object *o = json_object_new_object();
	struct slot_stat st = { 0 };

	if (p->state != POOL_LOST) {
		objects_slot_stat(pj->m->ix, p->slot, &st);
		pj->capacity += p->info.capacity;
		pj->used += p->info.used;
	}
	add_u64(o, "index", p->info.index);
	add_id(o, "id", p->info.id);
	add_id(o, "node", p->info.node);
	add(o, "state", json_object_new_string(pool_state_name(p)));
	add(o, "synced", json_object_new_boolean(p->synced));
	add_text(o, "segment", &p->info.segment);
	add_text(o, "addr", &p->info.addr);
	add_text(o, "unix_path", &p->info.unix_path);
	add_u64(o, "capacity", p->info.capacity);
	add_u64(o, "used", p->info.used);
	add_u64(o, "objects", st.replicas);
	add_u64(o, "evicted", p->stat.evicted);
	add_u64(o, "evicted_bytes", p->stat.evicted_bytes);
	add_u64(o, "silent_ms", pj->now > p->heard_ns ? (pj->now - p->heard_ns) / NSEC_PER_MSEC : 0);
	json_object_array_add(pj->list, o);
}

static struct json_object *counters_json(struct master *m)
{
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; i < ARRAY_SIZE(shown); i++)
		add_u64(o, shown[i].name, counted(m, shown[i].c));
	return o;
}

static struct json_object *tasks_json(struct master *m)
{
	struct json_object *o = json_object_new_object();
	struct tasks_stat st;

	tasks_stat(m->tasks, &st);
	add_u64(o, "pending", st.pending);
	add_u64(o, "processing", st.processing);
	add_u64(o, "created", st.created);
	add_u64(o, "succeeded", st.succeeded);
	add_u64(o, "failed", st.failed);
	return o;
}

int status_json(struct master *m, struct buf *out)
{
	struct json_object *o = json_object_new_object();
	struct pools_json pj = { .m = m, .list = json_object_new_array(), .now = clock_now_ns() };
	struct objects_stat st;
	const char *text;
	size_t len = 0;

	if (!o || !pj.list) {
		json_object_put(o);
		json_object_put(pj.list);
		return -ENOMEM;
	}
	objects_stat(m->ix, &st);
	pools_each(m->pools, add_pool, &pj);
	add(o, "role", json_object_new_string("master"));
	add(o, "version", json_object_new_string(MC_VERSION));
	add_id(o, "id", m->id);
	add_u64(o, "port", m->port);
	add_u64(o, "http_port", m->http_port);
	add_u64(o, "uptime_ms", (pj.now - m->started_ns) / NSEC_PER_MSEC);
	add(o, "ready", json_object_new_boolean(pools_ready(m->pools, pj.now)));
	add_u64(o, "view", pools_view(m->pools));
	add_u64(o, "objects", st.objects);
	add_u64(o, "bytes", st.bytes);
	add_u64(o, "capacity", pj.capacity);
	add_u64(o, "used", pj.used);
	add_u64(o, "clients", peers_of_role(m, ROLE_CLIENT));
	add_u64(o, "workers", m->nr_workers);
	add(o, "pools", pj.list);
	add(o, "tasks", tasks_json(m));
	add(o, "counters", counters_json(m));
	text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	if (text)
		buf_put(out, text, len);
	json_object_put(o);
	return text ? out->err : -ENOMEM;
}
