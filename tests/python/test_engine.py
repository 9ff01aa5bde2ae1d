#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TransferEngine between two processes: this one, and a peer that registers memory and does as it is told."""
import asyncio
import ctypes
import json
import os
import select
import signal
import sys
import threading
import time

import tap
from tap import eq, raises

from mooncake.engine import InnerTransferEngine, Read, TransferEngine, TransferNotify, Write
from mooncake.store import MooncakeDistributedStore

P2P = "P2PHANDSHAKE"
SIZE = 1 << 20

PEER = """
import ctypes, sys
from mooncake.engine import TransferEngine, TransferNotify, Write
e = TransferEngine()
assert e.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", "") == 0
b = ctypes.create_string_buffer(1 << 20)
p = ctypes.addressof(b)
assert e.register_memory(p, 1 << 20) == 0
print(e.get_rpc_port(), p, flush=True)
for line in sys.stdin:
    what, *a = line.split()
    if what == "fill":
        ctypes.memset(p, int(a[0]), 1 << 20); out = "ok"
    elif what == "sum":
        out = sum(b.raw[int(a[0]):int(a[1])])
    elif what == "notes":
        out = [(n.name, n.msg) for n in e.get_notifies()]
    elif what == "tell":
        out = e.transfer_sync(a[0], p, int(a[1]), 8, Write, TransferNotify("from", "peer"))
    print(out, flush=True)
"""


class Peer(tap.Daemon):
    def __init__(self):
        super().__init__([sys.executable, "-c", PEER])
        port, addr = self.first.split()
        self.name, self.addr = f"127.0.0.1:{port}", int(addr)


class Memory:
    def __init__(self, size=SIZE, fill=0):
        self.buf = (ctypes.c_char * size).from_buffer_copy(bytes([fill]) * size)
        self.ptr, self.size = ctypes.addressof(self.buf), size


def engine(host="127.0.0.1", meta=P2P, protocol="tcp", device=""):
    e = TransferEngine()
    eq(e.initialize(host, meta, protocol, device), 0, "initialize")
    return e


def test_initialize():
    def code(*args):
        return TransferEngine().initialize(*args)

    eq(code("127.0.0.1", P2P, "tcp", ""), 0)
    eq(code("127.0.0.1:4", P2P, "rdma", None), 0, "comes up without RDMA")
    eq(code("127.0.0.1", P2P, "nvlink", ""), 0, "takes the best way there is")
    eq(code("127.0.0.1", P2P, "xgmi", ""), -1)
    for meta in ("", None, "etcd://127.0.0.1:1", "redis://127.0.0.1:1", "pigeon://x", "127.0.0.1:1"):
        eq(code("127.0.0.1", meta, "tcp", ""), -1, repr(meta))
    eq(code(None, P2P, "tcp", ""), -1)
    eq(code("no.such.host.invalid", P2P, "tcp", ""), -1)
    eq(TransferEngine().initialize_ext("127.0.0.1", P2P, "tcp", "", "http"), 0)
    eq(TransferEngine().initialize_ext("127.0.0.1", "127.0.0.1:1", "tcp", "", "pigeon"), -1)
    e = engine("127.0.0.1:7")
    port = e.get_rpc_port()
    assert 0 < port < 65536 and port != 7, port
    assert isinstance(e.get_engine(), InnerTransferEngine) and e.get_engine_ptr()
    eq((repr(e), repr(TransferEngine())), (f"<TransferEngine 127.0.0.1:{port}>", "<TransferEngine, not initialized>"))
    eq(e.initialize("127.0.0.1", P2P, "xgmi", ""), -1)
    eq(e.get_rpc_port(), port, "a failed initialize leaves the old engine")
    eq(e.initialize("127.0.0.1", P2P, "tcp", ""), 0)
    raises(TypeError, e.initialize, "127.0.0.1", P2P, "tcp")
    raises(ValueError, e.initialize, "127.0.0.1\0x", P2P, "tcp", "")


