#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The sequences of calls that three inference engines make, without their tensors: what each relies on (python-store.md 19)."""
import ctypes
import sys
import threading

import tap
from store_rig import MB, Memory, Nodes, opened
from tap import eq

from mooncake.engine import TransferEngine
from mooncake.store import MooncakeDistributedStore, ReplicateConfig

P2P = "P2PHANDSHAKE"


def cluster(f):
    """f(address of the master): two nodes own the memory."""
    def run():
        with Nodes() as c:
            f(c.master.addr)
    run.__name__ = f.__name__
    return run


@cluster
def test_vllm_store_connector(master):
    """Layers of one block lie apart: each key is a list of pieces of one large registered cache."""
    store = MooncakeDistributedStore()
    ret = store.setup("127.0.0.1", P2P, 0, 16 * MB, "tcp", "", master)
    eq(ret, 0)
    layers, blocks, page = 8, 16, 4096
    cache = [Memory(blocks * page) for _ in range(layers)]
    for layer in cache:
        eq(store.register_buffer(layer.ptr, layer.size), 0)
    config = ReplicateConfig()
    config.preferred_segment = store.get_hostname()
    keys = [f"model@tp0@block-{i:032x}" for i in range(blocks)]
    eq([r == 1 for r in store.batch_is_exist(keys)], [False] * blocks)
    for n, layer in enumerate(cache):
        for b in range(blocks):
            ctypes.memset(layer.ptr + b * page, 16 * n + b & 255, page)
    want = [bytes(layer.buf.raw) for layer in cache]
    ptrs = [[layer.ptr + b * page for layer in cache] for b in range(blocks)]
    sizes = [[page] * layers] * blocks
    ret = store.batch_put_from_multi_buffers(keys[:10], ptrs[:10], sizes[:10], config)
    assert len(ret) == 10 and not any(r < 0 for r in ret), ret
    eq(store.batch_put_from_multi_buffers(keys, ptrs, sizes, config), [0] * blocks, "some are there already")
    prefix = 0
    for r in store.batch_is_exist(keys + ["model@tp0@block-missing"]):
        if r != 1:
            break
        prefix += 1
    eq(prefix, blocks)
    for layer in cache:
        ctypes.memset(layer.ptr, 255, layer.size)
    got = store.batch_get_into_multi_buffers(keys + ["missing"], ptrs + ptrs[:1], sizes + sizes[:1])
    eq(got[:-1], [layers * page] * blocks)
    assert got[-1] < 0
    assert [bytes(layer.buf.raw) for layer in cache] == want, "the bytes that were stored"
    eq(store.remove_all(force=True), blocks)
    eq(store.batch_is_exist(keys), [0] * blocks)
    eq(store.close(), 0)


def test_vllm_pool_pressure():
    """-200 when what may not be evicted leaves no room; unpinned puts go on."""
    with opened(pool=16 * MB) as store:
        pinned = ReplicateConfig()
        pinned.with_hard_pin = True
        m = Memory(MB, 1)
        codes = [store.batch_put_from_multi_buffers([f"pin{i}"], [[m.ptr]], [[MB]], pinned)[0] for i in range(24)]
        assert -200 in codes and set(codes) <= {0, -200}, codes
        eq(codes[0], 0)
        for i, code in enumerate(codes):
            if code == 0:
                eq(store.get_into(f"pin{i}", m.ptr, MB), MB, "a put that reported success is there")
        store.remove_all(True)
        for i in range(64):
            eq(store.put_from(f"k{i}", m.ptr, MB), 0, "eviction makes room")


def sglang_setup(store, args, kwargs):
    """Newer keywords are dropped one by one when a TypeError names them."""
    dropped = []
    while True:
        try:
            return store.setup(*args, **kwargs), dropped
        except TypeError as e:
            word = next((k for k in kwargs if k in str(e)), None)
            if word is None:
                raise
            dropped.append(word)
            kwargs.pop(word)


