#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The store's life: setup in all its forms, threads, forks, the end of the interpreter, leaks, system calls."""
import gc
import os
import sys
import threading
import time
import warnings
import weakref

import tap
from store_rig import MB, Cluster, Memory, both, opened
from tap import eq, raises, skip

from mooncake.store import MooncakeDistributedStore, ReplicateConfig


# ---- setup (3)


def test_setup_arguments():
    s = MooncakeDistributedStore()
    eq(s.setup("", "P2PHANDSHAKE", 0, 0, "tcp", "", "embedded"), -600)
    eq(s.setup("127.0.0.1", "P2PHANDSHAKE", 0, 0, "tcp", "", "embedded", client_http_port=0), -600)
    assert s.setup("127.0.0.1", "P2PHANDSHAKE", 0, 0, "pigeon", "", "embedded") < 0
    e = raises(TypeError, s.setup, "127.0.0.1", "P2PHANDSHAKE", 0, 0, "tcp", "", "embedded", shiny_new_word=1, text="shiny_new_word")
    assert isinstance(e, TypeError)
    port = tap.free_port()
    start = time.monotonic()
    eq(s.setup("127.0.0.1", "P2PHANDSHAKE", 0, 0, "tcp", "", f"127.0.0.1:{port}"), -1, "no master")
    assert time.monotonic() - start < 15 and str(port) in s.last_error(), s.last_error()
    eq((s.health_check(), s.put("k", b"v")), (1, -600))
    eq(s.setup(local_hostname="127.0.0.1", metadata_server="P2PHANDSHAKE", global_segment_size=16 * MB, local_buffer_size=MB,
               protocol="tcp", rdma_devices="auto-discovery", master_server_addr="embedded", engine=None, tenant_id="t"), 0)
    name = s.get_hostname()
    assert name.startswith("127.0.0.1:") and int(name.split(":")[1]) > 0, name
    eq((s.health_check(), s.put("k", b"v")), (0, 0))
    eq(s.close(), 0)
    eq(s.close(), 0)
    eq((s.health_check(), s.get_hostname(), s.get("k")), (1, "", b""))


def test_second_setup_replaces_the_first():
    s = opened()
    s.put("k", b"v")
    before = threads()
    for _ in range(5):
        eq(s.setup("127.0.0.1", "P2PHANDSHAKE", 16 * MB, MB, "tcp", "", "embedded"), 0)
    eq(s.get("k"), b"", "another, empty store")
    eq(threads(), before)
    assert s.setup("127.0.0.1", "P2PHANDSHAKE", 0, 0, "pigeon", "", "embedded") < 0
    s.close()


def test_setup_at_once():
    """Setups that race leave one open store and lose none."""
    def held():
        return threads(), len(os.listdir("/proc/self/fd"))
    opened().close()
    s = MooncakeDistributedStore()
    before = held()
    for _ in range(5):
        run_threads(4, lambda: s.setup("127.0.0.1", "P2PHANDSHAKE", 16 * MB, MB, "tcp", "", "embedded"))
    eq(s.put("k", b"v"), 0)
    s.close()
    tap.until(lambda: held() == before, what="threads and descriptors gone")


def test_setup_dict():
    def setup(**kw):
        s = MooncakeDistributedStore()
        d = dict(local_hostname="127.0.0.1", metadata_server="P2PHANDSHAKE", master_server_addr="embedded")
        d.update(kw)
        ret = s.setup({k: v for k, v in d.items() if v is not None})
        s.close()
        return ret

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        eq(setup(), 0)
        for size in ("16mb", " 16 MB ", "0.016gb", "16M", "16777216B", "1.6e7", 16777216, "0"):
            eq(setup(global_segment_size=size), 0, repr(size))
        for size in ("-1", "50%", "", "1023", "1 parsec", "mb"):
            eq(setup(global_segment_size=size), -600, repr(size))
            eq(setup(local_buffer_size=size), -600, repr(size))
        eq(setup(local_buffer_size="2tb"), -600)
        eq(setup(local_hostname=""), -600)
        eq(setup(local_hostname=None), -600)
        eq(setup(metadata_server=None), -600)
        eq(setup(master_server_addr=None, master_server_address="embedded"), 0, "LMCache's spelling")
        eq(setup(master_server_addr="embedded", master_server_address="127.0.0.1:1"), 0)
        eq(setup(client_http_port="many"), -600)
        eq(setup(client_http_port=70000), -600)
        eq(setup(enable_ssd_offload="off", enable_client_http_server=False, tenant_id=5), 0)
    for key, value, text in (("colour", "blue", "'colour'"), ("enable_ssd_offload", "maybe", "'enable_ssd_offload'"),
                             ("enable_ssd_offload", "Yes", "not available"), ("ipc_socket_path", "@x.sock", "ipc_socket_path")):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            eq(setup(**{key: value}), 0)
        assert any(text in str(w.message) for w in seen), [str(w.message) for w in seen]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raises(UserWarning, setup, colour=1)
    s = MooncakeDistributedStore()
    raises(TypeError, s.setup, confug={}, text="confug")
    eq(s.setup(config={}), -600)


