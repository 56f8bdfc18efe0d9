"""Locks the report's folder, so that two runs cannot write there at once."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from typing import TYPE_CHECKING

import pytest

from hil.errors import LabError, UserError
from hil.plugins import activation
from hil.report.shown_text import one_line
from hil.report.write_report import JUNIT

if TYPE_CHECKING:
    from pathlib import Path

    from hil.plugins.run_state import RunState

LOCK = ".lock"
"""The lock file in the report's folder. It is never deleted: otherwise a second run could lock a new file."""
LONGEST = 200
LOCKED: pytest.StashKey[dict[Path, str]] = pytest.StashKey()


def check(run: RunState) -> None:
    """Set ``run.problem`` if the report's folder is unusable, or another live run writes its report there.

    The folder is locked if it exists and this run writes a report.
    """
    folder, junit = run.report_dir, run.report_dir / JUNIT
    what = ""
    try:
        if folder.exists() and not folder.is_dir():
            what = f"{folder} is a file: the report needs a folder"
        elif junit.is_dir():
            what = f"{junit} is a folder: pytest's results go there"
        elif folder.is_dir() and not activation.lists_only(run.pytest_config):
            lock(run)
    except LabError as error:
        run.problem = run.problem or error
    except OSError:  # an invalid path is reported when the report is begun
        return
    if what:
        run.problem = run.problem or UserError(f"{what}: use another folder with --hil-report=DIR")


def lock(run: RunState) -> None:
    """Lock the report's folder until pytest ends. Raise ``LabError`` if another live run holds the lock.

    Do nothing in an xdist worker. If the folder cannot be locked, the run gets a note and continues.
    """
    if run.is_worker:
        return
    config, folder = run.pytest_config, run.report_dir
    with contextlib.suppress(OSError):  # reported when the report is written
        folder.mkdir(parents=True, exist_ok=True)
        folder = folder.resolve()
    notes = config.stash.setdefault(LOCKED, {})
    if folder not in notes:
        notes[folder] = _lock(config, folder, activation.run_id(config))
    if notes[folder] and notes[folder] not in run.notes:
        run.notes.append(notes[folder])


def _lock(config: pytest.Config, folder: Path, run_id: str) -> str:
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        return _unlocked(folder, error)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = _owner(descriptor)
        os.close(descriptor)
        what = f"{folder}: another run is writing its report there {who}".rstrip()
        raise LabError(f"{what}: wait until it ends, or use another folder with --hil-report=DIR") from None
    except OSError as error:
        os.close(descriptor)
        return _unlocked(folder, error)
    config.add_cleanup(lambda: os.close(descriptor))
    owner = {"run": run_id, "host": socket.gethostname(), "pid": os.getpid()}
    with contextlib.suppress(OSError):  # the lock is valid without its owner's name
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)
    return ""


def _owner(descriptor: int) -> str:
    try:
        owner = json.loads(os.pread(descriptor, 1000, 0))
        return one_line(f"(run {owner['run']}, process {owner['pid']} on {owner['host']})", LONGEST)
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _unlocked(folder: Path, error: OSError) -> str:
    what = f"{folder} cannot be locked ({error.strerror or error})"
    return f"{what}: a second run could write there, so give each run its own --hil-report=DIR"
