// SPDX-License-Identifier: Apache-2.0
/* pools: every pool the master knows. */
#include "ctl.h"

#include <inttypes.h>
#include <stdio.h>

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
	table_cell(t, "%s", get_text(p, "unix_path"));
}

static int print_pools(struct json_object *pools)
{
	static const char *const heads[] = { ">pool",	 "state", "node",     "segment",  "address", ">capacity",
					     ">used", ">full", ">objects", ">evicted", "local socket" };
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
	else if (c->opt.json)
		json_print(json_object_get(pools));
	else
		ret = print_pools(pools);
	json_object_put(o);
	return ret;
}
