"""BGP with the daemons people run, FRR and BIRD, on a link of its own: no tunnel stands between, since the session is
the subject. Proven with each: IPv6 routes over an IPv4 session and over an IPv6 one, both ways; End-of-RIB heard; the
pages carry what an operator looks for; a route refresh asked for by either side is answered with the whole table;
redistributed subnets arrive and go; both sides dial at once, until it happened twice, and one connection remains on
both; one prefix too many ends the session, which comes back by itself; the words of a stop reach the peer. With FRR:
routes whose next hop moves to another link follow it, and while
no way leads to it they have no part in the decision; times of day, round-trip time and segment size are about FRR's. With BIRD: learned routes stand in a table given by name, and
after a reload that begins a session anew the peer can call. `stale`: behind a tunnel, a prefix that FRR stopped
announcing while the gateway was killed is refused until FRR has said its End-of-RIB, and then swept.
"""

import os
import re
import shutil
import signal
import time
from types import SimpleNamespace

from lab.case import Steps
from lab.causeway import Causeway
from lab.netns import link
from lab.routing import Bgp, Bird, Frr
from lab.shell import expect, wait_until
from lab.topology import AZURE

from .stand import Stand

OURS, THEIRS, OURS6, THEIRS6 = "10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"
# FRR's identifier is higher than ours, and BIRD's lower: of two connections FRR chooses, and beside BIRD we do.
# Where the routes of the IPv4 session point: behind the first link, later behind the second.
HOP = "10.9.9.9"
CLOUD, CLOUD6, LAN, LAN6 = "172.16.0.0/22", "fd02::/64", "192.168.1.0/24", "fd01::/64"
TABLE = "clouds"

FRR = """frr defaults traditional
hostname far
!
router bgp 65515
 bgp router-id {theirs}
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 neighbor {ours} remote-as 65510
 neighbor {ours} ebgp-multihop 2
 neighbor {ours} timers 3 9
 neighbor {ours} timers connect 2
 neighbor {ours6} remote-as 65510
 neighbor {ours6} timers connect 2
 address-family ipv4 unicast
  network {cloud}
  neighbor {ours} activate
  neighbor {ours} route-map AWAY out
 exit-address-family
 address-family ipv6 unicast
  network {cloud6}
  neighbor {ours} activate
  neighbor {ours6} activate
 exit-address-family
!
route-map AWAY permit 10
 set ip next-hop {hop}
!
"""

BIRD = """log "{log}" all;
debug protocols {{ states, events }};
router id {low};
protocol device {{ }}
protocol static four {{ ipv4; {routes} }}
protocol static six {{ ipv6; route {cloud6} blackhole; }}
template bgp far {{
  local as 65515;
  connect retry time 2; connect delay time 1; error wait time 1, 4;
  ipv6 {{ import all; export where source = RTS_STATIC; next hop self; }};
}}
protocol bgp site from far {{
  neighbor {ours} as 65510; multihop 2; source address {theirs}; hold time 9;
  ipv4 {{ import all; export where source = RTS_STATIC; next hop self; }};
  ipv6 {{ import all; export where source = RTS_STATIC; next hop address {theirs6}; }};
}}
protocol bgp site6 from far {{ neighbor {ours6} as 65510; source address {theirs6}; }}
"""

WORDS = {"ours": OURS, "theirs": THEIRS, "ours6": OURS6, "theirs6": THEIRS6, "cloud": CLOUD, "cloud6": CLOUD6, "hop": HOP,
         "low": "9.0.0.1"}


