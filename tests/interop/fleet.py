"""A fleet: many tunnels at once between one causeway and one charon, each with suites of its own.

Each tunnel has its own outer address at the peer, its own identities, secret and inner addresses, so that
charon chooses the connection by the address alone and what one tunnel carries can reach no other.
"""

import json
import os
from dataclasses import dataclass

from lab.causeway import BINARY, Causeway
from lab.headend import KINDS
from lab.shell import Failed, expect, wait_until
from lab.strongswan import Ipsec, StrongSwan
from lab.toml_text import Inline
from lab.topology import AZURE, Site
from lab.traffic import PYTHON

TOOL = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab", "fleet_tool.py")
# One for each place of the ciphers' padding, and one of several blocks.
SIZES = (1, 56, 57, 58, 59, 1000)

# All tunnels come from one address, which charon would refuse as an attack after a few; cookies stay on.
# Without the last line its exponents are as long as the modulus, which the great groups make dear.
CHARON = """block_threshold = 1000
    half_open_timeout = 120
    dh_exponent_ansi_x9_42 = no
"""
# On a host that booted a few seconds ago charon 5.9 takes each of its own cookies for expired.
NO_COOKIES = """    cookie_threshold = 0
    cookie_threshold_ip = 0
"""

ENCR = {
    "AES_CBC": "aes{}", "AES_GCM_16": "aes{}gcm16", "AES_GCM_12": "aes{}gcm12", "AES_GCM_8": "aes{}gcm8",
    "CHACHA20_POLY1305": "chacha20poly1305",
}
INTEG = {"HMAC_SHA1_96": "sha1", "HMAC_SHA2_256_128": "sha256", "HMAC_SHA2_384_192": "sha384", "HMAC_SHA2_512_256": "sha512"}
PRF = {
    "PRF_HMAC_SHA1": "prfsha1", "PRF_HMAC_SHA2_256": "prfsha256", "PRF_HMAC_SHA2_384": "prfsha384",
    "PRF_HMAC_SHA2_512": "prfsha512",
}
GROUP = {
    "MODP_1024": "modp1024", "MODP_1536": "modp1536", "MODP_2048": "modp2048", "MODP_3072": "modp3072",
    "MODP_4096": "modp4096", "MODP_6144": "modp6144", "MODP_8192": "modp8192", "ECP_256": "ecp256", "ECP_384": "ecp384",
    "ECP_521": "ecp521", "MODP_2048_256": "modp2048s256", "CURVE_25519": "curve25519",
}


def joined(*words):
    return "-".join(w for w in words if w)


@dataclass(frozen=True)
class Member:
    """One tunnel's number and what it must agree on, in strongSwan's keywords (PFS and ESN may be "")."""

    number: int
    ike_cipher: str
    ike_integ: str
    prf: str
    group: str
    cipher: str
    integ: str
    pfs: str
    esn: str

    @property
    def name(self):
        return f"f{self.number:03}"

    @property
    def ike(self):
        return joined(self.ike_cipher, self.ike_integ, self.prf, self.group)

    @property
    def esp(self):
        return joined(self.cipher, self.integ, self.pfs, self.esn)

    @property
    def outer(self):
        return f"192.0.2.{self.number}"

    @property
    def inner(self):
        return f"10.81.0.{self.number}"

    @property
    def far(self):
        return f"10.82.0.{self.number}"

    @property
    def secret(self):
        return f"secret-of-{self.name}"

    def __str__(self):
        return f"{self.name} ({self.ike} / {self.esp})"


