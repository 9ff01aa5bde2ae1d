# SPDX-License-Identifier: Apache-2.0
"""The store: immutable objects under keys, shared by all clients of a master."""
from ._core import (BufferHandle, BufferLease, BufferLeaseView, BufferPool, MooncakeDistributedStore, MooncakeHostMemAllocator,
                    ReplicateConfig, bind_to_numa_node, get_alloc_func_addr, get_free_func_addr)
from ._engram import EngramStore, EngramStoreConfig
from ._nof import MooncakeDistributedNoFRegister
from ._types import (Descriptor, DiskDescriptor, MemoryDescriptor, ObjectDataType, ParallelAxis, QueryTaskResponse, ReadTarget,
                     ReplicaDescriptor, ReplicaStatus, SoftPinAction, TaskStatus, TaskType, TensorParallelism)

# Callers use these by their bare names too.
UNKNOWN, KVCACHE, TENSOR, WEIGHT, SAMPLE, ACTIVATION, GRADIENT, OPTIMIZER_STATE, METADATA, GENERAL = ObjectDataType
UNDEFINED, INITIALIZED, COMPLETE, REMOVED = map(ReplicaStatus, (0, 1, 3, 4))
REPLICA_COPY, REPLICA_MOVE = TaskType
PENDING, PROCESSING, FAILED, SUCCESS = TaskStatus  # two of these are names of a ReplicaStatus as well

# Names of an older release.
RegisteredBufferPool, RegisteredBufferLease, RegisteredBufferLeaseView = BufferPool, BufferLease, BufferLeaseView

__all__ = [
    "BufferHandle",
    "BufferLease",
    "BufferLeaseView",
    "BufferPool",
    "Descriptor",
    "DiskDescriptor",
    "EngramStore",
    "EngramStoreConfig",
    "MemoryDescriptor",
    "MooncakeDistributedNoFRegister",
    "MooncakeDistributedStore",
    "MooncakeHostMemAllocator",
    "ObjectDataType",
    "ParallelAxis",
    "QueryTaskResponse",
    "ReadTarget",
    "ReplicaDescriptor",
    "ReplicaStatus",
    "ReplicateConfig",
    "SoftPinAction",
    "TaskStatus",
    "TaskType",
    "TensorParallelism",
    "bind_to_numa_node",
]


def _tensor_metadata_size() -> int:
    """Bytes of the header in front of a tensor's elements."""
    from . import _core
    return _core.tensor_header_bytes


def _serialize_tensor(tensor):
    """(header, address of the elements, their bytes, the tensor that keeps them). ValueError: it cannot be stored."""
    from . import _core
    return _core.serialize_tensor(tensor)


def _deserialize_tensor(payload: bytes):
    """The tensor of a stored object's bytes, in memory of its own. ValueError: they are none."""
    from . import _core
    return _core.deserialize_tensor(payload)


def _get_pyclient_from_wrapper(wrapper):
    """None: the object that other C++ extensions ask for here is not what this module is made of."""
    return wrapper._get_pyclient_capsule()
