"""What GitHub and GitLab show: right places, right words, and nothing of a user's that a runner would obey."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.gate.gate import seal
from hil.report import ci
from hil.report.write_report import finish
from hil.results import Limit, Sense, Verdict
from tests.report import sample
from tests.report.test_pages import hostile

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = re.compile(r"::(error|warning) ([^\n\r]*?)::([^\n\r]*)")


def unescaped(text: str) -> str:
    """What a runner makes of a property or of data."""
    for code, letter in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, letter)
    return text


def test_a_failure_stands_at_its_limits_line() -> None:
    """File and line are the limit's, title and message say which row, why and what next."""
    lines = list(ci.github(sample.failed(), "robot/hil.toml"))
    line = next(line for line in lines if "latency.p99" in line)
    found = COMMAND.fullmatch(line)
    assert found is not None
    assert found[1] == "error"
    assert found[2].startswith("file=robot/hil.toml,line=31,title=failed%3A latency.p99 digits fp32")
    assert unescaped(found[3]).startswith("6.8 ms (from 6.53 ms to 7.14 ms) is not at most 5 ms")
    assert "\nNext: " in unescaped(found[3])
    assert any(line.startswith("::warning ") and "fps.sustained" in line for line in lines)


def test_a_line_is_told_only_of_the_file_that_it_is_in() -> None:
    """A limit from elsewhere (a default, another file) claims no line."""
    limit = Limit(value=1.0, unit="s", sense=Sense.AT_MOST, source="other.toml:9 limits")
    report = sample.with_row(sample.failed(), "latency.p99", limit=limit, verdict="failed")
    line = next(line for line in ci.github(report, "hil.toml") if "latency.p99" in line)
    assert ",line=" not in line
    assert list(ci.github(sample.failed(), None))
    assert not any("file=" in line for line in ci.github(sample.failed(), None))


def test_a_good_run_is_not_annotated() -> None:
    """No trouble, no command, no entry."""
    assert list(ci.github(sample.passed(), "hil.toml")) == []
    assert ci.code_quality(sample.passed(), "hil.toml") == []


@given(st.text(), st.text(), st.text(min_size=1))
def test_a_users_words_are_no_command(title: str, message: str, path: str) -> None:
    """Whatever stands in them: one line, one command, and the runner reads back what was meant."""
    line = ci._command("error", title, message, path, 3)  # noqa: SLF001 - the place where all of them are escaped
    assert len(line.splitlines()) <= 1
    found = COMMAND.fullmatch(line)
    assert found is not None
    given_ = [part.split("=", 1) for part in found[2].split(",")]
    assert [key for key, _ in given_] == ["file", "line", "title"]
    assert "::" not in found[2]


def test_hostile_names_start_nothing() -> None:
    """Names and reasons that hold commands of their own come out as text on one line each."""
    for line in ci.github(hostile(), "hil.toml"):
        assert COMMAND.fullmatch(line), line
    assert all("\n" not in entry["description"] for entry in ci.code_quality(hostile(), "hil.toml"))


def test_no_more_than_github_shows() -> None:
    """Of many troubles nine a level are told and the rest is counted: ten are shown."""
    rows = tuple(
        row.model_copy(update={"verdict": Verdict.FAILED, "reason": f"reason {number}"})
        for number, row in enumerate(sample.checks())
    )
    report = seal(sample.draft(rows))
    lines = [line for line in ci.github(report, "hil.toml") if line.startswith("::error")]
    assert len(lines) == 10
    assert f"{len(rows) - 9} more" in lines[-1]


def test_code_quality_is_gitlabs() -> None:
    """Each entry has what GitLab wants, and the same fingerprint in the next run."""
    entries = ci.code_quality(sample.failed(), "hil.toml")
    assert {entry["check_name"] for entry in entries} >= {"latency.p99", "parity.outputs", "latency.p90"}
    for entry in entries:
        assert set(entry) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert entry["severity"] in {"info", "minor", "major", "critical", "blocker"}
        assert entry["location"]["lines"]["begin"] >= 1
    assert len({entry["fingerprint"] for entry in entries}) == len(entries)
    again = ci.code_quality(sample.failed(), "hil.toml")
    assert [entry["fingerprint"] for entry in again] == [entry["fingerprint"] for entry in entries]


@pytest.mark.parametrize("where", ["nowhere", "github", "gitlab"])
def test_each_system_is_told_in_its_own_way_and_only_there(tmp_path: Path, where: str) -> None:
    """Commands under GitHub alone, the file under GitLab alone, nothing anywhere else."""
    report, said, step = sample.failed(), list[str](), tmp_path / "step.md"
    step.write_text("before\n", encoding="utf-8")
    config = tmp_path / "robot" / "hil.toml"
    environ = {
        "nowhere": {"GITHUB_STEP_SUMMARY": str(step)},
        "github": {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path), "GITHUB_STEP_SUMMARY": str(step)},
        "gitlab": {"GITLAB_CI": "true", "CI_PROJECT_DIR": str(tmp_path)},
    }[where]
    finish(tmp_path, report)
    ci.announce(report, tmp_path, config, environ, said.append)
    assert bool(said) == (where == "github")
    assert all(line.startswith("::") for line in said)
    assert ("FAILED on cpu" in step.read_text(encoding="utf-8")) == (where == "github")
    assert step.read_text(encoding="utf-8").startswith("before\n")
    written = tmp_path / ci.CODE_QUALITY
    assert written.exists() == (where == "gitlab")
    if where == "gitlab":
        assert json.loads(written.read_text(encoding="utf-8"))[0]["location"]["path"] == "robot/hil.toml"


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A pipeline without its summary is no failed run."""
    said: list[str] = []
    finish(tmp_path, sample.failed())
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "no" / "where")}
    ci.announce(sample.failed(), tmp_path, None, environ, said.append)
    assert said[-1].startswith("warning: the results for the CI system could not be written: No such file")


def test_our_own_words_start_no_command_either() -> None:
    """What is written to the log in between is workflow_commands_off, under a token that nobody can know."""
    said: list[str] = []
    with ci.workflow_commands_off({"GITHUB_ACTIONS": "true"}, said.append):
        said.append("::error::not a command")
    token = said[0].removeprefix("::stop-commands::")
    assert said == [f"::stop-commands::{token}", "::error::not a command", f"::{token}::"]
    assert len(token) == 32
    said.clear()
    with ci.workflow_commands_off({}, said.append):
        pass
    assert said == []
