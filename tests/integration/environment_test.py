#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mooncake-environment(7) against the library's tables: every variable, every default, nothing else; and no getenv() beside them."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
import tap
from tap import eq

CTL = os.path.join(tap.BUILD, "bin", "mooncakectl")
PAGE = open(os.path.join(tap.ROOT, "docs", "man", "mooncake-environment.7")).read()


def config(**env):
    p = subprocess.run([CTL, "config", "--json"], capture_output=True, text=True, env={"PATH": os.environ["PATH"], **env})
    eq(p.returncode, 0, p.stderr)
    return json.loads(p.stdout), p.stderr


def test_the_page_has_every_variable_with_its_default():
    said = dict(re.findall(r"^\.TP\n\\fB(\w+)\\fR \((.*)\)$", PAGE, re.M))
    table, err = config()
    eq(err, "")
    eq(sorted(said), sorted(table["variables"]))
    for name, v in table["variables"].items():
        eq(v["source"], "default")
        value = v["value"]
        words = {"": ["empty"], "False": ["false", "not set"], "True": ["true"]}.get(str(value), [str(value)])
        assert said[name] in words, f"{name}: the page says {said[name]}, the library {value!r}"


def test_the_page_has_every_variable_without_effect():
    idle = PAGE[PAGE.index(".SH VARIABLES WITHOUT EFFECT"):]
    eq(sorted(re.findall(r"\b(?:MC|MOONCAKE)_[A-Z0-9_]+\*?", idle)), sorted(config()[0]["variables_without_effect"]))


def test_where_values_are_from():
    table, err = config(MC_MIN_RPC_PORT="16000", MC_MAX_PRC_PORT="16010", MC_ETCD_PASSWORD="s3cret", MC_MAX_RPC_PROT="1")
    eq(table["variables"]["MC_MIN_RPC_PORT"], {"value": 16000, "source": "environment"})
    eq(table["variables"]["MC_MAX_RPC_PORT"], {"value": 16010, "source": "environment"})
    eq(table["variables"]["MC_ETCD_PASSWORD"]["value"], "***")
    eq(err.count("\n"), 1)
    assert "MC_MAX_RPC_PROT" in err and "did you mean MC_MAX_RPC_PORT?" in err, err


def test_nothing_else_asks_the_environment():
    asked = subprocess.run(["grep", "-rnE", r"\bgetenv\(", "--include=*.c", os.path.join(tap.ROOT, "libmc"), os.path.join(tap.ROOT, "python")],
                           capture_output=True, text=True).stdout.splitlines()
    asked = [os.path.relpath(line.split(":")[0], tap.ROOT) for line in asked]
    eq(sorted(set(asked)), ["libmc/src/base/conf.c", "libmc/src/base/env.c"])


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
