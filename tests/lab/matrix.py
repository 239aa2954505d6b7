"""The results as tables: the matrix of peer, role and encapsulation, and one line for every other cell."""

import glob
import os
import platform
import re
import time
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
# Of the table of cells; those of the run that made the whole have no date of their own.
HEADS = ("case", "cell", "result", "seconds", "by itself on")
LINE = re.compile(r"^\| (\w+) \| ([\w-]+) \| .* \| \d+ \|( [\d-]{10} \|)?\n", re.MULTILINE)
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

    def cells(self):
        return self.case, self.cell, self.text(), f"{self.seconds:.0f}"


def versions():
    """The peers and the kernels, as they are here; one line each."""
    found = [f"{name} {run(['dpkg-query', '-W', '-f', '${Version}', package], check=False).out or 'not installed'}"
             for name, package in PACKAGES]
    guests = [os.path.basename(place) for place in glob.glob("/usr/lib/uml/modules/*")]
    here = platform.release().split("-")[0]
    found += [f"guests: Linux {' '.join(guests)}", f"this machine: Linux {here}, {os.cpu_count()} processors"]
    return "".join(f"- {line}\n" for line in found)


def today():
    return time.strftime("%Y-%m-%d", time.gmtime())


def line(cells):
    return "| " + " | ".join(cells) + " |\n"


def table(heads, lines):
    return "".join(map(line, (heads, ["---"] * len(heads), *lines)))


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
    said = (f"{today()}: {passed} cells passed, {failed} failed{extent}; {total / 60:.0f} minutes, {jobs} cells at a time,\n"
            f"load average of the last quarter of an hour {os.getloadavg()[2]:.0f}.\n\n{versions()}")
    if lines:
        said += "\n" + table(["peer", "who dials", "encapsulation", *(head for head, _, _ in COLUMNS), "seconds"], lines)
    if others:
        said += "\n" + table(HEADS, (r.cells() for r in others))
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


def lines_of_cells(text):
    """Those of the table of cells, as matches."""
    start = text.find(line(HEADS))
    return list(LINE.finditer(text, start, text.index(END))) if start >= 0 else []


def why_not(path, cases):
    """Why the cells of these cases cannot be put into the table of a file by themselves; nothing if they can."""
    with open(path) as file:
        said = file.read().partition(BEGIN)[2].partition(END)[0]
    of_matrix = [name for name in cases if name in {of for _, of, _ in COLUMNS}]
    if of_matrix:
        return f"{' and '.join(of_matrix)}: the matrix is of one run, which --table writes"
    if not lines_of_cells(said + END):
        return f"{path} has no table of cells"
    if versions() not in said:
        return f"the table of {path} is of other peers or kernels than there are here:\n{versions()}"
    return ""


def put(path, rows):
    """Puts these rows into the table of a file: in the place of those of before, new ones behind their case's last.

    Each has the date of today. Those of cells that are no more go.
    """
    with open(path) as file:
        text = file.read()
    old = lines_of_cells(text)
    there = {(name, cell if isinstance(cell, str) else cell[0]) for name in case.known() for cell in case.load(name).cells(True)}
    lines = {found.group(1, 2): found[0] for found in old if found.group(1, 2) in there}
    lines |= {(r.case, r.cell): line((*r.cells(), today())) for r in rows}
    places = {name: place for place, name in enumerate(dict.fromkeys(name for name, _ in lines))}
    ordered = sorted(lines, key=lambda cell: places[cell[0]])
    with open(path, "w") as file:
        file.write(text[:old[0].start()] + "".join(lines[cell] for cell in ordered) + text[old[-1].end():])
