"""Where the processor time of a stream goes: system calls a packet, and which threads are busy."""

import itertools
import json
import re
import statistics
import time

from lab.shell import Failed, run

from .ends import stream
from .machine import Meter, spent, threads
from .measure import Sample


_numbers = itertools.count(1)


def _load(contender, name, seconds, streams=1):
    """An iperf3 beside which something is measured for `seconds`, from a second after its start on. Each has a log of its
    own, since a log is appended to and its page is read as a whole."""
    load = contender.ends[0].spawn(f"{name}-{contender.name}-{next(_numbers)}", stream(seconds + 2, streams))
    time.sleep(1)
    return load


def calls(contender, seconds):
    """System calls for each ESP packet, both ends together, both directions, beside one TCP stream. Needs perf.

    A packet counts once, though both ends count it: the one as sent, the other as received."""
    def packets():
        pages = [json.loads(contender.client(side, "show", "ipsec", "--json").out) for side in (0, 1)]
        return sum(row[way]["packets"] for page in pages for row in page for way in ("inbound", "outbound")) / 2

    load = _load(contender, "calls", seconds)
    before, used = packets(), spent(contender.pids())
    counted = run(["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", ",".join(map(str, contender.pids())),
                   "--", "sleep", str(seconds)], check=False, timeout=seconds + 30)
    there, used = packets() - before, spent(contender.pids()) - used
    load.wait(seconds + 20)
    found = re.search(r"^(\d+)[^,]*,[^,]*,raw_syscalls", counted.err, re.M)
    if not found or not there:
        raise Failed(f"perf counted nothing: {counted.err[-200:]}")
    each = int(found.group(1)) / there
    return Sample(each, beside=[
        ("a packet and end", each / 2, "", "median"), ("processor a packet, both ends", used / there * 1e6, " us", "median")])


def _busy(before, after, seconds):
    """Shares of one processor of a process's threads, the busiest first: (name, whole, of it in the kernel)."""
    found = [(name, (whole - before.get(one, (name, 0, 0))[1]) / seconds, (kernel - before.get(one, (name, 0, 0))[2]) / seconds)
             for one, (name, whole, kernel) in after.items()]
    return sorted(found, key=lambda thread: -thread[1])


def profile(contender, seconds, streams):
    """Which threads work beside so many TCP streams: ([threads of a], [threads of b], load generator's share, machine's)."""
    load = _load(contender, f"cores{streams}", seconds, streams)
    pids = [process.pid for side in (0, 1) for process in contender.processes if process.side == side]
    others = [load.pid, contender.server.pid]
    began, meter, before = time.monotonic(), Meter(), {pid: threads(pid) for pid in pids}
    idle = spent(others)
    time.sleep(seconds)
    length = time.monotonic() - began
    ends = [_busy(before[pid], threads(pid), length) for pid in pids]
    shares, idle = meter.shares(), (spent(others) - idle) / length
    load.wait(seconds + 20)
    try:
        bits = json.loads(load.output())["end"]["sum_received"]["bits_per_second"]
    except (ValueError, KeyError):
        raise Failed(f"iperf3 over {contender.name}: {load.output()[-300:]}") from None
    return bits / 1e9, ends, idle, shares


def _threads(rounds, end):
    """One end's threads as words: the two busiest by rank, each with its share in the kernel, and all of them."""
    if not rounds[0][1]:
        return ""

    def rank(place, field):
        return statistics.median(r[1][end][place][field] if len(r[1][end]) > place else 0 for r in rounds) * 100

    whole = statistics.median(sum(t[1] for t in r[1][end]) for r in rounds) * 100
    ranks = " and ".join(f"{rank(place, 1):.0f} ({rank(place, 2):.0f})" for place in (0, 1))
    return f"{ranks} of {whole:.0f}"


def cores(contenders, subjects, numbers, seconds, rounds):
    """Lines of a table: who is busy, by contender and number of streams; shares are hundredths of one processor."""
    rows = [["TCP streams", "what", "Gbit/s", "sender's end: busiest two threads (in the kernel) of all", "receiver's end, the same",
             "iperf3, both", "machine: program, kernel, soft interrupt, idle", "rounds"], ["---"] * 8]
    for streams in numbers:
        seen = {contender.name: [] for contender in contenders}
        for number in range(rounds):
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                seen[contender.name].append(profile(contender, seconds, streams))
        for contender in contenders:
            there = seen[contender.name]
            machine = ", ".join(f"{statistics.median(r[3][part] for r in there) * 100:.0f}" for part in ("user", "system", "softirq", "idle"))
            rows.append([
                str(streams), subjects[contender.name], f"{statistics.median(r[0] for r in there):.2f}",
                _threads(there, 0), _threads(there, 1), f"{statistics.median(r[2] for r in there) * 100:.0f}", machine, str(rounds)])
    return rows
