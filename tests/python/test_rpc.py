#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""RpcInterface: bytes and tensors from one process's call to another's callback."""
import asyncio
import os
import pickle
import socket
import struct
import sys
import threading
import time

import tap
from tap import eq, raises

from mooncake import engine
from mooncake.engine import RpcInterface, create_rpc_client, create_rpc_server


class Server:
    """Keeps what it gets."""

    def __enter__(self):
        self.got, self.tensors = [], []
        self.rpc = RpcInterface()
        self.addr = f"127.0.0.1:{tap.free_port()}"
        eq(self.rpc.initialize_server(self.addr, 4, 5), True)
        self.rpc.set_data_receive_callback(self.got.append)
        eq(self.rpc.start_server_async(), True)
        return self

    def __exit__(self, *_):
        self.rpc.stop_server()


def client(**kw):
    c = RpcInterface()
    eq(c.initialize_client(**kw), True)
    return c


def test_data():
    with Server() as s:
        c = create_rpc_client(3, 4)
        for n in (0, 1, 100, 1 << 20, 20 << 20):
            eq(c.send_data(s.addr, os.urandom(16) * (n // 16) + b"x" * (n % 16)), 0)
        eq(c.send_data(s.addr, bytearray(b"abc")), 0)
        eq([len(g["data"]) for g in s.got], [0, 1, 100, 1 << 20, 20 << 20, 3])
        assert all(set(g) == {"source", "data"} and type(g["data"]) is bytes and g["source"].startswith("127.0.0.1:") for g in s.got)
        eq(len({g["source"] for g in s.got}), 1, "one connection for all")
        d = engine.ReceivedData("a:1", b"xyz")
        eq((d.source_address, d.data_size, d.get_bytes(), bytes(d.get_memory_view())), ("a:1", 3, b"xyz", b"xyz"))


def test_not_there():
    c = client(timeout_seconds=2)
    for addr in (f"127.0.0.1:{tap.free_port()}", "nobody", "127.0.0.1:x", "127.0.0.1:99999", ""):
        eq(c.send_data(addr, b"x"), -1, addr)
    eq(RpcInterface().send_data("127.0.0.1:1", b"x"), -1, "not initialized")
    raises(TypeError, c.send_data, "127.0.0.1:1", "text")
    r = RpcInterface()
    eq((r.start_server(), r.start_server_async(), r.initialize_server("nowhere")), (False, False, False))
    r.stop_server()
    with Server() as s:
        eq(r.initialize(s.addr), True)
        eq(r.start_server_async(), False, "the address is taken")
        eq(s.rpc.start_server_async(), False, "it runs")


def test_restart():
    """A kept connection of a server that ended is no failure."""
    with Server() as s:
        c = client()
        eq(c.send_data(s.addr, b"1"), 0)
        s.rpc.stop_server()
        eq(c.send_data(s.addr, b"2"), -1)
        tap.until(s.rpc.start_server_async, what="the port")
        eq(c.send_data(s.addr, b"3"), 0)
        eq([g["data"] for g in s.got], [b"1", b"3"])


def test_callback_fails():
    with Server() as s:
        def fail(_):
            raise ValueError("on purpose")
        s.rpc.set_data_receive_callback(fail)
        c = client()
        sys.stderr, err = open(os.devnull, "w"), sys.stderr
        try:
            eq(c.send_data(s.addr, b"x"), -1)
        finally:
            sys.stderr.close()
            sys.stderr = err
        s.rpc.set_data_receive_callback(s.got.append)
        eq((c.send_data(s.addr, b"y"), len(s.got)), (0, 1))


def test_tensors():
    try:
        import numpy
    except ImportError:
        tap.skip("numpy is not installed")
    with Server() as s:
        c = client()
        t = numpy.arange(12, dtype=numpy.float32).reshape(3, 4)
        eq(c.send_tensor(s.addr, t), 0)
        eq(s.got.pop()["data"][40:], t.tobytes(), "no callback of their own: as bytes")
        s.rpc.set_tensor_receive_callback(s.tensors.append)
        for i, name in enumerate(("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"), 1):
            a = numpy.ones((2, 3), name)
            eq(c.send_tensor(s.addr, a), 0, name)
            r = s.tensors.pop()
            eq((r.dtype, r.shape, r.total_bytes, r.get_data_size()), (name, [2, 3], 0, 40 + a.nbytes))
            eq(r.get_data_as_bytes(), struct.pack("<II4q", i, 2, 2, 3, 0, 0) + a.tobytes())
            eq(bytes(r.get_memory_view()), r.get_data_as_bytes())
        eq(c.send_tensor(s.addr, numpy.zeros(0, "int8")), 0)
        eq(c.send_tensor(s.addr, numpy.array(3, numpy.float32)), 0)
        for bad in (numpy.zeros((1,) * 5), numpy.zeros(2, "uint16"), "text", None, [1]):
            eq(c.send_tensor(s.addr, bad), -1)
        eq(c.send_data(s.addr, struct.pack("<II4q", 1, 1, 0, 0, 0, 0)), 0)
        eq((len(s.tensors), len(s.got)), (2, 1), "bytes that look like a tensor are bytes")


def test_async():
    async def body(addr):
        loop, c = asyncio.get_running_loop(), client(timeout_seconds=2)
        eq(await asyncio.gather(*[c.send_data_async(addr, b"%d" % i, loop) for i in range(200)]), [0] * 200)
        try:
            await c.send_data_async(f"127.0.0.1:{tap.free_port()}", b"x", loop)
            raise AssertionError("no error")
        except RuntimeError:
            pass
        f = c.send_data_async(addr, b"cancelled", loop)
        f.cancel()
        await asyncio.sleep(0)
    with Server() as s:
        asyncio.run(body(s.addr))
        tap.until(lambda: len(s.got) == 201, what="all messages")
        eq({g["data"] for g in s.got} - {b"cancelled"}, {b"%d" % i for i in range(200)})


def test_hostile_bytes():
    """Nothing is unpickled, no memory is made for a length that does not come, and others are served on."""
    class Trap:
        def __reduce__(self):
            return os._exit, (3,)
    with Server() as s:
        c = client()
        eq(c.send_data(s.addr, pickle.dumps(Trap())), 0)
        host, port = s.addr.split(":")
        for junk in (b"GET / HTTP/1.0\r\n\r\n" * 3, struct.pack("<4sB3xQ", b"MCRP", 1, 1 << 62), struct.pack("<4sB3xQ", b"MCRP", 9, 1),
                     struct.pack("<4sB3xQ", b"MCRP", 2, 4) + b"1234", struct.pack("<4sB3xQ", b"MCRP", 2, 40) + b"\xff" * 40):
            with socket.create_connection((host, int(port)), 5) as j:
                j.sendall(junk)
                j.settimeout(5)
                answer = j.recv(64)
                assert answer in (b"", struct.pack("<q", -1)), answer
        eq(c.send_data(s.addr, b"still"), 0)


def test_blocking_server_and_threads():
    addr = f"127.0.0.1:{tap.free_port()}"
    r = RpcInterface()
    eq(r.initialize(addr, 2, 5, 10), True)
    got = []
    r.set_data_receive_callback(lambda m: got.append(m["data"]))
    ended = []
    t = threading.Thread(target=lambda: ended.append(r.start_server()), daemon=True)
    t.start()
    tap.until(lambda: tap.connects(int(addr.split(":")[1])), what="the server")
    senders = [threading.Thread(target=lambda: [r.send_data(addr, b"x") for _ in range(50)]) for _ in range(4)]
    for x in senders:
        x.start()
    for x in senders:
        x.join(20)
    eq(len(got), 200)
    start = time.monotonic()
    r.stop_server()
    t.join(5)
    eq(ended, [True])
    assert time.monotonic() - start < 5
    eq(create_rpc_server(0, 1)._listen, ("0.0.0.0", 8080))
    assert engine.CoroRPCInterface is RpcInterface


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
