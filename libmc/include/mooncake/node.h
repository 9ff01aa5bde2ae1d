/* SPDX-License-Identifier: Apache-2.0 */
/* The node of this machine (mooncake-node, mooncake_client): a client that is told its address needs no other. */
#ifndef MOONCAKE_NODE_H
#define MOONCAKE_NODE_H

#include <mooncake/mooncake.h>

#ifdef __cplusplus
extern "C" {
#endif

/** struct mc_node - what a node says of itself: options for a store that is to be its client. */
struct mc_node {
	char master[256];   /* of struct mc_store_opts */
	char metadata[256]; /* the same; "" when the node did not say */
};

/**
 * mc_node_ask - find the node at @address and ask it.
 * @address: "host:port" of its service, port 50052 by default: its Unix socket of that port is tried first; or "unix:...".
 * @deadline_ns: 0: 10 s from now.
 * A store opened with what it says maps the node's pool and reads and writes it without copies in between, as any client on its
 * machine does. Thread-safe.
 * Return: 0; -EINVAL no address; -ECONNREFUSED, -ETIMEDOUT nobody answers; -EXDEV another machine's node; -EPROTO no node, or one
 * of another version.
 */
MC_API int mc_node_ask(const char *address, uint64_t deadline_ns, struct mc_node *out);

#ifdef __cplusplus
}
#endif

#endif
