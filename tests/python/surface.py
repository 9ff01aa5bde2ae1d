# SPDX-License-Identifier: Apache-2.0
"""The Python surface as callers know it: one row per call, walked by test_surface.py.

A row: name, signature (names, order, `/` and `*`, defaults; `...` stands for a default ReplicateConfig), arguments of a call
that is well formed, and what that call gives before setup() or initialize().
"""
from mooncake.engine import Read

P = 0x1000  # an address that is never touched

# Everything callers of upstream may import or call, by its name.
MODULE = """MooncakeDistributedStore ReplicateConfig ObjectDataType SoftPinAction ReplicaStatus TaskType TaskStatus MemoryDescriptor
DiskDescriptor ReplicaDescriptor Descriptor QueryTaskResponse BufferHandle BufferPool RegisteredBufferPool BufferLease RegisteredBufferLease
BufferLeaseView RegisteredBufferLeaseView MooncakeHostMemAllocator ParallelAxis TensorParallelism ReadTarget
MooncakeDistributedNoFRegister EngramStoreConfig EngramStore bind_to_numa_node get_alloc_func_addr get_free_func_addr _serialize_tensor
_tensor_metadata_size _deserialize_tensor _get_pyclient_from_wrapper UNKNOWN KVCACHE TENSOR WEIGHT SAMPLE ACTIVATION GRADIENT OPTIMIZER_STATE
METADATA GENERAL UNDEFINED INITIALIZED PROCESSING COMPLETE REMOVED FAILED""".split()
METHODS = """setup setup_dummy init_all close health_check get_hostname alloc_from_mem_pool get_offload_rpc_read_count _get_pyclient_capsule
put put_parts put_batch get get_batch get_buffer batch_get_buffer upsert upsert_parts upsert_batch register_buffer unregister_buffer
put_from put_from_with_metadata get_into get_into_ranges batch_put_from batch_get_into batch_put_from_multi_buffers
batch_get_into_multi_buffers upsert_from batch_upsert_from batch_get_session_start batch_get_into_multi_buffer_ranges batch_get_session_end
batch_put_session_start batch_put_from_multi_buffer_ranges batch_put_session_end batch_put_session_revoke is_exist batch_is_exist get_size
remove remove_by_regex remove_all batch_remove get_replica_desc batch_get_replica_desc batch_replica_clear create_copy_task create_move_task
query_task mount_segment unmount_segment allocate_and_mount_segment unmount_and_free_segment unmount_local_disk_segment put_tensor get_tensor
batch_put_tensor batch_get_tensor pub_tensor batch_pub_tensor put_tensor_with_tp get_tensor_with_tp batch_put_tensor_with_tp
batch_get_tensor_with_tp pub_tensor_with_tp batch_pub_tensor_with_tp get_tensor_into batch_get_tensor_into get_tensor_with_tp_into
batch_get_tensor_with_tp_into put_tensor_from batch_put_tensor_from put_tensor_with_tp_from batch_put_tensor_with_tp_from upsert_tensor
upsert_tensor_from batch_upsert_tensor batch_upsert_tensor_from upsert_pub_tensor batch_upsert_pub_tensor get_tensor_into_cuda
batch_get_tensor_into_cuda save_tensor_to_safetensor load_tensor_from_safetensor put_tensor_with_parallelism upsert_tensor_with_parallelism
batch_put_tensor_with_parallelism batch_upsert_tensor_with_parallelism put_tensor_with_parallelism_from
upsert_tensor_with_parallelism_from batch_put_tensor_with_parallelism_from batch_upsert_tensor_with_parallelism_from
get_tensor_with_parallelism batch_get_tensor_with_parallelism get_tensor_with_parallelism_into
batch_get_tensor_with_parallelism_into""".split()
# What of it is not there, each with a reason in docs/compatibility.md, "Not there yet"; a name that is there must not be here.
ABSENT = []

