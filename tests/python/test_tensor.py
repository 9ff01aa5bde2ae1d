#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tensors: whole, cut, put together; torch's where it is installed, else numpy's."""
import random
import struct
import sys
import tempfile
import warnings

import tap
from tap import eq, raises, skip

import store_rig
from mooncake import _tensor
from mooncake.store import (MooncakeDistributedStore, ParallelAxis, ReadTarget, ReplicateConfig, TensorParallelism, _deserialize_tensor,
                            _serialize_tensor, _tensor_metadata_size)

torch, numpy = _tensor.torch, _tensor.numpy
HEADER = 304


def make(shape, kind="float32", seed=1):
    """A tensor of bytes that repeat nowhere near."""
    count = 1
    for n in shape:
        count *= n
    rng = random.Random(seed)
    number = _tensor.NAMES.index(kind)
    if torch:
        size = torch.empty(0, dtype=_tensor.TORCH[number]).element_size()
        raw = bytes([rng.randrange(2) for _ in range(count)]) if kind == "bool" else rng.randbytes(count * size)
        if not count:
            return torch.empty(shape, dtype=_tensor.TORCH[number])
        return torch.frombuffer(bytearray(raw), dtype=_tensor.TORCH[number]).reshape(shape)
    if numpy is None:
        skip("neither torch nor numpy is installed")
    kind = _tensor.NUMPY[number]
    raw = bytes([rng.randrange(2) for _ in range(count)]) if kind == bool else rng.randbytes(count * kind.itemsize)
    return numpy.frombuffer(bytearray(raw), kind).reshape(shape)


def raw(t):
    """A tensor's bytes: NaNs are equal only to themselves."""
    if torch and isinstance(t, torch.Tensor):
        return bytes(t.contiguous().reshape(-1).view(torch.uint8).tolist()) if t.numel() else b""
    return t.tobytes()


def same(a, b):
    assert a is not None and b is not None, f"{type(a)}, {type(b)}"
    eq((a.dtype, tuple(a.shape)), (b.dtype, tuple(b.shape)))
    assert raw(a) == raw(b), "other bytes"


def kinds():
    if torch is None and numpy is None:
        skip("neither torch nor numpy is installed")
    types = _tensor.TORCH if torch else _tensor.NUMPY
    return [n for n, t in zip(_tensor.NAMES, types) if t is not None]


def part(t, dim, first, length):
    return t[tuple(slice(None) if i != dim else slice(first, first + length) for i in range(len(t.shape)))]


def axis(kind, rank, size, split_dim=None, expert_id=None, stage_id=None):
    a = ParallelAxis()
    a.kind, a.rank, a.size, a.split_dim, a.expert_id, a.stage_id = kind, rank, size, split_dim, expert_id, stage_id
    return a


def axes(*list_):
    p = TensorParallelism()
    p.axes = list_
    return p


def target(mode, p=None):
    t = ReadTarget()
    t.mode, t.parallelism = mode, p
    return t


class Writer:
    def __init__(self, rank, size, split_dim):
        self.rank, self.size, self.split_dim = rank, size, split_dim


class LikeATensor:
    """No tensor of torch, used like one."""

    def __init__(self, t, numel=None):
        self.t, self.dtype, self.shape, self.count = t, f"some.{str(t.dtype).rpartition('.')[2]}", t.shape, numel

    def contiguous(self):
        return self

    def numel(self):
        return len(raw(self.t)) // self.element_size() if self.count is None else self.count

    def element_size(self):
        return self.t.element_size() if torch else self.t.itemsize

    def data_ptr(self):
        return self.t.data_ptr() if torch else self.t.ctypes.data


def every_type(s):
    for kind in kinds():
        for shape in ((), (7,), (3, 5), (0, 4), (1, 2, 1, 2, 1, 2, 1, 2)):
            key, t = f"{kind}{shape}", make(shape, kind)
            eq(s.put_tensor(key, t), 0, key)
            same(s.get_tensor(key), t)
            eq(s.get_size(key), HEADER + len(raw(t)))
            eq(s.get(key)[:4], b"NOOM")


