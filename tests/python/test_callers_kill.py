#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The sequences of calls of four callers while one of two nodes is killed: hits become misses, and nothing raises (python-store.md 19)."""
import ctypes
import signal
import struct
import sys
import threading

import tap
from store_rig import MB, Memory, Nodes, node
from tap import eq

from mooncake.engine import TransferEngine
from mooncake.store import MooncakeDistributedStore, ReplicateConfig

P2P = "P2PHANDSHAKE"
PAGE = 8192


class Caller:
    """save(keys) stores what pattern() says; load(keys) gives those that were there, each checked."""

    def __init__(self, master):
        self.store = MooncakeDistributedStore()
        eq(self.setup(master), 0)

    def setup(self, master):
        return self.store.setup("127.0.0.1", P2P, 0, 64 * MB, "tcp", "", master)

    def close(self):
        eq(self.store.close(), 0)


def pattern(key):
    return bytes([sum(key.encode()) % 255 + 1]) * PAGE


class Vllm(Caller):
    """Blocks whose layers lie apart."""

    layers = 4

    def __init__(self, master):
        super().__init__(master)
        self.cache = [Memory(256 * PAGE // self.layers) for _ in range(self.layers)]
        for c in self.cache:
            eq(self.store.register_buffer(c.ptr, c.size), 0)
        self.config = ReplicateConfig()
        self.config.preferred_segment = self.store.get_hostname()

    def lists(self, keys):
        n = PAGE // self.layers
        return [[c.ptr + i * n for c in self.cache] for i in range(len(keys))], [[n] * self.layers for _ in keys]

    def save(self, keys):
        todo = [k for k, e in zip(keys, self.store.batch_is_exist(keys)) if e != 1]
        ptrs, sizes = self.lists(todo)
        for k, where in zip(todo, ptrs):
            for p in where:
                ctypes.memmove(p, pattern(k), PAGE // self.layers)
        res = self.store.batch_put_from_multi_buffers(todo, ptrs, sizes, self.config) if todo else []
        eq(len(res), len(todo))
        return [k for k, r in zip(todo, res) if r < 0]

    def load(self, keys):
        ptrs, sizes = self.lists(keys)
        got = self.store.batch_get_into_multi_buffers(keys, ptrs, sizes)
        for k, g, where in zip(keys, got, ptrs):
            if g >= 0:
                assert g == PAGE and b"".join(ctypes.string_at(p, PAGE // self.layers) for p in where) == pattern(k), k
        desc = self.store.batch_get_replica_desc(keys)
        for ds in map(desc.get, keys):
            assert ds is None or all(d.is_memory_replica() and not d.is_disk_replica() and not d.is_local_disk_replica() for d in ds)
        return {k for k, g in zip(keys, got) if g >= 0}


class Sglang(Caller):
    """Pages of one registered host pool, with an engine that is shared."""

    def setup(self, master):
        self.engine = TransferEngine()
        eq(self.engine.initialize("127.0.0.1", P2P, "tcp", ""), 0)
        ret = self.store.setup("127.0.0.1", P2P, 0, 64 * MB, "tcp", "", master, self.engine.get_engine(), enable_ssd_offload=False,
                               ssd_offload_path="", tenant_id="default", enable_client_http_server=False, client_http_port=9300)
        eq((self.store.put("warm", bytes(4096)), self.store.is_exist("warm"), self.store.get("warm")), (0, 1, bytes(4096)))
        self.host = Memory(256 * PAGE)
        eq(self.store.register_buffer(self.host.ptr, self.host.size), 0)
        return ret

    def lists(self, keys):
        return [self.host.ptr + i * PAGE for i in range(len(keys))], [PAGE] * len(keys)

    def save(self, keys):
        todo = [k for k, e in zip(keys, self.store.batch_is_exist(keys)) if e != 1]
        ptrs, sizes = self.lists(todo)
        for k, p in zip(todo, ptrs):
            ctypes.memmove(p, pattern(k), PAGE)
        config = ReplicateConfig()
        config.group_ids = list(todo)
        return [k for k, r in zip(todo, self.store.batch_put_from(todo, ptrs, sizes, config)) if r != 0]

    def load(self, keys):
        ptrs, sizes = self.lists(keys)
        got = self.store.batch_get_into(keys, ptrs, sizes)
        for k, g, p in zip(keys, got, ptrs):
            if g > 0:
                assert g == PAGE and ctypes.string_at(p, PAGE) == pattern(k), k
        return {k for k, g in zip(keys, got) if g > 0}


class Lmcache(Caller):
    """Some objects as metadata and bytes, some from registered memory; buffers of the library for reading."""

    def save(self, keys):
        config = ReplicateConfig()
        config.replica_num = 1
        bad = []
        m = Memory(PAGE)
        eq(self.store.register_buffer(m.ptr, m.size), 0)
        for i, k in enumerate(keys):
            if i % 2:
                ctypes.memmove(m.ptr, pattern(k), PAGE)
                ret = self.store.put_from(k, m.ptr, PAGE, config)
            else:
                ret = self.store.put_parts(k, pattern(k)[:28], memoryview(bytearray(pattern(k)[28:])))
            if ret:
                bad.append(k)
        eq(self.store.unregister_buffer(m.ptr), 0)
        return bad

    def load(self, keys):
        handles = self.store.batch_get_buffer(keys)
        there = {k for k, h in zip(keys, handles) if h is not None}
        for k, h in zip(keys, handles):
            if h is not None:
                view = memoryview(h)
                assert not view.readonly and view == pattern(k), k
        for k in keys:
            assert isinstance(self.store.is_exist(k), int)
        return there


class TransferQueue(Caller):
    """Tensors in batches of up to 500, everything else as bytes; removed one by one when a step is done."""

    def __init__(self, master):
        super().__init__(master)
        try:
            import numpy
        except ImportError:
            numpy = None
        self.numpy = numpy

    def save(self, keys):
        half, rest = self.halves(keys)
        bad = []
        if half:
            assert len(half) <= 500
            res = self.store.batch_put_tensor(half, [self.numpy.frombuffer(pattern(k), "float32") for k in half])
            bad += [k for k, r in zip(half, res) if r]
        if rest and self.store.put_batch(rest, [struct.pack("<I", len(k)) + pattern(k) for k in rest]):
            bad += rest
        return bad

    def load(self, keys):
        half, rest = self.halves(keys)
        there = set()
        for k, t in zip(half, self.store.batch_get_tensor(half) if half else []):
            if t is not None:
                assert bytes(memoryview(t.numpy() if hasattr(t, "numpy") else t).cast("B")) == pattern(k), k
                there.add(k)
        for k, v in zip(rest, self.store.get_batch(rest)):
            if v:
                assert v[4:] == pattern(k), k
                there.add(k)
        return there

    def halves(self, keys):
        """Tensors, and everything else: by the key, so that a key stays what it is."""
        half = [k for k in keys if self.numpy and sum(k.encode()) % 2]
        return half, [k for k in keys if k not in set(half)]

    def clear(self, keys):
        return [self.store.remove(k, True) for k in keys]


def saved(caller, keys):
    """All of them, in the end: what a node that was killed held is stored anew."""
    left = list(keys)

    def more():
        nonlocal left
        left = caller.save(left)
        return not left
    tap.until(more, what="room at the nodes that are left")


def killed(kind):
    """Save, load, kill, load, save again, load; then a node that comes back."""
    def test():
        with Nodes() as c:
            caller = kind(c.master.addr)
            keys = [f"{kind.__name__}-{i:04x}" for i in range(128)]
            eq(caller.save(keys), [])
            eq(caller.load(keys), set(keys))
            eq(caller.load(["missing-1", "missing-2"]), set())
            during, stop, raised = [], threading.Event(), []

            def go_on():
                try:
                    while not stop.is_set():
                        during.append(len(caller.load(keys)))
                except BaseException as e:
                    raised.append(e)
            t = threading.Thread(target=go_on, daemon=True)
            t.start()
            tap.until(lambda: during, what="a load")
            c.nodes[0].stop(signal.SIGKILL)
            tap.until(lambda: raised or during[-1] < len(keys), what="misses")
            stop.set()
            t.join(20)
            eq(raised, [])
            assert not t.is_alive() and max(during) == len(keys)
            left = caller.load(keys)
            assert 0 < len(left) < len(keys), f"{len(left)} of {len(keys)} are on the other node"
            saved(caller, [k for k in keys if k not in left])
            eq(caller.load(keys), set(keys), "stored anew")
            with node(c.master, c.nodes[0].port):
                more = [f"{kind.__name__}-more-{i}" for i in range(128)]
                eq((caller.save(more), caller.load(more)), ([], set(more)))
                if kind is TransferQueue:
                    eq((set(caller.clear(more)), caller.load(more)), ({0}, set()))
            c.master.stop(signal.SIGKILL)
            assert len(caller.load(keys)) <= len(keys)
            eq(caller.load([f"never-{i}" for i in range(4)]), set())
            assert caller.save([f"late-{i}" for i in range(4)]) == [f"late-{i}" for i in range(4)] or kind is TransferQueue
            caller.close()
    return test


test_vllm, test_sglang, test_lmcache, test_transfer_queue = map(killed, (Vllm, Sglang, Lmcache, TransferQueue))


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