STORE = [
    # life
    ("setup", "(local_hostname, metadata_server, global_segment_size, local_buffer_size, protocol, rdma_devices, master_server_addr, "
              "engine=None, enable_ssd_offload=False, ssd_offload_path='', tenant_id='default', enable_client_http_server=False, "
              "client_http_port=9300)", ("", "P2PHANDSHAKE", 0, 0, "tcp", "", "embedded"), -600),
    ("setup_dummy", "(mem_pool_size, local_buffer_size, server_address)", (0, 0, "unix:@mooncake-nobody"), -1),
    ("close", "()", (), 0),
    ("health_check", "()", (), 1),
    ("get_hostname", "()", (), ""),
    ("stats", "()", (), {}),
    ("last_error", "()", (), None),
    ("init_all", "(protocol, device_name, mount_segment_size, /)", ("tcp", "", 1 << 20), -600),
    ("get_offload_rpc_read_count", "()", (), 0),
    ("alloc_from_mem_pool", "(size)", (8,), 0),
    # bytes
    ("put", "(key, value, config=...)", ("k", b"v"), -600),
    ("put_parts", "(key, *parts, config=...)", ("k", b"v"), -600),
    ("put_batch", "(keys, values, config=...)", (["k"], [b"v"]), -600),
    ("get", "(key, /)", ("k",), b""),
    ("get_batch", "(keys, /)", (["a", "b"],), [b""]),
    ("get_buffer", "(key, /)", ("k",), None),
    ("batch_get_buffer", "(keys, /)", (["a", "b"],), [None, None]),
    ("upsert", "(key, value, config=...)", ("k", b"v"), -600),
    ("upsert_parts", "(key, *parts, config=...)", ("k", b"v"), -600),
    ("upsert_batch", "(keys, values, config=...)", (["k"], [b"v"]), -600),
    # zero copy
    ("register_buffer", "(buffer_ptr, size)", (P, 8), -600),
    ("unregister_buffer", "(buffer_ptr)", (P,), -600),
    ("put_from", "(key, buffer_ptr, size, config=...)", ("k", P, 8), -600),
    ("put_from_with_metadata", "(key, buffer_ptr, metadata_buffer_ptr, size, metadata_size, config=...)", ("k", P, P, 8, 8), -600),
    ("get_into", "(key, buffer_ptr, size)", ("k", P, 8), -600),
    ("get_into_ranges", "(buffer_ptrs, all_keys, all_dst_offsets, all_src_offsets, all_sizes)",
     ([P, P], [["a", "b"], ["c"]], [[[0, 1], [2]], [[3]]], [[[0, 1], [2]], [[3]]], [[[1, 1], [1]], [[1]]]),
     [[[-600, -600], [-600]], [[-600]]]),
    ("batch_put_from", "(keys, buffer_ptrs, sizes, config=...)", (["a", "b"], [P, P], [8, 8]), [-600, -600]),
    ("batch_get_into", "(keys, buffer_ptrs, sizes)", (["a", "b"], [P, P], [8, 8]), [-600, -600]),
    ("batch_put_from_multi_buffers", "(keys, all_buffer_ptrs, all_sizes, config=...)", (["a"], [[P]], [[8]]), []),
    ("batch_get_into_multi_buffers", "(keys, all_buffer_ptrs, all_sizes, prefer_alloc_in_same_node=False)",
     (["a"], [[P]], [[8]]), [-600]),
    ("upsert_from", "(key, buffer_ptr, size, config=...)", ("k", P, 8), -600),
    ("batch_upsert_from", "(keys, buffer_ptrs, sizes, config=...)", (["a", "b"], [P, P], [8, 8]), [-600, -600]),
    # sessions
    ("batch_get_session_start", "(keys)", (["a", "b"],), []),
    ("batch_get_into_multi_buffer_ranges", "(keys, all_buffer_ptrs, all_sizes, all_src_offsets)", (["a"], [[P]], [[8]], [[0]]), []),
    ("batch_get_session_end", "(keys)", (["a"],), -1),
    ("batch_put_session_start", "(keys, sizes, config=...)", (["a", "b"], [8, 8]), []),
    ("batch_put_from_multi_buffer_ranges", "(keys, all_buffer_ptrs, all_sizes, all_dst_offsets)", (["a"], [[P]], [[8]], [[0]]), []),
    ("batch_put_session_end", "(keys)", (["a"],), []),
    ("batch_put_session_revoke", "(keys)", (["a"],), []),
    # existence and removal
    ("is_exist", "(key, /)", ("k",), -600),
    ("batch_is_exist", "(keys)", (["a", "b"],), [-600, -600]),
    ("get_size", "(key, /)", ("k",), -600),
    ("remove", "(key, force=False)", ("k",), -600),
    ("remove_by_regex", "(regex_pattern, force=False)", ("k",), -600),
    ("remove_all", "(force=False)", (), -600),
    ("batch_remove", "(keys, force=False)", (["a", "b"],), [-600, -600]),
    # copies
    ("get_replica_desc", "(key)", ("k",), []),
    ("batch_get_replica_desc", "(keys)", (["a", "b"],), {}),
    ("batch_replica_clear", "(keys, segment_name='')", (["a", "b"],), []),
    ("create_copy_task", "(key, targets)", ("k", ["s"]), ((0, 0), -600)),
    ("create_move_task", "(key, source, target)", ("k", "s", "t"), ((0, 0), -600)),
    ("query_task", "(task_id)", ((1, 2),), (None, -600)),
    # memory that comes and goes
    ("mount_segment", "(path, size, offset=0, protocol='tcp', location='')", ("/nonexistent", 1 << 20), {"ret": -1, "segment_ids": []}),
    ("allocate_and_mount_segment", "(size, protocol='tcp', location='')", (1 << 20,), {"ret": -1, "segment_ids": []}),
    ("unmount_segment", "(segment_ids, grace_period_seconds=0)", (["1-2"],), -1),
    ("unmount_and_free_segment", "(segment_ids, grace_period_seconds=0)", (["1-2"],), -1),
    ("unmount_local_disk_segment", "(grace_period_seconds=0)", (), -1),
    # tensors
    ("put_tensor", "(key, tensor)", ("k", None), -600),
    ("batch_put_tensor", "(keys, tensors_list)", (["a", "b"], [None, None]), [-600, -600]),
    ("pub_tensor", "(key, tensor, config=...)", ("k", None), -600),
    ("batch_pub_tensor", "(keys, tensors_list, config=...)", (["a", "b"], [None, None]), [-600, -600]),
    ("put_tensor_from", "(key, buffer_ptr, size)", ("k", P, 8), -600),
    ("batch_put_tensor_from", "(keys, buffer_ptrs, sizes)", (["a", "b"], [P, P], [8, 8]), [-600, -600]),
    ("upsert_tensor", "(key, tensor)", ("k", None), -600),
    ("batch_upsert_tensor", "(keys, tensors_list)", (["a", "b"], [None, None]), [-600, -600]),
    ("upsert_tensor_from", "(key, buffer_ptr, size)", ("k", P, 8), -600),
    ("batch_upsert_tensor_from", "(keys, buffer_ptrs, sizes)", (["a", "b"], [P, P], [8, 8]), [-600, -600]),
    ("upsert_pub_tensor", "(key, tensor, config=...)", ("k", None), -600),
    ("batch_upsert_pub_tensor", "(keys, tensors_list, config=...)", (["a", "b"], [None, None]), [-600, -600]),
    ("get_tensor", "(key)", ("k",), None),
    ("batch_get_tensor", "(keys)", (["a", "b"],), [None, None]),
    ("get_tensor_into", "(key, buffer_ptr, size)", ("k", P, 8), None),
    ("batch_get_tensor_into", "(keys, buffer_ptrs, sizes)", (["a", "b"], [P, P], [8, 8]), [-600, -600]),
    ("get_tensor_into_cuda", "(key, tensor)", ("k", None), -600),
    ("batch_get_tensor_into_cuda", "(keys, tensors_list)", (["a", "b"], [None, None]), [-600, -600]),
    ("save_tensor_to_safetensor", "(key, file_name=None)", ("k",), -600),
    ("load_tensor_from_safetensor", "(key=None, file_name=None)", (None, "/nonexistent/f"), None),
    # tensors cut along one dimension
    ("put_tensor_with_tp", "(key, tensor, tp_rank=0, tp_size=1, split_dim=0)", ("k", None), -600),
    ("batch_put_tensor_with_tp", "(base_keys, tensors_list, tp_rank=0, tp_size=1, split_dim=0)",
     (["a", "b"], [None, None]), [-600, -600]),
    ("pub_tensor_with_tp", "(key, tensor, config=..., tp_rank=0, tp_size=1, split_dim=0)", ("k", None), -600),
    ("batch_pub_tensor_with_tp", "(base_keys, tensors_list, config=..., tp_rank=0, tp_size=1, split_dim=0)",
     (["a", "b"], [None, None]), [-600, -600]),
    ("put_tensor_with_tp_from", "(key, buffer_ptr, size, tp_rank=0, tp_size=1, split_dim=0)", ("k", P, 8), -600),
    ("batch_put_tensor_with_tp_from", "(base_keys, buffer_ptrs, sizes, tp_rank=0, tp_size=1, split_dim=0)",
     (["a", "b"], [P, P], [8, 8]), [-600, -600]),
    ("get_tensor_with_tp", "(key, tp_rank=0, tp_size=1, split_dim=0)", ("k",), None),
    ("batch_get_tensor_with_tp", "(base_keys, tp_rank=0, tp_size=1)", (["a", "b"],), [None, None]),
    ("get_tensor_with_tp_into", "(key, buffer_ptr, size, tp_rank=0, tp_size=1, split_dim=0)", ("k", P, 8), None),
    ("batch_get_tensor_with_tp_into", "(base_keys, buffer_ptrs, sizes, tp_rank=0, tp_size=1)",
     (["a", "b"], [P, P], [8, 8]), [-600, -600]),
    # tensors and axes of parallelism
    ("put_tensor_with_parallelism", "(key, tensor, parallelism=None, config=..., writer_partition=None)", ("k", None), -600),
    ("upsert_tensor_with_parallelism", "(key, tensor, parallelism=None, config=..., writer_partition=None)", ("k", None), -600),
    ("batch_put_tensor_with_parallelism", "(keys, tensors_list, parallelisms=None, config=..., writer_partitions=None)",
     (["a", "b"], [None, None]), [-600, -600]),
    ("batch_upsert_tensor_with_parallelism", "(keys, tensors_list, parallelisms=None, config=..., writer_partitions=None)",
     (["a", "b"], [None, None]), [-600, -600]),
    ("put_tensor_with_parallelism_from", "(key, buffer_ptr, size, parallelism=None, config=..., writer_partition=None)",
     ("k", P, 8), -600),
    ("upsert_tensor_with_parallelism_from", "(key, buffer_ptr, size, parallelism=None, config=..., writer_partition=None)",
     ("k", P, 8), -600),
    ("batch_put_tensor_with_parallelism_from", "(keys, buffer_ptrs, sizes, parallelisms=None, config=..., writer_partitions=None)",
     (["a", "b"], [P, P], [8, 8]), [-600, -600]),
    ("batch_upsert_tensor_with_parallelism_from", "(keys, buffer_ptrs, sizes, parallelisms=None, config=..., writer_partitions=None)",
     (["a", "b"], [P, P], [8, 8]), [-600, -600]),
    ("get_tensor_with_parallelism", "(key, target=None)", ("k",), None),
    ("batch_get_tensor_with_parallelism", "(keys, targets=None)", (["a", "b"],), [None, None]),
    ("get_tensor_with_parallelism_into", "(key, buffer_ptr, size, target=None)", ("k", P, 8), None),
    ("batch_get_tensor_with_parallelism_into", "(keys, buffer_ptrs, sizes, targets=None)", (["a", "b"], [P, P], [8, 8]), [-600, -600]),
]

