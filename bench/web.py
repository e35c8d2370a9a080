#!/usr/bin/env python3
"""Measures `sotong web` and its TLS beside nginx: requests and handshakes for each second of the server's CPU.

Both serve the same folder with the same certificate (ECDSA P-256, made by openssl), one worker each, on the first core; the load
runs on the second. Each figure is the median over rounds, in which the two servers take turns; the ratio is taken within a round.

    cargo build --release -p sotong && python3 bench/web.py [--rounds N] [--seconds S] [--smoke] [--json FILE] [SOTONG]

Needs nginx, wrk and openssl (Debian's packages of these names).
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILES = {"1KiB": 1 << 10, "1MiB": 1 << 20}
CONNECTIONS = 16
IDLE_CONNECTIONS = 500
START_SECONDS_MAX = 20

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
{user}
events {{ worker_connections 4096; }}
http {{
  include /etc/nginx/mime.types; access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
    root {folder}/site;
  }}
}}
"""


def cpu(pid):
    """CPU time of all threads of a process, in seconds, by its own clock."""
    return time.clock_gettime((~pid << 3) | 2)


def proportional(pid):
    """PSS of a process, in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no PSS")


def free_ports(count):
    """Ports that nobody has, picked by the kernel. nginx cannot pick its own."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Server:
    """A server that runs on the first core, and ends by its own pid."""

    def __init__(self, name, command, cores):
        self.name = name
        self.log = tempfile.TemporaryFile()
        pin = lambda: os.sched_setaffinity(0, {cores[0]})
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, preexec_fn=pin)
        self.pid = self.process.pid

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def wait_for(self, ports):
        """Until it can be reached at all `ports`."""
        until = time.monotonic() + START_SECONDS_MAX
        for port in ports:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
                    break
                except OSError as error:
                    if self.process.poll() is not None or time.monotonic() > until:
                        raise RuntimeError(f"{self.name} does not serve: {error}; it says: {self.said()}") from error
                    time.sleep(0.02)
        self.plain, self.secure = ports

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def nginx(folder, cores):
    plain, secure = free_ports(2)
    user = "user root;" if os.geteuid() == 0 else ""
    conf = folder / "nginx.conf"
    conf.write_text(NGINX.format(folder=folder, user=user, plain=plain, secure=secure))
    server = Server("nginx", ["nginx", "-c", str(conf), "-e", f"{folder}/error.log"], cores)
    server.wait_for([plain, secure])
    return server


def sotong(program, folder, cores):
    command = [program, "web", f"{folder}/site", "tcp://127.0.0.1:0", "tls://127.0.0.1:0", "--workers", "1", "--lang", "en",
               "--cert", f"{folder}/cert.pem", "--key", f"{folder}/key.pem"]
    server = Server("sotong", command, cores)
    until = time.monotonic() + START_SECONDS_MAX
    while True:
        found = dict(re.findall(r"(tcp|tls|http|https)://127\.0\.0\.1:([1-9]\d*)", server.said()))
        ports = [found.get("tcp") or found.get("http"), found.get("tls") or found.get("https")]
        if all(ports):
            break
        if server.process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"sotong does not serve; it says: {server.said()}")
        time.sleep(0.02)
    server.wait_for([int(port) for port in ports])
    return server


def unit(text):
    """wrk's times, in seconds."""
    number, suffix = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[suffix]


def files(server, scheme, name, seconds, cores):
    """Requests for each second of the server's CPU, and p99 in seconds."""
    port = server.secure if scheme == "https" else server.plain
    command = ["taskset", "-c", str(cores[1]), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--latency",
               f"{scheme}://127.0.0.1:{port}/{name}"]
    before = cpu(server.pid)
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = cpu(server.pid) - before
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{server.name} fails under load:\n{said}")
    requests = int(re.search(r"(\d+) requests in", said).group(1))
    return requests / spent, unit(re.search(r"99%\s+(\S+)", said).group(1))


