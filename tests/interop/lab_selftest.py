"""The laboratory itself, without causeway: strongSwan with kernel-libipsec takes the gateway's
place and talks to each kind of head-end over UDP-encapsulated ESP, and a second kernel with VTI to the
kernel head-end over protocol 50 with ESN, with BIRD at the gateway.
Proven: IKE and CHILD SA up and parsed at both ends, BGP established, the LAN host and the cloud
host reach each other, a probe of 1,000 packets a second loses nothing, a transfer arrives whole,
a CHILD rekey changes both SPIs, nothing in clear on the WAN, and nothing is left behind.
`judges`: what the cases count packets with, between two hosts without a tunnel: one request and one datagram that are
dropped are missing and no other; an answer is one however late it or its reader is; what comes twice, with other octets or
to somebody else is told apart; "too big" names the MTU.
"""

import json
import os
import signal
import time

from lab.capture import Capture, inner_in_clear, repeated_sequences
from lab.case import Steps
from lab.headend import VTI_KEY, HeadEnd, make_vti
from lab.netns import link
from lab.routing import Bgp, Bird
from lab.shell import Failed, expect, wait_until
from lab.strongswan import Ipsec, StrongSwan
from lab.topology import AZURE, LAN_HOST, Site
from lab.traffic import ECHO, PYTHON, Probe, echo, lossless, ping, traceroute, transfer, until_answered

ALONE = True
NEAR, FAR, FAR6 = "10.0.0.1", "10.0.0.2", "fd00::2"
# Answers in the kernel's place, as it is told for each sequence number: (how, seconds later).
ANSWERER = """
import json, os, socket, struct, sys, threading
sys.path.insert(0, sys.argv[1])
from echo_tool import HEAD, checksum
told = json.loads(sys.argv[2])
sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
def say(identifier, number, octets):
    head = HEAD.pack(0, 0, checksum(HEAD.pack(0, 0, 0, identifier, number) + octets), identifier, number)
    sock.sendto(head + octets, where)
print('listening', flush=True)
while True:
    data, where = sock.recvfrom(70000)
    data = data[(data[0] & 15) * 4:]
    kind, _, _, identifier, number = HEAD.unpack_from(data)
    if kind != 8:
        continue
    print('heard', number, flush=True)
    how, late = told.get(str(number), ('once', 0))
    octets = data[HEAD.size:]
    if how == 'other octets':
        octets = octets[:-1] + bytes([octets[-1] ^ 1])
    if how == 'to another':
        identifier ^= 1
    for _ in range({'never': 0, 'twice': 2}.get(how, 1)):
        threading.Timer(late, say, (identifier, number, octets)).start()
"""


def cells(full):
    few = ["judges", "kernel-native", "libipsec-nat"]
    return few + ["libipsec-bird", "libipsec-frr", "kernel-bird", "kernel-frr"] if full else few


def run(lab, cell):
    step = Steps()
    if cell == "judges":
        return judges(lab, step)
    kind, _, rest = cell.partition("-")
    native = rest == "native"
    site = Site(lab, nat=rest == "nat", guest=native)
    headend = HeadEnd(site, kind=kind, routing="frr" if rest in ("frr", "native") else "bird")
    if rest == "nat":
        headend.ipsec.remote = "%any"
    if native:
        headend.ipsec.esp = "aes256-sha1-esn"
    headend.start()
    step("head-end started")
    capture = Capture(site.internet, "site0", "wan")
    mine = StrongSwan(site.gateway, "site", Ipsec(
        local=site.outer, remote=AZURE.outer, local_id="203.0.113.1", remote_id=AZURE.outer, initiate=True,
        esp=headend.ipsec.esp, mark=VTI_KEY if native else 0), libipsec=not native)
    mine.start()
    device = "vti0" if native else "ipsec0"
    if native:
        make_vti(site.gateway, site.outer)
    wait_until(device, lambda: device in site.gateway.ip("-o link"), 20)
    site.gateway.ip(f"route add {AZURE.peering}/32 dev {device} src 192.168.1.1")
    bird = Bird(site.gateway, "site", Bgp(asn=65510, router_id="203.0.113.1", source="192.168.1.1", neighbor=AZURE.peering,
                                          neighbor_asn=65515, device=device, advertise=["192.168.1.0/24"]))
    bird.start()
    mine.load()
    ike = wait_until("tunnel up at the gateway", mine.established, 20)
    other = wait_until("tunnel up at the head-end", headend.charon.established, 20)
    expect(ike.children[0].spi_in == other.children[0].spi_out, "the ends disagree about an SPI")
    step("IPsec up at both ends")
    wait_until("BGP up at the gateway", bird.established, 30)
    wait_until("BGP up at the head-end", headend.routing.established, 20)
    wait_until("the site's prefix at the head-end", lambda: headend.routing.received() == {"192.168.1.0/24"}, 20)
    wait_until("the cloud's prefixes at the gateway",
               lambda: {"172.16.0.0/22", "192.168.1.0/24", "192.168.1.1/32"} <= bird.received(), 20)
    wait_until("the route in the kernel", lambda: device in site.gateway.ip("route show 172.16.0.0/22"), 20)
    step("BGP up, routes exchanged")
    ping(site.lan, AZURE.host)
    ping(headend.cloud_host, LAN_HOST)
    hops = traceroute(site.lan, AZURE.host)
    expect(hops == ["192.168.1.1", AZURE.peering, AZURE.host], f"hops: {hops}")
    step("ping both ways, traceroute")
    before = headend.charon.spis()
    probe = Probe(site.lan, LAN_HOST, headend.cloud_host, AZURE.host).started()
    time.sleep(2)
    lossless(probe)
    step("2 s at 1,000 packets a second each way, none lost")
    mine.rekey_child()
    wait_until("other SPIs", lambda: headend.charon.spis() not in (None, before), 20)
    step("rekeyed by hand")
    transfer(site.lan, headend.cloud_host, AZURE.host, 2_000_000)
    transfer(headend.cloud_host, site.lan, LAN_HOST, 2_000_000)
    step("transfers both ways")
    packets = capture.stop()
    esp = [p.esp for p in packets if p.esp]
    expect(esp and any(p.ike for p in packets), "no ESP or IKE on the wire")
    expect(all(udp != native for _, _, udp in esp), "ESP in the wrong form")
    expect(not inner_in_clear(packets), lambda: f"in clear: {inner_in_clear(packets)[0]}")
    expect(not repeated_sequences(packets), lambda: f"sequence seen twice: {repeated_sequences(packets)[0]}")
    step(f"{len(packets)} packets judged on the wire")