class FarFrr(Frr):
    """FRR as this case's peer."""

    patience = 8  # seconds until it has surely dialled

    def _write(self):
        self.generation += 1
        path = f"{self.directory}/frr-{self.generation}.conf"
        with open(path, "w") as file:
            file.write(FRR.format(**WORDS))
        return path

    def configure(self, *lines):
        words = [word for line in ("configure terminal", *lines) for word in ("-c", line)]
        self.host.run(["vtysh", "--vty_socket", self.sockets, "-d", "bgpd", *words])

    def announce(self, prefixes):
        self.configure("router bgp 65515", "address-family ipv4 unicast", *(f"network {p}" for p in prefixes))

    def withdraw(self, prefixes):
        self.configure("router bgp 65515", "address-family ipv4 unicast", *(f"no network {p}" for p in prefixes))

    def learned(self, family, neighbor):
        """Prefixes heard from the neighbour."""
        return set(self._json(f"show bgp {family} unicast neighbors {neighbor} routes").get("routes", {}))

    def ask_again(self):
        self.vtysh(f"clear bgp ipv4 unicast {OURS} soft in")

    def refreshes_heard(self):
        return self._json(f"show bgp neighbors {OURS}")[OURS]["messageStats"]["routeRefreshRecv"]

    def neighbor_page(self):
        """Its own page of the session."""
        return self._json(f"show bgp neighbors {OURS}")[OURS]

    def restart(self):
        self.vtysh(f"clear bgp {OURS}")

    def last_words(self):
        return self._json(f"show bgp neighbors {OURS}").get(OURS, {}).get("lastShutdownDescription", "") or self.state_text()

    def state_text(self):
        return self.vtysh(f"show bgp neighbors {OURS}") + "".join(process.output()[-4000:] for process in self.processes)


class FarBird(Bird):
    """BIRD as this case's peer."""

    extra, patience = (), 3

    def text(self):
        routes = " ".join(f"route {p} blackhole;" for p in (CLOUD, *self.extra))
        return BIRD.format(log=self.log, routes=routes, **WORDS)

    def announce(self, prefixes):
        self.extra = (*self.extra, *prefixes)
        self.reload()

    def withdraw(self, prefixes):
        self.extra = tuple(p for p in self.extra if p not in prefixes)
        self.reload()

    def learned(self, family, neighbor):
        name = "site" if neighbor == OURS else "site6"
        return {p for p in self.routes("protocol", name) if (":" in p) == (family == "ipv6")}

    def ask_again(self):
        self.birdc("reload", "in", "site")

    def refreshes_heard(self):
        return None

    def neighbor_page(self):
        return None  # it has no page of JSON

    def restart(self):
        self.birdc("restart", "site")

    def last_words(self):
        return self.birdc("show", "protocols", "all", "site") + open(self.log).read()[-3000:]


class Place:
    """A gateway, a peer, and two links between them."""

    def __init__(self, lab, kind):
        self.gateway, self.far = lab.namespace("gw"), lab.namespace("far")
        for number in (0, 1):
            link(self.gateway, f"link{number}", f"10.0.{number}.1/24", self.far, f"link{number}", f"10.0.{number}.2/24")
        for host, address in ((self.gateway, OURS6), (self.far, THEIRS6)):
            host.ip(f"addr add {address}/64 dev link0 nodad")
        link(self.gateway, "lan0", "192.168.7.1/24", lab.namespace("lan"), "eth0", "192.168.7.2/24")
        self.gateway.ip(f"route add {HOP} via {THEIRS}")
        self.table = "main"
        if kind == "bird":
            self._name_table(lab)
        # Both may dial from the start.
        daemon = {"frr": FarFrr, "bird": FarBird}[kind]
        self.peer = daemon(self.far, "far", Bgp(neighbor=OURS, asn=65515))
        site = SimpleNamespace(lab=lab, gateway=self.gateway)
        self.causeway = Causeway(site, self.tree())

    def _name_table(self, lab):
        """`ip netns exec` shows a namespace the files of its own folder."""
        own = f"/etc/netns/{self.gateway.name}"
        lab.on_close(lambda: shutil.rmtree(own, ignore_errors=True))
        os.makedirs(f"{own}/iproute2")
        with open(f"{own}/iproute2/rt_tables", "w") as file:
            file.write(f"254 main\n255 local\n253 default\n4711 {TABLE}\n")
        self.table = TABLE

    def tree(self):
        common = {"asn": 65515, "import": "any", "export": "any"}
        return {
            "router": {"id": OURS, "asn": 65510},
            "routes": {"table": self.table},
            "bgp": {
                "networks": [LAN, LAN6], "redistribute": ["connected"],
                "neighbor": {
                    "far": {**common, "address": THEIRS, "source": OURS, "multihop": 2, "hold_time": "9s", "keepalive": "3s",
                            "families": ["ipv4", "ipv6"], "next_hop": OURS6, "max_prefix": 10, "max_prefix_restart": "2s"},
                    "far6": {**common, "address": THEIRS6, "source": OURS6},
                },
            },
        }

    def page(self, name="far"):
        return self.causeway.show("bgp", "neighbors", name)[0]

    def count(self, kind, way, name="far"):
        return next(m[way] for m in self.page(name)["messages"] if m["name"] == kind)

    def up(self, name="far"):
        return self.page(name)["state"] == "Established"

    def kernel(self, prefix):
        """The kernel's route, or nothing."""
        number = "4711" if self.table == TABLE else "254"
        family = "-6 " if ":" in prefix else ""
        return self.gateway.ip(f"{family}route show table {number} {prefix}").strip()

    def connections(self):
        """TCP connections of the IPv4 session, as the gateway's kernel has them."""
        lines = self.gateway.run(["ss", "-tnH", "state", "established"]).out.splitlines()
        return [l for l in lines if f"{THEIRS}:" in l and ":179" in l]


