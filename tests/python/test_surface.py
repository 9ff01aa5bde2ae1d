#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table of surface.py against the built module and against its stubs; a call missing on any side fails."""
import ast
import inspect
import os
import sys

import tap
from tap import eq, raises

import mooncake.engine as engine
import mooncake.store as store
import surface
from mooncake.engine import TransferEngine
from mooncake.store import MooncakeDistributedStore, ReplicateConfig

CLASSES = [(store, MooncakeDistributedStore, surface.STORE), (engine, TransferEngine, surface.ENGINE),
           (store, store.BufferHandle, surface.HANDLE), (store, store.BufferPool, surface.POOL), (store, store.BufferLease, surface.LEASE),
           (store, store.ReplicaDescriptor, surface.REPLICA),
           (store, store.MooncakeHostMemAllocator, surface.ALLOCATOR), (engine, engine.SharedSegment, surface.SEGMENT),
           (engine, engine.RpcInterface, surface.RPC), (engine, engine.ReceivedData, surface.RECEIVED_DATA),
           (engine, engine.ReceivedTensor, surface.RECEIVED_TENSOR),
           (store, store.EngramStore, surface.ENGRAM), (store, store.MooncakeDistributedNoFRegister, surface.NOF)]


def plain(sig):
    """(name, kind, default) of every parameter but self."""
    return [(p.name, p.kind.name, p.default) for p in sig.parameters.values() if p.name != "self"]


def wanted(text):
    """The table's signature, as Python itself reads it."""
    space = {}
    exec(f"def f{text}: pass", space)
    return plain(inspect.signature(space["f"]))


def stub(module):
    with open(os.path.join(tap.ROOT, "python", *module.__name__.split(".")) + ".pyi", encoding="utf-8") as f:
        return ast.parse(f.read())


def classes(tree):
    return {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}


def functions(cls):
    """Methods of a stub, no attributes; of overloads the first."""
    out = {}
    for n in cls.body:
        if isinstance(n, ast.FunctionDef) and not any(isinstance(d, ast.Name) and d.id == "property" for d in n.decorator_list):
            out.setdefault(n.name, n)
    return out


def written(fn):
    """The signature a stub writes, without its annotations."""
    a = fn.args
    for arg in a.posonlyargs + a.args + a.kwonlyargs + [x for x in (a.vararg, a.kwarg) if x]:
        arg.annotation = None
    if a.posonlyargs and a.posonlyargs[0].arg == "self":
        a.posonlyargs.pop(0)
    elif a.args and a.args[0].arg == "self":
        a.args.pop(0)
    return wanted(f"({ast.unparse(a)})")


def test_signatures_of_the_module():
    for _, cls, rows in CLASSES:
        for row in rows:
            method = vars(cls).get(row[0])
            assert method, f"{cls.__name__}.{row[0]} is missing"
            eq(plain(inspect.signature(method)), wanted(row[1]), f"{cls.__name__}.{row[0]}")
            assert method.__doc__, f"{row[0]} has no docstring"


def test_signatures_of_the_stubs():
    for module, cls, rows in CLASSES:
        have = functions(classes(stub(module))[cls.__name__])
        for row in rows:
            assert row[0] in have, f"{cls.__name__}.{row[0]} is not in the stub"
            eq(written(have[row[0]]), wanted(row[1]), f"stub {cls.__name__}.{row[0]}")
            assert have[row[0]].returns, f"{row[0]} has no result in the stub"
            eq(ast.get_docstring(have[row[0]]), inspect.getdoc(getattr(cls, row[0])), f"docstring of {row[0]}")


def test_nothing_else_is_there():
    for module, cls, rows in CLASSES:
        names = {r[0] for r in rows}
        built = {n for n, v in vars(cls).items() if not n.startswith("_") and inspect.isroutine(v)}
        eq(built - names, set(), f"{cls.__name__}: not in the table")
        written_ = {n for n in functions(classes(stub(module))[cls.__name__]) if not n.startswith("_")}
        eq(written_ - names, set(), f"stub {cls.__name__}: not in the table")


def test_inventory():
    """Every name of upstream's, and nothing that is told to be missing is there."""
    have = {n: hasattr(store, n) for n in surface.MODULE} | {n: hasattr(MooncakeDistributedStore, n) for n in surface.METHODS}
    eq(len(have), len(surface.MODULE) + len(surface.METHODS), "names twice")
    eq(sorted(n for n, there in have.items() if not there), sorted(surface.ABSENT), "missing")
    eq(sorted(set(surface.METHODS) - {r[0] for r in surface.STORE} - set(surface.ABSENT) - {"_get_pyclient_capsule"}), [], "without a row")
    print(f"# {len(surface.MODULE)} names of the module and {len(surface.METHODS)} methods of the store, {len(surface.ABSENT)} of them not built")


def test_functions():
    for module, rows in ((store, surface.FUNCTIONS), (engine, surface.ENGINE_FUNCTIONS)):
        have = {n.name: n for n in stub(module).body if isinstance(n, ast.FunctionDef)}
        for name, sig in rows:
            f = getattr(module, name)
            eq(plain(inspect.signature(f)), wanted(sig), name)
            eq(written(have[name]), wanted(sig), f"stub {name}")
            eq(ast.get_docstring(have[name]), inspect.getdoc(f), f"docstring of {name}")
        eq(set(have), {r[0] for r in rows})


