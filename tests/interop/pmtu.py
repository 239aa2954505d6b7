"""The path to the head-end is cut to an MTU of 1300 in its middle while a transfer runs. Proven: within 2 s
of the next large packet the tunnel's MTU falls to what the path leaves, a sender that forbids fragments gets
"fragmentation needed" with exactly that MTU, the transfer goes on and arrives whole, and the largest
packet that fits passes while one octet more does not.
"""

import re
import threading
import time

from lab.case import Steps
from lab.shell import expect, wait_until
from lab.topology import AZURE
from lab.traffic import ping, transfer

from .stand import Stand

ALONE = True


def cells(full):
    return ["libipsec-forced-udp", "kernel-native"] + (["kernel-nat"] if full else [])


def mtu(stand):
    return int(re.search(r"mtu (\d+)", stand.site.gateway.ip("-o link show dev vti0")).group(1))


def run(lab, cell):
    step = Steps()
    kind, _, transport = cell.partition("-")
    stand = Stand(lab, kind, transport=transport).start()
    wait_until("the learned route", lambda: "vti0" in stand.site.gateway.ip("route show 172.16.0.0/22"), 5)
    before = mtu(stand)
    expect(1380 <= before <= 1450, f"the tunnel's MTU is {before} over a path of 1500")
    step(f"up, MTU {before}")
    outcome = {}
    # Some seconds at what each peer can do, so that the cut falls into the middle.
    octets = 200_000_000 if kind == "libipsec" else 40_000_000

    def run_transfer():
        try:
            outcome.update(transfer(stand.lan, stand.cloud, AZURE.host, octets))
        except Exception as error:
            outcome["error"] = error

    worker = threading.Thread(target=run_transfer)
    worker.start()
    time.sleep(0.5)
    expect(not outcome, "the transfer ended before the path was cut")
    stand.site.cut_mtu(AZURE, 1300)
    wait_until("the tunnel's MTU falls within 2 s", lambda: mtu(stand) < 1300, 2, 0.05)
    after = mtu(stand)
    step(f"path cut to 1300, MTU {after}")
    # Only IPv4 inside: the device falls to what really fits (with IPv6 inside it would stay at 1280).
    expect(1190 <= after <= 1260, f"{after} is more than a path of 1300 leaves")
    said = stand.lan.run(["ping", "-n", "-c", "3", "-i", "0.3", "-W", "1", "-M", "do", "-s", "1380", AZURE.host], check=False)
    told = [int(m) for m in re.findall(r"mtu ?= ?(\d+)", said.out + said.err)]
    expect(told, f"no too-big: {said.out}{said.err}")
    right = told[-1]
    expect(1190 <= right <= 1260, f"too-big says {right}, which is not what a path of 1300 leaves: {said.out}{said.err}")
    ping(stand.lan, AZURE.host, count=2, size=right - 28, df=True)
    over = ping(stand.lan, AZURE.host, count=1, size=right - 27, df=True, check=False)
    expect(over == 0, "a packet larger than the MTU passed")
    step("too-big says the right MTU, the largest packet passes")
    worker.join(120)
    expect(not worker.is_alive(), "the transfer did not end")
    if "error" in outcome:
        raise outcome["error"]
    step(f"the transfer went on and arrived whole in {outcome['seconds']:.1f} s")
