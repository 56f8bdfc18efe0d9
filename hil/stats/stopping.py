"""Plans the interim analyses of a growing series: when to judge it, and at which confidence.

The allowed error, 1 - confidence, is divided among all analyses that may take place (alpha spending: Lan and DeMets
1983, Biometrika 70, 659).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hil.stats.percentile import samples_needed, smallest_n

FIRST_SHARE = 0.6
"""Share of the error for the first analysis, which suffices for a clearly good engine; the others share the rest."""

SLACK = 1.5
"""The first analysis has this many times ``smallest_n`` samples, because its confidence is above that of the verdict,
and the effective size of a series is below n."""

_AGAIN = 2  # factor on the samples if the series has enough samples already, but its estimate is close to the limit


@dataclass(frozen=True)
class InterimAnalyses:
    """The interim analyses of a series: at the amount ``first``, after each doubling, and at ``most``.

    Amounts are seconds or samples.

    Attributes:
        first: the amount after which the first analysis takes place.
        most: the budget; if it is less than ``first``, there is one analysis, after ``first``.
        confidence: the confidence of the final verdict.
    """

    first: float
    most: float
    confidence: float

    @property
    def count(self) -> int:
        """The largest possible number of analyses."""
        return 1 + max(0, math.ceil(math.log2(max(1.0, self.most / self.first)) - 1e-9))

    @property
    def ends(self) -> tuple[float, ...]:
        """The amount at each analysis, ascending."""
        doubled = [self.first * 2**step for step in range(self.count)]
        return (*doubled[:-1], max(self.first, self.most)) if self.count > 1 else (self.first,)

    def level(self, number: int) -> float:
        """Return the one-sided confidence of the bounds at analysis ``number``, counted from 1.

        The errors of all levels add up to 1 - ``confidence``. Raises ``ValueError`` unless ``number`` is from 1 to
        ``count``.
        """
        if not 1 <= number <= self.count:
            raise ValueError(f"analysis {number} is not one of 1 to {self.count}")
        error = 1 - self.confidence
        if self.count == 1:
            return self.confidence
        share = FIRST_SHARE if number == 1 else (1 - FIRST_SHARE) / (self.count - 1)
        return 1 - error * share


def samples_of_first_analysis(q: float, confidence: float) -> int:
    """Return the fewest samples for the first analysis of the ``q`` quantile: 1.5 times ``smallest_n``, rounded down.

    For the 99th percentile at 99 % confidence that is 688.
    """
    return math.floor(SLACK * smallest_n(q, confidence))


def samples_missing(q: float, confidence: float, share: float, n: int, worth: float) -> int | None:
    """Return about how many more samples would decide whether the ``q`` quantile is within its limit.

    The share ``share`` of the ``n`` samples so far is over the limit; ``worth`` is the effective size of these samples.
    Return ``None`` if no number of samples would decide it, and ``n`` if the samples so far should have been enough.
    """
    needed = samples_needed(q, confidence, share)
    if needed is None:
        return None
    total = math.ceil(needed * n / worth)
    return total - n if total > n else (_AGAIN - 1) * n
