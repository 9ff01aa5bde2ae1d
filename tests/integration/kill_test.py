#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every process of a small cluster is killed and stopped in turn, under load; counts what that cost.

    writer w0 (to node 1) ──┐                     ┌── mooncake-node 1
    writer w1 (to node 2) ──┤                     ├── mooncake-node 2
    writer w2 (to itself) ──┼── mooncake-master ──┴── the pool of w2
    writer w3, two readers ─┘

Writers note in shared memory what they are putting and which puts returned; readers compare all bytes of what they get. Pools
are large enough that nothing is evicted: an object whose put returned is readable, or its pool's process is dead.
"""
import collections
import json
import mmap
import os
import random
import signal
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../tools/demo"))
from cluster import Failure, Master, Node, Proc          # noqa: E402
from player import Blocks, Buffer, open_store            # noqa: E402

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
MiB = 1 << 20
SIZE, BATCH, PER_WRITER, READERS = 8 << 10, 8, 1 << 16, 2
OPEN, DONE, FAILED = 1, 2, 3            # states of one put
LIMIT_S = 12                            # every call's deadline is 10 s
KILLS = 3
STOPPED_S = 13                          # so that calls run into it
WRITERS = 4
CALLS, BYTES, WRONG, MISSES, LATE, LONGEST_NS, REFUSED, PHASE, PAUSED = range(9)


def key(block):
    return f"kill-{block >> 16}-{block & 0xffff}"


class Shared:
    """Counters of each process, and the state of each put of each writer."""

    def __init__(self, fd=None):
        self.fd = os.memfd_create("shared") if fd is None else fd
        slots = WRITERS + READERS + 1
        if fd is None:
            os.ftruncate(self.fd, mmap.PAGESIZE * slots + WRITERS * PER_WRITER)
        m = memoryview(mmap.mmap(self.fd, mmap.PAGESIZE * slots + WRITERS * PER_WRITER))
        page = [m[i * mmap.PAGESIZE:(i + 1) * mmap.PAGESIZE].cast("Q") for i in range(slots)]
        self.count, self.control = page[:-1], page[-1]
        self.state = m[mmap.PAGESIZE * slots:]

    def blocks(self, slot, state):
        part = bytes(self.state[slot * PER_WRITER:(slot + 1) * PER_WRITER])
        out, at = [], part.find(state)
        while at >= 0:
            out.append(slot * PER_WRITER + at)
            at = part.find(state, at + 1)
        return out

    def stored(self, slots=range(WRITERS)):
        return [b for s in slots for b in self.blocks(s, DONE)]

    def sum(self, what):
        return sum(c[what] for c in self.count)


class Timed:
    def __init__(self, count):
        self.count = count

    def call(self, fn, *args):
        start = time.monotonic_ns()
        out = fn(*args)
        took = time.monotonic_ns() - start
        self.count[CALLS] += 1
        self.count[LONGEST_NS] = max(self.count[LONGEST_NS], took)
        self.count[LATE] += took > LIMIT_S * 10**9
        return out


# ---- the processes under load ----

def write(shared, slot, master, pool, segment):
    from mooncake.store import ReplicateConfig
    store, count = open_store(master, pool, 50), shared.count[slot]
    blocks, timed = Blocks(SIZE), Timed(count)
    room = Buffer(store, BATCH, SIZE)
    config = ReplicateConfig()
    config.preferred_segment = store.get_hostname() if pool else segment
    seq = len(bytes(shared.state[slot * PER_WRITER:(slot + 1) * PER_WRITER]).rstrip(b"\0"))
    while seq + BATCH <= PER_WRITER:
        while shared.control[PAUSED]:
            count[PAUSED] = 1
            time.sleep(0.01)
        count[PAUSED] = 0
        ids = [slot * PER_WRITER + seq + i for i in range(BATCH)]
        for i, b in enumerate(ids):
            blocks.compute(b, room.at(i))
            shared.state[b] = OPEN
        count[PHASE] = 1
        ret = timed.call(store.batch_put_from, [key(b) for b in ids], [room.at(i) for i in range(BATCH)], [SIZE] * BATCH, config)
        count[PHASE] = 0
        for b, r in zip(ids, ret):
            shared.state[b] = DONE if r == 0 else FAILED
            count[REFUSED] += r != 0
            count[BYTES] += SIZE * (r == 0)
        seq += BATCH
        time.sleep(0.03)                # pace, so that pools stay large enough


def read(shared, slot, master):
    store, count = open_store(master, 0, 50), shared.count[slot]
    blocks, timed = Blocks(SIZE), Timed(count)
    room = Buffer(store, 16, SIZE)
    rng = random.Random(slot)
    while True:
        ids = shared.blocks(rng.randrange(WRITERS), DONE)
        if not ids:
            time.sleep(0.01)
            continue
        ids = [rng.choice(ids) for _ in range(16)]
        got = timed.call(store.batch_get_into, [key(b) for b in ids], [room.at(i) for i in range(16)], [SIZE] * 16)
        for i, b in enumerate(ids):
            if got[i] != SIZE:
                count[MISSES] += 1
                continue
            count[BYTES] += SIZE
            if blocks.wrong(b, room.at(i)):
                count[WRONG] += 1
                print(f"wrong bytes in {key(b)}", flush=True)


# ---- the test ----

class Test:
    def __init__(self):
        self.shared, self.blocks = Shared(), Blocks(SIZE)
        self.procs, self.worker, self.n, self.bad, self.began = [], {}, 0, 0, time.monotonic()
        self.probe_wrong = 0

    def own(self, p):
        self.procs.append(p)
        return p

    def check(self, good, text):
        self.n += 1
        self.bad += not good
        print(f"{'ok' if good else 'not ok'} {self.n} {text}", flush=True)

    def note(self, text):
        print(f"# {time.monotonic() - self.began:5.1f} s  {text}", flush=True)

    def start_worker(self, slot, pool=0, segment=""):
        name = f"writer w{slot}" if slot < WRITERS else f"reader r{slot}"
        self.worker[slot] = self.own(Proc(name, [sys.executable, __file__, str(slot), str(self.shared.fd), self.master.addr,
                                                 str(pool), segment],
                                          env=dict(os.environ, PYTHONPATH=f"{BUILD}/python"), pass_fds=(self.shared.fd,)))

    def start(self):
        self.master = self.own(Master(BUILD))
        self.nodes = [self.own(Node(BUILD, f"node{i}", self.master.addr, 256 * MiB, ["--huge_pages=false"])) for i in (1, 2)]
        self.master.wait_ready(2)
        self.start_worker(0, segment=self.nodes[0].segment)
        self.start_worker(1, segment=self.nodes[1].segment)
        self.start_worker(2, pool=128 * MiB)
        self.start_worker(3)
        for r in range(READERS):
            self.start_worker(WRITERS + r)
        for slot in range(4):
            self.wait_puts(slot, 80)

    def wait_puts(self, slot, more, seconds=30):
        """The writer's puts return."""
        want, end = len(self.shared.blocks(slot, DONE)) + more, time.monotonic() + seconds
        while len(self.shared.blocks(slot, DONE)) < want:
            if not self.worker[slot].alive():
                raise Failure(f"{self.worker[slot].name} ended:\n{self.worker[slot].log()}")
            if time.monotonic() > end:
                raise Failure(f"{self.worker[slot].name} stored less than {more} objects in {seconds} s:\n"
                              f"{self.worker[slot].log()}")
            time.sleep(0.01)

    def fetch(self, ids):
        """(those of @ids that a new client reads, seconds of the longest call)"""
        store = open_store(self.master.addr, 0, 50)
        room, there, longest = Buffer(store, 64, SIZE), set(), 0.0
        for at in range(0, len(ids), 64):
            part = ids[at:at + 64]
            start = time.monotonic()
            got = store.batch_get_into([key(b) for b in part], [room.at(i) for i in range(len(part))], [SIZE] * len(part))
            longest = max(longest, time.monotonic() - start)
            for i, b in enumerate(part):
                if got[i] == SIZE:
                    there.add(b)
                    self.probe_wrong += self.blocks.wrong(b, room.at(i))
        store.close()
        return there, longest

    def all_readable(self, what, ids, seconds=15):
        """Within that time; a pool that was away needs a moment to join again."""
        end = time.monotonic() + seconds
        while True:
            there, _ = self.fetch(ids)
            missing = len(ids) - len(there)
            if not missing or time.monotonic() > end:
                break
            time.sleep(0.1)
        self.check(missing == 0, f"{what}: {len(ids) - missing} of {len(ids)} objects readable and right")

    def longest(self, what):
        took = [c[LONGEST_NS] / 1e9 for c in self.shared.count]
        self.note(f"{what}: longest put {max(took[:WRITERS]):.2f} s, longest get {max(took[WRITERS:]):.2f} s; "
                  f"{self.shared.sum(REFUSED)} puts refused, {self.shared.sum(MISSES)} misses so far")
        for c in self.shared.count:
            c[LONGEST_NS] = 0

    # ---- scenes ----

    def client_killed(self):
        slot, unfinished, left = 3, 0, 0
        for _ in range(KILLS):
            end = time.monotonic() + 10
            while not self.shared.count[slot][PHASE] and time.monotonic() < end:
                pass
            self.worker[slot].kill()
            self.worker[slot].reap()
            ids = self.shared.blocks(slot, OPEN)
            there, _ = self.fetch(ids)
            unfinished += len(ids)
            left += len(there)
            for b in ids:
                self.shared.state[b] = FAILED       # not promised
            self.shared.count[slot][PHASE] = 0
            self.start_worker(slot)
            self.wait_puts(slot, 16)
        self.note(f"{KILLS} clients killed: {unfinished} puts had not returned, {left} of them are stored all the same")
        self.all_readable("client killed", self.shared.stored())
        self.longest("client killed")

    def stopped(self, proc, what, seconds):
        ids = self.shared.stored()
        proc.kill(signal.SIGSTOP)
        time.sleep(seconds)
        self.longest(f"{what} stopped for {seconds} s")
        proc.kill(signal.SIGCONT)
        self.all_readable(f"{what} stopped and continued", ids)
        for slot in range(4):
            self.wait_puts(slot, 16)
        self.check(True, f"{what} continued: all writers store again")
        self.longest(f"{what} continued")

    def master_killed(self):
        ids = self.shared.stored()
        evicted = sum(n.evicted() for n in self.nodes)
        self.master.kill()
        self.master.reap()
        time.sleep(1)
        port = self.master.port
        start = time.monotonic()
        self.master = self.own(Master(BUILD, port=port, name="blank master"))
        m = self.master.wait_ready(3)
        known = int(m["master_key_count"])
        self.note(f"the blank master was ready after {time.monotonic() - start:.2f} s and knew {known} objects")
        self.check(known >= len(ids), f"a blank master knows all {len(ids)} objects again")
        self.all_readable("master killed", ids)
        self.check(sum(n.evicted() for n in self.nodes) == evicted, "puts that no master could take evicted nothing")
        for slot in range(4):
            self.wait_puts(slot, 16)
        self.check(True, "all writers store again")
        self.longest("master killed")

    def pause(self, seconds=LIMIT_S):
        """No writer is inside a put."""
        self.shared.control[PAUSED] = 1
        end = time.monotonic() + seconds
        while any(w.alive() and not self.shared.count[s][PAUSED] for s, w in self.worker.items() if s < WRITERS):
            if time.monotonic() > end:
                raise Failure(f"a writer is inside one call for {seconds} s")
            time.sleep(0.01)

    def places(self, ids):
        """Where the master says each of @ids lies. A writer's objects go elsewhere while its own pool is stopped."""
        where = {}
        for at in range(0, len(ids), 128):
            part = ids[at:at + 128]
            url = f"http://{self.master.http}/batch_query_keys?keys={','.join(key(b) for b in part)}"
            with urllib.request.urlopen(url, timeout=5) as r:
                data = json.load(r)["data"]
            for b in part:
                if data[key(b)]["ok"]:
                    where[b] = data[key(b)]["values"][0]["transport_endpoint_"]
        return where

    def owner_killed(self, proc, slot, what):
        """Most of @slot's objects lie in the pool that dies with @proc."""
        self.pause()            # no new objects: the counts are exact
        where = self.places(self.shared.stored())
        pool = collections.Counter(where[b] for b in self.shared.stored([slot]) if b in where).most_common(1)[0][0]
        own = [b for b in where if where[b] == pool]
        others = [b for b in where if where[b] != pool]
        proc.kill()
        proc.reap()
        start = time.monotonic()
        there, longest = self.fetch(own)
        self.note(f"{what} killed: {len(own) - len(there)} of its {len(own)} objects are gone; asking for all of them took "
                  f"{time.monotonic() - start:.2f} s, the longest call {longest:.2f} s")
        self.check(longest < LIMIT_S, f"{what} killed: misses come before the deadline")
        again = time.monotonic()
        self.fetch(own)
        self.check(time.monotonic() - again < 2, f"{what} killed: the second time in {time.monotonic() - again:.2f} s")
        self.gone.add(slot)
        self.all_readable(f"{what} killed: other pools", others)
        self.shared.control[PAUSED] = 0
        self.wait_puts(3, 16)
        self.check(True, f"{what} killed: others store again")
        self.longest(f"{what} killed")

    def run(self):
        self.gone = set()
        self.start()
        self.check(True, "two nodes, a pool of a client, four writers, two readers")
        self.client_killed()
        self.stopped(self.worker[1], "a client", 2)
        self.stopped(self.worker[2], "a client with a pool", 2)
        self.stopped(self.nodes[0], "a node", STOPPED_S)
        self.stopped(self.master, "the master", STOPPED_S)
        self.master_killed()
        self.owner_killed(self.nodes[0], 0, "node 1")
        self.owner_killed(self.worker[2], 2, "a client with a pool")
        for slot, w in self.worker.items():
            if not w.alive() and slot not in self.gone:
                self.check(False, f"{w.name} ended by itself with {w.p.returncode}: {w.log()[-2000:]}")
        self.check(self.shared.sum(LATE) == 0, f"{self.shared.sum(CALLS)} calls, none over its deadline")
        wrong = self.shared.sum(WRONG) + self.probe_wrong
        self.check(wrong == 0, f"{self.shared.sum(BYTES) / MiB:.0f} MiB read and written, {wrong} wrong")
        for w in self.worker.values():
            w.kill()
        for d in (self.nodes[1], self.master):
            rc = d.stop(20)
            self.check(rc == 0, f"{d.name} ends in order when asked: {rc}")

    def stop(self):
        for p in reversed(self.procs):
            p.kill()
        for p in self.procs:
            p.p.wait()


def main():
    if len(sys.argv) > 1:
        slot, fd, master, pool = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
        if slot < WRITERS:
            return write(Shared(fd), slot, master, pool, sys.argv[5])
        return read(Shared(fd), slot, master)
    if not os.path.exists(f"{BUILD}/python/mooncake/_core.abi3.so"):
        print("1..0 # SKIP the Python package is not built")
        return 77
    sys.path.insert(0, f"{BUILD}/python")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    t = Test()
    try:
        t.run()
    except Failure as e:
        t.check(False, str(e).replace("\n", "\n# "))
    finally:
        if t.bad:
            for p in t.procs:
                print("\n".join(f"# {p.name}: {line}" for line in p.log().splitlines()[-25:]))
        t.stop()
    print(f"1..{t.n}")
    return 1 if t.bad else 0


if __name__ == "__main__":
    sys.exit(main())
