"""INT8: do the calibrated ranges fit what flows at validation, and does calibrating again give them again?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.checks.verdicts import failed, hold, inconclusive, judged
from hil.results import Judgement, Limit, Measurement, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOST = 10**-1.5
"""Share of a tensor's energy that clipping may take: 15 dB, which is what ``sqnr_db`` asks of INT8 outputs."""

STRETCHED = 4.0
"""Times a range may reach further than anything that flows: two of the eight bits are never used."""

DRIFT = 1e-3
"""Relative change of a range that a second calibration may give: the largest code moves by an eighth of a step."""

LISTED = 20
"""Tensors listed in a report's details, worst first."""


@dataclass(frozen=True)
class TensorUse:
    """One tensor of the FP32 model over the validation data, beside the range it has in INT8.

    ``top`` is the largest magnitude that the range holds, ``peak`` the largest seen; ``beyond`` of ``n`` elements lie
    outside, and cutting them takes the share ``lost`` of the energy.
    """

    name: str
    top: float
    peak: float
    beyond: int
    n: int
    lost: float

    @property
    def rate(self) -> float:
        """Share of the elements that are clipped."""
        return self.beyond / self.n


@dataclass(frozen=True)
class RangesFacts:
    """What was seen of each tensor; ``unseen`` have a range and were not found in the model that ran."""

    uses: Sequence[TensorUse]
    samples: int
    unseen: Sequence[str] = ()
    synthetic: bool = False


def ranges(facts: RangesFacts, limit: Limit | None) -> Judgement:
    """``int8.ranges``: the worst tensor's clipping rate, none clipped of its signal, none stretched.

    Failed too where clipping takes more of a tensor's energy than 15 dB, or where a range reaches four times further
    than all that was seen of the tensors that share it. Inconclusive where nothing flowed or was not finite.
    """
    worst = sorted(facts.uses, key=lambda use: (use.rate, use.lost), reverse=True) if _finite(facts.uses) else []
    details: dict[str, Any] = {"samples": facts.samples, "unseen": list(facts.unseen[:LISTED])}
    if facts.samples < 1 or not worst:
        what = "what flows is not finite" if facts.uses and facts.samples else "no tensor that has a range was seen"
        return inconclusive(f"{what} in {facts.samples} validation samples", limit, details)
    details["tensors"] = [_told(use) for use in worst[:LISTED]]
    silent = [use.name for use in facts.uses if use.peak == 0]
    if silent:
        details["always_zero"] = silent[:LISTED]
    wrong = _stretched(facts.uses) or _lossy(facts.uses)
    if wrong:
        return failed(wrong, details)
    first, n = worst[0], sum(use.n for use in facts.uses)
    found = hold(Measurement(value=first.rate, unit="1", n=n), limit, details)
    reason = f"{found.reason}: {first.name!r} is clipped most, of {len(worst)} tensors in {facts.samples} samples"
    if found.verdict is Verdict.PASSED and facts.synthetic:
        reason = f"{reason}; but the samples are synthetic, and real ones may reach further"
        return found.model_copy(update={"verdict": Verdict.WARNED, "reason": reason})
    return found.model_copy(update={"reason": reason})


def _finite(uses: Sequence[TensorUse]) -> bool:
    return all(use.n > 0 and all(map(math.isfinite, (use.top, use.peak, use.lost))) and use.top >= 0 for use in uses)


def _told(use: TensorUse) -> dict[str, Any]:
    told = {"name": use.name, "range": use.top, "peak": use.peak, "clipped": use.rate, "energy_lost": use.lost}
    return {**told, "n": use.n}


def _lossy(uses: Sequence[TensorUse]) -> str:
    """The tensor that clipping takes most of its energy from, if it is too much."""
    use = max(uses, key=lambda use: use.lost)
    if use.lost <= LOST:
        return ""
    return (
        f"clipping takes {use.lost:.1%} of the energy of {use.name!r}: its range ends at {use.top:.4g}, validation "
        f"reaches {use.peak:.4g}: calibrate on data that reaches as far, or by another method"
    )


