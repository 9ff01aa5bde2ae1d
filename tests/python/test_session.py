#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sessions as layer-wise callers use them: every call, every code."""
import ctypes
import sys
import threading

import tap
from tap import eq, raises

import store_rig
from mooncake.store import ReplicateConfig
from store_rig import Memory, both

LAYERS, PART = 8, 4096


def object_of(key, layers=LAYERS):
    return b"".join(bytes([(hash(key) + i) % 251]) * PART for i in range(layers))


def write(s, keys):
    """Each layer of all keys in one call."""
    sources = {k: Memory(LAYERS * PART) for k in keys}
    for k, m in sources.items():
        m.buf.raw = object_of(k)
    for i in reversed(range(LAYERS)):
        half = PART // 2
        at = [sources[k].ptr + i * PART for k in keys]
        eq(s.batch_put_from_multi_buffer_ranges(keys, [[p, p + half] for p in at], [[half, PART - half]] * len(keys),
                                                [[i * PART, i * PART + half]] * len(keys)), [PART] * len(keys))


def layer_by_layer(s):
    keys = ["a", b"b", "c\0c"]
    eq(s.batch_put_session_start(keys, [LAYERS * PART] * 3), [0, 0, 0])
    eq(s.batch_put_session_start(keys[:1], [5]), [-600])
    write(s, keys)
    eq(s.batch_is_exist(keys), [0, 0, 0])
    eq(s.batch_put_session_revoke(["c\0c"]), [0])
    eq(s.batch_put_session_end([*keys, "none"]), [0, 0, -600, -600])
    eq(s.batch_put_session_end(keys), [-600] * 3)
    eq(s.batch_is_exist(keys), [1, 1, 0])
    eq(s.get("a"), object_of("a"))
    eq(s.batch_put_session_start(keys, [5] * 3), [-705, -705, 0])
    eq(s.batch_put_session_revoke(["c\0c", "c\0c"]), [0, -600])

    eq(s.batch_get_session_start([*keys, "", "k" * 5000]), [0, 0, -704, -600, -600])
    into = [Memory(LAYERS * PART) for _ in keys]
    for i in range(LAYERS):
        eq(s.batch_get_into_multi_buffer_ranges(keys, [[m.ptr + i * PART] for m in into], [[PART]] * 3, [[i * PART]] * 3), [PART, PART, -600])
    eq([m.buf.raw for m in into[:2]], [object_of(k) for k in keys[:2]])
    p = into[0].ptr
    eq(s.batch_get_into_multi_buffer_ranges(["a", "a", "a", "a", "a"], [[p, p], [], [p], [0], [p, p]],
                                            [[1, 2], [], [1], [1], [1]], [[0, 7], [], [LAYERS * PART], [0], [0, 0]]), [3, 0, -600, -600, -600])
    eq(s.batch_get_session_end(keys), 0)
    eq(s.batch_get_session_end(["never"]), 0)
    eq(s.batch_get_into_multi_buffer_ranges(["a"], [[p]], [[1]], [[0]]), [-600])


