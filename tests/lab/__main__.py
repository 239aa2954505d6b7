"""The runner: `python3 -m lab [--full] [--list] [--keep] [--jobs N] [CASE[:CELL] ...]`."""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from . import case, matrix
from .lab import SIGNALS, sweep

# On a machine that is new it holds the making of a Debian as well.
LIMIT = 1500
# Longer than the slowest cell cleans up: a program that ignores SIGTERM is given 5 s, and a cell has several.
CLEANING = 45
RUNNING = set()
# Held while a cell is started; once it is closed none is.
STARTING, CLOSED = threading.Lock(), threading.Event()


def on_signal(number, _frame):
    """Cells have sessions of their own: they are told, and clean up after themselves."""
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    CLOSED.set()
    with STARTING:
        cells = list(RUNNING)
    for child in cells:
        child.terminate()
    end = time.monotonic() + CLEANING
    for child in cells:
        while child.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        if child.poll() is None:
            child.kill()
            child.wait()
    sweep()
    os._exit(128 + number)


def selected(args):
    """The (case, cell, reason it is not run or None) that the words ask for."""
    wanted = args.case or case.known()
    for word in wanted:
        name, _, only = word.partition(":")
        name = name.replace("-", "_")
        if name not in case.known():
            sys.exit(f"no case {word}; there are: {', '.join(case.known())}")
        for cell in case.load(name).cells(args.full):
            cell, reason = cell if isinstance(cell, tuple) else (cell, None)
            if not only or cell == only:
                yield name, cell, reason


def run_one(args, name, cell):
    """Runs a cell as a process of its own, so that nothing of it outlives it."""
    began = time.monotonic()
    argv = [sys.executable, "-m", "lab", "--cell", name, cell] + (["--keep"] if args.keep else [])
    with STARTING:
        if CLOSED.is_set():
            return 1, 0.0, "interrupted\n"
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 errors="replace", start_new_session=True,
                                 env={**os.environ, **({"CAUSEWAY_LAB_FULL": "1"} if args.full else {})})
        RUNNING.add(child)
    try:
        out, _ = child.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        child.terminate()
        try:
            out, _ = child.communicate(timeout=CLEANING)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            out, _ = child.communicate()
            sweep()
        out += f"\nno end within {LIMIT} s\n"
    RUNNING.discard(child)
    return child.returncode, time.monotonic() - began, out


def main():
    parser = argparse.ArgumentParser(prog="tests/run")
    parser.add_argument("case", nargs="*", help="a case, or CASE:CELL")
    parser.add_argument("--full", action="store_true", help="the whole matrix and large transfers")
    parser.add_argument("--list", action="store_true", help="what there is, and what each proves")
    parser.add_argument("--keep", action="store_true", help="leave work directories behind")
    parser.add_argument("--verbose", action="store_true", help="show each cell's steps")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1),
                        help="cells at a time; those that count every packet run alone")
    parser.add_argument("--table", help="write the results as tables to this file, or between the marks it has")
    parser.add_argument("--rows", help="put the results of these cells, run with --full, into the table of cells this file has")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell:
        sys.exit(case.run_cell(*args.cell, keep=args.keep))
    if args.list:
        for name in args.case or case.known():
            module = case.load(name)
            print(f"{name}: {module.__doc__.strip()}")
            for cell in module.cells(args.full):
                print(f"    {cell if isinstance(cell, str) else f'{cell[0]}  ({cell[1]})'}")
            print()
        return
    sys.stdout.reconfigure(line_buffering=True)
    for number in SIGNALS:
        signal.signal(number, on_signal)
    sweep()
    began = time.monotonic()
    plan = list(selected(args))
    if args.rows:
        why = matrix.why_not(args.rows, dict.fromkeys(name for name, _, _ in plan)) if args.full else "it is a table of --full"
        if why:
            sys.exit(f"--rows: {why}")
    rows, failed, passed = [], 0, 0
    for alone in (False, True):
        part = [row for row in plan if getattr(case.load(row[0]), "ALONE", False) == alone]
        with ThreadPoolExecutor(1 if alone else args.jobs) as pool:
            running = [(n, c, why, None if why else pool.submit(run_one, args, n, c)) for n, c, why in part]
            for name, cell, why, future in running:
                if why:
                    print(f"n/a   {name}:{cell}  {why}")
                    rows.append(matrix.Row(name, cell, why))
                    continue
                code, seconds, out = future.result()
                good = code == 0
                passed, failed = passed + good, failed + (not good)
                said = " ".join(line.partition(" ")[2] for line in out.splitlines() if line.startswith("result: "))
                print(f"{'ok  ' if good else 'FAIL'}  {name}:{cell}  {seconds:.1f} s  {said}".rstrip())
                if not good or args.verbose:
                    print(out)
                rows.append(matrix.Row(name, cell, "passed" if good else "failed", seconds, said))
    if args.table:
        matrix.write(args.table, matrix.text(rows, args.jobs, args.full, time.monotonic() - began))
    if args.rows:
        matrix.put(args.rows, rows)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
