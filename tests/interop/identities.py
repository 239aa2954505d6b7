"""Who a peer is, and how it proves it with a shared secret: tunnels side by side with a charon that knows each by its
identities. Proven, causeway once dialling and once called: every pair of identity types (IPv4, IPv6, FQDN, e-mail,
key ID as text and as octets, distinguished name) as the local and the remote one, both ends showing the same two, the
same SPIs, and echoes both ways; a pair of secrets, one for each direction, and that the same pair the wrong way round
is refused; another identity than `remote_id` of each type, and the same words as another type, refused with
`authentication-failed` in `show status`, naming what came where the peer said it; put right by a reload, those come up.
"""

import re
from dataclasses import replace

from lab.case import Steps
from lab.shell import expect, wait_until
from lab.toml_text import Inline, merge

from .fleet import Fleet, Member

# Type -> (what causeway's file says, what charon's says) for a side ("site" or "cloud") and a tunnel's number.
TYPES = {
    "ipv4": lambda side, n: (f"10.{len(side)}.0.{n}",) * 2,
    "ipv6": lambda side, n: (f"2001:db8:{len(side)}::{n}",) * 2,
    "fqdn": lambda side, n: (f"fqdn:f{n}.{side}.test", f"f{n}.{side}.test"),
    "email": lambda side, n: (f"email:f{n}@{side}.test",) * 2,
    "keyid": lambda side, n: (f"keyid:{side} {n}",) * 2,
    "octets": lambda side, n: (f"keyid:#00ff{len(side):02x}{n:02x}",) * 2,
    "dn": lambda side, n: (f"C=CH, O=Lab & Co_{side}, CN=f{n}.{side}.test",) * 2,
}
# The same words, another type: (remote_id here, the peer's identity).
LOOKALIKES = (("ipv4:192.0.2.7", "fqdn:192.0.2.7"), ("fqdn:a.cloud.test", "keyid:a.cloud.test"), ("fqdn:b.cloud.test", "CN=b.cloud.test"))
SUITE = ("aes128gcm16", "", "prfsha256", "ecp256", "aes128gcm16", "", "", "")
REFUSED = "authentication-failed"


def cells(_full):
    return ["initiate", "respond"]


def run(lab, cell):
    step = Steps()
    fleet = Identities(lab, cell)
    fleet.start()
    wanted, wrong = fleet.members, fleet.wrong
    fleet.members = {n: m for n, m in wanted.items() if n not in wrong}
    fleet.up(timeout=60)
    fleet.known()
    step(f"{len(fleet.members)} tunnels up, both ends name the same identities")
    fleet.echoes("at first")
    step("echoes answered")
    fleet.refused()
    step(f"{len(wrong)} refused, with the reason")
    fleet.put_right()
    fleet.members = wanted
    fleet.up(timeout=60)
    fleet.known()
    step("put right, all are up")


class Identities(Fleet):
    """A tunnel for each pair of types, and those that are refused."""

    def __init__(self, lab, role):
        self.told = {}
        # Tunnels whose peer says or proves something else -> (remote_id, psk) as they should have been.
        self.wrong = {}
        members = self._pairs() + self._secrets() + self._strangers()
        super().__init__(lab, "libipsec", role, "auto", members)
        self.may_fail = {words for n in self.wrong for words in (f'"tunnel":"{n}"', f"{self.members[n].outer}:")}

    def _new(self, local, remote):
        member = Member(len(self.told) + 1, *SUITE)
        self.told[member.name] = {"local": local, "remote": remote, "psk": member.secret, "second_psk": ""}
        return member

    def _pairs(self):
        pairs = [(a, b) for a in TYPES for b in TYPES]
        return [self._new(TYPES[a]("site", n), TYPES[b]("cloud", n)) for n, (a, b) in enumerate(pairs, 1)]

    def _secrets(self):
        """Two with a secret for each direction, the second of them the wrong way round."""
        found = []
        for kind in ("fqdn", "fqdn"):
            member = self._new(TYPES[kind]("site", 200 + len(found)), TYPES[kind]("cloud", 200 + len(found)))
            # Charon proves itself with the first and takes either.
            self.told[member.name].update(psk="proof of the cloud", second_psk="proof of the site")
            found.append(member)
        right = {"local": Inline(value="proof of the site"), "remote": Inline(value="proof of the cloud")}
        self.told[found[0].name]["ours"] = right
        self.told[found[1].name]["ours"] = {"local": right["remote"], "remote": right["local"]}
        self.wrong[found[1].name] = {"psk": Inline(**right)}
        return found

    def _strangers(self):
        """Those whose peer is another one than `remote_id` says."""
        said = [(make("cloud", 220 + n)[0], make("cloud", 230 + n)) for n, make in enumerate(TYPES.values())]
        said += [(ours, (theirs, theirs)) for ours, theirs in LOOKALIKES]
        found = []
        for n, (expected, is_) in enumerate(said):
            member = self._new(TYPES["fqdn"]("site", 220 + n), is_)
            self.told[member.name]["expected"] = expected
            self.wrong[member.name] = {"remote_id": is_[0]}
            found.append(member)
        return found

    def _ours(self, m, always):
        told = self.told[m.name]
        return merge(super()._ours(m, always), {
            "local_id": told["local"][0], "remote_id": told.get("expected", told["remote"][0]),
            **({"psk": Inline(**told["ours"])} if "ours" in told else {}),
        })

    def _theirs(self, m):
        told = self.told[m.name]
        return replace(super()._theirs(m), local_id=f'"{told["remote"][1]}"', remote_id=f'"{told["local"][1]}"',
                       psk=told["psk"], second_psk=told["second_psk"])

    def known(self):
        """Each end shows the two identities, its own and the other's, as they were typed."""
        ours, theirs = self.ours(), self.theirs()
        wrong = []
        for n in self.members:
            ike, there, told = ours[n][0], theirs[n][0], self.told[n]
            for side, mine, other in (("local", "local_id", "remote-id"), ("remote", "remote_id", "local-id")):
                if plain(ike[mine]) != plain(told[side][0]) or plain(there[other]) != plain(told[side][1]):
                    wrong.append(f"{n} {side}: {ike[mine]!r} here, {there[other]!r} there, {told[side]} typed")
        expect(not wrong, lambda: f"{len(wrong)} identities are shown otherwise:\n" + "\n".join(wrong[:10]))

    def refused(self):
        """Every tunnel of `wrong` says why it is down."""
        for name in self.wrong:
            why = wait_until(f"{name} is refused", lambda n=name: self.causeway.why(n)[0] == REFUSED and self.causeway.why(n), 20, 0.3)
            expect(not self.causeway.ipsec_up(name), f"{name} is up")
            # As the one who is called we heard the identity; to our dial charon says no more than no.
            if self.role == "respond" and "expected" in self.told[name]:
                expect(plain(self.told[name]["remote"][0]) in plain(why[1]), f"{name}: {self.told[name]['remote']} is not in {why[1]!r}")

    def put_right(self):
        self.causeway.reload(merge(self.causeway.tree, {"tunnel": self.wrong}))
        if self.role == "respond":
            # Charon takes a refusal for the last word.
            self.vici(*[["initiate", {"child": n, "timeout": -1}] for n in self.wrong])


def plain(words):
    """An identity, or what names one, without what the programs say or leave out around it: types, and octets' colons."""
    words = re.sub(r"\b(fqdn|email|keyid|ipv4):", "", words).replace("#", "")
    return re.sub(r"\b([0-9a-f]{2}):(?=[0-9a-f]{2}\b)", r"\1", words)
