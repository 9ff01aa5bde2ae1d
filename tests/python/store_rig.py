# SPDX-License-Identifier: Apache-2.0
"""Stores for tests: alone in this process, or with a master and another process that owns the memory."""
import ctypes
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
