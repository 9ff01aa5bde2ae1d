#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What each call of the store does, in one process alone (embedded) and with a master and another process that owns the memory."""
import ctypes
import gc
import os
import sys
import threading
import time
import warnings
import weakref

import tap
from tap import eq, raises, skip

from mooncake.store import MooncakeDistributedStore, ReplicateConfig, SoftPinAction

MB = 1 << 20


def opened(master="embedded", pool=64 * MB, local=16 * MB, host="127.0.0.1", **kw):
    s = MooncakeDistributedStore()
    eq(s.setup(host, "P2PHANDSHAKE", pool, local, "tcp", "", master, **kw), 0, f"setup ({s.last_error()})")
    return s


class Memory:
    def __init__(self, size, fill=0):
        self.buf = ctypes.create_string_buffer(bytes([fill]) * size, size)
        self.ptr, self.size = ctypes.addressof(self.buf), size

    def __getitem__(self, i):
        return self.buf.raw[i]


PROVIDER = """
import sys
from mooncake.store import MooncakeDistributedStore
s = MooncakeDistributedStore()
ret = s.setup("127.0.0.1", "P2PHANDSHAKE", 64 << 20, 1 << 20, "tcp", "", sys.argv[1])
print(ret, flush=True)
sys.stdin.read()
s.close()
"""


class Cluster:
    """A master, a process that owns 64 MiB, and a store here that owns nothing."""

    def __enter__(self):
        self.master = tap.master()
        self.provider = None
        try:
            self.provider = tap.Daemon([sys.executable, "-c", PROVIDER, self.master.addr])
            eq(self.provider.first, "0", f"provider's setup ({self.provider.errors()})")
            return opened(self.master.addr, pool=0)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.provider:
            self.provider.stop()
        self.master.stop()


def both(f):
    """The same checks where the memory is ours and where it is another process's."""
    def embedded():
        with opened() as s:
            f(s)

    def remote():
        with Cluster() as s:
            try:
                f(s)
            finally:
                s.close()
    globals()[f"test_{f.__name__}_embedded"], globals()[f"test_{f.__name__}_with_master"] = embedded, remote


# ---- bytes (python-store.md 5)


def put_and_get(s):
    eq(s.put("a", b"one"), 0)
    eq(s.get("a"), b"one")
    eq(s.put("a", b"another"), 0, "an existing key is success")
    eq(s.get("a"), b"one", "and is not replaced")
    eq(s.get(b"a"), b"one", "bytes and str name the same key")
    eq(s.get("missing"), b"")
    eq(s.put("empty", b""), -600)
    eq(s.is_exist("empty"), 0)
    eq(s.put("", b"x"), -600)
    eq(s.put("x" * 4097, b"x"), -600)
    eq(s.put("x" * 4096, b"x"), 0)
    eq(s.put("big", bytes(17 * MB)), -600, "larger than local_buffer_size")
    eq(s.get_size("a"), 3)
    eq(s.get_size("missing"), -704)
    for i, v in enumerate((bytearray(b"xyz"), memoryview(b"xyz"))):
        eq(s.put(f"v{i}", v), 0)
        eq(s.get(f"v{i}"), b"xyz")
    wide = memoryview(bytes(range(16))).cast("I")
    eq(s.put("wide", wide), 0)
    eq(s.get("wide"), bytes(range(16)), "all bytes, not one per item")
    raises(BufferError, s.put, "holes", memoryview(b"abcdef")[::2])


both(put_and_get)


def parts(s):
    eq(s.put_parts("p", b"a", bytearray(b"bc"), memoryview(b"def")), 0)
    eq(s.get("p"), b"abcdef")
    eq(s.put_parts("none"), 0)
    eq(s.put_parts("none", b"", b""), 0)
    eq(s.is_exist("none"), 0, "no bytes: no object")
    eq(s.put_parts("kw", b"x", config=ReplicateConfig()), 0)
    eq(s.put_parts(key="none", config=ReplicateConfig()), 0)
    raises(RuntimeError, s.put_parts, "w", memoryview(bytes(8)).cast("I"), text="parts must be 1-D bytes-like")
    raises(RuntimeError, s.put_parts, "w", memoryview(bytes(4)).cast("B", (2, 2)), text="1-D")
    raises(TypeError, s.put_parts, "w", b"x", conf=1, text="conf")
    raises(TypeError, s.put_parts, "w", b"x", key="w", text="twice")
    eq(s.upsert_parts("p", b"new"), 0)
    eq(s.get("p"), b"new")
    eq(s.upsert_parts("p", b""), 0)
    eq(s.get("p"), b"new")


