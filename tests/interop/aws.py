"""The shipped AWS example, word for word: two tunnels to the two outside addresses of a virtual private gateway (a
real Linux kernel with a VTI each, native ESP, what AWS offers and its timers), BGP with AS 64512 over both inside
/30s. Proven in `failover`: both sessions up, the path through the tunnel with the lower MED is best and is the one
in the kernel, LAN and VPC reach each other, MSS clamped; that tunnel taken away as AWS's maintenance does (DELETE,
then refused), or silently dead on the wire: traffic goes on through the other, and back without a loss once the
first one serves again. In `route-limit`: what is above 100 is held back, said in log and status, the session stays, room made
is used; and that the stand-in does close the session of one who says more. In `behind-nat` the gateway has a private
address behind a router that changes ports and passes no protocol 50: both tunnels up in UDP, both ends knowing of the
NAT, BGP, best path, reach and failover as without it; the router forgets its mappings, and both tunnels go on through
new ones with the same IKE SAs.
"""

import os

from lab.aws import AWS, SECRETS, TUNNELS, Stand, session
from lab.capture import Capture, inner_in_clear, repeated_sequences
from lab.case import Steps
from lab.causeway import REPOSITORY, Causeway
from lab.shell import expect, holds, wait_until
from lab.toml_text import Inline, merge
from lab.topology import LAN_HOST, Site
from lab.traffic import Probe, lossless, ping, traceroute, transfer, until_answered

from .stand import mss_of

FIRST, SECOND = TUNNELS
INNER = ("192.168.1.", "10.20.", "169.254.")
PACE = 200


def cells(_full):
    return ["failover", "route-limit", "behind-nat"]


def run(lab, cell):
    step = Steps()
    nat = cell == "behind-nat"
    site = Site(lab, nat=nat)
    aws = Stand(site)
    step("a virtual private gateway on a kernel of its own")
    with open(f"{REPOSITORY}/examples/aws.toml") as file:
        causeway = Causeway(site, behind(site, file.read()) if nat else file.read(), secrets=SECRETS)
    aws.start()
    wan = Capture(site.gateway, "wan0", "wan", split=True)
    causeway.start()
    for tunnel in TUNNELS:
        causeway.wait_up(tunnel.name)
        wait_until(f"BGP of {tunnel.name} at AWS", lambda t=tunnel: aws.routing.established_with(t), 20)
    step(f"the example {'behind a NAT' if nat else 'as it is shipped'}: both tunnels up with BGP")
    {"failover": failover, "route-limit": route_limit, "behind-nat": behind_nat}[cell](site, aws, causeway, step)
    wire_right(wan.stop(), udp=nat)
    causeway.stop()
    nothing_left(site, aws)
    step("nothing in clear, nothing left")


def wire_right(packets, udp):
    esp = [p for p in packets if p.esp]
    expect({p.destination for p in esp} >= {t.outside for t in TUNNELS}, "a tunnel carried nothing")
    wrong = [p for p in esp if p.esp[2] != udp]
    expect(not wrong, lambda: f"{len(wrong)} of {len(esp)} ESP packets {'natively behind a NAT' if udp else 'in UDP without a NAT'}: {wrong[0]}")
    in_clear = inner_in_clear(packets, INNER)
    expect(not in_clear, lambda: f"{len(in_clear)} packets in clear: {in_clear[0]}")
    twice = repeated_sequences(packets)
    expect(not twice, lambda: f"(SPI, sequence) seen twice: {twice[0]}")


def nothing_left(site, aws):
    links, routes = site.gateway.ip("-o link"), site.gateway.ip("route show table all")
    expect("aws1" not in links and "aws2" not in links, f"a device is left:\n{links}")
    expect("10.20." not in routes and "198.51.100." not in routes, f"a route is left:\n{routes}")
    wait_until("AWS's SAs gone", lambda: not aws.charon.sas(), 20)


# -- two tunnels


