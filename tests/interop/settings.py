"""Keys of a tunnel that no other case turns: each is obeyed with a real peer, seen on the wire or in the kernel, and
again after a reload where the reference says that it is absorbed.

`on-down`: learned prefixes are refused or simply gone. `df`: the outer DF bit. `sizes`: a fixed MTU, every form of the
MSS. `queues`: several, kept after a crash. `replay-N`: packets held back on the wire and sent later are taken inside a window of N and dropped outside. `psk`: each
form, and a secret a direction. `rekey`: soft limits of both SAs. `pfs`: a peer whose rekeys carry no key exchange. `esn`
and `encapsulation`, with a kernel's ESP. `any`: no local address named, dialled by the first packet. `logging`: forms and levels.
`kernel-routes`: a route somebody else put there is announced. `reference`: no documented key, and none of its words, is
without a case that writes it.
"""

import json
import os
import re

from lab import reference
from lab.capture import Capture
from lab.case import Steps
from lab.causeway import PSK
from lab.shell import expect, holds, wait_until
from lab.strongswan import Ipsec
from lab.toml_text import Inline, merge
from lab.topology import AZURE, GATEWAY, LAN_HOST
from lab.traffic import PYTHON, echo, ping, transfer, until_answered

from .stand import Stand, mss_of

REPLAY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab", "replay_tool.py")
LAN_PORT = 7777


def azure(**changes):
    """Something of the tunnel's section changed."""
    return {"tunnel": {"azure": changes}}


CELLS = {}


def cell(name):
    def keep(function):
        CELLS[name] = function
        return function
    return keep


def cells(_full):
    return list(CELLS)


def run(lab, name):
    CELLS[name](lab, Steps())


@cell("on-down")
def on_down(lab, step):
    stand = Stand(lab, changes=azure(on_down="withdraw")).start()
    gateway, causeway = stand.site.gateway, stand.causeway
    learned = lambda: gateway.ip("route show 172.16.0.0/22").strip()
    causeway.client("down", "azure")
    wait_until("the learned prefix is gone", lambda: not learned(), 20, 0.05)
    expect("unreachable" not in gateway.ip("route show table all"), "something is refused all the same")
    expect("wan0" in gateway.ip(f"route get {AZURE.host}"), "its packets do not follow the host's own routes")
    expect("vti0" in gateway.ip(f"route show {AZURE.peering}"), "the static route went too")
    step("withdraw: nothing stands in the place of the learned prefix")
    causeway.client("up", "azure")
    causeway.wait_up()
    stand.routed()
    causeway.kill()
    causeway.start()
    causeway.wait_up()
    stand.routed()
    step("and after a crash it is learned again")
    spis = causeway.spis()
    causeway.reload(merge(causeway.tree, azure(on_down="unreachable")))
    expect(causeway.spis() == spis, "the tunnel was made anew for on_down")
    causeway.client("down", "azure")
    wait_until("refused", lambda: learned().startswith("unreachable"), 20, 0.05)
    step("unreachable, absorbed: it is refused")
    causeway.reload(merge(causeway.tree, azure(on_down="withdraw")))
    wait_until("refused no more", lambda: not learned(), 20, 0.05)
    step("withdraw again, while it is down")


DF = {
    "copy": (azure(esp={"df": "copy"}), {"do": True, "dont": False}),
    "set": (azure(esp={"df": "set"}), {"do": True, "dont": True}),
    "clear": (azure(esp={"df": "clear"}), {"do": False, "dont": False}),
}


@cell("df")
def df(lab, step):
    stand = Stand(lab).start()
    spis = stand.causeway.spis()
    for word, (change, wanted) in DF.items():
        stand.causeway.reload(merge(stand.causeway.tree, change))
        for inner, outer in wanted.items():
            wire = Capture(stand.site.gateway, "wan0", f"df-{word}-{inner}")
            answered = echo(stand.lan, AZURE.host, count=5, size=611, df=inner == "do")
            expect(not answered.missing, f"inner {inner}: {answered}")
            # By length: keepalives and BGP of the host itself are on the wire too.
            sent = [p for p in wire.stop() if p.esp and p.source == GATEWAY and len(p.raw) > 650]
            bits = {bool(p.raw[6] & 0x40) for p in sent}
            expect(len(sent) == 5 and bits == {outer}, f"df = {word}, inner {inner}: {len(sent)} packets with DF {bits}")
        step(f"df = {word}")
    expect(stand.causeway.spis() == spis, "the tunnel was made anew for df")


