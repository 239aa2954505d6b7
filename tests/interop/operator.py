"""What the operator holds, with a tunnel up: every page as text and as JSON, `capture` with a ping inside it
as any pcapng reader sees it, `show ipsec` compared with charon's own list, log lines with time and SPI, `clear` of each kind and the tunnel's return, refusal of unknown names with the
known ones, a second start on a live socket refused and a dead socket replaced, no secret in log or page.
`counted`: below its SAs `show ike` counts what strangers sent: another version, no common suite, noise, cookies demanded
and wrong ones, half-open requests refused; and our own requests repeated to a peer that is silent.
"""

import json
import re
import struct

from lab import ike_peer as p
from lab.case import Steps
from lab.causeway import BINARY, PSK
from lab.hostile import Raw
from lab.shell import expect, wait_until
from lab.toml_text import Inline, merge
from lab.topology import AZURE, GATEWAY
from lab.traffic import ping

from .ike_notifies import handmade, initiator, refused
from .stand import Stand

PAGES = [
    ("status",), ("ike",), ("ipsec",), ("interfaces",), ("routes",), ("bgp",), ("bgp", "summary"), ("bgp", "neighbors"),
    ("bgp", "neighbors", "azure"), ("bgp", "neighbors", AZURE.peering), ("bgp", "neighbors", "azure", "received-routes"),
    ("bgp", "neighbors", "azure", "routes"), ("bgp", "neighbors", "azure", "advertised-routes"), ("bgp", "172.16.0.0/22"), ("log",),
]


def cells(_full):
    return ["pages", "counted"]


def run(lab, cell):
    step = Steps()
    if cell == "counted":
        return counted(lab, step)
    stand = Stand(lab).start()
    causeway = stand.causeway
    stand.reaches()
    wrong = []
    for page in PAGES:
        text = causeway.client("show", *page, check=False)
        values = causeway.client("show", *page, "--json", check=False)
        if text.rc or values.rc or not text.out.strip():
            wrong.append(f"show {' '.join(page)}: {text.rc} {values.rc} {text.err}{values.err}")
            continue
        try:
            json.loads(values.out)
        except ValueError:
            wrong.append(f"show {' '.join(page)} --json is no JSON")
        if PSK in text.out + values.out:
            wrong.append(f"show {' '.join(page)} shows the secret")
    expect(not wrong, lambda: "\n".join(wrong))
    sa = causeway.child()
    expect(sa["inbound"]["packets"] > 0 and sa["outbound"]["packets"] > 0, f"nothing counted: {sa}")
    expect(sa["rekey_in"] and sa["expires_in"] and sa["rekey_in"] < sa["expires_in"] <= 27000, f"times: {sa}")
    expect([r["prefix"] for r in causeway.show("bgp", "neighbors", "azure", "advertised-routes")["routes"]] == ["192.168.1.0/24"],
           "advertised-routes is not what the head-end got")
    step(f"{len(PAGES)} pages, text and JSON")
    sa_right(stand, sa)
    step("show ipsec says what charon says")
    lines = causeway.show("log")
    expect(all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line) for line in lines), f"lines without a time: {lines[:3]}")
    expect(any(re.search(r"IKE is up .*tunnel=azure spi=[0-9a-f]{16}_i [0-9a-f]{16}_r", line) for line in lines), "no line of the IKE SA has its SPIs")
    expect(any(re.search(r"CHILD SA up: .*tunnel=azure spi=[0-9a-f]{8}$", line) for line in lines), "no line of the CHILD SA has its SPI")
    step("log lines have time, tunnel and SPI")

    path = lab.path("inner.pcapng")
    sniffer = stand.site.gateway.spawn("capture", [BINARY, "capture", "azure", "-w", path, "-c", "6", "--socket", causeway.socket])
    wait_until("the capture ends after six packets", lambda: ping(stand.lan, AZURE.host, count=2) and not sniffer.alive(), 20)
    read = stand.site.gateway.run(["tshark", "-r", path, "-n"], timeout=30).out
    expect("192.168.1.100" in read and "172.16.1.10" in read and "ICMP" in read, f"tshark reads:\n{read}")
    names = stand.site.gateway.run(["tshark", "-r", path, "-n", "-T", "fields", "-e", "frame.interface_name"], timeout=30).out
    expect(set(names.split()) == {"vti0"}, f"the capture says it is of {set(names.split())}")
    step("capture, read by tshark")

    before, carried = causeway.spis(), causeway.show("interfaces")["interfaces"][0]
    expect(carried["packets_in"] > 0 and carried["packets_out"] > 0, f"nothing counted: {carried}")
    causeway.client("clear", "ipsec", "azure")
    wait_until("another CHILD SA", lambda: causeway.spis() not in (None, before), 20)
    causeway.wait_up()
    now = causeway.show("interfaces")["interfaces"][0]
    expect(all(now[c] >= carried[c] for c in ("packets_in", "packets_out", "bytes_in", "bytes_out")), f"counters fell: {carried} {now}")
    sessions = causeway.show("bgp", "summary")["peers"][0]["connectionsEstablished"]
    for how in (("soft", "in"), ("soft", "out")):
        causeway.client("clear", "bgp", "azure", *how)
    expect(causeway.show("bgp", "summary")["peers"][0]["connectionsEstablished"] == sessions, "a soft clear reset the session")
    causeway.client("clear", "bgp", "azure")
    wait_until("another BGP session", lambda: causeway.show("bgp", "summary")["peers"][0]["connectionsEstablished"] > sessions, 40)
    causeway.wait_up()
    step("cleared and came back")

    for words in (("up", "azur"), ("rekey", "nobody"), ("clear", "bgp", "azur")):
        done = causeway.client(*words, check=False)
        expect(done.rc != 0 and "azure" in done.out + done.err, f"{' '.join(words)}: {done}")
    again = stand.site.gateway.run([BINARY, "run", "--config", causeway.file], check=False, timeout=30)
    expect(again.rc not in (0, 124), f"a second daemon started on a live socket: {again}")
    expect(causeway.up(), "the second start hurt the first daemon")
    causeway.kill()
    causeway.start()
    causeway.wait_up(timeout=60)
    step("second start refused, dead socket replaced")
    expect(PSK not in causeway.process.output(), "the secret is in the log")


