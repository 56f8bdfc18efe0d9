"""What loads a board as the rest of the robot would: memory that is held, and a command of the user's that runs.

Each is a process of its own beside the supervisor, bound to it by a pipe: when its input closes, because it was told
to end or because the supervisor died, it ends, and so does all that it started. Whatever a co-runner starts inherits
``load_processes.MARK`` in its environment, by which the rest is found where the process itself was killed. What belongs
to another user (``sudo``) cannot be ended from here and is reported; what another service starts (``docker run``) is
not detected. Standard library only.
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

from .load_processes import FORCE, POLL, alive, command_of, descendants, marked_environment, sweep

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
MCL_CURRENT = 1  # sys/mman.h
CHUNK = 1 << 20
GRACE = 1.0
PATIENCE = 10.0
RESERVE, RUN = "reserve", "run"
NAMES = {RESERVE: "reserve_memory", RUN: "co_runner"}
"""Kinds of loads, by the keys that ask for them."""


class Load:
    """The supervisor's handle on one such process.

    ``ready`` is what it said once it was, ``ended`` why it is over, ``left`` what it could not end, by process id.
    """

    def __init__(self, archive: str, kind: str, words: List[str], place: str) -> None:
        """``place`` names what it is a load of: where all of it has ended, ``sweep(place)`` finds nothing."""
        self.kind = kind
        self.place = place
        self.ready: Optional[Dict[str, Any]] = None
        self.ended: Optional[str] = None
        self.left: Dict[int, str] = {}
        self._heard = b""
        command = [sys.executable, "-B", archive, "--load", kind, str(os.getpid())]
        # Bytes: where the locale is C, Python 3.6 can make no argument of other letters.
        given = [word.encode("utf-8", "surrogateescape") for word in command + words]
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and archive; the user's words are arguments
            given,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=marked_environment(place),
        )
        os.set_blocking(self._out(), False)

    def _out(self) -> int:
        if self.process.stdout is None:
            raise ValueError("it was started without a pipe")
        return self.process.stdout.fileno()

    def listen(self) -> bool:
        """Takes in what it said; True once it is ready or over."""
        over = self.process.poll() is not None  # before it is read: what it said at its end is there then
        data = b"."
        while data:
            try:
                data = os.read(self._out(), 1 << 12)
            except BlockingIOError:
                break
            self._heard += data
        lines = self._heard.split(b"\n")
        self._heard = lines.pop()
        for line in lines:
            said = json.loads(line.decode("utf-8", "replace"))
            self.ready = said.get("ready", self.ready)
            self.ended = said.get("ended", self.ended)
            self.left.update({int(pid): str(command) for pid, command in said.get("left", {}).items()})
        # Its own word comes before its end; another process of it, which clears up, may hold the pipe for a while.
        if self.ended is None and over:
            self.ended = "it was killed"
        return self.ready is not None or self.ended is not None

    def close(self, beat: Callable[[], None] = lambda: None) -> None:
        """Has it end, with all that it started; what cannot be ended is in ``left``. ``beat`` is called meanwhile."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            if time.monotonic() >= until:
                self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.2)
            beat()
        with contextlib.suppress(ValueError):  # cut short by its death
            self.listen()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.left.update(sweep(self.place, beat))
        self.left = {pid: command for pid, command in self.left.items() if alive(pid)}


def main(arguments: Optional[List[str]] = None) -> None:
    """``reserve PARENT BYTES`` or ``run PARENT COMMAND …``: does it until standard input closes."""
    words = sys.argv[2:] if arguments is None else arguments
    kind, parent = words[0], int(words[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if kind == RESERVE:
        _die_with(parent)
        reserve(int(words[2]))
    else:
        run(words[2:])


def say(**words: Any) -> None:
    """One line to the supervisor; nobody may be left to hear it."""
    with contextlib.suppress(OSError):
        os.write(1, (json.dumps(words) + "\n").encode())


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _die_with(parent: int) -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _wait(seconds: Optional[float]) -> bool:
    """Whether standard input closed within that time; what is written to it means nothing."""
    poller = select.poll()
    poller.register(0, select.POLLIN)
    return bool(poller.poll(None if seconds is None else seconds * 1000)) and not os.read(0, 1 << 12)


def reserve(size: int) -> None:
    """Holds ``size`` bytes of this process's own memory; each page is written, with what no swap can compress away."""
    held = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    noise = os.urandom(CHUNK)
    for at in range(0, size, CHUNK):
        part = min(CHUNK, size - at)
        held[at : at + part] = noise[:part]
    # Users may lock little; what is not locked the kernel may swap out, which the state contract then sees.
    fixed = ctypes.CDLL(None, use_errno=True).mlockall(MCL_CURRENT) == 0
    say(ready={"bytes": size, "locked": fixed, "pid": os.getpid()})
    while not _wait(None):
        pass


def run(command: List[str]) -> None:
    """Runs ``command`` until told to end, in two processes that each clear up when the other is killed.

    Descendants that were left by their parents become the children of either, so that none gets away.
    """
    os.setsid()  # whoever kills the agent's group leaves this one to clean up
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    keeper = os.fork()
    if not keeper:
        _prctl(PR_SET_CHILD_SUBREAPER, 1)  # forgotten by a fork
        _keep(command, guard)
        os._exit(0)
    if os.waitpid(keeper, 0)[1]:
        say(ended="it was killed")
        _tell(clear())


def _tell(left: Dict[int, str]) -> None:
    if left:
        say(left=left)


def _keep(command: List[str], guard: int) -> None:
    """Runs ``command`` in the user's home with its output dropped; ends it and all its descendants."""
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
        say(ended="it cannot be started: %s" % (error.strerror or error))
        return
    began = time.monotonic()
    say(ready={"pid": process.pid})
    told = False
    while not _wait(POLL) and os.getppid() == guard:
        if not told and process.poll() is not None:
            say(ended="it ended with %s after %.1f s" % (_how(process.returncode), time.monotonic() - began))
            told = True
    _tell(clear())


def _alone() -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _how(code: int) -> str:
    return "exit code %d" % code if code >= 0 else "signal %d" % -code


def clear() -> Dict[int, str]:
    """Asks every descendant to end, and after ``GRACE`` seconds makes it; returns what stays ``FORCE`` seconds on."""
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