@cell("queues")
def queues(lab, step):
    stand = Stand(lab).start()
    gateway, causeway = stand.site.gateway, stand.causeway
    device = lambda: json.loads(gateway.ip("-d -j link show dev vti0"))[0]
    number = lambda: device()["linkinfo"]["info_data"].get("numqueues", 1)
    # One for control packets.
    expect(number() == 2, f"{number()} queues unasked")
    spis = causeway.spis()
    causeway.write(merge(causeway.tree, azure(interface={"queues": 4})))
    refused = causeway.client("reload", check=False)
    expect(refused.rc != 0 and "interface.queues changed" in refused.out + refused.err, f"reload says {refused}")
    expect(causeway.spis() == spis and stand.causeway.up(), "a refused file changed something")
    step("no reload changes their number")
    causeway.stop()
    causeway.start()
    causeway.wait_up()
    expect(number() == 4, f"{number()} queues")
    stand.routed()
    for port in range(5300, 5306):
        transfer(stand.lan, stand.cloud, AZURE.host, 2_000_000, port=port)
        transfer(stand.cloud, stand.lan, LAN_HOST, 2_000_000, port=port)
    step("four queues: transfers both ways")
    index = device()["ifindex"]
    causeway.kill()
    causeway.start()
    causeway.wait_up()
    stand.routed()
    expect(device()["ifindex"] == index and number() == 4, "the device was made anew after a crash")
    ping(stand.lan, AZURE.host, count=5)
    step("the same device after a crash")
    # A clean end: after a crash the peer would hold on to a session whose device is gone, until it says something.
    causeway.stop()
    causeway.write(merge(causeway.tree, azure(interface={"queues": 1})))
    causeway.start()
    causeway.wait_up()
    stand.routed()
    expect(number() == 2, "the queues of before were kept")
    ping(stand.lan, AZURE.host, count=5)
    step("one again, and that for control packets")


# The MSS that passes of the 1460 that a host on Ethernet asks for; the MTU of this suite is 1422 on a path of 1500.
MSS = {
    "off": (azure(interface={"mss": "off"}), 1460),
    "auto": (azure(interface={"mss": "auto"}), 1382),
    "a number": (azure(interface={"mss": 1111}), 1111),
    "more than the MTU leaves": (azure(interface={"mss": 9000}), 1382),
}


@cell("sizes")
def sizes(lab, step):
    stand = Stand(lab, changes=azure(interface={"mtu": 1300, "mss": "auto"})).start()
    mtu = lambda: int(re.search(r"mtu (\d+)", stand.site.gateway.ip("-o link show dev vti0"))[1])
    expect(mtu() == 1300, f"the MTU is {mtu()}")
    ping(stand.lan, AZURE.host, count=2, size=1300 - 28, df=True)
    over = echo(stand.lan, AZURE.host, count=2, size=1301 - 28, df=True)
    expect(1300 in over.told and not over.answered, f"an octet more than 1300: {over}")
    stand.lan.ip("route flush cache")
    clamped(stand, "fixed", 1260)
    step("mtu = 1300: the device's, a sender's, and the MSS below it")
    spis = stand.causeway.spis()
    stand.causeway.reload(merge(stand.causeway.tree, azure(interface={"mtu": "auto"})))
    wait_until("the MTU that fits", lambda: mtu() == 1422, 20)
    # What the hosts learned of the smaller one must not decide what they ask for.
    stand.lan.ip("route flush cache")
    for words, (change, wanted) in MSS.items():
        stand.causeway.reload(merge(stand.causeway.tree, change))
        clamped(stand, words.replace(" ", "-"), wanted)
        step(f"mss {words}: {wanted} passes of 1460")
    expect(stand.causeway.spis() == spis, "the tunnel was made anew for its sizes")


