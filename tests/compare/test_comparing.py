"""Comparing two sides: refused, confounded and missing rows prevent a pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hil.baseline import machine
from hil.compare import HistoryFacts, Settings, Side, Status, against_base, compare, document, sides_by, wording
from hil.compare.accepted_levels import Level
from hil.compare.write_files import rendered
from hil.errors import UserError
from hil.history import Acceptance, Point
from hil.history.derive import derive
from hil.stats.runs import NOISE_DF
from hil.stats.session_noise import SessionNoise
from tests.history import run_reports

if TYPE_CHECKING:
    from collections.abc import Sequence

RULE = Settings()
FASTER, SAME, SLOWER = 0.8, 1.0, 1.2


def with_noise(sd: float, *levels: Level, df: float = NOISE_DF) -> HistoryFacts:
    """Return a history's facts in which sessions differ by ``sd``."""
    return HistoryFacts(lambda _: SessionNoise(sd, df, "history", 21), levels)


QUIET = with_noise(0.001)


def side(number: int, jetpack: str, factor: float = SAME, **changes: Any) -> Side:
    """Return a run whose points have five run values, 0.1 % apart, multiplied by ``factor``."""
    derived = derive(run_reports.on_jetpack(number, jetpack))
    points = tuple(
        replace(point, runs=tuple(point.value * factor * (1 + at / 1000) for at in range(5)), **changes)
        for point in derived.points
        if point.check in {"latency.p50", "fps.sustained"} and point.precision == "fp32"
    )
    return Side(jetpack, points, derived.facts, derived.facts)


def status(base: Side, cand: Side, history_facts: HistoryFacts | None = QUIET) -> dict[str, Status]:
    """Return the status of each check; by default the sessions of the target hardly differ."""
    return {row.check: row.status for row in compare(base, cand, RULE, history_facts).rows}


def test_the_better_direction_depends_on_the_check() -> None:
    """For higher values latency is worse and frame rate is better."""
    base = side(1, "6.1")
    assert status(base, side(2, "6.2")) == {"latency.p50": Status.SAME, "fps.sustained": Status.SAME}
    assert status(base, side(2, "6.2", SLOWER)) == {"latency.p50": Status.WORSE, "fps.sustained": Status.BETTER}
    assert status(base, side(2, "6.2", FASTER)) == {"latency.p50": Status.BETTER, "fps.sustained": Status.WORSE}


def test_the_shown_values_give_the_shown_change() -> None:
    """The change is the quotient of the values shown, also where the medians of the runs are equal."""
    base, cand = side(1, "6.1"), side(2, "6.2")
    runs = (0.009286, 0.009286, 0.009286, 0.03, 0.03)
    base = replace(base, points=tuple(replace(point, runs=runs) for point in base.points))
    cand = replace(cand, points=tuple(replace(point, runs=(0.009284,) * 5) for point in cand.points))
    for row in compare(base, cand, RULE, QUIET).rows:
        assert row.base is not None
        assert row.cand is not None
        assert row.effect == pytest.approx(row.cand / row.base - 1)
        assert row.effect is not None
        assert row.effect < -0.3


def test_another_method_is_refused_with_the_differing_field() -> None:
    """Numbers of different methods are not compared, even if they are equal."""
    base, cand = side(1, "6.1"), side(2, "6.2", method="other")
    cand = replace(cand, methods={**cand.methods, "other": {"version": 9, "timed": "enqueue"}})
    comparison = compare(base, cand, RULE)
    assert {row.status for row in comparison.rows} == {Status.REFUSED}
    assert any(field.name == "timed" and field.cand == "enqueue" for row in comparison.rows for field in row.differing)
    assert not comparison.passed


def test_another_board_is_confounded() -> None:
    """Between different machines neither a change nor its absence can be attributed to the model."""
    derived = derive(run_reports.on_jetpack(2, "6.2", serial="9999"))
    other = replace(side(2, "6.2"), points=tuple(replace(p, run=derived.run) for p in side(2, "6.2").points))
    assert set(status(side(1, "6.1"), other).values()) == {Status.CONFOUNDED}
    across = compare(side(1, "6.1"), other, Settings(across_boards=True))
    assert {row.status for row in across.rows} == {Status.SAME}


