"""A real Linux kernel as a peer: User-Mode Linux, an ordinary process of the host.

The guest sees the host's own file tree (hostfs), so programs, work directories and logs have
the same path on both sides. PID 1 of the guest is the agent below; it takes commands, one JSON
object a line, over a serial line whose other end are two pipes of ours.
"""

import json
import os
import shutil
import threading

from .shell import Failed, NotAvailable, Process, Result, run, wait_until

MODULES = "/usr/lib/uml/modules"
AGENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest_agent.py")
KERNEL_MODULES = [
    "tun", "xfrm_user", "esp4", "esp6", "ip_vti", "ip6_vti", "authenc", "authencesn", "gcm", "echainiv",
]
# What the guest's serial line takes at once; of more it loses some.
LINE = 3800


def prepare_modules():
    """Lets `modprobe` in the guest find the guest kernel's modules."""
    versions = os.listdir(MODULES)
    for version in versions:
        place = f"/lib/modules/{version}"
        if not os.path.exists(place):
            os.makedirs("/lib/modules", exist_ok=True)
            try:
                os.symlink(f"{MODULES}/{version}", place)
            except FileExistsError:
                pass  # By another cell, at the same moment.
        if not os.path.exists(f"{MODULES}/{version}/modules.dep.bin"):
            run(["depmod", version])


