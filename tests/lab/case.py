"""What a case is, and how one cell of it runs.

A case is a module of `interop` with a docstring that says what it proves, `cells(full)` that
lists its cells by name, and `run(lab, cell)` that fails by raising. A cell the peer cannot do
carries the reason in its name's place in `cells` as (name, reason). A module with `ALONE = True`
counts every packet and has the machine to itself.
"""

import importlib
import os
import sys
import time
import traceback

from .lab import Lab
from .shell import Failed, NotAvailable, expect

CASES = [
    "lab_selftest", "first_packet", "main_job", "rekey_lossless", "suites", "down_kill_restart", "own_tail", "uplinks",
    "reasons", "bgp_peers", "reload", "settings", "settings_bgp", "resources", "lifetimes", "nat_moves", "pmtu", "ipv6", "bad_input", "bad_config", "core_dump", "dns_peer",
    "identities", "send_hold", "interrupted",
    "operator", "demo", "man_page", "inside_uml", "systemd_service", "readme", "aws", "judged", "ike_notifies", "tcp_md5",
    "af_xdp", "crowded", "flooded",
]


def load(name):
    return importlib.import_module(f"interop.{name.replace('-', '_')}")


def known():
    """Names of the cases whose module is there."""
    here = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "interop")
    return [c for c in CASES if os.path.exists(os.path.join(here, f"{c}.py"))]


def run_cell(case, cell, keep=False):
    """Runs one cell in a lab of its own; returns its exit status and prints the reason of a failure."""
    module = load(case)
    lab = Lab(keep=keep)
    began = time.monotonic()
    try:
        module.run(lab, cell)
        print(f"took {time.monotonic() - began:.1f} s")
        return 0
    except NotAvailable as why:
        print(f"cannot run here: {why}")
        return 1
    except Exception as error:
        print(f"FAILED after {time.monotonic() - began:.1f} s: {error}")
        if not isinstance(error, Failed):
            traceback.print_exc(file=sys.stdout)
        else:
            print("".join(traceback.format_tb(error.__traceback__)[-3:]))
        for closer in getattr(lab, "on_failure", []):
            try:
                print(closer())
            except Exception as other:
                print(f"(no more detail: {other})")
        print(lab.logs())
        return 1
    finally:
        lab.close()


class Steps:
    """Says what was proven, step by step, with the time each took."""

    def __init__(self):
        self.last = time.monotonic()

    def __call__(self, words):
        now = time.monotonic()
        print(f"  {now - self.last:6.2f} s  {words}", flush=True)
        self.last = now


__all__ = ["Steps", "expect", "load", "known", "run_cell"]
