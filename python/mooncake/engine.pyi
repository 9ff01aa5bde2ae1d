# SPDX-License-Identifier: Apache-2.0
"""The transfer engine: move ranges between this process's memory and memory that peers registered."""
import enum
from collections.abc import Sequence

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
        'P2PHANDSHAKE' or 'http://host:port/metadata'. Returns 0, or -1 (the log says why).
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

    def warmup_efa_segment(self, segment_name: str, /) -> int:
        """Nothing to do: 0."""
