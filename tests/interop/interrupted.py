"""The laboratory itself when it is interrupted or a cell fails: `tests/run` with two cells at a time, each with a
guest, and a third that waits. Ended by Ctrl-C (SIGINT to the terminal's group, twice), by SIGTERM to the script alone,
each as soon as there is something to clean up and again when everything runs, and with a program that ends at once, so
that each cell fails. Proven: the exit status says so, no further cell was started, and there is no namespace, process,
mount, folder or temporary file left.
"""

import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile

from lab.case import Steps
from lab.causeway import BINARY, REPOSITORY
from lab.shell import expect, run as command, wait_until

# Two that take their time, so that the third has not begun.
CASES = ("ipv6:kernel-over6", "ipv6:kernel-over4", "first_packet:libipsec-bird")


def cells(_full):
    return ["ctrl-c", "sigterm", "failure"]


def run(lab, cell):
    step = Steps()
    if cell == "failure":
        with Nested(lab, binary=shutil.which("false")) as nested:
            expect(nested.wait() == 1, "cells that failed do not show in the status")
            expect(len(re.findall(r"^FAIL ", nested.said(), re.M)) == 2, lambda: f"not both failed:\n{nested.said()[-2000:]}")
            nested.nothing_left(step)
        return
    for moment in ("early", "late"):
        with Nested(lab, cases=CASES) as nested:
            wait_until("two cells run", {"early": nested.two_begun, "late": nested.all_runs}[moment], 60, 0.02)
            if cell == "ctrl-c":
                os.killpg(nested.child.pid, signal.SIGINT)
                os.killpg(nested.child.pid, signal.SIGINT)
            else:
                nested.child.terminate()
            status = nested.wait()
            expect(status in (130, 143), f"ended with {status}:\n{nested.said()[-2000:]}")
            expect(len(nested.labs()) == 2, f"further cells were started: {nested.labs()}")
            step(f"{cell}, {moment}")
            nested.nothing_left(step)


class Nested:
    """A run of tests/run with a place of its own for its laboratories, temporary files and output."""

    def __init__(self, lab, binary=BINARY, cases=CASES[:2]):
        self.seen = set()
        self.root = tempfile.mkdtemp(dir=lab.directory("nested"))
        self.place, self.log = (os.path.join(self.root, name) for name in ("labs", "log"))
        os.mkdir(os.path.join(self.root, "tmp"))
        environment = {**os.environ, "CAUSEWAY_BIN": binary, "CAUSEWAY_LAB_ROOT": self.place, "TMPDIR": os.path.join(self.root, "tmp")}
        with open(self.log, "w") as log:
            self.child = subprocess.Popen(
                [f"{REPOSITORY}/tests/run", "--jobs", "2", *cases], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=environment, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.terminate()
            self.child.wait()
        # Should a cell have outlived it, it goes now.
        for pid, line in processes():
            if "lab --cell" in line and self.place in line:
                os.kill(int(pid), signal.SIGTERM)
        wait_until("what outlived the run ends", lambda: not self.commands(), 60)

    def said(self):
        with open(self.log, errors="replace") as file:
            return file.read()

    def labs(self):
        """Names of all laboratories this run has had."""
        self.seen |= {os.path.basename(place) for place in glob.glob(f"{self.place}/*")}
        return self.seen

    def two_begun(self):
        begun = [name for name in self.labs() if namespaces(name)]
        return len(begun) == 2

    def all_runs(self):
        """Two daemons and two guests run."""
        self.labs()
        return len(glob.glob(f"{self.place}/*/gw-causeway-1.log")) == 2 and sum("linux.uml" in c for c in self.commands()) >= 2

    def wait(self):
        wait_until("the run ends", lambda: (self.labs(), self.child.poll() is not None)[1], 120, 0.05)
        return self.child.returncode

    def commands(self):
        """What runs and belongs to this run, by the place it was told or by the namespace it is in."""
        inside = {pid for name in self.labs() for ns in namespaces(name) for pid in command(["ip", "netns", "pids", ns], check=False).out.split()}
        return [line for pid, line in processes() if pid in inside or self.place in line]

    def nothing_left(self, step):
        left = {
            "namespaces": [ns for name in self.labs() for ns in namespaces(name)],
            "processes": self.commands() + self.in_its_group(),
            "folders": glob.glob(f"{self.place}/*") + [p for name in self.labs() for p in glob.glob(f"/etc/netns/{name}*")],
            "temporary files": os.listdir(os.path.join(self.root, "tmp")),
            "mounts": [line for line in mounts() if self.root in line or any(name in line for name in self.labs())],
        }
        expect(self.labs(), "no laboratory was seen")
        expect(not any(left.values()), lambda: f"left behind: { {what: some[:5] for what, some in left.items() if some} }")
        step(f"nothing of {len(self.labs())} cells is left")

    def in_its_group(self):
        return command(["ps", "-o", "args=", "-s", str(self.child.pid)], check=False).out.splitlines()


def namespaces(name):
    return [line.split()[0] for line in command(["ip", "netns", "list"]).out.splitlines() if line.startswith(f"{name}-")]


def processes():
    """(pid, command line with its environment's words of the laboratory) of everything that runs."""
    for place in glob.glob("/proc/[0-9]*"):
        try:
            with open(f"{place}/cmdline", "rb") as line, open(f"{place}/environ", "rb") as words:
                yield os.path.basename(place), (line.read() + b"\0" + words.read()).replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


def mounts():
    with open("/proc/self/mounts") as file:
        return file.read().splitlines()
