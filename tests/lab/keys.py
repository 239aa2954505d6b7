"""The keys of a tunnel's SAs, as charon writes them at its most talkative: what an independent judge needs."""

import re
from dataclasses import dataclass

# A second log beside the usual one, with every derived key; level 4 is charon's "sensitive".
LOG = """filelog {{
        keys {{
            path = {path}
            default = 0
            ike = 4
            chd = 4
            flush_line = yes
        }}
    }}"""


@dataclass(frozen=True)
class IkeKeys:
    """SK_e and SK_a of one IKE SA; SK_a is empty with an AEAD."""

    ei: bytes
    er: bytes
    ai: bytes
    ar: bytes


@dataclass(frozen=True)
class EspKeys:
    """One direction of a CHILD SA; with an AEAD the salt ends the encryption key and there is no other."""

    spi: int
    source: str
    destination: str
    encryption: bytes
    integrity: bytes


def blocks(text):
    """The log as (thread, line, octets of the dump that follows)."""
    found = []
    for line in text.splitlines():
        head = re.match(r"(\d+)\[\w+\] (.*)", line)
        if not head:
            continue
        dump = re.match(r" *\d+: ((?:[0-9A-F]{2} ){1,16})", head[2])
        if dump and found:
            found[-1][2].extend(bytes.fromhex(dump[1]))
        else:
            found.append((head[1], head[2].strip(), bytearray()))
    return found


def read(text):
    """(IKE SAs in the order they were agreed on, both directions of every CHILD SA)."""
    ikes, esps, state, ours = [], [], {}, set()
    for thread, line, octets in blocks(text):
        mine = state.setdefault(thread, {})
        secret = re.match(r"(Sk_[ae][ir]) secret =>", line)
        key = re.match(r"(encryption|integrity) (initiator|responder) key =>", line)
        begun = re.match(r"establishing CHILD_SA (\S+\{\d+\})", line) or re.match(r"establishing CHILD_SA (\S+)", line)
        made = re.match(r"CHILD_SA (\S+\{\d+\}) state change: CREATED => INSTALLING", line)
        sa = re.match(r"SPI 0x([0-9a-f]+), src (\S+) dst (\S+)", line)
        if secret:
            mine[secret[1]] = bytes(octets)
            if secret[1] == "Sk_er":
                ikes.append(IkeKeys(mine["Sk_ei"], mine["Sk_er"], mine.pop("Sk_ai", b""), mine.pop("Sk_ar", b"")))
        elif begun:
            ours.add(begun[1])
        elif made:
            mine.clear()
            mine["initiator"] = made[1] in ours
        elif key:
            mine[key[1], key[2]] = bytes(octets)
        elif line.endswith("inbound ESP SA") or line.endswith("outbound ESP SA"):
            mine["inbound"] = "inbound" in line
        elif sa and ("encryption", "initiator") in mine:
            # Who made the SA sends with the initiator's keys.
            side = "initiator" if mine["initiator"] != mine["inbound"] else "responder"
            esps.append(EspKeys(int(sa[1], 16), sa[2], sa[3], mine["encryption", side], mine.get(("integrity", side), b"")))
    return ikes, list({e.spi: e for e in reversed(esps)}.values())
