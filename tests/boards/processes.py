"""The processes of a board, read from this machine's ``/proc``."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from tests.boards import accounts


@dataclass(frozen=True)
class Process:
    """``pid`` is the process id on the board, ``outer`` the one on this machine."""

    pid: int
    user: str
    command: str
    outer: int


def of_board(first: int) -> list[Process]:
    """Return all processes in the PID namespace of ``first``, except its first one, sorted by ``pid``."""
    try:
        space = os.readlink(f"/proc/{first}/ns/pid")  # noqa: PTH115 - called many times a second, for all processes
    except OSError:
        return []
    entries = [_read(int(name), space) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - as above
    return sorted((process for process in entries if process and process.pid != 1), key=lambda process: process.pid)


def _read(outer: int, space: str) -> Process | None:
    place = Path(f"/proc/{outer}")
    try:
        if os.readlink(f"/proc/{outer}/ns/pid") != space:  # noqa: PTH115 - as above
            return None
        status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines() if ":" in line)
        command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    if status["State"].split()[0] in {"Z", "X"}:
        return None
    return Process(int(status["NSpid"].split()[-1]), _name(int(status["Uid"].split()[1])), command, outer)


def _name(number: int) -> str:
    if number == accounts.ID:
        return accounts.USER
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
