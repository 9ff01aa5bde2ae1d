#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory shared by several processes of this host: SharedSegment, and tensors in it."""
import ctypes
import json
import os
import signal
import sys

import tap
from tap import eq, raises

from mooncake.engine import SharedSegment
from mooncake.shared_segment import SharedSegmentError, create_shared_segment

SIZE = 1 << 20

RANK = """
import ctypes, json, sys
from mooncake.engine import SharedSegment
world, rank, size = map(int, sys.argv[1:4])
try:
    s, blob = SharedSegment.create(sys.argv[4], size, world, rank, int(sys.argv[5]))
except RuntimeError as e:
    print("create: " + str(e), flush=True)
    sys.exit(0)
print(blob.decode(), flush=True)
for line in sys.stdin:
    what, *a = line.strip().split(" ", 1)
    if what == "complete":
        try:
            s.complete([b.encode() for b in json.loads(a[0])])
            out = "ok"
        except RuntimeError as e:
            out = "error " + str(e)
    elif what == "fill":
        ctypes.memset(s.base_addr(), int(a[0]), s.size()); out = "ok"
    elif what == "sum":
        out = sum(ctypes.string_at(s.base_addr(), s.size()))
    print(out, flush=True)
"""


class Rank(tap.Daemon):
    def __init__(self, world, rank, size=SIZE, name="seg", owner=0):
        super().__init__([sys.executable, "-c", RANK, *map(str, (world, rank, size, name, owner))])
        self.blob = self.first

    def complete(self, ranks):
        return self.ask("complete " + json.dumps([r.blob for r in ranks]))


def stop(ranks):
    for r in ranks:
        r.stop(signal.SIGKILL)


def test_one_rank():
    s, blob = SharedSegment.create("one", 10000, 1, 0)
    assert isinstance(blob, bytes) and not s.ready() and "not complete" in repr(s)
    raises(RuntimeError, s.base_addr, text="complete")
    raises(RuntimeError, s.device_addr)
    s.complete([blob])
    eq((s.ready(), s.size(), s.device_addr()), (True, 10000, 0))
    assert s.base_addr() and s.base_addr() % 4096 == 0
    eq(ctypes.string_at(s.base_addr(), 10000), bytes(10000))
    raises(TypeError, SharedSegment)


def test_supported():
    eq([SharedSegment.supported(*a) for a in ((), (True, False), (False,), (True, True))], [True, True, False, False])
    raises(RuntimeError, SharedSegment.create, "x", 10, 1, 0, mmap=False, text="CUDA")
    raises(RuntimeError, SharedSegment.create, "x", 10, 1, 0, host_register=True, text="CUDA")


def test_bad_arguments():
    for bad in ((0, 1, 0), (10, 0, 0), (10, 1, 1), (10, 1, -1), (10, 2, 0, 2)):
        raises(RuntimeError, SharedSegment.create, "x", *bad)
    raises(RuntimeError, SharedSegment.create, "x", 1 << 60, 1, 0, text="bytes of shared memory")
    s, blob = SharedSegment.create("x", 10, 1, 0)
    for bad in ([], [blob, blob], [b"junk"], [b"{}"], [b"[]"], [b""], [blob.replace(b'"rank": 0', b'"rank": "0"')]):
        raises(RuntimeError, s.complete, bad)


def test_ranks_share():
    ranks = [Rank(3, i, owner=1) for i in range(3)]
    try:
        eq([r.complete(reversed(ranks)) for r in ranks], ["ok"] * 3)
        ranks[2].ask("fill 3")
        eq([r.ask("sum") for r in ranks], [str(3 * SIZE)] * 3)
        ranks[1].stop(signal.SIGKILL)
        ranks[0].ask("fill 1")
        eq(ranks[2].ask("sum"), str(SIZE), "the memory outlives its owner's process")
    finally:
        stop(ranks)