def cells(_full):
    return ["frr", "bird", "stale"]


def run(lab, cell):
    step = Steps()
    if cell == "stale":
        return stale(lab, step)
    place = Place(lab, cell)
    place.peer.start()
    place.causeway.start()
    for name in ("far", "far6"):
        wait_until(f"session {name}", lambda: place.up(name), 20)
    families(place)
    step("IPv4 and IPv6 routes over both sessions, End-of-RIB heard")
    pages(place)
    step("pages with the fields of FRR's")
    refresh(place)
    step("refresh answered both ways")
    redistribution(place)
    step("redistributed subnets follow the interfaces")
    if cell == "frr":
        moving_hop(place)
        step("the next hop moved, and the route with it")
    else:
        called_again(place)
        step("a reload began the session anew, and the peer could call")
    rounds = collisions = 0
    while collisions < 2:
        rounds += 1
        expect(rounds <= 12, f"{collisions} collisions in 12 rounds")
        collisions += collide(place)
    step(f"both dialled at once in {collisions} of {rounds} rounds, and one connection remained")
    too_many(place)
    step("one prefix too many, and back by itself")
    place.causeway.process.send(signal.SIGTERM)
    place.causeway.process.wait(10)
    said = wait_until("the peer shows the words of the stop", lambda: said_goodbye(place), 20)
    step(f"a stop's words at the peer: {said}")


def families(place):
    for prefix in (CLOUD, CLOUD6):
        line = wait_until(f"{prefix} in the kernel", lambda: place.kernel(prefix), 20)
        expect("proto 179" in line and "link0" in line, f"the kernel's route to {prefix}: {line}")
    wait_until("our routes at the peer", lambda: {LAN} <= place.peer.learned("ipv4", OURS), 20)
    for session in (OURS, OURS6):
        wait_until(f"our IPv6 routes by {session}", lambda: {LAN6} <= place.peer.learned("ipv6", session), 20)
    for name, both in (("far", ["ipv4 unicast", "ipv6 unicast"]), ("far6", ["ipv6 unicast"])):
        wait_until(f"End-of-RIB of {name}", lambda: place.page(name)["eorReceived"] == both, 20)
    paths = place.causeway.show("bgp", CLOUD6)["prefixes"][0]["paths"]
    expect(sorted(p["peer"] for p in paths) == ["far", "far6"], f"the paths to {CLOUD6}: {paths}")
    expect(all(p["nexthop"] == THEIRS6 for p in paths), f"the next hops to {CLOUD6}: {paths}")


