#!/usr/bin/env python3
"""Whether every byte arrives over TLS, run after run: `sotong connect` to `sotong listen`, and to `openssl s_server`.

The server of OpenSSL sends session tickets, which a client that closes too early leaves unread: its close is then a reset that
eats the end of what it has sent. Every copy is compared byte for byte, and both ends must leave well. Traffic stays on
127.0.0.1.
"""
import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from bulk import certificate, port_of

LIMIT_SECONDS = 120


def to_listen(binary, source, sink, cert, key):
    listen = subprocess.Popen(
        [binary, "listen", "--cert", cert, "--key", key, "tls://127.0.0.1:0"], stdin=subprocess.DEVNULL, stdout=sink,
        stderr=subprocess.PIPE, text=True)
    port = port_of(listen, r"tls://127\.0\.0\.1:(\d+)")
    return listen, connect(binary, source, cert, port)


def to_openssl(binary, source, sink, cert, key):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        ["openssl", "s_server", "-quiet", "-naccept", "1", "-num_tickets", "8", "-accept", str(port), "-cert", cert,
         "-key", key], stdin=subprocess.PIPE, stdout=sink, stderr=subprocess.DEVNULL)
    return server, connect(binary, source, cert, port)


def connect(binary, source, cert, port):
    return subprocess.Popen([binary, "connect", "--retry", "8", "--ca", cert, f"tls://127.0.0.1:{port}"], stdin=source,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def copy(how, binary, source, sink, cert, key):
    """None if every byte arrived, else what went wrong."""
    with open(source, "rb") as given, open(sink, "wb") as got:
        server, client = how(binary, given, got, cert, key)
        try:
            codes = client.wait(LIMIT_SECONDS), server.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            client.kill()
            server.kill()
            return f"not over after {LIMIT_SECONDS} s"
    said = client.stderr.read().strip()
    if codes != (0, 0):
        return f"exit codes {codes}: {said}"
    sizes = os.path.getsize(source), os.path.getsize(sink)
    same = subprocess.run(["cmp", "-s", source, sink], check=False).returncode == 0
    return None if same else f"{sizes[1]} of {sizes[0]} bytes, or others"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=128)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--binary", default=None, help="by default the release build")
    options = parser.parse_args()
    binary = options.binary or os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release", "sotong")
    if not shutil.which("openssl"):
        print("skipped: every byte over TLS: openssl is not installed")
        return
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        source, sink = os.path.join(folder, "source"), os.path.join(folder, "sink")
        with open(source, "wb") as file:
            for _ in range(options.mebibytes):
                file.write(os.urandom(1 << 20))
        cert, key = certificate(folder)
        for name, how in (("sotong listen", to_listen), ("openssl s_server", to_openssl)):
            began = time.monotonic()
            faults = [fault for fault in (copy(how, binary, source, sink, cert, key) for _ in range(options.runs)) if fault]
            failed |= bool(faults)
            print(f"{options.mebibytes} MiB from sotong connect to {name}: {options.runs - len(faults)} of {options.runs} "
                  f"whole, {time.monotonic() - began:.1f} s", flush=True)
            for fault in faults:
                print(f"  {fault}")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
