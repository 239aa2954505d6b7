"""BGP with a password (TCP-MD5, RFC 2385), with BIRD and with FRR, whose keys are the kernel's own; and a neighbour
on the LAN, without any tunnel. Proven: with the same password the session comes up whoever dials, every segment of
it in the tunnel is signed and routes are exchanged; with another one it does not, `show status` says why, and the
right one put into the file and applied brings it up; the LAN's neighbour is heard, its route is in the kernel and
handed on to the cloud, a wrong password keeps that session down and harms no other.
"""

from lab.capture import Capture
from lab.case import Steps
from lab.routing import DAEMONS, Bgp
from lab.shell import expect, holds, wait_until
from lab.toml_text import Inline, merge
from lab.topology import AZURE, LAN_GATEWAY, LAN_HOST
from lab.traffic import ping

from .stand import Stand

KEY, OTHER = "signed-with-this.key", "not-signed-with-this.key"
BEHIND = "10.99.0.0/24"


def cells(_full):
    return ["bird-dials", "frr-dials", "bird-is-dialled", "frr-is-dialled", "wrong", "without-tunnel"]


def password(key):
    return {"bgp": {"neighbor": {"azure": {"password": Inline(value=key)}}}}


def run(lab, cell):
    step = Steps()
    if cell == "without-tunnel":
        return without_tunnel(lab, step)
    routing = "frr" if "frr" in cell else "bird"
    if cell == "wrong":
        return wrong(lab, routing, step)
    signed(lab, routing, cell.endswith("-dials"), step)


def signed(lab, routing, peer_dials, step):
    changes = merge(password(KEY), {"bgp": {"neighbor": {"azure": {"passive": peer_dials}}}})
    stand = Stand(lab, routing=routing, bgp=Bgp(md5=KEY, passive=not peer_dials), changes=changes)
    stand.headend.start_ipsec_daemon()
    stand.headend.make_way()
    segments = Capture(stand.headend.host, "ipsec0", "segments", "tcp port 179")
    stand.headend.routing.start()
    stand.headend.charon.load()
    stand.causeway.start()
    stand.causeway.wait_up(timeout=30)
    stand.routes_right()
    stand.reaches()
    (page,) = stand.causeway.show("bgp", "neighbors")
    expect(page["authenticationEnabled"], "show bgp neighbors knows of no password")
    seen = segments.stop()
    (syn,) = {p.source for p in seen if p.payload[13] & 0x12 == 2 and established_from(seen, p)}
    expect((syn == AZURE.peering) == peer_dials, f"{syn} dialled")
    # Both ends refuse what is not signed, so a segment without signature can only be a reset.
    plain = [p for p in seen if not md5_of(p) and not p.payload[13] & 4]
    expect(len(seen) > 8 and not plain, lambda: f"{len(plain)} of {len(seen)} segments are not signed: {plain[0]}")
    step(f"{len(seen)} segments, all signed; routes exchanged")


def established_from(seen, syn):
    """Was this SYN answered with SYN and ACK?"""
    return any(p.payload[13] & 0x12 == 0x12 and (p.sport, p.dport, p.source) == (syn.dport, syn.sport, syn.destination) for p in seen)


def md5_of(packet):
    """The signature of a segment, or None (option 19, 18 octets)."""
    options = packet.payload[20:(packet.payload[12] >> 4) * 4]
    while options and options[0]:
        if options[0] == 1:
            options = options[1:]
            continue
        if options[0] == 19:
            return options[2:options[1]]
        options = options[max(2, options[1]):]
    return None


