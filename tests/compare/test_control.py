"""The control in a comparison: a machine of another speed gives no better and no worse, and its absence is stated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hil.compare import Settings, Status, compare, document
from hil.compare.write_files import rendered
from hil.results import ControlSummary
from tests.compare.test_comparing import FASTER, QUIET, RULE, SAME, SLOWER, side

if TYPE_CHECKING:
    from hil.compare import Compared, Side


def control(level: float, **changes: Any) -> ControlSummary:
    """Return a control whose median of ``level`` milliseconds is known to 0.5 %."""
    median = level * 1e-3
    fields = {"workload": "net v1", "windows": 20, "median": median, "low": median * 0.995, "high": median * 1.005}
    return ControlSummary(**{**fields, "spread": 0.01, "drift_low": -0.01, "drift_high": 0.01, **changes})


def timed(number: int, factor: float, beside: ControlSummary | None, jetpack: str = "6.2") -> Side:
    """Return a run whose values are multiplied by ``factor``, with the control ``beside`` every row."""
    made = side(number, jetpack, factor)
    return replace(made, points=tuple(replace(point, control=beside) for point in made.points))


def compared(factor: float, base: ControlSummary | None, cand: ControlSummary | None, **settings: Any) -> Compared:
    """Return the comparison of two runs on one board; the candidate's values are multiplied by ``factor``."""
    return compare(timed(1, SAME, base), timed(2, factor, cand), Settings(**settings), QUIET)


@pytest.mark.parametrize("factor", [FASTER, SAME, SLOWER])
@pytest.mark.parametrize(("level", "slower"), [(1.43, "2"), (0.7, "1")])
def test_a_machine_of_another_speed_is_confounded(factor: float, level: float, slower: str) -> None:
    """No row is better, worse or the same if the control differs, and the reason names the slower side."""
    base, cand = timed(1, SAME, control(1)), timed(2, factor, control(level))
    comparison = compare(replace(base, name="1"), replace(cand, name="2"), RULE, QUIET)
    assert {row.status for row in comparison.rows} == {Status.CONFOUNDED}
    assert not comparison.passed
    for row in comparison.rows:
        assert row.reason.startswith("this machine ran the control 43 % slower on the side of " + slower)
        assert "measure both again" in row.reason
        assert row.control is not None
        assert row.control.effect == pytest.approx(level - 1)


def test_a_control_that_drifts_is_confounded() -> None:
    """A machine that slows down within a session makes the comparison confounded."""
    drifting = control(1, drift=0.3, drift_low=0.2, drift_high=0.4)
    for sides in ((control(1), drifting), (drifting, control(1))):
        comparison = compared(SAME, *sides)
        assert {row.status for row in comparison.rows} == {Status.CONFOUNDED}
        assert "this machine became 35 % slower during" in comparison.rows[0].reason


def test_a_change_must_exceed_that_of_the_control() -> None:
    """A change of a row counts only as far as it exceeds the change of the control."""
    for factor, expected in ((1.04, Status.SAME), (1.065, Status.UNCLEAR), (1.1, Status.WORSE), (0.9, Status.BETTER)):
        rows = compared(factor, control(1), control(1.04)).rows
        assert next(row for row in rows if row.check == "latency.p50").status is expected
    rows = compared(1.04, control(1), control(1)).rows
    assert next(row for row in rows if row.check == "latency.p50").status is Status.WORSE


def with_fact(made: Side, **facts: Any) -> Side:
    """Return the side with other facts in its environment."""
    named = {"new": {**made.environments[made.points[0].environment], **facts}}
    return replace(made, points=tuple(replace(each, environment="new") for each in made.points), environments=named)


@pytest.mark.parametrize("factor", [FASTER, SAME, SLOWER])
def test_a_lowered_clock_is_confounded(factor: float) -> None:
    """A clock that was limited on one side confounds a comparison."""
    base = with_fact(timed(1, SAME, control(1)), clocks={"gpu": {"min": 3e8, "max": 1.3e9}})
    cand = with_fact(timed(2, factor, control(1)), clocks={"gpu": {"min": 3e8, "max": 6.24e8}})
    cand = as_environment(cand, "lowered")
    for sides in ((base, cand), (cand, base)):
        rows = compare(*sides, RULE, QUIET).rows
        assert {row.status for row in rows} == {Status.CONFOUNDED}
        assert "the gpu clock was limited to 624 MHz on the side of" in rows[0].reason
    slow = replace(cand, points=tuple(replace(point, control=control(1.4)) for point in cand.points))
    assert "ran the control 40 % slower" in compare(base, slow, RULE, QUIET).rows[0].reason


