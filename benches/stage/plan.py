"""What a run consists of: the contenders, the kinds of measurement, the tables of their own, and how long each takes."""

import os
from dataclasses import dataclass
from typing import Callable

from . import cores, ends, flood, handshake, many, measure, others, stalls

# What a contender is called in the table.
SUBJECTS = {
    "veth": "plain veth",
    "path": "causeway without its cipher, UDP",
    "relay": "null relay, UDP",
    "relay-esp": "null relay, protocol 50",
    "relay-xdp": "null relay, protocol 50 by AF_XDP",
    "udp": "causeway, UDP, AES-256-GCM",
    "udp-v6": "causeway, UDP over IPv6, AES-256-GCM",
    "udp-q2": "causeway, UDP, AES-256-GCM, 2 queues",
    "udp-sa2": "causeway, UDP, AES-256-GCM, 2 queues, 2 CHILD SAs",
    "esp": "causeway, protocol 50, AES-256-GCM",
    "xdp": "causeway, protocol 50 by AF_XDP, AES-256-GCM",
    "sha1": "causeway, UDP, AES-256-CBC, SHA1",
    "sha256": "causeway, UDP, AES-256-CBC, SHA2-256",
    "sha512": "causeway, UDP, AES-256-CBC, SHA2-512",
    "wg": "wireguard-go",
    "swan": "libipsec, UDP, AES-256-GCM",
    "swan-sha1": "libipsec, UDP, AES-256-CBC, SHA1",
}
# Columns of ratios: against which contender, by the line's own.
AGAINST = {
    "of veth": {"": ["veth"]},
    "of itself without cipher": {"": ["path"]},
    "of null relay": {"": ["relay"], "esp": ["relay-esp"], "xdp": ["relay-xdp"]},
    "times wireguard-go": {"": ["wg"]},
    "times libipsec": {"": ["swan"], "sha1": ["swan-sha1", "swan"]},
    "of UDP GCM": {"": ["udp"]},
}
FEW = ["veth", "path", "relay", "udp", "esp", "xdp", "wg", "swan"]
# Those that spread one tunnel over several workers, beside the one they are variants of.
SPREAD = [*FEW[:4], "udp-q2", "udp-sa2", *FEW[4:]]
BUSY = ["veth", "udp", "udp-q2", "udp-sa2", "wg"]


@dataclass(frozen=True)
class Programs:
    """Where the programs are; `wireguard` may be nowhere."""

    causeway: str
    path: str
    relay: str
    pace: str
    wireguard: str

    def those(self, names):
        """These contenders without the ones whose program is not there."""
        return [name for name in names if name != "wg" or self.wireguard]


@dataclass(frozen=True)
class Kind:
    """A kind of measurement for the common table. `seconds` is what one contender takes in one round."""

    title: str
    unit: str
    names: list
    work: Callable
    seconds: float


@dataclass(frozen=True)
class Table:
    """A table of its own: `rows(lab, failures)` makes its lines, in about `seconds`."""

    rows: Callable
    seconds: float


def contenders(lab, wanted, programs):
    """These contenders, standing; in the order of SUBJECTS."""
    p = programs

    def causeway(kind, esp, encapsulation):
        return lambda n: kind(lab, n, p.causeway, esp, encapsulation)

    make = {
        "veth": lambda n: ends.Plain(lab, n),
        "path": lambda n: ends.NullPath(lab, n, p.path),
        "relay": lambda n: ends.Relay(lab, n, p.relay),
        "relay-esp": lambda n: ends.Relay(lab, n, p.relay, esp=True),
        "relay-xdp": lambda n: ends.Relay(lab, n, p.relay, xdp=True),
        "udp": causeway(ends.Causeway, "aes256gcm16", "always"),
        "udp-v6": causeway(ends.OuterSix, "aes256gcm16", "always"),
        "udp-q2": lambda n: ends.Several(lab, n, p.causeway, queues=2, sas=1),
        "udp-sa2": lambda n: ends.Several(lab, n, p.causeway, queues=2, sas=2),
        "esp": causeway(ends.Causeway, "aes256gcm16", "never"),
        "xdp": causeway(ends.PastTheStack, "aes256gcm16", "never"),
        "sha1": causeway(ends.Causeway, "aes256-sha1", "always"),
        "sha256": causeway(ends.Causeway, "aes256-sha256", "always"),
        "sha512": causeway(ends.Causeway, "aes256-sha512", "always"),
        "wg": lambda n: others.WireGuard(lab, n, p.wireguard),
        "swan": lambda n: others.Libipsec(lab, n, "aes256gcm16"),
        "swan-sha1": lambda n: others.Libipsec(lab, n, "aes256-sha1"),
    }
    return {name: make[name](name).start() for name in programs.those(make) if name in wanted}


