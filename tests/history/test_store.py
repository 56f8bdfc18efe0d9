from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from hil.errors import UserError
from hil.gate.gate import seal
from hil.history import Acceptance, NoHistory, Noise, open_history
from hil.history.connect import engine_for
from hil.history.derive import derive, record_of
from hil.history.urls import place_of
from hil.report.schema import BoardUsed
from tests.history import run_reports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.history import History

HERE = Path("/")


RELEASES = ("6.1", "6.2")


@pytest.fixture(scope="module")
def history(module_url: str) -> Iterator[History]:
    """A history with runs 0 to 7 on alternating JetPack releases, added in another order, and a fallback."""
    with open_history(module_url, base=HERE) as opened:
        for number in (3, 1, 2, 0, 7, 4, 6, 5):
            assert opened.append(run_reports.on_jetpack(number, RELEASES[number % 2]))
        assert opened.append(run_reports.fallback(20))
        yield opened


def test_a_stored_run_is_returned_unchanged(url: str) -> None:
    """A stored run is returned with all points, exact run values, disturbances, and the facts that its digests name."""
    draft = run_reports.on_jetpack(1, "6.2")
    rows = tuple(
        row.model_copy(update={"measurement": row.measurement.model_copy(update={"runs": (0.1, 0.2 / 3, 1e-9)})})
        if row.measurement
        else row
        for row in draft.checks
    )
    heat, own = ({"source": source, "text": f"an alert {source}"} for source in ("outside", "own"))
    rows = tuple(
        row.model_copy(update={"details": {**row.details, "state": [heat, own]}}) if row.id == "latency.p99" else row
        for row in rows
    )
    report = seal(draft.model_copy(update={"checks": rows}))
    derived = derive(report)
    with open_history(url, base=HERE) as history:
        assert history.append(report)
        assert history.runs() == [derived.run]
        points = history.points([report.run.id])
        assert sorted(points, key=repr) == sorted(derived.points, key=repr)
        assert {point.runs for point in points if point.verdict == "passed"} == {(0.1, 0.2 / 3, 1e-9)}
        assert {point.disturbed for point in points} == {(), ("an alert outside",)}
        point = next(each for each in points if each.check == "latency.p99")
        assert point.disturbed == ("an alert outside",)
        assert history.method(point.method) == report.methods[point.method]
        assert history.environment(point.environment) == report.environments[point.environment]
        assert derived.run.jetpack == "6.2"
        assert derived.run.serial == "1420"


def test_a_report_is_stored_once(history: History) -> None:
    """Adding the same report again changes nothing, so a client may retry."""
    report = run_reports.on_jetpack(1, RELEASES[1])
    before = history.points([report.run.id])
    assert before
    assert not history.append(report)
    assert history.points([report.run.id]) == before
    assert len(history.runs()) == 9


def test_another_report_of_the_same_run_is_refused(history: History) -> None:
    """A second, different report of the same run is refused."""
    with pytest.raises(UserError, match="another report of run"):
        history.append(run_reports.report(1))
    assert len(history.runs()) == 9


@pytest.mark.parametrize(
    "statement", ["UPDATE runs SET decision = 'PASSED'", "DELETE FROM measurements", "UPDATE facts SET content = '{}'"]
)
def test_nothing_is_changed_or_removed(history: History, module_url: str, statement: str) -> None:
    """The database's triggers refuse changes and deletions by every user."""
    assert history.runs()
    engine = engine_for(place_of(module_url, HERE), read_only=False)
    with pytest.raises(sa.exc.DatabaseError, match="append-only"), engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def test_runs_are_sorted_by_their_start(history: History) -> None:
    """Runs are sorted by the time they ran, not by the time they were added."""
    assert [run.started for run in history.runs(limit=3)] == [
        run_reports.START + timedelta(hours=20),
        run_reports.START + timedelta(hours=7),
        run_reports.START + timedelta(hours=6),
    ]
    assert history.runs(model="arm") == []
    assert len(history.runs(model="digits")) == 9


def test_reading_creates_no_file(tmp_path: Path) -> None:
    """Opening for reading creates no history."""
    with pytest.raises(NoHistory, match="run pytest"):
        open_history("sqlite:///new/history.db", base=tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_matrix_has_the_newest_runs_of_each_group(history: History) -> None:
    """A matrix has the newest runs of the newest groups, up to the limits, without fallback runs."""
    points = history.matrix("jetpack", model="digits", per_group=3)
    runs = list(dict.fromkeys(point.run.id for point in points))
    assert runs == [run_reports.report(number).run.id for number in (7, 6, 5, 4, 3, 2)]
    assert {point.run.jetpack for point in points} == {"6.1", "6.2"}
    assert history.matrix("jetpack", model="arm") == []
    newest = history.matrix("jetpack", per_group=1, groups=1)
    assert {point.run.id for point in newest} == {run_reports.report(7).run.id}
    assert {point.run.target for point in history.matrix("target")} == {"cpu"}


def test_baselines_acceptances_and_noise_are_returned_unchanged(url: str) -> None:
    """Baselines, acceptances and noise are returned unchanged; the last baseline of a name counts."""
    when = run_reports.START
    accepted = Acceptance("a1b2", "latency.p99", "digits", "fp32", "cpu", None, 0.1, "s", "ann", "new sensor", when)
    noise = Noise("1420", "jetson", "latency.p50", "digits", "fp32", 0.004, 0.01, 100, when)
    with open_history(url, base=HERE) as history:
        history.append(run_reports.report(1))
        history.append(run_reports.report(2))
        for number in (1, 2):
            history.name_baseline("release", [run_reports.report(number).run.id], who="ann", why="shipped")
        history.accept(accepted)
        history.add_noise(replace(noise, sd=0.1))
        history.add_noise(noise)
    with open_history(url, base=HERE, read_only=True) as history:
        assert [run.id for run in history.resolve("release")] == [run_reports.report(2).run.id]
        assert [(each.name, each.who, each.why) for each in history.baselines()] == [("release", "ann", "shipped")] * 2
        assert history.acceptances(model="digits") == [accepted]
        assert history.acceptances(model="arm") == []
        assert history.noise("1420", "latency.p50", "digits", "fp32") == noise
        assert history.noise("9999", "latency.p50", "digits", "fp32") is None


def test_an_acceptance_needs_a_reason(history: History) -> None:
    """An acceptance without a reason is refused and not stored."""
    empty = Acceptance("a1b2", "latency.p99", "digits", "fp32", "cpu", None, 0.1, "s", "ann", "  ", run_reports.START)
    with pytest.raises(UserError, match="the reason is missing"):
        history.accept(empty)
    assert history.acceptances() == []


@pytest.mark.parametrize(("boards", "serial"), [(1, "1420"), (2, None)])
def test_a_run_on_several_boards_is_of_no_one_machine(boards: int, serial: str | None) -> None:
    """A run on several boards has no serial number."""
    report = run_reports.on_jetpack(1, RELEASES[1])
    used = {f"orin-{number}": BoardUsed(facts=report.target.facts) for number in range(boards)}
    used["lost"] = BoardUsed(lost="unplugged")
    several = report.model_copy(update={"target": report.target.model_copy(update={"boards": used})})
    assert record_of(several).serial == serial
