"""A peer that stops taking what is sent, while its TCP connection lives. `bird-deaf`: BIRD goes on sending keepalives and
reads nothing (a library loaded before it answers its read() of the session for it), its kernel acknowledges what fills
the window and then says that there is no room. Proven: more is announced than the connection takes, the session outlives
several hold times, for the peer is not silent, and ends with the send hold timer (RFC 9687) and that reason in `show
status`; its learned route goes with it; once BIRD reads again the session is back and every prefix arrives.
`frr-stopped`: FRR stopped as a whole is silent too, and ends with the hold timer, which is always the shorter.
"""

import os
import shutil
import signal
import time

from lab.case import Steps
from lab.shell import NotAvailable, expect, holds, run as command, wait_until
from lab.toml_text import Inline, merge

from .stand import Stand

SOURCE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab", "deaf.c")
HOLD, SEND_HOLD = 3, 8
# FRR says everything back.
TIMES = {"hold_time": f"{HOLD}s", "keepalive": "1s", "send_hold_time": f"{SEND_HOLD}s", "max_prefix": 100_000}
# Some 80 KB of UPDATEs, where both kernels together hold a few.
COUNT = 20_000
BUFFER = "4096 8192 8192"


def cells(_full):
    return ["bird-deaf", "frr-stopped"]


def run(lab, cell):
    step = Steps()
    stand, deaf = build(lab, cell)
    stand.start()
    timers = neighbor(stand)
    expect(timers["holdTime"]["negotiated"] == HOLD and timers["sendHoldTime"]["negotiated"] == SEND_HOLD, f"the timers agreed on: {timers}")
    step("up with short timers")
    {"bird-deaf": deaf_peer, "frr-stopped": stopped_peer}[cell](stand, deaf, step)


def build(lab, cell):
    """The stand, its kernels' buffers small, and the file that makes BIRD deaf."""
    kind = cell.split("-")[0]
    stand = Stand(lab, routing=kind, changes={
        "tunnel": {"azure": {"profile": "generic"}},
        "bgp": {"neighbor": {"azure": TIMES}},
        "prefix_list": {"azure-out": [Inline(seq=10, action="permit", prefix="10.0.0.0/8", le=24),
                                      Inline(seq=20, action="permit", prefix="192.168.1.0/24")]},
    })
    stand.headend.bgp.hold, stand.headend.bgp.keepalive = HOLD, 1
    stand.site.gateway.sysctl("net.ipv4.tcp_wmem", BUFFER)
    stand.headend.host.sysctl("net.ipv4.tcp_rmem", BUFFER)
    deaf = lab.path("deaf")
    if kind == "bird":
        compiler = shutil.which("cc")
        if not compiler:
            raise NotAvailable("no C compiler")
        library = lab.path("deaf.so")
        command([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE])
        stand.headend.routing.environment = {**os.environ, "LD_PRELOAD": library, "DEAF": deaf}
    return stand, deaf


def neighbor(stand):
    (page,) = stand.causeway.show("bgp", "neighbors", "azure")
    return page


def established(stand):
    return neighbor(stand)["state"] == "Established"


def announce_more(stand):
    """More than the connection takes while nobody reads; returns when it was not yet said."""
    prefixes = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(COUNT)]
    began = time.monotonic()
    stand.causeway.reload(merge(stand.causeway.tree, {"bgp": {"networks": ["192.168.1.0/24", *prefixes]}}))
    return began


def ends(stand, words):
    """The session ends with these words, the learned route with it; returns when."""
    wait_until(f"the reason says {words!r}", lambda: stand.causeway.why()[0] == "notification" and words in stand.causeway.why()[1], 30, 0.1)
    when = time.monotonic()
    expect(not stand.causeway.up(), "the tunnel counts as up")
    expect(words in stand.causeway.client("show", "status").out, "the words are not in the text page")
    wait_until("the learned route is gone", lambda: "vti0" not in stand.site.gateway.ip("route show 172.16.0.0/22"), 20)
    return when


def back(stand):
    wait_until("the session is back", stand.causeway.up, 60, 0.2)
    wait_until("every prefix at the peer", lambda: len(stand.headend.routing.received()) == COUNT + 1, 30, 0.5)
    stand.routed()
    stand.reaches()


def deaf_peer(stand, deaf, step):
    with open(deaf, "w"):
        pass
    began = announce_more(stand)
    wait_until("the send hold timer runs", lambda: neighbor(stand)["sendHoldTime"]["remaining"] is not None, 20)
    holds("the session, for the peer sends keepalives", lambda: established(stand), began + SEND_HOLD - 2 - time.monotonic())
    expect(neighbor(stand)["lastRead"] <= HOLD, "the peer is silent")
    took = ends(stand, "send hold timer expired") - began
    expect(took > SEND_HOLD, f"ended after {took:.1f} s")
    expect("Established" in stand.headend.routing.state(), "BIRD knows of the end, though it read nothing")
    step(f"nothing taken: ended after {took:.1f} s with the send hold timer")
    os.remove(deaf)
    back(stand)
    step("BIRD reads again, all is back")


def stopped_peer(stand, _deaf, step):
    bgpd = stand.headend.routing.processes[-1]
    bgpd.send(signal.SIGSTOP)
    try:
        announce_more(stand)
        ends(stand, "hold timer expired")
        expect("send hold" not in stand.causeway.why()[1], f"the wrong timer: {stand.causeway.why()}")
        step("stopped as a whole: ended with the hold timer")
    finally:
        bgpd.send(signal.SIGCONT)
    back(stand)
    step("FRR goes on, all is back")
