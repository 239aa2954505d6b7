"""A small Debian tree with systemd, from the mirror this machine's own apt uses.

It is made once and kept as an archive under target/lab; every run unpacks a tree of its own
into its work directory, so nothing one run does to it reaches another.
"""

import fcntl
import hashlib
import os
import shutil

from .causeway import REPOSITORY
from .shell import NotAvailable, run

PACKAGES = [
    "systemd", "systemd-sysv", "dbus", "iproute2", "iputils-ping", "kmod", "procps", "python3-minimal",
    "libpython3-stdlib",
]
CACHE = os.path.join(REPOSITORY, "target/lab")
# What nobody reads in a guest, and what the host has for it.
DISPENSABLE = ["var/cache/apt", "var/lib/apt/lists", "usr/share/locale", "usr/share/doc", "usr/share/man", "var/log"]


def mirror():
    """(URL, code name) of the main archive in this machine's apt sources."""
    with open("/etc/os-release") as file:
        release = dict(line.rstrip().split("=", 1) for line in file if "=" in line)
    name = release.get("VERSION_CODENAME", "").strip('"')
    form = "$(REPO_URI) $(CODENAME) $(COMPONENT)"
    for line in run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"]).out.splitlines():
        url, codename, component = line.split()
        if codename == name and component == "main":
            return url, name
    raise NotAvailable(f"no apt source of this machine has the main archive of {name or 'this system'}")


def _make(lab, archive):
    """Makes the archive, so that it is there whole or not at all."""
    url, name = mirror()
    tree = lab.path("bootstrap")
    # What debootstrap mounts goes with the mount namespace, however it ends.
    run(["unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase",
         f"--include={','.join(PACKAGES)}", name, tree, url], timeout=800, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    for place in DISPENSABLE:
        for entry in os.scandir(os.path.join(tree, place)):
            shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.remove(entry.path)
    run(["tar", "-C", tree, "--numeric-owner", "--xattrs", "-cf", f"{archive}.part", "."], timeout=120)
    os.replace(f"{archive}.part", archive)
    shutil.rmtree(tree)


def tree(lab):
    """A fresh tree of this run's own; its path."""
    os.makedirs(CACHE, exist_ok=True)
    _, name = mirror()
    digest = hashlib.sha256(" ".join(PACKAGES + DISPENSABLE).encode()).hexdigest()[:12]
    archive = os.path.join(CACHE, f"debian-{name}-{digest}.tar")
    with open(os.path.join(CACHE, "lock"), "w") as lock:
        # Another run may be making it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(archive):
            _make(lab, archive)
    place = lab.directory("tree")
    run(["tar", "-C", place, "--numeric-owner", "--xattrs", "-xf", archive], timeout=120)
    return place
