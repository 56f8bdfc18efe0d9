"""INT8: did calibration use the declared data, are its ranges valid and in use, and how much accuracy is lost?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.checks.comparison import Comparison
from hil.checks.int8_floating import floating_texts
from hil.checks.int8_scales import is_zero_constant, scale_faults, silent, some
from hil.checks.task import CONFIDENCE, Scores, task
from hil.checks.tolerances import Where, somewhere
from hil.checks.verdicts import failed, inconclusive, judged
from hil.results import Judgement, Measurement, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from hil.checks.parity import Overlap
    from hil.config.spec import Precision, TolerancesSpec


@dataclass(frozen=True)
class CalibrationFacts:
    """The declared calibration samples and those that were consumed; digests are of the samples in their order.

    Attributes:
        declared: how many samples the config declares.
        consumed: how many samples calibration used.
        declared_digest: the digest of the declared samples.
        consumed_digest: the digest of the consumed samples.
        synthetic: whether the samples are generated.
        foreign: whether the model or engine came with its own ranges, so that nothing was calibrated here.
        earlier: whether this build read the calibration cache of an earlier build.
    """

    declared: int
    consumed: int
    declared_digest: str
    consumed_digest: str
    synthetic: bool = False
    foreign: bool = False
    earlier: bool = False


def calibration(facts: CalibrationFacts, brought: str = "the model came with its own Q/DQ nodes") -> Judgement:
    """Judge ``int8.calibration``: calibration consumed all of the declared samples and no others.

    Warned for synthetic samples, and for a model or an engine with its own ranges (``foreign``). ``brought`` is the
    text on the origin of foreign ranges.
    """
    details = vars(facts)
    if facts.foreign:
        return judged(Verdict.WARNED, f"{brought}: the data that its ranges come from is not known", details=details)
    if facts.consumed < 1:
        return failed("calibration consumed no sample", details)
    if facts.consumed != facts.declared:
        return failed(f"calibration consumed {facts.consumed} samples, {facts.declared} are declared", details)
    if not facts.consumed_digest or facts.consumed_digest != facts.declared_digest:
        return failed("calibration consumed samples that are not the declared ones", details)
    measurement = Measurement(value=facts.consumed, unit="samples", n=facts.consumed)
    if facts.synthetic:
        reason = f"calibrated on {facts.consumed} synthetic samples: the ranges may not fit real data"
        return judged(Verdict.WARNED, reason, measurement, details=details)
    whose = " by the build whose calibration cache this one read" if facts.earlier else ""
    reason = f"{facts.consumed} declared samples were consumed{whose}"
    return judged(Verdict.PASSED, reason, measurement, details=details)


MOST_SCALES = 4096
"""The largest number of tensors whose scales are listed in the details, for comparing two reports."""

USED = (None, "written", "read")
"""The accepted uses of a calibration cache; the explicit route (Q/DQ nodes) has no cache."""


@dataclass(frozen=True)
class CacheFacts:
    """The ranges in use, and the data that they were computed from.

    Attributes:
        recorded: the parts of the cache's key by name (model, data, preprocess, method, quantizer version, …).
        recomputed: the same parts for the current model and data.
        scales: the scales by tensor.
        zero_points: the zero points by tensor.
        quantizable: the tensors that should have a range.
        skipped: tensors without a range, with the reason.
        floating: the nodes in float, as ``hil.quantize.floating.floating_facts`` returns them.
        foreign: the model came with its own Q/DQ nodes, so its ranges have no key, and any tensor may stay in float.
        used: implicit route only: what TensorRT did with its calibration cache: ``written``, ``read``, ``ignored`` ….
        header: the first line of that cache.
        expected_header: the algorithm that the first line must name.
        header_versions: the spellings of this TensorRT's version in the first line, empty if not known.
        known: the names of the model's tensors, the only ones that may have a range; ``None`` if not checked.
        damaged: a stored calibration did not match its record and was made again.
        zeros: implicit route only: the model's constants whose values are all 0.
        biases: explicit route only: the tensors whose scale is the product of an activation's and a weight's.
        computed: implicit route only: the tensors that the model's nodes compute.
        flowing: implicit route only: the inputs of convolutions and matrix products; half of them must have a range.
        in_use: whether any layer of the built engine computes in ``precision``, ``None`` if not known.
        precision: the precision whose ranges these are.
    """

    recorded: Mapping[str, Any]
    recomputed: Mapping[str, Any]
    scales: Mapping[str, Sequence[float]]
    zero_points: Mapping[str, Sequence[int]] = field(default_factory=dict)
    quantizable: Sequence[str] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    floating: Mapping[str, Any] = field(default_factory=dict)
    foreign: bool = False
    used: str | None = None
    header: str = ""
    expected_header: str = ""
    header_versions: Collection[str] = ()
    known: Collection[str] | None = None
    damaged: bool = False
    zeros: Collection[str] = ()
    biases: Collection[str] = ()
    computed: Collection[str] = ()
    flowing: Sequence[str] = ()
    in_use: bool | None = None
    precision: str = "int8"


def cache(facts: CacheFacts) -> Judgement:
    """Judge ``int8.cache``: the ranges are of this model and data, finite, positive, symmetric, complete and in use.

    Failed if they are not. Warned if the stored calibration was damaged and was made again, and if an activation in
    TensorRT's cache has the scale 0.
    """
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
    details |= {"floating": dict(facts.floating)} if facts.floating else {}
    if facts.used is not None:
        details |= {"used": facts.used, "header": facts.header}
    fault = next(_faults(facts, differ), "")
    if fault:
        return failed(fault, details)
    measurement = Measurement(value=len(facts.scales), unit="tensors", n=sum(map(len, facts.scales.values())))
    count = f"{len(facts.scales)} tensors have valid ranges, {len(facts.skipped)} stay in float for a stated reason"
    reason = "; ".join([count, *floating_texts(facts.floating)])
    dead = silent(facts.scales, facts.zeros, facts.computed) if facts.used is not None else []
    if dead:
        details["silent"] = dead[:MOST_SCALES]
        reason += (
            f"; {some(dead)} were 0 in every calibration sample, and int8.ranges compares them with validation data"
        )
    if facts.damaged:
        reason += "; the stored calibration was damaged or incomplete and was made again: check the disk"
    verdict = Verdict.WARNED if dead or facts.damaged else Verdict.PASSED
    return judged(verdict, reason, measurement, details=details)


def _may_be_zero(facts: CacheFacts) -> set[str]:
    """Return the tensors whose scale may be 0: constants of zeros and activations in TensorRT's own cache."""
    if facts.used is None:
        return set()
    constants = {name for name in facts.scales if is_zero_constant(name, facts.zeros)}
    return constants | set(silent(facts.scales, facts.zeros, facts.computed))