def test_tenants_are_apart():
    with tap.master() as m:
        a, b = opened(m.addr, tenant_id="a"), opened(m.addr, pool=0, tenant_id="b")
        eq((a.put("k", b"A"), b.put("k", b"B")), (0, 0))
        eq((a.get("k"), b.get("k")), (b"A", b"B"))
        eq(b.remove_all(True), 1)
        eq((a.get("k"), b.get("k")), (b"A", b""))
        b.close()
        a.close()


def test_master_gone():
    with Cluster() as s:
        pass  # __exit__ stopped the provider and the master
    start = time.monotonic()
    tap.until(lambda: s.health_check() == 2, what="health_check says so")
    assert s.put("k", b"v") in (-900, -901), "put without a master"
    assert s.is_exist("k") <= 0
    eq(s.get("k"), b"")
    s.close()
    assert time.monotonic() - start < 25


# ---- threads, ends, leaks


def threads():
    return len(os.listdir("/proc/self/task")) - threading.active_count()


def run_threads(nr, f):
    out, failed = [], []

    def run():
        try:
            out.append(f())
        except BaseException as e:
            failed.append(e)
    ts = [threading.Thread(target=run, daemon=True) for _ in range(nr)]
    for t in ts:
        t.start()
    for t in ts:
        t.join(20)
        assert not t.is_alive(), "a thread hangs"
    assert not failed, failed
    return out


def close_under_load(s):
    m = Memory(MB, 3)
    s.put_from("k", m.ptr, m.size)
    busy = threading.Semaphore(0)
    seen = set()

    def work():
        mine = Memory(MB)
        while True:
            busy.release()
            codes = (s.get_into("k", mine.ptr, mine.size), s.put("w", b"x" * 1000), len(s.get("k")) and 1, s.is_exist("k"),
                     *s.batch_get_into(["k"], [mine.ptr], [mine.size]))
            seen.update(codes)
            if codes[0] < 0:
                return codes

    ts = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for t in ts:
        t.start()
    for _ in range(8):
        assert busy.acquire(timeout=10)
    eq(s.close(), 0)
    for t in ts:
        t.join(10)
        assert not t.is_alive(), "a call hangs after close"
    assert seen <= {MB, 0, 1, -600, -800, -900, -704}, seen


both(globals(), close_under_load)


def test_close_while_the_owner_is_stopped():
    """A call that waits for it ends when the store closes, not at its own deadline of 10 s."""
    c = Cluster()
    with c as s:
        eq(s.put("k", b"x"), 0)
        c.provider.freeze()
        try:
            inside, out = threading.Event(), []

            def work():
                inside.set()
                out.append(s.put("late", b"x"))

            t = threading.Thread(target=work, daemon=True)
            t.start()
            assert inside.wait(10)
            time.sleep(0.1)
            start = time.monotonic()
            eq(s.close(), 0)
            took = time.monotonic() - start
            t.join(10)
            assert took < 4, f"close took {took:.1f} s"
            assert out and out[0] < 0, out
        finally:
            c.provider.thaw()


def test_close_inside_a_call():
    """A conversion that closes the store does not wait for itself."""
    s = opened()
    s.put("k", b"v")

    class Closing:
        def __index__(self):
            s.close()
            return 8

    m = Memory(8)
    for call in (lambda: s.get_into("k", m.ptr, Closing()), lambda: s.get_into_ranges([m.ptr], [["k"]], [[[0]]], [[[0]]], [[[Closing()]]]),
                 lambda: s.batch_get_into(["k"], [m.ptr], [Closing()]), lambda: s.register_buffer(m.ptr, Closing())):
        got = run_threads(1, call)[0]
        assert got in (-600, [-600], [[[-600]]]), got
        eq(s.setup("127.0.0.1", "P2PHANDSHAKE", 16 * MB, MB, "tcp", "", "embedded"), 0)
    s.close()


def test_config_changed_during_puts():
    """Another thread may replace the lists of a config that a put is reading."""
    s = opened()
    c = ReplicateConfig()
    stop = threading.Event()

    def change():
        i = 0
        while not stop.is_set():
            i += 1
            c.preferred_segments = [f"segment-{i}-{k}" * 3 for k in range(8)]
            c.preferred_segments.append("one more")

    t = threading.Thread(target=change)
    t.start()
    try:
        end = time.monotonic() + 0.5
        i = 0
        while time.monotonic() < end:
            i += 1
            eq(s.put(f"k{i % 100}", b"v", c), 0)
    finally:
        stop.set()
        t.join()
        s.close()


