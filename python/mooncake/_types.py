# SPDX-License-Identifier: Apache-2.0
"""Enumerations and plain records that cross the border to C. Values are those existing callers know."""
import enum


class _Enum(enum.Enum):
    """Members compare equal only to members of the same type, hash, and convert with int()."""

    def __int__(self):
        return self.value

    def __index__(self):
        return self.value


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


class Descriptor:
    """Memory that holds a copy: how much, where in its process, and the engine segment that reaches it."""

    __slots__ = ("size", "buffer_address", "transport_endpoint")

    def __init__(self):
        self.size = 0
        self.buffer_address = 0
        self.transport_endpoint = ""

    def __repr__(self):
        return (f"<Descriptor size={self.size} buffer_address={self.buffer_address} "
                f"transport_endpoint={self.transport_endpoint}>")


class _Given:
    """Comes from a call; there is nothing to make one of."""

    __slots__ = ()

    def __init__(self):
        raise TypeError(f"{type(self).__name__}: No constructor defined!")


class MemoryDescriptor(_Given):
    """A copy in memory."""

    __slots__ = ("buffer_descriptor",)

    buffer_descriptor: Descriptor


class DiskDescriptor(_Given):
    """A copy in a file."""

    __slots__ = ("file_path", "object_size")

    file_path: str
    object_size: int


class ReplicaDescriptor(_Given):
    """One copy of an object, as it was when it was asked for."""

    __slots__ = ("_status", "_memory")

    @property
    def status(self) -> ReplicaStatus:
        """ReplicaStatus: COMPLETE, of every copy that is listed"""
        return self._status

    def is_memory_replica(self) -> bool:
        """Whether it lies in memory."""
        return True

    def is_disk_replica(self) -> bool:
        """Whether it lies in a file of all nodes. There are none."""
        return False

    def is_local_disk_replica(self) -> bool:
        """Whether it lies on the disk of one node. There are none."""
        return False

    def get_memory_descriptor(self) -> MemoryDescriptor:
        """Where it is. An object in several pieces: where the first is, and the size of all."""
        return self._memory

    def get_disk_descriptor(self) -> DiskDescriptor:
        """RuntimeError: it is in memory."""
        raise RuntimeError("Expected DiskDescriptor")

    def __repr__(self):
        return f"<ReplicaDescriptor {self._status.name} {self._memory.buffer_descriptor!r}>"


class QueryTaskResponse:
    """What became of a copy or move task; times are milliseconds since 1970."""

    __slots__ = ("_id", "_type", "_status", "_created", "_updated", "_client", "_message")

    def __init__(self):
        self._id, self._type, self._status = (0, 0), TaskType.REPLICA_COPY, TaskStatus.PENDING
        self._created = self._updated = 0
        self._client, self._message = (0, 0), ""

    @property
    def id(self) -> tuple[int, int]:
        """tuple[int, int]: the task"""
        return self._id

    @property
    def type(self) -> TaskType:
        """TaskType"""
        return self._type

    @property
    def status(self) -> TaskStatus:
        """TaskStatus"""
        return self._status

    @property
    def created_at_ms_epoch(self) -> int:
        """int: when it was created"""
        return self._created

    @property
    def last_updated_at_ms_epoch(self) -> int:
        """int: when its status changed last"""
        return self._updated

    @property
    def assigned_client(self) -> tuple[int, int]:
        """tuple[int, int]: who carries it out: the pool of the source"""
        return self._client

    @property
    def message(self) -> str:
        """str: why it failed"""
        return self._message

    def __repr__(self):
        def uuid(pair):
            return f"{pair[0]}-{pair[1]}"

        return (f"QueryTaskResponse(id={uuid(self._id)}, type={int(self._type)}, status={int(self._status)}, "
                f"created_at={self._created}, last_updated_at={self._updated}, assigned_client={uuid(self._client)}, "
                f'message="{self._message}")')


def _task(uuid, kind, status, created, updated, client, message):
    t = QueryTaskResponse()
    t._id, t._type, t._status, t._created, t._updated = uuid, TaskType(kind), TaskStatus(status), created, updated
    t._client, t._message = client, message
    return t


def _memory_replica(size, address, endpoint):
    where = Descriptor()
    where.size, where.buffer_address, where.transport_endpoint = size, address, endpoint
    memory = MemoryDescriptor.__new__(MemoryDescriptor)
    memory.buffer_descriptor = where
    replica = ReplicaDescriptor.__new__(ReplicaDescriptor)
    replica._status, replica._memory = ReplicaStatus.COMPLETE, memory
    return replica


class ParallelAxis:
    """Rank of size along one kind of parallelism: 'tp' with split_dim, 'dp', 'ep' with expert_id, 'pp' with stage_id."""

    __slots__ = ("kind", "rank", "size", "split_dim", "expert_id", "stage_id")

    def __init__(self):
        self.kind = ""
        self.rank = 0
        self.size = 1
        self.split_dim = None
        self.expert_id = None
        self.stage_id = None

    def __repr__(self):
        given = ("split_dim", "expert_id", "stage_id")
        more = "".join(f", {n}={getattr(self, n)}" for n in given if getattr(self, n) is not None)
        return f"ParallelAxis(kind={self.kind!r}, rank={self.rank}, size={self.size}{more})"


class TensorParallelism:
    """1 to 4 axes, no two of one kind. Reading axes gives a copy: assign a whole list."""

    __slots__ = ("_axes",)

    def __init__(self):
        self._axes = []

    @property
    def axes(self) -> list:
        return list(self._axes)

    @axes.setter
    def axes(self, value):
        self._axes = list(value)

    def __repr__(self):
        return f"TensorParallelism(axes={self._axes!r})"


class ReadTarget:
    """What to read: mode 'as_stored', 'shard' or 'full', and whose."""

    __slots__ = ("_mode", "parallelism")

    def __init__(self):
        self._mode = "as_stored"
        self.parallelism = None

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, value: str):
        if not isinstance(value, str):
            raise TypeError(f"ReadTarget.mode must be str, not {type(value).__name__}")
        if value.lower() not in ("as_stored", "shard", "full"):
            raise RuntimeError("Unsupported ReadTarget mode")
        self._mode = value.lower()

    def __repr__(self):
        return f"ReadTarget(mode={self._mode!r}, parallelism={self.parallelism!r})"


class TransferOpcode(enum.IntEnum):
    Read = 0
    Write = 1
    READ = 0
    WRITE = 1


class TransferNotify:
    """A message that goes with a transfer: both parts are text."""

    __slots__ = ("_name", "_msg")

    def __init__(self, name: str = "", msg: str = ""):
        self.name = name
        self.msg = msg

    @staticmethod
    def _text(what, value):
        if not isinstance(value, str):
            raise TypeError(f"TransferNotify.{what} must be str, not {type(value).__name__}")
        return value

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, value: str):
        self._name = self._text("name", value)

    @property
    def msg(self) -> str:
        return self._msg

    @msg.setter
    def msg(self, value: str):
        self._msg = self._text("msg", value)

    def __repr__(self):
        return f"TransferNotify(name={self.name!r}, msg={self.msg!r})"
