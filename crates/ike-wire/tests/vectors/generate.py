#!/usr/bin/env python3
"""Writes scapy.txt: IKEv2 messages as another implementation encodes them.

The bytes come from scapy's own IKEv2 layer (scapy.contrib.ikev2, https://scapy.net, tried with 2.8.0), which
shares nothing with this crate; what they mean is written down by hand in ../foreign.rs. Run it again only to
add a message:  python3 -m venv V && V/bin/pip install scapy && V/bin/python generate.py > scapy.txt
"""

from scapy.compat import raw
from scapy.contrib.ikev2 import *  # noqa: F403

I, R = bytes.fromhex("0102030405060708"), bytes.fromhex("1112131415161718")


def transforms(*rows):
    """Rows of (type, id) or (type, id, key length), chained."""
    chain = None
    for i, row in enumerate(rows):
        fields = {"next_payload": 0 if i + 1 == len(rows) else 3, "transform_type": row[0], "transform_id": row[1]}
        if len(row) == 3:
            fields |= {"length": 12, "key_length": row[2]}
        one = IKEv2_Transform(**fields)
        chain = one if chain is None else chain / one
    return chain


def proposal(number, proto, rows, spi=b"", last=True):
    return IKEv2_Proposal(
        next_payload=0 if last else 2, proposal=number, proto=proto, SPI=spi, trans_nb=len(rows), trans=transforms(*rows)
    )


def notify(kind, data=b"", nxt=41, proto=0, spi=b""):
    return IKEv2_Notify(next_payload=nxt, proto=proto, SPI=spi, type=kind, notify=data)


AZURE = [(1, 12, 256), (2, 2), (3, 2), (4, 2)]
GCM = [(1, 20, 256), (1, 20, 128), (2, 5), (4, 31), (4, 19)]
ESP = bytes.fromhex("c0ffee01")
V4 = IPv4TrafficSelector(IP_protocol_ID=0, starting_address_v4="0.0.0.0", ending_address_v4="255.255.255.255")
GRE = IPv4TrafficSelector(IP_protocol_ID=47, starting_address_v4="198.51.100.1", ending_address_v4="198.51.100.1")
V6 = IPv6TrafficSelector(
    IP_protocol_ID=6, length=40, start_port=179, end_port=179,
    starting_address_v6="2001:db8::", ending_address_v6="2001:db8::ffff",
)

MESSAGES = {
    "init request": IKEv2(init_SPI=I, exch_type=34, flags="Initiator", next_payload=33)
    / IKEv2_SA(next_payload=34, prop=proposal(1, 1, AZURE, last=False) / proposal(2, 1, GCM))
    / IKEv2_KE(next_payload=40, group=2, ke=bytes(range(128)))
    / IKEv2_Nonce(next_payload=41, nonce=b"n" * 32)
    / notify(16388, b"s" * 20) / notify(16389, b"d" * 20) / notify(16430) / notify(16431, bytes.fromhex("000200030004"), 0),
    "init response of a FlexVPN hub": IKEv2(init_SPI=I, resp_SPI=R, exch_type=34, flags="Response", next_payload=33)
    / IKEv2_SA(next_payload=34, prop=proposal(1, 1, AZURE))
    / IKEv2_KE(next_payload=40, group=2, ke=b"\x07" * 128)
    / IKEv2_Nonce(next_payload=43, nonce=b"r" * 20)
    / IKEv2_VendorID(next_payload=43, vendorID=b"CISCO-DELETE-REASON")
    / IKEv2_VendorID(next_payload=43, vendorID=b"CISCOVPN-REV-02")
    / IKEv2_VendorID(next_payload=43, vendorID=b"CISCO-DYNAMIC-ROUTE")
    / IKEv2_VendorID(next_payload=41, vendorID=b"FLEXVPN-SUPPORTED")
    / notify(16388, b"s" * 20) / notify(16389, b"d" * 20, 38)
    / IKEv2_CERTREQ(next_payload=0, cert_encoding=0, cert_authority=b""),
    "invalid ke": IKEv2(init_SPI=I, exch_type=34, flags="Response", next_payload=41) / notify(17, b"\x00\x0e", 0),
    "cookie": IKEv2(init_SPI=I, exch_type=34, flags="Response", next_payload=41) / notify(16390, b"cookie!!", 0),
    "sealed": IKEv2(init_SPI=I, resp_SPI=R, exch_type=37, flags="Initiator+Response", id=7, next_payload=46)
    / IKEv2_Encrypted(next_payload=42, load=b"\xaa" * 40),
    "fragment": IKEv2(init_SPI=I, resp_SPI=R, exch_type=35, flags="Initiator", id=1, next_payload=53)
    / IKEv2_Encrypted_Fragment(next_payload=0, frag_number=2, frag_total=3, length=8 + 33, load=b"\xbb" * 33),
}

CHAINS = {
    "43 auth answer of a FlexVPN hub": IKEv2_VendorID(next_payload=36, vendorID=b"CISCO-DELETE-REASON")
    / IKEv2_IDr(next_payload=39, IDtype=1, ID="192.0.2.1")
    / IKEv2_AUTH(next_payload=33, auth_type=2, load=b"\xa5" * 20)
    / IKEv2_SA(next_payload=44, prop=proposal(1, 3, [(1, 12, 256), (3, 2), (5, 0)], spi=ESP))
    / IKEv2_TSi(next_payload=45, traffic_selector=[V4, GRE])
    / IKEv2_TSr(next_payload=41, traffic_selector=[V6])
    / notify(16385, bytes.fromhex("00000005")) / notify(16394) / notify(16395, nxt=0),
    "47 cfg set": IKEv2_CP(
        next_payload=0, CFGType=3,
        attributes=[
            ConfigurationAttribute(type=13, value=bytes.fromhex("0a000000ff000000")),
            ConfigurationAttribute(type=7, value=b"Cisco IOS"),
            ConfigurationAttribute(type=28679, value=bytes.fromhex("0001")),
        ],
    ),
    "42 delete": IKEv2_Delete(next_payload=42, proto=3, SPIsize=4, SPInum=2, SPI=[ESP, b"\x00\x00\x01\x00"])
    / IKEv2_Delete(next_payload=0, proto=1, SPIsize=0, SPInum=0),
    "41 microsoft status": notify(12345, bytes.fromhex("00000057")) / notify(24, nxt=0),
    "41 rekey": notify(16393, nxt=33, proto=3, spi=ESP)
    / IKEv2_SA(next_payload=40, prop=proposal(1, 1, [(1, 20, 256), (2, 7), (4, 21)], spi=R))
    / IKEv2_Nonce(next_payload=0, nonce=b"k" * 16),
    "35 identities": IKEv2_IDi(next_payload=36, IDtype=2, ID=b"gw.example.net")
    / IKEv2_IDr(next_payload=37, IDtype=5, ID="2001:db8::1")
    / IKEv2_CERT(next_payload=48, cert_encoding=12, cert_data=b"hash and url")
    / IKEv2_EAP(next_payload=0, load=bytes.fromhex("0101000501")),
    "200 unknown": IKEv2_Payload(next_payload=40, load=b"future") / IKEv2_Nonce(next_payload=0, nonce=b"k" * 16),
    "201 unknown critical": IKEv2_Payload(next_payload=0, flags="critical", load=b"future"),
}

print("# Written by generate.py from scapy's IKEv2 layer: KIND NAME = HEX; a chain's name begins with its first type.")
for kind, vectors in (("message", MESSAGES), ("chain", CHAINS)):
    for name, packet in vectors.items():
        print(f"{kind} {name} = {raw(packet).hex()}")
