# SPDX-License-Identifier: Apache-2.0
"""Stores for tests: alone in this process, or with a master and another process that owns the memory."""
import ctypes
import os
import sys

import tap
from tap import eq

from mooncake.store import MooncakeDistributedStore

MB = 1 << 20


def opened(master="embedded", pool=64 * MB, local=16 * MB, host="127.0.0.1", **kw):
    s = MooncakeDistributedStore()
    eq(s.setup(host, "P2PHANDSHAKE", pool, local, "tcp", "", master, **kw), 0, f"setup ({s.last_error()})")
    return s


class Memory:
    def __init__(self, size, fill=0):
        self.buf = ctypes.create_string_buffer(bytes([fill]) * size, size)
        self.ptr, self.size = ctypes.addressof(self.buf), size

    def __getitem__(self, i):
        return self.buf.raw[i]


PROVIDER = """
import sys
from mooncake.store import MooncakeDistributedStore
s = MooncakeDistributedStore()
ret = s.setup("127.0.0.1", "P2PHANDSHAKE", 64 << 20, 1 << 20, "tcp", "", sys.argv[1])
print(ret, flush=True)
sys.stdin.read()
s.close()
"""


class Cluster:
    """A master, a process that owns 64 MiB, and a store here that owns nothing."""

    def __enter__(self):
        self.master = tap.master()
        self.provider = None
        try:
            self.provider = tap.Daemon([sys.executable, "-c", PROVIDER, self.master.addr])
            eq(self.provider.first, "0", f"provider's setup ({self.provider.errors()})")
            return opened(self.master.addr, pool=0)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.provider:
            self.provider.stop()
        self.master.stop()


def node(master, port=None, mb=64):
    """A mooncake-node on a free port; .addr is where."""
    binary = os.path.join(tap.BUILD, "bin", "mooncake_client")
    if not os.path.exists(binary):
        tap.skip("build/bin/mooncake_client is not built")
    port = port or tap.free_port()
    d = tap.Daemon([binary, "--host=127.0.0.1", f"--port={port}", f"--master_server_address={master.addr}", "--kernel_module=off",
                    f"--global_segment_size={mb} MB", "--populate=false"], ready=lambda: tap.connects(port))
    d.port, d.addr = port, f"127.0.0.1:{port}"
    return d


class Nodes:
    """A master and two nodes, both known to it."""

    def __enter__(self):
        self.master, self.nodes = tap.master(), []
        try:
            self.nodes = [node(self.master), node(self.master)]
            with opened(self.master.addr, pool=0) as s:
                names = []
                tap.until(lambda: names.append(len(segments(s))) or names[-1] == 2, what="two nodes at the master")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for n in self.nodes:
            n.stop()
        self.master.stop()


def segments(s):
    """Names of the pools that objects come to lie in."""
    keys = [f"rig-{i}" for i in range(32)]
    if s.put_batch(keys, [b"x"] * 32):
        return set()
    found = {d.get_memory_descriptor().buffer_descriptor.transport_endpoint for ds in s.batch_get_replica_desc(keys).values() for d in ds}
    s.remove_by_regex("^rig-", True)
    return found


def both(space, f):
    """Tests in @space: the same checks where the memory is ours and where it is another process's."""
    def embedded():
        with opened() as s:
            f(s)

    def remote():
        with Cluster() as s:
            try:
                f(s)
            finally:
                s.close()
    space[f"test_{f.__name__}_embedded"], space[f"test_{f.__name__}_with_master"] = embedded, remote