both(parts)


def batches(s):
    eq(s.put_batch(["a", "b"], [b"1", b"22"]), 0)
    eq(s.get_batch(["a", "x", "b"]), [b"1", b"", b"22"])
    eq(s.put_batch([], []), 0)
    eq(s.put_batch(["c", "d"], [b"1", b""]), -600)
    eq(s.batch_is_exist(["c", "d", "a"]), [0, 0, 1], "nothing was sent")
    eq(s.put_batch(["c"], [b"1", b"2"]), -600)
    eq(s.put_batch(["c", ""], [b"1", b"2"]), -600, "one bad key")
    eq(s.is_exist("c"), 1, "the others may be stored")
    eq(s.put_batch(["twice", "twice"], [b"first", b"second"]), 0)
    eq(s.get("twice"), b"first")
    eq(s.get_batch([]), [b""])
    eq(s.batch_get_buffer([]), [])
    eq([h and bytes(h) for h in s.batch_get_buffer(["a", "x", "b"])], [b"1", None, b"22"])
    eq(s.get_batch(("a", b"b")), [b"1", b"22"])
    eq(s.upsert_batch(["a", "new"], [b"A", b"N"]), 0)
    eq(s.get_batch(["a", "new"]), [b"A", b"N"])
    raises(TypeError, s.put_batch, [1], [b"x"], text="keys")
    raises(TypeError, s.put_batch, ["k"], ["text"], text="value")


both(batches)


def upsert(s):
    eq(s.upsert("u", b"one"), 0)
    eq(s.upsert("u", b"two"), 0)
    eq(s.get("u"), b"two")
    eq(s.upsert("u", b"longer than before"), 0)
    eq(s.get("u"), b"longer than before")
    eq(s.upsert("u", b""), -600)
    m = Memory(4, 7)
    eq(s.upsert_from("u", m.ptr, 4), 0)
    eq(s.get("u"), b"\7" * 4)
    eq(s.batch_upsert_from(["u", "w"], [m.ptr, m.ptr], [2, 3]), [0, 0])
    eq(s.get_batch(["u", "w"]), [b"\7" * 2, b"\7" * 3])


both(upsert)


def handles(s):
    value = bytes(range(256)) * 16
    s.put("h", value)
    h = s.get_buffer("h")
    eq((len(h), h.size(), bytes(h)), (4096, 4096, value))
    view = memoryview(h)
    eq((view.readonly, view.itemsize, view.ndim, view.nbytes), (False, 1, 1, 4096))
    eq(ctypes.string_at(h.ptr(), 4096), value)
    eq(s.get_buffer("missing"), None)
    view[0] = 99
    eq(s.get("h"), value, "what a reader does to its copy is its own")
    del h
    eq(view[1], 1, "a view keeps the memory")
    many = [s.get_buffer("h") for _ in range(4)]
    assert all(many)
    big = bytes(9 * MB)
    eq(s.put("big", big), 0)
    one = s.get_buffer("big")
    eq(len(one), 9 * MB)
    eq(s.get_buffer("big"), None, "the second does not fit into local_buffer_size")
    del one
    assert s.get_buffer("big"), "room comes back"


both(handles)


# ---- memory of the caller (6)


def zero_copy(s):
    m = Memory(4096, 5)
    eq(s.register_buffer(m.ptr, m.size), 0)
    eq(s.register_buffer(m.ptr, m.size), -600, "overlap")
    eq(s.register_buffer(0, 10), -600)
    eq(s.register_buffer(m.ptr + 8192, 0), -600)
    eq(s.put_from("k", m.ptr, 1000), 0)
    eq(s.get("k"), b"\5" * 1000)
    eq(s.put_from("zero", m.ptr, 0), 0)
    eq(s.is_exist("zero"), 0)
    eq(s.put_from("null", 0, 10), -600)
    out = Memory(4096, 1)  # not registered: works all the same
    eq(s.get_into("k", out.ptr, 4096), 1000)
    eq(out.buf.raw, b"\5" * 1000 + b"\1" * 3096)
    out = Memory(4096, 1)
    eq(s.get_into("k", out.ptr, 999), -600)
    eq(out.buf.raw, b"\1" * 4096, "untouched")
    eq(s.get_into("missing", out.ptr, 10), -704)
    eq(s.get_into("k", 0, 4096), -600)
    eq(s.unregister_buffer(m.ptr + 1), -600)
    eq(s.unregister_buffer(m.ptr), 0)
    eq(s.unregister_buffer(m.ptr), -600)


