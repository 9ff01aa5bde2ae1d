#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What every refusal says: last_error() tells of the call that failed just now, not of an earlier one."""
import sys

import tap
from store_rig import MB, Memory, Nodes, opened
from tap import eq

from mooncake.store import MooncakeDistributedStore, ReplicateConfig, SoftPinAction, TensorParallelism


def config(**fields):
    c = ReplicateConfig()
    for name, value in fields.items():
        setattr(c, name, value)
    return c


def refusals(s):
    """(call, what the text has in it)"""
    m = Memory(4096)
    p = m.ptr
    eq((s.put("there", b"x" * 100), s.register_buffer(p, m.size)), (0, 0))
    same, two = config(prefer_alloc_in_same_node=True), config(prefer_alloc_in_same_node=True, replica_num=2)
    lists, unregistered = "lists differ", "no registered buffer"
    return [
        (lambda: s.put("e", b""), "empty value"),
        (lambda: s.upsert("e", b""), "empty value"),
        (lambda: s.put("", b"x"), "key is empty"),
        (lambda: s.put("big", bytes(17 << 20)), "local_buffer_size"),
        (lambda: s.put("x", b"1", config(replica_num=0)), "replica_num"),
        (lambda: s.put("x", b"1", config(nof_replica_num=1)), "nof_replica_num"),
        (lambda: s.put("x", b"1", config(group_ids=["a", "b"])), "group_ids"),
        (lambda: s.put("x", b"1", config(soft_pin_ttl_ms=5)), "soft_pin_action"),
        (lambda: s.put("x", b"1", config(soft_pin_action=SoftPinAction.ENABLE, soft_pin_ttl_ms=1 << 40)), "max_kv_soft_pin_ttl"),
        (lambda: s.put("x", b"1", same), "same_node"),
        (lambda: s.put_from_with_metadata("x", p, p, 8, 8, same), "same_node"),
        (lambda: s.batch_put_from(["x"], [p], [8], same), "same_node"),
        (lambda: s.batch_put_from_multi_buffers(["x"], [[p]], [[8]], two), "one replica"),
        (lambda: s.put_batch(["a", "b"], [b"1"]), lists),
        (lambda: s.put_batch(["a", "b"], [b"1", b""]), "empty value"),
        (lambda: s.batch_put_from(["a"], [p, p], [1]), lists),
        (lambda: s.batch_put_from(["a"], [0], [1]), "no address"),
        (lambda: s.batch_get_into(["a"], [p, p], [1]), lists),
        (lambda: s.batch_get_into_multi_buffers(["a"], [[p, p]], [[1]]), lists),
        (lambda: s.get_into("there", p, 10), "too small"),
        (lambda: s.batch_get_into(["there"], [0], [100]), "nowhere"),
        (lambda: s.get_into("none", p, 10), "nobody has it"),
        (lambda: s.get_size("none"), 'size of "none": nobody has it'),
        (lambda: s.remove("none"), 'remove "none": nobody has it'),
        (lambda: s.get_replica_desc("none"), 'replicas of "none": nobody has it'),
        (lambda: s.batch_replica_clear(["none"]), 'clear "none": nobody has it'),
        (lambda: s.remove_by_regex("("), "parenthesis"),
        (lambda: s.register_buffer(0, 10), "address"),
        (lambda: s.unregister_buffer(12345), unregistered),
        (lambda: s.get_into_ranges([5], [["there"]], [[[0]]], [[[0]]], [[[1]]]), unregistered),
        (lambda: s.get_into_ranges([p], [["there"]], [[[4095]]], [[[0]]], [[[10]]]), unregistered),
        (lambda: s.get_into_ranges([p], [["there"]], [[[0]]], [[[99]]], [[[10]]]), "beyond the object"),
        (lambda: s.get_into_ranges([p], [["there"]], [[[0]]], [[[0]]], [[[1, 2]]]), lists),
        (lambda: s.batch_put_session_start(["a"], [1, 2]), lists),
        (lambda: s.batch_put_session_end(["none"]), "no such session"),
        (lambda: s.create_copy_task("none", ["a:1"]), 'copy "none": nobody has it'),
        (lambda: s.create_copy_task("there", []), "no target"),
        (lambda: s.create_move_task("there", "a:1", "a:1"), 'move "there"'),
        (lambda: s.query_task((1, 2)), "task 1-2"),
        (lambda: s.mount_segment("/dev/null", MB, 0, "pigeon"), "protocol"),
        (lambda: s.allocate_and_mount_segment(0), "too few"),
        (lambda: s.unmount_segment(["1-2"]), "1-2"),
        (lambda: s.unmount_segment(["abc"]), "segment id"),
        (lambda: s.put_tensor("t", object()), 'put "t": no tensor'),
        (lambda: s.batch_put_tensor(["t"], []), lists),
        (lambda: s.put_tensor_with_parallelism("t", object(), TensorParallelism()), 'put "t"'),
        (lambda: s.put_tensor_from("t", p, 100), 'put "t": no tensor'),
        (lambda: s.get_tensor("there"), 'get "there": what lies there is no tensor'),
        (lambda: s.get_tensor_with_tp("there", 5, 2), "rank"),
        (lambda: s.batch_get_tensor_into(["a"], [0], [1]), "address is 0"),
        (lambda: s.get_tensor_into_cuda("t", None), "device memory"),
        (lambda: s.init_all("tcp", "", 1), "setup()"),
        (lambda: s.alloc_from_mem_pool(100), "client of a node"),
    ]


def tells(s, call, want):
    eq(s.get("an earlier call"), b"")
    got = call()
    assert want in s.last_error(), f"{got!r}: {s.last_error()!r} does not say {want!r}"


def test_every_refusal():
    with Nodes() as c:
        with opened(c.master.addr, pool=0) as s:
            for call, want in refusals(s):
                tells(s, call, want)


def test_a_store_that_is_not_open():
    with opened() as other:
        never, closed = MooncakeDistributedStore(), opened()
        eq(closed.close(), 0)
        for s in (never, closed):
            for call in (lambda: s.put("k", b"v"), lambda: s.get("k"), lambda: s.is_exist("k"), lambda: s.batch_get_tensor(["k"]),
                         lambda: s.get_batch(["k"]), lambda: s.put_batch(["k"], [b"v"]), lambda: s.register_buffer(4096, 1),
                         lambda: s.batch_put_session_start(["k"], [1]), lambda: s.get_into_ranges([1], [["k"]], [[[0]]], [[[0]]], [[[1]]])):
                tells(other, call, "not set up, or was closed")


def test_setup():
    s = MooncakeDistributedStore()
    good = {"local_hostname": "127.0.0.1", "metadata_server": "P2PHANDSHAKE", "master_server_addr": "embedded"}
    with opened() as other:
        for change, want in (({"metadata_server": ""}, "metadata_server"), ({"local_hostname": ""}, "local_hostname"),
                             ({"global_segment_size": "50%"}, "50%"), ({"local_buffer_size": "12"}, "1024"),
                             ({"client_http_port": "abc"}, "client_http_port")):
            tells(other, lambda: eq(s.setup({**good, **change}), -600), want)
        tells(other, lambda: s.setup("127.0.0.1", "P2PHANDSHAKE", 0, MB, "tcp", "", "127.0.0.1:1"), "no master at 127.0.0.1:1")


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
