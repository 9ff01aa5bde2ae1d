/* SPDX-License-Identifier: Apache-2.0 */
/* The node of this machine: found at its address, and asked for what a client needs to know. */
#include <mooncake/node.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "dev/dev.h"
#include "net/net.h"
#include "pool/talk.h"

#define NODE_PORT 50052

static const char *text_at(struct json_object *o, const char *name)
{
	struct json_object *v;

	return json_object_object_get_ex(o, name, &v) && json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

static bool copy_text(char *to, size_t size, const char *from)
{
	return (size_t)snprintf(to, size, "%s", from) < size;
}

/* "Node" of the status is this machine's identity in hex. */
static bool is_this_machine(const char *text)
{
	char id[NODE_ID_TEXT];

	return !strcmp(text, node_id_text(id));
}

static int read_status(const char *address, struct json_object *status, struct mc_node *out)
{
	struct json_object *master = NULL;

	json_object_object_get_ex(status, "master", &master);
	if (strcmp(text_at(status, "role"), "owner") || !text_at(master, "address")[0]) {
		log_err("%s is no mooncake-node: give the address of the node on this machine, not of the master", address);
		return -EPROTO;
	}
	if (!is_this_machine(text_at(status, "node"))) {
		log_err("the node at %s is another machine's: its memory cannot be shared; start mooncake-node here", address);
		return -EXDEV;
	}
	if (!copy_text(out->master, sizeof(out->master), text_at(master, "address")) ||
	    !copy_text(out->metadata, sizeof(out->metadata), text_at(status, "metadata")))
		return -EBADMSG;
	return 0;
}

static int ask(const char *address, uint64_t deadline_ns, struct mc_node *out)
{
	struct answer a;
	int ret = talk(address, "client", deadline_ns, &a);

	if (!ret)
		ret = read_status(address, a.status, out);
	json_object_put(a.status);
	return ret;
}

/* The node's socket for programs of this machine has its port in its name; its TCP service may be closed to them. */
static int ask_port(const char *address, uint64_t deadline_ns, struct mc_node *out)
{
	char path[NET_ADDR_TEXT];
	struct net_addr a;
	int ret = net_addr_parse(address, NODE_PORT, &a);

	if (ret || net_addr_is_unix(&a))
		return ret ? ret : ask(address, deadline_ns, out);
	snprintf(path, sizeof(path), "unix:@mooncake_client_%u.sock", net_addr_port(&a));
	ret = ask(path, deadline_ns, out);
	if (ret != -ECONNREFUSED && ret != -ENOENT)
		return ret;
	net_addr_format(&a, path, sizeof(path));
	return ask(path, deadline_ns, out);
}

int mc_node_ask(const char *address, uint64_t deadline_ns, struct mc_node *out)
{
	struct mc_node n = { 0 };
	int ret;

	if (!address || !*address) {
		log_err("no address of a node: give \"host:port\", port %d by default", NODE_PORT);
		return -EINVAL;
	}
	ret = ask_port(address, deadline_ns ? deadline_ns : deadline_after_ns(10 * NSEC_PER_SEC), &n);
	if (ret == -ECONNREFUSED || ret == -ENOENT || ret == -ETIMEDOUT)
		log_err_limited("no node at %s: %s; start mooncake-node there or name another address", address, strerror(-ret));
	if (!ret)
		*out = n;
	return ret;
}
