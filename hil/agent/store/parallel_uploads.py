"""Further ways for an upload's bytes, beside the frames: named pipes that the host's other channels write into.

sshd lets 2 MiB of a channel be under way (channels.h: CHAN_SES_WINDOW_DEFAULT), which at a round trip of 40 ms is
52 MB/s however wide the link. What comes over lanes is said by frames, so that all stays in order.
"""

import contextlib
import fcntl
import os
import signal
from typing import Callable, List

MOST = 8
PID_DIGITS = 20  # what a lane says first
F_SETPIPE_SZ = 1031  # linux/fcntl.h; named by Python from 3.10 on
PIPE_BYTES = 1 << 20  # fs.pipe-max-size, what anybody may set


class LaneLost(Exception):
    """A lane ended in the middle of an upload."""


class Lane:
    """The reading end of one: ``path`` is there until the writer has come, ``pid`` is the writer's process then.

    ``pending`` is how many bytes of the piece at hand nobody has taken yet.

    ``wait(fd)`` returns when the descriptor may be readable; whoever gives it decides for how long it is waited.
    """

    def __init__(self, path: str, wait: Callable[[int], None]) -> None:
        self.path = path
        self.pid = 0
        self.pending = 0
        self._wait = wait
        os.mkfifo(path, 0o600)
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # then it is only slower
            fcntl.fcntl(self._fd, F_SETPIPE_SZ, PIPE_BYTES)

    def join(self) -> None:
        """Waits for the writer, which says its process id, and takes the path away. Raises ``LaneLost``."""
        said = bytearray(PID_DIGITS)
        self._fill(memoryview(said), joining=True)
        try:
            self.pid = int(bytes(said).decode("ascii"))
        except ValueError:
            raise LaneLost("it began with %r" % bytes(said)) from None
        self._unlink()

    def take_into(self, view: memoryview) -> None:
        """The next bytes of the piece. Raises ``LaneLost`` where the writer ends before."""
        self._fill(view, joining=False)
        self.pending -= len(view)

    def drain(self) -> None:
        """Reads and forgets the rest of the piece. Raises ``LaneLost``."""
        scratch = memoryview(bytearray(min(self.pending, PIPE_BYTES)))
        while self.pending:
            self.take_into(scratch[: self.pending])

    def _fill(self, view: memoryview, joining: bool) -> None:  # noqa: FBT001 - only from here
        at = 0
        while at < len(view):
            try:
                count = os.readv(self._fd, [view[at:]])
            except BlockingIOError:
                self._wait(self._fd)
                continue
            if not count and not (joining and not at):
                raise LaneLost("the other end was closed")
            if not count:
                self._wait(-1)  # nobody has opened it yet
            at += count

    def close(self) -> None:
        """Leaves nothing: neither the path, nor a writer that waits for a host that went away."""
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


def open_lanes(folder: str, count: int, wait: Callable[[int], None]) -> List[Lane]:
    """``count`` lanes with paths in ``folder``. Raises ``OSError`` where there can be none; nothing stays then."""
    made: List[Lane] = []
    try:
        paths = [os.path.join(folder, "lane.%d.%d" % (os.getpid(), number)) for number in range(min(count, MOST))]
        for path in paths:
            made.append(Lane(path, wait))  # noqa: PERF401 - what was made is closed where the next fails
    except OSError:
        for lane in made:
            lane.close()
        raise
    return made
