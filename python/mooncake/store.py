# SPDX-License-Identifier: Apache-2.0
"""The store: immutable objects under keys, shared by all clients of a master."""
from ._core import BufferHandle, MooncakeDistributedStore, ReplicateConfig
from ._types import ObjectDataType, ReplicaStatus

__all__ = ["BufferHandle", "MooncakeDistributedStore", "ObjectDataType", "ReplicaStatus", "ReplicateConfig"]
