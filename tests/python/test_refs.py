#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No call keeps or loses a reference: neither when it works, nor with wrong arguments, nor when memory runs out."""
import ctypes
import gc
import sys
import tracemalloc
import weakref

import tap
from store_rig import opened
from tap import eq, skip

import surface
from test_surface import WRONG

from mooncake.engine import TransferEngine, TransferNotify, Write
from mooncake.store import MooncakeDistributedStore, ReplicateConfig, SoftPinAction

BUF = ctypes.create_string_buffer(4096)
P = ctypes.addressof(BUF)


def config():
    c = ReplicateConfig()
    c.preferred_segments = ["a:1", "b:2"]
    c.group_ids = ["g"]
    c.soft_pin_action, c.soft_pin_ttl_ms = SoftPinAction.ENABLE, 5000
    str(c)
    return c


def store_calls(s):
    c = config()
    return [
        lambda: s.put("k", b"v" * 100), lambda: s.put("k", b"v", c), lambda: s.upsert("k", bytearray(b"w" * 100)),
        lambda: s.put_parts("p", b"a", memoryview(b"b"), config=c), lambda: s.put_batch(["a", "b"], [b"1", b"2"]),
        lambda: s.get("k"), lambda: s.get("missing"), lambda: s.get_batch(["a", b"b", "c"]), lambda: s.get_buffer("k"),
        lambda: s.get_buffer("missing"), lambda: s.batch_get_buffer(["a", "x"]), lambda: bytes(s.get_buffer("k")),
        lambda: s.put_from("f", P, 64, c), lambda: s.put_from_with_metadata("m", P, P, 8, 8, c), lambda: s.get_into("k", P, 4096),
        lambda: s.batch_put_from(["f", "g"], [P, P], [8, 8]), lambda: s.batch_get_into(["f", "x"], [P, P], [64, 64]),
        lambda: s.batch_put_from_multi_buffers(["q"], [[P, P]], [[8, 8]]),
        lambda: s.batch_get_into_multi_buffers(["q", "k"], [[P, P], [P]], [[8, 8], [1]]),
        lambda: s.get_into_ranges([P], [["k", "x"]], [[[0, 1], [2]]], [[[0, 1], [2]]], [[[1, 1], [1]]]),
        lambda: s.get_into_ranges([P], [["k"]], [[[0]], []], [[[0]]], [[[1]]]), lambda: s.is_exist("k"),
        lambda: s.batch_is_exist(["k", "x"]), lambda: s.get_size("k"), lambda: s.remove("f", True), lambda: s.batch_remove(["f"], True),
        lambda: s.remove_by_regex("^zz"), lambda: s.get_hostname(), lambda: repr(s), lambda: s.last_error(), config,
        lambda: s.register_buffer(P, 8), lambda: s.unregister_buffer(P),
    ]


def wrong_calls():
    """Every call of the table with every wrong value in every place."""
    out = []
    for cls, rows in ((MooncakeDistributedStore, surface.STORE), (TransferEngine, surface.ENGINE)):
        o = cls()
        for name, sig, args, _ in rows:
            for i, param in enumerate(p.partition("=")[0].strip() for p in sig[1:-1].split(", ")):
                for bad in WRONG.get(param, ()) if i < len(args) else ():
                    out.append((getattr(o, name), (*args[:i], bad, *args[i + 1:])))
            if name != "setup":
                out.append((getattr(o, name), args))
    return out


def growth(f, rounds):
    """Bytes that Python's allocators hold more after @rounds than before."""
    f()
    gc.collect()
    tracemalloc.start()
    f()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(rounds):
        f()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return after - before


def keeps_nothing(what, f):
    """Caches fill and settle; a leak goes on with every call, and no object is below 16 bytes."""
    if growth(f, 20) < 320:
        return
    got = growth(f, 1000)
    assert got < 8000, f"{what}: {got} bytes after 1000 rounds"


def test_calls_that_work():
    with opened() as s:
        for i, call in enumerate(store_calls(s)):
            keeps_nothing(f"call {i}", call)