def batches(s):
    ts = [make((4, 6), seed=i) for i in range(5)]
    keys = [f"k{i}" for i in range(5)]
    eq(s.batch_put_tensor(keys, [ts[0], "no tensor", ts[2], None, ts[4]]), [0, -600, 0, -600, 0])
    got = s.batch_get_tensor(keys)
    eq([g is None for g in got], [False, True, False, True, False])
    for i in (0, 2, 4):
        same(got[i], ts[i])
    eq(s.batch_put_tensor(keys, ts[:2]), [-600] * 5)
    eq(s.batch_put_tensor([], []), [])
    eq(s.batch_get_tensor([]), [])
    eq(s.put_tensor("k0", ts[1]), 0)  # there already: unchanged
    same(s.get_tensor("k0"), ts[0])
    eq(s.upsert_tensor("k0", ts[1]), 0)
    same(s.get_tensor("k0"), ts[1])
    eq(s.batch_upsert_tensor(["k0", "k1"], [ts[3], ts[4]]), [0, 0])
    same(s.get_tensor("k1"), ts[4])


def not_contiguous(s):
    t = make((6, 8))
    eq(s.put_tensor("t", t.T), 0)
    same(s.get_tensor("t"), t.T.contiguous() if torch else numpy.ascontiguousarray(t.T))
    eq(s.put_tensor("half", t[::2, 1:5]), 0)
    same(s.get_tensor("half"), t[::2, 1:5].contiguous() if torch else numpy.ascontiguousarray(t[::2, 1:5]))


def what_is_read_is_its_own(s):
    t = make((16, 16))
    eq(s.put_tensor("k", t), 0)
    a = s.get_tensor("k")
    a += 1
    same(s.get_tensor("k"), t)
    eq(s.remove("k", force=True), 0)
    s.put("x", b"z" * 4096)
    assert raw(a) != raw(t)


def strange(s):
    eq(s.get_tensor("missing"), None)
    s.put("bytes", b"x" * 1000)
    eq(s.get_tensor("bytes"), None)
    t = make((2,) * 9)
    eq(s.put_tensor("nine", t), -600)
    if torch:
        eq(s.put_tensor("complex", torch.zeros(2, dtype=torch.complex64)), -600)
        eq(s.put_tensor("sparse", torch.zeros(2, 2).to_sparse()), -600)
        same(s.get_tensor("p") if not s.put_tensor("p", torch.nn.Parameter(t.reshape(-1)[:4].clone())) else None, t.reshape(-1)[:4])
    eq(s.put_tensor("", make((2,))), -600)
    eq(s.put_tensor("like", LikeATensor(t := make((3, 5)))), 0)
    same(s.get_tensor("like"), t)
    eq(s.put_tensor("unlike", LikeATensor(t, numel=14)), -600)
    cfg = ReplicateConfig()
    cfg.preferred_segments = ["a:1", "b:2"]
    eq(s.pub_tensor("k", make((2,)), cfg), -600)
    eq(s.batch_pub_tensor(["k"], [make((2,))], cfg), [-600])
    cfg.replica_num = 2
    eq(s.pub_tensor("k", make((2,)), cfg), 0)
    cfg = ReplicateConfig()
    cfg.prefer_alloc_in_same_node = True
    eq(s.pub_tensor("k2", make((2,)), cfg), 0)
    eq(s.get_tensor_into_cuda("k", make((2,))), -600)
    eq(s.batch_get_tensor_into_cuda(["k"], [make((2,))]), [-600])


def into_memory(s):
    t = make((8, 8))
    n = HEADER + len(raw(t))
    m = store_rig.Memory(4096)
    eq(s.put_tensor("k", t), 0)
    got = s.get_tensor_into("k", m.ptr, m.size)
    same(got, t)
    got[0] = 0  # lies in our memory
    assert m.buf.raw[HEADER:HEADER + 32] == bytes(32)
    eq(s.get_tensor_into("k", m.ptr, n - 1), None)
    eq(s.get_tensor_into("k", 0, n), None)
    eq(s.get_tensor_into("missing", m.ptr, n), None)
    got = s.batch_get_tensor_into(["k", "missing"], [m.ptr, m.ptr + 2048], [2048, 2048])
    same(got[0], t)
    eq(got[1], None)
    eq(s.batch_get_tensor_into(["k"], [0], [n]), [-600])
    eq(s.batch_get_tensor_into(["k", "l"], [m.ptr], [n]), [-600, -600])
    eq(s.put_tensor_from("copy", m.ptr, n), 0)
    same(s.get_tensor("copy"), t)
    eq(s.put_tensor_from("bad", m.ptr, n - 1), -600)
    eq(s.batch_put_tensor_from(["b0", "b1"], [m.ptr, 0], [n, n]), [0, -600])
    eq(s.upsert_tensor_from("copy", m.ptr, n), 0)
    eq(s.batch_upsert_tensor_from(["copy"], [m.ptr], [n]), [0])
    # one more after another's header: what was written before does not count
    m.buf[:4] = b"\0\0\0\0"
    eq(s.put_tensor_from("none", m.ptr, n), -600)


