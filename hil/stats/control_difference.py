"""Compare the control of two sides: whether the machine was the same, as far as a fixed workload can tell.

The difference never corrects a value; it only decides whether the machine may be the cause of a change.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.results import ControlSummary

CONFIDENCE = 0.99
"""The confidence of the two-sided interval of a difference."""

MARGIN = 1.5
"""On a machine of another speed, a network's time is assumed to change by at most this power of the control's ratio."""

_Z90, _Z95, _Z99 = 1.644854, 1.959964, 2.575829  # the normal distribution's quantiles of two-sided 90, 95 and 99 %
_MEDIAN = math.sqrt(math.pi / 2)  # standard error of a median relative to that of a mean, of normal values
_LEAST_SPREAD = 0.02  # assumed between windows if there are too few of them for an interval


@dataclass(frozen=True)
class ControlDifference:
    """The control of the candidate relative to that of the base.

    Attributes:
        ratio: geometric mean of the medians of the candidate's sessions, divided by that of the base.
        low, high: the two-sided 99 % interval of ``ratio``.
        base_drift, cand_drift: the logarithm of the largest significant change of the control within a session of that
            side; 0 without one.
    """

    ratio: float
    low: float
    high: float
    base_drift: float = 0.0
    cand_drift: float = 0.0

    def differs(self, tolerance: float) -> bool:
        """Return whether the sides differ by ``tolerance`` (a fraction) or more, and by more than the noise allows."""
        return not self.low <= 1 <= self.high and abs(math.log(self.ratio)) >= math.log1p(tolerance)

    def as_dict(self) -> dict[str, float]:
        """Return the change, a fraction, and the ends of its interval: ``effect``, ``low`` and ``high``."""
        return {"effect": self.ratio - 1, "low": self.low - 1, "high": self.high - 1}

    def beyond(self, above: float) -> float:
        """Return the least change (a fraction) to report, given that the machine may have changed.

        It combines ``above``, the least change on an unchanged machine, with ``MARGIN`` times the control's change and
        the noise of the control.
        """
        noise = math.log(self.high / self.low) / 2 * _Z90 / _Z99
        return math.exp(math.log1p(above) + MARGIN * abs(math.log(self.ratio)) + noise) - 1

    def drifts(self, tolerance: float) -> bool:
        """Return whether the control changed by ``tolerance`` (a fraction) or more within a session of either side."""
        return max(abs(self.base_drift), abs(self.cand_drift)) >= math.log1p(tolerance)


CONTROL = "control"
"""In a calibration, replaces the check's id in the row of the control. The model of this row is the workload's name."""

ADVICE = "measure both again, soon after each other, with nothing else running on the machine"


def why_confounded(difference: ControlDifference, tolerance: float, base: str, cand: str) -> str:
    """Return why the machine may be the cause of a change, with what to do; empty if the control shows no reason.

    ``tolerance`` is the least change of the control, a fraction, that matters. ``base`` and ``cand`` are the names of
    the sides, as in "on the side of latest~1".
    """
    if difference.differs(tolerance):
        ratio, low, high, side = difference.ratio, difference.low, difference.high, cand
        if ratio < 1:
            ratio, low, high, side = 1 / ratio, 1 / high, 1 / low, base
        much = f"{_percent(ratio)} slower on the side of {side} (from {_percent(low)} to {_percent(high)})"
        return f"this machine ran the control {much}, so it may be the cause of a change: {ADVICE}"
    if difference.drifts(tolerance):
        drift, side = max((difference.base_drift, base), (difference.cand_drift, cand), key=lambda one: abs(one[0]))
        much = f"{_percent(math.exp(abs(drift)))} {'slower' if drift > 0 else 'faster'}"
        what = f"this machine became {much} during {side}, as the control shows"
        return f"{what}, so it may be the cause of a change: {ADVICE}"
    return ""


def _percent(ratio: float) -> str:
    return f"{(ratio - 1) * 100:.2g} %"


def control_difference(
    base: Sequence[ControlSummary | None], cand: Sequence[ControlSummary | None]
) -> ControlDifference | None:
    """Return the difference between the controls of the sessions of two sides.

    Return ``None`` if a session has no control, or if there are several workloads.
    """
    ours, theirs = ([summary for summary in side if summary is not None] for side in (base, cand))
    complete = len(ours) == len(base) > 0 and len(theirs) == len(cand) > 0
    if not complete or len({summary.workload for summary in (*ours, *theirs)}) != 1:
        return None
    shift = _centre(theirs) - _centre(ours)
    reach = _Z99 * math.hypot(_error(ours), _error(theirs))
    drifts = (max(map(significant_drift, side), key=abs) for side in (ours, theirs))
    return ControlDifference(math.exp(shift), math.exp(shift - reach), math.exp(shift + reach), *drifts)


def usual(controls: Sequence[ControlSummary | None], tolerance: float) -> list[bool]:
    """Return for each session of one machine whether its control is usual.

    It is usual if its time is within ``tolerance`` (a fraction) of the sessions' median, and if it did not change by
    that much within the session. A session without a control, or with a different workload from most, counts as usual.
    """
    workloads = [control.workload for control in controls if control is not None]
    if not workloads:
        return [True] * len(controls)
    most = statistics.mode(workloads)
    same = [control for control in controls if control is not None and control.workload == most]
    middle = statistics.median(math.log(control.median) for control in same)
    reach = math.log1p(tolerance)
    return [
        control is None
        or control.workload != most
        or (abs(math.log(control.median) - middle) < reach and abs(significant_drift(control)) < reach)
        for control in controls
    ]


def significant_drift(summary: ControlSummary) -> float:
    """Return the logarithm of a change within a session; 0 if the noise explains it or there are too few windows."""
    low, high = summary.drift_low, summary.drift_high
    return 0.0 if low is None or high is None or low <= 0 <= high else summary.drift


def _centre(side: Sequence[ControlSummary]) -> float:
    return statistics.fmean(math.log(summary.median) for summary in side)


def _error(side: Sequence[ControlSummary]) -> float:
    """Return the standard error of the mean of the sessions' logarithms."""
    own = math.sqrt(math.fsum(_error_of(summary) ** 2 for summary in side)) / len(side)
    if len(side) == 1:
        return own
    return max(own, statistics.stdev(math.log(summary.median) for summary in side) / math.sqrt(len(side)))


def _error_of(summary: ControlSummary) -> float:
    if summary.low is not None and summary.high is not None and summary.low > 0:
        return math.log(summary.high / summary.low) / (2 * _Z95)
    return _MEDIAN * max(summary.spread, _LEAST_SPREAD) / math.sqrt(summary.windows)
