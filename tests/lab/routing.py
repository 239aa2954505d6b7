"""Routing daemons as the far end of BGP: BIRD 2 and FRR, told the same thing.

Both play the Azure side: AS 65515, advertising the virtual network and, as Azure does, the
other side's own prefix and peering address back to it.
"""

import json
import re
from dataclasses import dataclass, field

from .shell import Failed, wait_until


@dataclass
class Bgp:
    """One session and what is advertised on it."""

    asn: int = 65515
    router_id: str = "172.16.0.254"
    source: str = "172.16.0.254"
    neighbor: str = "192.168.1.1"
    neighbor_asn: int = 65510
    device: str = "vti0"
    advertise: list = field(default_factory=list)
    hold: int = 180
    keepalive: int = 60
    passive: bool = False
    multihop: int = 2
    enabled: bool = True
    md5: str = ""
    discard: list = field(default_factory=list)  # prefixes this side must not route into the tunnel itself


BIRD = """log "{log}" all;
debug protocols {{ states, events }};
router id {b.router_id};
ipv4 table exchange;
protocol device {{ scan time 2; }}
protocol kernel {{
  ipv4 {{
    import none;
    export filter {{
      if source = RTS_BGP then {{ krt_prefsrc = {b.source}; accept; }}
      reject;
    }};
  }};
}}
protocol static way {{
  ipv4 {{ preference 200; }};
  route {b.neighbor}/32 via "{b.device}";
}}
protocol static said {{
  ipv4 {{ table exchange; preference 200; }};
{routes}
}}
protocol pipe {{
  table exchange;
  peer table master4;
  export filter {{ if source = RTS_BGP then accept; reject; }};
  import none;
}}
protocol bgp site {{
  {disabled}
  local {b.source} as {b.asn};
  neighbor {b.neighbor} as {b.neighbor_asn};
  multihop {b.multihop};
  {passive}
  {md5}
  hold time {b.hold};
  keepalive time {b.keepalive};
  connect retry time 2;
  connect delay time 1;
  error wait time 1, 4;
  ipv4 {{
    table exchange;
    igp table master4;
    import all;
    export where source = RTS_STATIC;
    next hop self;
  }};
}}
"""


class Bird:
    """BIRD 2 on a host."""

    kind = "bird"

    def __init__(self, host, name, bgp):
        self.host, self.name, self.bgp = host, name, bgp
        self.directory = host.directory(f"bird-{name}")
        self.control = host.socket_path(f"bird-{name}")
        self.log = f"{self.directory}/bird.log"
        self.generation, self.process, self.environment = 0, None, None

    def text(self):
        """The whole configuration."""
        b = self.bgp
        return BIRD.format(
            b=b, log=self.log, passive="passive on;" if b.passive else "",
            disabled="" if b.enabled else "disabled;", md5=f'password "{b.md5}";' if b.md5 else "",
            routes="\n".join(f"  route {p} blackhole;" for p in b.advertise),
        )

    def _write(self):
        self.generation += 1
        path = f"{self.directory}/bird-{self.generation}.conf"
        with open(path, "w") as file:
            file.write(self.text())
        return path

    def start(self):
        path = self._write()
        self.process = self.host.spawn(f"bird-{self.name}", ["bird", "-f", "-c", path, "-s", self.control], env=self.environment)
        wait_until("BIRD's control socket", lambda: self.host.exists(self.control), 20)

    def birdc(self, *words):
        return self.host.run(["birdc", "-s", self.control, *words], check=False).out

    def reload(self):
        out = self.birdc("configure", f'"{self._write()}"')
        if "Reconfig" not in out:
            raise Failed(f"BIRD did not take its configuration: {out}")

    def established(self):
        return bool(re.search(r"^site\s.*Established", self.birdc("show", "protocols"), re.M))

    def received(self):
        """Prefixes learned from the neighbour."""
        return self.routes("table", "exchange", "protocol", "site")

    def routes(self, *which):
        """The prefixes that `show route` gives for these words."""
        return set(re.findall(r"^([0-9a-f.:]+/\d+)\s", self.birdc("show", "route", *which), re.M))

    def enable(self, on):
        self.birdc("enable" if on else "disable", "site")

    def state(self):
        return self.birdc("show", "protocols", "all", "site")

    def stop(self):
        if self.process:
            self.process.stop()


