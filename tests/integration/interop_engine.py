#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our engine and upstream's released one move data both ways over TCP, in every metadata mode the wheel was built with, and two of
ours in all of them. Every operation in each direction, from 1 byte to 1 GiB, and after the other side was killed and came back under
the same name; at the end a table.

    interop_engine.py [--all] [MODE…]       P2P HTTP etcd Redis; all when none is named

1 GiB moves between ours and upstream's without a metadata service, which has no part in it; --all: everywhere.

Upstream's wheel lives in a virtual environment of its own (MOONCAKE_PEER), made here when it is missing. TAP on stdout.
"""
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "python")]
import services
import tap

ALL = "--all" in sys.argv
LEN = 1 << 30
SIZES = [1, 7, 4096, 65536, 65537, 1 << 20, (1 << 20) + 1, 16 << 20, LEN]
OPERATIONS = ["find", "probe", "write", "read", "1 GiB", "512 at once", "bounds", "notify", "stale", "restarted"]

# One side, whichever implementation it imports: memory, and commands as JSON lines.
SIDE = r"""
import ctypes, json, sys
from mooncake.engine import TransferEngine, TransferNotify, TransferOpcode
name, meta, p2p, LEN = sys.argv[1], sys.argv[2], sys.argv[2] == "P2PHANDSHAKE", int(sys.argv[3])
mem = ctypes.create_string_buffer(LEN)
addr = ctypes.addressof(mem)
view = memoryview(mem).cast("B")
t = TransferEngine()
assert t.initialize(name, meta, "tcp", "") == 0
assert t.register_memory(addr, LEN) == 0
me = f"{name.split(':')[0]}:{t.get_rpc_port()}" if p2p else name
PIECE = 65521
def piece(seed): return bytes((i * 31 + seed * 7 + (i >> 8)) & 255 for i in range(PIECE))
def fill(seed, n):
    done = min(n, PIECE)
    view[:done] = piece(seed)[:done]
    while done < n:
        more = min(done, n - done)
        ctypes.memmove(addr + done, addr, more)
        done += more
def holds(seed, n):
    want = memoryview(piece(seed))
    return all(view[i:min(i + PIECE, n)] == want[:min(PIECE, n - i)] for i in range(0, n, PIECE))
def run(c, *a):
    if c == "fill": return fill(*a)
    if c == "holds": return holds(*a)
    if c == "first": return t.get_first_buffer_address(a[0])
    if c == "read": return t.transfer_sync_read(a[0], addr, a[1], a[2])
    if c == "write": return t.transfer_sync_write(a[0], addr, a[1], a[2])
    if c == "batch":
        peer, to, nr, size = a
        return t.batch_transfer_sync_write(peer, [addr + i * size for i in range(nr)], [to + i * size for i in range(nr)], [size] * nr)
    if c == "notify": return t.transfer_sync(a[0], addr, a[1], 8, TransferOpcode.Write, TransferNotify("from", "hello"))
    if c == "notifies": return [[n.name, n.msg] for n in t.get_notifies()]
    if c == "probe": return t.send_probe(a[0])
print(json.dumps({"me": me, "addr": addr}), flush=True)
for line in sys.stdin:
    print(json.dumps({"r": run(*json.loads(line))}), flush=True)
"""


class Side:
    """@who is "ours" or "upstream's". A name stays the same through restarts."""

    def __init__(self, who, name, meta, **env):
        self.who, self.name, self.meta, self.env = who, name, meta, env
        self.start()

    def start(self):
        env = dict(os.environ, MC_LOG_LEVEL="ERROR", PYTHONUNBUFFERED="1", MC_LEGACY_RPC_PORT_BINDING="1", **self.env)
        env.pop("PYTHONPATH", None)
        if self.who == "ours":
            env["PYTHONPATH"] = tap.PYTHON_DIR
        python = sys.executable if self.who == "ours" else services.peer_python()
        # Upstream prints to stdout now and then: only JSON lines count.
        self.p = subprocess.Popen([python, "-c", SIDE, self.name, self.meta, str(LEN)], env=env, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        hello = self.read()
        self.me, self.addr = hello["me"], hello["addr"]

    def read(self):
        while line := self.p.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self.who} ended with {self.p.wait()}")

    def __call__(self, *cmd):
        self.p.stdin.write(json.dumps(cmd) + "\n")
        self.p.stdin.flush()
        return self.read()["r"]

    def end(self, sig=None):
        if sig:
            self.p.send_signal(sig)
        self.p.stdin.close()
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
        self.p.stdout.close()


def moves(a, b, op, sizes):
    """@a writes into @b, or reads from it, each of @sizes; what was there before must go."""
    src, dst = (a, b) if op == "write" else (b, a)
    for seed, n in enumerate(sizes):
        src("fill", seed, n), dst("fill", seed + 50, n)
        if a(op, b.me, b.addr, n) or not dst("holds", seed, n):
            print(f"# {op} of {n} bytes")
            return False
    return True


def batch(a, b):
    a("fill", 3, 512 * 4096), b("fill", 4, 512 * 4096)
    return a("batch", b.me, b.addr, 512, 4096) == 0 and b("holds", 3, 512 * 4096)


def bounds(a, b):
    """Outside the memory it is refused, and nothing is broken by that."""
    return a("read", b.me, b.addr + LEN - 4, 8) == -1 and a("read", b.me, b.addr, 8) == 0


def notify(a, b):
    b("notifies")
    return a("notify", b.me, b.addr) == 0 and ["from", "hello"] in b("notifies")


def again(b):
    """Killed, and there again under the same name, with other memory and other ports. Return: where only its old memory was.

    None: the kernel has given the new one the same addresses each time."""
    old = b.addr
    b.end(signal.SIGKILL)
    if b.who == "upstream's" and b.meta.startswith("http"):  # whose server refuses a name twice, and it gives up then
        key = urllib.parse.quote(f"mooncake/rpc_meta/{b.name}", safe="")
        urllib.request.urlopen(urllib.request.Request(f"{b.meta}?key={key}", method="DELETE"), timeout=5).close()
    for _ in range(5):
        b.start()
        gone = [p for p in (old, old + LEN - 8) if not b.addr - 8 < p < b.addr + LEN]
        if gone:
            return gone[0]
        b.end(signal.SIGKILL)
    b.start()
    return None


def after_a_restart(a, b):
    """By default upstream's keeps for ever what it was told of a peer, also of another of its own: here it has to ask."""
    fresh = a.who == "upstream's"
    if fresh:
        a = Side(a.who, f"127.0.0.1:{tap.free_port()}", a.meta, MC_DISABLE_METACACHE="1")
    try:
        if not moves(a, b, "write", SIZES[:1]):
            return
        was = again(b)
        if was is not None:
            yield "stale", a("read", b.me, was, 8) == -1
        yield "restarted", moves(a, b, "write", SIZES[:6]) and moves(a, b, "read", SIZES[:6]) and notify(a, b)
    finally:
        if fresh:
            a.end()


