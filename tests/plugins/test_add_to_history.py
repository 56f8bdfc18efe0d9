from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.history.damaged_history import BEFORE, MEANWHILE, outcome_of_damage

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("what", "when", "code", "message"),
    [
        ("cut in half", MEANWHILE, 11, "it is damaged or not a SQLite database"),
        ("read-only", BEFORE, 4, "it is read-only"),
    ],
)
def test_a_history_that_cannot_be_written_is_one_message(
    tmp_path: Path, what: str, when: str, code: int, message: str
) -> None:
    """A history that cannot be written gives one message: before measuring, or after it with a complete report."""
    outcome = outcome_of_damage(tmp_path, what, when)
    assert (outcome["code"], outcome["traceback"], len(outcome["messages"])) == (code, False, 1), outcome
    assert message in outcome["messages"][0]
    assert outcome["report"] == ("complete" if when == MEANWHILE else "incomplete")