def sa_right(stand, sa):
    """What strongSwan's `statusall` says of an SA, ours says too, and the same."""
    theirs = stand.headend.charon.established().children[-1].raw
    expect((theirs["encr-alg"], theirs["encr-keysize"], theirs["integ-alg"]) == ("AES_CBC", "256", "HMAC_SHA1_96"), f"charon: {theirs}")
    expect(sa["suite"] == "aes256-sha1" and sa["pfs"] is None and not sa["esn"], f"suite: {sa}")
    expect(sa["state"] == "INSTALLED" and sa["encapsulation"] == "UDP" and sa["replay_window"] == 1024, f"form: {sa}")
    expect(sa["local_ts"] == sa["remote_ts"] == ["0.0.0.0/0"], f"selectors: {sa}")
    ike = stand.causeway.ike_sas()[-1]
    expect(sa["nat"] == {"local": ike["nat_local"], "remote": ike["nat_remote"]} and "NAT " in stand.causeway.client("show", "ipsec").out,
           f"NAT: {sa['nat']}")
    expect(all(sa[way]["last_use"] is not None and sa[way]["last_use"] < 60 for way in ("inbound", "outbound")), f"last use: {sa}")
    now = stand.causeway.child()
    expect(sa["age"] - 2 <= int(theirs["install-time"]) <= now["age"] + 2, f"age: {sa['age']} to {now['age']}, charon's {theirs['install-time']}")


# Anyone may begin; nobody but those with its secret may end.
ANYONE = {"tunnel": {"anyone": {
    "remote": "any", "remote_id": "fqdn:anyone.example", "start": "respond", "local": GATEWAY, "psk": Inline(file="anyone.psk"),
    "ike": {"proposals": ["aes256-sha256-curve25519"]}, "interface": {"name": "vti9"}}}}