FRR = """frr defaults traditional
hostname headend
debug bgp neighbor-events
!
router bgp {b.asn}
 bgp router-id {b.router_id}
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 neighbor {b.neighbor} remote-as {b.neighbor_asn}
 neighbor {b.neighbor} ebgp-multihop {b.multihop}
 neighbor {b.neighbor} update-source {b.source}
 neighbor {b.neighbor} timers {b.keepalive} {b.hold}
 neighbor {b.neighbor} timers connect 2
 {passive}
 {shutdown}
 {md5}
 address-family ipv4 unicast
{networks}
  neighbor {b.neighbor} activate
  neighbor {b.neighbor} soft-reconfiguration inbound
 exit-address-family
!
"""


class Frr:
    """FRR (zebra and bgpd) on a host."""

    kind = "frr"

    def __init__(self, host, name, bgp):
        self.host, self.name, self.bgp = host, name, bgp
        self.directory = host.directory(f"frr-{name}")
        self.sockets = host.socket_path(f"frr-{name}") + ".d"
        self.generation, self.processes = 0, []

    def _write(self):
        b = self.bgp
        line = f" neighbor {b.neighbor} "
        text = FRR.format(
            b=b, passive=line + "passive" if b.passive else "",
            shutdown="" if b.enabled else line + "shutdown", md5=line + f"password {b.md5}" if b.md5 else "",
            networks="\n".join(f"  network {p}" for p in b.advertise),
        )
        self.generation += 1
        path = f"{self.directory}/frr-{self.generation}.conf"
        with open(path, "w") as file:
            file.write(text)
        return path

    def start(self):
        path = self._write()
        self.host.run(["install", "-d", "-o", "frr", "-g", "frr", self.sockets])
        common = ["-u", "frr", "-g", "frr", "--log", "stdout", "--log-level", "informational", "--vty_socket", self.sockets, "-z", f"{self.sockets}/zserv.api"]
        # Routes of the learned prefixes: the lab sets these on the head-end itself (its own echo of
        # them is the better route in bgpd), so zebra serves next hops alone.
        self.processes.append(self.host.spawn(
            f"zebra-{self.name}", ["/usr/lib/frr/zebra", "-f", "/dev/null", "-i", f"{self.sockets}/zebra.pid", *common]))
        wait_until("zebra's socket", lambda: self.host.exists(f"{self.sockets}/zserv.api"), 20)
        self.processes.append(self.host.spawn(
            f"bgpd-{self.name}", ["/usr/lib/frr/bgpd", "-f", path, "-i", f"{self.sockets}/bgpd.pid", *common]))
        wait_until("bgpd's vty", lambda: self.host.exists(f"{self.sockets}/bgpd.vty"), 20)

    def vtysh(self, command):
        return self.host.run(["vtysh", "--vty_socket", self.sockets, "-d", "bgpd", "-c", command], check=False).out

    def reload(self):
        """bgpd has no reload of its own: the session's part is small enough to start again."""
        for process in self.processes:
            process.stop()
        self.processes = []
        self.host.run(["rm", "-rf", self.sockets])
        self.start()

    def _json(self, command):
        text = self.vtysh(command + " json")
        try:
            return json.loads(text)
        except ValueError:
            return {}

    def established(self):
        peers = self._json("show bgp ipv4 unicast summary").get("peers", {})
        return peers.get(self.bgp.neighbor, {}).get("state") == "Established"

    def received(self):
        got = self._json(f"show bgp ipv4 unicast neighbors {self.bgp.neighbor} received-routes")
        return set(got.get("receivedRoutes", {}))

    def enable(self, on):
        no = "no " if on else ""
        self.host.run(["vtysh", "--vty_socket", self.sockets, "-d", "bgpd", "-c", "configure terminal", "-c",
                       f"router bgp {self.bgp.asn}", "-c", f"{no}neighbor {self.bgp.neighbor} shutdown"])

    def state(self):
        return self.vtysh(f"show bgp neighbors {self.bgp.neighbor}")

    def stop(self):
        for process in self.processes:
            process.stop()


DAEMONS = {"bird": Bird, "frr": Frr}
