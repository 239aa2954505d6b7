"""What the operator holds, with a tunnel up: every page as text and as JSON, `capture` with a ping inside it
as any pcapng reader sees it, `clear` of each kind and the tunnel's return, refusal of unknown names with the
known ones, a second start on a live socket refused and a dead socket replaced, no secret in log or page.
"""

import json

from lab.case import Steps
from lab.causeway import BINARY, PSK
from lab.shell import expect, wait_until
from lab.topology import AZURE
from lab.traffic import ping

from .stand import Stand

PAGES = [
    ("status",), ("ike",), ("ipsec",), ("interfaces",), ("routes",), ("bgp",), ("bgp", "summary"), ("bgp", "neighbors"),
    ("bgp", "neighbors", "azure"), ("bgp", "neighbors", AZURE.peering), ("bgp", "neighbors", "azure", "received-routes"),
    ("bgp", "neighbors", "azure", "routes"), ("bgp", "neighbors", "azure", "advertised-routes"), ("bgp", "172.16.0.0/22"), ("log",),
]


def cells(_full):
    return ["pages"]


def run(lab, _cell):
    step = Steps()
    stand = Stand(lab).start()
    causeway = stand.causeway
    stand.reaches()
    wrong = []
    for page in PAGES:
        text = causeway.client("show", *page, check=False)
        values = causeway.client("show", *page, "--json", check=False)
        if text.rc or values.rc or not text.out.strip():
            wrong.append(f"show {' '.join(page)}: {text.rc} {values.rc} {text.err}{values.err}")
            continue
        try:
            json.loads(values.out)
        except ValueError:
            wrong.append(f"show {' '.join(page)} --json is no JSON")
        if PSK in text.out + values.out:
            wrong.append(f"show {' '.join(page)} shows the secret")
    expect(not wrong, lambda: "\n".join(wrong))
    sa = causeway.child()
    expect(sa["inbound"]["packets"] > 0 and sa["outbound"]["packets"] > 0, f"nothing counted: {sa}")
    expect(sa["rekey_in"] and sa["expires_in"] and sa["rekey_in"] < sa["expires_in"] <= 27000, f"times: {sa}")
    expect([r["prefix"] for r in causeway.show("bgp", "neighbors", "azure", "advertised-routes")["routes"]] == ["192.168.1.0/24"],
           "advertised-routes is not what the head-end got")
    step(f"{len(PAGES)} pages, text and JSON")

    path = lab.path("inner.pcapng")
    sniffer = stand.site.gateway.spawn("capture", [BINARY, "capture", "azure", "-w", path, "-c", "6", "--socket", causeway.socket])
    wait_until("the capture ends after six packets", lambda: ping(stand.lan, AZURE.host, count=2) and not sniffer.alive(), 15)
    read = stand.site.gateway.run(["tshark", "-r", path, "-n"], timeout=30).out
    expect("192.168.1.100" in read and "172.16.1.10" in read and "ICMP" in read, f"tshark reads:\n{read}")
    step("capture, read by tshark")

    before = causeway.spis()
    causeway.client("clear", "ipsec", "azure")
    wait_until("another CHILD SA", lambda: causeway.spis() not in (None, before), 20)
    causeway.wait_up()
    sessions = causeway.show("bgp", "summary")["peers"][0]["connectionsEstablished"]
    for how in (("soft", "in"), ("soft", "out")):
        causeway.client("clear", "bgp", "azure", *how)
    expect(causeway.show("bgp", "summary")["peers"][0]["connectionsEstablished"] == sessions, "a soft clear reset the session")
    causeway.client("clear", "bgp", "azure")
    wait_until("another BGP session", lambda: causeway.show("bgp", "summary")["peers"][0]["connectionsEstablished"] > sessions, 40)
    causeway.wait_up()
    step("cleared and came back")

    for words in (("up", "azur"), ("rekey", "nobody"), ("clear", "bgp", "azur")):
        done = causeway.client(*words, check=False)
        expect(done.rc != 0 and "azure" in done.out + done.err, f"{' '.join(words)}: {done}")
    again = stand.site.gateway.run([BINARY, "run", "--config", causeway.file], check=False, timeout=10)
    expect(again.rc not in (0, 124), f"a second daemon started on a live socket: {again}")
    expect(causeway.up(), "the second start hurt the first daemon")
    causeway.kill()
    causeway.start()
    causeway.wait_up(timeout=60)
    step("second start refused, dead socket replaced")
    expect(PSK not in causeway.process.output(), "the secret is in the log")
