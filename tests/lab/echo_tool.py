"""Echo requests, each of which is waited for by itself (RFC 792, RFC 4443 section 4).

`ping` gives up a fraction of a second after its last request once any answer has come, which on a busy machine calls
slow what is asked about as lost. An answer is one of the same address, identifier, sequence number and octets, with a
good checksum. What is told about requests that were not let through is kept beside.

    echo_tool.py TARGET OPTIONS     OPTIONS and what is printed are JSON
"""

import errno
import ipaddress
import json
import os
import select
import socket
import struct
import sys
import time

# Of linux/in.h and linux/in6.h; Python's module has not all of them.
IP_MTU_DISCOVER, IP_RECVERR, IPV6_MTU_DISCOVER, IPV6_RECVERR = 10, 11, 23, 25
PMTUDISC_DONT, PMTUDISC_DO = 0, 2
# struct sock_extended_err, and who found the error.
ERROR, LOCAL = struct.Struct("=IBBBBII"), 1
HEAD = struct.Struct("!BBHHH")


def checksum(data):
    """RFC 1071."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Request:
    """One that was sent, or was to be."""

    def __init__(self, octets, now, timeout):
        self.octets, self.sent, self.until = octets, now, now + timeout
        self.answered, self.settled = None, False


class Echo:
    """Requests to one address, and what came of them."""

    def __init__(self, target, count=3, interval=0.2, timeout=2.0, size=56, source=None, df=None, first=False):
        """`timeout` seconds for each of `count` requests of `size` octets; with `first` the first answer is the end. `source`
        is an address or a device. `df` True forbids fragments, False allows them to routers as well."""
        self.target = str(ipaddress.ip_address(target))
        self.six = ":" in self.target
        self.count, self.interval, self.timeout, self.size, self.first = count, interval, timeout, size, first
        self.identifier = int.from_bytes(os.urandom(2), "big")
        self.requests, self.doubled, self.damaged, self.refused = {}, [], [], []
        self.socket = self._open(source, df)

    def _open(self, source, df):
        family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if self.six else (socket.AF_INET, socket.IPPROTO_ICMP)
        level = socket.IPPROTO_IPV6 if self.six else socket.IPPROTO_IP
        sock = socket.socket(family, socket.SOCK_RAW, protocol)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setsockopt(level, IPV6_RECVERR if self.six else IP_RECVERR, 1)
        if df is not None:
            sock.setsockopt(level, IPV6_MTU_DISCOVER if self.six else IP_MTU_DISCOVER, PMTUDISC_DO if df else PMTUDISC_DONT)
        if source and ("." in source or ":" in source):
            sock.bind((source, 0))
        elif source:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, source.encode())
        return sock

    def run(self):
        """Sends them all and waits; returns what is to be printed."""
        poll, due = select.poll(), time.monotonic()
        poll.register(self.socket, select.POLLIN)
        while True:
            # What came until now is read before anything is judged by this time, however late this program runs itself.
            now = time.monotonic()
            self._read()
            if self._over(now):
                return self._result()
            if len(self.requests) < self.count and now >= due:
                self._send(len(self.requests) + 1)
                due = time.monotonic() + self.interval
                continue
            ends = [r.until for r in self.requests.values() if not r.settled and r.until >= now]
            ends += [due] if len(self.requests) < self.count else []
            poll.poll(max(1, int((min(ends) - now) * 1000) + 1))

    def _over(self, now):
        if self.first and any(r.answered is not None for r in self.requests.values()):
            return True
        return len(self.requests) == self.count and all(r.settled or now > r.until for r in self.requests.values())

    def _send(self, number):
        request = Request(os.urandom(self.size), time.monotonic(), self.timeout)
        self.requests[number] = request
        head = HEAD.pack(128 if self.six else 8, 0, 0, self.identifier, number & 0xFFFF)
        if not self.six:
            head = HEAD.pack(8, 0, checksum(head + request.octets), self.identifier, number & 0xFFFF)
        why = None
        # What is known of earlier requests is told to whoever sends next, which then was not sent.
        for _ in range(8):
            try:
                self.socket.sendto(head + request.octets, (self.target, 0))
                return
            except OSError as error:
                why = error
                # A filter's drop and a full queue are of this one, and once more would hide a loss.
                if self._errors(number) or error.errno in (errno.EPERM, errno.ENOBUFS):
                    break
        request.settled = True
        if not any(r["sequence"] == number for r in self.refused):
            self.refused.append({"sequence": number, "by": "here", "why": why.strerror, "mtu": 0})

    def _read(self):
        """Everything that is there."""
        while True:
            try:
                data, where = self.socket.recvfrom(70000)
            except BlockingIOError:
                # An error alone wakes poll without end.
                self._errors(None)
                return
            except OSError:
                self._errors(None)
                continue
            if str(ipaddress.ip_address(where[0].partition("%")[0])) == self.target:
                self._answer(data)

    def _answer(self, data):
        if not self.six:
            data = data[(data[0] & 15) * 4:]
        if len(data) < HEAD.size:
            return
        kind, code, _, identifier, number = HEAD.unpack_from(data)
        if (kind, code, identifier) != (129 if self.six else 0, 0, self.identifier):
            return
        request = self.requests.get(number)
        # The kernel has looked at the checksum of ICMPv6.
        if request is None or request.octets != data[HEAD.size:] or not self.six and checksum(data):
            self.damaged.append(number)
        elif request.answered is not None:
            self.doubled.append(number)
        else:
            request.answered, request.settled = time.monotonic() - request.sent, True

    def _errors(self, sending):
        """What the kernel and routers said of requests; whether the one being sent was refused here."""
        here = False
        while True:
            try:
                data, others, _, _ = self.socket.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return here
            for level, kind, value in others:
                if (level, kind) not in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)):
                    continue
                number, origin, _, _, _, info, _ = ERROR.unpack_from(value)
                if origin == LOCAL:
                    here = True
                    self._refuse(sending, "here", number, info)
                elif len(data) >= HEAD.size and HEAD.unpack_from(data)[3] == self.identifier:
                    self._refuse(HEAD.unpack_from(data)[4], self._offender(value[ERROR.size:]), number, info)

    def _offender(self, address):
        if self.six and len(address) >= 24:
            return str(ipaddress.IPv6Address(address[8:24]))
        return str(ipaddress.IPv4Address(address[4:8])) if len(address) >= 8 else "?"

    def _refuse(self, number, by, error, info):
        self.refused.append({"sequence": number, "by": by, "why": os.strerror(error), "mtu": info})
        if number in self.requests:
            self.requests[number].settled = True

    def _result(self):
        return {
            "sent": len(self.requests),
            "answered": {n: round(r.answered * 1000, 3) for n, r in self.requests.items() if r.answered is not None},
            "doubled": self.doubled, "damaged": self.damaged, "refused": self.refused,
        }


if __name__ == "__main__":
    print(json.dumps(Echo(sys.argv[1], **json.loads(sys.argv[2])).run()))