def test_counts():
    """How much of the specification's tables is walked."""
    for _, cls, rows in CLASSES:
        print(f"# {cls.__name__}: {len(rows)} calls")
    print(f"# ReplicateConfig: {len(surface.CONFIG)} attributes; functions: {len(surface.FUNCTIONS) + len(surface.ENGINE_FUNCTIONS)}")


def test_names_of_the_modules():
    for module in (store, engine):
        names = set()
        for n in stub(module).body:
            if isinstance(n, (ast.ClassDef, ast.FunctionDef)):
                names.add(n.name)
            elif isinstance(n, ast.Assign):
                names |= {t.id for t in n.targets}
            elif isinstance(n, ast.AnnAssign):
                names.add(n.target.id)
        names -= {"Key", "Nested", "Tensor", "import_module"}
        public = {n for n in [*vars(module), *module.__all__] if not n.startswith("_")}  # some are loaded when asked for
        eq({n for n in names if not n.startswith("_")} ^ public, set(), module.__name__)
        assert set(module.__all__) <= public


def test_before_setup():
    for cls, rows in ((MooncakeDistributedStore, surface.STORE), (TransferEngine, surface.ENGINE)):
        for name, _, args, want in rows:
            got = getattr(cls(), name)(*args)
            if want is not ... and want is not None or name.startswith("get_buffer") or name == "get_engine":
                eq(got, want, f"{cls.__name__}.{name} before setup")
                assert type(got) is type(want), f"{name}: {type(got)}"


def test_after_close():
    for name, _, args, want in surface.STORE:
        s = MooncakeDistributedStore()
        eq(s.setup("127.0.0.1", "P2PHANDSHAKE", 16 << 20, 1 << 20, "tcp", "", "embedded"), 0, "setup")
        eq(s.close(), 0)
        if name not in ("setup", "setup_dummy", "last_error"):
            eq(getattr(s, name)(*args), want, f"{name} after close")


