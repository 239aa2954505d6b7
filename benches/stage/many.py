"""A thousand tunnels between two daemons, and queue lengths of one."""

import json
import re
import statistics
import time

from lab.shell import wait_until
from lab.toml_text import Inline

from . import measure
from .ends import OUTER, PSK, QUEUE, Causeway
from .machine import memory, spent

# Datagrams a second over all tunnels in turn.
LOAD = 20_000


def sections(contender, side, count):
    """`count` tunnels' sections between the same two addresses, told apart by identity. Tunnel N carries a /30 of its own,
    10.64.0.0 + 4 N: our end is its first address, the peer's the second."""
    found = {}
    for number in range(count):
        identity = [f"t{number}.{end}.example" for end in "ab"]
        found[f"t{number}"] = {
            "local": OUTER[side], "remote": OUTER[1 - side], "start": ("initiate", "respond")[side],
            "psk": Inline(value=PSK), "local_id": identity[side], "remote_id": identity[1 - side],
            "ike": {"proposals": [contender.ike]},
            "esp": {"proposals": [contender.esp], "encapsulation": "always"},
            "interface": {"name": f"t{number}", "addresses": [f"{inner(number, side)}/30"]},
        }
    return found


def standing(contender):
    """How many tunnels have a CHILD SA."""
    page = contender.client(0, "show", "ipsec", "--json", check=False)
    return len(set(re.findall(r'"tunnel": *"(\w+)"', page.out))) if page.rc == 0 else 0


class Many(Causeway):
    """Two daemons with `count` tunnels between them and no other."""

    has_ipv6 = False

    def __init__(self, lab, name, binary, count):
        super().__init__(lab, name, binary, "aes256gcm16", "always")
        self.count = count

    def tree(self, side):
        return {"control": {"socket": self.socket(side)}, "log": {"level": "error"}, "tunnel": sections(self, side, self.count)}

    def start(self):
        began = time.monotonic()
        self.connect()
        wait_until("every tunnel stands", lambda: standing(self) == self.count, 60 + self.count // 4, 0.1)
        self.took = time.monotonic() - began
        return self

    def sent(self):
        """IKE messages both ends sent so far."""
        pages = [json.loads(self.client(side, "show", "ike", "--json").out) for side in (0, 1)]
        return sum(c["count"] for page in pages for c in page["counters"] if c["name"] == "sent")

    def stop(self):
        for process in self.processes:
            process.stop(timeout=30)


def inner(number, side):
    """The inner address of a tunnel's end."""
    value = (10 << 24 | 64 << 16) + 4 * number + 1 + side
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def _fleet(contender, pace, seconds, rest):
    """One fleet's figures: seconds until all stood, megabytes, processor share at rest, IKE messages meanwhile, datagrams a
    second under load, share lost, microseconds of processor each."""
    # What standing up leaves to do is over.
    time.sleep(2)
    asked, before, began = contender.sent(), spent(contender.pids()), time.monotonic()
    time.sleep(rest)
    share = (spent(contender.pids()) - before) / (time.monotonic() - began)
    asked = contender.sent() - asked
    a, b = contender.ends
    receiver = measure.listen(b, pace, f"many{contender.name}", "0.0.0.0:7003")
    before = spent(contender.pids())
    sent = json.loads(a.run([
        pace, "send", "--to", f"{inner(0, 1)}:7003", "--spread", str(contender.count), "--step", "4", "--rate", str(LOAD),
        "--size", "1300", "--millis", str(seconds * 1000)], timeout=seconds + 60).out)["sent"]
    receiver.wait(20)
    got, used = measure.last_page(receiver)["received"], spent(contender.pids()) - before
    return contender.took, memory(contender.pids()), share, asked, sent / seconds, 1 - got / max(1, sent), used / max(1, got) * 1e6


def tunnels(make, pace, counts, seconds, rest, rounds):
    """Lines of a table: what so many tunnels cost at rest, which is `rest` seconds in which peers are only asked whether they
    live, and with traffic on all of them in turn for `seconds`. `make(count, round)` makes a fleet."""
    rows = [["tunnels", "all up after", "memory of both ends", f"at rest for {rest} s: processor of both ends", "a tunnel and end",
             "IKE messages meanwhile", "packets/s on all in turn", "lost", "processor a packet", "rounds"], ["---"] * 10]
    for count in counts:
        seen = []
        for number in range(rounds):
            contender = make(count, number).start()
            seen.append(_fleet(contender, pace, seconds, rest))
            contender.stop()
        took, size, share, asked, rate, lost, each = (statistics.median(column) for column in zip(*seen))
        rows.append([
            str(count), f"{took:.1f} s", f"{size:.0f} MB", f"{share * 100:.3f} % of one", f"{share / count / 2 * 1e6:.1f} us/s",
            f"{asked:.0f}", f"{rate / 1000:.0f} k", f"{100 * lost:.2f} %", f"{each:.2f} us", str(rounds)])
    return rows


def queues(contender, plain, pace, lengths, rounds, seconds, find):
    """Lines of a table: what the length of the TUN's queue does to round trips, to a stream and to datagrams."""
    rows = [["TUN queue length", "round trip beside 1 TCP stream, mean", "max of all rounds", "1 TCP stream",
             "UDP 1300 B, < 0.5 % lost", "rounds"], ["---"] * 6]

    def trips(one):
        seen = [measure.loaded_trip(one, seconds) for _ in range(rounds)]
        return [f"{statistics.median(s.value for s in seen):.2f} ms", f"{max(s.beside[0][1] for s in seen):.1f} ms"]

    rows.append(["plain veth", *trips(plain), "", "", str(rounds)])
    for length in lengths:
        for side, end in enumerate(contender.ends):
            end.ip(f"link set {contender.device(side)} txqueuelen {length}")
        contender.rates = {}
        stream = statistics.median(measure.tcp(contender, seconds).value for _ in range(rounds))
        rate = statistics.median(measure.packets(contender, pace, **find).value for _ in range(rounds))
        rows.append([str(length), *trips(contender), f"{stream:.2f} Gbit/s", f"{rate / 1000:.0f} k/s", str(rounds)])
    for end in contender.ends:
        end.ip(f"link set {contender.tun} txqueuelen {QUEUE}")
    return rows