def clamped(stand, name, wanted):
    """What passes of the MSS both hosts ask for."""
    syns = [Capture(place, "eth0", f"syn-{name}-{place.short}", "tcp[tcpflags] & tcp-syn != 0") for place in (stand.lan, stand.cloud)]
    transfer(stand.lan, stand.cloud, AZURE.host, 100_000)
    for capture, far in zip(syns, (AZURE.host, LAN_HOST)):
        arrived = [mss_of(p) for p in capture.stop() if p.source == far]
        expect(arrived and set(arrived) == {wanted}, f"{name}: MSS {arrived} arrived from {far}, not {wanted}")


WINDOWS = {
    64: azure(esp={"replay_window": 64}),
    1024: azure(),
    8192: azure(esp={"replay_window": 8192}),
}
BLAST = """
import socket, struct, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(int(sys.argv[3])):
    sock.sendto(struct.pack('!I', n), (sys.argv[1], int(sys.argv[2])))
    if n % 8 == 0:
        time.sleep(0.004)
"""
HEAR = """
import socket, struct, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
sock.bind(('0.0.0.0', int(sys.argv[1])))
print('listening', flush=True)
while True:
    print(struct.unpack('!I', sock.recv(100)[:4])[0], flush=True)
"""
HELD = "table ip held {\nchain f {\ntype filter hook forward priority 0; policy accept;\nip daddr 203.0.113.1 udp dport 4500 @th,64,32 != 0 drop\n}\n}\n"


