"""A running ``tegrastats``, read without ever waiting for it: it may be missing, hang, or print anything."""

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
"""Seconds without a line that can be read, after which it is given up."""
STALE = 0.5
"""Seconds after which a line is no longer what is now."""
MOST_READ = 1 << 16
LEAVE_SECONDS = 2.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def find() -> Optional[str]:
    """Where tegrastats is: in PATH, or in /usr/bin, which a service's PATH may lack."""
    return shutil.which("tegrastats") or shutil.which("tegrastats", path="/usr/bin")


def _die_with_parent() -> Callable[[], None]:
    """What the child does before it becomes tegrastats; the library is looked up here, before there is a child."""
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    return ask


class TegrastatsProcess:
    """``path --interval 100``, started now; ``why`` says why nothing comes of it, once that is known.

    ``process`` is the running program, or None; ``odd`` the last of what it printed that is no line of tegrastats.
    ``path`` None is one that was not found. It is killed with all it started, and reaped, by ``close``, and by the
    kernel if this process dies.
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
        """What the newest line said (``tegrastats.parse``); empty where there is none, or none that is new."""
        if self.process is not None:
            self._listen(now)
            if self.why is None and now - self._heard > SILENCE:
                said = "printed what cannot be read (%s)" % self.odd if self.odd else "printed no line"
                self._give_up("%s for %g s" % (said, SILENCE))
        return self._read if now - self._heard <= STALE else {}

    def close(self) -> None:
        """Kills it with all it started, and reaps it; may be called twice."""
        process, self.process = self.process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)  # not reaped yet, so that the number is still its own
        except OSError:
            process.kill()
        if process.stdout is not None:
            process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # held by the kernel: reaped when another is started
            process.wait(LEAVE_SECONDS)

    def _out(self) -> int:
        assert self.process is not None and self.process.stdout is not None  # noqa: S101, PT018 - a pipe was asked for
        return self.process.stdout.fileno()

    def _give_up(self, why: str) -> None:
        self.why = why
        self._read = {}
        self.close()

    def _listen(self, now: float) -> None:
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
            told = tegrastats.parse(line)
            if "ram" in told:
                self._read, self._heard = told, now
            elif line.strip():
                self.odd = ascii(line.strip()[:40])

    def _ended(self) -> None:
        process = self.process
        code = process.poll() if process is not None else None
        how = "closed its output" if code is None else "ended with exit code %d" % code
        self._give_up(how + (" after printing %s" % self.odd if self.odd else ""))

    def _lines(self, data: bytes) -> List[str]:
        """The lines that are complete now, the newest few; what is longer than a line can be is dropped."""
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        lines = whole.split(b"\n") if newline else []
        if lines and self._skip:
            lines, self._skip = lines[1:], False
        if len(rest) > tegrastats.LONGEST:
            rest, self._skip = b"", True
            self.odd = "a line without an end"
        self._rest = rest
        return [line.decode("ascii", "replace") for line in lines[-4:]]
