/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copies of an object: where they are, taking one's own away, having them copied and moved. A store keeps any number of
 * copies (replicas) of an object, each in one segment, the memory that one process contributes. All functions are thread-safe.
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

/* ---- tasks: carried out by the process that serves the source segment, kept by the master ---- */

/** struct mc_uuid - 128 bits, written as two decimal numbers with a dash between them. */
struct mc_uuid {
	uint64_t hi, lo;
};

/**
 * mc_store_copy - have an object copied into other segments.
 * @targets: names of segments, 1 to 16; one that holds a copy already is done.
 * @task:    what to ask mc_store_task() for, written on success.
 * Returns at once; while the task runs the object cannot be removed (-ETXTBSY). It ends within a few minutes in any case.
 * Return: 0; -EINVAL key, no targets, or no such segment; -E2BIG more targets; -ENOENT no such object; -EHOSTDOWN a target takes no
 * objects at present; -ENXIO no source whose owner could be asked; -EDQUOT too many tasks wait; -EOPNOTSUPP embedded;
 * -ECONNREFUSED, -ETIMEDOUT no master.
 */
MC_API int mc_store_copy(struct mc_store *s, const struct mc_key *key, const char *const *targets, unsigned nr,
			 uint64_t deadline_ns, struct mc_uuid *task);

/** mc_store_move - the same into one segment; @source gives its copy up once the new one can be read. -EINVAL also: it has none. */
MC_API int mc_store_move(struct mc_store *s, const struct mc_key *key, const char *source, const char *target, uint64_t deadline_ns,
			 struct mc_uuid *task);

#define MC_TASK_COPY 0
#define MC_TASK_MOVE 1
#define MC_TASK_PENDING 0
#define MC_TASK_PROCESSING 1
#define MC_TASK_FAILED 2
#define MC_TASK_SUCCESS 3

/** struct mc_task - what became of a task. */
struct mc_task {
	struct mc_uuid id;
	int type, status;		 /* MC_TASK_* */
	uint64_t created_ms, updated_ms; /* since 1970, by the master's clock */
	struct mc_uuid assigned; /* pool whose owner carries it out */
	char message[160];	 /* why it failed; on success "" or a remark */
};

/** mc_store_task - Return: 0; -ESRCH unknown: never made, long over, or its master is gone; as mc_store_health(). */
MC_API int mc_store_task(struct mc_store *s, const struct mc_uuid *task, uint64_t deadline_ns, struct mc_task *out);

#ifdef __cplusplus
}
#endif

#endif
