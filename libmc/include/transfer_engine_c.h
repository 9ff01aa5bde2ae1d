/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C interface of upstream's transfer engine: its names, layouts and codes, so that programs written for its
 * libtransfer_engine.so run with this one (transfer_engine_c(3)). New programs use <mooncake/engine.h>.
 *
 * Strings are copied before a call returns. All calls are thread-safe. Codes: 0, or negative as mc_engine_code() has them. A handle
 * or id that is none (any more) gives a code, never a crash.
 */
#ifndef TRANSFER_ENGINE_C
#define TRANSFER_ENGINE_C

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TE_API __attribute__((visibility("default")))
#else
#define TE_API
#endif

typedef void *transfer_engine_t;
typedef void *transport_t;
typedef int32_t segment_id_t;
typedef int32_t segment_handle_t;
typedef uint64_t batch_id_t;

#define LOCAL_SEGMENT (0)
#define INVALID_BATCH UINT64_MAX

#define OPCODE_READ (0)
#define OPCODE_WRITE (1)

#define STATUS_WAITING (0)
#define STATUS_PENDING (1)
#define STATUS_INVALID (2)
#define STATUS_CANCELED (3)
#define STATUS_COMPLETED (4)
#define STATUS_TIMEOUT (5)
#define STATUS_FAILED (6)

struct transfer_request {
	int opcode;
	void *source; /* this process's memory, for both operations */
	segment_id_t target_id;
	uint64_t target_offset; /* an absolute address in the target */
	uint64_t length;	/* bytes, at least 1 */
};
typedef struct transfer_request transfer_request_t;

struct transfer_status {
	int status; /* STATUS_* */
	uint64_t transferred_bytes;
};
typedef struct transfer_status transfer_status_t;

struct notify_msg {
	char *name, *msg;
};
typedef struct notify_msg notify_msg_t;

struct buffer_entry {
	void *addr;
	size_t length;
};
typedef struct buffer_entry buffer_entry_t;

struct nic_load_stat {
	char device_name[64];
	uint64_t inflight_bytes;
	double ewma_bandwidth_bps;
};
typedef struct nic_load_stat nic_load_stat_t;

/* ---- engines ---- */

/**
 * createTransferEngine - an engine, which listens and publishes its name.
 * @metadata_conn_string: "P2PHANDSHAKE", "http://…", "etcd://…", "redis://…".
 * @ip_or_host_name: where to listen, and what peers are told; NULL or "": the host of @local_server_name.
 * @rpc_port: of no effect: a free port is taken, or, with MC_LEGACY_RPC_PORT_BINDING set, the one in @local_server_name.
 * @auto_discover: of no effect: what there is is found when it is needed.
 * With P2PHANDSHAKE peers open what getLocalIpAndPort() says, else @local_server_name.
 * Return: NULL with a message in the log.
 */
TE_API transfer_engine_t createTransferEngine(const char *metadata_conn_string, const char *local_server_name,
					      const char *ip_or_host_name, uint64_t rpc_port, int auto_discover);
/** destroyTransferEngine - ends what runs, withdraws its name. Memory and ids of it are of no use afterwards. */
TE_API void destroyTransferEngine(transfer_engine_t engine);
/** enableGracefulShutdown - the engine is destroyed by exit(), if the program did not. */
TE_API int enableGracefulShutdown(transfer_engine_t engine);
/** getLocalIpAndPort - "host:port" of its handshakes; -1 when @buf_len bytes are too few. */
TE_API int getLocalIpAndPort(transfer_engine_t engine, char *buf_out, size_t buf_len);

/**
 * installTransport, uninstallTransport - "tcp" and "rdma" are known, and there as far as the machine has them: "rdma" takes the
 * best way there is, and where that is not RDMA one warning says so. @args is of no effect. Return: a handle that is nobody's to
 * free, NULL for others; 0 or a code.
 */
