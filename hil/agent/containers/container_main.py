"""The first process of a worker's container: connects to the supervisor, starts the worker, ends with either.

No descriptor and no death of a parent crosses the border of a container, but a socket does, and descriptors through
it. Being first, this process takes everything in the container with it when it ends.
"""

import array
import contextlib
import os
import select
import signal
import socket
import sys
from typing import List, Optional

SOCKET = "socket"
LEAVE = 1.0
HUNG_UP = getattr(select, "POLLRDHUP", 0x2000) | select.POLLHUP | select.POLLERR


def main(arguments: Optional[List[str]] = None) -> None:
    """``FOLDER``: has the socket that the supervisor listens on. Connects for itself, then the worker for itself."""
    folder = (arguments or sys.argv[2:3])[0]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(SIGNALLED + signal.SIGTERM))  # a first process has no default
    os.chdir(folder)  # a socket's address is short, a path may not be
    life = connect()
    ended, held = os.pipe()
    guard = os.getpid()
    worker = os.fork()
    if worker == 0:
        os.set_inheritable(held, True)  # noqa: FBT003 - it takes no keyword
        work(guard)
    os.close(held)
    os.chdir("..")  # the folder is about to go
    watch(life, ended, worker)


SIGNALLED = 128  # exit code of what a signal ended, less the signal's number


def connect() -> socket.socket:
    """A connection to the supervisor; ends this process quietly where there is none any more."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.connect(SOCKET)
    except OSError:
        os._exit(1)
    return made


def work(guard: int) -> None:
    """Becomes a worker like any other, with the descriptor of the shared segment that the supervisor sends."""
    control = connect()
    fds = array.array("i")
    data, ancillary, _, _ = control.recvmsg(1, socket.CMSG_SPACE(fds.itemsize))
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: fds.itemsize])
    if not data or not fds:
        os._exit(1)
    os.chdir("..")
    for fd in (control.fileno(), fds[0]):
        os.set_inheritable(fd, True)  # noqa: FBT003 - it takes no keyword
    words = [sys.executable, "-B", sys.argv[0], "--worker", str(control.fileno()), str(fds[0]), str(guard)]
    os.execv(sys.executable, words)  # noqa: S606 - our own interpreter and archive


def watch(life: socket.socket, ended: int, worker: int) -> None:
    """Waits for the worker's end, or for the supervisor's, who is then given ``LEAVE`` seconds less than a kill."""
    poller = select.poll()
    poller.register(life.fileno(), HUNG_UP)
    poller.register(ended, select.POLLIN)
    found = {fd for fd, _ in poller.poll()}
    if ended not in found:
        poller.unregister(life.fileno())
        if not poller.poll(LEAVE * 1000):
            with contextlib.suppress(OSError):
                os.kill(worker, signal.SIGKILL)
    _, status = os.waitpid(worker, 0)
    signalled = os.WIFSIGNALED(status)
    os._exit(SIGNALLED + os.WTERMSIG(status) if signalled else os.WEXITSTATUS(status))
