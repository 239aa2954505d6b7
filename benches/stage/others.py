"""The contenders that are others' work, and causeway against one of them."""

import os
import re

from lab.shell import wait_until

from .ends import INNER, INNER6, OUTER, PSK, Causeway, Contender


class WireGuard(Contender):
    """Two wireguard-go, whose binary the caller brings."""

    def __init__(self, lab, name, binary):
        super().__init__(lab, name)
        self.binary = binary

    def device(self, side):
        """Its control socket has the interface's name and one folder for all: so each end has a name of its own."""
        return f"wg{os.getpid() % 10000}{self.name[:4]}{side}"

    def connect(self):
        keys = []
        for end in self.ends:
            secret = end.run(["wg", "genkey"]).out.strip()
            keys.append((secret, end.run(["wg", "pubkey"], stdin=secret).out.strip()))
        for side, end in enumerate(self.ends):
            device = self.device(side)
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
    tun = "ipsec0"

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

    def device(self, side):
        return ("vti0", "ipsec0")[side]

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
        Charon(self, 1, self.esp, self.ike, f"{INNER[1]}/32", f"{INNER[0]}/32")
        self.spawn(0, "causeway", [self.binary, "run", "--config", self.configure(0)])
        wait_until("causeway answers", lambda: self.client(0, "show", "status", check=False).rc == 0, 15)