def failover(site, aws, causeway, step):
    paths_right(site, aws, causeway)
    reaches(site, aws)
    step("best path by MED, ping and transfers both ways, MSS clamped")
    probe = Probe(site.lan, LAN_HOST, aws.vpc, AWS.host, pps=PACE).started()
    aws.take_away(FIRST)
    moved_at_both_ends(site, aws)
    ping(site.lan, AWS.host, count=3)
    ping(aws.vpc, LAN_HOST, count=3)
    moved(probe, "taken away with a DELETE", step)
    # Refused while it is away: it has to be dialled again and again.
    holds("the second tunnel alone carries", lambda: way(site) == "aws2" and not causeway.up(FIRST.name), 2)
    back(site, aws, causeway, step, lambda: aws.give_back(FIRST))
    hold = set_hold(site, aws, causeway)
    probe = Probe(site.lan, LAN_HOST, aws.vpc, AWS.host, pps=PACE).started()
    cut(site, FIRST)
    wait_until("the kernel's route leads into the second tunnel", lambda: way(site) == "aws2", 50)
    wait_until("AWS's route as well", lambda: aws.routing.way_to("192.168.1.0/24") == SECOND.device, 50)
    ping(site.lan, AWS.host, count=3)
    moved(probe, f"silently dead, found within a hold time of {hold} s", step)
    back(site, aws, causeway, step, lambda: site.internet.nft("flush ruleset"))


def moved_at_both_ends(site, aws):
    """What was in the first tunnel goes through the second, there and back."""
    wait_until("the kernel's route leads into the second tunnel", lambda: way(site) == "aws2", 20)
    wait_until("AWS's route as well", lambda: aws.routing.way_to("192.168.1.0/24") == SECOND.device, 20)


def set_hold(site, aws, causeway):
    """Times of a few seconds, but AWS's own with --full; returns the hold time."""
    if os.environ.get("CAUSEWAY_LAB_FULL"):
        return 30
    quick = {"tunnel": {t.name: {"ike": {"dpd": Inline(delay="1s", timeout="3s")}} for t in TUNNELS},
             "bgp": {"neighbor": {t.name: {"hold_time": "6s", "keepalive": "2s"} for t in TUNNELS}}}
    causeway.reload(merge(causeway.tree, quick))
    for tunnel in TUNNELS:
        wait_until(f"{tunnel.name} up with a hold time of 6 s", lambda t=tunnel: agreed_hold(causeway, t) == 6 and causeway.up(t.name), 30)
    wait_until("both routes are back", lambda: way(site) == "aws1" and aws.routing.way_to("192.168.1.0/24") == FIRST.device, 20)
    return 6


def paths_right(site, aws, causeway):
    """Two paths to the VPC, chosen by MED; ours known at both sessions; SPIs the same at both ends."""
    for tunnel in TUNNELS:
        theirs = aws.charon.spis_of(tunnel)
        expect(causeway.spis(tunnel.name) == (theirs[1], theirs[0]), f"SPIs of {tunnel.name}: {causeway.spis(tunnel.name)} here, {theirs} there")
        wait_until("our prefix at AWS", lambda t=tunnel: aws.routing.routes_from(t) == {"192.168.1.0/24"}, 20)
        wait_until("the VPC's prefix here", lambda t=tunnel: causeway.received(t.name).get(AWS.prefix, {}).get("accepted"), 20)
    table = {p["prefix"]: p for p in causeway.show("bgp")["prefixes"]}
    paths = table[AWS.prefix]["paths"]
    expect([(p["peer"], p["best"], p["med"], p["aspath"]) for p in paths] == [("aws-1", True, 100, "64512"), ("aws-2", False, 200, "64512")],
           f"the paths are {paths}")
    route = wait_until("the VPC's prefix in the kernel", lambda: way(site) and site.gateway.ip(f"route show {AWS.prefix}"), 20)
    for word in ("dev aws1", "src 192.168.1.1", "metric 20"):
        expect(word in route, f"{word!r} is not in the kernel's route: {route}")


def reaches(site, aws):
    ping(site.lan, AWS.host, count=3)
    ping(aws.vpc, LAN_HOST, count=3)
    hops = traceroute(site.lan, AWS.host)
    expect(len(hops) == 3 and hops[0] == "192.168.1.1" and hops[2] == AWS.host, f"the hops are {hops}")
    syn = Capture(aws.vpc, "eth0", "syn", "tcp[tcpflags] & tcp-syn != 0")
    transfer(site.lan, aws.vpc, AWS.host, 500_000)
    transfer(aws.vpc, site.lan, LAN_HOST, 500_000, port=5202)
    clamped = [mss_of(p) for p in syn.stop() if p.source == LAN_HOST]
    expect(clamped and all(m == 1379 for m in clamped), f"the MSS of SYNs that came through: {clamped}")


