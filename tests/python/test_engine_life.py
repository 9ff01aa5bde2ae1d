#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The life of an engine in Python: nothing grows with use, the end is quick and silent, a forked child is told."""
import ctypes
import gc
import os
import sys
import time

import tap
from tap import eq

from mooncake.engine import Read, TransferEngine, TransferNotify, Write

SIZE = 1 << 16


def engine():
    e = TransferEngine()
    eq(e.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", ""), 0)
    return e


class Memory:
    def __init__(self):
        self.buf = ctypes.create_string_buffer(SIZE)
        self.ptr = ctypes.addressof(self.buf)


def fds():
    return len(os.listdir("/proc/self/fd"))


def threads():
    return len(os.listdir("/proc/self/task"))


def test_a_hundred_thousand_transfers():
    a, b, m, there = engine(), engine(), Memory(), Memory()
    eq(a.register_memory(there.ptr, SIZE), 0)
    name, p = f"127.0.0.1:{a.get_rpc_port()}", there.ptr
    fd = b.get_transfer_fd()
    assert fd >= 0
    note = TransferNotify("name", "message")
    calls = [
        lambda: b.transfer_sync_read(name, m.ptr, p, 8), lambda: b.transfer_sync_write(name, m.ptr, p, 8),
        lambda: b.batch_transfer_sync_read(name, [m.ptr, m.ptr + 8], [p, p], [8, 8]), lambda: b.transfer_sync_read(name, m.ptr, 1, 8),
        lambda: b.get_batch_transfer_status([b.batch_transfer_async_read(name, [m.ptr] * 3, [p] * 3, [8] * 3)]),
        lambda: b.get_batch_transfer_status([b.batch_transfer_async(name, [], [], [], Read)]),
        lambda: b.get_first_buffer_address(name), lambda: b.get_ended_transfers(), lambda: repr(b), b.get_engine,
        lambda: b.get_transfer_statuses(3), lambda: (b.register_memory(m.ptr, 64), b.unregister_memory(m.ptr)),
        lambda: b.free_managed_buffer(b.allocate_managed_buffer(100), 100), lambda: b.transfer_sync_write(name, m.ptr, p, 0),
    ]
    seldom = [
        lambda: b.transfer_sync(name, m.ptr, p, 8, Write, note), lambda: a.get_notifies(), lambda: b.send_probe(name),
    ]

    def some(n):
        for i in range(n):
            for f in calls:
                f()
            if i % 50 == 0:
                for f in seldom:
                    f()
    some(500)
    gc.collect()
    objects, f, t, memory = len(gc.get_objects()), fds(), threads(), tap.rss()
    some(100000 // len(calls))
    gc.collect()
    assert len(gc.get_objects()) - objects < 50, len(gc.get_objects()) - objects
    # A stream makes one more descriptor when two of its threads first have to wake each other: two here.
    assert fds() <= f + 2 and threads() <= t, (fds() - f, threads() - t)
    assert tap.rss() - memory < 4 << 20, tap.rss() - memory


def test_open_and_close_leave_nothing():
    m = Memory()

    def once():
        a, b = engine(), engine()
        a.register_memory(m.ptr, 32)
        b.get_transfer_fd()
        eq(b.transfer_sync_read(f"127.0.0.1:{a.get_rpc_port()}", m.ptr + 32, m.ptr, 32), 0)
        b.batch_transfer_async_read(f"127.0.0.1:{a.get_rpc_port()}", [m.ptr + 32], [m.ptr], [32])
    once()
    f, t = fds(), threads()
    for _ in range(20):
        once()
    tap.until(lambda: fds() <= f and threads() <= t, what="descriptors and threads")


EXIT = """
import ctypes, sys, threading
from mooncake.engine import TransferEngine
e = TransferEngine()
assert e.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", "") == 0
m = ctypes.create_string_buffer(1 << 20)
e.register_memory(ctypes.addressof(m), 1 << 20)
other = TransferEngine()
assert other.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", "") == 0
name = f"127.0.0.1:{e.get_rpc_port()}"
fd = other.get_transfer_fd()
keep = [other.batch_transfer_async_read(name, [ctypes.addressof(m)], [ctypes.addressof(m)], [1 << 20]) for _ in range(100)]
stuck = threading.Thread(target=lambda: [other.transfer_sync_read(name, ctypes.addressof(m), ctypes.addressof(m), 1 << 20) for _ in range(10**6)],
                         daemon=True)
stuck.start()
handle = e.get_engine()
print("end")
"""


def test_interpreter_ends_with_transfers_under_way():
    for _ in range(5):
        start = time.monotonic()
        eq(tap.python(EXIT), (0, "end\n", ""))
        assert time.monotonic() - start < 6, time.monotonic() - start


FORK = """
import ctypes, os
from mooncake.engine import TransferEngine
e = TransferEngine()
assert e.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", "") == 0
m = ctypes.create_string_buffer(4096)
p, name = ctypes.addressof(m), f"127.0.0.1:{e.get_rpc_port()}"
assert e.register_memory(p, 64) == 0 and e.get_transfer_fd() >= 0
keep = e.batch_transfer_async_read(name, [p + 64], [p], [32])
pid = os.fork()
if not pid:
    got = (e.transfer_sync_read(name, p + 64, p, 32), e.batch_transfer_async_read(name, [p + 64], [p], [32]), e.register_memory(p + 128, 8),
           e.get_ended_transfers(), e.get_batch_transfer_status([keep]), e.cancel_transfer(keep))
    mine = TransferEngine()
    again = mine.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", "")
    print(got, again, flush=True)
    del mine, e
    os._exit(0)
os.waitpid(pid, 0)
print(e.transfer_sync_read(name, p + 64, p, 32), e.get_batch_transfer_status([keep]))
"""


def test_forked_child():
    rc, out, err = tap.python(FORK)
    eq((rc, out), (0, "(-1, 0, -104, [], -1, -1) 0\n0 0\n"), err)
    assert "before fork" in err, err


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
