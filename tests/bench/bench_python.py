#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What Python adds: each call beside the same one of a C program (bench_calls), and a page of KV cache, 61 layers of 256 blocks of 2 KiB,
beside memcpy of the same list. One JSON line per case; `limit` is what the figure is held against. BENCH_SECONDS: per case."""
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
sys.path[:0] = [os.path.join(BUILD, "python"), os.path.join(ROOT, "tests", "python")]

import store_rig  # noqa: E402
from mooncake.store import ParallelAxis, ReadTarget, TensorParallelism  # noqa: E402

SECONDS = float(os.environ.get("BENCH_SECONDS", "0.3"))
TURNS = 5
KEY = "a key of ordinary length, 36 bytes.."
OVERHEAD_NS = 700
LAYERS, BLOCKS, BLOCK = 61, 256, 2048
BLOCK_SHARE = 0.6
SHARE_OF_RAW = 1.1
QUARTER = 0.26
WARM = 5


def row(name, value, unit, **more):
    print(json.dumps({"case": name, "value": round(value, 3), "unit": unit, **more}), flush=True)


def per_call(f, args):
    """Seconds of one call in a loop, less the loop's own."""
    code = compile("for _ in range(n): f(*args)" if len(args) > 1 else "for _ in range(n): f(a)", "loop", "exec")
    empty = compile("for _ in range(n): pass", "loop", "exec")
    space = {"f": f, "args": args, "a": args[0], "n": 1000}

    def once(c):
        start = time.perf_counter()
        exec(c, space)
        return time.perf_counter() - start
    space["n"] = max(1000, int(SECONDS / TURNS / (once(code) / 1000)))
    return (once(code) - once(empty)) / space["n"]


def c_calls():
    out = subprocess.run([os.path.join(BUILD, "tests", "bench", "bench_calls")], check=True, stdout=subprocess.PIPE, text=True,
                         env=dict(os.environ, BENCH_SECONDS=str(SECONDS / TURNS))).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    return {r["case"]: r["value"] for r in rows}


def calls():
    """In turn with C, so that both see the same machine."""
    space = ctypes.create_string_buffer(64)
    with store_rig.opened(pool=16 << 20) as s:
        s.put(KEY, bytes(64))
        cases = {"call.get_into": (s.get_into, (KEY, ctypes.addressof(space), 64)), "call.is_exist": (s.is_exist, (KEY,))}
        seen = {n: ([], []) for n in cases}
        for _ in range(TURNS):
            c = c_calls()
            for n, (f, args) in cases.items():
                seen[n][0].append(per_call(f, args) * 1e9)
                seen[n][1].append(c[n])
    for n, (python, c) in seen.items():
        mine, theirs = statistics.median(python), statistics.median(c)
        row("python." + n, mine, "ns", c_ns=round(theirs, 1), over_c_ns=round(mine - theirs, 1), limit=OVERHEAD_NS, holds=mine - theirs <= OVERHEAD_NS)


def in_turn(a, b):
    """Medians of seconds, once all memory is there."""
    times = ([], [])
    for _ in range(WARM):
        a()
        b()
    end = time.perf_counter() + 2 * SECONDS
    while time.perf_counter() < end or len(times[0]) < TURNS:
        for t, f in zip(times, (a, b)):
            start = time.perf_counter()
            f()
            t.append(time.perf_counter() - start)
    return [statistics.median(t) for t in times]


def pages():
    """An object for each layer, scattered over the blocks that an engine has free."""
    nr = LAYERS * BLOCKS
    size = nr * BLOCK
    with store_rig.opened(pool=256 << 20) as s:
        src, dst = ctypes.create_string_buffer(size), ctypes.create_string_buffer(size)
        at = ctypes.addressof(src)
        keys = [f"layer{i}" for i in range(LAYERS)]
        codes = s.batch_put_from(keys, [at + i * BLOCKS * BLOCK for i in range(LAYERS)], [BLOCKS * BLOCK] * LAYERS)
        assert not any(codes), codes
        to = ctypes.addressof(dst)
        order = [b * 97 % BLOCKS for b in range(BLOCKS)]
        ptrs = [[to + (layer * BLOCKS + b) * BLOCK for b in order] for layer in range(LAYERS)]
        sizes = [[BLOCK] * BLOCKS] * LAYERS
        read = lambda: s.batch_get_into_multi_buffers(keys, ptrs, sizes)  # noqa: E731
        assert read() == [BLOCKS * BLOCK] * LAYERS
        mine, theirs = in_turn(read, memcpy_scattered(at, to, order))
        row("python.multi_buffer_get.61x256x2KiB", size / mine / 1e9, "GB/s", memcpy_GBps=round(size / theirs / 1e9, 2), share=round(theirs / mine, 3),
            limit=BLOCK_SHARE, holds=theirs / mine >= BLOCK_SHARE)


