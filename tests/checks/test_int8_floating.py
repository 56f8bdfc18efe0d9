"""The reason of ``int8.cache`` states which nodes stay in floating point."""

from __future__ import annotations

from hil.checks.int8_floating import floating_texts


def test_counts_by_reason_and_rounded_values() -> None:
    """Nodes are counted by reason; an excluded node whose values are rounded is named with what is rounded."""
    facts = {"count": 3, "reasons": {"mask": 2, "excluded": 1}, "rounded": {"a": ["its output y is rounded"]}}
    assert list(floating_texts(facts)) == [
        "3 nodes stay in floating point (2 for mask, 1 for excluded)",
        "excluded node a computes in floating point, but its output y is rounded",
    ]


def test_nothing_to_state() -> None:
    """Without nodes in floating point, and for a record of an earlier version, there is no text."""
    assert not list(floating_texts({"count": 0, "reasons": {}, "rounded": {}}))
    assert not list(floating_texts({}))
