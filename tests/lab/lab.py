"""One run of the laboratory: its name, its work directory, and the promise to clean up."""

import atexit
import glob
import os
import secrets
import shutil
import signal
import sys

from .netns import Namespace, kill_inside
from .shell import Process, run

ROOT = os.environ.get("CAUSEWAY_LAB_ROOT", "/tmp/causeway-lab")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _start_time(pid):
    """The start time of a process, which tells it from a later one with the same id."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None


def sweep():
    """Takes away what earlier runs left that died without doing so."""
    if not os.path.isdir(ROOT):
        return
    for name in os.listdir(ROOT):
        work = os.path.join(ROOT, name)
        try:
            with open(os.path.join(work, "owner")) as file:
                pid, start = file.read().split()
        except (OSError, ValueError):
            continue
        if _start_time(int(pid)) == start:
            continue
        remove_namespaces(name)
        shutil.rmtree(work, ignore_errors=True)


def remove_namespaces(run_name):
    """Ends every program in this run's namespaces and deletes them, with their files under /etc/netns."""
    for line in run(["ip", "netns", "list"]).out.splitlines():
        ns = line.split()[0]
        if ns.startswith(run_name + "-"):
            kill_inside(ns)
            run(["ip", "netns", "del", ns], check=False)
    for place in glob.glob(f"/etc/netns/{run_name}-*"):
        shutil.rmtree(place, ignore_errors=True)


class Lab:
    """Makes namespaces and background programs, remembers them, and removes them all.

    Used as a context manager; signals and interpreter exit clean up as well.
    """

    def __init__(self, keep=False):
        sweep()
        self.name = "cw" + secrets.token_hex(2)
        self.work = os.path.join(ROOT, self.name)
        self.keep = keep
        self.processes = []
        self.closers = []
        self.closed = False
        # Before there is anything to remove.
        atexit.register(self.close)
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        os.makedirs(self.work, mode=0o755)
        with open(os.path.join(self.work, "owner"), "w") as file:
            file.write(f"{os.getpid()} {_start_time(os.getpid())}")

    def _on_signal(self, number, _frame):
        sys.exit(128 + number)

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _trace):
        self.close()

    def namespace(self, name):
        """A new network namespace, with its loopback up."""
        return Namespace(self, name)

    def spawn(self, name, argv, **kwargs):
        """Starts a background program; its log is `NAME.log` in the work directory."""
        process = Process(name, argv, os.path.join(self.work, f"{name}.log"), **kwargs)
        self.processes.append(process)
        return process

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def directory(self, *parts):
        path = self.path(*parts)
        os.makedirs(path, exist_ok=True)
        return path

    def on_close(self, closer):
        self.closers.append(closer)

    def logs(self, lines=60):
        """The last lines of each log of this run, for a failure's report."""
        text = []
        for where, _dirs, files in os.walk(self.work):
            for file in sorted(files):
                if file.endswith(".log"):
                    with open(os.path.join(where, file), errors="replace") as log:
                        tail = log.readlines()[-lines:]
                    if tail:
                        text.append(f"--- {os.path.relpath(os.path.join(where, file), self.work)}\n{''.join(tail)}")
        return "\n".join(text)

    def close(self):
        if self.closed:
            return
        # Who is impatient and asks twice would leave half of it behind.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self.closed = True
        for closer in reversed(self.closers):
            try:
                closer()
            except Exception as error:  # cleaning up goes on whatever one part says
                print(f"cleaning up: {error}", file=sys.stderr)
        for process in reversed(self.processes):
            process.stop()
        remove_namespaces(self.name)
        if not self.keep:
            shutil.rmtree(self.work, ignore_errors=True)
