// SPDX-License-Identifier: Apache-2.0
/* The node's flags. Upstream's keep their spelling; nothing listens beyond loopback until --host says so. */
#include <grp.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/log.h"
#include "node.h"

#define ITEM(...) { CONF_ITEM(struct node_options, __VA_ARGS__) }
#define ITEM_INT(field, def, low, high, text) \
	{ CONF_ITEM(struct node_options, field, CONF_INT, def, text), .min = low, .max = high }
#define ITEM_LATER(...) { CONF_ITEM(struct node_options, __VA_ARGS__), .unimplemented = true }

const struct conf_item node_items[] = {
	ITEM(host, CONF_STRING, "127.0.0.1", "address other nodes reach this one by; 0.0.0.0: every address"),
	ITEM_INT(port, "50052", 0, 65535, "TCP port of the pool's service; 0: any"),
	ITEM(master_server_address, CONF_STRING, "127.0.0.1:50051", "the master: host:port or unix:/path"),
	ITEM(metadata_server, CONF_STRING, "P2PHANDSHAKE",
	     "where segments are published: P2PHANDSHAKE, http://host:port/metadata, etcd://, redis://"),
	ITEM(protocol, CONF_STRING, "tcp", "how other nodes read: tcp, rdma"),
	ITEM(device_names, CONF_STRING, "", "comma list of RDMA devices; empty: all"),
	ITEM(global_segment_size, CONF_SIZE, "4 GB", "memory for objects"),
	ITEM(unix_path, CONF_STRING, "", "socket for programs of this node, unix:/path or unix:@name; "
					 "default unix:@mooncake_client_<port>.sock"),
	ITEM(group, CONF_STRING, "", "members of this group may use the socket too"),
	ITEM(listen, CONF_STRING, "", "host:port to listen at instead of host and port; none: this node only"),
	ITEM(advertise, CONF_STRING, "", "host:port that others are told instead of what is listened at"),
	ITEM(eviction, CONF_STRING, "", "order of eviction by name; empty: the best one"),
	ITEM(huge_pages, CONF_BOOL, "true", "huge pages when they can be had"),
	ITEM(populate, CONF_BOOL, "true", "touch all memory at the start, not at first use"),
	{ .name = "kernel_module", .type = CONF_STRING, .env = "MC_KERNEL_MODULE", .deflt = "auto",
	  .offset = offsetof(struct node_options, kernel_module),
	  .help = "memory from /dev/mooncake, which outlives every process: auto (when it is there), require, off" },
	ITEM(pool_name, CONF_STRING, "", "name the pool has there, by which the next node finds it; default node-<port>"),
	ITEM(enable_http_server, CONF_BOOL, "false", "serve /health, /metrics, /metrics/summary and /status"),
	ITEM(http_host, CONF_STRING, "127.0.0.1", "address of the HTTP server"),
	ITEM_INT(http_port, "9300", 0, 65535, "port of the HTTP server; 0: any"),
	ITEM(config_path, CONF_STRING, "", "file with these settings: .json, .yaml or key = value"),
	ITEM(log_level, CONF_STRING, "info", "error, warning, info or debug"),
	ITEM_LATER(threads, CONF_INT, "1", "RPC threads: one serves all"),
	ITEM_LATER(local_buffer_size, CONF_SIZE, "0", "staging memory: bytes go straight into the pool"),
	ITEM_LATER(tenant_id, CONF_STRING, "default", "tenant of requests: clients name theirs"),
	ITEM_LATER(enable_offload, CONF_BOOL, "false", "demote evicted objects to SSD"),
	ITEM_LATER(start_offload_rpc_server, CONF_BOOL, "true", "serve objects from SSD"),
};
const size_t node_nr_items = ARRAY_SIZE(node_items);

