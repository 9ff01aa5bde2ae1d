# SPDX-License-Identifier: Apache-2.0
"""The store: immutable objects under keys, shared by all clients of a master."""
from ._core import BufferHandle, MooncakeDistributedStore, ReplicateConfig
from ._types import ObjectDataType, ReplicaStatus, SoftPinAction

# Callers use these by their bare names too.
UNKNOWN, KVCACHE, TENSOR, WEIGHT, SAMPLE, ACTIVATION, GRADIENT, OPTIMIZER_STATE, METADATA, GENERAL = ObjectDataType
UNDEFINED, INITIALIZED, PROCESSING, COMPLETE, REMOVED, FAILED = ReplicaStatus

__all__ = ["BufferHandle", "MooncakeDistributedStore", "ObjectDataType", "ReplicaStatus", "ReplicateConfig", "SoftPinAction"]
