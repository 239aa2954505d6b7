"""The package on a Debian with real systemd, booted in User-Mode Linux with ESP and VTI loaded: installed with
dpkg, enabled, its secret a systemd credential, towards strongSwan and BIRD. Proven: the service comes up with the
boot (Type=notify) and carries traffic; it keeps three capabilities, its system calls, devices and files fenced in;
root and members of the group get answers, others are refused; reload keeps the SAs, also of a broken file; restart,
an upgrade, a hang and an abort bring it back, a broken file is not tried twice; no core is left; journal lines carry tunnel and SPI; stop leaves no
device, route, rule or socket behind, purge no trace.
"""

import json
import os
import re
import shutil

from lab.case import Steps
from lab.causeway import BINARY, PSK, REPOSITORY, Causeway, example
from lab.debian import tree as debian_tree
from lab.headend import HeadEnd
from lab.netns import bridge, link
from lab.shell import expect, run as call, wait_until
from lab.systemd_guest import SystemdGuest, furnish, write
from lab.toml_text import Inline, dumps, merge
from lab.topology import AZURE, GATEWAY, LAN_GATEWAY, LAN_HOST, Site
from lab.traffic import ping, until_answered
from lab.uml import tap

UNIT = "causeway.service"
FILE = "/etc/causeway/causeway.toml"
SOCKET = "/run/causeway/control.sock"
MODULES = ["tun", "xfrm_user", "esp4", "esp6", "ip_vti", "ip6_vti", "authenc", "gcm", "echainiv"]
DROP_IN = """[Service]
LoadCredential=azure.psk:/etc/causeway/azure.psk
WatchdogSec=10s
# The worst that an administrator may do.
LimitCORE=infinity
"""
CORES = "/var/lib/lab-cores"
KEEP_CORE = f"#!/bin/sh\nexec /bin/cat > {CORES}/$1.$2\n"


def cells(_full):
    return ["package"]


class Place(Site):
    """The example's networks with a gateway that boots a tree of its own."""

    def __init__(self, lab, tree):
        self.lab, self.nat, self.outer, self.public = lab, None, GATEWAY, GATEWAY
        self.lan, self.place, self.internet = (lab.namespace(n) for n in ("lan", "gw", "net"))
        link(self.lan, "eth0", f"{LAN_HOST}/24", self.place, "in0", None)
        link(self.place, "out0", None, self.internet, "site0", "203.0.113.254/24")
        bridge(self.place, "br-lan", "in0", tap(self.place, "lan"))
        bridge(self.place, "br-wan", "out0", tap(self.place, "wan"))
        self.lan.ip(f"route add default via {LAN_GATEWAY}")
        self.internet.forwarding()
        furnish(tree, (("lan0", f"{LAN_GATEWAY}/24"), ("wan0", f"{GATEWAY}/24")), "203.0.113.254", MODULES)
        self.tree, self.gateway = tree, None

    def boot(self):
        self.gateway = SystemdGuest(self.lab, self.place, "gateway", ["lan", "wan"], self.tree)


class Service(Causeway):
    """The daemon as its unit runs it; its pages are asked for as an operator does, with no option."""

    def __init__(self, site):
        self.site, self.lab, self.host, self.process = site, site.lab, site.gateway, None
        self.lab.on_failure = [self.picture]

    def client(self, *words, check=True, timeout=30):
        return self.host.run(["causeway", *words], check=check, timeout=timeout)

    def pid(self):
        return int(self.host.properties(UNIT, "MainPID")["MainPID"])

    def active(self):
        return self.host.systemctl("is-active", UNIT, check=False).out.strip() == "active"

    def picture(self):
        # The base class looks at a process of ours.
        text = [self.host.run(["journalctl", "-u", UNIT, "-n", "60", "--no-pager"], check=False).out]
        for page in ("status", "ike", "routes"):
            done = self.client("show", page, check=False)
            text.append(f"$ causeway show {page}\n{done.out}{done.err}")
        text.append(self.host.systemctl("status", UNIT, "--no-pager", check=False).out)
        return "\n".join(text)


def configuration(site, table="main"):
    tree = merge(example(site), {"routes": {"table": table}})
    tree["tunnel"]["azure"]["psk"] = Inline(credential="azure.psk")
    return dumps(tree)


