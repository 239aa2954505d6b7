"""The gateway on a kernel of its own with esp4, esp6 and ip_vti loaded, as on a real host: over native ESP (IPv4
and IPv6 outside) with another causeway, over UDP with strongSwan; each with rp_filter 0, 1 and 2, in `main` and in
a table of its own. Proven each time: tunnel up, the learned route and the rules where they belong, ping both ways,
a transfer; the kernel's own IPsec neither takes nor answers our packets; after kill -9 the next start adopts the
device with its ifindex; a clean stop leaves nothing; what this older kernel lacks is shown as off, with why; and what the
host's lacks, `fq_codel`, stands before the tunnel.
"""

import re

from lab.capture import Capture, inner_in_clear, repeated_sequences
from lab.case import Steps
from lab.causeway import Causeway, example
from lab.shell import expect, wait_until
from lab.toml_text import Inline, merge
from lab.topology import AZURE, GATEWAY, GATEWAY6, LAN_GATEWAY, LAN_HOST, Site
from lab.traffic import ping, transfer, until_answered

from .stand import Stand

OWN = 100
SETTINGS = [(table, rp_filter) for table in ("main", OWN) for rp_filter in (0, 1, 2)]


def cells(_full):
    return ["native", "native-ipv6", "udp"]


class Other:
    """The cloud's gateway as another causeway, in a namespace whose kernel has no IPsec."""

    def __init__(self, site, ipv6):
        self.lab = site.lab
        self.gateway, self.cloud = site.attach_host(AZURE, guest=False)
        self.causeway = Causeway(self, {
            "router": {"id": AZURE.peering, "asn": AZURE.asn},
            "tunnel": {"site": {
                "profile": "generic", "local": AZURE.outer6 if ipv6 else AZURE.outer, "remote": GATEWAY6 if ipv6 else GATEWAY,
                "start": "respond", "psk": Inline(file="site.psk"), "local_id": AZURE.outer, "remote_id": GATEWAY,
                "ike": {"proposals": ["aes256-sha1-modp1024"]}, "esp": {"proposals": ["aes256-sha1"]},
                "interface": {"name": "vti0", "source": AZURE.peering, "routes": [f"{LAN_GATEWAY}/32"]},
            }},
            "bgp": {"networks": [AZURE.prefix], "neighbor": {"site": {
                "address": LAN_GATEWAY, "asn": 65510, "tunnel": "site", "source": AZURE.peering, "multihop": 2,
                "import": "any", "export": "any",
            }}},
        }, name="other")


def meet(lab, site, cell):
    """The gateway under test, the cloud's host, and the other causeway if it is one; no causeway runs yet."""
    if cell == "udp":
        stand = Stand(lab, "libipsec", site=site)
        stand.headend.start()
        return stand.causeway, stand.cloud, None
    ipv6 = cell == "native-ipv6"
    other = Other(site, ipv6)
    outer = {"local": GATEWAY6, "remote": AZURE.outer6} if ipv6 else {}
    return Causeway(site, example(site, tunnel={"azure": outer})), other.cloud, other.causeway


def run(lab, cell):
    step = Steps()
    site = Site(lab, guest=True)
    gateway = site.gateway
    loaded = gateway.run(["cat", "/proc/modules"]).out
    expect(all(f"{name} " in loaded for name in ("esp4", "esp6", "ip_vti")), f"modules: {loaded}")
    causeway, cloud, other = meet(lab, site, cell)
    tree = causeway.tree
    step("a kernel with ESP and VTI, and a head-end")
    wan = Capture(gateway.ns, "wan", "wan")
    for table, rp_filter in SETTINGS:
        for scope in ("all", "default", "lan0", "wan0"):
            gateway.sysctl(f"net.ipv4.conf.{scope}.rp_filter", rp_filter)
        if other:
            # Anew each time: it makes a neighbour wait that breaks one session after the other.
            other.start()
        causeway.write(merge(tree, {"routes": {"table": table}}))
        causeway.start().wait_up(timeout=60)
        carries(site, cloud, table, 5200 + 10 * SETTINGS.index((table, rp_filter)))
        if (table, rp_filter) == SETTINGS[0]:
            offloads(causeway, step)
            fair(site, step)
        adopted(site, causeway, cloud, table)
        causeway.stop()
        clean(gateway)
        if other:
            other.stop()
        step(f"table {table}, rp_filter {rp_filter}")
    wire(cell, wan.stop())
    counted = gateway.run(["sh", "-c", "cat /proc/net/xfrm_stat 2>/dev/null | grep -v '\\s0$'"], check=False).out.split()
    step(f"nothing in clear, nothing answered; the kernel's own count: {' '.join(counted) or 'none'}")


