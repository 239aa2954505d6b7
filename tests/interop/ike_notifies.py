"""The exchanges that go another way than straight, each with who can provoke it. With charon: COOKIE demanded of us
and by us, INVALID_KE_PAYLOAD answered and given (IKE SA and CHILD rekey), CERTREQ under PSK, a CFG_REQUEST in
IKE_AUTH. With the laboratory's own initiator, whose every octet is chosen: in IKE_SA_INIT another major version, an
unknown payload with and without the critical bit, no common suite, the wrong group; in the SA CFG_SET, CFG_REQUEST,
an unknown critical payload, a repeated request, a rekey of an SA nobody has, ESP suites nobody takes,
TEMPORARY_FAILURE and CHILD_SA_NOT_FOUND both ways. Proven on the wire or in the open message, and by the tunnel.
"""

import datetime
import struct
from functools import partial

from lab import ike_peer as p
from lab.capture import Capture
from lab.case import Steps
from lab.causeway import PSK
from lab.hostile import Raw
from lab.shell import expect, wait_until
from lab.strongswan import Ipsec
from lab.toml_text import Inline, merge
from lab.topology import AZURE, GATEWAY
from lab.traffic import until_answered

from .stand import Stand

NO_BGP = {"bgp": {"neighbor": None, "networks": []}}
TWO_GROUPS = ("aes256-sha256-modp2048-ecp256", "aes256-sha256-modp2048-ecp256")
ONE_GROUP = ("aes256-sha256-ecp256", "aes256-sha256-ecp256")


def cells(_full):
    return list(CELLS)


def run(lab, cell):
    CELLS[cell](lab, Steps())


# -- what was on the wire


def messages(capture):
    """(from us, exchange, response, payloads) of each IKE message; a protected one's first payload is SK."""
    found = []
    for packet in capture.stop():
        if packet.ike and GATEWAY in (packet.source, packet.destination):
            first, _, exchange, flags = packet.ike[16:20]
            found.append((packet.source == GATEWAY, exchange, bool(flags & 0x20), p.split(first, packet.ike[28:])))
    return found


def inits(capture, ours):
    """The payload lists of IKE_SA_INIT requests that we sent (or got), and of their answers, in order, repeats once."""
    found = []
    for from_us, exchange, response, payloads in messages(capture):
        if exchange == p.INIT and from_us == (ours != response) and (response, payloads) not in found:
            found.append((response, payloads))
    return [m for r, m in found if not r], [m for r, m in found if r]


def stand_up(stand, start=None):
    """Both ends begin, without BGP, and the tunnel carries a packet."""
    dialled = stand.headend.ipsec.initiate or start
    if dialled:
        stand.causeway.start()
    stand.headend.start(bgp=False)
    if not dialled:
        stand.causeway.start()
    if start:
        start()
    wait_until("the CHILD SA", stand.causeway.ipsec_up, 20)
    carries(stand)


def carries(stand):
    until_answered("a packet through the tunnel", stand.site.gateway, AZURE.peering, 20, source="192.168.1.1")


# -- COOKIE


def cookie_from_charon(lab, step):
    """Somebody's half-open SA makes charon careful: our dial is answered with a cookie, and brings it."""
    stand = Stand(lab, changes=NO_BGP)
    charon = stand.headend.charon
    charon.start = partial(charon.start, extra="cookie_threshold = 1\n    cookie_threshold_ip = 1")
    stand.headend.start(bgp=False)
    other = p.Initiator(stand.site.gateway, GATEWAY, AZURE.outer, PSK, GATEWAY)
    charon.parameters.ike = f"{Ipsec().ike}, aes256-sha256-x25519"
    charon.load()
    expect(p.body_of(other.init().payloads, p.SA), "charon refused the half-open one")
    other.close()
    wan = stand.capture_wan()
    stand.causeway.start()
    wait_until("the CHILD SA", stand.causeway.ipsec_up, 20)
    carries(stand)
    cookie_right(wan, True)
    step("charon asked for a cookie, got it first and the rest unchanged; the tunnel is up")


