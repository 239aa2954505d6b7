"""More than a tunnel can carry: programs in the LAN send as fast as they can into one tunnel, until its device drops what finds
no room. Proven, while it drops: a second tunnel between the same two gateways, idle with DPD each second, goes on asking and being
answered, at both ends and on the wire; a BGP session with a hold time of 3 s inside the flooded tunnel itself stays, its
keepalives having a queue of the device of their own; no IKE SA is another one, and no CHILD SA; what the flooded tunnel carries
arrives; and it carries pings again afterwards.
"""

import json
import os
import time
from types import SimpleNamespace

from lab.capture import Capture
from lab.case import Steps
from lab.causeway import PSK, Causeway
from lab.shell import expect, wait_until
from lab.toml_text import Inline
from lab.topology import AZURE, Site
from lab.traffic import PYTHON, TOOL, ping

ALONE = True
INFORMATIONAL = 37
SECONDS, MOST_SENDERS = 5, 256
TUNNELS = ("azure", "idle")
# Addresses the session runs between, inside the flooded tunnel.
SESSION = ("10.8.0.1", "10.8.0.2")


def cells(_full):
    return ["small", "large"]


def tree(side, local, remote, routes):
    """One end's file: two tunnels to the other, told apart by identity."""
    def tunnel(name, **interface):
        return {
            "local": local, "remote": remote, "start": ("initiate", "respond")[side], "psk": Inline(file=f"{name}.psk"),
            "local_id": f"{name}{side}.example", "remote_id": f"{name}{1 - side}.example",
            "ike": {"dpd": Inline(delay="1s", timeout="6s")}, "esp": {"encapsulation": "always"},
            "interface": {"name": f"{name}0", **interface},
        }

    return {
        "router": {"id": local, "asn": 65001 + side},
        "tunnel": {"azure": tunnel("azure", routes=[routes], addresses=[f"{SESSION[side]}/24"]), "idle": tunnel("idle")},
        "bgp": {"neighbor": {"peer": {
            "address": SESSION[1 - side], "asn": 65002 - side, "tunnel": "azure", "source": SESSION[side],
            "hold_time": "3s", "keepalive": "1s", "import": "any", "export": "none"}}},
    }


def run(lab, cell):
    step = Steps()
    site = Site(lab)
    edge, cloud = site.attach_host(AZURE, guest=False)
    far = SimpleNamespace(lab=lab, gateway=edge)
    secrets = dict.fromkeys(TUNNELS, PSK)
    ends = [
        Causeway(site, tree(0, site.outer, AZURE.outer, AZURE.prefix), secrets=secrets),
        Causeway(far, tree(1, AZURE.outer, site.outer, "192.168.1.0/24"), "far", secrets=secrets),
    ]
    for end in reversed(ends):
        end.start()
    for end in ends:
        for name in TUNNELS:
            end.wait_up(name)
    ping(site.lan, AZURE.host)
    for end in ends:
        ways = {offload["name"]: offload["on"] for offload in end.show("interfaces")["interfaces"][0]["offloads"]}
        expect(ways["control-queue"], f"no queue for control packets: {ways}")
    step("two tunnels and the session stand")
    before = identities(ends)
    wan = [Capture(place, device, f"ike-{device}", "udp port 4500 and udp[8:4] = 0")
           for place, device in ((site.gateway, "wan0"), (edge, "wan0"))]
    session = Capture(edge, "azure0", "bgp-azure0", "tcp port 179")
    carried = arrived(ends[1])
    sent, lost = overload(site, 64 if cell == "small" else 1300)
    ended, carried = time.time(), arrived(ends[1]) - carried
    step(f"of {sent} datagrams {lost} found no room in the device, {carried} packets arrived")
    step(f"longest silence of the session's end behind the flood: {silence(session.stop()):.1f} s")
    after = identities(ends)
    expect(after == before, f"lost: {before} before the flood, {after} after it")
    expect(carried > 1000, f"of {sent} datagrams {carried} arrived")
    spi = ends[0].ike_spis("idle")[0]
    for capture in wan:
        # The last of them may have been lost in the flood, and are repeated.
        wait_until("every question of the idle tunnel answered", lambda capture=capture: exchanges(capture.packets(), spi, ended)[0] == 0, 20)
    counted = [exchanges(capture.stop(), spi, ended)[1] for capture in wan]
    expect(min(counted) >= 2, f"DPD exchanges of the idle tunnel during the flood: {counted}")
    step(f"DPD of the idle tunnel went on: {counted[0]} exchanges, each answered at last")
    wait_until("pings get through again", lambda: ping(site.lan, AZURE.host, check=False) == 3, 20)
    step("pings get through again")


def identities(ends):
    """What changes when an IKE SA, a CHILD SA or the session is lost and made anew."""
    sessions = [(row["state"], row["connectionsDropped"]) for end in ends for row in end.show("bgp", "neighbors")]
    return [(end.ike_spis(name), end.spis(name)) for end in ends for name in TUNNELS], sessions


def silence(packets):
    """The longest time without a packet of the flooded end's, as they come out of the tunnel."""
    times = [packet.time for packet in packets if packet.source == SESSION[0]]
    return max(later - earlier for earlier, later in zip(times, times[1:]))


def arrived(end):
    """Packets that an end accepted on the flooded tunnel."""
    return end.child()["inbound"]["packets"]


def overload(site, size):
    """Floods, each with twice as many senders, until the device drops more than it carries: (sent by the last, dropped). A session
    that shares the flood's queue does not live through that."""
    senders = 8 * (os.cpu_count() or 1)
    while senders <= MOST_SENDERS:
        before = dropped(site)
        flood = [site.lan.spawn(f"flood-{senders}-{n}", [PYTHON, TOOL, "flood", AZURE.host, "9", str(size), str(SECONDS)])
                 for n in range(senders)]
        for process in flood:
            expect(process.wait(SECONDS + 60) == 0, f"a sender failed: {process.output()}")
        lost = dropped(site) - before
        sent = sum(json.loads(process.output())["sent"] for process in flood)
        if 2 * lost > sent:
            return sent, lost
        senders *= 2
    expect(False, f"{MOST_SENDERS} senders do not overload the tunnel")


def dropped(site):
    """Packets that found no room in the flooded tunnel's device."""
    return json.loads(site.gateway.ip("-s -j link show dev azure0"))[0]["stats64"]["tx"]["dropped"]


def exchanges(packets, spi, ended):
    """Of an IKE SA's INFORMATIONAL exchanges begun until `ended`, as one end's wire shows them: those without an answer, and those
    with one."""
    asked, answered = set(), set()
    for packet in packets:
        message = packet.ike
        if not message or message[:8].hex() != spi or message[18] != INFORMATIONAL:
            continue
        # Who asks and the number name an exchange; an answer comes from the other side.
        if message[19] & 0x20:
            answered.add((packet.destination, message[20:24]))
        elif packet.time <= ended:
            asked.add((packet.source, message[20:24]))
    return len(asked - answered), len(asked & answered)
