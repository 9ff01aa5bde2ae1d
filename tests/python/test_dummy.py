#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""setup_dummy(): the client of the node on this host, and what becomes of it when one of the two ends."""
import ctypes
import os
import signal
import sys

import tap
from store_rig import MB, Memory, node, opened
from tap import eq, raises

from mooncake.store import MooncakeDistributedStore, MooncakeHostMemAllocator


def pair(f):
    def test():
        with tap.master() as m:
            with node(m) as n:
                s = MooncakeDistributedStore()
                tap.until(lambda: s.setup_dummy(512 * MB, 16 * MB, n.addr) == 0 and s.health_check() == 0, what="the node")
                try:
                    tap.until(lambda: s.put("ready", b"1") == 0, what="the pool")
                    f(s, n, m)
                finally:
                    s.close()
    test.__name__ = f.__name__
    return test


@pair
def test_calls(s, n, m):
    eq(s.get_hostname(), "")
    eq((s.put("k", b"value"), s.get("k"), s.is_exist("k"), s.get_size("k")), (0, b"value", 1, 5))
    eq(bytes(s.get_buffer("k")), b"value")
    eq((s.put_batch(["a", "b"], [b"1", b"2"]), s.get_batch(["a", "b", "c"])), (0, [b"1", b"2", b""]))
    eq(s.put("big", bytes(17 * MB)), -600, "over local_buffer_size")
    p = MooncakeHostMemAllocator().alloc(MB)
    eq(s.register_buffer(p, MB), 0)
    ctypes.memset(p, 7, MB)
    eq((s.put_from("m", p, MB), s.batch_put_from(["m2"], [p], [4096])), (0, [0]))
    ctypes.memset(p, 0, MB)
    eq((s.get_into("m", p, MB), s.batch_get_into(["m2", "none"], [p, p], [4096] * 2)), (MB, [4096, -704]))
    eq(ctypes.string_at(p, MB), b"\7" * MB)
    eq(s.unregister_buffer(p), 0)
    eq(s.batch_replica_clear(["k"]), [])
    eq(s.remove("k", True), 0)
    with opened(m.addr, pool=0) as other:
        eq(other.get("m2"), b"\7" * 4096, "an ordinary client sees the same objects")
        eq((other.put("o", b"x"), s.get("o")), (0, b"x"))


@pair
def test_memory_that_is_not_registered(s, n, m):
    """Calls by address take registered memory alone, -600; the others of a batch are done."""
    foreign, p = Memory(8192), MooncakeHostMemAllocator().alloc(8192)
    eq(s.put("k", b"x" * 4096), 0)
    for ptr in (foreign.ptr, p):
        eq((s.put_from("a", ptr, 4096), s.upsert_from("a", ptr, 4096), s.get_into("k", ptr, 8192)), (-600,) * 3)
        assert "register" in s.last_error(), s.last_error()
        eq(s.put_from_with_metadata("a", ptr, ptr, 4096, 8), 600)
    eq(s.put_from("a", foreign.ptr, 0), 0, "nothing to do")
    eq(s.register_buffer(p, 8192), 0)
    eq(s.put_from("b", p, 4096), 0)
    eq(s.get_into("k", p + 4096, 4097), -600, "reaches beyond")
    eq(s.batch_put_from(["c", "d"], [foreign.ptr, p], [4096] * 2), [-600, 0])
    eq(s.batch_upsert_from(["c", "d"], [foreign.ptr, p], [4096] * 2), [-600, 0])
    eq(s.batch_get_into(["k", "d"], [foreign.ptr, p], [4096] * 2), [-600, 4096])
    eq(s.batch_put_from_multi_buffers(["e", "f"], [[p, foreign.ptr], [p, p]], [[8, 8], [8, 8]]), [-600, 0])
    eq(s.batch_get_into_multi_buffers(["f", "f"], [[p, foreign.ptr], [p, p + 64]], [[8, 8], [8, 8]]), [-600, 16])
    eq(s.batch_is_exist(["a", "c", "e"]), [0, 0, 0])


@pair
def test_what_a_client_of_a_node_does_not_have(s, n, m):
    eq(s.put("k", b"value"), 0)
    eq((s.batch_get_session_start(["k"]), s.batch_put_session_start(["a", "b"], [8, 8])), ([-600], [-600, -600]))
    assert "no sessions" in s.last_error(), s.last_error()
    eq((s.batch_put_session_end(["a"]), s.batch_put_session_revoke(["a"]), s.batch_get_session_end(["k"])), ([-600], [-600], -600))
    eq(s.allocate_and_mount_segment(4 * MB), {"ret": -1, "segment_ids": []})
    assert "mounts no memory" in s.last_error(), s.last_error()
    eq(s.mount_segment("/dev/shm/nothing", MB), {"ret": -1, "segment_ids": []})
    eq((s.unmount_segment(["1-2"]), s.unmount_and_free_segment(["1-2"]), s.unmount_local_disk_segment()), (-1, -1, -1))


