"""`show status` says in words why a tunnel is down: every reason of its closed set that a peer can cause is
caused here by a real peer, and the code, the words and the named lists are compared. A NOTIFICATION is given with the
text that BIRD's and FRR's operators typed (RFC 9003). The last two reasons no honest peer causes: there the laboratory's
own initiator answers. Whatever `Code` has, a cell here has; `name-unknown` is `dns_peer`'s, and `overloaded`, which no
peer causes, the IKE engine's own tests'.
"""

from lab import ike_peer
from lab.case import Steps
from lab.routing import Bgp
from lab.shell import Failed, expect, wait_until
from lab.strongswan import Ipsec
from lab.toml_text import Inline, merge

from .ike_notifies import handmade, initiator
from .stand import Stand

QUICK = {"tunnel": {"azure": {"ike": {"dpd": Inline(delay="2s", timeout="4s")}}}}


def _with(**sections):
    return {"tunnel": {"azure": sections}}


# What the peer's operator says as he shuts the session down.
SAID = "moved to the other rack"

# name -> (what the Stand is given, whether the peer's daemons run: ipsec, bgp; the code; words that must be there)
CASES = {
    "peer_silent": (dict(changes=QUICK), (False, False), "peer-silent", []),
    "waiting_for_peer": (dict(start="respond"), (False, False), "waiting-for-peer", []),
    "waiting_for_traffic": (dict(start="on-demand"), (True, True), "waiting-for-traffic", []),
    "ike_proposal_as_initiator": (dict(ipsec=Ipsec(ike="aes128-sha256-modp2048")), (True, False), "no-proposal", ["aes256-sha1-modp1024"]),
    "ike_proposal_as_responder": (dict(ipsec=Ipsec(ike="aes128-sha256-modp2048"), start="respond"), (True, False), "no-proposal",
                                  ["aes256-sha1-modp1024", "aes128-sha256", "modp2048"]),
    "esp_proposal_as_initiator": (dict(ipsec=Ipsec(esp="aes128-sha256")), (True, False), "no-proposal", []),
    "esp_proposal_as_responder": (dict(ipsec=Ipsec(esp="aes128-sha256"), start="respond"), (True, False), "no-proposal",
                                  ["aes256-sha1", "aes128-sha256"]),
    "wrong_psk_as_initiator": (dict(ipsec=Ipsec(psk="another-secret")), (True, False), "authentication-failed", []),
    "wrong_psk_as_responder": (dict(ipsec=Ipsec(psk="another-secret"), start="respond"), (True, False), "authentication-failed", []),
    "wrong_id_as_responder": (dict(ipsec=Ipsec(local_id="head.example"), start="respond"), (True, False), "authentication-failed",
                              ["head.example"]),
    "selectors_too_narrow": (dict(ipsec=Ipsec(remote_ts="192.168.2.0/24")), (True, False), "selectors-too-narrow", ["192.168.1.1"]),
    "selectors_refused_as_initiator": (dict(ipsec=Ipsec(remote_ts="10.9.0.0/16"), changes=_with(esp={"local_ts": ["192.168.1.0/24"]})),
                                       (True, False), "selectors-refused", []),
    "selectors_refused_as_responder": (dict(ipsec=Ipsec(remote_ts="10.9.0.0/16"), start="respond",
                                            changes=_with(esp={"local_ts": ["192.168.1.0/24"]})),
                                       (True, False), "selectors-refused", ["10.9.0.0/16", "192.168.1.0/24"]),
    "peer_deleted": (dict(start="respond"), (True, True), "peer-deleted", []),
    "lifetime": (dict(ipsec=Ipsec(esp="aes256-sha1-modp2048"), start="respond",
                      changes=_with(esp={"lifetime": "10s", "rekey": "5s"})), (True, False), "lifetime", []),
    "reconfigured": (dict(start="respond"), (True, True), "reconfigured", []),
    "cleared": (dict(start="respond"), (True, True), "cleared", []),
    "no_path": (dict(), (False, False), "no-path", ["192.0.2.1"]),
    "device": (dict(), (False, False), "device", ["vti0"]),
    "bgp_closed": (dict(routing="frr", bgp=Bgp(enabled=False)), (True, True), "bgp-closed", []),
    "tcp_refused": (dict(), (True, False), "tcp-refused", []),
    "notification": (dict(bgp=Bgp(neighbor_asn=65499)), (True, True), "notification", ["AS"]),
    "notification_of_bird": (dict(routing="bird"), (True, True), "notification", [SAID]),
    "notification_of_frr": (dict(routing="frr"), (True, True), "notification", [SAID]),
    "policy_denies_all": (dict(changes={"bgp": {"neighbor": {"azure": {"import": "none"}}}}), (True, True), "policy-denies-all", []),
    "no_policy": (dict(changes={"bgp": {"neighbor": {"azure": {"import": None, "export": None}}}}), (True, True), "policy-denies-all", []),
    "max_prefix": (dict(changes={"bgp": {"neighbor": {"azure": {"max_prefix": 1, "import": "any"}}}}), (True, True), "max-prefix", ["1"]),
    "tcp_silent": (dict(), (True, False), "tcp-silent", []),
    "stopped": (dict(), (True, True), "stopped", []),
    "peer_refused_then_well": (dict(ipsec=Ipsec(psk="another-secret")), (True, True), "authentication-failed", []),
}