def install(lab, site):
    """Builds the package, installs it in the tree as an administrator would, and enables the unit."""
    tree = site.tree
    out = lab.directory("package")
    call([os.path.join(REPOSITORY, "packaging/build-deb"), out], env={**os.environ, "CAUSEWAY_BIN": BINARY}, timeout=120)
    (package,) = os.listdir(out)
    shutil.copy(os.path.join(out, package), os.path.join(tree, "root/causeway.deb"))
    write(tree, "/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
    inside = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
    call(["chroot", tree, "dpkg", "-i", "/root/causeway.deb"], env=inside, timeout=120)
    os.remove(os.path.join(tree, "usr/sbin/policy-rc.d"))
    call(["chroot", tree, "systemctl", "enable", UNIT], env=inside)
    for user, groups in (("alice", ["-G", "causeway"]), ("bob", [])):
        call(["chroot", tree, "useradd", "-m", *groups, user], env=inside)
    write(tree, FILE, configuration(site), 0o640)
    write(tree, "/etc/causeway/azure.psk", PSK + "\n", 0o600)
    write(tree, f"/etc/systemd/system/{UNIT}.d/override.conf", DROP_IN)
    write(tree, "/usr/local/lib/keep-core", KEEP_CORE, 0o755)
    write(tree, "/etc/sysctl.d/99-lab.conf", "kernel.core_pattern=|/usr/local/lib/keep-core %e %p\n")
    os.makedirs(os.path.join(tree, CORES.lstrip("/")))


def run(lab, _cell):
    step = Steps()
    site = Place(lab, debian_tree(lab))
    step("a Debian tree")
    install(lab, site)
    step("package built and installed in it")
    headend = HeadEnd(site, "libipsec", "bird").start()
    step("head-end")
    site.boot()
    service = Service(site)
    comes_up(service, headend, step)
    fenced_in(service, step)
    answers_to_whom(service, step)
    reloads(service, step)
    comes_back(service, step)
    journal(service, step)
    stops(service, step)
    purged(service, step)


def carries(service):
    service.wait_up(timeout=60)
    until_answered("traffic through the tunnel", service.site.lan, AZURE.host, 10)
    ping(service.site.lan, AZURE.host, count=3)


def comes_up(service, headend, step):
    guest = service.host
    wait_until("the service is active", service.active, 60, 0.5)
    found = guest.properties(UNIT, "Type", "NotifyAccess", "SubState", "NRestarts", "UnitFileState")
    expect(found == {"Type": "notify", "NotifyAccess": "main", "SubState": "running", "NRestarts": "0",
                     "UnitFileState": "enabled"}, f"the unit is {found}")
    step("booted, the service active")
    carries(service)
    expect(guest.ip("route show 172.16.0.0/22 proto causeway").strip(), "the route does not carry our protocol's name")
    theirs = headend.charon.spis()
    expect(service.spis() == (theirs[1], theirs[0]), f"SPIs {service.spis()} here, {theirs} there")
    forwards = guest.run(["cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"]).out.split()
    expect(forwards == ["1", "1"], "the shipped sysctl file is not in force")
    step("tunnel up, LAN reaches the cloud")


def fenced_in(service, step):
    """What the unit's lines say is what the process has."""
    guest, pid = service.host, service.pid()
    status = dict(line.split(":\t", 1) for line in guest.run(["cat", f"/proc/{pid}/status"]).out.splitlines() if ":\t" in line)
    # CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW; CAP_BPF was given up, but a bounding set takes CAP_SETPCAP to change.
    three = (1 << 10) | (1 << 12) | (1 << 13)
    for field, powers in (("CapEff", three), ("CapPrm", three), ("CapBnd", three | 1 << 39)):
        expect(int(status[field], 16) == powers, f"{field} is {status[field]}, not {powers:016x}")
    threads = guest.run(["sh", "-c", f"cat /proc/{pid}/task/*/status"]).out
    powers = {line for line in threads.splitlines() if line.startswith(("CapEff", "CapPrm"))}
    expect(len(powers) == 2 and threads.count("CapEff") > 1, f"threads have other powers: {powers}")
    for field in ("CapInh", "CapAmb"):
        expect(int(status[field], 16) == 0, f"{field} is {status[field]}")
    expect(status["NoNewPrivs"].strip() == "1", "new privileges can be had")
    expect(status["Seccomp"].strip() == "2", "no system call filter")
    expect(status["Gid"].split()[0] == guest.run(["getent", "group", "causeway"]).out.split(":")[2], f"group {status['Gid']}")
    cgroup = guest.properties(UNIT, "ControlGroup")["ControlGroup"]
    join = f'echo $$ > /sys/fs/cgroup{cgroup}/cgroup.procs && exec head -c 0 "$1"'
    for device, may in (("/dev/net/tun", True), ("/dev/null", True), ("/dev/kmsg", False)):
        opened = guest.run(["sh", "-c", join, "sh", device], check=False)
        expect((opened.rc == 0) == may, f"{device} from inside the unit's group: {opened}")
    for path in ("/usr/lib/x", "/etc/causeway/x", "/proc/sys/net/ipv4/ip_forward"):
        done = guest.run(["nsenter", "-t", str(pid), "-m", "sh", "-c", f"echo 1 >> {path}"], check=False)
        expect(done.rc != 0 and "Read-only" in done.err, f"writing {path} in the unit's view: {done}")
    homes = guest.run(["nsenter", "-t", str(pid), "-m", "ls", "/root", "/home"], check=False).out
    expect("alice" not in homes and "causeway.deb" not in homes, f"homes are seen: {homes}")
    figure = guest.run(["systemd-analyze", "security", "--no-pager", UNIT], check=False, timeout=60).out
    overall = re.search(r"exposure level for \S+: ([\d.]+) (\S+)", figure)
    expect(overall and float(overall.group(1)) < 3.0, f"systemd-analyze security:\n{figure}")
    step(f"fenced in; systemd-analyze security: {overall.group(1)} {overall.group(2)}")


def answers_to_whom(service, step):
    guest = service.host
    modes = guest.run(["stat", "-c", "%a %U %G", os.path.dirname(SOCKET), SOCKET]).out.split("\n")
    expect(modes[:2] == ["750 root causeway", "660 root causeway"], f"the socket and its folder: {modes}")
    shown = guest.run(["runuser", "-u", "alice", "--", "causeway", "show", "status"], check=False)
    expect(shown.rc == 0 and "azure" in shown.out, f"a member of the group: {shown}")
    # A group taken on with newgrp or sg is the primary one, one of the login a supplementary one.
    shown = guest.run(["runuser", "-u", "alice", "-g", "causeway", "--", "causeway", "show", "status"], check=False)
    expect(shown.rc == 0, f"a member with the group as primary one: {shown}")
    refused = guest.run(["runuser", "-u", "bob", "--", "causeway", "show", "status"], check=False)
    expect(refused.rc != 0 and "azure" not in refused.out, f"another user: {refused}")
    expect(re.search("permission|group", refused.err, re.I), f"the refusal does not say why: {refused}")
    # The mode of the folder is one wall, the peer's credentials another.
    guest.run(["chmod", "755", os.path.dirname(SOCKET)])
    guest.run(["chmod", "666", SOCKET])
    refused = guest.run(["runuser", "-u", "bob", "--", "causeway", "show", "status"], check=False)
    guest.run(["chmod", "660", SOCKET])
    guest.run(["chmod", "750", os.path.dirname(SOCKET)])
    expect(refused.rc != 0 and "azure" not in refused.out, f"another user, the socket open to all: {refused}")
    step("root and the group are answered, others refused")


def reloads(service, step):
    guest, before = service.host, (service.spis(), service.pid())
    text = configuration(service.site)
    guest.put(FILE, text.replace('prefix = "172.16.0.0/22"', 'prefix = "172.16.0.0/20", le = 24'), "0640")
    guest.systemctl("reload", UNIT)
    carries(service)
    expect((service.spis(), service.pid()) == before, f"after reload {service.spis()}, before {before}")
    guest.put(FILE, text + "\n[no_such_section]\nx = 1\n", "0640")
    bad = guest.systemctl("reload", UNIT, check=False)
    expect(bad.rc != 0, "systemctl reload of a broken file said nothing")
    expect(service.active() and (service.spis(), service.pid()) == before, "a broken file moved something")
    said = guest.run(["journalctl", "-u", UNIT, "-n", "20", "--no-pager", "-o", "cat"]).out
    expect("no_such_section" in said, f"the journal does not name what is wrong: {said}")
    guest.put(FILE, text, "0640")
    guest.systemctl("reload", UNIT)
    ping(service.site.lan, AZURE.host, count=2)
    expect((service.spis(), service.pid()) == before, "the second reload moved something")
    step("reload keeps the SAs, a broken file moves nothing")


def comes_back(service, step):
    guest, spis = service.host, service.spis()
    text = configuration(service.site)
    guest.put(FILE, text.replace("proposals", "proposal"), "0640")
    expect(guest.systemctl("restart", UNIT, check=False).rc != 0, "a start with a broken file is no failure")
    found = guest.properties(UNIT, "ActiveState", "ExecMainStatus", "NRestarts")
    expect(found == {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"}, f"a broken file: {found}")
    # A restart that comes to nothing fails closed, as a crash does: what was learned is refused, not sent in clear.
    expect("unreachable" in guest.ip("route show 172.16.0.0/22"), f"after a failed restart:\n{guest.ip('route')}")
    guest.put(FILE, text, "0640")
    guest.systemctl("restart", UNIT)
    carries(service)
    expect(service.spis() != spis, "a restart kept the SAs")
    step("restart, with a broken file refused once and for all")
    pid = service.pid()
    guest.run(["dpkg", "--force-unsafe-io", "-i", "/root/causeway.deb"], timeout=120)
    expect(service.active() and service.pid() != pid, "an upgrade did not restart the service")
    carries(service)
    expect(PSK in guest.run(["cat", "/etc/causeway/azure.psk"]).out, "an upgrade took the secret")
    step("upgrade")
    # A core of something else is caught, so none of ours means that there was none.
    guest.run(["sh", "-c", "ulimit -c unlimited; sleep 60 & until grep -q sleep /proc/$!/comm; do sleep 0.1; done; kill -ABRT $!; wait $!"],
              check=False)
    for signal, why in (("ABRT", "signal"), ("KILL", "signal"), ("STOP", "watchdog")):
        pid, restarts = service.pid(), int(guest.properties(UNIT, "NRestarts")["NRestarts"])
        index = guest.ip("-o link show dev vti0").split(":")[0]
        guest.run(["kill", f"-{signal}", str(pid)])
        wait_until(f"systemd starts it again after {signal}", lambda: service.active() and service.pid() not in (0, pid), 40, 0.5)
        expect(int(guest.properties(UNIT, "NRestarts")["NRestarts"]) == restarts + 1, f"restarts after {signal}")
        carries(service)
        expect(guest.ip("-o link show dev vti0").split(":")[0] == index, f"the device was not adopted after {signal}")
        step(f"back after SIG{signal} ({why})")
    cores = guest.run(["ls", CORES]).out.split()
    expect(any(c.startswith("sleep") for c in cores), f"the laboratory's own core was not caught: {cores}")
    # No core is best; one without secrets is allowed.
    for core in cores:
        found = guest.run(["grep", "-c", "-a", "-F", PSK, f"{CORES}/{core}"], check=False).out.strip()
        expect(found == "0", f"the secret is in the core {core}")
    step(f"no secret in a core; there are {cores}")


def journal(service, step):
    guest = service.host
    out = guest.run(["journalctl", "-u", UNIT, "-o", "json", "--no-pager"], timeout=60).out
    lines = [json.loads(line) for line in out.splitlines()]
    ours = [l for l in lines if l.get("TUNNEL") == "azure"]
    expect(len(ours) > 10, f"{len(ours)} of {len(lines)} lines carry the tunnel's name")
    expect(any(re.fullmatch("[0-9a-f]{8}", l.get("SPI", "")) for l in ours), "no line carries an SPI")
    expect(PSK not in out, "the secret is in the journal")
    by_tunnel = guest.run(["journalctl", "TUNNEL=azure", "-n", "3", "-o", "cat", "--no-pager"]).out
    expect(by_tunnel.strip(), "journalctl TUNNEL=azure finds nothing")
    step(f"{len(ours)} journal lines with the tunnel, such as: {ours[-1]['MESSAGE'][:70]}")


def stops(service, step):
    """Once with routes in main, once in a table of its own, which needs rules."""
    guest = service.host
    for table in ("main", 100):
        guest.put(FILE, configuration(service.site, table), "0640")
        guest.systemctl("restart", UNIT)
        carries(service)
        rules = guest.ip("rule show")
        expect(("proto causeway" in rules or "lookup 100" in rules) == (table == 100), f"rules with table {table}: {rules}")
        guest.systemctl("stop", UNIT)
        expect(guest.properties(UNIT, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"},
               f"after stop: {guest.systemctl('status', UNIT, check=False).out}")
        nothing_left(guest)
        step(f"stopped with table {table}, nothing left")


def nothing_left(guest):
    links = guest.ip("-o -d link")
    expect("vti0@" not in links.replace("ip_vti0@", "").replace("ip6_vti0@", "") and " vti0:" not in links and "causeway" not in links,
           f"a device is left:\n{links}")
    routes = guest.ip("route show table all") + guest.ip("-6 route show table all")
    expect("proto causeway" not in routes and "proto 179" not in routes, f"routes are left:\n{routes}")
    rules = guest.ip("rule show") + guest.ip("-6 rule show")
    expect("causeway" not in rules and "proto 179" not in rules and "lookup 100" not in rules, f"rules are left:\n{rules}")
    expect(not guest.exists(os.path.dirname(SOCKET)), "the socket's folder is left")


def purged(service, step):
    guest = service.host
    guest.systemctl("start", UNIT)
    carries(service)
    guest.run(["dpkg", "--force-unsafe-io", "-P", "causeway"], timeout=120)
    nothing_left(guest)
    expect(guest.run(["pgrep", "-x", "causeway"], check=False).rc != 0, "a process is left")
    expect(guest.run(["getent", "group", "causeway"], check=False).rc != 0, "the group is left")
    # The drop-in is the administrator's own, and dpkg keeps no more than its log's line.
    left = guest.run(["find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/sys", "-o", "-path", "/root", ")", "-prune",
                      "-o", "-iname", "*causeway*", "-print"]).out.split()
    left = [path for path in left if path != f"/etc/systemd/system/{UNIT}.d" and not path.startswith(CORES)]
    expect(not left, f"purge left {left}")
    step("purged, no trace")
