"""`show status` says in words why a tunnel is down: every reason of its closed set that a peer can cause is
caused here by a real peer, and the code, the words and the named lists are compared.
"""

from lab.case import Steps
from lab.routing import Bgp
from lab.shell import Failed, expect, wait_until
from lab.strongswan import Ipsec
from lab.toml_text import Inline

from .stand import Stand

QUICK = {"tunnel": {"azure": {"ike": {"dpd": Inline(delay="2s", timeout="4s")}}}}


def _with(**sections):
    return {"tunnel": {"azure": sections}}


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
    "tcp_refused": (dict(), (True, False), "tcp-refused", []),
    "notification": (dict(bgp=Bgp(neighbor_asn=65499)), (True, True), "notification", ["AS"]),
    "policy_denies_all": (dict(changes={"bgp": {"neighbor": {"azure": {"import": "none"}}}}), (True, True), "policy-denies-all", []),
    "no_policy": (dict(changes={"bgp": {"neighbor": {"azure": {"import": None, "export": None}}}}), (True, True), "policy-denies-all", []),
    "max_prefix": (dict(changes={"bgp": {"neighbor": {"azure": {"max_prefix": 1, "import": "any"}}}}), (True, True), "max-prefix", ["1"]),
    "tcp_silent": (dict(), (True, False), "tcp-silent", []),
    "stopped": (dict(), (True, True), "stopped", []),
    "peer_refused_then_well": (dict(ipsec=Ipsec(psk="another-secret")), (True, True), "authentication-failed", []),
}


def cells(_full):
    return list(CASES)


def run(lab, cell):
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
    if cell == "tcp_silent":
        stand.headend.host.nft("table ip f {\nchain i {\ntype filter hook input priority 0; policy accept;\ntcp dport 179 drop\n}\n}\n")
    stand.causeway.start()
    if ipsec:
        stand.headend.start(bgp=bgp)
    if cell == "stopped":
        stand.causeway.wait_up()
        stand.causeway.client("down", "azure")

    def said():
        now = stand.causeway.why()
        return now[0] == code and all(w in now[1] for w in words) and now
    try:
        why = wait_until(f"code {code} with the words {words}", said, 30, 0.3)
    except Failed as late:
        raise Failed(f"{late}; what it says: {stand.causeway.why()}") from None
    step(f"{why[0]}: {why[1]}")
    line = stand.causeway.status()
    # A policy that lets nothing pass leaves the session up; it is said all the same.
    expect(line["state"] != "up" or code == "policy-denies-all", f"the tunnel counts as up: {line}")
    expect(line["why"]["hint"], "no hint what to change")
    text = stand.causeway.client("show", "status").out
    expect(why[1].split("\n")[0][:20] in text, f"the words are not in the text page:\n{text}")
    if cell == "peer_refused_then_well":
        stand.headend.charon.parameters.psk = Ipsec().psk
        stand.headend.charon.load()
        stand.causeway.wait_up(timeout=60)
        step("the peer was put right, the tunnel came up by itself")
