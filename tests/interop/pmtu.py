"""The path to the head-end is cut in its middle while a transfer runs, under IPv4 and under IPv6 outside. Proven: the
tunnel's MTU falls to exactly what the path leaves, a sender that forbids fragments gets "too big" with that
MTU, the transfer goes on and arrives whole, and the largest packet that fits passes while one octet more does not.
With IPv6 inside (`dual`) the path is cut twice, to 1400 and to 1300: the second time the inside would fall below 1280, so
the device stays there, IPv6 senders are told 1280 and IPv4 senders what really fits, and IPv6 packets of 1280 octets
arrive, their ESP packets in fragments on the wire of which none is larger than the path.
"""

import re
import threading
import time

from lab.capture import Capture
from lab.case import Steps
from lab.shell import expect, wait_until
from lab.topology import AZURE, LAN6
from lab.traffic import echo, ping, transfer

from .ipv6 import dual, over6
from .stand import Stand

ALONE = True
IPV6_LEAST = 1280


def cells(full):
    few = ["libipsec-forced-udp", "kernel-native", "kernel-over6", "kernel-dual-over4", "libipsec-dual-over6"]
    return few + (["kernel-nat", "kernel-dual-over6", "libipsec-dual-over4"] if full else [])


def run(lab, cell):
    step = Steps()
    stand = build(lab, cell)
    wait_until("the learned route", lambda: "vti0" in stand.site.gateway.ip("route show 172.16.0.0/22"), 20)
    both = "-dual-" in cell
    fits = Fits(stand, six_outside=cell.endswith("over6"), six_inside=both)
    expect(device_mtu(stand) == fits.device(1500), f"the tunnel's MTU is {device_mtu(stand)} over a path of 1500, not {fits.device(1500)}")
    step(f"up, MTU {device_mtu(stand)}")
    for path in (1400, 1300) if both else (1300,):
        running = Transfer(stand, AZURE.host6 if both else AZURE.host)
        stand.site.cut_mtu(AZURE, path)
        wait_until(f"the tunnel's MTU falls to {fits.device(path)}", lambda p=path: device_mtu(stand) == fits.device(p), 6, 0.05)
        step(f"path cut to {path}, MTU {fits.device(path)}, {fits.inside(path)} fit")
        too_big(stand, AZURE.host, fits.inside(path), 28)
        if both:
            least = max(fits.inside(path), IPV6_LEAST)
            torn = Capture(stand.site.internet, f"to-{AZURE.name}", f"torn-{path}", "ip[6:2]&0x3fff!=0 or ip6 proto 44")
            too_big(stand, AZURE.host6, least, 48)
            in_fragments(torn.stop(), path, wanted=least > fits.inside(path))
        step("too-big says the right MTU, the largest packet passes")
        step(f"the transfer went on and arrived whole in {running.end():.1f} s")


def build(lab, cell):
    """The stand of a cell, up."""
    kind, _, rest = cell.partition("-")
    if rest.startswith("dual-"):
        stand = dual(lab, kind, rest.removeprefix("dual-"))
    else:
        stand = Stand(lab, kind, transport="native" if rest == "over6" else rest)
    if rest == "over6":
        tree = stand.causeway.tree
        over6(stand, tree)
        stand.causeway.write(tree)
    stand.start()
    if rest.startswith("dual-"):
        stand.headend.host.ip(f"route replace {LAN6} dev {stand.kind.device}")
    return stand


class Fits:
    """What a path leaves for the inside, counted by hand for AES-256-CBC with HMAC-SHA1-96."""

    def __init__(self, stand, six_outside, six_inside):
        udp = stand.causeway.child()["encapsulation"] == "UDP"
        # Outer header, UDP, SPI and sequence, IV, ICV.
        self.around = (40 if six_outside else 20) + (8 if udp else 0) + 8 + 16 + 12
        self.six_inside = six_inside

    def inside(self, path):
        """The largest inner packet: whole blocks, the last two octets pad length and next header."""
        return (path - self.around) // 16 * 16 - 2

    def device(self, path):
        return max(self.inside(path), IPV6_LEAST) if self.six_inside else self.inside(path)


class Transfer:
    """One from the LAN, of some seconds at what each peer can do, so that the cut falls into its middle."""

    def __init__(self, stand, target):
        octets = 200_000_000 if stand.kind.name == "libipsec" else 40_000_000
        self.outcome = {}

        def carry():
            try:
                self.outcome.update(transfer(stand.lan, stand.cloud, target, octets))
            except Exception as error:
                self.outcome["error"] = error
        self.worker = threading.Thread(target=carry, daemon=True)
        self.worker.start()
        time.sleep(0.5)
        expect(not self.outcome, f"the transfer ended before the path was cut: {self.outcome}")

    def end(self):
        """Waits for its end; returns the seconds it took."""
        self.worker.join(120)
        expect(not self.worker.is_alive(), "the transfer did not end")
        if "error" in self.outcome:
            raise self.outcome["error"]
        return self.outcome["seconds"]


def device_mtu(stand):
    return int(re.search(r"mtu (\d+)", stand.site.gateway.ip("-o link show dev vti0")).group(1))


def too_big(stand, target, right, headers):
    """A sender that forbids fragments is told `right`; that passes, one octet more does not."""
    # Not more than what it was told of the path before, else its own kernel refuses.
    def told():
        said = echo(stand.lan, target, size=right - headers + 16, df=True, interval=0.3)
        expect(said.told, lambda: f"no too-big: {said}")
        return said
    # Routers tell one sender no more often than some times a second, and the transfer may have had its share.
    said = wait_until("too-big", told, 20)
    expect(said.told[-1] == right, lambda: f"{target}: the path leaves {right}: {said}")
    # Beside a transfer at full rate a queue may lose one.
    fitting = echo(stand.lan, target, count=10, size=right - headers, df=True, first=True)
    expect(fitting.answered, lambda: f"{right} octets do not pass: {fitting}")
    over = ping(stand.lan, target, count=1, size=right - headers + 1, df=True, check=False)
    expect(over == 0, "a packet larger than the MTU passed")


def in_fragments(packets, path, wanted):
    """Outer fragments where they are `wanted`, and only there; none larger than the path."""
    expect(bool(packets) == wanted, f"{len(packets)} fragments on a path of {path}")
    long = [p for p in packets if len(p.raw) > path]
    expect(not long, lambda: f"{len(long)} fragments larger than {path}: {long[0]}")
