"""Two uplinks: a tunnel whose `local` is the second uplink's address leaves by the second uplink, though the host's
default route leads by the first. `two-peers`: a tunnel by each uplink, to a peer each. `own`: the same with learned
routes in a table of their own, whose marked packets look into `main` first. `one-peer`: both tunnels go to one
address of one peer. With rp_filter 0, 1 and 2. Proven on both uplinks: IKE and ESP of each tunnel, both ways, pass by
the uplink that holds its address and no packet of it by the other; while the second uplink is down (switched off, or
without carrier) nothing leaves by the first in its name, its tunnel says that there is no path, and the first tunnel loses
no echo; when it is back its tunnel is back, by it. `list`: with both addresses as `local` the tunnel goes on by the
first uplink while the second is down. A clean stop leaves no rule and no route.
"""

import re
import time

from lab.capture import Capture
from lab.case import Steps
from lab.causeway import Causeway, and_second, example, tunnel
from lab.headend import HeadEnd
from lab.netns import link
from lab.shell import expect, wait_until
from lab.strongswan import Ipsec
from lab.toml_text import Inline, merge
from lab.topology import AZURE, GATEWAY, LAN_HOST, SECOND, Site
from lab.traffic import ping, until_answered

FIRST, OTHER, NEXT_HOP = GATEWAY, "100.65.0.1", "100.65.0.254"
WAY = f"default via {NEXT_HOP} dev wan1 metric 200"
DPD = Inline(delay="2s", timeout="4s")
# In the one-peer cells each tunnel has a half of the cloud and of the LAN: the peer's policies must not overlap.
HALVES = {
    "azure": ("172.16.0.0/23", AZURE.host, "192.168.1.0/25", LAN_HOST),
    "other": ("172.16.2.0/23", "172.16.2.10", "192.168.1.128/25", "192.168.1.200"),
}


def cells(_full):
    return [f"{kind}-rp{n}" for kind in ("two-peers", "one-peer") for n in (0, 1, 2)] + ["own-rp1", "list-rp2"]


def run(lab, cell):
    step = Steps()
    kind, _, number = cell.rpartition("-rp")
    place = {"two-peers": TwoPeers, "own": TwoPeers, "one-peer": OnePeer, "list": Either}[kind](lab, int(number), kind == "own")
    wires = {device: Capture(place.site.gateway, device, device) for device in ("wan0", "wan1")}
    place.start()
    place.carries()
    step("both tunnels carry packets")
    rekeyed(place)
    place.carries()
    apart(place, {device: wire.packets() for device, wire in wires.items()})
    step("each tunnel by its own uplink, rekeyed too")
    down = second_down(place, carrier=int(number) == 1)
    step("the second uplink is down")
    place.meanwhile()
    since = {device: wire.packets() for device, wire in wires.items()}["wan0"]
    stray = [p for p in since if p.time > down and OTHER in (p.source, p.destination)]
    expect(not stray, lambda: f"{len(stray)} packets in the second uplink's name on the first: {stray[0]}")
    step("nothing by the first in its name")
    second_up(place)
    place.back()
    begun = time.time()
    rekeyed(place)
    place.carries()
    after = {device: [p for p in wire.stop() if p.time > begun] for device, wire in wires.items()}
    if kind != "list":
        apart(place, after)
    step("and back")
    left_nothing(place)
    step("a clean stop left nothing")


class Place:
    """The site with its second uplink; what differs is who is behind."""

    tunnels = ()

    def __init__(self, lab, rp_filter, own_table):
        self.lab = lab
        self.site = site = Site(lab, rp_filter=rp_filter)
        link(site.gateway, "wan1", f"{OTHER}/24", site.internet, "site1", f"{NEXT_HOP}/24")
        site.gateway.sysctl("net.ipv4.conf.wan1.rp_filter", rp_filter)
        site.gateway.ip(f"route add {WAY}")
        self.table = "100" if own_table else "main"
        self.tree = self.build()
        if own_table:
            self.tree["routes"] = {"table": 100}
        self.causeway = Causeway(site, self.tree)
        self.stream = None

    def carries(self):
        """Echoes through every tunnel, from both sides."""
        for name in self.tunnels:
            host = self.host(name)
            until_answered(f"{host} answers", self.site.lan, host, 15, self.source(name))
            ping(self.site.lan, host, source=self.source(name))

    def source(self, _name):
        """Who on the LAN speaks through a tunnel."""
        return LAN_HOST

    def meanwhile(self):
        """While the second uplink is down: the first tunnel loses nothing, the second says why it is down."""
        name = self.tunnels[1]
        ping(self.site.lan, self.host(self.tunnels[0]), count=20, interval=0.1)
        wait_until("the second tunnel has no path", lambda: self.causeway.why(name)[0] == "no-path", 20)

    def back(self):
        name = self.tunnels[1]
        wait_until("the second tunnel is back", lambda: self.causeway.ipsec_up(name), 60)


class TwoPeers(Place):
    """A head-end behind each uplink, BGP with both."""

    tunnels = ("azure", "second")

    def build(self):
        self.ends = [
            HeadEnd(self.site, "libipsec", "bird"),
            HeadEnd(self.site, "libipsec", "bird", cloud=SECOND, ipsec=Ipsec(local_id=SECOND.outer, remote=OTHER), echo=False)]
        return merge(and_second(example(self.site), self.site, SECOND), {"tunnel": {
            "azure": {"ike": {"dpd": DPD}}, "second": {"local": OTHER, "ike": {"dpd": DPD}}}})

    def start(self):
        for end in self.ends:
            end.start()
        self.causeway.start()
        for name in self.tunnels:
            self.causeway.wait_up(name)

    def back(self):
        super().back()
        self.causeway.wait_up("second")

    def host(self, name):
        return {"azure": AZURE, "second": SECOND}[name].host


