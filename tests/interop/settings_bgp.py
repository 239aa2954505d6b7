"""Keys of BGP that no other case turns, with BIRD on links of their own. `decision`: MED between different
neighbouring ASes, a path without MED, age, and weight each change which of two paths is best, and none does by default.
`neighbor`: a description is on the page, a passive side waits, `ge` and `le` let in what they say, no more is announced than
`max_prefix_out`, nothing with `export = "none"`; the password comes from a file or from a credential.
"""

import os

from types import SimpleNamespace

from lab.case import Steps
from lab.causeway import Causeway
from lab.netns import link
from lab.routing import Bgp, Bird
from lab.shell import expect, holds, wait_until
from lab.toml_text import Inline, merge

CLOUD = "172.16.0.0/22"
KEY = "signed-with-this.key"

FAR = """log "{log}" all;
debug protocols {{ states, events }};
router id 10.0.{n}.2;
protocol device {{ }}
protocol static four {{ ipv4; {routes} }}
protocol bgp site {{
  local 10.0.{n}.2 as {asn};
  neighbor 10.0.{n}.1 as 65510;
  {extra}
  connect retry time 2; connect delay time 1; error wait time 1, 4;
  ipv4 {{ import all; export filter {{ if source != RTS_STATIC then reject; {med} accept; }}; next hop self; }};
}}
"""


class Far(Bird):
    """BIRD at the far end of the link of this number; the lower number has the lower router ID."""

    def __init__(self, host, n, **words):
        super().__init__(host, f"far{n}", Bgp())
        self.words = {"n": n, "asn": 65515 + n, "extra": "", "med": "", "prefixes": [CLOUD], **words}

    def text(self):
        routes = " ".join(f"route {p} blackhole;" for p in self.words["prefixes"])
        return FAR.format(log=self.log, routes=routes, **self.words)

    def tell(self, **words):
        self.words.update(words)
        self.reload()

    def heard(self):
        return self.routes("protocol", "site")


class Place:
    """A gateway with a peer at the end of each of two links."""

    def __init__(self, lab, count, changes=None, **words):
        self.gateway = lab.namespace("gw")
        self.peers = []
        for n in range(count):
            far = lab.namespace(f"far{n}")
            link(self.gateway, f"link{n}", f"10.0.{n}.1/24", far, f"link{n}", f"10.0.{n}.2/24")
            self.peers.append(Far(far, n, **words))
        neighbors = {f"far{n}": {
            "address": f"10.0.{n}.2", "asn": 65515 + n, "source": f"10.0.{n}.1", "import": "any", "export": "any"} for n in range(count)}
        tree = {"router": {"id": "10.0.0.1", "asn": 65510}, "bgp": {"neighbor": neighbors}}
        self.causeway = Causeway(SimpleNamespace(lab=lab, gateway=self.gateway), merge(tree, changes or {}))

    def up(self, n=0):
        return self.causeway.show("bgp", "neighbors", f"far{n}")[0]["state"] == "Established"

    def all_up(self):
        return all(self.up(n) for n in range(len(self.peers)))

    def best(self):
        """Who gave the best of both paths; nothing while there are not both."""
        found = self.causeway.show("bgp", CLOUD)["prefixes"]
        paths = found[0]["paths"] if found else []
        best = [p["peer"] for p in paths if p["best"]]
        return best[0] if len(paths) == len(self.peers) and best else None

    def chooses(self, wanted, words):
        wait_until(f"{words}: {wanted}", lambda: self.best() == wanted, 20, 0.2)
        holds(f"{words}: it stays {wanted}", lambda: self.best() == wanted, 1, 0.2)
        wait_until(f"{words}: the kernel's route", lambda: f"via 10.0.{wanted[-1]}.2 " in self.gateway.ip(f"route show {CLOUD}"), 20)


def cells(_full):
    return ["decision", "neighbor", "password"]


def run(lab, cell):
    {"decision": decision, "neighbor": neighbor, "password": password}[cell](lab, Steps())


def decision(lab, step):
    place = Place(lab, 2)
    first, second = place.peers
    causeway = place.causeway.start()
    second.start()
    wait_until("the second peer's path", lambda: "via 10.0.1.2 " in place.gateway.ip(f"route show {CLOUD}"), 20)
    first.start()
    wait_until("both peers", place.all_up, 20)
    place.chooses("far1", "the older path")
    tree = merge(causeway.tree, {"bgp": {"always_compare_med": False, "missing_med_worst": False, "ignore_age": False}})
    causeway.reload(tree)
    place.chooses("far1", "written out, the defaults change nothing")
    step("by default the older of two equal paths")
    young = merge(tree, {"bgp": {"ignore_age": True}})
    causeway.reload(young)
    place.chooses("far0", "ignore_age: the lower router ID")
    step("ignore_age: the lower router ID")
    first.tell(med="bgp_med = 50;")
    second.tell(med="bgp_med = 10;")
    place.chooses("far0", "MEDs of different ASes are not compared")
    compared = merge(young, {"bgp": {"always_compare_med": True}})
    causeway.reload(compared)
    place.chooses("far1", "always_compare_med: the lower MED")
    step("always_compare_med: the lower MED")
    first.tell(med="")
    place.chooses("far0", "no MED counts as 0")
    causeway.reload(merge(compared, {"bgp": {"missing_med_worst": True}}))
    place.chooses("far1", "missing_med_worst: no MED counts as the worst")
    step("missing_med_worst: the path that has one")
    sessions = [p["connectionsEstablished"] for p in causeway.show("bgp", "summary")["peers"]]
    causeway.reload(merge(causeway.tree, {"bgp": {"neighbor": {"far0": {"weight": 100}}}}))
    place.chooses("far0", "weight before all else")
    causeway.reload(merge(causeway.tree, {"bgp": {"neighbor": {"far0": {"weight": 0}}}}))
    place.chooses("far1", "weight taken back")
    expect([p["connectionsEstablished"] for p in causeway.show("bgp", "summary")["peers"]] == sessions, "weight began a session anew")
    step("weight: absorbed, and before all else")


