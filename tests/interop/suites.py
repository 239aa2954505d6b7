"""Every pair of transform values of both protocols with a real peer: encryption, integrity, PRF and group of
IKE; encryption, integrity, PFS group and ESN of ESP. One causeway and one charon hold all those suites at
once, a tunnel each. Proven for every tunnel: both ends name the suite, the same SPIs and the form of ESP;
echo requests of several sizes are answered octet for octet both ways; a CHILD rekey (with the PFS group) and
an IKE rekey, started by causeway and then by the peer for all tunnels at once, give new SPIs, and the echoes
are answered again after each. With --full each peer does so in each role and each encapsulation.
"""

from lab.case import Steps
from lab.headend import KINDS, TRANSPORTS
from lab.pairwise import every_pair, pairs_of, pairwise
from lab.shell import expect

from .fleet import Fleet, Member
from .main_job import ROLES
from .stand import possible

CBC = ["aes128", "aes192", "aes256"]
CIPHERS = CBC + [f"aes{bits}gcm{icv}" for icv in (16, 12, 8) for bits in (128, 192, 256)] + ["chacha20poly1305"]
INTEGS = ["", "sha1", "sha256", "sha384", "sha512"]
PRFS = ["prfsha1", "prfsha256", "prfsha384", "prfsha512"]
GROUPS = [
    "modp1024", "modp1536", "modp2048", "modp3072", "modp4096", "modp6144", "modp8192", "ecp256", "ecp384", "ecp521",
    "modp2048s256", "curve25519",
]
# The two peers take turns in the default set; --full has every cell.
DEFAULT = {("kernel", "initiate", "native"), ("libipsec", "respond", "forced-udp")}


def sensible(row):
    """An integrity of its own goes with CBC and with nothing else."""
    return (row["cipher"] in CBC) == (row["integ"] != "")


def columns(kind, transport):
    """(IKE's columns, ESP's columns) of a cell."""
    esn = ["", "esn"] if KINDS[kind].esn else [""]
    esn = ["esn"] if transport == "native-esn" else esn
    return ({"cipher": CIPHERS, "integ": INTEGS, "prf": PRFS, "group": GROUPS},
            {"cipher": CIPHERS, "integ": INTEGS, "pfs": ["", *GROUPS], "esn": esn})


def members(kind, transport):
    """The tunnels of a cell; IKE and ESP choose independently, so the lists run side by side."""
    ike, esp = (pairwise(c, sensible) for c in columns(kind, transport))
    rows = [(ike[n % len(ike)], esp[n % len(esp)]) for n in range(max(len(ike), len(esp)))]
    return [Member(n + 1, i["cipher"], i["integ"], i["prf"], i["group"], e["cipher"], e["integ"], e["pfs"], e["esn"])
            for n, (i, e) in enumerate(rows)]


def cells(full):
    found = []
    for kind in KINDS:
        for role in ROLES:
            for transport in TRANSPORTS:
                if full or (kind, role, transport) in DEFAULT:
                    name, why = f"{kind}-{role}-{transport}".replace("on-demand", "on_demand"), possible(kind, transport)
                    found.append((name, why) if why else name)
    return found


def run(lab, cell):
    step = Steps()
    kind, role, transport = cell.split("-", 2)
    tunnels = members(kind, transport)
    complete(tunnels, *columns(kind, transport))
    fleet = Fleet(lab, kind, role.replace("_", "-"), transport, tunnels)
    step(f"{len(tunnels)} tunnels written")
    fleet.start()
    step("both ends started")
    if role == "on_demand":
        expect(not fleet.ours(), "an on-demand tunnel dialled without a packet")
        fleet.knock()
    fleet.up()
    step("all up, both ends agree on suites and SPIs")
    fleet.echoes("at first")
    step("echoes answered")
    for who in ("us", "them"):
        for what in ("child", "ike"):
            fleet.rekey(what, who)
            fleet.agree(pfs=True)
            step(f"{what} SAs rekeyed by {who}")
            fleet.echoes(f"after {who}'s {what} rekey")
            step("echoes answered")
    print(f"result: {len(tunnels)} tunnels, {fleet.asked} echoes, all answered")


def complete(tunnels, ike, esp):
    """Every pair of values there is appears in some tunnel."""
    rows = ([{"cipher": m.ike_cipher, "integ": m.ike_integ, "prf": m.prf, "group": m.group} for m in tunnels],
            [{"cipher": m.cipher, "integ": m.integ, "pfs": m.pfs, "esn": m.esn} for m in tunnels])
    for mine, table in zip(rows, (ike, esp)):
        missing = every_pair(table, sensible) - set().union(*map(pairs_of, mine))
        expect(not missing, lambda: f"pairs without a tunnel: {sorted(missing)[:5]}")
