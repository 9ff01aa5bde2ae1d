#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several hosts on one machine: objects between them, a cable that is cut, and a network with IPv6 only.

    host a                   host b                   host c
    mooncake-master          mooncake-node            a client
    mooncake-node            a client
    a client
    10.78.0.1  fd78::1       10.78.0.2  fd78::2       10.78.0.3  fd78::3
       eth0 ────────┐           eth0 ──┐                 eth0 ──┐
                    └─────── a bridge in a namespace of its own ┘

Each host is a network namespace, and has a machine-id of its own, as hosts do: nothing is shared but the cable. Needs root.
"""
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../tools/demo"))
from cluster import Failure, Master, Node, die_with_parent          # noqa: E402

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
KiB, MiB = 1 << 10, 1 << 20
SIZES = (1, 4 * KiB, 64 * KiB + 1, MiB, 16 * MiB + 3)
LIMIT_S = 12                            # every call's deadline is 10 s
LEARN_S = 4                             # a read tells much sooner that a host is cut off: about 2 s, and this machine may be busy


def content(key, size):
    return hashlib.shake_128(key.encode()).digest(size)


# ---- a client: one JSON object per line in, one out ----

def serve(local, master):
    from mooncake.store import MooncakeDistributedStore, ReplicateConfig
    store = MooncakeDistributedStore()
    end = time.monotonic() + 20
    while (ret := store.setup(local, "P2PHANDSHAKE", 0, 64 * MiB, "tcp", "", master)) and time.monotonic() < end:
        time.sleep(0.1)
    print(json.dumps({"ret": ret}), flush=True)
    for line in sys.stdin:
        q = json.loads(line)
        data = content(q["key"], q["size"])
        start = time.monotonic()
        if q["op"] == "put":
            config = ReplicateConfig()
            config.replica_num = q["replicas"]
            config.preferred_segments = q["segments"]
            out = {"ret": store.put(q["key"], data, config)}
        else:
            got = store.get(q["key"])
            out = {"got": "right" if got == data else "miss" if not got else "wrong"}
        out["s"] = time.monotonic() - start
        print(json.dumps(out), flush=True)


def sh(*argv, check=True):
    return subprocess.run(argv, check=check, capture_output=True, text=True)


class Host:
    def __init__(self, test, name, number):
        self.test, self.name, self.number = test, name, number
        self.ns = f"mc-{os.getpid()}-{name}"
        self.v4, self.v6 = f"10.78.0.{number}", f"fd78::{number}"
        self.id_file = os.path.join(test.tmp, f"{name}.machine-id")
        with open(self.id_file, "w", encoding="ascii") as f:
            f.write(hashlib.md5(self.ns.encode()).hexdigest() + "\n")
        sh("ip", "netns", "add", self.ns)
        test.namespaces.append(self.ns)
        sh("ip", "-n", self.ns, "link", "add", "eth0", "type", "veth", "peer", "name", f"to-{name}", "netns", test.switch)
        sh("ip", "-n", test.switch, "link", "set", f"to-{name}", "master", "br0", "up")
        for link in ("lo", "eth0"):
            sh("ip", "-n", self.ns, "link", "set", link, "up")
        sh("ip", "-n", self.ns, "addr", "add", f"{self.v4}/24", "dev", "eth0")
        sh("ip", "-n", self.ns, "addr", "add", f"{self.v6}/64", "dev", "eth0", "nodad")
        # Who has no machine-id is known by the boot.
        over = "/etc/machine-id" if os.path.exists("/etc/machine-id") else "/proc/sys/kernel/random/boot_id"
        # A sanitizer's library is for what comes last: shells end under it.
        self.prefix = ["env", "LD_PRELOAD=", "nsenter", f"--net=/run/netns/{self.ns}", "unshare", "--mount", "sh", "-c",
                       'mount --bind "$0" "$1" && shift && exec env "$@"', self.id_file, over,
                       f"LD_PRELOAD={os.environ.get('LD_PRELOAD', '')}"]

    def cable(self, up):
        sh("ip", "-n", self.test.switch, "link", "set", f"to-{self.name}", "up" if up else "down")

    def wire_bytes(self):
        """Bytes that came and went on the cable."""
        text = sh(*self.prefix, "cat", "/proc/net/dev").stdout
        fields = next(line for line in text.splitlines() if "eth0:" in line).split(":")[1].split()
        return int(fields[0]), int(fields[8])


class Client:
    def __init__(self, test, host, local, master):
        self.name = f"the client on {host.name}"
        self.err = os.memfd_create(self.name)
        self.p = subprocess.Popen([*host.prefix, sys.executable, __file__, local, master], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=self.err, env=dict(os.environ, PYTHONPATH=f"{BUILD}/python"),
                                  preexec_fn=die_with_parent)
        test.clients.append(self)
        ret = self.answer(30)["ret"]
        if ret:
            raise Failure(f"{self.name}: setup says {ret}:\n{self.log()}")

    def log(self):
        return os.pread(self.err, 1 << 20, 0).decode(errors="replace")

    def answer(self, seconds):
        if not select.select([self.p.stdout], [], [], seconds)[0]:
            raise Failure(f"{self.name} does not answer within {seconds} s:\n{self.log()}")
        line = self.p.stdout.readline()
        if not line:
            raise Failure(f"{self.name} ended:\n{self.log()}")
        return json.loads(line)

    def ask(self, **q):
        self.p.stdin.write(json.dumps(q).encode() + b"\n")
        self.p.stdin.flush()
        return self.answer(3 * LIMIT_S)

    def put(self, key, size, replicas=1, segments=()):
        return self.ask(op="put", key=key, size=size, replicas=replicas, segments=list(segments))

    def get(self, key, size):
        return self.ask(op="get", key=key, size=size)


class Test:
    def __init__(self):
        self.tmp = tempfile.mkdtemp(prefix="mc-netns-")
        self.namespaces, self.procs, self.clients, self.n, self.bad = [], [], [], 0, 0
        self.switch = f"mc-{os.getpid()}-sw"
        sh("ip", "netns", "add", self.switch)
        self.namespaces.append(self.switch)
        sh("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
        sh("ip", "-n", self.switch, "link", "set", "br0", "up")
        self.a, self.b, self.c = (Host(self, name, i + 1) for i, name in enumerate("abc"))

    def check(self, good, text):
        self.n += 1
        self.bad += not good
        print(f"{'ok' if good else 'not ok'} {self.n} {text}", flush=True)

    def own(self, p):
        self.procs.append(p)
        return p

    def start(self, tag, any_address, address):
        """Master and node on a, node on b, a client everywhere. @address of a host, as in host:port."""
        self.master = self.own(Master(BUILD, host=any_address, extra=["--client_ttl=4"], name=f"master {tag}",
                                      prefix=self.a.prefix))
        where = self.where = f"{address(self.a)}:{self.master.port}"
        self.node = {}
        for h in (self.a, self.b):
            self.node[h] = self.own(Node(BUILD, f"node {h.name} {tag}", where, 256 * MiB,
                                         [f"--host={address(h).strip('[]')}", "--huge_pages=false"], h.prefix, http=False))
            self.node[h].joined()
        self.client = {h: Client(self, h, f"{address(h)}:0", where) for h in (self.a, self.b, self.c)}

    def end(self):
        for c in self.clients:
            c.p.kill()
            c.p.wait()
        for p in reversed(self.procs):
            rc = p.stop(20)
            self.check(rc == 0, f"{p.name} ends in order: {rc}")
        self.procs, self.clients = [], []

    def crosses(self, tag):
        a, b, c = (self.client[h] for h in (self.a, self.b, self.c))
        on = {h: [self.node[h].segment] for h in (self.a, self.b)}
        before = self.c.wire_bytes()
        for i, size in enumerate(SIZES):
            put = a.put(f"{tag}-a{i}", size, segments=on[self.a])
            got = [x.get(f"{tag}-a{i}", size)["got"] for x in (a, b, c)]
            self.check(put["ret"] == 0 and got == ["right"] * 3, f"{tag}: {size} bytes from a to a, b, c: {put['ret']} {got}")
        for i, size in enumerate(SIZES):
            put = c.put(f"{tag}-c{i}", size, segments=on[self.b])
            got = [x.get(f"{tag}-c{i}", size)["got"] for x in (a, b, c)]
            self.check(put["ret"] == 0 and got == ["right"] * 3, f"{tag}: {size} bytes from c to a, b, c: {put['ret']} {got}")
        came, went = (y - x for x, y in zip(before, self.c.wire_bytes()))
        self.check(came >= 2 * sum(SIZES) and went >= sum(SIZES),
                   f"{tag}: the cable of c carried {came} bytes in and {went} out, for {2 * sum(SIZES)} and {sum(SIZES)} of objects")

    def cut(self, tag):
        c, size = self.client[self.c], MiB
        fresh = Client(self, self.a, f"{self.a.v4}:0", self.where)
        on = {h: self.node[h].segment for h in (self.a, self.b)}
        # Two replicas; the one beside the writer is stored first, and where it is first a reader goes first.
        both = [self.client[h].put(f"{tag}-{k}", size, 2, list(on.values())) for k, h in (("ab", self.a), ("ba", self.b))]
        only = self.client[self.a].put(f"{tag}-only", size, 1, [on[self.b]])
        self.client[self.a].get(f"{tag}-only", size)
        seen = [c.get(f"{tag}-{k}", size)["got"] for k in ("ab", "ba", "only")]
        self.check(all(p["ret"] == 0 for p in (*both, only)) and seen == ["right"] * 3,
                   f"{tag}: twice two replicas, and one on b: {seen}")
        self.b.cable(False)
        for k in ("ab", "ba"):
            got = c.get(f"{tag}-{k}", size)
            self.check(got["got"] == "right" and got["s"] < LEARN_S,
                       f"{tag}: b is cut off, an object that a has too: {got['got']} after {got['s']:.2f} s")
        got = fresh.get(f"{tag}-only", size)
        self.check(got["got"] == "miss" and got["s"] < LEARN_S,
                   f"{tag}: b's object, for a client that never spoke to b: {got['got']} after {got['s']:.2f} s")
        got = self.client[self.a].get(f"{tag}-only", size)
        self.check(got["got"] == "miss" and got["s"] < LEARN_S,
                   f"{tag}: and for one that did: {got['got']} after {got['s']:.2f} s")
        put = c.put(f"{tag}-meanwhile", size)
        self.check(put["s"] < LIMIT_S, f"{tag}: a put meanwhile: {put['ret']} after {put['s']:.2f} s")
        again = [c.get(f"{tag}-only", size), c.get(f"{tag}-ba", size)]
        self.check(again[0]["got"] == "miss" and again[1]["got"] == "right" and max(x["s"] for x in again) < 2,
                   f"{tag}: and again: {again[0]['got']} after {again[0]['s']:.2f} s, {again[1]['got']} after {again[1]['s']:.2f} s")
        self.b.cable(True)
        end, start = time.monotonic() + 30, time.monotonic()
        while (got := c.get(f"{tag}-only", size))["got"] != "right" and time.monotonic() < end:
            time.sleep(0.1)
        self.check(got["got"] == "right", f"{tag}: the cable is back, b's object: {got['got']} after {time.monotonic() - start:.2f} s")
        put = self.client[self.b].put(f"{tag}-after", size)
        got = c.get(f"{tag}-after", size)
        self.check(put["ret"] == 0 and got["got"] == "right", f"{tag}: a put on b afterwards: {put['ret']} {got['got']}")

    def run(self):
        self.start("IPv4", "0.0.0.0", lambda h: h.v4)
        self.crosses("IPv4")
        self.cut("IPv4")
        self.end()
        for h in (self.a, self.b, self.c):
            sh("ip", "-n", h.ns, "addr", "del", f"{h.v4}/24", "dev", "eth0")
        self.start("IPv6", "[::]", lambda h: f"[{h.v6}]")
        self.crosses("IPv6")
        self.end()

    def close(self):
        for c in self.clients:
            c.p.kill()
            c.p.wait()
        for p in self.procs:
            p.kill(signal.SIGKILL)
            p.p.wait()
        for ns in reversed(self.namespaces):
            sh("ip", "netns", "del", ns, check=False)
        shutil.rmtree(self.tmp, ignore_errors=True)


def cannot():
    if os.geteuid():
        return "network namespaces need root"
    for tool in ("ip", "nsenter", "unshare"):
        if not shutil.which(tool):
            return f"{tool} is missing"
    probe = sh("unshare", "--net", "--mount", "true", check=False)
    if probe.returncode:
        return f"no namespaces here: {probe.stderr.strip()}"
    if not os.path.exists(f"{BUILD}/python/mooncake/_core.abi3.so"):
        return "the Python package is not built"
    return None


def main():
    if len(sys.argv) > 1:
        return serve(*sys.argv[1:3])
    if why := cannot():
        print(f"1..0 # SKIP {why}")
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    t = None
    try:
        t = Test()
        t.run()
    except Failure as e:
        t.check(False, str(e).replace("\n", "\n# "))
    except subprocess.CalledProcessError as e:
        if t:
            raise
        print(f"1..0 # SKIP {' '.join(e.cmd)}: {e.stderr.strip()}")
        return 77
    finally:
        if t:
            if t.bad:
                for p in [*t.procs, *t.clients]:
                    print("\n".join(f"# {p.name}: {line}" for line in p.log().splitlines()[-25:]))
            t.close()
    print(f"1..{t.n}")
    return 1 if t.bad else 0


if __name__ == "__main__":
    sys.exit(main())
