# SPDX-License-Identifier: Apache-2.0
"""One client of the demo: takes the next request, reads the prefix that is stored, computes and stores the rest.

What it did is noted in memory shared with the demo, so that kill -9 loses none of it. Between requests it holds nothing;
the demo makes all players wait by taking the lock that guards the next request.
"""
import ctypes
import fcntl
import mmap
import os
import random
import struct
import sys
import time

import blocktrace

PATTERN_SLOTS = 1 << 19
PATTERN_STEP = 64
SAMPLES = 1 << 16

# Notes of one player: numbers, then the samples of each kind.
COUNTS = ("requests", "blocks", "hits", "loaded", "stored", "wrong", "refused", "load_ns", "store_ns", "lookup_ns",
          "phase", "at", "putting", "put_first", "late", "longest_ns", "compute_ns", "ready")
KINDS = ("lookup", "load", "store")
NOTES_BYTES = mmap.PAGESIZE + len(KINDS) * (8 + 4 * SAMPLES)
IDLE, BUSY, PUTTING = 0, 1, 2
CALL_LIMIT_NS = 12 * 10**9          # the library's own limit is 10 s


class Notes:
    def __init__(self, fd):
        self.m = mmap.mmap(fd, NOTES_BYTES)
        self.v = memoryview(self.m)
        self.n = self.v[:8 * len(COUNTS)].cast("Q")
        self.kind = {}
        at = mmap.PAGESIZE
        for k in KINDS:
            self.kind[k] = (self.v[at:at + 8].cast("Q"), self.v[at + 8:at + 8 + 4 * SAMPLES].cast("f"))
            at += 8 + 4 * SAMPLES

    def get(self, name):
        return self.n[COUNTS.index(name)]

    def set(self, name, value):
        self.n[COUNTS.index(name)] = value

    def add(self, name, value):
        self.n[COUNTS.index(name)] += value

    def sample(self, kind, ns):
        """Duration of one call; past SAMPLES the oldest are replaced."""
        count, ring = self.kind[kind]
        ring[count[0] % SAMPLES] = ns / 1000
        count[0] += 1
        self.add(kind + "_ns", ns)
        if ns > self.get("longest_ns"):
            self.set("longest_ns", ns)
        if ns > CALL_LIMIT_NS:
            self.add("late", 1)

    def samples(self, kind):
        count, ring = self.kind[kind]
        return list(ring[:min(count[0], SAMPLES)])


class Control:
    """Which request is next. Every process opens the file anew: the lock belongs to the open file."""

    def __init__(self, fd):
        self.m = mmap.mmap(fd, mmap.PAGESIZE)
        self.n = memoryview(self.m).cast("Q")
        self.lock_fd = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)

    def lock(self):
        fcntl.flock(self.lock_fd, fcntl.LOCK_EX)

    def unlock(self):
        fcntl.flock(self.lock_fd, fcntl.LOCK_UN)

    @property
    def next(self):
        return self.n[0]

    def take(self, notes):
        """The next request's number. BUSY is noted before the lock is free: whoever gets it next sees who is at work."""
        self.lock()
        i = self.n[0]
        self.n[0] = i + 1
        notes.set("at", i)
        notes.set("phase", BUSY)
        self.unlock()
        return i


def address(m):
    return ctypes.addressof(ctypes.c_char.from_buffer(m))


class Blocks:
    """What each block must hold: a window of fixed random bytes, another one for each of the first half million ids."""

    def __init__(self, size):
        self.size = size
        total = PATTERN_SLOTS * PATTERN_STEP
        self.m = mmap.mmap(-1, total + size)
        self.m[:total] = random.Random(20250225).randbytes(total)
        self.m[total:] = self.m[:size]
        self.addr = address(self.m)
        self.memcmp = ctypes.CDLL(None).memcmp
        self.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)

    def of(self, block):
        return self.addr + block * 2654435761 % PATTERN_SLOTS * PATTERN_STEP

    def compute(self, block, to):
        ctypes.memmove(to, self.of(block), self.size)

    def wrong(self, block, addr):
        return self.memcmp(addr, self.of(block), self.size) != 0