def cookie_right(wan, ours):
    """Refused with COOKIE, then the same request again with it in front (RFC 7296 section 2.6)."""
    requests, answers = inits(wan, ours)
    cookies = [p.notifies(a)[p.COOKIE] for a in answers if p.COOKIE in p.notifies(a)]
    expect(len(cookies) == 1 and len(answers) == 2 and not p.body_of(answers[0], p.SA), f"the answers were {[p.notifies(a).keys() for a in answers]}")
    expect(1 <= len(cookies[0]) <= 64, f"a cookie of {len(cookies[0])} octets")
    plain, again = requests[0], requests[-1]
    expect(again[0] == (p.NOTIFY, False, struct.pack("!BBH", again[0][2][0], 0, p.COOKIE) + cookies[0]), f"the first payload is {again[0]}")
    expect(again[1:] == plain, "other payloads changed")


def cookie_from_us(lab, step):
    """Forty half-open SAs from as many addresses: charon's dial is answered with a cookie."""
    anyone = {"tunnel": {"anyone": {
        "remote": "any", "remote_id": "fqdn:anyone.example", "start": "respond", "local": GATEWAY, "psk": Inline(file="anyone.psk"),
        "ike": {"proposals": ["aes256-sha256-curve25519"]}, "interface": {"name": "vti9"}}}}
    stand = Stand(lab, start="respond", changes=merge(NO_BGP, anyone))
    stand.causeway.start()
    wan = Capture(stand.site.gateway, "wan0", "wan", f"host {AZURE.outer}")
    flood(stand)
    step("forty strangers half-open")
    # It may still be at work on its request when the cookie comes, drop it, and ask again.
    charon = stand.headend.charon
    charon.start = partial(charon.start, extra="retransmit_timeout = 0.5")
    stand.headend.start(bgp=False)
    wait_until("the CHILD SA", stand.causeway.ipsec_up, 20)
    carries(stand)
    cookie_right(wan, False)
    expect("COOKIE" in stand.headend.charon.log_text(), "charon's log knows of no cookie")
    step("we asked charon for a cookie and took it; the tunnel is up")


def flood(stand):
    raw = Raw(p.socket_in(stand.site.internet, p.socket.AF_INET, p.socket.SOCK_RAW, p.socket.IPPROTO_RAW))
    some = p.Initiator(stand.site.internet, "203.0.113.254", GATEWAY, PSK, "203.0.113.254")
    for n in range(40):
        some.spi_i = struct.pack("!Q", n + 1)
        request = some.pack(p.INIT, 0, [
            p.ike_suite(p.CURVE25519), (p.KE, False, struct.pack("!HH", p.CURVE25519, 0) + some.public), (p.NONCE, False, some.nonce)])
        raw.udp(f"198.18.0.{n + 1}", 500, GATEWAY, 500, request)
    some.close()


# -- INVALID_KE_PAYLOAD


def invalid_ke_from_charon(lab, step):
    """We offer two groups and guess the one charon does not take."""
    stand = Stand(lab, ipsec=Ipsec(ike=ONE_GROUP[0], esp=ONE_GROUP[1]), changes=NO_BGP)
    propose(stand, TWO_GROUPS)
    wan = stand.capture_wan()
    stand_up(stand)
    groups_right(wan, True, step)
    rekeyed(stand, lambda: stand.causeway.client("rekey", "azure", "--child"))
    expect("INVAL_KE" in stand.headend.charon.log_text().split("CHILD_SA net{1} established")[1], "charon refused no group in the rekey")
    step("a CHILD rekey went the same way")


def invalid_ke_from_us(lab, step):
    """charon offers two groups and guesses the one we do not take."""
    stand = Stand(lab, start="respond", ipsec=Ipsec(ike=TWO_GROUPS[0], esp=TWO_GROUPS[1]), changes=NO_BGP)
    propose(stand, ONE_GROUP)
    wan = stand.capture_wan()
    stand_up(stand)
    groups_right(wan, False, step)
    rekeyed(stand, stand.headend.charon.rekey_child)
    expect("INVAL_KE" in stand.headend.charon.log_text().split("CHILD_SA net{1} established")[1], "we refused no group in the rekey")
    step("a CHILD rekey went the same way")