@pair
def test_registration(s, n, m):
    """The start and the whole of memory that can be shared, or -1."""
    a = MooncakeHostMemAllocator()
    p, q = a.alloc(100000), s.alloc_from_mem_pool(8192)
    assert p and q
    foreign = Memory(8192)
    for ptr, size in ((0, 0), (0, 8), (foreign.ptr, 8192), (p, 1), (p + 4096, 4096), (p, 200000), (q, 4096)):
        eq(s.register_buffer(ptr, size), -1, f"{ptr:#x}+{size}")
    eq((s.register_buffer(p, 100000), s.register_buffer(q, 8192)), (0, 0))
    eq(s.register_buffer(p, 100000), -1, "twice")
    eq((s.unregister_buffer(p + 1), s.unregister_buffer(p), s.unregister_buffer(p)), (-1, 0, -1))
    eq(s.register_buffer(p, (100000 + 4095) // 4096 * 4096), 0, "whole pages")
    eq((s.unregister_buffer(p), s.unregister_buffer(q), a.free(p), a.free(q)), (0, 0, 0, 0))
    with opened() as real:
        eq(real.alloc_from_mem_pool(8192), 0)


def test_setup_fails():
    s = MooncakeDistributedStore()
    eq(s.setup_dummy(0, MB, f"127.0.0.1:{tap.free_port()}"), -1)
    assert "no node" in s.last_error(), s.last_error()
    for addr in ("", "127.0.0.1:x", "no.such.host.invalid:1"):
        eq(s.setup_dummy(0, MB, addr), -1, addr)
    with tap.master() as m:
        eq(s.setup_dummy(0, MB, m.addr), -1)
        assert "no mooncake-node" in s.last_error(), s.last_error()
    raises(TypeError, s.setup_dummy, 0, MB)
    raises(TypeError, s.setup_dummy, 0, "1gb", "a", text="local_buffer_size")
    eq(s.health_check(), 1)


@pair
def test_node_ends_and_comes_back(s, n, m):
    eq((s.put("k", b"v"), s.health_check()), (0, 0))
    n.stop(signal.SIGKILL)
    tap.until(lambda: s.get("k") == b"", what="a miss")
    eq(s.health_check(), 2)
    p = MooncakeHostMemAllocator().alloc(4096)
    eq((s.get_into("k", p, 4096) < 0, s.put("k2", b"v") < 0, s.is_exist("k")), (True, True, 0))
    with node(m, n.port) as again:
        tap.until(lambda: s.health_check() == 0, what="health")
        tap.until(lambda: s.put("k3", b"v") == 0, what="a put")
        eq(s.get("k3"), b"v")
        again.stop()
    eq(s.close(), 0)
    eq(s.health_check(), 1)


@pair
def test_master_away(s, n, m):
    eq(s.put("k", b"v"), 0)
    m.stop(signal.SIGKILL)
    eq((s.get("k"), s.is_exist("k"), s.batch_is_exist(["k"])), (b"v", 1, [1]), "what is on this host needs no master")
    eq((s.is_exist("no"), s.batch_is_exist(["no", "k"]), s.get_size("no"), s.put("k2", b"v")), (-900, [-1, 1], -900, -900))
    eq((s.remove("k"), s.batch_remove(["k"]), s.remove_all(), s.get("no")), (-900, [-900], -900, b""))


CLIENT = """
import sys
from mooncake.store import MooncakeDistributedStore, MooncakeHostMemAllocator
s = MooncakeDistributedStore()
assert s.setup_dummy(0, 1 << 20, sys.argv[1]) == 0
p = MooncakeHostMemAllocator().alloc(1 << 20)
assert s.register_buffer(p, 1 << 20) == 0
for i in range(64):
    assert s.put_from(f"{sys.argv[2]}-{i}", p, 65536) == 0
print("ready", flush=True)
sys.stdin.read()
"""


@pair
def test_nothing_is_left_when_the_client_dies(s, n, m):
    """Its granted space is the node's again, and the node holds no descriptor of it."""
    def fds():
        return len(os.listdir(f"/proc/{n.p.pid}/fd"))
    before = fds()
    for i in range(8):
        c = tap.Daemon([sys.executable, "-c", CLIENT, n.addr, f"c{i}"])
        eq(c.first, "ready", c.errors())
        assert fds() > before
        c.stop(signal.SIGKILL)
    tap.until(lambda: fds() <= before, what=f"descriptors of the dead: {fds()} instead of {before}")
    eq(s.get("c0-0"), bytes(65536), "what it stored stays")
    eq(s.remove_all(True) > 0, True)
    for i in range(55):
        eq(s.put(f"full{i}", bytes(MB)), 0, "all of the pool can be used")
    eq(sum(s.batch_is_exist([f"full{i}" for i in range(55)])), 55)


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
