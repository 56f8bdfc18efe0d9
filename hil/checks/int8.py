"""INT8: did calibration run on the declared data, are its ranges sound and in use, and what did it cost?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.checks.comparison import Comparison
from hil.checks.latency import ratio
from hil.checks.task import CONFIDENCE, Scores, task
from hil.checks.tolerances import Where, somewhere
from hil.checks.verdicts import failed, inconclusive, judged
from hil.results import Judgement, Limit, Measurement, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from hil.checks.parity import Overlap
    from hil.config.spec import TolerancesSpec
    from hil.series import Series

CONSTANT = " [Constant]_output"
"""How TensorRT names a constant's tensor in a calibration cache: ``(Unnamed Layer* 11) [Constant]_output``."""


@dataclass(frozen=True)
class CalibrationFacts:
    """What was declared and what calibration really consumed; digests are of the samples in their order.

    ``earlier`` says that an earlier build consumed them, and this one read the cache that is bound to them.
    """

    declared: int
    consumed: int
    declared_digest: str
    consumed_digest: str
    synthetic: bool = False
    foreign: bool = False
    earlier: bool = False


def calibration(facts: CalibrationFacts, brought: str = "the model came with its own Q/DQ nodes") -> Judgement:
    """``int8.calibration``: calibration consumed all of the declared samples, and no others.

    ``foreign`` marks a model or an engine that came with its own ranges: nothing was calibrated here, warned.
    ``brought`` says which of the two.
    """
    details = vars(facts)
    if facts.foreign:
        return judged(Verdict.WARNED, f"{brought}: what its ranges were drawn from is not known", details=details)
    if facts.consumed < 1:
        return failed("calibration consumed no sample", details)
    if facts.consumed != facts.declared:
        return failed(f"calibration consumed {facts.consumed} samples, {facts.declared} are declared", details)
    if not facts.consumed_digest or facts.consumed_digest != facts.declared_digest:
        return failed("calibration consumed other samples than the declared ones", details)
    measurement = Measurement(value=facts.consumed, unit="samples", n=facts.consumed)
    if facts.synthetic:
        reason = f"{facts.consumed} synthetic samples: ranges drawn from them say nothing of real data"
        return judged(Verdict.WARNED, reason, measurement, details=details)
    whose = " by the build whose calibration cache this one read" if facts.earlier else ""
    reason = f"{facts.consumed} declared samples were consumed{whose}"
    return judged(Verdict.PASSED, reason, measurement, details=details)


MOST_SCALES = 4096
"""Tensors whose scales are told among the details, so that two reports can be compared."""

USED = (None, "written", "read")
"""What may have become of a calibration cache; the explicit route has none."""


@dataclass(frozen=True)
class CacheFacts:
    """The ranges in use, and what they are bound to.

    ``recorded`` and ``recomputed`` are the parts of the cache's key by name (model, data, preprocess,
    method, quantizer version, …); ``scales`` and ``zero_points`` go by tensor; ``quantizable`` are the
    tensors that should have a range, ``skipped`` those without one and why. ``foreign`` marks a model that
    came with its own Q/DQ nodes: no key binds it to data, and what it leaves in float is its own choice.

    Of the implicit route ``used`` is what TensorRT did with its calibration cache (``written``, ``read`` or
    ``ignored``), ``header`` the first line of it and ``expected_header`` the algorithm that must stand there.
    ``header_versions`` are the ways in which this TensorRT may write its own version there (empty: not known).
    ``known`` are the names of the model's tensors, of which all that have a range must be, or, of the implicit route
    (``flowing`` are what its convolutions and matrix products take), half of those: TensorRT renames some.
    ``damaged`` says that a kept calibration was not what its record says, and was made again.
    ``in_use`` is whether any layer of the built engine computes in INT8, ``None`` where nothing tells.
    """

    recorded: Mapping[str, Any]
    recomputed: Mapping[str, Any]
    scales: Mapping[str, Sequence[float]]
    zero_points: Mapping[str, Sequence[int]] = field(default_factory=dict)
    quantizable: Sequence[str] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    foreign: bool = False
    used: str | None = None
    header: str = ""
    expected_header: str = ""
    header_versions: Collection[str] = ()
    known: Collection[str] | None = None
    damaged: bool = False
    flowing: Sequence[str] = ()
    in_use: bool | None = None


