"""Starts workers in containers with the board's container engine, and kills them by the container's id.

The container's first process (``container_main.py``) connects to a socket in a folder that only this user may enter.
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

POLL = 0.02  # seconds between two checks of a process
ASK = 20.0  # seconds that one short command of the container engine may take
EXIT_SECONDS = 5.0
CREDENTIALS = struct.Struct("3i")  # linux/socket.h: struct ucred
DETACHED = 0  # exit code of ``run`` if the container was detached


class ContainedWorker(WorkerProcess):
    """A worker in a container. Until ``arrived`` has returned true, call no other method except ``kill``."""

    exit_seconds = EXIT_SECONDS

    def __init__(self, number: int, order: Order, scratch: str) -> None:
        """Start the container of worker ``number``; ``scratch`` is a folder for temporary files.

        Raise ``Failure`` if a path cannot be mounted.
        """
        self.container = order.container
        self._life: Optional[socket.socket] = None
        self._guard = self._pid = 0
        self._folder = tempfile.mkdtemp(prefix="worker-", dir=scratch)
        self._name = "hil-" + os.path.basename(self._folder) + "-%d" % os.getpid()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._command = container_spec.run_words(order, self._name, self._folder)
            self._listen()
            super().__init__(number, order.mounts.archive, scratch)
        except BaseException:
            self._listener.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _listen(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._listener.bind(
                "/proc/self/fd/%d/%s" % (folder, SOCKET)
            )  # an address is at most 108 bytes, a path may be longer
        finally:
            os.close(folder)
        self._listener.listen(2)
        self._listener.setblocking(False)  # noqa: FBT003 - the function takes no keyword

    def _start(self, archive: str, output: int) -> "subprocess.Popen[bytes]":  # noqa: ARG002 - as in WorkerProcess
        return subprocess.Popen(  # noqa: S603 - words, never a shell's; the user's own args among them
            self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )

    @property
    def pid(self) -> int:
        """The worker's process id outside the container; until it is connected, the id of the engine's process."""
        return self._pid or self.process.pid

    def arrived(self) -> bool:
        """Accept waiting connections, and return whether the worker is connected; call it until it returns true.

        Raise ``Failure`` if the container has ended, or if the process that connected is not in the container.
        """
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
        """Raise the ``Failure`` that states why the container has ended."""
        ended = time.monotonic() + 1
        while self.read_output() and time.monotonic() < ended:
            time.sleep(POLL)
        code = self.process.returncode
        if code == DETACHED:
            what = "the worker's container was detached, or it ended at once"
            raise Failure(
                CONTAINER, what, "remove --detach from the container's args, and check the image's entry point"
            )
        raise container_spec.start_trouble(self.container, code, last_lines(self.output))

    def _check(self) -> None:
        """Raise ``Failure`` unless the process that connected as the worker runs in the worker's container.

        It must descend from the container's first process, and from the process that connected before it.
        """
        pid = self._engine("inspect", "--format", "{{.State.Pid}}", self._cid()).strip()
        first = int(pid) if pid.isdigit() else 0
        line = ancestry(self._pid)
        if not first or not self._pid or self._guard not in line or first not in line:
            what = "the process that connected as the worker (%d) is not in the worker's container (process %d)"
            raise Failure(CONTAINER, what % (self._pid, first), "run the agent outside of any container")

    def _cid(self) -> str:
        """Return the container's id if the engine has written it, otherwise the container's name."""
        try:
            with open(os.path.join(self._folder, "id")) as file:
                self._name = file.read(128).strip() or self._name
        except OSError:
            pass
        return self._name

    def _engine(self, *words: str) -> str:
        """Run the engine with the arguments ``words``.

        Return its output; empty if it fails.

        Call this only for short commands, since the supervisor waits.
        """
        try:
            done = subprocess.run(  # noqa: S603 - words, never a shell's
                (self.container.engine, *words),
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
        """Return the worker's exit code; if a signal ended the worker, the signal's number negated.

        The engine's ``run`` reports a signal as 128 plus its number.
        """
        code = self.process.returncode
        return container_spec.SIGNAL - code if code > container_spec.SIGNAL else code

    def kill(self) -> None:
        """Kill and remove the container if it may still exist, and reap the engine's process."""
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
        """End the worker by closing its connections; kill it if it does not end. The engine removes the container."""
        if self._life is not None:
            self._life.close()
        super().stop()


def ancestry(pid: int) -> List[int]:
    """Return the ids of process ``pid``, its parent, and so on up to process 1; the last is 0 if one is unknown."""
    pids = [pid]
    while pids[-1] > 1:
        pids.append(parent(pids[-1]))
    return pids


def parent(pid: int) -> int:
    """Return the id of the parent of process ``pid``; 0 if there is no parent or no such process."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def peer(connection: socket.socket) -> int:
    """Return the id of the process at the socket's other end; 0 if that process is not in this PID namespace."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return int(CREDENTIALS.unpack(credentials)[0])
