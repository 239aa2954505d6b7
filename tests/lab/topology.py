"""The networks of a case, with the addresses of the shipped example.

    lan ---- gateway ---- [nat] ---- internet ---- head-end ---- cloud
    192.168.1.0/24    203.0.113.0/24         192.0.2.0/24   172.16.0.0/22

The gateway's own address is 203.0.113.1, or behind the NAT router 100.64.0.2, translated to it.
"""

from dataclasses import dataclass

from .netns import bridge, link
from .shell import run
from .uml import Uml, tap

GATEWAY = "203.0.113.1"
BEHIND_NAT = "100.64.0.2"
LAN_HOST = "192.168.1.100"
LAN_GATEWAY = "192.168.1.1"
# The same site in IPv6; every link has both.
GATEWAY6 = "2001:db8:113::1"
LAN6, LAN_HOST6, LAN_GATEWAY6 = "fd01::/64", "fd01::100", "fd01::1"


@dataclass
class Cloud:
    """A head-end's place: its outer address, and the network behind it."""

    name: str = "azure"
    outer: str = "192.0.2.1"
    router: str = "192.0.2.254"
    prefix: str = "172.16.0.0/22"
    peering: str = "172.16.0.254"
    host: str = "172.16.1.10"
    asn: int = 65515
    outer6: str = "2001:db8:2::1"
    router6: str = "2001:db8:2::fe"
    prefix6: str = "fd02::/64"
    peering6: str = "fd02::254"
    host6: str = "fd02::10"

    @property
    def length(self):
        return self.prefix.split("/")[1]


AZURE = Cloud()
SECOND = Cloud("second", "198.51.100.1", "198.51.100.254", "10.20.0.0/22", "10.20.0.254", "10.20.1.10", 65520, "2001:db8:51::1", "2001:db8:51::fe",
               "fd03::/64", "fd03::254", "fd03::10")


def boot(lab, place, name, cards):
    """A guest with its cards (name, TAP, address) up."""
    guest = Uml(lab, place, name, [tap for _, tap, _ in cards])
    for number, (device, _, address) in enumerate(cards):
        guest.ip(f"link set vec{number} name {device}")
        guest.ip(f"addr add {address} dev {device}")
        guest.ip(f"link set {device} up")
    return guest