def trusting(folder):
    context = ssl.create_default_context(cafile=f"{folder}/cert.pem")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def ask(stream):
    """One request; in TLS 1.3 the tickets come in front of its answer."""
    stream.sendall(b"HEAD /1KiB HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = stream.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"not the answer to HEAD: {answer!r}")


def handshakes(server, context, resumed, seconds):
    """Handshakes (TLS 1.3) for each second of the server's CPU."""
    ticket = None
    if resumed:
        with socket.create_connection(("127.0.0.1", server.secure)) as tcp:
            with context.wrap_socket(tcp, server_hostname="localhost") as stream:
                ask(stream)
                ticket = stream.session
    count, before, until = 0, cpu(server.pid), time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.create_connection(("127.0.0.1", server.secure)) as tcp:
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(tcp, server_hostname="localhost", session=ticket) as stream:
                if stream.session_reused != resumed:
                    raise RuntimeError(f"{server.name}: a handshake was {'full' if resumed else 'resumed'}")
                # Whatever is left of the handshake is the server's work too, before it sees the end.
                count += 1
    return count / (cpu(server.pid) - before)


def idle_bytes(server, context):
    """Memory of an idle TLS connection that has had one answer."""
    def dial():
        tcp = socket.create_connection(("127.0.0.1", server.secure))
        stream = context.wrap_socket(tcp, server_hostname="localhost")
        ask(stream)
        return stream
    first = dial()
    before = proportional(server.pid)
    held = [dial() for _ in range(IDLE_CONNECTIONS)]
    time.sleep(0.2)
    each = (proportional(server.pid) - before) / len(held)
    for stream in [first, *held]:
        stream.close()
    return each


def measure(program, folder, cores, rounds, seconds):
    rows = {}
    note = lambda what, server, figure: rows.setdefault(what, {}).setdefault(server.name, []).append(figure)
    for number in range(rounds):
        for start in (lambda: nginx(folder, cores), lambda: sotong(program, folder, cores)):
            server = start()
            try:
                for scheme in ("http", "https"):
                    for name in FILES:
                        rate, p99 = files(server, scheme, name, seconds, cores)
                        note(f"{name}, {scheme}", server, rate)
                        note(f"{name}, {scheme}, p99 in ms", server, p99 * 1000)
                context = trusting(folder)
                note("full handshakes", server, handshakes(server, context, False, seconds))
                note("resumed handshakes", server, handshakes(server, context, True, seconds))
                if number == 0:
                    note("KiB an idle TLS connection", server, idle_bytes(server, context) / 1024)
            finally:
                server.end()
    return rows


def table(rows):
    print("| what | nginx | sotong | ratio |\n|---|---|---|---|")
    for what, by in rows.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(by["sotong"], by["nginx"]))
        median = {name: statistics.median(figures) for name, figures in by.items()}
        digits = 0 if median["nginx"] > 100 else 2
        print(f"| {what} | {median['nginx']:.{digits}f} | {median['sotong']:.{digits}f} | {ratio:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", default="target/release/sotong", metavar="SOTONG")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each window; wrk takes whole seconds")
    parser.add_argument("--smoke", action="store_true", help="one short round: whether everything works, not how fast")
    parser.add_argument("--json", type=Path, help="write all rounds here")
    args = parser.parse_args()
    missing = [tool for tool in ("nginx", "wrk", "openssl", "taskset") if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin")]
    if missing:
        sys.exit(f"web.py: not installed: {', '.join(missing)} (apt-get install nginx wrk openssl util-linux)")
    os.environ["PATH"] += ":/usr/sbin"
    if args.smoke:
        args.rounds, args.seconds = 1, 1.0
    allowed = sorted(os.sched_getaffinity(0))
    cores = (allowed[0], allowed[-1])
    with tempfile.TemporaryDirectory(prefix="sotong-web-") as name:
        folder = Path(name)
        (folder / "site").mkdir()
        for file, size in FILES.items():
            (folder / "site" / file).write_bytes(os.urandom(size))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", f"{folder}/key.pem",
                        "-out", f"{folder}/cert.pem"], check=True, capture_output=True)
        os.sched_setaffinity(0, {cores[1]})
        rows = measure(os.path.abspath(args.program), folder, cores, args.rounds, args.seconds)
    print(f"{args.rounds} rounds of {args.seconds} s, {CONNECTIONS} connections; figures for each second of the server's CPU, "
          "medians; more is better but for p99 and memory\n")
    table(rows)
    if args.json:
        args.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