def test_metadata_server():
    binary = os.path.join(tap.BUILD, "bin", "mooncake-metadata")
    if not os.path.exists(binary):
        tap.skip("build/bin/mooncake-metadata is not built")
    port = tap.free_port()
    with tap.Daemon([binary, "--port", str(port)], ready=lambda: tap.connects(port)):
        a, b = TransferEngine(), TransferEngine()
        eq(a.initialize("127.0.0.1:7001", f"http://127.0.0.1:{port}/metadata", "tcp", ""), 0)
        eq(b.initialize_ext("127.0.0.1:7002", f"127.0.0.1:{port}/metadata", "tcp", "", "http"), 0)
        m, out = Memory(64, 4), Memory(64)
        eq(a.register_memory(m.ptr, 64), 0)
        eq(b.get_first_buffer_address("127.0.0.1:7001"), m.ptr)
        eq(b.transfer_sync_read("127.0.0.1:7001", out.ptr, m.ptr, 64), 0)
        eq(out.buf.raw, m.buf.raw)
        eq(b.send_probe("127.0.0.1:7009"), -200, "unknown to metadata")


def test_registration():
    e = engine()
    m = Memory()
    eq(e.register_memory(m.ptr, SIZE), 0)
    eq(e.register_memory(m.ptr + 100, 10), -7)
    eq(e.register_memory(m.ptr, 0), -1)
    eq(e.unregister_memory(m.ptr + 1), -3)
    eq(e.unregister_memory(m.ptr), 0)
    eq(e.unregister_memory(m.ptr), -3)
    eq(e.register_memory(m.ptr, SIZE, "cpu:0"), 0)
    eq(e.unregister_memory(m.ptr), 0)
    eq(e.batch_register_memory([m.ptr, m.ptr + 4096], [4096, 4096]), 0)
    eq(e.batch_unregister_memory([m.ptr, m.ptr + 4096]), 0)
    eq(e.batch_register_memory([m.ptr, m.ptr + 10], [4096, 4096]), -7)
    eq(e.unregister_memory(m.ptr), -3, "all or none")
    eq(e.batch_register_memory([m.ptr], [1, 2]), -1)
    assert e.batch_unregister_memory([m.ptr]) < 0


def test_sync():
    e = engine()
    with Peer() as p:
        m = Memory(fill=7)
        eq(e.transfer_sync_write(p.name, m.ptr, p.addr, 1000), 0)
        eq(p.ask("sum 0 2000"), "7000")
        p.ask("fill 3")
        eq(e.transfer_sync_read(p.name, m.ptr + 10, p.addr, 100), 0)
        eq(m.buf.raw[:120], b"\7" * 10 + b"\3" * 100 + b"\7" * 10)
        eq(e.transfer_sync(p.name, m.ptr, p.addr, SIZE, Read), 0)
        eq(m.buf.raw, b"\3" * SIZE)
        eq(e.transfer_sync(p.name, m.ptr, p.addr, 8, opcode=Write, notify=None, transport_hint="tcp"), 0)
        n = 64
        local = [m.ptr + i * 200 for i in range(n)]
        there = [p.addr + i * 100 for i in reversed(range(n))]
        ctypes.memset(m.ptr, 9, SIZE)
        eq(e.batch_transfer_sync_write(p.name, local, there, [100] * n), 0)
        eq(p.ask(f"sum 0 {n * 100}"), str(9 * n * 100))
        p.ask("fill 2")
        eq(e.batch_transfer_sync_read(p.name, local, there, [100] * n), 0)
        eq(m.buf.raw[:400], b"\2" * 100 + b"\x09" * 100 + b"\2" * 100 + b"\x09" * 100)
        eq(e.batch_transfer_sync(p.name, local, there, [1] * n, Write), 0)
        eq(e.batch_transfer_sync_read(p.name, [], [], []), 0)
        for bad in ((p.name, m.ptr, p.addr + SIZE, 8), (p.name, m.ptr, p.addr + SIZE - 4, 8), (p.name, m.ptr, 1, 8),
                    ("127.0.0.1:1", m.ptr, p.addr, 8), ("nobody", m.ptr, p.addr, 8), (None, m.ptr, p.addr, 8)):
            eq(e.transfer_sync_read(*bad), -1, repr(bad))
        eq(e.batch_transfer_sync_read(p.name, [m.ptr], [p.addr, p.addr], [8]), -1)
        raises(TypeError, e.transfer_sync, p.name, m.ptr, p.addr, 8, 0, text="opcode")
        raises(TypeError, e.transfer_sync, p.name, m.ptr, p.addr, 8, Read, "note", text="notify")


