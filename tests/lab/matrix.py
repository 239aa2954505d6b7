"""The results as tables: the matrix of peer, role and encapsulation, and one line for every other cell."""

import glob
import os
import platform
from dataclasses import dataclass

from . import case
from .headend import KINDS, TRANSPORTS
from .shell import run

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
# Columns of the matrix: heading, case, and how its cell is named for (peer, role, encapsulation).
COLUMNS = (
    ("every pair of values", "suites", "{0}-{1}-{2}"),
    ("with FRR", "main_job", "{0}-frr-{1}-{2}"),
    ("with BIRD 2", "main_job", "{0}-bird-{1}-{2}"),
)
PACKAGES = (
    ("strongSwan", "charon-systemd"), ("User-Mode Linux", "user-mode-linux"), ("FRR", "frr"), ("BIRD", "bird2"),
)


@dataclass
class Row:
    """One cell's end. `outcome` is passed, failed or why it is not run; `said` is its own line of figures."""

    case: str
    cell: str
    outcome: str
    seconds: float = 0.0
    said: str = ""

    def text(self):
        return f"**{self.outcome}**" if self.outcome == "failed" else self.said or self.outcome


def versions():
    """The peers and the kernels, as they are here; one line each."""
    found = [f"{name} {run(['dpkg-query', '-W', '-f', '${Version}', package], check=False).out or 'not installed'}"
             for name, package in PACKAGES]
    guests = [os.path.basename(place) for place in glob.glob("/usr/lib/uml/modules/*")]
    here = platform.release().split("-")[0]
    found += [f"guests: Linux {' '.join(guests)}", f"this machine: Linux {here}, {os.cpu_count()} processors"]
    return "".join(f"- {line}\n" for line in found)


def table(heads, lines):
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *lines)) + "\n"


def matrix(rows, of_peer):
    """The lines of the matrix: those cells of which some column was run, or cannot be; and the rows left over."""
    by_name = {(r.case, r.cell): r for r in rows}
    lines = []
    for kind, role, transport in of_peer:
        cells = [by_name.pop((of, name.format(kind, role, transport)), None) for _, of, name in COLUMNS]
        if any(cells):
            seconds = [f"{r.seconds:.0f}" for r in cells if r and r.seconds]
            texts = [r.text() if r else "-" for r in cells]
            lines.append([kind, role.replace("_", "-"), transport, *texts, " + ".join(seconds)])
    return lines, list(by_name.values())


def text(rows, jobs, full, total):
    """All of it; the run took `total` seconds with `jobs` cells at a time."""
    roles = case.load("main_job").ROLES
    cells = [(k, r.replace("-", "_"), t) for k in KINDS for r in roles for t in TRANSPORTS]
    lines, others = matrix(rows, cells)
    passed, failed = (sum(r.outcome == word for r in rows) for word in ("passed", "failed"))
    extent = ", `--full`" if full else ""
    said = (f"{passed} cells passed, {failed} failed{extent}; {total / 60:.0f} minutes, {jobs} cells at a time,\n"
            f"load average of the last quarter of an hour {os.getloadavg()[2]:.0f}.\n\n{versions()}")
    if lines:
        said += "\n" + table(["peer", "who dials", "encapsulation", *(head for head, _, _ in COLUMNS), "seconds"], lines)
    if others:
        rest = [[r.case, r.cell, r.text(), f"{r.seconds:.0f}"] for r in others]
        said += "\n" + table(["case", "cell", "result", "seconds"], rest)
    return said


def write(path, said):
    """Between the marks of a file that has them, else as the whole file."""
    try:
        with open(path) as file:
            old = file.read()
    except FileNotFoundError:
        old = ""
    if BEGIN in old and END in old:
        head, tail = old.split(BEGIN)[0], old.split(END, 1)[1]
        said = f"{head}{BEGIN}\n{said}{END}{tail}"
    with open(path, "w") as file:
        file.write(said)