HANDLE = [("ptr", "()"), ("size", "()")]
POOL = [("acquire", "(size, block=None, timeout=None)"), ("buffer", "(size, block=None, timeout=None)"), ("prewarm", "(size, count)"),
        ("close", "()")]
LEASE = [("release", "()")]
REPLICA = [("is_memory_replica", "()"), ("is_disk_replica", "()"), ("is_local_disk_replica", "()"), ("get_memory_descriptor", "()"),
           ("get_disk_descriptor", "()")]
ALLOCATOR = [("alloc", "(size, /)"), ("free", "(ptr, /)")]
ENGRAM = [("get_table_vocab_sizes", "()"), ("get_store_keys", "()"), ("get_num_heads", "()"), ("get_embedding_dim", "()"),
          ("populate", "(tables)"), ("lookup", "(row_ids)"), ("remove_from_store", "(force=False)")]
NOF = [("real_register", "(nqn, nsid, traddr, trsvcid, base, size, master_server_addr, /)"),
       ("real_unregister_by_endpoint", "(nqn, nsid, traddr, trsvcid, master_server_addr, /)")]
FUNCTIONS = [("bind_to_numa_node", "(node, /)"), ("get_alloc_func_addr", "()"), ("get_free_func_addr", "()")]

CONFIG = [  # attribute, default, a good value, bad values
    ("replica_num", 1, 3, (-1, 1.0, "1", None)),
    ("nof_replica_num", 0, 1, (-1, "1")),
    ("dfs_replica_num", 0, 1, (-1, "1")),
    ("with_soft_pin", False, True, ("yes", [])),
    ("with_hard_pin", False, True, ("yes", [])),
    ("prefer_alloc_in_same_node", False, True, ("yes", [])),
    ("soft_pin_ttl_ms", None, 1000, (-1, "1")),
    ("preferred_segments", [], ["a:1", "b:2"], ("a:1", [1], None)),
    ("preferred_nof_segments", [], ["a"], ("a", [1])),
    ("preferred_segment", "", "a:1", (1, None, ["a:1"])),
    ("group_ids", None, ["g", ""], ("g", [1], 1)),
    ("host_id", "", "h", (1, None)),
]

