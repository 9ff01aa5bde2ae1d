#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What callers of the store rely on, call by call, with a master and two nodes: an ordinary client, and the client of a node."""
import array
import ctypes
import sys

import tap
from store_rig import MB, Nodes, opened, segments
from tap import eq, raises

from mooncake.store import MooncakeDistributedStore, MooncakeHostMemAllocator, ReplicateConfig, TaskStatus, TaskType

PIN = ReplicateConfig().soft_pin_action.__class__


def config(**fields):
    c = ReplicateConfig()
    for name, value in fields.items():
        setattr(c, name, value)
    return c


def where(s, key):
    return [d.get_memory_descriptor().buffer_descriptor.transport_endpoint for d in s.get_replica_desc(key)]


def bytes_by_value(s):
    raises(TypeError, s.batch_is_exist, "abc")
    raises(TypeError, s.get_batch, b"abc")
    eq(s.batch_is_exist(("none",)), [0])
    eq((s.put(b"\xff\x00k", b"v"), s.get(b"\xff\x00k")), (0, b"v"), "keys are any bytes")
    eq((s.put("a", b"value"), s.put("a", b"other"), s.get("a")), (0, 0, b"value"))
    eq((s.put("e", b""), s.put_parts("e"), s.put_parts("e", b"", b""), s.is_exist("e")), (-600, 0, 0, 0))
    eq((s.put_batch(["x", "y"], [b"1", b""]), s.put_batch(["x", "y"], [b"1"]), s.batch_is_exist(["x", "y"])), (-600, -600, [0, 0]))
    for i in range(16):  # two nodes take them
        eq((s.put_batch([f"d{i}"] * 2, [b"1", b"2"]), s.get(f"d{i}")), (0, b"1"))
        eq((s.upsert_batch([f"d{i}"] * 2, [b"3", b"4"]), s.get(f"d{i}")), (0, b"4"))
    eq((s.upsert("u", b"1"), s.upsert("u", b"2"), s.upsert("u", b"345"), s.get("u")), (0, 0, 0, b"345"))
    eq((s.upsert("u", b""), s.upsert_parts("u"), s.get("u")), (-600, 0, b"345"))
    eq((s.put("arr", array.array("i", [1, 2])), s.get_size("arr")), (0, 8))
    raises(RuntimeError, s.put_parts, "p", memoryview(b"abcd").cast("B", (2, 2)), text="parts must be 1-D bytes-like")
    raises(RuntimeError, s.put_parts, "p", array.array("i", [1]), text="parts must be 1-D bytes-like")


def configurations(s, names, p):
    same = config(prefer_alloc_in_same_node=True)
    one = (s.put("n", b"1", same), s.put_parts("n", b"1", config=same), s.put_batch(["n"], [b"1"], same),
           s.put_from("n", p, 8, same), s.upsert("n", b"1", same), s.upsert_parts("n", b"1", config=same),
           s.upsert_batch(["n"], [b"1"], same), s.upsert_from("n", p, 8, same), *s.batch_put_from(["n"], [p], [8], same),
           *s.batch_upsert_from(["n"], [p], [8], same))
    eq(one, (-600,) * 10)
    eq(s.put_from_with_metadata("n", p, p, 8, 8, same), -1)
    eq(s.batch_put_from_multi_buffers(["n"], [[p]], [[8]], same), [0])
    same.replica_num = 2
    eq(s.batch_put_from_multi_buffers(["n2"], [[p]], [[8]], same), [-600])
    for fields, want in (({"soft_pin_ttl_ms": 5}, -600), ({"soft_pin_action": PIN.ENABLE, "soft_pin_ttl_ms": 86400001}, -600),
                         ({"soft_pin_action": PIN.ENABLE, "soft_pin_ttl_ms": 0}, 0), ({"nof_replica_num": 1}, -600),
                         ({"dfs_replica_num": 1}, -600), ({"replica_num": 0}, -600), ({"group_ids": ["a", "b"]}, -600),
                         ({"preferred_segments": ["nobody:1"]}, 0)):
        eq(s.put(f"c{fields}", b"1", config(**fields)), want, fields)
    a, b = config(group_ids=["a"]), config(group_ids=["b"])
    eq((s.put("g", b"1", a), s.upsert("g", b"2", b), s.upsert("g", b"2", a)), (0, -600, 0))
    eq((s.upsert("g", b"3"), s.upsert("g", b"4", b)), (0, -600))
    eq((s.put("r2", b"1", config(replica_num=2)), sorted(where(s, "r2"))), (0, names))
    eq((s.put("r5", b"1", config(replica_num=5)), sorted(where(s, "r5"))), (0, names), "as many as there are")
    for name in names:
        eq((s.put(name, b"1", config(preferred_segments=[name])), where(s, name)), (0, [name]))
        eq((s.put(name + "2", b"1", config(preferred_segment=name, preferred_segments=["x"])), where(s, name + "2")), (0, [name]))


