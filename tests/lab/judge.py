"""Two judges of what was on the wire that share no code with anybody's IPsec: tshark with the keys, and OpenSSL."""

import hashlib
import hmac
import struct
from dataclasses import dataclass

from .shell import expect, run

# strongSwan's keyword -> tshark's names (IKE encryption, IKE integrity, ESP encryption, ESP integrity).
AEAD = "AES-GCM with {icv} octet ICV [RFC4106]"
IKE_AEAD = "AES-GCM-{bits} with {icv} octet ICV [RFC5282]"
MACS = {
    "sha1": ("HMAC_SHA1_96 [RFC2404]", "HMAC-SHA-1-96 [RFC2404]", hashlib.sha1, 12),
    "sha256": ("HMAC_SHA2_256_128 [RFC4868]", "HMAC-SHA-256-128 [RFC4868]", hashlib.sha256, 16),
    "sha384": ("HMAC_SHA2_384_192 [RFC4868]", "HMAC-SHA-384-192 [RFC4868]", hashlib.sha384, 24),
    "sha512": ("HMAC_SHA2_512_256 [RFC4868]", "HMAC-SHA-512-256 [RFC4868]", hashlib.sha512, 32),
}


@dataclass(frozen=True)
class Suite:
    """A cipher, its key length and its integrity algorithm (None with an AEAD), from strongSwan's keywords."""

    cipher: str
    bits: int
    icv: int
    mac: str

    @staticmethod
    def parse(keywords):
        first, *rest = keywords.split("-")
        if first == "chacha20poly1305":
            return Suite("chacha", 256, 16, "")
        bits, gcm = int(first[3:6]), first[6:].startswith("gcm")
        mac = "" if gcm else next(word for word in rest if word in MACS)
        return Suite("gcm" if gcm else "cbc", bits, int(first[9:]) if gcm else MACS[mac][3], mac)


@dataclass
class Inner:
    """What one ESP packet held."""

    spi: int
    sequence: int
    next_header: int
    padding: bytes
    packet: bytes


# -- OpenSSL


def open_esp(suite, esn, key, esp):
    """Checks the ICV and decrypts one ESP packet (from its SPI on); raises when the ICV is wrong."""
    # Here alone, so that cases without a judge do not need the package.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    head, body, icv = esp[:8], esp[8:-suite.icv], esp[-suite.icv:]
    # In a test no SA lives through 2^32 packets, so the upper half is zero.
    high = bytes(4) if esn else b""
    if suite.cipher == "cbc":
        said = hmac.new(key.integrity, head + body + high, MACS[suite.mac][2]).digest()[:suite.icv]
        expect(said == icv, "the ICV is wrong")
        opener = Cipher(algorithms.AES(key.encryption), modes.CBC(body[:16])).decryptor()
        plain = opener.update(body[16:]) + opener.finalize()
    else:
        secret, nonce = key.encryption[:-4], key.encryption[-4:] + body[:8]
        aad = head[:4] + high + head[4:]
        if suite.cipher == "chacha":
            plain = ChaCha20Poly1305(secret).decrypt(nonce, body[8:] + icv, aad)
        else:
            opener = Cipher(algorithms.AES(secret), modes.GCM(nonce, icv, len(icv))).decryptor()
            opener.authenticate_additional_data(aad)
            plain = opener.update(body[8:]) + opener.finalize()
    length, next_header = plain[-2:]
    expect(length <= len(plain) - 2, f"a pad length of {length} in {len(plain)} octets")
    end = len(plain) - 2 - length
    return Inner(*struct.unpack("!II", head), next_header, plain[end:-2], plain[:end])


def open_all(packets, keys, suite, esn):
    """Every ESP packet of a capture opened by OpenSSL; raises for one it has no key for or that is not right."""
    by_spi, found = {k.spi: k for k in keys}, []
    for packet in packets:
        if not packet.esp:
            continue
        key = by_spi.get(packet.esp[0])
        expect(key, lambda: f"no peer has the SPI {packet.esp[0]:08x} of {packet}")
        expect((key.source, key.destination) == (packet.source, packet.destination), lambda: f"SPI {key.spi:08x} in {packet}")
        try:
            found.append((packet, open_esp(suite, esn, key, packet.payload)))
        except Exception as wrong:
            raise AssertionError(f"{packet}: {wrong!r}") from None
    return found


# -- tshark

EMPTY = '""'


def preferences(keys_ike, ike_spis, ike_suite, keys_esp, esp_suite):
    """tshark's options for these keys."""
    found = ["-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE",
             "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    gcm = IKE_AEAD.format(bits=ike_suite.bits, icv=ike_suite.icv)
    cipher = gcm if ike_suite.cipher == "gcm" else f"AES-CBC-{ike_suite.bits} [RFC3602]"
    mac = MACS[ike_suite.mac][0] if ike_suite.mac else "NONE [RFC4306]"
    for (spi_i, spi_r), k in zip(ike_spis, keys_ike):
        found += ["-o", f'uat:ikev2_decryption_table:{spi_i},{spi_r},{k.ei.hex()},{k.er.hex()},"{cipher}",'
                  f'{k.ai.hex() or EMPTY},{k.ar.hex() or EMPTY},"{mac}"']
    if esp_suite:
        cipher = AEAD.format(icv=esp_suite.icv) if esp_suite.cipher == "gcm" else "AES-CBC [RFC3602]"
        for k in keys_esp:
            mac, auth = (MACS[esp_suite.mac][1], f"0x{k.integrity.hex()}") if esp_suite.mac else ("NULL", "")
            found += ["-o", f'uat:esp_sa:"IPv4","{k.source}","{k.destination}","0x{k.spi:08x}","{cipher}",'
                      f'"0x{k.encryption.hex()}","{mac}","{auth}"']
    return found


def fields(path, names, options=(), only=""):
    """What tshark says of each frame: name -> list of values (as often as it occurs)."""
    argv = ["tshark", "-n", "-r", path, *options, *(["-Y", only] if only else []), "-T", "fields",
            "-E", "separator=/t", "-E", "occurrence=a", "-E", "aggregator=|"]
    for name in names:
        argv += ["-e", name]
    done = run(argv, timeout=120)
    expect("UAT" not in done.err, f"tshark does not take a key: {done.err}")
    return [dict(zip(names, ([v for v in cell.split("|") if v] for cell in line.split("\t")))) for line in done.out.splitlines()]


def ike_spis(packets):
    """The SPIs of every IKE SA, in the order they are first seen whole."""
    pairs = [(p.ike[:8].hex(), p.ike[8:16].hex()) for p in packets if p.ike]
    return list(dict.fromkeys(pair for pair in pairs if set(pair[1]) != {"0"}))
