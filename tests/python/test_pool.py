#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""BufferPool: loans, views, waiting, and what happens when any of them outlives the others."""
import gc
import sys
import threading
import time

import tap
from tap import eq, raises

import store_rig
from mooncake.store import BufferLease, BufferLeaseView, BufferPool, MooncakeDistributedStore, RegisteredBufferPool

MB = 1 << 20


def test_names():
    import mooncake
    import mooncake.buffer_pool
    assert mooncake.BufferPool is BufferPool is RegisteredBufferPool is mooncake.buffer_pool.RegisteredBufferPool
    raises(AttributeError, getattr, mooncake, "NoSuchThing", text="NoSuchThing")
    eq(tap.python("from mooncake import _tensor\nimport mooncake\nmooncake.BufferPool")[0], 0)
    raises(TypeError, BufferLease)
    raises(TypeError, BufferLeaseView)


def test_constructor():
    raises(RuntimeError, BufferPool, None)
    raises(RuntimeError, BufferPool, MooncakeDistributedStore(), text="set up")
    raises(RuntimeError, BufferPool, object())
    with store_rig.opened(local=0) as s:
        raises(RuntimeError, BufferPool, s, text="local buffer")
    with store_rig.opened() as s:
        raises(RuntimeError, BufferPool, s, min_size_class=0)
        for bad in (0, 3, 4):
            raises(RuntimeError, BufferPool, s, alignment=bad)
        raises(RuntimeError, BufferPool, s, default_timeout=-1)
        raises(TypeError, BufferPool, s, 0, colour="red", text="colour")
        raises(TypeError, BufferPool)
        p = BufferPool(s, 0, 65536, None, 8 << 20, True, None, None, None, 0)
        p.prewarm(4096, 3)
        p.close()
        p.close()
        raises(RuntimeError, p.acquire, 1, text="closed")


def test_a_constructor_that_closes_the_store():
    """Arguments may run Python code, which may do anything."""
    class Closing:
        def __float__(self):
            s.close()
            return 1.0
    s = store_rig.opened()
    raises(RuntimeError, BufferPool, s, default_timeout=Closing(), text="set up")


def test_sizes_that_do_not_add_up():
    huge = 2**64 - 1
    with store_rig.opened() as s:
        pool = BufferPool(s, max_bytes=huge)
        with pool.acquire(4096) as lease:
            raises(MemoryError, pool.acquire, huge - 4096)
            raises(RuntimeError, pool.acquire, huge - 4095, False, text="exhausted")
            raises(RuntimeError, pool.acquire, huge, False, text="exhausted")
            eq(lease.size, 4096)
        raises(MemoryError, pool.acquire, huge)
        pool.close()  # no failure left anything lent
    with store_rig.opened(pool=0, local=2**63) as s:
        BufferPool(s).acquire(4096).release()


def test_a_loan():
    with store_rig.opened() as s:
        pool = BufferPool(s)
        with pool.acquire(1000) as lease:
            eq(lease.size, 1000)
            assert lease.ptr
            view = lease.buffer
            eq((view.nbytes, view.format, view.readonly), (1000, "B", False))
            view[:5] = b"hello"
            eq(s.put_from("k", lease.ptr, 1000), 0)
            eq(s.get("k")[:5], b"hello")
            eq(s.get_into_ranges([lease.ptr], [["k"]], [[[10]]], [[[0]]], [[[5]]]), [[[5]]])  # it is registered
            eq(bytes(view[10:15]), b"hello")
            raises(RuntimeError, lease.release, text="exported views")
            view.release()
        eq(lease.ptr, 0)
        lease.release()
        raises(RuntimeError, lambda: lease.buffer)
        zero = pool.buffer(0)
        eq((zero.size, len(zero.buffer)), (0, 0))
        raises(RuntimeError, pool.close, text="active leases")
        zero.release()
        pool.close()


def test_memory_is_lent_again():
    with store_rig.opened() as s:
        pool = BufferPool(s)
        lease = pool.acquire(100000)
        ptr = lease.ptr
        lease.release()
        again = pool.acquire(99000)
        eq(again.ptr, ptr)
        view = again.buffer
        del again  # gives back although a view is alive, whose memory is not lent meanwhile
        view[0] = 7
        other = pool.acquire(99000)
        assert other.ptr != ptr
        eq(view[0], 7)
        del view, other
        pool.close()


def test_exhausted():
    with store_rig.opened(local=MB) as s:
        pool = BufferPool(s, block_on_exhaustion=False)
        raises(RuntimeError, pool.acquire, 2 * MB + 1, text="capacity")
        a = pool.acquire(2 * MB)
        raises(RuntimeError, pool.acquire, 1, text="exhausted")
        began = time.monotonic()
        raises(RuntimeError, pool.acquire, 1, True, 0.2, text="timed out waiting for buffer")
        assert 0.15 < time.monotonic() - began < 5
        raises(RuntimeError, pool.acquire, 1, timeout=-1)
        raises(TypeError, pool.acquire, -1)
        raises(TypeError, pool.acquire)
        a.release()
        pool.acquire(1).release()
        eq(BufferPool(s, 5 * MB).acquire(5 * MB).size, 5 * MB)


def test_waits_for_what_comes_back():
    with store_rig.opened(local=MB) as s:
        pool = BufferPool(s)
        a = pool.acquire(2 * MB)
        got = []
        t = threading.Thread(target=lambda: got.append(pool.acquire(MB)))
        t.start()
        tap.until(lambda: t.is_alive())
        a.release()
        t.join(10)
        eq(got[0].size, MB)
        got.clear()

        def use():
            for _ in range(200):
                with pool.acquire(MB // 2) as lease:
                    lease.buffer[0] = 1

        threads = [threading.Thread(target=use) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
            assert not t.is_alive()
        pool.close()


def test_anything_may_go_first():
    s = store_rig.opened()
    pool = BufferPool(s)
    a, b = pool.acquire(5000), pool.acquire(5000)
    view = b.buffer
    s.close()
    raises(RuntimeError, pool.acquire, 1 << 20, text="closed")
    view[4999] = 3
    a.release()
    del pool, s
    gc.collect()
    eq(b.buffer[4999], 3)
    del b
    eq(view[4999], 3)
    del view, a


def test_exit_with_everything_alive():
    code = ("import sys\nfrom mooncake.store import *\ns = MooncakeDistributedStore()\n"
            "s.setup('127.0.0.1', 'P2PHANDSHAKE', 16 << 20, 1 << 20, 'tcp', '', 'embedded')\n"
            "p = BufferPool(s)\na = p.acquire(4096)\nv = a.buffer\nprint('end')")
    eq(tap.python(code), (0, "end\n", ""))


def test_nothing_is_left_behind():
    with store_rig.opened() as s:
        pool = BufferPool(s)
        for _ in range(200):
            pool.acquire(70000).buffer[0] = 1
        before, refs = tap.rss(), sys.getrefcount(s)
        for _ in range(20000):
            with pool.acquire(70000) as lease:
                lease.buffer[0] = 1
        eq(sys.getrefcount(s), refs)
        assert tap.rss() - before < 2 << 20
        pool.close()


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