class Fleet:
    """Both ends of all members, not started."""

    def __init__(self, lab, kind, role, transport, members):
        self.kind, self.role, self.members = KINDS[kind], role, {m.name: m for m in members}
        expect(len(members) < 254, "there are no more outer addresses")
        nat = transport == "nat"
        self.site = Site(lab, nat=nat, forward_ike=nat and role == "respond")
        self.udp = nat or transport == "forced-udp" or not self.kind.native_esp
        guest = self.kind.guest
        self.peer = (self.site.attach_guest(AZURE) if guest else self.site.attach_host(AZURE, guest=False))[0]
        self.charon = StrongSwan(self.peer, "azure", None, libipsec=not guest)
        always = transport == "forced-udp" and self.kind.native_esp
        self.causeway = Causeway(
            self.site, {"tunnel": {m.name: self._ours(m, always) for m in members}}, secrets={m.name: m.secret for m in members})
        # The pages of so many tunnels hide the few that matter.
        lab.on_failure = [self.picture]
        self.missing, self.may_fail = [], set()
        self.files = self.asked = 0
        self.ike_spis, self.child_spis = {}, {}

    def _ours(self, m, always):
        return {
            "local": self.site.outer, "remote": m.outer, "start": self.role, "psk": Inline(file=f"{m.name}.psk"),
            "local_id": f"fqdn:{m.name}.site.test", "remote_id": f"fqdn:{m.name}.cloud.test",
            "ike": {"proposals": [m.ike]},
            "esp": {
                "proposals": [m.esp], "encapsulation": "always" if always else "auto",
                "local_ts": [f"{m.inner}/32"], "remote_ts": [f"{m.far}/32"],
            },
            "interface": {
                "name": m.name, "addresses": [f"{m.inner}/32"], "source": m.inner, "routes": [f"{m.far}/32"],
            },
        }

    def _theirs(self, m):
        dials = self.role == "respond"
        return Ipsec(
            local=m.outer, remote="%any" if self.site.nat and not dials else self.site.public,
            local_id=f"{m.name}.cloud.test", remote_id=f"{m.name}.site.test", psk=m.secret, ike=m.ike, esp=m.esp,
            initiate=dials, local_ts=f"{m.far}/32", remote_ts=f"{m.inner}/32",
        )

    # -- coming up

    def start(self):
        """Starts both ends; who answers is there first."""
        self._addresses()
        self.charon.start(extra=CHARON + (NO_COOKIES if self.kind.guest else ""))
        if not self.kind.guest:
            wait_until("libipsec's TUN", lambda: "ipsec0" in self.peer.ip("-o link"), 20)
            self.peer.ip("link set ipsec0 up")
            self.peer.ip("route replace 10.81.0.0/24 dev ipsec0")
        theirs = {m.name: self._theirs(m) for m in self.members.values()}
        if self.role == "respond":
            self.causeway.start()
            self.charon.load(theirs)
        else:
            self.charon.load(theirs)
            self.causeway.start()

    def _addresses(self):
        lines = [f"addr add {m.far}/32 dev lo" for m in self.members.values()]
        # The first outer address is the head-end's own.
        lines += [f"addr add {m.outer}/24 dev wan0" for m in self.members.values() if m.outer != AZURE.outer]
        self.peer.run(["ip", "-batch", self._file("\n".join(lines) + "\n")])

    def _file(self, text):
        """A new file that the peer, in a guest or not, can read."""
        self.files += 1
        path = self.site.lab.path(f"fleet-{self.files}")
        with open(path, "w") as file:
            file.write(text)
        return path

    def _tool(self, host, told, *words):
        return json.loads(host.run([PYTHON, TOOL, *words, self._file(json.dumps(told))], timeout=120).out)

    def knock(self):
        """A packet through every tunnel, for those that dial on demand, once its route is there."""
        def routed():
            there = {line.split()[0] for line in self.site.gateway.ip("route show proto 179").splitlines()}
            return {n for n, m in self.members.items() if m.far in there}
        self._all("has its static route", routed, 20)
        self._tool(self.site.gateway, {"pairs": [(m.inner, m.far) for m in self.members.values()]}, "knock")

    # -- what both ends say

    def ours(self):
        """Member -> its SAs as causeway shows them: (IKE row, CHILD row), those in use."""
        ike = {r["tunnel"]: r for r in self.causeway.ike_sas() if r["state"].lower() == "established"}
        child = {}
        for row in self.causeway.show("ipsec"):
            if row["state"] == "INSTALLED" and row["age"] <= child.get(row["tunnel"], row)["age"]:
                child[row["tunnel"]] = row
        return {n: (ike[n], child[n]) for n in self.members if n in ike and n in child}

    def vici(self, *commands):
        """Answers of charon to [command, arguments] pairs."""
        return self._tool(self.peer, commands, "vici", self.charon.vici)

    def theirs(self):
        """The same of charon; members with another number of SAs than one of each are left out."""
        found, several = {}, set()
        for name, ike, children in self.vici(["sas", {}])[0]:
            installed = [c for c in children if c["state"] == "INSTALLED"]
            if ike["state"] == "ESTABLISHED" and len(installed) == 1:
                several.update({name} & found.keys())
                found[name] = (ike, installed[0])
        return {n: sas for n, sas in found.items() if n not in several}

    def up(self, timeout=120):
        """Waits until every tunnel is up, dialled by the right side."""
        self._all("up", self.ours, timeout)
        self.agree()
        dialled = self.role != "respond"
        wrong = [n for n, (ike, _) in self.ours().items() if ike["initiator"] != dialled]
        expect(not wrong, f"the wrong side was the initiator of {wrong[:8]}")
        refused = [line for line in self.causeway.process.output().splitlines()
                   if "authentication failed" in line and not any(words in line for words in self.may_fail)]
        expect(not refused, lambda: f"{len(refused)} dials ended otherwise than up:\n" + "\n".join(refused[:5]))

    def _all(self, what, good, timeout):
        """Waits until `good()` has every member; names those that are missing."""
        def test():
            there = good()
            self.missing = [m for n, m in self.members.items() if n not in there]
            if self.missing:
                raise Failed(f"{len(self.missing)} of {len(self.members)} are not: {', '.join(map(str, self.missing[:8]))}")
            return True
        wait_until(f"every tunnel {what}", test, timeout, 0.3)

    def agree(self, pfs=False, timeout=30):
        """Both ends name the same SPIs and the agreed suite in each tunnel; `pfs`: after a rekey of the CHILD SA."""
        state = {}

        def same():
            ours, theirs = self.ours(), self.theirs()
            state.update(ours=ours, theirs=theirs)
            return {n for n in ours if n in theirs and spis_of(*ours[n]) == their_spis(*theirs[n])}
        self._all("has the same SPIs at both ends", same, timeout)
        wrong = [f"{m}: {why}" for n, m in self.members.items()
                 for why in self.differs(m, *state["ours"][n], *state["theirs"][n], pfs)]
        expect(not wrong, lambda: f"{len(wrong)} differences:\n" + "\n".join(wrong[:20]))
        for n, sas in state["ours"].items():
            self.ike_spis[n], self.child_spis[n] = spis_of(*sas)

    def differs(self, m, ike, child, their_ike, their_child, pfs):
        """What in the four descriptions is not what was agreed on."""
        rekeyed = m.pfs if pfs else ""
        for what, is_, should in (
            ("our IKE suite", normal(ike["suite"]), normal(m.ike)),
            ("their IKE suite", normal(charon_suite(their_ike, "prf-alg", "dh-group")), normal(m.ike)),
            ("our ESP suite", child["suite"], joined(m.cipher, m.integ)),
            ("their ESP suite", charon_suite(their_child), joined(m.cipher, m.integ)),
            ("our PFS", child["pfs"] or "", rekeyed),
            ("their PFS", GROUP.get(their_child.get("dh-group"), ""), rekeyed),
            ("our ESN", child["esn"], m.esn != ""),
            ("their ESN", their_child.get("esn") == "1", m.esn != ""),
            ("our form of ESP", child["encapsulation"], "UDP" if self.udp else "ESP"),
            ("their form of ESP", their_child.get("encap") == "yes", self.udp),
        ):
            if is_ != should:
                yield f"{what} is {is_!r}, not {should!r}"

    def picture(self):
        """What both ends said of the first tunnels that are not as they should be."""
        text, theirs = [], self.charon.log_text().splitlines()
        ours = self.causeway.process.output().splitlines() if self.causeway.process else []
        for m in self.missing[:3]:
            text.append(f"--- {m}: causeway")
            text += [line for line in ours if f'"tunnel":"{m.name}"' in line][-20:]
            text.append(f"--- {m}: charon")
            text += [line for line in theirs if m.name in line or f"{m.outer}[" in line][-40:]
        return "\n".join(text)

    # -- what is done to all of them

    def echoes(self, when):
        """Echo requests of every size through every tunnel, asked at our end, then at the peer's."""
        for host, ways in ((self.site.gateway, lambda m: (m.inner, m.far)), (self.peer, lambda m: (m.far, m.inner))):
            told = {"pairs": [ways(m) for m in self.members.values()], "sizes": SIZES}
            said = self._tool(host, told, "echo")
            self.asked += said["asked"]
            expect(not said["wrong"], f"{when}: {said['wrong']} answers are not what was sent")
            expect(not said["lost"],
                   lambda: f"{when}: {len(said['lost'])} of {said['asked']} got no answer: {said['lost'][:8]}")

        # Both ways through the SAs in use: requests of one end are answers' way of the other.
        least = 2 * len(SIZES)
        idle = {n: (c["inbound"]["packets"], c["outbound"]["packets"]) for n, (_, c) in self.ours().items()
                if min(c["inbound"]["packets"], c["outbound"]["packets"]) < least}
        expect(not idle, lambda: f"{when}: SAs in use that carried less than {least} packets (in, out): {idle}")

    def rekey(self, what, who):
        """Rekeys every CHILD or IKE SA at once, started by `us` or `them`; every SPI must change."""
        before = dict(self.ike_spis if what == "ike" else self.child_spis)
        if who == "us":
            names = " ".join(self.members)
            self.site.gateway.run(
                ["sh", "-ec", f'for n in {names}; do "$0" rekey $n --{what} --socket "$1"; done', BINARY, self.causeway.socket],
                timeout=60)
        else:
            answers = self.vici(*[["rekey", {what: n}] for n in self.members])
            refused = [a for a in answers if a.get("success") != "yes"]
            expect(not refused, lambda: f"charon refused {len(refused)} rekeys: {refused[:3]}")

        def changed():
            place = 0 if what == "ike" else 1
            now = {n: spis_of(*sas)[place] for n, sas in self.ours().items()}
            return {n for n, pair in now.items() if pair[0] != before[n][0] and pair[1] != before[n][1]}
        self._all(f"has other {what} SPIs after a rekey by {who}", changed, 120)


def spis_of(ike, child):
    """((initiator, responder), (inbound, outbound)) of our rows."""
    return ((int(ike["spi_initiator"], 16), int(ike["spi_responder"], 16)),
            (int(child["inbound"]["spi"], 16), int(child["outbound"]["spi"], 16)))


def their_spis(ike, child):
    """The same of charon's, as seen from our side."""
    return ((int(ike["initiator-spi"], 16), int(ike["responder-spi"], 16)),
            (int(child["spi-out"], 16), int(child["spi-in"], 16)))


def charon_suite(sa, *more):
    """Charon's names of an SA's algorithms as keywords."""
    words = [ENCR[sa["encr-alg"]].format(sa.get("encr-keysize", "")), INTEG.get(sa.get("integ-alg"), "")]
    return joined(*words, *[(PRF | GROUP)[sa[key]] for key in more])


def normal(suite):
    """An IKE suite with its PRF written out also where it is the integrity's own."""
    words = suite.split("-")
    if len(words) > 1 and not any(w.startswith("prf") for w in words):
        words.insert(2, f"prf{words[1]}")
    return "-".join(words)
