"""What must not stall the path, and what must not be starved: the longest silence of a steady stream around an
event, and what a flood does to the timers of IKE and BGP."""

import json
import re
import statistics
import time

from lab.shell import Failed, run, wait_until

from .ends import INNER, OUTER, Causeway
from .machine import Meter, spent
from .measure import Sample

# Datagrams a second of the stream that shows silences: one each 50 microseconds.
STEADY = 20_000
# Seconds before the event that count as quiet; the first half second is left out.
BEFORE = 3.0
# Seconds in which an event may show.
AFTER = 1.5


class Natted(Causeway):
    """Two daemons, the first behind a NAT of its own host that gives its port 4500 another number."""

    port = 5000

    def connect(self):
        self.translate()
        super().connect()

    def translate(self):
        """Another number; what was remembered of the old one is forgotten with it."""
        self.port += 1
        a = self.ends[0]
        a.nft("flush ruleset\ntable ip nat {\n chain post {\n  type nat hook postrouting priority 100;\n"
              f"  oifname wan0 udp sport 4500 snat to {OUTER[0]}:{self.port}\n }}\n}}\n")
        a.run(["conntrack", "-F"], check=False)


def stall(contender, pace, event):
    """The longest silence (ms) within 1.5 s of `event`, and the longest in 2.5 s of the same stream before it."""
    a, b = contender.ends
    number = stall.count = getattr(stall, "count", 0) + 1
    receiver = b.spawn(f"stall{number}", [pace, "receive", "--bind", f"{INNER[1]}:7001"])
    wait_until("pace listens", lambda: "ready" in receiver.output(), 10, 0.02)
    meter = Meter()
    millis = int((BEFORE + AFTER + 0.5) * 1000)
    sender = a.spawn(f"steady{number}", [
        pace, "send", "--to", f"{INNER[1]}:7001", "--rate", str(STEADY), "--size", "200", "--millis", str(millis)])
    began = time.monotonic()
    time.sleep(BEFORE)
    at = time.monotonic() - began
    event()
    sender.wait(20)
    receiver.wait(20)
    page = json.loads(receiver.output().strip().splitlines()[-1])
    # Slices count from the first datagram, which is a few milliseconds behind `began`.
    first = int(at * 10) - 1
    quiet, around = page["gaps"][5:first], page["gaps"][first:first + int(AFTER * 10)]
    sent = json.loads(sender.output().strip().splitlines()[-1])["sent"]
    _, stolen = meter.stop()
    return max(around) / 1000, max(quiet) / 1000, sent - page["received"], stolen


def stalls(contender, pace, rounds):
    """Lines of a table: an event each."""
    events = [
        ("nothing", lambda: None),
        ("CHILD SA rekeyed", lambda: contender.client(0, "rekey", "bench", "--child")),
        ("IKE SA rekeyed", lambda: contender.client(0, "rekey", "bench", "--ike")),
        ("reload, nothing changed", lambda: contender.client(0, "reload")),
        ("reload, a tunnel more", lambda: _more(contender)),
        ("NAT rebinding", contender.translate),
    ]
    rows = [["longest silence of 20,000 datagrams a second", "around the event", "before it", "ratio", "lost"], ["---"] * 5]
    for title, event in events:
        try:
            seen = [stall(contender, pace, event) for _ in range(rounds)]
        except Failed as error:
            rows.append([title, "not measured: " + str(error).splitlines()[0][:60], "", "", ""])
            continue
        around, quiet = (statistics.median(s[i] for s in seen) for i in (0, 1))
        ratio = statistics.median(s[0] / s[1] for s in seen)
        rows.append([title, f"{around:.2f} ms", f"{quiet:.2f} ms", f"{ratio:.2f}", str(sum(s[2] for s in seen))])
    return rows


def _more(contender):
    """Another tunnel in the first end's file, and a reload."""
    path = contender.configure(0)
    contender.more = getattr(contender, "more", 0) + 1
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text + f"""
[tunnel.more{contender.more}]
local = "{OUTER[0]}"
remote = "198.51.100.1"
start = "respond"
local_id = "more{contender.more}.example"
remote_id = "peer{contender.more}.example"
psk = {{ value = "another-secret-of-the-benches" }}
[tunnel.more{contender.more}.interface]
name = "more{contender.more}"
""")
    contender.client(0, "reload")


