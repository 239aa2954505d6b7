"""Sockets of programs that are not ours."""

import ctypes
import os
import socket

# Numbers of asm-generic/unistd.h and asm-generic/socket.h, which Python has no names for.
PIDFD_GETFD, SO_RCVBUFFORCE = 438, 33
ROOM = 32 << 20


def deepen(pid):
    """Gives a program's UDP sockets room for what comes while it waits for a processor.

    The kernel's default holds some two hundred packets, a fifth of a second of a probe; what a peer loses there is not
    what a case asks about, and the default is the host's, which nothing here changes.
    """
    process = os.pidfd_open(pid)
    try:
        for number in _sockets(pid):
            copy = ctypes.CDLL(None).syscall(PIDFD_GETFD, process, number, 0)
            if copy < 0:
                continue
            with socket.socket(fileno=copy) as found:
                if found.type == socket.SOCK_DGRAM and found.family in (socket.AF_INET, socket.AF_INET6):
                    found.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
    finally:
        os.close(process)


def _sockets(pid):
    """The descriptors of a process that are sockets now."""
    place = f"/proc/{pid}/fd"
    for name in os.listdir(place):
        try:
            if os.readlink(f"{place}/{name}").startswith("socket:"):
                yield int(name)
        except FileNotFoundError:
            continue
