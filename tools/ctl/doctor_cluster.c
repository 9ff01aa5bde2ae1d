// SPDX-License-Identifier: Apache-2.0
/* What the cluster looks like from here: the master, its HTTP side, the metadata service, and every pool. */
#include "doctor.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "dev/dev.h"
#include "net/net.h"
#include "pool/talk.h"

#define MASTER_NS (3 * NSEC_PER_SEC)
#define PEER_NS (500 * NSEC_PER_MSEC)
#define MASTERS_ASKED 12 /* ports of masters on this machine */
#define MASTER_ASKED_NS (200 * NSEC_PER_MSEC)

static uint64_t wait_until(const struct doctor *d, uint64_t ns)
{
	return MIN(d->deadline_ns, deadline_after_ns(ns));
}

/* ---- the master ---- */

/*
 * A master that runs here, only not where it was looked for, is the most likely reason of all. Its ports are all asked: one of
 * them answers, the HTTP ones do not.
 */
static unsigned find_masters_here(struct doctor *d, char *out, size_t size)
{
	struct port_user users[256];
	unsigned nr = ports_in_use(users, ARRAY_SIZE(users)), found_nr = 0, asked = 0;

	for (unsigned i = 0; i < nr && asked < MASTERS_ASKED; i++) {
		size_t len = strlen(out);
		struct answer a;
		char addr[80];

		if (strcmp(users[i].program, "mooncake-master"))
			continue;
		asked++;
		snprintf(addr, sizeof(addr), strchr(users[i].addr, ':') ? "[%s]:%u" : "%s:%u", users[i].addr, users[i].port);
		if (talk(addr, "mooncakectl", wait_until(d, MASTER_ASKED_NS), &a))
			continue;
		json_object_put(a.status);
		snprintf(out + len, size - len, "%s%s (pid %d)", found_nr++ ? ", " : "", addr, users[i].pid);
	}
	return found_nr;
}

static void no_master(struct doctor *d, int err, bool connected)
{
	const char *addr = d->ctl->opt.master;
	char fix[768], here[512] = "";

	if (err == -ECONNREFUSED || err == -ENOENT) {
		if (find_masters_here(d, here, sizeof(here)))
			snprintf(fix, sizeof(fix), "name one that runs here with --master or MOONCAKE_MASTER: %s", here);
		else
			snprintf(fix, sizeof(fix), "start mooncake-master there, or name another address with --master or MOONCAKE_MASTER");
		found(d, LEVEL_ERROR, "master", fix, "nothing listens at %s", addr);
	} else if (err == -EINVAL) {
		found(d, LEVEL_ERROR, "master", "write host:port, [v6]:port or unix:/path, with a host that resolves",
		      "\"%s\" is no address: %s", addr, mc_last_error());
	} else if (err == -EPROTO) {
		found(d, LEVEL_ERROR, "master", "install the same release on both sides", "%s speaks another protocol version than %s", addr,
		      mc_version());
	} else if (err == -EACCES || err == -EPERM) {
		found(d, LEVEL_ERROR, "master", "run as the master's user, or reach it over TCP", "%s does not let this user in", addr);
	} else if (err == -EBADMSG || err == -ECONNRESET) {
		found(d, LEVEL_ERROR, "master", "look which program listens there: ss -ltnp", "what listens at %s is no master of this kind",
		      addr);
	} else if (connected) {
		found(d, LEVEL_ERROR, "master", "look what it is with ss -ltnp; a master may be stopped or overloaded",
		      "what listens at %s takes connections and does not answer", addr);
	} else {
		found(d, LEVEL_ERROR, "master", "check the address, that the machine is up, and firewalls between",
		      "%s does not answer: %s", addr, strerror(-err));
	}
}

static void check_versions(struct doctor *d, const struct answer *a)
{
	if (!strcmp(a->software, mc_version()))
		found(d, LEVEL_OK, "master", NULL, "%s answers, version %s as here", d->ctl->opt.master, a->software);
	else
		found(d, LEVEL_WARNING, "master", "install the same release everywhere", "%s has version %s, here is %s", d->ctl->opt.master,
		      a->software, mc_version());
}

static size_t nr_pools(struct json_object *status, struct json_object **pools)
{
	return json_object_object_get_ex(status, "pools", pools) && json_object_is_type(*pools, json_type_array) ?
		       json_object_array_length(*pools) :
		       0;
}

static unsigned nr_online(struct json_object *status)
{
	struct json_object *pools;
	size_t nr = nr_pools(status, &pools);
	unsigned online = 0;

	for (size_t i = 0; i < nr; i++)
		online += !strcmp(get_text(json_object_array_get_idx(pools, i), "state"), "online");
	return online;
}