TE_API transport_t installTransport(transfer_engine_t engine, const char *proto, void **args);
TE_API int uninstallTransport(transfer_engine_t engine, const char *proto);
TE_API int discoverTopology(transfer_engine_t engine);
/** getNicLoadStats - @count: room in @stats, then how many there are: none, while no RDMA device is used. */
TE_API int getNicLoadStats(transfer_engine_t engine, nic_load_stat_t *stats, size_t *count);
/** showLinks - the open segments and the transport to each, as lines or as JSON; -1 when @buf_len bytes are too few. */
TE_API int showLinks(transfer_engine_t engine, char *buf_out, size_t buf_len, int json);

/* ---- memory ---- */

/** registerLocalMemory - with @remote_accessible 0 nobody else reaches it. @location: "cpu:0", "*", NULL. */
TE_API int registerLocalMemory(transfer_engine_t engine, void *addr, size_t length, const char *location,
			       int remote_accessible);
TE_API int unregisterLocalMemory(transfer_engine_t engine, void *addr);
TE_API int registerLocalMemoryBatch(transfer_engine_t engine, buffer_entry_t *buffer_list, size_t buffer_len,
				    const char *location); /* all or none */
TE_API int unregisterLocalMemoryBatch(transfer_engine_t engine, void **addr_list, size_t addr_len);

/* ---- segments ---- */

/** openSegment - a peer by name, from 1 on; its own name is LOCAL_SEGMENT; the same id when it is open. Return: a negative code. */
TE_API segment_id_t openSegment(transfer_engine_t engine, const char *segment_name);
/** openSegmentNoCache - and fetches its description anew. */
TE_API segment_id_t openSegmentNoCache(transfer_engine_t engine, const char *segment_name);
TE_API int closeSegment(transfer_engine_t engine, segment_id_t segment_id); /* as often as it was opened */
/** removeLocalSegment - forgets the peer of that name, however often it was opened. */
TE_API int removeLocalSegment(transfer_engine_t engine, const char *segment_name);
TE_API int syncSegmentCache(transfer_engine_t engine); /* all descriptions anew; the first failure's code */
TE_API int warmupEfaSegment(transfer_engine_t engine, const char *segment_name); /* there is no EFA: 0 */

/* ---- transfers ---- */

/** allocateBatchID - room for 1 to 1048576 requests. Return: INVALID_BATCH. */
TE_API batch_id_t allocateBatchID(transfer_engine_t engine, size_t batch_size);
/** freeBatchID - -4 (ERR_BATCH_BUSY) while requests run. */
TE_API int freeBatchID(transfer_engine_t engine, batch_id_t batch_id);

/**
 * submitTransfer - starts @count requests, which end within MC_TRANSFER_TIMEOUT seconds (30, at least 5).
 * Return: -2 (ERR_TOO_MANY_REQUESTS); -1 a bad request; nothing is started then.
 */
TE_API int submitTransfer(transfer_engine_t engine, batch_id_t batch_id, struct transfer_request *entries, size_t count);
/**
 * submitTransferWithNotify - the message goes to the first entry's target when getTransferStatus() sees that the whole batch has
 * succeeded.
 */
TE_API int submitTransferWithNotify(transfer_engine_t engine, batch_id_t batch_id, struct transfer_request *entries,
				    size_t count, notify_msg_t notify_msg);
/** getTransferStatus - of the @task_id-th request since the batch was allocated; moves the batch on. */
TE_API int getTransferStatus(transfer_engine_t engine, batch_id_t batch_id, size_t task_id, struct transfer_status *status);

/* ---- messages ---- */

TE_API int genNotifyInEngine(transfer_engine_t engine, uint64_t target_id, notify_msg_t notify_msg);
/** getNotifsFromEngine - all that arrived, to freeNotifsMsgBuf(); NULL and 0: none. */
TE_API notify_msg_t *getNotifsFromEngine(transfer_engine_t engine, int *size);
TE_API int freeNotifsMsgBuf(notify_msg_t *msg, int size);

#ifdef __cplusplus
}
#endif

#endif