ONE = "(target_hostname, buffer, peer_buffer_address, length, transport_hint='')"
MANY = "(target_hostname, buffers, peer_buffer_addresses, lengths, transport_hint='')"
ENGINE = [
    ("initialize", "(local_hostname, metadata_server, protocol, device_name, /)", ("", "P2PHANDSHAKE", "tcp", ""), -1),
    ("initialize_ext", "(local_hostname, metadata_server, protocol, device_name, metadata_type, /)",
     ("", "P2PHANDSHAKE", "tcp", "", "http"), -1),
    ("get_rpc_port", "()", (), 0),
    ("get_engine", "()", (), None),
    ("get_engine_ptr", "()", (), 0),
    ("allocate_managed_buffer", "(length, /)", (8,), 0),
    ("free_managed_buffer", "(buffer_addr, length, /)", (P, 8), 0),
    ("register_memory", "(buffer_addr, capacity, location='*')", (P, 8), -1),
    ("unregister_memory", "(buffer_addr, /)", (P,), -1),
    ("batch_register_memory", "(buffer_addresses, capacities, location='*')", ([P], [8]), -1),
    ("batch_unregister_memory", "(buffer_addresses, /)", ([P],), -1),
    ("transfer_sync_write", ONE, ("p", P, P, 8), -1),
    ("transfer_sync_read", ONE, ("p", P, P, 8), -1),
    ("transfer_sync", "(target_hostname, buffer, peer_buffer_address, length, opcode, notify=None, transport_hint='')",
     ("p", P, P, 8, Read), -1),
    ("batch_transfer_sync_write", MANY, ("p", [P], [P], [8]), -1),
    ("batch_transfer_sync_read", MANY, ("p", [P], [P], [8]), -1),
    ("batch_transfer_sync", "(target_hostname, buffers, peer_buffer_addresses, lengths, opcode, notify=None, transport_hint='')",
     ("p", [P], [P], [8], Read), -1),
    ("batch_transfer_async_write", MANY, ("p", [P], [P], [8]), 0),
    ("batch_transfer_async_read", MANY, ("p", [P], [P], [8]), 0),
    ("batch_transfer_async", "(target_hostname, buffers, peer_buffer_addresses, lengths, opcode, transport_hint='')",
     ("p", [P], [P], [8], Read), 0),
    ("get_batch_transfer_status", "(batch_ids, /)", ([7],), -1),
    ("get_transfer_fd", "()", (), -1),
    ("get_ended_transfers", "()", (), []),
    ("cancel_transfer", "(batch_id, /)", (7,), -1),
    ("get_transfer_statuses", "(batch_id, /)", (7,), []),
    ("transfer_submit_write", ONE, ("p", P, P, 8), 0),
    ("transfer_check_status", "(batch_id, /)", (7,), -1),
    ("write_bytes_to_buffer", "(dest_address, data, length, /)", (P, b"", 0), 0),
    ("read_bytes_from_buffer", "(source_address, length, /)", (P, 0), b""),
    ("get_local_topology", "(device_name=None)", (), ...),
    ("get_first_buffer_address", "(segment_name, /)", ("p",), 0),
    ("get_notifies", "()", (), []),
    ("send_probe", "(peer_server_name)", ("p",), -1),
    ("warmup_efa_segment", "(segment_name)", ("p",), 0),
]