def propose(stand, suites):
    """Our own suites, other than the peer's."""
    tree = stand.causeway.tree
    tree["tunnel"]["azure"]["ike"]["proposals"], tree["tunnel"]["azure"]["esp"]["proposals"] = [suites[0]], [suites[1]]
    stand.causeway.write(tree)


def groups_right(wan, ours, step):
    requests, answers = inits(wan, ours)
    groups = [struct.unpack("!H", p.body_of(r, p.KE)[:2])[0] for r in requests]
    asked = [p.notifies(a)[p.INVALID_KE_PAYLOAD] for a in answers if p.INVALID_KE_PAYLOAD in p.notifies(a)]
    expect(list(dict.fromkeys(groups)) == [14, 19] and asked == [struct.pack("!H", 19)], f"groups {groups}, asked for {asked}")
    # Of ours alone: charon puts the group it is asked for first.
    expect(not ours or p.body_of(requests[0], p.SA) == p.body_of(requests[-1], p.SA), "the second request has another SA payload")
    step(f"group {groups[0]} refused with INVALID_KE_PAYLOAD, repeated with {groups[-1]}; the tunnel is up")


def rekeyed(stand, rekey):
    before = stand.causeway.spis()
    rekey()
    wait_until("other SPIs", lambda: stand.causeway.spis() not in (None, before), 20)
    stand.ends_agree()
    carries(stand)


# -- what we pass over


def certreq(lab, step, start):
    """charon knows a CA and asks for certificates; the tunnel is one of shared keys."""
    stand = Stand(lab, start=start, ipsec=Ipsec(connection_extra="send_certreq = yes"), changes=NO_BGP)
    charon, load = stand.headend.charon, stand.headend.charon.load
    with open(lab.path("ca.conf"), "w") as file:
        file.write(f"authorities {{\n  lab {{\n    cacert = {a_ca(lab)}\n  }}\n}}\n")
    # Loading the connection clears authorities, so the dial waits for them.
    charon.parameters.initiate = False
    charon.load = lambda: (load(), charon.swanctl("--load-authorities", "--file", lab.path("ca.conf")))
    stand_up(stand, start=charon.initiate if start == "respond" else None)
    expect("CERTREQ" in charon.log_text().split("established")[0], f"charon sent no CERTREQ:\n{charon.log_text()}")
    step("up although charon asks for certificates")


def a_ca(lab):
    """The certificate of an authority that signs nothing; its path."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A CA of the lab")])
    now = datetime.datetime.utcnow()
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=2))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    with open(lab.path("ca.pem"), "wb") as file:
        file.write(made.public_bytes(serialization.Encoding.PEM))
    return lab.path("ca.pem")


def cfg_request(lab, step):
    """charon asks for an address in IKE_AUTH; we have none to give, and the tunnel comes up without."""
    stand = Stand(lab, start="respond", ipsec=Ipsec(connection_extra="vips = 0.0.0.0"), changes=NO_BGP)
    stand_up(stand)
    log = stand.headend.charon.log_text()
    expect("CPRQ" in log, "charon sent no CFG_REQUEST")
    step("up although charon asks for an address")


# -- the laboratory's own initiator


def handmade(lab):
    """A gateway that waits for this peer's suite."""
    stand = Stand(lab, start="respond", changes=NO_BGP)
    propose(stand, ("aes256-sha256-curve25519", "aes256-sha256"))
    stand.causeway.start()
    return stand


def initiator(stand):
    return p.Initiator(stand.headend.host, AZURE.outer, GATEWAY, PSK, AZURE.outer)


def refused(answer, kind, data=None):
    """The answer is this one Notify and no acceptance."""
    found = p.notifies(answer.payloads)
    expect(kind in found and not p.body_of(answer.payloads, p.SA), f"answered with {answer.payloads}")
    expect(data is None or found[kind] == data, f"the data of notify {kind} is {found[kind].hex()}")