def finding(options):
    """How the highest rate of datagrams is looked for: a step takes a third of `--seconds`."""
    step = max(200, options.seconds * 1000 // 3)
    return {"millis": step, **({"start": 40_000, "ceiling": 60_000} if options.quick else {})}


def search(options):
    """Seconds a search for the highest rate takes on average: some eleven steps at first, then about six; each with the time
    in which nothing comes any more and the start of two programs."""
    steps = 4 if options.quick else (11 + 6 * (options.rounds - 1)) / options.rounds
    return steps * (finding(options)["millis"] / 1000 + 0.45)


def kinds(options, programs):
    """Every kind by its word."""
    s, pace = options.seconds, programs.pace
    pings = 100 if options.quick else 600
    find = finding(options)
    stream = s + (1.0 if s > 1 else 0.0) + 0.4

    def tcp(title, names, **how):
        return Kind(title, "Gbit/s", names, lambda c: measure.tcp(c, s, **how), stream)

    def paced(size):
        return Kind(f"UDP {size} B, < 0.5 % lost", "pkt/s", FEW, lambda c: measure.packets(c, pace, size=size, **find), search(options))

    six = [n for n in FEW if n != "swan"]
    return {
        "tcp1": tcp("1 TCP stream", [n for n in SUBJECTS if n not in ("udp-q2", "udp-sa2")]),
        "tcp4": tcp("4 TCP streams", SPREAD, streams=4),
        "tcp16": tcp("16 TCP streams", SPREAD, streams=16),
        "reverse": tcp("1 TCP stream, reverse", FEW, reverse=True),
        "both": tcp("1 TCP stream each way, sum", FEW, both=True),
        "ipv6": tcp("1 TCP stream, IPv6 inside", six, ipv6=True),
        "packets": paced(1300),
        "packets512": paced(512),
        "packets64": paced(64),
        "overload": Kind("UDP 1300 B as fast as two senders can, arriving", "pkt/s", FEW,
                         lambda c: measure.overload(c, pace, s * 1000), s + 0.6),
        "calls": Kind("system calls an ESP packet, both ends, beside 1 TCP stream", "", ["udp", "esp", "xdp"],
                      lambda c: cores.calls(c, s), s + 2.5),
        "idle": Kind("idle round trip", "ms", FEW, lambda c: measure.idle_trip(c, pings), pings * 0.005 + 0.3),
        "loaded": Kind("round trip beside 1 TCP stream, mean", "ms", FEW, lambda c: measure.loaded_trip(c, s), s + 1.1),
    }


def tables(options, programs):
    """Every table of its own by its word, in their order after the common one."""
    quick, rounds, s, p = options.quick, options.rounds, options.seconds, programs
    lengths = [10_000, 100] if quick else [10_000, 3000, 1000, 500, 100, 30]
    crowd = min(options.tunnels, 50) if quick else options.tunnels
    counts = [1, 20] if quick else [1, 100, 1000]
    streams = [1, 4] if quick else [1, 4, 16]
    # Handshakes are short: three make a round.
    shaking = 3 * rounds
    floods = 4 * s
    # Seconds that making and ending each fleet takes.
    fleets = [2, 2] if quick else [2, 2, 6]

    def queues(lab, _failures):
        contender = ends.Causeway(lab, "queues", p.causeway, "aes256gcm16", "always").start()
        return many.queues(contender, ends.Plain(lab, "queues-veth").start(), p.pace, lengths, rounds, s, finding(options))

    def stall(lab, failures):
        rows = []
        for count in (0, crowd):
            contender = stalls.Natted(lab, f"stalls{count}", p.causeway, "aes256gcm16", "always", count=count).start()
            found = stalls.stalls(contender, p.pace, rounds, failures)
            rows += found if not rows else found[2:]
            for process in contender.processes:
                process.stop(timeout=30)
        return rows

    def starving(lab, failures):
        return flood.starving(flood.Timers(lab, "timers", p.causeway, "aes256gcm16", "always").start(), p.pace, floods, rounds, failures)

    def tunnels(lab, _failures):
        def make(count, number):
            return many.Many(lab, f"many{count}-{number}", p.causeway, count)
        return many.tunnels(make, p.pace, counts, s, options.rest, rounds)

    def threads(lab, _failures):
        there = contenders(lab, BUSY, p)
        return cores.cores(list(there.values()), SUBJECTS, streams, s, rounds)

    def hands(lab, _failures):
        return handshake.table(lab, p.causeway, shaking, quick)

    trip, stream = s + 1.1, s + 1.4
    return {
        "queues": Table(queues, rounds * ((len(lengths) + 1) * trip + len(lengths) * (stream + search(options))) + 3),
        "stalls": Table(stall, rounds * 12 * (stalls.RUN + 0.5) + 7 + crowd / 100),
        "starving": Table(starving, 3 * rounds * (floods + 2) + 6),
        "tunnels": Table(tunnels, rounds * sum(f + 2 + options.rest + s for f in fleets)),
        "cores": Table(threads, rounds * len(streams) * len(p.those(BUSY)) * (s + 2.2) + 1),
        "handshake": Table(hands, (3 if quick else 7) * (shaking * 0.55 + 0.5)),
    }


def estimate(words, chosen, own, options, programs):
    """Seconds these words take: each kind's rounds over its contenders, each table, and the start of every contender."""
    total, wanted = 1.0, set()
    for word in words:
        if word in own:
            total += own[word].seconds
        else:
            names = programs.those(chosen[word].names)
            total += options.rounds * len(names) * (chosen[word].seconds + 0.1)
            wanted |= set(names)
    return total + 0.4 * len(wanted)


def runnable(words, chosen):
    """What is measured when nothing is chosen: `words` without what the machine cannot do."""
    perf = any(os.access(os.path.join(place, "perf"), os.X_OK) for place in os.environ.get("PATH", "").split(":"))
    return [w for w in words if perf or w != "calls" or w not in chosen]
