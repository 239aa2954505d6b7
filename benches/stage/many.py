"""Many tunnels between two daemons, and queue lengths of one."""

import json
import re
import statistics
import time

from lab.shell import wait_until
from lab.toml_text import Inline

from . import measure
from .ends import OUTER, PSK, Causeway
from .machine import TICKS, spent


class Many(Causeway):
    """Two daemons with `count` tunnels between the same two addresses, told apart by identity. Tunnel N carries
    a /30 of its own, 10.64.0.0 + 4 N: our end is its first address, the peer's the second."""

    has_ipv6 = False

    def __init__(self, lab, name, binary, count):
        super().__init__(lab, name, binary, "aes256gcm16", "always")
        self.count = count

    def tree(self, side):
        tunnels = {}
        for number in range(self.count):
            identity = [f"t{number}.{end}.example" for end in "ab"]
            tunnels[f"t{number}"] = {
                "local": OUTER[side], "remote": OUTER[1 - side], "start": ("initiate", "respond")[side],
                "psk": Inline(value=PSK), "local_id": identity[side], "remote_id": identity[1 - side],
                "ike": {"proposals": [self.ike]},
                "esp": {"proposals": [self.esp], "encapsulation": "always"},
                "interface": {"name": f"t{number}", "addresses": [f"{inner(number, side)}/30"]},
            }
        return {"control": {"socket": self.socket(side)}, "log": {"level": "error"}, "tunnel": tunnels}

    def start(self):
        began = time.monotonic()
        self.connect()
        wait_until("every tunnel stands", lambda: self.standing() == self.count, 60 + self.count // 4, 0.5)
        self.took = time.monotonic() - began
        return self

    def standing(self):
        page = self.client(0, "show", "ipsec", "--json", check=False)
        return len(set(re.findall(r'"tunnel": *"(\w+)"', page.out))) if page.rc == 0 else 0


def inner(number, side):
    """The inner address of a tunnel's end."""
    value = (10 << 24 | 64 << 16) + 4 * number + 1 + side
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def _memory(contender):
    total = 0
    for pid in contender.pids():
        with open(f"/proc/{pid}/status") as file:
            total += int(re.search(r"VmRSS:\s*(\d+)", file.read()).group(1))
    return total / 1024


def tunnels(make, pace, counts, seconds, per_second):
    """Lines of a table: what so many tunnels cost at rest, and with traffic on all of them in turn."""
    rows = [["tunnels", "all up after", "memory of both ends", "at rest, processor", "packets/s on all in turn", "lost",
             "processor a packet"], ["---"] * 7]
    for count in counts:
        contender = make(count).start()
        time.sleep(2)
        before = spent(contender.pids())
        time.sleep(seconds)
        rest = (spent(contender.pids()) - before) / seconds
        a, b = contender.ends
        receiver = b.spawn(f"many{count}", [pace, "receive", "--bind", "0.0.0.0:7003"])
        wait_until("pace listens", lambda receiver=receiver: "ready" in receiver.output(), 10, 0.02)
        before = spent(contender.pids())
        sent = json.loads(a.run([
            pace, "send", "--to", f"{inner(0, 1)}:7003", "--spread", str(count), "--step", "4", "--rate", str(per_second),
            "--size", "1300", "--millis", str(seconds * 1000)], timeout=seconds + 60).out)["sent"]
        receiver.wait(20)
        got = json.loads(receiver.output().strip().splitlines()[-1])["received"]
        used = spent(contender.pids()) - before
        rows.append([
            str(count), f"{contender.took:.1f} s", f"{_memory(contender):.0f} MB", f"{rest * 100:.2f} % (1/{TICKS} s ticks)",
            f"{sent / seconds / 1000:.0f} k", f"{100 * (1 - got / max(1, sent)):.2f} %", f"{used / max(1, got) * 1e6:.2f} us"])
        for process in contender.processes:
            process.stop()
    return rows


def queues(contender, plain, pace, lengths, rounds, find):
    """Lines of a table: what the length of the TUN's queue does to round trips, to a stream and to datagrams."""
    rows = [["TUN queue length", "round trip beside 1 TCP stream, mean", "max", "1 TCP stream", "UDP 1300 B, < 0.5 % lost"], ["---"] * 5]

    def trips(one):
        seen = [measure.loaded_trip(one, 2) for _ in range(rounds)]
        worst = statistics.median(float(s.note.split()[-1]) for s in seen)
        return [f"{statistics.median(s.value for s in seen):.2f} ms", f"{worst:.1f} ms"]

    rows.append(["plain veth", *trips(plain), "", ""])
    for length in lengths:
        for end in contender.ends:
            end.ip(f"link set vti0 txqueuelen {length}")
        stream = statistics.median(measure.tcp(contender, 2).value for _ in range(rounds))
        rate = measure.packets(contender, pace, **find).value
        rows.append([str(length), *trips(contender), f"{stream:.2f} Gbit/s", f"{rate / 1000:.0f} k/s"])
    return rows
