"""The README's way to a tunnel, word for word: every command of its section "Five minutes to a real tunnel" is
run, in its order, on a Debian with real systemd, once with the lines for Azure and once with those for AWS, against
a head-end that plays that cloud. Only building is left to whoever built the binary under test, and the keys in the
files are those the head-end has. Proven: each command succeeds, `check` finds nothing wrong with the example, every
tunnel comes up with BGP and LAN and cloud reach each other, and `reload` applies a change.
"""

import os
import re
import shutil

from lab import aws
from lab.case import Steps
from lab.causeway import BINARY, PSK, REPOSITORY
from lab.debian import tree as debian_tree
from lab.headend import HeadEnd
from lab.shell import expect, run as call, wait_until
from lab.topology import AZURE, LAN_HOST
from lab.traffic import ping, until_answered

from .systemd_service import Place, Service

SECTION = "## Five minutes to a real tunnel"
# Only this is done outside: the machine that builds need not be the gateway.
BUILD = "cargo build --release && packaging/build-deb"


class Azure:
    """What the Azure lines lead to."""

    other, tunnels, host = "aws", ["azure"], AZURE.host
    keys = {"the-shared-key": PSK}
    mss, absorbed = "1350", "azure: absorb"

    def __init__(self, site):
        self.headend = HeadEnd(site, "libipsec", "bird").start()
        self.cloud = self.headend.cloud_host

    def up(self):
        return self.headend.routing.established()


class Aws:
    """What the AWS lines lead to."""

    other, tunnels, host = "azure", [t.name for t in aws.TUNNELS], aws.AWS.host
    keys = {"the-first-key": aws.TUNNELS[0].psk, "the-second-key": aws.TUNNELS[1].psk}
    mss, absorbed = "1379", "aws-1: absorb"

    def __init__(self, site):
        self.stand = aws.Stand(site).start()
        self.cloud = self.stand.vpc

    def up(self):
        return all(self.stand.routing.established_with(t) for t in aws.TUNNELS)


CLOUDS = {"azure": Azure, "aws": Aws}


def cells(_full):
    return list(CLOUDS)


def commands(cloud):
    """The lines of the section's shell blocks, without those for the other cloud."""
    with open(os.path.join(REPOSITORY, "README.md")) as file:
        section = file.read().split(SECTION, 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", section, re.S | re.M)
    lines = [line.strip() for block in blocks for line in block.splitlines() if line.strip()]
    lines = [line for line in lines if cloud.other not in line]
    expect(len(lines) >= 9 and lines[0] == BUILD, f"the README's section has other commands now: {lines}")
    keys = [key for key in cloud.keys if any(key in line for line in lines)]
    expect(keys == list(cloud.keys), f"the README names the keys {keys}")
    return lines[1:]


def run(lab, cell):
    step = Steps()
    tree = debian_tree(lab)
    site = Place(lab, tree)
    out = os.path.join(tree, "root/target/debian")
    os.makedirs(out)
    call([os.path.join(REPOSITORY, "packaging/build-deb"), out], env={**os.environ, "CAUSEWAY_BIN": BINARY}, timeout=120)
    cloud = CLOUDS[cell](site)
    site.boot()
    service = Service(site)
    step("booted, with the package at hand")
    for line in commands(cloud):
        done = site.gateway.run(["sh", "-c", f"cd /root && {with_keys(line, cloud)}"], check=False, timeout=120)
        expect(done.rc == 0, f"`{line}` failed:\n{done.out}{done.err}")
        step(line.split("#")[0].strip())
        if line.startswith("systemctl enable"):
            comes_up(service, cloud)
            step("every tunnel is up and carries traffic")
    reloaded(service, cloud)
    step("reload applies a change")
    shutil.rmtree(out)


def with_keys(line, cloud):
    """The line with the key an operator would have put there."""
    for written, key in cloud.keys.items():
        line = line.replace(written, key)
    return line


def comes_up(service, cloud):
    for tunnel in cloud.tunnels:
        service.wait_up(tunnel, timeout=60)
    wait_until("BGP at the head-end", cloud.up, 20)
    until_answered("the cloud answers", service.site.lan, cloud.host, 10)
    ping(cloud.cloud, LAN_HOST)


def reloaded(service, cloud):
    """The first tunnel's MSS, changed or written, is in force at once."""
    guest = service.host
    file = "/etc/causeway/causeway.toml"
    before = service.client("show", "interfaces").out
    expect(f"mss {cloud.mss}" in before, f"the profile's MSS is not in force:\n{before}")
    if guest.run(["grep", "-q", "^mss", file], check=False).rc == 0:
        guest.run(["sed", "-i", "s/^mss .*= 1350/mss = 1300/", file])
    else:
        guest.run(["sed", "-i", f"s/^\\[tunnel.{cloud.tunnels[0]}.interface\\]/&\\nmss = 1300/", file])
    done = service.client("reload")
    expect(cloud.absorbed in done.out, f"reload says {done.out}")
    wait_until("the changed MSS is in force", lambda: "mss 1300" in service.client("show", "interfaces").out, 20)
