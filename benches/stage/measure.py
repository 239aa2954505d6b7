"""What is measured, each a function of one contender that gives one number."""

import json
import re
import statistics
import time

from lab.shell import Failed, expect, wait_until

from .ends import INNER, stream
from .machine import Meter, spent


class Sample:
    """One number with what the machine did meanwhile, and further numbers beside it.

    `beside` has a title for each, the number, its unit, and how rounds become one: `max`, which is the largest of all
    rounds, or `median`.
    """

    def __init__(self, value, stolen=0.0, busy=0.0, cpu=None, beside=()):
        self.value, self.stolen, self.busy, self.cpu, self.beside = value, stolen, busy, cpu, beside

    def note(self):
        return ", ".join(f"{title} {value:.3g}{unit}" for title, value, unit, _ in self.beside)


def note_of(samples):
    """What stands beside the rounds' median: further medians, and the largest of all rounds where that is asked."""
    said = []
    for rounds in zip(*(sample.beside for sample in samples)):
        title, _, unit, how = rounds[0]
        values = [one[1] for one in rounds]
        value = max(values) if how == "max" else statistics.median(values)
        of = f" of all {len(values)} rounds" if how == "max" and len(values) > 1 else ""
        said.append(f"{title}{of} {value:.3g}{unit}")
    return ", ".join(said)


def tcp(contender, seconds, streams=1, reverse=False, both=False, ipv6=False):
    """Goodput of iperf3 in Gbit/s, of both directions together when `both`."""
    words = stream(seconds, streams, ipv6) + ["-O", "1" if seconds > 1 else "0"]
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
        chosen = {end["sender_tcp_congestion"], end["receiver_tcp_congestion"]}
    except (ValueError, KeyError):
        raise Failed(f"iperf3 over {contender.name}: {done.out[-600:]}{done.err}") from None
    expect(chosen == {"cubic"}, f"{contender.name}: cubic at both ends, not {chosen}")
    # The omitted first second is in `used` as well.
    share = seconds / (seconds + 1) if seconds > 1 else 1
    cpu = used * share / (octets / 1e9) if octets else None
    return Sample(bits / 1e9, stolen, busy, cpu)


def rate(contender, pace, per_second, size, millis, senders=1):
    """One paced run: (share lost, packets a second sent, Meter's shares)."""
    a, b = contender.ends
    number = rate.count = getattr(rate, "count", 0) + 1
    receiver = listen(b, pace, f"pace{number}", f"{INNER[1]}:7000")
    meter = Meter()
    sending = [a.spawn(f"send{number}-{one}", [
        pace, "send", "--to", f"{INNER[1]}:7000", "--rate", str(per_second), "--size", str(size),
        "--millis", str(millis)]) for one in range(senders)]
    pages = []
    for one in sending:
        one.wait(millis / 1000 + 60)
        pages.append(last_page(one))
    busy, stolen = meter.stop()
    receiver.wait(millis / 1000 + 20)
    got = last_page(receiver)
    lost = 1 - got["received"] / max(1, sum(page["sent"] for page in pages))
    return lost, sum(page["sent"] / page["seconds"] for page in pages), busy, stolen


def listen(end, pace, name, address):
    """A receiver of numbered datagrams, once it listens."""
    receiver = end.spawn(name, [pace, "receive", "--bind", address])
    wait_until("pace listens", lambda: "ready" in receiver.output(), 10, 0.02)
    return receiver


def last_page(process):
    """What a finished sender or receiver of datagrams says."""
    try:
        return json.loads(process.output().strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise Failed(f"{process.name} said nothing: {process.output()[-300:]}") from None


def packets(contender, pace, size=1300, millis=1000, most=0.005, start=40_000, ceiling=600_000):
    """The highest paced rate (packets a second) at which less than `most` is lost: climbs by a half until it fails, then
    halves the gap four times, which leaves 3 %. The rate is the one really sent. Further rounds begin a little below
    what the first found, and climb by a quarter."""
    known = contender.__dict__.setdefault("rates", {})
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

    low, high = 0.0, known.get(size, float(start) / 0.85) * 0.85
    step = 1.25 if size in known else 1.5
    while high < ceiling and holds(high):
        low, high = high, high * step
    if low == 0.0:
        while high > 500 and not holds(high / step):
            high /= step
        low = high / step
    while high / low > 1.03:
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    known[size] = max(good, 1000.0)
    return Sample(good, stolen, busy)


def overload(contender, pace, millis, size=1300):
    """Datagrams a second that arrive of as many as two senders can make; beside it how many that was."""
    lost, sent, busy, stolen = rate(contender, pace, 5_000_000, size, millis, senders=2)
    return Sample(sent * (1 - lost), stolen, busy, beside=[
        ("lost", lost * 100, " %", "median"), ("of", sent / 1000, " k/s", "median")])


def ping(contender, count, interval=0.005):
    """Round trips in milliseconds, each."""
    done = contender.ends[0].run(
        ["ping", "-n", "-c", str(count), "-i", str(interval), INNER[1]], check=False, timeout=count * interval + 20)
    times = [float(found) for found in re.findall(r"time=([0-9.]+)", done.out)]
    if not times:
        raise Failed(f"ping over {contender.name}: {done.out[-300:]}{done.err}")
    return times


def idle_trip(contender, count):
    """Median round trip in milliseconds with nothing else going on; beside it the mean and the largest."""
    meter = Meter()
    times = ping(contender, count)
    busy, stolen = meter.stop()
    return Sample(statistics.median(times), stolen, busy, beside=[
        ("mean", statistics.mean(times), " ms", "median"), ("max", max(times), " ms", "max")])


def loaded_trip(contender, seconds):
    """Mean round trip in milliseconds beside one TCP stream; beside it the largest."""
    load = contender.ends[0].spawn(f"load-{contender.name}", stream(seconds + 1))
    time.sleep(0.7)
    meter = Meter()
    times = ping(contender, int(seconds / 0.005))
    busy, stolen = meter.stop()
    load.wait(seconds + 20)
    return Sample(statistics.mean(times), stolen, busy, beside=[("max", max(times), " ms", "max")])