# What is done when it is up, to take it down. Where the peer dials, nobody comes back after it.
ACTS = {
    "stopped": lambda stand: stand.causeway.client("down", "azure"),
    "cleared": lambda stand: stand.causeway.client("clear", "ike", "azure"),
    "peer_deleted": lambda stand: stand.headend.charon.terminate(),
    "reconfigured": lambda stand: stand.causeway.reload(merge(stand.causeway.tree, _with(esp={"encapsulation": "always"}))),
    "notification_of_bird": lambda stand: stand.headend.routing.birdc("disable", "site", f'"{SAID}"'),
    "notification_of_frr": lambda stand: stand.headend.host.run([
        "vtysh", "--vty_socket", stand.headend.routing.sockets, "-d", "bgpd", "-c", "configure terminal", "-c",
        f"router bgp {stand.headend.bgp.asn}", "-c", f"neighbor 192.168.1.1 shutdown message {SAID}"]),
}


# -- what only a peer of the laboratory's own does

def _refuses(peer, request):
    peer.answer(request, [ike_peer.notify(INTERNAL_ADDRESS_FAILURE)])


def _misbehaves(peer, request):
    """A suite that nobody offered."""
    peer.answer(request, [ike_peer.esp_suite(b"\xaa\xbb\xcc\xdd", cipher=3), (ike_peer.NONCE, False, bytes(32)),
                          *ike_peer.everything()])


INTERNAL_ADDRESS_FAILURE = 36
ANSWERS = {"peer_refused": (_refuses, "peer-refused"), "peer_misbehaved": (_misbehaves, "peer-misbehaved")}


def answered(lab, cell):
    """Its CHILD SA is cleared, so we ask for another; the answer is the peer's."""
    step, (answer, code) = Steps(), ANSWERS[cell]
    stand = handmade(lab)
    peer = initiator(stand)
    peer.init()
    peer.auth()
    wait_until("the CHILD SA", stand.causeway.ipsec_up, 20)
    stand.causeway.client("clear", "ipsec", "azure")
    peer.answer(peer.asked(ike_peer.INFORMATIONAL), [])
    answer(peer, peer.asked(ike_peer.CREATE_CHILD))
    why = wait_until(code, lambda: stand.causeway.why()[0] == code and stand.causeway.why(), 20, 0.2)
    expect(stand.causeway.status()["state"] == "down", "it counts as up")
    step(f"{why[0]}: {why[1]}")
    peer.close()


def cells(_full):
    return [*CASES, *ANSWERS]


def pages_say(stand, cell, code, why):
    line = stand.causeway.status()
    # A policy that lets nothing pass leaves the session up; it is said all the same.
    expect(line["state"] != "up" or code == "policy-denies-all", f"the tunnel counts as up: {line}")
    expect(line["why"] and line["why"]["hint"], f"no hint what to change: {line}")
    if cell == "tcp_silent":
        expect("demand a `password`" in line["why"]["hint"], f"the hint says nothing of a password: {line['why']}")
    text = stand.causeway.client("show", "status").out
    expect(why[1].split("\n")[0][:20] in text, f"the words are not in the text page:\n{text}")
    return True


def run(lab, cell):
    if cell in ANSWERS:
        return answered(lab, cell)
    step = Steps()
    given, (ipsec, bgp), code, words = CASES[cell]
    given = {**given, "changes": given.get("changes") or {}}
    peer = given.get("ipsec")
    stand = Stand(lab, **given)
    if peer:
        # What differs is the peer's alone; ours stays as the example has it.
        tree = stand.causeway.tree
        tree["tunnel"]["azure"]["ike"]["proposals"] = [Ipsec().ike]
        tree["tunnel"]["azure"]["esp"]["proposals"] = [Ipsec().esp]
        stand.causeway.write(tree)
    if cell == "no_path":
        stand.site.gateway.ip("route del default")
    if cell == "device":
        stand.site.gateway.ip("link add vti0 type veth peer name vti0-peer")
    if cell == "tcp_silent":
        stand.headend.host.nft("table ip f {\nchain i {\ntype filter hook input priority 0; policy accept;\ntcp dport 179 drop\n}\n}\n")
    stand.causeway.start()
    if ipsec:
        stand.headend.start(bgp=bgp)
    if cell in ACTS:
        stand.causeway.wait_up()
        ACTS[cell](stand)

    def said():
        now = stand.causeway.why()
        return now[0] == code and all(w in now[1] for w in words) and now
    try:
        why = wait_until(f"code {code} with the words {words}", said, 30, 0.3)
    except Failed as late:
        raise Failed(f"{late}; what it says: {stand.causeway.why()}") from None
    step(f"{why[0]}: {why[1]}")
    # Whoever dials again and again has other words between two dials.
    wait_until("both pages say it", lambda: pages_say(stand, cell, code, why), 20, 0.3)
    if cell == "peer_refused_then_well":
        stand.headend.charon.parameters.psk = Ipsec().psk
        stand.headend.charon.load()
        stand.causeway.wait_up(timeout=60)
        step("the peer was put right, the tunnel came up by itself")
