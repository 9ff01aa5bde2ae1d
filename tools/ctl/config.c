// SPDX-License-Identifier: Apache-2.0
/* config: this tool's settings with their sources, variables that the library reads, and the limits of this build. */
#include "ctl.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/env.h"
#include "net/net.h"
#include "pool/owner.h"
#include "pool/pool.h"
#include "proto/proto.h"

enum unit { COUNT, BYTES, TIME };

static const struct limit {
	const char *name;
	uint64_t value;
	enum unit unit;
	const char *help;
} limits[] = {
	{ "protocol_version", PROTO_VERSION, COUNT, "what this build speaks" },
	{ "protocol_version_min", PROTO_VERSION_MIN, COUNT, "the oldest it understands" },
	{ "key", KEY_MAX, BYTES, "of a key" },
	{ "tenant", TENANT_MAX, BYTES, "of a tenant's name" },
	{ "name", TEXT_MAX, BYTES, "of names, addresses and paths in messages" },
	{ "pattern", PATTERN_MAX, BYTES, "of a regular expression on the wire" },
	{ "batch", BATCH_MAX, COUNT, "items in one call" },
	{ "replicas", REPLICAS_MAX, COUNT, "of one object" },
	{ "pools", POOLS_MAX, COUNT, "of one master" },
	{ "pool_regions", POOL_REGIONS_MAX, COUNT, "regions of one pool" },
	{ "pool_min", POOL_MIN_BYTES, BYTES, "the smallest pool" },
	{ "pool_unit", POOL_UNIT, BYTES, "space is given out in multiples of this" },
	{ "object_extents", EXTENTS_MAX, COUNT, "pieces of one object" },
	{ "grant_runs", GRANT_RUNS_MAX, COUNT, "runs in one grant of space" },
	{ "pool_clients", OWNER_CLIENTS_MAX, COUNT, "connections and writing programs of one pool" },
	{ "pool_client_requests", OWNER_REQUESTS_MAX, COUNT, "unanswered requests of one client" },
	{ "pool_pending", OWNER_PENDING_MAX, COUNT, "objects of one pool waiting for the master" },
	{ "pool_publish", OWNER_PUBLISH_NS, TIME, "how long a put waits for the master" },
	{ "request_vectors", DATA_VECS_MAX, COUNT, "ranges in one transfer request" },
	{ "segment_buffers", SEGMENT_BUFFERS_MAX, COUNT, "registered ranges of one engine" },
	{ "json", JSON_TEXT_MAX, BYTES, "of a segment descriptor" },
	{ "frame_body", NET_BODY_MAX, BYTES, "of one message without payload" },
	{ "frame_payload", NET_PAYLOAD_MAX, BYTES, "of one message's payload" },
	{ "frame_fds", NET_FDS_MAX, COUNT, "descriptors in one message" },
};

static struct human limit_text(const struct limit *l)
{
	if (l->unit == BYTES)
		return human_bytes(l->value);
	return l->unit == TIME ? human_time(l->value / NSEC_PER_MSEC) : human_count(l->value);
}

static void print_limits(void)
{
	static const char *const heads[] = { "limit", ">value", "" };
	struct table t;

	table_open(&t, ARRAY_SIZE(heads), heads);
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		table_cell(&t, "%s", limits[i].name);
		table_cell(&t, "%s", limit_text(&limits[i]).text);
		table_cell(&t, "%s", limits[i].help);
	}
	table_print(&t);
}

static void print_variables(const struct conf *env)
{
	static const char *const heads[] = { "variable", "value", "source", "" };
	struct table t;

	table_open(&t, ARRAY_SIZE(heads), heads);
	for (size_t i = 0; i < env->nr_items; i++) {
		struct buf value = BUF_INIT;

		conf_print_value(env, i, &value);
		table_cell(&t, "%s", env->items[i].name);
		table_cell(&t, "%.*s", (int)value.len, value.data ? (const char *)value.data : "");
		table_cell(&t, "%s", conf_source_name(env->source[i]));
		table_cell(&t, "%s", env->items[i].help);
		buf_fini(&value);
	}
	table_print(&t);
}

/* Each value with its source. */
static struct json_object *json_conf(const struct conf *conf)
{
	struct json_object *o = NULL;
	struct buf b = BUF_INIT;

	conf_print(conf, true, &b);
	buf_put_u8(&b, 0);
	if (!b.err)
		o = json_tokener_parse((const char *)b.data);
	buf_fini(&b);
	return o;
}

static struct json_object *json_idle(void)
{
	struct json_object *o = json_object_new_object();
	const char *name, *why;

	for (size_t i = 0; (name = env_idle_name(i, &why)); i++)
		json_object_object_add(o, name, json_object_new_string(why));
	return o;
}

static void print_json(const struct conf *settings, const struct conf *env)
{
	struct json_object *all = json_object_new_object(), *lims = json_object_new_object();

	json_object_object_add(all, "version", json_object_new_string(mc_version()));
	json_object_object_add(all, "settings", json_conf(settings));
	json_object_object_add(all, "variables", json_conf(env));
	json_object_object_add(all, "variables_without_effect", json_idle());
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		static const char *const suffix[] = { "", "_bytes", "_ns" };
		char name[64];

		snprintf(name, sizeof(name), "%s%s", limits[i].name, suffix[limits[i].unit]);
		json_object_object_add(lims, name, json_object_new_uint64(limits[i].value));
	}
	json_object_object_add(all, "limits", lims);
	json_print(all);
}

int cmd_config(struct ctl *c)
{
	struct conf settings = c->conf;
	struct buf b = BUF_INIT;
	struct env env;
	int ret = env_open(&env);

	if (ret)
		return fail(c, ret, "the environment");
	settings.nr_items = CTL_SETTINGS;
	if (c->opt.json) {
		print_json(&settings, &env.conf);
		env_close(&env);
		return EXIT_OK;
	}
	conf_print(&settings, false, &b);
	fwrite(b.data, 1, b.len, stdout);
	buf_fini(&b);
	puts("");
	print_variables(&env.conf);
	env_close(&env);
	puts("");
	print_limits();
	return EXIT_OK;
}