class OnePeer(Place):
    """One head-end with a connection to each uplink; no BGP."""

    tunnels = ("azure", "other")

    def build(self):
        self.end = HeadEnd(self.site, "libipsec", "bird")
        self.end.cloud_host.ip(f"addr add {HALVES['other'][1]}/{AZURE.length} dev eth0")
        self.site.lan.ip(f"addr add {HALVES['other'][3]}/24 dev eth0")
        # libipsec wants an address of its own in each half.
        self.end.host.ip(f"addr add 172.16.2.254/{AZURE.length} dev cloud0")
        found = {}
        for number, (name, local) in enumerate((("azure", FIRST), ("other", OTHER))):
            half, _, mine, _ = HALVES[name]
            found[name] = tunnel(
                self.site, device=f"vti{number}", local=local, local_id=local, psk=Inline(file=f"{name}.psk"), ike={"dpd": DPD},
                esp={"local_ts": [mine], "remote_ts": [half]}, interface={"routes": [half]})
        return {"tunnel": found}

    def start(self):
        self.end.start_ipsec_daemon()
        self.end.make_way()
        self.end.host.ip("route replace 192.168.1.0/24 dev ipsec0")
        self.end.charon.load({name: Ipsec(
            local=AZURE.outer, local_id=AZURE.outer, remote=local, remote_id=local, local_ts=HALVES[name][0],
            remote_ts=HALVES[name][2]) for name, local in (("azure", FIRST), ("other", OTHER))})
        self.causeway.start()
        for name in self.tunnels:
            wait_until(f"tunnel {name}", lambda: self.causeway.ipsec_up(name), 20)

    def host(self, name):
        return HALVES[name][1]

    def source(self, name):
        return HALVES[name][3]


class Either(TwoPeers):
    """The second tunnel may leave by either uplink, the second first."""

    def build(self):
        tree = super().build()
        self.ends[1].ipsec.remote = "%any"
        return merge(tree, {"tunnel": {"second": {"local": [OTHER, FIRST]}}})

    def meanwhile(self):
        wait_until("the second tunnel goes on from the first uplink's address",
                   lambda: self.causeway.status("second")["local"] == FIRST and self.causeway.ipsec_up("second"), 40)
        self.causeway.wait_up("second")
        self.carries()

    def back(self):
        """It stays where it is; dialled anew it takes the first of its list again."""
        self.causeway.client("clear", "ike", "second")
        wait_until("the second tunnel is by the second uplink",
                   lambda: self.causeway.status("second")["local"] == OTHER and self.causeway.up("second"), 60)


def rekeyed(place):
    """Both kinds, so that IKE speaks."""
    for name in place.tunnels:
        place.causeway.client("rekey", name, "--ike")
        place.causeway.client("rekey", name, "--child")


def apart(place, wires):
    """What has an uplink's address is on that uplink, IKE and ESP, both ways; and nowhere else."""
    for device, own, foreign in (("wan0", FIRST, OTHER), ("wan1", OTHER, FIRST)):
        packets = [p for p in wires[device] if p.esp or p.ike]
        stray = [p for p in packets if foreign in (p.source, p.destination)]
        expect(not stray, lambda: f"{len(stray)} packets of {foreign} on {device}: {stray[0]}")
        for what, some in (("IKE", [p for p in packets if p.ike]), ("ESP", [p for p in packets if p.esp])):
            ways = {p.source == own for p in some}
            expect(ways == {True, False}, f"{what} on {device} went {'one way' if ways else 'neither way'} alone")


def second_down(place, carrier):
    """Takes the second uplink away while packets flow into its tunnel; the time from which nothing may leave."""
    gateway = place.site.gateway
    name = place.tunnels[1]
    place.stream = place.site.lan.spawn("stream", ["ping", "-n", "-q", "-i", "0.02", "-I", place.source(name), place.host(name)])
    if carrier:
        place.site.internet.ip("link set site1 down")
    else:
        gateway.ip("link set wan1 down")
    peer = SECOND.outer if name == "second" else AZURE.outer

    def way():
        return gateway.run(["ip", "route", "get", peer, "from", OTHER], check=False)
    # Before DPD could find it.
    wait_until("no way for the second uplink's packets", lambda: not {"wan0", "wan1"} & set(way().out.split()), 3, 0.05)
    return time.time()


def second_up(place):
    place.stream.stop(2)
    place.site.internet.ip("link set site1 up")
    place.site.gateway.ip("link set wan1 up")
    # A switched off link lost its routes, one without carrier did not.
    place.site.gateway.ip(f"route replace {WAY}")


def left_nothing(place):
    gateway = place.site.gateway
    place.causeway.stop()
    rules = gateway.ip("rule show") + gateway.ip("-6 rule show")
    expect(not re.search(r"^(?!0:|32766:|32767:)\S", rules, re.M), f"a rule is left:\n{rules}")
    routes = gateway.ip("route show table all")
    expect(not re.search(r"proto (179|causeway)", routes), f"a route is left:\n{routes}")
    expect(LAN_HOST.rpartition(".")[0] in routes, f"the host's own routes went:\n{routes}")
