from __future__ import annotations

from typing import TYPE_CHECKING

from tests.plugins.project import SUITES, Project

if TYPE_CHECKING:
    from pathlib import Path

SIZE = ("-k", "engine_size", "-p", "no:benchmark")


def test_a_baseline_out_of_the_history_is_compared_with_or_not_run(tmp_path: Path) -> None:
    """The same engine passes; without a baseline, or without the row in it, nothing does, and a command is told."""
    project = Project.make(tmp_path)
    nothing = project.run(*SUITES, *SIZE, "--hil-baseline=latest").check("regression.engine_size")
    assert (nothing["verdict"], nothing["cause"]) == ("not_run", "no_baseline")
    assert "to make a baseline: pytest --target=cpu --hil-runs=5" in nothing["reason"]
    named = project.hil("history", "baseline", "shipped", "latest", "--why", "what robots run", "--who", "ann")
    assert named.code == 0, named.out
    ran = project.run(*SUITES, *SIZE, "--hil-baseline=shipped")
    same = ran.check("regression.engine_size")
    assert same["verdict"] == "passed", ran.out
    assert same["details"]["baseline"]["ref"] == "shipped"
    lacking = project.run(*SUITES, "-k", "test_accuracy", "--hil-baseline=shipped").check("regression.accuracy")
    assert (lacking["verdict"], lacking["cause"]) == ("not_run", "no_baseline")
    assert "baseline shipped has no parity.task toy fp32: measure it first" in lacking["reason"]