def test_async():
    e = engine()
    with Peer() as p:
        p.ask("fill 5")
        m = Memory()
        ids = [e.batch_transfer_async_read(p.name, [m.ptr + i * 4096], [p.addr], [4096]) for i in range(16)]
        assert all(i > 0 for i in ids) and len(set(ids)) == 16, ids
        eq(e.get_batch_transfer_status(ids), 0)
        eq(m.buf.raw[:65536], b"\5" * 65536)
        eq(e.get_batch_transfer_status(ids[:1]), -1, "collected already")
        eq(e.get_batch_transfer_status([]), 0)
        eq(e.get_batch_transfer_status([12345678]), -1)
        i = e.batch_transfer_async(p.name, [m.ptr], [p.addr], [64], Write)
        eq(e.get_batch_transfer_status((i, )), 0)
        i = e.batch_transfer_async_write(p.name, [], [], [])
        assert i, "an empty batch is complete"
        eq(e.get_batch_transfer_status([i]), 0)
        i = e.transfer_submit_write(p.name, m.ptr, p.addr, 64)
        tap.until(lambda: check(e, i, 1), what="the transfer")
        eq(e.transfer_check_status(i), -1, "collected")
        for bad in (("127.0.0.1:1", [m.ptr], [p.addr], [8]), (None, [m.ptr], [p.addr], [8]), (p.name, [m.ptr], [p.addr], [8, 8]),
                    (p.name, [m.ptr], [p.addr], [])):
            eq(e.batch_transfer_async_write(*bad), 0, repr(bad))
            eq(e.batch_transfer_async_read(*bad), 0)
        eq(e.transfer_submit_write("127.0.0.1:1", m.ptr, p.addr, 8), 0)
        good, bad = e.batch_transfer_async_read(p.name, [m.ptr], [p.addr], [8]), e.batch_transfer_async_read(p.name, [m.ptr], [1], [8])
        if bad:  # refused when submitted, or by the peer
            eq(e.get_batch_transfer_status([good, bad]), -1)
        i = e.transfer_submit_write(p.name, m.ptr, 1, 64)
        if i:
            tap.until(lambda: check(e, i, -1), what="the refusal")
        e.batch_transfer_async_read(p.name, [m.ptr], [p.addr], [SIZE])  # never collected: goes with the engine


def test_descriptor():
    """Transfers that end make a descriptor readable; nobody has to poll or wait for them."""
    e = engine()
    with Peer() as p:
        p.ask("fill 5")
        m = Memory()
        early = e.batch_transfer_async_read(p.name, [m.ptr], [p.addr], [64])
        fd = e.get_transfer_fd()
        assert fd >= 0 and e.get_transfer_fd() == fd
        eq((e.get_ended_transfers(), select.select([fd], [], [], 0)[0]), ([], []))
        ids = {e.batch_transfer_async_read(p.name, [m.ptr + i * 4096] * 2, [p.addr, p.addr + 4096], [4096] * 2) for i in range(100)}
        bad = e.batch_transfer_async_read(p.name, [m.ptr, m.ptr + 8], [p.addr, 1], [8, 8])
        seen = set()
        while len(seen) < 101:
            assert select.select([fd], [], [], 10)[0], f"{len(seen)} of 101 ended"
            got = e.get_ended_transfers()
            assert not seen & set(got), "each once"
            seen |= set(got)
        eq(seen, ids | {bad})
        eq(e.get_transfer_statuses(bad), [1, -1])
        eq((e.get_batch_transfer_status(list(ids)), e.get_batch_transfer_status([bad]), e.get_batch_transfer_status([early])), (0, -1, 0))
        eq(m.buf.raw[:8192], b"\5" * 8192)
        eq((e.get_transfer_statuses(bad), e.cancel_transfer(bad)), ([], -1), "collected")
        for _ in range(300):  # collected by whoever is first: the list or the caller
            i = e.batch_transfer_async_write(p.name, [m.ptr], [p.addr], [8])
            eq(e.get_batch_transfer_status([i]), 0)
        eq(set(e.get_ended_transfers()) - {i}, set())


def test_asyncio():
    async def body(e, p, m):
        loop, waiting = asyncio.get_running_loop(), {}

        def ended():
            for i in e.get_ended_transfers():
                waiting.pop(i).set_result(e.get_batch_transfer_status([i]))
        loop.add_reader(e.get_transfer_fd(), ended)

        async def read(n):
            i = e.batch_transfer_async_read(p.name, [m.ptr + n * 64], [p.addr], [64])
            waiting[i] = loop.create_future()
            return await waiting[i]
        eq(set(await asyncio.gather(*[read(n) for n in range(2000)])), {0})
        loop.remove_reader(e.get_transfer_fd())
    e, m = engine(), Memory()
    before = len(os.listdir("/proc/self/task"))
    with Peer() as p:
        p.ask("fill 9")
        asyncio.run(body(e, p, m))
        eq(m.buf.raw[:128000], b"\x09" * 128000)
    assert len(os.listdir("/proc/self/task")) <= before + 1