def test_positional_and_keyword():
    """What the signature says is what a call obeys."""
    for _, cls, rows in CLASSES[:2]:
        for name, _, args, want in rows:
            params = list(inspect.signature(vars(cls)[name]).parameters.values())[1:]
            method = getattr(cls(), name)
            words = {p.name: a for p, a in zip(params, args)}
            if any(p.kind is p.VAR_POSITIONAL for p in params):
                words = {"key": args[0]}
            if params and all(p.kind is p.POSITIONAL_ONLY for p in params):
                raises(TypeError, method, **words)
            elif words:
                got = method(**words)
                if want is not ...:
                    eq(got, want, f"{name} by keyword")
            if not any(p.kind is p.VAR_POSITIONAL for p in params):
                raises(TypeError, method, *args, *[None] * (20 - len(args)))
            if any(p.kind is p.POSITIONAL_OR_KEYWORD for p in params):
                raises(TypeError, method, *args, no_such_word=1, text="no_such_word")
            required = [p for p in params if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
            if required and required[-1].kind is required[-1].POSITIONAL_OR_KEYWORD:
                raises(TypeError, method, *args[:len(required) - 1], text=f"missing '{required[len(args[:len(required) - 1])].name}'")


WRONG = {  # by parameter: values of another type
    "key": (1, None, bytearray(b"k"), "\ud800"), "value": ("text", None, 3), "keys": ("text", b"bytes", 3, None, [1]),
    "values": ("text", 3, ["text"]), "buffer_ptr": (-1, 1.5, None, "1", 1 << 64), "size": (-1, 1.5, None),
    "buffer_ptrs": (3, ["x"], [-1]), "sizes": (3, [1.5]), "config": (None, 1, {}), "force": ("yes", []),
    "all_buffer_ptrs": (3, [3], [["x"]]), "all_sizes": (3, [3], [["x"]]), "regex_pattern": (1, None), "buffer": (-1, None, 1.5),
    "peer_buffer_address": (-1, None), "length": (-1, None, 1.5), "buffers": (3, ["x"]), "peer_buffer_addresses": (3, ["x"]),
    "lengths": (3, [-1]), "opcode": (0, 1, None, "Read"), "notify": (1, ("a", "b")), "target_hostname": (1, ["p"]),
    "local_hostname": (1, []), "protocol": (1,), "global_segment_size": (-1, "1gb", None), "engine": (1, "e"),
    "tenant_id": (1, None), "buffer_addr": (-1, None), "capacity": (1.5, None), "location": (1, None), "batch_ids": (3, ["x"]),
    "base_keys": ("text", 3, None, [1]), "tensors_list": (3, "text", None), "tp_rank": (1.5, None, "1"), "tp_size": (1.5, "2"),
    "split_dim": (0.5, "0"), "parallelisms": (3, "text"), "writer_partitions": (3, b"x"), "targets": (3, "text"), "file_name": (3, ["f"]),
    "batch_id": (None, -1), "segment_name": (1, None), "peer_server_name": (1, None), "device_name": (1,),
    "task_id": (1, None, "x", (1,), (1, -1)), "source": (1, None), "path": (1, None), "segment_ids": ("1-2", 3, None, [1]),
    "offset": (-1, None, 1.5), "grace_period_seconds": (-1, None, 1.5),
}


def test_wrong_types_are_named():
    for _, cls, rows in CLASSES[:2]:
        for name, _, args, _ in rows:
            params = [p for p in list(inspect.signature(vars(cls)[name]).parameters.values())[1:] if p.kind is not p.VAR_POSITIONAL]
            for i, p in enumerate(params):
                for bad in WRONG.get(p.name, ()):
                    if i < len(args) and p.kind is not p.KEYWORD_ONLY:
                        call = (*args[:i], bad, *args[i + 1:])
                        words = {}
                    else:
                        call, words = args, {p.name: bad}
                    if name == "get_into_ranges" and isinstance(bad, list):
                        continue  # lists of another length are refused before they are read
                    if bad is None and p.default is None:
                        continue
                    e = raises(TypeError, getattr(cls(), name), *call, **words)
                    assert p.name.rstrip("s") in str(e), f"{name}({p.name}={bad!r}): {e}"


def test_config():
    assert hasattr(ReplicateConfig, "group_ids")
    have = {n for n, v in vars(ReplicateConfig).items() if inspect.isgetsetdescriptor(v)}
    eq(have - {"soft_pin_action", "data_type"}, {r[0] for r in surface.CONFIG})
    tree = classes(stub(store))["ReplicateConfig"]
    eq({n.target.id for n in tree.body if isinstance(n, ast.AnnAssign)}, have, "stub")
    for name, default, good, bad in surface.CONFIG:
        c = ReplicateConfig()
        eq(getattr(c, name), default, name)
        for b in bad:
            raises(TypeError, setattr, c, name, b)
            eq(getattr(c, name), default, f"{name} after {b!r}")
        setattr(c, name, good)
        eq(getattr(c, name), good, name)
        raises(TypeError, delattr, c, name)
    raises(TypeError, ReplicateConfig, 1)


def test_config_enums():
    c = ReplicateConfig()
    eq(c.soft_pin_action, store.SoftPinAction.PRESERVE)
    c.with_soft_pin = True
    eq(c.soft_pin_action, store.SoftPinAction.ENABLE)
    c.soft_pin_action = store.SoftPinAction.DISABLE
    eq(c.with_soft_pin, False)
    c.data_type = store.ObjectDataType.KVCACHE
    eq(c.data_type, store.KVCACHE)
    for bad in (1, "1", 1.0, None, store.SoftPinAction.ENABLE):
        raises(TypeError, setattr, c, "data_type", bad)
    raises(TypeError, setattr, c, "soft_pin_action", store.KVCACHE)
    eq([int(m) for m in store.ObjectDataType], list(range(10)))
    eq({m.name: m.value for m in store.ReplicaStatus},
       {"UNDEFINED": 0, "INITIALIZED": 1, "PROCESSING": 2, "COMPLETE": 3, "REMOVED": 4, "FAILED": 5})
    assert store.ObjectDataType.KVCACHE != 1 and hash(store.KVCACHE) is not None


def test_config_text():
    c = ReplicateConfig()
    base = ("ReplicateConfig: { replica_num: 1, nof_replica_num: 0, dfs_replica_num: 0, soft_pin_action: PRESERVE, soft_pin_ttl_ms: "
            "default, with_hard_pin: 0, preferred_segments: [], preferred_nof_segments: [], prefer_alloc_in_same_node: 0, "
            "data_type: UNKNOWN")
    eq(str(c), base + " }")
    c.preferred_segment, c.group_ids = b"x", ["a", b"b"]
    eq(str(c), base + ", preferred_segment (deprecated): x, group_ids: [a, b] }")


def test_opcode_and_notify():
    eq((int(engine.Read), int(engine.Write)), (0, 1))
    assert TransferEngine.TransferOpcode is engine.TransferOpcode and engine.TransferOpcode.READ is engine.Read
    n = engine.TransferNotify()
    eq((n.name, n.msg), ("", ""))
    n.name = "a"
    eq(engine.TransferNotify("a", "b").name, n.name)
    raises(TypeError, setattr, n, "msg", 1)
    raises(TypeError, engine.InnerTransferEngine)
    raises(TypeError, store.BufferHandle)


def test_subclasses():
    class Sub(MooncakeDistributedStore):
        def __init__(self, x):
            self.x = x

    class SubEngine(TransferEngine):
        def __init__(self, x):
            self.x = x

    s, e = Sub(3), SubEngine(4)
    eq((s.x, e.x, s.put("k", b"v"), e.get_rpc_port()), (3, 4, -600, 0))
    raises(TypeError, MooncakeDistributedStore, 1)
    raises(TypeError, TransferEngine, 1)


def test_flags_with_a_truth():
    """Ints and None pass for bool, as callers are used to."""
    s = MooncakeDistributedStore()
    for flag in (1, 0, None, True):
        eq(s.remove("k", flag), -600)


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
