"""``hil accept``, named baselines and the noise that a calibration stores, with a real history."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hil.board.noise import Learned
from hil.cli.accept import _settled_point
from hil.cli.views.calibrated import engines_to_time, print_noise, store_noise
from hil.config.load import load
from hil.errors import UserError
from hil.history import open_history
from tests.history import run_reports
from tests.plugins.project import Project

if TYPE_CHECKING:
    from pathlib import Path

URL = "sqlite:///history.db"
P99 = ("--check", "latency.p99", "--model", "digits")
WHY = ("--why", "larger input, agreed")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with three runs in its history, the last of them a fallback."""
    return make_project(tmp_path)


@pytest.fixture(scope="module")
def unchanged_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same project for tests that do not change its history."""
    return make_project(tmp_path_factory.mktemp("project"))


def make_project(folder: Path) -> Project:
    """Make a project with three runs in its history, the last of them a fallback."""
    made = Project.make(folder)
    with open_history(URL, base=folder) as history:
        for report in (run_reports.report(1), run_reports.report(2), run_reports.fallback(3)):
            history.append(report)
    return made


def test_a_level_is_accepted_on_record(project: Project) -> None:
    """An acceptance records who, why and which run; the id of a regression check stands for the compared check."""
    done = project.hil("accept", "latest", *P99, *WHY, "--precision", "int8", "--who", "ann", "--history", URL)
    assert done.code == 0, done.out
    regression = ("--check", "regression.fps", "--model", "digits", "--precision", "fp32", "--why", "same")
    assert project.hil("accept", "latest~1", *regression, "--who", "bob", "--history", URL).code == 0
    with open_history(URL, base=project.root, read_only=True) as history:
        first, second = history.acceptances()
        newest, before = history.resolve("latest")[0], history.resolve("latest~1")[0]
    assert (first.check, first.precision, first.who, first.why) == (
        "latency.p99",
        "int8",
        "ann",
        "larger input, agreed",
    )
    assert (first.run, first.target, second.run, second.check) == (newest.id, "cpu", before.id, "fps.sustained")
    listed = project.hil("history", "accepted", "--history", URL).out
    assert "latency.p99 digits int8" in listed
    assert "by ann on" in listed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("latest", *P99, *WHY), "was measured in fp32, int8: name one with --precision"),
        (("latest", *P99, "--why", " "), "--why is empty"),
        (("latest", *P99), "--why"),
        (("latest", "--check", "latency.p9", "--model", "digits", *WHY), "did you mean 'latency.p99'"),
        (("latest", "--check", "latency.p99", "--model", "digit", *WHY), "did you mean 'digits'"),
        (("latest~7", *P99, *WHY), "the history has 2 usable runs"),
        ((f"{3 * 7919:016x}", *P99, *WHY), "fell back to cpu: accept a measurement of another run"),
        (("latest", *P99, *WHY, "--precision", "fp32", "--who", " "), "--who is empty"),
    ],
)
def test_a_mistake_accepts_nothing(unchanged_project: Project, arguments: tuple[str, ...], message: str) -> None:
    """A mistake in the call gives one message and exit code 4, and records no acceptance."""
    done = unchanged_project.hil("accept", *arguments, "--history", URL)
    assert (done.code, message in done.out, "Traceback" in done.out) == (4, True, False), done.out
    with open_history(URL, base=unchanged_project.root, read_only=True) as history:
        assert history.acceptances() == []


def test_a_check_of_several_scenarios_is_not_accepted(unchanged_project: Project) -> None:
    """A row that only its scenario distinguishes from another cannot be accepted, since no option names a scenario."""
    with open_history(URL, base=unchanged_project.root, read_only=True) as history:
        run = history.find("latest")
        point = next(one for one in history.points([run.id]) if one.check == "latency.p99")
    both = [replace(point, scenario=scenario) for scenario in ("near", "far")]
    with pytest.raises(UserError, match=r"measured in several scenarios \(far, near\): give each a check id"):
        _settled_point(run, both, point.check, point.model, point.precision)


def test_a_baseline_can_be_renamed(project: Project) -> None:
    """The last assignment of a name counts, earlier ones stay; a name cannot be another kind of reference."""
    for ref in ("latest~1", "latest"):
        done = project.hil(
            "history", "baseline", "shipped", ref, "--why", f"is {ref}", "--who", "ann", "--history", URL
        )
        assert done.code == 0, done.out
    with open_history(URL, base=project.root, read_only=True) as history:
        assert history.resolve("shipped") == history.resolve("latest")
    listed = project.hil("history", "baselines", "--history", URL).out
    assert listed.count("shipped") == 2
    assert "is latest~1" in listed
    for wrong in (("latest", "latest"), ("x", "nothing-like-it"), ("x", "latest", "--why", "")):
        why = () if "--why" in wrong else ("--why", "y")
        assert project.hil("history", "baseline", *wrong, *why, "--history", URL).code == 4


def test_noise_is_stored_by_serial(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The noise of a row is stored under the serial of its board, and the last calibration counts."""
    rows = [Learned(("latency.p99", "toy", "fp32"), 0.004, sd, 20, 5, 1) for sd in (0.02, 0.01)]
    with open_history(URL, base=project.root) as history:
        store_noise(history, "1420", "orin", rows)
        noise = history.noise("1420", "latency.p99", "toy", "fp32")
        assert history.noise("1421", "latency.p99", "toy", "fp32") is None
    assert noise is not None
    assert (noise.sd, noise.false_alarm, noise.comparisons, noise.target) == (0.01, 0.05, 20, "orin")
    print_noise("1420", rows)
    assert "5 → 1 of 20" in capsys.readouterr().out


def test_only_engines_of_the_config_are_calibrated(project: Project) -> None:
    """Engines of the config are calibrated, all of them without names; a misspelt name is a user error."""
    config = load(project.root / "hil.toml")
    assert engines_to_time(config, "cpu", ()) == engines_to_time(config, "cpu", ("toy",)) == [("toy", "fp32")]
    with pytest.raises(UserError, match="did you mean 'toy'"):
        engines_to_time(config, "cpu", ("toyy",))
    done = project.hil("board", "calibrate", "cpu", "--comparisons", "3")
    assert (done.code, "--comparisons" in done.out) == (4, True), done.out
    assert json.loads(project.hil("history", "--json", "--history", URL).out)[0]["target"] == "jetson"