both(zero_copy)


def with_metadata(s):
    data, meta = Memory(4, 2), Memory(3, 1)
    eq(s.put_from_with_metadata("m", data.ptr, meta.ptr, 4, 3), 0)
    eq(s.get("m"), b"\1\1\1\2\2\2\2", "metadata first")
    eq(s.put_from_with_metadata("none", data.ptr, meta.ptr, 0, 3), 0)
    eq(s.is_exist("none"), 0)
    eq(s.put_from_with_metadata("", data.ptr, meta.ptr, 4, 3), 600, "no sign here")
    eq(s.put_from_with_metadata("null", 0, meta.ptr, 4, 3), 600)
    c = ReplicateConfig()
    c.prefer_alloc_in_same_node = True
    eq(s.put_from_with_metadata("m2", data.ptr, meta.ptr, 4, 3, c), -1)


both(with_metadata)


def zero_copy_batches(s):
    m = Memory(300, 8)
    eq(s.batch_put_from(["a", "b", "", "c", "n"], [m.ptr] * 4 + [0], [100, 200, 10, 0, 5]), [0, 0, -600, -600, -600])
    eq(s.batch_put_from([], [], []), [])
    eq(s.batch_put_from(["d", "e"], [m.ptr], [1, 1]), [-600, -600])
    out = Memory(300)
    eq(s.batch_get_into(["a", "x", "b", "b", "a"], [out.ptr, out.ptr, out.ptr, out.ptr + 100, 0], [100, 100, 10, 200, 100]),
       [100, -704, -600, 200, -600])
    eq(out.buf.raw, b"\10" * 300)
    eq(s.batch_get_into(["a"], [], []), [-600])
    eq(s.batch_get_into([], [], []), [])
    one, two = Memory(10), Memory(10)
    eq(s.put_from("ten", m.ptr, 10), 0)
    eq(s.batch_get_into(["ten", "ten"], [one.ptr, two.ptr], [10, 10]), [10, 10])
    eq((one.buf.raw, two.buf.raw), (b"\10" * 10, b"\10" * 10), "each entry has its own memory")


both(zero_copy_batches)


def multi_buffers(s):
    a, b = Memory(10, 1), Memory(20, 2)
    eq(s.batch_put_from_multi_buffers(["m", "one", "bad"], [[a.ptr, b.ptr], [b.ptr], [0]], [[10, 20], [20], [4]]), [0, 0, -600])
    eq(s.get("m"), b"\1" * 10 + b"\2" * 20)
    x, y = Memory(25), Memory(25)
    eq(s.batch_get_into_multi_buffers(["m", "x"], [[x.ptr, y.ptr], [x.ptr]], [[25, 25], [25]]), [30, -704])
    eq((x.buf.raw, y.buf.raw[:5]), (b"\1" * 10 + b"\2" * 15, b"\2" * 5))
    eq(s.batch_get_into_multi_buffers(["m"], [[x.ptr, y.ptr]], [[15, 14]]), [-600])
    eq(s.batch_get_into_multi_buffers(["m"], [[x.ptr, y.ptr]], [[25]]), [-600])
    eq(s.batch_put_from_multi_buffers(["q", "r"], [[a.ptr], [a.ptr, b.ptr]], [[10], [10]]), [-600, -600], "inner lengths")
    eq(s.batch_put_from_multi_buffers([], [], []), [])
    c = ReplicateConfig()
    c.prefer_alloc_in_same_node = True
    eq(s.batch_put_from_multi_buffers(["same"], [[a.ptr, b.ptr]], [[10, 20]], c), [0])
    c.replica_num = 2
    eq(s.batch_put_from_multi_buffers(["same2"], [[a.ptr]], [[10]], c), [-600])


