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

SECONDS = float(os.environ.get("BENCH_SECONDS", "0.3"))
TURNS = 5
KEY = "a key of ordinary length, 36 bytes.."
OVERHEAD_NS = 700
LAYERS, BLOCKS, BLOCK = 61, 256, 2048
BLOCK_SHARE = 0.6


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
    """Medians of seconds."""
    times = ([], [])
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


if __name__ == "__main__":
    calls()
    pages()
