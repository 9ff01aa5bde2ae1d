#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our engine and upstream's released one move data both ways over TCP: without a metadata service, over HTTP, over etcd.

    interop_engine.py [--build build] [--peer /tmp/mooncake-peer]

Upstream's wheel lives in a virtual environment of its own, made here when it is missing. TAP on stdout; exit 77 when the wheel or
our Python module cannot be had.
"""
import argparse, contextlib, http.server, json, os, shutil, socket, subprocess, sys, tempfile, threading, time, urllib.parse

WHEEL = "mooncake-transfer-engine-non-cuda==0.3.13.post1"
PEER = os.environ.get("MOONCAKE_PEER", "/tmp/mooncake-peer")  # where the wheel lives
LEN = 64 << 20
SIZES = [1, 7, 4096, 65536, 65537, 1 << 20, (1 << 20) + 1, 16 << 20, LEN]

# One side, whichever implementation it imports: memory, and commands as JSON lines.
SIDE = r"""
import ctypes, json, sys, zlib
from mooncake.engine import TransferEngine, TransferNotify, TransferOpcode
name, meta = sys.argv[1:3]
LEN = 64 << 20
mem = ctypes.create_string_buffer(LEN)
addr = ctypes.addressof(mem)
view = memoryview(mem).cast("B")
t = TransferEngine()
assert t.initialize(name, meta, "tcp", "") == 0
assert t.register_memory(addr, LEN) == 0
me = name if meta != "P2PHANDSHAKE" else f"{name}:{t.get_rpc_port()}"
def fill(seed, n):
    block = bytes((i * 31 + seed * 7 + (i >> 8)) & 255 for i in range(min(n, 65521)))
    view[:n] = (block * (n // len(block) + 1))[:n]
def run(c, *a):
    if c == "fill": return fill(*a)
    if c == "crc": return zlib.crc32(view[:a[0]])
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
    def __init__(self, python, name, meta, path=None):
        env = dict(os.environ, MC_LOG_LEVEL="ERROR", PYTHONUNBUFFERED="1")
        env.pop("PYTHONPATH", None)
        if path:
            env["PYTHONPATH"] = path
        # Upstream prints to stdout now and then: only JSON lines count.
        self.p = subprocess.Popen([python, "-c", SIDE, name, meta], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True)
        hello = self.read()
        self.me, self.addr = hello["me"], hello["addr"]

    def read(self):
        while line := self.p.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"a side ended with {self.p.wait()}")

    def __call__(self, *cmd):
        self.p.stdin.write(json.dumps(cmd) + "\n")
        self.p.stdin.flush()
        return self.read()["r"]

    def close(self):
        self.p.stdin.close()
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()


class Meta(http.server.BaseHTTPRequestHandler):
    """Upstream's metadata contract, in its stricter form."""
    kept = {}

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def key(self):
        return urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)["key"][0]

    def do_GET(self):
        body = self.kept.get(self.key())
        self.answer(404) if body is None else self.answer(200, body)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "rpc_meta" in self.key() and self.key() in self.kept:
            return self.answer(400)
        self.kept[self.key()] = body
        self.answer(200)

    def do_DELETE(self):
        self.answer(200 if self.kept.pop(self.key(), None) is not None else 404)

    def log_message(self, *args):
        pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def etcd():
    """A server's connection string; None where none is installed."""
    if not shutil.which("etcd"):
        yield None
        return
    port, peer = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="mooncake-") as dir:
        url, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        p = subprocess.Popen(["etcd", "--data-dir", dir, "--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer,
                              "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}", "--log-level", "error",
                              "--unsafe-no-fsync"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 30
            while time.monotonic() < end and p.poll() is None:
                with socket.socket() as s:
                    if not s.connect_ex(("127.0.0.1", port)):
                        break
                time.sleep(0.01)
            yield f"etcd://127.0.0.1:{port}"
        finally:
            p.kill()
            p.wait()


def peer_python(path):
    python = os.path.join(path, "bin", "python")
    if not os.path.exists(python):
        subprocess.check_call([sys.executable, "-m", "venv", path], stdout=sys.stderr)
        subprocess.check_call([python, "-m", "pip", "-q", "install", WHEEL, "numpy"], stdout=sys.stderr)
    subprocess.check_call([python, "-c", "import mooncake.engine"], stdout=sys.stderr)
    return python


class Tap:
    nr = failed = 0

    def check(self, name, ok):
        self.nr += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.nr} - {name}", flush=True)


def both_ways(tap, label, a, b, what):
    """@a acts on @b."""
    tap.check(f"{label}: {what} finds the other's memory", a("first", b.me) == b.addr)
    tap.check(f"{label}: {what} probes the other", a("probe", b.me) == 0)
    ok = True
    for seed, n in enumerate(SIZES):
        a("fill", seed, n), b("fill", seed + 50, n)
        ok &= a("write", b.me, b.addr, n) == 0 and b("crc", n) == a("crc", n)
        b("fill", seed + 99, n)
        ok &= a("read", b.me, b.addr, n) == 0 and b("crc", n) == a("crc", n)
        if not ok:
            print(f"# at {n} bytes")
            break
    tap.check(f"{label}: {what} writes and reads {len(SIZES)} sizes", ok)
    a("fill", 3, 512 * 4096), b("fill", 4, 512 * 4096)
    tap.check(f"{label}: {what} writes 512 pieces at once",
              a("batch", b.me, b.addr, 512, 4096) == 0 and a("crc", 512 * 4096) == b("crc", 512 * 4096))
    tap.check(f"{label}: {what} is refused outside the memory", a("read", b.me, b.addr + LEN - 4, 8) == -1)
    tap.check(f"{label}: {what} goes on afterwards", a("read", b.me, b.addr, 8) == 0)
    tap.check(f"{label}: {what} leaves a message",
              a("notify", b.me, b.addr) == 0 and ["from", "hello"] in b("notifies"))


def main():
    o = argparse.ArgumentParser()
    o.add_argument("--build", default="build")
    o.add_argument("--peer", default=PEER)
    o = o.parse_args()
    path = os.path.abspath(os.path.join(o.build, "python"))
    try:
        python = peer_python(o.peer)
    except (subprocess.CalledProcessError, OSError) as e:
        print(f"ok 1 - interop # SKIP upstream's wheel cannot be installed: {e}\n1..1")
        return 77
    if not os.path.isdir(os.path.join(path, "mooncake")):
        print(f"ok 1 - interop # SKIP no {path}: build first\n1..1")
        return 77
    tap = Tap()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Meta)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Upstream advertises the address it is told to, not loopback.
    os.environ["MC_TCP_BIND_ADDRESS"] = "127.0.0.1"
    with etcd() as base:
        for label, meta in ("P2P", "P2PHANDSHAKE"), ("HTTP", f"http://127.0.0.1:{server.server_port}/metadata"), ("etcd", base):
            if not meta:
                print(f"# {label}: no server is installed")
                continue
            p2p = meta == "P2PHANDSHAKE"
            ours = Side(sys.executable, "127.0.0.1" if p2p else "127.0.0.1:1", meta, path)
            theirs = Side(python, "127.0.0.1" if p2p else "127.0.0.1:2", meta)
            both_ways(tap, label, ours, theirs, "ours")
            both_ways(tap, label, theirs, ours, "upstream's")
            ours.close()
            theirs.close()
    print(f"1..{tap.nr}")
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