def test_clocks_and_memory_that_changed_are_shown_with_units() -> None:
    """Clocks and memory are shown with units; two values that would look equal are shown as recorded."""
    base = with_fact(timed(1, SAME, None), clocks={"gpu": {"min": 0, "max": 1.3e9}}, memory_total=2**33)
    cand = with_fact(timed(2, SAME, None), clocks={"gpu": {"min": 3e8, "max": 1.3e9 + 1}}, memory_total=2**32)
    changed = compare(base, as_environment(cand, "other"), RULE, QUIET).changed
    shown = {each.name: (each.base, each.cand) for each in changed if each.name.startswith(("clocks", "memory"))}
    assert shown == {
        "clocks: gpu.max": ("1300000000.0", "1300000001.0"),
        "clocks: gpu.min": ("0 Hz", "300 MHz"),
        "memory_total": ("8 GiB", "4 GiB"),
    }


def test_another_power_mode_explains_another_clock() -> None:
    """A declared difference such as the power mode confounds nothing."""
    base = with_fact(timed(1, SAME, None), clocks={"gpu": {"max": 1.3e9}}, identity={"power_mode": "MAXN"})
    cand = with_fact(timed(2, SLOWER, None), clocks={"gpu": {"max": 6e8}}, identity={"power_mode": "15W"})
    rows = compare(base, as_environment(cand, "other"), RULE, QUIET).rows
    assert {row.status for row in rows} == {Status.WORSE, Status.BETTER}


def as_environment(made: Side, name: str) -> Side:
    """Return the side with its only environment under another digest."""
    (facts,) = made.environments.values()
    points = tuple(replace(point, environment=name) for point in made.points)
    return replace(made, points=points, environments={name: facts})


@pytest.mark.parametrize("factor", [FASTER, SAME, SLOWER])
def test_a_recorded_disturbance_is_confounded(factor: float) -> None:
    """A side that was disturbed from outside shows neither a change nor its absence, and the reason names the cause."""
    base, cand = timed(1, SAME, None), timed(2, factor, None)
    alert = replace(cand, points=tuple(replace(point, disturbed=("an alert was active",)) for point in cand.points))
    for sides in ((base, alert), (alert, base)):
        rows = compare(*sides, RULE, QUIET).rows
        assert {row.status for row in rows} == {Status.CONFOUNDED}
        assert "(an alert was active)" in rows[0].reason


def test_a_recorded_difference_may_explain_the_control() -> None:
    """Another runtime may explain another control, so the rows are judged; another model does not explain it."""
    base, cand = timed(1, SAME, control(1)), timed(2, SLOWER, control(1.4))
    other = compare(base, with_fact(cand, runtimes={"tensorrt": "10.3"}), RULE, QUIET)
    assert {row.status for row in other.rows} == {Status.WORSE, Status.BETTER}
    assert all(row.control is None for row in other.rows)
    model = compare(base, with_fact(cand, models={"digits": {"model": "0123"}}), RULE, QUIET)
    assert {row.status for row in model.rows} == {Status.CONFOUNDED}


def test_runs_without_a_control_are_compared_and_this_is_stated() -> None:
    """Runs without a control are compared, with a note in every format."""
    for sides in ((None, None), (None, control(1)), (control(1.4), None)):
        comparison = compared(SLOWER, *sides)
        assert {row.status for row in comparison.rows} == {Status.WORSE, Status.BETTER}
        assert comparison.uncontrolled is not None
        for kind in ("json", "markdown", "html"):
            assert "no control was timed on the side of" in rendered(document([comparison], RULE), kind)
    assert compared(SLOWER, control(1), control(1)).uncontrolled is None


def test_a_missing_control_of_one_of_several_sessions_is_no_control() -> None:
    """If one session of a side has no control, the side has none."""
    base, cand = timed(1, SAME, control(1)), timed(2, SLOWER, control(1.4))
    more = timed(3, SAME, None)
    mixed = replace(base, points=(*base.points, *more.points))
    comparison = compare(mixed, cand, RULE, QUIET)
    assert Status.CONFOUNDED not in {row.status for row in comparison.rows}
    assert comparison.uncontrolled is not None


def test_the_ratio_to_the_control_is_never_judged() -> None:
    """If the controls differ, no row is better or worse, whatever its ratio to the control."""
    comparison = compared(SAME, control(1.4), control(1))
    assert {row.status for row in comparison.rows} == {Status.CONFOUNDED}
    assert [row.effect for row in comparison.rows] == pytest.approx([0.0] * len(comparison.rows), abs=1e-9)
