/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and addresses. An engine listens where its name says, and on loopback when the name says
 * nothing: a wildcard is listened on only when asked for, and is never told to others.
 */
#include <stdio.h>

#include "base/log.h"
#include "engine/engine.h"
#include "net/net.h"

#define PORT_MIN 15000
#define PORT_MAX 17000

static int copy_host(char out[ENGINE_NAME_MAX], const char *host)
{
	return snprintf(out, ENGINE_NAME_MAX, "%s", host) < ENGINE_NAME_MAX ? 0 : -EINVAL;
}

static int find_ports(const struct mc_engine_opts *o, const struct env *env, struct address *out)
{
	out->min_port = o->min_port ? o->min_port : (uint16_t)env->min_rpc_port;
	out->max_port = o->max_port ? o->max_port : (uint16_t)env->max_rpc_port;
	if (out->min_port <= out->max_port)
		return 0;
	if (o->min_port || o->max_port) {
		log_err("port range %u to %u is empty", out->min_port, out->max_port);
		return -EINVAL;
	}
	log_warn("MC_MIN_RPC_PORT to MC_MAX_RPC_PORT, %u to %u, is empty; %u to %u is used",
		 out->min_port, out->max_port, PORT_MIN, PORT_MAX);
	out->min_port = PORT_MIN;
	out->max_port = PORT_MAX;
	return 0;
}

static bool resolves(const char *host)
{
	struct net_addr a;

	return !net_addr_parse(host, 1, &a) && !net_addr_is_unix(&a);
}

/* With a metadata service a name need not be an address at all. */
static int find_hosts(const char *host, const struct env *env, bool p2p, struct address *out)
{
	const char *bind = env->tcp_bind_address;
	int ret;

	if (!*bind)
		bind = host;
	else if (!p2p && !net_host_is_any(bind))
		host = bind;
	if (!net_host_is_any(bind) && !resolves(bind)) {
		if (p2p) {
			log_err("host \"%s\" cannot be resolved: give an address of this machine",
				bind);
			return -EINVAL;
		}
		log_warn("\"%s\" is no host: listening on 127.0.0.1 only; set MC_TCP_BIND_ADDRESS "
			 "to be reached "
			 "from elsewhere",
			 bind);
		host = bind = "127.0.0.1";
	}
	ret = copy_host(out->bind, !strcmp(bind, "*") ? "0.0.0.0" : bind);
	if (ret)
		return ret;
	if (!net_host_is_any(host))
		return copy_host(out->advertise, host);
	ret = net_own_host(NULL, out->advertise, sizeof(out->advertise));
	if (ret)
		log_err("listening on all addresses, but there is none to tell peers: give one");
	return ret;
}

int address_name_with_port(struct address *a, uint16_t port)
{
	bool v6 = strchr(a->advertise, ':');
	int n = snprintf(a->name, sizeof(a->name), "%s%s%s:%u", v6 ? "[" : "", a->advertise,
			 v6 ? "]" : "", port);

	return n < (int)sizeof(a->name) ? 0 : -EINVAL;
}

int address_find(const struct mc_engine_opts *o, const struct env *env, bool p2p,
		 struct address *out)
{
	const char *name = o->local_name && *o->local_name ? o->local_name : "127.0.0.1";
	char host[ENGINE_NAME_MAX];
	uint16_t port;
	int ret;

	if (net_split_host_port(name, host, sizeof(host), &port) || copy_host(out->name, name)) {
		log_err("name \"%.300s\" is malformed: \"host\" or \"host:port\" is expected",
			name);
		return -EINVAL;
	}
	if (o->host && *o->host && copy_host(host, o->host)) {
		log_err("host \"%.300s\" is too long", o->host);
		return -EINVAL;
	}
	out->rpc_port = env->legacy_rpc_port_binding ? port : 0;
	ret = find_ports(o, env, out);
	return ret ? ret : find_hosts(host, env, p2p, out);
}
