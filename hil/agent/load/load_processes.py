"""The processes of a load: the mark in their environment by which they are found, and what is left of them."""

import contextlib
import os
import signal
import time
from typing import Callable, Dict, Set

FORCE = 3.0
POLL = 0.05
MARK = "PYTEST_HIL_LOAD"
LETTERS = 200  # of a command line that is reported


def marked_environment(place: str) -> Dict[bytes, bytes]:
    """This process's environment with the mark of ``place``."""
    found = dict(os.environb)
    found[MARK.encode()] = os.fsencode(place)
    return found


def sweep(place: str, beat: Callable[[], None] = lambda: None) -> Dict[int, str]:
    """Ends what is left of loads of ``place``, known by the mark in its environment; returns what stayed."""
    until = time.monotonic() + FORCE
    while True:
        found = marked(place)
        if not found or time.monotonic() >= until:
            return found
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL)
        beat()


def marked(place: str, proc: str = "/proc") -> Dict[int, str]:
    """The living processes of this user that have the mark of ``place``, and their commands."""
    mark, found = b"\0" + MARK.encode() + b"=" + os.fsencode(place) + b"\0", {}
    for name in os.listdir(proc):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open("%s/%s/environ" % (proc, name), "rb") as file:
                    known = b"\0" + file.read() + b"\0"
            except OSError:  # another user's, or gone
                continue
            if mark in known and alive(int(name)):
                found[int(name)] = command_of(int(name))
    return found


def alive(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[:1] not in ([b"Z"], [b"X"])
    except OSError:
        return False


def command_of(pid: int) -> str:
    """Its command line, cut short; empty where nobody may read it."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read(LETTERS).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def descendants(root: int, proc: str = "/proc") -> Set[int]:
    """The processes below ``root``, those that have ended and wait to be reaped left out."""
    parents: Dict[int, int] = {}
    for name in os.listdir(proc):
        if name.isdigit():
            try:
                with open("%s/%s/stat" % (proc, name), "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            if state != b"Z":
                parents[int(name)] = int(parent)
    found: Set[int] = set()
    below = {root}
    while below:
        below = {pid for pid, parent in parents.items() if parent in below and pid not in found}
        found |= below
    return found