def init_refusals(lab, step):
    """IKE_SA_INIT that cannot be: each has its own answer, and leaves nothing behind."""
    stand = handmade(lab)
    peer = initiator(stand)
    refused(peer.init(cipher=3), p.NO_PROPOSAL_CHOSEN)
    step("3DES alone: NO_PROPOSAL_CHOSEN")
    refused(peer.init(groups=(p.ECP256, p.CURVE25519), ke=p.ECP256), p.INVALID_KE_PAYLOAD, struct.pack("!H", p.CURVE25519))
    step("another group: INVALID_KE_PAYLOAD with ours")
    refused(peer.init(version=0x30), p.INVALID_MAJOR_VERSION)
    step("major version 3: INVALID_MAJOR_VERSION")
    expect(not stand.causeway.ike_sas(), f"an IKE SA is left: {stand.causeway.ike_sas()}")
    answer = peer.init((200, False, b"what"), (p.VENDOR, False, b"a stranger"), (p.CERTREQ, False, b"\x04" + bytes(20)))
    expect(p.body_of(answer.payloads, p.SA), f"refused: {answer.payloads}")
    peer.auth((201, False, b""), (p.CERTREQ, False, b"\x04" + bytes(20)), p.configuration(p.CFG_REQUEST, [(1, b""), (3, b"")]))
    wait_until("the CHILD SA", stand.causeway.ipsec_up, 20)
    step("unknown payloads without the bit, a vendor ID, CERTREQ and CFG_REQUEST passed over: up")
    peer.close()


def critical_in_init(lab, step):
    """IKE_SA_INIT with a payload nobody knows and the critical bit (RFC 7296 section 2.5)."""
    stand = handmade(lab)
    peer = initiator(stand)
    refused(peer.init((200, True, b"what")), p.UNSUPPORTED_CRITICAL_PAYLOAD, bytes([200]))
    expect(not stand.causeway.ike_sas(), f"an IKE SA is left: {stand.causeway.ike_sas()}")
    step("an unknown critical payload: UNSUPPORTED_CRITICAL_PAYLOAD with its type")
    peer.close()


def in_the_sa(lab, step):
    """Requests in an SA that is up: each has its own answer, and the SA stays."""
    stand = handmade(lab)
    peer = initiator(stand)
    peer.init()
    peer.auth()
    wait_until("the CHILD SA", stand.causeway.ipsec_up, 20)
    spis = stand.causeway.spis()
    pushed = [(13, bytes([10, 1, 0, 0, 255, 255, 0, 0])), (7, b"a hub"), (0x7007, b"\x00\x01")]
    answer = peer.ask(p.INFORMATIONAL, [p.configuration(p.CFG_SET, pushed)])
    kind, found = p.attributes(p.body_of(answer.payloads, p.CP))
    expect(kind == p.CFG_ACK and found == [(number, b"") for number, _ in pushed], f"CFG_SET is answered with {kind} {found}")
    expect(peer.ask_again().raw == answer.raw, "a repeated request has another answer")
    answer = peer.ask(p.INFORMATIONAL, [p.configuration(p.CFG_REQUEST, [(7, b"")])])
    expect(p.attributes(p.body_of(answer.payloads, p.CP))[0] == p.CFG_REPLY, f"CFG_REQUEST is answered with {answer.payloads}")
    step("CFG_SET: CFG_ACK with empty attributes, the same octets when asked again; CFG_REQUEST: CFG_REPLY")
    refused(peer.ask(p.INFORMATIONAL, [(200, True, b"what")]), p.UNSUPPORTED_CRITICAL_PAYLOAD, bytes([200]))
    expect(not peer.ask(p.INFORMATIONAL, [(200, False, b"what"), p.notify(50000)]).payloads, "unknown things without the bit have an answer")
    step("an unknown critical payload: UNSUPPORTED_CRITICAL_PAYLOAD; without the bit: nothing")
    new = b"\xaa\xbb\xcc\xdd"
    rekey = [p.notify(p.REKEY_SA, protocol=3, spi=b"\xde\xad\xbe\xef"), p.esp_suite(new), (p.NONCE, False, bytes(32)), *p.everything()]
    refused(peer.ask(p.CREATE_CHILD, rekey), p.CHILD_SA_NOT_FOUND)
    rekey[0] = p.notify(p.REKEY_SA, protocol=3, spi=peer.child)
    refused(peer.ask(p.CREATE_CHILD, [rekey[0], p.esp_suite(new, cipher=3), *rekey[2:]]), p.NO_PROPOSAL_CHOSEN)
    expect(stand.causeway.spis() == spis and stand.causeway.ipsec_up(), "a refused exchange moved the SA")
    step("a rekey of an SA nobody has: CHILD_SA_NOT_FOUND; with 3DES: NO_PROPOSAL_CHOSEN; the SA stays")
    lost_child(stand, peer, step)
    busy(stand, peer, rekey, step)
    peer.close()


