"""How long a handshake takes: from the command to the last message, as the wire shows it.

Run as a program inside a namespace it prints one line of JSON for each IKE message it sees: time, exchange,
whether it is a response.
"""

import json
import os
import socket
import statistics
import struct
import sys
import time

HERE = os.path.abspath(__file__)
INIT, AUTH = 34, 35


def watch(device):
    """Prints IKE messages on `device` as they pass, both ways."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    tap.bind((device, 3))
    tap.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
    print("ready", flush=True)
    while True:
        packet, control, _, _ = tap.recvmsg(2048, 128)
        stamp = time.time()
        for level, kind, data in control:
            if (level, kind) == (socket.SOL_SOCKET, 35):
                seconds, nanos = struct.unpack("qq", data[:16])
                stamp = seconds + nanos / 1e9
        head = (packet[0] & 15) * 4
        if packet[9] != 17 or len(packet) < head + 36:
            continue
        ports, body = struct.unpack("!HH", packet[head:head + 4]), packet[head + 8:]
        if 4500 in ports:
            if body[:4] != bytes(4):
                continue
            body = body[4:]
        elif 500 not in ports:
            continue
        if len(body) >= 28 and body[17] == 0x20:
            print(json.dumps({"at": stamp, "exchange": body[18], "response": bool(body[19] & 0x20)}), flush=True)


def measure(contender, rounds):
    """Seconds of `rounds` handshakes: [(from the command, on the wire)]."""
    from lab.shell import Failed, wait_until

    tap = contender.ends[0].spawn(f"watch-{contender.name}", [sys.executable, HERE, "wan0"])
    wait_until("the watcher", lambda: "ready" in tap.output(), 10, 0.02)
    results = []
    for _ in range(rounds):
        contender.down()
        time.sleep(0.3)
        before = len(tap.output().splitlines())
        began = time.time()
        contender.up()

        def done(before=before):
            seen = [json.loads(line) for line in tap.output().splitlines()[before:]]
            first = [m["at"] for m in seen if m["exchange"] == INIT and not m["response"]]
            last = [m["at"] for m in seen if m["exchange"] == AUTH and m["response"]]
            return (first[0], last[0]) if first and last else None

        first, last = wait_until("IKE_AUTH answered", done, 10, 0.02)
        results.append((last - began, last - first))
    tap.stop()
    if not results:
        raise Failed("no handshake")
    return results


def table(lab, binary, rounds, quick):
    """Lines of a table: who dials whom with which key exchange."""
    from . import ends, others

    swan_ike = "aes256-sha256-prfsha256-curve25519"
    rows = [["handshake (IKE_SA_INIT and IKE_AUTH, PSK)", "on the wire", "from the command", "rounds"], ["---"] * 4]

    def causeway(name, ike):
        return ends.Causeway(lab, name, binary, "aes256gcm16", "always", start="initiate", ike=ike)

    def mixed(name, ike):
        return others.Mixed(lab, name, binary, "aes256gcm16", "always", ike=ike)

    cases = [
        ("causeway to causeway, curve25519", causeway("hs-25519", swan_ike)),
        ("causeway to causeway, modp2048", causeway("hs-2048", "aes256-sha256-modp2048")),
        ("causeway to causeway, ecp384", causeway("hs-384", "aes256gcm16-prfsha384-ecp384")),
        ("causeway to strongSwan, curve25519", mixed("hs-mixed", swan_ike)),
        ("causeway to strongSwan, modp2048", mixed("hs-mixed2", "aes256-sha256-modp2048")),
        ("strongSwan to strongSwan, curve25519", others.Libipsec(lab, "hs-swan", "aes256gcm16", ike=swan_ike)),
        ("strongSwan to strongSwan, modp2048", others.Libipsec(lab, "hs-swan2", "aes256gcm16", ike="aes256-sha256-modp2048")),
    ]
    for title, contender in [c for c in cases if not quick or "curve25519" in c[0]]:
        contender.start()
        times = measure(contender, rounds)
        command, wire = (statistics.median(t[i] * 1000 for t in times) for i in (0, 1))
        rows.append([title, f"{wire:.1f} ms", f"{command:.1f} ms", str(rounds)])
    return rows


if __name__ == "__main__":
    watch(sys.argv[1])
