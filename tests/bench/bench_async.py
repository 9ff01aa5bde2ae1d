#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The store for asyncio: gets of what is here beside an empty coroutine, and 10,000 gets in flight that only the master can answer beside
the same calls through the event loop's own threads. One JSON line per case; `limit` is what the figure is held against."""
import asyncio
import json
import os
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
sys.path[:0] = [os.path.join(BUILD, "python"), os.path.join(ROOT, "tests", "python")]

import store_rig  # noqa: E402
import tap  # noqa: E402

from mooncake.async_store import MooncakeDistributedStoreAsync  # noqa: E402

IN_FLIGHT = 10000
TURNS = 5
THREADS = 4
MEMORY = 64 << 20


def row(name, value, unit, **more):
    print(json.dumps({"case": name, "value": round(value, 3), "unit": unit, **more}), flush=True)


def count(what):
    return len(os.listdir(f"/proc/self/{what}"))


async def nothing(key):
    return key


async def seconds(f, n):
    start = time.perf_counter()
    for _ in range(n):
        await f("k")
    return (time.perf_counter() - start) / n


async def here(s):
    mine, theirs = [], []
    for _ in range(TURNS):
        mine.append(await seconds(s.async_get, IN_FLIGHT))
        theirs.append(await seconds(nothing, IN_FLIGHT))
    m, t = statistics.median(mine) * 1e9, statistics.median(theirs) * 1e9
    row("async.get.here.64B", m, "ns", empty_coroutine_ns=round(t, 1))


async def all_at_once(f):
    """(seconds, most threads and descriptors more, bytes more) of all gets in flight together."""
    t, d, memory = count("task"), count("fd"), tap.rss()
    start = time.perf_counter()
    tasks = [asyncio.create_task(f(f"none{i}")) for i in range(IN_FLIGHT)]
    await asyncio.sleep(0)
    peak = count("task") - t, count("fd") - d, tap.rss() - memory
    got = await asyncio.gather(*tasks)
    assert set(got) == {b""}
    return time.perf_counter() - start, max(peak[0], count("task") - t), peak[1], max(peak[2], tap.rss() - memory)


async def far(s):
    loop = asyncio.get_running_loop()

    async def executor(key):
        return await loop.run_in_executor(None, s.get, key)
    first = await all_at_once(s.async_get)
    mine, theirs = [first[0]], []
    theirs.append((await all_at_once(executor))[0])
    for _ in range(TURNS - 1):
        mine.append((await all_at_once(s.async_get))[0])
        theirs.append((await all_at_once(executor))[0])
    m, t = statistics.median(mine), statistics.median(theirs)
    row(f"async.get.far.{IN_FLIGHT}", m / IN_FLIGHT * 1e6, "us/get", executor_us=round(t / IN_FLIGHT * 1e6, 3), threads=first[1], descriptors=first[2],
        memory_MiB=round(first[3] / (1 << 20), 1), limit={"threads": THREADS, "descriptors": 1, "memory_MiB": MEMORY >> 20},
        holds=first[1] <= THREADS and first[2] <= 1 and first[3] <= MEMORY)


async def main(master):
    async with MooncakeDistributedStoreAsync() as s:
        assert await s.async_setup("127.0.0.1", "P2PHANDSHAKE", 0, 16 << 20, "tcp", "", master) == 0
        await s.async_put("k", bytes(64))
        s.get("none")
        asyncio.get_running_loop()
        await far(s)
        await here(s)


if __name__ == "__main__":
    c = store_rig.Cluster()
    with c as first_store:
        asyncio.run(main(c.master.addr))
        first_store.close()
