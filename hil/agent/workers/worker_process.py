"""Gives the supervisor a handle on one worker process: to start it, talk to it, and learn how it ended."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from typing import Any, Optional

from ..failure import DIED, Failure
from ..own_command import own_command
from ..protocol.channel import Channel
from ..protocol.segment import Segment

TAIL = 4096  # bytes of a worker's output that are kept
PATIENCE = 10.0  # seconds without a transferred byte in the middle of a frame
EXIT_SECONDS = 2.0


class WorkerProcess:
    """One worker process. ``channel`` carries headers, ``segment`` carries tensors.

    ``output`` is the end of what the process printed. ``watch`` (``device_memory.Watch``) measures its GPU memory; None
    if there is nothing to watch.
    """

    exit_seconds = EXIT_SECONDS

    def __init__(self, number: int, archive: str, scratch: str, runtime: str = "") -> None:
        """Start the process. It imports ``runtime``, if that is given, before it answers the first request."""
        self.number = number
        self._arguments = [runtime] if runtime else []
        self.watch: Any = None
        self.segment = Segment.create(scratch)
        self.stderr, write_end = os.pipe()
        os.set_blocking(self.stderr, False)
        self.output = b""
        self.alive = True
        self.output_open = True
        self._socket: Optional[socket.socket] = None
        try:
            self.process = self._start(archive, write_end)
        finally:
            os.close(write_end)

    def _start(self, archive: str, output: int) -> "subprocess.Popen[bytes]":
        """Start the process with its output connected to the descriptor ``output``, and connect to it."""
        ours, theirs = socket.socketpair()
        self._connect(ours)
        command = [
            *own_command(archive),
            "--worker",
            str(theirs.fileno()),
            str(self.segment.fd),
            str(os.getpid()),
            *self._arguments,
        ]
        try:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and archive
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(), self.segment.fd),
            )
        finally:
            theirs.close()

    def _connect(self, ours: socket.socket) -> None:
        """Use the socket ``ours`` for all frames to and from the worker."""
        self._socket = ours
        self.channel = Channel(ours.fileno(), ours.fileno(), PATIENCE)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self.process.pid

    def read_output(self) -> bool:
        """Read what the worker has printed into ``output``, of which only the end is kept.

        Return False once the worker has closed its output.
        """
        try:
            data = os.read(self.stderr, 1 << 16)
        except BlockingIOError:
            return True
        self.output = (self.output + data)[-TAIL:]
        return bool(data)

    def death(self) -> Failure:
        """Reap the worker, and return a failure that states how it ended and what it printed last.

        A worker that still runs after 2 seconds is killed.
        """
        limit = time.monotonic() + 2
        while self.process.poll() is None and time.monotonic() < limit:
            time.sleep(0.005)
        self.kill()
        while self.read_output() and time.monotonic() < limit:
            time.sleep(0.005)
        code = self.exit_code()
        how = "ended with exit code %d" % code if code >= 0 else "was killed by %s" % signal_name(-code)
        printed = last_lines(self.output)
        return Failure(
            DIED,
            "the worker (process %d) %s%s" % (self.pid, how, "; its last output: " + printed if printed else ""),
            "the next check gets a fresh worker",
        )

    def exit_code(self) -> int:
        """Return the exit code of a worker that has ended; if a signal ended it, the signal's number negated."""
        return int(self.process.returncode)

    def kill(self) -> None:
        """Kill the process and reap it."""
        self.alive = False
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Close the channel, which makes the process exit; kill it if it still runs after ``exit_seconds``.

        Then close the worker's output and the segment.
        """
        if self._socket is not None:
            self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(self.exit_seconds)
        self.kill()
        os.close(self.stderr)
        self.segment.close()


def signal_name(number: int) -> str:
    """Return the name of a signal, such as ``SIGKILL`` for 9, or ``signal N`` if it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal %d" % number


def last_lines(data: bytes, lines: int = 12) -> str:
    """Return the last ``lines`` non-empty lines of ``data``, joined by `` | ``."""
    stripped = [line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    return " | ".join(stripped[-lines:])
