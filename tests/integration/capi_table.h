/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upstream's C interface as its tables say it, with nothing taken from our header: what a program has that brings its own. Layouts
 * are written as bytes at offsets would be read, for machines with pointers of eight bytes.
 */
#ifndef CAPI_TABLE_H
#define CAPI_TABLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void *transfer_engine_t, *transport_t;
typedef int32_t segment_id_t;
typedef uint64_t batch_id_t;

#define INVALID_BATCH ((batch_id_t)-1)
#define LOCAL_SEGMENT 0

enum { OPCODE_READ, OPCODE_WRITE };
enum { STATUS_WAITING, STATUS_PENDING, STATUS_INVALID, STATUS_CANCELED, STATUS_COMPLETED, STATUS_TIMEOUT, STATUS_FAILED };

typedef struct transfer_request {
	int32_t opcode;
	int32_t pad0;
	void *source;
	int32_t target_id;
	int32_t pad1;
	uint64_t target_offset;
	uint64_t length;
} transfer_request_t;

typedef struct transfer_status {
	int32_t status;
	int32_t pad;
	uint64_t transferred_bytes;
} transfer_status_t;

typedef struct notify_msg {
	char *name;
	char *msg;
} notify_msg_t;

typedef struct buffer_entry {
	void *addr;
	uint64_t length;
} buffer_entry_t;

typedef struct nic_load_stat {
	char device_name[64];
	uint64_t inflight_bytes;
	double ewma_bandwidth_bps;
} nic_load_stat_t;

transfer_engine_t createTransferEngine(const char *, const char *, const char *, uint64_t, int);
void destroyTransferEngine(transfer_engine_t);
int enableGracefulShutdown(transfer_engine_t);
int getLocalIpAndPort(transfer_engine_t, char *, size_t);
transport_t installTransport(transfer_engine_t, const char *, void **);
int uninstallTransport(transfer_engine_t, const char *);
int discoverTopology(transfer_engine_t);
int getNicLoadStats(transfer_engine_t, nic_load_stat_t *, size_t *);
int showLinks(transfer_engine_t, char *, size_t, int);
int registerLocalMemory(transfer_engine_t, void *, size_t, const char *, int);
int unregisterLocalMemory(transfer_engine_t, void *);
int registerLocalMemoryBatch(transfer_engine_t, buffer_entry_t *, size_t, const char *);
int unregisterLocalMemoryBatch(transfer_engine_t, void **, size_t);
int32_t openSegment(transfer_engine_t, const char *);
int32_t openSegmentNoCache(transfer_engine_t, const char *);
int closeSegment(transfer_engine_t, int32_t);
int removeLocalSegment(transfer_engine_t, const char *);
int syncSegmentCache(transfer_engine_t);
int warmupEfaSegment(transfer_engine_t, const char *);
uint64_t allocateBatchID(transfer_engine_t, size_t);
int freeBatchID(transfer_engine_t, uint64_t);
int submitTransfer(transfer_engine_t, uint64_t, struct transfer_request *, size_t);
int submitTransferWithNotify(transfer_engine_t, uint64_t, struct transfer_request *, size_t, notify_msg_t);
int getTransferStatus(transfer_engine_t, uint64_t, size_t, struct transfer_status *);
int genNotifyInEngine(transfer_engine_t, uint64_t, notify_msg_t);
notify_msg_t *getNotifsFromEngine(transfer_engine_t, int *);
int freeNotifsMsgBuf(notify_msg_t *, int);

#ifdef __cplusplus
}
#endif

#endif
