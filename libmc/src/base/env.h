/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's settings from the environment: MC_* and MOONCAKE_*. Whoever sets something up reads them then, never when the
 * library is loaded, and keeps copies: what getenv() points to does not live. env.c has those that count, each with its type,
 * default and range; env_names.c those that are known and do nothing here, and why.
 *
 * A value that is not understood leaves the default, with one warning that says what the variable takes. A name that nobody knows
 * gets one warning with the closest known one; those that do nothing here are named in one. Each once in a process.
 */
#ifndef MC_ENV_H
#define MC_ENV_H

#include "base/base.h"
#include "base/conf.h"

/* How to be let in to a metadata service; "": not said. */
struct env_access {
	char *username, *password, *ca, *cert, *key;
};

struct env {
	/* the engine */
	int64_t min_rpc_port, max_rpc_port;
	char *tcp_bind_address, *transports, *te_filters, *custom_topo_json;
	char *cuda_visible_devices, *hip_visible_devices; /* "all": not said */
	bool legacy_rpc_port_binding, force_tcp;
	uint64_t transfer_timeout_ns;
	/* metadata */
	char *metadata_cluster_id;
	struct env_access etcd, redis;
	int64_t metadata_check_s, etcd_lease_ttl_s, redis_db_index;
	/* memory */
	char *kernel_module;
	bool store_use_hugepage;
	char *store_hugepage_size;
	/* the store */
	bool ms_auto_disc;
	char *ms_filters;
	int64_t store_client_min_port, store_client_max_port;
	uint64_t store_session_idle_ns, store_session_bytes;
	/* all */
	char *log_level;

	struct conf conf; /* where each came from */
};

/* -ENOMEM. Strings are never NULL, and live until env_close(). Looks at MC_LOG_LEVEL first, and obeys it (log_environment()). */
int env_open(struct env *e);
void env_close(struct env *e);

/* Was the variable given, and understood? */
bool env_given(const struct env *e, const char *name);

/* Why a known variable does nothing here; NULL: it is not one of these. Names that are families end in "*". */
const char *env_idle(const char *name);
bool env_elsewhere(const char *why); /* because it means something to somebody else */
const char *env_idle_name(size_t i, const char **why); /* the @i-th; NULL behind the last */

#endif