def test_cancel():
    """A transfer to a peer that is stopped ends when it is cancelled, and its memory is left alone."""
    e = engine()
    with Peer() as p:
        m = Memory(fill=1)
        fd = e.get_transfer_fd()
        eq(e.transfer_sync_read(p.name, m.ptr, p.addr, 8), 0)
        i = e.batch_transfer_async_read(p.name, [m.ptr] * 4, [p.addr] * 4, [SIZE // 4] * 4)
        eq(e.cancel_transfer(i), 0)
        assert select.select([fd], [], [], 10)[0]
        eq(e.get_ended_transfers(), [i])
        assert set(e.get_transfer_statuses(i)) <= {1, -1}
        assert e.get_batch_transfer_status([i]) in (0, -1), "it may have been done before"
        empty = e.batch_transfer_async_write(p.name, [], [], [])
        eq((e.cancel_transfer(empty), e.get_transfer_statuses(empty), e.get_batch_transfer_status([empty])), (0, [], 0))
        e.batch_transfer_async_read(p.name, [m.ptr], [p.addr], [SIZE])  # never collected, and watched: goes with the engine
    del e


def check(e, i, want):
    got = e.transfer_check_status(i)
    assert got in (0, want), got
    return got == want


def test_status_asked_by_several_threads():
    """No call says -1 and ends before the one that collects the transfer has begun."""
    e = engine()
    with Peer() as p:
        m = Memory()
        for _ in range(30):
            i = e.transfer_submit_write(p.name, m.ptr, p.addr, SIZE)
            seen = []

            def poll():
                got = 0
                while not got:
                    start = time.monotonic()
                    got = e.transfer_check_status(i)
                seen.append((got, start, time.monotonic()))
            ts = [threading.Thread(target=poll, daemon=True) for _ in range(3)]
            for t in ts:
                t.start()
            for t in ts:
                t.join(10)
                assert not t.is_alive()
            began = [start for got, start, _ in seen if got == 1]
            assert began, seen
            assert all(end >= min(began) for got, _, end in seen if got == -1), seen


def test_notify():
    e = engine()
    with Peer() as p:
        m = Memory()
        eq(e.get_notifies(), [])
        eq(e.transfer_sync(p.name, m.ptr, p.addr, 8, Write, TransferNotify("name", "größe")), 0)
        eq(e.batch_transfer_sync(p.name, [m.ptr], [p.addr], [8], Write, TransferNotify("two", "")), 0)
        eq(eval(p.ask("notes")), [("name", "größe"), ("two", "")])
        eq(eval(p.ask("notes")), [])
        eq(e.transfer_sync(p.name, m.ptr, 1, 8, Write, TransferNotify("no", "")), -1)
        eq(e.batch_transfer_sync(p.name, [], [], [], Write, TransferNotify("no", "")), -1, "an empty batch with a message")
        eq(eval(p.ask("notes")), [], "a failed transfer tells nobody")
        eq(e.register_memory(m.ptr, SIZE), 0)
        eq(p.ask(f"tell 127.0.0.1:{e.get_rpc_port()} {m.ptr}"), "0")
        eq([(n.name, n.msg) for n in e.get_notifies()], [("from", "peer")])


def test_notify_that_is_not_text():
    """A peer's bytes do not hide the messages behind them."""
    path = os.path.join(tap.BUILD, "lib", "libmc.so")
    if not os.path.exists(path) or os.environ.get("SAN"):
        tap.skip("no libmc.so that a plain interpreter can load")
    lib = ctypes.CDLL(path)
    e = engine()
    eng, seg = ctypes.c_void_p(), ctypes.c_void_p()
    eq(lib.mc_engine_open(None, ctypes.byref(eng)), 0)
    lib.mc_deadline_ms.restype = ctypes.c_uint64
    soon = ctypes.c_uint64(lib.mc_deadline_ms(ctypes.c_uint64(5000)))
    eq(lib.mc_segment_open(eng, f"127.0.0.1:{e.get_rpc_port()}".encode(), soon, ctypes.byref(seg)), 0)
    first = lib.mc_notify_send(seg, b"\xff", b"a\xfe", soon)
    eq(lib.mc_notify_send(seg, b"b", b"c", soon), 0)
    lib.mc_segment_close(seg)
    lib.mc_engine_close(eng)
    got = [(n.name, n.msg) for n in e.get_notifies()]
    eq(got, ([("\ufffd", "a\ufffd")] if first == 0 else []) + [("b", "c")])


def test_probe_and_addresses():
    e = engine()
    with Peer() as p:
        eq(e.send_probe(p.name), 0)
        assert e.send_probe("nobody") < 0 and e.send_probe("127.0.0.1:1") < 0
        eq(e.get_first_buffer_address(p.name), p.addr)
        eq(e.get_first_buffer_address("127.0.0.1:1"), 0)
        other = engine()
        name = f"127.0.0.1:{other.get_rpc_port()}"
        eq(e.get_first_buffer_address(name), 0, "nothing registered")
        m = Memory()
        other.register_memory(m.ptr, SIZE)
        eq(e.get_first_buffer_address(name), m.ptr, "registered since")


def test_managed_buffers():
    e = engine()
    a, b = e.allocate_managed_buffer(0), e.allocate_managed_buffer(8193)
    assert a and b and a != b
    eq(e.write_bytes_to_buffer(a, b"x\0y" + b"z" * 100, 8), 0)
    eq(e.write_bytes_to_buffer(a, "text", 2), 0)
    eq(e.read_bytes_from_buffer(a, 8), b"tey" + b"z" * 5)
    raises(ValueError, e.write_bytes_to_buffer, a, b"short", 6)
    raises(ValueError, e.write_bytes_to_buffer, 0, b"x", 1)
    raises(ValueError, e.read_bytes_from_buffer, 0, 1)
    eq(e.read_bytes_from_buffer(a, 0), b"")
    raises(MemoryError, e.read_bytes_from_buffer, a, 1 << 63)
    f = engine()
    out = Memory(16)
    eq(f.transfer_sync_read(f"127.0.0.1:{e.get_rpc_port()}", out.ptr, a, 8), 0, "peers reach it")
    eq(out.buf.raw[:3], b"tey")
    eq(e.free_managed_buffer(a, 0), 0)
    eq(e.free_managed_buffer(a, 0), 0, "twice does no harm")
    c, d = e.allocate_managed_buffer(8000), e.allocate_managed_buffer(8000)
    eq(c, a, "the next of its class")
    assert d != c
    big = e.allocate_managed_buffer((256 << 20) + 1)
    assert big
    eq(e.free_managed_buffer(big, (256 << 20) + 1), 0)
    eq(e.allocate_managed_buffer(1 << 62), 0)
    eq(e.free_managed_buffer(12345, 10), 0)


def test_time_out_from_the_environment():
    """What is no number of seconds, or too many for a clock, leaves the default: a transfer has time."""
    for text in ("99999999999999", "1e3", "", "5", "-1"):
        got = tap.python('''
import ctypes
from mooncake.engine import TransferEngine
a, b, m = TransferEngine(), TransferEngine(), ctypes.create_string_buffer(64)
p = ctypes.addressof(m)
assert not a.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", "") and not b.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", "")
assert not a.register_memory(p, 32)
print(b.transfer_sync_read(f"127.0.0.1:{a.get_rpc_port()}", p + 32, p, 32))
''', MC_TRANSFER_TIMEOUT=text)
        eq(got[:2], (0, "0\n"), f"{text!r}: {got[2]}")


def test_topology():
    e = TransferEngine()
    text = e.get_local_topology()
    topology = json.loads(text)
    for where, nics in topology.items():
        assert where.startswith("cpu:") and len(nics) == 2, (where, nics)
    assert text.endswith("\n") and (not topology or "\n\t" in text), repr(text)
    eq(json.loads(e.get_local_topology("no-such-device")).keys(), topology.keys())
    eq(e.get_local_topology(device_name=None), text)


def test_peer_killed():
    e = engine()
    p = Peer()
    try:
        m = Memory()
        eq(e.transfer_sync_read(p.name, m.ptr, p.addr, SIZE), 0)
        p.stop(signal.SIGKILL)
        start = time.monotonic()
        eq(e.transfer_sync_write(p.name, m.ptr, p.addr, SIZE), -1)
        i = e.batch_transfer_async_write(p.name, [m.ptr], [p.addr], [SIZE])
        if i:
            eq(e.get_batch_transfer_status([i]), -1)
        assert e.send_probe(p.name) < 0
        assert time.monotonic() - start < 15
    finally:
        p.stop()


def test_engine_given_to_a_store():
    e = engine()
    s, t = MooncakeDistributedStore(), MooncakeDistributedStore()
    args = ("127.0.0.1", P2P, 16 << 20, 1 << 20, "tcp", "", "embedded")
    eq(s.setup(*args, e.get_engine()), 0)
    eq(t.setup(*args, engine=e), 0)
    eq((s.put("k", b"v"), s.get("k")), (0, b"v"))
    eq(e.initialize("127.0.0.1", P2P, "tcp", ""), 0, "the stores keep the engine they were given")
    del e
    eq((t.put("k", b"v"), t.get("k"), s.get("k")), (0, b"v", b"v"))
    eq((s.close(), t.close()), (0, 0))
    raises(TypeError, s.setup, *args, TransferEngine(), text="engine")


def test_initialize_at_once():
    def fds():
        return len(os.listdir("/proc/self/fd"))
    e = TransferEngine()
    engine()
    before = fds()
    ts = [threading.Thread(target=e.initialize, args=("127.0.0.1", P2P, "tcp", "")) for _ in range(4)]
    for t in ts:
        t.start()
    for t in ts:
        t.join(20)
    assert e.get_rpc_port()
    del e
    tap.until(lambda: fds() <= before, what="descriptors of the engines that lost")


def test_leaks():
    def count():
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    with Peer() as p:
        e = engine()
        m = Memory()

        def cycle(n):
            for _ in range(n):
                e.register_memory(m.ptr, SIZE)
                e.transfer_sync_read(p.name, m.ptr, p.addr, 64)
                e.get_batch_transfer_status([e.batch_transfer_async_write(p.name, [m.ptr] * 4, [p.addr] * 4, [8] * 4)])
                e.unregister_memory(m.ptr)
                e.transfer_sync_read("127.0.0.1:1", m.ptr, p.addr, 64)
        cycle(50)
        before, rss = count(), tap.rss()
        cycle(300)
        eq(count(), before)
        assert tap.rss() - rss < 1 << 20, tap.rss() - rss
        del e
        for _ in range(3):
            engine()
        assert count() < before, (count(), before)


FORK = """
import ctypes, os, sys
from mooncake.engine import TransferEngine
e = TransferEngine()
assert e.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", "") == 0
b = ctypes.create_string_buffer(64)
pid = os.fork()
if pid == 0:
    assert e.register_memory(ctypes.addressof(b), 64) < 0
    assert e.transfer_sync_read("127.0.0.1:1", ctypes.addressof(b), 1, 8) == -1
    assert e.send_probe("127.0.0.1:1") < 0 and e.get_notifies() == []
    f = TransferEngine()
    assert f.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", "") == 0 and f.register_memory(ctypes.addressof(b), 64) == 0
    sys.exit(7)
_, status = os.waitpid(pid, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
assert e.register_memory(ctypes.addressof(b), 64) == 0
"""


def test_fork_and_exit():
    tap.not_under("thread", "it cannot follow threads that begin in a fork of threads")
    rc, out, err = tap.python(FORK)
    eq((rc, out), (0, ""), err)
    code = "from mooncake.engine import TransferEngine as T\ne = T(); assert e.initialize('127.0.0.1', 'P2PHANDSHAKE', 'tcp', '') == 0"
    start = time.monotonic()
    eq(tap.python(code), (0, "", ""))
    assert time.monotonic() - start < 5


BUSY = """
import ctypes, threading
from mooncake.engine import TransferEngine
e, f = TransferEngine(), TransferEngine()
for x in (e, f): assert x.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", "") == 0
b = ctypes.create_string_buffer(1 << 20)
p = ctypes.addressof(b)
e.register_memory(p, 1 << 20)
name = f"127.0.0.1:{e.get_rpc_port()}"
started = threading.Semaphore(0)
def loop():
    c = ctypes.create_string_buffer(1 << 20)
    q = ctypes.addressof(c)
    while True:
        f.transfer_sync_read(name, q, p, 1 << 20)
        f.get_batch_transfer_status([f.batch_transfer_async_read(name, [q], [p], [1000])])
        started.release()
for _ in range(3): threading.Thread(target=loop, daemon=True).start()
for _ in range(6): started.acquire()
"""


def test_exit_while_daemon_threads_transfer():
    for _ in range(3):
        eq(tap.python(BUSY, timeout=10), (0, "", ""))


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
