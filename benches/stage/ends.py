"""The contenders. Each is two namespaces joined by one veth, with something between the inner addresses.

Inner addresses are the same everywhere: 10.9.0.1 and 10.9.0.2, fd09::1 and fd09::2; outer ones 10.1.0.1 and
10.1.0.2. Plain veth has the inner addresses on the link itself.
"""

import os
import re

from lab.netns import link
from lab.shell import Failed, wait_until
from lab.toml_text import Inline, dumps

PSK = "a-secret-of-the-benches"
INNER, INNER6 = ("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")
OUTER = ("10.1.0.1", "10.1.0.2")
IPERF = 5201


class Contender:
    """Two namespaces with a veth of MTU 1500."""

    has_ipv6 = True

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
        server = b.spawn(f"iperf-{self.name}", ["iperf3", "-s", "-p", str(IPERF)])
        wait_until("iperf3 listens", lambda: b.run(["ss", "-Hltn", f"sport = {IPERF}"]).out.strip(), 10)
        self.server = server
        return self

    def connect(self):
        raise NotImplementedError

    def pids(self):
        """The processes that make the tunnel."""
        return [process.pid for process in self.processes]

    def spawn(self, side, name, argv, **kwargs):
        process = self.ends[side].spawn(f"{name}-{self.name}", argv, **kwargs)
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
                "local": OUTER[side], "remote": OUTER[1 - side], "start": self.starts[side],
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


class WireGuard(Contender):
    """Two wireguard-go, whose binary the caller brings."""

    def __init__(self, lab, name, binary):
        super().__init__(lab, name)
        self.binary = binary

    def connect(self):
        keys = []
        for end in self.ends:
            secret = end.run(["wg", "genkey"]).out.strip()
            keys.append((secret, end.run(["wg", "pubkey"], stdin=secret).out.strip()))
        for side, end in enumerate(self.ends):
            # Its control socket has the interface's name and one folder for all: so each end has a name of its own.
            device = f"wg{os.getpid() % 10000}{self.name[:4]}{side}"
            self.spawn(side, "wireguard", [self.binary, "-f", device])
            wait_until("wireguard-go is ready", lambda d=device, e=end: e.run(["wg", "show", d], check=False).rc == 0, 10)
            secret = f"{end.directory(self.name)}/key"
            with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(keys[side][0])
            end.run(["wg", "set", device, "listen-port", "51820", "private-key", secret, "peer", keys[1 - side][1],
                     "endpoint", f"{OUTER[1 - side]}:51820", "allowed-ips", "0.0.0.0/0,::/0"])
            # The interface gets the longest MTU its overhead leaves, as causeway's does.
            end.ip(f"link set {device} mtu 1440 up")
            end.ip(f"addr add {INNER[side]}/24 dev {device}")
            end.ip(f"addr add {INNER6[side]}/64 dev {device} nodad")


SWAN = """charon-systemd {{
    {extra}
    plugins {{
        include /etc/strongswan.d/charon/*.conf
        kernel-libipsec {{
            load = yes
            allow_peer_ts = yes
        }}
        vici {{
            socket = unix://{vici}
        }}
        bypass-lan {{
            load = no
        }}
    }}
    filelog {{
        charon {{
            path = {log}
            default = 0
            flush_line = yes
        }}
    }}
}}
"""

SWANCTL = """connections {{
  bench {{
    version = 2
    local_addrs = {local}
    remote_addrs = {remote}
    proposals = {ike}
    encap = yes
    mobike = no
    rekey_time = 28800s
    local {{
      auth = psk
      id = {local}
    }}
    remote {{
      auth = psk
      id = {remote}
    }}
    children {{
      net {{
        local_ts = {local_ts}
        remote_ts = {remote_ts}
        esp_proposals = {esp}
        rekey_time = 25200s
        start_action = none
      }}
    }}
  }}
}}
secrets {{
  ike-bench {{
    secret = "{psk}"
  }}
}}
"""


class Charon:
    """One charon with kernel-libipsec, every stock plugin loaded, in one end of a contender."""

    def __init__(self, contender, side, esp, ike, local_ts, remote_ts):
        self.end = contender.ends[side]
        self.directory = self.end.directory(f"charon-{contender.name}")
        self.vici = self.end.socket_path(f"vici-{contender.name}")
        self.environment = {"STRONGSWAN_CONF": f"{self.directory}/strongswan.conf", "PATH": os.environ["PATH"]}
        with open(f"{self.directory}/strongswan.conf", "w") as file:
            file.write(SWAN.format(vici=self.vici, log=f"{self.directory}/charon.log", extra=""))
        with open(f"{self.directory}/swanctl.conf", "w") as file:
            file.write(SWANCTL.format(local=OUTER[side], remote=OUTER[1 - side], ike=ike, esp=esp, psk=PSK,
                                      local_ts=local_ts, remote_ts=remote_ts))
        contender.spawn(side, "charon", ["/usr/sbin/charon-systemd"], env=self.environment)
        wait_until("charon's vici socket", lambda: os.path.exists(self.vici), 30)
        self.swanctl("--load-all", "--clear", "--file", f"{self.directory}/swanctl.conf")

    def swanctl(self, *words, check=True):
        return self.end.run(["swanctl", *words, "--uri", f"unix://{self.vici}"], check=check, env=self.environment).out


class Libipsec(Contender):
    """Two charons with kernel-libipsec: strongSwan's own ESP in user space. IPv4 alone, always in UDP."""

    has_ipv6 = False

    def __init__(self, lab, name, esp, ike="aes256-sha256-prfsha256-curve25519"):
        super().__init__(lab, name)
        self.esp, self.ike = esp, ike

    def connect(self):
        for side in (0, 1):
            self.ends[side].ip(f"addr add {INNER[side]}/32 dev lo")
        charons = [
            Charon(self, side, self.esp, self.ike, f"{INNER[side]}/32", f"{INNER[1 - side]}/32") for side in (0, 1)]
        self.charons = charons
        charons[0].swanctl("--initiate", "--child", "net", "--timeout", "15")

    def down(self):
        self.charons[0].swanctl("--terminate", "--ike", "bench", "--timeout", "10")

    def up(self):
        self.charons[0].swanctl("--initiate", "--child", "net", "--timeout", "15")


class Mixed(Causeway):
    """causeway dialling strongSwan with kernel-libipsec; for handshakes."""

    has_ipv6 = False

    def configure(self, side):
        path = super().configure(side)
        with open(path) as file:
            text = file.read()
        # libipsec would swallow its own outer packets under selectors that hold them.
        text = re.sub(r"local_ts = .*", f'local_ts = ["{INNER[side]}/32"]', text)
        text = re.sub(r"remote_ts = .*", f'remote_ts = ["{INNER[1 - side]}/32"]', text)
        with open(path, "w") as file:
            file.write(text)
        return path

    def connect(self):
        self.ends[1].ip(f"addr add {INNER[1]}/32 dev lo")
        Charon(self, 1, self.esp, self.ike.replace("aes256gcm16-", "aes256gcm16-"), f"{INNER[1]}/32", f"{INNER[0]}/32")
        self.spawn(0, "causeway", [self.binary, "run", "--config", self.configure(0)])
        wait_until("causeway answers", lambda: self.client(0, "show", "status", check=False).rc == 0, 15)


__all__ = ["Causeway", "Contender", "Failed", "Libipsec", "Mixed", "NullPath", "PastTheStack", "Plain", "Relay", "WireGuard"]