static int join_host_port(char *out, const char *host, unsigned port)
{
	bool v6 = strchr(host, ':');
	char text[NET_ADDR_TEXT * 2];

	snprintf(text, sizeof(text), "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", port);
	if (strlen(text) >= NET_ADDR_TEXT)
		return -EINVAL;
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

/* "Every address" cannot be told to others: they are told the one from which the master is reached. */
static int concrete_host(const struct node_options *o, char *host)
{
	struct net_addr master, mine;
	char text[NET_ADDR_TEXT];
	uint16_t port;

	if (!net_host_is_any(host))
		return 0;
	if (net_addr_parse(o->master_server_address, 50051, &master) || net_addr_is_unix(&master) ||
	    net_source_addr(&master, &mine)) {
		log_warn("node: host %s and no route to the master at %s: other nodes are told 127.0.0.1; name an address", host,
			 o->master_server_address);
		strcpy(host, "127.0.0.1");
		return 0;
	}
	net_addr_format(&mine, text, sizeof(text));
	return net_split_host_port(text, host, NET_ADDR_TEXT, &port);
}

/*
 * Without a metadata service the engine's name gets the port it listens at. With one it is a mere name, which has to be this node's
 * alone among all that use the service.
 */
static int engine_name(const struct node_options *o, struct node_addrs *a)
{
	uint16_t port = (uint16_t)o->port;

	if (!strcmp(o->metadata_server, "P2PHANDSHAKE")) {
		memcpy(a->engine, a->host, sizeof(a->engine));
		return 0;
	}
	while (!port)
		random_bytes(&port, sizeof(port));
	return join_host_port(a->engine, a->host, port);
}

static int find_group(const char *name, gid_t *out)
{
	struct group *g;

	*out = 0;
	if (!name[0])
		return 0;
	g = getgrnam(name);
	if (!g) {
		log_err("node: group %s does not exist", name);
		return -EINVAL;
	}
	*out = g->gr_gid;
	return 0;
}

/* Well-formed? Whether the name resolves may change while the node runs, so that is not asked here. */
static int check_master(const char *master)
{
	char host[NET_ADDR_TEXT];
	uint16_t port;

	if (!strncmp(master, "unix:", 5) && master[5])
		return 0;
	if (!net_split_host_port(master, host, sizeof(host), &port))
		return 0;
	log_err("node: master_server_address %s: not of the form host:port, [v6]:port or unix:/path", master);
	return -EINVAL;
}

int node_addrs_choose(const struct node_options *o, struct node_addrs *out)
{
	char bind_host[NET_ADDR_TEXT];
	uint16_t ignored;

	*out = (struct node_addrs){ 0 };
	if (check_master(o->master_server_address))
		return -EINVAL;
	/* Upstream's deployments write "host:port" here and mean the host. */
	if (net_split_host_port(o->host, bind_host, sizeof(bind_host), &ignored))
		goto bad;
	memcpy(out->host, bind_host, sizeof(out->host));
	if (concrete_host(o, out->host) || engine_name(o, out))
		goto bad;
	if (strcmp(o->listen, "none") != 0) {
		if (o->listen[0] ? snprintf(out->listen, NET_ADDR_TEXT, "%s", o->listen) >= NET_ADDR_TEXT :
				   join_host_port(out->listen, bind_host, (unsigned)o->port))
			goto bad;
	}
	if (snprintf(out->advertise, NET_ADDR_TEXT, "%s", o->advertise) >= NET_ADDR_TEXT ||
	    snprintf(out->unix_path, NET_ADDR_TEXT, "%s", o->unix_path) >= NET_ADDR_TEXT)
		goto bad;
	if (!out->unix_path[0] && o->port)
		snprintf(out->unix_path, NET_ADDR_TEXT, "unix:@mooncake_client_%u.sock", (unsigned)o->port);
	return find_group(o->group, &out->group);

bad:
	log_err("node: host \"%s\", listen \"%s\" or advertise \"%s\" is malformed", o->host, o->listen, o->advertise);
	return -EINVAL;
}