both(multi_buffers)


def ranges(s):
    value = bytes(range(200))
    s.put("a", value)
    s.put("b", value[::-1])
    m, n = Memory(100), Memory(100)
    s.register_buffer(m.ptr, 100)
    s.register_buffer(n.ptr, 100)
    got = s.get_into_ranges([m.ptr, n.ptr], [["a", "b", "x"], ["a"]], [[[0, 10, 50], [20], [60]], [[0]]],
                            [[[5, 190, 0], [0], [0]], [[100]]], [[[5, 10, 0], [10], [1]], [[100]]])
    eq(got, [[[5, 10, 0], [10], [-704]], [[100]]])
    eq(m.buf.raw[:30], value[5:10] + bytes(5) + value[190:200] + value[:-11:-1])
    eq(n.buf.raw, value[100:])
    loose = Memory(100)
    one = lambda ptr, dst, src, size, key="a": s.get_into_ranges([ptr], [[key]], [[[dst]]], [[[src]]], [[[size]]])
    eq(one(loose.ptr, 0, 0, 10), [[[-600]]], "not registered")
    eq(one(0, 0, 0, 10), [[[-600]]])
    eq(one(m.ptr, 95, 0, 10), [[[-600]]], "past the buffer")
    eq(one(m.ptr, (1 << 64) - 1, 0, 10), [[[-600]]], "wraps")
    eq(one(m.ptr, 0, 195, 10), [[[-600]]], "past the object")
    eq(one(m.ptr, 0, (1 << 64) - 1, 10), [[[-600]]])
    eq(s.get_into_ranges([m.ptr], [["a"]], [[[95, 0]]], [[[0, 0]]], [[[10, 10]]]), [[[-600, 10]]], "others are read")
    eq(s.get_into_ranges([m.ptr], [["a", "b"]], [[[0, 1], [2]]], [[[0], [0]]], [[[1], [1]]]), [[[-600, -600], [1]]])
    eq(s.get_into_ranges([m.ptr], [["a", "b"]], [[[0, 1]]], [[[0, 1]]], [[[1, 1]]]), [[[-600, -600], [-600]]])
    eq(s.get_into_ranges([m.ptr, m.ptr], [["a"]], [[[0]]], [[[0]]], [[[1]]]), [[[-600]]])
    eq(s.get_into_ranges([], [], [], [], []), [])


both(ranges)


# ---- existence and removal (8)


def existence(s):
    s.put_batch(["a", "b", "c", "x1", "x2"], [b"v"] * 5)
    eq(s.is_exist("a"), 1)
    eq(s.is_exist("none"), 0)
    eq(s.batch_is_exist(["a", "none"]), [1, 0])
    eq(s.batch_is_exist([]), [])
    eq(s.remove("a"), -706, "looked at lately")
    eq(s.remove("a", force=True), 0)
    eq(s.remove("a", True), -704)
    eq(s.get("a"), b"")
    eq(s.batch_remove(["b", "none"], True), [0, -704])
    eq(s.remove_by_regex("(", True), -600)
    eq(s.remove_by_regex("x[0-9]$", force=True), 2)
    eq(s.remove_by_regex("nothing"), 0)
    eq(s.remove("c"), 0, "a put takes no lease")
    s.put_batch(["d", "e"], [b"v"] * 2)
    s.is_exist("d")
    eq(s.remove_all(), 1, "leased ones stay")
    eq(s.remove_all(True), 1)
    eq(s.remove_all(True), 0)


both(existence)


