"""IPv6 inside and outside: IPv6 packets through a tunnel over IPv4, and both kinds through a tunnel over IPv6,
with a real kernel where it can (VTI carries one outer family each) and with libipsec. Routes are static here;
the IPv4 session of BGP runs beside them. Proven: ping and a hashed transfer both ways in IPv6, the inner MTU at
least 1280, ESP on the wire in the wanted outer family, no inner IPv6 packet in clear.
"""

import re

from lab.capture import Capture
from lab.case import Steps
from lab.shell import expect, wait_until
from lab.strongswan import Ipsec
from lab.toml_text import merge
from lab.topology import AZURE, GATEWAY6, LAN6, LAN_HOST6
from lab.traffic import ping, transfer

from .stand import Stand


def cells(_full):
    return ["libipsec-over4", "libipsec-over6", "kernel-over4"]


def run(lab, cell):
    step = Steps()
    kind, _, outer = cell.partition("-")
    peer = Ipsec(local_ts="0.0.0.0/0, ::/0", remote_ts="0.0.0.0/0, ::/0")
    if outer == "over6":
        peer.remote = GATEWAY6
    stand = Stand(lab, kind, transport="native" if kind == "kernel" else "auto", ipsec=peer)
    tree = merge(stand.causeway.tree, {"tunnel": {"azure": {
        "esp": {"local_ts": ["0.0.0.0/0", "::/0"], "remote_ts": ["0.0.0.0/0", "::/0"]},
        "interface": {"routes": [f"{AZURE.peering}/32", AZURE.prefix6]},
    }}})
    if outer == "over6":
        stand.headend.ipsec.local = AZURE.outer6
        tree["tunnel"]["azure"].update(local=GATEWAY6, remote=AZURE.outer6)
    stand.causeway.write(tree)
    stand.start()
    stand.headend.host.ip(f"route replace {LAN6} dev {stand.kind.device}")
    wan = Capture(stand.site.gateway, "wan0", "wan")
    step("up")
    expect("vti0" in stand.site.gateway.ip(f"-6 route show {AZURE.prefix6}"), "the static IPv6 route is missing")
    mtu = int(re.search(r"mtu (\d+)", stand.site.gateway.ip("-o link show dev vti0")).group(1))
    expect(mtu >= 1280, f"the tunnel's MTU is {mtu}")
    wait_until("IPv6 passes", lambda: ping(stand.lan, AZURE.host6, count=1, check=False), 10)
    ping(stand.lan, AZURE.host6)
    ping(stand.cloud, LAN_HOST6)
    stand.reaches()
    transfer(stand.lan, stand.cloud, AZURE.host6, 2_000_000)
    transfer(stand.cloud, stand.lan, LAN_HOST6, 2_000_000)
    step("ping and transfers in IPv6")
    packets = wan.stop()
    esp = [p for p in packets if p.esp]
    expect(esp, "no ESP on the wire")
    expect(all((":" in p.source) == (outer == "over6") for p in esp), "ESP in the wrong outer family")
    clear = [p for p in packets if p.source.startswith(("fd0", "192.168.1.", "172.16.")) or p.destination.startswith(("fd0", "172.16."))]
    expect(not clear, lambda: f"in clear: {clear[0]}")