class Uml:
    """A guest, seen as a host: `run`, `spawn`, `ip`, `sysctl` as a namespace has them."""

    def __init__(self, lab, ns, name, taps, memory="320M", root="/", modules=True, init=AGENT):
        """Boots in namespace `ns`; `taps` are TAP devices there and become vec0, vec1, ...

        With an `init` of its own, that program starts the agent.
        """
        if not shutil.which("linux.uml"):
            raise NotAvailable("package user-mode-linux is not installed")
        prepare_modules()
        self.lab, self.ns, self.short = lab, ns, name
        self.work = lab.directory(f"uml-{name}")
        self.next_id, self.waiting, self.lock = 1, {}, threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.gone = False
        to_guest_r, self.to_guest = os.pipe()
        self.from_guest, from_guest_w = os.pipe()
        cards = [f"vec{n}:transport=tap,ifname={tap},depth=64,gro=1" for n, tap in enumerate(taps)]
        self.process: Process = lab.spawn(
            f"uml-{name}",
            ["ip", "netns", "exec", ns.name, "linux.uml", f"mem={memory}", "root=/dev/root", "rootfstype=hostfs",
             f"rootflags={root}", "rw", f"init={init}", f"uml_dir={self.work}", f"umid={name}", *cards,
             # An idle guest that stops its tick can sleep through the arrival of a packet until something else wakes it.
             "nohz=off", "con=null", "con0=fd:0,fd:1", f"ssl0=fd:{to_guest_r},fd:{from_guest_w}", "quiet"],
            pass_fds=(to_guest_r, from_guest_w), env={**os.environ, "TMPDIR": "/dev/shm"},
        )
        os.close(to_guest_r)
        os.close(from_guest_w)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        lab.on_close(self.close)
        self._answer(0, 60 if init == AGENT else 120)  # the agent's hello
        self._settle(modules)

    def _settle(self, modules):
        if modules:
            self.run(["modprobe", "-a", *KERNEL_MODULES], timeout=30)
        self.sysctl("net.ipv4.conf.all.rp_filter", 0)
        self.sysctl("net.ipv4.conf.default.rp_filter", 0)

    # -- the serial line

    def _read(self):
        buffer = b""
        while True:
            try:
                data = os.read(self.from_guest, 65536)
            except OSError:
                data = b""
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                try:
                    answer = json.loads(line)
                except ValueError:
                    continue
                with self.changed:
                    self.waiting[answer["id"]] = answer
                    self.changed.notify_all()
        with self.changed:
            self.gone = True
            self.changed.notify_all()

    def _answer(self, number, timeout):
        with self.changed:
            there = self.changed.wait_for(lambda: self.gone or number in self.waiting, timeout)
            if number in self.waiting:
                return self.waiting.pop(number)
        why = "the guest is gone" if self.gone else f"no answer within {timeout} s"
        raise Failed(f"guest {self.short}: {why} ({there=})\n{self.process.output()[-2000:]}")

    def ask(self, timeout=35, **request):
        """One request to the agent, and its answer."""
        with self.lock:
            request["id"], self.next_id = self.next_id, self.next_id + 1
            line = json.dumps(request).encode() + b"\n"
            if len(line) > LINE:
                raise Failed(f"a request of {len(line)} octets is too long for a guest's serial line: put it into a file")
            os.write(self.to_guest, line)
        return self._answer(request["id"], timeout)

    # -- the face of a host

    def run(self, argv, check=True, stdin=None, timeout=30, env=None):
        argv = [str(a) for a in argv]
        answer = self.ask(do="run", argv=argv, stdin=stdin, limit=timeout, env=env, timeout=timeout + 5)
        result = Result(["[guest]", *argv], answer["rc"], answer["out"], answer["err"])
        if check and result.rc != 0:
            raise Failed(str(result))
        return result

    def spawn(self, name, argv, env=None):
        log = os.path.join(self.work, f"{name}.log")
        answer = self.ask(do="spawn", argv=[str(a) for a in argv], log=log, env=env)
        if "error" in answer:
            raise Failed(f"guest {self.short}: {name}: {answer['error']}")
        return GuestProcess(self, name, answer["pid"], log)

    def ip(self, words, check=True):
        return self.run(["ip", *words.split()], check=check).out

    def sysctl(self, key, value, check=True):
        self.run(["sysctl", "-qw", f"{key}={value}"], check=check)

    def forwarding(self):
        self.sysctl("net.ipv4.ip_forward", 1)
        self.sysctl("net.ipv6.conf.all.forwarding", 1, check=False)

    def socket_path(self, name):
        """Sockets live in the guest's own /run; hostfs has none."""
        return f"/run/{name}.sock"

    def directory(self, name):
        path = os.path.join(self.work, name)
        os.makedirs(path, exist_ok=True)
        return path

    def exists(self, path):
        return self.run(["test", "-e", path], check=False).rc == 0

    def alive(self):
        return self.process.alive() and not self.gone

    def sync(self):
        """Puts what guest programs wrote where the host can read it."""
        if self.alive():
            self.run(["sync"], check=False, timeout=10)

    def close(self):
        if self.process.alive():
            try:
                self.ask(do="off", timeout=3)
                self.process.wait(3)
            except (Failed, OSError):
                pass
        self.process.stop()


class GuestProcess:
    """A background program in the guest."""

    def __init__(self, uml, name, pid, log):
        self.uml, self.name, self.pid, self.log = uml, name, pid, log

    def alive(self):
        return self.uml.alive() and self.uml.ask(do="alive", pid=self.pid)["alive"]

    def send(self, number):
        self.uml.ask(do="kill", pid=self.pid, signal=int(number))

    def returncode(self):
        return self.uml.ask(do="alive", pid=self.pid).get("rc") if self.uml.alive() else None

    def wait(self, timeout=10):
        wait_until(f"end of {self.name} in the guest", lambda: not self.alive(), timeout)
        return self.returncode()

    def stop(self, number=15, timeout=5):
        if self.uml.alive():
            self.uml.ask(do="stop", pid=self.pid, signal=int(number), limit=timeout, timeout=timeout + 5)

    def output(self):
        self.uml.sync()
        with open(self.log, errors="replace") as file:
            return file.read()


def tap(ns, name):
    """A TAP device a guest can take."""
    ns.ip(f"tuntap add dev {name} mode tap")
    ns.ip(f"link set {name} up")
    return name
