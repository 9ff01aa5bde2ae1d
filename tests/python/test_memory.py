#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory for buffers: MooncakeHostMemAllocator, what becomes of it when it is registered, and the functions beside it."""
import ctypes
import os
import sys
import threading

import tap
from tap import eq, raises

import store_rig
from mooncake.store import MooncakeHostMemAllocator, bind_to_numa_node, get_alloc_func_addr, get_free_func_addr


def maps():
    with open("/proc/self/maps", encoding="utf-8") as f:
        return sum("mooncake_shm" in line for line in f)


def fds():
    return len(os.listdir("/proc/self/fd"))


def test_memory():
    a, b = MooncakeHostMemAllocator(), MooncakeHostMemAllocator()
    p, q = a.alloc(10000), b.alloc(4096)
    eq(maps(), 2)
    eq((p % 4096, q % 4096), (0, 0))
    eq(ctypes.string_at(p, 12288), bytes(12288))
    ctypes.memset(p, 7, 10000)
    eq(b.free(p), 0)  # all are one
    eq(a.free(p), -1)
    eq(a.free(q + 1), -1)
    eq(a.free(q), 0)
    eq(maps(), 0)


def test_refusals():
    a = MooncakeHostMemAllocator()
    for bad in (-1, "1", None, 1.5):
        raises(TypeError, a.alloc, bad)
        raises(TypeError, a.free, bad)
    raises(TypeError, a.alloc)
    raises(RuntimeError, a.alloc, 0)
    raises(RuntimeError, a.alloc, 1 << 60, text="MiB")
    raises(RuntimeError, a.alloc, 2**64 - 1)
    raises(TypeError, MooncakeHostMemAllocator().alloc, size=1)


def test_a_store_uses_it():
    a = MooncakeHostMemAllocator()
    with store_rig.opened() as s:
        eq(s.alloc_from_mem_pool(4096), 0)  # only clients of a node share memory
        p = a.alloc(8192)
        eq(s.register_buffer(p, 8192), 0)
        ctypes.memset(p, 5, 8192)
        eq(s.put_from("k", p, 4096), 0)
        eq(a.free(p), 0)  # gone for its owner, not for the store
        eq(s.get_into("k", p + 4096, 4096), 4096)
        eq(maps(), 1)
        eq(s.unregister_buffer(p), 0)
        eq(maps(), 0)


def test_nothing_is_left():
    a, before = MooncakeHostMemAllocator(), fds()
    for _ in range(50):
        eq(a.free(a.alloc(65536)), 0)
    eq((fds(), maps()), (before, 0))


def test_pages():
    """Huge pages where they are set aside, others where not."""
    code = """if True:
        import sys
        from mooncake.store import MooncakeHostMemAllocator
        a = MooncakeHostMemAllocator()
        print(a.free(a.alloc(3 << 20)))
    """
    for size in ("2MB", "1GB", "nonsense"):
        ret, out, err = tap.python(code, MC_STORE_USE_HUGEPAGE="1", MC_STORE_HUGEPAGE_SIZE=size)
        eq((ret, out), (0, "0\n"), err)
        eq("MC_STORE_HUGEPAGE_SIZE" in err, size == "nonsense")


def test_functions():
    t = threading.Thread(target=lambda: [bind_to_numa_node(n) for n in (0, -1, 12345, 1 << 62)])
    t.start()
    t.join()
    raises(TypeError, bind_to_numa_node, "0")
    eq(ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(get_alloc_func_addr())(16), None)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(get_free_func_addr())(None)


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