def learned(gateway, table):
    return gateway.ip(f"route show 172.16.0.0/22 table {table}", check=False).strip()


def carries(site, cloud, table, port):
    gateway = site.gateway
    wait_until("the learned route", lambda: "dev vti0" in learned(gateway, table), 20)
    if table == OWN:
        expect(not learned(gateway, "main"), "the learned route is in main as well")
        rules = gateway.ip("rule show")
        expect("suppress_prefixlength 0" in rules and f"lookup {OWN}" in rules and "fwmark" in rules, f"rules: {rules}")
    until_answered("LAN reaches the cloud", site.lan, AZURE.host, 10)
    ping(site.lan, AZURE.host, count=3)
    ping(cloud, LAN_HOST, count=3)
    transfer(site.lan, cloud, AZURE.host, 1 << 20, port)
    transfer(cloud, site.lan, LAN_HOST, 1 << 20, port + 1)


def offloads(causeway, step):
    """What is off is off for a reason that is told."""
    page = causeway.show("interfaces")
    found = page if isinstance(page, list) else [*page.get("interfaces", []), *page.get("sockets", [])]
    words = []
    for row in found:
        for offload in row.get("offloads", []):
            expect(offload["on"] or offload["why"], f"{offload['name']} of {row['name']} is off and nothing says why")
            words.append(f"{row['name']} {offload['name']} {'on' if offload['on'] else 'off: ' + offload['why']}")
    expect("vti0 fq_codel on" in words, f"fq_codel: {words}")
    expect(any("uso4 off" in word for word in words), f"Linux 6.1 has no USO in TUN devices, but: {words}")
    step("; ".join(words))


def fair(site, step):
    """This kernel has `fq_codel`: it stands at the device's root and the tunnel's packets go through it."""
    shown = site.gateway.run(["tc", "-s", "qdisc", "show", "dev", "vti0"]).out
    sent = re.search(r"qdisc fq_codel .*? root .*?Sent \d+ bytes (\d+) pkt", shown, re.S)
    expect(sent and int(sent[1]) > 0, f"the discipline of vti0: {shown}")
    step(f"fq_codel before the tunnel: {sent[1]} packets through it")


def adopted(site, causeway, cloud, table):
    gateway, before = site.gateway, causeway.spis()
    index = gateway.ip("-o link show dev vti0").split(":")[0]
    causeway.kill()
    expect(ping(site.lan, AZURE.host, count=2, check=False, timeout=1) == 0, "a killed gateway forwarded packets")
    causeway.start().wait_up(timeout=60)
    expect(gateway.ip("-o link show dev vti0").split(":")[0] == index, "the device was not adopted")
    expect(causeway.spis() != before, "the SAs of a dead process are in use")
    wait_until("the learned route", lambda: "dev vti0" in learned(gateway, table), 20)
    until_answered("LAN reaches the cloud", site.lan, AZURE.host, 10)
    ping(cloud, LAN_HOST, count=2)


def clean(gateway):
    expect(" vti0:" not in gateway.ip("-o link"), "the device is left")
    left = [line for how in ("", "-6 ") for line in gateway.ip(f"{how}route show table all").splitlines()
            if "proto 179" in line or "proto causeway" in line]
    expect(not left, f"routes are left: {left}")
    rules = gateway.ip("rule show") + gateway.ip("-6 rule show")
    expect("proto 179" not in rules and f"lookup {OWN}" not in rules, f"rules are left: {rules}")


def wire(cell, packets):
    esp = [p for p in packets if p.esp]
    expect(len(esp) > 1000, f"{len(esp)} ESP packets of {len(packets)}")
    wrong = [p for p in esp if p.esp[2] != (cell == "udp")]
    expect(not wrong, lambda: f"{len(wrong)} of {len(esp)} ESP packets in the other form: {wrong[0]}")
    expect(any(p.source.startswith("2001:") == (cell == "native-ipv6") for p in esp), "the wrong family outside")
    # Destination unreachable and parameter problem: what a kernel says of a protocol or port it thinks nobody has.
    said = [p for p in packets if (p.protocol == 1 and p.payload[:1] == b"\x03") or (p.protocol == 58 and p.payload[:1] in (b"\x01", b"\x04"))]
    said = [p for p in said if p.source in (GATEWAY, GATEWAY6)]
    expect(not said, lambda: f"the gateway's kernel complained {len(said)} times: {said[0]} {said[0].payload[:48].hex()}")
    in_clear = inner_in_clear(packets)
    expect(not in_clear, lambda: f"{len(in_clear)} packets in clear: {in_clear[0]}")
    twice = repeated_sequences(packets)
    expect(not twice, lambda: f"(SPI, sequence) seen twice: {twice[0]}")
