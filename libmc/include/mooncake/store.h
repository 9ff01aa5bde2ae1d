/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: immutable objects under keys, shared by all clients of a master. Bytes lie in pools; a get copies them from the
 * nearest one and checks that they are what was stored. All functions are thread-safe; batches return how many items
 * succeeded and fill one result per item.
 */
#ifndef MOONCAKE_STORE_H
#define MOONCAKE_STORE_H

#include <mooncake/engine.h>
#include <mooncake/mooncake.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mc_store;

/** struct mc_store_opts - zero means the default. */
struct mc_store_opts {
	size_t size;		    /* sizeof(struct mc_store_opts) */
	const char *local_name;	    /* "host" or "host:port": this client, and where its pool is reached; default "127.0.0.1"; */
				    /* 0.0.0.0, [::] and *: the address from which the master is reached */
	const char *metadata;	    /* as mc_engine_opts */
	const char *master;	    /* "host:port", "unix:/path", or "embedded": this process alone, no master; default 127.0.0.1:50051 */
	const char *protocol;	    /* "tcp", "rdma" */
	const char *devices;
	const char *tenant;	    /* default "default" */
	uint64_t pool_bytes;	    /* memory this client contributes; 0: none */
	uint64_t local_buffer_bytes; /* limit of one value that passes through the library's own memory */
	const char *transports;	    /* comma list that gets and puts may use, e.g. "tcp"; default: all */
	uint64_t timeout_ns;	    /* of calls that name no deadline; default 10 s */
	uint64_t deadline_ns;	    /* of opening; 0: timeout_ns from now */
	struct mc_engine *engine;   /* use this one; the caller keeps it open longer than the store */
	uint32_t flags;		    /* MC_STORE_OF_NODE, or 0 */
	const char *pool_name;	    /* of the contributed pool: with the kernel module it outlives this process, and who opens
				       a pool of this name next serves what is in it; default none */
	uint64_t session_idle_ns;   /* a session that was not used for so long ends; default 10 min */
	uint64_t session_bytes;	    /* of this process's memory for put sessions; default a quarter of what is free at the first */
};

/*
 * A client of the node on this machine (mc_node_ask()), which contributes nothing, as callers of older interfaces know it: sessions
 * are -EINVAL, mounts -ENOSYS, and mc_store_buffer_check() has something to say. Not with pool_bytes, nor without a master.
 */
#define MC_STORE_OF_NODE 1u

/**
 * mc_store_open - connect to the master, contribute a pool if asked.
 * Return: 0; -EINVAL; -ECONNREFUSED, -ETIMEDOUT master; -EPROTO version; -ENOMEM pool; -EBUSY another process serves pool_name.
 */
MC_API int mc_store_open(const struct mc_store_opts *opts, struct mc_store **out);

/**
 * mc_store_shutdown - calls under way in other threads end soon, with -ESHUTDOWN or a lost connection; later ones at once.
 * The handle stays valid. Any thread, any number of times; from the second time on, calls do not wait for owners on this machine
 * either, which may finish their puts.
 */
MC_API void mc_store_shutdown(struct mc_store *s);

/**
 * mc_store_close - shuts down, waits for calls under way (they end within about a second), frees; the pool goes with its objects.
 * NULL is fine.
 */
MC_API void mc_store_close(struct mc_store *s);

/** mc_store_name - "host:port" of this client, unique on its host. */
MC_API const char *mc_store_name(const struct mc_store *s);

/** mc_store_health - 0; -ECONNREFUSED the master does not answer. */
MC_API int mc_store_health(struct mc_store *s);

struct mc_key {
	const void *data; /* any bytes */
	size_t len;	  /* 1 to 4096 */
};

struct mc_iov {
	void *addr;
	size_t len;
};

/** enum mc_data_type - what the bytes of an object are. Nothing here depends on it. */
enum mc_data_type {
	MC_DATA_UNKNOWN,
	MC_DATA_KVCACHE,
	MC_DATA_TENSOR,
	MC_DATA_WEIGHT,
	MC_DATA_SAMPLE,
	MC_DATA_ACTIVATION,
	MC_DATA_GRADIENT,
	MC_DATA_OPTIMIZER_STATE,
	MC_DATA_METADATA,
	MC_DATA_GENERAL
};

/** struct mc_put_opts - how a put is stored; NULL means all defaults. */
struct mc_put_opts {
	size_t size;
	unsigned replicas;	    /* default 1; fewer nodes than asked: as many as there are */
	uint32_t flags;		    /* MC_PUT_* */
	uint64_t soft_pin_ms;	    /* with MC_PUT_SOFT_PIN, from now on; 0: the master's default, 30 min unless told otherwise */
	const char *const *preferred; /* segment names */
	unsigned nr_preferred;
	unsigned data_type;	    /* enum mc_data_type, or any number up to 15: kept for who asks, mc_store_stat() */
	const struct mc_key *groups; /* one for each item, of any length; len 0: none. NULL: none */
};
#define MC_PUT_HARD_PIN 1u
#define MC_PUT_SOFT_PIN 2u   /* evicted only when nothing else is left */
#define MC_PUT_REPLACE 4u    /* upsert */
#define MC_PUT_SOFT_UNPIN 8u /* what is replaced may have a soft pin, which else stays for as long as it had: no more */

