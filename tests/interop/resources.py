"""Several CHILD SAs with the same selectors (RFC 9611), so that a tunnel is not bound to one core.

`pair`: two daemons, first with one, then after a reload with two and as many queues: two CHILD SAs that both ends name
alike, the inbound SPI of each dealt to another worker, each carrying packets in both directions; every one rekeyed by
either end and by both at once without a packet lost or doubled, and keeping its number. `fewer`: four wanted against two:
two, the peer refuses the third with TS_MAX_QUEUE, and `show ipsec` says so. `receivers`: a peer with one queue sends on the
first alone, and what comes to it wakes both its workers, where with one CHILD SA it wakes one. `restart`: one end killed comes back with both.
`strongswan-initiate`, `strongswan-respond`: a peer without it passes over the notify: one CHILD SA, and `show ipsec` says why.
"""

import glob
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from lab.capture import Capture, inner_in_clear, repeated_sequences
from lab.case import Steps
from lab.causeway import PSK, Causeway
from lab.shell import expect, wait_until
from lab.toml_text import Inline, merge
from lab.topology import AZURE, LAN_HOST, Site
from lab.traffic import Probe, lossless, ping

from .stand import Stand

ALONE = True
FLOWS = 12
WORKERS = len(os.sched_getaffinity(0))
# What RFC 9611 section 5.1 calls SA_RESOURCE_INFO.
NOTIFY = 16444


def azure(**changes):
    """Something of the tunnel's section changed."""
    return {"tunnel": {"azure": changes}}


def cells(_full):
    several = [] if WORKERS > 1 else [("receivers", "needs two cores")]
    return ["pair", "fewer", *(several or ["receivers"]), "restart", "strongswan-initiate", "strongswan-respond"]


def run(lab, cell):
    step = Steps()
    if cell.startswith("strongswan"):
        return beside_strongswan(lab, cell.removeprefix("strongswan-"), step)
    return {"pair": pair, "fewer": fewer, "receivers": receivers, "restart": restart}[cell](Two(lab), step)


class Two:
    """A site and a cloud, a daemon at each: the site's dials."""

    def __init__(self, lab):
        self.lab = lab
        site = self.site = Site(lab)
        edge, self.cloud = site.attach_host(AZURE, guest=False)
        far = SimpleNamespace(lab=lab, gateway=edge)
        self.lan, self.wan = site.lan, site.gateway
        self.ends = [
            Causeway(site, self.tree(site.outer, AZURE.outer, AZURE.prefix, "initiate"), secrets={"azure": PSK}),
            Causeway(far, self.tree(AZURE.outer, site.outer, "192.168.1.0/24", "respond"), "far", secrets={"azure": PSK}),
        ]

    @staticmethod
    def tree(local, remote, routes, start):
        return {
            "router": {"id": local},
            "tunnel": {"azure": {
                "local": local, "remote": remote, "start": start, "psk": Inline(file="azure.psk"),
                "esp": {"encapsulation": "always"}, "interface": {"name": "vti0", "routes": [routes]},
            }},
        }

    def want(self, sas, queues=1):
        """So many CHILD SAs at the one end and at the other."""
        for end, number in zip(self.ends, sas):
            end.write(merge(end.tree, azure(esp={"resource_sas": number}, interface={"queues": queues})))
        return self

    def start(self):
        for end in reversed(self.ends):
            end.start()
        self.wait_up()
        return self

    def wait_up(self):
        for end in self.ends:
            end.wait_up()

    def rows(self, end):
        """CHILD SAs in use of an end, by their number."""
        rows = [row for row in self.ends[end].show("ipsec") if row["state"] == "INSTALLED"]
        return {row["resource"]: row for row in rows} if len({row["resource"] for row in rows}) == len(rows) else {}

    def wait_for(self, numbers, timeout=20):
        """Both ends have exactly these, and each is the other's twin."""
        def there():
            near, far = self.rows(0), self.rows(1)
            ours = {(row["inbound"]["spi"], row["outbound"]["spi"]) for row in near.values()}
            theirs = {(row["outbound"]["spi"], row["inbound"]["spi"]) for row in far.values()}
            return set(near) == set(far) == set(numbers) and ours == theirs
        wait_until(f"CHILD SAs {sorted(numbers)} at both ends", there, timeout, 0.2)

    def spis(self):
        """Inbound SPI of each end's CHILD SAs, by their number."""
        return [{number: int(row["inbound"]["spi"], 16) for number, row in self.rows(end).items()} for end in (0, 1)]

    def wakes(self, end):
        """How often each worker of an end went to sleep, and so was woken."""
        found = {}
        for task in glob.glob(f"/proc/{self.ends[end].pid()}/task/*"):
            with open(f"{task}/status") as file:
                status = dict(line.split(":", 1) for line in file)
            if status["Name"].strip().startswith("datapath-"):
                found[status["Name"].strip()] = int(status["voluntary_ctxt_switches"])
        return found

    def words(self, end):
        """What `show ipsec` says of how many there are."""
        return next((row["resources"] for row in self.ends[end].show("ipsec") if row["resources"]), None)

    def probes(self, pps=100):
        """Flows enough for every queue to have some."""
        return [Probe(self.lan, LAN_HOST, self.cloud, AZURE.host, pps=pps).started() for _ in range(FLOWS)]

    def wait_traffic(self, numbers):
        """Every CHILD SA carries packets both ways from now on, at both ends."""
        counted = lambda: [
            row[way]["packets"] for end in (0, 1) for number, row in sorted(self.rows(end).items()) if number in numbers
            for way in ("inbound", "outbound")]
        before = counted()
        def all_grew():
            now = counted()
            return len(now) == len(before) == 4 * len(numbers) and all(n > b for n, b in zip(now, before))
        wait_until("packets on each CHILD SA in both directions", all_grew, 20, 0.3)


