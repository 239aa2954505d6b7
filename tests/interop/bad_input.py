"""A bad peer cannot hurt: while a second tunnel carries 1,000 packets a second each way, the gateway gets
truncated, mutated, oversized and replayed IKE and ESP (with the peer's own address as the source and with
others), a flood of IKE_SA_INIT from thousands of addresses, nonsense from the BGP neighbour behind the first
tunnel, and files that are wrong: broken, contradictory, with a secret others can read, with another secret than
the peer's, with an address where nobody answers. Proven for each: the second tunnel loses nothing, the daemon lives, the first tunnel is as up
after it as before (after the BGP nonsense: comes back), and the refusals are counted.
"""

import os

from lab.capture import Capture
from lab.case import Steps
from lab.causeway import and_second
from lab.headend import HeadEnd
from lab.routing import Bgp
from lab.shell import expect, wait_until
from lab.strongswan import Ipsec
from lab.toml_text import Inline, merge
from lab.topology import AZURE, LAN_HOST, SECOND
from lab.traffic import PYTHON, Probe, lossless, until_answered

from .stand import Stand

TOOL = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab", "hostile.py")

ALONE = True


def cells(_full):
    return ["ike", "esp", "init-flood", "bgp", "files"]


def run(lab, cell):
    step = Steps()
    stand = Stand(lab)
    second = HeadEnd(stand.site, "libipsec", "bird", cloud=SECOND, ipsec=Ipsec(local_id=SECOND.outer), bgp=Bgp(), echo=False)
    stand.causeway.write(and_second(stand.causeway.tree, stand.site, SECOND))
    # What is mutated is taken from the wire while the first tunnel comes up and rekeys.
    wan = Capture(stand.site.gateway, "wan0", "seeds", "host 192.0.2.1 and (udp port 500 or udp port 4500 or proto 50)")
    second.start()
    stand.start()
    stand.causeway.wait_up(SECOND.name)
    stand.causeway.client("rekey", "azure", "--child")
    stand.headend.charon.rekey_ike()
    stand.reaches()
    wan.stop()
    before = stand.causeway.spis()
    probe = Probe(stand.lan, LAN_HOST, second.cloud_host, SECOND.host).started()
    step("two tunnels up, the second carries the probe")
    if cell == "files":
        wrong_files(stand, step)
    elif cell == "bgp":
        stand.headend.routing.stop()
        # After an error the neighbour waits, longer each time, and takes no connection: it is told not to.
        for seed in range(36):
            stand.causeway.client("clear", "bgp", "azure")
            attack(stand.headend.host, lambda _: None, "bgp", "192.168.1.1", 1, AZURE.peering, seed=seed)
        heard(stand, step)
    else:
        attack(stand.site.internet, step, cell, "203.0.113.1", {"ike": 250, "esp": 1500, "init-flood": 15000}[cell], wan.path)
    there, back = lossless(probe)
    step(f"the second tunnel lost nothing: {there}; {back}")
    expect(stand.causeway.alive(), "the daemon is gone")
    expect(stand.causeway.up(SECOND.name), "the second tunnel is down")
    if cell == "bgp":
        stand.headend.routing.start()
        stand.causeway.wait_up(timeout=90)
        step("BGP came back with a good neighbour")
    else:
        stand.ends_agree()
        if cell not in ("ike", "files"):
            expect(stand.causeway.spis() == before, "the first tunnel was moved to other SAs")
        stand.causeway.wait_up()
    until_answered("the first tunnel carries packets", stand.lan, AZURE.host, 10)
    if cell == "esp":
        counted(stand, step)
    step("the first tunnel carries packets")


def wrong_files(stand, step):
    """Files that are refused move nothing; files that are only wrong for the peer take down their own tunnel alone."""
    causeway, before = stand.causeway, stand.causeway.spis()
    with open(causeway.file) as file:
        good = file.read()
    secret = os.path.join(causeway.directory, "azure.psk")
    for text, word in (
        (good.replace("[router]", "[router", 1), "causeway.toml"),
        (good.replace("remote_ts", "remote_st", 1), "remote_st"),
        (good.replace('routes = ["172.16.0.254/32"]', 'routes = ["172.16.0.254/32", "192.0.2.1/32"]', 1), "192.0.2.1"),
        (good, "azure.psk"),
    ):
        expect(text != good or word == "azure.psk", f"the lab's own file has nothing to break for {word}")
        os.chmod(secret, 0o644 if word == "azure.psk" else 0o600)
        with open(causeway.file, "w") as file:
            file.write(text)
        done = causeway.client("reload", check=False)
        expect(done.rc != 0 and word in done.out + done.err, f"taken, or refused without {word!r}: {done}")
        expect(causeway.spis() == before, f"a refused file ({word}) moved the first tunnel")
    os.chmod(secret, 0o600)
    with open(causeway.file, "w") as file:
        file.write(good)
    step("four wrong files refused, nothing moved")
    causeway.secrets["azure"] = "not-what-the-peer-has"
    causeway.reload(causeway.tree)
    wait_until("the wrong secret is named", lambda: causeway.why()[0] == "authentication-failed", 20)
    step("a wrong secret")
    del causeway.secrets["azure"]
    right = causeway.tree
    causeway.reload(merge(right, {"tunnel": {"azure": {"remote": "192.0.2.99", "ike": {"dpd": Inline(delay="2s", timeout="4s")}}}}))
    wait_until("the wrong address is named", lambda: causeway.why()[0] == "peer-silent", 20)
    step("a wrong address")
    causeway.reload(right)
    causeway.wait_up(timeout=40)
    step("the right file brings the first tunnel back")


def counted(stand, step):
    """What came in vain has a count with its reason; what anyone can send is in the log a few times, not each time."""
    page = stand.causeway.show("interfaces")
    drops = {drop["name"]: drop["count"] for drop in page["drops"]}
    expect(drops.get("unknown-spi", 0) > 0 and drops.get("inbound-refused", 0) > 0, f"not counted: {drops}")
    refused = {drop["name"]: drop["count"] for drop in page["interfaces"][0]["drops"]}
    expect(refused and sum(refused.values()) <= drops["inbound-refused"], f"refused by its SAs: {refused}, of {drops}")
    unknown = [line for line in stand.causeway.show("log", "-n", "1000") if "unknown SPI" in line]
    expect(0 < len(unknown) < 100, f"{len(unknown)} log lines of unknown SPIs, {drops['unknown-spi']} packets")
    step(f"dropped: {drops}; of the first tunnel's SAs: {refused}; {len(unknown)} log lines")


def heard(stand, step):
    """The nonsense was read and answered, and what was wrong with it is on the page."""
    page = stand.causeway.show("bgp", "neighbors", "azure")
    page = page[0] if isinstance(page, list) else page
    told = {row["name"]: row["sent"] for row in page["messages"]}
    step(f"sent {told}, refused {page['connectionsRefused']}, established {page['connectionsEstablished']}, {page['prefixStats']}")
    expect(told["NOTIFICATION"] >= 20, f"NOTIFICATIONs for the nonsense: {told}")
    expect(page["connectionsEstablished"] > 1, "none of it came to a session")
    expect(page["lastErrorCodeSubcode"], "the last error is not on the page")


def attack(host, step, *words, seed=1):
    what, *rest = words
    done = host.run([PYTHON, TOOL, what, seed, *rest], timeout=240)
    step(f"attack {what}: {done.out.strip()}")
