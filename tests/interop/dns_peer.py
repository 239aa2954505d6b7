"""A peer given by its DNS name: the name is looked up again on each dial. First it is unknown, then it leads to
an address where nobody answers, then to the head-end. Proven: `name-unknown`, then `peer-silent` with that
address, then up, without a restart or a reload.
"""

import os
import shutil

from lab.case import Steps
from lab.shell import wait_until
from lab.toml_text import Inline
from lab.topology import AZURE
from lab.traffic import PYTHON

from .stand import Stand

NAME = "head.example.net"
SERVER = """
import socket, struct, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(('203.0.113.254', 53))
while True:
    query, who = sock.recvfrom(2000)
    try:
        address = open(sys.argv[1]).read().strip()
    except OSError:
        address = ''
    end = query.index(b'\\0', 12) + 5
    kind = struct.unpack('!H', query[end - 4:end - 2])[0]
    answer = b''
    if address and kind == 1:
        answer = b'\\xc0\\x0c' + struct.pack('!HHIH', 1, 1, 0, 4) + socket.inet_aton(address)
    flags = 0x8180 if address else 0x8183
    sock.sendto(query[:2] + struct.pack('!HHHHH', flags, 1, 1 if answer else 0, 0, 0) + query[12:end] + answer, who)
"""


def cells(_full):
    return ["changing"]


def run(lab, _cell):
    step = Steps()
    quick = {"tunnel": {"azure": {"remote": NAME, "ike": {"dpd": Inline(delay="2s", timeout="3s")}}}}
    stand = Stand(lab, changes=quick)
    place = f"/etc/netns/{stand.site.gateway.name}"
    os.makedirs(place)
    lab.on_close(lambda: shutil.rmtree(place, ignore_errors=True))
    with open(f"{place}/resolv.conf", "w") as file:
        file.write("nameserver 203.0.113.254\noptions timeout:1 attempts:1\n")
    record = lab.path("record")
    stand.site.internet.spawn("dns", [PYTHON, "-c", SERVER, record])
    stand.headend.start()
    stand.causeway.start()
    wait_until("name-unknown", lambda: stand.causeway.why()[0] == "name-unknown", 20)
    step("the name is unknown, and said so")
    tell(record, "192.0.2.200")
    wait_until("peer-silent", lambda: stand.causeway.why()[0] in ("peer-silent", "peer-refused"), 60)
    step("leads to nobody")
    tell(record, AZURE.outer)
    stand.causeway.wait_up(timeout=90)
    stand.reaches(count=1)
    step("leads to the head-end, up")


def tell(record, address):
    with open(record + ".new", "w") as file:
        file.write(address)
    os.replace(record + ".new", record)
