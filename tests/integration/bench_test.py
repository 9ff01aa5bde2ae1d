#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""transfer_engine_bench between two processes, with and without a metadata service, and with upstream's; transfer_engine_topology_dump."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
import tap
from tap import eq

BENCH = os.path.join(tap.BUILD, "bin", "transfer_engine_bench")
DUMP = os.path.join(tap.BUILD, "bin", "transfer_engine_topology_dump")
METADATA = os.path.join(tap.BUILD, "bin", "mooncake-metadata")
UPSTREAM = os.environ.get("MC_PEER", "/tmp/mooncake-peer") + "/bin/transfer_engine_bench"
SMALL = ["--buffer_size=16777216", "--block_size=65536", "--batch_size=8", "--threads=2"]


class Target:
    def __init__(self, *flags):
        argv = [BENCH, "--mode=target", "--local_server_name=127.0.0.1", "--buffer_size=16M", "--block_size=64k", "--batch_size=8",
                "--threads=2", *flags]
        self.p = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.p.stdout.readline().split()
        eq(line[:1], ["segment_id"])
        self.name = line[1]

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        eq(self.p.wait(20), 0)
        self.p.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        if kind:
            self.p.kill()
        else:
            self.stop()


def initiate(name, *flags, program=BENCH, rc=0):
    argv = [program, "--mode=initiator", "--local_server_name=127.0.0.1", f"--segment_id={name}", *SMALL, *flags]
    p = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    eq(p.returncode, rc, " ".join(flags) + "\n" + p.stderr)
    return p


def figures(name, *flags):
    p = initiate(name, "--json", "--duration=0.2", *flags)
    assert re.search(r"Test completed: duration 0\.\d\d, batch count \d+, throughput \d+\.\d\d GB/s\n", p.stderr), p.stderr
    eq(p.stderr.count(" stopped!\n"), 2)
    return json.loads(p.stdout)


def check(f, operation, transport):
    eq((f["operation"], f["transport"], f["block_size"], f["batch_size"], f["threads"]), (operation, transport, 65536, 8, 2))
    eq(f["bytes"], f["batches"] * 8 * 65536)
    assert f["batches"] > 0 and f["bytes_per_second"] > 1e6, f
    lat = f["batch_latency_us"]
    assert 0 < lat["p50"] <= lat["p90"] <= lat["p99"] <= lat["p999"] <= lat["max"], lat
    assert f["cpu_seconds_per_gb"] > 0, f
    limit = f["limit"]
    eq(limit["kind"], "memcpy" if transport == "local" else "socket")
    assert limit["bytes"] > 0 and limit["reached"] > 0 and limit["streams"] >= 1, limit
    if transport == "tcp":
        assert limit["round_trip_us"]["p50"] > 0 and f["target_cpu_seconds_per_gb"] > 0, f


def test_read_and_write_over_both_ways():
    with Target() as t:
        for operation in "read", "write":
            for transport in "tcp", "local":
                check(figures(t.name, f"--operation={operation}", f"--protocol={transport}"), operation, transport)
        eq(figures(t.name, "--protocol=tcp", "--auto_discovery")["transport"], "local")
        assert "limit" not in figures(t.name, "--nolimit")


def test_one_byte():
    with Target() as t:
        f = figures(t.name, "--protocol=tcp", "--block_size=1", "--batch_size=1")
        eq(f["bytes"], f["batches"])
        assert f["limit"]["round_trip_us"]["p50"] > 0, f
        f = figures(t.name, "--protocol=tcp", "--block_size=1", "--batch_size=1", "--operation=write")
        assert f["limit"]["round_trip_us"]["p50"] > 0, f


def test_for_people():
    with Target() as t:
        p = initiate(t.name, "--duration=0.1", "--report_unit=Mb", "--report_precision=0", "--protocol=tcp")
        assert re.search(r"throughput \d+ Mb/s\n", p.stderr), p.stderr
        for word in "read over tcp", "p999", "s/GB here", "limit: socket", "% were reached":
            assert word in p.stdout, p.stdout
        assert "report_unit parsec is unknown" in initiate(t.name, "--duration=0.1", "--report_unit=parsec").stderr


