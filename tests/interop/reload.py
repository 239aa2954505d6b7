"""A reload touches only what changed. With 1,000 packets a second through the first tunnel: a second tunnel
is added and taken away, a prefix list and the MSS change, a file with an error is refused. Proven: nothing
lost, the first tunnel keeps its SPIs and its BGP session, a permitted prefix appears without a session reset,
the refused file moves nothing and says where its error is, and SIGHUP does what `reload` does.
"""

import copy
import signal

from lab.case import Steps
from lab.causeway import and_second
from lab.headend import HeadEnd
from lab.routing import Bgp
from lab.shell import expect, wait_until
from lab.strongswan import Ipsec
from lab.toml_text import Inline
from lab.topology import AZURE, LAN_HOST, SECOND
from lab.traffic import Probe, lossless, ping

from .stand import Stand

ALONE = True


def cells(_full):
    return ["libipsec"]


def established_count(causeway):
    return causeway.show("bgp", "summary")["peers"][0]["connectionsEstablished"]


def run(lab, _cell):
    step = Steps()
    stand = Stand(lab, bgp=Bgp(advertise=["172.16.0.0/22", "172.16.16.0/22", "192.168.1.0/24", "192.168.1.1/32"])).start()
    second = HeadEnd(stand.site, "libipsec", "bird", cloud=SECOND, ipsec=Ipsec(local_id=SECOND.outer), bgp=Bgp(), echo=False).start()
    causeway, gateway = stand.causeway, stand.site.gateway
    first = copy.deepcopy(causeway.tree)
    wait_until("the learned route", lambda: "vti0" in gateway.ip("route show 172.16.0.0/22"), 20)
    spis, sessions = causeway.spis(), established_count(causeway)
    probe = Probe(stand.lan, LAN_HOST, stand.cloud, AZURE.host).started()
    step("up, probe running")

    causeway.reload(and_second(first, stand.site, SECOND))
    causeway.wait_up(SECOND.name)
    ping(stand.lan, SECOND.host)
    step("second tunnel added, up and routed")

    tree = copy.deepcopy(causeway.tree)
    tree["prefix_list"]["azure-in"].append(Inline(seq=120, action="permit", prefix="172.16.16.0/22"))
    causeway.reload(tree)
    wait_until("the newly permitted prefix", lambda: "vti0" in gateway.ip("route show 172.16.16.0/22"), 20)
    tree["prefix_list"]["azure-in"].pop()
    causeway.write(tree)
    causeway.process.send(signal.SIGHUP)
    wait_until("the prefix refused again after SIGHUP", lambda: not gateway.ip("route show 172.16.16.0/22").strip(), 20)
    step("a prefix list changed and changed back")

    tree["tunnel"]["azure"]["interface"]["mss"] = 1200
    causeway.reload(tree)
    mss = lambda: [i["mss"] for i in causeway.show("interfaces")["interfaces"] if i["tunnel"] == "azure"]
    wait_until("the new MSS", lambda: mss() == [1200], 20)
    step("MSS changed")

    with open(causeway.file) as file:
        good = file.read()
    with open(causeway.file, "w") as file:
        file.write(good.replace('aes256-sha1-modp1024', 'aes256-sha1-modp1025', 1).replace("remote_ts", "remote_st", 1))
    refused = causeway.client("reload", check=False)
    said = refused.out + refused.err
    expect(refused.rc != 0, "a bad file was taken")
    expect("modp1025" in said and "remote_st" in said and "remote_ts" in said, f"the refusal does not say what and what instead: {said}")
    expect("causeway.toml:" in said, f"the refusal names no place: {said}")
    with open(causeway.file, "w") as file:
        file.write(good)
    step("a bad file refused, every error named")

    causeway.reload({**first, "control": {}})
    wait_until("the second tunnel gone", lambda: "vti1" not in gateway.ip("-o link"), 20)
    wait_until("the second peer's SAs gone", lambda: not second.charon.sas(), 20)
    step("second tunnel removed")
    expect(causeway.spis() == spis, "the first tunnel did not keep its SPIs")
    expect(established_count(causeway) == sessions, "the first BGP session was reset")
    there, back = lossless(probe)
    step(f"nothing lost: {there}; {back}")