def replay(lab, step, window):
    # No liveness check and no keepalive of BGP may move the window while packets are held.
    quiet = azure(ike={"dpd": Inline(delay="10m", timeout="60s")})
    stand = Stand(lab, ipsec=Ipsec(dpd="0s"), changes=merge(WINDOWS[window], quiet)).start()
    causeway, internet = stand.causeway, stand.site.internet
    expect(causeway.child()["replay_window"] == window, f"show ipsec says {causeway.child()}")
    listener = stand.lan.spawn("hear", [PYTHON, "-c", HEAR, str(LAN_PORT)])
    wait_until("the LAN host listens", lambda: "listening" in listener.output(), 20)
    # Nor may BGP of the other end, whose keepalive comes sooner than this ends on a slow machine.
    stand.headend.host.nft("table inet quiet {\nchain o {\ntype filter hook output priority 0; policy accept;\nmeta l4proto tcp drop\n}\n}\n")
    internet.nft(HELD)
    held = Capture(internet, "to-azure", "held", "udp src port 4500")
    spi = causeway.child()["inbound"]["spi"]
    stand.cloud.run([PYTHON, "-c", BLAST, LAN_HOST, str(LAN_PORT), str(window + 300)], timeout=60)
    sequences = sorted(p.esp[1] for p in held.stop() if p.esp and p.destination == GATEWAY and p.esp[0] == int(spi, 16))
    expect(len(sequences) >= window + 200 and sequences[-1] - sequences[0] == len(sequences) - 1, f"{len(sequences)} packets held")
    internet.nft("delete table ip held")
    newest = sequences[-1]
    step(f"{len(sequences)} packets held back, the newest {newest}")

    def send(*numbers):
        before, heard = counts(causeway), len(listener.output().splitlines())
        internet.run([PYTHON, REPLAY, held.path, GATEWAY, spi, *numbers], timeout=60)
        wait_until("each is counted", lambda: sum(counts(causeway).values()) >= sum(before.values()) + len(numbers), 20)
        now = counts(causeway)
        reached = lambda: len(listener.output().splitlines()) - heard
        wait_until("what was taken reaches the LAN", lambda: reached() >= now["taken"] - before["taken"], 20)
        return {name: now[name] - before.get(name, 0) for name in now if now[name] != before.get(name, 0)}, reached()

    expect(send(newest) == ({"taken": 1}, 1), "the newest is not taken")
    oldest = newest - window + 1
    for numbers, wanted in (
        ((newest,), {"replayed": 1}),
        ((oldest - 1,), {"too-old": 1}),
        ((oldest,), {"taken": 1}),
        ((oldest,), {"replayed": 1}),
        ((oldest - 1, oldest - 2, sequences[0]), {"too-old": 3}),
        ((newest - 1, oldest + 1, newest - window // 2), {"taken": 3}),
        ((oldest + 1, newest - 1, newest), {"replayed": 3}),
        (tuple(range(newest - 2, newest - 62, -1)), {"taken": 60 - (window // 2 < 62)}),
    ):
        found, reached = send(*numbers)
        found = {name: count for name, count in found.items() if name in wanted}
        expect(found == wanted, f"window {window}, newest {newest}: of {numbers} was {found}, not {wanted}")
        expect(reached == wanted.get("taken", 0), f"{reached} of {numbers} reached the LAN, not {wanted}")
    step(f"a window of {window}: {oldest} is its last, {oldest - 1} too old, none taken twice")
    stand.reaches()


def counts(causeway):
    """Packets of the tunnel's SAs that were taken, and those refused, by reason."""
    (page,) = [i for i in causeway.show("interfaces")["interfaces"] if i["tunnel"] == "azure"]
    return {"taken": page["packets_in"], **{drop["name"]: drop["count"] for drop in page["drops"]}}


for size in WINDOWS:
    cell(f"replay-{size}")(lambda lab, step, size=size: replay(lab, step, size))


@cell("psk")
def psk(lab, step):
    forms = {
        "value": azure(psk=Inline(value=PSK)),
        "local and remote": azure(psk=Inline(local=Inline(value=PSK), remote=Inline(file="azure.psk"))),
    }
    stand = Stand(lab, changes=forms["value"]).start()
    causeway = stand.causeway
    stand.ends_agree()
    step("value")
    tree = causeway.tree
    before = causeway.spis()
    causeway.reload(merge(tree, forms["local and remote"]))
    expect(causeway.spis() == before, "the same secret in another form made the tunnel anew")
    causeway.client("clear", "ike", "azure")
    wait_until("a new SA", lambda: causeway.spis() not in (None, before), 20)
    causeway.wait_up()
    step("local and remote")
    # Each proves its own side: with a wrong one the peer refuses us, with the other wrong we refuse the peer.
    for side, by, change in (
        ("local", "peer", azure(psk=Inline(local=Inline(value="wrong"), remote=Inline(value=PSK)))),
        ("remote", "local", azure(psk=Inline(local=Inline(value=PSK), remote=Inline(value="wrong")))),
    ):
        causeway.reload(merge(tree, change))
        wait_until(f"refused for psk.{side}", lambda: causeway.why()[0] == "authentication-failed", 20)
        why = causeway.status()["why"]
        expect(why["source"] == by, f"psk.{side} is wrong, and {why} is why")
        step(f"a wrong psk.{side}: {why['text']}")
    causeway.reload(tree)
    causeway.wait_up(timeout=40)


@cell("rekey")
def rekey(lab, step):
    soft = azure(ike={"lifetime": "10m", "rekey": "11s"}, esp={"lifetime": "10m", "rekey": "4s"})
    stand = Stand(lab, changes=soft).start()
    causeway = stand.causeway
    first, ike = causeway.spis(), causeway.ike_spis()
    # None of them has a time while it is being rekeyed.
    page = wait_until("an SA with its times", lambda: (sa := causeway.child()) and sa["rekey_in"] is not None and sa, 20)
    expect(page["rekey_in"] <= 4 and page["expires_in"] > 500, f"rekey in {page['rekey_in']}, expires in {page['expires_in']}")
    wait_until("a successor of the CHILD SA", lambda: causeway.spis() not in (None, first), 20)
    wait_until("a successor of the IKE SA", lambda: causeway.ike_spis() not in (None, ike), 20)
    stand.ends_agree()
    stand.reaches()
    step("both replaced long before their lifetimes")


@cell("pfs")
def pfs(lab, step):
    """The peer has no group for its CHILD SAs; the file names one."""
    ours = azure(esp={"proposals": ["aes256-sha1-modp1024"], "accept_rekey_without_pfs": True})
    stand = Stand(lab, changes=ours).start()
    causeway, charon = stand.causeway, stand.headend.charon
    for who, ask in (("the peer's", charon.rekey_child), ("our own", lambda: causeway.client("rekey", "azure", "--child"))):
        before = causeway.spis()
        ask()
        wait_until(f"{who} rekey", lambda: causeway.spis() not in (None, before), 20)
        stand.ends_agree()
        stand.reaches(count=1)
        step(f"{who} rekey without a key exchange is taken")
    causeway.reload(merge(causeway.tree, azure(esp={"accept_rekey_without_pfs": False})))
    before = causeway.spis()
    charon.swanctl("--rekey", "--child", "net", check=False)
    causeway.client("rekey", "azure", "--child")
    holds("neither is taken", lambda: causeway.spis() in (None, before) or causeway.ike_spis() is None, 4, 0.2)
    step("false: neither is taken")


@cell("esn")
def esn(lab, step):
    """A kernel that has extended sequence numbers, and one that is told not to."""
    both = Ipsec(esp="aes256-sha1-esn-noesn")
    stand = Stand(lab, "kernel", transport="native", ipsec=both)
    stand.causeway.write(merge(stand.causeway.tree, azure(esp={"proposals": ["aes256-sha1-noesn"], "esn": True})))
    stand.start()
    causeway = stand.causeway
    in_use = lambda: (causeway.child() or {}).get("esn")
    expect(in_use(), "esn = true: the peer has it, and it is not used")
    stand.reaches()
    step("true: used with a peer that has it")
    for change, peer, wanted in (
        (azure(esp={"esn": False}), None, False),
        (azure(esp={"esn": "require"}), None, True),
        (azure(esp={"esn": True}), "aes256-sha1-noesn", False),
    ):
        if peer:
            stand.headend.ipsec.esp = peer
            stand.headend.charon.load()
        before = causeway.spis()
        causeway.reload(merge(causeway.tree, change))
        wait_until("a new SA", lambda: causeway.spis() not in (None, before), 30)
        causeway.wait_up(timeout=40)
        expect(in_use() == wanted, f"{change}, the peer {peer}: ESN {in_use()}")
        stand.reaches()
        step(f"{change['tunnel']['azure']['esp']}{' and a peer without' if peer else ''}: {'used' if wanted else 'not used'}")
    causeway.reload(merge(causeway.tree, azure(esp={"proposals": ["aes256-sha1-esn"], "esn": "require"})))
    wait_until("no proposal", lambda: causeway.why()[0] == "no-proposal", 30)
    step("require and a peer without: no SA")


@cell("encapsulation")
def encapsulation(lab, step):
    """The peer says that there is a NAT; told never, we do not ask, and ESP stays IP protocol 50."""
    stand = Stand(lab, "kernel", transport="native", ipsec=Ipsec(encap=True), changes=azure(esp={"encapsulation": "never"}))
    stand.start()
    forms(stand, {False})
    step("never: protocol 50, though the peer claims a NAT")
    for word, change in (("auto", azure(esp={"encapsulation": "auto"})), ("always", azure(esp={"encapsulation": "always"}))):
        before = stand.causeway.spis()
        stand.causeway.reload(merge(stand.causeway.tree, change))
        wait_until("a new SA", lambda: word == "always" or stand.causeway.spis() not in (None, before), 30)
        stand.causeway.wait_up(timeout=40)
        forms(stand, {True})
        step(f"{word}: in UDP")
    stand.headend.ipsec.encap = False
    stand.headend.charon.load()
    stand.headend.charon.terminate(check=False)
    wait_until("the kernel asked for UDP alone", lambda: stand.causeway.ipsec_up(), 30)
    stand.causeway.wait_up(timeout=40)
    forms(stand, {True})
    step("always, and a peer that claims none: in UDP")


def forms(stand, wanted):
    wire = Capture(stand.site.gateway, "wan0", f"forms-{stand.lab.name}-{len(os.listdir(stand.lab.work))}")
    until_answered("the cloud answers", stand.lan, AZURE.host, 15)
    stand.reaches()
    esp = [p for p in wire.stop() if p.esp]
    for source in (GATEWAY, AZURE.outer):
        # An SA that lingers may still speak in the other form for a moment: the last packets count.
        found = {p.esp[2] for p in esp[-8:] if p.source == source}
        expect(found == wanted, f"from {source}: in UDP {found}, not {wanted}")


@cell("any")
def any_local(lab, step):
    stand = Stand(lab, start="initiate")
    stand.causeway.write(merge(stand.causeway.tree, azure(local="any", start="on-demand")))
    stand.start(wait=False)
    holds("nothing is dialled before a packet", lambda: not stand.causeway.ipsec_up(), 2)
    stand.dial_on_demand()
    stand.causeway.wait_up()
    expect(stand.causeway.status()["local"] == GATEWAY, f"the local end is {stand.causeway.status()['local']}")
    stand.reaches()
    step("from the address the underlay chose, by the first packet")


@cell("logging")
def logging(lab, step):
    stand = Stand(lab, changes={"log": {"format": "text", "level": "debug"}}).start()
    causeway = stand.causeway
    said = lambda: causeway.process.output().splitlines()
    expect(any("INFO" in line for line in said()) and not any(line.startswith("{") for line in said()), "text is not in force")
    step("text, debug")
    mark = len(said())
    causeway.reload(merge(causeway.tree, {"log": {"format": "json", "level": "trace"}}))
    causeway.client("rekey", "azure", "--child")
    lines = wait_until("JSON lines", lambda: [line for line in said()[mark:] if line.startswith("{")], 20)
    expect(all("level" in json.loads(line) for line in lines), "a line is no JSON object")
    step("json, trace, absorbed")
    for level, change, event in (
        ("info", {"log": {"format": "auto", "level": "info"}}, True),
        ("warn", {"log": {"format": "journal", "level": "warn"}}, False),
        ("error", {"log": {"level": "error"}}, False),
    ):
        causeway.reload(merge(causeway.tree, change))
        mark, before = len(said()), causeway.spis()
        causeway.client("rekey", "azure", "--child")
        wait_until("rekeyed", lambda: causeway.spis() not in (None, before), 20)
        # No journal listens here, so that all of these write JSON lines.
        lines = lambda: [json.loads(line) for line in said()[mark:]]
        if event:
            wait_until("told of it", lambda: any("rekeyed" in line["message"] for line in lines()), 20)
        new = lines()
        expect(any("rekeyed" in line["message"] for line in new) == event, f"level {level}: {new}")
        expect(all(line["level"] not in ("DEBUG", "TRACE") for line in new), f"level {level}: {new}")
        step(f"{level}: {'told' if event else 'not told'} of a rekey")


@cell("kernel-routes")
def kernel_routes(lab, step):
    foreign = "10.99.0.0/24"
    stand = Stand(lab, changes={"bgp": {"redistribute": ["kernel"], "neighbor": {"azure": {"export": "any"}}}}).start()
    gateway, heard = stand.site.gateway, stand.headend.routing.received
    expect(foreign not in heard(), f"{foreign} is announced before it is there")
    gateway.ip(f"route add {foreign} via {LAN_HOST}")
    wait_until("it is announced", lambda: foreign in heard(), 20)
    expect("172.16.0.254/32" not in heard() and "192.0.2.1/32" not in heard(), f"routes of ours are announced: {heard()}")
    gateway.ip(f"route del {foreign}")
    wait_until("it is withdrawn", lambda: foreign not in heard(), 20)
    step("a route of somebody else comes and goes")


@cell("reference")
def all_written(_lab, step):
    missing = reference.unused()
    expect(not missing, lambda: "no case writes " + ", ".join(missing))
    step(f"each of {len(reference.documented())} keys with each of its words is written by a case")
