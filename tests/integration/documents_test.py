#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the documents show runs as they show it, and what the manual says of flags and calls is what programs and headers say."""
import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
import tap
from tap import eq

PROGRAMS = ("mooncake-master", "mooncake-metadata", "mooncake-node", "mooncakectl", "transfer_engine_bench", "transfer_engine_topology_dump")


def text(*path):
    with open(os.path.join(tap.ROOT, *path)) as f:
        return f.read()


def block(document, language, i=0):
    """The i-th block of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text(*document.split("/")), re.M | re.S)[i]


def page(name):
    """A page of the manual, without what only its formatter reads."""
    return re.sub(r"\\f.|\\", "", text("docs", "man", name))


def ran(p):
    assert p.returncode == 0, f"exit {p.returncode}\n{p.stdout}{p.stderr}"
    return p


def run(argv, **kw):
    return ran(subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=tap.ROOT, **kw))


def test_python_of_the_readme():
    got = tap.python(block("README.md", "python"))
    eq(got[0], 0, got[2])


def test_ten_lines_of_the_store():
    rc, out, err = tap.python(block("docs/python.md", "python"))
    eq((rc, out), (0, "b'some bytes'\n[1, 0]\n"), err)


def test_c_of_the_readme():
    if os.environ.get("SAN"):
        tap.skip("the program would need the sanitizer too")
    lib = os.path.join(tap.BUILD, "lib")
    with tap.tempdir() as d:
        source, program = os.path.join(d, "hello.c"), os.path.join(d, "hello")
        with open(source, "w") as f:
            f.write(block("README.md", "c"))
        run([*os.environ.get("CC", "cc").split(), "-Wall", "-Wextra", "-Werror", "-Ilibmc/include", source, f"-L{lib}", "-lmc", f"-Wl,-rpath,{lib}",
             "-o", program])
        run([program])


def flags(program):
    """Of a program: all, and those that it takes without effect."""
    usage = run([os.path.join(tap.BUILD, "bin", program), "--help"]).stdout
    found = re.findall(r"^  --([a-z_]+)(.*)", usage, re.M)
    return {f for f, _ in found} | {"help", "version"}, {f for f, rest in found if rest.endswith("[no effect yet]")}


def test_flags_are_on_the_page_and_nothing_else():
    has = {p: flags(p) for p in PROGRAMS}
    known = set().union(*(h for h, _ in has.values())) | {"name", "no", "what"}  # --name=value, --no name; systemctl's --what
    for program, (all_flags, idle) in has.items():
        name = os.path.basename(glob.glob(os.path.join(tap.ROOT, "docs", "man", program + ".[18]"))[0])
        said = {f.replace("-", "_") for f in re.findall(r"(?<![\w-])--([a-z][a-z_-]*[a-z])\b", page(name))}
        said |= {f[2:] for f in said - known if f.startswith("no")}  # --nolimit is about --limit
        eq(all_flags - idle - said, set(), f"{program}: not on its page")
        eq(said - known - {"no" + f for f in all_flags}, set(), f"{program}: on its page alone")


def test_calls_are_declared_as_the_page_says():
    groff = tap.tool("groff")

    def flat(s):
        return re.sub(r"\s*([(),;*])\s*", r"\1", " ".join(re.sub(r"/\*.*?\*/", "", s, flags=re.S).split()))

    headers = flat("".join(open(h).read() for h in glob.glob(os.path.join(tap.ROOT, "libmc", "include", "**", "*.h"), recursive=True)))
    for path in glob.glob(os.path.join(tap.ROOT, "docs", "man", "*.3")):
        shown = run([groff, "-man", "-Tascii", "-P-cbou", "-rLL=500n", path], env=dict(os.environ, GROFF_NO_SGR="1")).stdout
        synopsis = shown[shown.index("\nSYNOPSIS"):shown.index("\nDESCRIPTION")]
        calls = [flat(c) for c in re.findall(r"^ +((?:[a-z][\w ]*[ *])\w+\([^;{}]*\);)", synopsis, re.M)]
        assert calls, path
        for c in calls:
            assert c in headers, f"{path}: {c}"


def test_pages_are_formatted_without_a_warning():
    groff = tap.tool("groff")
    for path in sorted(glob.glob(os.path.join(tap.ROOT, "docs", "man", "*"))):
        eq(run([groff, "-ww", "-man", "-Tascii", path]).stderr, "", path)


def test_pages_refer_to_pages():
    pages = {os.path.basename(p) for p in glob.glob(os.path.join(tap.ROOT, "docs", "man", "*"))}
    names = {f"{os.path.splitext(p)[0]}({p[-1]})" for p in pages}
    for p in pages:
        names |= {f"{n}({p[-1]})" for n in re.search(r"^\.SH NAME\n(.*?) -", page(p), re.M)[1].split(", ")}
    for p in pages:
        for n, s in re.findall(r"\b((?:mc_|mooncake|transfer_engine)[\w-]*) ?\(([1-8])\)", page(p)):
            assert f"{n}({s})" in names, f"{p}: {n}({s})"


if __name__ == "__main__":
    tap.main(sys.modules[__name__])