class Timers(Causeway):
    """Two daemons with the shortest timers: DPD each second, BGP with a hold time of 3 s, through the tunnel."""

    def tree(self, side):
        tree = super().tree(side)
        tree["router"] = {"id": OUTER[side], "asn": 65001 + side}
        tree["bgp"] = {"neighbor": {"bench": {
            "address": INNER[1 - side], "asn": 65002 - side, "tunnel": "bench", "source": INNER[side],
            "hold_time": "3s", "keepalive": "1s", "import": "any", "export": "none"}}}
        tree["tunnel"]["bench"]["ike"]["dpd"] = {"delay": "1s", "timeout": "6s"}
        return tree


def starving(contender, pace, seconds):
    """Lines of a table: what a flood of `seconds` did to the sessions beside it, and to memory."""
    wait_until("the session stands", lambda: _session(contender, 0)[0] == "Established", 30)
    time.sleep(1)
    rows = [["flood through the tunnel", "offered", "delivered", "IKE SA", "BGP session (hold 3 s)", "memory before, after"], ["---"] * 6]
    for number, size in enumerate((1300, 64)):
        a, b = contender.ends
        before = _identity(contender)
        memory = _memory(contender)
        receiver = b.spawn(f"flood{number}", [pace, "receive", "--bind", f"{INNER[1]}:7002"])
        wait_until("pace listens", lambda receiver=receiver: "ready" in receiver.output(), 10, 0.02)
        sent = json.loads(a.run([pace, "send", "--to", f"{INNER[1]}:7002", "--rate", "5000000", "--size", str(size),
                                 "--millis", str(seconds * 1000)], timeout=seconds + 60).out)
        receiver.wait(20)
        got = json.loads(receiver.output().strip().splitlines()[-1])
        after = _identity(contender)
        rows.append([
            f"{size} octets, {seconds} s", f"{sent['sent'] / seconds / 1000:.0f} k/s", f"{got['received'] / seconds / 1000:.0f} k/s",
            "the same" if before[0] == after[0] else "LOST", "the same" if before[1] == after[1] else "LOST",
            f"{memory} MB, {_memory(contender)} MB"])
    return rows


def _session(contender, side):
    """State of the BGP session, and how often it was lost."""
    page = json.loads(contender.client(side, "show", "bgp", "neighbors", "--json").out)
    state, dropped = (re.search(rf'"(?:{key})": *"?(\w+)', json.dumps(page)) for key in ("bgpState|state", "connections_?[dD]ropped"))
    return (state.group(1) if state else "?"), (dropped.group(1) if dropped else "?")


def _identity(contender):
    """What changes when an IKE SA or a session is lost and made anew."""
    ike = json.loads(contender.client(0, "show", "ike", "--json").out)
    return re.findall(r'"spi_initiator": *"(\w+)"', json.dumps(ike)), _session(contender, 0)


def _memory(contender):
    """Resident megabytes of both daemons."""
    total = 0
    for pid in contender.pids():
        with open(f"/proc/{pid}/status") as file:
            total += int(re.search(r"VmRSS:\s*(\d+)", file.read()).group(1))
    return total // 1024


def calls(contender, seconds):
    """System calls for each ESP packet, both ends, both directions, beside one TCP stream. Needs perf."""
    def packets():
        total = 0
        for side in (0, 1):
            page = contender.client(side, "show", "ipsec", "--json").out
            total += sum(int(n) for n in re.findall(r'"packets": *(\d+)', page))
        return total

    load = contender.ends[0].spawn(f"calls-{contender.name}", [
        "iperf3", "-c", INNER[1], "-p", "5201", "-C", "cubic", "-J", "-t", str(seconds + 2)])
    time.sleep(1)
    before, used = packets(), spent(contender.pids())
    counted = run(["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", ",".join(map(str, contender.pids())),
                   "--", "sleep", str(seconds)], check=False, timeout=seconds + 30)
    there, used = packets() - before, spent(contender.pids()) - used
    load.wait(seconds + 20)
    found = re.search(r"^(\d+)[^,]*,[^,]*,raw_syscalls", counted.err, re.M)
    if not found or not there:
        raise Failed(f"perf counted nothing: {counted.err[-200:]}")
    return Sample(int(found.group(1)) / there, cpu=None, note=f"{used / there * 1e6:.2f} us of processor each")
