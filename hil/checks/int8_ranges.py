"""INT8: do the calibrated ranges fit the tensors' values at validation, and does a second calibration repeat them?"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from hil.checks import int8_states
from hil.checks.verdicts import failed, hold, inconclusive, judged
from hil.results import Judgement, Limit, Measurement, Verdict
from hil.stats.shares import share_bounds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.checks.int8_states import StateUse

LOST = 10**-1.5
"""The share of a tensor's energy that clipping may remove: 15 dB, the default ``sqnr_db`` of INT8 outputs."""

STRETCHED = 4.0
"""The largest accepted ratio of a range to the largest value at validation. At 4, two of the eight bits are unused."""

DRIFT = 1e-3
"""The relative change of a range that a second calibration may cause: the largest code moves by 1/8 of a step."""

MANY, CONFIDENCE = 500, 0.95
"""The rate of a tensor with more elements than ``MANY`` is exact; with fewer, its bound at ``CONFIDENCE`` counts."""

LISTED = 20
"""How many tensors are listed in a report's details, worst first."""


@dataclass(frozen=True)
class TensorUse:
    """The values of one tensor of the FP32 model over the validation data, compared with its INT8 range.

    Attributes:
        name: the tensor.
        top: the largest magnitude that the range holds.
        peak: the largest magnitude at validation.
        beyond: the number of elements outside the range, by more than half an INT8 step.
        n: the number of all elements.
        lost: the share of the energy that clipping removes.
    """

    name: str
    top: float
    peak: float
    beyond: int
    n: int
    lost: float

    @property
    def rate(self) -> float:
        """The share of the elements that are clipped."""
        return self.beyond / self.n


@dataclass(frozen=True)
class RangesFacts:
    """The values of each tensor compared with its range (``uses``).

    ``unseen`` are the tensors that have a range but are not in the executed model. ``states`` has an entry for each
    sequence and each state that is clipped in it.
    """

    uses: Sequence[TensorUse]
    samples: int
    unseen: Sequence[str] = ()
    synthetic: bool = False
    states: Sequence[StateUse] = ()


def ranges(facts: RangesFacts, limit: Limit | None) -> Judgement:
    """Judge ``int8.ranges``: the clipping rate of the worst tensor.

    Also failed if a tensor or a state loses too much by clipping, or if a range is more than four times as wide as the
    values in it (``STRETCHED``). Inconclusive without finite values, and if the worst tensors have so few elements that
    chance explains how many are clipped. Warned instead of passed for synthetic samples.
    """
    worst = sorted(facts.uses, key=lambda use: (use.rate, use.lost), reverse=True) if _finite(facts.uses) else []
    details: dict[str, Any] = {"samples": facts.samples, "unseen": list(facts.unseen[:LISTED])}
    if facts.samples < 1 or not worst:
        what = "values are not finite" if facts.uses and facts.samples else "no tensor with a range was computed"
        return inconclusive(f"{what} in {facts.samples} validation samples", limit, details)
    details["tensors"] = [_as_dict(use) for use in worst[:LISTED]]
    silent = [use.name for use in facts.uses if use.peak == 0]
    if silent:
        details["always_zero"] = silent[:LISTED]
    if facts.states:
        details["states"] = [asdict(use) for use in int8_states.worst_states(facts.states)[:LISTED]]
    wrong = int8_states.clipping(facts.states) or _stretched(facts.uses) or _lossy(facts.uses)
    if wrong:
        return failed(wrong, details)
    beyond = [] if limit is None else [use for use in worst if use.rate > limit.value and not _by_chance(use, limit)]
    first, n = [*beyond, *worst][0], sum(use.n for use in facts.uses)
    judgement = hold(Measurement(value=first.rate, unit="1", n=n), limit, details)
    reason = f"{judgement.reason}: {first.name!r} is clipped most, of {len(worst)} tensors in {facts.samples} samples"
    if judgement.verdict is Verdict.FAILED and not beyond:
        reason += f": chance may clip {first.beyond} of only {first.n} elements: give more validation samples"
        return judgement.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})
    if judgement.verdict is Verdict.PASSED and facts.synthetic:
        reason = f"{reason}; but the samples are synthetic, and real ones may have larger values"
        return judgement.model_copy(update={"verdict": Verdict.WARNED, "reason": reason})
    return judgement.model_copy(update={"reason": reason})


def _finite(uses: Sequence[TensorUse]) -> bool:
    return all(use.n > 0 and all(map(math.isfinite, (use.top, use.peak, use.lost))) and use.top >= 0 for use in uses)


def _by_chance(use: TensorUse, limit: Limit) -> bool:
    """Return whether so many clipped elements are also likely at a rate within ``limit``: never for many elements."""
    if use.n > MANY:
        return False
    return share_bounds([1.0] * use.beyond + [0.0] * (use.n - use.beyond), CONFIDENCE)[0] <= limit.value


def _as_dict(use: TensorUse) -> dict[str, Any]:
    figures = {"range": use.top, "peak": use.peak, "clipped": use.rate, "energy_lost": use.lost, "n": use.n}
    return {"name": use.name, **figures}


