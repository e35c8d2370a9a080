#!/usr/bin/env python3
"""Holds many connections on one machine with `sotong echo --model processes`, each process within its own descriptor limit.

The server has a listener on each of several loopback addresses, so that the clients' ports suffice; worker processes and
client processes may open --descriptors each, no more. When all connections are made, a sample of each client's says
something and hears it again, spread over all of them; then all leave, and the server is stopped.

Prints the connections held, and the server's own memory for each (RSS and PSS over all its processes, less what they
had before). Traffic stays on 127.0.0.0/8; ports are picked by the kernel.
"""
import argparse
import math
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time

LIMIT_SECONDS = 300
# A connection that is slower than this is not served.
TALK_SECONDS = 60
# Connections that wait in a listener's backlog at once, below net.core.somaxconn.
IN_FLIGHT = 500


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def memory(pids):
    """RSS and PSS of processes together, in KiB."""
    sums = {"Rss": 0, "Pss": 0}
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                name, _, rest = line.partition(":")
                if name in sums:
                    sums[name] += int(rest.split()[0])
    return sums


def limited(descriptors):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))


def start(binary, addresses, workers, places, descriptors):
    listens = [f"127.0.0.{number}:0" for number in range(1, addresses + 1)]
    line = [binary, "echo", *listens, "--model", "processes", "--workers", str(workers), "--max-conns", str(places)]
    server = subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=limited(descriptors))
    found = []
    for text in server.stderr:
        at = re.search(r"tcp://(127\.0\.0\.\d+):(\d+)", text)
        if at:
            found.append((at.group(1), int(at.group(2))))
        if len(found) == addresses:
            return server, found
    sys.exit("the server does not start")


def talk(peer, word):
    peer.sendall(word)
    heard = b""
    while len(heard) < len(word):
        more = peer.recv(len(word) - len(heard))
        if not more:
            sys.exit("a connection has ended")
        heard += more
    if heard != word:
        sys.exit(f"{heard!r} came back for {word!r}")


def client(number, at, count, sample, descriptors, told, tell):
    """Makes `count` connections, says so, and talks over `sample` of them when told to."""
    limited(descriptors)()
    peers = []
    for index in range(count):
        peer = socket.create_connection(at, timeout=TALK_SECONDS)
        peers.append(peer)
        if index % IN_FLIGHT == IN_FLIGHT - 1:
            # Answered: so those before it have been accepted, and the backlog is short.
            talk(peer, b"here\n")
    talk(peers[-1], b"here\n")
    os.write(tell, b"h")
    os.read(told, 1)
    for index in range(sample):
        place = index * count // sample
        talk(peers[place], f"{number} {place}: 안녕하세요\n".encode())
    os.write(tell, b"t")
    os.read(told, 1)
    os._exit(0)


def wait_for(pipes, what):
    deadline = time.monotonic() + LIMIT_SECONDS
    for pipe in pipes:
        if time.monotonic() > deadline or not os.read(pipe, 1):
            sys.exit(f"a client did not come to {what}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--descriptors", type=int, default=20_000, help="of each process")
    parser.add_argument("--sample", type=int, default=10_000, help="connections that talk")
    parser.add_argument("--binary", default="target/release/sotong")
    args = parser.parse_args()
    # What is no connection needs some, and processes are filled evenly only within a quarter.
    each = (args.descriptors - 256) * 9 // 10
    count = math.ceil(args.connections / each)
    sample = min(args.sample, args.connections)
    server, places = start(args.binary, count, count, args.connections, args.descriptors)
    time.sleep(1)
    pids = [server.pid, *children(server.pid)]
    if len(pids) != count + 1:
        sys.exit(f"{len(pids) - 1} of {count} workers run")
    before = memory(pids)
    clients, tells, hears = [], [], []
    begun = time.monotonic()
    try:
        for number, at in enumerate(places):
            share = args.connections * (number + 1) // count - args.connections * number // count
            talks = sample * (number + 1) // count - sample * number // count
            (told, tell_client), (hear, tell) = os.pipe(), os.pipe()
            pid = os.fork()
            if pid == 0:
                signal.alarm(2 * LIMIT_SECONDS)
                for pipe in (tell_client, hear):
                    os.close(pipe)
                try:
                    client(number, at, share, talks, args.descriptors, told, tell)
                finally:
                    os._exit(1)
            os.close(told)
            os.close(tell)
            clients.append(pid)
            tells.append(tell_client)
            hears.append(hear)
        wait_for(hears, "all of its connections")
        made = time.monotonic() - begun
        held = memory(pids)
        workers = sorted(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids[1:])
        for pipe in tells:
            os.write(pipe, b"t")
        begun = time.monotonic()
        wait_for(hears, "the end of its talk")
        talked = time.monotonic() - begun
        for pipe in tells:
            os.write(pipe, b"e")
        ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in clients]
        if any(ends):
            sys.exit(f"clients ended with {ends}")
        clients.clear()
    finally:
        for pid in clients:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        server.terminate()
        try:
            code = server.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            code = server.wait()
    if code != 0:
        sys.exit(f"the server ended with {code}")
    print(f"held       {args.connections} connections: {count} workers, {count} clients, {count} addresses, made in {made:.1f} s")
    print(f"           descriptors of a worker: {workers[0]} to {workers[-1]}, at most {args.descriptors}")
    print(f"talked     over {sample} of them in {talked:.1f} s: every byte came back")
    for name in ("Rss", "Pss"):
        grown = held[name] - before[name]
        print(f"{name.upper()}        {held[name]} KiB in all, {grown / args.connections:.3f} KiB a connection")
    print("ended      server 0, clients 0")


if __name__ == "__main__":
    main()
