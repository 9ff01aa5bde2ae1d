#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An engine in the hands of a program on asyncio: transfers as awaitables with a time limit, cancelled when it is over; a peer that
stands still; memory that is mapped twice, and unregistered while peers use it. By this host's memory and over the network."""
import asyncio
import ctypes
import os
import sys

import tap
from tap import eq

from mooncake.engine import Read, TransferEngine, Write

SIZE = 1 << 20

PEER = """
import ctypes, mmap, os, sys
from mooncake.engine import TransferEngine
SIZE = 1 << 20
e = TransferEngine()
assert e.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", "") == 0
fd = os.memfd_create("twice")
os.ftruncate(fd, SIZE)
maps = [mmap.mmap(fd, SIZE) for _ in range(2)]  # the same pages at two addresses
at = [ctypes.addressof(ctypes.c_char.from_buffer(m)) for m in maps]
codes = [e.register_memory(a, SIZE) for a in at] + [e.register_memory(at[0], SIZE), e.register_memory(at[1] + 4096, 4096)]
print(e.get_rpc_port(), *at, *codes, flush=True)
for line in sys.stdin:
    what, n = line.split()
    if what == "in": print(e.register_memory(at[int(n)], SIZE), flush=True)
    if what == "out": print(e.unregister_memory(at[int(n)]), flush=True)
    if what == "byte": print(maps[0][int(n)], flush=True)
"""


class Peer(tap.Daemon):
    def __init__(self):
        super().__init__([sys.executable, "-c", PEER])
        port, *self.at = [int(w) for w in self.first.split()[:3]]
        self.codes = [int(w) for w in self.first.split()[3:]]
        self.name = f"127.0.0.1:{port}"


class Awaited:
    """What a program writes once: transfers of an engine as awaitables."""

    def __init__(self, engine):
        self.engine, self.loop, self.waiting = engine, asyncio.get_running_loop(), {}
        self.fd = engine.get_transfer_fd()
        self.loop.add_reader(self.fd, self.ended)

    def ended(self):
        for i in self.engine.get_ended_transfers():
            statuses = self.engine.get_transfer_statuses(i)
            self.engine.get_batch_transfer_status([i])  # collects it
            future = self.waiting.pop(i)
            if not future.done():
                future.set_result(statuses)

    async def move(self, opcode, peer, local, remote, lengths):
        """Statuses of the items. When the caller does not wait any longer, nothing touches the memory any more."""
        i = self.engine.batch_transfer_async(peer, local, remote, lengths, opcode)
        assert i, "not submitted"
        self.waiting[i] = self.loop.create_future()
        try:
            return await self.waiting[i]
        except asyncio.CancelledError:
            self.engine.cancel_transfer(i)
            raise

    def close(self):
        self.loop.remove_reader(self.fd)


def started(ways):
    os.environ["MC_TRANSPORTS"] = ways
    e = TransferEngine()
    eq(e.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", ""), 0)
    os.environ.pop("MC_TRANSPORTS")
    return e


def on_a_loop(ways, body):
    async def run():
        e = started(ways)
        a = Awaited(e)
        buf = (ctypes.c_char * SIZE)()
        with Peer() as p:
            await body(a, p, ctypes.addressof(buf), buf)
        a.close()
        assert not a.waiting, a.waiting
    asyncio.run(run())


def by_both(body):
    on_a_loop("", body)
    on_a_loop("tcp", body)


async def many_with_a_mistake(a, p, ptr, buf):
    async def one(n):
        remote = [p.at[n % 2] + n * 512, 1 if n % 10 == 9 else p.at[1] + n * 512 + 256]
        return await a.move(Write, p.name, [ptr + n * 512, ptr + n * 512 + 256], remote, [256, 256])
    buf[:] = bytes(i * 7 & 255 for i in range(256)) * (SIZE // 256)
    got = await asyncio.gather(*[one(n) for n in range(500)])
    eq(got, [[1, -1] if n % 10 == 9 else [1, 1] for n in range(500)])
    eq(p.ask("byte 300"), str(300 * 7 & 255))


def test_each_item_says_what_became_of_it():
    by_both(many_with_a_mistake)


async def stands_still(a, p, ptr, buf):
    """Of two peers one stands still: what is asked of it ends when the program has waited long enough, the rest goes on."""
    with Peer() as other:
        eq(await a.move(Read, p.name, [ptr], [p.at[0]], [SIZE]), [1])
        p.freeze()
        stuck = [asyncio.create_task(a.move(Read, p.name, [ptr], [p.at[0]], [SIZE])) for _ in range(5)]
        for _ in range(20):
            eq(await a.move(Read, other.name, [ptr + SIZE // 2] * 3, [other.at[0]] * 3, [1000] * 3), [1, 1, 1])
        assert not any(t.done() for t in stuck)
        for t in stuck:
            t.cancel()
        eq([type(r) for r in await asyncio.gather(*stuck, return_exceptions=True)], [asyncio.CancelledError] * 5)
        buf[:] = b"\1" * SIZE
        p.thaw()
        try:
            await asyncio.wait_for(a.move(Read, p.name, [ptr], [p.at[0]], [1]), 10)
        except asyncio.TimeoutError:
            raise AssertionError("the peer goes on, and nobody hears of it") from None
        eq(buf[1:], b"\1" * (SIZE - 1))  # what was cancelled came late, and went nowhere
        while a.waiting:
            await asyncio.sleep(0)


def test_a_peer_that_stands_still():
    on_a_loop("tcp", stands_still)  # the other way needs nothing of the peer


async def mapped_twice(a, p, ptr, buf):
    eq(p.codes, [0, 0, -7, -7])
    buf[:8] = b"pictures"
    eq(await a.move(Write, p.name, [ptr], [p.at[0]], [8]), [1])
    eq(await a.move(Read, p.name, [ptr + 8], [p.at[1]], [8]), [1])
    eq(buf[:16], b"picturespictures")
    eq(p.ask("out 0"), "0")
    eq(await a.move(Read, p.name, [ptr] * 2, p.at, [8] * 2), [-1, 1])  # one of the addresses is gone, the pages are not
    eq(p.ask("in 0"), "0")
    eq(await a.move(Read, p.name, [ptr] * 2, p.at, [8] * 2), [1, 1])


def test_memory_that_is_mapped_twice():
    by_both(mapped_twice)


async def unregistered_meanwhile(a, p, ptr, buf):
    """Again and again, with transfers under way: each item succeeds or fails, and the other mapping's always succeed."""
    seen, over = set(), False

    async def keep_on(n):
        while not over:
            first, second = await a.move(Read, p.name, [ptr + n * 65536] * 2, p.at, [65536] * 2)
            eq(second, 1)
            seen.add(first)
    readers = [asyncio.create_task(keep_on(n)) for n in range(8)]
    loop = asyncio.get_running_loop()
    for _ in range(10):
        eq(await loop.run_in_executor(None, p.ask, "out 0"), "0")
        eq(await a.move(Read, p.name, [ptr], [p.at[0]], [8]), [-1])
        eq(await loop.run_in_executor(None, p.ask, "in 0"), "0")
        eq(await a.move(Read, p.name, [ptr], [p.at[0]], [8]), [1])
    over = True
    await asyncio.gather(*readers)
    assert 1 in seen and seen <= {1, -1}, seen


def test_memory_that_is_unregistered_meanwhile():
    by_both(unregistered_meanwhile)


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
