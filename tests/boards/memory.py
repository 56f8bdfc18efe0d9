"""A memory limit for a board: a control group (version 1 or 2) of this machine with the board's processes."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.boards import processes

NAME = "hil-board-"
VERSION_1, VERSION_2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


def limit(first: int, size: int) -> None:
    """Limit all processes of the board with first process ``first`` to ``size`` bytes."""
    sweep()
    group = _group(first)
    group.mkdir(exist_ok=True)
    bound = "memory.limit_in_bytes" if group.parent == VERSION_1 else "memory.max"
    (group / bound).write_text(str(size), encoding="ascii")
    for outer in [first, *(process.outer for process in processes.of_board(first))]:
        with contextlib.suppress(ProcessLookupError):
            join(first, outer)


def join(first: int, outer: int) -> None:
    """Move one process into the board's group."""
    (_group(first) / "cgroup.procs").write_text(str(outer), encoding="ascii")


def _group(first: int) -> Path:
    return (VERSION_1 if VERSION_1.is_dir() else VERSION_2) / f"{NAME}{first}"


def sweep() -> None:
    """Delete the groups of boards that have ended; the kernel does not delete empty groups."""
    for group in (*VERSION_1.glob(f"{NAME}*"), *VERSION_2.glob(f"{NAME}*")):
        if not Path("/proc", group.name.removeprefix(NAME)).exists():
            with contextlib.suppress(OSError):
                group.rmdir()
