"""What the host needs of a started agent, wherever it runs; and one on this machine, behind pipes."""

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

F_SETPIPE_SZ = 1031  # linux/fcntl.h; named by Python from 3.10 on, but only where its libc had it
PIPE_BYTES = 1 << 20  # fs.pipe-max-size, what anybody may set


class Lane(Protocol):
    """A further way for the bytes of an upload; ``put`` may wait, and raises ``LabError`` where it was lost."""

    def put(self, piece: bytes) -> None:
        """Queues a piece."""

    def close(self) -> None:
        """Ends it; what is still queued is not sent."""


class Process(Protocol):
    """A started agent: frames in and out through ``channel``, text on its stderr."""

    remote: bool
    """Whether a network lies between, so that either side may be gone without the other seeing it."""

    @property
    def channel(self) -> Frames:
        """Its standard input and output."""

    def lines(self) -> Iterator[bytes]:
        """What it writes to stderr, some lines or a piece of one at a time, until that ends."""

    def end_input(self) -> None:
        """Closes its standard input, as the host's death would."""

    def wait(self, seconds: float) -> bool:
        """Waits at most ``seconds`` for its end; True if it ended."""

    def lane(self, path: str, target: str) -> Lane:
        """Another way for bytes, into the named pipe ``path`` there. Raises ``LabError`` where there can be none."""

    def destroy(self) -> None:
        """Kills whatever is left of it and lets go of it; may be called twice."""


class LocalProcess:
    """A process of this machine with pipes on all three standard streams, in a process group of its own."""

    remote = False

    def __init__(self, process: subprocess.Popen[bytes], patience: float) -> None:
        """Takes over a process that was just started; ``patience`` in seconds is the channel's."""
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ValueError("the process needs pipes on all three standard streams")
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self.channel = Channel(self._stdout.fileno(), self._stdin.fileno(), patience)
        for fd in (self.channel.read_fd, self.channel.write_fd):
            with contextlib.suppress(OSError):  # a smaller pipe is only slower
                fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)

    def lines(self) -> Iterator[bytes]:
        """What it writes to stderr."""
        with contextlib.suppress(OSError, ValueError), self._stderr:
            while line := self._stderr.readline(4096):
                yield line

    def end_input(self) -> None:
        """Closes its standard input."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def wait(self, seconds: float) -> bool:
        """Waits at most ``seconds`` for its end; True if it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def lane(self, path: str, target: str) -> Lane:
        """None: nothing is gained by another pipe on the same machine."""
        raise LabError(f"there is one way alone to the agent: on target {target!r}: use it for {path}")

    def destroy(self) -> None:
        """Kills what is left of its process group and reaps it."""
        kill_group(self._process)
        self.channel.closed = True
        for stream in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                stream.close()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kills and reaps ``process``, which leads a group of its own, and whatever it started there."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def spawn(command: Sequence[str], target: str) -> subprocess.Popen[bytes]:
    """Starts ``command`` on this machine, with pipes and in a process group of its own.

    Raises ``TargetUnreachable`` where it cannot be started.
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
            "set python to an interpreter that is there"
        ) from None
