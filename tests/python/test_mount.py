#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mount_segment() and its kin: every result, with a master, a pool-less store that mounts, and another that reads."""
import os
import sys
import tempfile
import urllib.request

import tap
from tap import eq, until

from mooncake.store import ReplicateConfig
from store_rig import MB, opened

BAD = {"ret": -1, "segment_ids": []}


class Rig:
    def __enter__(self):
        self.master = tap.master()
        self.addr = self.master.addr
        self.s, self.other = opened(self.addr, pool=0), opened(self.addr, pool=0)
        return self

    def segments(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.master.http}/get_all_segments") as f:
            return f.read().decode().split()

    def __exit__(self, *_):
        self.s.close()
        self.other.close()
        self.master.stop()


def shm(size):
    f = tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="mooncake-")
    f.truncate(size)
    return f


def test_file():
    with Rig() as r, shm(9 * MB) as f:
        got = r.s.mount_segment(f.name, 8 * MB, 4096)
        eq(got["ret"], 0, r.s.last_error())
        one, = got["segment_ids"]
        hi, lo = map(int, one.split("-"))
        eq(f"{hi}-{lo}", one)
        eq(r.s.put("k", b"hello" * 1000), 0)
        eq(r.other.get("k"), b"hello" * 1000)
        eq(len(r.segments()), 1)
        more = r.s.allocate_and_mount_segment(size=5 * MB, protocol="tcp", location="cpu:0")
        eq((more["ret"], more["allocated_size"], len(more["segment_ids"])), (0, 8 * MB, 1))
        eq(len(r.segments()), 1, "two pools, one segment")
        eq(r.s.unmount_segment([one, "1-2"]), -1)
        eq(r.s.unmount_segment([one]), -1)
        eq(r.s.unmount_and_free_segment(more["segment_ids"]), 0)
        eq(r.other.get("k"), b"")
        eq(r.other.get_replica_desc("k"), [])
        eq(r.segments(), [])
        until(lambda: r.s.put("k", b"x") == -900, what="nobody takes puts")  # -800 while the master has not heard of it
        eq(r.s.unmount_local_disk_segment(), 0)
        eq(r.s.unmount_segment([]), 0)


def test_refusals():
    with Rig() as r, shm(4 * MB) as f:
        for args in (("/dev/shm/none/there", MB), ("/dev/shm", MB), (f.name, 4 * MB + 1), (f.name, 4 * MB, 4096), (f.name, MB, 1), (f.name, 0),
                     (f.name, 4 * MB, 0, "carrier-pigeon"), (f.name, 1 << 63)):
            eq(r.s.mount_segment(*args), BAD, str(args))
        for args in ((0,), (1 << 50,), ((1 << 64) - 1,), (MB, "smoke")):
            eq(r.s.allocate_and_mount_segment(*args), BAD, str(args))
        for bad in ("", "x", "1", "1-", "-1", "1-2-3", "1-x", " 1-2", "1-2 ", "+1-2"):
            eq(r.s.unmount_segment([bad]), -1, repr(bad))
        eq(r.segments(), [])
    with opened() as s, shm(4 * MB) as f:
        eq(s.mount_segment(f.name, MB), BAD)
        eq(s.unmount_segment(["1-2"]), -1)
        eq(s.unmount_local_disk_segment(3), 0)


def test_grace():
    """New puts are refused at once, what is there stays readable; a copy into it is refused with -1010."""
    with Rig() as r:
        one = r.s.allocate_and_mount_segment(8 * MB)["segment_ids"]
        name, = r.segments()
        eq(r.s.put("k", b"hello"), 0)
        with opened(r.addr) as keeper:
            c = ReplicateConfig()
            c.preferred_segments = [keeper.get_hostname()]
            eq(r.s.put("kept", b"world", c), 0)
            eq(r.s.unmount_segment(one, 2), 0)
            eq(r.other.get("k"), b"hello")
            until(lambda: r.s.create_copy_task("kept", [name]) == ((0, 0), -1010), 2, "the segment is draining")
            eq(r.s.unmount_segment(one), -1)
            uuid, code = r.s.create_copy_task("k", [keeper.get_hostname()])
            eq(code, 0)
            until(lambda: name not in r.segments(), 20, "the segment goes")
            until(lambda: int(r.s.query_task(uuid)[0].status) == 3, what="it was saved")
            eq(r.other.get("k"), b"hello")
        eq(r.other.get("k"), b"")


def test_close_unmounts():
    with Rig() as r, shm(4 * MB) as f:
        eq(r.s.mount_segment(f.name, 4 * MB)["ret"], 0)
        eq(r.s.unmount_segment(r.s.allocate_and_mount_segment(4 * MB)["segment_ids"], 1000), 0)
        eq(r.s.close(), 0)
        eq(r.segments(), [])
        eq(r.s.mount_segment(f.name, 4 * MB), BAD)


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