class Site:
    """LAN host, gateway, optional NAT router and the internet; head-ends are added."""

    def __init__(self, lab, nat=False, forward_ike=False, rp_filter=0, guest=False):
        """With `guest` the gateway runs on a kernel of its own that has ESP and VTI loaded."""
        self.lab, self.nat = lab, None
        self.lan, self.gateway, self.internet = (lab.namespace(n) for n in ("lan", "gw", "net"))
        if guest:
            self._in_guest()
        else:
            link(self.lan, "eth0", f"{LAN_HOST}/24", self.gateway, "lan0", f"{LAN_GATEWAY}/24")
        self.lan.ip(f"route add default via {LAN_GATEWAY}")
        self.gateway.forwarding()
        self.internet.forwarding()
        for scope in ("all", "default", "lan0"):
            self.gateway.sysctl(f"net.ipv4.conf.{scope}.rp_filter", rp_filter)
        if guest:
            self.gateway.ip("route add default via 203.0.113.254")
        elif nat:
            self._behind_nat(forward_ike)
        else:
            link(self.gateway, "wan0", f"{GATEWAY}/24", self.internet, "site0", "203.0.113.254/24")
            self.gateway.ip("route add default via 203.0.113.254")
        self.gateway.sysctl("net.ipv4.conf.wan0.rp_filter", rp_filter)
        if not nat:
            self._address6()
        self.outer = BEHIND_NAT if nat else GATEWAY
        self.public = GATEWAY

    def _address6(self):
        for host, device, address in (
            (self.lan, "eth0", LAN_HOST6), (self.gateway, "lan0", LAN_GATEWAY6), (self.gateway, "wan0", GATEWAY6),
            (self.internet, "site0", "2001:db8:113::fe"),
        ):
            host.ip(f"addr add {address}/64 dev {device} nodad")
        self.lan.ip(f"route add default via {LAN_GATEWAY6}")
        self.gateway.ip("route add default via 2001:db8:113::fe")

    def _in_guest(self):
        place = self.gateway
        link(self.lan, "eth0", f"{LAN_HOST}/24", place, "in0", None)
        link(place, "out0", None, self.internet, "site0", "203.0.113.254/24")
        bridge(place, "br-lan", "in0", tap(place, "lan"))
        bridge(place, "br-wan", "out0", tap(place, "wan"))
        self.gateway = boot(self.lab, place, "gateway", (
            ("lan0", "lan", f"{LAN_GATEWAY}/24"), ("wan0", "wan", f"{GATEWAY}/24")))

    def _behind_nat(self, forward_ike):
        self.nat = self.lab.namespace("nat")
        self.nat.forwarding()
        link(self.gateway, "wan0", f"{BEHIND_NAT}/24", self.nat, "in0", "100.64.0.1/24")
        link(self.nat, "out0", f"{GATEWAY}/24", self.internet, "site0", "203.0.113.254/24")
        self.gateway.ip("route add default via 100.64.0.1")
        self.nat.ip("route add default via 203.0.113.254")
        self.translate(forward_ike)

    def translate(self, forward_ike=False, port=None):
        """(Re)writes the NAT's rules; `port` makes it use that outer port for IPsec from now on."""
        to = f"udp sport 4500 snat to {GATEWAY}:{port}\n" if port else ""
        forward = f"udp dport {{ 500, 4500 }} dnat to {BEHIND_NAT}\n" if forward_ike else ""
        self.nat.nft(
            "flush ruleset\n"
            "table ip nat {\n"
            f"chain post {{\ntype nat hook postrouting priority 100; policy accept;\noifname != \"out0\" accept\n{to}masquerade random\n}}\n"
            f"chain pre {{\ntype nat hook prerouting priority -100; policy accept;\niifname != \"out0\" accept\n{forward}}}\n"
            "}\n"
            # A NAT of the real world passes no protocol 50.
            "table ip plain {\n"
            "chain forward {\ntype filter hook forward priority 0; policy accept;\nip protocol esp drop\n}\n"
            "}\n"
        )

    def cut_mtu(self, cloud, mtu):
        """Makes the way between the internet and a head-end carry only `mtu` bytes from the site's side.

        By a route: a device of that MTU would drop what comes back larger, and say so to nobody.
        """
        for outer in (f"{cloud.outer}/32", f"{cloud.outer6}/128"):
            self.internet.ip(f"route replace {outer} dev to-{cloud.name} mtu lock {mtu}")

    def attach_host(self, cloud, guest):
        """The head-end's and the cloud host's namespaces with their links.

        Returns the namespace in which the head-end lives; for a guest, the one with its TAPs,
        named wan and cloud, each in a bridge with the link outside.
        """
        edge = self.lab.namespace(f"e-{cloud.name}")
        host = self.lab.namespace(f"h-{cloud.name}")
        if guest:
            link(edge, "out0", None, self.internet, f"to-{cloud.name}", f"{cloud.router}/24")
            link(edge, "in0", None, host, "eth0", f"{cloud.host}/{cloud.length}")
            bridge(edge, "br-wan", "out0", tap(edge, "wan"))
            bridge(edge, "br-cloud", "in0", tap(edge, "cloud"))
        else:
            link(edge, "wan0", f"{cloud.outer}/24", self.internet, f"to-{cloud.name}", f"{cloud.router}/24")
            link(edge, "cloud0", f"{cloud.peering}/{cloud.length}", host, "eth0", f"{cloud.host}/{cloud.length}")
            edge.ip(f"route add default via {cloud.router}")
            edge.forwarding()
            self._cloud6(cloud, edge, host)
        host.ip(f"route add default via {cloud.peering}")
        return edge, host

    def attach_guest(self, cloud):
        """As attach_host, with the head-end a guest of its own kernel."""
        edge, host = self.attach_host(cloud, guest=True)
        guest = boot(self.lab, edge, cloud.name, (
            ("wan0", "wan", f"{cloud.outer}/24"), ("cloud0", "cloud", f"{cloud.peering}/{cloud.length}")))
        guest.ip(f"route add default via {cloud.router}")
        guest.forwarding()
        self._cloud6(cloud, guest, host)
        return guest, host

    def _cloud6(self, cloud, edge, host):
        for place, device, address in (
            (edge, "wan0", cloud.outer6), (self.internet, f"to-{cloud.name}", cloud.router6),
            (edge, "cloud0", cloud.peering6), (host, "eth0", cloud.host6),
        ):
            place.ip(f"addr add {address}/64 dev {device} nodad")
        edge.ip(f"route add default via {cloud.router6}")
        host.ip(f"route add default via {cloud.peering6}")


def namespaces_of(lab_name):
    """Names of the namespaces that a run has now."""
    return [l.split()[0] for l in run(["ip", "netns", "list"]).out.splitlines() if l.startswith(lab_name + "-")]
