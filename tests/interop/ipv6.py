"""IPv6 inside and outside: both kinds of packets through a tunnel over IPv4 and through one over IPv6, with the ESP of a
real kernel and with libipsec. Over IPv6 each side is once the one who dials, and the kernel speaks protocol 50 as well as
UDP. Routes are static here; the IPv4 session of BGP runs beside them. Proven: the right side was the initiator, both
ends name the same SPIs and the form of ESP, ping and hashed transfers both ways in IPv6 and in IPv4, the inner MTU at
least 1280 and what the pages say, ESP on the wire in the wanted outer family and form, nothing of the inside in clear,
and a clean stop that leaves no SA.
"""

import re

from lab.capture import Capture
from lab.case import Steps
from lab.shell import expect, wait_until
from lab.strongswan import Ipsec
from lab.toml_text import merge
from lab.topology import AZURE, GATEWAY6, LAN6, LAN_HOST, LAN_HOST6
from lab.traffic import ping, transfer, until_answered

from .stand import Stand

INNER = ("fd0", "192.168.1.", "172.16.")
# Who dials, and how ESP travels, one after the other on the same stand.
TURNS = {
    "libipsec-over4": [("initiate", "auto")],
    "libipsec-over6": [("initiate", "auto"), ("respond", "auto")],
    "kernel-over4": [("initiate", "auto")],
    "kernel-over6": [(role, form) for form in ("auto", "always") for role in ("initiate", "respond")],
}


def cells(_full):
    return list(TURNS)


def run(lab, cell):
    step = Steps()
    kind, _, outer = cell.partition("-")
    stand = dual(lab, kind, outer)
    stand.headend.ipsec.initiate = False
    stand.headend.start()
    stand.headend.host.ip(f"route replace {LAN6} dev {stand.kind.device}")
    for number, (role, form) in enumerate(TURNS[cell]):
        wan = Capture(stand.site.gateway, "wan0", f"wan-{number}", split=True)
        turn(stand, role, form)
        step(f"{role}, encapsulation {form}: up at both ends")
        carries(stand)
        step("ping and transfers in IPv6 and IPv4")
        wire_right(wan.stop(), outer, udp=kind == "libipsec" or form == "always")
        stand.causeway.stop()
        wait_until("the peer's SAs gone", lambda: not stand.headend.charon.sas(), 20)
        step("wire right, nothing left")


def dual(lab, kind, outer, **more):
    """A stand whose tunnel carries both families over the outer one."""
    peer = Ipsec(local_ts="0.0.0.0/0, ::/0", remote_ts="0.0.0.0/0, ::/0", remote=GATEWAY6 if outer == "over6" else Ipsec.remote)
    stand = Stand(lab, kind, transport="native" if kind == "kernel" else "auto", ipsec=peer, **more)
    tree = merge(stand.causeway.tree, {"tunnel": {"azure": {
        "esp": {"local_ts": ["0.0.0.0/0", "::/0"], "remote_ts": ["0.0.0.0/0", "::/0"]},
        "interface": {"routes": [f"{AZURE.peering}/32", AZURE.prefix6]},
    }}})
    if outer == "over6":
        over6(stand, tree)
    stand.causeway.write(tree)
    return stand


def over6(stand, tree):
    """Moves both ends to IPv6 outside; the identities stay."""
    stand.headend.ipsec.local, stand.headend.ipsec.remote = AZURE.outer6, GATEWAY6
    tree["tunnel"]["azure"].update(local=GATEWAY6, remote=AZURE.outer6)


def turn(stand, role, form):
    """Both ends told who dials and in which form, and up; who answers is there first."""
    mine, charon = stand.causeway, stand.headend.charon
    stand.headend.ipsec.initiate = role == "respond"
    mine.write(merge(mine.tree, {"tunnel": {"azure": {"start": role, "esp": {"encapsulation": form}}}}))
    for begin in (mine.start, charon.load) if role == "respond" else (charon.load, mine.start):
        begin()
    mine.wait_up()
    stand.routed()
    stand.ends_agree()
    there = charon.established()
    expect(there.initiator == (role == "respond"), "the wrong side was the initiator")
    ours, udp = mine.child()["encapsulation"], there.children[0].raw.get("encap") == "yes"
    expect(udp == (form == "always" or not stand.kind.native_esp), f"the peer's form of ESP is {'UDP' if udp else 'ESP'}")
    expect(ours == ("UDP" if udp else "ESP"), f"our form of ESP is {ours}")


def carries(stand):
    gateway = stand.site.gateway
    expect("vti0" in gateway.ip(f"-6 route show {AZURE.prefix6}"), "the static IPv6 route is missing")
    mtu = int(re.search(r"mtu (\d+)", gateway.ip("-o link show dev vti0")).group(1))
    expect(mtu >= 1280, f"the tunnel's MTU is {mtu}")
    until_answered("IPv6 passes", stand.lan, AZURE.host6, 10)
    ping(stand.lan, AZURE.host6)
    ping(stand.cloud, LAN_HOST6)
    # The largest that fits; the first answer teaches the cloud host the MTU of its own side's device.
    ping(stand.lan, AZURE.host6, count=1, size=mtu - 48, df=True, check=False)
    ping(stand.lan, AZURE.host6, count=2, size=mtu - 48, df=True)
    stand.reaches()
    for target, back in ((AZURE.host6, LAN_HOST6), (AZURE.host, LAN_HOST)):
        transfer(stand.lan, stand.cloud, target, 1_000_000)
        transfer(stand.cloud, stand.lan, back, 1_000_000)


def wire_right(packets, outer, udp):
    esp = [p for p in packets if p.esp]
    expect(esp, "no ESP on the wire")
    wrong = [p for p in esp if (":" in p.source) != (outer == "over6") or p.esp[2] != udp]
    expect(not wrong, lambda: f"{len(wrong)} of {len(esp)} ESP packets in the wrong outer family or form: {wrong[0]}")
    clear = [p for p in packets if p.source.startswith(INNER) or p.destination.startswith(INNER)]
    expect(not clear, lambda: f"in clear: {clear[0]}")
