"""The machine: what it is, and how much of it the hypervisor took away meanwhile."""

import os
import platform
import re
import subprocess

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


def facts(binary):
    """Lines that say where a table was taken."""
    charon = _first_line(["dpkg-query", "-W", "-f", "${Version}", "charon-systemd"])
    flags = _field("/proc/cpuinfo", r"^flags\s*:(.*)").split()
    wanted = [f for f in ("aes", "vaes", "avx2", "avx512f", "sha_ni", "vpclmulqdq") if f in flags]
    return [
        ("processor", f"{_field('/proc/cpuinfo', r'^model name.*:(.*)')}, {os.cpu_count()} logical, {' '.join(wanted)}"),
        ("memory", f"{int(_field('/proc/meminfo', r'MemTotal: *([0-9]+)')) // 1024} MiB"),
        ("kernel", f"{platform.release()}, governor of the guest: none" if not os.path.exists(
            "/sys/devices/system/cpu/cpu0/cpufreq") else platform.release()),
        ("congestion control", "cubic, both ends, every stream"),
        ("iperf3", _first_line(["iperf3", "--version"])),
        ("strongSwan", charon),
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
        user, nice, system, idle, iowait, irq, softirq, steal = (
            b - a for a, b in zip(self.start, self._read()))
        total = max(1, user + nice + system + idle + iowait + irq + softirq + steal)
        return (user + nice + system + irq + softirq) / total, steal / total


def spent(pids):
    """Processor seconds of these processes so far, all threads."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS
