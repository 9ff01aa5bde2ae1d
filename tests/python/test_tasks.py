#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Copy and move tasks, with every code they give, against a master and two mooncake-node processes."""
import itertools
import os
import signal
import sys

import tap
from tap import eq, raises, until

import mooncake.store as store
from mooncake.store import QueryTaskResponse, ReplicateConfig, TaskStatus, TaskType
from store_rig import MB, opened


numbers = itertools.count()


def node(master):
    binary = os.path.join(tap.BUILD, "bin", "mooncake-node")
    if not os.path.exists(binary):
        tap.skip("build/bin/mooncake-node is not built")
    n = tap.Daemon([binary, "--port=0", f"--master_server_address={master}", "--global_segment_size=64mb", "--huge_pages=false",
                    f"--unix_path=unix:@mc-tasks-{os.getpid()}-{next(numbers)}"], says="serving unix")
    n.segment = n.errors().split("node: segment ")[1].split(",")[0]
    return n


class Rig:
    """A master, two nodes, a store without memory."""

    def __enter__(self):
        self.all = []
        try:
            self.master = tap.master()
            self.all.append(self.master)
            self.a, self.b = node(self.master.addr), node(self.master.addr)
            self.all += [self.a, self.b]
            self.s = opened(self.master.addr, pool=0)
            until(lambda: self.segments(), what="both nodes")
        except BaseException:
            self.__exit__()
            raise
        return self

    def segments(self):
        c = ReplicateConfig()
        c.replica_num = 2
        return self.s.put("probe", b"x", c) == 0 and len(self.where("probe")) == 2 and self.s.remove("probe", True) == 0 or \
            self.s.remove("probe", True) > 0

    def where(self, key):
        return {d.get_memory_descriptor().buffer_descriptor.transport_endpoint for d in self.s.get_replica_desc(key)}

    def put(self, key, value, n):
        c = ReplicateConfig()
        c.preferred_segments = [n.segment]
        eq(self.s.put(key, value, c), 0)
        eq(self.where(key), {n.segment})

    def ended(self, created):
        uuid, code = created
        eq(code, 0)
        until(lambda: self.s.query_task(uuid)[0].status in (TaskStatus.FAILED, TaskStatus.SUCCESS), what="the task")
        return self.s.query_task(uuid)[0]

    def __exit__(self, *_):
        if hasattr(self, "s"):
            self.s.close()
        for d in reversed(self.all):
            d.stop()


def test_copy_move_query():
    with Rig() as r:
        r.put("k", b"hello" * 1000, r.a)
        got = r.ended(r.s.create_copy_task("k", [r.b.segment]))
        assert isinstance(got, QueryTaskResponse) and got.status is TaskStatus.SUCCESS and got.type is TaskType.REPLICA_COPY, got
        assert got.last_updated_at_ms_epoch >= got.created_at_ms_epoch > 1600000000000, got
        assert got.assigned_client != (0, 0) and got.id != (0, 0) and got.message == "", got
        eq(r.where("k"), {r.a.segment, r.b.segment})
        uuid = f"{got.id[0]}-{got.id[1]}"
        eq(repr(got), f"QueryTaskResponse(id={uuid}, type=0, status=3, created_at={got.created_at_ms_epoch}, last_updated_at="
                      f'{got.last_updated_at_ms_epoch}, assigned_client={got.assigned_client[0]}-{got.assigned_client[1]}, message="")')
        r.put("m", b"move" * 100000, r.a)
        got = r.ended(r.s.create_move_task("m", r.a.segment, r.b.segment))
        assert got.status is TaskStatus.SUCCESS and got.type is TaskType.REPLICA_MOVE, got
        eq(r.where("m"), {r.b.segment})
        eq(r.s.get("m"), b"move" * 100000)


def test_codes():
    none = (0, 0)
    with Rig() as r:
        s = r.s
        r.put("k", b"hello", r.a)
        eq(s.create_copy_task("k", []), (none, -600))
        eq(s.create_copy_task("", [r.b.segment]), (none, -600))
        eq(s.create_copy_task("none", [r.b.segment]), (none, -704))
        eq(s.create_copy_task("k", ["nobody:1"]), (none, -600))
        eq(s.create_move_task("k", r.a.segment, r.a.segment), (none, -600))
        eq(s.create_move_task("k", r.b.segment, r.a.segment), (none, -600))
        eq(s.create_move_task("k", r.a.segment, "nobody:1"), (none, -600))
        eq(s.create_move_task("none", r.a.segment, r.b.segment), (none, -704))
        eq(s.query_task((1, 2)), (None, -1400))
        # While one runs: its target stands still.
        r.put("big", bytes(8 * MB), r.a)
        r.b.freeze()
        uuid, code = s.create_move_task("big", r.a.segment, r.b.segment)
        eq(code, 0)
        until(lambda: s.query_task(uuid)[0].status is TaskStatus.PROCESSING, what="the task runs")
        eq(s.remove("big"), -708)
        eq(s.remove("big", True), -708)
        eq(s.batch_remove(["big", "none"], True), [-708, -704])
        eq(s.remove_by_regex("^big$", True), 0)
        eq(s.remove_all(True), 1)  # the other one
        r.b.p.kill()
        until(lambda: s.query_task(uuid)[0].status is TaskStatus.FAILED, what="the task fails")
        assert s.query_task(uuid)[0].message
        eq(s.get("big"), bytes(8 * MB))
        eq(s.remove("big", True), 0)
        r.master.stop(signal.SIGKILL)
        assert s.query_task(uuid)[1] in (-900, -901)
        eq(s.create_copy_task("k", [r.b.segment])[0], none)


def test_too_many():
    binary = os.path.join(tap.BUILD, "bin", "mooncake-master")
    port = tap.free_port()
    with tap.Daemon([binary, "--rpc_port", str(port), "--metrics_port", str(tap.free_port()), "--max_total_pending_tasks=0"],
                    ready=lambda: tap.connects(port)):
        with opened(f"127.0.0.1:{port}") as s:
            eq(s.put("k", b"v"), 0)
            eq(s.create_copy_task("k", [s.get_hostname()]), ((0, 0), -1401))


def test_embedded():
    with opened() as s:
        eq(s.put("k", b"v"), 0)
        eq(s.create_copy_task("k", ["x:1"]), ((0, 0), -1012))
        eq(s.create_move_task("k", "x:1", "y:1"), ((0, 0), -1012))
        eq(s.query_task((1, 2)), (None, -1400))


def test_types():
    empty = QueryTaskResponse()
    eq(repr(empty), 'QueryTaskResponse(id=0-0, type=0, status=0, created_at=0, last_updated_at=0, assigned_client=0-0, message="")')
    raises(AttributeError, setattr, empty, "message", "x")
    eq({m: int(v) for m, v in TaskStatus.__members__.items()}, {"PENDING": 0, "PROCESSING": 1, "FAILED": 2, "SUCCESS": 3})
    eq({m: int(v) for m, v in TaskType.__members__.items()}, {"REPLICA_COPY": 0, "REPLICA_MOVE": 1})
    # Two names are taken by both enumerations; callers know these.
    assert store.PROCESSING is TaskStatus.PROCESSING and store.FAILED is TaskStatus.FAILED and store.COMPLETE.value == 3
    with opened() as s:
        for bad in (1, None, "x", (1,), (1, 2, 3), (1, -1), (1, "2")):
            raises(TypeError, s.query_task, bad)
        raises(TypeError, s.create_copy_task, "k", "x:1")
        raises(TypeError, s.create_copy_task, "k", [1])


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