def cache(facts: CacheFacts) -> Judgement:
    """``int8.cache``: the ranges are those of this model and data, finite, positive, symmetric, and complete."""
    keys = sorted(set(facts.recorded) | set(facts.recomputed))
    differ = [k for k in keys if facts.recorded.get(k) != facts.recomputed.get(k) or k not in facts.recomputed]
    details: dict[str, Any] = {
        "tensors": len(facts.scales),
        "skipped": dict(facts.skipped),
        "differ": differ,
        "key": facts.recorded,
    }
    if len(facts.scales) <= MOST_SCALES:
        details["scales"] = {name: max(scales, default=0.0) for name, scales in facts.scales.items()}
    if facts.used is not None:
        details |= {"used": facts.used, "header": facts.header}
    fault = next(_faults(facts, differ), "")
    if fault:
        return failed(fault, details)
    measurement = Measurement(value=len(facts.scales), unit="tensors", n=sum(map(len, facts.scales.values())))
    reason = f"{len(facts.scales)} tensors have sound ranges, {len(facts.skipped)} are left out with a reason"
    if facts.damaged:
        reason += (
            "; the calibration that was kept for them was damaged or cut short, and was made again: look at the disk"
        )
        return judged(Verdict.WARNED, reason, measurement, details=details)
    return judged(Verdict.PASSED, reason, measurement, details=details)


TINIEST, LARGEST = 2.0**-126, 3.4e38 / 127
"""Between the smallest normal float32 and the scale at which the largest code is no float32 any more."""


def _sound(tensor: str, scale: float) -> bool:
    """A constant that is zero has a range of zero, rightly; TensorRT's caches list constants beside what flows."""
    return TINIEST <= scale <= LARGEST or (scale == 0 and tensor.endswith(CONSTANT))


def _scale_faults(scales: Mapping[str, Sequence[float]]) -> Iterator[str]:
    bad = sorted(name for name, each in scales.items() if not all(_sound(name, one) for one in each))
    if not bad:
        return
    ill = next(one for one in scales[bad[0]] if not _sound(bad[0], one))
    if not math.isfinite(ill) or ill < 0:
        yield f"scales of {_some(bad)} are not finite and positive"
    elif ill < TINIEST:
        yield f"scales of {_some(bad)} are {'zero' if ill == 0 else 'as good as zero'}, not finite and positive"
    else:
        yield f"scales of {_some(bad)} are saturated, at the end of what a float32 holds"


def _renamed(facts: CacheFacts) -> Iterator[str]:
    if facts.known is not None:
        strange = sorted(set(facts.scales) - set(facts.known))
        if strange:
            what = f"{_some(strange)} have ranges, and the model has no such tensors"
            yield f"{what}: they were renamed since, or the ranges are another model's: calibrate again"
    found = [name for name in facts.flowing if name in facts.scales]
    if facts.flowing and 2 * len(found) < len(facts.flowing):
        what = f"of {len(facts.flowing)} tensors that convolutions and matrix products take {len(found)} have a range"
        yield f"{what}, by their names: they were renamed since, or the cache is another model's: calibrate again"


def _faults(facts: CacheFacts, differ: Sequence[str]) -> Iterator[str]:
    if not facts.recorded and not facts.foreign:
        yield "the ranges carry no key: nothing says what they were drawn from"
    if differ and not facts.foreign:
        yield f"the ranges in use are of another {', '.join(differ)}: calibrate again"
    yield from _unused(facts)
    if not facts.scales or not all(facts.scales.values()):
        yield "there are no scales: nothing was quantized"
    yield from _scale_faults(facts.scales)
    yield from _renamed(facts)
    skewed = sorted(name for name, points in facts.zero_points.items() if any(point != 0 for point in points))
    if skewed:
        yield f"zero points of {_some(skewed)} are not 0: TensorRT takes symmetric ranges alone"
    bare = sorted(set(facts.quantizable) - set(facts.scales) - set(facts.skipped))
    if bare and not facts.foreign:
        yield f"{_some(bare)} should be quantized and have no range"
    if facts.in_use is False:
        what = "no layer of the engine computes in INT8, so its ranges are not in use: the builder found others faster"
        yield f"{what}: leave int8 out of precisions for this target, or use the explicit route"


