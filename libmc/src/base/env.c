// SPDX-License-Identifier: Apache-2.0
/* Reading the environment into the settings that count, and telling what is wrong with the rest. */
#include "base/env.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

#define TOLD_MAX 256 /* different complaints of one process */

#define VAR(var, field, kind, def, text) \
	{ .name = var, .type = kind, .offset = offsetof(struct env, field), .deflt = def, .help = text }
#define VAR_SECRET(var, field, text)                                                                            \
	{ .name = var, .type = CONF_STRING, .offset = offsetof(struct env, field), .deflt = "", .secret = true, \
	  .help = text }
#define VAR_WORD(var, field, def, all, text)                                                                \
	{ .name = var, .type = CONF_STRING, .offset = offsetof(struct env, field), .deflt = def, .words = all, \
	  .help = text }
#define VAR_INT(var, old, field, def, low, high, text)                                                        \
	{ .name = var, .alias = old, .type = CONF_INT, .offset = offsetof(struct env, field), .deflt = def, \
	  .min = low, .max = high, .help = text }

static const struct conf_item items[] = {
	VAR_INT("MC_MIN_RPC_PORT", "MC_MIN_PRC_PORT", min_rpc_port, "15000", 1, 65535, "engines listen on a free port from here"),
	VAR_INT("MC_MAX_RPC_PORT", "MC_MAX_PRC_PORT", max_rpc_port, "17000", 1, 65535, "to here"),
	VAR("MC_LEGACY_RPC_PORT_BINDING", legacy_rpc_port_binding, CONF_PRESENCE, NULL,
	    "engines listen on the port of their name"),
	VAR("MC_TCP_BIND_ADDRESS", tcp_bind_address, CONF_STRING, "", "engines listen here, not at their name's host"),
	VAR("MC_FORCE_TCP", force_tcp, CONF_PRESENCE, NULL, "no RDMA, whatever protocol is asked for"),
	VAR("MC_TRANSPORTS", transports, CONF_STRING, "", "comma list of the ways engines may take: local, module, tcp"),
	{ .name = "MC_TRANSFER_TIMEOUT", .type = CONF_DURATION, .offset = offsetof(struct env, transfer_timeout_ns), .deflt = "30s",
	  .unit_ns = NSEC_PER_SEC, .help = "how long synchronous transfers of the Python module take at most; at least 5 s" },
	VAR("MC_TE_FILTERS", te_filters, CONF_STRING, "", "comma list of the RDMA devices that may be used"),
	VAR("MC_CUSTOM_TOPO_JSON", custom_topo_json, CONF_STRING, "", "file with a topology that counts instead of what is found"),
	VAR("CUDA_VISIBLE_DEVICES", cuda_visible_devices, CONF_STRING, "all", "the cards a program sees as cuda:0, cuda:1, ..."),
	VAR("HIP_VISIBLE_DEVICES", hip_visible_devices, CONF_STRING, "all", "the same for hip:0, hip:1, ..."),

	VAR("MC_METADATA_CLUSTER_ID", metadata_cluster_id, CONF_STRING, "", "part of the keys in a metadata service"),
	VAR_INT("MC_METADATA_CHECK_S", NULL, metadata_check_s, "10", 1, 3600, "seconds between looks at what was published there"),
	VAR("MC_ETCD_USERNAME", etcd.username, CONF_STRING, "", "of etcd, when the address names nobody"),
	VAR_SECRET("MC_ETCD_PASSWORD", etcd.password, "the password that goes with it"),
	VAR("MC_ETCD_CA", etcd.ca, CONF_STRING, "", "file with the certificates etcd is checked against; asks for TLS"),
	VAR("MC_ETCD_CERT", etcd.cert, CONF_STRING, "", "file with this program's certificate for etcd"),
	VAR("MC_ETCD_KEY", etcd.key, CONF_STRING, "", "file with its key"),
	VAR_INT("MC_ETCD_LEASE_TTL_S", NULL, etcd_lease_ttl_s, "30", 3, 3600, "seconds that keys in etcd outlive this program"),
	VAR("MC_REDIS_USERNAME", redis.username, CONF_STRING, "", "of Redis, when the address names nobody"),
	VAR_SECRET("MC_REDIS_PASSWORD", redis.password, "the password that goes with it"),
	VAR("MC_REDIS_CA", redis.ca, CONF_STRING, "", "file with the certificates Redis is checked against"),
	VAR("MC_REDIS_CERT", redis.cert, CONF_STRING, "", "file with this program's certificate for Redis"),
	VAR("MC_REDIS_KEY", redis.key, CONF_STRING, "", "file with its key"),
	VAR_INT("MC_REDIS_DB_INDEX", NULL, redis_db_index, "0", 0, 255, "database of Redis, when the address names none"),

	VAR_WORD("MC_KERNEL_MODULE", kernel_module, "auto", "auto,require,off", "memory from /dev/mooncake: auto, require, off"),
	VAR("MC_STORE_USE_HUGEPAGE", store_use_hugepage, CONF_PRESENCE, NULL, "memory for the program's buffers on huge pages"),
	VAR_WORD("MC_STORE_HUGEPAGE_SIZE", store_hugepage_size, "2MB", "2MB,1GB", "their size: 2MB, 1GB"),

	VAR("MC_MS_AUTO_DISC", ms_auto_disc, CONF_BOOL, "true", "a store looks for RDMA devices itself; false: only those it is given"),
	VAR("MC_MS_FILTERS", ms_filters, CONF_STRING, "", "comma list of the devices it looks for"),
	VAR_INT("MC_STORE_CLIENT_MIN_PORT", NULL, store_client_min_port, "12300", 1, 65535,
		"clients without memory of their own are named after a free port from here"),
	VAR_INT("MC_STORE_CLIENT_MAX_PORT", NULL, store_client_max_port, "14300", 1, 65535, "to here"),
	{ .name = "MC_STORE_SESSION_IDLE", .type = CONF_DURATION, .offset = offsetof(struct env, store_session_idle_ns),
	  .deflt = "10m", .unit_ns = NSEC_PER_SEC, .help = "sessions that are not used for so long end" },
	VAR("MC_STORE_SESSION_BYTES", store_session_bytes, CONF_SIZE, "0",
	    "memory of a client for put sessions; 0: a quarter of what is free at the first"),

	VAR_WORD("MC_LOG_LEVEL", log_level, "", "error,warning,info,debug,trace,warn,fatal",
		 "which messages are printed: error, warning, info, debug; what the program chooses counts more"),
};

