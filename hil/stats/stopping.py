"""When to look at a growing series, and how sure each look has to be.

Whoever looks several times and stops when satisfied is wrong more often than each look says. Here the error that
is allowed, 1 - confidence, is spent over the looks that may be taken, whether they are or not (alpha spending: Lan and
DeMets 1983, Biometrika 70, 659; with Bonferroni's inequality instead of their joint distribution, so that it holds
however the looks hang together). What is looked at grows twofold, so that few looks span any budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hil.stats.percentile import samples_needed, smallest_n

FIRST_SHARE = 0.6
"""Of the error, for the first look: a clearly good engine is decided there. The others share the rest evenly."""

SLACK = 1.5
"""A first look at so many times the smallest number of samples leaves room for its level and a worth under n."""

_AGAIN = 2  # where the estimate sits on the line, twice as many samples may decide


@dataclass(frozen=True)
class Looks:
    """The looks at a series: after ``first``, then each at twice as much, and at last at ``most``.

    The amounts are seconds or samples, whichever the caller grows its series by. They are fixed before the first
    sample, as is the level of each.

    Attributes:
        first: the amount before which nothing is looked at.
        most: the budget; where it is under ``first`` there is one look, at ``first``.
        confidence: with which the verdict holds that the looks end at.
    """

    first: float
    most: float
    confidence: float

    @property
    def count(self) -> int:
        """How many looks there are at most."""
        return 1 + max(0, math.ceil(math.log2(max(1.0, self.most / self.first)) - 1e-9))

    @property
    def ends(self) -> tuple[float, ...]:
        """The amount at each look, ascending."""
        doubled = [self.first * 2**look for look in range(self.count)]
        return (*doubled[:-1], max(self.first, self.most)) if self.count > 1 else (self.first,)

    def level(self, look: int) -> float:
        """The confidence of each side of an interval at the ``look``-th look, from 1 on.

        The errors of all levels add up to 1 - ``confidence``. Raises ``ValueError`` for a look that is none of these.
        """
        if not 1 <= look <= self.count:
            raise ValueError(f"look {look} is none of {self.count}")
        error = 1 - self.confidence
        if self.count == 1:
            return self.confidence
        share = FIRST_SHARE if look == 1 else (1 - FIRST_SHARE) / (self.count - 1)
        return 1 - error * share


def first_look(q: float, confidence: float) -> int:
    """The fewest samples at which to look for the first time: 1.5 times what the ``q`` quantile takes at least.

    688 for the 99th percentile at 99 %.
    """
    return math.floor(SLACK * smallest_n(q, confidence))


def samples_missing(q: float, confidence: float, share: float, n: int, worth: float) -> int | None:
    """How many more samples would about settle the ``q`` quantile, ``share`` of ``n`` lying over its limit.

    ``worth`` is how many independent samples those ``n`` are worth. ``None`` where no number would settle it.
    """
    needed = samples_needed(q, confidence, share)
    if needed is None:
        return None
    total = math.ceil(needed * n / worth)
    return total - n if total > n else (_AGAIN - 1) * n
