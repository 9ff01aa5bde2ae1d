#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Threads that meet in one object: what the interpreter lock holds together, and a free-threaded build by itself (make check-freethreaded)."""
import ctypes
import sys
import sysconfig
import threading

import tap
from tap import eq, skip

import store_rig
from store_rig import MB
from mooncake import _tensor
from mooncake.engine import TransferEngine
from mooncake.store import BufferPool, MooncakeDistributedStore, ReplicateConfig

CALLS = 100
FREE = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def together(*calls, times=CALLS):
    """The first of @calls @times over, and as long as that takes the others, each on a thread of its own. An exception is raised here."""
    go, failed, over = threading.Barrier(len(calls)), [], threading.Event()

    def run(f, first):
        go.wait()
        try:
            i = 0
            while not failed and (i < times if first else i < 1 or not over.is_set()):
                f(i)
                i += 1
        except BaseException as e:
            failed.append(e)
        finally:
            if first:
                over.set()
    ts = [threading.Thread(target=run, args=(f, i == 0), daemon=True) for i, f in enumerate(calls)]
    for t in ts:
        t.start()
    for t in ts:
        t.join(60)
        assert not t.is_alive(), "a thread hangs"
    if failed:
        raise failed[0]


def among(got, *want):
    assert got in want, f"{got!r} is none of {want!r}"


def test_no_interpreter_lock():
    if not FREE:
        skip("this interpreter has its lock")
    assert not sys._is_gil_enabled(), "a module of ours has switched the lock on"


FIRST = """
import threading
from mooncake.store import MooncakeDistributedStore, ReplicateConfig, SoftPinAction
s = MooncakeDistributedStore()
assert s.setup("127.0.0.1", "P2PHANDSHAKE", 16 << 20, 1 << 20, "tcp", "", "embedded") == 0
s.put("k", b"x")
go, out = threading.Barrier(8), []
def run():
    go.wait()
    out.append((s.put_tensor("t", object()), len(s.get_replica_desc("k")), ReplicateConfig().soft_pin_action == SoftPinAction.PRESERVE))
ts = [threading.Thread(target=run) for _ in range(8)]
[t.start() for t in ts]
[t.join() for t in ts]
assert out == [(-600, 1, True)] * 8, out
"""


def test_first_use_by_all_at_once():
    for _ in range(3):
        rc, out, err = tap.python(FIRST)
        eq((rc, err), (0, ""))


def test_setup_and_close_below_calls():
    """Every result is that of an open or of a closed store."""
    s = MooncakeDistributedStore()
    memory, value = store_rig.Memory(4096), b"v" * 1000
    tensor = _tensor.numpy.zeros(100) if _tensor.numpy else None

    def open_and_close(i):
        if i % 2:
            eq(s.close(), 0)
        else:
            eq(s.setup("127.0.0.1", "P2PHANDSHAKE", 4 * MB, MB, "tcp", "", "embedded"), 0)

    def objects(i):
        among(s.put(f"k{i % 7}", value), 0, -600, -900, -800, -200)
        among(s.get(f"k{i % 7}"), value, b"")
        h = s.get_buffer(f"k{i % 7}")
        assert h is None or bytes(h) == value
        among(len(s.batch_is_exist(["a", "b"])), 2)

    def memories(i):
        s.register_buffer(memory.ptr, memory.size)
        among(s.get_into(f"k{i % 7}", memory.ptr, memory.size), 1000, -600, -704, -900, -800, -1)
        s.unregister_buffer(memory.ptr)
        s.get_hostname(), s.health_check(), repr(s), s.stats(), s.last_error()

    def tensors(i):
        if tensor is not None:
            s.put_tensor("t", tensor)
            t = s.get_tensor("t")
            assert t is None or tuple(t.shape) == (100,)

    def pools(i):
        try:
            with BufferPool(s, block_on_exhaustion=False).acquire(1000) as lease:
                assert lease.ptr
        except RuntimeError:
            pass  # the store was closed
    together(open_and_close, objects, objects, memories, tensors, pools)
    s.close()


