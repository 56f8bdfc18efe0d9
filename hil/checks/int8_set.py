"""INT8: is the calibration set large and varied enough, and preprocessed like the validation data?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.checks.int8_ranges import LISTED, drift
from hil.checks.verdicts import failed, inconclusive, judged
from hil.results import Judgement, Measurement, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FEWEST = 16
"""The fewest distinct samples; with fewer, the ranges are arbitrary."""

CONSTANT = 0.02
"""The largest accepted share of samples with one value everywhere, such as a dark frame or a lens cap."""

REPEATED = 0.5
"""The smallest accepted share of distinct samples."""

MOVED = 2.0
"""The factor by which the second half of the samples may change a range. A factor of 2 is one of the eight bits."""

COVERED = 0.5
"""The smallest accepted ratio of the covered classes to the number expected in a random draw of as many samples."""

SPREAD, SHIFT = 1.6, 0.5
"""The accepted ratio of an input's standard deviations in the two sets, and the accepted difference of its means, in
standard deviations.

Between seeded halves and subsets (64 samples and more) of the bundled data sets the ratio is at most 1.1 and the
difference 0.1; leaving out a division by 255 or a normalization to unit variance gives a ratio of 2 to 255.
"""

FAR = 8.0
"""The factor by which the largest value of one sample may exceed that of 99 % of the samples."""


@dataclass(frozen=True)
class Spread:
    """The distribution of one input: mean and standard deviation of its values after clipping to ``low`` and ``high``.

    ``low`` and ``high`` are the quantiles at 1 % and 99 %.
    """

    mean: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class InputFacts:
    """One input in both sets.

    ``far`` lists outliers: the index of a calibration sample, and how many times its largest value exceeds that of 99 %
    of the samples.
    """

    name: str
    calibration: Spread
    validation: Spread
    far: Sequence[tuple[int, float]] = ()


@dataclass(frozen=True)
class Classes:
    """How often each class occurs in calibration and validation data; ``by`` states what determined the class."""

    calibration: Mapping[int, int]
    validation: Mapping[int, int]
    by: str


@dataclass(frozen=True)
class SetFacts:
    """What is known about a calibration set.

    Attributes:
        samples: how many samples calibration uses.
        distinct: how many of these differ by more than noise.
        constant: how many of these have one value everywhere.
        inputs: the distribution of each input.
        classes: how often each class occurs, if known.
        growth: ascending numbers of samples, each with the scales by tensor of a calibration on that many.
        synthetic: whether the samples are generated.
        unknown: what could not be determined, with the reason.
    """

    samples: int
    distinct: int
    constant: int
    inputs: Sequence[InputFacts] = ()
    classes: Classes | None = None
    growth: Sequence[tuple[int, Mapping[str, Sequence[float]]]] = ()
    synthetic: bool = False
    unknown: Mapping[str, str] = field(default_factory=dict)


def calibration_set(facts: SetFacts) -> Judgement:
    """Judge ``int8.calibration_set``: are there enough varied samples, preprocessed like the validation data?

    Failed if not, or if the second half of the samples still changes a range by a factor of 2. Inconclusive if no input
    can be compared. Warned for synthetic samples, and if the change of the ranges is unknown.
    """
    faults = list(_faults(facts))
    details: dict[str, Any] = {
        "samples": facts.samples,
        "distinct": facts.distinct,
        "constant": facts.constant,
        "inputs": [_input_details(one) for one in facts.inputs],
        "growth": _growth_details(facts),
        "not_judged": dict(facts.unknown),
        "faults": faults,
    }
    if facts.classes is not None:
        details["classes"] = _class_details(facts.classes)
    if faults:
        more = f" (and {len(faults) - 1} more: see faults)" if len(faults) > 1 else ""
        return failed(f"{faults[0]}{more}", details)
    if not facts.inputs:
        return inconclusive("no input of calibration and validation data could be compared", details=details)
    measurement = Measurement(value=facts.samples, unit="samples", n=facts.distinct)
    if facts.synthetic:
        reason = f"{facts.samples} synthetic samples: they do not show how varied real data is"
        return judged(Verdict.WARNED, reason, measurement, details=details)
    if len(facts.growth) < 2:  # half of the set and the whole set
        reason = f"whether {facts.samples} samples are enough is not known: {facts.unknown.get('growth', 'not tried')}"
        return judged(Verdict.WARNED, reason, measurement, details=details)
    reason = f"{facts.distinct} distinct samples; their second half moved {_most(facts)}"
    classes = facts.classes
    if classes is not None:
        counts = f"{len(classes.calibration)} classes, validation {len(classes.validation)}"
        reason += f"; calibration has {counts}, by {classes.by}"
    return judged(Verdict.PASSED, reason, measurement, details=details)


def _faults(facts: SetFacts) -> Iterator[str]:
    """Yield the faults of the set as text, causes before their consequences."""
    count = facts.samples
    if facts.constant > CONSTANT * count:
        what = f"{facts.constant} of {count} calibration samples are constant, one value everywhere"
        yield f"{what}: ranges from them do not fit real data: give real samples"
    if facts.distinct < REPEATED * count:
        yield f"only {facts.distinct} of {count} calibration samples differ: replace the repeats"
    if facts.distinct < FEWEST:
        yield f"only {facts.distinct} distinct calibration samples: give at least {FEWEST}, some hundreds are usual"
    for one in facts.inputs:
        yield from _far(one)
    for one in facts.inputs:
        yield from _preprocessed_differently(one)
    if facts.classes is not None:
        yield from _one_sided(facts.classes)
    yield from _moving(facts)


def _far(one: InputFacts) -> Iterator[str]:
    if one.far:
        sample, times = one.far[0]
        more = f" and {len(one.far) - 1} more" if len(one.far) > 1 else ""
        what = f"calibration sample {sample}{more} is an outlier: input {one.name!r} reaches {times:.3g} times further"
        yield f"{what} there than in 99 of 100 samples: remove the sample, or use method = 'percentile'"


def _preprocessed_differently(one: InputFacts) -> Iterator[str]:
    ours, theirs = one.calibration, one.validation
    if not theirs.deviation and not ours.deviation:
        return
    wider = _ratio(ours.deviation, theirs.deviation)
    shift = abs(ours.mean - theirs.mean) / (theirs.deviation or ours.deviation)
    if max(wider, 1 / wider if wider else math.inf) > SPREAD or shift > SHIFT:
        yield (
            f"input {one.name!r} is preprocessed differently for calibration than for validation: {_span(ours)} "
            f"against {_span(theirs)}: use the same preprocessing for both"
        )


def _ratio(one: float, other: float) -> float:
    return one / other if other else math.inf


def _span(one: Spread) -> str:
    return f"mean {one.mean:.3g}, deviation {one.deviation:.3g}, {one.low:.3g} to {one.high:.3g}"


def expected_classes(validation: Mapping[int, int], samples: int) -> float:
    """Return how many classes ``samples`` samples have on average if drawn at random from the validation data."""
    total = sum(validation.values())
    return sum(1 - (1 - count / total) ** samples for count in validation.values()) if total else 0.0


def _one_sided(classes: Classes) -> Iterator[str]:
    expected = expected_classes(classes.validation, sum(classes.calibration.values()))
    shared = set(classes.calibration) & set(classes.validation)
    if len(shared) < COVERED * expected:
        missing = sorted(set(classes.validation) - shared, key=lambda one: -classes.validation[one])
        what = f"calibration covers {len(shared)} of {len(classes.validation)} classes of the validation data"
        listed = ", ".join(map(str, sorted(missing[:5])))
        yield f"{what} (by {classes.by}), without {listed}{' …' if len(missing) > 5 else ''}: draw from all classes"


def _pair(facts: SetFacts) -> tuple[tuple[int, Mapping[str, Sequence[float]]], ...]:
    return tuple(facts.growth[-2:]) if len(facts.growth) > 1 else ()


def _moving(facts: SetFacts) -> Iterator[str]:
    if not _pair(facts):
        return
    (few, before), (all_of, after) = _pair(facts)
    name, change = next(iter(drift(before, after).moved), ("", 0.0))
    if abs(math.log(max(1 + change, 1e-30))) > math.log(MOVED):
        what = f"the ranges have not settled: {name!r} moves by {change:+.0%} from {few} to {all_of} samples"
        yield f"{what}: give more calibration data"


def _most(facts: SetFacts) -> str:
    """Return, as text, the largest change of a range, and its limit."""
    (_, before), (_, after) = _pair(facts)
    name, change = next(iter(drift(before, after).moved), ("", 0.0))
    moved = f"the range of {name!r} by {change:+.1%}, and the others less" if change else "no range"
    return f"{moved} (a factor of {MOVED:g} is too much)"


def _growth_details(facts: SetFacts) -> list[dict[str, Any]]:
    last = facts.growth[-1][1] if facts.growth else {}
    changes = [(samples, drift(scales, last)) for samples, scales in facts.growth[:-1]]
    return [
        {"samples": samples, "worst": one.worst, "moved": [list(each) for each in one.moved[:LISTED] if each[1]]}
        for samples, one in changes
    ]


def _class_details(classes: Classes) -> dict[str, Any]:
    missing = sorted(set(classes.validation) - set(classes.calibration))
    return {
        "by": classes.by,
        "calibration": len(classes.calibration),
        "validation": len(classes.validation),
        "missing": missing[:LISTED],
    }


def _input_details(one: InputFacts) -> dict[str, Any]:
    return {
        "name": one.name,
        "calibration": vars(one.calibration),
        "validation": vars(one.validation),
        "far": [{"sample": sample, "times": times} for sample, times in one.far[:LISTED]],
    }
