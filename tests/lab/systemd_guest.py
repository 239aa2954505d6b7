"""A guest that boots a Debian tree with its own systemd, as a real host does."""

import os
import shutil

from .uml import AGENT, MODULES, Uml, prepare_modules

AGENT_INSIDE = "/usr/local/lib/lab-agent.py"
AGENT_UNIT = f"""[Unit]
Description=The laboratory's hand in this guest
DefaultDependencies=no
After=local-fs.target

[Service]
ExecStart=/usr/bin/python3 {AGENT_INSIDE}
Environment=PATH=/usr/sbin:/usr/bin:/sbin:/bin
KillMode=process
TasksMax=infinity
"""
NETWORK_UNIT = """[Unit]
Description=The laboratory's network cards
DefaultDependencies=no
After=systemd-sysctl.service
Before=network-pre.target network.target
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -e /usr/local/lib/lab-network
"""


def write(tree, path, text, mode=0o644):
    """A file of the tree, before it is booted."""
    place = os.path.join(tree, path.lstrip("/"))
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "w") as file:
        file.write(text)
    os.chmod(place, mode)


def enable(tree, unit, target="sysinit.target"):
    folder = os.path.join(tree, f"etc/systemd/system/{target}.wants")
    os.makedirs(folder, exist_ok=True)
    os.symlink(f"/etc/systemd/system/{unit}", os.path.join(folder, unit))


def furnish(tree, cards, gateway, modules):
    """Makes a tree bootable in the laboratory: its cards are (name, address), in the order of the TAPs."""
    prepare_modules()
    version = os.listdir(MODULES)[0]
    shutil.copytree(os.path.join(MODULES, version), os.path.join(tree, "lib/modules", version), symlinks=True)
    write(tree, "/etc/modules-load.d/lab.conf", "\n".join(modules) + "\n")
    write(tree, "/etc/hostname", "gateway\n")
    write(tree, "/etc/machine-id", "")
    lines = ["ip link set lo up"]
    for number, (name, address) in enumerate(cards):
        lines += [f"ip link set vec{number} name {name}", f"ip addr add {address} dev {name}", f"ip link set {name} up"]
    write(tree, "/usr/local/lib/lab-network", "\n".join([*lines, f"ip route add default via {gateway}"]) + "\n")
    shutil.copy(AGENT, os.path.join(tree, AGENT_INSIDE.lstrip("/")))
    for unit, text in (("lab-agent.service", AGENT_UNIT), ("lab-network.service", NETWORK_UNIT)):
        write(tree, f"/etc/systemd/system/{unit}", text)
        enable(tree, unit)
    # Nobody logs in, and the console's programs would only wait for devices nobody plugs.
    for unit in ("getty.target", "systemd-timesyncd.service", "apt-daily.timer", "apt-daily-upgrade.timer"):
        os.symlink("/dev/null", os.path.join(tree, "etc/systemd/system", unit))


class SystemdGuest(Uml):
    """The guest; the face of a host is that of `Uml`, but its files are its own."""

    def __init__(self, lab, ns, name, taps, tree):
        self.tree = tree
        super().__init__(lab, ns, name, taps, memory="384M", root=tree, modules=False, init="/lib/systemd/systemd")

    def _settle(self, _modules):
        """Nothing: it is as systemd made it."""

    def put(self, path, text, mode="0644"):
        """Writes a file from inside, which its kernel cannot have an old copy of."""
        self.run(["sh", "-c", 'cat > "$1" && chmod "$2" "$1"', "put", path, mode], stdin=text)

    def systemctl(self, *words, check=True, timeout=60):
        return self.run(["systemctl", *words], check=check, timeout=timeout)

    def properties(self, unit, *names):
        """A unit's properties by name."""
        out = self.systemctl("show", unit, *(f"-p{n}" for n in names)).out
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
