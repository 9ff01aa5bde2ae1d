#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The store for asyncio. A master that is stopped keeps calls in flight for as long as a test wants."""
import asyncio
import contextlib
import gc
import inspect
import os
import sys
import time
import weakref

import tap
from store_rig import MB, Cluster, Memory
from tap import eq, raises

from mooncake import async_store
from mooncake.async_store import MooncakeDistributedStoreAsync
from mooncake.store import MooncakeDistributedStore, ReplicateConfig

EMBEDDED = ("127.0.0.1", "P2PHANDSHAKE", 64 * MB, 16 * MB, "tcp", "", "embedded")


def fds():
    return len(os.listdir("/proc/self/fd"))


def threads():
    return len(os.listdir("/proc/self/task"))


def alone(f):
    """Runs coroutine f(store) with a store of its own."""
    def test():
        async def body():
            s = MooncakeDistributedStoreAsync()
            eq(await s.async_setup(*EMBEDDED), 0)
            async with s:
                await f(s)
        asyncio.run(body())
    test.__name__ = f.__name__
    return test


class Telling(MooncakeDistributedStoreAsync):
    def get_into_told(self, begun, *args):
        """get_into(), which says when it has begun."""
        begun.append(args)
        return self.get_into(*args)


def cluster(f):
    """f(store, stopped): `with stopped():` around what finds a master that does not answer."""
    def test():
        c = Cluster()

        @contextlib.contextmanager
        def stopped():
            c.master.freeze()
            try:
                yield
            finally:
                c.master.thaw()

        async def body():
            s = Telling()
            eq(await s.async_setup("127.0.0.1", "P2PHANDSHAKE", 0, 16 * MB, "tcp", "", c.master.addr), 0)
            async with s:
                await f(s, stopped)
        with c as first:
            first.close()
            asyncio.run(body())
    test.__name__ = f.__name__
    return test


async def begun(n=20):
    """What was started has run until it waits."""
    for _ in range(n):
        await asyncio.sleep(0.001)


@alone
async def test_every_method(s):
    names = [n for n in dir(MooncakeDistributedStore) if not n.startswith("_")]
    for name in names:
        assert inspect.iscoroutinefunction(getattr(s, f"async_{name}")), name
    raises(AttributeError, getattr, s, "async_nope", text="async_nope")
    raises(AttributeError, getattr, s, "nope", text="nope")
    raises(AttributeError, getattr, s, "async___repr__")
    eq(s.async_get, s.async_get, "made once")
    assert "async_get" in vars(MooncakeDistributedStoreAsync) and not vars(s)
    s.anything = 1
    assert s.async_get.__name__ == "async_get" and "The value" in s.async_get.__doc__

    class Sub(MooncakeDistributedStoreAsync):
        def mine(self, x):
            return self, x
    sub = Sub()
    eq(await sub.async_mine(3), (sub, 3))
    assert not hasattr(s, "async_mine")


@alone
async def test_calls(s):
    m = Memory(4096, 7)
    eq(await s.async_put("a", b"hello", ReplicateConfig()), 0)
    eq(await s.async_get("a"), b"hello")
    eq(await s.async_get("none"), b"")
    eq(await s.async_put_from("m", m.ptr, m.size), 0)
    eq(await s.async_get_into("m", m.ptr, m.size), m.size)
    eq(await s.async_get_into("m", m.ptr, 8), -600)
    eq(await s.async_get_into("none", m.ptr, 8), -704)
    eq(await s.async_batch_is_exist(["a", "none"]), [1, 0])
    eq(await s.async_put("big", bytes(MB)), 0)
    eq(await s.async_get("big"), bytes(MB), "too large for the loop's thread")
    eq(await s.async_put("huge", bytes(17 * MB)), -600)
    eq(bytes(await s.async_get_buffer("a")), b"hello")
    assert await s.async_get_hostname()
    eq(await s.async_health_check(), 0)


@alone
async def test_last_error(s):
    """Right after a call, and of this call: not of another one that ended at the same moment, nor of a thread of the queue."""
    eq(await s.async_put("there", b"1"), 0)

    async def miss(i):
        eq(await s.async_get(f"none{i}"), b"")
        told = s.last_error()
        assert f'"none{i}"' in told and "nobody has it" in told, told

    async def refused():
        eq(await s.async_put("", b"1"), -600)
        assert "key" in s.last_error(), s.last_error()
        eq(await s.async_get("there"), b"1")

    await asyncio.gather(*(miss(i) for i in range(100)), *(refused() for _ in range(20)))