def _stretched(uses: Sequence[TensorUse]) -> str:
    """The range that reaches furthest beyond all that flows in it; tensors of one range are judged together."""
    peaks: dict[float, float] = {}
    for use in uses:
        peaks[use.top] = max(peaks.get(use.top, 0.0), use.peak)
    wide = [use for use in uses if use.top > STRETCHED * peaks[use.top] > 0]
    if not wide:
        return ""
    use = max(wide, key=lambda use: use.top / peaks[use.top])
    more = f" and {len(wide) - 1} more" if len(wide) > 1 else ""
    return (
        f"the range of {use.name!r}{more} is stretched: it reaches {use.top:.4g}, validation no further than "
        f"{use.peak:.4g}, so {math.log2(use.top / peaks[use.top]):.1f} of 8 bits are never used: look for an outlier "
        "in the calibration data, or use method = 'percentile'"
    )


@dataclass(frozen=True)
class Drift:
    """How two sets of ranges differ.

    ``moved`` has each tensor of both with its largest relative change (``new / old - 1``, of the channel where its
    magnitude is largest), worst first; ``gone`` and ``new`` are in one of the two alone.
    """

    moved: tuple[tuple[str, float], ...] = ()
    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        """The largest magnitude of change; 0 where no tensor is in both."""
        return abs(self.moved[0][1]) if self.moved else 0.0


def drift(old: Mapping[str, Sequence[float]], new: Mapping[str, Sequence[float]]) -> Drift:
    """Compares scales by tensor; another number of channels, or a scale that is not positive, is infinite drift."""
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
    """The ranges in use, and those of a second calibration on the same samples; ``where`` it was done."""

    in_use: Mapping[str, Sequence[float]]
    again: Mapping[str, Sequence[float]]
    samples: int
    where: str = "on the host"
    details: Mapping[str, Any] = field(default_factory=dict)


def repeatable(facts: RepeatFacts) -> Judgement:
    """``int8.repeatable``: calibrating again from the model and the data gives the ranges in use."""
    found = drift(facts.in_use, facts.again)
    details: dict[str, Any] = {
        "samples": facts.samples,
        "moved": [{"name": name, "change": change} for name, change in found.moved[:LISTED] if change],
        "gone": list(found.gone[:LISTED]),
        "new": list(found.new[:LISTED]),
        **facts.details,
    }
    if facts.samples < 1 or not facts.in_use or not facts.again:
        which = "in use" if not facts.in_use else "from the second calibration"
        return inconclusive(f"there are no ranges {which} to compare", details=details)
    wrong = _not_again(found)
    if wrong:
        return failed(f"{wrong}: calibrated again {facts.where} on the same {facts.samples} samples", details)
    measurement = Measurement(value=found.worst, unit="1", n=len(found.moved))
    reason = f"calibrated again {facts.where} on {facts.samples} samples: {len(found.moved)} tensors' ranges differ by "
    return judged(Verdict.PASSED, f"{reason}{found.worst:.2g} at most", measurement, details=details)


def _not_again(found: Drift) -> str:
    if found.gone or found.new:
        some = ", ".join([*found.gone, *found.new][:3])
        return (
            f"the ranges in use are of other tensors ({len(found.gone)} that the model does not give, {len(found.new)} "
            f"missing, e.g. {some}): they are of another model, or tensors were renamed"
        )
    if found.worst > DRIFT:
        name, change = found.moved[0]
        count = sum(abs(one) > DRIFT for _, one in found.moved)
        by = f"{change:+.1%}" if math.isfinite(change) else "to something else altogether"
        return (
            f"the ranges of {count} of {len(found.moved)} tensors are not those of this model and data, {name!r} {by}"
        )
    return ""
