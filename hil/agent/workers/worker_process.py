"""The supervisor's handle on one worker process: start it, talk to it, tell how it ended."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Optional

from ..failure import DIED, Failure
from ..protocol.channel import Channel
from ..protocol.segment import Segment

TAIL = 4096
PATIENCE = 10.0
EXIT_SECONDS = 2.0


class WorkerProcess:
    """One worker: ``process``, ``channel`` for headers, ``segment`` for tensors, ``said`` what it wrote.

    ``watch`` (``device_memory.Watch``) is the eye on its memory on a GPU, where it has one.
    """

    exit_seconds = EXIT_SECONDS

    def __init__(self, number: int, archive: str, scratch: str) -> None:
        self.number = number
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
        """Starts the process, which writes to the descriptor ``output``, and joins it."""
        ours, theirs = socket.socketpair()
        self._connect(ours)
        command = [
            sys.executable,
            "-B",
            archive,
            "--worker",
            str(theirs.fileno()),
            str(self.segment.fd),
            str(os.getpid()),
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
        """Talks to the worker through ``ours`` from here on."""
        self._socket = ours
        self.channel = Channel(ours.fileno(), ours.fileno(), PATIENCE)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self.process.pid

    def read_output(self) -> bool:
        """Keeps the tail of what the worker wrote; False once it closed its end."""
        try:
            data = os.read(self.stderr, 1 << 16)
        except BlockingIOError:
            return True
        self.output = (self.output + data)[-TAIL:]
        return bool(data)

    def death(self) -> Failure:
        """Reaps a worker that went away and says how it ended, with the last it wrote."""
        ended = time.monotonic() + 2
        while self.process.poll() is None and time.monotonic() < ended:
            time.sleep(0.005)
        self.kill()
        while self.read_output() and time.monotonic() < ended:
            time.sleep(0.005)
        code = self.exit_code()
        how = "ended with exit code %d" % code if code >= 0 else "was killed by %s" % signal_name(-code)
        said = last_lines(self.output)
        return Failure(
            DIED,
            "the worker (process %d) %s%s" % (self.pid, how, "; it last wrote: " + said if said else ""),
            "the next check gets a fresh worker",
        )

    def exit_code(self) -> int:
        """The exit code of a worker that has ended; a signal's number, negative, if one ended it."""
        return int(self.process.returncode)

    def kill(self) -> None:
        """Ends the process now and reaps it."""
        self.alive = False
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Lets the process end by itself by closing its channel; kills it after two seconds."""
        if self._socket is not None:
            self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(self.exit_seconds)
        self.kill()
        os.close(self.stderr)
        self.segment.close()


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; the number itself for one that has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal %d" % number


def last_lines(data: bytes, lines: int = 12) -> str:
    """The last few non-empty lines, joined by `` | ``."""
    found = [line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    return " | ".join(found[-lines:])
