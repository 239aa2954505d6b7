"""`causeway demo` on this machine: exit 0, a timeline from the first IKE message to the first packet, routes,
a figure, and no namespace, device or process of it left.
"""

from lab.case import Steps
from lab.causeway import BINARY
from lab.shell import expect, run as call


def cells(_full):
    return ["run"]


def run(_lab, _cell):
    step = Steps()
    before = state()
    done = call([BINARY, "demo"], check=False, timeout=180)
    expect(done.rc == 0, str(done))
    for word in ("IKE_SA_INIT", "Established", "172.16.0.0/22"):
        expect(word in done.out, f"the demo does not show {word}:\n{done.out}")
    after = state()
    expect(after == before, f"left behind: {after} after {before}")
    step("demo")


def state():
    """Namespaces that are not of a run of the lab, and this machine's devices."""
    spaces = {l.split()[0] for l in call(["ip", "netns", "list"]).out.splitlines() if not l.startswith("cw")}
    return spaces, {l.split(":")[1].strip() for l in call(["ip", "-o", "link"]).out.splitlines()}
