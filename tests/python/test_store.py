#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What each call of the store does, in one process alone (embedded) and with a master and another process that owns the memory."""
import ctypes
import random
import sys
import time

import tap
from store_rig import MB, Memory, both
from tap import eq, raises

from mooncake.store import ReplicateConfig, SoftPinAction


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


both(globals(), put_and_get)


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


both(globals(), parts)


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


both(globals(), batches)


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


both(globals(), upsert)


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


both(globals(), handles)


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


both(globals(), zero_copy)


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


both(globals(), with_metadata)


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


both(globals(), zero_copy_batches)


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


both(globals(), multi_buffers)


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


both(globals(), ranges)


def absurd_sizes(s):
    m, most = Memory(64, 1), (1 << 64) - 1
    s.put_from("a", m.ptr, 64)
    eq((s.put_from("h", m.ptr, most), s.put_from("h", m.ptr, 1 << 63), s.put_from("h", m.ptr, 1 << 40)), (-600, -600, -200))
    eq(s.batch_put_from_multi_buffers(["h"], [[m.ptr, m.ptr]], [[most, 2]]), [-600], "a sum that wraps")
    eq(s.put_from_with_metadata("h", m.ptr, m.ptr, most, 2), 600)
    eq(s.get_into("a", m.ptr, most), 64, "room for more than there is")
    eq(s.get_into_ranges([m.ptr], [["a"]], [[[0]]], [[[0]]], [[[most]]]), [[[-600]]])
    eq(s.register_buffer(m.ptr, most), -600)
    eq(s.is_exist("h"), 0)


both(globals(), absurd_sizes)


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


both(globals(), existence)


def regex_in_bounded_time(s):
    """Matchers that follow one way after the other, or remember each set of ways, take minutes and gigabytes for these."""
    key = "".join(random.Random(1).choices("ab", k=4096))
    eq(s.put(key, b"v"), 0)
    start = time.monotonic()
    eq([s.remove_by_regex(p) for p in ("[ab]*a[ab]{900}c", "(a|b|ab)*c", "((a*)*b*)*c", "(a|b)*a(a|b){400}c")], [0] * 4)
    assert time.monotonic() - start < 5
    eq(s.remove_by_regex("^(a|b)*a[ab]{900}"), 1)


both(globals(), regex_in_bounded_time)


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
    for ids, code in ((["h"], -600), (["g"], 0), ([""], 0), (None, 0)):
        c = ReplicateConfig()
        c.group_ids = ids
        eq(s.upsert("group", b"w", c), code, f"a key stays in its group: {ids}")
    eq(s.get("r2"), b"v")


both(globals(), configs)


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
