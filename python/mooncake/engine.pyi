# SPDX-License-Identifier: Apache-2.0
"""The transfer engine: move ranges between this process's memory and memory that peers registered."""
import asyncio
import enum
from collections.abc import Callable, Sequence
from typing import Any

Tensor = Any  # of torch or numpy

class TransferOpcode(enum.IntEnum):
    Read = 0
    Write = 1
    READ = 0
    WRITE = 1

Read = TransferOpcode.Read
Write = TransferOpcode.Write

SUPPORT_CUDA: bool
SUPPORT_EFA: bool
SUPPORT_HIP: bool
SUPPORT_MNNVL: bool
SUPPORT_MUSA: bool
SUPPORT_INTRA_NVLINK: bool

class TransferNotify:
    """A message that goes with a transfer: both parts are text."""
    name: str
    msg: str
    def __init__(self, name: str = "", msg: str = "") -> None: ...

class InnerTransferEngine:
    """An initialized engine, for store.setup(engine=...)."""

class TransferEngine:
    """Moves ranges between this process's memory and memory that peers registered. Any thread may call."""
    TransferOpcode: type[TransferOpcode]
    def __init__(self) -> None: ...

    def initialize(self, local_hostname: str, metadata_server: str, protocol: str, device_name: str | None, /) -> int:
        """Start the engine. metadata_server
        'P2PHANDSHAKE', 'http://host:port/metadata', 'etcd://...' or 'redis://...'. A protocol that is not there gets a warning,
        and the best way there is takes its place. Returns 0, or -1 (the log says why).
        """

    def initialize_ext(self, local_hostname: str, metadata_server: str, protocol: str, device_name: str | None,
                       metadata_type: str, /) -> int:
        """As initialize(); a
        metadata_server without a scheme gets metadata_type as its scheme.
        """

    def get_rpc_port(self) -> int:
        """The handshake port; peers open 'host:port'."""

    def get_engine(self) -> InnerTransferEngine | None:
        """For store.setup(engine=...)."""

    def get_engine_ptr(self) -> int:
        """Address of the engine; 0 before initialize()."""

    def allocate_managed_buffer(self, length: int, /) -> int:
        """Address of registered memory; 0 on failure."""

    def free_managed_buffer(self, buffer_addr: int, length: int, /) -> int:
        """The same length as allocated. Returns 0."""

    def register_memory(self, buffer_addr: int, capacity: int, location: str = '*') -> int:
        """Let peers read and write capacity bytes. Returns 0; -1 empty;
        -7 overlaps a registered range; -200 metadata.
        """

    def unregister_memory(self, buffer_addr: int, /) -> int:
        """Returns 0; -3 no range starts there."""

    def batch_register_memory(self, buffer_addresses: Sequence[int], capacities: Sequence[int],
                              location: str = '*') -> int:
        """All or none. Returns 0 or a code."""

    def batch_unregister_memory(self, buffer_addresses: Sequence[int], /) -> int:
        """Returns 0 or the first code."""

    def transfer_sync_write(self, target_hostname: str | None, buffer: int, peer_buffer_address: int, length: int,
                            transport_hint: str = '') -> int:
        """Returns 0; -1 for every failure (the log says which)."""

    def transfer_sync_read(self, target_hostname: str | None, buffer: int, peer_buffer_address: int, length: int,
                           transport_hint: str = '') -> int:
        """Returns 0; -1 for every failure (the log says which)."""

    def transfer_sync(self, target_hostname: str | None, buffer: int, peer_buffer_address: int, length: int,
                      opcode: TransferOpcode, notify: TransferNotify | None = None, transport_hint: str = '') -> int:
        """Returns 0; -1 for every failure (the log says which)."""

    def batch_transfer_sync_write(self, target_hostname: str | None, buffers: Sequence[int],
                                  peer_buffer_addresses: Sequence[int], lengths: Sequence[int],
                                  transport_hint: str = '') -> int:
        """Returns 0; -1 for every failure (the log says which)."""

    def batch_transfer_sync_read(self, target_hostname: str | None, buffers: Sequence[int],
                                 peer_buffer_addresses: Sequence[int], lengths: Sequence[int],
                                 transport_hint: str = '') -> int:
        """Returns 0; -1 for every failure (the log says which)."""

    def batch_transfer_sync(self, target_hostname: str | None, buffers: Sequence[int],
                            peer_buffer_addresses: Sequence[int], lengths: Sequence[int], opcode: TransferOpcode,
                            notify: TransferNotify | None = None, transport_hint: str = '') -> int:
        """Returns 0; -1 for every failure (the log says which)."""

    def batch_transfer_async_write(self, target_hostname: str | None, buffers: Sequence[int],
                                   peer_buffer_addresses: Sequence[int], lengths: Sequence[int],
                                   transport_hint: str = '') -> int:
        """Returns a number for get_batch_transfer_status(); 0 on failure."""

    def batch_transfer_async_read(self, target_hostname: str | None, buffers: Sequence[int],
                                  peer_buffer_addresses: Sequence[int], lengths: Sequence[int],
                                  transport_hint: str = '') -> int:
        """Returns a number for get_batch_transfer_status(); 0 on failure."""

    def batch_transfer_async(self, target_hostname: str | None, buffers: Sequence[int],
                             peer_buffer_addresses: Sequence[int], lengths: Sequence[int], opcode: TransferOpcode,
                             transport_hint: str = '') -> int:
        """Returns a number for get_batch_transfer_status(); 0 on failure."""

    def get_batch_transfer_status(self, batch_ids: Sequence[int], /) -> int:
        """Wait until all have ended. 0 all succeeded; -1 one failed, timed out, or is
        unknown. Collects every id.
        """

    def get_transfer_fd(self) -> int:
        """A descriptor that is readable while transfers in the background have ended, of those submitted
        after this call; for select() or an event loop, which then calls get_ended_transfers(). The engine's to close.
        -1 before initialize().
        """

    def get_ended_transfers(self) -> list[int]:
        """Numbers of transfers that have ended since the last call. Their results are still to be collected
        with get_batch_transfer_status(), which does not wait then. An empty batch is not among them.
        """

    def cancel_transfer(self, batch_id: int, /) -> int:
        """End what has not ended; afterwards nothing touches its memory. It has failed then, and is still to be
        collected. Returns 0; -1 unknown.
        """

    def get_transfer_statuses(self, batch_id: int, /) -> list[int]:
        """Of each item: 1 done; 0 pending; -1 failed; -2 timed out. Collects nothing. [] unknown."""

    def transfer_submit_write(self, target_hostname: str | None, buffer: int, peer_buffer_address: int, length: int,
                              transport_hint: str = '') -> int:
        """Returns a number for
        transfer_check_status(); 0 on failure.
        """

    def transfer_check_status(self, batch_id: int, /) -> int:
        """1 done; 0 pending; -1 failed; -2 timed out. 1 and -1 collect the id."""

    def write_bytes_to_buffer(self, dest_address: int, data: str | bytes, length: int, /) -> int:
        """Copy length bytes of str or bytes. Returns 0."""

    def read_bytes_from_buffer(self, source_address: int, length: int, /) -> bytes:
        """A copy of memory of this process."""

    def get_local_topology(self, device_name: str | None = None) -> str:
        """Locations of this machine and their NICs, as JSON: {"cpu:0": [[near], [others]], "cuda:0": ...}.
        device_name is a comma list of devices to look at; RuntimeError when the machine cannot be read.
        """

    def get_first_buffer_address(self, segment_name: str, /) -> int:
        """Of the peer's first registered range; 0 unknown or none."""

    def get_notifies(self) -> list[TransferNotify]:
        """What peers left since the last call, oldest first."""

    def send_probe(self, peer_server_name: str) -> int:
        """0 reachable; -200 unknown to metadata; a socket code."""

    def warmup_efa_segment(self, segment_name: str) -> int:
        """Nothing to do: 0."""

