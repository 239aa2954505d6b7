"""Captures with tcpdump, and a reader of its own for what was on the wire."""

import ipaddress
import re
import signal
import struct
import time
from dataclasses import dataclass

from .shell import Failed, expect, wait_until

COUNTED = re.compile(r"(\d+) packets? captured\D+(\d+) packets? received by filter")
# Only what it says at its end begins a line with the number: its answer to SIGUSR1 has it behind others.
DROPPED = re.compile(r"^(\d+) packets? dropped by kernel", re.M)
# Answers without progress after which none is expected. Not a time: each answer proves that tcpdump has run.
STILL = 25


@dataclass
class Packet:
    """One captured IP packet, its addresses and what it carries."""

    time: float
    source: str
    destination: str
    protocol: int
    sport: int
    dport: int
    payload: bytes
    raw: bytes

    @property
    def esp(self):
        """(SPI, sequence, encapsulated) when this is an ESP packet in either form."""
        if self.protocol == 50 and len(self.payload) >= 8:
            return (*struct.unpack("!II", self.payload[:8]), False)
        if self.protocol == 17 and 4500 in (self.sport, self.dport) and len(self.payload) >= 8 and self.payload[:4] != bytes(4):
            return (*struct.unpack("!II", self.payload[:8]), True)
        return None

    @property
    def ike(self):
        """The IKE message's bytes when this is one."""
        if self.protocol == 17 and 500 in (self.sport, self.dport):
            return self.payload
        if self.protocol == 17 and 4500 in (self.sport, self.dport) and self.payload[:4] == bytes(4):
            return self.payload[4:]
        return None

    def __str__(self):
        return f"{self.source}:{self.sport} > {self.destination}:{self.dport} proto {self.protocol} len {len(self.raw)}"


def _ip(when, data):
    if len(data) < 20:
        return None
    if data[0] >> 4 == 4:
        head, proto = (data[0] & 15) * 4, data[9]
        source, target = (str(ipaddress.IPv4Address(data[n:n + 4])) for n in (12, 16))
        fragment = struct.unpack("!H", data[6:8])[0] & 0x1FFF
    elif data[0] >> 4 == 6 and len(data) >= 40:
        head, proto, fragment = 40, data[6], 0
        source, target = (str(ipaddress.IPv6Address(data[n:n + 16])) for n in (8, 24))
    else:
        return None
    body, sport, dport = data[head:], 0, 0
    if proto in (6, 17) and not fragment and len(body) >= 8:
        sport, dport = struct.unpack("!HH", body[:4])
        body = body[8:] if proto == 17 else body
    return Packet(when, source, target, proto, sport, dport, body, data)


def read(path):
    """The IP packets of a pcap file, whatever its link type of those the lab has."""
    with open(path, "rb") as file:
        data = file.read()
    if len(data) < 24:
        return []
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    nano = data[:4] in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d")
    link_type = struct.unpack(order + "I", data[20:24])[0] & 0xFFFF
    place, packets = 24, []
    while place + 16 <= len(data):
        seconds, part, size, _ = struct.unpack(order + "IIII", data[place:place + 16])
        frame = data[place + 16:place + 16 + size]
        place += 16 + size
        if link_type == 1:
            kind = struct.unpack("!H", frame[12:14])[0] if len(frame) >= 14 else 0
            if kind not in (0x0800, 0x86DD):
                continue
            frame = frame[14:]
        elif link_type == 113:
            frame = frame[16:]
        packet = _ip(seconds + part / (1e9 if nano else 1e6), frame)
        if packet:
            packets.append(packet)
    return packets


class Capture:
    """A running tcpdump on a device of a host."""

    def __init__(self, host, device, name, filter_="", snaplen=2048, split=False):
        """With `split`, super-packets leave the device, and are seen, as the packets they are made of."""
        if split:
            host.ip(f"link set {device} gso_max_segs 1")
        self.host, self.path = host, host.lab.path(f"{name}.pcap")
        self.process = host.spawn(
            f"tcpdump-{name}",
            ["tcpdump", "-i", device, "-w", self.path, "-U", "--immediate-mode", "-n", "-Z", "root", "-B", "32768", "-s", str(snaplen), *filter_.split()])
        wait_until("tcpdump listening", lambda: "listening" in self.process.output() or not self.process.alive(), 20)
        if not self.process.alive():
            raise Failed(self.process.output())

    def packets(self):
        """What was captured up to now."""
        self._written()
        return read(self.path)

    def stop(self):
        self._written()
        self.process.stop(number=2, timeout=20)
        said = self.process.output()
        dropped = DROPPED.search(said)
        # A capture with holes proves nothing about what was not on the wire.
        expect(dropped, f"the capture did not end by itself: {said}")
        expect(not int(dropped.group(1)), f"the capture lost {dropped.group(1)} packets")
        return read(self.path)

    def _written(self):
        """Waits until tcpdump has written all that it was given up to now: it may not have run for a while.

        Some it was given before its filter stood are never written; so the numbers also suffice that do not come nearer any more.
        """
        written, wanted = self._counted()
        still, limit = 0, time.monotonic() + 20
        while written < wanted and still < STILL and time.monotonic() < limit:
            time.sleep(0.02)
            now, _ = self._counted()
            still, written = (still + 1, written) if now == written else (0, now)
        # The file of a guest is first in the guest's own memory.
        self.host.sync()

    def _counted(self):
        """Packets written and packets given to tcpdump, as it says when asked."""
        before = len(COUNTED.findall(self.process.output()))
        self.process.send(signal.SIGUSR1)

        def said():
            found = COUNTED.findall(self.process.output())
            return found[-1] if len(found) > before else None
        return tuple(map(int, wait_until("tcpdump's counts", said, 20, 0.005)))


def inner_in_clear(packets, inner=("192.168.1.", "172.16.", "10.20.")):
    """Packets that went over the wire with an inner address on their outside."""
    return [p for p in packets if p.source.startswith(inner) or p.destination.startswith(inner)]


def repeated_sequences(packets):
    """(SPI, sequence) pairs that were seen twice."""
    seen, twice = set(), []
    for packet in packets:
        if packet.esp:
            pair = packet.esp[:2]
            if pair in seen:
                twice.append(pair)
            seen.add(pair)
    return twice