def _renamed(facts: CacheFacts) -> Iterator[str]:
    if facts.known is not None:
        strange = sorted(set(facts.scales) - set(facts.known))
        if strange:
            what = f"{some(strange)} have ranges, but the model has no such tensors"
            yield f"{what}: they were renamed since, or the ranges are another model's: calibrate again"
    covered = [name for name in facts.flowing if name in facts.scales]
    if facts.flowing and 2 * len(covered) < len(facts.flowing):
        what = f"only {len(covered)} of {len(facts.flowing)} inputs of convolutions and matrix products have a range"
        yield f"{what}: they were renamed since, or the cache is another model's: calibrate again"


def _faults(facts: CacheFacts, differ: Sequence[str]) -> Iterator[str]:
    if not facts.recorded and not facts.foreign:
        yield "the ranges have no key: the data that they were computed from is not known: calibrate again"
    if differ and not facts.foreign:
        yield f"the ranges in use are those of another {', '.join(differ)}: calibrate again"
    yield from _unused(facts)
    if not facts.scales or not all(facts.scales.values()):
        yield "there are no scales, so nothing was quantized: calibrate again"
    yield from scale_faults(facts.scales, _may_be_zero(facts), facts.biases)
    yield from _renamed(facts)
    skewed = sorted(name for name, points in facts.zero_points.items() if any(point != 0 for point in points))
    if skewed:
        what = f"zero points of {some(skewed)} are not 0, but TensorRT accepts only symmetric ranges"
        yield f"{what}: quantize symmetrically"
    bare = sorted(set(facts.quantizable) - set(facts.scales) - set(facts.skipped))
    if bare and not facts.foreign:
        yield f"{some(bare)} should be quantized but have no range: calibrate again"
    if facts.in_use is False:
        what = f"no layer of the engine computes in {facts.precision.upper()}, so the ranges are not in use"
        fix = f"leave {facts.precision} out of precisions for this target, or use the explicit route"
        yield f"{what}: other precisions were faster: {fix}"


