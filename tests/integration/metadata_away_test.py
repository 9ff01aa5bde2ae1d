#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each metadata service killed, stopped and started again in the middle: who knows each other goes on, who does not is told in time."""
import ctypes
import os
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "python")]
import tap
from services import Engine, Etcd, Metadata, PythonMetadata, Redis, exchange
from tap import eq, until

ERR_SOCKET = -102
OPEN_S = 10  # limit of an open


class CEngine:
    """An engine by upstream's C interface, whose codes say why."""
    lib = None

    def __init__(self, name, meta):
        if not CEngine.lib:
            lib = CEngine.lib = ctypes.CDLL(os.path.join(tap.BUILD, "lib", "libtransfer_engine.so"))
            lib.createTransferEngine.restype = ctypes.c_void_p
            lib.createTransferEngine.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_int]
            lib.destroyTransferEngine.argtypes = [ctypes.c_void_p]
            lib.openSegment.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self.e = self.lib.createTransferEngine(meta.encode(), name.encode(), b"127.0.0.1", 0, 0)

    def open(self, name):
        return self.lib.openSegment(self.e, name.encode())

    def close(self):
        self.lib.destroyTransferEngine(self.e)


def refused(engine, name, within):
    began = time.monotonic()
    eq(engine.open(name), ERR_SOCKET)
    took = time.monotonic() - began
    assert took < within, f"an open took {took:.1f} s"


def in_the_middle(service):
    """@service keeps its port; whether it keeps its data is its own affair."""
    a, b, c = Engine("a", service.meta), Engine("b", service.meta), CEngine("c", service.meta)
    eq((a.started, b.started, c.e is not None), (0, 0, True))
    exchange(a, b, 1)
    exchange(b, a, 2)

    service.stop(signal.SIGKILL)
    exchange(a, b, 3)
    exchange(b, a, 4)
    refused(c, "b", 3)
    eq(CEngine("d", service.meta).e, None)
    service.start()
    until(lambda: c.open("b") > 0, 15, "the peer is found again")
    d = Engine("d", service.meta)
    eq(d.started, 0)
    until(lambda: c.open("a") > 0, 15, "the other peer is found again")
    exchange(d, a, 5)
    exchange(a, d, 6)

    tap.freeze(service.p)  # takes connections and says nothing
    exchange(a, b, 7)
    refused(c, "d", OPEN_S + 1)
    service.p.send_signal(signal.SIGCONT)
    until(lambda: c.open("d") > 0, 15, "a peer is found again")
    exchange(d, b, 8)
    exchange(b, d, 9)
    c.close()
    del a, b, d
    service.stop()


def test_etcd_in_the_middle():
    with tap.tempdir() as dir:
        in_the_middle(Etcd(dir))


def test_redis_in_the_middle():
    with tap.tempdir() as dir:
        in_the_middle(Redis(dir))


def test_our_metadata_in_the_middle():
    in_the_middle(Metadata())


def test_our_metadata_with_a_file_in_the_middle():
    with tap.tempdir() as dir:
        in_the_middle(Metadata(os.path.join(dir, "kept.json")))


def test_upstreams_python_metadata_in_the_middle():
    in_the_middle(PythonMetadata())


def test_etcd_comes_back_empty_in_the_middle():
    with tap.tempdir() as dir:
        etcd = Etcd(dir)
        a = Engine("a", etcd.meta)
        eq(a.started, 0)
        before = etcd.keys()
        etcd.stop()
        etcd.start(blank=True)
        until(lambda: etcd.keys() == before, 15, "keys written again")
        b = Engine("b", etcd.meta)
        exchange(b, a, 1)
        etcd.stop()


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
