#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Engram's tables, and the calls that have nothing behind them here."""
import sys
import warnings

import tap
from tap import eq, raises, skip

import store_rig
from mooncake import store as module
from mooncake.store import EngramStore, EngramStoreConfig, MooncakeDistributedNoFRegister, MooncakeDistributedStore
from store_rig import both

try:
    import numpy
except ImportError:
    numpy = None


def config(sizes=(10, 7), dim=4):
    c = EngramStoreConfig()
    c.table_vocab_sizes, c.embedding_dim = list(sizes), dim
    return c


def tables(sizes=(10, 7), dim=4):
    if numpy is None:
        skip("numpy is not installed")
    return [numpy.arange(n * dim, dtype=numpy.float32).reshape(n, dim) + 1000 * h for h, n in enumerate(sizes)]


def engram(s):
    e, t = EngramStore(3, config(), s), tables()
    raises(RuntimeError, e.lookup, [[[0, 0]]], text="-704")
    e.populate(t)
    eq(s.batch_is_exist(["engram:l3:h0", "engram:l3:h1"]), [1, 1])
    eq(s.get("engram:l3:h1"), t[1].tobytes())
    ids = numpy.array([[[0, 6], [9, 0], [5, 5]], [[1, 2], [1, 2], [0, 0]]])
    got = e.lookup(ids)
    eq((got.shape, got.dtype), ((2, 3, 2, 4), numpy.dtype("float32")))
    want = numpy.stack([t[h][ids[:, :, h]] for h in range(2)], axis=2)
    assert (got == want).all()
    assert (e.lookup(ids.tolist()) == want).all()
    eq(e.lookup(numpy.zeros((0, 5, 2), numpy.int64)).shape, (0, 5, 2, 4))
    for bad in ([[[0, 7]]], [[[-1, 0]]], [[[10, 0]]], [[[0]]], [0, 0], [[[0.5, 0]]]):
        raises(RuntimeError, e.lookup, bad, text="lookup failed")
    raises(RuntimeError, e.populate, t, text="there already")
    raises(RuntimeError, e.populate, t[:1], text="shapes")
    eq(e.remove_from_store(True), 2)
    eq(e.remove_from_store(), 0)
    # One that cannot be stored takes the others along.
    eq(s.put("engram:l4:h1", b"x"), 0)
    raises(RuntimeError, EngramStore(4, config(), s).populate, t, text="populate failed")
    eq(s.is_exist("engram:l4:h0"), 0)


both(globals(), engram)


def test_what_a_table_is():
    e = EngramStore(0, EngramStoreConfig())
    eq((e.get_table_vocab_sizes(), e.get_store_keys(), e.get_num_heads(), e.get_embedding_dim()), ([1024], ["engram:l0:h0"], 1, 64))
    for bad in ((-1, config()), (0, config(())), (0, config((0,))), (0, config(dim=0))):
        raises(ValueError, EngramStore, *bad)
    for bad in (("0", config()), (0, config(("1",))), (0, config(dim=1.5))):
        raises(TypeError, EngramStore, *bad)
    raises(RuntimeError, e.lookup, [[[0]]], text="no store")
    raises(RuntimeError, e.remove_from_store, text="no store")
    raises(RuntimeError, EngramStore(0, config(), MooncakeDistributedStore()).remove_from_store, text="-600")
    if numpy:
        raises(RuntimeError, EngramStore(0, config(), MooncakeDistributedStore()).populate, tables(), text="populate failed")
        raises(RuntimeError, EngramStore(0, config(), MooncakeDistributedStore()).lookup, [[[0, 0]]], text="set up")


def test_nothing_behind():
    n = MooncakeDistributedNoFRegister()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        eq(n.real_register("nqn", 1, "10.0.0.1", "4420", 0, 1 << 30, "127.0.0.1:50051"), -1012)
        eq(n.real_unregister_by_endpoint("nqn", 1, "10.0.0.1", "4420", "127.0.0.1:50051"), -1012)
    eq([str(w.message)[:7] for w in seen], ["NVMe-oF"] * 2)
    raises(TypeError, n.real_register, "nqn", "1", "a", "b", 0, 0, "m", text="nsid")
    raises(TypeError, n.real_register, "nqn")
    eq(module._get_pyclient_from_wrapper(MooncakeDistributedStore()), None)
    with store_rig.opened() as s:
        eq((s.init_all("tcp", "", 1), s.get_offload_rpc_read_count()), (-600, 0))


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
