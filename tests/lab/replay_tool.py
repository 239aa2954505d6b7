"""Held back and sent later: sends packets of a capture again, in any order; runs inside a lab host.

`python3 replay_tool.py PCAP TARGET SPI SEQUENCE...` sends the ESP packets in UDP to TARGET that have this SPI and these
sequence numbers, in the order of the words, each from its own source.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lab.capture import read  # noqa: E402  (the path is set above)
from lab.hostile import Raw  # noqa: E402


def main():
    path, target, spi, *wanted = sys.argv[1:]
    held = {p.esp[1]: p for p in read(path) if p.esp and p.destination == target and p.esp[0] == int(spi, 16)}
    raw = Raw()
    for number in wanted:
        packet = held[int(number)]
        raw.udp(packet.source, packet.sport, target, packet.dport, packet.payload)
        time.sleep(0.0002)
    print(f"{raw.sent} packets")


if __name__ == "__main__":
    main()