@cluster
def test_sglang_hicache(master):
    store, engine = MooncakeDistributedStore(), TransferEngine()
    eq(engine.initialize("127.0.0.1", P2P, "tcp", ""), 0)
    ret, dropped = sglang_setup(
        store, ("127.0.0.1", P2P, 0, 16 * MB, "tcp", "", master, engine.get_engine()),
        {"enable_ssd_offload": False, "ssd_offload_path": "", "tenant_id": "default", "enable_client_http_server": False,
         "client_http_port": 9300, "a_keyword_of_next_year": 1})
    eq((ret, dropped), (0, ["a_keyword_of_next_year"]))
    assert hasattr(ReplicateConfig, "group_ids")
    warm = "sglang_mooncake_store_warmup_key"
    value = bytes(4096)
    eq(store.put(warm, value), 0)
    eq(store.is_exist(warm), 1)
    eq(store.get(warm), value)
    pages, size = 32, 8192
    host = Memory(2 * pages * size)
    eq(store.register_buffer(host.ptr, host.size), 0)
    hashes = [f"{i:064x}" for i in range(pages)]
    keys = [f"{h}_0_{part}" for h in hashes for part in "kv"]
    ptrs = [host.ptr + i * size for i in range(len(keys))]
    for i, p in enumerate(ptrs):
        ctypes.memset(p, i % 251 + 1, size)
    saved = host.buf.raw
    exist = store.batch_is_exist(keys)
    todo = [i for i, e in enumerate(exist) if e != 1]
    eq(len(todo), len(keys))
    config = ReplicateConfig()
    config.group_ids = [keys[i][:64] for i in todo]
    eq(store.batch_put_from([keys[i] for i in todo], [ptrs[i] for i in todo], [size] * len(todo), config), [0] * len(keys))
    eq(store.batch_put_from(keys, ptrs, [size] * len(keys)), [0] * len(keys), "again, without a config")
    ctypes.memset(host.ptr, 0, host.size)
    got = store.batch_get_into(keys, ptrs, [size] * len(keys))
    assert all(g > 0 for g in got), got
    assert host.buf.raw == saved
    store.remove_all()
    eq(store.batch_is_exist(keys[:2]), [1, 1], "read lately: still leased")
    store.close()


@cluster
def test_lmcache_connector(master):
    stores = []
    for _ in range(2):
        s = MooncakeDistributedStore()
        s.setup("127.0.0.1", P2P, 0, 32 * MB, "tcp", "", master)
        stores.append(s)
    a, b = stores
    assert a.get_hostname() != b.get_hostname(), "each client has a name of its own"
    config = ReplicateConfig()
    config.replica_num = 1
    config.preferred_segment = a.get_hostname()
    pool = Memory(4 * MB, 9)
    eq(a.register_buffer(pool.ptr, pool.size), 0)
    eq(a.put_from("lm@chunk-0", pool.ptr, 3 * MB, config), 0)
    meta, data = b"M" * 28, memoryview(bytearray(b"\5" * MB))
    eq(a.put_parts("lm@chunk-1", meta, data), 0)
    assert b.is_exist("lm@chunk-0") and b.is_exist("lm@chunk-1") and not b.is_exist("lm@chunk-2")
    out = Memory(4 * MB)
    eq(b.register_buffer(out.ptr, out.size), 0)
    got = b.batch_get_into(["lm@chunk-0", "lm@chunk-2"], [out.ptr, out.ptr + 3 * MB], [3 * MB, MB])
    eq(got[0], 3 * MB)
    assert got[1] <= 0
    assert out.buf.raw == b"\x09" * (3 * MB) + bytes(MB)
    handles = b.batch_get_buffer(["lm@chunk-1", "lm@chunk-2"])
    eq(handles[1], None)
    view = memoryview(handles[0])
    assert not view.readonly and view[:28] == meta and view[28:] == data
    (ctypes.c_char * len(view)).from_buffer(view)  # as torch.frombuffer: a writable export
    eq(b.unregister_buffer(out.ptr), 0)
    eq(a.unregister_buffer(pool.ptr), 0)
    eq([s.close() for s in stores], [0, 0])


@cluster
def test_many_threads_of_one_connector(master):
    """Look up, load, store from a pool of threads; every byte is checked."""
    store = opened(master, pool=0)
    wrong = []

    def work(n):
        m = Memory(65536)
        for i in range(40):
            key, fill = f"t{(n * 7 + i) % 60}", (n * 7 + i) % 60 + 1
            if store.is_exist(key) != 1:
                ctypes.memset(m.ptr, fill, m.size)
                if store.put_from(key, m.ptr, m.size) != 0:
                    wrong.append(("put", key))
            ctypes.memset(m.ptr, 0, m.size)
            if store.get_into(key, m.ptr, m.size) != m.size or m.buf.raw != bytes([fill]) * m.size:
                wrong.append(("get", key))

    ts = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(6)]
    for t in ts:
        t.start()
    for t in ts:
        t.join(20)
        assert not t.is_alive()
    store.close()
    eq(wrong, [])


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
