from __future__ import annotations

import random
from typing import TYPE_CHECKING

from benchmarks.rulebook.__main__ import compare, detected
from benchmarks.rulebook.cases import FAULTS, draw
from benchmarks.rulebook.judges import JUDGES, ROBOTS, Workspace

if TYPE_CHECKING:
    from pathlib import Path


def test_no_judge_is_weaker_and_a_rule_taken_out_is_noticed(tmp_path: Path) -> None:
    """Each fault once, with these seeds, by all judges; then one rule of each kind out of one judge in turn."""
    workspace = Workspace(tmp_path)
    made = [workspace.place(case) for case in draw(random.Random(5), len(FAULTS) + 2)]  # noqa: S311 - no secret
    weaker, good = compare(made)
    assert weaker == []
    assert good > 0
    for judge in JUDGES:
        rule = "clean" if judge == "run" else "expiry"
        assert detected(made, judge, rule, 1) == 1, (judge, rule)
    assert all(detected(made, "deploy", rule, 1) for rule in ROBOTS)