def codes(s):
    m = Memory(100)
    eq(s.batch_put_session_start(["a", "b"], [1]), [-600, -600])
    eq(s.batch_put_session_start(["a", "", "k" * 5000, "d"], [0, 1, 1, 2**64 - 1]), [-600] * 4)
    eq(s.batch_put_session_start(["huge"], [1 << 36]), [-200])
    config = ReplicateConfig()
    config.nof_replica_num = 1
    eq(s.batch_put_session_start(["a"], [1], config), [-600])
    config = ReplicateConfig()
    config.replica_num, config.prefer_alloc_in_same_node = 2, True
    eq(s.batch_put_session_start(["a"], [1], config=config), [-600])
    config.prefer_alloc_in_same_node, config.preferred_segments = False, ["nobody:1"]
    eq(s.batch_put_session_start(["a"], [4], config), [0])
    eq(s.batch_put_from_multi_buffer_ranges(["a", "b"], [[m.ptr]] * 2, [[4]] * 2, [[0]] * 2), [4, -600])
    eq(s.batch_put_from_multi_buffer_ranges(["a"], [[m.ptr]], [[4]], [[1]]), [-600])
    assert "beyond the object" in s.last_error(), s.last_error()
    eq(s.batch_put_from_multi_buffer_ranges(["a"], [[0]], [[4]], [[0]]), [-600])
    eq(s.batch_put_from_multi_buffer_ranges(["a"], [[m.ptr]], [[4]], []), [-600])
    eq(s.batch_put_session_end(["a", "a"]), [0, -600])
    eq(s.batch_get_session_start(["a"]), [0])
    eq(s.upsert("a", b"other"), 0)
    eq(s.batch_get_into_multi_buffer_ranges(["a"], [[m.ptr]], [[4]], [[0]]), [-707])
    eq(s.batch_get_into_multi_buffer_ranges(["a"], [[m.ptr]], [[4]], [[0]]), [-600])
    eq(s.batch_get_session_start(["a"]), [0])
    eq(s.remove("a", True), 0)
    eq(s.batch_get_into_multi_buffer_ranges(["a"], [[m.ptr]], [[4]], [[0]]), [-707])
    eq((s.batch_get_session_start([]), s.batch_put_session_start([], []), s.batch_put_session_end([])), ([], [], []))
    eq(s.batch_get_into_multi_buffer_ranges([], [], [], []), [])


both(globals(), layer_by_layer)
both(globals(), codes)


def test_a_failed_start_ends_a_session():
    m = Memory(8)
    with store_rig.opened() as s:
        eq(s.put("k", b"value"), 0)
        eq(s.batch_get_session_start(["k"]), [0])
        eq(s.remove("k", True), 0)
        eq(s.batch_get_session_start(["k"]), [-704])
        eq(s.put("k", b"value"), 0)
        eq(s.batch_get_into_multi_buffer_ranges(["k"], [[m.ptr]], [[1]], [[0]]), [-600])


def test_types():
    with store_rig.opened() as s:
        for call, args in ((s.batch_get_into_multi_buffer_ranges, "all_src_offsets"), (s.batch_put_from_multi_buffer_ranges, "all_dst_offsets")):
            raises(TypeError, call, ["k"], [["x"]], [[1]], [[1]], text="all_buffer_ptrs")
            raises(TypeError, call, ["k"], [[1]], [[1.5]], [[1]], text="all_sizes")
            raises(TypeError, call, ["k"], [[1]], [[1]], [[-1]], text=args)
            raises(TypeError, call, ["k"], [[1]], [[1]], [3], text=args)


def test_close_ends_them():
    """Twice: what the first had is there for the second, and nobody waits."""
    for _ in range(20):
        with store_rig.opened(pool=8 << 20) as s:
            eq(s.put("r", b"x" * 100), 0)
            eq(s.batch_put_session_start(["w"], [5 << 20]), [0])
            eq(s.batch_get_session_start(["r"]), [0])
        eq(s.batch_put_session_end(["w"]), [])


def test_threads():
    """One object, each thread its layers; the end waits for those that are inside."""
    m = Memory(LAYERS * PART)
    m.buf.raw = object_of("t")
    with store_rig.Cluster() as s:
        for _ in range(20):
            eq(s.batch_put_session_start(["t"], [LAYERS * PART]), [0])
            threads = [threading.Thread(target=s.batch_put_from_multi_buffer_ranges, args=(["t"], [[m.ptr + i * PART]], [[PART]], [[i * PART]]))
                       for i in range(LAYERS)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            eq(s.batch_put_session_end(["t"]), [0])
            eq(s.get("t"), object_of("t"))
            eq(s.remove("t", True), 0)
        s.close()


def test_memory_is_not_written_after_an_error():
    m = Memory(64, fill=7)
    with store_rig.opened() as s:
        eq(s.put("k", b"0" * 64), 0)
        eq(s.batch_get_session_start(["k"]), [0])
        eq(s.batch_get_into_multi_buffer_ranges(["k"], [[m.ptr, m.ptr]], [[8, 8]], [[0, 60]]), [-600])
        eq(ctypes.string_at(m.ptr, 64), bytes([7]) * 64)


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