def configs(s):
    def put(key, n=1, **kw):
        c = ReplicateConfig()
        for k, v in kw.items():
            setattr(c, k, v)
        return s.put(key, b"v", c) if n == 1 else s.put_batch([f"{key}{i}" for i in range(n)], [b"v"] * n, c)

    eq(put("r2", replica_num=2), 0, "best effort")
    eq(put("r0", replica_num=0), -600)
    eq(put("same", prefer_alloc_in_same_node=True), -600)
    eq(put("nof", nof_replica_num=1), -600)
    eq(put("hard", with_hard_pin=True), 0)
    eq(put("soft", with_soft_pin=True), 0)
    eq(put("ttl", soft_pin_ttl_ms=5), -600, "a lifetime without a pin")
    eq(put("ttl", soft_pin_ttl_ms=5000, soft_pin_action=SoftPinAction.ENABLE), 0)
    eq(put("ttl0", soft_pin_ttl_ms=0, soft_pin_action=SoftPinAction.ENABLE), 0)
    eq(put("ttlmax", soft_pin_ttl_ms=1 << 40, soft_pin_action=SoftPinAction.ENABLE), -600)
    eq(put("pref", preferred_segments=["10.9.8.7:1"]), 0, "a wish, not an order")
    eq(put("pref1", preferred_segment=s.get_hostname()), 0)
    eq(put("group", group_ids=["g"]), 0)
    eq(put("groups", n=2, group_ids=["g"]), -600)
    eq(put("groups", n=2, group_ids=["g", ""]), 0)
    eq(s.get("r2"), b"v")


both(configs)


# ---- setup (3)


def test_setup_arguments():
    s = MooncakeDistributedStore()
    eq(s.setup("", "P2PHANDSHAKE", 0, 0, "tcp", "", "embedded"), -600)
    eq(s.setup("127.0.0.1", "P2PHANDSHAKE", 0, 0, "tcp", "", "embedded", client_http_port=0), -600)
    assert s.setup("127.0.0.1", "P2PHANDSHAKE", 0, 0, "pigeon", "", "embedded") < 0
    e = raises(TypeError, s.setup, "127.0.0.1", "P2PHANDSHAKE", 0, 0, "tcp", "", "embedded", shiny_new_word=1, text="shiny_new_word")
    assert isinstance(e, TypeError)
    port = tap.free_port()
    start = time.monotonic()
    eq(s.setup("127.0.0.1", "P2PHANDSHAKE", 0, 0, "tcp", "", f"127.0.0.1:{port}"), -1, "no master")
    assert time.monotonic() - start < 15 and str(port) in s.last_error(), s.last_error()
    eq((s.health_check(), s.put("k", b"v")), (1, -600))
    eq(s.setup(local_hostname="127.0.0.1", metadata_server="P2PHANDSHAKE", global_segment_size=16 * MB, local_buffer_size=MB,
               protocol="tcp", rdma_devices="auto-discovery", master_server_addr="embedded", engine=None, tenant_id="t"), 0)
    name = s.get_hostname()
    assert name.startswith("127.0.0.1:") and int(name.split(":")[1]) > 0, name
    eq((s.health_check(), s.put("k", b"v")), (0, 0))
    eq(s.close(), 0)
    eq(s.close(), 0)
    eq((s.health_check(), s.get_hostname(), s.get("k")), (1, "", b""))


def test_second_setup_replaces_the_first():
    s = opened()
    s.put("k", b"v")
    before = threads()
    for _ in range(5):
        eq(s.setup("127.0.0.1", "P2PHANDSHAKE", 16 * MB, MB, "tcp", "", "embedded"), 0)
    eq(s.get("k"), b"", "another, empty store")
    eq(threads(), before)
    assert s.setup("127.0.0.1", "P2PHANDSHAKE", 0, 0, "pigeon", "", "embedded") < 0
    s.close()


def test_setup_at_once():
    """Setups that race leave one open store and lose none."""
    s = MooncakeDistributedStore()
    before = threads()
    run_threads(4, lambda: s.setup("127.0.0.1", "P2PHANDSHAKE", 16 * MB, MB, "tcp", "", "embedded"))
    eq(s.put("k", b"v"), 0)
    s.close()
    tap.until(lambda: threads() == before, what="threads gone")


