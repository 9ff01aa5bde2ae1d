#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replays the requests of a real LLM service through a master, two nodes and several clients on this machine.

Each request looks up how long a prefix of its blocks is stored, reads that, computes the rest and stores it. Every byte
read is compared with what the block must hold. On the way a client and then the master are killed with kill -9. The table
at the end says what it all cost and what was lost; the exit status is 0 only if no byte was wrong and nothing was lost.
"""
import argparse
import ctypes
import mmap
import os
import signal
import sys
import time

import blocktrace
import player
from cluster import Daemon, Failure, Master, Node, Proc

HERE = os.path.dirname(os.path.abspath(__file__))
KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
STALL_S = 60
OUTAGE_S = 0.3


def options():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--build", default="build", help="folder with bin/ and python/ (default: build)")
    ap.add_argument("--trace", default=os.path.join(HERE, "conversation.trace"),
                    help="requests: JSON lines with hash_ids, or the compact form; default: the one beside this program")
    ap.add_argument("--requests", type=int, default=0, help="play only the first so many (default: all)")
    ap.add_argument("--clients", type=int, default=3, help="processes that play requests (default: 3)")
    ap.add_argument("--block", type=int, default=64 * KiB, help="bytes per block (default: 65536)")
    ap.add_argument("--pool", type=int, default=1024, help="MiB of memory per node (default: 1024)")
    ap.add_argument("--quiet", action="store_true", help="no progress line")
    o = ap.parse_args()
    if o.clients < 2 or o.block < 1 or o.pool < 16:
        ap.error("at least two clients, blocks of a byte, pools of 16 MiB")
    return o


def memory_available():
    with open("/proc/meminfo", encoding="ascii") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("MemAvailable"))


def memcpy_rate(size):
    """Bytes per second of memmove, block by block over memory larger than the caches: what a load could be at best."""
    span = 256 * MiB
    span -= span % size
    a, b = mmap.mmap(-1, span), mmap.mmap(-1, span)
    src, dst = player.address(a), player.address(b)
    ctypes.memset(src, 1, span)
    ctypes.memset(dst, 1, span)
    best = 0
    for _ in range(3):
        start = time.monotonic()
        for at in range(0, span, size):
            ctypes.memmove(dst + at, src + at, size)
        best = max(best, span / (time.monotonic() - start))
    return best


class Client:
    """A player process and the notes it keeps."""

    def __init__(self, run, name, first=-1):
        self.fd = os.memfd_create(f"notes of {name}")
        os.ftruncate(self.fd, player.NOTES_BYTES)
        self.notes = player.Notes(self.fd)
        o = run.o
        self.proc = Proc(name, [sys.executable, os.path.join(HERE, "player.py"), o.trace, str(o.requests), str(o.block),
                                run.master.addr, str(run.control_fd), str(self.fd), str(first)],
                         env=dict(os.environ, PYTHONPATH=f"{o.build}/python"), pass_fds=(self.fd, run.control_fd))


class Run:
    def __init__(self, o):
        self.o = o
        self.requests = blocktrace.read(o.trace, o.requests)
        self.best, self.footprint = blocktrace.best_hits(self.requests)
        self.total_blocks = sum(map(len, self.requests))
        self.procs, self.clients, self.nodes, self.events = [], [], [], []
        self.master = None
        self.dead = set()
        self.lost, self.unfinished, self.probe_wrong = {}, None, 0
        self.paused_s = 0.0
        self.last_next = self.last_change = 0

    # ---- start and stop ----

    def start(self):
        o = self.o
        pool = o.pool * MiB
        room = (memory_available() - 512 * MiB) // 2
        if pool > room:
            pool = max(room - room % MiB, 64 * MiB)
            print(f"memory is short: pools of {pool // MiB} MiB instead of {o.pool}")
        self.pool = pool
        self.memcpy = memcpy_rate(o.block)
        self.blocks = player.Blocks(o.block)
        self.control_fd = os.memfd_create("control")
        os.ftruncate(self.control_fd, mmap.PAGESIZE)
        self.control = player.Control(self.control_fd)
        self.master = self.own(Master(o.build))
        for i in (1, 2):
            self.nodes.append(self.own(Node(o.build, f"mooncake-node {i}", self.master.addr, pool)))
        self.master.wait_ready(2)
        self.control.lock()
        for i in range(o.clients):
            self.add_client(f"client {i + 1}")
        self.wait_clients()

    def own(self, proc):
        self.procs.append(proc)
        return proc

    def add_client(self, name, first=-1):
        c = Client(self, name, first)
        self.own(c.proc)
        self.clients.append(c)
        return c

    def wait_clients(self, seconds=30):
        end = time.monotonic() + seconds
        for c in self.clients:
            while not c.notes.get("ready"):
                self.check_alive()
                if time.monotonic() > end:
                    raise Failure(f"{c.proc.name} is not ready within {seconds} s:\n{c.proc.log()}")
                time.sleep(0.005)

    def stop(self):
        for p in reversed(self.procs):
            if not isinstance(p, Daemon):
                p.kill()
        ends = [(p, p.stop()) for p in reversed(self.procs) if p not in self.dead]
        self.bad_ends = [f"{p.name} ended with {rc}" for p, rc in ends if isinstance(p, Daemon) and rc]

    def check_alive(self):
        for p in self.procs:
            if p not in self.dead and not p.alive() and p.p.returncode:
                raise Failure(f"{p.name} ended with {p.p.returncode}:\n{p.log()[-4000:]}")

    # ---- play ----

    def played(self):
        return min(self.control.next, len(self.requests))

    def sum(self, name):
        return sum(c.notes.get(name) for c in self.clients)

    def progress(self, last=False):
        if self.o.quiet:
            return
        done, all_ = self.sum("requests"), len(self.requests)
        moved = (self.sum("loaded") + self.sum("stored")) * self.o.block
        bar = "#" * (30 * done // all_)
        line = (f"[{bar:<30}] {done:>{len(str(all_))}}/{all_} requests   hit rate {share(self.sum('hits'), self.sum('blocks')):>6}"
                f"   {moved / GiB:5.1f} GiB moved   wrong {self.sum('wrong')}")
        if sys.stdout.isatty():
            print("\r" + line, end="\n" if last else "", flush=True)
        elif last or done * 10 // all_ > self.shown:
            self.shown = done * 10 // all_
            print(line, flush=True)

    shown = -1

    def say(self, text):
        if sys.stdout.isatty() and not self.o.quiet:
            print("\r\033[K", end="")
        print("  " + text, flush=True)

    def watch(self):
        self.check_alive()
        for c in self.clients:
            c.proc.measure()
        n = self.control.next
        if n != self.last_next:
            self.last_next, self.last_change = n, time.monotonic()
        elif time.monotonic() - self.last_change > STALL_S:
            raise Failure(f"no client took a request for {STALL_S} s:\n" + "\n".join(c.proc.log()[-1000:] for c in self.clients))
        self.progress()

    def play_until(self, request):
        self.last_change = time.monotonic()
        while self.control.next < request:
            self.watch()
            time.sleep(0.02)

    def pause(self, seconds=30):
        """From here on no player is inside a request."""
        self.paused_at = time.monotonic()
        self.control.lock()
        for c in self.clients:
            while c.proc not in self.dead and c.notes.get("phase") != player.IDLE:
                self.check_alive()
                if time.monotonic() - self.paused_at > seconds:
                    raise Failure(f"{c.proc.name} is inside one request for {seconds} s:\n{c.proc.log()}")
                time.sleep(0.001)

    def resume(self):
        self.control.unlock()
        self.paused_s += time.monotonic() - self.paused_at

    # ---- what is readable? ----

    def known(self):
        return sorted({b for ids in self.requests[:self.played()] for b in ids})

    def readable(self, blocks, verify=False):
        """Those of @blocks that a client which just arrived finds; with @verify it reads them too, and all bytes count."""
        store = player.open_store(self.master.addr, attempts=50)
        there, size = set(), self.o.block
        room = player.Buffer(store, 128, size)
        for at in range(0, len(blocks), 128):
            part = blocks[at:at + 128]
            keys = [f"block-{b}" for b in part]
            if not verify:
                there.update(b for b, x in zip(part, store.batch_is_exist(keys)) if x == 1)
                continue
            got = store.batch_get_into(keys, [room.at(i) for i in range(len(part))], [size] * len(part))
            for i, b in enumerate(part):
                if got[i] == size:
                    there.add(b)
                    self.probe_wrong += self.blocks.wrong(b, room.at(i))
        store.close()
        return there

    def evicted(self):
        return sum(n.evicted() for n in self.nodes)

    def book(self, scene, before, evicted_before):
        """Objects that were there and are not, less those that the nodes say they evicted meanwhile."""
        evicted = self.evicted() - evicted_before
        after = self.readable(sorted(before), verify=True)
        missing = len(before - after)
        self.lost[scene] = max(0, missing - evicted)
        return len(after), missing, evicted

    # ---- the scenes ----

    def kill_client(self):
        self.pause()
        evicted, before = self.evicted(), self.readable(self.known())
        stored = self.sum("stored")
        self.resume()
        end = time.monotonic() + 30
        while not (victim := next((c for c in self.clients if c.notes.get("phase") == player.PUTTING and
                                   c.notes.get("putting") >= 8), None)):
            if time.monotonic() > end:
                raise Failure("no client stored anything within 30 s")
        os.kill(victim.proc.pid, signal.SIGKILL)
        self.dead.add(victim.proc)
        self.pause()
        victim.proc.reap()
        at, first = victim.notes.get("at"), victim.notes.get("put_first")
        was_putting = victim.notes.get("phase") == player.PUTTING
        unfinished = self.requests[at][first:] if was_putting else []
        found, missing, gone = self.book("client", before, evicted)
        there = self.readable(unfinished, verify=True)
        self.unfinished = len(set(unfinished) - there)
        self.say(f"killed a client (kill -9) in the middle of storing {len(unfinished)} blocks: {len(there)} of them are there and "
                 f"right, {self.unfinished} are not stored")
        self.say(f"objects before {len(before):,}; readable and right after {found:,}; evicted meanwhile {gone:,} "
                 f"(others stored {self.sum('stored') - stored:,}); lost {self.lost['client']:,}")
        c = self.add_client(f"client {len(self.clients) + 1} (for the dead one)", first=at)
        self.resume()
        self.wait_clients()
        return c

    def kill_master(self):
        self.pause()
        evicted, before = self.evicted(), self.readable(self.known())
        self.before_master = self.master
        old, requests, refused = self.master, self.sum("requests"), self.sum("refused")
        hits, blocks = self.sum("hits"), self.sum("blocks")
        old.kill()
        self.dead.add(old)
        old.reap()
        self.resume()
        end = time.monotonic() + OUTAGE_S
        while time.monotonic() < end and self.control.next < len(self.requests):
            self.watch()
            time.sleep(0.01)
        self.pause()
        self.say(f"killed the master (kill -9); without one the clients played {self.sum('requests') - requests:,} requests, hit rate "
                 f"{share(self.sum('hits') - hits, self.sum('blocks') - blocks)}, {self.sum('refused') - refused:,} blocks could not be "
                 f"stored")
        start = time.monotonic()
        self.master = self.own(Master(self.o.build, port=old.port, name="its successor"))
        m = self.master.wait_ready(2)
        took = time.monotonic() - start
        knows = int(m["master_key_count"])
        found, missing, gone = self.book("master", before, evicted)
        self.say(f"started a blank master: after {took:.2f} s it was ready and knew {knows:,} objects")
        self.say(f"objects before {len(before):,}; readable and right after {found:,}; evicted meanwhile {gone:,}; "
                 f"lost {self.lost['master']:,}")
        self.resume()

    def play(self):
        n = len(self.requests)
        self.started = time.monotonic()
        self.paused_at = self.started
        self.resume()
        self.paused_s = 0.0
        self.play_until(n // 2)
        self.kill_client()
        self.play_until(n * 2 // 3)
        self.kill_master()
        self.play_until(n)
        end = time.monotonic() + STALL_S
        for c in self.clients:
            if c.proc in self.dead:
                continue
            while c.proc.alive():
                if time.monotonic() > end:
                    raise Failure(f"{c.proc.name} did not end:\n{c.proc.log()}")
                self.check_alive()
                c.proc.measure()
                time.sleep(0.02)
            self.check_alive()
        self.wall = time.monotonic() - self.started - self.paused_s
        self.progress(last=True)
        for d in self.procs:
            d.measure()
        self.total_evicted = self.evicted()

    # ---- the table ----

    def wrong(self):
        return self.sum("wrong") + self.probe_wrong

    def good(self):
        return (self.wrong() == 0 and not any(self.lost.values()) and self.sum("late") == 0 and
                self.sum("requests") == len(self.requests) and not self.bad_ends)

    def table(self):
        o, out = self.o, []
        loaded, stored = self.sum("loaded") * o.block, self.sum("stored") * o.block
        add = out.append
        add(("requests", f"{self.sum('requests'):,}", f"of {len(self.requests):,}, by {o.clients} clients in {self.wall:.1f} s"))
        add(("blocks", f"{self.sum('blocks'):,}", f"of {size_text(o.block)}, {self.footprint:,} different ones: "
             f"{size_text(self.footprint * o.block)}"))
        add(("pool", size_text(2 * self.pool), f"on two nodes: {share(2 * self.pool, self.footprint * o.block)} of that; "
             f"{self.total_evicted:,} objects evicted"))
        add(("hit rate", share(self.sum("hits"), self.sum("blocks")),
             f"a cache of unlimited size: {share(self.best, self.total_blocks)}"))
        add(None)
        add(("loaded", size_text(loaded), f"{rate(loaded, self.sum('load_ns'))} by each client while it loads"))
        add(("stored", size_text(stored), f"{rate(stored, self.sum('store_ns'))} by each client while it stores"))
        add(("memcpy", f"{self.memcpy / 1e9:.1f} GB/s", f"of {size_text(o.block)} blocks, alone on this machine"))
        add(None)
        for kind, what in (("lookup", "is the prefix there?"), ("load", "all blocks of the prefix"), ("store", "all other blocks")):
            s = sorted(x for c in self.clients for x in c.notes.samples(kind))
            add((kind, f"{us(at(s, 0.5))}  /  {us(at(s, 0.99))}", f"p50 / p99 per request, {len(s):,} calls: {what}"))
        add(("slowest call", us(max(c.notes.get("longest_ns") for c in self.clients) / 1000),
             f"{self.sum('late')} calls over their deadline"))
        add(None)
        for p in self.procs:
            if isinstance(p, Daemon):
                cpu, own, shared = p.last
                add((p.name, f"{cpu:.2f} s CPU", f"{size_text(own)} of memory" +
                     (f" beside the pool's {size_text(shared)}" if isinstance(p, Node) else "") +
                     (", until it was killed" if p in self.dead else "")))
        add(("clients", f"{sum(p.measure()[0] for p in self.procs if not isinstance(p, Daemon)):.2f} s CPU",
             f"with computing ({self.sum('compute_ns') / 1e9:.2f} s) and comparing all bytes"))
        add(None)
        add(("refused", f"{self.sum('refused'):,}", "blocks that could not be stored while there was no master"))
        add(("unfinished", f"{self.unfinished or 0:,}", "blocks that the killed client had not stored yet"))
        add(("lost", f"{sum(self.lost.values()):,}", f"objects through the kills: client {self.lost.get('client', '?')}, "
             f"master {self.lost.get('master', '?')}"))
        add(("wrong bytes", f"{self.wrong():,}", f"blocks, of {self.sum('loaded'):,} read by clients and compared"))
        print()
        for row in out:
            print(f"  {row[0]:<18}{row[1]:>22}   {row[2]}" if row else "")
        print()


def share(part, whole):
    return f"{100 * part / whole:.1f} %" if whole else "-"


def size_text(n):
    for unit, name in ((GiB, "GiB"), (MiB, "MiB"), (KiB, "KiB")):
        if n >= unit:
            return f"{n / unit:.3g} {name}" if n < 1000 * unit else f"{n / unit:.0f} {name}"
    return f"{n} bytes"


def rate(n, ns):
    return f"{n / ns:.1f} GB/s" if ns else "-"


def us(x):
    return f"{x:.0f} µs" if x < 10000 else f"{x / 1000:.1f} ms"


def at(ordered, q):
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def terminate(signo, frame):
    raise KeyboardInterrupt


def main():
    o = options()
    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGHUP, terminate)
    o.build = os.path.abspath(o.build)
    o.trace = os.path.abspath(o.trace)
    sys.path.insert(0, f"{o.build}/python")
    try:
        run = Run(o)
    except (OSError, ValueError) as e:
        sys.exit(f"demo: {e}")
    print(f"{os.path.basename(o.trace)}: {len(run.requests):,} requests, {run.total_blocks:,} blocks", flush=True)
    failure = None
    try:
        run.start()
        run.play()
    except (Failure, OSError) as e:
        failure = f"demo: {e}"
    except KeyboardInterrupt:
        failure = "demo: interrupted"
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        run.stop()
    if failure:
        sys.exit("\n" + failure)
    run.table()
    if not run.good():
        print("\n".join(run.bad_ends))
    print("  every byte read was right, and nothing was lost" if run.good() else "  NOT GOOD: see the table")
    return 0 if run.good() else 1


if __name__ == "__main__":
    sys.exit(main())
