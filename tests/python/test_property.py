#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Properties: whatever is stored comes back, whole, in ranges, in sessions, cut and put together; and what does not fit is refused as it
should be. Examples come from hypothesis, the same ones in every run."""
import sys

import tap
from tap import eq, skip

import store_rig
from mooncake import _tensor
from mooncake.store import ParallelAxis, ReadTarget, TensorParallelism
from store_rig import Memory

hypothesis = tap.package("hypothesis")
numpy = _tensor.numpy
MAX = 5000

if hypothesis:
    from hypothesis import given, settings
    from hypothesis import strategies as st

    rules = settings(max_examples=60, deadline=None, derandomize=True, database=None,
                     suppress_health_check=list(hypothesis.HealthCheck))
    values = st.one_of(st.binary(min_size=1, max_size=64), st.integers(1, MAX).map(lambda n: bytes(i * 31 % 251 for i in range(n))))
    keys = st.one_of(st.text(min_size=1, max_size=40), st.binary(min_size=1, max_size=40))
    cuts = st.lists(st.integers(0, MAX), max_size=6)


def raw(key):
    return key.encode() if isinstance(key, str) else key


def pieces(cut, size):
    """[from, to) that cover 0 to size."""
    at = sorted({0, size, *(c for c in cut if c < size)})
    return list(zip(at, at[1:]))


def with_store(body, strategies):
    """One store for all examples; @strategies gives those of the body's arguments."""
    if not hypothesis:
        skip("hypothesis is not installed and could not be fetched: pip install hypothesis")
    with store_rig.opened() as s:
        rules(given(st.tuples(*strategies()))(lambda example: body(s, *example)))()


def test_keys_and_values():
    model = {}

    def body(s, key, value, how):
        if how == "put":
            eq(s.put(key, value), 0)
            model.setdefault(raw(key), value)
        elif how == "upsert":
            eq(s.upsert(key, value), 0)
            model[raw(key)] = value
        else:
            eq(s.remove(key, True), 0 if model.pop(raw(key), None) is not None else -704)
        eq(s.get(key), model.get(raw(key), b""))
        eq((s.is_exist(key), s.get_size(key)), (1, len(model[raw(key)])) if raw(key) in model else (0, -704))
        eq(s.get(raw(key)), s.get(key))
    with_store(body, lambda: (st.one_of(keys, st.sampled_from(["a", b"a", "b", "\0", "é", b"\xff"])), values,
                              st.sampled_from(["put", "upsert", "remove"])))


def test_sizes():
    """What fits is read, what does not is refused and leaves the memory alone."""
    def body(s, value, room):
        m = Memory(room or 1, fill=238)
        s.upsert("k", value)
        got = s.get_into("k", m.ptr, room)
        if room < len(value):
            eq((got, m.buf.raw), (-600, bytes([238]) * len(m.buf)))
        else:
            eq((got, m.buf.raw[:len(value)], m.buf.raw[len(value):]), (len(value), value, bytes([238]) * (len(m.buf) - len(value))))
    with_store(body, lambda: (values, st.integers(0, MAX + 10)))


def test_scattered():
    """Gathered from pieces, read into others."""
    def body(s, value, out, into):
        m, n = Memory(len(value)), Memory(len(value))
        m.buf.raw = value
        s.remove("k", True)
        a, b = pieces(out, len(value)), pieces(into, len(value))
        eq(s.batch_put_from_multi_buffers(["k"], [[m.ptr + x for x, _ in a]], [[y - x for x, y in a]]), [0])
        eq(s.batch_get_into_multi_buffers(["k"], [[n.ptr + x for x, _ in b]], [[y - x for x, y in b]]), [len(value)])
        eq(n.buf.raw, value)
        eq(s.batch_get_into_multi_buffers(["k"], [[n.ptr + x for x, _ in b[1:]]], [[y - x for x, y in b[1:]]]), [-600])
    with_store(body, lambda: (values, cuts, cuts))


