"""Files with errors: each is refused by `check` and by `run` with status 1 and a line that names file, line,
column and key; an unknown key names the nearest known one; a secret others can read is refused; no secret is
ever printed. A good file's plan is printed with the profile's defaults filled in and the secret hidden.
"""

import os
import re

from lab.case import Steps
from lab.causeway import PSK, Causeway, example
from lab.shell import expect
from lab.toml_text import merge
from lab.topology import Site


def cells(_full):
    return ["check"]


# what is replaced in the good file, by what, and what the refusal must say
BROKEN = [
    ("[router]", "[router", ["causeway.toml:"]),
    ("remote_ts", "remote_st", ["remote_st", "remote_ts"]),
    ("asn = 65510", 'asn = "many"', ["asn"]),
    ('"aes256-sha1-modp1024"', '"aes256-sha1-modp9"', ["modp9"]),
    ('"aes256-sha1"]', '"aes256"]', ["proposals"]),
    ('profile = "azure"', 'profile = "oracle"', ["oracle"]),
    ('import = "azure-in"', 'import = "azur-in"', ["azur-in", "azure-in"]),
    ('tunnel = "azure"', 'tunnel = "azura"', ["azura"]),
    ('remote_ts = ["0.0.0.0/0"]', 'remote_ts = ["10.0.0.0/8"]', ["172.16.0.254"]),
    ('routes = ["172.16.0.254/32"]', 'routes = ["172.16.0.254/32", "192.0.2.1/32"]', ["192.0.2.1"]),
    ('address = "172.16.0.254"', 'address = "192.0.2.1"', ["192.0.2.1"]),
    ('lifetime = "8h"', 'lifetime = "8 fortnights"', ["lifetime"]),
    ("max_prefix = 4000", "max_prefix = -1", ["max_prefix"]),
    ('name = "vti0"', 'name = "a-name-that-is-too-long"', ["name"]),
    ("seq = 20", "seq = 10", ["10"]),
    ('remote = "192.0.2.1"', 'remote = "any"', ["remote"]),
    ('start = "initiate"', 'start = "sometimes"', ["sometimes"]),
    ("[tunnel.azure.ike]", "[tunnel.azure.gre]", ["gre"]),
]


def run(lab, _cell):
    step = Steps()
    site = Site(lab)
    causeway = Causeway(site, merge(example(site), {"tunnel": {"azure": {"remote_id": "192.0.2.1"}}}))
    with open(causeway.file) as file:
        good = file.read()
    plan = check(causeway)
    expect(plan.rc == 0, f"the example is refused: {plan}")
    expect(PSK not in plan.out + plan.err, "check prints the secret")
    for word in ("dpd", "replay_window", "172.16.0.254", "azure"):
        expect(word in plan.out, f"the plan does not show {word!r}:\n{plan.out}")
    step("the example is good, its plan hides the secret")
    wrong = []
    for old, new, words in BROKEN:
        if old not in good:
            wrong.append(f"the lab's own file has no {old!r}")
            continue
        with open(causeway.file, "w") as file:
            file.write(good.replace(old, new, 1))
        done = check(causeway)
        text = done.out + done.err
        if done.rc != 1 or not all(w in text for w in words) or not re.search(r"causeway\.toml:\d+:\d+", text):
            wrong.append(f"{new!r}: status {done.rc}, wanted words {words} and a place: {text[-400:]}")
        if PSK in text or "panicked" in text:
            wrong.append(f"{new!r}: a secret or a panic: {text[-400:]}")
    expect(not wrong, lambda: "\n".join(wrong))
    step(f"{len(BROKEN)} broken files refused with place and words")
    with open(causeway.file, "w") as file:
        file.write(good)
    secret = os.path.join(causeway.directory, "azure.psk")
    os.chmod(secret, 0o644)
    for verb in ("check", "run"):
        done = site.gateway.run([binary(), verb, "--config", causeway.file], check=False, timeout=10)
        expect(done.rc == (1 if verb == "check" else 78) and "azure.psk" in done.out + done.err, f"{verb} takes a secret others can read: {done}")
    os.chmod(secret, 0o600)
    step("a secret others can read is refused")
    with open(causeway.file, "w") as file:
        file.write(good + "\n[tunnel.azure]\nprofile = \"azure\"\n")
    done = check(causeway)
    expect(done.rc == 1, "a section given twice is taken")
    step("a duplicate name is refused")


def binary():
    from lab.causeway import BINARY
    return BINARY


def check(causeway):
    return causeway.host.run([binary(), "check", "--no-host", "--config", causeway.file], check=False, timeout=10)