ENGINE_FUNCTIONS = [("create_rpc_client", "(local_rank=0, world_size=1)"), ("create_rpc_server", "(local_rank=0, world_size=1)")]
SEGMENT = [
    ("supported", "(mmap=True, host_register=False)"),
    ("create", "(name, size, world_size, rank_id, owner_rank=0, device_id=0, mmap=True, host_register=False)"),
    ("complete", "(blobs)"), ("ready", "()"), ("base_addr", "()"), ("device_addr", "()"), ("size", "()"),
]
RPC = [
    ("initialize", "(listen_address='', thread_count=0, timeout_seconds=30, pool_size=100)"),
    ("initialize_client", "(pool_size=100, timeout_seconds=30)"),
    ("initialize_server", "(listen_address, thread_count=8, timeout_seconds=30)"),
    ("start_server", "()"), ("start_server_async", "()"), ("stop_server", "()"),
    ("send_data", "(target_address, data)"), ("send_tensor", "(target_address, tensor)"),
    ("send_data_async", "(target_address, data, loop)"), ("send_tensor_async", "(target_address, tensor, loop)"),
    ("set_data_receive_callback", "(callback)"), ("set_tensor_receive_callback", "(callback)"),
]
RECEIVED_DATA = [("get_bytes", "()"), ("get_memory_view", "()")]
RECEIVED_TENSOR = [("get_data_size", "()"), ("get_data_as_bytes", "()"), ("get_memory_view", "()")]
