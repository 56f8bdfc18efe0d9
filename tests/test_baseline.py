"""The highest clocks in a comparison of two sides."""

from __future__ import annotations

import pytest

from hil.baseline import why_clocks_differ

NAMES = ("before", "after")


def _clocks(*megahertz: float) -> list[dict[str, float]]:
    return [{"gpu": value * 1e6} for value in megahertz]


@pytest.mark.parametrize(
    ("base", "cand", "low", "slower", "high", "faster"),
    [
        ((600,), (1300,), 600, "before", 1300, "after"),
        ((1300,), (600,), 600, "after", 1300, "before"),
        ((600, 1300), (600,), 600, "after", 1300, "before"),  # the slow side is the one without the high clock
        ((600, 1300), (1000,), 600, "before", 1000, "after"),
    ],
)
def test_each_named_clock_was_read_on_the_side_that_it_is_named_for(
    base: tuple[float, ...], cand: tuple[float, ...], low: int, slower: str, high: int, faster: str
) -> None:
    """A message names a clock only for a side on which that clock was read."""
    why = why_clocks_differ(_clocks(*base), _clocks(*cand), NAMES)
    assert f"limited to {low} MHz on the side of {slower}, to {high} MHz on {faster}" in why


@pytest.mark.parametrize(("base", "cand"), [((1300,), (1299,)), ((1300,), ()), ((), ())])
def test_equal_or_unread_clocks_give_no_reason(base: tuple[float, ...], cand: tuple[float, ...]) -> None:
    """Clocks that differ by less than 1 %, and sides without a reading, give no reason."""
    assert not why_clocks_differ(_clocks(*base), _clocks(*cand), NAMES)
