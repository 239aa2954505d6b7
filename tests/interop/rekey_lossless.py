"""Rekeying loses no packet, whoever starts it: 1,000 packets a second each way across 5 CHILD and 2 IKE
rekeys started by causeway, the same number started by the peer, and CHILD rekeys started by both at the
same moment. Proven: not one packet lost or doubled, every SPI other than before at both ends after each
rekey, both ends naming the same SPIs, no (SPI, sequence) twice on the wire, nothing in clear. In one cell the peer
was the first to dial, so that causeway rekeys an IKE SA whose responder it is.
"""

import threading
import time

from lab.case import Steps
from lab.shell import expect, wait_until
from lab.topology import AZURE, LAN_HOST
from lab.traffic import Probe, lossless

from .stand import Stand, possible

ALONE = True


def cells(full):
    every = [("kernel", "native"), ("kernel", "native-esn"), ("kernel", "forced-udp"), ("libipsec", "forced-udp"), ("libipsec", "nat")]
    few = [("kernel", "native"), ("kernel", "forced-udp"), ("libipsec", "nat")]
    return [f"{k}-{t}" for k, t in (every if full else few) if not possible(k, t)] + ["kernel-native-respond"]


def run(lab, cell):
    step = Steps()
    kind, _, transport = cell.partition("-")
    transport, respond = transport.removesuffix("-respond"), transport.endswith("-respond")
    stand = Stand(lab, kind, transport=transport, start="respond" if respond else "initiate").start()
    charon, causeway = stand.headend.charon, stand.causeway
    stand.ends_agree()
    wan = stand.capture_wan()
    probe = Probe(stand.lan, LAN_HOST, stand.cloud, AZURE.host).started()
    step("up, probe running")

    def child(start, who):
        before = causeway.spis()
        start()

        def other():
            now = causeway.spis()
            return now and now[0] != before[0] and now[1] != before[1]
        wait_until(f"other CHILD SPIs after {who}'s rekey", other, 20)
        stand.ends_agree()
        time.sleep(0.3)  # some hundred packets on each SA

    def ike(start, who):
        before, children = causeway.ike_spis(), causeway.spis()
        start()

        def other():
            now = causeway.ike_spis()
            return now and now[0] != before[0] and now[1] != before[1]
        wait_until(f"other IKE SPIs after {who}'s rekey", other, 20)
        wait_until("the peer has one IKE SA, the same", lambda: [(i.spi_i, i.spi_r) for i in charon.sas()] == [causeway.ike_spis()], 20)
        expect(causeway.spis() == children, "the CHILD SA did not survive the IKE rekey")

    for _ in range(5):
        child(lambda: causeway.client("rekey", "azure", "--child"), "causeway")
    for _ in range(2):
        ike(lambda: causeway.client("rekey", "azure", "--ike"), "causeway")
    child(lambda: causeway.client("rekey", "azure", "--child"), "causeway (on the new IKE SA)")
    step("5 CHILD and 2 IKE rekeys by causeway")
    for _ in range(5):
        child(charon.rekey_child, "the peer")
    for _ in range(2):
        ike(charon.rekey_ike, "the peer")
    step("5 CHILD and 2 IKE rekeys by the peer")
    for _ in range(3):
        def both():
            other = threading.Thread(target=charon.rekey_child)
            other.start()
            causeway.client("rekey", "azure", "--child")
            other.join()
        child(both, "both sides")
    step("3 CHILD rekeys by both at once")
    there, back = lossless(probe)
    step(f"nothing lost: there {there}; back {back}")
    stand.wire_right(wan.stop())
    expect(stand.causeway.up(), "the tunnel is not up at the end")
