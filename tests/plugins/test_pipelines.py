"""A run in a CI pipeline, through the real command line: what GitHub and GitLab show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hil.errors import ExitCode

if TYPE_CHECKING:
    from tests.plugins.project import Project


def test_a_missed_limit_is_shown_where_it_was_written(project: Project) -> None:
    """A missed limit has an annotation and a GitLab entry at its line, a step summary, its slowest nodes and advice."""
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
    entry = next(entry for entry in entries if entry["check_name"] == "latency.p99")
    assert entry["location"] == {"path": "hil.toml", "lines": {"begin": line}}
    check = ran.check("latency.p99")
    assert "slowest nodes: scores (Gemm)" in check["reason"]
    assert check["details"]["slowest_nodes"][0]["op"] == "Gemm"
    (advice, *_) = check["advice"]
    assert "the time must shrink by" in advice
    page = (project.root / "report" / "report.html").read_text(encoding="utf-8")
    assert 'class="plot over-time"' in page
    assert "the time must shrink by" in page