def counted(lab, step):
    stand = handmade(lab)
    causeway, peer = stand.causeway, initiator(stand)
    start = causeway.ike_counters()
    expect(len(start) >= 24 and not any(start.values()), f"counted before anybody came: {start}")
    raw = Raw(p.socket_in(stand.site.internet, p.socket.AF_INET, p.socket.SOCK_RAW, p.socket.IPPROTO_RAW))

    def grown(what, least, act):
        """So many more at the least, once it was done."""
        before = causeway.ike_counters()[what]
        act()
        wait_until(f"{what} counted {least} times", lambda: causeway.ike_counters()[what] >= before + least, 20)

    grown("no-proposal", 1, lambda: refused(peer.init(cipher=3), p.NO_PROPOSAL_CHOSEN))
    grown("wrong-version", 1, lambda: refused(peer.init(version=0x30), p.INVALID_MAJOR_VERSION))
    grown("malformed", 5, lambda: [raw.udp(AZURE.outer, 500, GATEWAY, 500, noise(n)) for n in range(5)])
    grown("unknown-peer", 3, lambda: half_open(peer, raw, [f"198.18.1.{n}" for n in range(1, 4)]))
    step("another version, no common suite, noise and strangers")
    page = causeway.show("ike")
    room = page["half_open_per_address"]
    expect(page["half_open_max"] > 256 + room, f"no room for a configured peer beside the common one: {page['half_open_max']}")
    grown("cookie-sent", 4, lambda: half_open(peer, raw, [AZURE.outer] * (room + 4)))
    wait_until(f"of one address {room} half-open", lambda: causeway.show("ike")["half_open"] == room, 20)
    step(f"{room} half-open of one address, the others asked for a cookie that a forger never hears")
    causeway.reload(merge(causeway.tree, ANYONE))
    some = page["cookie_from"]
    grown("cookie-sent", 5, lambda: half_open(peer, raw, [f"198.18.0.{n + 1}" for n in range(some + 5)]))
    other = initiator_of(stand)
    grown("cookie-sent", 1, lambda: refused(other.init(), p.COOKIE))
    grown("cookie-wrong", 1, lambda: refused(other.init(first=[p.notify(p.COOKIE, bytes(20))]), p.COOKIE))
    step(f"cookies from {some} half-open on, and a wrong one is answered with another")
    grown("half-open-refused", 4, lambda: crowd(other, room + 6))
    step("a stranger that hears its cookies has one more for the tunnel that takes anybody, and no others")
    grown("retransmitted", 1, lambda: causeway.client("up", "azure"))
    now, text = causeway.ike_counters(), causeway.client("show", "ike").out
    expect(all(now[name] >= start[name] for name in start), f"counters fell: {start} {now}")
    for what in ("cookie-sent", "cookie-wrong", "half-open-refused", "malformed", "retransmitted"):
        expect(re.search(rf"{what} +\d+", text), f"{what} is not on the text page:\n{text}")
    expect(f"cookies from {some}" in text, f"no word of half-open ones:\n{text}")
    step(f"counted: { {name: count for name, count in now.items() if count} }")
    peer.close()
    other.close()


def noise(n):
    """A header whose length lies, and so many octets more."""
    return b"\1" * 16 + struct.pack("!BBBBII", p.SA, 0x20, p.INIT, 8, 0, 9999) + bytes(n)


def half_open(peer, raw, sources):
    """A good IKE_SA_INIT from each of these, with an SPI of its own, and nothing after it."""
    for source in sources:
        half_open.spi += 1
        peer.spi_i = struct.pack("!Q", half_open.spi)
        request = peer.pack(p.INIT, 0, [
            p.ike_suite(p.CURVE25519), (p.KE, False, struct.pack("!HH", p.CURVE25519, 0) + peer.public), (p.NONCE, False, peer.nonce)])
        raw.udp(source, 500, GATEWAY, 500, request)


half_open.spi = 0


def crowd(peer, count):
    """So many requests of one that hears the cookie it is asked for, each with an SPI of its own."""
    for number in range(count):
        peer.spi_i = struct.pack("!QI", number + 1, 7)[-8:]
        request = [p.ike_suite(p.CURVE25519), (p.KE, False, struct.pack("!HH", p.CURVE25519, 0) + peer.public), (p.NONCE, False, peer.nonce)]
        peer.sock.send(peer.pack(p.INIT, 0, request))
        asked = peer.receive(lambda m: m.raw[:8] == peer.spi_i and p.COOKIE in p.notifies(m.payloads))
        peer.sock.send(peer.pack(p.INIT, 0, [p.notify(p.COOKIE, p.notifies(asked.payloads)[p.COOKIE]), *request]))


def initiator_of(stand):
    """One at an address of the internet's own, whose answers it hears."""
    return p.Initiator(stand.site.internet, "203.0.113.254", GATEWAY, PSK, "203.0.113.254")
