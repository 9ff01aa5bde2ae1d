/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copies of an object: where they are, and taking one's own away. A store keeps any number of copies (replicas) of an
 * object, each in one segment, the memory that one process contributes. All functions are thread-safe.
 */
#ifndef MOONCAKE_REPLICAS_H
#define MOONCAKE_REPLICAS_H

#include <mooncake/store.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MC_SEGMENT_NAME_BYTES 128

/** struct mc_replica - one whole copy. Where it lies may be of the past by the time it is looked at: mc_store_get() checks. */
struct mc_replica {
	uint64_t addr;	/* of the first payload byte, in the process that serves the segment */
	uint64_t bytes; /* of the object */
	unsigned nr_extents; /* runs of memory it lies in; @addr is in the first */
	char segment[MC_SEGMENT_NAME_BYTES]; /* what the engine opens, and mc_put_opts prefers: "host:port" */
};

/** struct mc_replicas - the replicas of one object. */
struct mc_replicas {
	struct mc_key key;
	int result; /* out: how many there are; 0: no such object; else a negative errno */
	struct mc_replica *replica; /* out: @result of them; mc_replicas_free() */
};

/**
 * mc_store_replicas - where the objects are. Grants a lease to those found. The master is asked for every key.
 * Results: -EINVAL key; -ECONNREFUSED, -ETIMEDOUT no master; -ENOMEM.
 * Return: how many objects have replicas; a negative errno when none could be asked.
 */
MC_API int mc_store_replicas(struct mc_store *s, struct mc_replicas *items, unsigned nr, uint64_t deadline_ns);
/** mc_replicas_free - frees what mc_store_replicas() put into @items; their results are 0 then. */
MC_API void mc_replicas_free(struct mc_replicas *items, unsigned nr);

/**
 * mc_store_clear - remove objects that this handle put (and nobody replaced since), or, with a @segment, their replicas there.
 * Results: 0 gone; -ENOENT not there, not there in @segment, or not stored by this handle; -EBUSY leased; -EAGAIN a replica is
 * being written; -EINVAL key; -ECONNREFUSED, -ETIMEDOUT no master.
 * Return: how many went.
 */
MC_API int mc_store_clear(struct mc_store *s, struct mc_remove *items, unsigned nr, const char *segment, uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif

#endif
