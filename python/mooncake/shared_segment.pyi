# SPDX-License-Identifier: Apache-2.0
"""Tensors that several processes of this host share: blocks of equal ones in one SharedSegment."""
from collections.abc import Mapping
from typing import Any

class SharedSegmentError(RuntimeError):
    """Raised by every rank when one of them fails."""

class _Blocks:
    def tensors(self, block: Any) -> list[Any]: ...
    def base_addr(self) -> int: ...
    def total_size(self) -> int: ...

def create_shared_segment(name: str, blocks: Mapping[Any, Mapping[str, Any]], world_size: int, rank_id: int, owner_rank: int = 0,
                          device_id: int | None = None, comm_group: Any = None, mmap: bool = True, host_register: bool = False, *,
                          tp_group: Any = None) -> _Blocks: ...
