# SPDX-License-Identifier: Apache-2.0
"""The store: immutable objects under keys, shared by all clients of a master."""
import enum
from collections.abc import Sequence
from typing import Any, overload

from typing_extensions import Buffer

from .engine import InnerTransferEngine, TransferEngine

Key = str | bytes
Nested = Sequence[Sequence[Sequence[int]]]
Tensor = Any  # torch.Tensor; numpy.ndarray where there is no torch

class _Enum(enum.Enum):
    """Members compare equal only to members of the same type, hash, and convert with int()."""
    def __int__(self) -> int: ...
    def __index__(self) -> int: ...

class ObjectDataType(_Enum):
    UNKNOWN = 0
    KVCACHE = 1
    TENSOR = 2
    WEIGHT = 3
    SAMPLE = 4
    ACTIVATION = 5
    GRADIENT = 6
    OPTIMIZER_STATE = 7
    METADATA = 8
    GENERAL = 9

class ReplicaStatus(_Enum):
    UNDEFINED = 0
    INITIALIZED = 1
    PROCESSING = 2
    COMPLETE = 3
    REMOVED = 4
    FAILED = 5

class TaskType(_Enum):
    REPLICA_COPY = 0
    REPLICA_MOVE = 1

class TaskStatus(_Enum):
    PENDING = 0
    PROCESSING = 1
    FAILED = 2
    SUCCESS = 3

class SoftPinAction(_Enum):
    PRESERVE = 0
    ENABLE = 1
    DISABLE = 2

class Descriptor:
    """Memory that holds a copy: how much, where in its process, and the engine segment that reaches it."""
    def __init__(self) -> None: ...
    size: int
    buffer_address: int
    transport_endpoint: str

class MemoryDescriptor:
    """A copy in memory."""
    buffer_descriptor: Descriptor

class DiskDescriptor:
    """A copy in a file."""
    file_path: str
    object_size: int

class ReplicaDescriptor:
    """One copy of an object, as it was when it was asked for."""
    @property
    def status(self) -> ReplicaStatus:
        """ReplicaStatus: COMPLETE, of every copy that is listed"""

    def is_memory_replica(self) -> bool:
        """Whether it lies in memory."""

    def is_disk_replica(self) -> bool:
        """Whether it lies in a file of all nodes. There are none."""

    def is_local_disk_replica(self) -> bool:
        """Whether it lies on the disk of one node. There are none."""

    def get_memory_descriptor(self) -> MemoryDescriptor:
        """Where it is. An object in several pieces: where the first is, and the size of all."""

    def get_disk_descriptor(self) -> DiskDescriptor:
        """RuntimeError: it is in memory."""

class QueryTaskResponse:
    """What became of a copy or move task; times are milliseconds since 1970."""
    def __init__(self) -> None: ...
    @property
    def id(self) -> tuple[int, int]:
        """tuple[int, int]: the task"""
    @property
    def type(self) -> TaskType:
        """TaskType"""
    @property
    def status(self) -> TaskStatus:
        """TaskStatus"""
    @property
    def created_at_ms_epoch(self) -> int:
        """int: when it was created"""
    @property
    def last_updated_at_ms_epoch(self) -> int:
        """int: when its status changed last"""
    @property
    def assigned_client(self) -> tuple[int, int]:
        """tuple[int, int]: who carries it out: the pool of the source"""
    @property
    def message(self) -> str:
        """str: why it failed"""

class ParallelAxis:
    """Rank of size along one kind of parallelism: 'tp' with split_dim, 'dp', 'ep' with expert_id, 'pp' with stage_id."""
    def __init__(self) -> None: ...
    kind: str
    rank: int
    size: int
    split_dim: int | None
    expert_id: int | None
    stage_id: int | None

class TensorParallelism:
    """1 to 4 axes, no two of one kind. Reading axes gives a copy: assign a whole list."""
    def __init__(self) -> None: ...
    axes: list[ParallelAxis]

class ReadTarget:
    """What to read: mode 'as_stored', 'shard' or 'full', and whose."""
    def __init__(self) -> None: ...
    mode: str
    parallelism: TensorParallelism | None

class BufferLeaseView:
    """Memory of a lease, as a buffer of writable bytes. Keeps the memory, not the lease."""
    @property
    def buffer(self) -> memoryview:
        """memoryview: the memory, writable bytes"""
    def __buffer__(self, flags: int, /) -> memoryview: ...

class BufferLease:
    """Registered memory on loan from a BufferPool. Goes back with release(), at the end of a with block, or with the object."""
    @property
    def ptr(self) -> int:
        """int: address of the first byte; 0 after release()"""
    @property
    def size(self) -> int:
        """int: bytes asked for"""
    @property
    def buffer(self) -> memoryview:
        """memoryview: the memory, writable bytes"""
    def __enter__(self) -> BufferLease: ...
    def __exit__(self, *args: object) -> None: ...

    def release(self) -> None:
        """Give the memory back. RuntimeError while views of it are alive; a second call does nothing."""

