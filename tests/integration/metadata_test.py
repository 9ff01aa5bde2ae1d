#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Engines that find each other through real metadata services: etcd and Redis, their keys and texts, hosts, passwords, TLS."""
import json
import os
import signal
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "python")]
import tap
from services import SIZE, Engine, Etcd, Redis, certificate, exchange
from tap import eq, until


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


CHILD = """
import sys, os
sys.path[:0] = sys.argv[2:4]
import services
e = services.Engine("victim", sys.argv[1])
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
