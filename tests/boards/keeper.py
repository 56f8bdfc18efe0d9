"""The process that holds a board's namespaces: ``python -m tests.boards.keeper``, with commands on standard input.

It creates the root once. Each boot is a new PID namespace whose first process starts sshd. When standard input ends,
the board ends.
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
    """Boot the board; return the process ids, on this machine, of the launcher and of the board's first process."""
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
    with os.fdopen(reader) as pipe:
        return launcher, int(pipe.read())


def stop(launcher: int, first: int) -> None:
    """Kill all processes of the board, like a power cut, and wait for their end."""
    os.kill(first, signal.SIGKILL)
    os.waitpid(launcher, 0)


def answer(**words: object) -> None:
    """Write one line of JSON to the tests."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the board's settings from the first line, then one command per line: ``boot`` or ``stop``."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C goes to the whole terminal; the tests decide when a board ends
    settings = root.Settings(**json.loads(sys.stdin.readline()))
    kernel.unshare(_NAMESPACES)
    kernel.set_hostname(settings.facts["hostname"])
    # Opened before the root changes: the new root has no access to this machine's file.
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