@alone
async def test_exceptions(s):
    for call in (s.async_put("k"), s.async_put(1, b"v"), s.async_get(1), s.async_get(), s.async_get_into("k", -1, 3),
                 s.async_put("k", b"v", nope=1), s.async_get("k", nope=1)):
        try:
            await call
            raise AssertionError("no TypeError")
        except TypeError:
            pass
    got = await asyncio.gather(*[s.async_put(i, b"v") for i in range(100)], return_exceptions=True)
    assert all(isinstance(x, TypeError) for x in got)
    s.close()
    eq((await s.async_get("k"), await s.async_get_into("k", 1, 1), await s.async_put("k", b"v")), (b"", -600, -600))


@cluster
async def test_each_ends_once(s, stopped):
    """More calls than the queue takes at once. Their order is that of the queue (test_async.c), and then the threads'."""
    async def one(i, seen):
        eq(await s.async_put(f"o{i}", b"v"), 0)
        seen.append(i)
    seen = []
    await asyncio.gather(*[one(i, seen) for i in range(2000)])
    eq(sorted(seen), list(range(2000)))
    eq(await s.async_batch_is_exist([f"o{i}" for i in range(2000)]), [1] * 2000)


@cluster
async def test_ten_thousand_in_flight(s, stopped):
    await asyncio.gather(*[s.async_get(f"warm{i}") for i in range(100)])
    eq(await s.async_put("here", b"v"), 0)
    t, f, memory = threads(), fds(), tap.rss()
    with stopped():
        tasks = [asyncio.create_task(s.async_get(f"none{i}")) for i in range(10000)]
        await begun()
        assert not any(x.done() for x in tasks)
        assert threads() <= t + 4 and fds() <= f + 1, (threads() - t, fds() - f)
        grown = tap.rss() - memory
        assert grown < 64 * MB, grown
        eq(await s.async_get("here"), b"v", "what is here waits for nobody")
    eq(set(await asyncio.gather(*tasks)), {b""})
    assert threads() <= t + 4


@cluster
async def test_cancel(s, stopped):
    value, m = bytearray(100), Memory(4096, 7)
    eq(await s.async_get("none"), b"")
    with stopped():
        told = []
        running = [asyncio.create_task(s.async_get_into_told(told, f"none{i}", m.ptr, m.size)) for i in range(4)]
        while len(told) < 4:
            await begun(1)
        waiting = [asyncio.create_task(s.async_put(f"w{i}", value)) for i in range(3000)]
        await begun()
        for x in waiting:
            x.cancel()
        await asyncio.wait(waiting, timeout=2)
        begun_too = [x for x in waiting if not x.done()]  # on a slow machine a read may have given up before
        assert len(begun_too) <= 4, f"what has not begun ends at once: {len(begun_too)}"
        if not begun_too:
            value.append(1)  # not exported, so it may be resized
        ref = weakref.ref(m)
        del m
        running[0].cancel()
        await begun()
        running[0].cancel()
        await begun()
        assert not running[0].done(), "what has begun is waited for"
        timed = asyncio.wait_for(s.async_is_exist("w1"), 0.05)
        try:
            await timed
            raise AssertionError("no time-out")
        except TimeoutError:
            pass
        assert ref() is None
    done = await asyncio.gather(*running, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError), done
    assert all(x < 0 for x in done[1:]), done
    await asyncio.gather(*begun_too, return_exceptions=True)
    assert sum(await s.async_batch_is_exist([f"w{i}" for i in range(3000)])) <= len(begun_too)


@cluster
async def test_close_while_in_flight(s, stopped):
    with stopped():
        tasks = [asyncio.create_task(s.async_get(f"none{i}")) for i in range(2000)]
        puts = [asyncio.create_task(s.async_put(f"p{i}", b"v")) for i in range(100)]
        await begun()
        start = time.monotonic()
        eq(await s.async_close(), 0)
        got = await asyncio.gather(*tasks, *puts)
        assert time.monotonic() - start < 5, time.monotonic() - start
    eq(set(got[:2000]), {b""})
    assert all(x < 0 for x in got[2000:]), got[2000:]