def test_setup_dict():
    def setup(**kw):
        s = MooncakeDistributedStore()
        d = dict(local_hostname="127.0.0.1", metadata_server="P2PHANDSHAKE", master_server_addr="embedded")
        d.update(kw)
        ret = s.setup({k: v for k, v in d.items() if v is not None})
        s.close()
        return ret

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        eq(setup(), 0)
        for size in ("16mb", " 16 MB ", "0.016gb", "16M", "16777216B", "1.6e7", 16777216, "0"):
            eq(setup(global_segment_size=size), 0, repr(size))
        for size in ("-1", "50%", "", "1023", "1 parsec", "mb"):
            eq(setup(global_segment_size=size), -600, repr(size))
            eq(setup(local_buffer_size=size), -600, repr(size))
        eq(setup(local_buffer_size="2tb"), -600)
        eq(setup(local_hostname=""), -600)
        eq(setup(local_hostname=None), -600)
        eq(setup(metadata_server=None), -600)
        eq(setup(master_server_addr=None, master_server_address="embedded"), 0, "LMCache's spelling")
        eq(setup(master_server_addr="embedded", master_server_address="127.0.0.1:1"), 0)
        eq(setup(client_http_port="many"), -600)
        eq(setup(client_http_port=70000), -600)
        eq(setup(enable_ssd_offload="off", enable_client_http_server=False, tenant_id=5), 0)
    for key, value, text in (("colour", "blue", "'colour'"), ("enable_ssd_offload", "maybe", "'enable_ssd_offload'"),
                             ("enable_ssd_offload", "Yes", "not available")):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            eq(setup(**{key: value}), 0)
        assert any(text in str(w.message) for w in seen), [str(w.message) for w in seen]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raises(UserWarning, setup, colour=1)
    s = MooncakeDistributedStore()
    raises(TypeError, s.setup, confug={}, text="confug")
    eq(s.setup(config={}), -600)


def test_tenants_are_apart():
    with tap.master() as m:
        a, b = opened(m.addr, tenant_id="a"), opened(m.addr, pool=0, tenant_id="b")
        eq((a.put("k", b"A"), b.put("k", b"B")), (0, 0))
        eq((a.get("k"), b.get("k")), (b"A", b"B"))
        eq(b.remove_all(True), 1)
        eq((a.get("k"), b.get("k")), (b"A", b""))
        b.close()
        a.close()


def test_master_gone():
    with Cluster() as s:
        pass  # __exit__ stopped the provider and the master
    start = time.monotonic()
    tap.until(lambda: s.health_check() == 2, what="health_check says so")
    assert s.put("k", b"v") in (-900, -901), "put without a master"
    assert s.is_exist("k") <= 0
    eq(s.get("k"), b"")
    s.close()
    assert time.monotonic() - start < 25


# ---- threads, ends, leaks


def threads():
    return len(os.listdir("/proc/self/task")) - threading.active_count()


def run_threads(nr, f):
    out, failed = [], []

    def run():
        try:
            out.append(f())
        except BaseException as e:
            failed.append(e)
    ts = [threading.Thread(target=run, daemon=True) for _ in range(nr)]
    for t in ts:
        t.start()
    for t in ts:
        t.join(20)
        assert not t.is_alive(), "a thread hangs"
    assert not failed, failed
    return out


def close_under_load(s):
    m = Memory(MB, 3)
    s.put_from("k", m.ptr, m.size)
    busy = threading.Semaphore(0)
    seen = set()

    def work():
        mine = Memory(MB)
        while True:
            busy.release()
            codes = (s.get_into("k", mine.ptr, mine.size), s.put("w", b"x" * 1000), len(s.get("k")) and 1, s.is_exist("k"),
                     *s.batch_get_into(["k"], [mine.ptr], [mine.size]))
            seen.update(codes)
            if codes[0] < 0:
                return codes

    ts = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for t in ts:
        t.start()
    for _ in range(8):
        assert busy.acquire(timeout=10)
    eq(s.close(), 0)
    for t in ts:
        t.join(10)
        assert not t.is_alive(), "a call hangs after close"
    assert seen <= {MB, 0, 1, -600, -800, -900, -704}, seen


both(close_under_load)


def test_close_inside_a_call():
    """A conversion that closes the store does not wait for itself."""
    s = opened()
    s.put("k", b"v")

    class Closing:
        def __index__(self):
            s.close()
            return 8

    m = Memory(8)
    for call in (lambda: s.get_into("k", m.ptr, Closing()), lambda: s.get_into_ranges([m.ptr], [["k"]], [[[0]]], [[[0]]], [[[Closing()]]]),
                 lambda: s.batch_get_into(["k"], [m.ptr], [Closing()]), lambda: s.register_buffer(m.ptr, Closing())):
        got = run_threads(1, call)[0]
        assert got in (-600, [-600], [[[-600]]]), got
        eq(s.setup("127.0.0.1", "P2PHANDSHAKE", 16 * MB, MB, "tcp", "", "embedded"), 0)
    s.close()