def neighbor(lab, step):
    ours = ["192.168.1.0/24", "192.168.2.0/24", "192.168.3.0/24"]
    place = Place(lab, 1, {"bgp": {"networks": ours, "neighbor": {"far0": {"passive": True, "description": "the far end"}}}},
                  extra="passive on;", prefixes=[CLOUD, "172.16.0.0/24", "172.16.0.0/25", "172.16.0.0/26"])
    (peer,) = place.peers
    peer.start()
    causeway = place.causeway.start()
    (row,) = causeway.show("bgp", "summary")["peers"]
    expect(row["desc"] == "the far end" and "the far end" in causeway.client("show", "bgp", "summary").out, f"the description: {row}")
    holds("both wait", lambda: not place.up(), 4, 0.2)
    causeway.reload(merge(causeway.tree, {"bgp": {"neighbor": {"far0": {"passive": False}}}}))
    wait_until("it dials", place.up, 20)
    step("passive: waits; no longer: dials")
    wait_until("all of ours", lambda: set(ours) <= peer.heard(), 20)
    causeway.reload(merge(causeway.tree, {"bgp": {"neighbor": {"far0": {"max_prefix_out": 2}}}}))
    wait_until("two of ours", lambda: len(peer.heard() & set(ours)) == 2, 20)
    holds("no more", lambda: len(peer.heard() & set(ours)) == 2 and place.up(), 1, 0.2)
    step("max_prefix_out")
    causeway.reload(merge(causeway.tree, {"bgp": {"neighbor": {"far0": {"export": "none"}}}}))
    wait_until("none of ours", lambda: not peer.heard() & set(ours), 20)
    step("export none")
    kernel = lambda: {p for p in peer.words["prefixes"] if place.gateway.ip(f"route show {p}").strip()}
    wait_until("all of theirs", lambda: kernel() == set(peer.words["prefixes"]), 20)
    for rule, wanted in (
        (Inline(seq=10, action="permit", prefix="172.16.0.0/16", ge=24, le=25), {"172.16.0.0/24", "172.16.0.0/25"}),
        (Inline(seq=10, action="permit", prefix="172.16.0.0/16", ge=25), {"172.16.0.0/25", "172.16.0.0/26"}),
        (Inline(seq=10, action="permit", prefix="172.16.0.0/16", le=22), {CLOUD}),
    ):
        causeway.reload(merge(causeway.tree, {"bgp": {"neighbor": {"far0": {"import": "some"}}}, "prefix_list": {"some": [rule]}}))
        wait_until(f"{rule} lets in {wanted}", lambda: kernel() == wanted, 20)
    causeway.reload(merge(causeway.tree, {"bgp": {"neighbor": {"far0": {"import": "none"}}}}))
    wait_until("none of theirs", lambda: not kernel(), 20)
    step("ge, le, import none")


def password(lab, step):
    place = Place(lab, 1, {"bgp": {"neighbor": {"far0": {"password": Inline(file="far.key")}}}}, extra=f'password "{KEY}";')
    causeway = place.causeway
    credentials = lab.directory("credentials")
    for folder, name in ((causeway.directory, "far.key"), (credentials, "far-credential")):
        with open(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(KEY + "\n")
    causeway.wrapper = ["env", f"CREDENTIALS_DIRECTORY={credentials}"]
    place.peers[0].start()
    causeway.start()
    wait_until("with a file's password", place.up, 20)
    step("from a file")
    place.peers[0].tell(extra=f'password "{KEY}2";')
    for folder, name in ((causeway.directory, "far.key"), (credentials, "far-credential")):
        with open(os.path.join(folder, name), "w") as file:
            file.write(KEY + "2\n")
    causeway.reload(merge(causeway.tree, {"bgp": {"neighbor": {"far0": {"password": Inline(credential="far-credential")}}}}))
    wait_until("with a credential's password", lambda: place.up() and place.peers[0].established(), 30)
    (page,) = causeway.show("bgp", "neighbors")
    expect(page["authenticationEnabled"] and KEY not in causeway.process.output(), f"signed: {page['authenticationEnabled']}")
    step("from a credential")