def way(site):
    """The device the kernel sends the VPC's packets into."""
    words = site.gateway.ip(f"route show {AWS.prefix}").split()
    return words[words.index("dev") + 1] if "dev" in words and words[0] != "unreachable" else None


def agreed_hold(causeway, tunnel):
    (page,) = [n for n in causeway.show("bgp", "neighbors") if n["name"] == tunnel.name]
    return page["holdTime"]["negotiated"]


def cut(site, tunnel):
    """Nothing passes to or from one outside address any more, and nobody says so."""
    site.internet.nft("table ip cut {\nchain f {\ntype filter hook forward priority 0; policy accept;\n"
                      f"ip saddr {tunnel.outside} drop\nip daddr {tunnel.outside} drop\n}}\n}}\n")


def moved(probe, how, step):
    """Says how long each direction was without; nothing came twice."""
    for loss, name in zip(probe.stop(), ("LAN to VPC", "VPC to LAN")):
        expect(loss.duplicates == 0, f"{name}: {loss}")
        gaps = [(last - first + 1) / PACE for first, last, _ in loss.gaps]
        step(f"{how}: {name} without for {sum(gaps) * 1000:.0f} ms, {loss.lost} of {loss.sent} packets in {len(gaps)} gaps")


def back(site, aws, causeway, step, give_back):
    """The first tunnel serves again: traffic moves to it, and none of it is lost on the way."""
    probe = Probe(site.lan, LAN_HOST, aws.vpc, AWS.host, pps=PACE).started()
    give_back()
    causeway.wait_up(FIRST.name, timeout=60)
    wait_until("the kernel's route leads into the first tunnel", lambda: way(site) == "aws1", 20)
    wait_until("AWS's route as well", lambda: aws.routing.way_to("192.168.1.0/24") == FIRST.device, 20)
    ping(site.lan, AWS.host, count=3)
    there, back_again = lossless(probe)
    step(f"back through the first tunnel, nothing lost: {there}; {back_again}")


# -- behind a NAT


def behind(site, text):
    """The example of a gateway with a private address: that is its end, the public one its name at AWS."""
    line = f'local   = "{site.public}"'
    expect(text.count(line) == len(TUNNELS), "the example is another one")
    return text.replace(line, f'local = "{site.outer}"\nlocal_id = "{site.public}"')


def behind_nat(site, aws, causeway, step):
    paths_right(site, aws, causeway)
    nat_seen(site, aws, causeway)
    reaches(site, aws)
    step("both in UDP, NAT seen at both ends; best path by MED, ping and transfers both ways, MSS clamped")
    before = [causeway.ike_spis(t.name) for t in TUNNELS]
    site.translate(port=41000)
    site.nat.run(["conntrack", "-F"], check=False)
    until_answered("packets flow from the LAN", site.lan, AWS.host, 25)
    wait_until("both mappings moved at AWS", lambda: ports_at(aws) == {t.outside: "41000" for t in TUNNELS}, 30)
    ping(site.lan, AWS.host, count=3)
    ping(aws.vpc, LAN_HOST, count=3)
    expect([causeway.ike_spis(t.name) for t in TUNNELS] == before, "an IKE SA is another one")
    expect(all(causeway.up(t.name) for t in TUNNELS), "a tunnel fell")
    step("through new mappings with the same IKE SAs")
    probe = Probe(site.lan, LAN_HOST, aws.vpc, AWS.host, pps=PACE).started()
    aws.take_away(FIRST)
    moved_at_both_ends(site, aws)
    ping(site.lan, AWS.host, count=3)
    moved(probe, "taken away with a DELETE", step)
    back(site, aws, causeway, step, lambda: aws.give_back(FIRST))
    nat_seen(site, aws, causeway)