/** struct mc_put - one object to store: the concatenation of its pieces. */
struct mc_put {
	struct mc_key key;
	const struct mc_iov *iov;
	unsigned nr_iov;
	int result; /* out: 0 stored, or there already and unchanged; else a negative errno */
};

/**
 * mc_store_put - store @nr objects; returns when any get anywhere sees those that succeeded.
 * Objects of one group (and tenant) are evicted together, a use of one is a use of all, and they lie in one pool where that is
 * possible. A key keeps its group: a replacement that names none stays in it, one that names another is refused. Of a key that is
 * there twice the first counts, or with MC_PUT_REPLACE the last, and the others have its result.
 * Results: 0; -EINVAL key, empty value, another group, or a soft pin longer than the master allows; -ENOSPC un-evictable bytes
 * leave no room; -ECONNREFUSED no master or no pool; -ETIMEDOUT (it may yet be stored); -EIO.
 * Return: how many results are 0.
 */
MC_API int mc_store_put(struct mc_store *s, struct mc_put *items, unsigned nr, const struct mc_put_opts *opts,
			uint64_t deadline_ns);

/**
 * struct mc_get - one object to read into memory of the caller.
 * Either @iov says where, in order, and holds at least the object; or @alloc is asked once its size is known.
 */
struct mc_get {
	struct mc_key key;
	const struct mc_iov *iov;
	unsigned nr_iov;
	unsigned why; /* out, when the result is an error: enum mc_miss */
	void *(*alloc)(void *arg, size_t len); /* called at most once, from the calling thread; NULL result: -ENOMEM */
	void *arg;
	int64_t result; /* out: the object's bytes; -ENOENT; -EMSGSIZE does not fit (nothing written); -EIO, -ETIMEDOUT … */
};

/**
 * mc_store_get - read @nr objects. An item that fails may have had its memory written before; after the call nothing is.
 * Return: how many succeeded.
 */
MC_API int mc_store_get(struct mc_store *s, struct mc_get *items, unsigned nr, uint64_t deadline_ns);

/**
 * mc_store_get_note - what happened to @item of a get that has returned is the calling thread's mc_last_error() now. After a batch
 * that is the first item that failed.
 */
MC_API void mc_store_get_note(const struct mc_get *item);

/**
 * mc_store_get_here - the same from this machine's memory alone: no message is sent and nothing is waited for but the copy.
 * Results: as mc_store_get(); -EAGAIN it is not here, so only mc_store_get() can tell.
 */
MC_API int mc_store_get_here(struct mc_store *s, struct mc_get *items, unsigned nr);

/** struct mc_slice - one fragment: @len bytes from @src_off of the object to @dst. */
struct mc_slice {
	void *dst;
	uint64_t src_off, len;
	int64_t result; /* out: @len or a negative errno; -ERANGE beyond the object */
};
struct mc_get_slices {
	struct mc_key key;
	struct mc_slice *slices;
	unsigned nr;
	int64_t result; /* out: the whole object's bytes, or a negative errno; the slices of one object are of one moment */
};
MC_API int mc_store_get_slices(struct mc_store *s, struct mc_get_slices *items, unsigned nr, uint64_t deadline_ns);

/** struct mc_query - what is known of a key. */
struct mc_query {
	struct mc_key key;
	int result;	/* out: 1 there, 0 not, else a negative errno */
	uint64_t bytes; /* out, when there */
	unsigned replicas;
	uint32_t flags;	    /* out, of mc_store_stat(): MC_PUT_HARD_PIN, MC_PUT_SOFT_PIN */
	unsigned data_type; /* out, of mc_store_stat() */
};
/**
 * mc_store_exists - grants a lease to those found. @bytes and @replicas are not filled.
 * Return: how many are there; a negative errno when none could be asked.
 */
MC_API int mc_store_exists(struct mc_store *s, struct mc_query *items, unsigned nr, uint64_t deadline_ns);
/** mc_store_size - the same, and fills @bytes. Like it, a key that this machine holds takes no message. */
MC_API int mc_store_size(struct mc_store *s, struct mc_query *items, unsigned nr, uint64_t deadline_ns);
/** mc_store_stat - the same, and fills the rest too, which only the master knows: it is asked for every key. */
MC_API int mc_store_stat(struct mc_store *s, struct mc_query *items, unsigned nr, uint64_t deadline_ns);

struct mc_remove {
	struct mc_key key;
	int result; /* out: 0; -ENOENT; -EBUSY leased; -ETXTBSY being copied or moved, also with MC_REMOVE_FORCE */
};
#define MC_REMOVE_FORCE 1u /* leases do not protect */
/** mc_store_remove - afterwards no get anywhere returns the object. Return: how many went. */
MC_API int mc_store_remove(struct mc_store *s, struct mc_remove *items, unsigned nr, uint32_t flags, uint64_t deadline_ns);

