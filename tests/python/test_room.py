#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory that objects are read into: what is let go of waits for the next read, within local_buffer_size."""
import random
import sys
import threading

import tap
from tap import eq

import store_rig
from store_rig import MB


def test_the_next_read_finds_it():
    with store_rig.opened() as s:
        eq(s.put("k", b"1" * MB), 0)
        eq(s.put("l", b"2" * MB), 0)
        a = s.get_buffer("k")
        first = a.ptr()
        b = s.get_buffer("l")
        assert b.ptr() != first  # nobody has what another one has
        eq(bytes(a), b"1" * MB)
        del a
        c = s.get_buffer("l")
        eq(c.ptr(), first)
        eq((bytes(c), bytes(b)), (b"2" * MB, b"2" * MB))


def test_what_waits_makes_room():
    with store_rig.opened(local=4 * MB) as s:
        for n in (1, 2, 3, 4):
            eq(s.put(f"k{n}", bytes([n]) * (n * MB)), 0)
        for round_ in range(3):
            for n in (1, 2, 3, 4):  # each alone is within the limit, all of them together are not
                h = s.get_buffer(f"k{n}")
                eq(bytes(h), bytes([n]) * (n * MB), f"{n} in round {round_}")
                del h
        a, b = s.get_buffer("k1"), s.get_buffer("k3")
        eq(s.get_buffer("k1"), None)  # those two are the limit
        del a, b
        assert s.get_buffer("k4")


def test_no_more_than_the_limit_waits():
    with store_rig.opened(local=2 * MB, pool=128 * MB) as s:
        eq(s.put("k", b"1" * (2 * MB)), 0)
        eq(s.put("big", b"1" * (32 * MB)), -600)  # over the limit of what passes through
        before = tap.rss()
        for _ in range(50):
            assert s.get_buffer("k")
        assert tap.rss() - before < 8 * MB, f"{(tap.rss() - before) >> 20} MiB more"


def test_it_outlives_the_store():
    s = store_rig.opened()
    eq(s.put("k", b"5" * MB), 0)
    a, b = s.get_buffer("k"), s.get_buffer("k")
    del a
    s.close()
    eq(bytes(b), b"5" * MB)
    s = store_rig.opened()
    eq(s.put("l", b"6" * MB), 0)
    eq(bytes(s.get_buffer("l")), b"6" * MB)
    eq(bytes(b), b"5" * MB)
    s.close()


def test_many_sizes_and_threads():
    wrong = []
    with store_rig.opened(pool=128 * MB, local=8 * MB) as s:
        sizes = [random.Random(i).randrange(1, 2 * MB) for i in range(24)]
        for i, n in enumerate(sizes):
            eq(s.put(f"k{i}", bytes([i]) * n), 0)

        def read(seed):
            r = random.Random(seed)
            held = []
            for _ in range(300):
                i = r.randrange(len(sizes))
                h = s.get_buffer(f"k{i}")  # None: the limit
                if h:
                    held.append((i, h))
                while len(held) > 3 or (held and not h):
                    j, old = held.pop(r.randrange(len(held)))
                    m = memoryview(old).cast("B")
                    if len(m) != sizes[j] or m[0] != j or m[-1] != j or m[len(m) // 2] != j:
                        wrong.append(j)
                    del m, old
                    h = True

        threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    eq(wrong, [])


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