def pages(place):
    """The fields that people's eyes and scripts look for in FRR's pages, as JSON and in words."""
    have = lambda page, words: expect(not set(words.split()) - set(page), lambda: f"missing: {set(words.split()) - set(page)}")
    summary = place.causeway.show("bgp", "summary")
    have(summary, "routerId as vrfId vrfName tableVersion ribCount ribMemory peerCount peerMemory peerGroupCount peerGroupMemory"
                  " peers failedPeers displayedPeers totalPeers dynamicPeers bestPath")
    expect((summary["totalPeers"], summary["failedPeers"], summary["ribCount"] > 0) == (2, 0, True), f"the summary's totals: {summary}")
    have(summary["peers"][0], "hostname domainname softwareVersion remoteAs localAs version msgRcvd msgSent tableVersion inq outq peerUptime"
                              " peerUptimeMsec pfxRcd pfxSnt state peerState connectionsEstablished connectionsDropped desc idType dynamicPeer")
    page = place.page()
    have(page, "nbrExternalLink localRole remoteRole remoteRouterId localRouterId lastRead lastWrite inUpdateElapsed holdTime keepalive"
               " sendHoldTime capabilities gracefulRestart messages addressFamilies prefixStats maxPrefixWarning lastReset lastResetDueTo"
               " lastErrorCodeSubcode hostLocal hostForeign nexthop bgpConnection connectRetryIn multihop passive tcpMssConfigured"
               " authenticationEnabled minAdvertisementInterval eorSent eorReceived peerUptimeEstablishedEpoch lastResetEpoch tcpMssSynced"
               " estimatedRttInMsecs estimatedRttInUsecs")
    expect(page["nbrExternalLink"] and page["bgpConnection"] == "shared network" and page["maxPrefixWarning"] == 8, f"the page: {page}")
    expect(page["holdTime"]["negotiated"] == 9 and 0 < page["holdTime"]["remaining"] <= 9, f"the hold time: {page['holdTime']}")
    expect(all(f["negotiated"] and f["acceptedPrefixCounter"] for f in page["addressFamilies"]), f"families: {page['addressFamilies']}")
    path = place.causeway.show("bgp", CLOUD)["prefixes"][0]["paths"][0]
    have(path, "aspath aspathSegments aspathLength origin med localPref weight valid best bestpathFromAs reason stale communities"
               " extendedCommunities originatorId clusterList otc aggregator fibInstalled nexthop nexthopAccessible nexthopMetric peer"
               " peerAddress peerId kind age lastUpdate")
    expect(path["aspathSegments"] == [{"type": "as-sequence", "list": [65515]}] and path["fibInstalled"], f"the path: {path}")
    expect(path["nexthopAccessible"] and path["bestpathFromAs"] and path["kind"] == "external", f"the path: {path}")
    text = place.causeway.client("show", "bgp", "neighbors", "far").out
    for words in ("external link", "Graceful restart: local mode helper", "For address family ipv6 unicast", "send hold time", "Queue depth",
                  "Established since 20", f"in use {page['tcpMssSynced']}, estimated round-trip time "):
        expect(words in text, f"{words!r} is not on the page:\n{text}")
    # A machine that was busy for a moment measured that, and then ever less of it.
    wait_until("the kernel's measurements on the page", lambda: measured(place), 60, 1)
    times(place)


def measured(place):
    """Round-trip time and segment size are the kernel's, which `ss` shows at both ends; FRR's own page is about the same."""
    page = place.page()
    ours, theirs = (ss(host, far) for host, far in ((place.gateway, THEIRS), (place.far, OURS)))
    expect(page["tcpMssSynced"] == ours["mss"] == theirs["mss"], f"MSS {page['tcpMssSynced']}, ss here {ours}, at the peer {theirs}")
    # What is on the wire between two namespaces takes microseconds, and an acknowledgement may wait 40 ms for company.
    rtt = page["estimatedRttInUsecs"] / 1000
    expect(0 < rtt < 200 and page["estimatedRttInMsecs"] == int(rtt), f"round-trip time {rtt} ms, {page['estimatedRttInMsecs']}")
    expect(abs(rtt - ours["rtt"]) < 50, f"round-trip time {rtt} ms, ss says {ours['rtt']} ms")
    frr = place.peer.neighbor_page()
    if frr:
        expect(abs(frr.get("estimatedRttInMsecs", 0) - rtt) < 100, f"round-trip time {rtt} ms, FRR's page {frr.get('estimatedRttInMsecs')}")
        expect(frr.get("bgpTcpMssSynced", ours["mss"]) == ours["mss"], f"MSS {ours['mss']}, FRR's page {frr.get('bgpTcpMssSynced')}")
    return True


def ss(host, far):
    """What a host's kernel measured of the IPv4 session's connection."""
    text = host.run(["ss", "-tniH", "state", "established", "dst", far]).out
    return {"rtt": float(re.search(r"\brtt:([\d.]+)/", text).group(1)), "mss": int(re.search(r"\bmss:(\d+)", text).group(1))}


