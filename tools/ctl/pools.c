// SPDX-License-Identifier: Apache-2.0
/* pools: every pool the master knows, and of this machine's what memory they got. */
#include "doctor.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "dev/dev.h"
#include "pool/talk.h"

#define ASK_NS (500 * NSEC_PER_MSEC) /* an owner of this machine */

static bool is_here(struct json_object *p)
{
	char here[NODE_ID_TEXT];

	return !strcmp(get_text(p, "node"), node_id_text(here));
}

/* The master does not know this, the owner does: its "memory", a list of regions, becomes a member of @p. */
static void ask_owner(struct ctl *c, struct json_object *p)
{
	struct json_object *pool, *memory;
	struct answer a;

	if (!is_here(p) || talk(get_text(p, "unix_path"), "mooncakectl", MIN(c->deadline_ns, deadline_after_ns(ASK_NS)), &a))
		return;
	if (json_object_object_get_ex(a.status, "pool", &pool) && json_object_object_get_ex(pool, "memory", &memory) &&
	    json_object_is_type(memory, json_type_array))
		json_object_object_add(p, "memory", json_object_get(memory));
	json_object_put(a.status);
}

static void memory_cell(struct table *t, struct json_object *p)
{
	uint64_t huge = 0, resident = 0;
	struct json_object *list;
	const char *backend = "";

	if (!json_object_object_get_ex(p, "memory", &list)) {
		table_cell(t, "-");
		return;
	}
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *r = json_object_array_get_idx(list, i);

		backend = get_text(r, "backend");
		huge += get_u64(r, "huge");
		resident += get_u64(r, "resident");
	}
	table_cell(t, "%s, %s huge", backend, human_percent(huge, resident).text);
}

static void add_row(struct table *t, struct json_object *p)
{
	uint64_t used = get_u64(p, "used"), capacity = get_u64(p, "capacity");
	const char *addr = get_text(p, "addr");

	table_cell(t, "%" PRIu64, get_u64(p, "index"));
	table_cell(t, "%s%s", get_text(p, "state"), get_bool(p, "synced") ? "" : ", refilling");
	table_cell(t, "%.8s", get_text(p, "node"));
	table_cell(t, "%s", get_text(p, "segment"));
	table_cell(t, "%s", *addr ? addr : "(this node only)");
	table_cell(t, "%s", human_bytes(capacity).text);
	table_cell(t, "%s", human_bytes(used).text);
	table_cell(t, "%s", human_percent(used, capacity).text);
	table_cell(t, "%s", human_count(get_u64(p, "objects")).text);
	table_cell(t, "%s", human_count(get_u64(p, "evicted")).text);
	memory_cell(t, p);
	table_cell(t, "%s", get_text(p, "unix_path"));
}

static int print_pools(struct json_object *pools)
{
	static const char *const heads[] = { ">pool",	 "state", "node",     "segment",  "address", ">capacity",
					     ">used", ">full", ">objects", ">evicted", "memory", "local socket" };
	size_t nr = json_object_array_length(pools);
	struct table t;

	if (!nr) {
		printf("no pools: start mooncake-node, or a client that contributes memory\n");
		return EXIT_OK;
	}
	table_open(&t, ARRAY_SIZE(heads), heads);
	for (size_t i = 0; i < nr; i++)
		add_row(&t, json_object_array_get_idx(pools, i));
	table_print(&t);
	return EXIT_OK;
}

int cmd_pools(struct ctl *c)
{
	struct json_object *o, *pools;
	int ret = master_status(c, &o);

	if (ret)
		return ret;
	if (!json_object_object_get_ex(o, "pools", &pools) || !json_object_is_type(pools, json_type_array))
		ret = fail(c, -EBADMSG, "the master at %s tells no pools", c->opt.master);
	for (size_t i = 0; !ret && i < json_object_array_length(pools); i++)
		ask_owner(c, json_object_array_get_idx(pools, i));
	if (!ret && c->opt.json)
		json_print(json_object_get(pools));
	else if (!ret)
		ret = print_pools(pools);
	json_object_put(o);
	return ret;
}
