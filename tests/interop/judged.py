"""What goes over the wire, judged by those who share no code with either end: tshark and OpenSSL, given the keys
that the peer wrote down. A tunnel comes up, carries pings of many lengths, datagrams and TCP both ways, is rekeyed
in both kinds from both sides, and ends. Proven: tshark decodes and decrypts every IKE message without a complaint;
every ESP packet has a good ICV and opens (ESN and ChaCha20 by OpenSSL alone, all else by both), carries an IPv4
packet, is padded 1, 2, 3, … and no more than needed; our sequence numbers begin at 1 and rise without a gap,
nobody's is seen twice for an SPI; the packets inside are those that were sent, less one hop, checksums right; nothing is in clear.
"""

import ipaddress
import struct
from collections import Counter
from functools import partial

from lab import judge, keys
from lab.capture import Capture, inner_in_clear
from lab.case import Steps
from lab.hostile import checksum
from lab.shell import expect, wait_until
from lab.strongswan import Ipsec
from lab.topology import AZURE, GATEWAY, LAN_HOST
from lab.traffic import Probe, ping, transfer

from .stand import Stand

# cell -> kind of peer, how ESP travels, IKE suite, ESP suite, who dials
CELLS = {
    "gcm-udp": ("libipsec", "auto", "aes256gcm16-prfsha256-ecp256", "aes256gcm16", "initiate"),
    "chacha-udp": ("libipsec", "auto", "aes128-sha1-modp2048", "chacha20poly1305", "respond"),
    "cbc-native": ("kernel", "native", "aes256-sha256-modp2048", "aes256-sha1", "initiate"),
    "gcm-native-esn": ("kernel", "native-esn", "aes256gcm16-prfsha384-ecp384", "aes256gcm16", "respond"),
}
BLOCK = {"cbc": 16, "gcm": 4, "chacha": 4}
WARNING = 0x600000


def cells(_full):
    return list(CELLS)


def run(lab, cell):
    step = Steps()
    kind, transport, ike, esp, start = CELLS[cell]
    stand = Stand(lab, kind, "bird", start, transport, ipsec=Ipsec(ike=ike, esp=esp))
    charon = stand.headend.charon
    log = f"{charon.directory}/keys.log"
    charon.start = partial(charon.start, extra=keys.LOG.format(path=log))
    wan = stand.capture_wan()
    sent = [Capture(stand.lan, "eth0", "sent-lan", "src 192.168.1.100"), Capture(stand.cloud, "eth0", "sent-cloud", f"src {AZURE.host}")]
    # Who answers is there first: a dial into the void is repeated seconds later.
    for end in (stand.causeway, stand.headend) if start == "respond" else (stand.headend, stand.causeway):
        end.start()
    stand.causeway.wait_up()
    stand.routed()
    step("up")
    traffic(stand)
    rekeys(stand)
    step("traffic, and rekeys of both kinds from both sides")
    stand.causeway.stop()
    wait_until("the peer's SAs gone", lambda: not charon.sas(), 20)
    packets, sent = wan.stop(), [p for capture in sent for p in capture.stop()]
    stand.headend.host.sync()
    with open(log) as file:
        ike_keys, esp_keys = keys.read(file.read())
    judge_ike(wan.path, packets, ike_keys, judge.Suite.parse(ike), step)
    esn = transport == "native-esn"
    opened = judge.open_all(packets, esp_keys, judge.Suite.parse(esp), esn)
    judge_esp(opened, judge.Suite.parse(esp), step)
    if not esn and not esp.startswith("chacha"):
        judge_esp_again(wan.path, opened, esp_keys, judge.Suite.parse(esp), step)
    judge_inner(opened, sent, step)
    stand.wire_right(packets)
    expect(not inner_in_clear(packets), "a packet in clear")


def traffic(stand):
    # Every place of the padding, for each of the two.
    for size in range(16, 34):
        ping(stand.lan, AZURE.host, count=1, size=size, check=False)
    ping(stand.cloud, LAN_HOST, count=3, check=False)
    probe = Probe(stand.lan, LAN_HOST, stand.cloud, AZURE.host, pps=100, size=300).started()
    transfer(stand.lan, stand.cloud, AZURE.host, 200_000)
    transfer(stand.cloud, stand.lan, LAN_HOST, 200_000, port=5202)
    there, back = probe.stop()
    expect(there.received and back.received, f"the probe was not heard: {there}; {back}")


def rekeys(stand):
    causeway, charon = stand.causeway, stand.headend.charon
    for child in (lambda: causeway.client("rekey", "azure", "--child"), charon.rekey_child):
        before = causeway.spis()
        child()
        wait_until("other SPIs", lambda: causeway.spis() not in (None, before), 20)
        stand.ends_agree()
        stand.reaches()
    for ike in (lambda: causeway.client("rekey", "azure", "--ike"), charon.rekey_ike):
        before = causeway.ike_spis()
        ike()
        wait_until("another IKE SA", lambda: causeway.ike_spis() not in (None, before), 20)
        wait_until("and it alone at the peer", lambda: len(charon.sas()) == 1, 20)


