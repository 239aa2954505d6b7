"""What is measured, each a function of one contender that gives one number."""

import json
import re
import statistics
import time

from lab.shell import Failed, wait_until

from .ends import INNER, INNER6, IPERF
from .machine import Meter, spent


class Sample:
    """One number with what the machine did meanwhile."""

    def __init__(self, value, stolen=0.0, busy=0.0, cpu=None, note=""):
        self.value, self.stolen, self.busy, self.cpu, self.note = value, stolen, busy, cpu, note


def tcp(contender, seconds, streams=1, reverse=False, both=False, ipv6=False):
    """Goodput of iperf3 in Gbit/s, of both directions together when `both`."""
    words = ["iperf3", "-c", INNER6[1] if ipv6 else INNER[1], "-p", str(IPERF), "-C", "cubic", "-J",
             "-t", str(seconds), "-P", str(streams), "-O", "1" if seconds > 1 else "0"]
    words += ["-R"] if reverse else []
    words += ["--bidir"] if both else []
    before, meter = spent(contender.pids()), Meter()
    done = contender.ends[0].run(words, check=False, timeout=seconds + 30)
    busy, stolen = meter.stop()
    used = spent(contender.pids()) - before
    try:
        page = json.loads(done.out)
        end = page["end"]
        bits = end["sum_received"]["bits_per_second"]
        octets = end["sum_sent"]["bytes"]
        if both:
            bits += end["sum_received_bidir_reverse"]["bits_per_second"]
            octets += end["sum_sent_bidir_reverse"]["bytes"]
    except (ValueError, KeyError):
        raise Failed(f"iperf3 over {contender.name}: {done.out[-600:]}{done.err}") from None
    # The omitted first second is in `used` as well.
    share = seconds / (seconds + 1) if seconds > 1 else 1
    cpu = used * share / (octets / 1e9) if octets else None
    return Sample(bits / 1e9, stolen, busy, cpu)


def rate(contender, pace, per_second, size, millis, senders=1):
    """One paced run: (share lost, packets a second sent, Meter's shares)."""
    a, b = contender.ends
    number = rate.count = getattr(rate, "count", 0) + 1
    receiver = b.spawn(f"pace{number}", [pace, "receive", "--bind", f"{INNER[1]}:7000"])
    wait_until("pace listens", lambda: "ready" in receiver.output(), 10, 0.02)
    meter = Meter()
    sending = [a.spawn(f"send{number}-{one}", [
        pace, "send", "--to", f"{INNER[1]}:7000", "--rate", str(per_second), "--size", str(size),
        "--millis", str(millis)]) for one in range(senders)]
    pages = []
    for one in sending:
        one.wait(60)
        pages.append(json.loads(one.output().strip().splitlines()[-1]))
    busy, stolen = meter.stop()
    receiver.wait(20)
    got = json.loads(receiver.output().strip().splitlines()[-1])
    lost = 1 - got["received"] / max(1, sum(page["sent"] for page in pages))
    return lost, sum(page["sent"] / page["seconds"] for page in pages), busy, stolen


def packets(contender, pace, size=1300, millis=1000, most=0.005, start=40_000, ceiling=600_000):
    """The highest paced rate (packets a second) at which less than `most` is lost: climbs by a quarter until
    it fails, then halves the gap twice. The rate is the one really sent."""
    good, stolen, busy = 0.0, 0.0, 0.0

    def holds(per_second):
        nonlocal good, stolen, busy
        lost, sent, busy_now, stolen_now = rate(contender, pace, int(per_second), size, millis)
        stolen = max(stolen, stolen_now)
        # A sender that falls behind its pace measures itself.
        if lost < most and sent > per_second * 0.97:
            if sent > good:
                good, busy = sent, busy_now
            return True
        return False

    low, high = 0.0, float(start)
    while high < ceiling and holds(high):
        low, high = high, high * 1.25
    if low == 0.0:
        while high > 500 and not holds(high):
            high /= 2
        low, high = high, high * 2
    for _ in range(3):
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return Sample(good, stolen, busy)


def overload(contender, pace, millis, size=1300):
    """Datagrams a second that arrive of as many as two senders can make; the note has how many that was."""
    lost, sent, busy, stolen = rate(contender, pace, 5_000_000, size, millis, senders=2)
    return Sample(sent * (1 - lost), stolen, busy, note=f"{lost * 100:.0f} % of {sent / 1000:.0f} k/s lost")


def ping(contender, count, interval=0.005):
    """Round trips in milliseconds, each."""
    done = contender.ends[0].run(
        ["ping", "-n", "-c", str(count), "-i", str(interval), INNER[1]], check=False, timeout=count * interval + 20)
    times = [float(found) for found in re.findall(r"time=([0-9.]+)", done.out)]
    if not times:
        raise Failed(f"ping over {contender.name}: {done.out[-300:]}{done.err}")
    return times


def idle_trip(contender, count):
    """Median round trip in milliseconds with nothing else going on; the note has the mean and the largest."""
    meter = Meter()
    times = ping(contender, count)
    busy, stolen = meter.stop()
    return Sample(statistics.median(times), stolen, busy, note=f"mean {statistics.mean(times):.3f}, max {max(times):.2f}")


def loaded_trip(contender, seconds):
    """Mean round trip in milliseconds beside one TCP stream; the note has the largest."""
    words = ["iperf3", "-c", INNER[1], "-p", str(IPERF), "-C", "cubic", "-J", "-t", str(seconds + 1)]
    load = contender.ends[0].spawn(f"load-{contender.name}", words)
    time.sleep(0.7)
    meter = Meter()
    times = ping(contender, int(seconds / 0.005))
    busy, stolen = meter.stop()
    load.wait(seconds + 20)
    return Sample(statistics.mean(times), stolen, busy, note=f"max {max(times):.2f}")
