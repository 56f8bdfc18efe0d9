"""The process that holds a board's namespaces: ``python -m tests.boards.keeper``, told by its standard input.

It makes the root once and boots it as often as asked: each boot is a namespace of process ids whose first
process starts sshd. When its standard input ends, which it does however the tests end, the board is gone:
with the last process of a namespace the kernel takes its mounts, its interfaces and its files away.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from tests.boards import kernel, root
from tests.boards.first import first_process

_NAMESPACES = kernel.NEW_MOUNTS | kernel.NEW_HOSTNAME | kernel.NEW_IPC | kernel.NEW_NETWORK


def boot(settings: root.Settings) -> tuple[int, int]:
    """Starts the board: (the launcher's process id, the first process's as seen from here)."""
    reader, writer = os.pipe()
    launcher = os.fork()
    if not launcher:
        kernel.die_with_parent()
        kernel.unshare(kernel.NEW_PIDS)
        first = os.fork()
        if not first:
            kernel.die_with_parent()
            os.close(reader)
            os.close(writer)
            first_process(settings)
        os.write(writer, b"%d" % first)
        os.close(writer)
        os.waitpid(first, 0)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        return launcher, int(told.read())


def stop(launcher: int, first: int) -> None:
    """Ends every process of the board as cutting its power does, and waits until none is left."""
    os.kill(first, signal.SIGKILL)
    os.waitpid(launcher, 0)


def answer(**words: object) -> None:
    """One line to the tests."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Reads the board's settings from the first line, then a command a line: ``boot`` or ``stop``."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C goes to the whole terminal; the tests decide when a board ends
    settings = root.Settings(**json.loads(sys.stdin.readline()))
    kernel.unshare(_NAMESPACES)
    kernel.set_hostname(settings.facts["hostname"])
    # Opened here: below the new root this machine's own is no longer to be seen.
    settings.meminfo = os.open("/proc/meminfo", os.O_RDONLY)
    root.make(settings)
    answer(ready=True)
    running: tuple[int, int] | None = None
    for line in sys.stdin:
        if line.strip() == "boot":
            running = boot(settings)
            answer(first=running[1])
        elif running is not None:
            stop(*running)
            running = None
            answer(stopped=True)
    if running is not None:
        stop(*running)


if __name__ == "__main__":
    main()
