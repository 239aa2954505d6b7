"""strongSwan as a peer: one charon on a host, its own configuration, its SAs as values."""

import re
from dataclasses import dataclass, field

from .shell import Failed, wait_until
from .sockets import deepen

CONF = """charon-systemd {{
    load_modular = yes
    install_routes = no
    install_virtual_ip = no
    # libipsec installs its routes whatever install_routes says; behind `main` they catch nothing.
    routing_table_prio = 40000
    {extra}
    plugins {{
        include /etc/strongswan.d/charon/*.conf
        kernel-libipsec {{
            load = {libipsec}
            allow_peer_ts = yes
        }}
        vici {{
            socket = unix://{vici}
        }}
        bypass-lan {{
            load = no
        }}
        af-alg {{
            load = no
        }}
        test-vectors {{
            load = no
        }}
        gcrypt {{
            load = no
        }}
        eap-identity {{
            load = no
        }}
        eap-aka {{
            load = no
        }}
        eap-md5 {{
            load = no
        }}
        eap-gtc {{
            load = no
        }}
        eap-tls {{
            load = no
        }}
        eap-ttls {{
            load = no
        }}
        eap-tnc {{
            load = no
        }}
        xauth-eap {{
            load = no
        }}
        xauth-pam {{
            load = no
        }}
        tnc-tnccs {{
            load = no
        }}
        certexpire {{
            load = no
        }}
        led {{
            load = no
        }}
        addrblock {{
            load = no
        }}
        lookip {{
            load = no
        }}
        error-notify {{
            load = no
        }}
        rc2 {{
            load = no
        }}
        md5 {{
            load = no
        }}
        pgp {{
            load = no
        }}
        dnskey {{
            load = no
        }}
        sshkey {{
            load = no
        }}
        pkcs7 {{
            load = no
        }}
        pkcs12 {{
            load = no
        }}
        rdrand {{
            load = no
        }}
        aesni {{
            load = no
        }}
        dhcp {{
            load = no
        }}
        farp {{
            load = no
        }}
        ha {{
            load = no
        }}
        forecast {{
            load = no
        }}
        resolve {{
            load = no
        }}
        connmark {{
            load = no
        }}
        unity {{
            load = no
        }}
        pkcs11 {{
            load = no
        }}
        tpm {{
            load = no
        }}
        ldap {{
            load = no
        }}
        curl {{
            load = no
        }}
        agent {{
            load = no
        }}
        eap-radius {{
            load = no
        }}
    }}
    filelog {{
        charon {{
            path = {log}
            time_format = %T
            time_add_ms = yes
            default = 1
            ike = 2
            knl = 1
            flush_line = yes
        }}
    }}
}}
# swanctl only talks; its default plugins take seconds to load in a guest.
swanctl {{
    load = random nonce
}}
"""

CONNECTION = """connections {{
  {name} {{
    version = 2
    local_addrs = {p.local}
    remote_addrs = {p.remote}
    local_port = 500
    proposals = {p.ike}
    encap = {encap}
    mobike = no
    fragmentation = {p.fragmentation}
    dpd_delay = {p.dpd}
    rekey_time = {p.ike_rekey}
    rand_time = 0s
    reauth_time = 0s
    keyingtries = {p.keyingtries}
    unique = replace
    {p.connection_extra}
    local {{
      auth = psk
      id = {p.local_id}
    }}
    remote {{
      auth = psk
      id = {p.remote_id}
    }}
    children {{
      {child} {{
        local_ts = {p.local_ts}
        remote_ts = {p.remote_ts}
        esp_proposals = {p.esp}
        mode = tunnel
        start_action = {start}
        close_action = none
        dpd_action = {dpd_action}
        rekey_time = {p.child_rekey}
        life_time = {p.child_life}
        rand_time = 0s
        replay_window = {p.replay_window}
        {mark}
        {p.child_extra}
      }}
    }}
  }}
}}
secrets {{
  ike-{name} {{
    id-local = {p.local_id}
    id-remote = {p.remote_id}
    secret = "{p.psk}"
  }}
{second}
}}
"""
# A secret that fits less well: charon proves itself with the other, and takes either from the peer.
SECOND_SECRET = """  ike-{name}-second {{
    id-remote = {p.remote_id}
    secret = "{p.second_psk}"
  }}"""


@dataclass
class Ipsec:
    """What one side of the tunnel is told, in swanctl's words."""

    local: str = "192.0.2.1"
    remote: str = "203.0.113.1"
    local_id: str = "192.0.2.1"
    remote_id: str = "203.0.113.1"
    psk: str = "a-secret-of-the-lab"
    second_psk: str = ""  # what the peer may prove itself with as well
    ike: str = "aes256-sha1-modp1024"
    esp: str = "aes256-sha1"
    initiate: bool = False
    encap: bool = False
    ike_rekey: str = "28800s"
    child_rekey: str = "25200s"
    child_life: str = "27000s"
    dpd: str = "30s"
    local_ts: str = "0.0.0.0/0"
    remote_ts: str = "0.0.0.0/0"
    replay_window: int = 1024
    keyingtries: int = 0
    fragmentation: str = "yes"
    mark: int = 0
    connection_extra: str = ""
    child_extra: str = ""


def _connection(name, child, p):
    """The text of one connection with its secret."""
    return CONNECTION.format(
        name=name, child=child, p=p, encap="yes" if p.encap else "no", start="start" if p.initiate else "none",
        dpd_action="restart" if p.initiate else "clear",
        second=SECOND_SECRET.format(name=name, p=p) if p.second_psk else "",
        mark=f"mark_in = {p.mark}\n        mark_out = {p.mark}" if p.mark else "",
    )


