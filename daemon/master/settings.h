/* SPDX-License-Identifier: Apache-2.0 */
/* The master's flags. What deployments of upstream's master pass is all here; what has no effect yet says so when it is set. */
#ifndef MC_MASTER_SETTINGS_H
#define MC_MASTER_SETTINGS_H

#include "base/base.h"
#include "base/conf.h"
#include "proto/proto.h"

/* X(type, name, default, WHY_): accepted, without effect, which a warning says with the reason when one is set. */
#define SETTINGS_IGNORED(X) \
	X(INT, rpc_conn_timeout_seconds, "0", IDLE) \
	X(BOOL, rpc_enable_tcp_no_delay, "true", DELAY) \
	X(DOUBLE, eviction_ratio, "0.05", EVICTION) \
	X(DOUBLE, eviction_high_watermark_ratio, "0.90", EVICTION) \
	X(DOUBLE, nof_eviction_ratio, "0.05", NOF) \
	X(DOUBLE, nof_eviction_high_watermark_ratio, "0.90", NOF) \
	X(INT, nof_heartbeat_interval_sec, "10", NOF) \
	X(INT, nof_heartbeat_probe_timeout_ms, "1000", NOF) \
	X(INT, nof_heartbeat_failures_threshold, "3", NOF) \
	X(BOOL, enable_ha, "false", HA) \
	X(STRING, ha_backend_type, "etcd", HA) \
	X(STRING, ha_backend_connstring, "", HA) \
	X(STRING, etcd_endpoints, "", HA) \
	X(STRING, cluster_id, "mooncake_cluster", HA) \
	X(STRING, pod_name, "", HA) \
	X(STRING, pod_namespace, "", HA) \
	X(BOOL, enable_oplog, "false", HA) \
	X(INT, oplog_poll_interval_ms, "1000", HA) \
	X(INT, oplog_batch_max_entries, "1024", HA) \
	X(INT, batch_oplog_retry_timeout_sec, "180", HA) \
	X(STRING, root_fs_dir, "", DISK) \
	X(INT, global_file_segment_size, "9223372036854775807", DISK) \
	X(BOOL, enable_disk_eviction, "true", DISK) \
	X(SIZE, quota_bytes, "0", DISK) \
	X(STRING, memory_allocator, "offset", PLACE) \
	X(STRING, allocation_strategy, "random", PLACE) \
	X(BOOL, enable_metadata_cleanup_on_timeout, "false", CLEANUP) \
	X(INT, put_start_discard_timeout_sec, "30", PUTS) \
	X(INT, put_start_release_timeout_sec, "600", PUTS) \
	X(BOOL, enable_offload, "false", DISK) \
	X(BOOL, offload_on_evict, "false", DISK) \
	X(BOOL, offload_force_evict, "false", DISK) \
	X(INT, offloading_queue_limit, "50000", DISK) \
	X(DOUBLE, offload_cap_ratio, "0.5", DISK) \
	X(BOOL, promotion_on_hit, "false", DISK) \
	X(INT, promotion_admission_threshold, "2", DISK) \
	X(INT, promotion_queue_limit, "50000", DISK) \
	X(INT, promotion_max_per_heartbeat, "1", DISK) \
	X(STRING, dynamic_replication_mode, "off", COPIES) \
	X(INT, dynamic_replication_heat_window_seconds, "10", COPIES) \
	X(DOUBLE, dynamic_replication_admission_qps_threshold, "0.8", COPIES) \
	X(INT, dynamic_replication_max_memory_replicas, "2", COPIES) \
	X(BOOL, enable_kv_events, "false", EVENTS) \
	X(STRING, kv_events_bind_endpoint, "", EVENTS) \
	X(STRING, kv_events_backend_id, "", EVENTS) \
	X(INT, kv_events_queue_capacity, "65536", EVENTS) \
	X(BOOL, kv_events_emit_legacy_compat, "true", EVENTS) \
	X(BOOL, kv_events_emit_object_key, "true", EVENTS) \
	X(STRING, kv_events_model_name, "", EVENTS) \
	X(STRING, kv_events_additional_salt, "", EVENTS) \
	X(STRING, kv_events_lora_name, "", EVENTS) \
	X(STRING, kv_events_tenant_id, "default", EVENTS) \
	X(INT, kv_events_block_size, "0", EVENTS) \
	X(INT, kv_events_dp_rank, "0", EVENTS) \
	X(BOOL, enable_multi_tenants, "false", TENANTS) \
	X(STRING, tenant_quota_connector_type, "file", TENANTS) \
	X(STRING, tenant_quota_connector_uri, "", TENANTS) \
	X(BOOL, enable_snapshot, "false", SNAPSHOT) \
	X(BOOL, enable_snapshot_restore, "false", SNAPSHOT) \
	X(INT, snapshot_interval_seconds, "600", SNAPSHOT) \
	X(INT, snapshot_child_timeout_seconds, "300", SNAPSHOT) \
	X(INT, snapshot_retention_count, "2", SNAPSHOT) \
	X(STRING, snapshot_backup_dir, "", SNAPSHOT) \
	X(STRING, snapshot_object_store_type, "", SNAPSHOT) \
	X(STRING, snapshot_payload_store_type, "", SNAPSHOT) \
	X(STRING, snapshot_payload_backend_type, "", SNAPSHOT) \
	X(STRING, snapshot_catalog_store_type, "", SNAPSHOT) \
	X(STRING, snapshot_catalog_backend_type, "", SNAPSHOT) \
	X(STRING, snapshot_catalog_store_connstring, "", SNAPSHOT) \
	X(STRING, snapshot_catalog_backend_connstring, "", SNAPSHOT) \
	X(BOOL, enable_cxl, "false", CXL) \
	X(STRING, cxl_path, "/dev/dax0.0", CXL) \
	X(SIZE, cxl_size, "8589934592", CXL) \
	X(STRING, log_dir, "", LOG) \
	X(BOOL, logtostderr, "false", LOG) \
	X(BOOL, alsologtostderr, "false", LOG) \
	X(BOOL, colorlogtostderr, "false", LOG) \
	X(INT, stderrthreshold, "2", LOG) \
	X(INT, minloglevel, "0", LOG) \
	X(INT, logbuflevel, "0", LOG) \
	X(INT, max_log_size, "1800", LOG) \
	X(INT, v, "0", LOG) \
	X(STRING, vmodule, "", LOG) \
	X(STRING, flagfile, "", FLAGS) \
	X(STRING, fromenv, "", FLAGS)

