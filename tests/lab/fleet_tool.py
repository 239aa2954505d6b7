#!/usr/bin/python3
"""What runs inside a host for many tunnels at once: `vici` talks to charon, `echo` and `knock` send echo requests.

Each reads JSON from the file named last and prints JSON: much standard input is more than a guest's serial
line takes at once. Nothing outside the standard library is needed.
"""

import ipaddress
import json
import random
import select
import socket
import struct
import sys
import time

# -- charon's VICI: packets with a length, and messages of named, nested values

REQUEST, RESPONSE, _UNKNOWN, REGISTER, UNREGISTER, CONFIRM, _NO_EVENT, EVENT = range(8)
SECTION, SECTION_END, KEY_VALUE, LIST, ITEM, LIST_END = range(1, 7)


def encode(tree):
    out = b""
    for key, value in tree.items():
        name = bytes([len(key)]) + key.encode()
        if isinstance(value, dict):
            out += bytes([SECTION]) + name + encode(value) + bytes([SECTION_END])
        else:
            data = str(value).encode()
            out += bytes([KEY_VALUE]) + name + struct.pack("!H", len(data)) + data
    return out


def decode(data):
    root, place = {}, 0
    stack, items = [root], None

    def name():
        nonlocal place
        end = place + 1 + data[place]
        text = data[place + 1:end].decode()
        place = end
        return text

    def value():
        nonlocal place
        length, = struct.unpack_from("!H", data, place)
        text = data[place + 2:place + 2 + length].decode(errors="replace")
        place += 2 + length
        return text

    while place < len(data):
        kind = data[place]
        place += 1
        if kind == SECTION:
            stack.append(stack[-1].setdefault(name(), {}))
        elif kind == SECTION_END:
            stack.pop()
        elif kind == KEY_VALUE:
            key = name()
            stack[-1][key] = value()
        elif kind == LIST:
            items = stack[-1].setdefault(name(), [])
        elif kind == ITEM:
            items.append(value())
    return root


class Vici:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(path)

    def _send(self, kind, name, tree=None):
        body = bytes([kind, len(name)]) + name.encode() + encode(tree or {})
        self.sock.sendall(struct.pack("!I", len(body)) + body)

    def _exactly(self, length):
        data = b""
        while len(data) < length:
            part = self.sock.recv(length - len(data))
            if not part:
                raise SystemExit("charon closed its socket")
            data += part
        return data

    def _packet(self):
        return self._exactly(struct.unpack("!I", self._exactly(4))[0])

    def ask(self, command, tree=None, event=None):
        """A command's answer; with `event`, the list of that event's messages until the answer."""
        events = []
        if event:
            self._send(REGISTER, event)
            if self._packet()[0] != CONFIRM:
                raise SystemExit(f"charon knows no event {event}")
        self._send(REQUEST, command, tree)
        while True:
            packet = self._packet()
            if packet[0] == EVENT:
                events.append(decode(packet[2 + packet[1]:]))
            elif packet[0] == RESPONSE:
                break
            else:
                raise SystemExit(f"charon knows no command {command}")
        if event:
            self._send(UNREGISTER, event)
            while self._packet()[0] != CONFIRM:
                pass
        return events if event else decode(packet[1:])


# What is told of an SA: both ends' SPIs, who began, and the suite.
IKE_KEYS = ("state", "initiator", "local-id", "remote-id", "initiator-spi", "responder-spi", "encr-alg", "encr-keysize", "integ-alg", "prf-alg",
            "dh-group")
CHILD_KEYS = ("name", "state", "spi-in", "spi-out", "encr-alg", "encr-keysize", "integ-alg", "dh-group", "esn", "encap")


def sas(vici):
    """[connection, its SA, its CHILD SAs], each cut down to what is compared."""
    found = []
    for event in vici.ask("list-sas", event="list-sa"):
        for name, sa in event.items():
            children = [{k: c[k] for k in CHILD_KEYS if k in c} for c in sa.get("child-sas", {}).values()]
            found.append([name, {k: sa[k] for k in IKE_KEYS if k in sa}, children])
    return found


