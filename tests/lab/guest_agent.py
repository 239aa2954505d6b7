#!/usr/bin/python3
"""PID 1 of a guest: sets the kernel up and carries out what the serial line asks for."""

import json
import os
import subprocess
import sys
import threading
import tty

LINE = threading.Lock()
CHILDREN = {}


def set_up():
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/frr"
    for kind, place in (("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run"), ("devtmpfs", "/dev")):
        subprocess.run(["mount", "-t", kind, kind, place], stderr=subprocess.DEVNULL)
    os.makedirs("/dev/shm", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "shm", "/dev/shm"], stderr=subprocess.DEVNULL)
    os.makedirs("/run/lock", exist_ok=True)
    subprocess.run(["ip", "link", "set", "lo", "up"])


def say(fd, answer):
    data = json.dumps(answer).encode() + b"\n"
    with LINE:
        while data:
            data = data[os.write(fd, data[:2048]):]


def environment(request):
    return {**os.environ, **(request.get("env") or {})}


def do_run(request):
    try:
        done = subprocess.run(
            request["argv"], input=request.get("stdin"), capture_output=True, text=True, errors="replace",
            timeout=request["limit"], env=environment(request),
        )
        return {"rc": done.returncode, "out": done.stdout, "err": done.stderr}
    except subprocess.TimeoutExpired:
        return {"rc": 124, "out": "", "err": f"no end within {request['limit']} s\n"}
    except OSError as error:
        return {"rc": 127, "out": "", "err": f"{error}\n"}


def do_spawn(request):
    try:
        with open(request["log"], "ab") as log:
            child = subprocess.Popen(
                request["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=environment(request), start_new_session=True,
            )
    except OSError as error:
        return {"error": str(error)}
    CHILDREN[child.pid] = child
    return {"pid": child.pid}


def do_alive(request):
    child = CHILDREN.get(request["pid"])
    return {"alive": child is not None and child.poll() is None, "rc": child.returncode if child else None}


def do_kill(request):
    child = CHILDREN.get(request["pid"])
    if child is not None and child.poll() is None:
        child.send_signal(request["signal"])
    return {}


def do_stop(request):
    do_kill(request)
    child = CHILDREN.pop(request["pid"], None)
    if child is not None:
        try:
            child.wait(request["limit"])
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    return {}


def do_off(_request):
    subprocess.run(["sync"])
    subprocess.run(["poweroff", "-f"])
    return {}


ACTIONS = {"run": do_run, "spawn": do_spawn, "alive": do_alive, "kill": do_kill, "stop": do_stop, "off": do_off}


def carry_out(fd, request):
    say(fd, {"id": request["id"], **ACTIONS[request["do"]](request)})


def main():
    # As a service of a booted system it finds all that made.
    if os.getpid() == 1:
        set_up()
    fd = os.open("/dev/ttyS0", os.O_RDWR | os.O_NOCTTY)
    tty.setraw(fd)
    say(fd, {"id": 0})
    buffer = b""
    while True:
        *lines, buffer = (buffer + os.read(fd, 4096)).split(b"\n")
        for line in lines:
            try:
                request = json.loads(line)
            except ValueError as error:
                print(f"not a request: {error}", file=sys.stderr)
                continue
            threading.Thread(target=carry_out, args=(fd, request), daemon=True).start()


main()