def test_ranges():
    """Any fragments of any object, each with its own verdict; a session's all or none."""
    def body(s, value, frags):
        s.upsert("k", value)
        m = Memory(2 * MAX)
        eq(s.register_buffer(m.ptr, m.size), 0)
        src, dst, size = ([f[i] for f in frags] for i in range(3))
        got = s.get_into_ranges([m.ptr], [["k"]], [[dst]], [[src]], [[size]])[0][0]
        eq(s.batch_get_session_start(["k"]), [0])
        for at, to, n, code in zip(src, dst, size, got):
            good = at + n <= len(value)
            fits = to + max(n, 1) <= m.size
            eq(code, n if good and fits else -600, f"{n} bytes from {at} of {len(value)} to {to}")
            part = s.batch_get_into_multi_buffer_ranges(["k"], [[m.ptr]], [[n]], [[at]])
            eq(part, [n if good else -600])
            if good:
                eq(m.buf.raw[:n], value[at:at + n])
        eq(s.unregister_buffer(m.ptr), 0)
    with_store(body, lambda: (values, st.lists(st.tuples(st.integers(0, MAX), st.integers(0, 2 * MAX), st.integers(0, MAX)), max_size=6)))


def test_sessions():
    """Parts in any order, some of them twice."""
    def body(s, value, cut, order):
        m = Memory(len(value))
        m.buf.raw = value
        s.remove("k", True)
        parts = pieces(cut, len(value))
        parts += [parts[i % len(parts)] for i in order]
        order = sorted(range(len(parts)), key=lambda i: (i * 7919) % 31)
        eq(s.batch_put_session_start(["k"], [len(value)]), [0])
        for i in order:
            x, y = parts[i]
            eq(s.batch_put_from_multi_buffer_ranges(["k"], [[m.ptr + x]], [[y - x]], [[x]]), [y - x])
        eq(s.get("k"), b"")
        eq(s.batch_put_session_end(["k"]), [0])
        eq(s.get("k"), value)
    with_store(body, lambda: (values, cuts, st.lists(st.integers(0, 9), max_size=4)))


def axis(rank, size, dim):
    a = ParallelAxis()
    a.kind, a.rank, a.size, a.split_dim = "tp", rank, size, dim
    p = TensorParallelism()
    p.axes = [a]
    return p


def test_tensor_splits():
    """Cut for one number of ranks, read for another: each gets its part, and all of them the whole."""
    if numpy is None:
        skip("numpy is not installed")

    def body(s, shape, dim, have, want, kind):
        shape, dim = list(shape), dim % len(shape)
        shape[dim] *= have * want
        t = numpy.arange(numpy.prod(shape)).astype(kind).reshape(shape)
        s.remove_all(True)
        eq(s.put_tensor_with_tp("t", t, tp_size=have, split_dim=dim), 0)
        shards = numpy.split(t, want, axis=dim)
        for rank in range(want):
            target = ReadTarget()
            target.mode, target.parallelism = "shard", axis(rank, want, dim)
            got = s.get_tensor_with_parallelism("t", target)
            if have == 1:  # one part is no cut: the tensor itself, of which nobody asks for a part
                continue
            eq(got is not None, True, f"shard {rank} of {want}")
            assert numpy.array_equal(numpy.asarray(got), shards[rank]), f"shard {rank} of {want}"
        for rank, part in enumerate(numpy.split(t, have, axis=dim)):
            assert numpy.array_equal(numpy.asarray(s.get_tensor_with_tp("t", rank, have, dim)), part)
        eq(s.put_tensor_with_tp("u", t, tp_size=shape[dim] + 1, split_dim=dim), -600)
    with_store(body, lambda: (st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 3), st.sampled_from([1, 2, 3, 4]),
                              st.sampled_from([1, 2, 3, 4]), st.sampled_from(["float32", "int8", "int64"])))


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