def times(place):
    """Times of day, beside this machine's clock, and FRR's of the same session."""
    before = time.time()
    page = place.page()
    path = place.causeway.show("bgp", CLOUD)["prefixes"][0]["paths"][0]
    now, since, update = time.time(), page["peerUptimeEstablishedEpoch"], path["lastUpdate"]

    def agree(age, epoch):
        """Both were said between `before` and `now`."""
        return before - age - 2 < epoch < now - age + 2
    expect(agree(page["peerUptime"], since), f"up since {since}, for {page['peerUptime']} s, and it was {before} to {now}")
    expect(since <= update["epoch"] <= now and agree(path["age"], update["epoch"]), f"last update {update}, {path['age']} s ago, at {before} to {now}")
    words = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(update["epoch"]))
    expect(update["string"] == words, f"{update} is {words}")
    expect(words in place.causeway.client("show", "bgp", CLOUD).out, "the text page of the prefix has no time of day")
    frr = place.peer.neighbor_page()
    if frr:
        # Each counts from its own step to Established, which the other's last message is behind.
        expect(abs(frr["bgpTimerUpEstablishedEpoch"] - since) <= 5, f"up since {since}, FRR says {frr['bgpTimerUpEstablishedEpoch']}")


def refresh(place):
    asked, told = place.count("ROUTE-REFRESH", "received"), place.count("UPDATE", "sent")
    place.peer.ask_again()
    wait_until("the peer's request", lambda: place.count("ROUTE-REFRESH", "received") > asked, 20)
    wait_until("our table again", lambda: place.count("UPDATE", "sent") > told, 20)
    heard, updates = place.peer.refreshes_heard(), place.count("UPDATE", "received")
    sessions = place.page()["connectionsEstablished"]
    place.causeway.client("clear", "bgp", "far", "soft", "in")
    wait_until("the peer's table again", lambda: place.count("UPDATE", "received") > updates, 20)
    expect(heard is None or place.peer.refreshes_heard() > heard, "the peer counted no request of ours")
    expect(place.page()["connectionsEstablished"] == sessions, "a refresh reset the session")


def redistribution(place):
    """The subnets of the gateway's interfaces, and what comes and goes with them."""
    wait_until("the connected subnet at the peer", lambda: "192.168.7.0/24" in place.peer.learned("ipv4", OURS), 20)
    place.gateway.ip("addr add 192.168.8.1/24 dev lan0")
    wait_until("a new subnet at the peer", lambda: "192.168.8.0/24" in place.peer.learned("ipv4", OURS), 20)
    place.gateway.ip("addr del 192.168.8.1/24 dev lan0")
    wait_until("it goes again", lambda: "192.168.8.0/24" not in place.peer.learned("ipv4", OURS), 20)


def moving_hop(place):
    """The next hop moves to the other link: the session stays, and the route follows."""
    sessions = place.page()["connectionsEstablished"]
    place.gateway.ip(f"route replace {HOP} via 10.0.1.2")
    wait_until("the route leaves by the other link", lambda: "via 10.0.1.2 dev link1" in place.kernel(CLOUD), 20)
    place.gateway.ip(f"route del {HOP}")
    wait_until("no way, no route", lambda: not place.kernel(CLOUD), 20)
    not_eligible(place)
    place.gateway.ip(f"route add {HOP} via {THEIRS}")
    wait_until("and back", lambda: f"via {THEIRS} dev link0" in place.kernel(CLOUD), 20)
    expect(place.causeway.received("far")[CLOUD]["accepted"], "its next hop is there again, and it is not eligible")
    expect(place.page()["connectionsEstablished"] == sessions, "the session was reset")


def not_eligible(place):
    """A path whose next hop nothing leads to has no part in the decision, and both pages say why."""
    words = f"next hop {HOP} is not resolved"
    (path,) = place.causeway.show("bgp", CLOUD)["prefixes"][0]["paths"]
    expect(not path["valid"] and not path["best"] and not path["nexthopAccessible"] and words in path["reason"], f"the path: {path}")
    expect(words in place.causeway.client("show", "bgp", CLOUD).out, "the text page of the prefix does not say why")
    route = place.causeway.received("far")[CLOUD]
    expect(not route["accepted"] and not route["best"] and words in route["verdict"], f"received-routes: {route}")
    counted = place.page()["prefixStats"]
    expect(counted["invalidNextHop"] == 1, f"counted: {counted}")


def called_again(place):
    """A neighbour that is waited for gets another TTL: its session begins anew, and only the peer can begin it."""
    tree, sessions = place.tree(), place.page()["connectionsEstablished"]
    tree["bgp"]["neighbor"]["far"].update(passive=True, multihop=3)
    place.causeway.reload(tree)
    wait_until("the peer's call is taken", lambda: place.up() and place.page()["connectedBy"] == "remote", 20)
    expect(place.page()["multihop"] == 3, "the reload changed nothing")
    place.causeway.reload(place.tree())
    wait_until("and back", lambda: place.up() and place.page()["multihop"] == 2, 20)
    wait_until("the peer's routes", lambda: place.kernel(CLOUD), 20)


