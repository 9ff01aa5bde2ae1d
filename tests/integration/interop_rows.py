#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What mooncake.engine answers to good and to bad arguments, before and after initialize: each row in a process of its own, with
upstream's released wheel and with ours. The answers are the same but for the rows in MENDED, which say why.

TAP on stdout; without the wheel (see services.py) ours is held against the answers written here."""
import concurrent.futures
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "python")]
import services
import tap

# Two engines of one process, e and f; e's memory is p, f's is q, f is called n.
BEGIN = r"""
import ctypes, os, time
from mooncake.engine import *
P2P = "P2PHANDSHAKE"
def new(*a):
    t = TransferEngine()
    return t.initialize(*a), t
def here():
    r, t = new("127.0.0.1", P2P, "tcp", "")
    assert r == 0
    return t
P, Q = ctypes.create_string_buffer(b"A" * 65536, 65536), ctypes.create_string_buffer(65536)
p, q = ctypes.addressof(P), ctypes.addressof(Q)
W, R = TransferOpcode.Write, TransferOpcode.Read
def two():
    e, f = here(), here()
    assert e.register_memory(p, 65536) == 0 and f.register_memory(q, 65536) == 0
    return e, f, f"127.0.0.1:{f.get_rpc_port()}"
"""

ROWS = {  # what is run, and the answer
    "protocol unknown": ('new("127.0.0.1", P2P, "pigeon", "")[0]', 0),
    "protocol of other builds": ('new("127.0.0.1", P2P, "efa", "")[0], new("127.0.0.1", P2P, "nvlink", "")[0]', (0, 0)),
    "protocol xgmi": ('new("127.0.0.1", P2P, "xgmi", "")[0]', -1),
    "protocol empty": ('new("127.0.0.1", P2P, "", "")[0]', 0),
    "rdma without devices": ('new("127.0.0.1", P2P, "rdma", "mlx5_0, mlx5_1")[0]', 0),
    "port in the name is ignored": ('(lambda r, t: (r, t.get_rpc_port() != 7))(*new("127.0.0.1:7", P2P, "tcp", ""))', (0, True)),
    "port that is none": ('new("127.0.0.1:99999", P2P, "tcp", "")[0]', -1),
    "before initialize": ('(lambda t: (t.get_engine(), t.get_engine_ptr(), t.send_probe("x")))(TransferEngine())', (None, 0, -1)),
    "register": ('(lambda t: [t.register_memory(p, 100), t.register_memory(p, 100), t.register_memory(p + 50, 100), '
                 't.register_memory(p + 100, 0), t.register_memory(p + 201, 3, "cpu:0"), t.unregister_memory(p), t.unregister_memory(p)])'
                 '(here())', [0, -7, -7, -1, 0, 0, -3]),
    "register nothing": ('(lambda t: (t.batch_register_memory([], []), t.batch_unregister_memory([])))(here())', (0, 0)),
    "register twice in one call": ('(lambda t: (t.batch_register_memory([p, p], [10, 10]), t.register_memory(p, 10)))(here())', (-7, 0)),
    "register less than named": ('here().batch_register_memory([], [1])', -1),
    "register a range that wraps": ('here().register_memory(2**64 - 1, 100)', -1),
    "register null": ('here().register_memory(0, 100)', -1),
    "unregister some that are not there": ('(lambda t: (t.register_memory(p, 10), t.batch_unregister_memory([p, p + 20]), '
                                           't.register_memory(p, 10)))(here())', (0, -3, 0)),
    "a place that is none": ('here().register_memory(p, 100, "nonsense")', 0),
    "a place of None": ('here().register_memory(p, 100, None)', TypeError),
    "allocate too much": ('here().allocate_managed_buffer(1 << 60)', 0),
    "allocate and free": ('(lambda t: (t.free_managed_buffer(t.allocate_managed_buffer(9000), 9000), t.free_managed_buffer(0, 0)))(here())',
                          (0, 0)),
    "write and read": ('(lambda e, f, n: (e.transfer_sync_write(n, p, q, 100), Q.raw[:101], e.transfer_sync_read(n, p + 1, q + 100, 5), '
                       'P.raw[:7]))(*two())', (0, b"A" * 100 + b"\0", 0, b"A\0\0\0\0\0A")),
    "no bytes": ('(lambda e, f, n: (e.transfer_sync_write(n, p, q, 0), e.transfer_sync_read(n, p, q + (1 << 20), 0)))(*two())', (0, 0)),
    "no bytes among others": ('(lambda e, f, n: (e.batch_transfer_sync_write(n, [p, p, p], [q, q, q + 8], [8, 0, 8]), Q.raw[:17]))(*two())',
                              (0, b"A" * 16 + b"\0")),
    "no bytes in the background": ('(lambda e, f, n: e.get_batch_transfer_status([e.batch_transfer_async_write(n, [p], [q], [0])]))(*two())', 0),
    "no bytes submitted": ('(lambda e, f, n: e.transfer_check_status(e.transfer_submit_write(n, p, q, 0)))(*two())', 1),
    "outside": ('(lambda e, f, n: (e.transfer_sync_read(n, p, q + 65530, 8), e.transfer_sync_write(n, p, q - 1, 8)))(*two())', (-1, -1)),
    "lists of unequal length": ('(lambda e, f, n: (e.batch_transfer_sync_write(n, [p], [q, q], [8]), '
                                'e.batch_transfer_async_write(n, [p], [q], [])))(*two())', (-1, 0)),
    "empty batch": ('(lambda e, f, n: e.batch_transfer_sync(n, [], [], [], W))(*two())', 0),
    "empty batch with a message": ('(lambda e, f, n: e.batch_transfer_sync(n, [], [], [], W, TransferNotify("a", "b")))(*two())', -1),
    "empty batch in the background": ('(lambda e, f, n: e.get_batch_transfer_status([e.batch_transfer_async_write(n, [], [], [])]))(*two())', 0),
    "no ids": ('here().get_batch_transfer_status([])', 0),
    "opcode": ('(lambda e, f, n: e.transfer_sync(n, p, q, 8, 1))(*two())', TypeError),
    "message": ('(lambda e, f, n: (e.transfer_sync(n, p, q, 8, W, TransferNotify("a", "b")), [(x.name, x.msg) for x in f.get_notifies()], '
                'f.get_notifies()))(*two())', (0, [("a", "b")], [])),
    "nobody there": ('(lambda t: (t.transfer_sync_write("127.0.0.1:1", p, q, 8), t.batch_transfer_async_write("127.0.0.1:1", [p], [q], [8]), '
                     't.get_first_buffer_address("127.0.0.1:1"), t.send_probe("127.0.0.1:1")))(here())', (-1, 0, 0, -102)),
    "name that is none": ('here().send_probe("bogus") != 0', True),
    "addresses": ('(lambda e, f, n: (e.get_first_buffer_address(n) == q, e.get_first_buffer_address("bogus"), e.send_probe(n)))(*two())',
                  (True, 0, 0)),
    "itself": ('(lambda e, f, n: (e.transfer_sync_write(f"127.0.0.1:{e.get_rpc_port()}", p, p + 100, 8), '
               'e.send_probe(f"127.0.0.1:{e.get_rpc_port()}")))(*two())', (0, 0)),
    "keyword arguments": ('new("127.0.0.1", P2P, "tcp", "")[1].initialize(local_hostname="x")', TypeError),
    "bytes": ('(lambda t: (t.write_bytes_to_buffer(p, b"a\\0b", 3), t.read_bytes_from_buffer(p, 4)))(here())', (0, b"a\0bA")),
    "opcodes": ('(int(R), R < W, Read == R, TransferEngine.TransferOpcode is TransferOpcode)', (0, True, True, True)),
    "efa": ('here().warmup_efa_segment("x")', 0),
}

MENDED = {  # upstream's answer, and why ours is another
    "port that is none": "a mistake in the name is told",
    "register less than named": "nothing is registered of what cannot be meant",
    "register a range that wraps": "nobody can reach it",
    "register null": "the same",
    "unregister some that are not there": "what is there is unregistered",
}


def answer(python, env, code):
    script = BEGIN + f"""
