"""Mark the test during which a worker of a pool lost its board."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from hil.plugins.run_state import RunState

LOST = "hil_lost"
"""The attribute of a test's report that has the reason why the board was lost; xdist transfers it to the controller."""


def leave_board(run: RunState, item: pytest.Item, report: pytest.TestReport, why: str) -> None:
    """Note that the board was lost because of ``why`` during the test ``item``, and let this worker end after it.

    ``report``, the test's report, then counts neither as passed nor as failed.
    """
    run.lost = run.lost or why
    report.outcome = "rerun"  # type: ignore[assignment] # as pytest-rerunfailures does
    setattr(report, LOST, why)
    item.session.shouldstop = why
