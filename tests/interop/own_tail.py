"""It never eats its own tail: the peer advertises 0.0.0.0/0, the /24 around its own outer address, that
address itself, and the /24 around ours, with an import policy that lets everything in, while the gateway's
own default route has the worse metric. In `main` and in a table of its own, with rp_filter 0, 1 and 2, and
once with the gateway on a kernel that has ESP and VTI loaded. Proven: the outer packets never enter the
tunnel, the peer's outer address is never installed, the tunnel carries traffic before and after a rekey of
both kinds and after a new dial, and nothing is in clear: also while the tunnel is down, killed with SIGKILL,
started again, and, in `main`, while the host has lost its way out.
"""

from lab.case import Steps
from lab.routing import Bgp
from lab.shell import expect, holds, wait_until
from lab.topology import AZURE, Site
from lab.traffic import ping

from .stand import Stand

GREEDY = ["0.0.0.0/0", "192.0.2.0/24", "192.0.2.1/32", "203.0.113.0/24", "172.16.0.0/22"]


def cells(full):
    every = [f"{table}-rp{n}" for table in ("main", "own") for n in (0, 1, 2)]
    return (every if full else ["main-rp0", "main-rp1", "main-rp2", "own-rp1", "own-rp2"]) + ["main-guest"]


def run(lab, cell):
    step = Steps()
    table, _, rest = cell.partition("-")
    guest = rest == "guest"
    site = Site(lab, rp_filter=0 if guest else int(rest[2:]), guest=guest)
    site.gateway.ip("route del default")
    site.gateway.ip("route add default via 203.0.113.254 metric 500")
    changes = {"bgp": {"neighbor": {"azure": {"import": "any"}}}}
    if table == "own":
        changes["routes"] = {"table": 100}
    stand = Stand(lab, "libipsec", site=site, bgp=Bgp(advertise=GREEDY), changes=changes)
    stand.start()
    causeway, gateway = stand.causeway, site.gateway
    wan = stand.capture_wan()
    step("up")
    received = causeway.received()
    expect(not received["192.0.2.1/32"]["accepted"], f"the peer's outer address: {received['192.0.2.1/32']}")
    wait_until("the learned default", lambda: "vti0" in gateway.ip(f"route show default table {'100' if table == 'own' else 'main'}"), 20)
    if table == "main":
        outer = gateway.ip("route get 192.0.2.1")
        expect("wan0" in outer, f"the outer path leads into the tunnel: {outer}")
        expect("vti0" in gateway.ip("route get 192.0.2.77"), "the /24 around the peer was not taken")
    stand.reaches()
    holds("the tunnel stays up", lambda: causeway.up(), 3, 0.5)
    step("carries traffic with everything routed into it")
    before = causeway.spis()
    causeway.client("rekey", "azure", "--child")
    wait_until("other SPIs", lambda: causeway.spis() not in (None, before), 20)
    causeway.client("rekey", "azure", "--ike")
    stand.reaches()
    step("rekeyed")
    before = causeway.spis()
    causeway.client("clear", "ike", "azure")
    wait_until("down", lambda: (causeway.spis() or (None,))[0] != before[0], 20)
    causeway.wait_up(timeout=40)
    wait_until("the learned route is back", lambda: "vti0" in gateway.ip("route show 172.16.0.0/22 table " + ("100" if table == "own" else "main")), 20)
    stand.reaches()
    step("dialled again")
    if not guest:
        down_and_killed(stand, "100" if table == "own" else "main")
        step("down, up, killed, started again")
    if not guest and table == "main":
        way_lost(stand)
        step("the way out lost, and found again")
    stand.wire_right(wan.stop())


def down_and_killed(stand, table):
    """Packets for a learned prefix flow all the time; the capture says whether one left in clear."""
    causeway, gateway = stand.causeway, stand.site.gateway
    stream = stand.lan.spawn("stream", ["ping", "-n", "-q", "-i", "0.02", AZURE.host])
    causeway.client("down", "azure")
    wait_until("refused instead of learned", lambda: "unreachable" in gateway.ip(f"route show 172.16.0.0/22 table {table}"), 20, 0.05)
    outer = gateway.ip("route get 192.0.2.1 mark 0xc0de" if table != "main" else "route get 192.0.2.1")
    expect("vti0" not in outer, f"the outer path leads into the tunnel while it is down: {outer}")
    causeway.client("up", "azure")
    comes_back(stand, table)
    causeway.kill()
    ping(stand.lan, AZURE.host, check=False, timeout=1)
    causeway.start()
    comes_back(stand, table)
    stream.stop(2)


def way_lost(stand):
    """Without a default route of the host's own the learned one must not take the outer packets."""
    gateway = stand.site.gateway
    way = "default via 203.0.113.254 metric 500"
    gateway.ip(f"route del {way}")

    def lost():
        found = gateway.run(["ip", "route", "get", "192.0.2.1"], check=False).out
        return "vti0" not in found and "wan0" not in found
    wait_until("the outer address leads nowhere", lost, 20, 0.05)
    ping(stand.lan, AZURE.host, check=False, timeout=1)
    expect(lost(), "the outer path leads into the tunnel")
    gateway.ip(f"route add {way}")
    comes_back(stand, "main")


def comes_back(stand, table):
    stand.causeway.wait_up(timeout=60)
    wait_until("the learned route is back", lambda: "vti0" in stand.site.gateway.ip(f"route show 172.16.0.0/22 table {table}"), 20)
    stand.reaches(count=1)
