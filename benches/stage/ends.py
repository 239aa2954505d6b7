"""What a contender is, and those that are ours. Each is two namespaces joined by one veth, with something between the
inner addresses.

Inner addresses are the same everywhere: 10.9.0.1 and 10.9.0.2, fd09::1 and fd09::2; outer ones 10.1.0.1 and
10.1.0.2, fd01::1 and fd01::2. Plain veth has the inner addresses on the link itself.
"""

import os

from lab.netns import link
from lab.shell import expect, wait_until
from lab.toml_text import Inline, dumps

PSK = "a-secret-of-the-benches"
INNER, INNER6 = ("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")
OUTER, OUTER6 = ("10.1.0.1", "10.1.0.2"), ("fd01::1", "fd01::2")
IPERF = 5201
# Packets a TUN holds, the same for every contender that has one.
QUEUE = 10_000


def stream(seconds, streams=1, ipv6=False):
    """The words for an iperf3 whose page is JSON: TCP, cubic, from the first end to the second."""
    return ["iperf3", "-c", INNER6[1] if ipv6 else INNER[1], "-p", str(IPERF), "-C", "cubic", "-J",
            "-t", str(seconds), "-P", str(streams)]


class Contender:
    """Two namespaces with a veth of MTU 1500."""

    has_ipv6 = True
    # The TUN's name, of those that have one.
    tun = None

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.ends = [lab.namespace(f"{name}-{side}") for side in "ab"]
        self.processes = []
        link(self.ends[0], "wan0", f"{OUTER[0]}/24", self.ends[1], "wan0", f"{OUTER[1]}/24")

    def start(self):
        """Sets the path up and waits until a ping goes through."""
        self.connect()
        a, b = self.ends
        families = [INNER[1]] + ([INNER6[1]] if self.has_ipv6 else [])
        for target in families:
            wait_until(
                f"{self.name} reaches {target}",
                lambda target=target: a.run(["ping", "-n", "-c1", "-W1", target], check=False).rc == 0, 30)
        for side, end in enumerate(self.ends):
            self.same_queue(side, end)
        server = b.spawn(f"iperf-{self.name}", ["iperf3", "-s", "-p", str(IPERF)])
        wait_until("iperf3 listens", lambda: b.run(["ss", "-Hltn", f"sport = {IPERF}"]).out.strip(), 10)
        self.server = server
        return self

    def connect(self):
        raise NotImplementedError

    def device(self, _side):
        """The name of an end's TUN."""
        return self.tun

    def same_queue(self, side, end):
        """Gives an end's TUN the length of queue that all have."""
        device = self.device(side)
        if device:
            end.ip(f"link set {device} txqueuelen {QUEUE}")
            expect(f"qlen {QUEUE}" in end.ip(f"link show dev {device}"), f"{self.name}: {device} keeps its queue length")

    def pids(self):
        """The processes that make the tunnel."""
        return [process.pid for process in self.processes]

    def spawn(self, side, name, argv, **kwargs):
        process = self.ends[side].spawn(f"{name}-{self.name}", argv, **kwargs)
        process.side = side
        self.processes.append(process)
        return process


class Plain(Contender):
    """The veth alone: what the kernel and the load generator do by themselves."""

    def connect(self):
        for side, end in enumerate(self.ends):
            end.ip(f"addr add {INNER[side]}/24 dev wan0")
            end.ip(f"addr add {INNER6[side]}/64 dev wan0 nodad")


class Relay(Contender):
    """The null relay: the tunnel's system calls, cuts and joins, without anything of IPsec."""

    tun = "tun0"

    def __init__(self, lab, name, binary, esp=False, threads=1, xdp=False):
        super().__init__(lab, name)
        self.binary, self.threads = binary, threads
        self.extra = ["--esp", "--xdp", "wan0"] if xdp else ["--esp"] if esp else []

    def connect(self):
        for side, end in enumerate(self.ends):
            process = self.spawn(side, "relay", [
                self.binary, "--tun", "tun0", "--local", OUTER[side], "--remote", OUTER[1 - side],
                "--threads", str(self.threads), *self.extra])
            wait_until("the relay is ready", lambda process=process: "ready" in process.output(), 10)
            end.ip(f"addr add {INNER[side]}/24 dev tun0")
            end.ip(f"addr add {INNER6[side]}/64 dev tun0 nodad")