/**
 * mc_store_remove_matching - all keys in which @regex (POSIX extended; NULL or "": every key) is found.
 * Return: how many went; -EINVAL the expression.
 */
MC_API int64_t mc_store_remove_matching(struct mc_store *s, const char *regex, uint32_t flags, uint64_t deadline_ns);

/**
 * mc_store_buffer_add - memory that gets and puts will use often: registered with the engine where that helps.
 * Return: 0; -EINVAL; -EEXIST overlap.
 */
MC_API int mc_store_buffer_add(struct mc_store *s, void *addr, size_t len);
MC_API int mc_store_buffer_del(struct mc_store *s, void *addr); /* -ENOENT */
MC_API int mc_store_buffer_has(struct mc_store *s, const void *addr, size_t len); /* 1: all of it lies in one; 0 */
/**
 * mc_store_buffer_check - may a call that is given these pieces by address use them? For who has that rule to keep:
 * mc_store_get() and mc_store_put() do not ask.
 * Return: 0; -EFAULT the store is MC_STORE_OF_NODE and a piece lies in no registered buffer; mc_last_error() names it.
 */
MC_API int mc_store_buffer_check(struct mc_store *s, const struct mc_iov *iov, unsigned nr);
MC_API int mc_store_of_node(const struct mc_store *s); /* 1: opened with MC_STORE_OF_NODE; 0 */

/**
 * mc_store_status_json - what the master says of itself and its pools, as JSON.
 * Return: a string to free(); NULL with a negative errno in *err.
 */
MC_API char *mc_store_status_json(struct mc_store *s, uint64_t deadline_ns, int *err);

/** struct mc_list_item - a key of this tenant. */
struct mc_list_item {
	struct mc_key key; /* valid during the callback */
	uint64_t bytes;
	unsigned replicas;
};
/**
 * mc_store_list - calls @fn for every key found, until it returns non-zero.
 * An order is not promised; keys stored meanwhile may be missing. Return: how many calls; a negative errno.
 */
MC_API int64_t mc_store_list(struct mc_store *s, const char *regex, int (*fn)(void *arg, const struct mc_list_item *item),
			     void *arg, uint64_t deadline_ns);

/* ---- statistics ----------------------------------------------------------------------------------------------------- */

/** enum mc_path - how an object's bytes travel; mc_path_name() has them in words. */
enum mc_path {
	MC_PATH_MAPPED, /* this machine's memory, mapped: one copy, no message for a get */
	MC_PATH_LOCAL,	/* another process's private memory on this machine, copied by the kernel */
	MC_PATH_TCP,
	MC_PATHS = 8 /* room for more */
};

/** enum mc_miss - why a get did not return an object; mc_miss_name() has them in words. */
enum mc_miss {
	MC_MISS_ABSENT,	 /* nobody has the key */
	MC_MISS_GONE,	 /* it was evicted, removed or replaced while it was looked for */
	MC_MISS_MASTER,	 /* it is not on this machine, and the master could not be asked */
	MC_MISS_NODE,	 /* nobody who has it could be reached */
	MC_MISS_TIMEOUT, /* the deadline was first */
	MC_MISS_CORRUPT, /* what arrived is not what was stored */
	MC_MISS_CALL,	 /* the call itself: a bad key, a place too small, no memory */
	MC_MISSES = 16	 /* room for more */
};

/** struct mc_path_stats - of one way, one direction. */
struct mc_path_stats {
	uint64_t objects; /* read, whole or in part; written, each replica */
	uint64_t bytes;
	uint64_t timed;	  /* calls whose time was taken: gets that only needed mapped memory 1 in 32, all others */
	uint64_t p50_ns, p99_ns; /* of those, whole calls whatever their size, at most 1/8 too long; 0: none */
};

/** struct mc_store_stats - since the store was opened. */
struct mc_store_stats {
	size_t size;   /* sizeof(struct mc_store_stats): set by the caller */
	uint64_t hits; /* objects that gets returned */
	uint64_t misses; /* objects that they did not; by reason: */
	uint64_t miss[MC_MISSES];
	uint64_t retries; /* reads of mapped memory done again, because the object changed meanwhile */
	uint64_t puts;	  /* objects of puts that succeeded, also because they were there already */
	uint64_t puts_failed;
	struct mc_path_stats get[MC_PATHS], put[MC_PATHS];
};

/**
 * mc_store_stats - what this store has done. A call counts all at once, at its end; figures of calls under way in other threads may
 * be of different moments. A call that spans several ways counts its time for the farthest. A call that is refused as a whole (too
 * many items, a store that closes) counts nothing.
 * @out: its @size says how much of it there is. Cheap, and takes no lock that gets or puts need.
 * Return: 0; -EINVAL size.
 */
MC_API int mc_store_stats(struct mc_store *s, struct mc_store_stats *out);

/** mc_path_name, mc_miss_name - "mapped", "absent" …; NULL: no way, no reason has this number. */
MC_API const char *mc_path_name(unsigned path);
MC_API const char *mc_miss_name(unsigned reason);

#ifdef __cplusplus
}
#endif

#endif
