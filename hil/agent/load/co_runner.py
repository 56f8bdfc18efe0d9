"""Load a board as the robot's other software would: reserve memory, and run a command of the user during the timing.

Each load is a process that ends, with the processes that it started, when its input from the supervisor closes.
Processes of another user (``sudo``) are only reported; those of another service (``docker run``) are not detected.
"""

import contextlib
import ctypes
import json
import mmap
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional

from ..own_command import own_command
from .load_processes import FORCE, POLL, alive, command_of, descendants, marked_environment, sweep

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
MCL_CURRENT = 1  # sys/mman.h
CHUNK = 1 << 20
GRACE = 1.0  # seconds from SIGTERM to SIGKILL
PATIENCE = 10.0  # seconds that a load may take to end its processes, before it is killed itself
RESERVE, RUN = "reserve", "run"
NAMES = {RESERVE: "reserve_memory", RUN: "co_runner"}
"""The config keys that request each kind of load."""


class Load:
    """The supervisor's handle on the process of one load.

    Attributes:
        ready: the load's report that it is ready; None before.
        ended: why the load ended by itself; None if it did not.
        left: commands of processes that could not be killed, by process id.
    """

    def __init__(self, archive: str, kind: str, words: List[str], place: str) -> None:
        """Start the process; ``kind`` is ``RESERVE`` or ``RUN``, ``words`` are its arguments.

        ``place``, a path that identifies the target, marks the process for ``sweep(place)``.
        """
        self.kind = kind
        self.place = place
        self.ready: Optional[Dict[str, Any]] = None
        self.ended: Optional[str] = None
        self.left: Dict[int, str] = {}
        self._received = b""
        command = [*own_command(archive), "--load", kind, str(os.getpid())]
        # Bytes, since in the C locale Python 3.6 cannot encode non-ASCII arguments.
        arguments = [word.encode("utf-8", "surrogateescape") for word in command + words]
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and archive; the user's words are arguments
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=marked_environment(place),
        )
        os.set_blocking(self._out(), False)

    def _out(self) -> int:
        if self.process.stdout is None:
            raise ValueError("the load was started without a pipe")
        return self.process.stdout.fileno()

    def read_reports(self) -> bool:
        """Read the load's reports so far into the attributes; return whether it has become ready or has ended."""
        over = self.process.poll() is not None  # before reading: its last report is in the pipe by then
        data = b"."
        while data:
            try:
                data = os.read(self._out(), 1 << 12)
            except BlockingIOError:
                break
            self._received += data
        lines = self._received.split(b"\n")
        self._received = lines.pop()
        for line in lines:
            report = json.loads(line.decode("utf-8", "replace"))
            self.ready = report.get("ready", self.ready)
            self.ended = report.get("ended", self.ended)
            self.left.update({int(pid): str(command) for pid, command in report.get("left", {}).items()})
        # A second process of the load may keep the pipe open while it cleans up, so this does not read until EOF.
        if self.ended is None and over:
            self.ended = "it was killed"
        return self.ready is not None or self.ended is not None

    def close(self, beat: Callable[[], None] = lambda: None) -> None:
        """End the load and the processes that it started, and set ``left``.

        ``beat`` is called repeatedly meanwhile.
        """
        if self.process.stdin is not None:
            self.process.stdin.close()
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            if time.monotonic() >= until:
                self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.2)
            beat()
        with contextlib.suppress(ValueError):  # a report may be cut off by its death
            self.read_reports()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.left.update(sweep(self.place, beat))
        self.left = {pid: command for pid, command in self.left.items() if alive(pid)}


def main(arguments: Optional[List[str]] = None) -> None:
    """Run a load until standard input closes: ``reserve PARENT BYTES`` or ``run PARENT COMMAND …``."""
    words = sys.argv[2:] if arguments is None else arguments
    kind, parent = words[0], int(words[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if kind == RESERVE:
        _die_with(parent)
        reserve(int(words[2]))
    else:
        run(words[2:])


def report(**fields: Any) -> None:
    """Write one line of JSON to the supervisor, unless the supervisor has ended."""
    with contextlib.suppress(OSError):
        os.write(1, (json.dumps(fields) + "\n").encode())


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _die_with(parent: int) -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _wait(seconds: Optional[float]) -> bool:
    """Wait until standard input closes, for ``seconds`` at most (None: without limit); return whether it has closed.

    Input that arrives is ignored, but may end the wait early.
    """
    poller = select.poll()
    poller.register(0, select.POLLIN)
    return bool(poller.poll(None if seconds is None else seconds * 1000)) and not os.read(0, 1 << 12)


def reserve(size: int) -> None:
    """Hold ``size`` bytes of memory until standard input closes, filled with random data that does not compress.

    The memory is locked if allowed, which the report to the supervisor states.
    """
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    noise = os.urandom(CHUNK)
    for at in range(0, size, CHUNK):
        part = min(CHUNK, size - at)
        memory[at : at + part] = noise[:part]
    # An ordinary user may lock little memory. The rest may be swapped out, which the state contract detects.
    locked = ctypes.CDLL(None, use_errno=True).mlockall(MCL_CURRENT) == 0
    report(ready={"bytes": size, "locked": locked, "pid": os.getpid()})
    while not _wait(None):
        pass


def run(command: List[str]) -> None:
    """Run ``command`` until standard input closes, and then end it with all its descendants.

    Two processes watch over the command; if one is killed, the other cleans up.
    """
    os.setsid()  # a kill of the agent's process group must not reach the processes that clean up
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    keeper = os.fork()
    if not keeper:
        _prctl(PR_SET_CHILD_SUBREAPER, 1)  # not inherited by a fork
        _keep(command, guard)
        os._exit(0)
    if os.waitpid(keeper, 0)[1]:
        report(ended="it was killed")
        _report_left(clear())


def _report_left(left: Dict[int, str]) -> None:
    if left:
        report(left=left)


def _keep(command: List[str], guard: int) -> None:
    """Run ``command`` in the user's home, without output, until standard input closes or the process ``guard`` ends.

    Then end the command and its descendants. If the command ends earlier, only report this.
    """
    home = os.path.expanduser("~")
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own command under the user's own account, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=home if os.path.isdir(home) else "/",
            preexec_fn=_alone,  # noqa: PLW1509 - this process has one thread
        )
    except OSError as error:
        report(ended="it cannot be started: %s" % (error.strerror or error))
        return
    began = time.monotonic()
    report(ready={"pid": process.pid})
    reported = False
    while not _wait(POLL) and os.getppid() == guard:
        if not reported and process.poll() is not None:
            report(ended="it ended with %s after %.1f s" % (_how(process.returncode), time.monotonic() - began))
            reported = True
    _report_left(clear())


def _alone() -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _how(code: int) -> str:
    return "exit code %d" % code if code >= 0 else "signal %d" % -code


def clear() -> Dict[int, str]:
    """End all descendants of this process: send SIGTERM, and after ``GRACE`` seconds SIGKILL.

    Return the commands, by process id, of the descendants that still run ``FORCE`` seconds after that.
    """
    limit = time.monotonic() + GRACE
    number = signal.SIGTERM
    while True:
        left = descendants(os.getpid())
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        _reap()
        left = descendants(os.getpid())
        if not left or time.monotonic() >= limit + FORCE:
            return {pid: command_of(pid) for pid in left}
        time.sleep(POLL)
        if time.monotonic() >= limit:
            number = signal.SIGKILL


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except OSError:
        pass
