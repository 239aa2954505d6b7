"""The program under test: its file, its process, its pages."""

import json
import os
import signal
import tomllib

from .shell import Failed, expect, wait_until
from .toml_text import Inline, dumps, merge
from .topology import AZURE, LAN_GATEWAY

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("CAUSEWAY_BIN", os.path.join(REPOSITORY, "target/release/causeway"))
PSK = "a-secret-of-the-lab"


def tunnel(site, cloud=AZURE, device="vti0", start="initiate", **changes):
    """The `[tunnel.X]` section of the shipped example, towards `cloud`."""
    section = {
        "profile": "azure",
        "local": site.outer,
        "remote": cloud.outer,
        "start": start,
        "psk": Inline(file=f"{cloud.name}.psk"),
        "local_id": site.public,
        "remote_id": cloud.outer,
        "ike": {"proposals": ["aes256-sha1-modp1024"], "lifetime": "8h", "dpd": Inline(delay="30s", timeout="150s")},
        "esp": {
            "proposals": ["aes256-sha1"], "lifetime": "7h30m", "encapsulation": "auto",
            "local_ts": ["0.0.0.0/0"], "remote_ts": ["0.0.0.0/0"],
        },
        "interface": {
            "name": device, "addresses": [], "source": LAN_GATEWAY, "mtu": "auto", "mss": 1350,
            "routes": [f"{cloud.peering}/32"],
        },
    }
    return merge(section, changes)


def neighbor(cloud=AZURE, **changes):
    """The `[bgp.neighbor.X]` section of the shipped example."""
    section = {
        "address": cloud.peering, "asn": cloud.asn, "tunnel": cloud.name, "source": LAN_GATEWAY, "multihop": 2,
        "import": f"{cloud.name}-in", "export": f"{cloud.name}-out", "max_prefix": 4000,
    }
    return {**section, **changes}


def lists(site, cloud=AZURE):
    """The prefix lists of the shipped example."""
    denied = [f"{site.public}/32", f"{cloud.outer}/32", f"{LAN_GATEWAY}/32", f"{cloud.peering}/32"]
    rules = [Inline(seq=10 * (n + 1), action="deny", prefix=p) for n, p in enumerate(denied)]
    rules.append(Inline(seq=110, action="permit", prefix=cloud.prefix))
    return {
        f"{cloud.name}-in": rules,
        f"{cloud.name}-out": [Inline(seq=100, action="permit", prefix="192.168.1.0/24")],
    }


def example(site, cloud=AZURE, **changes):
    """The shipped example as a tree; `changes` are put over it."""
    tree = {
        "router": {"id": "203.0.113.1", "asn": 65510},
        "tunnel": {cloud.name: tunnel(site, cloud)},
        "bgp": {"networks": ["192.168.1.0/24"], "neighbor": {cloud.name: neighbor(cloud)}},
        "prefix_list": lists(site, cloud),
    }
    return merge(tree, changes)


def and_second(tree, site, cloud, device="vti1"):
    """`tree` with a second tunnel and neighbour."""
    return merge(tree, {
        "tunnel": {cloud.name: tunnel(site, cloud, device=device)},
        "bgp": {"neighbor": {cloud.name: neighbor(cloud)}},
        "prefix_list": lists(site, cloud),
    })


