#!/usr/bin/env python3
"""Bulk data from a file through `sotong connect` and `sotong listen` into a file, beside a pair of socat.

With --tls over TLS on both sides: the same certificate, checked by both clients; and 16 KiB messages to an echo over TLS.
Interleaved rounds; every copy is compared byte for byte. Prints the CPU seconds (user + system) of both ends together.
Traffic stays on 127.0.0.1; ports are picked by the kernel.
"""
import argparse
import filecmp
import os
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
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


def certificate(folder):
    """A key and a certificate for 127.0.0.1, as openssl makes them."""
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, stderr=subprocess.DEVNULL)
    return cert, key


def sotong(binary, source, sink, identity):
    scheme, serve, trust = "tcp", [], []
    if identity:
        cert, key = identity
        scheme, serve, trust = "tls", ["--cert", cert, "--key", key], ["--ca", cert]
    with open(source, "rb") as stdin, open(sink, "wb") as stdout:
        listen = subprocess.Popen(
            [binary, "listen", f"{scheme}://127.0.0.1:0", *serve], stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=subprocess.PIPE, text=True)
        port = port_of(listen, scheme + r"://127\.0\.0\.1:(\d+)")
        connect = subprocess.Popen([binary, "connect", f"{scheme}://127.0.0.1:{port}", *trust], stdin=stdin,
                                   stdout=subprocess.DEVNULL)
        return finish(connect, "sotong connect") + finish(listen, "sotong listen")


def socat(source, sink, identity):
    serve, reach = "TCP4-LISTEN:0,bind=127.0.0.1", "TCP4:127.0.0.1:{port}"
    if identity:
        cert, key = identity
        serve = f"OPENSSL-LISTEN:0,pf=ip4,bind=127.0.0.1,cert={cert},key={key},verify=0"
        reach = "OPENSSL:127.0.0.1:{port},pf=ip4,cafile=" + cert
    listen = subprocess.Popen(
        ["socat", "-d", "-d", "-u", "-b65536", serve, f"OPEN:{sink},creat,trunc"],
        stderr=subprocess.PIPE, text=True)
    port = port_of(listen, r"listening on .*:(\d+)")
    connect = subprocess.Popen(["socat", "-u", "-b65536", f"OPEN:{source}", reach.format(port=port)])
    return finish(connect, "socat") + finish(listen, "socat")


def spent(process):
    """CPU seconds of a process so far, by its own clock."""
    return time.clock_gettime((~process.pid << 3) | 2)


def echo(command, pattern, cafile, messages):
    """CPU seconds for each 16 KiB message that a TLS server says back, one on the way at a time."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        port = int(port_of(server, pattern))
        # Nothing that it says later may stop it.
        threading.Thread(target=server.stderr.read, daemon=True).start()
        context = ssl.create_default_context(cafile=cafile)
        message = os.urandom(16 << 10)
        with socket.create_connection(("127.0.0.1", port)) as tcp:
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(tcp, server_hostname="127.0.0.1") as stream:
                before = None
                for number in range(messages + 50):
                    if number == 50:
                        before = spent(server)
                    stream.sendall(message)
                    back = bytearray()
                    while len(back) < len(message):
                        more = stream.recv(len(message) - len(back))
                        if not more:
                            sys.exit("the echo ended")
                        back += more
                    if back != message:
                        sys.exit("the echo differs")
                return (spent(server) - before) / messages
    finally:
        server.terminate()
        server.wait()


def compare_echo(binary, identity, rounds, messages):
    cert, key = identity
    ours = [binary, "echo", "tls://127.0.0.1:0", "--cert", cert, "--key", key, "--lang", "en"]
    theirs = ["socat", "-d", "-d", "-b65536", f"OPENSSL-LISTEN:0,pf=ip4,bind=127.0.0.1,cert={cert},key={key},verify=0", "PIPE"]
    ratios = []
    for _ in range(rounds):
        mine = echo(ours, r"tls://127\.0\.0\.1:(\d+)", cert, messages)
        other = echo(theirs, r"listening on .*:(\d+)", cert, messages)
        ratios.append(mine / other)
    print(f"16 KiB echo over TLS, {rounds} rounds of {messages}: CPU of the server, sotong to socat, "
          f"median {statistics.median(ratios):.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tls", action="store_true", help="over TLS on both sides")
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
        identity = certificate(folder) if options.tls else None
        ours, theirs = [], []
        for number in range(options.rounds):
            for name, seconds, copy in (("sotong", ours, lambda: sotong(binary, source, sink, identity)),
                                        ("socat", theirs, lambda: socat(source, sink, identity))):
                used = copy()
                if not filecmp.cmp(source, sink, shallow=False):
                    sys.exit(f"{name}: the copy differs")
                seconds.append(used)
                os.unlink(sink)
            print(f"round {number + 1}: sotong {ours[-1]:.2f} s, socat {theirs[-1]:.2f} s, "
                  f"ratio {ours[-1] / max(theirs[-1], 1e-9):.2f}", flush=True)
        ratios = [mine / max(other, 1e-9) for mine, other in zip(ours, theirs)]
        print(f"{options.mebibytes} MiB{' over TLS' if identity else ''}, {options.rounds} rounds, byte for byte: "
              f"CPU of both ends, sotong to socat, median {statistics.median(ratios):.2f}")
        if identity:
            compare_echo(binary, identity, options.rounds, 300 if options.mebibytes < 1024 else 3000)


if __name__ == "__main__":
    main()