def wrong(lab, routing, step):
    stand = Stand(lab, routing=routing, bgp=Bgp(md5=KEY), changes=password(OTHER))
    stand.headend.start()
    stand.causeway.start()
    wait_until("the CHILD SA", stand.causeway.ipsec_up, 20)
    code, text = wait_until("a reason", lambda: stand.causeway.why()[0] == "tcp-silent" and stand.causeway.why(), 30)
    holds("no session", lambda: not stand.causeway.up() and not stand.headend.routing.established(), 3)
    hint = stand.causeway.status()["why"]["hint"]
    expect("is `password` the neighbour's" in hint and "IPsec is up" in hint, f"the hint is {hint}")
    step(f"{code}: {text}; {hint}")
    spis = stand.causeway.spis()
    stand.causeway.reload(merge(stand.causeway.tree, password(KEY)))
    stand.causeway.wait_up(timeout=40)
    expect(stand.causeway.spis() == spis, "the tunnel was made anew for a password")
    stand.routes_right()
    step("the right one applied: up")


def without_tunnel(lab, step):
    lan = {"bgp": {"neighbor": {"lan": {
        "address": LAN_HOST, "asn": 65001, "import": "any", "export": "any", "password": Inline(value=KEY)}}},
        "prefix_list": {"azure-out": [Inline(seq=100, action="permit", prefix="192.168.1.0/24"), Inline(seq=110, action="permit", prefix=BEHIND)]}}
    stand = Stand(lab, changes=lan)
    stand.lan.ip(f"addr add {BEHIND.replace('0/24', '1/24')} dev lo")
    router = DAEMONS["bird"](stand.lan, "lan", Bgp(
        asn=65001, router_id=LAN_HOST, source=LAN_HOST, neighbor=LAN_GATEWAY, device="eth0", advertise=[BEHIND], md5=KEY))
    router.start()
    stand.start()
    wait_until("the LAN's session", lambda: neighbor_up(stand) and router.established(), 20)
    gateway = stand.site.gateway
    route = wait_until("its route in the kernel", lambda: gateway.ip(f"route show {BEHIND}").strip(), 20)
    expect(f"via {LAN_HOST} dev lan0" in route and "proto" in route, f"the route is {route}")
    wait_until("the cloud's prefix at the LAN's router", lambda: "172.16.0.0/22" in router.received(), 20)
    wait_until("the LAN's prefix in the cloud", lambda: BEHIND in stand.headend.routing.received(), 20)
    ping(stand.lan, AZURE.host, source=BEHIND.replace("0/24", "1"))
    ping(stand.cloud, BEHIND.replace("0/24", "1"))
    step("a neighbour on the LAN: routes both ways, and a network behind it reaches the cloud")
    # Another password: this session falls, the tunnel's stays.
    spis = stand.causeway.spis()
    stand.causeway.reload(merge(stand.causeway.tree, {"bgp": {"neighbor": {"lan": {"password": Inline(value=OTHER)}}}}))
    wait_until("its route gone", lambda: not gateway.ip(f"route show {BEHIND}").strip(), 20)
    holds("it stays down, the tunnel up", lambda: not neighbor_up(stand) and stand.causeway.up(), 4)
    why = wait_until("a reason for it", lambda: lan_neighbor(stand).get("why"), 40)
    expect(why["code"] == "tcp-silent" and "is `password` the neighbour's" in why["hint"], f"the reason is {why}")
    expect("IPsec" not in why["hint"], f"a neighbour without tunnel is told of IPsec: {why}")
    expect(stand.causeway.spis() == spis, "the tunnel was made anew")
    stand.causeway.reload(merge(stand.causeway.tree, {"bgp": {"neighbor": {"lan": {"password": Inline(value=KEY)}}}}))
    wait_until("the LAN's session again", lambda: neighbor_up(stand), 40)
    wait_until("its route in the kernel again", lambda: gateway.ip(f"route show {BEHIND}").strip(), 20)
    step(f"another password kept it down ({why['text']}), the right one brought it back")


def lan_neighbor(stand):
    """Its line in show status."""
    (line,) = stand.causeway.show("status")["neighbors"]
    return line


def neighbor_up(stand):
    return lan_neighbor(stand)["up"]