void check_master(struct doctor *d)
{
	struct answer a;
	int ret = talk(d->ctl->opt.master, "mooncakectl", wait_until(d, MASTER_NS), &a);

	if (ret) {
		no_master(d, ret, a.connected);
		return;
	}
	d->status = a.status;
	check_versions(d, &a);
	if (!nr_online(d->status))
		found(d, LEVEL_ERROR, "pools", "start mooncake-node on each machine whose memory is to be used",
		      "the master has no pool that is online: nothing can be stored");
	else if (!get_bool(d->status, "ready"))
		found(d, LEVEL_NOTE, "pools", NULL, "the master has just started and waits for pools to tell what they hold");
}

void check_admin(struct doctor *d)
{
	const char *master = d->ctl->opt.master;
	char host[NET_ADDR_TEXT] = "127.0.0.1", url[NET_ADDR_TEXT + 64];
	struct buf body = BUF_INIT;
	uint16_t port;
	int ret;

	if (!d->status)
		return;
	if (strncmp(master, "unix:", 5) && net_split_host_port(master, host, sizeof(host), &port))
		return;
	port = (uint16_t)get_u64(d->status, "http_port");
	snprintf(url, sizeof(url), strchr(host, ':') ? "http://[%s]:%u/health" : "http://%s:%u/health", host, port);
	ret = http_request("GET", url, NULL, NULL, 0, 64 * KiB, wait_until(d, 2 * NSEC_PER_SEC), &body);
	buf_fini(&body);
	if (ret == 200)
		found(d, LEVEL_OK, "metrics", NULL, "%s answers", url);
	else
		found(d, LEVEL_NOTE, "metrics", "mooncake-master --metrics_host=0.0.0.0, if it is to be scraped from here",
		      "%s: %s", url, ret < 0 ? strerror(-ret) : "answers with an error");
}

void check_metadata(struct doctor *d)
{
	const char *url = d->ctl->opt.metadata;
	struct buf body = BUF_INIT, full = BUF_INIT;
	int ret;

	if (strncmp(url, "http://", 7) && strncmp(url, "https://", 8))
		return;
	buf_printf(&full, "%s?key=mooncake%%2Fdoctor", url);
	buf_put_u8(&full, 0);
	ret = full.err ? full.err :
			 http_request("GET", (char *)full.data, NULL, NULL, 0, 64 * KiB, wait_until(d, 2 * NSEC_PER_SEC), &body);
	buf_fini(&full);
	buf_fini(&body);
	if (ret == 200 || ret == 404) /* an unknown key is a 404 */
		found(d, LEVEL_OK, "metadata", NULL, "%s answers", url);
	else if (ret > 0)
		found(d, LEVEL_ERROR, "metadata", "give the URL of mooncake-metadata, which ends in /metadata", "%s answers with HTTP status %d",
		      url, ret);
	else
		found(d, LEVEL_ERROR, "metadata", "start mooncake-metadata there, or name another with --metadata", "%s: %s", url,
		      strerror(-ret));
}

/* ---- pools ---- */

struct pools {
	char here[NODE_ID_TEXT];
	bool several; /* nodes */
};

static void survey(struct json_object *list, size_t nr, struct pools *p)
{
	const char *first = NULL;

	node_id_text(p->here);
	for (size_t i = 0; i < nr; i++) {
		const char *node = get_text(json_object_array_get_idx(list, i), "node");

		p->several |= (first && strcmp(first, node)) || strcmp(node, p->here);
		first = node;
	}
}

static bool is_loopback(const char *addr)
{
	struct net_addr a;

	return !net_addr_parse(addr, 1, &a) && net_addr_is_loopback(&a);
}

static bool same_ip(const struct sockaddr *a, const struct net_addr *b)
{
	const struct sockaddr *s = (const struct sockaddr *)(const void *)&b->ss;

	if (!a || a->sa_family != s->sa_family)
		return false;
	if (a->sa_family == AF_INET)
		return !memcmp(&((const struct sockaddr_in *)(const void *)a)->sin_addr,
			       &((const struct sockaddr_in *)(const void *)s)->sin_addr, 4);
	return a->sa_family == AF_INET6 && !memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
						   &((const struct sockaddr_in6 *)(const void *)s)->sin6_addr, 16);
}

static bool is_of_this_machine(const char *addr)
{
	struct ifaddrs *all, *i;
	struct net_addr a;
	bool yes = false;

	if (net_addr_parse(addr, 1, &a) || net_addr_is_loopback(&a) || getifaddrs(&all))
		return true;
	for (i = all; i && !yes; i = i->ifa_next)
		yes = same_ip(i->ifa_addr, &a);
	freeifaddrs(all);
	return yes;
}