/* ---- each complaint once --------------------------------------------------------------------------------------------- */

static struct {
	pthread_mutex_t lock;
	uint64_t hash[TOLD_MAX];
	size_t nr;
} told = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Not said before about this variable and text. More than can be remembered is not said. */
static bool first_time(const char *name, const char *text)
{
	static const struct hash_key key;
	uint64_t hash = siphash64(&key, name, strlen(name)) * 31 + siphash64(&key, text, strlen(text));
	bool fresh = true;

	pthread_mutex_lock(&told.lock);
	for (size_t i = 0; i < told.nr && fresh; i++)
		fresh = told.hash[i] != hash;
	fresh = fresh && told.nr < TOLD_MAX;
	if (fresh)
		told.hash[told.nr++] = hash;
	pthread_mutex_unlock(&told.lock);
	return fresh;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* "" is not the default of a text, and may be given. */
static bool may_be_empty(const struct conf_item *it)
{
	return it->type == CONF_PRESENCE || (it->type == CONF_STRING && !it->words && *it->deflt);
}

/* An empty variable counts as not set, but where only being there counts, or where empty means none. */
static const char *text_of(const struct conf_item *it, const char **name)
{
	const char *text = getenv(*name = it->name);

	if (!text && it->alias)
		text = getenv(*name = it->alias);
	return text && (*text || may_be_empty(it)) ? text : NULL;
}

static int take(struct conf *c, const struct conf_item *it)
{
	const char *name, *text = text_of(it, &name);
	char why[400];
	int ret;

	if (!text)
		return 0;
	ret = conf_try(c, it->name, text, CONF_ENV, why, sizeof(why));
	if (ret && ret != -ENOMEM && first_time(name, text))
		log_warn("%s: %s; %s is used", name, why, it->deflt && *it->deflt ? it->deflt : "nothing");
	return ret == -ENOMEM ? ret : 0;
}

static bool is_ours(const char *entry)
{
	return !strncmp(entry, "MC_", 3) || !strncmp(entry, "MOONCAKE_", 9);
}

static bool counts(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->nr_items; i++)
		if (!strcmp(c->items[i].name, name) || (c->items[i].alias && !strcmp(c->items[i].alias, name)))
			return true;
	return false;
}

/* The closest of all known names. */
static const char *closest(const struct conf *c, const char *name)
{
	const char *one = conf_suggest(c, name), *all[512];
	size_t nr = 0;

	while (!one && nr < ARRAY_SIZE(all) && (all[nr] = env_idle_name(nr, NULL)))
		nr++;
	return one ?: suggest(name, all, nr);
}

/* @nothing: names that have no effect, for one message about all. */
static void judge(const struct conf *c, const char *entry, struct buf *nothing)
{
	char name[128];
	const char *why, *close;
	size_t len = strcspn(entry, "=");

	if (len >= sizeof(name))
		return; /* nobody's mistake is that long */
	memcpy(name, entry, len);
	name[len] = 0;
	if (counts(c, name) || !first_time(name, ""))
		return;
	why = env_idle(name);
	if (why) {
		log_debug("%s has no effect: %s", name, why);
		if (!env_elsewhere(why))
			buf_printf(nothing, "%s%s", nothing->len ? ", " : "", name);
		return;
	}
	close = closest(c, name);
	if (close)
		log_warn("the environment has %s, which nothing here reads; did you mean %s?", name, close);
	else
		log_warn("the environment has %s, which nothing here reads", name);
}

int env_open(struct env *e)
{
	struct buf nothing = BUF_INIT;
	int ret = 0;

	*e = (struct env){ 0 };
	ret = conf_open(&e->conf, items, ARRAY_SIZE(items), e);
	for (size_t i = 0; i < ARRAY_SIZE(items) && !ret; i++)
		ret = take(&e->conf, &items[i]);
	if (ret) {
		env_close(e);
		return ret;
	}
	log_environment(e->log_level);
	for (char **entry = environ; entry && *entry; entry++)
		if (is_ours(*entry))
			judge(&e->conf, *entry, &nothing);
	if (nothing.len && !nothing.err)
		log_warn("the environment has %.*s: of no effect here; man 7 mooncake-environment says why", (int)nothing.len,
			 (const char *)nothing.data);
	buf_fini(&nothing);
	return 0;
}

void env_close(struct env *e)
{
	conf_close(&e->conf);
}

bool env_given(const struct env *e, const char *name)
{
	for (size_t i = 0; e->conf.source && i < e->conf.nr_items; i++)
		if (!strcmp(e->conf.items[i].name, name))
			return e->conf.source[i] == CONF_ENV;
	return false;
}
