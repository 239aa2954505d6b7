"""`causeway demo` on this machine, whole, interrupted and kept. Proven: `run`: exit 0, every line of the timeline in
its order from IKE_SA_INIT to the first packet, the routes, every echo answered, a figure of each direction. `sigint`, `sigterm`:
ended while IKE begins, while BGP begins, and in the middle of a TCP stream, it says so and exits with an error.
`kept`: the sockets, files, programs and hosts it names are there and the commands it prints work, a second one is refused with the
way out, and the command that removes it does. `kept-sigint`: interrupted before it is up it keeps nothing. After each:
no namespace, process, file, device, route, policy rule or nft rule is there that was not there before.
"""

import glob
import os
import re
import signal
import subprocess
import threading
from contextlib import contextmanager

from lab.case import Steps
from lab.causeway import BINARY
from lab.shell import expect, run as call, wait_until

# Who says what in the timeline, in this order.
TIMELINE = [
    ("site", r"dialling 192\.0\.2\.1 from 203\.0\.113\.1: IKE_SA_INIT"),
    ("headend", r"IKE is up with 203\.0\.113\.1"),
    ("site", r"IKE is up with 192\.0\.2\.1"),
    ("site", r"CHILD SA up: aes256-sha1 as protocol 50, out [0-9a-f]{8}"),
    ("demo", r"IKE SA 203\.0\.113\.1 ⇄ 192\.0\.2\.1"),
    ("demo", r"CHILD SA through vti0"),
    ("site", r"neighbor azure 172\.16\.0\.254: BGP Open\w+ -> Established"),
    ("demo", r"BGP Established, the tunnel is up on both sides"),
    ("demo", r"routes installed: 172\.16\.0\.0/22 dev vti0 proto 179 metric 20, and the way back"),
    ("demo", r"first packet lan → cloud and back: \d+\.\d\d ms"),
]
# Behind it, in this order.
FIGURES = [
    r"lan → cloud  20 of 20 echoes, (\d+\.\d\d)/(\d+\.\d\d)/(\d+\.\d\d) ms",
    r"cloud → lan  20 of 20 echoes, (\d+\.\d\d)/(\d+\.\d\d)/(\d+\.\d\d) ms",
    r"lan → cloud  one TCP stream, both ends on this machine: (\d+\.\d\d) Gbit/s",
    r"cloud → lan  one TCP stream, both ends on this machine: (\d+\.\d\d) Gbit/s",
    r"site\$ causeway show status",
    r"azure +UP ",
    r"\*> +172\.16\.0\.0/22 .* accepted by seq 110",
]
# Where an interrupt falls: after the line with these words.
STAGES = ["IKE_SA_INIT", "BGP Idle -> Active", "cloud → lan  20 of 20 echoes"]
MARK = "CAUSEWAY_LAB_DEMO"

# A demo that is kept has names that everybody sees.
ALONE = True


def cells(_full):
    return ["run", "sigint", "sigterm", "kept", "kept-sigint"]


def run(lab, cell):
    step = Steps()
    temporary = lab.directory("tmp")
    {"run": whole, "sigint": interrupted, "sigterm": interrupted, "kept": kept, "kept-sigint": kept_interrupted}[cell](
        Ground(lab, temporary), step, getattr(signal, cell.rpartition("-")[2].upper(), None))


