# SPDX-License-Identifier: Apache-2.0
"""SharedSegment: one range of memory that several processes of this host map."""
import ctypes
import json
import mmap as mapping
import os

from . import _core

_AGREED = ("name", "size", "world_size", "owner_rank")


def _where():
    """What two processes must have in common to reach each other's descriptors."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        return f"{f.read().strip()} {os.readlink('/proc/self/ns/pid')}"


class SharedSegment:
    """Memory of the owner's rank in every rank: create() in each process, exchange the blobs, complete() with all of them.

    The memory has no name outside these processes, so nothing is left when they end; the owner lives until all have completed.
    """

    __slots__ = ("_about", "_rank", "_fd", "_map")

    def __init__(self):
        raise TypeError("use SharedSegment.create()")

    @staticmethod
    def supported(mmap: bool = True, host_register: bool = False) -> bool:
        """Can such a segment be made here? Device memory (mmap=False) and host_register need CUDA, which this build has not."""
        return bool(mmap) and not host_register

    @staticmethod
    def create(name: str, size: int, world_size: int, rank_id: int, owner_rank: int = 0, device_id: int = 0, mmap: bool = True,
               host_register: bool = False):
        """(segment, blob): the first of two steps. The owner's memory is there afterwards, zeroed. RuntimeError says what is wrong."""
        if not SharedSegment.supported(mmap, host_register):
            raise RuntimeError("SharedSegment: mmap=False and host_register=True need CUDA, which this build does not have")
        if size < 1 or world_size < 1 or not 0 <= rank_id < world_size or not 0 <= owner_rank < world_size:
            raise RuntimeError(f"SharedSegment {name!r}: size {size}, world_size {world_size}, rank_id {rank_id}, owner_rank {owner_rank}: "
                               "sizes are at least 1, ranks from 0 to world_size - 1")
        self = object.__new__(SharedSegment)
        self._about = {"name": name, "size": size, "world_size": world_size, "owner_rank": owner_rank}
        self._rank, self._fd, self._map = rank_id, -1, None
        blob = dict(self._about, rank=rank_id, where=_where(), pid=os.getpid())
        if rank_id == owner_rank:
            try:
                self._fd = _core.shared_memory(size)
            except (OSError, TypeError) as e:
                raise RuntimeError(f"SharedSegment {name!r}: {size} bytes of shared memory: {e}") from None
            blob.update(fd=self._fd, ino=os.fstat(self._fd).st_ino)
        return self, json.dumps(blob).encode()

    def complete(self, blobs) -> None:
        """The second step: map it. blobs are those of all ranks, in any order. RuntimeError when ranks disagree."""
        owner = self._check([self._read(b) for b in blobs])
        fd = self._fd if self._fd >= 0 else self._open(owner)
        try:
            self._map = mapping.mmap(fd, self._about["size"])
        except (OSError, ValueError) as e:
            raise RuntimeError(f"SharedSegment {self._about['name']!r}: cannot be mapped: {e}") from None
        finally:
            if fd != self._fd:
                os.close(fd)

    def _read(self, blob):
        try:
            got = json.loads(blob)
            if not all(isinstance(got[k], int) for k in ("rank", "size", "world_size", "owner_rank", "pid")):
                raise ValueError
            return got
        except (ValueError, KeyError, TypeError):
            raise RuntimeError(f"SharedSegment {self._about['name']!r}: a blob that no create() made") from None

    def _check(self, got):
        """The owner's blob, when all ranks want the same."""
        about = self._about
        for b in got:
            for k in _AGREED:
                if b.get(k) != about[k]:
                    raise RuntimeError(f"SharedSegment {about['name']!r}: rank {b['rank']} has {k} {b.get(k)!r}, rank {self._rank} {about[k]!r}")
            if b.get("where") != _where():
                raise RuntimeError(f"SharedSegment {about['name']!r}: rank {b['rank']} runs on another machine or in another pid namespace")
        if sorted(b["rank"] for b in got) != list(range(about["world_size"])):
            raise RuntimeError(f"SharedSegment {about['name']!r}: blobs of ranks {sorted(b['rank'] for b in got)}, "
                               f"not of each of {about['world_size']}")
        return next(b for b in got if b["rank"] == about["owner_rank"])

    def _open(self, owner):
        name, fd = self._about["name"], -1
        try:
            fd = os.open(f"/proc/{owner['pid']}/fd/{int(owner['fd'])}", os.O_RDWR | os.O_CLOEXEC)
            st = os.fstat(fd)
        except (OSError, KeyError, TypeError, ValueError) as e:
            if fd >= 0:
                os.close(fd)
            raise RuntimeError(f"SharedSegment {name!r}: the memory of rank {owner['rank']} (process {owner['pid']}) cannot be opened: {e}; "
                               "the ranks run as one user and the owner lives") from None
        if st.st_ino != owner.get("ino") or st.st_size < self._about["size"]:
            os.close(fd)
            raise RuntimeError(f"SharedSegment {name!r}: process {owner['pid']} is not the owner any more")
        return fd

    def ready(self) -> bool:
        """Is it mapped?"""
        return self._map is not None

    def _mapped(self):
        if self._map is None:
            raise RuntimeError(f"SharedSegment {self._about['name']!r} is not complete()")
        return self._map

    def base_addr(self) -> int:
        """Address of the first byte in this process, valid while this object or a tensor of it lives."""
        return ctypes.addressof(ctypes.c_char.from_buffer(self._mapped()))

    def device_addr(self) -> int:
        """Address for the device: 0, the host memory is not registered with one."""
        self._mapped()
        return 0

    def size(self) -> int:
        """Bytes."""
        return self._about["size"]

    def __repr__(self):
        return f"<SharedSegment {self._about['name']!r} {self.size()} bytes, rank {self._rank}{'' if self.ready() else ', not complete'}>"

    def __del__(self):
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)
