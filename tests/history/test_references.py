from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.errors import UserError
from hil.gate.gate import seal
from hil.history import open_history
from hil.report.write_report import sealed
from tests.history import run_reports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.history import History
    from hil.report.schema import Report


@pytest.fixture(scope="module")
def history(module_url: str) -> Iterator[History]:
    """A history with runs 0 to 3 on alternating JetPack releases, then a fallback and an interrupted run."""
    with open_history(module_url, base=Path("/")) as opened:
        for number in range(4):
            opened.append(run_reports.on_jetpack(number, ("6.1", "6.2")[number % 2]))
        opened.append(run_reports.fallback(10))
        opened.append(run_reports.report(11, pytest_exit_status=2))
        opened.append(run_reports.report(12, lab_error="the board was lost"))
        yield opened


def ids(history: History, ref: str) -> list[str]:
    """Return the run ids that ``ref`` resolves to."""
    return [run.id for run in history.resolve(ref)]


def of(*numbers: int) -> list[str]:
    """Return the run ids of these report numbers."""
    return [run_reports.report(number).run.id for number in numbers]


@pytest.mark.parametrize(
    ("ref", "numbers"),
    [
        ("latest", (3,)),
        ("latest~0", (3,)),
        ("latest~2", (1,)),
        ("jetpack:6.1", (2, 0)),
        ("target:cpu", (3, 2, 1, 0)),
        ("commit:0000", (3, 2, 1, 0)),
        (run_reports.report(2).run.id, (2,)),
    ],
)
def test_a_reference_means_usable_runs(history: History, ref: str, numbers: tuple[int, ...]) -> None:
    """References give the newest runs first, and never a fallback or unfinished run."""
    assert ids(history, ref) == of(*numbers)
    assert all(run.usable for run in history.resolve(ref))


def test_unusable_runs_stay_visible(history: History) -> None:
    """Unusable runs are stored, and marked as a fallback or as not finished."""
    runs = {run.id: run for run in history.runs()}
    assert len(runs) == 7
    assert runs[of(10)[0]].fallback
    assert not runs[of(11)[0]].whole
    assert not runs[of(12)[0]].whole
    assert history.find(of(10)[0]).fallback


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("latest~4", "^latest~4: the history has 4 usable runs: run pytest --target=NAME once more"),
        ("jetpack:5.1", r"the history has 6\.1, 6\.2"),
        ("jetpack:", "no usable run"),
        ("target:cpuu", "did you mean 'cpu'"),
        ("commit:ffff", "no usable run"),
        ("commit:00", "too short"),
        ("0000", "it is ambiguous"),
        ("000", "there is no such run"),
        ("%%%%", "there is no such run"),
        ("____", "there is no such run"),
        ("releas", "there is no such run"),
        ("", "there is no such run"),
        (run_reports.report(10).run.id, "fell back to cpu"),
        (run_reports.report(11).run.id, "did not finish"),
        (run_reports.report(12).run.id, "did not finish"),
    ],
)
def test_a_reference_without_a_usable_run_is_the_users_mistake(history: History, ref: str, message: str) -> None:
    """A reference without a usable run raises ``UserError`` with the reason; no other run replaces it."""
    with pytest.raises(UserError, match=message):
        history.resolve(ref)


def test_an_incomplete_report_is_not_a_baseline(url: str) -> None:
    """An incomplete report may be stored next to the complete one of its run, and is never compared."""
    report = run_reports.draft(20)
    incomplete = report.model_copy(update={"checks": (), "measurements": (), "engines": (), "models": ()})
    with open_history(url, base=Path("/")) as history:
        history.append(run_reports.report(3))
        assert history.append(seal_incomplete(incomplete))
        assert history.runs(limit=1)[0].decision == "incomplete"
        assert ids(history, "latest") == of(3)
        with pytest.raises(UserError, match="did not finish"):
            history.resolve(report.run.id)
        assert history.append(seal(report))
        assert ids(history, report.run.id) == [report.run.id]
        assert history.points([report.run.id])


def seal_incomplete(report: Report) -> Report:
    """Return the report as a run writes it before its first test."""
    return sealed(report)


def test_references_can_be_limited_to_a_target_and_a_model(history: History) -> None:
    """The latest run of another target or model is not used."""
    with pytest.raises(UserError, match="on jetson"):
        history.resolve("latest", target="jetson")
    with pytest.raises(UserError, match="of arm"):
        history.resolve("latest", model="arm")
    with pytest.raises(UserError, match="of target cpu"):
        history.resolve(of(3)[0], target="jetson")


@pytest.mark.parametrize("name", ["latest", "latest~1", "jetpack:6.2", " ", ""])
def test_a_name_means_one_thing(history: History, name: str) -> None:
    """A baseline's name cannot be another kind of reference."""
    with pytest.raises(UserError, match="choose another"):
        history.name_baseline(name, of(1), who="ann", why="shipped")