def lossless_all(probes):
    """Ends all together: each takes seconds to let its last packets arrive."""
    with ThreadPoolExecutor(len(probes)) as pool:
        list(pool.map(lossless, probes))


def pair(two, step):
    two.want([1, 1], queues=2).start()
    two.wait_for({0})
    expect(two.words(0) is None and "resource" not in two.ends[0].client("show", "ipsec").out, "one CHILD SA speaks of resources")
    ping(two.lan, AZURE.host)
    step("one, as by default")
    two.want([2, 2], queues=2)
    for end in two.ends:
        end.reload()
    two.wait_up()
    two.wait_for({0, 1}, timeout=40)
    for end in (0, 1):
        expect(two.words(end) == "2 of 2 wanted, as agreed with the peer", f"show ipsec says {two.words(end)!r}")
        text = two.ends[end].client("show", "ipsec").out
        expect("resource any; 2 of 2" in text and "resource 1, at the peer 00000001" in text, f"the page lacks a resource:\n{text}")
        first, second = (spi % WORKERS for _, spi in sorted(two.spis()[end].items()))
        expect(second == (first + 1) % WORKERS, f"SPIs dealt to workers {first} and {second} of {WORKERS}")
    step("two after a reload, each dealt to another worker")
    wan = Capture(two.wan, "wan0", "wan", split=True)
    probes = two.probes()
    two.wait_traffic({0, 1})
    step(f"{FLOWS} flows each way: both carry packets in both directions at both ends")
    for who, ends in (("the one end", [0]), ("the other", [1]), ("both at once", [0, 1])):
        before = two.spis()
        threads = [threading.Thread(target=two.ends[end].client, args=("rekey", "azure", "--child")) for end in ends]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        def all_new():
            now = two.spis()
            return all(set(n) == {0, 1} and not set(n.values()) & set(b.values()) for n, b in zip(now, before))
        wait_until(f"other SPIs after {who}'s rekey", all_new, 20, 0.2)
        two.wait_for({0, 1})
        two.wait_traffic({0, 1})
        for now, was in zip(two.spis(), before):
            expect(all(now[n] % WORKERS == was[n] % WORKERS for n in now), f"{was} was rekeyed to {now}: another worker")
        step(f"each rekeyed by {who}")
    two.ends[0].client("rekey", "azure", "--ike")
    two.wait_for({0, 1})
    two.wait_traffic({0, 1})
    lossless_all(probes)
    step("nothing lost or doubled, through an IKE rekey too")
    packets = wan.stop()
    expect(not repeated_sequences(packets), "a sequence number was used twice")
    expect(not inner_in_clear(packets), "a packet in clear")
    expect(len({p.esp[0] for p in packets if p.esp}) >= 16, "too few SPIs on the wire for two CHILD SAs rekeyed three times")
    for end in two.ends:
        expect(end.status()["state"] == "up", f"{end.name} is not up")


