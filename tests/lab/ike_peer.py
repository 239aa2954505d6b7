"""An IKEv2 initiator written for the laboratory: every octet of what it says is the test's to choose.

One suite (AES-CBC-256, HMAC-SHA-256 for PRF and integrity, Curve25519) on python3-cryptography; no code of any of
the implementations under test. A payload is (type, critical, body); a message is a list of them.
"""

import ctypes
import hashlib
import hmac
import os
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass

from .shell import Failed, expect

SA, KE, IDI, IDR, CERTREQ, AUTH, NONCE, NOTIFY, DELETE, VENDOR, TSI, TSR, SK, CP = 33, 34, 35, 36, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47
INIT, IKE_AUTH, CREATE_CHILD, INFORMATIONAL = 34, 35, 36, 37
UNSUPPORTED_CRITICAL_PAYLOAD, INVALID_MAJOR_VERSION, NO_PROPOSAL_CHOSEN, INVALID_KE_PAYLOAD = 1, 5, 14, 17
TEMPORARY_FAILURE, CHILD_SA_NOT_FOUND = 43, 44
COOKIE, REKEY_SA = 16390, 16393
CFG_REQUEST, CFG_REPLY, CFG_SET, CFG_ACK = 1, 2, 3, 4
CURVE25519, ECP256 = 31, 19
CLONE_NEWNET = 0x40000000


def socket_in(namespace, *kind):
    """A socket that lives in a namespace; a thread of its own goes there to open it."""
    found = []

    def go():
        with open(f"/run/netns/{namespace.name}") as place:
            if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), CLONE_NEWNET) == 0:
                found.append(socket.socket(*kind))

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    expect(found, f"no way into {namespace.name}")
    return found[0]


# -- bodies


def transforms(*which):
    """Transform substructures from (type, id, key length or None)."""
    parts = []
    for n, (kind, number, bits) in enumerate(which):
        attribute = struct.pack("!HH", 0x800E, bits) if bits else b""
        more = 0 if n == len(which) - 1 else 3
        parts.append(struct.pack("!BBHBBH", more, 0, 8 + len(attribute), kind, 0, number) + attribute)
    return b"".join(parts)


def proposal(protocol, spi, which):
    body = transforms(*which)
    return SA, False, struct.pack("!BBHBBBB", 0, 0, 8 + len(spi) + len(body), 1, protocol, len(spi), len(which)) + spi + body


def ike_suite(*groups, cipher=12):
    """This peer's suite with these groups; another cipher (3 is 3DES) is one nobody takes."""
    return proposal(1, b"", [(1, cipher, 256 if cipher == 12 else None), (2, 5, None), (3, 12, None), *((4, g, None) for g in groups)])


def esp_suite(spi, cipher=12):
    return proposal(3, spi, [(1, cipher, 256 if cipher == 12 else None), (3, 12, None), (5, 0, None)])


def notify(kind, data=b"", protocol=0, spi=b""):
    return NOTIFY, False, struct.pack("!BBH", protocol, len(spi), kind) + spi + data


def selectors(kind, low, high):
    """One IPv4 range for every protocol and port."""
    ends = socket.inet_aton(low) + socket.inet_aton(high)
    return kind, False, struct.pack("!BBHBBHHH", 1, 0, 0, 7, 0, 16, 0, 65535) + ends


def everything():
    """Both selectors, for all addresses."""
    return [selectors(kind, "0.0.0.0", "255.255.255.255") for kind in (TSI, TSR)]


def configuration(kind, attributes):
    body = b"".join(struct.pack("!HH", number, len(value)) + value for number, value in attributes)
    return CP, False, struct.pack("!BBH", kind, 0, 0) + body


# -- what comes back


def chain(payloads):
    """(type of the first, octets)."""
    out = b""
    for n, (_, critical, body) in enumerate(payloads):
        after = payloads[n + 1][0] if n + 1 < len(payloads) else 0
        out += struct.pack("!BBH", after, 0x80 if critical else 0, 4 + len(body)) + body
    return (payloads[0][0] if payloads else 0), out


def split(first, data):
    found = []
    while first:
        after, flags, length = struct.unpack("!BBH", data[:4])
        found.append((first, bool(flags & 0x80), data[4:length]))
        first, data = (0 if first == SK else after), data[length:]
    return found


def body_of(payloads, kind):
    return next((body for k, _, body in payloads if k == kind), None)


def notifies(payloads):
    """type -> data of each Notify."""
    found = {}
    for kind, _, body in payloads:
        if kind == NOTIFY:
            (number,) = struct.unpack("!H", body[2:4])
            found[number] = body[4 + body[1]:]
    return found


def attributes(body):
    """(type of the configuration, [(attribute, value)])."""
    found, rest = [], body[4:]
    while rest:
        number, length = struct.unpack("!HH", rest[:4])
        found.append((number & 0x7FFF, rest[4:4 + length]))
        rest = rest[4 + length:]
    return body[0], found


@dataclass
class Message:
    """A message that came, opened."""

    exchange: int
    response: bool
    number: int
    payloads: list
    raw: bytes


