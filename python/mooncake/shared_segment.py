# SPDX-License-Identifier: Apache-2.0
"""Tensors that several processes of this host share: blocks of equal ones in one SharedSegment."""
import hashlib

from . import _tensor
from ._segment import SharedSegment

__all__ = ["SharedSegmentError", "create_shared_segment"]

_ALIGN = 4096
_SAID = 4096  # bytes that each rank says in one exchange
_BYTES = dict(zip(_tensor.NAMES, (4, 8, 1, 1, 2, 2, 4, 4, 8, 8, 1, 2, 2, 1, 1), strict=True))


class SharedSegmentError(RuntimeError):
    """Raised by every rank when one of them fails."""


class _Blocks:
    """What create_shared_segment() gives."""

    def __init__(self, segment, layout, total):
        self._segment, self._layout, self._total = segment, layout, total

    def tensors(self, block) -> list:
        """The block's tensors, in this process's mapping of the shared memory."""
        offset, count, shape, number, each = self._layout[block]
        memory = self._segment._mapped()
        return [_tensor.view(memory, offset + i * each, number, shape) for i in range(count)]

    def base_addr(self) -> int:
        """Address of the first byte in this process."""
        return self._segment.base_addr()

    def total_size(self) -> int:
        """Bytes of all blocks, each rounded up to 4096."""
        return self._total


def _number(dtype):
    number = _tensor.NUMBER.get(dtype) if not isinstance(dtype, str) else None
    if number is None and str(dtype).rpartition(".")[2] in _tensor.NAMES:
        number = _tensor.NAMES.index(str(dtype).rpartition(".")[2])
    if number is None:
        raise SharedSegmentError(f"dtype {dtype!r} is none of {', '.join(_tensor.NAMES)}")
    return number


def _lay_out(blocks):
    """{block: (offset, count, shape, dtype's number, bytes of one tensor)} in the order of names, and all bytes."""
    layout, at = {}, 0
    for block in sorted(blocks):
        about = blocks[block]
        try:
            count, shape = int(about["count"]), tuple(int(n) for n in about["shape"])
            number = _number(about["dtype"])
        except (KeyError, TypeError, ValueError) as e:
            raise SharedSegmentError(f"block {block!r} needs count, shape and dtype: {e!r}") from None
        each = _BYTES[_tensor.NAMES[number]]
        for n in shape:
            each *= n
        if count < 1 or each < 1:
            raise SharedSegmentError(f"block {block!r}: count {count}, shape {shape}: it is empty")
        layout[block] = (at, count, shape, number, each)
        at += -(-count * each // _ALIGN) * _ALIGN
    if not at:
        raise SharedSegmentError("no blocks")
    return layout, at


def _exchange(said, world_size, group):
    """What every rank said, in their order: bytes through tensors, so nothing is unpickled."""
    if world_size == 1:
        return [said]
    import torch
    import torch.distributed as dist
    mine = torch.zeros(_SAID, dtype=torch.uint8)
    mine[:4] = torch.tensor(list(len(said).to_bytes(4, "little")), dtype=torch.uint8)
    mine[4:4 + len(said)] = torch.frombuffer(bytearray(said), dtype=torch.uint8)
    all_ = [torch.zeros(_SAID, dtype=torch.uint8) for _ in range(world_size)]
    dist.all_gather(all_, mine, group=getattr(group, "cpu_group", None) or group)
    texts = [bytes(t.tolist()) for t in all_]
    return [t[4:4 + min(int.from_bytes(t[:4], "little"), _SAID - 4)] for t in texts]


def _step(f, what, world_size, rank_id, group):
    """f()'s bytes of every rank; when it failed anywhere, or ranks differ about what is made, an error in all of them."""
    try:
        said = b"+" + f()
    except Exception as e:
        said = b"-" + str(e).encode()[:_SAID - 8]
    all_ = _exchange(said, world_size, group)
    failed = [f"rank {i}: {s[1:].decode(errors='replace')}" for i, s in enumerate(all_) if s[:1] != b"+"]
    if failed:
        raise SharedSegmentError(f"rank {rank_id}, {what}: " + "; ".join(failed))
    return [s[1:] for s in all_]


def create_shared_segment(name, blocks, world_size, rank_id, owner_rank=0, device_id=None, comm_group=None, mmap=True, host_register=False,
                          *, tp_group=None):
    """Make one shared segment of all blocks; every rank calls this with the same arguments but its rank_id.

    blocks: {block: {"count": int, "shape": sizes, "dtype": of torch, numpy or its name}}. They lie in the order of their names, each at
    a multiple of 4096 bytes. comm_group: torch's process group over host memory, or what has one as cpu_group; tp_group is its older name.
    The result has tensors(block), base_addr() and total_size(). SharedSegmentError in every rank when one fails or they disagree.
    """
    if comm_group is not None and tp_group is not None and comm_group is not tp_group:
        raise SharedSegmentError("comm_group and tp_group are two names of one argument: give the first alone")
    group = comm_group if comm_group is not None else tp_group
    if world_size > 1 and group is None:
        raise SharedSegmentError("more than one rank need a comm_group to find each other")
    made = {}

    def create():
        made["layout"], made["total"] = _lay_out(blocks)
        made["segment"], blob = SharedSegment.create(name, made["total"], world_size, rank_id, owner_rank, device_id or 0, mmap, host_register)
        return hashlib.sha256(repr(made["layout"]).encode()).digest() + blob

    def complete():
        if any(s[:32] != said[rank_id][:32] for s in said):
            raise SharedSegmentError("the ranks have different blocks")
        made["segment"].complete([s[32:] for s in said])
        return b""

    said = _step(create, "create", world_size, rank_id, group)
    _step(complete, "complete", world_size, rank_id, group)
    return _Blocks(made["segment"], made["layout"], made["total"])