try:
    r = ({code})
except Exception as e:
    r = type(e)
print("answer", r.__name__ if isinstance(r, type) else repr(r), flush=True)
os._exit(0)
"""
    env = dict(os.environ, MC_TRANSFER_TIMEOUT="5", MC_LOG_LEVEL="ERROR", **env)
    try:
        out = subprocess.run([*python, "-c", script], env=env, capture_output=True, text=True, timeout=60).stdout
    except subprocess.TimeoutExpired:
        return "no answer"
    said = [line.split(" ", 1)[1] for line in out.splitlines() if line.startswith("answer ")]
    return said[0] if said else "ended without one"


def main():
    failed = 0
    try:
        peer = [services.peer_python(), "-I"]
    except tap.Skip as e:
        print(f"# {e}")
        peer = None

    def both(row):
        return answer([sys.executable], {"PYTHONPATH": tap.PYTHON_DIR}, row[0]), answer(peer, {}, row[0]) if peer else None

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(both, ROWS.values()))
    for nr, ((name, (_, want)), (ours, upstreams)) in enumerate(zip(ROWS.items(), answers), 1):
        want = want.__name__ if isinstance(want, type) else repr(want)
        upstreams = upstreams if peer else want
        ok = ours == want and (upstreams == want) != (bool(peer) and name in MENDED)
        failed += not ok
        print(f"{'ok' if ok else 'not ok'} {nr} - {name}" + (f" # mended: {MENDED[name]}; upstream's: {upstreams}" if name in MENDED else ""))
        if not ok:
            print(f"#   wanted {want}\n#   ours {ours}\n#   upstream's {upstreams}", flush=True)
    print(f"1..{len(ROWS)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
