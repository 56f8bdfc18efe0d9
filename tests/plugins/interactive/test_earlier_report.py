"""The report of an earlier run stays if this run did not begin, and only then."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hil.errors import LabError, TargetHeld
from hil.plugins.command_line import COMMAND_LINE, parsed
from hil.plugins.interactive import earlier_report
from hil.report.write_report import begin, finish
from tests.report import sample

if TYPE_CHECKING:
    from pathlib import Path


def run_in(folder: Path, *arguments: str) -> Any:
    """Return a run with only the fields that the module uses; its report is in ``folder``."""
    config = SimpleNamespace(stash={COMMAND_LINE: parsed(arguments)})
    accounts = SimpleNamespace(outcomes={})
    return SimpleNamespace(
        pytest_config=config, report_dir=folder, is_worker=False, accounts=accounts, problem=None, notes=[]
    )


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of each file in ``folder``."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run without the variables of a CI system."""
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)


def test_a_run_that_found_the_target_held_leaves_the_earlier_report(tmp_path: Path) -> None:
    """If another run holds the target, the earlier report stays unchanged, and a note states this."""
    finish(tmp_path, sample.passed())
    (tmp_path / "report.sigstore.json").write_text("signed")
    before = files(tmp_path)
    run = run_in(tmp_path)
    earlier_report.keep(run)
    begin(tmp_path, sample.draft(run=sample.run(id="second")))
    earlier_report.keep(run)  # a later call, by which the report is already this run's
    assert files(tmp_path) != before
    run.problem = TargetHeld("held by somebody")
    assert earlier_report.restore(run)
    assert files(tmp_path) == before
    assert run.did_not_begin
    assert "the earlier report is unchanged" in run.notes[0]


@pytest.mark.parametrize("why", ["ci", "gate", "other error", "judged", "no earlier report"])
def test_otherwise_no_earlier_report_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """In CI, with --hil-gate, after another error, or once a row was judged, the earlier report is not restored."""
    if why == "ci":
        monkeypatch.setenv("CI", "true")
    if why != "no earlier report":
        finish(tmp_path, sample.passed())
    run = run_in(tmp_path, *(["--hil-gate"] if why == "gate" else []))
    earlier_report.keep(run)
    begin(tmp_path, sample.draft(run=sample.run(id="second")))
    after = files(tmp_path)
    run.problem = LabError("it broke") if why == "other error" else TargetHeld("held by somebody")
    run.accounts.outcomes = {"row": "outcome"} if why == "judged" else {}
    assert not earlier_report.restore(run)
    assert files(tmp_path) == after
