"""Adds the report to the history after the last test, and checks access to the history before the first one."""

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
    """The location of the history: ``url``, in which a relative path starts at the folder ``base``.

    ``is_chosen`` is true if the user set the location, or uses ``--hil-baseline``.
    """

    url: str = field(repr=False)
    base: Path
    is_chosen: bool


def place(run: RunState) -> Place | None:
    """Return the history's location, or ``None`` if it is switched off or there is no config.

    The location is ``--hil-history``, else ``[project] history``, else the default. A relative path starts at the
    folder of ``hil.toml``.
    """
    if run.config is None:
        return None
    option: str | None = run.pytest_config.getoption("hil_history", None)
    project = run.config.spec.project
    url = option or project.history
    if url.strip().lower() == OFF:
        return None
    has_baseline = run.pytest_config.getoption("hil_baseline", None) is not None
    is_chosen = has_baseline or option is not None or "history" in project.model_fields_set
    return Place(url, run.config.root, is_chosen=is_chosen)


def check(run: RunState) -> None:
    """Raise ``HilError`` if the user chose a history (``Place.is_chosen``) that cannot be read and written."""
    location = None if run.selection else place(run)
    if location is not None and location.is_chosen:
        with open_history(location.url, base=location.base) as history:
            history.check()


def append(run: RunState, report: Report, code: int) -> int:
    """Add the written report to the history, and return the run's exit code.

    After an error, it is ``code`` or the error's exit code, whichever comes first in ``PRECEDENCE``. If the default
    history does not exist and cannot be created, the run only gets a note. The report of a selection is not added.
    """
    location = None if run.selection else place(run)
    if location is None:
        return code
    # A chosen or existing history without this run would make the next comparison miss it.
    is_needed = location.is_chosen or _exists(location)
    try:
        with open_history(location.url, base=location.base) as history:
            history.append(report)
    except HilError as error:
        if not is_needed:
            run.notes.append(f"{error}; this run is not in a history (--hil-history=none switches the history off)")
            return code
        sys.stderr.write(f"error: {error}: the report is not in the history; add it with hil history import\n")
        return next(int(each) for each in PRECEDENCE if each in (code, error.exit_code))
    return code


def _exists(location: Place) -> bool:
    from hil.history.urls import place_of

    with contextlib.suppress(HilError, OSError):
        file = place_of(location.url, location.base).file
        return file is None or file.exists()
    return False
