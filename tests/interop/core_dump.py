"""No secret in a core: the daemon runs on a kernel of its own with core dumps on and unlimited, its tunnel up
with a kernel peer, and is ended with SIGABRT. Proven: either there is no core, or neither the PSK nor any key
of the CHILD SA (as the peer's kernel shows them) is in it.
"""

import re
import signal

from lab.case import Steps
from lab.causeway import PSK
from lab.shell import expect, wait_until
from lab.topology import Site

from .stand import Stand


def cells(_full):
    return ["abort"]


def run(lab, _cell):
    step = Steps()
    site = Site(lab, guest=True)
    gateway = site.gateway
    gateway.run(["sh", "-c", "echo /run/core > /proc/sys/kernel/core_pattern"])
    stand = Stand(lab, "kernel", site=site)
    stand.causeway.wrapper = ["prlimit", "--core=unlimited"]
    stand.start()
    stand.ends_agree()
    keys = re.findall(r"0x([0-9a-f]{32,})", stand.headend.host.ip("xfrm state"))
    expect(len(keys) >= 2, "the peer's kernel shows no keys")
    step(f"up, {len(keys)} keys known")
    stand.causeway.process.send(signal.SIGABRT)
    wait_until("the daemon's end", lambda: not stand.causeway.alive(), 20)
    core = gateway.run(["sh", "-c", "ls -s /run/core* 2>/dev/null"], check=False).out.strip()
    step(f"aborted; core: {core or 'none'}")
    if core:
        found = gateway.run(["/usr/bin/python3", "-c", SEARCH, PSK, *keys], timeout=60).out
        expect(not found.strip(), f"secrets in the core: {found}")
        step("no secret in it")


SEARCH = """
import glob, mmap, sys
for path in glob.glob('/run/core*'):
    with open(path, 'rb') as file:
        data = file.read()
    if sys.argv[1].encode() in data:
        print('the PSK')
    for n, key in enumerate(sys.argv[2:]):
        if bytes.fromhex(key) in data:
            print('key', n)
"""