static void check_state(struct doctor *d, struct json_object *p)
{
	const char *state = get_text(p, "state"), *segment = get_text(p, "segment");

	if (!strcmp(state, "lost") || !strcmp(state, "suspect"))
		found(d, LEVEL_WARNING, "pool", "look at that node's log; it joins again by itself when it can reach the master",
		      "pool of %s is %s, silent for %s", segment, state, human_time(get_u64(p, "silent_ms")).text);
}

/* This machine's: through its socket. */
static bool check_here(struct doctor *d, struct json_object *p)
{
	const char *path = get_text(p, "unix_path"), *addr = get_text(p, "addr");
	struct answer a;
	int ret = talk(path, "mooncakectl", wait_until(d, 2 * PEER_NS), &a);

	json_object_put(a.status);
	if (ret == -EACCES || ret == -EPERM || ret == -ECONNRESET)
		found(d, LEVEL_ERROR, "node socket", "run as the node's user, or start mooncake-node with --group= and join that group",
		      "%s does not let user %u in: reads and puts go over TCP", path, geteuid());
	else if (ret == -ECONNREFUSED || ret == -ENOENT)
		found(d, LEVEL_ERROR, "node socket", "start mooncake-node again; in a container share its network or mount the socket's folder",
		      "nobody listens at %s any more", path);
	else if (ret)
		found(d, LEVEL_ERROR, "node socket", "look at the node's log", "%s: %s", path, strerror(-ret));
	if (*addr && !is_of_this_machine(addr))
		found(d, LEVEL_WARNING, "address", "start mooncake-node with --host= or --advertise= an address of this machine",
		      "the pool is told to others as %s, which is no address of this machine (fine behind address translation)", addr);
	return !ret;
}

static bool can_connect(struct doctor *d, const char *addr, int *err)
{
	struct net_addr a;
	int fd;

	*err = net_addr_parse(addr, 0, &a);
	if (!*err)
		*err = net_connect(&a, wait_until(d, PEER_NS), &fd);
	if (!*err)
		close(fd);
	return !*err;
}

static bool check_there(struct doctor *d, struct json_object *p)
{
	const char *addr = get_text(p, "addr"), *segment = get_text(p, "segment");
	bool p2p = !strcmp(d->ctl->opt.metadata, "P2PHANDSHAKE");
	int err;

	if (is_loopback(addr)) /* said by check_reach() */
		return false;
	if (*addr && !can_connect(d, addr, &err)) {
		found(d, LEVEL_ERROR, "address", "check that mooncake-node runs there, --advertise, and firewalls between",
		      "pool of %s, told as %s, cannot be reached: %s", segment, addr, strerror(-err));
		return false;
	}
	if (p2p && !can_connect(d, segment, &err)) {
		found(d, LEVEL_ERROR, "address", "open the engine's ports, 15000 to 17000 by default, or name its host with --host",
		      "segment %s cannot be reached: %s", segment, strerror(-err));
		return false;
	}
	return true;
}

/* What others are told has to mean something to them. */
static void check_reach(struct doctor *d, struct json_object *p)
{
	const char *addr = get_text(p, "addr"), *segment = get_text(p, "segment");

	if (!*addr)
		found(d, LEVEL_WARNING, "address", "start mooncake-node without --listen=none",
		      "pool of %s serves its own machine only, and there are others", segment);
	else if (is_loopback(addr) || is_loopback(segment))
		found(d, LEVEL_ERROR, "address", "start mooncake-node with --host= an address that other machines can reach",
		      "pool of %s is told to other machines as %s, which is themselves", segment, addr);
}

void check_pools(struct doctor *d)
{
	struct json_object *list;
	struct pools p = { 0 };
	size_t nr, here = 0, there = 0, late = 0;

	nr = d->status ? nr_pools(d->status, &list) : 0;
	if (!nr)
		return;
	survey(list, nr, &p);
	for (size_t i = 0; i < nr; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		check_state(d, o);
		if (p.several)
			check_reach(d, o);
		if (!strcmp(get_text(o, "state"), "lost"))
			continue;
		if (deadline_passed(d->deadline_ns))
			late++;
		else if (!strcmp(get_text(o, "node"), p.here))
			here += check_here(d, o);
		else
			there += check_there(d, o);
	}
	if (here)
		found(d, LEVEL_OK, "node socket", NULL, "%zu of this machine's pools answer", here);
	if (there)
		found(d, LEVEL_OK, "address", NULL, "%zu pools of other machines can be reached", there);
	if (late)
		found(d, LEVEL_WARNING, "pools", NULL, "%zu pools were not looked at: others took too long", late);
}