def test_disagreement_and_death():
    ranks = [Rank(2, 0), Rank(2, 1, size=SIZE * 2)]
    try:
        for r in ranks:
            assert "size" in r.complete(ranks), "every rank says so"
    finally:
        stop(ranks)
    ranks = [Rank(2, 0), Rank(2, 1)]
    try:
        ranks[0].stop(signal.SIGKILL)
        assert "cannot be opened" in ranks[1].complete(ranks) or "not the owner" in ranks[1].complete(ranks)
        there = json.loads(ranks[1].blob)
        elsewhere = Rank(2, 0)
        elsewhere.blob = json.dumps(dict(json.loads(elsewhere.blob), where="another machine"))
        assert "another machine" in ranks[1].complete([elsewhere, ranks[1]]), there
        elsewhere.stop()
    finally:
        stop(ranks)


def test_descriptors_and_memory():
    def fds():
        return len(os.listdir("/proc/self/fd"))
    before = fds()
    for _ in range(50):
        s, blob = SharedSegment.create("one", SIZE, 1, 0)
        s.complete([blob])
        del s
    eq(fds(), before)


BLOCKS = {"kv": {"count": 3, "shape": (2, 100), "dtype": "float32"}, "a": {"count": 1, "shape": [5], "dtype": "torch.int8"}}


def numbers():
    try:
        import numpy  # noqa: F401
    except ImportError:
        try:
            import torch  # noqa: F401
        except ImportError:
            tap.skip("neither numpy nor torch is installed")


def test_blocks():
    numbers()
    made = create_shared_segment("b", BLOCKS, 1, 0)
    eq(made.total_size(), 4096 + 4096)
    a, kv = made.tensors("a"), made.tensors("kv")
    eq((len(a), len(kv), tuple(a[0].shape), tuple(kv[2].shape)), (1, 3, (5,), (2, 100)))
    kv[1][:] = 1
    eq((float(kv[0].sum()), float(kv[1].sum()), float(kv[2].sum()), float(made.tensors("kv")[1].sum())), (0, 200, 0, 200))
    eq(ctypes.string_at(made.base_addr() + 4096 + 800, 4), b"\0\0\x80?", "blocks lie in the order of their names")
    del made
    eq(float(kv[1].sum()), 200, "a tensor keeps the memory")
    for bad in ({}, {"x": {}}, {"x": {"count": 0, "shape": [1], "dtype": "int8"}}, {"x": {"count": 1, "shape": [0], "dtype": "int8"}},
                {"x": {"count": 1, "shape": [1], "dtype": "complex64"}}):
        raises(SharedSegmentError, create_shared_segment, "b", bad, 1, 0)
    raises(SharedSegmentError, create_shared_segment, "b", BLOCKS, 2, 0, text="comm_group")
    raises(SharedSegmentError, create_shared_segment, "b", BLOCKS, 1, 0, comm_group=1, tp_group=2)
    raises(SharedSegmentError, create_shared_segment, "b", BLOCKS, 1, 0, mmap=False, text="CUDA")


TORCH = """
import os, sys
import torch, torch.distributed as dist
from mooncake.shared_segment import create_shared_segment, SharedSegmentError
rank, port = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
blocks = {"kv": {"count": 2, "shape": (4, 8), "dtype": torch.bfloat16}}
class Coordinator: cpu_group = dist.group.WORLD
made = create_shared_segment("t", blocks, 2, rank, comm_group=Coordinator())
if rank == 0:
    made.tensors("kv")[1].fill_(2)
dist.barrier()
got = float(made.tensors("kv")[1].float().sum())
try:
    create_shared_segment("t", {"kv": dict(blocks["kv"], count=2 + rank)}, 2, rank, comm_group=dist.group.WORLD)
    said = "nothing"
except SharedSegmentError as e:
    said = "different blocks" in str(e) or "size" in str(e)
try:
    create_shared_segment("t", blocks if rank else {}, 2, rank, tp_group=dist.group.WORLD)
    said2 = "nothing"
except SharedSegmentError as e:
    said2 = "rank 0: no blocks" in str(e)
print(got, said, said2, flush=True)
dist.barrier()
"""


def test_torch_ranks():
    try:
        import torch.distributed  # noqa: F401
    except ImportError:
        tap.skip("torch is not installed")
    port = str(tap.free_port())
    ranks = [tap.Daemon([sys.executable, "-c", TORCH, str(i), port], ready=lambda: True) for i in range(2)]
    try:
        for r in ranks:
            eq(r.p.stdout.readline().strip(), "64.0 True True", r.errors())
    finally:
        stop(ranks)


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
