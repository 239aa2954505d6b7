"""What must not stall the path: the longest silence of steady streams, one each way, around an event."""

import json
import re
import statistics
import time

from lab.shell import Failed, expect, wait_until

from .ends import INNER, OUTER, Causeway
from .machine import Meter
from .many import sections, standing
from .measure import last_page, listen

# Datagrams a second of each stream that shows silences: one each 200 microseconds.
STEADY = 5_000
# Seconds in which an event may show, and as many before it that count as quiet; the first half second is left out.
WINDOW = 2.0
# Of one run: both windows, what is left out before them, and a little after them.
RUN = 2 * WINDOW + 1.0


class Natted(Causeway):
    """Two daemons, the first behind a NAT of its own host that gives its port 4500 another number; with `count` further
    tunnels between them that stand and carry nothing."""

    port = 5000

    def __init__(self, *arguments, count=0):
        super().__init__(*arguments)
        self.count, self.more = count, 0

    def tree(self, side):
        tree = super().tree(side)
        tree["tunnel"].update(sections(self, side, self.count))
        for number in range(self.more if side == 0 else 0):
            name = f"more{number}"
            tree["tunnel"][name] = {
                "local": OUTER[0], "remote": "198.51.100.1", "start": "respond", "psk": {"value": "another-secret-of-the-benches"},
                "local_id": f"{name}.example", "remote_id": f"{name}.peer.example", "interface": {"name": name}}
        return tree

    def connect(self):
        self.translate()
        super().connect()
        wait_until("every tunnel stands", lambda: standing(self) == self.count + 1, 60 + self.count // 4, 0.5)
        # What standing up leaves to do is over.
        time.sleep(2)

    def translate(self):
        """Another number; what was remembered of the old one is forgotten with it."""
        self.port += 1
        a = self.ends[0]
        a.nft("flush ruleset\ntable ip nat {\n chain post {\n  type nat hook postrouting priority 100;\n"
              f"  oifname wan0 udp sport 4500 snat to {OUTER[0]}:{self.port}\n }}\n}}\n")
        a.run(["conntrack", "-F"])

    def one_more(self):
        """Another tunnel in the first end's file, and a reload."""
        self.more += 1
        self.configure(0)
        self.client(0, "reload")

    # What an event must have changed.

    def child_spis(self):
        """SPIs of the CHILD SA in use."""
        rows = [r for r in json.loads(self.client(0, "show", "ipsec", "--json").out) if (r["tunnel"], r["state"]) == ("bench", "INSTALLED")]
        newest = min(rows, key=lambda row: row["age"])
        return newest["inbound"]["spi"], newest["outbound"]["spi"]

    def ike_spis(self):
        """SPIs of the IKE SA in use."""
        rows = json.loads(self.client(0, "show", "ike", "--json").out)["sas"]
        return [r["spi_initiator"] for r in rows if (r["tunnel"], r["state"]) == ("bench", "ESTABLISHED")]

    def names(self):
        """Names of the tunnels the first end has."""
        return sorted(t["name"] for t in json.loads(self.client(0, "show", "status", "--json").out)["tunnels"])

    def seen_at(self):
        """The port at which the far end sees this one."""
        rows = json.loads(self.client(1, "show", "ipsec", "--json").out)
        return sorted({r["remote"] for r in rows if r["tunnel"] == "bench"})


def _unchanged(contender):
    said = contender.client(0, "reload").out
    expect("nothing changed" in said, f"a reload of the same file said: {said}")


def events(contender):
    """Title, what to do, and what has to be another afterwards (None: the doing itself asserts)."""
    found = [
        ("nothing", lambda: None, None),
        ("CHILD SA rekeyed", lambda: contender.client(0, "rekey", "bench", "--child"), contender.child_spis),
        ("IKE SA rekeyed", lambda: contender.client(0, "rekey", "bench", "--ike"), contender.ike_spis),
        ("reload, nothing changed", lambda: _unchanged(contender), None),
        ("reload, a tunnel more", contender.one_more, contender.names),
    ]
    return found + [("NAT rebinding", contender.translate, contender.seen_at)]


def stall(contender, pace, event, changes):
    """One event beside both streams. For a to b and b to a: the longest silence (ms) within the window after `event`, the
    longest in the one before it, and how many datagrams were lost."""
    number = stall.count = getattr(stall, "count", 0) + 1
    receivers = [listen(contender.ends[1 - side], pace, f"stall{number}-{side}", f"{INNER[1 - side]}:7001") for side in (0, 1)]
    before, meter = changes() if changes else None, Meter()
    senders = [end.spawn(f"steady{number}-{side}", [
        pace, "send", "--to", f"{INNER[1 - side]}:7001", "--rate", str(STEADY), "--size", "200", "--millis", str(int(RUN * 1000))])
        for side, end in enumerate(contender.ends)]
    began = time.monotonic()
    time.sleep(WINDOW + 0.6)
    at = time.monotonic() - began
    event()
    for process in senders + receivers:
        process.wait(30)
    if changes:
        expect(changes() != before, f"the event did not happen: {before} before it and after")
    _, stolen = meter.stop()
    # Slices of gaps count from the first datagram, which is a few milliseconds behind `began`.
    first, length = int(at * 10) - 1, int(WINDOW * 10)
    found = []
    for sender, receiver in zip(senders, receivers):
        page = last_page(receiver)
        quiet, around = page["gaps"][max(0, first - length):first], page["gaps"][first:first + length]
        expect(quiet and around, f"a stream ended before the event: {receiver.output()[-200:]}")
        found.append((max(around) / 1000, max(quiet) / 1000, last_page(sender)["sent"] - page["received"]))
    return found, stolen


def stalls(contender, pace, rounds, failures):
    """Lines of a table: an event each, and each direction. What failed is said in `failures` as well."""
    beside = f"beside {contender.count} idle tunnels, " if contender.count else ""
    rows = [[f"longest silence of {STEADY:,} datagrams a second each way", "direction", "around the event", "before it", "ratio of a round",
             "largest of all rounds: around, before", "lost", "steal", "rounds"], ["---"] * 9]
    for title, event, changes in events(contender):
        try:
            seen = [stall(contender, pace, event, changes) for _ in range(rounds)]
        except Failed as error:
            why = re.sub(r"\s+", " ", str(error))[:100]
            failures.append(f"stalls, {beside}{title}: {why}")
            rows.append([beside + title, "", f"FAILED: {why}", "", "", "", "", "", ""])
            continue
        stolen = max(s for _, s in seen)
        for way, side in (("a to b", 0), ("b to a", 1)):
            values = [found[side] for found, _ in seen]
            around, quiet = (statistics.median(v[i] for v in values) for i in (0, 1))
            ratio = statistics.median(v[0] / max(v[1], 0.001) for v in values)
            rows.append([
                beside + title, way, f"{around:.2f} ms", f"{quiet:.2f} ms", f"{ratio:.2f}",
                f"{max(v[0] for v in values):.2f} ms, {max(v[1] for v in values):.2f} ms", str(sum(v[2] for v in values)),
                f"{stolen * 100:.1f} %", str(rounds)])
    return rows