def operations(a, b):
    """What @a does to @b: name and verdict, one after the other."""
    yield "find", a("first", b.me) == b.addr
    yield "probe", a("probe", b.me) == 0
    yield "write", moves(a, b, "write", SIZES[:-1])
    yield "read", moves(a, b, "read", SIZES[:-1])
    if ALL or (a.meta == "P2PHANDSHAKE" and a.who != b.who):
        yield "1 GiB", moves(a, b, "write", SIZES[-1:]) and moves(a, b, "read", SIZES[-1:])
    yield "512 at once", batch(a, b)
    yield "bounds", bounds(a, b)
    yield "notify", notify(a, b)
    yield from after_a_restart(a, b)


class Report:
    nr = failed = 0

    def __init__(self):
        self.rows = []

    def check(self, what, ok):
        self.nr += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.nr} - {what}", flush=True)

    def run(self, mode, a, b):
        row, began = {}, time.monotonic()
        try:
            for op, ok in operations(a, b):
                row[op] = ok
                self.check(f"{mode}: {a.who} to {b.who}: {op}", ok)
        except (RuntimeError, BrokenPipeError) as e:
            self.check(f"{mode}: {a.who} to {b.who}: {e}", False)
        self.rows.append((mode, f"{a.who} > {b.who}" + (" (tcp)" if a.env else ""), row, time.monotonic() - began))

    def table(self):
        print("# " + f"{'mode':6}{'who > to whom':22}" + "".join(f"{op:>12}" for op in OPERATIONS) + "        s")
        for mode, who, row, took in self.rows:
            cells = "".join(f"{'-' if op not in row else 'ok' if row[op] else 'FAILED':>12}" for op in OPERATIONS)
            print(f"# {mode:6}{who:22}{cells}{took:9.1f}")


@contextlib.contextmanager
def service(mode):
    """The connection string of a real server."""
    if mode == "P2P":
        yield "P2PHANDSHAKE"
        return
    with tap.tempdir() as dir:
        s = services.PythonMetadata() if mode == "HTTP" else services.Etcd(dir) if mode == "etcd" else services.Redis(dir)
        try:
            yield s.meta
        finally:
            s.stop()


def pair(report, mode, who, other, meta):
    """Both directions, each with sides of its own. Two of ours by this host's memory, and over the network alone."""
    ways = [{}, {"MC_TRANSPORTS": "tcp"}] if who == other else [{}, {}]
    for (acting, passive), way in zip([(who, other), (other, who)], ways):
        a = Side(acting, f"127.0.0.1:{tap.free_port()}", meta, **way)
        b = Side(passive, f"127.0.0.1:{tap.free_port()}", meta, **way)
        try:
            report.run(mode, a, b)
        finally:
            a.end(), b.end()


def main():
    report = Report()
    try:
        services.peer_python()
    except tap.Skip as e:
        print(f"ok 1 - interop # SKIP {e}\n1..1")
        return 77
    for mode in [a for a in sys.argv[1:] if a != "--all"] or ["P2P", "HTTP", "etcd", "Redis"]:
        try:
            with service(mode) as meta:
                if mode != "Redis":  # with which the wheel aborts
                    pair(report, mode, "ours", "upstream's", meta)
                pair(report, mode, "ours", "ours", meta)
        except tap.Skip as e:
            print(f"# {mode}: {e}")
    report.table()
    print(f"1..{report.nr}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
