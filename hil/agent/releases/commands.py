"""Run the robot's own commands without a shell, each with a deadline that its child processes cannot extend."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence

TAIL = 400  # bytes of a command's output that are reported
POLL = 0.05


class Ended(NamedTuple):
    """How a command ended.

    ``why`` is the reason why it failed, empty if its exit code was 0. ``output`` is the end of its output.
    """

    why: str
    output: str

    def __str__(self) -> str:
        """Return the reason with the output; empty if the command succeeded."""
        return self.why + (": " + self.output if self.why and self.output else "")


def run(
    argv: Sequence[str],
    seconds: float,
    extra: Optional[Dict[str, str]] = None,
    meanwhile: Callable[[float], Any] = time.sleep,
    *,
    reap: bool = True,
) -> Ended:
    """Run ``argv`` for at most ``seconds``, with the additional environment variables ``extra``; return how it ended.

    A command that takes longer is killed with its process group. With ``reap``, the group is also killed after a
    command that ends in time. ``meanwhile`` is called repeatedly with the seconds to wait; if it raises an exception,
    the command is killed and the exception is raised.
    """
    with _output() as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - the robot's own command, from its config, never a shell's
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=dict(os.environ, **(extra or {})),
                start_new_session=True,
                preexec_fn=_reset_process,  # noqa: PLW1509 - there are no other threads
            )
        except OSError as error:
            return Ended("%s cannot be run: %s" % (argv[0], error.strerror), "")
        until = time.monotonic() + seconds
        # Wait for the process, not for the end of its output: a service that it started keeps that open.
        try:
            while process.poll() is None and time.monotonic() < until:
                meanwhile(min(POLL, max(0.001, until - time.monotonic())))
        except BaseException:  # the host is lost
            _kill(process)
            raise
        late = process.poll() is None
        if late or reap:
            _kill(process)
        return Ended(_why(argv[0], process.wait(), seconds, late=late), _tail(output))


def _output() -> Any:
    try:
        return tempfile.TemporaryFile()
    except OSError:  # a full disk must not prevent the start of a service
        return open(os.devnull, "r+b")


def _reset_process() -> None:
    os.umask(0o022)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _why(name: str, code: int, seconds: float, *, late: bool) -> str:
    if late:
        return "%s did not end within %g s and was killed" % (name, seconds)
    if code < 0:
        return "%s was ended by signal %d" % (name, -code)
    return "%s ended with code %d" % (name, code) if code else ""


def _tail(output: Any) -> str:
    try:
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - TAIL))
        return " ".join(output.read().decode("utf-8", "replace").split())
    except OSError:
        return ""