def tensor_parallel(s):
    t = make((4, 12), "float16")
    eq(s.put_tensor_with_tp("k", t, tp_rank=7, tp_size=3, split_dim=1), 0)
    for r in range(3):
        same(s.get_tensor_with_tp("k", r, 3), part(t, 1, r * 4, 4).contiguous() if torch else part(t, 1, r * 4, 4))
    eq(s.get_tensor_with_tp("k", 3, 3), None)
    eq(s.get_tensor("k"), None)
    eq(s.put_tensor_with_tp("odd", t, 0, 5, 1), -600)
    eq(s.put_tensor_with_tp("odd", t, 0, 2, 2), -600)
    eq(s.put_tensor_with_tp("odd", t, 0, 2, -1), -600)
    eq(s.get_tensor_with_tp("odd", 0, 2), None)
    eq(s.put_tensor_with_tp("one", t), 0)  # as put_tensor()
    same(s.get_tensor_with_tp("one"), t)
    eq(s.batch_put_tensor_with_tp(["a", "b"], [t, None], 0, 2, 0), [0, -600])
    got = s.batch_get_tensor_with_tp(["a", "b"], 1, 2)
    same(got[0], t[2:])
    eq(got[1], None)
    m = store_rig.Memory(4096)
    same(s.get_tensor_with_tp_into("a", m.ptr, m.size, 0, 2), t[:2])
    same(s.batch_get_tensor_with_tp_into(["a"], [m.ptr], [m.size], 1, 2)[0], t[2:])
    assert s.get_tensor_into("one", m.ptr, m.size) is not None
    n = HEADER + len(raw(t))
    eq(s.put_tensor_with_tp_from("from", m.ptr, n, 0, 4, 1), 0)
    same(s.get_tensor_with_tp("from", 3, 4), part(t, 1, 9, 3).contiguous() if torch else part(t, 1, 9, 3))
    eq(s.batch_put_tensor_with_tp_from(["f2"], [m.ptr], [n], 0, 2), [0])
    cfg = ReplicateConfig()
    eq(s.pub_tensor_with_tp("pub", t, cfg, 0, 2, 0), 0)
    eq(s.batch_pub_tensor_with_tp(["pub2"], [t], cfg, 0, 2, 0), [0])
    same(s.get_tensor_with_tp("pub2", 1, 2), t[2:])


