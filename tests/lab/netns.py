"""Network namespaces and the links between them.

A `Namespace` is one kind of host: something that runs programs (`run`, `spawn`). A guest of
User-Mode Linux is the other kind, with the same face, so daemons do not care where they live.
"""

import os
import signal
import time

from .shell import Failed, run


def kill_inside(ns):
    """Ends all programs of a namespace of ours."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        pids = [int(p) for p in run(["ip", "netns", "pids", ns], check=False).out.split()]
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        if not pids:
            return
        time.sleep(0.1)


class Namespace:
    """A network namespace as a host."""

    def __init__(self, lab, name):
        self.lab, self.short = lab, name
        self.name = f"{lab.name}-{name}"
        run(["ip", "netns", "add", self.name])
        self.ip("link set lo up")
        # Every test states its reverse path filter; the machine's own default must not leak in.
        self.sysctl("net.ipv4.conf.all.rp_filter", 0)
        self.sysctl("net.ipv4.conf.default.rp_filter", 0)
        # BBR paces and distorts, also where cubic is chosen for a stream that began with it: its timers stay. Reno is what every
        # machine lets a namespace choose.
        self.sysctl("net.ipv4.tcp_congestion_control", "reno")

    def socket_path(self, name):
        """Where a program on this host may put a unix socket."""
        return self.lab.path(f"{self.short}-{name}.sock")

    def directory(self, name):
        return self.lab.directory(f"{self.short}-{name}")

    def run(self, argv, **kwargs):
        return run(["ip", "netns", "exec", self.name, *argv], **kwargs)

    def spawn(self, name, argv, **kwargs):
        return self.lab.spawn(f"{self.short}-{name}", ["ip", "netns", "exec", self.name, *argv], **kwargs)

    def ip(self, words, check=True):
        """`ip` with its arguments in one string."""
        return run(["ip", "-n", self.name, *words.split()], check=check).out

    def sysctl(self, key, value, check=True):
        self.run(["sysctl", "-qw", f"{key}={value}"], check=check)

    def forwarding(self):
        self.sysctl("net.ipv4.ip_forward", 1)
        self.sysctl("net.ipv6.conf.all.forwarding", 1)

    def nft(self, rules):
        self.run(["nft", "-f", "-"], stdin=rules)

    def exists(self, path):
        return os.path.exists(path)

    def alive(self):
        return True

    def sync(self):
        """Logs of programs here are on disk at once."""


def _set_up(ns, device, address, mtu):
    ns.ip(f"link set {device} up mtu {mtu}")
    if address:
        ns.ip(f"addr add {address} dev {device} {'nodad' if ':' in address else ''}")


def link(a, a_device, a_address, b, b_device, b_address, mtu=1500):
    """A veth pair between two namespaces; nothing of it is ever seen outside of them."""
    run(["ip", "-n", a.name, "link", "add", a_device, "type", "veth", "peer", "name", b_device, "netns", b.name])
    _set_up(a, a_device, a_address, mtu)
    _set_up(b, b_device, b_address, mtu)


def bridge(ns, name, *ports):
    """A bridge over existing devices."""
    ns.ip(f"link add {name} type bridge")
    ns.ip(f"link set {name} up")
    for port in ports:
        ns.ip(f"link set {port} master {name} up")


def carrier_up(ns, device):
    """Whether a device can carry packets now."""
    try:
        return "LOWER_UP" in ns.ip(f"-o link show dev {device}")
    except Failed:
        return False
