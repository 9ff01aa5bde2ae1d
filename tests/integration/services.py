# SPDX-License-Identifier: Apache-2.0
"""Metadata services for tests, each a real server on a free port that can be killed and started again, and engines that use them."""
import base64
import ctypes
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request

import tap
from tap import eq, until

os.environ["MC_ETCD_LEASE_TTL_S"] = "3"
os.environ["MC_METADATA_CHECK_S"] = "1"
os.environ["MC_TCP_BIND_ADDRESS"] = "127.0.0.1"
SIZE = 1 << 20


WHEEL = "mooncake-transfer-engine-non-cuda==0.3.13.post1"
PEER = os.environ.get("MOONCAKE_PEER", "/tmp/mooncake-peer")


def peer_python():
    """The interpreter of the virtual environment that upstream's wheel lives in, made when it is missing."""
    python = os.path.join(PEER, "bin", "python")
    try:
        if not os.path.exists(python):
            subprocess.check_call([sys.executable, "-m", "venv", PEER], stdout=sys.stderr)
            subprocess.check_call([python, "-m", "pip", "-q", "install", WHEEL, "numpy"], stdout=sys.stderr)
        subprocess.check_call([python, "-I", "-c", "import mooncake.engine"], stdout=sys.stderr)  # not ours, which PYTHONPATH names
    except (subprocess.CalledProcessError, OSError) as e:
        tap.skip(f"upstream's wheel cannot be had: {e}")
    return python


def _die_with_the_test():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Service:
    """A process that serves @port."""
    p = None

    def run(self, argv, ready=None, seconds=30):
        self.p = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_die_with_the_test)
        until(ready or (lambda: tap.connects(self.port)), seconds, argv[0])

    def stop(self, sig=signal.SIGKILL):
        self.p.send_signal(sig)
        self.p.wait()


class Etcd(Service):
    """A single-member cluster in @dir; with @tls its client port speaks TLS by that certificate."""

    def __init__(self, dir, tls=None, port=None):
        self.dir, self.tls = dir, tls
        self.port = port or tap.free_port()
        self.peer = tap.free_port()
        self.meta = f"etcd{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.start()

    def start(self, blank=False):
        if blank:
            shutil.rmtree(os.path.join(self.dir, "data"))
        scheme = "https" if self.tls else "http"
        url, peer = f"{scheme}://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.peer}"
        argv = [tap.tool("etcd"), "--data-dir", os.path.join(self.dir, "data"), "--listen-client-urls", url, "--advertise-client-urls", url,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
                "--log-level", "error", "--unsafe-no-fsync"]
        if self.tls:
            argv += ["--cert-file", self.tls[0], "--key-file", self.tls[1]]
        self.run(argv, self.healthy)

    def healthy(self):
        try:
            return self.ask("/v3/maintenance/status", {}) is not None
        except OSError:
            return False

    def ask(self, path, body, token=None):
        ctx = ssl.create_default_context(cafile=self.tls[0]) if self.tls else None
        scheme = "https" if self.tls else "http"
        r = urllib.request.Request(f"{scheme}://127.0.0.1:{self.port}{path}", json.dumps(body).encode(),
                                   {"Authorization": token} if token else {})
        with urllib.request.urlopen(r, timeout=5, context=ctx) as f:
            return json.load(f)

    def keys(self):
        """Everything below mooncake/, as bytes by key."""
        end = {"key": base64.b64encode(b"mooncake/").decode(), "range_end": base64.b64encode(b"mooncake0").decode()}
        kvs = self.ask("/v3/kv/range", end).get("kvs", [])
        return {base64.b64decode(kv["key"]).decode(): base64.b64decode(kv["value"]) for kv in kvs}


class Redis(Service):
    def __init__(self, dir, *more, tls=None):
        self.port = tap.free_port()
        self.argv = [tap.tool("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", dir, *more]
        if tls:
            self.argv[2] = "0"
            self.argv += ["--tls-port", str(self.port), "--tls-cert-file", tls[0], "--tls-key-file", tls[1], "--tls-ca-cert-file", tls[0],
                          "--tls-auth-clients", "optional"]
        self.meta = f"redis{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.run(self.argv)

    def ask(self, *cmd):
        """One command on a connection of its own, as the protocol has it; the answer's bytes."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            for c in cmd:
                words = c.split()
                s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in (x.encode() for x in words)))
                got = s.recv(65536)
            return got


class Metadata(Service):
    """Ours; with @file it keeps its data."""

    def __init__(self, file=""):
        self.port = tap.free_port()
        self.meta = f"http://127.0.0.1:{self.port}/metadata"
        self.argv = [os.path.join(tap.BUILD, "bin", "mooncake-metadata"), "--port", str(self.port), "--file", file]
        if not os.path.exists(self.argv[0]):
            tap.skip(f"{self.argv[0]} is not built")
        self.start()

    def start(self):
        self.run(self.argv)


class PythonMetadata(Service):
    """Upstream's, from its wheel: keeps nothing, and refuses a name twice."""

    def __init__(self):
        self.port = tap.free_port()
        self.meta = f"http://127.0.0.1:{self.port}/metadata"
        self.argv = [peer_python(), "-I", "-m", "mooncake.http_metadata_server", "--host", "127.0.0.1", "--port", str(self.port)]
        self.start()

    def start(self):
        self.run(self.argv)


def certificate(dir):
    cert, key = os.path.join(dir, "cert.pem"), os.path.join(dir, "key.pem")
    subprocess.run([tap.tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cert, key


class Engine:
    def __init__(self, name, meta):
        from mooncake.engine import TransferEngine
        self.mem = ctypes.create_string_buffer(SIZE)
        self.addr = ctypes.addressof(self.mem)
        self.t = TransferEngine()
        self.name = name
        self.started = self.t.initialize(name, meta, "tcp", "")
        if not self.started:
            eq(self.t.register_memory(self.addr, SIZE), 0)


def exchange(a, b, seed):
    """@a writes into @b and reads it back."""
    want = bytes((i * 7 + seed) & 255 for i in range(251)) * 8
    ctypes.memmove(a.addr, want, len(want))
    eq(a.t.transfer_sync_write(b.name, a.addr, b.addr, len(want)), 0)
    eq(bytes(b.mem[:len(want)]), want)
    eq(a.t.transfer_sync_read(b.name, a.addr + 4096, b.addr, len(want)), 0)
    eq(bytes(a.mem[4096:4096 + len(want)]), want)
