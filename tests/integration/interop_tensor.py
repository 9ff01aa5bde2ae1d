#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A tensor of every type goes from upstream's released wheel to ours and back, byte for byte, whole and cut.

    interop_tensor.py [--build build] [--peer /tmp/mooncake-peer-torch]

Objects travel as their bytes: what one store gives for a key, the other one stores under it. The environment with the wheel and torch
is made here when it is missing; our own tests of tensors run in it too, with torch. TAP on stdout; exit 77 when it cannot be had.
"""
import argparse, base64, json, os, socket, subprocess, sys, time

WHEEL = ["mooncake-transfer-engine-non-cuda==0.3.13.post1", "numpy", "torch==2.13.0", "safetensors"]
KINDS = ["float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool", "float16", "bfloat16",
         "float8_e4m3fn", "float8_e5m2"]

# One side, whichever implementation it imports: commands as JSON lines.
SIDE = r"""
import base64, json, sys
import torch
from mooncake.store import *
s = MooncakeDistributedStore()
assert s.setup("127.0.0.1", "P2PHANDSHAKE", 64 << 20, 16 << 20, "tcp", "", sys.argv[1]) == 0
def tensor(kind, shape):
    n = 1
    for x in shape: n *= x
    size = torch.empty(0, dtype=getattr(torch, kind)).element_size()
    raw = bytearray((i * 37 + 11) % (2 if kind == "bool" else 251) for i in range(n * size))
    return torch.frombuffer(raw, dtype=getattr(torch, kind)).reshape(shape) if n else torch.empty(shape, dtype=getattr(torch, kind))
def said(t):
    if t is None: return None
    raw = t.contiguous().reshape(-1).view(torch.uint8).tolist() if t.numel() else []
    return [str(t.dtype), list(t.shape), base64.b64encode(bytes(raw)).decode()]
def axes(list_):
    p = TensorParallelism()
    out = []
    for kind, rank, size, dim, expert, stage in list_:
        a = ParallelAxis()
        a.kind, a.rank, a.size, a.split_dim, a.expert_id, a.stage_id = kind, rank, size, dim, expert, stage
        out.append(a)
    p.axes = out
    return p
class W: pass
def writer(rank, size, dim):
    w = W()
    w.rank, w.size, w.split_dim = rank, size, dim
    return w
def target(mode, list_):
    t = ReadTarget()
    t.mode = mode
    t.parallelism = axes(list_) if list_ else None
    return t