class Causeway:
    """One daemon in a namespace."""

    def __init__(self, site, tree, name="causeway", secrets=None):
        self.site, self.lab, self.host, self.name = site, site.lab, site.gateway, name
        self.directory = self.lab.directory(name)
        self.socket = self.host.socket_path(f"{name}-control")
        self.file = os.path.join(self.directory, "causeway.toml")
        self.secrets = secrets or {}
        self.wrapper, self.process, self.starts = [], None, 0
        self.write(tree)
        if not hasattr(self.lab, "on_failure"):
            self.lab.on_failure = []
        self.lab.on_failure.append(self.picture)
        expect(os.access(BINARY, os.X_OK), f"no program at {BINARY}: build it, or set CAUSEWAY_BIN")

    def write(self, tree):
        """Writes the file and a secret for each tunnel; a text is taken as it is."""
        control = {"control": {"socket": self.socket}}
        if isinstance(tree, str):
            text = tree + "\n" + dumps(control)
            self.tree = merge(tomllib.loads(tree), control)
        else:
            self.tree = merge(tree, control)
            text = dumps(self.tree)
        with open(self.file, "w") as file:
            file.write(text)
        for name in self.tree.get("tunnel", {}):
            path = os.path.join(self.directory, f"{name}.psk")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(self.secrets.get(name, PSK) + "\n")

    def start(self, wait=True):
        self.starts += 1
        self.process = self.host.spawn(
            f"{self.name}-{self.starts}", [*self.wrapper, BINARY, "run", "--config", self.file],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "RUST_BACKTRACE": "1"},
        )
        if wait:
            wait_until("causeway answers on its socket", self.answers, 20)
        return self

    def answers(self):
        if not self.process.alive():
            raise_now = self.process.output()[-3000:]
            raise RuntimeError(f"causeway ended with status {self.process.returncode()}:\n{raise_now}")
        return self.client("show", "status", "--json", check=False).rc == 0

    def pid(self):
        """The daemon's own process id (`ip netns exec` becomes it)."""
        return self.process.pid

    # -- its pages

    def client(self, *words, check=True, timeout=30):
        return self.host.run([BINARY, *words, "--socket", self.socket], check=check, timeout=timeout)

    def show(self, *words):
        """A page as values."""
        out = self.client("show", *words, "--json").out
        try:
            return json.loads(out)
        except ValueError:
            raise Failed(f"show {' '.join(words)} --json is no JSON: {out[:300]}") from None

    def status(self, name=AZURE.name):
        """One tunnel's line."""
        for line in self.show("status")["tunnels"]:
            if line["name"] == name:
                return line
        raise Failed(f"no tunnel {name} in show status")

    def why(self, name=AZURE.name):
        """The code and text of why a tunnel is down."""
        why = self.status(name)["why"] or {}
        return why.get("code", ""), why.get("text", "")

    def up(self, name=AZURE.name):
        return self.status(name)["state"] == "up"

    def ipsec_up(self, name=AZURE.name):
        return self.status(name)["child"]["up"]

    def spis(self, name=AZURE.name):
        """SPIs (inbound, outbound) of the CHILD SA in use."""
        sa = self.child(name)
        return (int(sa["inbound"]["spi"], 16), int(sa["outbound"]["spi"], 16)) if sa else None

    def child(self, name=AZURE.name):
        """The row of the CHILD SA in use; older ones may linger beside it."""
        in_use = [c for c in self.show("ipsec") if c["tunnel"] == name and c["state"] == "INSTALLED"]
        return min(in_use, key=lambda c: c["age"]) if in_use else None

    def ike_sas(self):
        """The rows of the IKE SAs."""
        return self.show("ike")["sas"]

    def ike_counters(self):
        """What the engine counted, by name."""
        return {c["name"]: c["count"] for c in self.show("ike")["counters"]}

    def ike_spis(self, name=AZURE.name):
        """SPIs (initiator, responder) of the newest established IKE SA."""
        found = [i for i in self.ike_sas() if i["tunnel"] == name and i["state"].lower() == "established"]
        return (found[-1]["spi_initiator"], found[-1]["spi_responder"]) if found else None

    def received(self, name=AZURE.name):
        """Each received prefix with its verdict."""
        page = self.show("bgp", "neighbors", name, "received-routes")
        return {r["prefix"]: r for r in page["routes"]}

    def wait_up(self, name=AZURE.name, timeout=30):
        wait_until(f"tunnel {name} up, IPsec and BGP", lambda: self.up(name), timeout, 0.2)

    def reload(self, tree=None):
        if tree is not None:
            self.write(tree)
        return self.client("reload")

    # -- its end

    def stop(self, timeout=30):
        """A clean stop, which must end well."""
        self.process.send(signal.SIGTERM)
        code = self.process.wait(timeout)
        expect(code == 0, f"causeway ended with status {code} after SIGTERM")

    def kill(self):
        self.process.send(signal.SIGKILL)
        self.process.wait(30)

    def alive(self):
        return self.process.alive()

    def picture(self):
        """Everything its pages say, for a failure's report."""
        pages = [("show", "status"), ("show", "ike"), ("show", "ipsec"), ("show", "routes"), ("show", "bgp", "summary"),
                 ("show", "interfaces")]
        text = [f"--- causeway {'alive' if self.process and self.process.alive() else 'gone'}"]
        for page in pages:
            done = self.client(*page, check=False, timeout=5)
            text.append(f"$ causeway {' '.join(page)}\n{done.out}{done.err}")
        text.append(self.host.ip("route show table all"))
        return "\n".join(text)
