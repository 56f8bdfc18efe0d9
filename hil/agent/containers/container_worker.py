"""Workers in containers: started through the user's own engine, killed by the container's id.

A container gets no descriptors, so its first process (``inside.py``) connects to a socket in a folder that only this
user may enter. The kernel says who connected, by the numbers that processes have here.
"""

import array
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from typing import List, Optional

from ..failure import CONTAINER, Failure
from ..workers.worker_process import WorkerProcess, last_lines
from . import container_spec
from .container_main import SOCKET
from .container_spec import Order

POLL = 0.02
ASK = 20.0
EXIT_SECONDS = 5.0
CREDENTIALS = struct.Struct("3i")  # linux/socket.h: struct ucred
DETACHED = 0


class ContainedWorker(WorkerProcess):
    """A worker in a container; ``arrived`` has to be asked until it is true, before anything else."""

    exit_seconds = EXIT_SECONDS

    def __init__(self, number: int, order: Order, scratch: str) -> None:
        self.asked = order.container
        self._life: Optional[socket.socket] = None
        self._guard = self._pid = 0
        self._folder = tempfile.mkdtemp(prefix="worker-", dir=scratch)
        self._name = "hil-" + os.path.basename(self._folder) + "-%d" % os.getpid()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._command = container_spec.run_words(order, self._name, self._folder)
            self._listen()
            super().__init__(number, order.place.archive, scratch)
        except BaseException:
            self._listener.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _listen(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._listener.bind("/proc/self/fd/%d/%s" % (folder, SOCKET))  # an address is short, a path may not be
        finally:
            os.close(folder)
        self._listener.listen(2)
        self._listener.setblocking(False)  # noqa: FBT003 - it takes no keyword

    def _start(self, archive: str, output: int) -> "subprocess.Popen[bytes]":  # noqa: ARG002 - as in WorkerProcess
        return subprocess.Popen(  # noqa: S603 - words, never a shell's; the user's own args among them
            self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )

    @property
    def pid(self) -> int:
        """The worker's process id here, outside; until it is known the engine's own."""
        return self._pid or self.process.pid

    def arrived(self) -> bool:
        """Whether the worker is connected. Raises ``Failure`` where it never will be, or is somebody else."""
        self.read_output()
        if self._life is None:
            self._life = self._accepted()
            if self._life is not None:
                self._guard = peer(self._life)
        made = self._accepted() if self._life is not None else None
        if made is None:
            if self.process.poll() is not None:
                self._explain()
            return False
        self._pid = peer(made)
        self._check()
        self._listener.close()
        made.sendmsg([b"s"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [self.segment.fd]))])
        self._connect(made)
        self._cid()
        shutil.rmtree(self._folder, ignore_errors=True)
        return True

    def _accepted(self) -> Optional[socket.socket]:
        try:
            return self._listener.accept()[0]
        except (BlockingIOError, InterruptedError):
            return None

    def _explain(self) -> None:
        ended = time.monotonic() + 1
        while self.read_output() and time.monotonic() < ended:
            time.sleep(POLL)
        code = self.process.returncode
        if code == DETACHED:
            what = "the engine left the worker's container alone, or it ended at once"
            raise Failure(CONTAINER, what, "take --detach out of the container's args, and see the image's entry point")
        raise container_spec.start_trouble(self.asked, code, last_lines(self.output))

    def _check(self) -> None:
        """Who connected has to be in the container that was started: its first process, or one below that."""
        told = self._engine("inspect", "--format", "{{.State.Pid}}", self._cid()).strip()
        first = int(told) if told.isdigit() else 0
        line = ancestry(self._pid)
        if not first or not self._pid or self._guard not in line or first not in line:
            what = "who answered as the worker (process %d) is not seen to be in its container (process %d)"
            raise Failure(CONTAINER, what % (self._pid, first), "run the agent outside of any container")

    def _cid(self) -> str:
        """The container's id once the engine has told it; until then the name that it was asked to give."""
        try:
            with open(os.path.join(self._folder, "id")) as file:
                self._name = file.read(128).strip() or self._name
        except OSError:
            pass
        return self._name

    def _engine(self, *words: str) -> str:
        """What the engine answers; nothing where it refuses. The supervisor waits for it, for little or in the end."""
        try:
            done = subprocess.run(  # noqa: S603 - words, never a shell's
                (self.asked.engine, *words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=ASK,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""

    def exit_code(self) -> int:
        """As ``run`` passes it on: a signal is 128 and its number."""
        code = self.process.returncode
        return container_spec.SIGNAL - code if code > container_spec.SIGNAL else code

    def kill(self) -> None:
        """Ends the container by its id, whatever its worker does, and what is left of one that never ran."""
        ended = self.process.poll() is not None
        self.alive = False
        if self._life is not None:
            self._life.close()
        self._listener.close()
        if not (ended and self._pid):
            self._engine("kill", self._cid())
            self._engine("rm", "-f", self._cid())
        super().kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def stop(self) -> None:
        """Lets it end by itself; the engine then takes its container away."""
        if self._life is not None:
            self._life.close()
        super().stop()


def ancestry(pid: int) -> List[int]:
    """The process, its parent, and so on to the first."""
    line = [pid]
    while line[-1] > 1:
        line.append(parent(line[-1]))
    return line


def parent(pid: int) -> int:
    """The parent of a process; 0 where there is none, or the process has gone."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def peer(connection: socket.socket) -> int:
    """The process at the other end, by its number here; 0 for one that has none."""
    got = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return int(CREDENTIALS.unpack(got)[0])
