"""Running programs, and waiting for things to become true."""

import os
import signal
import subprocess
import time


class Failed(AssertionError):
    """An expectation of a case did not hold."""


class NotAvailable(Exception):
    """The peer of this cell cannot do what the cell asks ("n/a by peer")."""


class Result:
    """What a finished program returned."""

    def __init__(self, argv, rc, out, err):
        self.argv, self.rc, self.out, self.err = argv, rc, out, err

    def __str__(self):
        return f"{' '.join(self.argv)} -> {self.rc}\n{self.out}{self.err}"


def run(argv, check=True, stdin=None, timeout=30, env=None, cwd=None):
    """Runs a program to its end; with `check`, a non-zero exit is a failure that shows its output."""
    try:
        done = subprocess.run(
            [str(a) for a in argv], input=stdin, capture_output=True, text=True, errors="replace",
            timeout=timeout, env=env, cwd=cwd, stdin=None if stdin is not None else subprocess.DEVNULL,
        )
        result = Result([str(a) for a in argv], done.returncode, done.stdout, done.stderr)
    except subprocess.TimeoutExpired as late:
        out = late.stdout.decode(errors="replace") if late.stdout else ""
        result = Result([str(a) for a in argv], 124, out, f"no end within {timeout} s\n")
    if check and result.rc != 0:
        raise Failed(str(result))
    return result


def wait_until(what, test, timeout=20.0, interval=0.1):
    """Calls `test` until it returns something true, and returns that.

    `test` may raise Failed, which counts as "not yet"; the last one is shown when time is up.
    """
    end = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = test()
            if value:
                return value
            last = value
        except Failed as no:
            last = no
        if time.monotonic() > end:
            raise Failed(f"not within {timeout:g} s: {what} (last seen: {last})")
        time.sleep(interval)


def holds(what, test, duration=3.0, interval=0.2):
    """Fails as soon as `test` is false within `duration` seconds."""
    end = time.monotonic() + duration
    while time.monotonic() < end:
        expect(test(), f"did not hold for {duration:g} s: {what}")
        time.sleep(interval)


def expect(condition, why):
    """An assertion with words."""
    if not condition:
        raise Failed(why() if callable(why) else why)


class Process:
    """A program left running in the background, its output in a log file."""

    def __init__(self, name, argv, log, env=None, cwd=None, pass_fds=()):
        self.name, self.log = name, log
        with open(log, "ab") as out:
            self.child = subprocess.Popen(
                [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env=env, cwd=cwd, start_new_session=True, pass_fds=pass_fds,
            )

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def returncode(self):
        return self.child.poll()

    def send(self, number):
        if self.alive():
            os.kill(self.child.pid, number)

    def wait(self, timeout=10):
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} (pid {self.pid}) did not end within {timeout} s") from None

    def stop(self, number=signal.SIGTERM, timeout=5):
        """Asks the program to end, and ends it by force when it does not."""
        if not self.alive():
            return self.child.returncode
        try:
            os.killpg(self.child.pid, number)
        except ProcessLookupError:
            pass
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
            return self.child.wait(5)

    def output(self):
        with open(self.log, errors="replace") as file:
            return file.read()
