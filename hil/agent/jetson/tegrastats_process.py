"""A running ``tegrastats``, read without blocking: it may be missing, hang, or print anything."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
from typing import Any, Callable, Dict, List, Optional

from . import tegrastats

INTERVAL_MS = 100
SILENCE = 2.0
"""Seconds without a readable line after which the process is abandoned."""
STALE = 0.5
"""Seconds after which the newest line is too old to be used."""
MOST_READ = 1 << 16
EXIT_SECONDS = 2.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def find() -> Optional[str]:
    """Return the path of tegrastats in PATH or in /usr/bin, which a service's PATH may lack; None if in neither."""
    return shutil.which("tegrastats") or shutil.which("tegrastats", path="/usr/bin")


def _die_with_parent() -> Callable[[], None]:
    """Return a function that makes the kernel kill the child when this process dies."""
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def request() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    return request


class TegrastatsProcess:
    """The process ``path --interval 100``, started at once and killed by ``close`` or when the agent dies.

    ``path`` is None if the program is not installed. ``now`` is always a time in monotonic seconds.

    Attributes:
        process: the running program; None if it does not run.
        why: the reason if the process was not started or was given up; None otherwise.
        odd: the last line, shortened, if it cannot be parsed; else empty.
    """

    def __init__(self, path: Optional[str], now: float) -> None:
        self.why: Optional[str] = None
        self.process: Optional["subprocess.Popen[bytes]"] = None
        self._rest = b""
        self._skip = False
        self.odd = ""
        self._heard = now
        self._read: Dict[str, Any] = {}
        if path is None:
            self.why = "not found in PATH or /usr/bin"
            return
        try:
            self.process = subprocess.Popen(  # noqa: S603 - arguments are our own, no shell
                [path, "--interval", str(INTERVAL_MS)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - the supervisor has one thread
            )
        except (OSError, subprocess.SubprocessError) as error:
            self.why = "cannot be started: %s" % (os.strerror(getattr(error, "errno", None) or errno.EIO))
            return
        os.set_blocking(self._out(), False)

    def latest(self, now: float) -> Dict[str, Any]:
        """Return the newest line, parsed by ``tegrastats.parse``; empty if there is none or it is older than ``STALE``.

        After ``SILENCE`` seconds without a readable line, kill the process and set ``why``.
        """
        if self.process is not None:
            self._read_lines(now)
            if self.why is None and now - self._heard > SILENCE:
                problem = "printed a line that cannot be parsed (%s)" % self.odd if self.odd else "printed no line"
                self._give_up("%s for %g s" % (problem, SILENCE))
        return self._read if now - self._heard <= STALE else {}

    def close(self) -> None:
        """Kill the process and its children, and reap the process; may be called twice."""
        process, self.process = self.process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)  # it is not reaped yet, so its id cannot have been reused
        except OSError:
            process.kill()
        if process.stdout is not None:
            process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # blocked in the kernel: Popen reaps it later
            process.wait(EXIT_SECONDS)

    def _out(self) -> int:
        assert self.process is not None and self.process.stdout is not None  # noqa: S101, PT018 - stdout is a pipe
        return self.process.stdout.fileno()

    def _give_up(self, why: str) -> None:
        self.why = why
        self._read = {}
        self.close()

    def _read_lines(self, now: float) -> None:
        try:
            data = os.read(self._out(), MOST_READ)
        except BlockingIOError:
            return
        except OSError as error:
            self._give_up("cannot be read: %s" % os.strerror(error.errno or 0))
            return
        if not data:
            self._ended()
            return
        for line in self._lines(data):
            fields = tegrastats.parse(line)
            if "ram" in fields:
                self._read, self._heard, self.odd = fields, now, ""
            elif line.strip():
                self.odd = ascii(line.strip()[:40])

    def _ended(self) -> None:
        process = self.process
        code = process.poll() if process is not None else None
        how = "closed its output" if code is None else "ended with exit code %d" % code
        self._give_up(how + (" after printing %s" % self.odd if self.odd else ""))

    def _lines(self, data: bytes) -> List[str]:
        """Append ``data`` to the incomplete line of earlier calls, and return the last complete lines, at most four.

        An incomplete line of more than ``tegrastats.LONGEST`` bytes is dropped.
        """
        complete, newline, rest = (self._rest + data).rpartition(b"\n")
        lines = complete.split(b"\n") if newline else []
        if lines and self._skip:
            lines, self._skip = lines[1:], False
        if len(rest) > tegrastats.LONGEST:
            rest, self._skip = b"", True
            self.odd = "a line without an end"
        self._rest = rest
        return [line.decode("ascii", "replace") for line in lines[-4:]]
