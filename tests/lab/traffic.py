"""Traffic: probes that count every packet, transfers checked by hash, echoes and traceroute."""

import itertools
import json
import os
import re
import sys
from dataclasses import dataclass, field

from .shell import Failed, expect, wait_until

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "traffic_tool.py")
ECHO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "echo_tool.py")
TRANSFERS = itertools.count(1)
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


@dataclass
class Loss:
    """What a probe lost in one direction; gaps are (first, last) sequence numbers and when they were sent."""

    sent: int
    received: int
    duplicates: int
    gaps: list

    @property
    def lost(self):
        return self.sent - self.received

    def __str__(self):
        return f"sent {self.sent}, received {self.received}, lost {self.lost}, doubled {self.duplicates}, gaps {self.gaps[:8]}"


class Probe:
    """Numbered datagrams in both directions at a steady rate, until stopped."""

    count = 0

    def __init__(self, a, a_address, b, b_address, pps=1000, size=200):
        Probe.count += 1
        port = 20000 + Probe.count
        self.reports, self.ends = [], []
        for host, mine, theirs in ((a, a_address, b_address), (b, b_address, a_address)):
            name = f"probe{Probe.count}-{mine}"
            report = host.lab.path(f"{name}.json")
            self.reports.append(report)
            self.ends.append(host.spawn(
                name, [PYTHON, TOOL, "probe", mine, theirs, str(port), str(pps), str(size), report]))

    def started(self, timeout=30):
        """Waits until both ends hear each other."""
        wait_until("both probe ends hear each other", lambda: all(os.path.exists(r + ".heard") for r in self.reports), timeout)
        return self

    def stop(self):
        """Stops sending, lets the last packets arrive, and returns the loss (a to b, b to a)."""
        for end in self.ends:
            end.send(15)
        for end in self.ends:
            end.wait(30)
        a, b = (self._read(r) for r in self.reports)
        return self._loss(a, b), self._loss(b, a)

    @staticmethod
    def _read(path):
        try:
            with open(path) as file:
                return json.load(file)
        except OSError as error:
            raise Failed(f"a probe left no report: {error}") from None

    @staticmethod
    def _loss(sender, receiver):
        heard, gaps, start = receiver["ranges"], [], 0
        for first, last in heard + [[sender["sent"], 0]]:
            if first > start:
                gaps.append((start, first - 1, round(sender["began"] + start / sender["pps"], 2)))
            start = last + 1
        return Loss(sender["sent"], receiver["received"], receiver["duplicates"], gaps)


def lossless(probe):
    """Stops a probe and demands that nothing was lost or doubled."""
    there, back = probe.stop()
    expect(there.lost == 0 and back.lost == 0, f"packets were lost: there {there}; back {back}")
    expect(there.duplicates == 0 and back.duplicates == 0, f"packets came twice: there {there}; back {back}")
    expect(there.sent > 0 and back.sent > 0, "the probe sent nothing")
    return there, back


@dataclass
class Echoes:
    """What came of echo requests: milliseconds by the sequence number of each that was answered, and who said what of others."""

    sent: int
    answered: dict
    doubled: list
    damaged: list
    refused: list = field(default_factory=list)

    @property
    def missing(self):
        return [n for n in range(1, self.sent + 1) if n not in self.answered]

    @property
    def told(self):
        """The MTUs of "too big", whoever said so, in their order."""
        return [said["mtu"] for said in self.refused if said["mtu"]]

    def __str__(self):
        times = ", ".join(f"{n}: {took} ms" for n, took in self.answered.items())
        said = "".join(f"; {s['sequence']} refused by {s['by']}: {s['why']}{' ' + str(s['mtu']) if s['mtu'] else ''}" for s in self.refused[:8])
        return (f"{len(self.answered)} of {self.sent} answered ({times}), missing {self.missing}, doubled {self.doubled}, "
                f"damaged {self.damaged}{said}")


def echo(host, target, count=3, size=56, source=None, df=None, interval=0.2, timeout=2, first=False):
    """Sends echo requests, waits `timeout` seconds for the answer to each, and says what came of them; with `first` until one is
    answered. `df` True forbids fragments, False sends without DF."""
    options = {"count": count, "size": size, "source": source, "df": df, "interval": interval, "timeout": timeout, "first": first}
    done = host.run([PYTHON, ECHO, target, json.dumps(options)], timeout=count * interval + timeout + 30)
    found = json.loads(done.out)
    return Echoes(**{**found, "answered": {int(n): took for n, took in found["answered"].items()}})


def ping(host, target, count=3, size=56, source=None, df=False, check=True, interval=0.2, timeout=None):
    """Sends echo requests, each of which has `timeout` seconds (10 where all must be answered, else 2); returns how many were."""
    timeout = timeout or (10 if check else 2)
    found = echo(host, target, count, size, source, df or None, interval, timeout)
    if check:
        expect(len(found.answered) == count, f"echoes of {target}: {found}")
    return len(found.answered)


def until_answered(what, host, target, within, source=None, interval=0.2):
    """Sends echo requests until one of them is answered, whichever and however late."""
    found = echo(host, target, int(within / interval), source=source, interval=interval, first=True)
    expect(found.answered, f"not within {within} s: {what}: {found}")


def traceroute(host, target):
    """The hops' addresses, `*` for a silent one."""
    # Asked again when one is silent: routers tell one host no more than some errors a second.
    for _ in range(3):
        # The zeros: what answers at once, at another hop, does not shorten the time that one has.
        out = host.run(["traceroute", "-n", "-w", "5,0,0", "-q", "1", "-m", "6", target], timeout=60).out
        hops = [m.group(1) for m in re.finditer(r"^\s*\d+\s+(\S+)", out, re.M)]
        if "*" not in hops:
            break
    return hops


def transfer(sender, receiver, address, size, port=5201, mss_report=False):
    """Sends `size` bytes over one TCP connection and compares the hashes; returns seconds taken."""
    # A log of its own each time: what an earlier receiver said must not be taken for this one's.
    server_log = receiver.spawn(f"serve-{next(TRANSFERS)}-{address}-{port}", [PYTHON, TOOL, "serve", address, str(port)])
    wait_until("the transfer's receiver listens", lambda: "listening" in server_log.output(), 20)
    sent = json.loads(sender.run([PYTHON, TOOL, "send", address, str(port), str(size)], timeout=300).out)
    server_log.wait(30)
    got = json.loads(server_log.output().strip().splitlines()[-1])
    expect(got["bytes"] == size, f"{got['bytes']} of {size} bytes arrived")
    expect(got["sha256"] == sent["sha256"], "what arrived is not what was sent")
    return {**sent, "receiver_mss": got["mss"]}
