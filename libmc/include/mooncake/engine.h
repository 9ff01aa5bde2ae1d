/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transfer engine: move ranges between memory of this process and memory that a peer
 * registered, by the best way there is (the same node's memory, TCP; RDMA as a plug-in). All
 * functions are thread-safe unless they say otherwise and return 0 or a count, or a negative errno;
 * mc_last_error() has the words.
 */
#ifndef MOONCAKE_ENGINE_H
#define MOONCAKE_ENGINE_H

#include <mooncake/mooncake.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mc_engine;
struct mc_region;
struct mc_segment;
struct mc_batch;
struct mc_cq;

/** struct mc_engine_opts - everything optional but @size; zero means the default. */
struct mc_engine_opts {
	size_t size; /* sizeof(struct mc_engine_opts) */
	/* "host" or "host:port"; default "127.0.0.1"; "0.0.0.0": listen everywhere */
	const char *local_name;
	const char *metadata; /* "P2PHANDSHAKE" (default), "http://…/metadata", "etcd://…", "redis://…" */
	/* "tcp" (default), "rdma" (comes up on tcp with one warning where there is no RDMA) */
	const char *protocol;
	const char *devices; /* comma list of RDMA devices; default: all */
	/* comma list that may be used, e.g. "tcp"; default: all ("local,module,tcp") */
	const char *transports;
	/* for the ports this engine listens on; default 15000-17000 */
	uint16_t min_port, max_port;
	uint32_t flags;	      /* MC_ENGINE_* */
	uint64_t deadline_ns; /* of opening; 0: 10 s from now */
	/* where to listen and what to tell peers, for names that are no address; default: the host of local_name */
	const char *host;
};

/* Serve nobody: no listener, no thread; memory registered here cannot be reached by peers. */
#define MC_ENGINE_CLIENT 1u

/**
 * mc_engine_open - start an engine.
 * Listens (unless MC_ENGINE_CLIENT) on @host, or the host of @local_name, or MC_TCP_BIND_ADDRESS,
 * for handshakes and data, and publishes its name. @opts NULL: all defaults.
 * After a fork() the child is refused with -EPERM by every call; it opens an engine of its own.
 * Return: 0; -EINVAL malformed name, port range, or no known transport; -E2BIG options of a newer
 * library; -EPROTONOSUPPORT metadata scheme or protocol; -EADDRINUSE; -EADDRNOTAVAIL not an address
 * of this machine; -ECONNREFUSED or -ETIMEDOUT metadata service.
 */
MC_API int mc_engine_open(const struct mc_engine_opts *opts, struct mc_engine **out);

/**
 * mc_engine_protocol - is there what is called @protocol: "tcp" or "rdma"? NULL and "" are "tcp".
 * Where there is no RDMA, that is said in one warning, the first time that a process asks, here or
 * by opening an engine; the engine takes the best way there is all the same.
 * Return: 0; -EOPNOTSUPP known, not there; -EPROTONOSUPPORT unknown.
 */
MC_API int mc_engine_protocol(const char *protocol);

/**
 * mc_engine_close - end all transfers with -ECANCELED, unpublish, free.
 * Batches and segments must be closed before. NULL is fine.
 */
MC_API void mc_engine_close(struct mc_engine *eng);

/**
 * mc_engine_name - the name peers open: "host:port" of the handshake listener in P2P mode, else
 * local_name.
 */
MC_API const char *mc_engine_name(const struct mc_engine *eng);

/** mc_engine_rpc_port - the handshake port; 0 for MC_ENGINE_CLIENT. */
MC_API uint16_t mc_engine_rpc_port(const struct mc_engine *eng);

/**
 * mc_region_add - let the engine read and write a range of memory, and peers reach it.
 * @addr: first byte. @len: bytes, at least 1.
 * @location: "cpu:0", "cuda:1", or NULL to find out.
 * @out: may be NULL; the region can also be removed by address.
 * The memory stays the caller's and outlives the region.
 * Return: 0; -EINVAL empty or wrapping; -EEXIST overlaps a registered range; -ENOSPC too many;
 * metadata errors.
 */
MC_API int mc_region_add(struct mc_engine *eng, void *addr, size_t len, const char *location,
			 struct mc_region **out);

struct mc_range {
	void *addr;
	size_t len;
};
/** mc_region_add_many - all or none, and one publication. */
MC_API int mc_region_add_many(struct mc_engine *eng, const struct mc_range *ranges, unsigned nr,
			      const char *location);

/**
 * mc_region_del_addr - remove the range that starts at @addr; waits for transfers that peers have
 * under way in it, but for no longer than about 10 s for those over TCP, which end then.
 * Return: 0; -ENOENT no range starts there.
 */
MC_API int mc_region_del_addr(struct mc_engine *eng, void *addr);
MC_API int mc_region_del_many(struct mc_engine *eng, void *const *addrs, unsigned nr);
MC_API void mc_region_del(struct mc_region *region);

/**
 * mc_segment_open - a peer by name. One reference more when it is open already.
 * Return: 0; -ENOENT unknown name; -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH; -EBADMSG; -EOPNOTSUPP
 * no transport reaches it.
 */
MC_API int mc_segment_open(struct mc_engine *eng, const char *name, uint64_t deadline_ns,
			   struct mc_segment **out);
MC_API void mc_segment_close(struct mc_segment *seg);

/**
 * mc_segment_refresh - fetch the peer's description anew: after it restarted, or registered more.
 */
MC_API int mc_segment_refresh(struct mc_segment *seg, uint64_t deadline_ns);

/** mc_segment_buffer - the @i-th registered range of the peer. Return: 0; -ENOENT past the last. */
MC_API int mc_segment_buffer(const struct mc_segment *seg, unsigned i, uint64_t *addr,
			     uint64_t *len);

/** mc_segment_transport - which way transfers to it take now: "local", "module", "tcp". */
MC_API const char *mc_segment_transport(const struct mc_segment *seg);

enum mc_op { MC_READ, MC_WRITE };

struct mc_vec {
	void *local;	 /* this process's memory; registration is needed for RDMA only */
	uint64_t remote; /* absolute address in the peer, inside one registered range */
	uint64_t len;	 /* 0: nothing is moved, wherever it is */
};

/*
 * Of reads: put the CRC-32C of all bytes of the request, in their order, into its status. Over TCP
 * it is computed while they arrive, which costs next to nothing; elsewhere in a pass of its own.
 */
#define MC_REQUEST_CRC 1u

/**
 * struct mc_request - one transfer: its vectors (1 to 4096) are done in order and share one status.
 * The segment stays open until it has ended. A transfer that fails because the peer became another
 * process under the same name starts once more.
 * A write that ended with an error may have been done in part, and what was under way when it was
 * given up (-ETIMEDOUT, -ECANCELED) may reach the peer a moment later.
 */
struct mc_request {
	enum mc_op op;
	struct mc_segment *segment;
	const struct mc_vec *vec;
	unsigned nr_vec;
	const char *transport; /* NULL: the engine chooses; else only this one */
	uint32_t flags;	       /* MC_REQUEST_* */
};

enum mc_state { MC_WAITING, MC_PENDING, MC_DONE };

/**
 * struct mc_status - of one request; @error is 0 or a negative errno once @state is MC_DONE, and
 * never changes again.
 */
struct mc_status {
	enum mc_state state;
	int error;
	uint64_t bytes;
	uint32_t crc; /* with MC_REQUEST_CRC, of a read that succeeded */
};

/**
 * mc_batch_open - room for @max requests, used once or, after mc_batch_reset(), again.
 * @done, @arg: called once when the last request has ended, on a thread that waits, polls or drives
 * the engine; NULL: none.
 */
MC_API int mc_batch_open(struct mc_engine *eng, unsigned max, void (*done)(void *arg), void *arg,
			 struct mc_batch **out);

/*
 * How transfers share the way to a peer, over TCP: each engine has at most three streams to it,
 * however many transfers there are. Two carry what is normal, each request whole, on the one with
 * less to do; the third is for high priority alone, so that what is urgent waits for nothing that
 * is not. Of background batches at most 2 MiB are under way in an engine at a time, and of each of
 * very many 64 KiB, in slices of 64 KiB to 1 MiB, so that others wait for no more than that; later
 * requests are MC_WAITING until then. To peers of upstream's there are four connections, each with one
 * request at a time, and a fifth for high priority alone. Requests that are
 * submitted together share system calls, small ones many to a call. Nothing is copied aside: in
 * flight are the callers' memory and what the kernel's socket buffers hold. A peer that is slow or
 * stopped holds up only what goes there.
 */
enum mc_priority { MC_PRIORITY_NORMAL, MC_PRIORITY_HIGH, MC_PRIORITY_BACKGROUND };

/**
 * mc_batch_priority - of what is submitted from now on; MC_PRIORITY_NORMAL without it.
 * Return: 0; -EBUSY requests run; -EINVAL no such priority.
 */
MC_API int mc_batch_priority(struct mc_batch *b, enum mc_priority p);

/**
 * mc_batch_submit - start @nr requests; returns without waiting for the network.
 * The vectors are copied; the memory they name belongs to the engine until the request has ended.
 * @deadline_ns: of these requests; afterwards they end with -ETIMEDOUT.
 * Return: 0; -ENOSPC more than @max; -EINVAL a wrapping length, unknown flags, or a
 * transport that is not open (nothing is started).
 * Errors of single requests are in their status: -EFAULT the peer registered no such range;
 * -ECONNRESET, -ECONNREFUSED the peer ended; -ETIMEDOUT; -ECANCELED; -EOPNOTSUPP not reachable by
 * @transport.
 */
MC_API int mc_batch_submit(struct mc_batch *b, const struct mc_request *reqs, unsigned nr,
			   uint64_t deadline_ns);

/**
 * mc_batch_wait - until all have ended (each by its own deadline), or @deadline_ns. Return: how
 * many succeeded; -EINPROGRESS.
 */
MC_API int mc_batch_wait(struct mc_batch *b, uint64_t deadline_ns);

/**
 * mc_batch_poll - move things on without waiting; only when a peer seems to have restarted, its
 * description is fetched, for at most 1 s. Return: how many have not ended.
 */
MC_API int mc_batch_poll(struct mc_batch *b);

/** mc_batch_status - of the @i-th request submitted. Return: 0; -ENOENT. */
MC_API int mc_batch_status(struct mc_batch *b, unsigned i, struct mc_status *out);

/**
 * mc_batch_cancel - end what has not ended with -ECANCELED; nothing touches its memory afterwards.
 * Waits at most 0.1 s for a thread that is inside mc_batch_wait().
 */
MC_API void mc_batch_cancel(struct mc_batch *b);
MC_API int mc_batch_reset(struct mc_batch *b);	/* -EBUSY while requests run */
MC_API void mc_batch_close(struct mc_batch *b); /* cancels first */

/**
 * mc_cq_open - a completion queue: batches that have ended, and a descriptor to wait on.
 * For programs that select() or poll(), or run on an event loop. Batches given to it with
 * mc_batch_watch() are moved on by a thread of the engine's, one for all of them, started with the
 * first queue; it waits for no peer alone, so a slow one delays nobody else's batches.
 * Return: 0; -EMFILE; -ENOMEM; -EAGAIN no thread.
 */
MC_API int mc_cq_open(struct mc_engine *eng, struct mc_cq **out);
MC_API void mc_cq_close(struct mc_cq *q); /* no batch is given to it any more. NULL is fine */

/** mc_cq_fd - readable while mc_cq_collect() has something to return. The queue's to close. */
MC_API int mc_cq_fd(const struct mc_cq *q);

/**
 * mc_cq_collect - batches of which every request has ended, in the order in which they did; never
 * waits. Each comes once for what was submitted to it until then; mc_batch_status() has the rest.
 * Return: how many are in @out.
 */
MC_API unsigned mc_cq_collect(struct mc_cq *q, struct mc_batch **out, unsigned max);

/**
 * mc_batch_watch - from now on @b comes out of @q when its requests have ended, also by a deadline
 * or mc_batch_cancel(), and needs nobody to wait or poll; both are still possible. Its done() is
 * not called meanwhile. NULL: no longer.
 * mc_batch_reset() and mc_batch_close() take it out of the queue.
 * Return: 0; -EBUSY requests run; -EINVAL a queue of another engine.
 */
MC_API int mc_batch_watch(struct mc_batch *b, struct mc_cq *q);

/** mc_batch_arg - what was given to mc_batch_open(). */
MC_API void *mc_batch_arg(const struct mc_batch *b);

/**
 * mc_transfer - submit and wait: @nr requests, one deadline. Return: 0 when all succeeded, else the
 * first one's error.
 */
MC_API int mc_transfer(struct mc_engine *eng, const struct mc_request *reqs, unsigned nr,
		       uint64_t deadline_ns);

/**
 * mc_notify_send - leave a message with a peer. Return: 0; -ECONNREFUSED, -ETIMEDOUT; -EPERM
 * refused.
 */
MC_API int mc_notify_send(struct mc_segment *seg, const char *name, const char *msg,
			  uint64_t deadline_ns);

struct mc_notify {
	char *name, *msg; /* the caller's to free() */
};
/**
 * mc_notify_recv - the oldest message received. Return: 1; 0 none.
 * At most 65536 are kept; older ones go first, counted in the log.
 */
MC_API int mc_notify_recv(struct mc_engine *eng, struct mc_notify *out);

/**
 * mc_engine_timeout_ns - how long callers who name no deadline should wait for a transfer:
 * MC_TRANSFER_TIMEOUT as it is now, 5 s to a year; 30 s.
 */
MC_API uint64_t mc_engine_timeout_ns(void);

/** mc_probe - is the peer there? Return: 0; -ENOENT unknown to metadata; socket errors. */
MC_API int mc_probe(struct mc_engine *eng, const char *name, uint64_t deadline_ns);

/**
 * mc_topology_json - the places memory of this machine can be in, and the RDMA devices near each, as
 * upstream writes them: {"cpu:0": [[near], [others]], "cuda:0": ...}. Read from sysfs at each call.
 * @devices: comma list of the devices to look at, or NULL for all; those that cannot be used (no
 * active port, no address, no node in /dev/infiniband) are left out.
 * Near a NUMA node are the devices on it, near a graphics card those the fewest PCI bridges away.
 * Cards are numbered as the program sees them, by CUDA_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES.
 * MC_TE_FILTERS is a second list of devices; MC_CUSTOM_TOPO_JSON names a file whose content counts
 * instead of what is found.
 * Return: a string to free(), or NULL with errno: EBADMSG sysfs or that file makes no sense; ENOMEM.
 */
MC_API char *mc_topology_json(const char *devices);

#ifdef __cplusplus
}
#endif

#endif
