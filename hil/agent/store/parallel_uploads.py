"""Receive the bytes of an upload from further SSH channels of the host, each through a named pipe.

One channel is slow over a long round trip, since sshd allows 2 MiB in flight (channels.h: CHAN_SES_WINDOW_DEFAULT).
Frames on the first channel announce each piece.
"""

import contextlib
import fcntl
import os
import signal
from typing import Callable, List

MOST_PIPES = 8
PID_DIGITS = 20  # a writer begins with its process id, padded to this many characters
F_SETPIPE_SZ = 1031  # linux/fcntl.h; named by Python from 3.10 on
PIPE_BYTES = 1 << 20  # fs.pipe-max-size: the most that an unprivileged user may set


class PipeLost(Exception):
    """A pipe was closed in the middle of an upload, or no writer opened it."""


class UploadPipe:
    """The reading end of one named pipe.

    Attributes:
        path: the pipe's path, which exists until ``join`` has returned.
        pid: the writer's process id; 0 before ``join``.
        pending: unread bytes of the current piece.

    ``wait(fd)`` returns when the descriptor may be readable, ``wait(-1)`` after a moment; it may raise ``PipeLost``.
    """

    def __init__(self, path: str, wait: Callable[[int], None]) -> None:
        self.path = path
        self.pid = 0
        self.pending = 0
        self._wait = wait
        os.mkfifo(path, 0o600)
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self._unlink()
            raise
        with contextlib.suppress(OSError):  # without it, the upload is only slower
            fcntl.fcntl(self._fd, F_SETPIPE_SZ, PIPE_BYTES)

    def join(self) -> None:
        """Wait for a writer, read its process id and delete the path. Raise ``PipeLost`` if no writer opens it."""
        digits = bytearray(PID_DIGITS)
        self._fill(memoryview(digits), joining=True)
        try:
            self.pid = int(bytes(digits).decode("ascii"))
        except ValueError:
            raise PipeLost("it began with %r, not with a process id" % bytes(digits)) from None
        self._unlink()

    def take_into(self, view: memoryview) -> None:
        """Fill ``view`` with the next bytes of the piece.

        Raise ``PipeLost`` if the writer closes the pipe too early.
        """
        self._fill(view, joining=False)
        self.pending -= len(view)

    def drain(self) -> None:
        """Read and discard the rest of the piece. Raise ``PipeLost`` if the writer closes the pipe too early."""
        scratch = memoryview(bytearray(min(self.pending, PIPE_BYTES)))
        while self.pending:
            self.take_into(scratch[: self.pending])

    def _fill(self, view: memoryview, joining: bool) -> None:  # noqa: FBT001 - called only here
        at = 0
        while at < len(view):
            try:
                count = os.readv(self._fd, [view[at:]])
            except BlockingIOError:
                self._wait(self._fd)
                continue
            if not count and not (joining and not at):
                raise PipeLost("the other end was closed")
            if not count:
                self._wait(-1)  # no writer has opened it yet
            at += count

    def close(self) -> None:
        """Close the pipe and delete its path. Terminate its writer."""
        os.close(self._fd)
        self._unlink()
        if self.pid > 1:
            with contextlib.suppress(OSError), open("/proc/%d/comm" % self.pid) as file:
                if file.read().strip() == "cat":
                    os.kill(self.pid, signal.SIGTERM)
            self.pid = 0

    def _unlink(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


def open_pipes(folder: str, count: int, wait: Callable[[int], None]) -> List[UploadPipe]:
    """Create ``count`` pipes (at most ``MOST_PIPES``) in ``folder``, and return their reading ends.

    If a pipe cannot be created, close all and raise ``OSError``. ``wait`` is that of ``UploadPipe``.
    """
    pipes: List[UploadPipe] = []
    try:
        for number in range(min(count, MOST_PIPES)):
            path = os.path.join(folder, "pipe.%d.%d" % (os.getpid(), number))
            pipes.append(UploadPipe(path, wait))
    except OSError:
        for pipe in pipes:
            pipe.close()
        raise
    return pipes
