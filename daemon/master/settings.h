/* SPDX-License-Identifier: Apache-2.0 */
/* The master's flags. What deployments of upstream's master pass is all here; what has no effect yet says so when it is set. */
#ifndef MC_MASTER_SETTINGS_H
#define MC_MASTER_SETTINGS_H

#include "base/base.h"
#include "base/conf.h"

/* X(type, name, default): accepted, without effect. */
#define SETTINGS_IGNORED(X)                                     \
	X(INT, rpc_conn_timeout_seconds, "0")                   \
	X(BOOL, rpc_enable_tcp_no_delay, "true")                \
	X(DURATION, default_kv_soft_pin_ttl, "1800000")         \
	X(BOOL, allow_evict_soft_pinned_objects, "true")        \
	X(DOUBLE, eviction_ratio, "0.05")                       \
	X(DOUBLE, eviction_high_watermark_ratio, "0.90")        \
	X(DOUBLE, nof_eviction_ratio, "0.05")                   \
	X(DOUBLE, nof_eviction_high_watermark_ratio, "0.90")    \
	X(INT, nof_heartbeat_interval_sec, "10")                \
	X(INT, nof_heartbeat_probe_timeout_ms, "1000")          \
	X(INT, nof_heartbeat_failures_threshold, "3")           \
	X(BOOL, enable_ha, "false")                             \
	X(STRING, ha_backend_type, "etcd")                      \
	X(STRING, ha_backend_connstring, "")                    \
	X(STRING, etcd_endpoints, "")                           \
	X(STRING, cluster_id, "mooncake_cluster")               \
	X(STRING, pod_name, "")                                 \
	X(STRING, pod_namespace, "")                            \
	X(BOOL, enable_oplog, "false")                          \
	X(INT, oplog_poll_interval_ms, "1000")                  \
	X(INT, oplog_batch_max_entries, "1024")                 \
	X(INT, batch_oplog_retry_timeout_sec, "180")            \
	X(STRING, root_fs_dir, "")                              \
	X(INT, global_file_segment_size, "9223372036854775807") \
	X(BOOL, enable_disk_eviction, "true")                   \
	X(SIZE, quota_bytes, "0")                               \
	X(STRING, memory_allocator, "offset")                   \
	X(STRING, allocation_strategy, "random")                \
	X(BOOL, enable_metadata_cleanup_on_timeout, "false")    \
	X(INT, put_start_discard_timeout_sec, "30")             \
	X(INT, put_start_release_timeout_sec, "600")            \
	X(BOOL, enable_offload, "false")                        \
	X(BOOL, offload_on_evict, "false")                      \
	X(BOOL, offload_force_evict, "false")                   \
	X(INT, offloading_queue_limit, "50000")                 \
	X(DOUBLE, offload_cap_ratio, "0.5")                     \
	X(BOOL, promotion_on_hit, "false")                      \
	X(INT, promotion_admission_threshold, "2")              \
	X(INT, promotion_queue_limit, "50000")                  \
	X(INT, promotion_max_per_heartbeat, "1")                \
	X(STRING, dynamic_replication_mode, "off")              \
	X(INT, dynamic_replication_heat_window_seconds, "10")   \
	X(DOUBLE, dynamic_replication_admission_qps_threshold, "0.8") \
	X(INT, dynamic_replication_max_memory_replicas, "2")    \
	X(BOOL, enable_kv_events, "false")                      \
	X(STRING, kv_events_bind_endpoint, "")                  \
	X(STRING, kv_events_backend_id, "")                     \
	X(INT, kv_events_queue_capacity, "65536")               \
	X(BOOL, kv_events_emit_legacy_compat, "true")           \
	X(BOOL, kv_events_emit_object_key, "true")              \
	X(STRING, kv_events_model_name, "")                     \
	X(STRING, kv_events_additional_salt, "")                \
	X(STRING, kv_events_lora_name, "")                      \
	X(STRING, kv_events_tenant_id, "default")               \
	X(INT, kv_events_block_size, "0")                       \
	X(INT, kv_events_dp_rank, "0")                          \
	X(BOOL, enable_multi_tenants, "false")                  \
	X(STRING, tenant_quota_connector_type, "file")          \
	X(STRING, tenant_quota_connector_uri, "")               \
	X(BOOL, enable_snapshot, "false")                       \
	X(BOOL, enable_snapshot_restore, "false")               \
	X(INT, snapshot_interval_seconds, "600")                \
	X(INT, snapshot_child_timeout_seconds, "300")           \
	X(INT, snapshot_retention_count, "2")                   \
	X(STRING, snapshot_backup_dir, "")                      \
	X(STRING, snapshot_object_store_type, "")               \
	X(STRING, snapshot_payload_store_type, "")              \
	X(STRING, snapshot_payload_backend_type, "")            \
	X(STRING, snapshot_catalog_store_type, "")              \
	X(STRING, snapshot_catalog_backend_type, "")            \
	X(STRING, snapshot_catalog_store_connstring, "")        \
	X(STRING, snapshot_catalog_backend_connstring, "")      \
	X(INT, max_retry_attempts, "10")                        \
	X(BOOL, enable_cxl, "false")                            \
	X(STRING, cxl_path, "/dev/dax0.0")                      \
	X(SIZE, cxl_size, "8589934592")                         \
	X(STRING, log_dir, "")                                  \
	X(BOOL, logtostderr, "false")                           \
	X(BOOL, alsologtostderr, "false")                       \
	X(BOOL, colorlogtostderr, "false")                      \
	X(INT, stderrthreshold, "2")                            \
	X(INT, minloglevel, "0")                                \
	X(INT, logbuflevel, "0")                                \
	X(INT, max_log_size, "1800")                            \
	X(INT, v, "0")                                          \
	X(STRING, vmodule, "")                                  \
	X(STRING, flagfile, "")                                 \
	X(STRING, fromenv, "")

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

	uint64_t lease_ns, client_ttl_ns, settle_ns, soft_pin_max_ns;
	bool report;

	int64_t tasks_pending, tasks_processing, tasks_finished;
	uint64_t task_wait_ns, task_ns;

	bool metadata_on;
	char *metadata_host;
	int64_t metadata_port;

#define X(type, name, deflt) settings_##type name;
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
unsigned settings_workers(const struct settings *s);

#endif