@dataclass
class Child:
    """A CHILD SA as the peer sees it; SPIs as integers, inbound first."""

    name: str
    state: str
    spi_in: int
    spi_out: int
    raw: dict = field(repr=False, default_factory=dict)


@dataclass
class Ike:
    """An IKE SA as the peer sees it."""

    state: str
    initiator: bool
    spi_i: str
    spi_r: str
    children: list
    raw: dict = field(repr=False, default_factory=dict)


def parse_raw(text):
    """swanctl's `--raw` form: words, `key=value`, `{...}` and `[...]`, nested."""
    tokens = re.findall(r"[{}\[\]]|[^\s{}\[\]]+", text)
    place = 0

    def body(end):
        nonlocal place
        fields, words = {}, []
        while place < len(tokens) and tokens[place] != end:
            token = tokens[place]
            place += 1
            opener = tokens[place] if place < len(tokens) else ""
            if token in "{[":
                body("}" if token == "{" else "]")
                place += 1
            elif opener in ("{", "[") and (opener == "{" or token.endswith("=")):
                place += 1
                fields[token.rstrip("=")] = body("}" if opener == "{" else "]")
                place += 1
            elif "=" in token and end != "]":
                key, value = token.split("=", 1)
                fields[key] = value
            else:
                words.append(token)
        return words if end == "]" else fields

    return body("")


class StrongSwan:
    """One charon. `host` is a namespace or a guest."""

    def __init__(self, host, name, parameters, libipsec):
        self.host, self.name, self.parameters, self.libipsec = host, name, parameters, libipsec
        self.directory = host.directory(f"charon-{name}")
        self.vici = host.socket_path(f"vici-{name}")
        self.log = f"{self.directory}/charon.log"
        self.environment = {
            "STRONGSWAN_CONF": f"{self.directory}/strongswan.conf", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        self.generation, self.process = 0, None

    def start(self, extra=""):
        conf = CONF.format(libipsec="yes" if self.libipsec else "no", vici=self.vici, log=self.log, extra=extra)
        with open(f"{self.directory}/strongswan.conf", "w") as file:
            file.write(conf)
        self.process = self.host.spawn(
            f"charon-{self.name}", ["/usr/sbin/charon-systemd"],
            env=self.environment,
        )
        wait_until("charon's vici socket", lambda: self.host.exists(self.vici) or self._gone(), 60)

    def _gone(self):
        if not self.process.alive():
            raise Failed(f"charon ended: {self.process.output()[-1000:]}")

    def load(self, fleet=None):
        """Loads connection and secret; with `initiate`, charon starts to dial.

        `fleet` is for many at once: name -> parameters, the CHILD SA named as its connection.
        """
        text = "".join(_connection(n, n, p) for n, p in fleet.items()) if fleet else _connection("site", "net", self.parameters)
        # A name of its own each time: a guest must not read an old copy from its cache.
        if self.libipsec:
            deepen(self.process.pid)
        self.generation += 1
        path = f"{self.directory}/swanctl-{self.generation}.conf"
        with open(path, "w") as file:
            file.write(text)
        self.swanctl("--load-all", "--clear", "--file", path, timeout=90)

    def swanctl(self, *words, check=True, timeout=30):
        return self.host.run(["swanctl", *words, "--uri", f"unix://{self.vici}"], check=check, timeout=timeout,
                             env=self.environment).out

    def initiate(self, timeout=15):
        return self.swanctl("--initiate", "--child", "net", "--timeout", str(timeout), timeout=timeout + 5)

    def terminate(self, check=True):
        return self.swanctl("--terminate", "--ike", "site", "--timeout", "10", check=check)

    def rekey_ike(self):
        return self.swanctl("--rekey", "--ike", "site")

    def rekey_child(self):
        return self.swanctl("--rekey", "--child", "net")

    def sas(self):
        """All IKE SAs of the connection, newest last."""
        found = []
        for line in self.swanctl("--list-sas", "--raw").splitlines():
            if not line.startswith("list-sa"):
                continue
            for sa in parse_raw(line).get("event", {}).values():
                if isinstance(sa, dict):
                    found.append(self._ike(sa))
        return found

    @staticmethod
    def _ike(sa):
        children = [
            Child(c.get("name", key), c.get("state", ""), int(c.get("spi-in", "0"), 16), int(c.get("spi-out", "0"), 16), c)
            for key, c in sa.get("child-sas", {}).items()
        ]
        return Ike(sa.get("state", ""), sa.get("initiator") == "yes", sa.get("initiator-spi", ""),
                   sa.get("responder-spi", ""), children, sa)

    def established(self):
        """The one IKE SA with its one CHILD SA when the tunnel is up, else None."""
        for ike in self.sas():
            if ike.state == "ESTABLISHED" and any(c.state == "INSTALLED" for c in ike.children):
                return ike
        return None

    def spis(self):
        """The SPIs (inbound, outbound) of the CHILD SA in use, newest."""
        pairs = [(c.spi_in, c.spi_out) for i in self.sas() for c in i.children if c.state == "INSTALLED"]
        return pairs[-1] if pairs else None

    def log_text(self):
        self.host.sync()
        with open(self.log, errors="replace") as file:
            return file.read()

    def stop(self):
        if self.process:
            self.process.stop()
