"""Adjusts the p values of several tests, so that the chance of any false alarm among the tests is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def adjusted(p: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p values, in the order of ``p``.

    If changes with adjusted values up to alpha are reported, the chance of any false report is at most alpha (Holm
    1979, Scandinavian Journal of Statistics 6, 65). Raise ``ValueError`` unless each value is from 0 to 1.
    """
    if not all(0 <= one <= 1 for one in p):
        raise ValueError(f"p values must lie between 0 and 1, got {list(p)}")
    holm = [0.0] * len(p)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, (len(p) - rank) * p[place]))
        holm[place] = least
    return holm
