"""Marks the processes of a load in their environment, and finds and kills marked processes that remain."""

import contextlib
import os
import signal
import time
from typing import Callable, Dict, Set

FORCE = 3.0  # seconds for processes to disappear after SIGKILL
POLL = 0.05  # seconds
MARK = "PYTEST_HIL_LOAD"
LONGEST_COMMAND = 200  # characters of a command line that are reported


def marked_environment(place: str) -> Dict[bytes, bytes]:
    """Return this process's environment with the mark of ``place``, a path that identifies a target."""
    environment = dict(os.environb)
    environment[MARK.encode()] = os.fsencode(place)
    return environment


def sweep(place: str, beat: Callable[[], None] = lambda: None) -> Dict[int, str]:
    """Kill this user's processes with the mark of ``place``.

    Return the commands, by process id, of those that still run after ``FORCE`` seconds. Meanwhile ``beat`` is called
    repeatedly.
    """
    until = time.monotonic() + FORCE
    while True:
        remaining = marked(place)
        if not remaining or time.monotonic() >= until:
            return remaining
        for pid in remaining:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL)
        beat()


def marked(place: str, proc: str = "/proc") -> Dict[int, str]:
    """Return the commands of this user's other living processes with the mark of ``place``, by process id."""
    mark, commands = b"\0" + MARK.encode() + b"=" + os.fsencode(place) + b"\0", {}
    for name in os.listdir(proc):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open("%s/%s/environ" % (proc, name), "rb") as file:
                    environment = b"\0" + file.read() + b"\0"
            except OSError:  # another user's process, or it has ended
                continue
            if mark in environment and alive(int(name)):
                commands[int(name)] = command_of(int(name))
    return commands


def alive(pid: int) -> bool:
    """Return whether the process exists and is not a zombie."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[:1] not in ([b"Z"], [b"X"])
    except OSError:
        return False


def command_of(pid: int) -> str:
    """Return the process's command line, at most ``LONGEST_COMMAND`` characters; empty if it cannot be read."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read(LONGEST_COMMAND).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def descendants(root: int, proc: str = "/proc") -> Set[int]:
    """Return the ids of all descendants of process ``root``, without zombies."""
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
    ids: Set[int] = set()
    below = {root}
    while below:
        below = {pid for pid, parent in parents.items() if parent in below and pid not in ids}
        ids |= below
    return ids
