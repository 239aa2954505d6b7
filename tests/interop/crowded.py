"""A hundred tunnels between the same two addresses, told apart by identity alone, with a charon that bounds how many it
has half-open from one address as it does by default (cookies from the fourth on, the sixth dropped without a word).
`initiate`: causeway dials all of them at once, paces itself, and all stand without a dial that failed and with hardly a request repeated.
`respond`: charon dials all of them at once; none is refused, and all stand. How many are half-open at one moment, and so whether cookies
are asked for, is the scheduler's. Both ends show the same SPIs.
"""

import time

from lab.case import Steps
from lab.shell import expect
from lab.topology import AZURE

from .fleet import Fleet, Member

COUNT = 100
SUITE = ("aes128gcm16", "", "prfsha256", "curve25519", "aes128gcm16", "", "", "")


class Neighbour(Member):
    """A member whose peer is where all the others' are."""

    @property
    def outer(self):
        return AZURE.outer


def cells(_full):
    return ["initiate", "respond"]


def run(lab, cell):
    step = Steps()
    fleet = Fleet(lab, "libipsec", cell, "auto", [Neighbour(n, *SUITE) for n in range(1, COUNT + 1)])
    charon = fleet.charon
    began = charon.start
    # No bound of charon's is lifted.
    charon.start = lambda extra: began(extra="dh_exponent_ansi_x9_42 = no")
    fleet.start()
    start = time.monotonic()
    fleet.up(timeout=60)
    step(f"{COUNT} tunnels stand, {time.monotonic() - start:.1f} s after the last end started")
    counted = fleet.causeway.ike_counters()
    if cell == "initiate":
        expect(counted["retransmitted"] <= COUNT // 5, f"{counted['retransmitted']} requests were repeated")
    else:
        expect(counted["half-open-refused"] == 0 and counted["cookie-wrong"] == 0, f"counted: {counted}")
    step(f"counted: { {name: count for name, count in counted.items() if count} }")
    fleet.echoes("at first")
    step("echoes answered")
