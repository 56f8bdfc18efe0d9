"""Keep the judged rows even if the run is killed: its incomplete report is rewritten while it runs."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from hil.errors import HilError
from hil.plugins import finish_run
from hil.report.write_report import update

if TYPE_CHECKING:
    from hil.plugins.run_state import RunState

SHARE = 0.02
"""The maximum share of a run's time that writing may take; writing a report of 130 rows takes about 0.2 s."""

LONG = 30.0
"""Seconds: before a step that may take this long, judged rows are written in any case."""


class KeptRows:
    """Writes judged rows to the incomplete report, so that a killed run loses at most those of its last seconds."""

    def __init__(self, run: RunState) -> None:
        self._run = run
        self._unsaved = False
        self._next = 0.0

    def judged(self) -> None:
        """Note that rows were judged, and write them unless that would take too much of the run's time."""
        self._unsaved = True
        self.due()

    def due(self) -> None:
        """Write the judged rows unless that would take too much of the run's time.

        Another thread calls this during a step of unknown length.
        """
        if self._unsaved and time.monotonic() >= self._next:
            self._save()

    def before(self, seconds: float | None) -> None:
        """Write the judged rows if the step that begins may take ``LONG`` or more.

        ``seconds`` is the longest time that the step may take; ``None`` if unknown.
        """
        if self._unsaved and seconds is not None and seconds >= LONG:
            self._save()

    def _save(self) -> None:
        run, began = self._run, time.monotonic()
        if run.is_worker or not run.begun:
            return
        # A full disk, or another run in this folder, is reported when the run ends.
        with contextlib.suppress(HilError):
            update(run.report_dir, finish_run.unfinished_report(run))
        self._unsaved = False
        now = time.monotonic()
        self._next = now + (now - began) / SHARE
