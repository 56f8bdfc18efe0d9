from __future__ import annotations

import random
from typing import TYPE_CHECKING

from benchmarks.rulebook.__main__ import compare, detected
from benchmarks.rulebook.cases import FAULTS, draw
from benchmarks.rulebook.judges import JUDGES, ROBOTS, Workspace

if TYPE_CHECKING:
    from pathlib import Path


def test_no_judge_is_weaker_and_a_removed_rule_is_detected(tmp_path: Path) -> None:
    """All judges refuse each fault, and a rule that is removed from one judge is detected."""
    workspace = Workspace(tmp_path)
    cases = [workspace.place(case) for case in draw(random.Random(5), len(FAULTS) + 2)]  # noqa: S311 - no secret
    weaker, good = compare(cases)
    assert weaker == []
    assert good > 0
    for judge in JUDGES:
        rule = "clean" if judge == "run" else "expiry"
        assert detected(cases, judge, rule, 1) == 1, (judge, rule)
    assert all(detected(cases, "deploy", rule, 1) for rule in ROBOTS)