def part(t, dim, first, n): return t.narrow(dim, first, n).contiguous()
def run(c, *a):
    if c == "put": return s.put_tensor(a[0], tensor(*a[1:]))
    if c == "made": return said(tensor(*a))
    if c == "get": return said(s.get_tensor(a[0]))
    if c == "tp": return s.put_tensor_with_tp(a[0], tensor(*a[1:3]), 0, *a[3:])
    if c == "get_tp": return said(s.get_tensor_with_tp(*a))
    if c == "axes":
        key, kind, shape, list_, cut = a
        t = tensor(kind, shape)
        return s.put_tensor_with_parallelism(key, part(t, *cut) if cut else t, axes(list_))
    if c == "writer": return s.put_tensor_with_parallelism(a[0], tensor(*a[1:3]), writer_partition=writer(*a[3]))
    if c == "want": return said(s.get_tensor_with_parallelism(a[0], target(a[1], a[2])))
    if c == "raw": return [base64.b64encode(b).decode() for b in s.get_batch(a[0])]
    if c == "store": return s.put(a[0], base64.b64decode(a[1]))
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    print(json.dumps({"r": run(*json.loads(line))}), flush=True)
s.close()
"""


class Side:
    def __init__(self, python, master, path=None):
        env = dict(os.environ, PYTHONUNBUFFERED="1", MC_LOG_LEVEL="ERROR", GLOG_minloglevel="3")
        env.pop("PYTHONPATH", None)
        if path:
            env["PYTHONPATH"] = path
        self.p = subprocess.Popen([python, "-c", SIDE, master], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True)
        self.read('"ready"')

    def read(self, start):
        while line := self.p.stdout.readline():
            if line.startswith(start):  # upstream prints to stdout now and then
                return json.loads(line)
        raise RuntimeError(f"a side ended with {self.p.wait()}")

    def __call__(self, *cmd):
        self.p.stdin.write(json.dumps(cmd) + "\n")
        self.p.stdin.flush()
        return self.read('{"r"')["r"]

    def close(self):
        self.p.stdin.close()
        try:
            self.p.wait(20)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()


class Tap:
    nr = failed = 0

    def check(self, name, ok):
        self.nr += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.nr} - {name}", flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def master(binary):
    port = free_port()
    p = subprocess.Popen([binary, "-rpc_port", str(port), "-metrics_port", str(free_port())], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as s:
            if not s.connect_ex(("127.0.0.1", port)):
                return p, f"127.0.0.1:{port}"
        time.sleep(0.02)
    p.kill()
    raise RuntimeError(f"{binary} does not listen")


def environment(path):
    python = os.path.join(path, "bin", "python")
    if not os.path.exists(os.path.join(path, "ready")):
        subprocess.check_call([sys.executable, "-m", "venv", path], stdout=sys.stderr)
        subprocess.check_call([python, "-m", "pip", "-q", "install", *WHEEL], stdout=sys.stderr, timeout=200)
        subprocess.check_call([python, "-I", "-c", "import torch, mooncake.store"], stdout=sys.stderr)  # not ours, which PYTHONPATH names
        open(os.path.join(path, "ready"), "w").close()
    return python


SHAPE = [4, 12]
TP = ["tp", 1, 2, 1, None, None]
OTHERS = [["dp", 0, 3, None, None, None], TP, ["ep", 1, 4, None, 7, None]]
STAGE = [["pp", 1, 2, None, None, 5]]


def carry(src, dst, keys):
    """The objects of @keys, byte for byte; None: one is missing."""
    got = src("raw", keys)
    if not all(got):
        return None
    return all(dst("store", k, b) == 0 for k, b in zip(keys, got)) and dst("raw", keys) == got


def alike(got, want):
    """Upstream reads a tensor without dimensions as one of [1]."""
    return got and (got[0], got[1] or [1], got[2]) == (want[0], want[1] or [1], want[2])


def one_way(tap, a, b, who):
    """What @a stores, @b reads."""
    for kind in KINDS:
        ok = True
        for shape in ([], [5], [3, 4], [1, 2, 1, 2, 1, 2, 1, 2], [0, 3]):
            key = f"{kind}{shape}"
            ok = ok and a("put", key, kind, shape) == 0 and carry(a, b, [key]) and alike(b("get", key), b("made", kind, shape))
        tap.check(f"{who}: {kind}", bool(ok))
    parts = [f"tp_tp_{r}" for r in range(3)]
    ok = a("tp", "tp", "int32", SHAPE, 3, 1) == 0 and carry(a, b, parts)
    tap.check(f"{who}: cut in three", bool(ok) and all(b("get_tp", "tp", r, 3) == a("get_tp", "tp", r, 3) is not None for r in range(3)))
    ok = all(a("axes", "one", "float16", SHAPE, [["tp", r, 2, 1, None, None]], [1, 6 * r, 6]) == 0 for r in range(2))
    ok = ok and carry(a, b, ["one_tp_0", "one_tp_1", "one__parallelism_manifest"])
    whole = b("made", "float16", SHAPE)
    tap.check(f"{who}: shards with a manifest, put together", bool(ok) and b("want", "one", "full", [TP]) == whole)
    tap.check(f"{who}: the same, cut in four",
              bool(ok) and all(b("want", "one", "shard", [["tp", r, 4, 1, None, None]]) is not None for r in range(4)))
    ok = all(a("axes", "many", "bfloat16", SHAPE, [OTHERS[0], ["tp", r, 2, 1, None, None], OTHERS[2]], None) == 0 for r in range(2))
    ok = ok and carry(a, b, [f"many__dp_0of3__tp_{r}of2_sd1__ep_1of4_eid7" for r in range(2)] + ["many__parallelism_manifest"])
    tap.check(f"{who}: several axes", bool(ok) and b("want", "many", "full", OTHERS) == b("made", "bfloat16", SHAPE))
    ok = a("axes", "stage", "int64", SHAPE, STAGE, None) == 0 and carry(a, b, ["stage__pp_1of2_sid5"])
    tap.check(f"{who}: no tensor axis", bool(ok) and b("want", "stage", "shard", STAGE) == b("made", "int64", SHAPE))
    ok = all(a("writer", "w", "uint8", SHAPE, [r, 2, 0]) == 0 for r in range(2))
    ok = ok and carry(a, b, ["w__writer_0of2_sd0", "w__writer_1of2_sd0", "w__writer_manifest"])
    tap.check(f"{who}: several writers", bool(ok) and b("want", "w", "full", None) == b("made", "uint8", SHAPE))


def main():
    o = argparse.ArgumentParser()
    o.add_argument("--build", default=os.environ.get("BUILD", "build"))
    o.add_argument("--peer", default="/tmp/mooncake-peer-torch")
    o = o.parse_args()
    path = os.path.abspath(os.path.join(o.build, "python"))
    try:
        python = environment(o.peer)
    except (subprocess.SubprocessError, OSError) as e:
        print(f"ok 1 - interop # SKIP upstream's wheel and torch cannot be installed: {e}\n1..1")
        return 77
    tap = Tap()
    peer_master, peer_addr = master(os.path.join(o.peer, "bin", "mooncake_master"))
    our_master, our_addr = master(os.path.join(o.build, "bin", "mooncake-master"))
    try:
        theirs, ours = Side(python, peer_addr), Side(python, our_addr, path)
        one_way(tap, theirs, ours, "upstream to ours")
        theirs.close(), ours.close()
        theirs, ours = Side(python, peer_addr), Side(python, our_addr, path)
        one_way(tap, ours, theirs, "ours to upstream")
        theirs.close(), ours.close()
    finally:
        for p in peer_master, our_master:
            p.kill()
            p.wait()
    test = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python", "test_tensor.py")
    own = subprocess.run([python, test], env=dict(os.environ, BUILD=os.path.abspath(o.build)), stdout=subprocess.PIPE, text=True)
    print("".join(f"# {line}\n" for line in own.stdout.splitlines() if own.returncode), end="")
    tap.check("our own tests of tensors, with torch", own.returncode == 0)
    print(f"1..{tap.nr}")
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