def ranges(s, p):
    eq(s.put("v", b"value"), 0)
    for args, want in ((([p], [["v"]], [[[0, 10]]], [[[1, 0]]], [[[3, 2]]]), [[[3, 2]]]),
                       (([0], [["v"]], [[[0]]], [[[0]]], [[[1]]]), [[[-600]]]),
                       (([p], [["v"]], [[[MB - 1, 0]]], [[[0, 0]]], [[[2, 1]]]), [[[-600, 1]]]),
                       (([p], [["v"]], [[[0, 0]]], [[[4, 0]]], [[[2, 1]]]), [[[-600, 1]]]),
                       (([p], [["no", "v"]], [[[0, 0], [0]]], [[[0, 0], [0]]], [[[1, 1], [1]]]), [[[-704, -704], [1]]]),
                       (([p], [["v"]], [[[0]]], [[[0]]], [[[0]]]), [[[0]]]),
                       (([p], [["v", "v"]], [[[0], [0]]], [[[0], [0, 1]]], [[[1], [1]]]), [[[1], [-600]]]),
                       (([p, p], [["v"]], [[[0]]], [[[0]]], [[[1]]]), [[[-600]]])):
        eq(s.get_into_ranges(*args), want, args)


def removal(s, p):
    eq((s.put("k", b"1"), s.remove("k"), s.remove("k"), s.remove("k", True)), (0, 0, -704, -704), "a put takes no lease")
    for read in (s.is_exist, s.get, s.get_size, s.get_buffer, s.get_replica_desc, lambda k: s.get_into(k, p, 8)):
        eq(s.put("k", b"1"), 0)
        assert read("k")
        eq((s.remove("k"), s.remove("k", True)), (-706, 0))
    eq((s.put_batch(["b1", "b2"], [b"1", b"2"]), s.is_exist("b2")), (0, 1))
    eq((s.batch_remove(["b1", "b2", "no"]), s.batch_remove(["b2"], True), s.batch_remove([])), ([0, -706, -704], [0], []))
    for pattern, keys in ((r"^e\d+$", ("e12", "ex")), (r"(?:ab)+c", ("xababc", "ac")), (r"a{2,3}?b", ("caab", "cab")),
                          (r"\x41z", ("Az", "x41z")), (r"^[\w.]+$", ("a_1.", "a-"))):
        eq((s.put_batch(keys, [b"1", b"1"]), s.remove_by_regex(pattern)), (0, 1), pattern)
        eq((s.batch_is_exist(keys), s.remove_by_regex(pattern), s.remove_all(True) > 0), ([0, 1], 0, True), pattern)
    for pattern in ("(", "*", "(?=a)", r"(a)\1"):
        eq(s.remove_by_regex(pattern), -600, pattern)
    eq((s.put_batch(["x", "y"], [b"1"] * 2), s.is_exist("x")), (0, 1))
    eq((s.remove_by_regex("x|y"), s.remove_by_regex("x|y", True)), (1, 1))
    eq((s.put("x", b"1"), s.is_exist("x"), s.remove_all(), s.remove_all(True)), (0, 1, 0, 1))


def tasks(s, names):
    eq(s.put("t", b"12345", config(preferred_segments=names[:1])), 0)
    for got, code in ((s.create_copy_task("t", []), -600), (s.create_copy_task("no", names[1:]), -704),
                      (s.create_copy_task("t", ["x"]), -600), (s.create_move_task("t", names[0], names[0]), -600),
                      (s.create_move_task("t", names[1], names[0]), -600),
                      (s.create_move_task("t", "x", names[0]), -600), (s.create_move_task("no", *names), -704)):
        eq(got, ((0, 0), code))
    task, ret = s.create_copy_task("t", names[1:])
    eq(ret, 0)
    tap.until(lambda: s.query_task(task)[0].status == TaskStatus.SUCCESS, what="the copy")
    eq((s.query_task(task)[0].type, sorted(where(s, "t"))), (TaskType.REPLICA_COPY, names))
    eq(s.query_task((1, 2)), (None, -1400))


def walk(s, names):
    memory = MooncakeHostMemAllocator()
    p = memory.alloc(MB)
    eq(s.register_buffer(p, MB), 0)
    ctypes.memset(p, 7, MB)
    bytes_by_value(s)
    configurations(s, names, p)
    ranges(s, p)
    s.remove_all(True)
    removal(s, p)
    tasks(s, names)
    eq((s.remove_all(True) > 0, s.unregister_buffer(p), memory.free(p)), (True, 0, 0))


def test_an_ordinary_client():
    with Nodes() as c, opened(c.master.addr, pool=0) as s:
        walk(s, sorted(segments(s)))


def test_a_client_of_a_node():
    with Nodes() as c, opened(c.master.addr, pool=0) as other, MooncakeDistributedStore() as s:
        tap.until(lambda: s.setup_dummy(0, 16 * MB, c.nodes[0].addr) == 0, what="the node")
        walk(s, sorted(segments(other)))


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
