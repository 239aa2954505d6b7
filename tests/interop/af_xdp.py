"""Protocol 50 past the kernel's stack (`[esp] af_xdp`).

`pair`: two daemons on one link, both so: echoes of every size up to the largest that fits and one octet more, a bulk
transfer whole, either end's rekeying of both SAs without a packet lost or doubled, the other end under another link address
without help, with `show interfaces` counting nearly all past the stack; a reload that would change the key is
refused; `kill -9` leaves no program on the device, whoever starts again at once has the device again, and the other end the
tunnel, and so after a clean stop, which leaves no program either.
`kernel`: strongSwan with the kernel's ESP behind a router, by protocol 50, with the same echoes and both ends' rekeyings, and
then the router under another link address. `missing`: a device that is not there: the tunnel works by the raw sockets, and
`show interfaces` says why.
"""

import signal
from types import SimpleNamespace

from lab.case import Steps
from lab.causeway import PSK, Causeway
from lab.netns import link
from lab.shell import expect, wait_until
from lab.toml_text import Inline, merge
from lab.topology import AZURE, LAN_HOST
from lab.traffic import Probe, lossless, ping, transfer, until_answered

from .stand import Stand

ALONE = True
OUTER = ("203.0.113.1", "203.0.113.2")
INNER = ("10.20.0.1", "10.20.0.2")
OTHER = "02:00:00:00:77:0"


def cells(_full):
    return ["pair", "kernel", "missing"]


def run(lab, cell):
    {"pair": pair, "kernel": kernel, "missing": missing}[cell](lab, Steps())


def tree(side, devices):
    """One end of the pair."""
    return {
        "esp": {"af_xdp": devices},
        "router": {"id": OUTER[side]},
        "tunnel": {"azure": {
            "local": OUTER[side], "remote": OUTER[1 - side], "start": ("initiate", "respond")[side],
            "psk": Inline(file="azure.psk"), "esp": {"encapsulation": "never"},
            "interface": {"name": "vti0", "addresses": [f"{INNER[side]}/24"]},
        }},
    }


class Pair:
    def __init__(self, lab, devices=("wan0",)):
        self.hosts = [lab.namespace(name) for name in ("near", "far")]
        link(self.hosts[0], "wan0", f"{OUTER[0]}/24", self.hosts[1], "wan0", f"{OUTER[1]}/24")
        self.ends = [
            Causeway(SimpleNamespace(lab=lab, gateway=host), tree(side, list(devices)), host_name, secrets={"azure": PSK})
            for side, (host, host_name) in enumerate(zip(self.hosts, ("near", "far")))]
        for end in reversed(self.ends):
            end.start()
        self.wait_up()

    def wait_up(self):
        for end in self.ends:
            end.wait_up()

    def mtu(self):
        return self.ends[0].show("interfaces")["interfaces"][0]["mtu"]


def pair(lab, step):
    two = Pair(lab)
    near, far = two.ends
    for end in two.ends:
        expect_on(end)
    step("up, a program on either device, in the driver")
    echoes(two.hosts[0], INNER[1], two.mtu())
    step(f"echoes of every size up to {two.mtu()}, and too big beyond")
    transfer(two.hosts[0], two.hosts[1], INNER[1], 300_000_000)
    counted = counts(near)
    expect(counted["of-those-by-program"] > 10_000, f"{counted}")
    expect(counts(far)["past-the-stack"] > 100, f"{counts(far)}")
    beside = counted.get("no-way", 0)
    slow = beside / (counted["past-the-stack"] + beside)
    expect(slow < 0.1 and "lost" not in counted, f"{counted}")
    step(f"a transfer arrived whole: {counted}")
    rekeyings(near, Probe(two.hosts[0], INNER[0], two.hosts[1], INNER[1]), [near, far])
    step("both SAs rekeyed by either end, no packet lost or doubled")
    another_link_address(two.hosts[1], "wan0", two.hosts[0], INNER[1])
    # The first go by the kernel's stack, until the sender has heard of the address.
    for _ in range(8):
        before = counts(near)["past-the-stack"]
        ping(two.hosts[0], INNER[1], count=20, interval=0.05)
        past = counts(near)["past-the-stack"] - before
        if past >= 15:
            break
    expect(past >= 15, f"{counts(near)}")
    step("the other end under another link address, and past the stack again")
    near.write(merge(near.tree, {"esp": {"af_xdp": []}}))
    refused = near.client("reload", check=False)
    expect(refused.rc != 0 and "[esp] changed" in refused.out + refused.err, f"{refused.out}{refused.err}")
    near.write(tree(0, ["wan0"]))
    killed(two, step)