def lost_child(stand, peer, step):
    """Our rekey of a CHILD SA that the peer says it has not."""
    causeway, (ours, _) = stand.causeway, stand.causeway.spis()
    causeway.client("rekey", "azure", "--child")
    request = peer.asked(p.CREATE_CHILD)
    old = [body for kind, _, body in request.payloads if kind == p.NOTIFY and body[2:4] == struct.pack("!H", p.REKEY_SA)]
    # RFC 7296 section 1.3.3: the SPI the sender of the request is reached at.
    expect(old and int.from_bytes(old[0][4:8], "big") == ours, f"the rekey names {old}, the SA is {ours:08x}")
    peer.answer(request, [p.notify(p.CHILD_SA_NOT_FOUND, protocol=3, spi=old[0][4:8])])
    fresh = peer.asked(p.CREATE_CHILD)
    expect(p.REKEY_SA not in p.notifies(fresh.payloads) and p.body_of(fresh.payloads, p.SA), f"after CHILD_SA_NOT_FOUND: {fresh.payloads}")
    peer.answer(fresh, [p.esp_suite(b"\x0a\x0b\x0c\x0d"), (p.NONCE, False, bytes(32)), *p.everything()])
    wait_until("the new CHILD SA", lambda: (causeway.spis() or (0, 0))[1] == 0x0A0B0C0D, 20)
    step("CHILD_SA_NOT_FOUND from the peer: a new CHILD SA instead")


def busy(stand, peer, rekey, step):
    """While we rekey the IKE SA no CHILD SA is made; and the peer may be as busy."""
    stand.causeway.client("rekey", "azure", "--ike")
    request = peer.asked(p.CREATE_CHILD)
    rekey[0] = p.notify(p.REKEY_SA, protocol=3, spi=b"\x0a\x0b\x0c\x0d")
    refused(peer.ask(p.CREATE_CHILD, rekey), p.TEMPORARY_FAILURE)
    step("a CHILD rekey while the IKE SA is being rekeyed: TEMPORARY_FAILURE")
    before = stand.causeway.ike_spis()
    peer.answer(request, [p.notify(p.TEMPORARY_FAILURE)])
    again = peer.asked(p.CREATE_CHILD, 30)
    expect(again.number > request.number, "the same request again, not another try")
    expect(stand.causeway.ike_spis() == before, "the IKE SA is another one")
    step("TEMPORARY_FAILURE from the peer: tried again later")
    answer = peer.ask(p.INFORMATIONAL, [(p.DELETE, False, struct.pack("!BBH", 1, 0, 0))])
    expect(not answer.payloads, f"the DELETE of the IKE SA is answered with {answer.payloads}")
    wait_until("no IKE SA", lambda: not stand.causeway.ike_sas() and not stand.causeway.ipsec_up(), 20)
    step("DELETE of the IKE SA, in the midst of its rekey: answered, all gone")


CELLS = {
    "cookie-from-charon": cookie_from_charon,
    "cookie-from-us": cookie_from_us,
    "invalid-ke-from-charon": invalid_ke_from_charon,
    "invalid-ke-from-us": invalid_ke_from_us,
    "certreq-initiate": partial(certreq, start="initiate"),
    "certreq-respond": partial(certreq, start="respond"),
    "cfg-request": cfg_request,
    "init-refusals": init_refusals,
    "critical-in-init": critical_in_init,
    "in-the-sa": in_the_sa,
}
