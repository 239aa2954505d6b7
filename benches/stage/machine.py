"""The machine: what it is, and how much of it the hypervisor took away meanwhile."""

import hashlib
import os
import platform
import re
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


def _first_line(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
        return (done.stdout or done.stderr).strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return "not found"


def _field(path, pattern):
    with open(path) as file:
        found = re.search(pattern, file.read(), re.M)
    return found.group(1).strip() if found else "?"


def wireguard_version(path):
    """Which sources a wireguard-go was built from, as its own build record says; else what tells the file from others."""
    if not path:
        return "left out: WIREGUARD_GO names none"
    with open(path, "rb") as file:
        data = file.read()
    patterns = (rb"mod\tgolang\.zx2c4\.com/wireguard\t(\S+)", rb"build\tvcs\.revision=([0-9a-f]{40})", rb"(go1\.[0-9]+(?:\.[0-9]+)?)")
    module, commit, compiler = ((re.search(pattern, data) or [b"", b"?"])[1].decode() for pattern in patterns)
    if (module, commit) == ("?", "?"):
        return f"no build record, SHA-256 {hashlib.sha256(data).hexdigest()[:16]}"
    return f"{module}, commit {commit[:12]}, {compiler}"


def facts(binary, wireguard, queue):
    """Lines that say where a table was taken."""
    charon = _first_line(["dpkg-query", "-W", "-f", "${Version}", "charon-systemd"])
    flags = _field("/proc/cpuinfo", r"^flags\s*:(.*)").split()
    wanted = [f for f in ("aes", "vaes", "avx2", "avx512f", "sha_ni", "vpclmulqdq") if f in flags]
    return [
        ("processor", f"{_field('/proc/cpuinfo', r'^model name.*:(.*)')}, {os.cpu_count()} logical, {' '.join(wanted)}"),
        ("memory", f"{int(_field('/proc/meminfo', r'MemTotal: *([0-9]+)')) // 1024} MiB"),
        ("kernel", f"{platform.release()}, governor of the guest: none" if not os.path.exists(
            "/sys/devices/system/cpu/cpu0/cpufreq") else platform.release()),
        ("congestion control", "cubic, both ends, every stream; begun as reno"),
        ("TUN queue", f"{queue} packets, every contender that has one"),
        ("iperf3", _first_line(["iperf3", "--version"])),
        ("strongSwan", charon),
        ("wireguard-go", wireguard_version(wireguard)),
        ("causeway", _first_line([binary, "--version"])),
    ]


class Meter:
    """Processor time of the whole machine between two readings."""

    def __init__(self):
        self.start = self._read()

    @staticmethod
    def _read():
        with open("/proc/stat") as file:
            return [int(word) for word in file.readline().split()[1:9]]

    def stop(self):
        """Shares of the whole: (busy, stolen), 0 to 1."""
        shares = self.shares()
        return 1 - shares["idle"] - shares["iowait"] - shares["steal"], shares["steal"]

    def shares(self):
        """Every share of the whole, 0 to 1, by its name."""
        spent_on = [b - a for a, b in zip(self.start, self._read())]
        names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        return {name: part / max(1, sum(spent_on)) for name, part in zip(names, spent_on)}


def spent(pids):
    """Processor seconds of these processes so far, of all threads there are and were, by the scheduler's nanosecond clock."""
    total = 0
    for pid in pids:
        try:
            # The clock of another process, as clock_getcpuclockid(3) makes it.
            total += time.clock_gettime_ns((~pid << 3) | 2)
        except OSError:
            continue
    return total / 1e9


def threads(pid):
    """Of each thread of a process: {id: (name, processor seconds, of these in the kernel)}; the last to a tick's precision."""
    found = {}
    try:
        ids = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for one in ids:
        place = f"/proc/{pid}/task/{one}"
        try:
            with open(f"{place}/schedstat") as file:
                whole = int(file.read().split()[0]) / 1e9
            with open(f"{place}/stat") as file:
                name, _, rest = file.read().partition("(")[2].rpartition(")")
        except OSError:
            continue
        found[one] = (name, whole, int(rest.split()[12]) / TICKS)
    return found


def memory(pids):
    """Resident megabytes of these processes."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as file:
            total += int(re.search(r"VmRSS:\s*(\d+)", file.read()).group(1))
    return total / 1024