def killed(two, step):
    """`kill -9` and a clean stop leave no program."""
    near, far = two.ends
    near.kill()
    wait_until("no program after kill -9", lambda: not program_on(near), 20)
    for finish in (near.kill, near.stop, near.kill, near.stop):
        near.start()
        two.wait_up()
        expect_on(near)
        until_answered("echoes after the restart", two.hosts[0], INNER[1], 20)
        # The kernel frees the queue a moment later than the next daemon asks for it.
        finish()
    near.start()
    two.wait_up()
    expect_on(near)
    step("killed: no program left; started again at once: back")
    for end in (near, far):
        end.stop()
        expect(not program_on(end), f"{end.name} left its program")
    step("stopped: no program left")


def kernel(lab, step):
    stand = Stand(lab, "kernel", transport="native", changes={"esp": {"af_xdp": ["wan0"]}}).start()
    causeway = stand.causeway
    stand.ends_agree()
    expect(program_on(causeway), "no program on the device")
    for size in range(0, 1381, 92):
        ping(stand.lan, AZURE.host, count=1, size=size)
    stand.reaches()
    expect(counts(causeway)["past-the-stack"] > 10, f"{counts(causeway)}")
    step(f"up with strongSwan, echoes of every size: {counts(causeway)}")
    probe = Probe(stand.lan, LAN_HOST, stand.cloud, AZURE.host, pps=200).started()
    for rekey in (lambda: causeway.client("rekey", "azure", "--child"), stand.headend.charon.rekey_child):
        before = causeway.spis()
        rekey()
        wait_until("other SPIs", lambda b=before: causeway.spis() not in (None, b), 20)
        stand.ends_agree()
    lossless(probe)
    step("rekeyed from either side, no packet lost or doubled")
    another_link_address(stand.site.internet, "site0", stand.lan, AZURE.host)
    stand.reaches()
    step("the router under another link address")
    causeway.stop()
    expect(not program_on(causeway), "a program was left")


def missing(lab, step):
    two = Pair(lab, devices=("wan9",))
    for end in two.ends:
        why = device(end, "wan9")["offloads"][0]
        expect(not why["on"] and "there is no device wan9" in why["why"], f"{why}")
        expect(not program_on(end), "a program on another device")
    echoes(two.hosts[0], INNER[1], two.mtu())
    step("works by the raw sockets, and says why")
    for end in two.ends:
        end.process.send(signal.SIGTERM)
        expect(end.process.wait(10) == 0, f"{end.name} ended badly")


# -- what is looked at

def device(end, name="wan0"):
    """The line of a device in `show interfaces`."""
    return next(socket for socket in end.show("interfaces")["sockets"] if socket["name"] == f"xdp {name}")


def counts(end):
    """What went past the stack and what did not, by name."""
    return {count["name"]: count["count"] for count in device(end).get("counts", [])}


def expect_on(end):
    """AF_XDP is on, in the driver."""
    on = {offload["name"]: offload["on"] for offload in device(end)["offloads"] if offload["name"] != "frames"}
    expect(on == {"af_xdp": True, "native": True}, f"{end.name}: {device(end)}")
    expect(program_on(end), f"{end.name}: no program on the device")


def program_on(end):
    """Is a program on the WAN device?"""
    return "xdp" in end.host.ip("-d link show dev wan0").split("\n", 1)[0]


def echoes(host, target, mtu):
    """Every size of an IP packet up to the MTU answers, and one octet more does not fit."""
    for size in [*range(36, mtu - 1, 61), mtu]:
        ping(host, target, count=1, size=size - 28, df=True)
    expect(ping(host, target, count=1, size=mtu - 27, df=True, check=False, timeout=1) == 0, f"{mtu + 1} octets passed")


def rekeyings(near, probe, ends):
    """Either end's rekeyings of both SAs under traffic."""
    probe.started()
    for end in ends:
        for which in ("--child", "--ike"):
            def now(of=which):
                return near.spis() if of == "--child" else near.ike_spis()
            before = now()
            end.client("rekey", "azure", which)
            wait_until(f"other SPIs after rekey {which}", lambda b=before, n=now: n() not in (None, b), 20)
    lossless(probe)


def another_link_address(host, name, from_host, target):
    """Gives a device of the path another address; whoever sends to it finds out as any host would."""
    host.sysctl(f"net.ipv4.conf.{name}.arp_notify", 1)
    host.ip(f"link set {name} address {OTHER}1")
    until_answered("the path is back", from_host, target, 60)
