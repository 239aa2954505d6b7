"""Bad input: mutations of real packets, sent raw with any source address; runs inside a lab host.

`python3 hostile.py ike|esp|init-flood|bgp ...` — see the functions. Every choice is drawn from the
seed given, so a run can be repeated.
"""

import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lab.capture import read  # noqa: E402  (the path is set above)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Raw:
    """Sends IPv4 packets with a source of our choice."""

    def __init__(self, sock=None):
        self.sock = sock or socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.sent = 0

    def ip(self, source, target, protocol, payload):
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), random.getrandbits(16), 0, 64, protocol, 0,
                           socket.inet_aton(source), socket.inet_aton(target))
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        try:
            self.sock.sendto(head + payload, (target, 0))
            self.sent += 1
        except OSError:
            pass  # longer than the device takes

    def udp(self, source, sport, target, dport, payload):
        head = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0)
        pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 17, 8 + len(payload))
        total = checksum(pseudo + head + payload) or 0xFFFF
        self.ip(source, target, 17, head[:6] + struct.pack("!H", total) + payload)


def mutations(rng, data, count):
    """Truncations, flips, lengths that lie, repeats, and plain noise, all of `data`."""
    for n in range(min(len(data), count // 4)):
        yield data[:n]
    for _ in range(count):
        bad = bytearray(data)
        kind = rng.randrange(6)
        if kind == 0:
            for _ in range(rng.randrange(1, 8)):
                bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            place = rng.randrange(max(1, len(bad) - 4))
            bad[place:place + 2] = struct.pack("!H", rng.choice((0, 1, 3, 4, 0x7FFF, 0xFFFF)))
        elif kind == 2:
            bad[24:28] = struct.pack("!I", rng.choice((0, 27, 28, len(bad) + 1, 0xFFFFFFFF))) if len(bad) > 28 else b""
        elif kind == 3:
            place = rng.randrange(len(bad))
            bad[place:place] = bytes(rng.randrange(256) for _ in range(rng.randrange(64)))
        elif kind == 4:
            bad[16:20] = bytes(rng.randrange(256) for _ in range(4))
        else:
            bad = bytearray(bytes(rng.randrange(256) for _ in range(rng.randrange(1400))))
        yield bytes(bad[:1400])


def ike(raw, rng, path, target, count):
    """Mutations and replays of every captured IKE message, from the peer's own address and from others."""
    messages = [p for p in read(path) if p.ike and p.destination == target]
    for packet in messages:
        for source in (packet.source, "203.0.113.99"):
            for port in (500, 4500):
                marker = bytes(4) if port == 4500 else b""
                for bad in mutations(rng, packet.ike, count):
                    raw.udp(source, port, target, port, marker + bad)
                    time.sleep(0.0002)
                raw.udp(source, port, target, port, marker + packet.ike)  # an exact replay


def esp(raw, rng, path, target, count):
    """Mutations and replays of captured ESP, in the form it came in and in the other."""
    packets = [p for p in read(path) if p.esp and p.destination == target]
    for packet in packets[:40]:
        for bad in [packet.payload, *mutations(rng, packet.payload, count // 20)]:
            raw.udp(packet.source, 4500, target, 4500, bad)
            raw.ip(packet.source, target, 50, bad)
            time.sleep(0.0002)
    spi = packets[0].payload[:4] if packets else b"\0\0\1\0"
    for n in range(count):
        body = bytes(rng.randrange(256) for _ in range(rng.randrange(120)))
        raw.udp("192.0.2.1", 4500, target, 4500, spi + struct.pack("!I", rng.getrandbits(32)) + body)
        raw.udp("192.0.2.1", 4500, target, 4500, struct.pack("!I", rng.getrandbits(32) | 256) + body)
        raw.udp("192.0.2.1", 4500, target, 4500, b"\xff")
        time.sleep(0.0002)


def init_flood(raw, rng, path, target, count):
    """A captured IKE_SA_INIT request with other SPIs from thousands of addresses."""
    requests = [p for p in read(path) if p.ike and p.ike[18:19] == b"\x22" and not p.ike[19] & 0x20]
    if not requests:
        sys.exit("no IKE_SA_INIT request was captured")
    first = requests[0].ike
    for n in range(count):
        body = bytes(rng.randrange(1, 256) for _ in range(8)) + first[8:]
        raw.udp(f"198.18.{rng.randrange(256)}.{rng.randrange(1, 255)}", 500, target, 500, body)
        time.sleep(0.0002)


OPEN = b"\xff" * 16 + struct.pack("!HB", 29, 1) + struct.pack("!BHH4sB", 4, 65515, 180, socket.inet_aton("172.16.0.254"), 0)
KEEPALIVE = b"\xff" * 16 + struct.pack("!HB", 19, 4)


def message(kind, body):
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body


def update(rng):
    """An UPDATE with one of many faults."""
    attributes = bytes([0x40, 1, 1, 0, 0x40, 2, 6, 2, 1]) + struct.pack("!I", 65515) + bytes([0x40, 3, 4]) + socket.inet_aton("172.16.0.254")
    nlri = bytes([22, 172, 16, 0])
    body = bytearray(struct.pack("!HH", 0, len(attributes)) + attributes + nlri)
    for _ in range(rng.randrange(0, 6)):
        body[rng.randrange(len(body))] = rng.randrange(256)
    if rng.random() < 0.3:
        body = body[:rng.randrange(len(body))]
    return message(2, bytes(body))


def closed(sock):
    """Waits until the other side closes, which it does once it has read what is wrong: a reset of ours would take that from it."""
    sock.settimeout(2.0)
    while sock.recv(4096):
        pass


def bgp(rng, local, target, first, count):
    """Sessions that begin well or badly and then talk nonsense, over the tunnel."""
    done = 0
    for n in range(first, first + count):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(5.0)
        try:
            sock.bind((local, 0))
            sock.connect((target, 179))
            kind = n % 6
            if kind == 0:
                sock.sendall(bytes(rng.randrange(256) for _ in range(200)))
            elif kind == 1:
                bad = bytearray(OPEN)
                bad[rng.randrange(16, len(bad))] = rng.randrange(256)
                sock.sendall(bytes(bad))
            elif kind == 2:
                sock.sendall(b"\xff" * 16 + struct.pack("!HB", rng.choice((0, 18, 4097, 65535)), 2) + bytes(50))
            else:
                # A capability for 4-octet AS numbers, as a real peer has.
                capability = bytes([2, 6, 65, 4]) + struct.pack("!I", 65515)
                sock.sendall(message(1, OPEN[19:28] + bytes([len(capability)]) + capability) + KEEPALIVE)
                time.sleep(0.05)
                for _ in range(50):
                    sock.sendall(update(rng))
                if kind == 5:
                    sock.sendall(OPEN)
            done += 1
            if kind in (3, 4):
                time.sleep(0.05)
            else:
                closed(sock)
        except OSError:
            pass
        finally:
            sock.close()
    return done


def main():
    what, seed, target, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    rng = random.Random(seed)
    random.seed(seed)
    if what == "bgp":
        print(f"{bgp(rng, sys.argv[5], target, seed, count)} sessions")
        return
    raw = Raw()
    {"ike": ike, "esp": esp, "init-flood": init_flood}[what](raw, rng, sys.argv[5], target, count)
    print(f"{raw.sent} packets")


if __name__ == "__main__":
    main()