def collide(place):
    """The handshakes of TCP pass and nothing longer, until each side's connection stands; then both OPENs of both come.

    Whether each dials before it hears the other is up to both's delays; True when they did.
    """
    before = place.page()
    long = "th {} 179 ip length > 80 drop;"
    rules = " ".join("meta l4proto tcp " + long.format(way) for way in ("sport", "dport"))
    place.gateway.nft("table inet hold {\n" + "".join(
        f"chain {hook} {{ type filter hook {hook} priority 0; {rules.replace('; ', '; ' + chr(10))} }}\n" for hook in ("input", "output")) + "}\n")
    place.peer.restart()
    place.causeway.client("clear", "bgp", "far")
    wait_until("somebody's connection", place.connections, 20, 0.02)
    end = time.monotonic() + place.peer.patience
    while len(place.connections()) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    both = len(place.connections()) == 2
    place.gateway.run(["nft", "delete", "table", "inet", "hold"])
    wait_until("a session", lambda: place.up() and place.page()["connectionsEstablished"] > before["connectionsEstablished"], 20)
    wait_until("one connection", lambda: len(place.connections()) == 1, 20)
    wait_until("our routes at the peer", lambda: LAN in place.peer.learned("ipv4", OURS), 20)
    wait_until("the peer's in the kernel", lambda: place.kernel(CLOUD), 20)
    return both


def too_many(place):
    more = [f"10.20.{n}.0/24" for n in range(12)]
    sessions = place.page()["connectionsDropped"]
    place.peer.announce(more)
    wait_until("the session ends", lambda: place.page()["connectionsDropped"] > sessions, 20)
    page = place.page()
    expect("6/1" in page["lastResetDueTo"] or page["lastErrorCodeSubcode"] == "0601", f"it ended with {page['lastResetDueTo']}")
    wait_until("its routes are gone", lambda: not place.kernel("10.20.0.0/24"), 20)
    place.peer.withdraw(more)
    wait_until("back by itself", lambda: place.up() and place.kernel(CLOUD), 40)


def said_goodbye(place):
    """The line of the peer's pages or log that has our words."""
    found = re.search(r"[^\n]*causeway is stopping[^\n]*", place.peer.last_words())
    return found.group(0).strip() if found else None


def stale(lab, step):
    first, second = AZURE.prefix, "172.16.16.0/22"
    stand = Stand(lab, routing="frr", bgp=Bgp(advertise=[first, second]))
    tree = stand.causeway.tree
    tree["bgp"]["neighbor"]["azure"].update({"import": "any", "export": "any"})
    tree["bgp"]["redistribute"] = ["static"]
    tree["tunnel"]["azure"]["interface"]["routes"].append("10.30.0.0/24")
    stand.causeway.write(tree)
    stand.start()
    gateway, causeway = stand.site.gateway, stand.causeway
    shown = lambda prefix: gateway.ip(f"route show {prefix}").strip()
    wait_until("both prefixes", lambda: "vti0" in shown(second), 20)
    wait_until("FRR's End-of-RIB", lambda: causeway.show("bgp", "neighbors", "azure")[0]["eorReceived"] == ["ipv4 unicast"], 20)
    wait_until("the tunnel's static route at the peer", lambda: "10.30.0.0/24" in stand.headend.routing.received(), 20)
    step("up; FRR has said its End-of-RIB and heard the redistributed static route")
    causeway.kill()
    stand.headend.routing.host.run([
        "vtysh", "--vty_socket", stand.headend.routing.sockets, "-d", "bgpd", "-c", "configure terminal", "-c", "router bgp 65515",
        "-c", "address-family ipv4 unicast", "-c", f"no network {second}"])
    causeway.start()
    wait_until("both stand refused until FRR has spoken", lambda: "unreachable" in shown(second) or causeway.up(), 20, 0.05)
    causeway.wait_up(timeout=60)
    wait_until("the one it still has", lambda: "vti0" in shown(first), 20)
    wait_until("the one it has no more is swept", lambda: not shown(second), 20)
    step("killed and started: what FRR has no more is swept by its End-of-RIB")
