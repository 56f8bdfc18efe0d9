"""Runs of different boards are compared only as far as a calibration of these boards allows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from hil.compare import Compared, Side, Status, compare
from hil.compare.select_runs import history_facts_of
from hil.history import Noise, open_history
from hil.history.derive import derive
from hil.history.entries import between
from hil.stats.control_difference import CONTROL
from tests.compare.test_comparing import QUIET, RULE, SAME, SLOWER, side
from tests.compare.test_control import control
from tests.history import run_reports

if TYPE_CHECKING:
    from pathlib import Path

    from hil.results import ControlSummary

BOARDS = ("1420", "9999")
OLD = timedelta(days=40)
ROW = ("latency.p50", "digits", "fp32")


def on(board: str, number: int, factor: float = SAME, beside: ControlSummary | None = None, **run: Any) -> Side:
    """Return a run on the board with this serial number; its values are multiplied by ``factor``."""
    other = derive(run_reports.on_jetpack(number, "6.2", serial=board))
    made = side(number, "6.2", factor)
    measured = replace(other.run, **{"module": "agx-orin-64gb", **run})
    return replace(made, points=tuple(replace(point, run=measured, control=beside) for point in made.points))


def compared(folder: Path, base: Side, cand: Side, boards: tuple[str, ...] = BOARDS, **spreads: float) -> Compared:
    """Return the comparison after a calibration of ``boards``; ``row`` and ``control`` are by how much they differ."""
    with open_history(f"sqlite:///{folder}/history.db", base=folder) as history:
        rows = {"row": ROW, "control": (CONTROL, "net v1", "")}
        for name, spread in spreads.items():
            now = datetime.now(timezone.utc) - OLD
            history.add_noise(Noise(between(boards), "orins", *rows[name], spread, 0.0, 20, now))
        facts = replace(history_facts_of(history), noise=QUIET.noise)
        return compare(base, cand, RULE, facts)


def statuses(comparison: Compared) -> dict[str, Status]:
    """Return the status of each check."""
    return {row.check: row.status for row in comparison.rows}


def test_without_a_calibration_boards_are_different_environments(tmp_path: Path) -> None:
    """No row is judged, and the reason has the command that calibrates; boards of two modules cannot be calibrated."""
    comparison = compared(tmp_path, on(BOARDS[0], 1), on(BOARDS[1], 2, SLOWER))
    assert set(statuses(comparison).values()) == {Status.CONFOUNDED}
    assert "hil board calibrate POOL" in comparison.rows[0].reason
    for run in ({"module": "orin-nx-16gb"}, {"module": None}, {"serial": None}):
        other = compared(tmp_path, on(BOARDS[0], 1), on(BOARDS[1], 2, **run), row=0.01)
        assert set(statuses(other).values()) == {Status.CONFOUNDED}, run
    assert "hil board calibrate" not in compared(tmp_path, on("1", 1), on("2", 2, module="another")).rows[0].reason


def test_a_board_that_was_not_calibrated_with_the_other_is_another_environment(tmp_path: Path) -> None:
    """A row is confounded unless a calibration includes both boards and that row."""
    third = compared(tmp_path, on(BOARDS[0], 1), on("7777", 2), row=0.01)
    assert set(statuses(third).values()) == {Status.CONFOUNDED}
    both = compared(tmp_path, on(BOARDS[0], 1), on(BOARDS[1], 2), row=0.01)
    assert statuses(both) == {"latency.p50": Status.SAME, "fps.sustained": Status.CONFOUNDED}
    assert both.confounded is not None
    more = compared(tmp_path, on(BOARDS[0], 1), on("7777", 2), boards=(*BOARDS, "7777"), row=0.01)
    assert statuses(more)["latency.p50"] is Status.SAME


@pytest.mark.parametrize(
    ("factor", "spread", "expected"),
    [
        (SAME, 0.01, Status.SAME),
        (SLOWER, 0.03, Status.WORSE),
        (0.8, 0.03, Status.BETTER),
        (1.03, 0.05, Status.UNCLEAR),
        (0.97, 0.05, Status.UNCLEAR),
        (SAME, 0.08, Status.UNCLEAR),
        (SLOWER, 0.25, Status.UNCLEAR),
    ],
)
def test_a_verdict_must_hold_for_every_difference_that_the_boards_may_have(
    tmp_path: Path, factor: float, spread: float, expected: Status
) -> None:
    """A row has a verdict only if it would be the same for every possible difference between the boards."""
    comparison = compared(tmp_path, on(BOARDS[0], 1), on(BOARDS[1], 2, factor), row=spread)
    [row] = [row for row in comparison.rows if row.check == "latency.p50"]
    assert row.status is expected, row.reason
    day = datetime.now(timezone.utc).date() - OLD
    assert f"these boards differ by up to {spread * 100:.2g} %, as calibrated on {day} (with the JetPack" in row.reason
    assert ("measure both sides on one board" in row.reason) == (expected is Status.UNCLEAR)


def test_a_board_that_became_slower_since_is_confounded(tmp_path: Path) -> None:
    """A row is confounded if the controls differ by 5 % more than the calibration of the two boards explains."""

    def status(level: float, spread: float = 0.0) -> Status:
        sides = on(BOARDS[0], 1, beside=control(1)), on(BOARDS[1], 2, SLOWER, beside=control(level))
        return statuses(compared(tmp_path, *sides, row=0.01, control=spread))["latency.p50"]

    assert status(1.0) is Status.WORSE
    assert status(1.1) is Status.CONFOUNDED
    assert status(1.1, 0.09) is Status.WORSE
    assert status(1.2, 0.09) is Status.CONFOUNDED


def test_rows_of_one_board_are_judged_though_the_runs_used_several(tmp_path: Path) -> None:
    """In runs of a pool, a row that ran on one board on both sides is judged, and one on two boards is confounded."""
    facts = {name: {"identity": {"serial": name, "module": "orin-nx-16gb"}} for name in BOARDS}

    def of(number: int, boards: tuple[str, str]) -> Side:
        made = on("1", number, SAME if number == 1 else SLOWER)
        run = replace(made.runs[0], serial=None)
        points = [replace(point, run=run, environment=name) for point, name in zip(made.points, boards, strict=True)]
        return replace(made, points=tuple(points), environments=facts)

    found = compared(tmp_path, of(1, BOARDS), of(2, (BOARDS[0], BOARDS[0])))
    [one, other] = [found.rows[at] for at in (0, 1)]
    checks = [point.check for point in of(1, BOARDS).points]
    by_check = {row.check: row for row in (one, other)}
    assert by_check[checks[0]].status in {Status.WORSE, Status.BETTER}
    assert by_check[checks[1]].status is Status.CONFOUNDED