class BufferPool:
    """Memory registered with a store, on loan. At most max_bytes are lent at a time: 0 means twice the store's
    local_buffer_size, which is also the least. Any thread may call.
    """
    def __init__(self, store: MooncakeDistributedStore, max_bytes: int = 0, min_size_class: int = 65536, max_size_class: int | None = None,
                 alignment: int = 8388608, block_on_exhaustion: bool = True, default_timeout: float | None = None,
                 max_regions: int | None = None, prewarm_size: int | None = None, prewarm_count: int = 0) -> None: ...

    def acquire(self, size: int, block: bool | None = None, timeout: float | None = None) -> BufferLease:
        """A BufferLease of size bytes. When so much is not free: waits, up to timeout
        seconds, or with block=False raises. RuntimeError: larger than the pool, exhausted, timed out, closed.
        """

    def buffer(self, size: int, block: bool | None = None, timeout: float | None = None) -> BufferLease:
        """The same as acquire()."""

    def prewarm(self, size: int, count: int) -> None:
        """Does nothing: memory is kept once it was lent."""

    def close(self) -> None:
        """Free the memory. RuntimeError while leases are active; may be called again."""

class MooncakeHostMemAllocator:
    """Memory in a memfd, which a client of a node on this host can register (setup_dummy). On huge pages when MC_STORE_USE_HUGEPAGE
    is set, of MC_STORE_HUGEPAGE_SIZE (2MB or 1GB), where enough are set aside. All instances are one.
    """
    def __init__(self) -> None: ...
    def alloc(self, size: int, /) -> int:
        """The address of size bytes, zeroed, all pages there, aligned to a page. RuntimeError when they cannot be had."""

    def free(self, ptr: int, /) -> int:
        """Give back what alloc() gave. Returns 0; -1 nothing starts at ptr. While it is registered with a
        store it stays mapped.
        """

class EngramStoreConfig:
    """Rows of each head's table, and elements of a row."""
    table_vocab_sizes: list[int]  # default [1024]
    embedding_dim: int  # default 64
    def __init__(self) -> None: ...

class EngramStore:
    """The tables of one layer: float32, a row per id, in the objects engram:l<layer>:h<head>."""
    def __init__(self, layer_id: int, config: EngramStoreConfig, store: MooncakeDistributedStore | None = None) -> None: ...
    def get_table_vocab_sizes(self) -> list[int]:
        """Rows of each head's table."""

    def get_store_keys(self) -> list[str]:
        """The key of each head's table."""

    def get_num_heads(self) -> int:
        """How many tables there are."""

    def get_embedding_dim(self) -> int:
        """Elements of a row."""

    def populate(self, tables: Sequence[Any]) -> None:
        """Store one float32 [rows, dim] array per head. RuntimeError: another number or shape, a key that is there already, a put
        that failed; then none of them is stored.
        """

    def lookup(self, row_ids: Any) -> Any:
        """The rows of int64 [B, L, H] ids, as a float32 [B, L, H, dim] array; only they are read. RuntimeError: another shape, an id
        out of range, a table that could not be read.
        """

    def remove_from_store(self, force: bool = False) -> int:
        """Remove the tables. Returns how many were there; RuntimeError when one could not be removed."""

class MooncakeDistributedNoFRegister:
    """Registers NVMe-oF namespaces with a master. No master of ours has that tier: every call returns -1012."""
    def real_register(self, nqn: str, nsid: int, traddr: str, trsvcid: str, base: int, size: int, master_server_addr: str, /) -> int:
        """Would register a namespace. Returns -1012: not available."""

    def real_unregister_by_endpoint(self, nqn: str, nsid: int, traddr: str, trsvcid: str, master_server_addr: str, /) -> int:
        """Would take it back. Returns -1012: not available."""

def bind_to_numa_node(node: int, /) -> None:
    """Run the calling thread on the processors of a NUMA node, and prefer its memory. What cannot be had is logged."""

def get_alloc_func_addr() -> int:
    """The address of void *(size_t), which allocates for SPDK. Without SPDK, as here, it gives NULL."""

def get_free_func_addr() -> int:
    """The address of void (void *), which frees what that gave. Here it does nothing."""

RegisteredBufferPool = BufferPool
RegisteredBufferLease = BufferLease
RegisteredBufferLeaseView = BufferLeaseView

