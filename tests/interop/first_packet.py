"""The shortest way to a routed packet: causeway dials strongSwan with kernel-libipsec, BIRD says the
cloud's prefix, and a LAN host's ping comes back from the cloud host. Proven at both ends (same SPIs,
BGP established, routes as the example's lists want them) and on the wire (ESP in UDP, nothing in
clear); after a clean stop no device, route or SA is left. With each kind of peer once with the shipped example,
word for word.
"""

import os

from lab.case import Steps
from lab.causeway import REPOSITORY
from lab.shell import expect, wait_until

from .stand import Stand


def cells(_full):
    return ["libipsec-bird", "shipped-example", "shipped-example-kernel"]


def run(lab, cell):
    step = Steps()
    stand = Stand(lab, "kernel", "frr", transport="native") if cell.endswith("-kernel") else Stand(lab)
    if cell.startswith("shipped-example"):
        with open(os.path.join(REPOSITORY, "examples/azure.toml")) as file:
            stand.causeway.write(file.read())
    wan = stand.capture_wan()
    stand.headend.start()
    stand.causeway.start()
    step("both ends started")
    wait_until("the CHILD SA", stand.causeway.ipsec_up, 20)
    stand.ends_agree()
    step("IPsec up, same SPIs at both ends")
    stand.causeway.wait_up()
    wait_until("BGP at the head-end", stand.headend.routing.established, 20)
    step("BGP up")
    stand.routes_right()
    step("routes right")
    stand.reaches()
    stand.hops_right()
    step("ping both ways, traceroute")
    stand.wire_right(wan.stop())
    step("wire right")
    nothing_left(stand)
    step("clean stop left nothing")


def nothing_left(stand):
    """After a clean stop there is no device, no route of ours, and no SA at the peer."""
    gateway = stand.site.gateway
    stand.causeway.stop()
    links, routes = gateway.ip("-o link"), gateway.ip("route show table all")
    expect("vti0" not in links, f"the device is still there:\n{links}")
    for line in routes.splitlines():
        expect("172.16." not in line and "192.0.2.1" not in line, f"a route was left behind: {line}")
    wait_until("the peer's SAs gone", lambda: not stand.headend.charon.sas(), 20)