def memcpy_scattered(src, to, order):
    """The same pieces to the same places by a C loop of memcpy."""
    lib = ctypes.CDLL(os.path.join(BUILD, "tests", "bench", "scatter.so"))
    nr = LAYERS * BLOCKS
    from_ = (ctypes.c_void_p * nr)(*[src + i * BLOCK for i in range(nr)])
    into = (ctypes.c_void_p * nr)(*[to + (i // BLOCKS * BLOCKS + order[i % BLOCKS]) * BLOCK for i in range(nr)])
    lib.scatter.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    return lambda: lib.scatter(into, from_, nr, BLOCK)


def tensors():
    """A tensor beside the raw call for the same bytes and what torch, or numpy, takes alone: to say what the tensor is, or to make one over
    memory that is there. share: of both; of_raw: of the raw call."""
    try:
        import numpy
    except ImportError:
        return
    try:
        import torch
    except ImportError:
        torch = None
    with store_rig.opened(pool=384 << 20, local=256 << 20) as s:
        for size in (64 << 10, 4 << 20, 64 << 20):
            a = numpy.arange(size // 4, dtype=numpy.float32)
            t, at = torch.from_numpy(a) if torch else a, a.ctypes.data
            raw = numpy.empty(size + 304, numpy.uint8)
            to, room = raw.ctypes.data, raw.nbytes
            says, makes = library_alone(torch, numpy, t, raw)
            s.upsert_tensor("t", t)
            s.register_buffer(to, room)
            into = lambda: s.get_into("t", to, room)  # noqa: E731
            rows = (("upsert_tensor", lambda: s.upsert_tensor("u", t), lambda: s.upsert_from("raw", at, size), says),
                    ("get_tensor_into", lambda: s.get_tensor_into("t", to, room), into, makes),
                    ("get_tensor", lambda: s.get_tensor("t"), into, makes))
            for name, mine, theirs, alone in rows:
                mine, theirs = in_turn(mine, theirs)
                alone = alone()
                limit = theirs + alone
                row(f"python.{name}.{size >> 10}KiB", mine * 1e6, "us", raw_us=round(theirs * 1e6, 2), library="torch" if torch else "numpy",
                    library_us=round(alone * 1e6, 2), of_raw=round(mine / theirs, 3), share=round(mine / limit, 3), limit=SHARE_OF_RAW,
                    holds=mine / limit <= SHARE_OF_RAW)
            mine, theirs = in_turn(lambda: s.get_buffer("t"), into)
            row(f"python.get_buffer.{size >> 10}KiB", mine * 1e6, "us", raw_us=round(theirs * 1e6, 2), share=round(mine / theirs, 3))
            s.unregister_buffer(to)


def library_alone(torch, numpy, t, raw):
    """Two functions that give seconds: of the calls with which a tensor says what it is, and of the one that makes one of memory."""
    if not torch:
        return lambda: one_call(lambda: t.__array_struct__), lambda: one_call(lambda: numpy.ndarray(t.shape, numpy.float32, raw, 304))
    give, take = torch.utils.dlpack.to_dlpack, getattr(torch._C, "_from_dlpack", torch.utils.dlpack.from_dlpack)
    return lambda: one_call(lambda: (t.is_neg(), give(t))), lambda: one_call(lambda: take(give(t))) - one_call(lambda: give(t))


def one_call(f):
    """Seconds, the least of many."""
    best, many = float("inf"), range(200)
    for _ in range(30):
        start = time.perf_counter()
        for _ in many:
            f()
        best = min(best, time.perf_counter() - start)
    return best / len(many)


def quarter():
    """A rank of four reads its part of a tensor that two stored: how many of the bytes move?"""
    try:
        import numpy
    except ImportError:
        return
    axis, cut, want = ParallelAxis(), TensorParallelism(), ReadTarget()
    axis.kind, axis.rank, axis.size, axis.split_dim = "tp", 1, 4, 1
    cut.axes = [axis]
    want.mode, want.parallelism = "shard", cut
    with store_rig.opened(pool=128 << 20) as s:
        t = numpy.zeros((1024, 4096), numpy.float32)
        s.put_tensor_with_tp("t", t, tp_size=2, split_dim=1)
        before = moved(s)
        got = s.get_tensor_with_parallelism("t", want)
        assert got is not None and tuple(got.shape) == (1024, 1024)
        share = (moved(s) - before) / t.nbytes
        row("python.quarter_of_a_tensor", share, "of the bytes", limit=QUARTER, holds=share <= QUARTER)


def moved(s):
    return sum(way["bytes"] for way in s.stats()["get"].values())


def sessions():
    """The page of KV cache layer by layer, as it is computed and as it is needed."""
    nr = BLOCKS * BLOCK
    with store_rig.opened(pool=256 << 20) as s:
        src, dst = ctypes.create_string_buffer(LAYERS * nr), ctypes.create_string_buffer(LAYERS * nr)
        at, to = ctypes.addressof(src), ctypes.addressof(dst)
        s.batch_put_session_start(["page"], [LAYERS * nr])
        for layer in range(LAYERS):
            s.batch_put_from_multi_buffer_ranges(["page"], [[at + layer * nr]], [[nr]], [[layer * nr]])
        assert s.batch_put_session_end(["page"]) == [0]
        assert s.batch_get_session_start(["page"]) == [0]

        blocks = [layer * nr + b * BLOCK for layer in range(LAYERS) for b in range(BLOCKS)]
        parts = [([[to + x for x in blocks[i:i + BLOCKS]]], [[BLOCK] * BLOCKS], [blocks[i:i + BLOCKS]]) for i in range(0, len(blocks), BLOCKS)]

        def read():
            for part in parts:
                s.batch_get_into_multi_buffer_ranges(["page"], *part)
        mine, theirs = in_turn(read, memcpy_scattered(at, to, list(range(BLOCKS))))
        row("python.session_get.61x256x2KiB", LAYERS * nr / mine / 1e9, "GB/s", memcpy_GBps=round(LAYERS * nr / theirs / 1e9, 2), share=round(theirs / mine, 3))


if __name__ == "__main__":
    calls()
    pages()
    sessions()
    tensors()
    quarter()