class Ground:
    """Where demos run: a folder for temporary files, a mark on their processes, and what was there before."""

    def __init__(self, lab, temporary):
        self.temporary = temporary
        self.environment = {**os.environ, "TMPDIR": temporary, MARK: lab.name}
        # A namespace of its own shows what a demo does to the host it runs on; nsenter, so that it keeps the host's mounts.
        self.host = lab.namespace("demo")
        self.inside = ["nsenter", f"--net=/run/netns/{self.host.name}"]
        self.mark = f"{MARK}={lab.name}".encode()
        self.before = self.state()
        lab.on_close(self.end_all)

    def begin(self, *words):
        return subprocess.Popen([*self.inside, BINARY, "demo", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, env=self.environment)

    def whole(self, *words):
        return call([*self.inside, BINARY, "demo", *words], check=False, timeout=120, env=self.environment)

    def processes(self):
        """Those that a demo of this ground started, itself included."""
        found = []
        for place in glob.glob("/proc/[0-9]*/environ"):
            try:
                with open(place, "rb") as file:
                    if self.mark in file.read().split(b"\0"):
                        found.append(int(place.split("/")[2]))
            except OSError:
                pass
        return found

    def end_all(self):
        """Whatever a failed cell left."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        for name in named() - self.before["namespaces"]:
            call(["ip", "netns", "del", name], check=False)

    def state(self):
        return {
            "namespaces": named(),
            "files": sorted(os.listdir(self.temporary)),
            "processes": self.processes(),
            "links": re.findall(r"^\d+: (\S+)", self.host.ip("-o link"), re.M),
            "routes": self.host.ip("route show table all") + self.host.ip("-6 route show table all"),
            "rules": self.host.ip("rule show") + self.host.ip("-6 rule show"),
            "nft": self.host.run(["nft", "list", "ruleset"]).out,
            "forwarding": self.host.run(["sysctl", "-n", "net.ipv4.ip_forward"]).out,
        }

    def nothing_left(self):
        def same():
            now = self.state()
            return {key: now[key] for key in now if now[key] != self.before[key]}
        try:
            wait_until("nothing is left", lambda: not same(), 20)
        except AssertionError:
            raise AssertionError(f"left behind: {same()}") from None


def named():
    """The demo's hosts as `ip netns` knows them."""
    return {name for name in os.listdir("/run/netns") if name.startswith("causeway-demo-")}


def in_order(text):
    """Every line of the timeline, then the figures, each behind the one before; times never run backwards."""
    # The gateways' lines and the demo's own are each in order; the demo looks every 10 ms and says a thing when it has seen it.
    places, times = {}, {}
    for who, words in TIMELINE:
        group = who == "demo"
        found = re.compile(rf"^ +(\d+\.\d{{3}}) s  {who} +{words}", re.M).search(text, places.get(group, 0))
        expect(found, f"no line {who}: {words} at its place:\n{text}")
        expect(float(found[1]) >= times.get(group, 0.0), f"the time of {words} runs backwards:\n{text}")
        expect(not words.startswith("BGP") or float(found[1]) >= times[False], f"{words} is said before it happened:\n{text}")
        places[group], times[group] = found.start(), float(found[1])
    place = places[True]
    for words in FIGURES:
        found = re.compile(words).search(text, place)
        expect(found, f"nothing like {words!r} at its place:\n{text}")
        expect(all(float(figure) > 0 for figure in found.groups()), f"a figure of nothing: {found[0]}")
        place = found.end()


def whole(ground, step, _signal):
    done = ground.whole()
    expect(done.rc == 0, str(done))
    expect(not done.err, f"said as an error: {done.err}")
    in_order(done.out)
    expect(not re.search(r" s  \S+ +(ERROR|.*BGP \S+ -> Idle)", done.out), f"something went wrong on the way:\n{done.out}")
    ground.nothing_left()
    step("the whole demo")


@contextmanager
def until(demo, words):
    """Reads what a demo says up to `words`, then whatever follows; gives both."""
    heard, reached = [], threading.Event()

    def listen():
        for line in demo.stdout:
            heard.append(line)
            if words in line:
                reached.set()
    listener = threading.Thread(target=listen)
    listener.start()
    try:
        wait_until(f"the demo says {words!r}", lambda: reached.is_set() or demo.poll() is not None, 40, 0.002)
        expect(reached.is_set(), lambda: f"it never said {words!r}: {''.join(heard)}")
        yield heard
    finally:
        try:
            demo.wait(20)
        finally:
            listener.join(5)


def interrupted(ground, step, number):
    for words in STAGES:
        demo = ground.begin()
        with until(demo, words) as heard:
            expect(len(ground.processes()) >= 3, "the demo and its two gateways are not there")
            demo.send_signal(number)
        text = "".join(heard)
        expect(demo.returncode == 1 and "causeway demo: interrupted" in text, f"status {demo.returncode}:\n{text}")
        expect("received routes" not in text, f"it went on to its end:\n{text}")
        ground.nothing_left()
        step(f"ended after {words!r}, nothing left")


def kept(ground, step, _signal):
    done = ground.whole("--keep")
    expect(done.rc == 0, str(done))
    in_order(done.out)
    said = done.out.partition("Kept. To explore:")[2]
    site, headend = re.search(r"export CAUSEWAY_SOCKET=(\S+) +# or (\S+)", said).groups()
    folder = re.search(r"files and logs: (\S+)", said)[1]
    remove = re.search(r"To remove it all:\n +(.*)", said)[1]
    expect(named() - ground.before["namespaces"] == {f"causeway-demo-{n}" for n in ("lan", "site", "internet", "headend", "cloud")}, str(named()))
    expect(len(ground.processes()) == 2, f"processes that run on: {ground.processes()}")
    expect({"site.toml", "headend.toml", "site.log", "headend.log", "azure.psk"} <= set(os.listdir(folder)), str(os.listdir(folder)))
    step("kept")
    explore(ground, said, site, headend)
    step("the commands it prints work")
    again = ground.whole("--keep")
    expect(again.rc == 1 and remove in again.out + again.err, f"a second one: {again}")
    beside = ground.whole()
    expect(beside.rc == 0, f"one that is not kept, beside it: {beside}")
    expect(len(ground.processes()) == 2 and "UP" in show(ground, site, "status"), "the first one suffered")
    step("a second is refused, one that is not kept works beside it")
    shell(ground, remove)
    ground.nothing_left()
    step("removed, nothing left")


def explore(ground, said, site, headend):
    """Word for word, each with an end."""
    for socket, tunnel in ((site, "azure"), (headend, "site")):
        page = show(ground, socket, "status")
        expect(re.search(rf"^{tunnel} +UP ", page, re.M), f"{socket}: {page}")
    # A given --socket has the last word over the environment's.
    expect(re.search(r"^site +UP ", show(ground, site, "status", "--socket", headend), re.M), "--socket does not override")
    ping = re.search(r"ip netns exec causeway-demo-lan ping \S+", said)[0]
    capture = re.search(r"\S+ capture azure \| tcpdump -r -", said)[0]
    stream = subprocess.Popen(["sh", "-c", f"exec {ping} -i 0.2"], stdout=subprocess.DEVNULL, env=ground.environment)
    try:
        seen = shell(ground, f"export CAUSEWAY_SOCKET={site}\n{capture} -n -c 4")
    finally:
        stream.terminate()
        stream.wait(5)
    expect("172.16.1.10" in seen and "ICMP echo re" in seen, f"the capture shows {seen}")
    # It waits for the last answer as long as it did between two requests.
    counted = shell(ground, f"{ping} -c 3 -i 2")
    expect(" 0% packet loss" in counted, f"the LAN host does not reach the cloud: {counted}")


def show(ground, socket, *words):
    """A page by CAUSEWAY_SOCKET alone."""
    return call([BINARY, "show", *words], env={**ground.environment, "CAUSEWAY_SOCKET": socket}).out


def shell(ground, words):
    done = call(["sh", "-ec", words], check=False, env=ground.environment, timeout=30)
    expect(done.rc == 0, f"`{words}` fails: {done}")
    return done.out


def kept_interrupted(ground, step, number):
    for words in STAGES:
        demo = ground.begin("--keep")
        with until(demo, words) as heard:
            demo.send_signal(number)
        expect(demo.returncode == 1 and "Kept." not in "".join(heard), "".join(heard))
        ground.nothing_left()
        step(f"ended after {words!r}, nothing kept")