def test_a_row_without_an_environment_belongs_to_its_runs_machine() -> None:
    """Without a serial number the environment identifies the machine; an engine's size has no environment."""
    facts = {
        "host": {"hostname": "bench", "cpu_model": "Some CPU"},
        "other": {"hostname": "lab", "cpu_model": "Some CPU"},
    }

    def of(number: int, environment: str) -> Side:
        made = side(number, "6.1")
        rows = [replace(point, run=replace(point.run, serial=None), environment=environment) for point in made.points]
        points = (*rows, replace(rows[0], check="memory.engine_size", environment="", runs=()))
        return replace(made, points=points, environments=facts)

    assert len(of(1, "host").machines) == 1
    assert Status.CONFOUNDED not in status(of(1, "host"), of(2, "host")).values()
    assert set(status(of(1, "host"), of(2, "other")).values()) == {Status.CONFOUNDED}
    assert set(status(of(1, ""), of(2, "host")).values()) == {Status.CONFOUNDED}
    assert set(status(of(1, ""), of(2, "")).values()) == {Status.CONFOUNDED}, "two unknown machines are not the same"


def test_a_row_that_one_side_lacks_is_missing() -> None:
    """A row that one side lacks is missing and prevents a pass."""
    base, cand = side(1, "6.1"), side(2, "6.2")
    lacking = replace(cand, points=cand.points[:1])
    assert Status.MISSING in status(base, lacking).values()
    assert not compare(base, lacking, RULE).passed


def test_an_inconclusive_row_is_unclear() -> None:
    """A row that was inconclusive in its own run is unclear in the comparison."""
    assert set(status(side(1, "6.1"), side(2, "6.2", verdict="inconclusive")).values()) == {Status.UNCLEAR}


def test_a_change_within_known_noise_is_unclear() -> None:
    """A change within a board's noise between sessions is not a regression."""
    statuses = status(side(1, "6.1"), side(2, "6.2", SLOWER), with_noise(0.1))
    assert statuses == {"latency.p50": Status.UNCLEAR, "fps.sustained": Status.UNCLEAR}


@pytest.mark.parametrize("facts", [None, HistoryFacts(), with_noise(0.001, df=4)])
@pytest.mark.parametrize(
    ("factor", "expected"), [(FASTER, Status.UNCLEAR), (SLOWER, Status.UNCLEAR), (1.03, Status.SAME)]
)
def test_one_session_a_side_of_unknown_noise_is_never_a_change(
    facts: HistoryFacts | None, factor: float, expected: Status
) -> None:
    """If the noise between sessions is unknown, one session a side shows no change; the reason has the advice."""
    comparison = compare(side(1, "6.1"), side(2, "6.2", factor), RULE, facts)
    assert {row.status for row in comparison.rows} == {expected}
    assert all("the noise between sessions of cpu is unknown" in row.reason for row in comparison.rows)
    if expected is Status.UNCLEAR:
        assert all("one session a side cannot show" in row.reason for row in comparison.rows)
        assert all("hil board calibrate cpu, or measure 5 sessions a side" in row.reason for row in comparison.rows)


def test_five_sessions_a_side_need_no_other_noise() -> None:
    """Five sessions on each side show how much sessions differ."""

    def several(first: int, factor: float) -> Side:
        sides = [side(first + at, "6.1", factor * (1 + at / 5000)) for at in range(5)]
        return replace(sides[0], points=tuple(point for each in sides for point in each.points))

    assert status(several(1, 1.0), several(11, SLOWER), None)["latency.p50"] is Status.WORSE
    noisy = several(11, 1.0)
    noisy = replace(noisy, points=tuple(_spread_out(point) for point in noisy.points))
    assert status(several(1, 1.0), noisy, None)["latency.p50"] is Status.UNCLEAR


