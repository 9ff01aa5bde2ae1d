// SPDX-License-Identifier: Apache-2.0
/* nodes: the pools, taken together by machine. */
#include "ctl.h"

#include <stdio.h>

#include "dev/dev.h"

struct node_sum {
	char id[33], host[128];
	uint64_t capacity, used, objects;
	unsigned pools, online;
	bool here;
};

/* "10.0.0.7:50052" or "[::1]:50052" without the port. */
static void host_of(const char *addr, char *out, size_t size)
{
	const char *colon = strrchr(addr, ':');

	snprintf(out, size, "%.*s", colon ? (int)(colon - addr) : (int)strlen(addr), addr);
}

static void add_pool(struct node_sum *n, struct json_object *p)
{
	const char *addr = get_text(p, "addr");

	if (!n->host[0])
		host_of(*addr ? addr : get_text(p, "segment"), n->host, sizeof(n->host));
	n->pools++;
	n->online += !strcmp(get_text(p, "state"), "online");
	n->capacity += get_u64(p, "capacity");
	n->used += get_u64(p, "used");
	n->objects += get_u64(p, "objects");
}

static unsigned sum_pools(struct json_object *pools, struct node_sum *nodes)
{
	size_t nr = json_object_array_length(pools);
	char here[NODE_ID_TEXT];
	unsigned n = 0, at;

	node_id_text(here);
	for (size_t i = 0; i < nr; i++) {
		struct json_object *p = json_object_array_get_idx(pools, i);
		const char *node = get_text(p, "node");

		for (at = 0; at < n && strcmp(nodes[at].id, node); at++)
			;
		if (at == n) {
			snprintf(nodes[n].id, sizeof(nodes[n].id), "%s", node);
			nodes[n++].here = !strcmp(node, here);
		}
		add_pool(&nodes[at], p);
	}
	return n;
}

static void print_table(const struct node_sum *nodes, unsigned nr)
{
	static const char *const heads[] = { "node", "address", ">pools", ">online", ">capacity", ">used", ">full", ">objects", "" };
	struct table t;

	if (!nr) {
		printf("no nodes: start mooncake-node on the machines whose memory is to be used\n");
		return;
	}
	table_open(&t, ARRAY_SIZE(heads), heads);
	for (unsigned i = 0; i < nr; i++) {
		table_cell(&t, "%.8s", nodes[i].id);
		table_cell(&t, "%s", nodes[i].host);
		table_cell(&t, "%u", nodes[i].pools);
		table_cell(&t, "%u", nodes[i].online);
		table_cell(&t, "%s", human_bytes(nodes[i].capacity).text);
		table_cell(&t, "%s", human_bytes(nodes[i].used).text);
		table_cell(&t, "%s", human_percent(nodes[i].used, nodes[i].capacity).text);
		table_cell(&t, "%s", human_count(nodes[i].objects).text);
		table_cell(&t, "%s", nodes[i].here ? "this machine" : "");
	}
	table_print(&t);
}

static void print_json(const struct node_sum *nodes, unsigned nr)
{
	struct json_object *all = json_object_new_array();

	for (unsigned i = 0; i < nr; i++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "node", json_object_new_string(nodes[i].id));
		json_object_object_add(o, "address", json_object_new_string(nodes[i].host));
		json_object_object_add(o, "this_machine", json_object_new_boolean(nodes[i].here));
		json_object_object_add(o, "pools", json_object_new_uint64(nodes[i].pools));
		json_object_object_add(o, "online", json_object_new_uint64(nodes[i].online));
		json_object_object_add(o, "capacity", json_object_new_uint64(nodes[i].capacity));
		json_object_object_add(o, "used", json_object_new_uint64(nodes[i].used));
		json_object_object_add(o, "objects", json_object_new_uint64(nodes[i].objects));
		json_object_array_add(all, o);
	}
	json_print(all);
}

int cmd_nodes(struct ctl *c)
{
	struct json_object *o, *pools;
	struct node_sum *nodes;
	unsigned nr;
	int ret = master_status(c, &o);

	if (ret)
		return ret;
	if (!json_object_object_get_ex(o, "pools", &pools) || !json_object_is_type(pools, json_type_array)) {
		json_object_put(o);
		return fail(c, -EBADMSG, "the master at %s tells no pools", c->opt.master);
	}
	nodes = calloc(json_object_array_length(pools) + 1, sizeof(*nodes));
	if (nodes) {
		nr = sum_pools(pools, nodes);
		c->opt.json ? print_json(nodes, nr) : print_table(nodes, nr);
	} else {
		ret = fail(c, -ENOMEM, "nodes");
	}
	free(nodes);
	json_object_put(o);
	return ret;
}
