# SPDX-License-Identifier: Apache-2.0
"""The daemons as child processes of this one: started on free ports, watched, measured, and never left behind."""
import ctypes
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

PR_SET_PDEATHSIG = 1
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """Something did not happen by its deadline, or a program ended early; the text says what and shows its log."""


def die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Proc:
    """A child process whose log lies in an anonymous file: nothing to clean up, nothing that fills a pipe."""

    def __init__(self, name, argv, env=None, pass_fds=(), prefix=()):
        self.name = name
        self.log_fd = os.memfd_create(f"log of {name}")
        self.cpu_before_end = self.own_peak = 0
        self.p = subprocess.Popen([*prefix, *argv], stdin=subprocess.DEVNULL, stdout=self.log_fd, stderr=self.log_fd,
                                  env=env, pass_fds=pass_fds, preexec_fn=die_with_parent)
        self.pid = self.p.pid

    def log(self):
        return os.pread(self.log_fd, 1 << 22, 0).decode(errors="replace")

    def alive(self):
        return self.p.poll() is None

    def wait_log(self, pattern, seconds=15):
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.log())
            if found:
                return found
            if not self.alive():
                raise Failure(f"{self.name} ended with {self.p.returncode}:\n{self.log()}")
            if time.monotonic() > end:
                raise Failure(f"{self.name} did not say {pattern!r} within {seconds} s:\n{self.log()}")
            time.sleep(0.005)

    def kill(self, sig=signal.SIGKILL):
        self.measure()
        if self.alive():
            self.p.send_signal(sig)

    def stop(self, seconds=10):
        """SIGTERM, later SIGKILL. Returns the exit status."""
        if self.alive():
            self.kill(signal.SIGCONT)
            self.kill(signal.SIGTERM)
        try:
            return self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
            return -signal.SIGKILL

    def reap(self, seconds=10):
        try:
            return self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {seconds} s:\n{self.log()}") from None

    def measure(self):
        """(CPU seconds, bytes of its own memory, bytes it shares); what was seen last once it ended."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as f:
                fields = f.read().rsplit(b")", 1)[1].split()
            with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as f:
                kib = dict(re.findall(r"^(Rss\w+):\s+(\d+) kB", f.read(), re.M))
        except OSError:
            kib = None
        if kib:
            cpu = (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
            self.last = (cpu, (int(kib["RssAnon"]) + int(kib["RssFile"])) << 10, int(kib["RssShmem"]) << 10)
        return getattr(self, "last", (0.0, 0, 0))


class Daemon(Proc):
    http = None

    def metrics(self):
        """The daemon's numbers by name, labels left out."""
        try:
            with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=5) as r:
                text = r.read().decode()
        except (OSError, urllib.error.URLError) as e:
            raise Failure(f"{self.name} does not answer at http://{self.http}/metrics: {e}\n{self.log()}") from None
        return {n: float(v) for n, v in re.findall(r"^(\w+) ([0-9.e+]+)$", text, re.M)}


class Master(Daemon):
    def __init__(self, build, port=0, host="127.0.0.1", extra=(), name="mooncake-master", prefix=()):
        super().__init__(name, [f"{build}/bin/mooncake-master", f"--port={port}", f"--rpc_address={host}", "--metrics_port=0",
                                *extra], prefix=prefix)
        m = self.wait_log(r"service started on port (\d+).*HTTP port (\d+)")
        self.port, self.host = int(m[1]), host
        self.addr = f"{host}:{self.port}"
        self.http = f"127.0.0.1:{m[2]}"

    def wait_ready(self, pools, seconds=30):
        """Ready, and all pools joined."""
        end = time.monotonic() + seconds
        while True:
            m = self.metrics()
            if m["mooncake_master_ready"] and m["mooncake_master_pools_online"] >= pools:
                return m
            if time.monotonic() > end:
                raise Failure(f"the master does not see {pools} pools within {seconds} s:\n{self.log()}")
            time.sleep(0.005)


class Node(Daemon):
    """@http: with the server that metrics() asks, which takes being in the same network."""

    def __init__(self, build, name, master, pool_bytes, extra=(), prefix=(), http=True):
        super().__init__(name, [f"{build}/bin/mooncake-node", "--port=0", f"--unix_path=unix:@mc-{os.getpid()}-{name}",
                                f"--master_server_address={master}", f"--global_segment_size={pool_bytes}",
                                f"--enable_http_server={str(http).lower()}", "--http_port=0", *extra], prefix=prefix)
        self.segment = self.wait_log(r"segment (\S+), serving", 60)[1]
        if http:
            self.http = self.wait_log(r"http://(\S+)/health")[1]

    def joined(self, seconds=15):
        self.wait_log("joined master", seconds)
        return self

    def evicted(self):
        return int(self.metrics()["mooncake_node_evicted_objects_total"])
