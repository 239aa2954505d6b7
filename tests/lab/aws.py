"""AWS's side of a Site-to-Site VPN connection: two outside addresses, one virtual private gateway behind them.

One guest has both outside addresses, a VTI for each with the first address of its inside /30, charon with what AWS
offers, and BIRD as AS 64512 with a session through each: timers 10 and 30, the first tunnel marked as primary by its
MED, a session that brings more than 100 routes ended for good. Names and addresses are those of examples/aws.toml.
"""

from dataclasses import dataclass

from .routing import Bgp, Bird
from .strongswan import Ipsec, StrongSwan
from .topology import GATEWAY, Cloud

AWS = Cloud("aws", "198.51.100.10", "198.51.100.254", "10.20.0.0/16", "10.20.0.1", "10.20.1.10", 64512,
            "2001:db8:51::10", "2001:db8:51::fe", "fd04::/64", "fd04::1", "fd04::10")
SITE_ASN = 65000
ROUTES_TAKEN = 100


@dataclass(frozen=True)
class Tunnel:
    """One of the two tunnels; `ours` is AWS's inside address, `theirs` the customer's."""

    name: str
    outside: str
    ours: str
    theirs: str
    device: str
    key: int
    med: int
    psk: str


TUNNELS = (
    Tunnel("aws-1", "198.51.100.10", "169.254.10.1", "169.254.10.2", "vti1", 1, 100, "first_Key.of.the.laboratory"),
    Tunnel("aws-2", "198.51.100.20", "169.254.20.1", "169.254.20.2", "vti2", 2, 200, "second_Key.of.the.laboratory"),
)
SECRETS = {t.name: t.psk for t in TUNNELS}

# What a tunnel's options have by default, with the AEADs first; no group 22, which charon does not offer for ESP.
GROUPS = "ecp384-ecp256-ecp521-modp2048-modp3072-modp4096-modp6144-modp8192-modp2048s256-modp2048s224-modp1024"
IKE = (f"aes256gcm16-aes128gcm16-prfsha384-prfsha256-prfsha512-prfsha1-{GROUPS}, "
       f"aes256-aes128-sha384-sha256-sha512-sha1-{GROUPS}")
ESP = f"aes256gcm16-aes128gcm16-{GROUPS}, aes256-aes128-sha384-sha256-sha512-sha1-{GROUPS}"

CONNECTION = """  {t.name} {{
    version = 2
    local_addrs = {t.outside}
    remote_addrs = %any
    proposals = {ike}
    mobike = no
    dpd_delay = 10s
    rekey_time = 28800s
    unique = replace
    local {{
      auth = psk
      id = {t.outside}
    }}
    remote {{
      auth = psk
      id = {site}
    }}
    children {{
      {t.name} {{
        local_ts = 0.0.0.0/0
        remote_ts = 0.0.0.0/0
        esp_proposals = {esp}
        start_action = none
        dpd_action = clear
        rekey_time = 3060s
        life_time = 3600s
        replay_window = 1024
        mark_in = {t.key}
        mark_out = {t.key}
      }}
    }}
  }}
"""
SECRET = """  ike-{t.name} {{
    id-local = {t.outside}
    id-remote = {site}
    secret = "{t.psk}"
  }}
"""

SESSION = """protocol bgp {name} {{
  local {t.ours} as {asn};
  neighbor {t.theirs} as {site};
  direct;
  hold time 30;
  keepalive time 10;
  connect retry time 2;
  connect delay time 1;
  error wait time 1, 4;
  ipv4 {{
    import all;
    receive limit {limit} action disable;
    export filter {{
      if source != RTS_STATIC then reject;
      bgp_med = {t.med};
      accept;
    }};
    next hop self;
  }};
}}
"""
BIRD = """log "{log}" all;
debug protocols {{ states, events }};
router id {router_id};
protocol device {{ scan time 2; }}
protocol kernel {{
  ipv4 {{
    import none;
    export filter {{
      if source = RTS_BGP then {{ krt_prefsrc = {router_id}; accept; }}
      reject;
    }};
  }};
}}
protocol static vpc {{
  ipv4;
  route {prefix} blackhole;
}}
"""


