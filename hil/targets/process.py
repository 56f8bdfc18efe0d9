"""Defines the interface to a started agent process, and implements it for a process on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Protocol

from hil.agent.protocol.channel import Channel
from hil.errors import LabError, TargetUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hil.agent.protocol.channel import Frames

F_SETPIPE_SZ = 1031  # linux/fcntl.h; Python 3.10 and later define it only if their libc did
PIPE_BYTES = 1 << 20  # default of fs.pipe-max-size, the limit for unprivileged users


class UploadChannel(Protocol):
    """An additional channel for the bytes of an upload."""

    def put(self, piece: bytes) -> None:
        """Queue a piece; may block. Raises ``LabError`` if the channel was lost."""

    def close(self) -> None:
        """Close the channel; pieces still queued are not sent."""


class Process(Protocol):
    """The process of a started agent. ``channel`` transports the protocol's frames; stderr has the agent's text."""

    remote: bool
    """Whether the process is reached over a network. If so, either side may not notice that the other is lost."""

    @property
    def channel(self) -> Frames:
        """Frames over the process's standard input and output."""

    def lines(self) -> Iterator[bytes]:
        """Yield the process's stderr until it is closed. An item is one line, several lines, or a part of a line."""

    def end_input(self) -> None:
        """Close the process's standard input, which makes the agent exit."""

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for the process to end; return whether it ended."""

    def upload_channel(self, path: str, target: str) -> UploadChannel:
        """Open a channel into the target's named pipe ``path``. Raises ``LabError`` if that is impossible."""

    def destroy(self) -> None:
        """Kill the process and those that it started, if they still run, and close its streams. May be called twice."""


class LocalProcess:
    """A process on this machine with pipes on all three standard streams, in a process group of its own."""

    remote = False

    def __init__(self, process: subprocess.Popen[bytes], patience: float) -> None:
        """Take over a process that was just started; ``patience`` (seconds) is passed to the channel."""
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ValueError("the process needs pipes on all three standard streams")
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self.channel = Channel(self._stdout.fileno(), self._stdin.fileno(), patience)
        for fd in (self.channel.read_fd, self.channel.write_fd):
            with contextlib.suppress(OSError):  # a smaller pipe works too, only slower
                fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that the process writes to stderr."""
        with contextlib.suppress(OSError, ValueError), self._stderr:
            while line := self._stderr.readline(4096):
                yield line

    def end_input(self) -> None:
        """Close the process's standard input."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for the process to end; return whether it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def upload_channel(self, path: str, target: str) -> UploadChannel:
        """Raise ``LabError``: a local agent has one channel, since another pipe would not be faster."""
        raise LabError(f"a local agent has a single channel: on target {target!r}: use it for {path}")

    def destroy(self) -> None:
        """Kill the process group, if it still runs, reap the process, and close its input and output."""
        kill_group(self._process)
        self.channel.closed = True
        for stream in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                stream.close()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group that ``process`` leads, and reap ``process``. Do nothing if it was reaped before."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def spawn(command: Sequence[str], target: str) -> subprocess.Popen[bytes]:
    """Start ``command`` on this machine, with pipes and in a process group of its own.

    Raises ``TargetUnreachable`` if it cannot be started.
    """
    try:
        return subprocess.Popen(  # noqa: S603 - a target's own command, never a shell's
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        raise TargetUnreachable(
            f"{command[0]} cannot be started: on target {target!r}: {error.strerror}: "
            "set python to an interpreter that exists"
        ) from None
