"""Translators that forget: the peer sits behind a NAT that gives it another outer port while the tunnel runs,
and causeway sits behind one that does the same. Proven: packets flow again both ways within seconds without
a new IKE SA; what goes to the moved peer goes to its new port, and only authenticated packets moved it.
"""

from lab.capture import Capture
from lab.case import Steps
from lab.shell import expect
from lab.topology import AZURE, LAN_HOST
from lab.traffic import ping, until_answered

from .stand import Stand

PEER_OUTSIDE = "192.0.2.99"


def cells(full):
    # libipsec does not follow a mapping that ESP shows it, so causeway's own move takes the kernel as the peer.
    return ["peer-libipsec", "own-kernel"] + (["peer-kernel"] if full else [])


def translate_peer(stand, port):
    """The internet router as the peer's NAT: its outer address, and this port for 4500."""
    internet = stand.site.internet
    internet.nft(
        "flush ruleset\ntable ip nat {\nchain post {\ntype nat hook postrouting priority 100; policy accept;\n"
        f"oifname \"site0\" ip saddr 192.0.2.1 udp sport 4500 snat to {PEER_OUTSIDE}:{port}\n"
        f"oifname \"site0\" ip saddr 192.0.2.1 udp sport 500 snat to {PEER_OUTSIDE}:{port + 1}\n"
        "}\n}\n")
    internet.run(["conntrack", "-F"], check=False)


def run(lab, cell):
    step = Steps()
    who, _, kind = cell.partition("-")
    if who == "own":
        stand = Stand(lab, kind, transport="nat").start()
        stand.reaches(count=1)
        ike = stand.causeway.ike_spis()
        step("up behind a NAT")
        stand.site.translate(port=41000)
        stand.site.nat.run(["conntrack", "-F"], check=False)
    else:
        stand = Stand(lab, kind, start="respond", changes={"tunnel": {"azure": {"remote": "any", "remote_id": "192.0.2.1"}}})
        translate_peer(stand, 42000)
        stand.causeway.start()
        stand.headend.start()
        stand.causeway.wait_up()
        stand.routed()
        stand.reaches(count=1)
        ike = stand.causeway.ike_spis()
        expect("42000" in stand.causeway.child()["remote"], "the peer is not seen at its translated port")
        step("up with the peer behind a NAT")
        translate_peer(stand, 43000)
        ping(stand.cloud, LAN_HOST, count=3, check=False)
    wan = Capture(stand.site.internet, "site0", "after")
    # The side whose translator forgot has to send first.
    from_lan, from_cloud = ("the LAN", stand.lan, AZURE.host), ("the cloud", stand.cloud, LAN_HOST)
    for where, host, target in (from_lan, from_cloud) if who == "own" else (from_cloud, from_lan):
        until_answered(f"packets flow from {where}", host, target, 25)
    packets = [p for p in wan.stop() if p.protocol == 17]
    if who == "peer":
        expect(any(p.dport == 43000 for p in packets), "nothing went to the peer's new port")
        expect("43000" in stand.causeway.child()["remote"], "the pages show the old port")
    else:
        expect(any(p.sport == 41000 for p in packets), "the lab's NAT did not move")
    expect(stand.causeway.ike_spis() == ike, "the IKE SA is another one")
    step("flows again through the moved mapping")