def test_config_changed_during_puts():
    """Another thread may replace the lists of a config that a put is reading."""
    s = opened()
    c = ReplicateConfig()
    stop = threading.Event()

    def change():
        i = 0
        while not stop.is_set():
            i += 1
            c.preferred_segments = [f"segment-{i}-{k}" * 3 for k in range(8)]
            c.preferred_segments.append("one more")

    t = threading.Thread(target=change)
    t.start()
    try:
        end = time.monotonic() + 0.5
        i = 0
        while time.monotonic() < end:
            i += 1
            eq(s.put(f"k{i % 100}", b"v", c), 0)
    finally:
        stop.set()
        t.join()
        s.close()


def test_list_changed_during_a_call():
    class Shrink:
        def __init__(self, lst):
            self.lst = lst

        def __index__(self):
            self.lst.clear()
            gc.collect()
            return 4

    s = opened()
    s.put("k", b"v" * 4)
    m = Memory(16)
    keys, ptrs, sizes = ["k"] * 4, [m.ptr] * 4, []
    sizes += [Shrink(ptrs), Shrink(keys), Shrink(sizes), 4]
    eq(s.batch_get_into(keys, ptrs, sizes), [4] * 4)
    s.close()


def test_subclass_and_collector():
    class Sub(MooncakeDistributedStore):
        pass

    s = Sub()
    s.me = s
    s.config = ReplicateConfig()
    s.config.preferred_segments.append(s.config)
    eq(s.setup("127.0.0.1", "P2PHANDSHAKE", 16 * MB, MB, "tcp", "", "embedded"), 0)
    raises(TypeError, s.put, "k", b"v", s.config)
    before = threads()
    gone = weakref.ref(s)
    del s
    gc.collect()
    eq(gone(), None, "a store in a cycle goes")
    assert threads() < before or before == 0


