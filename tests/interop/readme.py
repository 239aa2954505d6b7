"""The README's way to a tunnel, word for word: every command of its section "Five minutes to a real tunnel" is
run, in its order, on a Debian with real systemd, against a head-end that plays Azure. Only building is left to
whoever built the binary under test, and the key in the file is the one the head-end has. Proven: each command
succeeds, `check` finds nothing wrong with the example, the tunnel comes up and carries traffic, and `reload`
applies a change.
"""

import os
import re
import shutil

from lab.case import Steps
from lab.causeway import BINARY, PSK, REPOSITORY
from lab.debian import tree as debian_tree
from lab.headend import HeadEnd
from lab.shell import expect, run as call, wait_until
from lab.topology import AZURE
from lab.traffic import ping

from .systemd_service import Place, Service

SECTION = "## Five minutes to a real tunnel"
# Only this is done outside: the machine that builds need not be the gateway.
BUILD = "cargo build --release && packaging/build-deb"


def cells(_full):
    return ["azure"]


def commands():
    """The lines of the section's shell blocks."""
    with open(os.path.join(REPOSITORY, "README.md")) as file:
        section = file.read().split(SECTION, 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", section, re.S | re.M)
    lines = [line.strip() for block in blocks for line in block.splitlines() if line.strip()]
    expect(len(lines) >= 9 and lines[0] == BUILD, f"the README's section has other commands now: {lines}")
    return lines[1:]


def run(lab, _cell):
    step = Steps()
    tree = debian_tree(lab)
    site = Place(lab, tree)
    out = os.path.join(tree, "root/target/debian")
    os.makedirs(out)
    call([os.path.join(REPOSITORY, "packaging/build-deb"), out], env={**os.environ, "CAUSEWAY_BIN": BINARY}, timeout=120)
    headend = HeadEnd(site, "libipsec", "bird").start()
    site.boot()
    service = Service(site)
    step("booted, with the package at hand")
    for line in commands():
        done = site.gateway.run(["sh", "-c", f"cd /root && {line.replace('the-shared-key', PSK)}"], check=False, timeout=120)
        expect(done.rc == 0, f"`{line}` failed:\n{done.out}{done.err}")
        step(line.split("#")[0].strip())
        if line.startswith("systemctl enable"):
            comes_up(service, headend)
            step("the tunnel carries traffic")
    reloaded(service)
    step("reload applies a change")
    shutil.rmtree(out)


def comes_up(service, headend):
    service.wait_up(timeout=60)
    wait_until("BGP at the head-end", headend.routing.established, 20)
    wait_until("the cloud answers", lambda: ping(service.site.lan, AZURE.host, count=1, check=False), 10)


def reloaded(service):
    guest = service.host
    guest.run(["sed", "-i", "s/mss .*= 1350/mss = 1300/", "/etc/causeway/causeway.toml"])
    done = service.client("reload")
    expect("azure: absorb" in done.out, f"reload says {done.out}")
    expect("mss 1300" in service.client("show", "interfaces").out, "the changed MSS is not in force")
