#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Descriptors of replicas, and batch_replica_clear()."""
import ctypes
import sys

import tap
from tap import eq, raises

import mooncake.store as store
from mooncake.store import ReplicaStatus, ReplicateConfig
from store_rig import Cluster, both, opened


def describes(s):
    eq(s.put("k", b"hello"), 0)
    eq(s.put("big", bytes(1 << 20)), 0)
    eq(s.get_replica_desc("none"), [])
    eq(s.get_replica_desc(""), [])
    one, = s.get_replica_desc("k")
    eq(type(one).__name__, "ReplicaDescriptor")
    assert one.status is ReplicaStatus.COMPLETE
    eq((one.is_memory_replica(), one.is_disk_replica(), one.is_local_disk_replica()), (True, False, False))
    where = one.get_memory_descriptor().buffer_descriptor
    eq(where.size, 5)
    assert where.buffer_address > 0 and ":" in where.transport_endpoint, where
    eq(repr(where), f"<Descriptor size=5 buffer_address={where.buffer_address} transport_endpoint={where.transport_endpoint}>")
    raises(RuntimeError, one.get_disk_descriptor)
    raises(AttributeError, setattr, one, "status", ReplicaStatus.FAILED)
    got = s.batch_get_replica_desc(["k", "none", b"big", "", "k"])
    eq(set(got), {"k", b"big"})
    eq(got[b"big"][0].get_memory_descriptor().buffer_descriptor.size, 1 << 20)
    eq(s.batch_get_replica_desc([]), {})
    assert s.is_exist("k") == 1 and s.remove("k") == -706, "a look grants a lease"


def clears(s):
    eq(s.put_batch(["a", "b", "c"], [b"1", b"22", b"333"]), 0)
    eq(s.batch_replica_clear([]), [])
    eq(s.is_exist("c"), 1)
    eq(s.batch_replica_clear(["a", "none", "", "c"]), ["a"])
    eq(s.batch_replica_clear(["b"], "nobody:1"), [])
    eq(s.batch_replica_clear(keys=["b"], segment_name=""), ["b"])
    eq([s.is_exist(k) for k in "abc"], [0, 0, 1])


for f in (describes, clears):
    both(globals(), f)


def test_the_address_is_the_one():
    with opened() as s:
        eq(s.put("k", b"hello"), 0)
        where = s.get_replica_desc("k")[0].get_memory_descriptor().buffer_descriptor
        eq(ctypes.string_at(where.buffer_address, where.size), b"hello")
        eq(where.transport_endpoint, s.get_hostname())


def test_clearing_one_segment():
    rig = Cluster()
    with rig as s, opened(rig.master.addr) as mine:
        c = ReplicateConfig()
        c.replica_num = 2
        eq(mine.put("k", b"hello", c), 0)
        eq(s.batch_replica_clear(["k"]), [])
        eq(mine.batch_replica_clear(["k"], mine.get_hostname()), ["k"])
        one, = mine.get_replica_desc("k")
        assert one.get_memory_descriptor().buffer_descriptor.transport_endpoint != mine.get_hostname()
        eq(mine.get("k"), b"hello")
        s.close()


def test_types():
    raises(TypeError, store.ReplicaDescriptor)
    raises(TypeError, store.MemoryDescriptor)
    raises(TypeError, store.DiskDescriptor)
    d = store.Descriptor()
    eq((d.size, d.buffer_address, d.transport_endpoint), (0, 0, ""))
    d.size, d.buffer_address, d.transport_endpoint = 1, 2, "x"
    eq(repr(d), "<Descriptor size=1 buffer_address=2 transport_endpoint=x>")
    with opened() as s:
        raises(TypeError, s.get_replica_desc, 1)
        raises(TypeError, s.batch_get_replica_desc, "k")
        raises(TypeError, s.batch_replica_clear, ["k"], 1)


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