def prf(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def prf_plus(key, seed, length):
    out, block, n = b"", b"", 1
    while len(out) < length:
        block = prf(key, block + seed + bytes([n]))
        out, n = out + block, n + 1
    return out[:length]


class Initiator:
    """One IKE SA that this side begins, from an address of a namespace."""

    def __init__(self, namespace, local, remote, psk, local_id):
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self.psk, self.local_id = psk.encode(), local_id
        self.sock = socket_in(namespace, socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((local, 500))
        self.sock.connect((remote, 500))
        self.private = X25519PrivateKey.generate()
        self.public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.spi_i, self.spi_r, self.nonce = os.urandom(8), bytes(8), os.urandom(32)
        self.number, self.keys, self.early, self.requests = 0, None, [], set()
        self.last_sent = b""

    def close(self):
        self.sock.close()

    # -- messages

    def header(self, first, exchange, response, number, length, version=0x20):
        # The I flag: this side began the IKE SA.
        return self.spi_i + self.spi_r + struct.pack("!BBBBII", first, version, exchange, 0x28 if response else 0x08, number, length)

    def pack(self, exchange, number, payloads, response=False, version=0x20):
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        first, inner = chain(payloads)
        if not self.keys:
            return self.header(first, exchange, response, number, 28 + len(inner), version) + inner
        inner += bytes(-(len(inner) + 1) % 16) + bytes([-(len(inner) + 1) % 16])
        iv = os.urandom(16)
        sealer = Cipher(algorithms.AES(self.keys["ei"]), modes.CBC(iv)).encryptor()
        length = 4 + 16 + len(inner) + 16
        message = self.header(SK, exchange, response, number, 28 + length) + struct.pack("!BBH", first, 0, length) + iv
        message += sealer.update(inner) + sealer.finalize()
        return message + prf(self.keys["ai"], message)[:16]

    def open(self, raw):
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        first, _, exchange, flags, number, length = struct.unpack("!BBBBII", raw[16:28])
        expect(length == len(raw), f"a length of {length} in {len(raw)} octets")
        if first != SK:
            return Message(exchange, bool(flags & 0x20), number, split(first, raw[28:]), raw)
        expect(hmac.compare_digest(prf(self.keys["ar"], raw[:-16])[:16], raw[-16:]), "a forged message")
        opener = Cipher(algorithms.AES(self.keys["er"]), modes.CBC(raw[32:48])).decryptor()
        inner = opener.update(raw[48:-16]) + opener.finalize()
        return Message(exchange, bool(flags & 0x20), number, split(raw[28], inner[:len(inner) - 1 - inner[-1]]), raw)

    def receive(self, wanted, timeout=20):
        """The next message `wanted` says yes to; others wait their turn."""
        end = time.monotonic() + timeout
        while True:
            for n, message in enumerate(self.early):
                if wanted(message):
                    return self.early.pop(n)
            ready, _, _ = select.select([self.sock], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise Failed(f"nothing came within {timeout} s; others that did: {self.early}")
            message = self.open(self.sock.recv(65535))
            # A repeated request is one we already hold, or have answered.
            if message.raw in self.requests or message.raw in [m.raw for m in self.early]:
                continue
            if not message.response:
                self.requests.add(message.raw)
            self.early.append(message)

    # -- exchanges

    def ask(self, exchange, payloads, version=0x20):
        """Sends a request and gives the answer."""
        self.last_sent = self.pack(exchange, self.number, payloads, version=version)
        self.sock.send(self.last_sent)
        number = self.number
        self.number += 1 if self.keys else 0
        return self.receive(lambda m: m.response and m.number == number)

    def ask_again(self):
        """The last request once more, octet for octet."""
        self.sock.send(self.last_sent)
        return self.receive(lambda m: m.response)

    def asked(self, exchange, timeout=20):
        """The other side's next request of this kind."""
        return self.receive(lambda m: not m.response and m.exchange == exchange, timeout)

    def answer(self, request, payloads):
        self.sock.send(self.pack(request.exchange, request.number, payloads, response=True))

    def init(self, *more, groups=(CURVE25519,), ke=CURVE25519, cipher=12, first=(), version=0x20):
        """One IKE_SA_INIT; when it is accepted, the keys are there."""
        value = self.public if ke == CURVE25519 else os.urandom(64)
        payloads = [*first, ike_suite(*groups, cipher=cipher), (KE, False, struct.pack("!HH", ke, 0) + value), (NONCE, False, self.nonce), *more]
        answer = self.ask(INIT, payloads, version)
        if body_of(answer.payloads, SA):
            self.derive(answer)
        return answer

    def derive(self, answer):
        """SKEYSEED and the seven keys (RFC 7296 section 2.14)."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        self.spi_r, nonce_r = answer.raw[8:16], body_of(answer.payloads, NONCE)
        shared = self.private.exchange(X25519PublicKey.from_public_bytes(body_of(answer.payloads, KE)[4:]))
        seed = self.nonce + nonce_r
        stream = prf_plus(prf(seed, shared), seed + self.spi_i + self.spi_r, 7 * 32)
        names = ("d", "ai", "ar", "ei", "er", "pi", "pr")
        self.keys = {name: stream[32 * n:32 * n + 32] for n, name in enumerate(names)}
        self.mine, self.theirs, self.number = self.last_sent + nonce_r, answer.raw + self.nonce, 1

    def auth(self, *more):
        """IKE_AUTH with the shared key, for one CHILD SA with every selector; checks the other side's proof."""
        me = struct.pack("!BBH", 1, 0, 0) + socket.inet_aton(self.local_id)
        key = prf(self.psk, b"Key Pad for IKEv2")
        proof = prf(key, self.mine + prf(self.keys["pi"], me))
        self.child = os.urandom(3) + b"\x01"
        answer = self.ask(IKE_AUTH, [
            (IDI, False, me), (AUTH, False, struct.pack("!BBH", 2, 0, 0) + proof), esp_suite(self.child), *everything(), *more])
        them, proof = body_of(answer.payloads, IDR), body_of(answer.payloads, AUTH)
        expect(them and proof, f"IKE_AUTH was refused: {notifies(answer.payloads)}")
        expect(proof[4:] == prf(key, self.theirs + prf(self.keys["pr"], them)), "the other side's proof is wrong")
        offer = body_of(answer.payloads, SA)
        expect(offer, f"no CHILD SA: {notifies(answer.payloads)}")
        self.child_out = offer[8:12]
        return answer