def test_calls_with_wrong_arguments():
    calls = wrong_calls()
    assert len(calls) > 200, len(calls)

    def run(f, a):
        try:
            f(*a)
        except TypeError:
            pass

    for f, a in calls:
        if f.__name__ != "get_local_topology":
            keeps_nothing(f"{f.__name__}{a}", lambda: run(f, a))


def test_references_of_arguments():
    key, value, c = "key-" + "x" * 10, bytes(100), config()
    keys, values, ptrs, sizes = [key, key], [value, value], [P, P], [8, 8]
    watched = (key, value, c, keys, values, ptrs, sizes)
    with opened() as s:
        before = [sys.getrefcount(o) for o in watched]
        for _ in range(10):
            s.put(key, value, c), s.put_batch(keys, values), s.get(key), s.get_batch(keys), s.put_parts(key, value, config=c)
            s.batch_put_from(keys, ptrs, sizes), s.batch_get_into(keys, ptrs, sizes), s.batch_is_exist(keys)
            s.get_into_ranges([P], [keys], [[[0], [0]]], [[[0], [0]]], [[[0], [0]]]), s.batch_remove(keys, True)
        eq([sys.getrefcount(o) for o in watched], before)


def test_objects_go_away():
    class Engine(TransferEngine):
        pass

    class Config(ReplicateConfig):
        pass

    for cls in (Engine, Config):
        o = cls()
        o.me = o
        if cls is Config:
            o.preferred_segments.append(o)
        gone = weakref.ref(o)
        del o
        gc.collect()
        eq(gone(), None, cls.__name__)
    e = TransferEngine()
    eq(e.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", ""), 0)
    me = f"127.0.0.1:{e.get_rpc_port()}"
    e.register_memory(P, 4096)

    def cycle():
        inner = e.get_engine()
        e.transfer_sync(me, P, P + 100, 8, Write, TransferNotify("a", "b"))
        e.get_notifies()
        e.get_batch_transfer_status([e.batch_transfer_async_write(me, [P] * 3, [P + 100] * 3, [8] * 3), 77])
        del inner
    keeps_nothing("transfers", cycle)


def test_out_of_memory():
    """The n-th allocation fails, for every n: an exception or an ordinary result, and nothing breaks."""
    try:
        from _testcapi import remove_mem_hooks, set_nomemory
    except ImportError:
        skip("this interpreter has no _testcapi")
    with opened() as s:
        c = config()
        s.put("k", b"v" * 5000)
        s.put_batch(["a", "b"], [b"v" * 5000] * 2)
        s.register_buffer(P, 4096)
        keys, ptrs, sizes, many = ["k", "a", "b"] * 20, [P] * 60, [64] * 60, [[P, P]] * 60
        calls = [
            lambda: s.put("k", b"v", c), lambda: s.put_parts("k", b"v", b"w", config=c), lambda: s.put_batch(["a", "b"], [b"1", b"2"], c),
            lambda: s.get("k"), lambda: s.get_batch(keys), lambda: s.get_buffer("k"), lambda: s.batch_get_buffer(keys),
            lambda: s.batch_put_from(keys, ptrs, sizes), lambda: s.batch_get_into(keys, ptrs, sizes),
            lambda: s.batch_put_from_multi_buffers(keys, many, many), lambda: s.batch_get_into_multi_buffers(keys, many, many),
            lambda: s.get_into_ranges([P], [["k", "a"]], [[[0], [0, 1]]], [[[0], [0, 1]]], [[[300], [400, 500]]]),
            lambda: s.batch_is_exist(keys), lambda: s.batch_remove(["x"] * 60), lambda: s.get_size("k"), config,
            lambda: MooncakeDistributedStore().put("k", b"v"), lambda: TransferEngine().batch_register_memory(ptrs, sizes),
            lambda: TransferEngine().batch_transfer_sync_write("p", ptrs, ptrs, sizes),
        ]
        for call in calls:
            for n in range(60):
                set_nomemory(n, n + 1)
                try:
                    call()
                except (MemoryError, SystemError) as e:
                    assert isinstance(e, MemoryError), e
                finally:
                    remove_mem_hooks()
        eq(s.get_size("k"), 5000)
        eq(len(s.get("k")), 5000)


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
