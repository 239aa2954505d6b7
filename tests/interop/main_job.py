"""The main job, over the whole matrix: head-end (a real Linux kernel with VTI, or kernel-libipsec) x
routing daemon (FRR, BIRD 2) x who dials (causeway, the peer, causeway on demand) x how ESP travels
(protocol 50, protocol 50 with ESN, UDP because forced, UDP through a NAT). Proven in each cell: both
ends name the same SPIs; 172.16.0.0/22 in the kernel with the example's source and metric; 192.168.1.1/32
refused by the list and 192.168.1.0/24 by the own-prefix guard though a list permits it; ping both ways;
traceroute shows gateway, head-end, host; TCP both ways, compared by hash, with MSS clamped to 1350;
on the wire only ESP of the wanted form; nothing left after a clean stop.
"""

import os

from lab.capture import Capture
from lab.case import Steps
from lab.headend import KINDS, TRANSPORTS
from lab.shell import expect
from lab.toml_text import Inline
from lab.topology import AZURE, LAN_HOST
from lab.traffic import transfer

from .first_packet import nothing_left
from .stand import Stand, mss_of, possible

ROLES = ("initiate", "respond", "on-demand")


def cells(full):
    found = []
    for kind in KINDS:
        for a, role in enumerate(ROLES):
            for b, transport in enumerate(TRANSPORTS):
                # By default the routing daemons take turns; every role and encapsulation is there either way.
                for routing in ("frr", "bird") if full else (("frr", "bird")[(a + b) % 2],):
                    name = f"{kind}-{routing}-{role}-{transport}".replace("on-demand", "on_demand")
                    why = possible(kind, transport)
                    found.append((name, why) if why else name)
    return found


def run(lab, cell):
    step = Steps()
    kind, routing, role, transport = cell.split("-", 3)
    permit_echo = {"prefix_list": {"azure-in": [
        Inline(seq=30, action="deny", prefix="192.168.1.1/32", description="local peering address"),
        Inline(seq=100, action="permit", prefix="192.168.1.0/24"),
        Inline(seq=110, action="permit", prefix="172.16.0.0/22"),
    ]}}
    stand = Stand(lab, kind, routing, role.replace("_", "-"), transport, changes=permit_echo)
    # Headers are enough, and of large transfers all that the capture's buffer takes.
    wan = stand.capture_wan(snaplen=128)
    if role == "respond":
        # Who answers has to be there first: the peer's next try may be seconds away.
        stand.causeway.start()
        stand.headend.start()
    else:
        stand.headend.start()
        stand.causeway.start()
    if role == "on_demand":
        expect(not stand.causeway.ipsec_up(), "an on-demand tunnel dialled without a packet")
        stand.dial_on_demand()
    stand.causeway.wait_up()
    stand.ends_agree()
    initiator = {"respond": True}.get(role, False)
    expect(stand.headend.charon.established().initiator == initiator, "the wrong side was the initiator")
    step("up at both ends")
    stand.routes_right()
    verdicts = stand.causeway.received()
    expect("30" in verdicts["192.168.1.1/32"]["verdict"], f"192.168.1.1/32: {verdicts['192.168.1.1/32']['verdict']}")
    expect("own" in verdicts["192.168.1.0/24"]["verdict"].lower(), f"192.168.1.0/24: {verdicts['192.168.1.0/24']['verdict']}")
    expect(stand.causeway.child()["esn"] == (transport == "native-esn"), "ESN is not what was asked for")
    step("routes right, echo kept out")
    stand.reaches()
    stand.hops_right()
    step("ping both ways, traceroute")
    syn = Capture(stand.cloud, "eth0", "syn", "tcp[tcpflags] & tcp-syn != 0")
    back = Capture(stand.lan, "eth0", "syn-lan", "tcp[tcpflags] & tcp-syn != 0")
    size = 100_000_000 if os.environ.get("CAUSEWAY_LAB_FULL") else 4_000_000
    transfer(stand.lan, stand.cloud, AZURE.host, size)
    transfer(stand.cloud, stand.lan, LAN_HOST, size)
    for place in (syn, back):
        outside = [p for p in place.stop() if p.source == (LAN_HOST if place is syn else AZURE.host)]
        expect(outside, "no SYN of a transfer was captured")
        for packet in outside:
            expect(mss_of(packet) == 1350, f"MSS {mss_of(packet)} in {packet}")
    step("transfers both ways, MSS clamped")
    print(f"result: {size // 1_000_000} MB each way")
    stand.wire_right(wan.stop())
    nothing_left(stand)
    step("wire right, nothing left")
