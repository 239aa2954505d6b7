"""What must not be starved: the timers of IKE and BGP beside more datagrams than the tunnel can carry."""

import json
import statistics
import time
from dataclasses import dataclass

from lab.capture import Capture
from lab.shell import Failed, expect, wait_until

from .ends import INNER, OUTER, Causeway
from .machine import memory
from .measure import last_page, listen

INFORMATIONAL, KEEPALIVE, BGP_HEADER = 37, 4, 19
# Senders at first, and at most; so many that the tunnel loses this share.
SENDERS, MOST_SENDERS, DROPPED = 4, 16, 0.10
# Seconds of a flood that shows how many senders are enough.
PROBE = 1


class Timers(Causeway):
    """Two daemons with the shortest timers. Through tunnel `bench` goes BGP with a hold time of 3 s, and the flood; through tunnel
    `other` BGP alone; tunnel `idle` carries nothing, so that its ends ask each second whether the other lives (on the others what
    comes answers that)."""

    inside = {"bench": INNER, "other": ("10.8.0.1", "10.8.0.2")}

    def tree(self, side):
        tree = super().tree(side)
        tree["router"] = {"id": OUTER[side], "asn": 65001 + side}
        tree["bgp"] = {"neighbor": {name: {
            "address": inner[1 - side], "asn": 65002 - side, "tunnel": name, "source": inner[side],
            "hold_time": "3s", "keepalive": "1s", "import": "any", "export": "none"} for name, inner in self.inside.items()}}
        bench = tree["tunnel"]["bench"]
        bench["ike"]["dpd"] = {"delay": "1s", "timeout": "6s"}
        for name, addresses in (("idle", []), ("other", [f"{self.inside['other'][side]}/24"])):
            tree["tunnel"][name] = {
                **bench, "local_id": f"{name}{side}.example", "remote_id": f"{name}{1 - side}.example",
                "interface": {"name": f"{name}0", "addresses": addresses}}
        return tree

    def sessions(self):
        """State of each BGP session, and how often it was lost."""
        page = json.loads(self.client(0, "show", "bgp", "neighbors", "--json").out)
        return {row["name"]: (row["state"], row["connectionsDropped"]) for row in page}

    def ike_sas(self):
        """SPIs of each tunnel's IKE SA."""
        rows = json.loads(self.client(0, "show", "ike", "--json").out)["sas"]
        return {row["tunnel"]: row["spi_initiator"] for row in rows if row["state"] == "ESTABLISHED"}

    def ready(self):
        """Waits until the tunnels and both sessions stand."""
        wait_until("three IKE SAs", lambda: len(self.ike_sas()) == 3, 30)
        wait_until("two sessions", lambda: [state for state, _ in self.sessions().values()] == ["Established"] * 2, 60)
        return self


@dataclass
class Seen:
    """What one run showed. Times in milliseconds; counts of the idle tunnel's exchanges and of BGP's keepalives."""

    offered: float
    delivered: float
    at_tun: float
    exchanges: int
    repeated: int
    answer: float
    asked: float
    inside: float
    against: float
    other: float
    lost: list
    megabytes: tuple


class Wire:
    """What both ends' wires and tunnels show of IKE and BGP, while it is open."""

    def __init__(self, contender, number):
        ike, bgp = "udp port 4500 and udp[8:4] = 0", "tcp port 179"
        self.wan = [Capture(end, "wan0", f"flood{number}-ike{side}", ike, snaplen=128) for side, end in enumerate(contender.ends)]
        self.tun = [Capture(end, "vti0", f"flood{number}-bgp{side}", bgp, snaplen=160) for side, end in enumerate(contender.ends)]
        self.other = Capture(contender.ends[1], "other0", f"flood{number}-other", bgp, snaplen=160)

    def stop(self, spi):
        """(exchanges, requests repeated, slowest answer, longest wait for the next request) of the IKE SA with this SPI, and the
        longest waits for a keepalive: with the flood, against it, and through another tunnel."""
        exchanges = repeated = 0
        slowest, times = 0.0, []
        for side, capture in enumerate(self.wan):
            asked = {}
            for packet in capture.stop():
                message = packet.ike
                if not message or message[:8].hex() != spi or message[18] != INFORMATIONAL:
                    continue
                number, answer, ours = message[20:24], bool(message[19] & 0x20), packet.source == OUTER[side]
                if not answer and ours:
                    repeated += number in asked
                    times.append(packet.time)
                    asked.setdefault(number, packet.time)
                elif answer and not ours and asked.get(number):
                    slowest, exchanges = max(slowest, packet.time - asked[number]), exchanges + 1
                    asked[number] = 0.0
        waits = [self._keepalives(self.tun[1 - side].stop(), INNER[side]) for side in (0, 1)]
        waits.append(self._keepalives(self.other.stop(), Timers.inside["other"][0]))
        return exchanges, repeated, slowest * 1000, longest(sorted(times)), *waits

    @staticmethod
    def _keepalives(packets, source):
        """The longest wait between two of a sender's keepalives as they arrive, each counted once."""
        first = {}
        for packet in packets:
            if packet.source != source or packet.protocol != 6:
                continue
            sequence, head = packet.payload[4:8], (packet.payload[12] >> 4) * 4
            body = packet.payload[head:]
            if len(body) == BGP_HEADER and body[18] == KEEPALIVE:
                first.setdefault(sequence, packet.time)
        return longest(sorted(first.values()))


