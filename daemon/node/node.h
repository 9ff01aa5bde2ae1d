/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncake-node: the process that owns this machine's pool. It outlives the programs that use the pool, and under systemd the
 * pool outlives it.
 *
 *	main.c	  start and stop
 *	options.c flags, and the addresses that follow from them
 *	keep.c	  the pool's memory across restarts of this process
 *	http.c	  /health and /metrics
 */
#ifndef MC_NODE_H
#define MC_NODE_H

#include <mooncake/engine.h>
#include <pthread.h>

#include "net/net.h"
#include "pool/owner.h"
#include "svc.h"

#define NODE_ENGINE_NS (3 * 1000000000ull) /* one attempt to open the engine */
#define NODE_RETRY_NS 1000000000ull
#define NODE_STOP_NS (10 * 1000000000ull) /* for clients to return what they hold */

struct node_options {
	char *host, *metadata_server, *device_names, *master_server_address, *protocol;
	int64_t port, threads;
	uint64_t global_segment_size, local_buffer_size;
	char *tenant_id;
	bool enable_offload, start_offload_rpc_server, enable_http_server;
	char *http_host;
	int64_t http_port;
	char *unix_path, *listen, *advertise, *group, *config_path, *log_level, *eviction;
	bool huge_pages, populate;
	char *kernel_module, *pool_name;
};

extern const struct conf_item node_items[];
extern const size_t node_nr_items;

/* What the options come to; texts are ready for owner_opts and mc_engine_opts. */
struct node_addrs {
	char host[NET_ADDR_TEXT];	/* by which other nodes reach this one */
	char engine[NET_ADDR_TEXT];	/* the engine's name, before it adds its port */
	char listen[NET_ADDR_TEXT];	/* "": this node only */
	char advertise[NET_ADDR_TEXT];	/* "": what was bound */
	char unix_path[NET_ADDR_TEXT];	/* "": from the pool id */
	gid_t group;			/* 0: none */
};
int node_addrs_choose(const struct node_options *o, struct node_addrs *out); /* -EINVAL after a message */

/* The pool that an earlier process left, or a new one, and the ledger that goes with it (owner_opts.ledger_fd). */
int node_pool_open(const struct node_options *o, gid_t group, struct pool **out, int *ledger_fd);

struct node {
	struct svc svc;
	struct node_options opt;
	struct node_addrs addr;
	struct pool *pool; /* until the owner has it */
	int ledger_fd;
	struct mc_engine *engine;
	struct owner *owner;
	struct http_server *http;
	struct loop_timer start, watch;
	pthread_t closer; /* waits for clients while the loop hears signals */
	bool closing;
	int failed; /* ends with this error */
};

int node_http_open(struct node *n); /* 0 also when it is not wanted */

#endif