# -- what counts packets


def judges(lab, step):
    near, far = lab.namespace("near"), lab.namespace("far")
    link(near, "eth0", f"{NEAR}/24", far, "eth0", f"{FAR}/24")
    near.ip("addr add fd00::1/64 dev eth0 nodad")
    far.ip(f"addr add {FAR6}/64 dev eth0 nodad")
    all_answered(near)
    step("every echo of every size answered, too big refused with its MTU")
    one_dropped(near, far)
    step("the one echo and the one datagram that were dropped are missing")
    answerer = told_apart(near, far)
    step("late answers counted, those of others not, those that come twice once")
    reader_late(lab, near, answerer)
    step("an answer is not lost by who reads it late")


def all_answered(near):
    for target, largest in ((FAR, 1472), (FAR6, 1452)):
        for size in (0, 1, 56, largest):
            found = echo(near, target, size=size, interval=0.01, df=True)
            expect(list(found.answered) == [1, 2, 3] and not found.doubled + found.damaged + found.refused, f"{size} octets: {found}")
        found = echo(near, target, size=largest + 1, df=True)
        expect(not found.answered and found.told == [1500] * 3, f"an octet too many: {found}")
        for df in (None, False) if target == FAR else (None,):
            found = echo(near, target, size=4000, df=df)
            expect(not found.missing, f"in fragments: {found}")
    found = echo(near, FAR, source=NEAR)
    expect(not found.missing, f"from an address: {found}")
    found = echo(near, FAR, source="eth0")
    expect(not found.missing, f"by a device: {found}")
    found = echo(near, "10.9.9.9", timeout=1)
    expect(found.missing == [1, 2, 3] and found.refused, f"without a route: {found}")


def one_dropped(near, far):
    # The counter of numbered datagrams stands behind the eight octets of UDP and the four of their mark.
    far.nft("table inet drops {\nchain in {\ntype filter hook input priority 0; policy accept;\n"
            "icmp type echo-request icmp sequence 3 drop\nicmpv6 type echo-request icmpv6 sequence 1 drop\n"
            "udp dport > 20000 @th,64,32 0x70726f62 @th,96,64 1000 drop\n}\n}\n")
    for target, number in ((FAR, 3), (FAR6, 1)):
        found = echo(near, target, count=5, timeout=1)
        expect(found.missing == [number], f"{number} was dropped: {found}")
        try:
            ping(near, target, count=3, timeout=1)
        except Failed as refused:
            expect("2 of 3 answered" in str(refused), f"ping says {refused}")
        else:
            expect(False, "an echo was lost and none is missed")
        expect(ping(near, target, count=3, timeout=1, check=False) == 2, "not two of three")
    until_answered("the second", near, FAR6, 10)
    probe = Probe(near, NEAR, far, FAR, pps=500).started()
    time.sleep(3)
    there, back = probe.stop()
    expect(there.lost == 1 and [gap[:2] for gap in there.gaps] == [(1000, 1000)], f"one of them was dropped: {there}")
    expect(back.lost == 0 and there.duplicates + back.duplicates == 0, f"none was dropped, none doubled: {there}; {back}")
    far.nft("flush ruleset")


def answering(far, name, told):
    process = far.spawn(name, [PYTHON, "-c", ANSWERER, os.path.dirname(ECHO), json.dumps(told)])
    wait_until("it listens", lambda: "listening" in process.output(), 20)
    return process


def told_apart(near, far):
    """Of answers that are not the kernel's; the one who gives them late, at last."""
    far.sysctl("net.ipv4.icmp_echo_ignore_all", 1)
    process = answering(far, "odd", {1: ("twice", 0), 2: ("other octets", 0), 3: ("to another", 0), 4: ("never", 0)})
    found = echo(near, FAR, count=5, timeout=3)
    expect(list(found.answered) == [1, 5] and found.doubled == [1] and found.damaged == [2], f"told apart: {found}")
    process.stop()
    process = answering(far, "late", {1: ("once", 0), 2: ("once", 1), 3: ("once", 1.5)})
    found = echo(near, FAR, interval=0.05, timeout=20)
    expect(not found.missing, f"late ones are missing: {found}")
    expect(found.answered[2] >= 1000 and found.answered[3] >= 1500, f"they were not late: {found}")
    return process


def reader_late(lab, near, answerer):
    """Who sends is stopped before the answer comes, until long after it should have come."""
    heard = answerer.output().count("heard 3")
    sender = near.spawn("stopped", [PYTHON, ECHO, FAR, json.dumps({"interval": 0.05, "timeout": 2})])
    wait_until("the last is sent", lambda: answerer.output().count("heard 3") > heard, 20, 0.01)
    sender.send(signal.SIGSTOP)
    time.sleep(3)
    sender.send(signal.SIGCONT)
    sender.wait(20)
    answered = json.loads(sender.output())["answered"]
    expect(list(answered) == ["1", "2", "3"], f"answered: {answered}")