class SharedSegment:
    """Memory of the owner's rank in every rank: create() in each process, exchange the blobs, complete() with all of them.

    The memory has no name outside these processes, so nothing is left when they end; the owner lives until all have completed.
    """
    @staticmethod
    def supported(mmap: bool = True, host_register: bool = False) -> bool:
        """Can such a segment be made here? Device memory (mmap=False) and host_register need CUDA, which this build has not."""

    @staticmethod
    def create(name: str, size: int, world_size: int, rank_id: int, owner_rank: int = 0, device_id: int = 0, mmap: bool = True,
               host_register: bool = False) -> tuple[SharedSegment, bytes]:
        """(segment, blob): the first of two steps. The owner's memory is there afterwards, zeroed. RuntimeError says what is wrong."""

    def complete(self, blobs: Sequence[bytes]) -> None:
        """The second step: map it. blobs are those of all ranks, in any order. RuntimeError when ranks disagree."""

    def ready(self) -> bool:
        """Is it mapped?"""

    def base_addr(self) -> int:
        """Address of the first byte in this process, valid while this object or a tensor of it lives."""

    def device_addr(self) -> int:
        """Address for the device: 0, the host memory is not registered with one."""

    def size(self) -> int:
        """Bytes."""

class ReceivedData:
    """Bytes that came from source_address."""
    source_address: str
    def __init__(self, source_address: str = '', data: bytes = b'') -> None: ...

    @property
    def data_size(self) -> int: ...

    def get_bytes(self) -> bytes:
        """A copy of the bytes."""

    def get_memory_view(self) -> memoryview:
        """The bytes where they are."""