def _unused(facts: CacheFacts) -> Iterator[str]:
    """TensorRT takes a cache that it does not like for none at all, and says so in its log alone."""
    if facts.used not in USED:
        yield f"TensorRT's calibration cache was neither written nor read ({facts.used}): its ranges are not in use"
    if facts.used is not None and facts.expected_header not in facts.header.split("-"):
        what = f"{facts.header!r}, not {facts.expected_header}" if facts.header else "nothing of its algorithm"
        yield f"TensorRT's calibration cache begins with {what}"
    elif facts.header_versions and not set(facts.header_versions) & set(facts.header.split("-")):
        what = f"{facts.header!r}: another version than the one that built the engine"
        yield f"TensorRT's calibration cache is headed {what}: calibrate again"


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"


@dataclass(frozen=True)
class NearFacts:
    """Validation samples that are nearly one of the calibration's: pairs of index with their relative distance.

    ``checked`` is 0 where closeness says nothing, as of a handful of numbers; ``limit`` is what counts as near.
    """

    pairs: Sequence[tuple[int, int, float]]
    checked: int
    limit: float


def disjoint(shared: Overlap, near: NearFacts | None = None) -> Judgement:
    """``int8.disjoint``: no validation sample was seen by the calibration, neither itself nor saved again.

    ``shared`` is the overlap by digest, ``near`` that by likeness.
    """
    details: dict[str, Any] = dict(vars(shared))
    if near is not None:
        told = [{"validation": one, "calibration": other, "apart": apart} for one, other, apart in near.pairs[:5]]
        details["near"] = {"count": len(near.pairs), "checked": near.checked, "limit": near.limit, "examples": told}
    if shared.checked < 1 or shared.against < 1:
        return inconclusive(f"{shared.checked} against {shared.against} samples: nothing to compare", details=details)
    if shared.count:
        reason = f"{shared.count} of {shared.checked} validation samples are in the calibration data"
        return failed(f"{reason}, e.g. {shared.examples[0][:12]}", details)
    if near is not None and near.pairs:
        one, other, apart = near.pairs[0]
        reason = f"{len(near.pairs)} of {near.checked} validation samples are in the calibration data, saved again"
        return failed(f"{reason}, e.g. {one} is {other} there to within {apart:.1%}", details)
    reason = f"none of {shared.checked} validation samples is among {shared.against} for calibration"
    if near is not None and near.checked:
        reason += ", none is nearly"
    return judged(Verdict.PASSED, reason, Measurement(value=0.0, unit="samples", n=shared.checked), details=details)


def drop(
    seen: Scores | Comparison | None,
    spec: TolerancesSpec | None = None,
    *,
    where: Where = somewhere,
    confidence: float = CONFIDENCE,
    why_not: str = "there is no fp32 engine on this target to compare with",
) -> Judgement:
    """``int8.drop``: what INT8 costs against the fp32 engine of the same target.

    Of a task's scores its loss (as ``parity.task``), else of a ``Comparison`` of the outputs (as
    ``parity.outputs``), with the tolerances of int8 and the fp32 engine in the reference's place.
    """
    if seen is None:
        return inconclusive(why_not)
    if isinstance(seen, Comparison):
        return seen.judge()
    return task(seen, "int8", spec, where=where, confidence=confidence)


def split(judgement: Judgement, means: Mapping[str, float], fp16: float | None, why_not: str = "") -> Judgement:
    """``judgement`` of the drop with where it comes from: FP32 to FP16 is half precision's part, the rest is INT8's.

    ``means`` are mean scores of the ``fp32`` and ``int8`` engines of one target, ``fp16`` that of its fp16 engine, or
    ``why_not``. The verdict stays.
    """
    told: dict[str, Any] = {"scores": {**means, "fp16": fp16}}
    if fp16 is None or not all(map(math.isfinite, (fp16, *means.values()))):
        told["not_split"] = why_not or "a score is not finite"
        return judgement.model_copy(update={"details": {**judgement.details, "split": told}})
    first, second = means["fp32"] - fp16, fp16 - means["int8"]
    told |= {"fp32_to_fp16": first, "fp16_to_int8": second}
    reason = f"{judgement.reason}; the mean score changes by {-first:+.4g} from FP32 to FP16, {-second:+.4g} on to INT8"
    return judgement.model_copy(update={"reason": reason, "details": {**judgement.details, "split": told}})


def speedup(fp32: Series, int8: Series, limit: Limit | None, confidence: float) -> Judgement:
    """``int8.speedup``: fp32 p50 over int8 p50, with the interval from both medians' order-statistic bounds."""
    return ratio(fp32, int8, limit, confidence)
