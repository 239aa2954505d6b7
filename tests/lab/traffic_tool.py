"""The programs that run inside the lab's hosts: probe, serve, send, flood."""

import hashlib
import json
import random
import signal
import socket
import struct
import sys
import threading
import time

HEAD = struct.Struct("!4sQ")
# Of a numbered datagram, and of the last word: how many there were.
MAGIC, OVER = b"prob", b"over"
# Of asm-generic/socket.h: not bounded by net.core.rmem_max.
SO_RCVBUFFORCE = 33
# Seconds for what is still under way when the other end has sent its last, and for what comes twice after all has come.
PATIENCE, AFTERWARDS = 3.0, 1.5


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
    # What comes while this program waits for a processor is not lost.
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
    sock.bind((mine, port))
    stop, heard, state = threading.Event(), set(), {"duplicates": 0, "last": 0.0, "total": None}
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    hello_heard = threading.Event()

    def receive():
        while True:
            try:
                data = sock.recv(65535)
            except OSError:
                # A port not open yet at the other end says so with ICMP.
                continue
            hello_heard.set()
            if data[:4] not in (MAGIC, OVER):
                continue
            magic, number = HEAD.unpack_from(data)
            if magic == OVER:
                state["total"] = number
                continue
            if number in heard:
                state["duplicates"] += 1
            heard.add(number)
            state["last"] = time.monotonic()

    def say(data):
        try:
            sock.sendto(data, (theirs, port))
        except OSError:
            return 1
        return 0

    threading.Thread(target=receive, daemon=True).start()
    # Both ends are there before the first number is sent; what is lost afterwards is lost.
    settled = 0
    while not stop.is_set() and settled < 5:
        say(b"helo")
        settled += hello_heard.is_set()
        time.sleep(0.05)
    padding, began, errors = bytes(max(0, size - HEAD.size)), time.time(), 0
    start, sent = time.perf_counter(), 0
    open(report + ".heard", "w").close()
    while not stop.is_set():
        due = int((time.perf_counter() - start) * pps)
        # After a pause at no more than some times the rate, so that no queue on the way is filled by this program's own lateness.
        for _ in range(min(due - sent, max(1, pps // 250))):
            errors += say(HEAD.pack(MAGIC, sent) + padding)
            sent += 1
        time.sleep(0.001)
    # The other end may be told to stop a moment later, and what it sent last be long under way.
    stopped = time.monotonic()
    whole = lambda: state["total"] is not None and len(heard) >= state["total"]
    while time.monotonic() - max(stopped, state["last"]) < (AFTERWARDS if whole() else PATIENCE):
        say(HEAD.pack(OVER, sent))
        time.sleep(0.05)
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