def test_list_changed_during_a_call():
    class Shrink:
        def __init__(self, lst):
            self.lst = lst

        def __index__(self):
            self.lst.clear()
            gc.collect()
            return 4

    s = opened()
    s.put("k", b"v" * 4)
    m = Memory(16)
    keys, ptrs, sizes = ["k"] * 4, [m.ptr] * 4, []
    sizes += [Shrink(ptrs), Shrink(keys), Shrink(sizes), 4]
    eq(s.batch_get_into(keys, ptrs, sizes), [4] * 4)
    s.close()


def test_subclass_and_collector():
    class Sub(MooncakeDistributedStore):
        pass

    s = Sub()
    s.me = s
    s.config = ReplicateConfig()
    s.config.preferred_segments.append(s.config)
    eq(s.setup("127.0.0.1", "P2PHANDSHAKE", 16 * MB, MB, "tcp", "", "embedded"), 0)
    raises(TypeError, s.put, "k", b"v", s.config)
    before = len(os.listdir("/proc/self/fd"))
    gone = weakref.ref(s)
    del s
    gc.collect()
    eq(gone(), None, "a store in a cycle goes")
    assert len(os.listdir("/proc/self/fd")) < before, "and so does its memory"


def test_leaks():
    def fds():
        return len(os.listdir("/proc/self/fd"))

    def cycle(s, n):
        m = Memory(256, 1)
        for i in range(n // 10):
            k = f"k{i % 50}"
            s.put(k, b"x" * 256)
            s.put_parts(k, b"x", b"y")
            s.put_batch([k, "q"], [b"x", b"y"])
            s.get(k), s.get("missing"), s.get_buffer(k)
            s.get_into(k, m.ptr, 256)
            s.batch_get_into([k, k], [m.ptr, m.ptr], [256, 2])
            s.is_exist(k)
            s.get_into_ranges([m.ptr], [[k]], [[[0]]], [[[0]]], [[[1]]])
            s.remove(k, True)
            try:
                s.put(k, "text")
            except TypeError:
                pass

    with opened() as s:
        cycle(s, 5000)
        gc.collect()
        before = tap.rss(), fds(), threads()
        cycle(s, 72000)  # 14 calls of ten rounds: 100,000 operations
        gc.collect()
        eq((fds(), threads()), before[1:])
        assert tap.rss() - before[0] < 2 * MB, f"{tap.rss() - before[0]} bytes more after 100000 operations"
    with Cluster() as s:
        cycle(s, 2000)
        gc.collect()
        before = tap.rss(), fds(), threads()
        cycle(s, 10000)
        gc.collect()
        eq((fds(), threads()), before[1:])
        assert tap.rss() - before[0] < 2 * MB, f"{tap.rss() - before[0]} bytes more after 10000 operations"
        s.close()


def test_open_and_close_leave_nothing():
    opened().close()
    gc.collect()
    before = len(os.listdir("/proc/self/fd")), threads()
    for _ in range(5):
        opened().close()
    eq((len(os.listdir("/proc/self/fd")), threads()), before)


# ---- other processes


def test_import_has_no_side_effects():
    code = """
import os
def state(): return sorted(os.listdir('/proc/self/fd')), os.listdir('/proc/self/task'), dict(os.environ)
before = state()
import mooncake, mooncake.store, mooncake.engine
s, e = mooncake.store.MooncakeDistributedStore(), mooncake.engine.TransferEngine()
mooncake.store.ReplicateConfig()
s.put('k', b'v'); e.get_rpc_port()
assert state() == before, state()
assert len(os.listdir('/proc/self/task')) == 1
"""
    eq(tap.python(code), (0, "", ""))


FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")
from mooncake.store import MooncakeDistributedStore
s = MooncakeDistributedStore()
args = ("127.0.0.1", "P2PHANDSHAKE", 16 << 20, 1 << 20, "tcp", "", "embedded")
if sys.argv[1] == "after":
    assert s.setup(*args) == 0
    s.put("k", b"v")
pid = os.fork()
if pid == 0:
    if sys.argv[1] == "after":
        got = s.put("c", b"v"), s.get("k"), s.is_exist("k"), s.health_check(), s.batch_is_exist(["k"])
        assert got == (-600, b"", -600, 1, [-600]), got
        assert "fork" in s.last_error(), s.last_error()
        t = MooncakeDistributedStore()
        assert t.setup(*args) == 0 and t.put("k", b"w") == 0 and t.get("k") == b"w", "a store of its own"
    else:
        assert s.setup(*args) == 0 and s.put("k", b"w") == 0
    sys.exit(7)   # the whole way out, with live stores
_, status = os.waitpid(pid, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
if sys.argv[1] == "after":
    assert s.get("k") == b"v" and s.put("p", b"v") == 0, "the parent's is unharmed"
"""


def test_fork():
    tap.not_under("thread", "it cannot follow threads that begin in a fork of threads")
    for when in ("before", "after"):
        rc, out, err = tap.python(FORK, when)
        eq((rc, out), (0, ""), err)
        assert when == "after" or not err, err


EXIT = """
import sys, threading, time
from mooncake.store import MooncakeDistributedStore
stores = []
for _ in range(3):
    s = MooncakeDistributedStore()
    assert s.setup("127.0.0.1", "P2PHANDSHAKE", 16 << 20, 8 << 20, "tcp", "", sys.argv[1]) == 0
    stores.append(s)
    s.put("k", b"v" * (1 << 20))
started = threading.Semaphore(0)
def loop():
    started.release()
    while True:
        s.get("k"); s.put("k2", b"x" * 100000); s.get_buffer("k")
for _ in range(int(sys.argv[2])):
    threading.Thread(target=loop, daemon=True).start()
    started.acquire()
print(time.monotonic(), flush=True)
"""


def quick_exit(master, nr_threads):
    rc, out, err = tap.python(EXIT, master, nr_threads)
    late = time.monotonic() - float(out)
    eq((rc, err), (0, ""))
    assert late < 3, f"{late:.1f} s from the last line to the end"


def test_exit_with_live_stores():
    quick_exit("embedded", 0)
    for _ in range(3):
        quick_exit("embedded", 3)


def test_exit_with_live_stores_with_master():
    with tap.master() as m:
        quick_exit(m.addr, 0)
        quick_exit(m.addr, 3)


QUIET = """
import ctypes, os, sys
from mooncake.store import MooncakeDistributedStore
s = MooncakeDistributedStore()
assert s.setup("127.0.0.1", "P2PHANDSHAKE", 0, 1 << 20, "tcp", "", sys.argv[1]) == 0
b = ctypes.create_string_buffer(4096)
p = ctypes.addressof(b)
assert s.put("k", b"v" * 4096) == 0
for _ in range(10): assert s.get_into("k", p, 4096) == 4096
os.getppid()
for _ in range(1000):
    if s.get_into("k", p, 4096) != 4096: os._exit(3)
os.getppid()
os._exit(0)
"""


def test_a_get_on_this_host_makes_no_system_call():
    strace = tap.tool("strace")
    tap.not_under("thread", "it makes system calls of its own")
    cluster = Cluster()
    with cluster as s, tap.tempdir() as d:
        log = os.path.join(d, "log")
        argv = [strace, "-o", log, sys.executable, "-c", QUIET, cluster.master.addr]
        p = tap.subprocess.run(argv, env=tap.ENV, timeout=25, stdin=tap.subprocess.DEVNULL, stdout=tap.subprocess.PIPE,
                               stderr=tap.subprocess.STDOUT, text=True)
        if "ptrace" in p.stdout.lower():
            skip("strace may not trace here")
        eq(p.returncode, 0, p.stdout)
        with open(log) as f:  # the calling thread only: others may wake on timers
            lines = f.read().splitlines()
        marks = [i for i, line in enumerate(lines) if line.startswith("getppid")]
        between = lines[marks[-2] + 1:marks[-1]]
        eq(between, [], "system calls of 1000 gets")
        s.close()


def test_stats():
    with opened() as s:
        eq(repr(s), f"<MooncakeDistributedStore {s.get_hostname()}>")
        eq((s.put("k", bytes(100)), s.put("k2", b"x"), s.put("", b"x")), (0, 0, -600))
        for _ in range(64):
            s.get("k")
        s.get_batch(["none", "k2"])
        got = s.stats()
        eq((got["hits"], got["misses"], got["miss"]["absent"], got["puts"]), (65, 1, 1, 2))
        eq((got["get"]["mapped"]["objects"], got["get"]["mapped"]["bytes"]), (65, 6401))
        assert got["get"]["mapped"]["timed"] and got["get"]["mapped"]["p99_ns"] >= got["get"]["mapped"]["p50_ns"] > 0, got
        eq(set(got["get"]), set(got["put"]))
        eq(repr(s.get_buffer("k")), "<BufferHandle 100 bytes>")
        s.get("none")
        assert "none" in s.last_error(), s.last_error()
    eq(s.stats(), {})


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
