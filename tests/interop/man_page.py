"""The man page that the Debian package installs. Proven: groff, with every warning on, has nothing to say of it; lexgrog
finds its name and what it is, as `apropos` does; `man -l` renders it without a word on standard error, with a section for each
verb; and no line is wider than a terminal. Every file of the package that the README or the unit names is in it.
"""

import os
import re

from lab.case import Steps
from lab.causeway import BINARY, REPOSITORY
from lab.shell import expect, run as call

VERBS = ["run", "check", "demo", "show", "up", "down", "rekey", "clear", "reload", "capture"]
FILES = ["usr/bin/causeway", "lib/systemd/system/causeway.service", "usr/lib/sysctl.d/60-causeway.conf",
         "usr/share/doc/causeway/README.md", "usr/share/doc/causeway/configuration.md", "usr/share/doc/causeway/copyright",
         "usr/share/doc/causeway/examples/azure.toml", "usr/share/doc/causeway/examples/aws.toml"]


def cells(_full):
    return ["package"]


def run(lab, _cell):
    step = Steps()
    out, root = lab.directory("out"), lab.directory("root")
    call([os.path.join(REPOSITORY, "packaging/build-deb"), out], env={**os.environ, "CAUSEWAY_BIN": BINARY}, timeout=120)
    (package,) = os.listdir(out)
    call(["dpkg-deb", "-x", os.path.join(out, package), root])
    missing = [file for file in FILES if not os.path.isfile(os.path.join(root, file))]
    expect(not missing, f"not in the package: {missing}")
    page = os.path.join(root, "usr/share/man/man1/causeway.1.gz")
    source = call(["zcat", page]).out
    step("in the package")
    done = call(["groff", "-man", "-ww", "-z", "-Tutf8", "-Kutf8"], stdin=source, check=False)
    expect(done.rc == 0 and not done.err.strip(), f"groff warns: {done.err}")
    name = call(["lexgrog", page]).out
    expect(re.search(r'"causeway - \S', name), f"lexgrog reads {name}")
    # man writes to a pipe what it would to a terminal of this width.
    done = call(["man", "--warnings", "-l", page], check=False, env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"})
    expect(done.rc == 0 and not done.err.strip(), f"man warns: {done.err}")
    text = re.sub(r".\x08", "", done.out)
    lost = [verb for verb in VERBS if not re.search(rf"^CAUSEWAY {verb.upper()}$", text, re.M)]
    expect(not lost, f"no section of {lost}:\n{text[:2000]}")
    wide = [line for line in text.splitlines() if len(line) > 80]
    expect(not wide, lambda: f"{len(wide)} lines are wider than the terminal: {wide[0]!r}")
    step(f"rendered without a warning, {len(text.splitlines())} lines")
