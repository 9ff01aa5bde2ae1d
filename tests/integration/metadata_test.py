#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Engines that find each other through real metadata services: etcd and Redis, their keys and texts, and what happens when they go."""
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
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
import tap
from tap import eq, until

os.environ["MC_ETCD_LEASE_TTL_S"] = "3"
os.environ["MC_TCP_BIND_ADDRESS"] = "127.0.0.1"
SIZE = 1 << 20


class Etcd:
    """A single-member cluster in @dir; with @tls its client port speaks TLS by that certificate."""

    def __init__(self, dir, tls=None, port=None):
        self.dir, self.tls = dir, tls
        self.port = port or tap.free_port()
        self.peer = tap.free_port()
        self.p = None
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
        self.p = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self.healthy, 30, "etcd")

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

    def stop(self, sig=signal.SIGKILL):
        self.p.send_signal(sig)
        self.p.wait()


class Redis:
    def __init__(self, dir, *more, tls=None):
        self.port = tap.free_port()
        self.argv = [tap.tool("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", dir, *more]
        if tls:
            self.argv[2] = "0"
            self.argv += ["--tls-port", str(self.port), "--tls-cert-file", tls[0], "--tls-key-file", tls[1], "--tls-ca-cert-file", tls[0],
                          "--tls-auth-clients", "optional"]
        self.start()

    def start(self):
        self.p = subprocess.Popen(self.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: tap.connects(self.port), 10, "redis")

    def ask(self, *cmd):
        """One command on a connection of its own, as the protocol has it; the answer's bytes."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            for c in cmd:
                words = c.split()
                s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in (x.encode() for x in words)))
                got = s.recv(65536)
            return got

    def stop(self, sig=signal.SIGKILL):
        self.p.send_signal(sig)
        self.p.wait()


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


def looks_right(text, engine):
    """A descriptor as upstream writes it into a database: sorted keys, no blank, a newline."""
    d = json.loads(text)
    eq((d["name"], d["protocol"], d["tcp_proto_version"]), (engine.name, "tcp", 2))
    eq([(b["addr"], b["length"]) for b in d["buffers"]], [(engine.addr, SIZE)])
    eq(text, json.dumps(d, sort_keys=True, separators=(",", ":")).encode() + b"\n")


def test_etcd():
    with tap.tempdir() as dir:
        etcd = Etcd(dir)
        meta = f"etcd://127.0.0.1:{etcd.port}"
        a, b = Engine("127.0.0.1:1", meta), Engine("decode-0", f"127.0.0.1:{etcd.port}")
        eq((a.started, b.started), (0, 0))
        keys = etcd.keys()
        eq(sorted(keys), ["mooncake/ram/127.0.0.1:1", "mooncake/ram/decode-0", "mooncake/rpc_meta/127.0.0.1:1",
                          "mooncake/rpc_meta/decode-0"])
        looks_right(keys["mooncake/ram/decode-0"], b)
        eq(keys["mooncake/rpc_meta/decode-0"],
           b'{"ip_or_host_name":"127.0.0.1","rpc_port":%d}\n' % b.t.get_rpc_port())
        exchange(a, b, 1)
        exchange(b, a, 2)
        etcd.stop()
        exchange(a, b, 3)  # they know each other
        began = time.monotonic()
        eq(a.t.get_first_buffer_address("nobody"), 0)
        assert time.monotonic() - began < 15, "a dead service holds the caller"
        eq(Engine("late", meta).started != 0, True)
        etcd.start()
        exchange(a, b, 4)
        late = Engine("late", meta)
        eq(late.started, 0)
        exchange(late, b, 5)
        del a, b, late
        until(lambda: not etcd.keys(), 10, "keys gone with their engines")
        etcd.stop()


def test_etcd_comes_back_empty():
    with tap.tempdir() as dir:
        etcd = Etcd(dir)
        meta = f"etcd://127.0.0.1:{etcd.port}"
        a = Engine("a", meta)
        eq(a.started, 0)
        before = etcd.keys()
        etcd.stop()
        etcd.start(blank=True)
        eq(etcd.keys(), {})
        until(lambda: etcd.keys() == before, 15, "keys written again")
        b = Engine("b", meta)
        exchange(b, a, 1)
        etcd.stop()


CHILD = """
import sys, os
sys.path[:0] = sys.argv[2:4]
import metadata_test
e = metadata_test.Engine("victim", sys.argv[1])
print(e.started, flush=True)
sys.stdin.read()
"""


def test_etcd_forgets_the_dead():
    with tap.tempdir() as dir:
        etcd = Etcd(dir)
        here = os.path.dirname(os.path.abspath(__file__))
        d = tap.Daemon([sys.executable, "-c", CHILD, f"etcd://127.0.0.1:{etcd.port}", here, os.path.join(here, "..", "python")])
        eq(d.first, "0")
        eq(len(etcd.keys()), 2)
        time.sleep(4)  # longer than the lease, which nothing but the keeper renews
        eq(len(etcd.keys()), 2)
        d.stop(signal.SIGKILL)
        until(lambda: not etcd.keys(), 15, "a dead process's keys gone")
        etcd.stop()


def test_etcd_asks_every_host():
    with tap.tempdir() as dir:
        etcd = Etcd(dir)
        with socket.socket() as silent:  # takes connections and says nothing
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            dead = tap.free_port()
            meta = f"etcd://127.0.0.1:{dead};127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{etcd.port}"
            a, b = Engine("a", meta), Engine("b", f"etcd://127.0.0.1:{etcd.port}")
            eq((a.started, b.started), (0, 0))
            exchange(a, b, 1)
        etcd.stop()


def test_etcd_with_a_password():
    with tap.tempdir() as dir:
        etcd = Etcd(dir)
        etcd.ask("/v3/auth/user/add", {"name": "root", "password": "s3cret:@/"})
        etcd.ask("/v3/auth/user/grant", {"user": "root", "role": "root"})
        etcd.ask("/v3/auth/enable", {})
        a = Engine("a", f"etcd://root:s3cret%3A%40%2F@127.0.0.1:{etcd.port}")
        os.environ.update(MC_ETCD_USERNAME="root", MC_ETCD_PASSWORD="s3cret:@/")
        b = Engine("b", f"etcd://127.0.0.1:{etcd.port}")
        os.environ["MC_ETCD_PASSWORD"] = "wrong"
        c = Engine("c", f"etcd://127.0.0.1:{etcd.port}")
        del os.environ["MC_ETCD_USERNAME"], os.environ["MC_ETCD_PASSWORD"]
        eq((a.started, b.started), (0, 0))
        eq(c.started != 0, True)
        eq(Engine("d", f"etcd://127.0.0.1:{etcd.port}").started != 0, True)
        exchange(a, b, 1)
        etcd.stop()


def certificate(dir):
    cert, key = os.path.join(dir, "cert.pem"), os.path.join(dir, "key.pem")
    subprocess.run([tap.tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cert, key


def test_etcd_over_tls():
    with tap.tempdir() as dir:
        tls = certificate(dir)
        etcd = Etcd(dir, tls)
        refused = Engine("a", f"etcds://127.0.0.1:{etcd.port}")  # signed by nobody we know
        eq(refused.started != 0, True)
        os.environ["MC_ETCD_CA"] = tls[0]
        a, b = Engine("a", f"etcds://127.0.0.1:{etcd.port}"), Engine("b", f"etcd://127.0.0.1:{etcd.port}")
        del os.environ["MC_ETCD_CA"]
        eq((a.started, b.started), (0, 0))
        exchange(a, b, 1)
        del a, b
        until(lambda: not etcd.keys(), 10, "keys gone")
        etcd.stop()


def test_redis():
    with tap.tempdir() as dir:
        redis = Redis(dir)
        meta = f"redis://127.0.0.1:{redis.port}"
        a, b = Engine("127.0.0.1:1", meta), Engine("decode-0", meta)
        eq((a.started, b.started), (0, 0))
        text = redis.ask("GET mooncake/ram/decode-0").split(b"\r\n", 1)[1][:-2]
        looks_right(text, b)
        eq(redis.ask("GET mooncake/rpc_meta/decode-0").split(b"\r\n", 1)[1][:-2],
           b'{"ip_or_host_name":"127.0.0.1","rpc_port":%d}\n' % b.t.get_rpc_port())
        exchange(a, b, 1)
        redis.stop()
        exchange(a, b, 2)  # they know each other
        eq(b.t.get_first_buffer_address("nobody"), 0)
        eq(Engine("late", meta).started != 0, True)
        redis.start()
        late = Engine("late", meta)
        eq(late.started, 0)
        redis.stop()


def test_redis_with_a_password_and_a_database():
    with tap.tempdir() as dir:
        redis = Redis(dir, "--requirepass", "s3cret")
        os.environ.update(MC_REDIS_PASSWORD="s3cret", MC_REDIS_DB_INDEX="3")
        a = Engine("a", f"redis://127.0.0.1:{redis.port}")
        del os.environ["MC_REDIS_PASSWORD"], os.environ["MC_REDIS_DB_INDEX"]
        b = Engine("b", f"redis://:s3cret@127.0.0.1:{redis.port}/3")
        eq((a.started, b.started), (0, 0))
        exchange(a, b, 1)
        eq(redis.ask("AUTH s3cret", "SELECT 3", "EXISTS mooncake/ram/a"), b":1\r\n")
        eq(Engine("c", f"redis://:wrong@127.0.0.1:{redis.port}").started != 0, True)
        eq(Engine("d", f"redis://:s3cret@127.0.0.1:{redis.port}/none").started != 0, True)
        del a, b
        eq(redis.ask("AUTH s3cret", "SELECT 3", "DBSIZE"), b":0\r\n")
        redis.stop()


def test_redis_over_tls():
    with tap.tempdir() as dir:
        tls = certificate(dir)
        redis = Redis(dir, "--requirepass", "s3cret", tls=tls)
        meta = f"rediss://:s3cret@127.0.0.1:{redis.port}"
        eq(Engine("a", meta).started != 0, True)  # signed by nobody we know
        os.environ.update(MC_REDIS_CA=tls[0], MC_REDIS_CERT=tls[0], MC_REDIS_KEY=tls[1])
        a, b = Engine("a", meta), Engine("b", meta)
        eq(Engine("c", f"redis://:s3cret@127.0.0.1:{redis.port}").started != 0, True)  # speaks no TLS
        del os.environ["MC_REDIS_CA"], os.environ["MC_REDIS_CERT"], os.environ["MC_REDIS_KEY"]
        eq((a.started, b.started), (0, 0))
        exchange(a, b, 1)
        redis.stop()


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
