"""One fate, nothing in clear: with LAN packets flowing all the time, the tunnel is taken down and up by
hand, deleted by the peer, its daemon killed with SIGKILL and started again. Proven: learned routes leave
with the tunnel at once and an unreachable route stands in their place, the device and the static route
stay, BGP is down at once at both ends; after kill -9 the next start adopts the device with its ifindex and
sweeps its own stale routes, a foreign route is never touched; the routes come back each time, also one that
somebody else took away; and no inner packet is ever seen on the WAN outside of ESP.
"""

import re

from lab.capture import inner_in_clear
from lab.case import Steps
from lab.shell import expect, wait_until
from lab.topology import AZURE
from lab.traffic import ping

from .stand import Stand


def cells(full):
    return ["libipsec", "kernel"] if full else ["libipsec"]


def ifindex(stand):
    found = re.match(r"(\d+):", stand.site.gateway.ip("-o link show dev vti0"))
    return int(found.group(1))


def learned(stand):
    return stand.site.gateway.ip("route show 172.16.0.0/22").strip()


def blocked(stand):
    """Learned routes are replaced by an unreachable one, the static route still there."""
    def gone():
        line = learned(stand)
        return "unreachable" in line and "vti0" not in line
    wait_until("unreachable in place of the learned route", gone, 20, 0.05)
    expect("vti0" in stand.site.gateway.ip(f"route show {AZURE.peering}"), "the static route left with the tunnel")


def back(stand, timeout=30):
    stand.causeway.wait_up(timeout=timeout)
    wait_until("the learned route is back", lambda: "vti0" in learned(stand) and "unreachable" not in learned(stand), 20)
    stand.reaches(count=1)


def run(lab, cell):
    step = Steps()
    stand = Stand(lab, cell).start()
    gateway, causeway = stand.site.gateway, stand.causeway
    gateway.ip("route add 172.16.64.0/24 via 203.0.113.254 metric 77")
    stand.reaches()
    wan = stand.capture_wan()
    stream = stand.lan.spawn("stream", ["ping", "-n", "-q", "-i", "0.02", AZURE.host])
    step("up, LAN packets flowing")

    causeway.client("down", "azure")
    blocked(stand)
    expect(causeway.why()[0] == "stopped", f"why: {causeway.why()}")
    wait_until("BGP down at the head-end's view of the tunnel", lambda: not stand.headend.up(), 20)
    step("down by hand")
    causeway.client("up", "azure")
    back(stand)
    step("up again by hand")

    stand.headend.charon.terminate()
    # It may be back within the blink between two looks, so only its return is waited for here.
    back(stand)
    step("deleted by the peer, came back by itself")

    index = ifindex(stand)
    causeway.kill()
    expect(ping(stand.lan, AZURE.host, count=5, check=False, timeout=1) == 0, "a killed gateway forwarded packets")
    expect(ifindex(stand) == index, "the device did not outlive kill -9")
    step("killed, device and routes hold the packets")
    gateway.ip(f"route add 172.16.2.0/24 dev vti0 proto {our_protocol(stand)} metric 20", check=False)
    causeway.start()
    back(stand, timeout=60)
    expect(ifindex(stand) == index, "the device was not adopted")
    wait_until("a stale route of ours is swept", lambda: not gateway.ip("route show 172.16.2.0/24").strip(), 20)
    expect("metric 77" in gateway.ip("route show 172.16.64.0/24"), "a foreign route was touched")
    step("started again, adopted, swept")

    # Until the route is back the host sends as it was told to by whoever took it away.
    stream.stop(2)
    gateway.ip("route del 172.16.0.0/22 dev vti0")
    wait_until("a route the kernel dropped is installed again", lambda: "vti0" in learned(stand), 20)
    step("a lost route came back")
    packets = wan.stop()
    in_clear = [p for p in inner_in_clear(packets)]
    expect(not in_clear, lambda: f"{len(in_clear)} packets in clear: {in_clear[0]}")
    stand.wire_right(packets)
    step(f"{len(packets)} packets on the WAN, none in clear")


def our_protocol(stand):
    """The number by which the daemon marks its routes."""
    found = re.search(r"proto (\S+)", learned(stand))
    expect(found, "the learned route carries no protocol number")
    return found.group(1)