def fewer(two, step):
    two.want([4, 2], queues=2).start()
    two.wait_for({0, 1})
    wait_until("the third refused", lambda: two.ends[1].ike_counters()["resource-refused"] == 1, 20)
    expect(two.words(0) == "2 of 4 wanted: the peer takes no more than 2 (TS_MAX_QUEUE)", f"show ipsec says {two.words(0)!r}")
    expect(two.words(1) == "2 of 2 wanted, as agreed with the peer", f"show ipsec says {two.words(1)!r}")
    counters = two.ends[0].ike_counters()
    expect(counters["resource-denied"] == 1, f"counters {counters}")
    step("four against two: two, and TS_MAX_QUEUE said why")
    two.ends[0].client("rekey", "azure", "--ike")
    two.ends[0].client("rekey", "azure", "--child")
    ping(two.lan, AZURE.host, count=10)
    two.wait_for({0, 1})
    expect(two.ends[1].ike_counters()["resource-refused"] == 1, "asked again although refused")
    step("not asked again after rekeys")
    two.ends[0].client("clear", "ipsec", "azure")
    two.wait_up()
    two.wait_for({0, 1})
    ping(two.lan, AZURE.host)
    step("cleared: both again")


def receivers(two, step):
    # The far end has one queue, read by one worker; the other wakes for what comes from outside alone.
    near, far = two.ends
    woken = {}
    for sas in (1, 2):
        near.write(merge(near.tree, azure(esp={"resource_sas": sas}, interface={"queues": 2})))
        far.write(merge(far.tree, azure(esp={"resource_sas": sas})))
        if sas == 1:
            two.start()
        else:
            near.reload()
            far.reload()
        two.wait_up()
        two.wait_for(set(range(sas)), timeout=40)
        probes = two.probes()
        time.sleep(1)
        before = two.wakes(1)
        time.sleep(3)
        woken[sas] = sorted(count - before[name] for name, count in two.wakes(1).items())
        if sas == 2:
            rows = two.rows(1)
            expect(rows[1]["inbound"]["packets"] > 100, f"little came on the second: {rows[1]}")
            expect(rows[1]["outbound"]["packets"] == 0 and rows[0]["outbound"]["packets"] > 100, f"one queue sent on two: {rows}")
        lossless_all(probes)
        step(f"{sas} CHILD SAs: the far end's workers were woken {woken[sas]} times in 3 s")
    idle, busy = woken[1][-2], woken[2][-2]
    expect(busy > 100 and busy > 10 * idle, f"the second worker was woken {idle} times with one CHILD SA, {busy} with two")


def restart(two, step):
    # The end that dials must hear soon that the other, which waits, remembers nothing.
    for end in two.ends:
        end.write(merge(end.tree, azure(ike={"dpd": Inline(delay="1s", timeout="4s")})))
    two.want([2, 2], queues=2).start()
    two.wait_for({0, 1})
    for end in two.ends:
        end.kill()
        end.start()
        two.wait_up()
        two.wait_for({0, 1}, timeout=60)
        ping(two.lan, AZURE.host)
        step(f"{end.name} killed and started: both again")


def beside_strongswan(lab, start, step):
    stand = Stand(lab, start=start, changes=azure(esp={"resource_sas": 4})).start()
    stand.ends_agree()
    words = stand.causeway.child()["resources"]
    expect(words.startswith("1 of 4 wanted: the peer did not say"), f"show ipsec says {words!r}")
    log = stand.headend.charon.log_text()
    said = f"N(({NOTIFY}))" in log
    expect(said == (start == "initiate"), f"strongSwan {'did not see' if not said else 'saw'} the notify")
    step("one CHILD SA; strongSwan passes over the notify it does not know")
    for rekey in (lambda: stand.causeway.client("rekey", "azure", "--child"), stand.headend.charon.rekey_child):
        before = stand.causeway.spis()
        rekey()
        wait_until("other SPIs", lambda: stand.causeway.spis() not in (None, before), 20)
        stand.ends_agree()
        stand.reaches()
    counters = stand.causeway.ike_counters()
    expect(counters["resource-refused"] == counters["resource-denied"] == 0, f"counters {counters}")
    expect(len([c for c in stand.causeway.show("ipsec") if c["state"] == "INSTALLED"]) == 1, "more than one CHILD SA")
    step("rekeyed from either side, and one still")
