"""The gateway on a kernel of its own with esp4, esp6 and ip_vti loaded, as on a real host, over native ESP with
another causeway and over UDP with strongSwan: with rp_filter 0, 1 and 2, in `main` and in a table of its own.
Proven each time: tunnel up, BGP routes in the right table with their rules, ping both ways and a transfer; the
kernel's own IPsec takes and answers none of our packets; after kill -9 the next start adopts the device with its
ifindex; and the offloads that this older kernel lacks are named as off, with why.
"""

import os
import re

from lab.causeway import BINARY, PSK, Causeway, example, lists, neighbor, tunnel
from lab.capture import Capture, inner_in_clear, repeated_sequences
from lab.case import Steps
from lab.shell import expect, wait_until
from lab.toml_text import Inline, merge
from lab.topology import AZURE, GATEWAY, LAN_HOST, Site
from lab.traffic import ping, transfer

from .stand import Stand

OWN = 100
SETTINGS = [(table, rp) for table in ("main", OWN) for rp in (0, 1, 2)]


def cells(_full):
    return ["native", "native-ipv6", "udp"]


class HeadEnd:
    """The cloud's gateway played by a causeway of its own, in a namespace without kernel IPsec."""

    def __init__(self, site, v6):
        self.edge, self.cloud_host = site.attach_host(AZURE, guest=False)
        self.lab, self.gateway, self.outer = site.lab, self.edge, AZURE.outer6 if v6 else AZURE.outer
        ours = GATEWAY6 if v6 else GATEWAY
        self.tree = {
            "router": {"id": AZURE.peering, "asn": AZURE.asn},
            "tunnel": {"site": {
                "profile": "azure", "local": self.outer, "remote": ours, "start": "respond",
                "psk": Inline(file="site.psk"), "local_id": AZURE.outer, "remote_id": GATEWAY,
                "interface": {"name": "vti0", "source": AZURE.peering, "mtu": "auto", "mss": 1350, "routes": ["192.168.1.1/32"]},
            }},
            "bgp": {"networks": [AZURE.prefix], "neighbor": {"site": {
                "address": "192.168.1.1", "asn": 65510, "tunnel": "site", "source": AZURE.peering, "multihop": 2,
                "import": "any", "export": "any"}}},
        }