def vici(path, told):
    """Carries out [[command, arguments], ...]; `sas` is a command of ours."""
    answers, link = [], Vici(path)
    for command, tree in told:
        answers.append(sas(link) if command == "sas" else link.ask(command, tree))
    json.dump(answers, sys.stdout, separators=(",", ":"))


# -- echo requests through many tunnels, a bounded number under way

WINDOW = 32
PATIENCE = 5.0
# ip(7); Python has no name for it.
IP_PKTINFO = 8


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def request(identifier, number, size):
    """An echo request whose data none other carries."""
    body = random.Random(identifier << 16 | number).randbytes(size)
    head = struct.pack("!BBHHH", 8, 0, 0, identifier, number)
    return struct.pack("!BBHHH", 8, 0, checksum(head + body), identifier, number) + body


def source(address):
    """The ancillary data that gives a packet its source (ip(7), IP_PKTINFO)."""
    return [(socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", 0, ipaddress.ip_address(address).packed, b"\0" * 4))]


def knock(told):
    """One small request for each pair of {pairs}, waiting for no answer."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    for number, (mine, theirs) in enumerate(told["pairs"]):
        sock.sendmsg([request(1, number, 8)], source(mine), 0, (theirs, 0))
    print("{}")


class Asker:
    """Asks each (source, destination, size) once; an answer counts when it is octet for octet what was sent."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.identifier = random.SystemRandom().randrange(1, 0xFFFF)
        self.waiting, self.number, self.wrong = {}, 0, 0

    def ask_all(self, questions):
        """The questions without an answer."""
        lost = []
        for question in questions:
            while len(self.waiting) >= WINDOW:
                lost += self.hear()
            self.number += 1
            packet = request(self.identifier, self.number, question[2])
            try:
                self.sock.sendmsg([packet], source(question[0]), 0, (question[1], 0))
            except OSError:
                lost.append(question)
                continue
            self.waiting[self.number] = (question, packet, time.monotonic() + PATIENCE)
        while self.waiting:
            lost += self.hear()
        return lost

    def hear(self):
        """Takes answers, at most until the oldest question's time is up; the questions given up."""
        now = time.monotonic()
        first = min(end for _, _, end in self.waiting.values())
        if select.select([self.sock], [], [], max(0.0, first - now))[0]:
            data, (sender, _) = self.sock.recvfrom(65535)
            self.take(data[(data[0] & 15) * 4:], sender)
            return []
        now = time.monotonic()
        late = [n for n, (_, _, end) in self.waiting.items() if end <= now]
        return [self.waiting.pop(n)[0] for n in late]

    def take(self, message, sender):
        kind, code, _, identifier, number = struct.unpack_from("!BBHHH", message)
        if (kind, code, identifier) != (0, 0, self.identifier) or number not in self.waiting:
            return
        question, packet, _ = self.waiting[number]
        if sender == question[1] and message[8:] == packet[8:]:
            del self.waiting[number]
        else:
            self.wrong += 1


def echo(told):
    """Asks {pairs, sizes}."""
    questions = [(a, b, size) for size in told["sizes"] for a, b in told["pairs"]]
    asker = Asker()
    lost = asker.ask_all(questions)
    json.dump({"asked": len(questions), "lost": lost, "wrong": asker.wrong}, sys.stdout)


if __name__ == "__main__":
    with open(sys.argv[-1]) as file:
        TOLD = json.load(file)
    if sys.argv[1] == "vici":
        vici(sys.argv[2], TOLD)
    elif sys.argv[1] == "echo":
        echo(TOLD)
    elif sys.argv[1] == "knock":
        knock(TOLD)
    else:
        sys.exit(f"unknown: {sys.argv[1]}")
