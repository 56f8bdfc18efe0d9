"""Mark the test during which a worker lost its board of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from hil.plugins.run_state import RunState

LOST = "hil_lost"
"""The attribute of pytest's reports that says why the board was lost; xdist transfers it."""


def leave_board(run: RunState, item: pytest.Item, report: pytest.TestReport, why: str) -> None:
    """Mark ``report``, of the test during which the board was lost, and let this worker end after the test.

    The test is neither passed nor failed: it begins again, in another worker.
    """
    run.lost = run.lost or why
    report.outcome = "rerun"  # type: ignore[assignment] # as pytest-rerunfailures does
    setattr(report, LOST, why)
    item.session.shouldstop = why