def test_leaks():
    def fds():
        return len(os.listdir("/proc/self/fd"))

    def rss():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * 4096

    def cycle(s, n):
        m = Memory(256, 1)
        for i in range(n // 10):
            k = f"k{i % 50}"
            s.put(k, b"x" * 256)
            s.put_parts(k, b"x", b"y")
            s.put_batch([k, "q"], [b"x", b"y"])
            s.get(k), s.get("missing"), s.get_buffer(k)
            s.get_into(k, m.ptr, 256)
            s.batch_get_into([k, k], [m.ptr, m.ptr], [256, 2])
            s.is_exist(k)
            s.get_into_ranges([m.ptr], [[k]], [[[0]]], [[[0]]], [[[1]]])
            s.remove(k, True)
            try:
                s.put(k, "text")
            except TypeError:
                pass

    with opened() as s:
        cycle(s, 5000)
        gc.collect()
        before = rss(), fds(), threads()
        cycle(s, 20000)
        gc.collect()
        eq((fds(), threads()), before[1:])
        assert rss() - before[0] < 2 * MB, f"{rss() - before[0]} bytes more after 20000 operations"
    with Cluster() as s:
        cycle(s, 2000)
        gc.collect()
        before = rss(), fds(), threads()
        cycle(s, 10000)
        gc.collect()
        eq((fds(), threads()), before[1:])
        assert rss() - before[0] < 2 * MB, f"{rss() - before[0]} bytes more after 10000 operations"
        s.close()


def test_open_and_close_leave_nothing():
    opened().close()
    gc.collect()
    before = len(os.listdir("/proc/self/fd")), threads()
    for _ in range(5):
        opened().close()
    eq((len(os.listdir("/proc/self/fd")), threads()), before)


# ---- other processes


def test_import_has_no_side_effects():
    code = """
import os
def state(): return sorted(os.listdir('/proc/self/fd')), os.listdir('/proc/self/task'), dict(os.environ)
before = state()
import mooncake, mooncake.store, mooncake.engine
s, e = mooncake.store.MooncakeDistributedStore(), mooncake.engine.TransferEngine()
mooncake.store.ReplicateConfig()
s.put('k', b'v'); e.get_rpc_port()
assert state() == before, state()
assert len(os.listdir('/proc/self/task')) == 1
"""
    eq(tap.python(code), (0, "", ""))


FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")
from mooncake.store import MooncakeDistributedStore
s = MooncakeDistributedStore()
args = ("127.0.0.1", "P2PHANDSHAKE", 16 << 20, 1 << 20, "tcp", "", "embedded")
if sys.argv[1] == "after":
    assert s.setup(*args) == 0
    s.put("k", b"v")
pid = os.fork()
if pid == 0:
    if sys.argv[1] == "after":
        got = s.put("c", b"v"), s.get("k"), s.is_exist("k"), s.health_check(), s.batch_is_exist(["k"])
        assert got == (-600, b"", -600, 1, [-600]), got
        assert "fork" in s.last_error(), s.last_error()
        t = MooncakeDistributedStore()
        assert t.setup(*args) == 0 and t.put("k", b"w") == 0 and t.get("k") == b"w", "a store of its own"
    else:
        assert s.setup(*args) == 0 and s.put("k", b"w") == 0
    sys.exit(7)   # the whole way out, with live stores
_, status = os.waitpid(pid, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
if sys.argv[1] == "after":
    assert s.get("k") == b"v" and s.put("p", b"v") == 0, "the parent's is unharmed"
"""


def test_fork():
    for when in ("before", "after"):
        rc, out, err = tap.python(FORK, when)
        eq((rc, out), (0, ""), err)
        assert when == "after" or not err, err


EXIT = """
import sys, threading, time
from mooncake.store import MooncakeDistributedStore
stores = []
for _ in range(3):
    s = MooncakeDistributedStore()
    assert s.setup("127.0.0.1", "P2PHANDSHAKE", 16 << 20, 8 << 20, "tcp", "", sys.argv[1]) == 0
    stores.append(s)
    s.put("k", b"v" * (1 << 20))
started = threading.Semaphore(0)
def loop():
    started.release()
    while True:
        s.get("k"); s.put("k2", b"x" * 100000); s.get_buffer("k")
for _ in range(int(sys.argv[2])):
    threading.Thread(target=loop, daemon=True).start()
    started.acquire()
print(time.monotonic(), flush=True)
"""


def quick_exit(master, nr_threads):
    rc, out, err = tap.python(EXIT, master, nr_threads)
    late = time.monotonic() - float(out)
    eq((rc, err), (0, ""))
    assert late < 3, f"{late:.1f} s from the last line to the end"


def test_exit_with_live_stores():
    quick_exit("embedded", 0)
    for _ in range(3):
        quick_exit("embedded", 3)


def test_exit_with_live_stores_with_master():
    with tap.master() as m:
        quick_exit(m.addr, 0)
        quick_exit(m.addr, 3)


QUIET = """
import ctypes, os, sys
from mooncake.store import MooncakeDistributedStore
s = MooncakeDistributedStore()
assert s.setup("127.0.0.1", "P2PHANDSHAKE", 0, 1 << 20, "tcp", "", sys.argv[1]) == 0
b = ctypes.create_string_buffer(4096)
p = ctypes.addressof(b)
assert s.put("k", b"v" * 4096) == 0
for _ in range(10): assert s.get_into("k", p, 4096) == 4096
os.getppid()
for _ in range(1000):
    if s.get_into("k", p, 4096) != 4096: os._exit(3)
os.getppid()
os._exit(0)
"""


def test_a_get_on_this_host_makes_no_system_call():
    strace = tap.tool("strace")
    cluster = Cluster()
    with cluster as s, tap.tempdir() as d:
        log = os.path.join(d, "log")
        argv = [strace, "-o", log, sys.executable, "-c", QUIET, cluster.master.addr]
        p = tap.subprocess.run(argv, env=tap.ENV, timeout=25, stdin=tap.subprocess.DEVNULL, stdout=tap.subprocess.PIPE,
                               stderr=tap.subprocess.STDOUT, text=True)
        if "ptrace" in p.stdout.lower():
            skip("strace may not trace here")
        eq(p.returncode, 0, p.stdout)
        with open(log) as f:  # the calling thread only: others may wake on timers
            lines = f.read().splitlines()
        marks = [i for i, line in enumerate(lines) if line.startswith("getppid")]
        between = lines[marks[-2] + 1:marks[-1]]
        eq(between, [], "system calls of 1000 gets")
        s.close()


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