def nat_seen(site, aws, causeway):
    for tunnel in TUNNELS:
        ike = next(i for i in causeway.ike_sas() if i["tunnel"] == tunnel.name and i["state"].lower() == "established")
        expect(ike["nat_local"] and not ike["nat_remote"], f"{tunnel.name} sees the NAT elsewhere: {ike}")
        expect(causeway.child(tunnel.name)["encapsulation"] == "UDP", f"{tunnel.name} is not in UDP")
    theirs = [sa.raw for sa in aws.charon.sas() if sa.state == "ESTABLISHED"]
    expect(theirs and all(sa.get("nat-remote") == "yes" and sa["remote-host"] == site.public for sa in theirs), f"AWS sees no NAT: {theirs}")


def ports_at(aws):
    """Our port as AWS has it, by the outside address."""
    return {sa.raw["local-host"]: sa.raw["remote-port"] for sa in aws.charon.sas() if sa.state == "ESTABLISHED"}


# -- the limit


def networks(count):
    """So many prefixes of ours, the LAN's among them."""
    return ["192.168.1.0/24"] + [f"192.168.{n}.0/24" for n in range(2, count + 1)]


def route_limit(site, aws, causeway, step):
    permit = {"prefix_list": {"aws-out": [Inline(seq=10, action="permit", prefix="192.168.0.0/16", le=24)]}}
    tree = merge(causeway.tree, permit)

    def say(count):
        causeway.reload(merge(tree, {"bgp": {"networks": networks(count)}}))

    def heard(count):
        wait_until(f"{count} prefixes at AWS", lambda: all(len(aws.routing.routes_from(t)) == count for t in TUNNELS), 20)

    def alarms(words):
        return causeway.process.output().count(words)

    say(100)
    heard(100)
    expect(alarms("held back") == 0, "an alarm at the limit itself")
    sessions = [established(causeway, t) for t in TUNNELS]
    step("100 prefixes announced")
    say(120)
    wait_until("an alarm for each session", lambda: alarms("20 prefixes held back: the neighbour takes 100") == 2, 20)
    holds("100 prefixes at AWS, and both sessions", lambda: all(
        len(aws.routing.routes_from(t)) == 100 and causeway.up(t.name) for t in TUNNELS), 2)
    for tunnel in TUNNELS:
        expect(causeway.why(tunnel.name)[0] == "max-prefix" and "20 prefixes" in causeway.why(tunnel.name)[1], f"show status says {causeway.why(tunnel.name)}")
        told = causeway.show("bgp", "neighbors", tunnel.name, "advertised-routes")["routes"]
        expect(len(told) == 100 and "192.168.1.0/24" in {r["prefix"] for r in told}, f"advertised-routes has {len(told)}")
    step("20 of 120 held back with an alarm")
    say(60)
    heard(60)
    wait_until("the alarm is taken back", lambda: alarms("no prefixes held back any more") == 2, 20)
    expect([established(causeway, t) for t in TUNNELS] == sessions, "a session was lost")
    expect(not any(causeway.why(t.name)[0] for t in TUNNELS), f"show status still says {causeway.why(FIRST.name)}")
    step("room again: the alarm is over, the sessions never fell")
    bites(aws, causeway, tree, step)


def bites(aws, causeway, tree, step):
    """That the stand-in does as AWS: without a profile that knows it the 101st prefix ends the session."""
    careless = {"tunnel": {FIRST.name: {
        "profile": "generic", "ike": {"proposals": ["aes256gcm16-prfsha384-ecp384"]}, "esp": {"proposals": ["aes256gcm16-ecp384"]}}}}
    causeway.reload(merge(merge(tree, careless), {"bgp": {"networks": networks(101)}}))
    wait_until("AWS ends the session", lambda: causeway.why(FIRST.name)[0] == "max-prefix", 20)
    wait_until("AWS has given up", lambda: "Route limit exceeded" in aws.routing.birdc("show", "protocols", session(FIRST)), 20)
    expect(causeway.up(SECOND.name), "the second tunnel fell with it")
    step(f"one prefix too many ends a session: {causeway.why(FIRST.name)[1]}")


def established(causeway, tunnel):
    """How often this session was Established."""
    (row,) = [r for r in causeway.show("bgp", "summary")["peers"] if r["name"] == tunnel.name]
    return row["connectionsEstablished"]
