"""Head-ends: a host, a charon and a routing daemon that together play a cloud's gateway."""

from dataclasses import dataclass

from .routing import DAEMONS, Bgp
from .shell import wait_until
from .strongswan import Ipsec, StrongSwan
from .topology import AZURE, LAN_GATEWAY

VTI_KEY = 42


@dataclass(frozen=True)
class Kind:
    """What a peer can do; the matrix is made from this."""

    name: str
    native_esp: bool
    udp_esp: bool
    esn: bool
    guest: bool
    device: str


KINDS = {
    "kernel": Kind("kernel", native_esp=True, udp_esp=True, esn=True, guest=True, device="vti0"),
    "libipsec": Kind("libipsec", native_esp=False, udp_esp=True, esn=False, guest=False, device="ipsec0"),
}

# How ESP travels in a cell, and what of the peer it needs.
TRANSPORTS = {
    "native": lambda kind: kind.native_esp,
    "native-esn": lambda kind: kind.native_esp and kind.esn,
    "forced-udp": lambda kind: kind.udp_esp,
    "nat": lambda kind: kind.udp_esp,
}


def make_vti(host, local, device="vti0"):
    """A VTI of the guest's kernel over the family of `local`, to any remote address: the peer may come through a NAT."""
    kind = "vti6" if ":" in local else "vti"
    host.ip(f"link add {device} type {kind} local {local} ikey {VTI_KEY} okey {VTI_KEY}")
    host.ip(f"link set {device} up mtu 1400")
    host.sysctl(f"net.ipv4.conf.{device}.disable_policy", 1)
    host.sysctl(f"net.ipv4.conf.{device}.rp_filter", 0)


class HeadEnd:
    """One cloud gateway of the given kind, not started yet."""

    def __init__(self, site, kind="libipsec", routing="bird", cloud=AZURE, ipsec=None, bgp=None, echo=True):
        self.site, self.kind, self.cloud = site, KINDS[kind], cloud
        self.host, self.cloud_host = site.attach_guest(cloud) if self.kind.guest else site.attach_host(cloud, guest=False)
        self.ipsec = ipsec or Ipsec()
        self.ipsec.local = cloud.outer
        self.ipsec.local_id = self.ipsec.local_id if ipsec else cloud.outer
        self.ipsec.mark = VTI_KEY if self.kind.guest else 0
        self.charon = StrongSwan(self.host, cloud.name, self.ipsec, libipsec=not self.kind.guest)
        self.bgp = bgp or Bgp()
        self.bgp.asn, self.bgp.router_id, self.bgp.source = cloud.asn, cloud.peering, cloud.peering
        self.bgp.device = self.kind.device
        if not self.bgp.advertise:
            self.bgp.advertise = [cloud.prefix] + (["192.168.1.0/24", "192.168.1.1/32"] if echo else [])
        self.routing = DAEMONS[routing](self.host, cloud.name, self.bgp)

    def start(self, bgp=True):
        """Brings everything up to the point where the other side may dial, or is dialled."""
        self.start_ipsec_daemon()
        self.make_way()
        if bgp:
            self.routing.start()
        self.charon.load()
        return self

    def start_ipsec_daemon(self):
        self.charon.start()

    def make_way(self):
        """The tunnel device and the routes into it, as Azure makes them for its peer's BGP address."""
        host, device = self.host, self.kind.device
        if self.kind.guest:
            make_vti(host, self.ipsec.local)
        else:
            wait_until("libipsec's TUN", lambda: device in host.ip("-o link"), 20)
            host.ip(f"link set {device} up")
        host.ip(f"route replace {LAN_GATEWAY}/32 dev {device} src {self.cloud.peering}")
        if self.routing.kind == "frr":
            host.ip(f"route replace 192.168.1.0/24 dev {device} src {self.cloud.peering} metric 200")

    def up(self):
        return self.charon.established() is not None

    def stop(self):
        self.routing.stop()
        self.charon.stop()


def cells(kinds=tuple(KINDS), transports=tuple(TRANSPORTS)):
    """Every (kind, transport) with whether the peer can do it."""
    return [(k, t, TRANSPORTS[t](KINDS[k])) for k in kinds for t in transports]
