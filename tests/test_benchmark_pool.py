from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.pool import project
from benchmarks.results import judging
from tests.test_benchmark_results import pool_cost, pool_main, pool_random, pool_speed

if TYPE_CHECKING:
    from pathlib import Path


def test_the_waiting_boards_run_a_model(tmp_path: Path) -> None:
    """The stand-in for the runtime has all that the agent uses: a row passes on it."""
    project.write(tmp_path / "one", 1, 1, 0.2)
    _, code, report = project.run(tmp_path / "one", "-k", "signature", "--target=b0")
    assert project.judged(report, ["contract.signature"]) == (1, 1), (code, report["run"])


@pytest.mark.parametrize(
    ("at", "wrong", "missed"),
    [
        (0, {"left": ["b1"]}, "places and reservations left"),
        (0, {"reservations": 1}, "places and reservations left"),
        (0, {"boards": 19}, "boards of the lab"),
        (0, {"kicks": 0}, "kinds of disturbance that occurred"),
        (0, {"seconds_after_kill": 61.0}, "longest time until all places of a dead run were free"),
        (2, {"missing": 1}, "rows lost"),
        (2, {"doubled": 1}, "rows doubled"),
        (2, {"split": 1}, "models split between boards"),
        (2, {"used_by_two": 1}, "boards that two runs used at once, though none was kicked"),
        (2, {"hung": True}, "runs that hung or ended with a traceback"),
        (2, {"error": "Traceback"}, "runs that hung or ended with a traceback"),
    ],
)
def test_each_wrong_row_of_a_disturbed_lab_misses_its_bar(at: int, wrong: dict[str, Any], missed: str) -> None:
    """One wrong row of any run misses the bar for it, also if the run ended with a traceback."""
    rows = pool_random()
    rows[at] = {**rows[at], **wrong}
    assert [bar["name"] for bar in judging.pool.disturbed(rows) if not bar["met"]] == [missed]


@pytest.mark.parametrize("wrong", [{"passed": 15}, {"used": 3}, {"seconds": 110.0}])
def test_a_speed_counts_only_if_all_rows_passed_on_all_boards(wrong: dict[str, Any]) -> None:
    """The bar is missed if a row did not pass, a board was unused, or four boards were not fast enough."""
    one, four = pool_speed()
    assert not judging.pool.speed([one, {**four, **wrong}])[0]["met"]


def test_a_pair_of_runs_that_did_not_judge_has_no_cost() -> None:
    """A run that failed early has no cost and is left out."""
    rows = pool_cost()
    rows[0]["passed"] = False
    assert [bar["figure"] for bar in judging.pool.cost(rows)] == [None, 0.5]


LOST, DOUBLED = "rows of the main job that a pool lost", "rows of the main job that a pool doubled"
SPLIT, OTHER = "models of the main job split between boards", "verdicts of untimed rows that differ on a pool"
USED = "boards that the main job used at once"


@pytest.mark.parametrize(
    ("wrong", "missed"),
    [
        ({}, []),
        ({"model": "other"}, [LOST, DOUBLED, OTHER, USED]),
        ({"board": "b-arm"}, [SPLIT]),
        ({"verdict": "failed"}, [OTHER]),
    ],
)
def test_each_wrong_row_of_a_main_job_on_a_pool_misses_its_bar(wrong: dict[str, Any], missed: list[str]) -> None:
    """A row that is lost, doubled, judged on another board or has another verdict misses its bar."""
    rows = pool_main()
    rows[6] = {**rows[6], **wrong}
    assert [bar["name"] for bar in judging.pool.main_job(rows) if not bar["met"]] == missed


def test_a_main_job_without_rows_meets_no_bar() -> None:
    """Without rows no bar is met, and with the rows of one run only, not every bar is met."""
    assert not any(bar["met"] for bar in judging.pool.main_job([]))
    assert not all(bar["met"] for bar in judging.pool.main_job(pool_main()[:4]))
