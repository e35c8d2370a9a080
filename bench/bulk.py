#!/usr/bin/env python3
"""Bulk data from a file through `sotong connect` and `sotong listen` into a file, beside a pair of socat.

Interleaved rounds; every copy is compared byte for byte. Prints the CPU seconds (user + system) of both ends together.
Traffic stays on 127.0.0.1; ports are picked by the kernel.
"""
import argparse
import filecmp
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

LIMIT_SECONDS = 300


def finish(process, name):
    """CPU seconds of a process that must end well."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() > deadline:
            process.kill()
            sys.exit(f"{name} did not end within {LIMIT_SECONDS} s")
        time.sleep(0.002)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{name} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def port_of(process, pattern):
    """The port that a listener says it picked."""
    for line in process.stderr:
        found = re.search(pattern, line)
        if found:
            return found.group(1)
    sys.exit("the listener said nothing about its port")


def sotong(binary, source, sink):
    with open(source, "rb") as stdin, open(sink, "wb") as stdout:
        listen = subprocess.Popen(
            [binary, "listen", "tcp://127.0.0.1:0"], stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=subprocess.PIPE, text=True)
        port = port_of(listen, r"tcp://127\.0\.0\.1:(\d+)")
        connect = subprocess.Popen([binary, "connect", f"127.0.0.1:{port}"], stdin=stdin, stdout=subprocess.DEVNULL)
        return finish(connect, "sotong connect") + finish(listen, "sotong listen")


def socat(source, sink):
    listen = subprocess.Popen(
        ["socat", "-d", "-d", "-u", "-b65536", "TCP4-LISTEN:0,bind=127.0.0.1", f"OPEN:{sink},creat,trunc"],
        stderr=subprocess.PIPE, text=True)
    port = port_of(listen, r"listening on .*:(\d+)")
    connect = subprocess.Popen(["socat", "-u", "-b65536", f"OPEN:{source}", f"TCP4:127.0.0.1:{port}"])
    return finish(connect, "socat") + finish(listen, "socat")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--binary", default=None, help="by default the release build")
    options = parser.parse_args()
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    binary = options.binary or os.path.join(target, "release", "sotong")
    if not shutil.which("socat"):
        print("skipped: bulk data beside socat: socat is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        source, sink = os.path.join(folder, "source"), os.path.join(folder, "sink")
        with open(source, "wb") as file:
            for _ in range(options.mebibytes):
                file.write(os.urandom(1 << 20))
        ours, theirs = [], []
        for number in range(options.rounds):
            for name, seconds, copy in (("sotong", ours, lambda: sotong(binary, source, sink)),
                                        ("socat", theirs, lambda: socat(source, sink))):
                used = copy()
                if not filecmp.cmp(source, sink, shallow=False):
                    sys.exit(f"{name}: the copy differs")
                seconds.append(used)
                os.unlink(sink)
            print(f"round {number + 1}: sotong {ours[-1]:.2f} s, socat {theirs[-1]:.2f} s, "
                  f"ratio {ours[-1] / max(theirs[-1], 1e-9):.2f}", flush=True)
        ratios = [mine / max(other, 1e-9) for mine, other in zip(ours, theirs)]
        print(f"{options.mebibytes} MiB, {options.rounds} rounds, byte for byte: "
              f"CPU of both ends, sotong to socat, median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