def longest(times):
    """The longest time between two of these, milliseconds."""
    expect(len(times) > 1, "fewer than two were seen, so there is no wait between them")
    return max(after - before for before, after in zip(times, times[1:])) * 1000


def _flood(contender, pace, name, size, senders, seconds):
    """So many senders as fast as each can: (sent, received, dropped by the TUN)."""
    a, b = contender.ends

    def dropped():
        return json.loads(a.ip(f"-s -j link show dev {contender.tun}"))[0]["stats64"]["tx"]["dropped"]

    receiver, before = listen(b, pace, f"{name}-in", f"{INNER[1]}:7002"), dropped()
    sending = [a.spawn(f"{name}-{one}", [
        pace, "send", "--to", f"{INNER[1]}:7002", "--rate", "5000000", "--size", str(size), "--millis", str(int(seconds * 1000))])
        for one in range(senders)]
    for process in sending:
        process.wait(seconds + 60)
    receiver.wait(seconds + 60)
    return sum(last_page(one)["sent"] for one in sending), last_page(receiver)["received"], dropped() - before


def enough(contender, pace, size):
    """How many senders the tunnel loses enough with."""
    senders = SENDERS
    while senders <= MOST_SENDERS:
        sent, got, _ = _flood(contender, pace, f"probe{size}-{senders}", size, senders, PROBE)
        if got < sent * (1 - DROPPED):
            return senders
        senders *= 2
    raise Failed(f"{MOST_SENDERS} senders of {size} octets do not overload this tunnel")


def beside(contender, pace, size, senders, seconds):
    """The timers beside a flood, or beside nothing when there are no senders."""
    number = beside.count = getattr(beside, "count", 0) + 1
    contender.ready()
    ike, sessions, before = contender.ike_sas(), contender.sessions(), memory(contender.pids())
    wire = Wire(contender, number)
    if senders:
        sent, got, at_tun = _flood(contender, pace, f"flood{number}", size, senders, seconds)
        expect(got < sent * (1 - DROPPED / 2), f"{sent - got} of {sent} datagrams were lost: that is no overload")
    else:
        sent, got, at_tun = 0, 0, 0
        time.sleep(seconds)
    seen = wire.stop(ike["idle"])
    ike_after, sessions_after = contender.ike_sas(), contender.sessions()
    lost = [f"IKE SA of {name}" for name, spi in ike.items() if ike_after.get(name) != spi]
    lost += [f"BGP session through {name}" for name, was in sessions.items() if sessions_after.get(name) != was]
    return Seen(sent / seconds, got / seconds, at_tun / max(1, sent), *seen, lost, (before, memory(contender.pids())))


def starving(contender, pace, seconds, rounds, failures):
    """Lines of a table: what floods of `seconds` did to timers and memory. What was lost is said in `failures` as well."""
    contender.ready()
    rows = [["into the tunnel", "offered", "delivered", "dropped by the TUN", "DPD exchanges of an idle tunnel", "repeated",
             "slowest answer", "longest wait for the next", "longest wait for a BGP keepalive: with the flood, against it, through another tunnel",
             "lost", "memory before, after", "rounds"], ["---"] * 12]
    for size in (0, 1300, 64):
        try:
            senders = enough(contender, pace, size) if size else 0
            seen = [beside(contender, pace, size, senders, seconds) for _ in range(rounds)]
        except Failed as error:
            failures.append(f"starving, {size} octets: {str(error)[:200]}")
            rows.append([f"{size} octets", f"FAILED: {str(error)[:80]}", *[""] * 10])
            continue
        lost = [f"round {n + 1}: {what}" for n, s in enumerate(seen) for what in s.lost]
        failures += [f"starving, {size} octets, {what}" for what in lost]
        offered, delivered, at_tun = (statistics.median(getattr(s, f) for s in seen) for f in ("offered", "delivered", "at_tun"))
        rows.append([
            f"{size} octets from {senders} senders, {seconds} s" if size else f"nothing, {seconds} s",
            f"{offered / 1000:.0f} k/s", f"{delivered / 1000:.0f} k/s", f"{at_tun * 100:.0f} %",
            str(sum(s.exchanges for s in seen)), str(sum(s.repeated for s in seen)), f"{max(s.answer for s in seen):.1f} ms",
            f"{max(s.asked for s in seen):.0f} ms", ", ".join(f"{max(getattr(s, f) for s in seen):.0f} ms" for f in ("inside", "against", "other")),
            ", ".join(lost) or "nothing", f"{seen[0].megabytes[0]:.0f} MB, {seen[-1].megabytes[1]:.0f} MB", str(rounds)])
    return rows