def judge_ike(path, packets, ike_keys, suite, step):
    """Every IKE message decodes, and every protected one decrypts with a good checksum."""
    spis = judge.ike_spis(packets)
    expect(len(spis) == len(ike_keys) == 3, f"{len(spis)} IKE SAs on the wire, {len(ike_keys)} at the peer")
    names = ["isakmp.exchangetype", "isakmp.typepayload", "isakmp.enc.decrypted", "_ws.malformed", "_ws.expert.severity", "_ws.expert.message"]
    options = judge.preferences(ike_keys, spis, suite, [], None)
    frames = judge.fields(path, names, options, only="isakmp")
    seen = Counter(frame["isakmp.exchangetype"][0] for frame in frames)
    expect(set(seen) == {"34", "35", "36", "37"}, f"exchanges: {seen}")
    for frame in frames:
        complaints = [s for s in frame["_ws.expert.severity"] if int(s) >= WARNING]
        expect(not complaints and not frame["_ws.malformed"], f"tshark complains: {frame}")
        expect(frame["isakmp.exchangetype"] == ["34"] or frame["isakmp.enc.decrypted"], f"not decrypted: {frame}")
    whole = judge.run(["tshark", "-n", "-r", path, *options, "-Y", "isakmp", "-V"], timeout=120).out
    protected = sum(n for kind, n in seen.items() if kind != "34")
    good, bad = whole.count("[correct]"), whole.count("[incorrect")
    expect(good >= protected and not bad, f"of {protected} protected messages {good} have a correct checksum, {bad} not")
    step(f"tshark: {len(frames)} IKE messages of 3 IKE SAs decoded, {protected} decrypted")


def judge_esp(opened, suite, step):
    """Next header, padding and sequence numbers of what OpenSSL opened."""
    last = {}
    for packet, inner in opened:
        expect(inner.next_header == 4, f"next header {inner.next_header} in {packet}")
        expect(inner.padding == bytes(range(1, len(inner.padding) + 1)), f"padding {inner.padding.hex()} in {packet}")
        expect(len(inner.padding) < BLOCK[suite.cipher], f"{len(inner.padding)} octets of padding in {packet}")
        # Ours leave in order; the peer's threads may overtake each other.
        ours = packet.source == GATEWAY
        expect(not ours or inner.sequence == last.get(inner.spi, 0) + 1, f"sequence {inner.sequence} after {last.get(inner.spi, 0)} in {packet}")
        last[inner.spi] = inner.sequence
    expect(len(last) == 6, f"{len(last)} SPIs carried packets")
    pairs = Counter((inner.spi, inner.sequence) for _, inner in opened)
    expect(max(pairs.values()) == 1, lambda: f"seen more than once: {pairs.most_common(3)}")
    lengths = {len(inner.padding) for _, inner in opened}
    expect(len(lengths) >= 4, f"padding of {lengths} octets only")
    step(f"OpenSSL: {len(opened)} ESP packets of {len(last)} SPIs open, padding of {min(lengths)} to {max(lengths)} octets, sequences without a gap")


def judge_esp_again(path, opened, esp_keys, suite, step):
    """tshark says the same of every ESP packet."""
    names = ["esp.spi", "esp.sequence", "esp.icv_good", "esp.protocol", "esp.pad", "frame.protocols", "_ws.malformed"]
    frames = judge.fields(path, names, judge.preferences([], [], suite, esp_keys, suite), only="esp")
    theirs = [(int(f["esp.spi"][0], 16), int(f["esp.sequence"][0]), "".join(f["esp.pad"]).replace(":", "")) for f in frames]
    expect(theirs == [(i.spi, i.sequence, i.padding.hex()) for _, i in opened], "tshark and OpenSSL see different packets")
    for frame in frames:
        expect(frame["esp.icv_good"] == ["1"] and frame["esp.protocol"] == ["0x04"], f"tshark: {frame}")
        expect(not frame["_ws.malformed"] and ":esp:ip:" in frame["frame.protocols"][0], f"tshark: {frame}")
    step(f"tshark: the same of {len(frames)} ESP packets")


def normal(raw):
    """An IPv4 packet without what a router, or a card, has still to fill in: TTL, and the checksums."""
    head = (raw[0] & 15) * 4
    length = struct.unpack("!H", raw[2:4])[0]
    body = bytearray(raw[head:length])
    if raw[9] == 17:
        body[6:8] = bytes(2)
    return raw[9], raw[12:20], raw[4:6], bytes(body)


def sums_right(raw):
    """The checksums of the header and of what is in it."""
    head = (raw[0] & 15) * 4
    if checksum(raw[:head]) != 0:
        return False
    body, protocol = raw[head:], raw[9]
    if protocol == 1:
        return checksum(body) == 0
    if protocol == 17 and body[6:8] == bytes(2):
        return True
    return checksum(raw[12:20] + struct.pack("!BBH", 0, protocol, len(body)) + body) == 0


def judge_inner(opened, sent, step):
    """The packets inside are those the hosts sent, each once, a hop later."""
    inside = Counter()
    for packet, inner in opened:
        raw = inner.packet
        expect(len(raw) == struct.unpack("!H", raw[2:4])[0], f"{len(raw)} octets inside say they are others: {packet}")
        expect(sums_right(raw), f"a wrong checksum inside {packet}: {raw[:60].hex()}")
        ends = tuple(str(ipaddress.IPv4Address(raw[n:n + 4])) for n in (12, 16))
        if ends in ((LAN_HOST, AZURE.host), (AZURE.host, LAN_HOST)) and raw[9] in (1, 17):
            expect(raw[8] == 63, f"TTL {raw[8]} inside {packet}")
            inside[normal(raw)] += 1
    outside = Counter(normal(p.raw) for p in sent if p.protocol in (1, 17) and p.destination in (AZURE.host, LAN_HOST))
    missing, strange = outside - inside, inside - outside
    # What the cloud's side loses before its IPsec is its own affair.
    missing = {packet: n for packet, n in missing.items() if packet[1][:4] == ipaddress.IPv4Address(LAN_HOST).packed}
    expect(not missing and not strange, lambda: f"{sum(missing.values())} of ours are not inside, {sum(strange.values())} inside were not sent: "
           f"{next(iter(missing or strange))}")
    step(f"{sum(inside.values())} packets inside are those that were sent")
