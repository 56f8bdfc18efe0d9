"""The board's root helper, where ``hil board setup`` installed it: what needs root, through fixed verbs over a pipe.

It changes back what it changed when the pipe ends, so that closing it, dying and being killed all leave the board as
it was found. Nothing here asks for a password or waits without an end.
"""

import contextlib
import json
import os
import select
import stat
import subprocess
import threading
import time
from typing import Any, Callable, Dict, List, Optional

PROGRAM = "/usr/local/sbin/pytest-hil-helper"
SUDO = "/usr/bin/sudo"
VERSION = 2
START = 60.0  # seconds: before it answers it restores what a killed one left
LIMITS = {"service": 200.0, "mode": 120.0, "clocks": 120.0, "restore": 400.0}  # seconds; its own limits end before
LIMIT = 15.0
LONGEST = 8 << 20  # bytes of an answer: 1 MiB of text, escaped
SETUP = "run 'hil board setup TARGET' on the host"


def installed() -> str:
    """Empty where the helper is there and root's alone, else why it is not used."""
    for path in (PROGRAM, os.path.dirname(PROGRAM)):
        try:
            seen = os.lstat(path)
        except OSError:
            return "no root helper is installed: " + SETUP
        kind = stat.S_ISREG if path == PROGRAM else stat.S_ISDIR
        if seen.st_uid != 0 or seen.st_mode & 0o022 or not kind(seen.st_mode):
            return "%s can be changed by others than root: %s" % (path, SETUP)
    return ""


def command() -> List[str]:
    """How it is started; sudo itself refuses where it is not allowed, and never asks (``-n``)."""
    return [PROGRAM] if os.geteuid() == 0 else [SUDO, "-n", "--", PROGRAM]


class Helper:
    """One helper at work for this process; threads may share it."""

    why_not = ""
    """Why the last ``open`` of this process gave None."""

    def __init__(self, waiting: Callable[[], None] = lambda: None) -> None:
        self._lock = threading.Lock()
        self._rest = b""
        self.waiting = waiting  # called about five times a second while anything is awaited
        self._process = subprocess.Popen(  # noqa: S603 - a fixed path, checked by ``open``
            command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            start_new_session=True,  # Ctrl-C is the host's to answer
        )

    @classmethod
    def open(cls, waiting: Callable[[], None] = lambda: None) -> Optional["Helper"]:
        """A helper that has answered, or None with the reason in ``why_not``; ``waiting`` as the attribute."""
        cls.why_not = installed()
        if cls.why_not:
            return None
        try:
            helper = cls(waiting)
        except OSError as problem:
            cls.why_not = "the root helper cannot be started: %s" % problem.strerror
            return None
        told = helper._ask("version", START)
        if told.get("version") == VERSION:
            return helper
        cls.why_not = helper._refusal(told)
        helper.close()
        return None

    def ask(self, verb: str, *words: str) -> Dict[str, Any]:
        """The answer, in time: ``ok``, with ``error`` where that is false. Raises nothing."""
        return self._ask(" ".join((verb, *words)), LIMITS.get(verb, LIMIT))

    def close(self) -> None:
        """Ends it, which restores; waits until it is done. ``ask("restore")`` before tells how that went."""
        with self._lock:
            process = self._process
            for end in (process.stdin, process.stdout, process.stderr):
                end.close()
            # It is root's and cannot be killed from here: slower than this, it goes on restoring without us.
            self._await_end(START)

    def _await_end(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)
            self.waiting()

    def _ask(self, line: str, seconds: float) -> Dict[str, Any]:
        with self._lock:
            try:
                return self._answer(line, time.monotonic() + seconds)
            except (OSError, ValueError) as problem:
                # An answer that comes late would be taken for the next one's: there is no next one.
                self._end_input()
                return {"ok": False, "error": "the root helper is lost: %s" % problem}

    def _answer(self, line: str, until: float) -> Dict[str, Any]:
        process = self._process
        if not all(" " <= letter <= "~" for letter in line):  # a newline would be a second line
            return {"ok": False, "error": "no such verb"}
        process.stdin.write(line.encode("ascii") + b"\n")
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0:
                raise OSError("no answer in time")
            if not select.select([process.stdout], [], [], min(left, 0.2))[0]:
                self.waiting()
                continue
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece or len(self._rest) > LONGEST:
                raise OSError("it has ended")
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\n")
        told = json.loads(text.decode("ascii"))
        return told if isinstance(told, dict) else {"ok": False, "error": "no answer of the root helper's"}

    def _end_input(self) -> None:
        self._process.stdin.close()

    def _refusal(self, told: Dict[str, Any]) -> str:
        if "version" in told:
            return "the root helper is version %s, not %d: %s" % (told["version"], VERSION, SETUP)
        self._end_input()
        said = ""
        self._await_end(2)
        if self._process.poll() is not None:
            said = os.read(self._process.stderr.fileno(), 4096).decode("ascii", "replace").strip()
        return "the root helper cannot be used (%s): %s" % (said[-200:] or told.get("error", "no answer"), SETUP)
