"""Many questions at once: the p values that still hold when one false alarm among all of them is too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def adjusted(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given (Holm 1979, Scand. J. Statist. 6, 65).

    Calling a change where the adjusted value is at most alpha keeps the chance of any false call among all of them at
    alpha, however they hang together. Raises ``ValueError`` for what is no probability, NaN included.
    """
    if not all(0 <= one <= 1 for one in p):
        raise ValueError(f"p values must lie between 0 and 1, got {list(p)}")
    found = [0.0] * len(p)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, (len(p) - rank) * p[place]))
        found[place] = least
    return found