UNKNOWN = ObjectDataType.UNKNOWN
KVCACHE = ObjectDataType.KVCACHE
TENSOR = ObjectDataType.TENSOR
WEIGHT = ObjectDataType.WEIGHT
SAMPLE = ObjectDataType.SAMPLE
ACTIVATION = ObjectDataType.ACTIVATION
GRADIENT = ObjectDataType.GRADIENT
OPTIMIZER_STATE = ObjectDataType.OPTIMIZER_STATE
METADATA = ObjectDataType.METADATA
GENERAL = ObjectDataType.GENERAL
UNDEFINED = ReplicaStatus.UNDEFINED
INITIALIZED = ReplicaStatus.INITIALIZED
COMPLETE = ReplicaStatus.COMPLETE
REMOVED = ReplicaStatus.REMOVED
REPLICA_COPY = TaskType.REPLICA_COPY
REPLICA_MOVE = TaskType.REPLICA_MOVE
PENDING = TaskStatus.PENDING
PROCESSING = TaskStatus.PROCESSING
FAILED = TaskStatus.FAILED
SUCCESS = TaskStatus.SUCCESS

class ReplicateConfig:
    """How a put is stored. No arguments; set the attributes.

    All puts read it during the call only.
    """
    def __init__(self) -> None: ...
    replica_num: int
    """int: memory replicas, each in another pool; best effort"""
    nof_replica_num: int
    """int: NVMe-oF replicas; not available, must be 0"""
    dfs_replica_num: int
    """int: replicas in a distributed file system; not available, must be 0"""
    with_soft_pin: bool
    """bool: evicted after everything unpinned"""
    soft_pin_action: SoftPinAction
    """SoftPinAction"""
    soft_pin_ttl_ms: int | None
    """int or None: milliseconds, only with ENABLE"""
    with_hard_pin: bool
    """bool: never evicted"""
    preferred_segments: list[str]
    """list[str]: segment names to place replicas in first"""
    preferred_nof_segments: list[str]
    """list[str]: not used"""
    preferred_segment: str
    """str: the older single form; wins when not empty"""
    prefer_alloc_in_same_node: bool
    """bool: only for multi-buffer and tensor puts"""
    data_type: ObjectDataType
    """ObjectDataType: informative"""
    group_ids: list[str] | None
    """list[str] or None: one group per key: evicted together, used together; "" is none. An upsert that names another is -600."""
    host_id: str
    """str: informative"""

