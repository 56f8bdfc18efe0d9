"""The config reader against mutated configs; ``python -m tests.fuzz.config`` does many more."""

from __future__ import annotations

from tests.fuzz.config import fuzz


def test_no_config_crashes_the_reader() -> None:
    """Every mutated config either loads or raises ``UserError``, and both occur."""
    counts = fuzz(500, seed=1)
    assert counts["loaded"] > 0
    assert counts["refused"] > 0
