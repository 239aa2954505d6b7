"""The laboratory itself, without causeway: strongSwan with kernel-libipsec takes the gateway's
place and talks to each kind of head-end over UDP-encapsulated ESP, and a second kernel with VTI to the
kernel head-end over protocol 50 with ESN, with BIRD at the gateway.
Proven: IKE and CHILD SA up and parsed at both ends, BGP established, the LAN host and the cloud
host reach each other, a probe of 1,000 packets a second loses nothing, a transfer arrives whole,
a CHILD rekey changes both SPIs, nothing in clear on the WAN, and nothing is left behind.
"""

import time

from lab.capture import Capture, inner_in_clear, repeated_sequences
from lab.case import Steps
from lab.headend import VTI_KEY, HeadEnd, make_vti
from lab.routing import Bgp, Bird
from lab.shell import expect, wait_until
from lab.strongswan import Ipsec, StrongSwan
from lab.topology import AZURE, LAN_HOST, Site
from lab.traffic import Probe, lossless, ping, traceroute, transfer

ALONE = True


def cells(full):
    few = ["kernel-native", "libipsec-nat"]
    return few + ["libipsec-bird", "libipsec-frr", "kernel-bird", "kernel-frr"] if full else few


def run(lab, cell):
    step = Steps()
    kind, _, rest = cell.partition("-")
    native = rest == "native"
    site = Site(lab, nat=rest == "nat", guest=native)
    headend = HeadEnd(site, kind=kind, routing="frr" if rest in ("frr", "native") else "bird")
    if rest == "nat":
        headend.ipsec.remote = "%any"
    if native:
        headend.ipsec.esp = "aes256-sha1-esn"
    headend.start()
    step("head-end started")
    capture = Capture(site.internet, "site0", "wan")
    mine = StrongSwan(site.gateway, "site", Ipsec(
        local=site.outer, remote=AZURE.outer, local_id="203.0.113.1", remote_id=AZURE.outer, initiate=True,
        esp=headend.ipsec.esp, mark=VTI_KEY if native else 0), libipsec=not native)
    mine.start()
    device = "vti0" if native else "ipsec0"
    if native:
        make_vti(site.gateway, site.outer)
    wait_until(device, lambda: device in site.gateway.ip("-o link"), 10)
    site.gateway.ip(f"route add {AZURE.peering}/32 dev {device} src 192.168.1.1")
    bird = Bird(site.gateway, "site", Bgp(asn=65510, router_id="203.0.113.1", source="192.168.1.1", neighbor=AZURE.peering,
                                          neighbor_asn=65515, device=device, advertise=["192.168.1.0/24"]))
    bird.start()
    mine.load()
    ike = wait_until("tunnel up at the gateway", mine.established, 20)
    other = wait_until("tunnel up at the head-end", headend.charon.established, 10)
    expect(ike.children[0].spi_in == other.children[0].spi_out, "the ends disagree about an SPI")
    step("IPsec up at both ends")
    wait_until("BGP up at the gateway", bird.established, 30)
    wait_until("BGP up at the head-end", headend.routing.established, 10)
    wait_until("the site's prefix at the head-end", lambda: headend.routing.received() == {"192.168.1.0/24"}, 10)
    wait_until("the cloud's prefixes at the gateway",
               lambda: {"172.16.0.0/22", "192.168.1.0/24", "192.168.1.1/32"} <= bird.received(), 10)
    wait_until("the route in the kernel", lambda: device in site.gateway.ip("route show 172.16.0.0/22"), 10)
    step("BGP up, routes exchanged")
    ping(site.lan, AZURE.host)
    ping(headend.cloud_host, LAN_HOST)
    hops = traceroute(site.lan, AZURE.host)
    expect(hops == ["192.168.1.1", AZURE.peering, AZURE.host], f"hops: {hops}")
    step("ping both ways, traceroute")
    before = headend.charon.spis()
    probe = Probe(site.lan, LAN_HOST, headend.cloud_host, AZURE.host).started()
    time.sleep(2)
    lossless(probe)
    step("2 s at 1,000 packets a second each way, none lost")
    mine.rekey_child()
    wait_until("other SPIs", lambda: headend.charon.spis() not in (None, before), 10)
    step("rekeyed by hand")
    transfer(site.lan, headend.cloud_host, AZURE.host, 2_000_000)
    transfer(headend.cloud_host, site.lan, LAN_HOST, 2_000_000)
    step("transfers both ways")
    packets = capture.stop()
    esp = [p.esp for p in packets if p.esp]
    expect(esp and any(p.ike for p in packets), "no ESP or IKE on the wire")
    expect(all(udp != native for _, _, udp in esp), "ESP in the wrong form")
    expect(not inner_in_clear(packets), lambda: f"in clear: {inner_in_clear(packets)[0]}")
    expect(not repeated_sequences(packets), lambda: f"sequence seen twice: {repeated_sequences(packets)[0]}")
    step(f"{len(packets)} packets judged on the wire")