typedef bool settings_BOOL;
typedef int64_t settings_INT;
typedef uint64_t settings_SIZE, settings_DURATION;
typedef double settings_DOUBLE;
typedef char *settings_STRING;

struct settings {
	char *config_path, *log_level;

	char *rpc_address, *rpc_interface, *unix_path;
	int64_t port, rpc_port, max_threads, rpc_thread_num;

	char *metrics_host;
	int64_t metrics_port;

	uint64_t lease_ns, client_ttl_ns, settle_ns, soft_pin_ns, soft_pin_max_ns;
	bool soft_pins_go;
	bool report;

	int64_t tasks_pending, tasks_processing, tasks_finished, task_retries;
	uint64_t task_wait_ns, task_ns;

	bool metadata_on;
	char *metadata_host;
	int64_t metadata_port;

#define X(type, name, deflt, why) settings_##type name;
	struct {
		SETTINGS_IGNORED(X)
	} ignored;
#undef X
};

extern const struct conf_item settings_items[];
extern const size_t settings_nr;

/* The address to listen on, in text that net_addr_parse() takes, and its port. -EINVAL after a message. */
int settings_rpc_host(const struct settings *s, char *out, size_t size);
int64_t settings_rpc_port(const struct settings *s);
struct pool_rules settings_rules(const struct settings *s);
unsigned settings_workers(const struct settings *s);

#endif
