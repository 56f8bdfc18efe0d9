"""The report into the history: checked before the first test where somebody asked for it, kept after the last."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hil.errors import HilError
from hil.gate.exitcode import PRECEDENCE
from hil.history import open_history
from hil.history.urls import OFF

if TYPE_CHECKING:
    from pathlib import Path

    from hil.plugins.run_state import RunState
    from hil.report.schema import Report


@dataclass(frozen=True)
class Place:
    """Where the history is. ``asked`` is false for the default place, which nobody chose."""

    url: str = field(repr=False)
    base: Path
    asked: bool


def place(run: RunState) -> Place | None:
    """``--hil-history``, else ``[project] history``, else the default; ``None`` if it is switched off or has no config.

    A relative file is below the folder of ``hil.toml``.
    """
    if run.config is None:
        return None
    given: str | None = run.pytest_config.getoption("hil_history", None)
    project = run.config.spec.project
    url = given or project.history
    if url.strip().lower() == OFF:
        return None
    compared = run.pytest_config.getoption("hil_baseline", None) is not None
    return Place(url, run.config.root, asked=compared or given is not None or "history" in project.model_fields_set)


def check(run: RunState) -> None:
    """Finds out before anything is measured that a history that was asked for can be had. Raises ``HilError``."""
    found = place(run)
    if found is not None and found.asked:
        with open_history(found.url, base=found.base) as history:
            history.check()


def keep(run: RunState, report: Report, code: int) -> int:
    """Adds the report, which is on disk, and returns the run's exit code; raises nothing foreseeable.

    The default history of somebody who never had one is a convenience: that it cannot be begun is told and changes
    nothing. Any other that cannot be kept is an error, since the next comparison would miss this run.
    """
    found = place(run)
    if found is None:
        return code
    began = found.asked or _exists(found)
    try:
        with open_history(found.url, base=found.base) as history:
            history.append(report)
    except HilError as error:
        if not began:
            run.notes.append(f"{error}; this run is in no history (--hil-history=none: keep none)")
            return code
        sys.stderr.write(f"error: {error}: the report is not in the history, keep it with hil history import\n")
        return next(int(each) for each in PRECEDENCE if each in (code, error.exit_code))
    return code


def _exists(found: Place) -> bool:
    from hil.history.urls import place_of

    with contextlib.suppress(HilError, OSError):
        file = place_of(found.url, found.base).file
        return file is None or file.exists()
    return False