def _spread_out(point: Point) -> Point:
    factor = 1 + 0.1 * (int(point.run.id, 16) // 7919 % 3)
    return replace(point, runs=tuple(value * factor for value in point.runs))


@pytest.mark.parametrize(("worse", "expected"), [(1.0, Status.ACCEPTED), (1.2, Status.WORSE)])
def test_an_accepted_level_does_not_cover_a_worse_one(worse: float, expected: Status) -> None:
    """An acceptance applies to its row, target and board; a level worse than the accepted one stays worse."""
    base, level = side(1, "6.1"), side(2, "6.2", SLOWER)
    point = next(row for row in level.points if row.check == "latency.p50")
    run = point.run
    acceptance = Acceptance(
        run.id,
        point.check,
        point.model,
        point.precision,
        run.target,
        run.serial,
        point.value,
        point.unit,
        "ann",
        "larger input",
        run.started + timedelta(minutes=1),
        point.scenario,
    )
    history_facts = with_noise(0.001, Level(acceptance, point))
    assert status(base, side(3, "6.2", SLOWER * worse), history_facts)["latency.p50"] is expected
    other = with_noise(0.001, Level(replace(acceptance, target="rover"), point))
    assert status(base, side(3, "6.2", SLOWER), other)["latency.p50"] is Status.WORSE


def test_a_level_accepted_on_an_unknown_machine_covers_no_other() -> None:
    """An accepted level without a serial number applies only to the same known machine."""
    facts = {name: {"hostname": name, "cpu_model": "Some CPU"} for name in ("bench", "lab")}
    jetson = {"hostname": "tegra", "identity": {"module": "agx-orin-64gb", "serial": None}}
    assert machine(None, jetson) == machine(None, {"cpu_model": "Some CPU"}) == ""

    def of(number: int, factor: float, environment: str) -> Side:
        made = side(number, "6.1", factor)
        points = [replace(row, run=replace(row.run, serial=None), environment=environment) for row in made.points]
        return replace(made, points=tuple(points), environments=facts)

    base, cand = of(1, 1.0, "bench"), of(3, SLOWER, "bench")
    run = of(2, SLOWER, "bench").runs[0]
    point = next(row for row in of(2, SLOWER, "bench").points if row.check == "latency.p50")
    row = (run.id, point.check, point.model, point.precision, run.target, None, point.value, point.unit)
    acceptance = Acceptance(*row, "ann", "larger input", run.started + timedelta(minutes=1), point.scenario)
    for at, expected in (("bench, Some CPU", Status.ACCEPTED), ("lab, Some CPU", Status.WORSE), ("", Status.WORSE)):
        history_facts = with_noise(0.001, Level(acceptance, point, at))
        assert status(base, cand, history_facts)["latency.p50"] is expected
    across = Settings(across_boards=True)
    comparison = compare(of(1, 1.0, ""), of(3, SLOWER, ""), across, with_noise(0.001, Level(acceptance, point)))
    assert next(row for row in comparison.rows if row.check == "latency.p50").status is Status.WORSE


def _matrix(sides: Sequence[Side]) -> tuple[Side, ...]:
    points = [point for each in sides for point in each.points]
    facts = {digest: table for each in sides for digest, table in each.methods.items()}
    return sides_by(points, "jetpack", facts, facts)


def test_a_matrix_has_one_column_per_release_in_every_format() -> None:
    """Columns are in the order of JetPack releases, and every format lists the differences."""
    columns = _matrix([side(2, "6.2", SLOWER), side(1, "6.1")])
    assert [column.name for column in columns] == ["6.1", "6.2"]
    page_facts = document(against_base(columns, None, RULE, QUIET), RULE, by="jetpack", model="digits")
    assert not page_facts.passed
    assert wording.columns(page_facts) == ("6.1", "6.2")
    (row, *_) = page_facts.comparisons[0].changed
    assert (row.name, row.base, row.cand) == ("JetPack", "6.1", "6.2")
    for kind in ("json", "markdown", "html"):
        page = rendered(page_facts, kind)
        assert all(piece in page for piece in ("worse", "L4T", "36.4.3", "latency.p50"))
    with pytest.raises(UserError, match="no column has this name"):
        against_base(columns, "6.3", RULE)
    with pytest.raises(UserError, match="a comparison needs two"):
        against_base(columns[:1], None, RULE)


def test_an_interval_without_an_end_says_so() -> None:
    """A bound far above the change is shown as larger than 1000 %."""
    (row, *_) = compare(side(1, "6.1"), side(2, "6.2"), RULE).rows
    wide = row.model_copy(update={"low": -1.0, "high": 1e7})
    assert wording.interval(wide) == "-100.0…>+1000 %"
