"""Disturb the machine while a session runs: a busy neighbour, or a limit of the session's processor time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Process = Callable[[], int | None]
Disturb = Callable[[Process], AbstractContextManager[object]]
"""A function that returns a context, which disturbs the machine while it is open.

Its argument is a function that returns the process whose workers may be limited."""

BUSY = "import numpy\nwhile True:\n    numpy.ones((512, 512)) @ numpy.ones((512, 512))"
SLICE = 0.002
"""Seconds for which a limited process alternately runs and is stopped."""


@contextmanager
def neighbour(_process: Process) -> Iterator[None]:
    """Keep all cores of this thread but one busy with matrix products, and at least one."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    busy = [
        subprocess.Popen([sys.executable, "-c", BUSY], env={**os.environ, **threads})
        for _ in range(max(1, len(os.sched_getaffinity(0)) - 1))
    ]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextmanager
def limit(process: Process) -> Iterator[None]:
    """Limit each worker below ``process()`` to one core.

    The agent itself keeps all cores: it reads their number, which the report records. A quota of processor time
    (``cpu.max``) would interrupt few inferences for long and leave the median of the others unchanged.
    """
    ended, core = threading.Event(), min(os.sched_getaffinity(0))

    def pin() -> None:
        while not ended.wait(SLICE):
            root = process()
            for worker in _workers(root) if root is not None else ():
                for thread in _threads(worker):
                    with suppress(OSError):
                        os.sched_setaffinity(thread, {core})

    pinning = threading.Thread(target=pin)
    pinning.start()
    try:
        yield
    finally:
        ended.set()
        pinning.join()


DISTURBANCES: Mapping[str, Disturb] = {"neighbour": neighbour, "limit": limit}


def _workers(root: int) -> list[int]:
    """Return the processes below ``root`` that an agent started as workers."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    below, level = [], [root]
    while level := [child for one in level for child in children.get(one, [])]:
        below += level
    return [process for process in below if _is_worker(process)]


def _is_worker(process: int) -> bool:
    with suppress(OSError):
        return b"--worker" in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    return False


def _threads(process: int) -> list[int]:
    with suppress(OSError):
        return [int(entry.name) for entry in Path(f"/proc/{process}/task").iterdir()]
    return []
