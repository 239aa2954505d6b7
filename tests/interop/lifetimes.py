"""SAs end by time, by packets and by bytes, and their successors come before that: with 500 packets a second
each way and a CHILD SA that may live for some seconds, packets or bytes only, it is replaced again and again.
Proven: at least three successors, nothing lost, no SA older or fuller than it may be, both ends agreeing; in
the `ike` cell the same for the IKE SA.
"""

import time

from lab.case import Steps
from lab.shell import expect, wait_until
from lab.topology import AZURE, LAN_HOST
from lab.traffic import Probe, lossless

from .stand import Stand

LIMITS = {
    "time": {"esp": {"lifetime": "10s"}},
    "packets": {"esp": {"lifetime_packets": 5000}},
    "bytes": {"esp": {"lifetime_bytes": 1_000_000}},
    "ike": {"ike": {"lifetime": "10s"}},
}

ALONE = True


def cells(_full):
    return list(LIMITS)


def run(lab, cell):
    step = Steps()
    stand = Stand(lab, changes={"tunnel": {"azure": LIMITS[cell]}}).start()
    causeway = stand.causeway
    stand.ends_agree()
    # What is left of a limit when the successor is asked for lasts a second at this rate.
    probe = Probe(stand.lan, LAN_HOST, stand.cloud, AZURE.host, pps=500).started()
    now = causeway.ike_spis if cell == "ike" else causeway.spis
    seen, end = [now()], time.monotonic() + 60
    while len(seen) < 4 and time.monotonic() < end:
        time.sleep(0.2)
        pair = now()
        if pair and pair != seen[-1]:
            seen.append(pair)
        for sa in causeway.show("ipsec"):
            for way in ("inbound", "outbound"):
                full = sa[way]["packets"] if cell == "packets" else sa[way]["bytes"] if cell == "bytes" else 0
                limit = LIMITS[cell].get("esp", {}).get(f"lifetime_{cell}", 0)
                expect(full <= limit or not limit, f"an SA carried {full} {cell} of {limit}")
            expect(cell != "time" or sa["age"] <= 10 + 6, f"an SA lives {sa['age']} s")
    expect(len(seen) >= 4, f"only {len(seen) - 1} successors within a minute")
    step(f"{len(seen) - 1} successors")
    there, back = lossless(probe)
    step(f"nothing lost: {there}; {back}")
    wait_until("the tunnel is up", causeway.up, 20)
    stand.ends_agree()
