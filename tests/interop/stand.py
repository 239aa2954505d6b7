"""What most cases stand on: the example's site, one head-end, and causeway between them."""

import struct

from lab.capture import Capture, inner_in_clear, repeated_sequences
from lab.causeway import Causeway, example
from lab.headend import KINDS, TRANSPORTS, HeadEnd
from lab.shell import expect, wait_until
from lab.strongswan import Ipsec
from lab.toml_text import merge
from lab.topology import AZURE, LAN_HOST, Site
from lab.traffic import ping, traceroute


class Stand:
    """Site, head-end and causeway, told to meet in one way."""

    def __init__(self, lab, kind="libipsec", routing="bird", start="initiate", transport="auto", ipsec=None, bgp=None,
                 changes=None, site=None):
        self.lab, self.kind, self.transport = lab, KINDS[kind], transport
        nat = transport == "nat"
        self.site = site or Site(lab, nat=nat, forward_ike=nat and start == "respond")
        peer = ipsec or Ipsec()
        peer.initiate = start == "respond"
        if nat and not peer.initiate:
            peer.remote = "%any"
        if transport == "native-esn":
            peer.esp += "-esn"
        self.headend = HeadEnd(self.site, kind=kind, routing=routing, ipsec=peer, bgp=bgp)
        tree = example(self.site)
        mine = tree["tunnel"]["azure"]
        mine["start"] = start
        mine["ike"]["proposals"], mine["esp"]["proposals"] = [peer.ike], [peer.esp]
        if transport == "forced-udp" and self.kind.native_esp:
            mine["esp"]["encapsulation"] = "always"
        self.causeway = Causeway(self.site, merge(tree, changes or {}))
        self.lan, self.cloud = self.site.lan, self.headend.cloud_host

    def start(self, bgp=True, wait=True):
        """Starts both ends; with `wait`, until the tunnel is up with BGP."""
        self.headend.start(bgp=bgp)
        self.causeway.start()
        if wait:
            self.causeway.wait_up()
            self.routed()
        return self

    def routed(self, timeout=10):
        """Waits for the learned prefix in the kernel, in whatever table."""
        wait_until("the cloud's prefix leads into the tunnel", lambda: any(
            "172.16.0.0/22" in line and "vti0" in line and "unreachable" not in line
            for line in self.site.gateway.ip("route show table all").splitlines()), timeout)

    def dial_on_demand(self):
        """The packet that makes an on-demand tunnel dial, once its way leads into the tunnel: it is sent but once."""
        wait_until("the way into the tunnel", lambda: "vti0" in self.site.gateway.ip(f"route get {AZURE.peering}"), 20, 0.05)
        ping(self.lan, AZURE.peering, count=1, check=False, timeout=1)

    def capture_wan(self, name="wan", snaplen=2048):
        return Capture(self.site.gateway, "wan0", name, snaplen=snaplen, split=True)

    # -- what is to be true of a tunnel that is up

    def ends_agree(self):
        """Both ends name the same pair of SPIs."""
        def same():
            ours, theirs = self.causeway.spis(), self.headend.charon.spis()
            return ours and theirs and ours == (theirs[1], theirs[0])
        wait_until("both ends name the same SPIs", same, 20)

    def routes_right(self):
        """Learned routes in the kernel and in the pages, the echo kept out, ours at the peer."""
        gateway, causeway = self.site.gateway, self.causeway
        line = wait_until("the cloud's prefix in the kernel", lambda: gateway.ip("route show 172.16.0.0/22").strip(), 20)
        for word in ("dev vti0", "src 192.168.1.1", "metric 20"):
            expect(word in line, f"{word!r} is not in the kernel's route: {line}")
        received = causeway.received()
        expect({"172.16.0.0/22", "192.168.1.0/24", "192.168.1.1/32"} <= set(received), f"received-routes: {sorted(received)}")
        expect(received["172.16.0.0/22"]["accepted"], f"172.16.0.0/22: {received['172.16.0.0/22']['verdict']}")
        for echo in ("192.168.1.1/32", "192.168.1.0/24"):
            expect(not received[echo]["accepted"] and not received[echo]["best"], f"{echo} was let in: {received[echo]}")
            expect("vti0" not in gateway.ip(f"route show {echo}"), f"the echo {echo} is in the kernel's table")
        wait_until("our prefix at the head-end", lambda: self.headend.routing.received() == {"192.168.1.0/24"}, 20)

    def reaches(self, count=3):
        """LAN host and cloud host reach each other."""
        ping(self.lan, AZURE.host, count=count)
        ping(self.cloud, LAN_HOST, count=count)

    def hops_right(self):
        hops = traceroute(self.lan, AZURE.host)
        expect(hops == ["192.168.1.1", AZURE.peering, AZURE.host], f"the hops are {hops}")

    def wire_right(self, packets):
        """ESP in the form the cell asks for, IKE, nothing else of ours, no sequence twice."""
        esp = [p for p in packets if p.esp]
        expect(esp and any(p.ike for p in packets), "no ESP or no IKE on the wire")
        udp = not self.transport.startswith("native") and (self.transport != "auto" or not self.kind.native_esp)
        wrong = [p for p in esp if p.esp[2] != udp]
        expect(not wrong, lambda: f"{len(wrong)} of {len(esp)} ESP packets travel {'natively' if udp else 'in UDP'}: {wrong[0]}")
        in_clear = inner_in_clear(packets)
        expect(not in_clear, lambda: f"{len(in_clear)} packets in clear on the WAN: {in_clear[0]}")
        twice = repeated_sequences(packets)
        expect(not twice, lambda: f"(SPI, sequence) seen twice: {twice[0]}")


def mss_of(packet):
    """The MSS option of a TCP SYN, or None."""
    segment = packet.payload
    if packet.protocol != 6 or len(segment) < 20 or not segment[13] & 2:
        return None
    options = segment[20:(segment[12] >> 4) * 4]
    while options:
        if options[0] == 0:
            return None
        if options[0] == 1:
            options = options[1:]
        elif options[0] == 2:
            return struct.unpack("!H", options[2:4])[0]
        else:
            options = options[max(2, options[1]):]
    return None


def possible(kind, transport):
    """None, or why a cell cannot be."""
    return None if TRANSPORTS[transport](KINDS[kind]) else "n/a by peer"
