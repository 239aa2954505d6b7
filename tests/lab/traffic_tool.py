"""The programs that run inside the lab's hosts: probe, serve, send, flood."""

import hashlib
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import time

HEAD = struct.Struct("!4sQ")
MAGIC = b"prob"


def ranges(numbers):
    """Sorted numbers as [first, last] pairs."""
    found = []
    for n in sorted(numbers):
        if found and n == found[-1][1] + 1:
            found[-1][1] = n
        else:
            found.append([n, n])
    return found


def probe(mine, theirs, port, pps, size, report):
    """Sends and hears numbered datagrams until SIGTERM, then writes a report."""
    family = socket.AF_INET6 if ":" in mine else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.bind((mine, port))
    stop, heard, state = threading.Event(), set(), {"duplicates": 0, "sent": 0, "last": 0.0}
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    hello_heard = threading.Event()

    def receive():
        while True:
            try:
                data = sock.recv(65535)
            except OSError:
                # A port not open yet at the other end says so with ICMP.
                continue
            if data[:4] == b"helo":
                hello_heard.set()
                continue
            hello_heard.set()
            magic, number = HEAD.unpack_from(data)
            if magic != MAGIC:
                continue
            if number in heard:
                state["duplicates"] += 1
            heard.add(number)
            state["last"] = time.monotonic()

    threading.Thread(target=receive, daemon=True).start()
    # Both ends are there before the first number is sent; what is lost afterwards is lost.
    settled = 0
    while not stop.is_set() and settled < 5:
        try:
            sock.sendto(b"helo", (theirs, port))
        except OSError:
            pass
        if hello_heard.is_set():
            settled += 1
        time.sleep(0.05)
    padding, began, errors = bytes(max(0, size - HEAD.size)), time.time(), 0
    start, sent = time.perf_counter(), 0
    open(report + ".heard", "w").close()
    while not stop.is_set():
        due = int((time.perf_counter() - start) * pps)
        while sent < due:
            try:
                sock.sendto(HEAD.pack(MAGIC, sent) + padding, (theirs, port))
            except OSError:
                errors += 1
            sent += 1
        time.sleep(0.001)
    # The other end may be told to stop a moment later.
    end = time.monotonic() + 1.5
    while time.monotonic() < end or time.monotonic() - state["last"] < 0.5:
        time.sleep(0.1)
    with open(report, "w") as file:
        json.dump({"sent": sent, "began": began, "pps": pps, "errors": errors, "received": len(heard),
                   "duplicates": state["duplicates"], "ranges": ranges(heard)}, file)


def serve(address, port):
    """Takes one connection and prints how much came and its hash."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(1)
    print("listening", flush=True)
    conn, _ = listener.accept()
    mss = conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    digest, total = hashlib.sha256(), 0
    while True:
        data = conn.recv(1 << 18)
        if not data:
            break
        digest.update(data)
        total += len(data)
    conn.sendall(b"k")
    conn.close()
    print(json.dumps({"bytes": total, "sha256": digest.hexdigest(), "mss": mss}), flush=True)


def send(address, port, size):
    """Sends `size` random bytes, waits until they were all taken, and prints their hash."""
    block = random.Random(size).randbytes(1 << 20)
    began = time.monotonic()
    conn = socket.create_connection((address, port), timeout=60)
    mss = conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    digest, left = hashlib.sha256(), size
    while left:
        part = block[:min(left, len(block))]
        conn.sendall(part)
        digest.update(part)
        left -= len(part)
    conn.shutdown(socket.SHUT_WR)
    conn.recv(1)
    print(json.dumps({"seconds": time.monotonic() - began, "sha256": digest.hexdigest(), "mss": mss}))


def flood(address, port, size, seconds):
    """Sends datagrams as fast as it can, and prints how many; what the way refuses counts as sent."""
    sock, payload, sent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), bytes(size), 0
    sock.connect((address, port))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(256):
            try:
                sock.send(payload)
            except OSError:
                # A closed port says so with ICMP, and a full queue with an error.
                pass
        sent += 256
    print(json.dumps({"sent": sent}))


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "probe":
        probe(rest[0], rest[1], int(rest[2]), int(rest[3]), int(rest[4]), rest[5])
    elif what == "serve":
        serve(rest[0], int(rest[1]))
    elif what == "send":
        send(rest[0], int(rest[1]), int(rest[2]))
    elif what == "flood":
        flood(rest[0], int(rest[1]), int(rest[2]), float(rest[3]))
    else:
        sys.exit(f"unknown: {what}")