def open_store(master, pool=0, attempts=1):
    from mooncake.store import MooncakeDistributedStore
    for attempt in range(attempts):
        s = MooncakeDistributedStore()
        ret = s.setup("127.0.0.1:0", "P2PHANDSHAKE", pool, 16 << 20, "tcp", "", master)
        if ret == 0:
            return s
        time.sleep(0.1)
    sys.exit(f"no store at {master}: {ret}")


class Buffer:
    """Room for @count blocks, registered."""

    def __init__(self, store, count, size):
        self.m = mmap.mmap(-1, count * size)
        self.addr = address(self.m)
        self.count, self.size = count, size
        ret = store.register_buffer(self.addr, count * size)
        if ret:
            sys.exit(f"register_buffer: {ret}")

    def at(self, i):
        return self.addr + i * self.size


class Player:
    def __init__(self, store, blocks, room, notes):
        self.store, self.blocks, self.notes = store, blocks, notes
        self.room = Buffer(store, room, blocks.size)

    def timed(self, kind, fn, *args):
        start = time.monotonic_ns()
        out = fn(*args)
        self.notes.sample(kind, time.monotonic_ns() - start)
        return out

    def prefix(self, keys):
        there = self.timed("lookup", self.store.batch_is_exist, keys)
        return next((i for i, x in enumerate(there) if x != 1), len(there))

    def load(self, ids, keys, n):
        """Reads the first n blocks; as many as came are compared, every byte."""
        size, room = self.blocks.size, self.room
        got = self.timed("load", self.store.batch_get_into, keys[:n], [room.at(i) for i in range(n)], [size] * n)
        usable = next((i for i, x in enumerate(got) if x != size), n)
        self.notes.add("loaded", sum(x == size for x in got))
        for i in range(n):
            if got[i] == size and self.blocks.wrong(ids[i], room.at(i)):
                self.notes.add("wrong", 1)
                print(f"wrong bytes in block {ids[i]}", flush=True)
        return usable

    def put(self, ids, keys, n):
        size, room, notes = self.blocks.size, self.room, self.notes
        start = time.monotonic_ns()
        for i in range(n, len(ids)):
            self.blocks.compute(ids[i], room.at(i))
        notes.add("compute_ns", time.monotonic_ns() - start)
        notes.set("put_first", n)
        notes.set("putting", len(ids) - n)
        notes.set("phase", PUTTING)
        ret = self.timed("store", self.store.batch_put_from, keys[n:], [room.at(i) for i in range(n, len(ids))],
                         [size] * (len(ids) - n))
        notes.set("phase", BUSY)
        refused = sum(x != 0 for x in ret)
        notes.add("refused", refused)
        notes.add("stored", len(ret) - refused)

    def play(self, ids):
        keys = [f"block-{b}" for b in ids]
        n = self.prefix(keys)
        if n:
            n = self.load(ids, keys, n)
        if n < len(ids):
            self.put(ids, keys, n)
        self.notes.add("hits", n)
        self.notes.add("blocks", len(ids))
        self.notes.add("requests", 1)


def main(argv):
    trace, limit, size, master, control_fd, notes_fd, first = argv
    requests = blocktrace.read(trace, int(limit))
    control, notes = Control(int(control_fd)), Notes(int(notes_fd))
    i = int(first)
    notes.set("phase", IDLE if i < 0 else BUSY)
    player = Player(open_store(master, attempts=50), Blocks(int(size)), max(map(len, requests)), notes)
    notes.set("ready", 1)
    if i < 0:
        i = control.take(notes)
    while i < len(requests):
        player.play(requests[i])
        notes.set("phase", IDLE)
        i = control.take(notes)
    notes.set("phase", IDLE)
    player.store.close()


if __name__ == "__main__":
    main(sys.argv[1:])