class ReceivedTensor:
    """A tensor that came from source_address: 40 bytes of header (dtype, dimensions, four sizes), then its elements."""
    shape: list[int]
    dtype: str
    total_bytes: int
    source_address: str
    def __init__(self, source_address: str = '', data: bytes = b'') -> None: ...

    def get_data_size(self) -> int:
        """Bytes, the header included."""

    def get_data_as_bytes(self) -> bytes:
        """A copy of header and elements."""

    def get_memory_view(self) -> memoryview:
        """Header and elements where they are."""

class RpcInterface:
    """A client, a server, or both. Any thread may call."""
    def __init__(self) -> None: ...

    def initialize(self, listen_address: str = '', thread_count: int = 0, timeout_seconds: int = 30, pool_size: int = 100) -> bool:
        """A client, and with an address to listen at a server too, which start_server() starts."""

    def initialize_client(self, pool_size: int = 100, timeout_seconds: int = 30) -> bool:
        """May send from now on; pool_size connections are kept."""

    def initialize_server(self, listen_address: str, thread_count: int = 8, timeout_seconds: int = 30) -> bool:
        """Where start_server() will listen, 'host:port'; callbacks run on up to thread_count threads. False: no address."""

    def send_data(self, target_address: str, data: bytes) -> int:
        """0 when the other end's callback has had it; -1 not a client, not reachable, or not in time."""

    def send_tensor(self, target_address: str, tensor: Tensor) -> int:
        """As send_data(), for a tensor of torch or numpy with up to four dimensions."""

    def send_data_async(self, target_address: str, data: bytes, loop: asyncio.AbstractEventLoop) -> asyncio.Future:
        """send_data() as a future of the loop; RuntimeError when it fails."""

    def send_tensor_async(self, target_address: str, tensor: Tensor, loop: asyncio.AbstractEventLoop) -> asyncio.Future:
        """send_tensor() as a future of the loop; RuntimeError when it fails."""

    def set_data_receive_callback(self, callback: Callable[[Any], object] | None) -> None:
        """callback({'source': 'host:port', 'data': bytes}) for each message, on a thread of the server."""

    def set_tensor_receive_callback(self, callback: Callable[[Any], object] | None) -> None:
        """callback(ReceivedTensor) for each tensor; without one they go where bytes go."""

    def start_server(self) -> bool:
        """Serves until stop_server(). False: not initialized as a server, running already, or the address cannot be had."""

    def start_server_async(self) -> bool:
        """The same on a thread of its own; True when it listens."""

    def stop_server(self) -> None:
        """Ends start_server(); calls of callbacks that run are waited for."""

CoroRPCInterface = RpcInterface

def create_rpc_client(local_rank: int = 0, world_size: int = 1) -> RpcInterface:
    """An RpcInterface that may send. The arguments are not used."""

def create_rpc_server(local_rank: int = 0, world_size: int = 1) -> RpcInterface:
    """An RpcInterface that will listen at 0.0.0.0:8080 once it is started. The arguments are not used."""
