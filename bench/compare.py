#!/usr/bin/env python3
"""What people trip over in tools of this kind, tried on those that are installed: sotong, nc, ncat, socat.

Prints one table. Each try has a time limit; traffic stays on 127.0.0.1; ports are picked by the kernel.
"""
import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

TARGET = os.environ.get("CARGO_TARGET_DIR", "target")
SOTONG = os.environ.get("SOTONG", os.path.join(TARGET, "release", "sotong"))
SECONDS = 10


def late_server(answer, delay):
    """Reads to the end of input, waits, answers, closes: what a slow service does."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listener, listener.accept()[0] as peer:
            while peer.recv(65536):
                pass
            threading.Event().wait(delay)
            try:
                peer.sendall(answer)
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def run(command, data=b""):
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=SECONDS)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        return None, b""


def late_answer(tool):
    """An answer that comes 2 s after the end of input."""
    port = str(late_server(b"late", 2))
    commands = {
        "sotong": [SOTONG, "-q", "connect", f"127.0.0.1:{port}"],
        "nc": ["nc", "-N", "127.0.0.1", port],
        "ncat": ["ncat", "127.0.0.1", port],
        "socat": ["socat", "-", f"TCP4:127.0.0.1:{port}"],
    }
    code, out = run(commands[tool], b"question")
    if out == b"late":
        return "arrives"
    return "hangs" if code is None else f"lost, exit {code}"


def free_port():
    """A port that the kernel has just picked, for tools that do not say which one they got."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def exec_cat(tool):
    """8 MiB through a program for each connection, and back."""
    picked = free_port()
    commands = {
        "sotong": ([SOTONG, "listen", "--exec", "cat", "tcp://127.0.0.1:0"], r"tcp://127\.0\.0\.1:(\d+)"),
        "ncat": (["ncat", "-v", "-l", "-e", "/bin/cat", "127.0.0.1", str(picked)], r"Listening on 127\.0\.0\.1:(\d+)"),
        "socat": (["socat", "-d", "-d", "TCP4-LISTEN:0,bind=127.0.0.1", "EXEC:cat"], r"listening on .*:(\d+)"),
    }
    if tool not in commands:
        return "-"
    command, pattern = commands[tool]
    whole = 0
    rounds = 5
    data = os.urandom(8 << 20)
    for _ in range(rounds):
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            port = None
            for line in server.stderr:
                found = re.search(pattern, line.decode(errors="replace"))
                if found:
                    port = int(found.group(1))
                    break
            if port is None:
                return "-"
            with socket.create_connection(("127.0.0.1", port)) as peer:
                peer.settimeout(SECONDS)

                def send():
                    try:
                        peer.sendall(data)
                        peer.shutdown(socket.SHUT_WR)
                    except OSError:
                        pass

                sender = threading.Thread(target=send, daemon=True)
                sender.start()
                back = bytearray()
                try:
                    while chunk := peer.recv(1 << 16):
                        back += chunk
                except OSError:
                    pass
                whole += back == data
        finally:
            server.kill()
            server.wait()
    return f"{whole} of {rounds} whole"


def closed_udp(tool):
    """A check of a UDP port where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    commands = {
        "sotong": [SOTONG, "-q", "connect", "-z", f"udp://127.0.0.1:{port}"],
        "nc": ["nc", "-zu", "127.0.0.1", port],
        "ncat": ["ncat", "-zu", "127.0.0.1", port],
    }
    if tool not in commands:
        return "-"
    code, _ = run(commands[tool])
    return "hangs" if code is None else "says open" if code == 0 else f"says closed, exit {code}"


def silent_peer(tool):
    """A peer that never answers, with a time limit of 1 s."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = str(listener.getsockname()[1])
    commands = {
        "sotong": [SOTONG, "-q", "connect", "-w", "1", f"127.0.0.1:{port}"],
        "nc": ["nc", "-w", "1", "127.0.0.1", port],
        "ncat": ["ncat", "-i", "1", "127.0.0.1", port],
        "socat": ["socat", "-T", "1", "-", f"TCP4:127.0.0.1:{port}"],
    }
    with listener:
        reader, writer = os.pipe()
        try:
            done = subprocess.run(commands[tool], stdin=reader, capture_output=True, timeout=SECONDS)
            return f"exit {done.returncode}"
        except subprocess.TimeoutExpired:
            return "hangs"
        finally:
            os.close(reader)
            os.close(writer)


def stale_file(tool):
    """A Unix socket whose server was killed, listened on again."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        old = socket.socket(socket.AF_UNIX)
        old.bind(path)
        old.close()
        commands = {
            "sotong": [SOTONG, "listen", f"unix:{path}"],
            "nc": ["nc", "-lU", path],
            "ncat": ["ncat", "-lU", path],
            "socat": ["socat", f"UNIX-LISTEN:{path}", "-"],
        }
        server = subprocess.Popen(
            commands[tool], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(30):
                threading.Event().wait(0.1)
                if server.poll() is not None:
                    return "refuses"
                try:
                    with socket.socket(socket.AF_UNIX) as peer:
                        peer.connect(path)
                    return "listens"
                except OSError:
                    pass
            return "does not listen"
        finally:
            server.kill()
            server.wait()


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    tools = [tool for tool in ("sotong", "nc", "ncat", "socat") if tool == "sotong" or shutil.which(tool)]
    if not os.path.exists(SOTONG):
        sys.exit(f"{SOTONG} is not there: cargo build --release")
    print("| | " + " | ".join(tools) + " |")
    print("|---|" + "---|" * len(tools))
    for name, check in (
        ("an answer 2 s after end of input", late_answer),
        ("8 MiB through a program and back", exec_cat),
        ("a closed UDP port, checked", closed_udp),
        ("a peer silent past the time limit", silent_peer),
        ("a stale Unix socket file", stale_file),
    ):
        print(f"| {name} | " + " | ".join(check(tool) for tool in tools) + " |", flush=True)


if __name__ == "__main__":
    main()