def _unused(facts: CacheFacts) -> Iterator[str]:
    """Yield why the calibration cache is not in use; TensorRT itself reports an ignored cache only in its log."""
    if facts.used not in USED:
        what = f"TensorRT's calibration cache was neither written nor read ({facts.used}), so its ranges are not in use"
        yield f"{what}: calibrate again"
    if facts.used is not None and facts.expected_header not in facts.header.split("-"):
        what = f"{facts.header!r}, not {facts.expected_header}" if facts.header else "no name of an algorithm"
        yield f"TensorRT's calibration cache begins with {what}: calibrate again"
    elif facts.header_versions and not set(facts.header_versions) & set(facts.header.split("-")):
        what = f"{facts.header!r}, not the version that built the engine"
        yield f"TensorRT's calibration cache begins with {what}: calibrate again"


@dataclass(frozen=True)
class NearFacts:
    """Validation samples that are nearly equal to a calibration sample.

    Attributes:
        pairs: index of the validation sample, index of the calibration sample, and their relative distance.
        checked: how many samples were compared; 0 if they are too small for a meaningful distance.
        limit: the distance below which two samples are nearly equal.
    """

    pairs: Sequence[tuple[int, int, float]]
    checked: int
    limit: float


def disjoint(shared: Overlap, near: NearFacts | None = None) -> Judgement:
    """Judge ``int8.disjoint``: no validation sample was used for calibration, neither unchanged nor slightly changed.

    ``shared`` are the samples with equal digests, ``near`` the nearly equal samples (``None``: not searched for).
    """
    details: dict[str, Any] = dict(vars(shared))
    if near is not None:
        few = [{"validation": one, "calibration": other, "apart": apart} for one, other, apart in near.pairs[:5]]
        details["near"] = {"count": len(near.pairs), "checked": near.checked, "limit": near.limit, "examples": few}
    if shared.checked < 1 or shared.against < 1:
        return inconclusive(
            f"{shared.checked} validation and {shared.against} calibration samples: nothing to compare", details=details
        )
    if shared.count:
        reason = f"{shared.count} of {shared.checked} validation samples are in the calibration data"
        return failed(f"{reason}, e.g. {shared.examples[0][:12]}", details)
    if near is not None and near.pairs:
        one, other, apart = near.pairs[0]
        reason = f"{len(near.pairs)} of {near.checked} validation samples are in the calibration data, slightly changed"
        return failed(f"{reason}, e.g. sample {one} is calibration sample {other} to within {apart:.1%}", details)
    reason = f"none of {shared.checked} validation samples is among {shared.against} for calibration"
    reason += ", not even nearly equal" if near is not None and near.checked else ""
    return judged(Verdict.PASSED, reason, Measurement(value=0.0, unit="samples", n=shared.checked), details=details)


def drop(  # noqa: PLR0913 - all arguments but one have a default
    result: Scores | Comparison | None,
    spec: TolerancesSpec | None = None,
    *,
    precision: Precision = "int8",
    where: Where = somewhere,
    confidence: float = CONFIDENCE,
    why_not: str = "there is no fp32 engine on this target to compare with",
) -> Judgement:
    """Judge ``int8.drop``: the accuracy that ``precision`` loses against the fp32 engine of the same target.

    ``result`` holds the scores of a task or the compared outputs, with the fp32 engine as the reference. ``None`` is
    inconclusive, with the reason ``why_not``.
    """
    if result is None:
        return inconclusive(why_not)
    if isinstance(result, Comparison):
        return result.judge()
    return task(result, precision, spec, where=where, confidence=confidence)


def split(judgement: Judgement, means: Mapping[str, float], fp16: float | None, why_not: str = "") -> Judgement:
    """Return ``judgement`` with the losses from FP32 to FP16 and from FP16 to the quantized precision; same verdict.

    ``means`` has the mean scores of the ``fp32`` engine and of the quantized engine, by precision; ``fp16`` is the mean
    score of the fp16 engine. Without finite scores of all three, the details have the reason (``why_not``) instead.
    """
    parts: dict[str, Any] = {"scores": {**means, "fp16": fp16}}
    if fp16 is None or not all(map(math.isfinite, (fp16, *means.values()))):
        parts["not_split"] = why_not or "a score is not finite"
        return judgement.model_copy(update={"details": {**judgement.details, "split": parts}})
    first, second = means["fp32"] - fp16, fp16 - means[own := next(key for key in means if key != "fp32")]
    parts |= {"fp32_to_fp16": first, f"fp16_to_{own}": second}
    changes = f"the mean score changes by {-first:+.4g} from FP32 to FP16, {-second:+.4g} from FP16 to {own.upper()}"
    reason = f"{judgement.reason}; {changes}"
    return judgement.model_copy(update={"reason": reason, "details": {**judgement.details, "split": parts}})
