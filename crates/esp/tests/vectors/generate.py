#!/usr/bin/env python3
"""Writes scapy.txt: ESP packets made by Scapy, a program that shares no code with ours.

    python3 -m venv venv && venv/bin/pip install scapy cryptography
    venv/bin/python generate.py > scapy.txt

One line a packet: suite, esn or -, SPI, 64-bit sequence number, encryption key with salt, integrity key or
-, seed of the CBC IVs or -, inner packet, ESP packet. Numbers and octets in hexadecimal. The packets of one
suite stand in the order a receiver may see them.

The IVs are the ones our sender makes, so each line judges both directions: the packet must open, and sealing
the inner packet must give it octet for octet.
"""
import hashlib
import warnings

warnings.filterwarnings("ignore")
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: E402
from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: E402
from scapy.layers.inet6 import IPv6  # noqa: E402
from scapy.layers.ipsec import ESP, SecurityAssociation  # noqa: E402
from scapy.packet import Raw  # noqa: E402

AEAD = [(f"aes{bits}gcm{icv}", "AES-GCM", bits // 8 + 4, icv) for bits in (128, 192, 256) for icv in (16, 12, 8)]
AEAD.append(("chacha20poly1305", "CHACHA20-POLY1305", 36, 16))
MACS = [
    ("sha1", "HMAC-SHA1-96", 20),
    ("sha256", "SHA2-256-128", 32),
    ("sha384", "SHA2-384-192", 48),
    ("sha512", "SHA2-512-256", 64),
]


def octets(label, length):
    """Octets that look like nothing, and are the same at each run."""
    return hashlib.shake_128(label.encode()).digest(length)


def inner_packets(label):
    yield IP(src="192.168.1.7", dst="172.16.0.9", id=1, ttl=63) / ICMP() / Raw(octets(label, 56))
    yield IPv6(src="2001:db8:1::7", dst="2001:db8:2::9", hlim=63) / UDP(sport=5000, dport=53) / Raw(octets(label, 33))
    yield IP(src="192.168.1.7", dst="172.16.0.9", flags="DF") / TCP(sport=40000, dport=179, flags="PA") / Raw(octets(label, 1301))
    yield IP(src="192.168.1.7", dst="172.16.0.9", tos=0xB9) / UDP(sport=1, dport=2) / Raw(b"")


def packets(suite, cipher, key_len, icv, mac, mac_len, esn):
    key, mac_key = octets(suite + " key", key_len), octets(suite + " mac", mac_len)
    seed = octets(suite + " seed", 16)
    spi = 0xC0000000 | int.from_bytes(octets(suite, 3), "big")
    # Extended: below, across and beyond the first 2^32.
    numbers = [1, 0x90000000, 0xFFFFFFF0, 0x100000005] if esn else [1, 2, 0x1000, 0xFFFFFFFF]
    for number, inner in zip(numbers, inner_packets(suite)):
        tunnel = IP(src="203.0.113.1", dst="192.0.2.1") if IP in inner else IPv6(src="2001:db8::1", dst="2001:db8::2")
        sa = SecurityAssociation(
            ESP, spi=spi, crypt_algo=cipher, crypt_key=key,
            auth_algo=mac or "NULL", auth_key=mac_key or None, tunnel_header=tunnel,
            esn_en=esn, esn=number >> 32)
        if mac is None:
            iv = number.to_bytes(8, "big")
        else:
            iv = Cipher(algorithms.AES(seed), modes.ECB()).encryptor().update(number.to_bytes(16, "big"))
        plain = bytes(inner)
        sealed = sa.encrypt(inner, seq_num=number & 0xFFFFFFFF, iv=iv, esn_en=esn, esn=number >> 32)
        # Under tunnel mode Scapy routes the inner packet and lowers its TTL; take what it really sealed.
        body = bytes(sealed[ESP])
        clear = bytes(sa.decrypt(sealed, esn_en=esn, esn=number >> 32))
        assert len(clear) == len(plain)
        if mac is None:
            # Scapy's GCM has the full ICV only; a shorter one is its first octets (RFC 4106 section 6).
            body = body[: len(body) - (16 - icv)]
        yield [suite, "esn" if esn else "-", f"{spi:x}", f"{number:x}", key.hex(), mac_key.hex() or "-",
               seed.hex() if mac else "-", clear.hex(), body.hex()]


def main():
    for esn in (False, True):
        for suite, cipher, key_len, icv in AEAD:
            for line in packets(suite, cipher, key_len, icv, None, 0, esn):
                print(*line)
        for bits in (128, 192, 256):
            for name, mac, mac_len in MACS:
                for line in packets(f"aes{bits}-{name}", "AES-CBC", bits // 8, 0, mac, mac_len, esn):
                    print(*line)


main()
