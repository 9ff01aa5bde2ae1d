#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""python -m mooncake.transfer_engine_topology_dump."""
import json
import os
import subprocess
import sys

import tap
from tap import eq

from mooncake.engine import TransferEngine


def dump(*args, **env):
    p = subprocess.run([sys.executable, "-m", "mooncake.transfer_engine_topology_dump", *args], env=dict(tap.ENV, **env), capture_output=True,
                       text=True, timeout=25)
    return p.returncode, p.stdout, p.stderr


def test_discovered():
    rc, out, err = dump()
    eq(rc, 0, err)
    head, _, text = out.partition(": ")
    eq((head, json.loads(text)), ("Local topology [te/discover]", json.loads(TransferEngine().get_local_topology())))
    eq(dump("--backend", "te", "--device-name", "")[:2], (0, out))
    eq(dump(MC_CUSTOM_TOPO_JSON="/nonexistent")[:2], (0, out), "a custom topology is not asked for")


def test_custom():
    with tap.tempdir() as d:
        path = os.path.join(d, "topology.json")
        with open(path, "w", encoding="utf-8") as f:
            f.write('{"cpu:0": [["mlx5_0"], []]}')
        want = (0, f"Local topology [te/custom ({path})]", {"cpu:0": [["mlx5_0"], []]})
        for got in (dump("--custom-topo-json", path), dump("--use-custom-topo", MC_CUSTOM_TOPO_JSON=path)):
            head, _, text = got[1].partition(": ")
            eq((got[0], head, json.loads(text)), want, got[2])


def test_errors():
    for args, env in ((("--use-custom-topo",), {"MC_CUSTOM_TOPO_JSON": ""}), (("--custom-topo-json", "/nonexistent"), {}),
                      (("--backend", "tent"), {})):
        rc, out, err = dump(*args, **env)
        eq((rc, out, err[:7]), (1, "", "error: "))
    eq(dump("--backend", "other")[0], 2)
    eq(dump("--help")[0], 0)


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