def _lossy(uses: Sequence[TensorUse]) -> str:
    """Return an error for the tensor that loses the largest share of its energy by clipping.

    Return an empty string if that share is acceptable.
    """
    use = max(uses, key=lambda use: use.lost)
    if use.lost <= LOST:
        return ""
    return (
        f"clipping removes {use.lost:.1%} of the energy of {use.name!r}: its range ends at {use.top:.4g}, validation "
        f"reaches {use.peak:.4g}: calibrate on data with such values, or by another method"
    )


def _stretched(uses: Sequence[TensorUse]) -> str:
    """Return an error for the range that is widest relative to the values in it; empty if no range is too wide."""
    peaks: dict[float, float] = {}
    for use in uses:
        peaks[use.top] = max(peaks.get(use.top, 0.0), use.peak)
    wide = [use for use in uses if use.top > STRETCHED * peaks[use.top] > 0]
    if not wide:
        return ""
    use = max(wide, key=lambda use: use.top / peaks[use.top])
    more = f" and {len(wide) - 1} more" if len(wide) > 1 else ""
    return (
        f"the range of {use.name!r}{more} is too wide: it reaches {use.top:.4g}, validation only {peaks[use.top]:.4g}: "
        "look for an outlier in the calibration data, or use method = 'percentile'"
    )


@dataclass(frozen=True)
class Drift:
    """How two sets of ranges differ.

    Attributes:
        moved: each tensor of both sets with its relative change, ``new / old - 1`` of the channel that changes most;
            worst first.
        gone: tensors of the old set only.
        new: tensors of the new set only.
    """

    moved: tuple[tuple[str, float], ...] = ()
    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        """The largest magnitude of a change; 0 if no tensor is in both sets."""
        return abs(self.moved[0][1]) if self.moved else 0.0


def drift(old: Mapping[str, Sequence[float]], new: Mapping[str, Sequence[float]]) -> Drift:
    """Return how the scales of each tensor differ between the sets ``old`` and ``new``.

    A change that has no finite ratio counts as infinite.
    """
    both = [(name, _change(old[name], new[name])) for name in old if name in new]
    both.sort(key=lambda one: (-abs(one[1]), one[0]))
    return Drift(tuple(both), tuple(sorted(set(old) - set(new))), tuple(sorted(set(new) - set(old))))


def _change(old: Sequence[float], new: Sequence[float]) -> float:
    if len(old) != len(new):
        return math.inf
    changes = [_relative(one, other) for one, other in zip(old, new, strict=True)]
    return max(changes, key=abs, default=0.0)


def _relative(old: float, new: float) -> float:
    if old == new:
        return 0.0
    sound = math.isfinite(old) and math.isfinite(new) and old > 0 and new > 0
    return new / old - 1 if sound else math.inf


@dataclass(frozen=True)
class RepeatFacts:
    """The ranges in use, and those of a second calibration on the same samples; ``where`` states where that one ran."""

    in_use: Mapping[str, Sequence[float]]
    again: Mapping[str, Sequence[float]]
    samples: int
    where: str = "on the host"
    details: Mapping[str, Any] = field(default_factory=dict)


def repeatable(facts: RepeatFacts) -> Judgement:
    """Judge ``int8.repeatable``: a second calibration of the same model on the same data gives the ranges in use.

    Ranges may differ by 0.1 % (``DRIFT``). Inconclusive if there are no ranges to compare.
    """
    change = drift(facts.in_use, facts.again)
    details: dict[str, Any] = {
        "samples": facts.samples,
        "moved": [{"name": name, "change": by} for name, by in change.moved[:LISTED] if by],
        "gone": list(change.gone[:LISTED]),
        "new": list(change.new[:LISTED]),
        **facts.details,
    }
    if facts.samples < 1 or not facts.in_use or not facts.again:
        which = "in use" if not facts.in_use else "from the second calibration"
        return inconclusive(f"there are no ranges {which} to compare", details=details)
    wrong = _not_repeated(change)
    if wrong:
        return failed(f"{wrong}: calibrated again {facts.where} on the same {facts.samples} samples", details)
    measurement = Measurement(value=change.worst, unit="1", n=len(change.moved))
    reason = (
        f"calibrated again {facts.where} on {facts.samples} samples: {len(change.moved)} tensors' ranges differ by "
    )
    return judged(Verdict.PASSED, f"{reason}{change.worst:.2g} at most", measurement, details=details)


def _not_repeated(change: Drift) -> str:
    if change.gone or change.new:
        some = ", ".join([*change.gone, *change.new][:3])
        counts = f"{len(change.gone)} that the model does not have, {len(change.new)} missing, e.g. {some}"
        return f"the ranges in use are of other tensors ({counts}): they are another model's, or tensors were renamed"
    if change.worst > DRIFT:
        name, worst = change.moved[0]
        count = sum(abs(one) > DRIFT for _, one in change.moved)
        by = f"{worst:+.1%}" if math.isfinite(worst) else "not comparable"
        return (
            f"the ranges of {count} of {len(change.moved)} tensors are not those of this model and data, {name!r} {by}"
        )
    return ""
