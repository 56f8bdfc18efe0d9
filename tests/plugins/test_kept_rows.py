"""``KeptRows``: when the judged rows of a run are written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from hil.plugins import finish_run, kept_rows
from hil.plugins.kept_rows import LONG, KeptRows

if TYPE_CHECKING:
    from pathlib import Path

    from hil.plugins.run_state import RunState
    from hil.report.schema import Report


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the times at which a report is written; writing takes 0.2 s of a clock that tests set (``now``)."""
    times: list[float] = []
    clock = SimpleNamespace(now=100.0)

    def update(folder: Path, report: Report) -> None:
        del folder, report
        times.append(clock.now)
        clock.now += 0.2

    monkeypatch.setattr(kept_rows, "update", update)
    monkeypatch.setattr(finish_run, "unfinished_report", lambda _run: None)
    monkeypatch.setattr(kept_rows, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(kept_rows, "CLOCK", clock, raising=False)
    return times


def at(seconds: float) -> None:
    """Set the clock."""
    kept_rows.CLOCK.now = seconds  # type: ignore[attr-defined] # the fixture sets it


def run(*, is_worker: bool = False, begun: bool = True) -> RunState:
    """Return a run with only the fields that ``KeptRows`` reads."""
    return cast("RunState", SimpleNamespace(is_worker=is_worker, begun=begun, report_dir=None))


def test_rows_are_written_within_a_share_of_the_time(written: list[float]) -> None:
    """Judged rows are written at once, or later if writing would take more than 2 % of the time."""
    kept = KeptRows(run())
    for seconds in (100.0, 101.0, 109.0, 111.0, 112.0):
        at(seconds)
        kept.judged()
    assert written == [100.0, 111.0]


def test_rows_are_written_before_a_long_step(written: list[float]) -> None:
    """Before a step that may take long, unwritten rows are written."""
    kept = KeptRows(run())
    kept.before(1800.0)
    assert written == []
    kept.judged()
    at(101.0)
    kept.judged()
    kept.before(None)
    kept.before(LONG - 1)
    assert len(written) == 1
    kept.before(LONG)
    kept.before(LONG)
    assert written == [100.0, 101.0]


def test_rows_are_written_while_a_step_lasts(written: list[float]) -> None:
    """Rows that were judged too soon after the last writing are written while the next step lasts."""
    kept = KeptRows(run())
    kept.judged()
    at(101.0)
    kept.judged()
    for seconds in (103.0, 111.0, 112.0, 130.0):
        at(seconds)
        kept.due()
    assert written == [100.0, 111.0]


@pytest.mark.parametrize("other", [run(is_worker=True), run(begun=False)], ids=["worker", "not begun"])
def test_only_the_run_that_began_the_report_writes_it(other: RunState, written: list[float]) -> None:
    """A worker of pytest-xdist, and a run whose report has not begun, write nothing."""
    KeptRows(other).judged()
    assert written == []
