from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.history.spoiled import BEFORE, MEANWHILE, spoiled

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("what", "when", "code", "message"),
    [
        ("cut in half", MEANWHILE, 11, "it is damaged or not a SQLite database"),
        ("read-only", BEFORE, 4, "it is read-only"),
    ],
)
def test_a_history_that_cannot_be_written_costs_no_report(
    tmp_path: Path, what: str, when: str, code: int, message: str
) -> None:
    """One message with what to do; before anything is measured, or with the whole report on disk."""
    found = spoiled(tmp_path, what, when)
    assert (found["code"], found["traceback"], len(found["messages"])) == (code, False, 1), found
    assert message in found["messages"][0]
    assert found["report"] == ("complete" if when == MEANWHILE else "incomplete")
