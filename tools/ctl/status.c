// SPDX-License-Identifier: Apache-2.0
/* status: the master and the cache as a whole. */
#include "ctl.h"

#include <inttypes.h>
#include <stdio.h>

int master_status(struct ctl *c, struct json_object **out)
{
	struct json_object *o;
	char *text;
	int ret, err = 0;

	ret = store_connect(c, false);
	if (ret)
		return ret;
	text = mc_store_status_json(c->store, c->deadline_ns, &err);
	if (!text)
		return fail(c, err, "the master at %s does not say its status", c->opt.master);
	o = json_tokener_parse(text);
	free(text);
	if (!json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return fail(c, -EBADMSG, "the master at %s", c->opt.master);
	}
	*out = o;
	return EXIT_OK;
}

struct states {
	unsigned pools, online, other;
};

static struct states count_pools(struct json_object *o)
{
	struct json_object *pools;
	struct states s = { 0 };

	if (!json_object_object_get_ex(o, "pools", &pools) || !json_object_is_type(pools, json_type_array))
		return s;
	s.pools = (unsigned)json_object_array_length(pools);
	for (unsigned i = 0; i < s.pools; i++)
		s.online += !strcmp(get_text(json_object_array_get_idx(pools, i), "state"), "online");
	s.other = s.pools - s.online;
	return s;
}

static void print_counters(struct json_object *o)
{
	struct json_object *n;
	uint64_t asked, missed;

	if (!json_object_object_get_ex(o, "counters", &n))
		return;
	asked = get_u64(n, "exist_keys");
	missed = get_u64(n, "exist_keys_missing");
	printf("existence   %s keys asked, %s found\n", human_count(asked).text, human_percent(asked - MIN(missed, asked), asked).text);
	asked = get_u64(n, "locate_keys");
	missed = get_u64(n, "locate_keys_missing");
	printf("reads       %s keys looked up, %s found (reads on their own node do not ask)\n", human_count(asked).text,
	       human_percent(asked - MIN(missed, asked), asked).text);
	printf("puts        %s objects, %s were there already\n", human_count(get_u64(n, "publish_objects")).text,
	       human_count(get_u64(n, "publish_objects_refused")).text);
	printf("removed     %s by key, %s by expression\n", human_count(get_u64(n, "remove_keys")).text,
	       human_count(get_u64(n, "remove_match_objects")).text);
}

static void print_status(struct ctl *c, struct json_object *o)
{
	struct states s = count_pools(o);
	uint64_t used = get_u64(o, "used"), capacity = get_u64(o, "capacity");

	printf("master      %s, version %s, up %s, %s\n", c->opt.master, get_text(o, "version"),
	       human_time(get_u64(o, "uptime_ms")).text, get_bool(o, "ready") ? "ready" : "waiting for pools");
	printf("HTTP        port %" PRIu64 ": /health /ready /metrics\n", get_u64(o, "http_port"));
	printf("pools       %u online", s.online);
	if (s.other)
		printf(", %u not: see mooncakectl pools", s.other);
	printf("\nmemory      %s of %s used (%s)\n", human_bytes(used).text, human_bytes(capacity).text,
	       human_percent(used, capacity).text);
	printf("objects     %s, %s\n", human_count(get_u64(o, "objects")).text, human_bytes(get_u64(o, "bytes")).text);
	printf("clients     %s connected\n", human_count(get_u64(o, "clients")).text);
	print_counters(o);
}

int cmd_status(struct ctl *c)
{
	struct json_object *o;
	int ret = master_status(c, &o);

	if (ret)
		return ret;
	if (c->opt.json) {
		json_print(o);
		return EXIT_OK;
	}
	print_status(c, o);
	json_object_put(o);
	return EXIT_OK;
}
