// SPDX-License-Identifier: Apache-2.0
/*
 * Variables that are known and do nothing in this library: upstream's for what is not here or needs no setting, those that other
 * programs read, and other programs' own: about these two a warning would be wrong. A name that ends in * is a family.
 */
#include "base/env.h"

static const char rdma[] = "this build has no RDMA";
static const char tcp[] = "the TCP transport needs no setting for it";
static const char fixed[] = "the limit is fixed here";
static const char vendor[] = "this build has no such transport";
static const char offload[] = "objects are not written to disks";
static const char tent[] = "there is one runtime";
static const char gpu[] = "this build copies no device memory";
static const char refresh[] = "descriptions of peers are fetched anew when they are found to be old";
static const char engines[] = "inference engines read it, and say it in setup()";
static const char tools[] = "mooncakectl and inference engines read it";
static const char messages[] = "messages go to the program, or to standard error";
static const char metric[] = "figures are asked for, not printed";
static const char grown[] = "memory is taken as it is needed";
static const char others[] = "another program's";

static const struct {
	const char *name, *why;
} idle[] = {
	/* tools and callers */
	{ "MOONCAKE_MASTER", tools },
	{ "MOONCAKE_TENANT_ID", tools },
	{ "MOONCAKE_TE_META_DATA_SERVER", tools },
	{ "MOONCAKE_PROTOCOL", tools },
	{ "MOONCAKE_LOCAL_HOSTNAME", tools },
	{ "MOONCAKE_CONFIG_PATH", engines },
	{ "MOONCAKE_DEVICE", engines },
	{ "MOONCAKE_GLOBAL_SEGMENT_SIZE", engines },
	{ "MOONCAKE_LOCAL_BUFFER_SIZE", engines },
	{ "MOONCAKE_ENABLE_CLIENT_HTTP_SERVER", engines },
	{ "MOONCAKE_CLIENT_HTTP_PORT", engines },
	/* RDMA */
	{ "MC_NUM_CQ_PER_CTX", rdma },
	{ "MC_NUM_COMP_CHANNELS_PER_CTX", rdma },
	{ "MC_IB_PORT", rdma },
	{ "MC_GID_INDEX", rdma },
	{ "MC_AUTO_GID_MAX_RETRIES", rdma },
	{ "MC_PKEY_INDEX", rdma },
	{ "MC_MAX_CQE_PER_CTX", rdma },
	{ "MC_MAX_EP_PER_CTX", rdma },
	{ "MC_NUM_QP_PER_EP", rdma },
	{ "MC_MAX_SGE", rdma },
	{ "MC_MAX_WR", rdma },
	{ "MC_MAX_INLINE", rdma },
	{ "MC_MTU", rdma },
	{ "MC_IB_TC", rdma },
	{ "MC_IB_SL", rdma },
	{ "MC_IB_PCI_RELAXED_ORDERING", rdma },
	{ "MC_MLX5_QP_UDP_SPORTS", rdma },
	{ "MC_MLX5_QP_LAG_PORT_BALANCE", rdma },
	{ "MC_WORKERS_PER_CTX", rdma },
	{ "MC_SLICE_SIZE", rdma },
	{ "MC_FRAGMENT_RATIO", rdma },
	{ "MC_RETRY_CNT", rdma },
	{ "MC_SLICE_TIMEOUT", rdma },
	{ "MC_RDMA_RAIL_PAUSE_SECONDS", rdma },
	{ "MC_CONN_PAUSE_TTL_MS", rdma },
	{ "MC_MAX_MR_SIZE", rdma },
	{ "MC_ENABLE_PARALLEL_REG_MR", rdma },
	{ "MC_MAX_CONCURRENT_REG_MR", rdma },
	{ "MC_MIN_REG_SIZE", rdma },
	{ "MC_ENDPOINT_STORE_TYPE", rdma },
	{ "MC_PATH_ROUNDROBIN", rdma },
	{ "MC_ENABLE_DEST_DEVICE_AFFINITY", rdma },
	{ "MC_ENABLE_HCA_PEER_AFFINITY", rdma },
	{ "MC_NIC_PEER_AFFINITY", rdma },
	{ "MC_RDMA_BIND_ADDRESS", rdma },
	{ "MC_LOG_RDMA_SLICE_AFFINITY", rdma },
	{ "MC_TRACK_RDMA_POSTED_SLICES", rdma },
	{ "MC_FORCE_HCA", rdma },
	{ "MC_EFA_CQ_THREADS", rdma },
	{ "MC_EFA_NIC_SELECTION", rdma },
	{ "MC_RPC_PROTOCOL", rdma },
	/* handshakes, metadata, RPC */
	{ "MC_HANDSHAKE_PORT", fixed },
	{ "MC_HANDSHAKE_LISTEN_BACKLOG", fixed },
	{ "MC_HANDSHAKE_MAX_LENGTH", fixed },
	{ "MC_HANDSHAKE_CONNECT_TIMEOUT", "calls have deadlines" },
	{ "MC_RPC_TIMEOUT_MS", "calls have deadlines" },
	{ "MC_RPC_CONNECT_TIMEOUT_MS", "calls have deadlines" },
	{ "MC_USE_IPV6", "addresses of both families are understood" },
	{ "MC_DISABLE_METACACHE", refresh },
	{ "MC_TE_METADATA_REFRESH_INTERVAL_SECONDS", refresh },
	{ "MC_RPC_CLIENT_IO_THREADS", "callers send and receive themselves" },
	{ "MC_STORE_RPC_CLIENT_IO_THREADS", "callers send and receive themselves" },
	{ "MC_TE_RPC_CLIENT_IO_THREADS", "callers send and receive themselves" },
	/* TCP */
	{ "MC_TCP_SLICE_SIZE", tcp },
	{ "MC_TCP_PROTO", tcp },
	{ "MC_TCP_STATUS_TIMEOUT_SEC", tcp },
	{ "MC_TCP_ENABLE_CONNECTION_POOL", tcp },
	{ "MC_TCP_LANES_PER_PEER", tcp },
	{ "MC_TCP_MAX_CONNECTIONS_PER_PEER", tcp },
	{ "MC_TCP_MAX_QUEUED_TRANSFERS_PER_PEER", tcp },
	{ "MC_TCP_MAX_PENDING_ADMISSIONS_PER_PEER", tcp },
	{ "MC_TCP_ADMISSION_TIMEOUT_MS", tcp },
	/* other media */
	{ "MC_FORCE_MNNVL", vendor },
	{ "MC_FORCE_MUSA", vendor },
	{ "MC_ENABLE_MNNVL", vendor },
	{ "MC_INTRANODE_NVLINK", vendor },
	{ "MC_INTRA_NVLINK", vendor },
	{ "MC_USE_NVLINK_IPC", vendor },
	{ "MC_USE_HIP_IPC", vendor },
	{ "MC_DISABLE_HIP", vendor },
	{ "MC_DISABLE_MACA", vendor },
	{ "MC_DISABLE_MUSA", vendor },
	{ "MC_HIP_*", vendor },
	{ "MC_MACA_*", vendor },
	{ "MC_MUSA_*", vendor },
	{ "MC_UBSHMEM_*", vendor },
	{ "MC_USE_UBSHMEM_IPC", vendor },
	{ "MC_CXL_*", vendor },
	{ "MC_NVME_*", vendor },
	{ "MC_NOF_*", vendor },
	{ "MC_DISABLE_GPU_DIRECT_RDMA", gpu },
	{ "MC_STORE_PIN_MEMORY_MAX_BYTES", gpu },
	{ "MC_STORE_PINNED_RESTORE_ARENA_SIZE_BYTES", gpu },
	/* upstream's other runtime, messages, figures */
	{ "MC_USE_TENT", tent },
	{ "MC_USE_TEV1", tent },
	{ "MC_TENT_*", tent },
	{ "MC_TE_FILTERS_EXCLUDE", tent },
	{ "MC_LOG_DIR", messages },
	{ "MC_YLT_LOG_LEVEL", messages },
	{ "MC_TE_METRIC", metric },
	{ "MC_TE_METRIC_INTERVAL_SECONDS", metric },
	{ "MC_STORE_CLIENT_METRIC", metric },
	{ "MC_STORE_CLIENT_METRIC_INTERVAL", metric },
	{ "MC_STORE_CLIENT_METRIC_BANDWIDTH", metric },
	{ "MC_STORE_CLUSTER_ID", metric },
	/* the store */
	{ "MC_STORE_MEMCPY", "the machine's own memory is always read in place" },
	{ "MC_STORE_CLIENT_SETUP_RETRIES", "opening has one deadline" },
	{ "MC_MMAP_ARENA_POOL_SIZE", grown },
	{ "MC_DISABLE_MMAP_ARENA", grown },
	{ "MC_STORE_NUMA_SOCKET_ID", "pools lie on all nodes" },
	{ "MC_STORE_LOCAL_HOT_CACHE_SIZE", "the machine's own memory is always read in place" },
	{ "MC_STORE_LOCAL_HOT_BLOCK_SIZE", "the machine's own memory is always read in place" },
	{ "MC_STORE_LOCAL_HOT_CACHE_USE_SHM", "the machine's own memory is always read in place" },
	{ "MC_STORE_LOCAL_HOT_ADMISSION_THRESHOLD", "the machine's own memory is always read in place" },
	{ "MC_STORE_REPLICA_SCORING", "the nearest replica is read first" },
	{ "MOONCAKE_STORE_CHECKSUM", "objects that cross the network are always checked" },
	{ "MC_FILEREAD_WORKERS", offload },
	{ "MOONCAKE_OFFLOAD_*", offload },
	{ "MOONCAKE_OFFSET_*", offload },
	{ "MOONCAKE_DFS_*", offload },
	{ "MOONCAKE_NVME_KV_*", offload },
	{ "MOONCAKE_AWS_*", offload },
	{ "MOONCAKE_SNAPSHOT_LOCAL_PATH", offload },
	/* Midnight Commander, MinIO's client */
	{ "MC_SID", others },
	{ "MC_TMPDIR", others },
	{ "MC_HOME", others },
	{ "MC_DATADIR", others },
	{ "MC_PROFILE_ROOT", others },
	{ "MC_XDG_OPEN", others },
	{ "MC_HOST_*", others },
	{ "MC_CONFIG_DIR", others },
};

static bool matches(const char *pattern, const char *name)
{
	size_t len = strlen(pattern);

	return pattern[len - 1] == '*' ? !strncmp(pattern, name, len - 1) : !strcmp(pattern, name);
}

const char *env_idle(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		if (matches(idle[i].name, name))
			return idle[i].why;
	return NULL;
}

bool env_elsewhere(const char *why)
{
	return why == engines || why == tools || why == others;
}

const char *env_idle_name(size_t i, const char **why)
{
	if (i >= ARRAY_SIZE(idle))
		return NULL;
	if (why)
		*why = idle[i].why;
	return idle[i].name;
}
