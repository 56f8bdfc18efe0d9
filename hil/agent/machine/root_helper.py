"""Start the board's root helper, which ``hil board setup`` installs, and send it verbs; it carries them out as root.

The helper undoes its changes when the agent closes the pipe, exits or is killed.
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
START = 60.0  # seconds: before it answers, it undoes what a killed helper left
LIMITS = {"service": 200.0, "mode": 120.0, "clocks": 120.0, "restore": 400.0}  # s; the helper's own are shorter
LIMIT = 15.0  # s, for verbs that LIMITS does not name
LONGEST = 8 << 20  # bytes of an answer: 1 MiB of text, escaped
SETUP = "run 'hil board setup TARGET' on the host"


def installed() -> str:
    """Return an empty string if the helper is installed and only root can change it, else why it is not used."""
    for path in (PROGRAM, os.path.dirname(PROGRAM)):
        try:
            status = os.lstat(path)
        except OSError:
            return "no root helper is installed: " + SETUP
        kind = stat.S_ISREG if path == PROGRAM else stat.S_ISDIR
        if status.st_uid != 0 or status.st_mode & 0o022 or not kind(status.st_mode):
            return "%s can be changed by users other than root: %s" % (path, SETUP)
    return ""


def command() -> List[str]:
    """Return the command that starts the helper; ``sudo -n`` fails instead of asking for a password."""
    return [PROGRAM] if os.geteuid() == 0 else [SUDO, "-n", "--", PROGRAM]


class Helper:
    """A running root helper of this process; threads may share it."""

    why_not = ""
    """Why the last ``open`` in this process returned None."""

    def __init__(self, waiting: Callable[[], None] = lambda: None) -> None:
        self._lock = threading.Lock()
        self._rest = b""
        self.waiting = waiting  # called about five times a second during every wait
        self._process = subprocess.Popen(  # noqa: S603 - a fixed path, checked by ``open``
            command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            start_new_session=True,  # so that Ctrl-C does not reach it
        )

    @classmethod
    def open(cls, waiting: Callable[[], None] = lambda: None) -> Optional["Helper"]:
        """Start a helper and return it once it has answered; return None, with the reason in ``why_not``, on failure.

        ``waiting`` is called about five times a second during every wait.
        """
        cls.why_not = installed()
        if cls.why_not:
            return None
        try:
            helper = cls(waiting)
        except OSError as problem:
            cls.why_not = "the root helper cannot be started: %s" % problem.strerror
            return None
        answer = helper._ask("version", START)
        if answer.get("version") == VERSION:
            return helper
        cls.why_not = helper._refusal(answer)
        helper.close()
        return None

    def ask(self, verb: str, *words: str) -> Dict[str, Any]:
        """Send ``verb`` with the arguments ``words`` and return the answer: ``ok``, and ``error`` if ``ok`` is false.

        After a timeout or a lost connection, ``ok`` is false for this and every later request.
        """
        return self._ask(" ".join((verb, *words)), LIMITS.get(verb, LIMIT))

    def close(self) -> None:
        """End the helper, which makes it undo its changes, and wait for its exit, at most ``START`` seconds.

        Only ``ask("restore")`` returns whether undoing succeeded.
        """
        with self._lock:
            process = self._process
            for end in (process.stdin, process.stdout, process.stderr):
                end.close()
            # It belongs to root and cannot be killed from here: if it takes longer, it finishes on its own.
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
                # A late answer would be mistaken for the next request's, so no further request is sent.
                self._end_input()
                return {"ok": False, "error": "the connection to the root helper is lost: %s" % problem}

    def _answer(self, line: str, until: float) -> Dict[str, Any]:
        process = self._process
        if not all(" " <= letter <= "~" for letter in line):  # a newline would start a second request
            return {"ok": False, "error": "no such command"}
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
        answer = json.loads(text.decode("ascii"))
        return answer if isinstance(answer, dict) else {"ok": False, "error": "the root helper's answer is malformed"}

    def _end_input(self) -> None:
        self._process.stdin.close()

    def _refusal(self, answer: Dict[str, Any]) -> str:
        if "version" in answer:
            return "the root helper is version %s, not %d: %s" % (answer["version"], VERSION, SETUP)
        self._end_input()
        printed = ""
        self._await_end(2)
        if self._process.poll() is not None:
            printed = os.read(self._process.stderr.fileno(), 4096).decode("ascii", "replace").strip()
        return "the root helper cannot be used (%s): %s" % (printed[-200:] or answer.get("error", "no answer"), SETUP)