def test_a_config_that_changes():
    def change(i):
        c.preferred_segments, c.group_ids = [f"a{i}:1", f"b{i}:2"], [f"g{i}"]
        c.preferred_segment, c.host_id, c.soft_pin_ttl_ms = f"s{i}", f"h{i}", None
        c.replica_num, c.with_soft_pin, c.with_hard_pin = 1, i % 2 == 0, False
        c.preferred_segments.append(f"c{i}:3")
    c = ReplicateConfig()
    with store_rig.opened() as s:
        together(change, change, lambda i: among(s.upsert(f"k{i % 5}", b"x", c), 0, -600), lambda i: str(c),
                 lambda i: (c.preferred_segments, c.group_ids, c.soft_pin_action))


def test_one_lease():
    """Given back by one of them; what looked at it before is refused, or keeps the memory."""
    with store_rig.opened() as s:
        pool = BufferPool(s)
        for _ in range(30):
            lease = pool.acquire(4096)
            released = []

            def release(i):
                try:
                    lease.release()
                    released.append(i)
                except RuntimeError as e:
                    assert "exported views" in str(e)

            def look(i):
                try:
                    m = lease.buffer
                    m[0] = 1
                    m.release()
                except RuntimeError as e:
                    assert "released" in str(e)
                assert lease.size == 4096 and lease.ptr >= 0
            together(release, release, look, look, times=5)
            lease.release()
        pool.close()  # all came back, each once


def engine():
    e = TransferEngine()
    eq(e.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", ""), 0)
    return e


def test_an_engine_that_is_replaced():
    e, mine = TransferEngine(), ctypes.create_string_buffer(4096)

    def replace(i):
        if i % 20 == 0:
            eq(e.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", ""), 0)

    def use(i):
        e.get_rpc_port(), e.get_engine_ptr(), repr(e), e.get_engine()
        e.register_memory(ctypes.addressof(mine), 4096)
        e.unregister_memory(ctypes.addressof(mine))

    def move(i):
        at = ctypes.addressof(mine)
        n = e.transfer_submit_write(f"127.0.0.1:{e.get_rpc_port()}", at, at + 2048, 16)
        if n:
            among(e.transfer_check_status(n), 0, 1, -1, -2)
            e.cancel_transfer(n), e.get_transfer_statuses(n)
            e.get_batch_transfer_status([n])
    together(replace, use, use, move, times=100)


def test_told_of_an_end_before_the_number_is_known():
    """Whoever is told that a transfer has ended can collect it, also when the thread that began it has not got its number yet."""
    e, there = engine(), engine()
    memory = ctypes.create_string_buffer(8192)
    at = ctypes.addressof(memory)
    eq(there.register_memory(at, 8192), 0)
    name = f"127.0.0.1:{there.get_rpc_port()}"
    assert e.get_transfer_fd() >= 0
    begun, seen, end, under_way = [], [], threading.Event(), threading.Semaphore(8)

    def begin(i):
        assert under_way.acquire(timeout=20), f"{len(begun)} begun, {len(seen)} seen"
        n = e.batch_transfer_async_write(name, [at], [at + 4096], [64])
        assert n
        begun.append(n)

    def collect():
        while not end.is_set() or len(seen) < len(begun):
            for n in e.get_ended_transfers():
                seen.append((n, e.get_batch_transfer_status([n])))
                under_way.release()
    t = threading.Thread(target=collect, daemon=True)
    t.start()
    try:
        together(begin, begin, times=1000)
    finally:
        end.set()
        t.join(20)
    assert not t.is_alive(), f"{len(begun)} begun, {len(seen)} seen"
    eq(sorted(n for n, _ in seen), sorted(begun))
    eq([n for n, status in seen if status], [])


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
