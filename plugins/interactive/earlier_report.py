"""Keeps the report of an earlier run, in case this run cannot begin because another one holds the target.

In CI, and with ``--hil-gate``, nothing is kept or restored.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from hil.errors import TargetHeld
from hil.plugins.command_line import WITHOUT_VALUE, read
from hil.plugins.interactive.selection import CI
from hil.report.write_report import FILES, REPORT, replace_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from hil.plugins.run_state import RunState

EARLIER: pytest.StashKey[dict[Path, bytes]] = pytest.StashKey()


def keep(run: RunState) -> None:
    """Remember the files of the earlier report before this run replaces them.

    Do nothing in CI, with ``--hil-gate``, in an xdist worker, and in every call of a run after the first.
    """
    config = run.pytest_config
    gated = WITHOUT_VALUE in read(config).options or any(os.environ.get(name) for name in CI)
    if run.is_worker or gated or EARLIER in config.stash:
        return
    files: dict[Path, bytes] = {}
    for path in (run.report_dir / name for name in FILES):
        with contextlib.suppress(OSError):
            files[path] = path.read_bytes()
    config.stash[EARLIER] = files


def restore(run: RunState) -> bool:
    """Restore the earlier report if another run holds the target and nothing was judged; return whether this was done.

    The run then counts as not begun (``run.did_not_begin``).
    """
    files = run.pytest_config.stash.get(EARLIER, {})
    if not isinstance(run.problem, TargetHeld) or run.accounts.outcomes or run.report_dir / REPORT not in files:
        return False
    for path in (run.report_dir / name for name in FILES):
        path.unlink(missing_ok=True)
    # The report comes last: without it, the other files are of no run.
    for path in sorted(files, key=lambda path: path.name == REPORT):
        replace_bytes(path, files[path])
    run.did_not_begin = True
    run.notes.append(f"{run.report_dir}: the earlier report is unchanged, because this run did not begin")
    return True