class NullPath(Contender):
    """causeway's own datapath with SAs that do everything but protect."""

    tun = "tun0"

    def __init__(self, lab, name, binary):
        super().__init__(lab, name)
        self.binary = binary

    def connect(self):
        for side, end in enumerate(self.ends):
            process = self.spawn(side, "null-path", [
                self.binary, "--tun", "tun0", "--local", OUTER[side], "--remote", OUTER[1 - side]])
            wait_until("the null path is ready", lambda process=process: "ready" in process.output(), 10)
            end.ip(f"addr add {INNER[side]}/24 dev tun0")
            end.ip(f"addr add {INNER6[side]}/64 dev tun0 nodad")


class Causeway(Contender):
    """Two causeway daemons, `a` dialling `b`."""

    outer = OUTER

    tun = "vti0"

    def __init__(self, lab, name, binary, esp, encapsulation, start="initiate", ike="aes256gcm16-prfsha256-curve25519"):
        super().__init__(lab, name)
        self.binary, self.esp, self.encapsulation, self.ike = binary, esp, encapsulation, ike
        self.starts = (start, "respond")

    def tree(self, side):
        """One end's file as a tree."""
        return {
            "control": {"socket": self.socket(side)},
            "log": {"level": "warn"},
            "tunnel": {"bench": {
                "local": self.outer[side], "remote": self.outer[1 - side], "start": self.starts[side],
                "psk": Inline(file="bench.psk"), "local_id": OUTER[side], "remote_id": OUTER[1 - side],
                "ike": {"proposals": [self.ike]},
                "esp": {
                    "proposals": [self.esp], "encapsulation": self.encapsulation,
                    "local_ts": ["0.0.0.0/0", "::/0"], "remote_ts": ["0.0.0.0/0", "::/0"],
                },
                "interface": {"name": "vti0", "addresses": [f"{INNER[side]}/24", f"{INNER6[side]}/64"]},
            }},
        }

    def configure(self, side):
        """Writes one end's file and secret; the file's path."""
        directory = self.ends[side].directory(self.name)
        with open(os.open(f"{directory}/bench.psk", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(PSK)
        with open(f"{directory}/causeway.toml", "w") as file:
            file.write(dumps(self.tree(side)))
        return f"{directory}/causeway.toml"

    def socket(self, side):
        return self.ends[side].socket_path(self.name)

    def client(self, side, *words, check=True):
        return self.ends[side].run([self.binary, *words, "--socket", self.socket(side)], check=check)

    def connect(self):
        for side in (1, 0):
            self.spawn(side, "causeway", [self.binary, "run", "--config", self.configure(side)])
        for side in (1, 0):
            wait_until("causeway answers", lambda side=side: self.client(side, "show", "status", check=False).rc == 0, 15)

    def down(self):
        self.client(0, "down", "bench")

    def up(self):
        self.client(0, "up", "bench")


class PastTheStack(Causeway):
    """The same, protocol 50 through AF_XDP at both ends."""

    def tree(self, side):
        return {**super().tree(side), "esp": {"af_xdp": ["wan0"]}}


class Several(Causeway):
    """The same with several queues of the TUN, and as many CHILD SAs at most as `sas` says."""

    def __init__(self, lab, name, binary, queues, sas):
        super().__init__(lab, name, binary, "aes256gcm16", "always")
        self.queues, self.sas = queues, sas

    def tree(self, side):
        tree = super().tree(side)
        tree["tunnel"]["bench"]["interface"]["queues"] = self.queues
        tree["tunnel"]["bench"]["esp"]["resource_sas"] = self.sas
        return tree

    def connect(self):
        super().connect()
        wait_until(f"{self.sas} CHILD SAs stand at both ends", lambda: all(
            self.client(side, "show", "ipsec", "--json", check=False).out.count('"INSTALLED"') == self.sas
            for side in (0, 1)), 30)


class OuterSix(Causeway):
    """The same between IPv6 addresses."""

    outer = OUTER6

    def connect(self):
        for side, end in enumerate(self.ends):
            end.ip(f"addr add {OUTER6[side]}/64 dev wan0 nodad")
        super().connect()