def session(tunnel):
    """BIRD's name for it; its names have no hyphen."""
    return tunnel.name.replace("-", "")


class Gateways(StrongSwan):
    """One charon with a connection for each tunnel that is served."""

    def __init__(self, host):
        super().__init__(host, AWS.name, Ipsec(local=AWS.outer), libipsec=False)
        self.served = list(TUNNELS)

    def load(self):
        """Loads what is served; a tunnel that is not gets no answer but a refusal."""
        part = {"ike": IKE, "esp": ESP, "site": GATEWAY}
        text = "connections {\n" + "".join(CONNECTION.format(t=t, **part) for t in self.served) + "}\n"
        text += "secrets {\n" + "".join(SECRET.format(t=t, **part) for t in self.served) + "}\n"
        self.generation += 1
        path = f"{self.directory}/swanctl-{self.generation}.conf"
        with open(path, "w") as file:
            file.write(text)
        self.swanctl("--load-all", "--clear", "--file", path)

    def spis_of(self, tunnel):
        """The SPIs (inbound, outbound) of a tunnel's newest CHILD SA."""
        pairs = [(c.spi_in, c.spi_out) for i in self.sas() for c in i.children if c.state == "INSTALLED" and c.raw.get("name") == tunnel.name]
        return pairs[-1] if pairs else None


class Router(Bird):
    """BIRD with a session through each tunnel."""

    def __init__(self, host):
        super().__init__(host, AWS.name, Bgp())

    def text(self):
        head = BIRD.format(log=self.log, router_id=AWS.peering, prefix=AWS.prefix)
        return head + "".join(
            SESSION.format(t=t, name=session(t), asn=AWS.asn, site=SITE_ASN, limit=ROUTES_TAKEN) for t in TUNNELS)

    def established_with(self, tunnel):
        return "Established" in self.birdc("show", "protocols", session(tunnel))

    def routes_from(self, tunnel):
        """Prefixes learned through a tunnel."""
        return self.routes("protocol", session(tunnel))

    def way_to(self, prefix):
        """The device of the best route to a prefix, or None."""
        out = self.birdc("show", "route", "primary", "for", prefix)
        return next((t.device for t in TUNNELS if f"on {t.device}" in out), None)


class Stand:
    """Both ends and the network behind them, not started yet."""

    def __init__(self, site):
        self.host, self.vpc = site.attach_guest(AWS)
        for tunnel in TUNNELS[1:]:
            self.host.ip(f"addr add {tunnel.outside}/24 dev wan0")
        self.charon, self.routing = Gateways(self.host), Router(self.host)

    def start(self):
        for t in TUNNELS:
            self.host.ip(f"link add {t.device} type vti local {t.outside} ikey {t.key} okey {t.key}")
            self.host.ip(f"addr add {t.ours}/30 dev {t.device}")
            self.host.ip(f"link set {t.device} up mtu 1436")
            self.host.sysctl(f"net.ipv4.conf.{t.device}.disable_policy", 1)
            self.host.sysctl(f"net.ipv4.conf.{t.device}.rp_filter", 0)
        self.charon.start()
        self.routing.start()
        self.charon.load()
        return self

    def take_away(self, tunnel):
        """What maintenance does to one tunnel: its endpoint says goodbye and is gone, its BGP session with it."""
        self.charon.served.remove(tunnel)
        self.charon.load()
        self.charon.swanctl("--terminate", "--ike", tunnel.name, "--timeout", "10")
        self.host.ip(f"link set {tunnel.device} down")

    def give_back(self, tunnel):
        """The new endpoint is there; as with AWS, the customer has to dial."""
        self.host.ip(f"link set {tunnel.device} up")
        self.charon.served.append(tunnel)
        self.charon.load()