def test_with_a_metadata_service():
    port = tap.free_port()
    service = subprocess.Popen([METADATA, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        tap.until(lambda: tap.connects(port), 20, "mooncake-metadata")
        url = f"--metadata_server=http://127.0.0.1:{port}/metadata"
        with Target(url, "--local_server_name=127.0.0.1:9") as t:
            eq(t.name, "127.0.0.1:9")
            argv = ["--local_server_name=127.0.0.1:10", url]
            check(figures(t.name, *argv, "--protocol=tcp"), "read", "tcp")
    finally:
        service.kill()
        service.wait()


def test_mistakes_are_named():
    for flags, rc, word in ((["--mode=both"], 1, "--mode=both: it takes one of initiator,target"),
                            (["--operation=look"], 1, "--operation=look"), (["--backend=x"], 1, "--backend=x"),
                            (["--protocol=tcpp"], 1, "--protocol=tcpp"), (["--block_size=0"], 1, "at least one byte"),
                            (["--segment_id="], 1, "--segment_id is missing"), (["--thread=1"], 2, "did you mean threads?"),
                            (["--threads=0"], 2, "a whole number from 1 to 1024"), (["word"], 2, "flags only")):
        p = initiate("127.0.0.1:1", *flags, rc=rc)
        assert word in p.stderr, (flags, p.stderr)
    p = initiate("127.0.0.1:1", "--duration=0.1", rc=1)
    assert "target 127.0.0.1:1 cannot be opened" in p.stderr, p.stderr
    eq(subprocess.run([BENCH, "--version"], capture_output=True, text=True).stdout.split()[0], "transfer_engine_bench")
    assert "--block_size=SIZE" in subprocess.run([BENCH, "--help"], capture_output=True, text=True).stdout


def test_target_too_small():
    with Target() as t:
        p = initiate(t.name, "--block_size=4M", "--batch_size=4", rc=1)
        assert "--buffer_size=33554432" in p.stderr, p.stderr


def test_target_killed():
    t = Target()
    argv = [BENCH, "--local_server_name=127.0.0.1", f"--segment_id={t.name}", *SMALL, "--duration=20", "--protocol=tcp"]
    p = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    p.stderr.readline()  # a round is over
    t.p.kill()
    t.p.wait()
    t.p.stdout.close()
    err = p.communicate(timeout=60)[1]
    eq(p.returncode, 1)
    assert "a transfer failed" in err, err


def upstream():
    if not os.path.exists(UPSTREAM):
        tap.skip("upstream's release is not installed in " + os.path.dirname(os.path.dirname(UPSTREAM)))
    return UPSTREAM


def test_upstreams_initiator_and_our_target():
    program = upstream()
    with Target() as t:
        p = initiate(t.name, "--metadata_server=P2PHANDSHAKE", "--protocol=tcp", "--duration=1",
                     program=program)
        assert "Test completed" in p.stderr, p.stderr


def test_our_initiator_and_upstreams_target():
    p = subprocess.Popen([upstream(), "--mode=target", "--local_server_name=127.0.0.1", "--metadata_server=P2PHANDSHAKE", "--protocol=tcp",
                          "--buffer_size=16777216", "--block_size=65536", "--batch_size=8", "--threads=2"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        for line in p.stderr:
            found = re.search(r"listening on (\S+:\d+)", line)
            if found:
                break
        else:
            raise AssertionError("upstream's target did not say where it listens")
        # It listens before it has registered its memory, and says nothing more.
        probe = [BENCH, "--local_server_name=127.0.0.1", f"--segment_id={found[1]}", *SMALL, "--duration=0.05", "--nolimit", "--protocol=tcp"]
        tap.until(lambda: not subprocess.run(probe, capture_output=True).returncode, 20, "upstream's target")
        f = figures(found[1], "--protocol=tcp")
        eq(f["transport"], "tcp")
        assert f["bytes"] > 0 and "limit" not in f, f
    finally:
        os.killpg(p.pid, signal.SIGKILL)  # the program is a child of what was started
        p.wait()
        p.stderr.close()


def test_topology_dump():
    p = subprocess.run([DUMP], capture_output=True, text=True, env=dict(os.environ, MC_CUSTOM_TOPO_JSON="/nonexistent"))
    eq(p.returncode, 0, p.stderr)
    head = "Local topology [te/discover]: "
    assert p.stdout.startswith(head), p.stdout
    assert all(len(lists) == 2 for lists in json.loads(p.stdout[len(head):]).values()), p.stdout
    with tempfile.NamedTemporaryFile("w") as f:
        f.write('{"cpu:0": [["mlx5_0"], []]}')
        f.flush()
        p = subprocess.run([DUMP, f"--custom-topo-json={f.name}"], capture_output=True, text=True)
        eq(p.stdout, f'Local topology [te/custom ({f.name})]: {{\n\t"cpu:0" : \n\t[\n\t\t[\n\t\t\t"mlx5_0"\n\t\t],\n\t\t[]\n\t]\n}}\n')
    for flags, rc in (["--backend=tent"], 1), (["--use-custom-topo"], 1), (["--custom-topo-json=/nonexistent"], 1), (["--devices"], 2):
        p = subprocess.run([DUMP, *flags], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
        eq(p.returncode, rc, flags)
        assert "error: " in p.stderr, p.stderr


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