def parallelism(s):
    t = make((4, 12))
    for r in range(2):
        shard = part(t, 1, r * 6, 6)
        eq(s.put_tensor_with_parallelism("d", shard, axes(axis("TP", r, 2, 1))), 0)
    whole = target("full", axes(axis("tp", 0, 2, 1)))
    same(s.get_tensor_with_parallelism("d", whole), t)
    for size in (1, 2, 3, 4, 6, 12):
        for r in range(size):
            same(s.get_tensor_with_parallelism("d", target("Shard", axes(axis("tp", r, size, 1)))),
                 part(t, 1, r * (12 // size), 12 // size).contiguous() if torch else part(t, 1, r * (12 // size), 12 // size))
    eq(s.get_tensor_with_parallelism("d", target("as_stored", axes(axis("tp", 0, 2, 1)))), None)
    eq(s.get_tensor_with_parallelism("d", target("shard")), None)
    eq(s.get_tensor_with_parallelism("d", object()), None)
    eq(s.put_tensor_with_parallelism("p", t), 0)
    same(s.get_tensor_with_parallelism("p"), t)
    for p in (axes(), axes(axis("tp", 2, 2, 1)), axes(axis("tp", 0, 2)), axes(axis("dp", 0, 2, 1)), axes(axis("ep", 0, 2)),
              axes(axis("xx", 0, 2)), axes(axis("tp", 0, 2, 0), axis("tp", 0, 2, 1)), object(), 3):
        eq(s.put_tensor_with_parallelism("bad", t, p), -600)
    eq(s.put_tensor_with_parallelism("bad", t, axes(axis("tp", 0, 2, 0)), writer_partition=Writer(0, 2, 0)), -600)
    for r in range(3):
        eq(s.put_tensor_with_parallelism("w", t, writer_partition=Writer(r, 3, 1)), 0)
    same(s.get_tensor_with_parallelism("w", target("full")), t)
    many = axes(axis("dp", 1, 2), axis("tp", 1, 2, 0), axis("pp", 0, 3, stage_id=2))
    eq(s.put_tensor_with_parallelism("m", t, many), 0)
    assert s.is_exist("m__dp_1of2__tp_1of2_sd0__pp_0of3_sid2") == 1
    same(s.get_tensor_with_parallelism("m", target("shard", many)), t[2:])
    eq(s.batch_put_tensor_with_parallelism(["x", "y"], [t, t], [None, axes(axis("ep", 0, 2, expert_id=1))]), [0, 0])
    eq(s.batch_put_tensor_with_parallelism(["x", "y"], [t, t], [None]), [-600, -600])
    got = s.batch_get_tensor_with_parallelism(["x", "y"], [None, target("shard", axes(axis("ep", 0, 2, expert_id=1)))])
    same(got[0], t)
    same(got[1], t)
    eq(s.batch_get_tensor_with_parallelism(["x"], [None, None]), [None])
    m = store_rig.Memory(8192)
    eq(s.get_tensor_with_parallelism_into("d", m.ptr, m.size, whole), None)  # not registered
    eq(s.register_buffer(m.ptr, m.size), 0)
    same(s.get_tensor_with_parallelism_into("d", m.ptr, m.size, whole), t)
    n = HEADER + len(raw(t))
    eq(s.put_tensor_with_parallelism_from("v", m.ptr, n, axes(axis("tp", 0, 4, 1))), 0)
    assert s.batch_is_exist(["v_tp_0", "v_tp_3", "v__parallelism_manifest"]) == [1, 1, 0]
    eq(s.upsert_tensor_with_parallelism_from("v", m.ptr, n), 0)
    same(s.batch_get_tensor_with_parallelism_into(["v"], [m.ptr], [m.size])[0], t)
    eq(s.batch_put_tensor_with_parallelism_from(["v2"], [m.ptr], [n], None), [0])
    eq(s.batch_upsert_tensor_with_parallelism_from(["v2"], [m.ptr], [n], [axes(axis("dp", 0, 2))]), [0])
    other = make((4, 12), seed=9)
    eq(s.upsert_tensor_with_parallelism("p", other), 0)
    same(s.get_tensor("p"), other)
    eq(s.batch_upsert_tensor_with_parallelism(["p"], [t]), [0])
    same(s.get_tensor("p"), t)
    eq(s.unregister_buffer(m.ptr), 0)


def random_cuts(s):
    rng = random.Random(5)
    for i in range(40):
        ndim, dim = rng.randint(1, 4), 0
        dim = rng.randrange(ndim)
        size = rng.randint(1, 5)
        shape = [rng.randint(1, 9) for _ in range(ndim)]
        shape[dim] = size * rng.randint(1, 4)
        t = make(shape, rng.choice(kinds()), i)
        eq(s.put_tensor_with_parallelism_from(f"r{i}", *packed(t), axes(axis("tp", 0, size, dim))), 0)
        parts = rng.choice([n for n in range(1, shape[dim] + 1) if shape[dim] % n == 0])
        r, n = rng.randrange(parts), shape[dim] // parts
        got = s.get_tensor_with_parallelism(f"r{i}", target("shard", axes(axis("tp", r, parts, dim))))
        want = part(t, dim, r * n, n)
        same(got, want.contiguous() if torch else numpy.ascontiguousarray(want))


KEEP = []


def packed(t):
    header, ptr, size, owner = _serialize_tensor(t)
    m = store_rig.Memory(len(header) + size + 1)
    m.buf[:len(header) + size] = header + raw(t)
    KEEP[:] = [m]
    return m.ptr, len(header) + size


for f in (every_type, batches, not_contiguous, what_is_read_is_its_own, strange, into_memory, tensor_parallel, parallelism, random_cuts):
    store_rig.both(globals(), f)


def test_bytes_without_a_store():
    t = make((3, 5), "int16")
    header, ptr, size, owner = _serialize_tensor(t)
    eq((len(header), size, type(owner)), (_tensor_metadata_size(), 30, type(t)))
    same(_deserialize_tensor(header + raw(t)), t)
    eq(struct.unpack_from("<IHHii", header), (0x4D4F4F4E, 1, 304, 4, 2))
    raises(ValueError, _serialize_tensor, "text")
    for bad in (b"", header, header + raw(t) + b"x", b"\0" * 400):
        raises(ValueError, _deserialize_tensor, bad)
    raises(TypeError, _deserialize_tensor, 3.5)
    raises(TypeError, _deserialize_tensor, 1 << 40, text="bytes-like")  # no size


def test_what_is_not_ours_to_swallow():
    """An object's own exception means it is no tensor; Ctrl-C in its code, and no memory, mean what they always mean."""
    class Raising:
        def __init__(self, kind):
            self.kind = kind

        def __getattr__(self, name):
            raise self.kind(name)
    with store_rig.opened() as s:
        t = make((4, 4))
        for kind in (KeyboardInterrupt, SystemExit, MemoryError):
            raises(kind, s.put_tensor_with_parallelism, "k", t, Raising(kind))
            raises(kind, s.put_tensor_with_parallelism, "k", t, None, writer_partition=Raising(kind))
            raises(kind, s.batch_put_tensor_with_parallelism, ["a", "b"], [t, t], [None, Raising(kind)])
            raises(kind, s.get_tensor_with_parallelism, "k", Raising(kind))
            raises(kind, s.batch_get_tensor_with_parallelism, ["a", "b"], [Raising(kind), None])
        eq(s.put_tensor_with_parallelism("k", t, Raising(ValueError)), -600)
        eq(s.get_tensor_with_parallelism("k", Raising(ValueError)), None)
        eq(s.batch_is_exist(["k", "a", "b"]), [0, 0, 0])
        if numpy is None:
            return

        class Array(numpy.ndarray):
            @property
            def __array_struct__(self):
                raise self.kind
        a = numpy.zeros(3).view(Array)
        a.kind = KeyboardInterrupt
        raises(KeyboardInterrupt, s.put_tensor, "k", a)
        raises(KeyboardInterrupt, s.batch_put_tensor, ["a", "b"], [t, a])
        raises(KeyboardInterrupt, _serialize_tensor, a)
        a.kind = ValueError
        eq(s.put_tensor("k", a), 0)  # it is told otherwise what it is


def test_files():
    try:
        import safetensors  # noqa: F401
    except ImportError:
        skip("safetensors is not installed")
    t = make((3, 4))
    with store_rig.opened() as s, tempfile.NamedTemporaryFile(suffix=".safetensors") as f:
        eq(s.put_tensor("k", t), 0)
        eq(s.save_tensor_to_safetensor("k", f.name), 0)
        eq(s.save_tensor_to_safetensor("missing", f.name), -1100)
        same(s.load_tensor_from_safetensor("k", f.name), t)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            same(s.load_tensor_from_safetensor("other", f.name), t)
            eq(s.save_tensor_to_safetensor("k", "/nonexistent/f"), -600)
            eq(s.load_tensor_from_safetensor(file_name="/nonexistent/f"), None)
        eq(len(seen), 3)
        same(s.get_tensor("other"), t)
        same(s.load_tensor_from_safetensor(file_name=f.name), t)
        same(s.get_tensor(f.name), t)
        raises(TypeError, s.load_tensor_from_safetensor, "k", text="file_name")


def test_nothing_is_left_behind():
    t = make((64, 64))
    with store_rig.opened() as s:
        eq(s.put_tensor("k", t), 0)
        for _ in range(300):
            s.get_tensor("k")
            s.put_tensor("k", t)
        before, refs = tap.rss(), sys.getrefcount(t)
        for _ in range(10000):
            s.get_tensor("k")
            s.put_tensor("k", t)
            s.put_tensor("bad", "text")
            s.get_tensor("missing")
        assert sys.getrefcount(t) == refs
        assert tap.rss() - before < 4 << 20, f"{tap.rss() - before} bytes more"


def test_classes():
    p = axes(axis("tp", 0, 2, 1))
    p.axes.append(axis("dp", 0, 1))
    eq(len(p.axes), 1)
    t = ReadTarget()
    eq((t.mode, t.parallelism), ("as_stored", None))
    t.mode = "FULL"
    eq(t.mode, "full")
    raises(RuntimeError, setattr, t, "mode", "half", text="Unsupported ReadTarget mode")
    a = ParallelAxis()
    eq((a.kind, a.rank, a.size, a.split_dim, a.expert_id, a.stage_id), ("", 0, 1, None, None, None))
    assert "tp" in repr(p) and "full" in repr(t)


def test_not_set_up():
    s = MooncakeDistributedStore()
    eq(s.save_tensor_to_safetensor("k"), -600)
    eq(s.load_tensor_from_safetensor("k", "f"), None)


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
