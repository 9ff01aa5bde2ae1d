/* SPDX-License-Identifier: Apache-2.0 */
/* Engines: made, destroyed, and asked about themselves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capi/capi.h"

#define TALK_MS		10000

/* The layouts that programs were compiled with. */
#define AT(type, member, offset) _Static_assert(offsetof(type, member) == (offset), #type "." #member)
_Static_assert(sizeof(transfer_request_t) == 40 && sizeof(transfer_status_t) == 16 && sizeof(notify_msg_t) == 16 &&
		       sizeof(buffer_entry_t) == 16 && sizeof(nic_load_stat_t) == 80,
	       "sizes");
AT(transfer_request_t, source, 8);
AT(transfer_request_t, target_id, 16);
AT(transfer_request_t, target_offset, 24);
AT(transfer_request_t, length, 32);
AT(transfer_status_t, transferred_bytes, 8);
AT(notify_msg_t, msg, 8);
AT(buffer_entry_t, length, 8);
AT(nic_load_stat_t, inflight_bytes, 64);
AT(nic_load_stat_t, ewma_bandwidth_bps, 72);

static struct table engines = { .lock = PTHREAD_RWLOCK_INITIALIZER, .gen_mask = GEN_ANY };

struct te *te_get(transfer_engine_t handle)
{
	return (struct te *)table_get(&engines, (uintptr_t)handle);
}

void te_put(struct te *te)
{
	object_put(te ? &te->object : NULL);
}

uint64_t te_deadline(const struct te *te)
{
	return mc_deadline_ms(te->timeout_ms);
}

uint64_t te_talk_deadline(void)
{
	return mc_deadline_ms(TALK_MS);
}

/* ---- life ---------------------------------------------------------------------------------------------------------------- */

static void te_fini(struct object *o)
{
	struct te *te = (struct te *)o;

	mc_engine_close(te->engine);
	table_fini(&te->segments);
	table_fini(&te->batches);
	pthread_mutex_destroy(&te->lock);
	free(te->range);
	free(te);
}

/* Of "host", "host:port", "v6", "[v6]", "[v6]:port". */
static void host_of(const char *name, char *out, size_t size)
{
	const char *colon = strchr(name, ':');
	size_t len = strlen(name);

	if (*name == '[') {
		name++;
		len = strcspn(name, "]");
	} else if (colon && !strchr(colon + 1, ':')) {
		len = (size_t)(colon - name);
	}
	snprintf(out, size, "%.*s", (int)len, name);
}

static struct te *te_new(const char *metadata, const char *name, const char *host)
{
	struct te *te = calloc(1, sizeof(*te));

	if (!te)
		return NULL;
	object_init(&te->object, te_fini);
	te->segments = TABLE_INIT(GEN_SHORT);
	te->batches = TABLE_INIT(GEN_ANY);
	pthread_mutex_init(&te->lock, NULL);
	te->timeout_ms = mc_engine_timeout_ns() / 1000000;
	te->p2p = !strcmp(metadata, "P2PHANDSHAKE");
	host_of(host && *host ? host : name, te->host, sizeof(te->host));
	return te;
}

transfer_engine_t createTransferEngine(const char *metadata_conn_string, const char *local_server_name,
				       const char *ip_or_host_name, uint64_t rpc_port, int auto_discover)
{
	struct mc_engine_opts o = {
		.size = sizeof(o),
		.metadata = metadata_conn_string,
		.local_name = local_server_name,
	};
	struct te *te;

	(void)rpc_port;
	(void)auto_discover;
	if (!metadata_conn_string || !local_server_name)
		return NULL;
	te = te_new(metadata_conn_string, local_server_name, ip_or_host_name);
	if (!te)
		return NULL;
	o.host = te->host;
	if (mc_engine_open(&o, &te->engine) || table_add(&engines, &te->object)) {
		te_put(te);
		return NULL;
	}
	return (transfer_engine_t)(uintptr_t)te->object.id;
}

static void te_end(struct object *o)
{
	struct te *te = (struct te *)o;

	if (!te)
		return;
	table_drop(&te->batches);
	table_drop(&te->segments);
	te_put(te);
}

void destroyTransferEngine(transfer_engine_t engine)
{
	te_end(table_take(&engines, (uintptr_t)engine));
}

static bool is_graceful(struct object *o, const void *arg)
{
	(void)arg;
	return ((struct te *)o)->graceful;
}

static void at_exit(void)
{
	struct object *o;

	while ((o = table_find(&engines, is_graceful, NULL, true)))
		te_end(o);
}

static void want_exit(void)
{
	atexit(at_exit);
}

int enableGracefulShutdown(transfer_engine_t engine)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct te *te = te_get(engine);

	if (!te)
		return INVALID_ARGUMENT;
	te->graceful = true;
	pthread_once(&once, want_exit);
	te_put(te);
	return 0;
}

/* ---- questions ----------------------------------------------------------------------------------------------------------- */

int getLocalIpAndPort(transfer_engine_t engine, char *buf_out, size_t buf_len)
{
	struct te *te = te_get(engine);
	bool v6 = te && strchr(te->host, ':');
	int n = -1;

	if (te && buf_out && te->p2p)
		n = snprintf(buf_out, buf_len, "%s", mc_engine_name(te->engine));
	else if (te && buf_out)
		n = snprintf(buf_out, buf_len, "%s%s%s:%u", v6 ? "[" : "", te->host, v6 ? "]" : "",
			     mc_engine_rpc_port(te->engine));
	te_put(te);
	return n >= 0 && (size_t)n < buf_len ? 0 : INVALID_ARGUMENT;
}

static const char *known_transport(const char *proto)
{
	static const char *const known[] = { "tcp", "rdma" };

	for (unsigned i = 0; proto && i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(proto, known[i]))
			return known[i];
	return NULL;
}

transport_t installTransport(transfer_engine_t engine, const char *proto, void **args)
{
	struct te *te = te_get(engine);
	const char *known = te ? known_transport(proto) : NULL;

	(void)args;
	te_put(te);
	mc_engine_protocol(known); /* says what takes its place */
	return (transport_t)(uintptr_t)known;
}

int uninstallTransport(transfer_engine_t engine, const char *proto)
{
	return installTransport(engine, proto, NULL) ? 0 : INVALID_ARGUMENT;
}

int discoverTopology(transfer_engine_t engine)
{
	struct te *te = te_get(engine);
	char *json = te ? mc_topology_json(NULL) : NULL;
	int ret = !te ? INVALID_ARGUMENT : json ? 0 : mc_engine_code(-ENODEV);

	free(json);
	te_put(te);
	return ret;
}

int getNicLoadStats(transfer_engine_t engine, nic_load_stat_t *stats, size_t *count)
{
	struct te *te = te_get(engine);
	int ret = te && stats && count ? 0 : INVALID_ARGUMENT;

	if (!ret)
		*count = 0;
	te_put(te);
	return ret;
}