def test_loop_closed():
    """Calls of a loop that is gone end unseen; the next loop has a queue of its own."""
    c = Cluster()
    with c as first:
        first.close()
        s = MooncakeDistributedStoreAsync()
        eq(s.setup("127.0.0.1", "P2PHANDSHAKE", 0, MB, "tcp", "", c.master.addr), 0)
        before = None
        for _ in range(20):
            loop = asyncio.new_event_loop()
            loop.set_exception_handler(lambda *_: None)
            tasks = [loop.create_task(s.async_get(f"none{i}")) for i in range(50)]
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            for t in tasks:
                t._log_destroy_pending = False
            del tasks, t
            eq(asyncio.run(s.async_get("none")), b"")
            gc.collect()
            tap.until(lambda: len(async_store._queues) <= 2, what="queues of closed loops")
            before = before or fds()
        tap.until(lambda: fds() <= before, what="descriptors of closed loops")
        s.close()


def test_leaks():
    async def many(s, n):
        m = Memory(64)
        for i in range(n):
            await s.async_get("none")
            await s.async_get("k")
            await s.async_get_into("k", m.ptr, 64)
        tasks = [asyncio.create_task(s.async_get_into("none", m.ptr, 64)) for _ in range(n)]
        await asyncio.sleep(0)
        for t in tasks[::2]:
            t.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def body():
        s = MooncakeDistributedStoreAsync()
        eq(await s.async_setup(*EMBEDDED), 0)
        await s.async_put("k", bytes(64))
        await many(s, 2000)
        gc.collect()
        objects, f, memory = len(gc.get_objects()), fds(), tap.rss()
        for _ in range(5):
            await many(s, 2000)
        gc.collect()
        assert len(gc.get_objects()) - objects < 100, len(gc.get_objects()) - objects
        assert fds() <= f
        assert tap.rss() - memory < 8 * MB, tap.rss() - memory
        ref = weakref.ref(s)
        await s.async_close()
        del s
        assert ref() is None, "no cycle keeps it"
    asyncio.run(body())


EXIT = """
import asyncio, os, signal, sys, threading
from mooncake.async_store import MooncakeDistributedStoreAsync
s = MooncakeDistributedStoreAsync()
assert s.setup("127.0.0.1", "P2PHANDSHAKE", 0, 1 << 20, "tcp", "", sys.argv[1]) == 0
print('ready', flush=True)
sys.stdin.readline()
ready = threading.Event()
async def body():
    tasks = [asyncio.create_task(s.async_get(f"none{i}")) for i in range(3000)]
    await asyncio.sleep(0.05)
    ready.set()
    await asyncio.gather(*tasks)
threading.Thread(target=lambda: asyncio.run(body()), daemon=True).start()
ready.wait()
"""


def test_interpreter_ends_with_calls_in_flight():
    c = Cluster()
    with c as first:
        first.close()
        child = tap.Daemon([sys.executable, "-c", EXIT, c.master.addr])
        c.master.freeze()
        try:
            start = time.monotonic()
            child.p.stdin.write("go\n")
            child.p.stdin.flush()
            eq(child.p.wait(20), 0)
            took = time.monotonic() - start
            eq(child.errors(), "")
        finally:
            c.master.thaw()
            child.stop()
        assert took < 6, took


FORK = """
import asyncio, os
from mooncake.async_store import MooncakeDistributedStoreAsync
s = MooncakeDistributedStoreAsync()
assert s.setup("127.0.0.1", "P2PHANDSHAKE", 16 << 20, 1 << 20, "tcp", "", "embedded") == 0
async def body():
    assert await s.async_put("k", b"v") == 0 and await s.async_get("none") == b""
    pid = os.fork()
    if not pid:
        try:
            await s.async_put("k", b"v")
        except RuntimeError:  # asyncio's own: no running event loop
            os._exit(7)
        os._exit(9)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(asyncio.run(body()))
pid = os.fork()
if not pid:
    os._exit(asyncio.run(s.async_put("k", b"v")) != -600)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), asyncio.run(s.async_get("k")))
"""


def test_fork():
    rc, out, err = tap.python(FORK)
    eq((rc, out), (0, "7\n0 b'v'\n"), err)


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
