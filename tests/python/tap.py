# SPDX-License-Identifier: Apache-2.0
"""Tests that speak TAP: functions of a module named test_…, run one after the other; exit 0 pass, 1 fail, 77 all skipped."""
import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
PYTHON_DIR = os.path.join(BUILD, "python")
if PYTHON_DIR not in sys.path:
    sys.path.insert(0, PYTHON_DIR)
ENV = dict(os.environ, PYTHONPATH=PYTHON_DIR)


class Skip(Exception):
    pass


def skip(reason):
    raise Skip(reason)


def not_under(sanitizer, why):
    """Skips where the programs, and this interpreter's extension, are built with it."""
    if sanitizer in os.environ.get("SAN", ""):
        skip(why)


def eq(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what + ': ' if what else ''}got {got!r}, want {want!r}")


def raises(kind, call, *args, text="", **kw):
    """The call raises @kind, with @text in the message."""
    try:
        got = call(*args, **kw)
    except kind as e:
        if text not in str(e):
            raise AssertionError(f"{e!r} does not say {text!r}") from None
        return e
    raise AssertionError(f"no {kind} but {got!r}")


def until(cond, seconds=10, what="condition"):
    """Waits for an event that has no descriptor to wait on."""
    end = time.monotonic() + seconds
    while not cond():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.005)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def python(code, *args, timeout=25, **env):
    """Runs a child interpreter on @code; returns (exit status, stdout, stderr)."""
    p = subprocess.run([sys.executable, "-c", code, *map(str, args)], env=dict(ENV, **env), timeout=timeout,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return p.returncode, p.stdout, p.stderr


def freeze(p):
    """Until a SIGCONT; when this returns @p stands still, which a signal that was sent does not promise yet."""
    p.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, p.pid, os.WSTOPPED)


class Daemon:
    """A program of build/bin, or an interpreter, that prints a line when it is ready."""

    def __init__(self, argv, ready=None, says=None):
        """@ready: a condition to wait for instead; @says: a text in its log to wait for."""
        if says:
            def ready():
                return says in self.errors()
        self.log = tempfile.TemporaryFile("w+")
        self.p = subprocess.Popen(argv, env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.first = self.p.stdout.readline().strip() if ready is None else ""
        if ready:
            try:
                until(lambda: self.p.poll() is not None or ready(), what=os.path.basename(argv[0]))
            except AssertionError:
                self.stop()
                raise
        if self.p.poll() is not None:
            raise AssertionError(f"{argv[0]} ended at once: {self.errors()}")

    def errors(self):
        """Its log. Read without moving the place where it writes, which is the file's."""
        return os.pread(self.log.fileno(), 1 << 20, 0).decode()

    def ask(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        return self.p.stdout.readline().strip()

    def freeze(self):
        """Until thaw()."""
        freeze(self.p)

    def thaw(self):
        self.p.send_signal(signal.SIGCONT)

    def stop(self, sig=signal.SIGTERM):
        """Any number of times."""
        if self.p.poll() is None:
            self.p.send_signal(sig)
            try:
                self.p.wait(10)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        self.p.stdin.close()
        self.p.stdout.close()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def connects(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def master():
    """A master on free ports; .addr is where, .http the port for HTTP."""
    binary = os.path.join(BUILD, "bin", "mooncake-master")
    if not os.path.exists(binary):
        skip("build/bin/mooncake-master is not built")
    d = Daemon([binary, "--port=0", "--metrics_port=0"], says="started on port")
    port, d.http = re.search(r"started on port (\d+):.* HTTP port (\d+)", d.errors()).groups()
    d.addr = f"127.0.0.1:{port}"
    return d


def rss():
    """Resident bytes of this process alone: the pages of a mapped pool come when they like. A sanitizer keeps what is freed, so
    with one they say nothing: 0."""
    if os.environ.get("SAN"):
        return 0
    with open("/proc/self/statm") as f:
        resident, shared = map(int, f.read().split()[1:3])
        return (resident - shared) * 4096


def tempdir():
    return tempfile.TemporaryDirectory(prefix="mooncake-")


def tool(name):
    path = shutil.which(name)
    if not path:
        skip(f"{name} is not installed")
    return path


def package(name):
    """A package of PyPI: the interpreter's, or fetched into the build once. A reason to skip when it cannot be had."""
    try:
        return importlib.import_module(name)
    except ImportError:
        pass
    where = os.path.join(BUILD, "pypi")
    if where not in sys.path:
        sys.path.append(where)
    if not os.path.isdir(os.path.join(where, name)):
        subprocess.run([sys.executable, "-m", "pip", "-q", "install", "--target", where, name], stdout=sys.stderr, stderr=subprocess.DEVNULL,
                       timeout=120)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def main(module):
    only = sys.argv[1:]
    tests = [(n, f) for n, f in vars(module).items() if n.startswith("test_") and callable(f) and (not only or n in only)]
    print(f"1..{len(tests)}", flush=True)
    failed = skipped = 0
    for i, (name, f) in enumerate(tests, 1):
        start = time.monotonic()
        try:
            f()
            print(f"ok {i} - {name} # {time.monotonic() - start:.2f} s", flush=True)
        except Skip as e:
            skipped += 1
            print(f"ok {i} - {name} # SKIP {e}", flush=True)
        except BaseException:  # KeyboardInterrupt too: say where
            failed += 1
            print(f"not ok {i} - {name}", flush=True)
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()), end="", flush=True)
    sys.exit(1 if failed else 77 if tests and skipped == len(tests) else 0)
