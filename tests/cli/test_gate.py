from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from hil.report.write_report import begin, finish
from tests import warm_start
from tests.report import sample

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def gate(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``hil gate`` in ``folder``, in a process of its own."""
    command = [sys.executable, "-c", "import sys; from hil.cli import main; sys.exit(main())", "gate", *arguments]
    return warm_start.run(command, cwd=folder, env={**os.environ, "COLUMNS": "80", **environment}, timeout=60)


@pytest.mark.parametrize(
    ("make", "argument", "decision", "code"),
    [
        (sample.passed, "report", "PASSED", 0),
        (sample.failed, "report/report.json", "FAILED", 1),
        (sample.fallback, "", "FAILED", 10),
    ],
)
def test_the_exit_code_is_the_verdict(tmp_path: Path, make: object, argument: str, decision: str, code: int) -> None:
    """``hil gate`` repeats the recorded decision and exit code, given the report's file or its folder."""
    assert callable(make)
    finish(tmp_path / "report", make())
    done = gate(tmp_path, *argument.split())
    assert (done.returncode, done.stderr) == (code, "")
    assert decision in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_a_failure_is_shown_with_cause_and_next_step(tmp_path: Path) -> None:
    """The terminal shows reason, cause, evidence, target and the next step."""
    finish(tmp_path, sample.failed())
    out = " ".join(gate(tmp_path, ".").stdout.split())
    for part in ("largest difference 0.31", "(deselected)", "evidence host", "target cpu", "next: "):
        assert part in out


def test_an_edited_report_is_refused(tmp_path: Path) -> None:
    """An edited verdict gives exit code 1 and one line."""
    finish(tmp_path, sample.failed())
    path = tmp_path / "report.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"verdict": "failed"', '"verdict": "passed"'), encoding="utf-8"
    )
    done = gate(tmp_path, ".")
    assert (done.returncode, done.stdout) == (1, "")
    assert "damaged or edited" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unfinished_run_fails(tmp_path: Path) -> None:
    """The report of a killed run is FAILED with exit code 1."""
    begin(tmp_path, sample.draft())
    done = gate(tmp_path, ".")
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert "did not finish" in done.stdout


@pytest.mark.parametrize("arguments", [("none.json",), (".",), ("--policy",), ("--polici", "x")])
def test_a_users_mistake_is_exit_code_4(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A wrong path or option gives one line and exit code 4."""
    done = gate(tmp_path, *arguments)
    assert done.returncode == 4
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_json_has_decision_and_rules(tmp_path: Path) -> None:
    """``--json`` prints the decision and each rule, and nothing else."""
    finish(tmp_path, sample.failed())
    done = gate(tmp_path, ".", "--json")
    decision = json.loads(done.stdout)
    assert (decision["decision"], decision["exit_code"], done.returncode) == ("FAILED", 1, 1)
    assert {rule["rule"] for rule in decision["rules"] if not rule["ok"]} == {
        "verdicts",
        "required checks run",
        "warnings",
    }


def test_explain_shows_each_rule(tmp_path: Path) -> None:
    """``--explain`` shows the data of each rule, whether it passed or failed."""
    finish(tmp_path, sample.passed())
    out = gate(tmp_path, ".", "--explain").stdout
    assert "40 required checks were judged" in out
    assert out.count("✓ ok") == 18


def test_another_policy_is_reported(tmp_path: Path) -> None:
    """``--policy`` judges by another ``[gate]`` and reports the recorded decision."""
    finish(tmp_path, sample.passed())
    model = '[models.digits]\npath = "model.onnx"\ndata = "synthetic"\n'
    (tmp_path / "release.toml").write_text(f'{model}[gate]\nevidence = "device"\n', encoding="utf-8")
    (tmp_path / "model.onnx").write_bytes(b"")
    done = gate(tmp_path, ".", "--policy", "release.toml")
    assert done.returncode == 1, done.stderr
    assert "the report records PASSED" in " ".join(done.stdout.split())
    assert "evidence device is required" in " ".join(done.stdout.split())


def test_no_colour_in_a_pipe(tmp_path: Path) -> None:
    """Piped output and output under ``NO_COLOR`` have no escape codes; colour can be forced."""
    finish(tmp_path, sample.failed())
    assert "\x1b" not in gate(tmp_path, ".").stdout
    assert "\x1b[" in gate(tmp_path, ".", FORCE_COLOR="1", TERM="xterm").stdout