class BufferHandle:
    """Bytes of one object: a writable buffer of bytes. Made by get_buffer(); freed with the object.

    Counts against the store's local buffer while it lives.
    """
    def ptr(self) -> int:
        """Address of the first byte, valid while this object lives."""

    def size(self) -> int:
        """Bytes."""
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class MooncakeDistributedStore:
    """A cache of immutable objects shared by all clients of a master.

    No method raises for what can go wrong at run time: results are codes, see each method. Any thread may call.
    """
    def __init__(self) -> None: ...
    def __enter__(self) -> MooncakeDistributedStore: ...
    def __exit__(self, *exc: object) -> None: ...

    @overload
    def setup(self, local_hostname: str, metadata_server: str, global_segment_size: int, local_buffer_size: int,
              protocol: str, rdma_devices: str, master_server_addr: str,
              engine: TransferEngine | InnerTransferEngine | None = None, enable_ssd_offload: bool = False,
              ssd_offload_path: str = '', tenant_id: str = 'default', enable_client_http_server: bool = False,
              client_http_port: int = 9300) -> int:
        """setup(...) -> int, or setup(config: dict) -> int

        Connect to the master and contribute global_segment_size bytes to the pool (0: none). local_buffer_size bytes limit what
        passes through the library's own memory (put, get, get_buffer). master_server_addr 'embedded' needs no master: one process
        alone. The dict form takes the same names as text, with sizes like '4gb'.
        Returns 0; -600 bad arguments; -1 no master, or the pool could not be made (last_error() says why).
        """

    @overload
    def setup(self, config: dict[str, Any]) -> int: ...

    def setup_dummy(self, mem_pool_size: int, local_buffer_size: int, server_address: str) -> int:
        """Become a client of the mooncake-node (mooncake_client) at server_address on this host: 'host:port', port 50052 by
        default. It knows the master. mem_pool_size is not used; local_buffer_size bytes limit what passes through the
        library's own memory. Returns 0, or -1 (last_error() says why).
        """

    def close(self) -> int:
        """End calls in other threads, leave the pool, free everything. Returns 0; may be called again."""

    def health_check(self) -> int:
        """0 healthy; 1 not set up or closed; 2 the master does not answer,
        or after setup_dummy() the node.
        """

    def get_hostname(self) -> str:
        """'host:port' of this client; '' when not set up, and after setup_dummy()."""

    def alloc_from_mem_pool(self, size: int) -> int:
        """For clients of a node on this host (setup_dummy): the address of new memory shared with it. Else 0."""

    def stats(self) -> dict[str, Any]:
        """What this store has done since setup(): hits, misses, and miss by reason (absent, gone, master, ...); retries of reads
        that were overtaken; puts, puts_failed; get and put by path (mapped: this host's memory, local, tcp), each with objects,
        bytes, and of timed calls p50_ns and p99_ns. {} when not set up.
        """

    def init_all(self, protocol: str, device_name: str, mount_segment_size: int, /) -> int:
        """Of an older release, where it could not be used: -600. Call setup()."""

    def get_offload_rpc_read_count(self) -> int:
        """Reads of other clients' disks by this one: 0."""

    def _get_pyclient_capsule(self) -> None:
        """None."""

    def last_error(self) -> str:
        """The calling thread's last error in words, with cause and fix; '' when nothing failed."""

    def put(self, key: Key, value: Buffer, config: ReplicateConfig = ...) -> int:
        """Store the bytes of a C-contiguous bytes-like value. Returns 0 when it is stored, or was there already (the stored value is
        not changed); -600 bad arguments, empty value, or larger than local_buffer_size; -200 no room; -900 no master.
        """

    def put_parts(self, key: Key, *parts: Buffer, config: ReplicateConfig = ...) -> int:
        """Store the concatenation of 1-D bytes-like parts. No bytes at all: 0, and nothing is stored. Codes as put()."""

    def put_batch(self, keys: Sequence[Key], values: Sequence[Buffer], config: ReplicateConfig = ...) -> int:
        """Store several values with one acknowledgement. Returns 0, or the first failing key's code; others may be stored. -600 when
        the lists differ in length or a value is empty: nothing is sent.
        """

    def get(self, key: Key, /) -> bytes:
        """The value; b'' when it is missing or could not be read (last_error() says which)."""

    def get_batch(self, keys: Sequence[Key], /) -> list[bytes]:
        """One entry per key, b'' where it is missing. An empty list gives [b'']."""

    def get_buffer(self, key: Key, /) -> BufferHandle | None:
        """The value in memory of the library; None when it is missing or
        local_buffer_size has no room for it.
        """

    def batch_get_buffer(self, keys: Sequence[Key], /) -> list[BufferHandle | None]:
        """As get_buffer() for each key."""

    def upsert(self, key: Key, value: Buffer, config: ReplicateConfig = ...) -> int:
        """As put(), but replaces what is there."""

    def upsert_parts(self, key: Key, *parts: Buffer, config: ReplicateConfig = ...) -> int:
        """As put_parts(), but replaces what is there."""

    def upsert_batch(self, keys: Sequence[Key], values: Sequence[Buffer], config: ReplicateConfig = ...) -> int:
        """As put_batch(), but replaces what is there."""

    def register_buffer(self, buffer_ptr: int, size: int) -> int:
        """Tell the store of memory that gets and puts will use. Returns 0; -600 null, empty,
        or overlapping a registered range. The memory stays the caller's.
        """

    def unregister_buffer(self, buffer_ptr: int) -> int:
        """Returns 0; -600 when no registered range starts there."""

    def put_from(self, key: Key, buffer_ptr: int, size: int, config: ReplicateConfig = ...) -> int:
        """Store size bytes of memory. Returns 0 (size 0: nothing is
        stored); codes as put().
        """

    def put_from_with_metadata(self, key: Key, buffer_ptr: int, metadata_buffer_ptr: int, size: int, metadata_size: int,
                               config: ReplicateConfig = ...) -> int:
        """Store metadata followed by data as one object. Returns 0; failed writes give the code WITHOUT its sign."""

    def get_into(self, key: Key, buffer_ptr: int, size: int) -> int:
        """Read an object into memory. Returns its bytes; -704 missing; -600 it is larger than
        size (nothing is written); -800, -900 could not be read.
        """

    def get_into_ranges(self, buffer_ptrs: Sequence[int], all_keys: Sequence[Sequence[Key]], all_dst_offsets: Nested,
                        all_src_offsets: Nested, all_sizes: Nested) -> list[list[list[int]]]:
        """Fragment f of key k for buffer b: all_sizes[b][k][f] bytes from object offset all_src_offsets[b][k][f] to
        buffer_ptrs[b] + all_dst_offsets[b][k][f]. Buffers must be registered. Bytes or a code per fragment.
        """

    def batch_put_from(self, keys: Sequence[Key], buffer_ptrs: Sequence[int], sizes: Sequence[int],
                       config: ReplicateConfig = ...) -> list[int]:
        """One code per key, as put_from(); all -600
        when the lists differ in length.
        """

    def batch_get_into(self, keys: Sequence[Key], buffer_ptrs: Sequence[int], sizes: Sequence[int]) -> list[int]:
        """Bytes or a code per key, as get_into()."""

    def batch_put_from_multi_buffers(self, keys: Sequence[Key], all_buffer_ptrs: Sequence[Sequence[int]],
                                     all_sizes: Sequence[Sequence[int]], config: ReplicateConfig = ...) -> list[int]:
        """Each object is the concatenation of its buffers, in order."""

    def batch_get_into_multi_buffers(self, keys: Sequence[Key], all_buffer_ptrs: Sequence[Sequence[int]],
                                     all_sizes: Sequence[Sequence[int]],
                                     prefer_alloc_in_same_node: bool = False) -> list[int]:
        """Each object fills its buffers in order. Object bytes or a code per key."""

    def upsert_from(self, key: Key, buffer_ptr: int, size: int, config: ReplicateConfig = ...) -> int:
        """As put_from(), but replaces what is there."""

    def batch_upsert_from(self, keys: Sequence[Key], buffer_ptrs: Sequence[int], sizes: Sequence[int],
                          config: ReplicateConfig = ...) -> list[int]:
        """As batch_put_from(), replacing."""

    def batch_get_session_start(self, keys: Sequence[Key]) -> list[int]:
        """Begin to read objects in parts: one replica of each is found and stayed with. Per key 0; -704 missing; -703 its put
        has not ended; -702 no replica can be reached. A session that was there ends either way.
        """

    def batch_get_into_multi_buffer_ranges(self, keys: Sequence[Key], all_buffer_ptrs: Sequence[Sequence[int]],
                                           all_sizes: Sequence[Sequence[int]], all_src_offsets: Sequence[Sequence[int]]) -> list[int]:
        """Read parts of the sessions' objects: all_sizes[k][i] bytes from offset all_src_offsets[k][i] on to
        all_buffer_ptrs[k][i]. Nobody is asked, and the bytes are those of the object that the session found. Per key its
        bytes; -600 no session, or beyond the object; -707 the object is not there any more: the session ended; -800.
        """

    def batch_get_session_end(self, keys: Sequence[Key]) -> int:
        """Forget sessions. Returns 0; -1 not set up."""

    def batch_put_session_start(self, keys: Sequence[Key], sizes: Sequence[int], config: ReplicateConfig = ...) -> list[int]:
        """Make room for objects that will be written in parts; nobody sees them before batch_put_session_end(). Per key 0; -705
        it is there already; -600 it has a session, or no size; -200 no room; -702 no pool; -900 no master.
        """

    def batch_put_from_multi_buffer_ranges(self, keys: Sequence[Key], all_buffer_ptrs: Sequence[Sequence[int]],
                                           all_sizes: Sequence[Sequence[int]], all_dst_offsets: Sequence[Sequence[int]]) -> list[int]:
        """Write parts of the sessions' objects, in any order: all_sizes[k][i] bytes at all_buffer_ptrs[k][i] become those from
        offset all_dst_offsets[k][i] on. Per key its bytes; -600 no session, or beyond the object.
        """

    def batch_put_session_end(self, keys: Sequence[Key]) -> list[int]:
        """Store what was written, when writes under way are done. Per key 0 (also when another put came first, which stays);
        -600 no session; codes as put(), and then the session stays, to be ended again or revoked.
        """

    def batch_put_session_revoke(self, keys: Sequence[Key]) -> list[int]:
        """Give the room back, when writes under way are done; nothing is stored. Per key 0; -600 no session."""

    def is_exist(self, key: Key, /) -> int:
        """1 it can be read; 0 not; -900 the master does not answer. Grants a lease, so an unforced remove()
        right afterwards gives -706.
        """

    def batch_is_exist(self, keys: Sequence[Key]) -> list[int]:
        """As is_exist() for each key."""

    def get_size(self, key: Key, /) -> int:
        """Bytes; -704 missing."""

    def remove(self, key: Key, force: bool = False) -> int:
        """Returns 0; -704 missing; -706 read lately and not forced; -708 being copied or moved."""

    def remove_by_regex(self, regex_pattern: str, force: bool = False) -> int:
        """Remove all keys in which the expression is found (it is searched, not
        anchored). Returns how many went; -600 a bad expression. Keys read lately stay unless forced.
        """

    def remove_all(self, force: bool = False) -> int:
        """Remove every key of this tenant. Returns how many went."""

    def batch_remove(self, keys: Sequence[Key], force: bool = False) -> list[int]:
        """As remove() for each key."""

    def get_replica_desc(self, key: Key) -> list[ReplicaDescriptor]:
        """A ReplicaDescriptor for each copy of the object; [] when it is missing. Grants a lease."""

    def batch_get_replica_desc(self, keys: Sequence[Key]) -> dict[Key, list[ReplicaDescriptor]]:
        """key: list of ReplicaDescriptor, for the keys that exist. Grants leases."""

    def batch_replica_clear(self, keys: Sequence[Key], segment_name: str = "") -> list[Key]:
        """Remove objects that this store has put and that nobody read lately; with a segment, their copies there.
        Returns the keys of which something went."""

    def create_copy_task(self, key: Key, targets: Sequence[str]) -> tuple[tuple[int, int], int]:
        """Have the object copied into other segments, by their names. While that runs it cannot be removed (-708).
        Returns ((hi, lo), 0), the task to ask query_task() for; else ((0, 0), code): -600 no targets, or not mounted; -704 missing;
        -1010 a target takes nothing now; -1 no source; -1401 too many tasks wait."""

    def create_move_task(self, key: Key, source: str, target: str) -> tuple[tuple[int, int], int]:
        """The same into one segment; the source gives its copy up once the new one can be read.
        Codes as create_copy_task(), -600 also when source has no copy or is the target."""

    def query_task(self, task_id: tuple[int, int]) -> tuple[QueryTaskResponse | None, int]:
        """(QueryTaskResponse, 0); (None, -1400) when the task is unknown: never made, long over, or its master was restarted."""

    def mount_segment(self, path: str, size: int, offset: int = 0, protocol: str = "tcp", location: str = "") -> dict[str, Any]:
        """Contribute size bytes of a file from offset on, /dev/shm/... say: at least 1 MiB, which are overwritten.
        Returns {'ret': 0, 'segment_ids': [id]}; ret -1 and no ids: not a file, too short, offset not at a page (last_error() says)."""

    def allocate_and_mount_segment(self, size: int, protocol: str = "tcp", location: str = "") -> dict[str, Any]:
        """Contribute size bytes of fresh memory, rounded up to 4 MiB: 'allocated_size' of the result, which is as mount_segment()'s."""

    def unmount_segment(self, segment_ids: Sequence[str], grace_period_seconds: int = 0) -> int:
        """Take memory back; its objects go, unless other segments have copies. With a grace period it takes nothing new at once,
        can be read until that is over, and goes in the background.
        Returns 0; -1 an id is unknown: the others are unmounted all the same."""

    def unmount_and_free_segment(self, segment_ids: Sequence[str], grace_period_seconds: int = 0) -> int:
        """The same for allocate_and_mount_segment()."""

    def unmount_local_disk_segment(self, grace_period_seconds: int = 0) -> int:
        """There is none: 0; -1 when not set up."""

    def put_tensor(self, key: Key, tensor: Tensor) -> int:
        """Store a torch tensor, or a numpy array: any shape of up to 8 dimensions, dtypes
        float32, float64, int8 to uint64, bool, float16, bfloat16, float8_e4m3fn, float8_e5m2. One that is not contiguous, or on a
        device, is copied. Returns 0 (an existing key is not changed); -600 no such tensor; codes as put().
        """

    def batch_put_tensor(self, keys: Sequence[Key], tensors_list: Sequence[Tensor]) -> list[int]:
        """One code per key, as put_tensor(); all -600 when the lists differ in length."""

    def pub_tensor(self, key: Key, tensor: Tensor, config: ReplicateConfig = ...) -> int:
        """put_tensor() with a ReplicateConfig, whose preferred_segments are as many as
        replica_num, or none; else -600.
        """

    def batch_pub_tensor(self, keys: Sequence[Key], tensors_list: Sequence[Tensor], config: ReplicateConfig = ...) -> list[int]:
        """One code per key, as pub_tensor()."""

    def put_tensor_from(self, key: Key, buffer_ptr: int, size: int) -> int:
        """Store memory that holds a tensor object: its 304 byte header and its
        elements, size bytes in all. Returns 0; -600 it does not.
        """

    def batch_put_tensor_from(self, keys: Sequence[Key], buffer_ptrs: Sequence[int], sizes: Sequence[int]) -> list[int]:
        """One code per key, as put_tensor_from()."""

    def upsert_tensor(self, key: Key, tensor: Tensor) -> int:
        """As put_tensor(), replacing."""

    def batch_upsert_tensor(self, keys: Sequence[Key], tensors_list: Sequence[Tensor]) -> list[int]:
        """As batch_put_tensor(), replacing."""

    def upsert_tensor_from(self, key: Key, buffer_ptr: int, size: int) -> int:
        """As put_tensor_from(), replacing."""

    def batch_upsert_tensor_from(self, keys: Sequence[Key], buffer_ptrs: Sequence[int], sizes: Sequence[int]) -> list[int]:
        """As batch_put_tensor_from(), replacing."""

    def upsert_pub_tensor(self, key: Key, tensor: Tensor, config: ReplicateConfig = ...) -> int:
        """As pub_tensor(), replacing."""

    def batch_upsert_pub_tensor(self, keys: Sequence[Key], tensors_list: Sequence[Tensor], config: ReplicateConfig = ...) -> list[int]:
        """As batch_pub_tensor(), replacing."""

    def get_tensor(self, key: Key) -> Tensor | None:
        """A CPU tensor with memory of its own (of numpy where there is no torch); None when the key is
        missing or holds no tensor.
        """

    def batch_get_tensor(self, keys: Sequence[Key]) -> list[Tensor | None]:
        """One tensor or None per key."""

    def get_tensor_into(self, key: Key, buffer_ptr: int, size: int) -> Tensor | None:
        """Read a tensor object into memory, header and elements. The tensor
        returned lies in that memory, which the caller keeps; None when it is missing or does not fit.
        """

    def batch_get_tensor_into(self, keys: Sequence[Key], buffer_ptrs: Sequence[int], sizes: Sequence[int]) -> list[Tensor | None] | list[int]:
        """One tensor or None per key; -600 for each when the lists differ in
        length or a pointer is null.
        """

    def get_tensor_into_cuda(self, key: Key, tensor: Tensor) -> int:
        """For clients of a node on the same host only: -600."""

    def batch_get_tensor_into_cuda(self, keys: Sequence[Key], tensors_list: Sequence[Tensor]) -> list[int]:
        """-600 per key, as get_tensor_into_cuda()."""

    def save_tensor_to_safetensor(self, key: Key, file_name: str | None = None) -> int:
        """Write a stored tensor to a file, named like the key when no name
        is given. Needs the package safetensors. Returns 0; -1100 no such tensor; -600 the file (a warning says why).
        """

    def load_tensor_from_safetensor(self, key: Key | None = None, file_name: str | None = None) -> Tensor | None:
        """The tensor called key in a file, else its first; stored under
        key, or under file_name when there is none. file_name must be given. None when it cannot be had (a warning says why).
        """

    def put_tensor_with_tp(self, key: Key, tensor: Tensor, tp_rank: int = 0, tp_size: int = 1, split_dim: int = 0) -> int:
        """Cut the whole tensor into tp_size equal parts along
        split_dim and store all of them, part r under '<key>_tp_<r>'; tp_rank is not looked at. tp_size 1: as put_tensor().
        Returns 0, or the first part's code that is not; -600 the dimension does not divide.
        """

    def batch_put_tensor_with_tp(self, base_keys: Sequence[Key], tensors_list: Sequence[Tensor], tp_rank: int = 0,
                                 tp_size: int = 1, split_dim: int = 0) -> list[int]:
        """One code per key, as put_tensor_with_tp()."""

    def pub_tensor_with_tp(self, key: Key, tensor: Tensor, config: ReplicateConfig = ..., tp_rank: int = 0,
                           tp_size: int = 1, split_dim: int = 0) -> int:
        """put_tensor_with_tp() with a ReplicateConfig."""

    def batch_pub_tensor_with_tp(self, base_keys: Sequence[Key], tensors_list: Sequence[Tensor],
                                 config: ReplicateConfig = ..., tp_rank: int = 0, tp_size: int = 1, split_dim: int = 0) -> list[int]:
        """One code per key, as
        pub_tensor_with_tp().
        """

    def put_tensor_with_tp_from(self, key: Key, buffer_ptr: int, size: int, tp_rank: int = 0, tp_size: int = 1,
                                split_dim: int = 0) -> int:
        """The same for memory that holds
        the whole tensor's header and elements.
        """

    def batch_put_tensor_with_tp_from(self, base_keys: Sequence[Key], buffer_ptrs: Sequence[int], sizes: Sequence[int],
                                      tp_rank: int = 0, tp_size: int = 1, split_dim: int = 0) -> list[int]:
        """One code per key,
        as put_tensor_with_tp_from().
        """

    def get_tensor_with_tp(self, key: Key, tp_rank: int = 0, tp_size: int = 1, split_dim: int = 0) -> Tensor | None:
        """The part stored under '<key>_tp_<tp_rank>', or None; never
        cut out of a whole tensor. split_dim is not looked at. tp_size 1: as get_tensor().
        """

    def batch_get_tensor_with_tp(self, base_keys: Sequence[Key], tp_rank: int = 0, tp_size: int = 1) -> list[Tensor | None]:
        """One part or None per key."""

    def get_tensor_with_tp_into(self, key: Key, buffer_ptr: int, size: int, tp_rank: int = 0, tp_size: int = 1,
                                split_dim: int = 0) -> Tensor | None:
        """The same into memory, as get_tensor_into()."""

    def batch_get_tensor_with_tp_into(self, base_keys: Sequence[Key], buffer_ptrs: Sequence[int], sizes: Sequence[int],
                                      tp_rank: int = 0, tp_size: int = 1) -> list[Tensor | None] | list[int]:
        """One part or None per key, as
        batch_get_tensor_into().
        """

    def put_tensor_with_parallelism(self, key: Key, tensor: Tensor, parallelism: TensorParallelism | None = None,
                                    config: ReplicateConfig = ..., writer_partition: Any = None) -> int:
        """Store a tensor, or the part of it that belongs to one rank.

        Without parallelism and writer_partition: as pub_tensor(). With a writer_partition (rank, size, split_dim) tensor is the
        whole, whose part is stored with the writer manifest. With one tp axis tensor is that rank's shard; with tp and other axes
        it is the whole, whose shard is stored; both with the parallelism manifest. With dp, ep, pp alone it is stored as it is under
        the axes' key. Returns 0; -600 axes that contradict themselves, a dimension that does not divide; codes as put().
        """

    def upsert_tensor_with_parallelism(self, key: Key, tensor: Tensor, parallelism: TensorParallelism | None = None,
                                       config: ReplicateConfig = ..., writer_partition: Any = None) -> int:
        """As put_tensor_with_parallelism(), replacing."""

    def batch_put_tensor_with_parallelism(self, keys: Sequence[Key], tensors_list: Sequence[Tensor],
                                          parallelisms: Sequence[TensorParallelism | None] | None = None,
                                          config: ReplicateConfig = ..., writer_partitions: Sequence[Any] | None = None) -> list[int]:
        """One code per key; the lists are as long as keys, items of the last two may be None."""

    def batch_upsert_tensor_with_parallelism(self, keys: Sequence[Key], tensors_list: Sequence[Tensor],
                                             parallelisms: Sequence[TensorParallelism | None] | None = None,
                                             config: ReplicateConfig = ...,
                                             writer_partitions: Sequence[Any] | None = None) -> list[int]:
        """As batch_put_tensor_with_parallelism(), replacing."""

    def put_tensor_with_parallelism_from(self, key: Key, buffer_ptr: int, size: int,
                                         parallelism: TensorParallelism | None = None, config: ReplicateConfig = ...,
                                         writer_partition: Any = None) -> int:
        """The same for memory that holds the header and elements of the whole tensor. With a tp axis all its shards are stored, and no
        manifest.
        """

    def upsert_tensor_with_parallelism_from(self, key: Key, buffer_ptr: int, size: int,
                                            parallelism: TensorParallelism | None = None,
                                            config: ReplicateConfig = ..., writer_partition: Any = None) -> int:
        """As put_tensor_with_parallelism_from(), replacing."""

    def batch_put_tensor_with_parallelism_from(self, keys: Sequence[Key], buffer_ptrs: Sequence[int],
                                               sizes: Sequence[int],
                                               parallelisms: Sequence[TensorParallelism | None] | None = None,
                                               config: ReplicateConfig = ...,
                                               writer_partitions: Sequence[Any] | None = None) -> list[int]:
        """One code per key, as put_tensor_with_parallelism_from()."""

    def batch_upsert_tensor_with_parallelism_from(self, keys: Sequence[Key], buffer_ptrs: Sequence[int],
                                                  sizes: Sequence[int],
                                                  parallelisms: Sequence[TensorParallelism | None] | None = None,
                                                  config: ReplicateConfig = ...,
                                                  writer_partitions: Sequence[Any] | None = None) -> list[int]:
        """As batch_put_tensor_with_parallelism_from(), replacing."""

    def get_tensor_with_parallelism(self, key: Key, target: ReadTarget | None = None) -> Tensor | None:
        """What a ReadTarget asks for: the object under the key ('as_stored', or None), one rank's shard ('shard'), as stored or cut out
        of another division of the same dimension, or the whole ('full'), put together from its shards. Only bytes that are needed
        move. None when something is missing or does not fit.
        """

    def batch_get_tensor_with_parallelism(self, keys: Sequence[Key], targets: Sequence[ReadTarget | None] | None = None) -> list[Tensor | None]:
        """One tensor or None per key."""

    def get_tensor_with_parallelism_into(self, key: Key, buffer_ptr: int, size: int, target: ReadTarget | None = None) -> Tensor | None:
        """The same into memory that holds header and elements; the tensor returned lies in it."""

    def batch_get_tensor_with_parallelism_into(self, keys: Sequence[Key], buffer_ptrs: Sequence[int],
                                               sizes: Sequence[int], targets: Sequence[ReadTarget | None] | None = None) -> list[Tensor | None] | list[int]:
        """One tensor or None per key, as batch_get_tensor_into()."""
