"""Output for GitHub and GitLab: correct places and texts, and no workflow command from user text."""

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
    """Return an escaped property or data text as a runner decodes it."""
    for code, letter in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, letter)
    return text


def test_a_failure_is_annotated_at_its_limit() -> None:
    """The annotation is at the limit's file and line, and states the row, the reason and the next step."""
    lines = list(ci.github(sample.failed(), "robot/hil.toml"))
    line = next(line for line in lines if "latency.p99" in line)
    match = COMMAND.fullmatch(line)
    assert match is not None
    assert match[1] == "error"
    assert match[2].startswith("file=robot/hil.toml,line=31,title=failed%3A latency.p99 digits fp32")
    assert unescaped(match[3]).startswith("6.8 ms (from 6.53 ms to 7.14 ms) is not at most 5 ms")
    assert "\nNext: " in unescaped(match[3])
    assert any(line.startswith("::warning ") and "fps.sustained" in line for line in lines)


def test_a_line_is_annotated_only_in_its_own_file() -> None:
    """A limit from another file or a default has no line."""
    limit = Limit(value=1.0, unit="s", sense=Sense.AT_MOST, source="other.toml:9 limits")
    report = sample.with_row(sample.failed(), "latency.p99", limit=limit, verdict="failed")
    line = next(line for line in ci.github(report, "hil.toml") if "latency.p99" in line)
    assert ",line=" not in line
    assert list(ci.github(sample.failed(), None))
    assert not any("file=" in line for line in ci.github(sample.failed(), None))


def test_a_good_run_is_not_annotated() -> None:
    """A report without problems gives no commands and no entries."""
    assert list(ci.github(sample.passed(), "hil.toml")) == []
    assert ci.code_quality(sample.passed(), "hil.toml") == []


@given(st.text(), st.text(), st.text(min_size=1))
def test_user_text_is_not_a_command(title: str, message: str, path: str) -> None:
    """Any title, message and path give exactly one command on one line, with the expected properties."""
    line = ci._command("error", title, message, path, 3)  # noqa: SLF001 - the place where all of them are escaped
    assert len(line.splitlines()) <= 1
    match = COMMAND.fullmatch(line)
    assert match is not None
    properties = [part.split("=", 1) for part in match[2].split(",")]
    assert [key for key, _ in properties] == ["file", "line", "title"]
    assert "::" not in match[2]


def test_hostile_names_start_no_command() -> None:
    """Commands within names and reasons are escaped, each entry on one line."""
    for line in ci.github(hostile(), "hil.toml"):
        assert COMMAND.fullmatch(line), line
    assert all("\n" not in entry["description"] for entry in ci.code_quality(hostile(), "hil.toml"))


def test_annotations_stay_within_githubs_limit() -> None:
    """At most ten annotations per level are written; the last one counts the omitted ones."""
    rows = tuple(
        row.model_copy(update={"verdict": Verdict.FAILED, "reason": f"reason {number}"})
        for number, row in enumerate(sample.checks())
    )
    report = seal(sample.draft(rows))
    lines = [line for line in ci.github(report, "hil.toml") if line.startswith("::error")]
    assert len(lines) == 10
    assert f"{len(rows) - 9} more" in lines[-1]


def test_code_quality_is_gitlabs() -> None:
    """Each entry has the fields that GitLab requires, and the same fingerprint in every run."""
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
def test_each_system_gets_only_its_own_output(tmp_path: Path, where: str) -> None:
    """Only GitHub gets commands, only GitLab gets the file, and other systems get nothing."""
    report, output, step = sample.failed(), list[str](), tmp_path / "step.md"
    step.write_text("before\n", encoding="utf-8")
    config = tmp_path / "robot" / "hil.toml"
    environ = {
        "nowhere": {"GITHUB_STEP_SUMMARY": str(step)},
        "github": {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path), "GITHUB_STEP_SUMMARY": str(step)},
        "gitlab": {"GITLAB_CI": "true", "CI_PROJECT_DIR": str(tmp_path)},
    }[where]
    finish(tmp_path, report)
    ci.announce(report, tmp_path, config, environ, output.append)
    assert bool(output) == (where == "github")
    assert all(line.startswith("::") for line in output)
    assert ("FAILED on cpu" in step.read_text(encoding="utf-8")) == (where == "github")
    assert step.read_text(encoding="utf-8").startswith("before\n")
    written = tmp_path / ci.CODE_QUALITY
    assert written.exists() == (where == "gitlab")
    if where == "gitlab":
        assert json.loads(written.read_text(encoding="utf-8"))[0]["location"]["path"] == "robot/hil.toml"


def test_a_summary_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """A summary that cannot be written causes a warning, not an error."""
    output: list[str] = []
    finish(tmp_path, sample.failed())
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "no" / "where")}
    ci.announce(sample.failed(), tmp_path, None, environ, output.append)
    assert output[-1].startswith("warning: the results for the CI system could not be written: No such file")


def test_workflow_commands_are_off_within_the_block() -> None:
    """Within the block GitHub executes no workflow commands; an unpredictable token ends it."""
    output: list[str] = []
    with ci.workflow_commands_off({"GITHUB_ACTIONS": "true"}, output.append):
        output.append("::error::not a command")
    token = output[0].removeprefix("::stop-commands::")
    assert output == [f"::stop-commands::{token}", "::error::not a command", f"::{token}::"]
    assert len(token) == 32
    output.clear()
    with ci.workflow_commands_off({}, output.append):
        pass
    assert output == []
