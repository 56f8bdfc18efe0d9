"""A run inside a pipeline: what the forge shows comes from the real command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hil.errors import ExitCode

if TYPE_CHECKING:
    from tests.plugins.project import Project


def test_a_missed_limit_is_shown_where_it_was_written(project: Project) -> None:
    """GitHub gets an annotation at the line and a step summary, GitLab its file; the row has its advice everywhere."""
    project.edit('latency = { p99 = "5 s" }', 'latency = { p99 = "1 ns" }')
    step = project.root / "step.md"
    project.env |= {
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(project.root),
        "GITHUB_STEP_SUMMARY": str(step),
        "GITLAB_CI": "true",
        "CI_PROJECT_DIR": str(project.root),
    }
    ran = project.run("--pyargs", "hil.suites", "--target=cpu", "-k", "test_p99", "-q")
    assert ran.code == int(ExitCode.FAILED), ran.out
    line = 1 + (project.root / "hil.toml").read_text(encoding="utf-8").split("\n").index('latency = { p99 = "1 ns" }')
    assert f"::error file=hil.toml,line={line},title=failed%3A latency.p99 toy fp32 saturated::" in ran.out
    assert ran.out.count("::stop-commands::") == 1
    summary = step.read_text(encoding="utf-8")
    assert summary.startswith("## ❌ FAILED on cpu")
    entries = json.loads((project.root / "report" / "gl-code-quality.json").read_text(encoding="utf-8"))
    found = next(entry for entry in entries if entry["check_name"] == "latency.p99")
    assert found["location"] == {"path": "hil.toml", "lines": {"begin": line}}
    (advice, *_) = ran.check("latency.p99")["advice"]
    assert "of the time must go" in advice
    page = (project.root / "report" / "report.html").read_text(encoding="utf-8")
    assert 'class="plot over-time"' in page
    assert "of the time must go" in page
