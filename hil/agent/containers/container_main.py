"""The first process of a worker's container: it starts the worker, and ends if the worker or the supervisor ends.

A Unix socket connects it to the supervisor, because a container inherits no descriptors.
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
LEAVE = 1.0  # seconds that the worker has to end by itself after the supervisor has ended
HUNG_UP = getattr(select, "POLLRDHUP", 0x2000) | select.POLLHUP | select.POLLERR


def main(arguments: Optional[List[str]] = None) -> None:
    """Connect to the supervisor, start the worker, which connects too, and exit as ``watch`` does.

    ``arguments`` has one word, the folder with the supervisor's socket; None: the word after ``--inside``.
    """
    folder = (arguments or sys.argv[2:3])[0]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(
        signal.SIGTERM, lambda *_: os._exit(SIGNALLED + signal.SIGTERM)
    )  # PID 1 has no default action for signals
    os.chdir(folder)  # a socket's address is at most 108 bytes, a path may be longer
    life = connect()
    ended, held = os.pipe()
    guard = os.getpid()
    worker = os.fork()
    if worker == 0:
        os.set_inheritable(held, True)  # noqa: FBT003 - the function takes no keyword
        run_worker(guard)
    os.close(held)
    os.chdir("..")  # the supervisor is about to delete the folder
    watch(life, ended, worker)


SIGNALLED = 128  # a process ended by a signal has this exit code plus the signal's number


def connect() -> socket.socket:
    """Return a connection to the supervisor. Exit with code 1 if the supervisor is gone."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.connect(SOCKET)
    except OSError:
        os._exit(1)
    return made


def run_worker(guard: int) -> None:
    """Receive the descriptor of the worker's shared segment from the supervisor, then replace this process by a worker.

    ``guard`` is the process id of the container's first process. Exit with code 1 if no descriptor arrives.
    """
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
        os.set_inheritable(fd, True)  # noqa: FBT003 - the function takes no keyword
    words = [sys.executable, "-B", sys.argv[0], "--worker", str(control.fileno()), str(fds[0]), str(guard)]
    os.execv(sys.executable, words)  # noqa: S606 - our own interpreter and archive


def watch(life: socket.socket, ended: int, worker: int) -> None:
    """Wait until the process ``worker`` ends, then exit with its exit code, or ``SIGNALLED`` plus its signal's number.

    ``life`` is the connection to the supervisor. ``ended`` is a descriptor that becomes readable when the worker ends.
    If the supervisor ends first, the worker gets ``LEAVE`` seconds to end, then it is killed.
    """
    poller = select.poll()
    poller.register(life.fileno(), HUNG_UP)
    poller.register(ended, select.POLLIN)
    ready = {fd for fd, _ in poller.poll()}
    if ended not in ready:
        poller.unregister(life.fileno())
        if not poller.poll(LEAVE * 1000):
            with contextlib.suppress(OSError):
                os.kill(worker, signal.SIGKILL)
    _, status = os.waitpid(worker, 0)
    signalled = os.WIFSIGNALED(status)
    os._exit(SIGNALLED + os.WTERMSIG(status) if signalled else os.WEXITSTATUS(status))
