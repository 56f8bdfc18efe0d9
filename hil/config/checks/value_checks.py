"""Find values that have the right type and unit but are impossible or contradict each other."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hil.agent.containers.container_spec import is_reference
from hil.config.checks import build_checks, deploy_checks, input_checks, output_checks, scenario_checks, value_ranges
from hil.config.explain import Keys, Mistake
from hil.config.fields import PRECISIONS
from hil.config.merge import limits_of, on_target
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.config.spec import (
        CommonLimits,
        ConfigSpec,
        ContainerSpec,
        LatencyLimits,
        LimitsSpec,
        Precision,
        ToleranceSpec,
        TolerancesSpec,
    )

NO_EFFECT = "no precisions list of this model contains {}, so this has no effect: add the precision, or remove this"


def mistakes(spec: ConfigSpec) -> Iterator[Mistake]:
    """Yield the mistakes in all tables, such as limits that every model meets and measurements of 0 seconds."""
    if spec.measure.duration == 0:
        yield Mistake(("measure", "duration"), "must be more than 0: write e.g. '4 s'")
    yield from value_ranges.mistakes(spec)
    for key, example in (("run_duration", "1 s"), ("paced", "5 min"), ("sustained", "60 s")):
        if getattr(spec.measure, key) == 0:
            yield Mistake(("measure", key), f"must be more than 0: write e.g. '{example}'")
    for name, declared in spec.targets.items():
        if declared.container is not None:
            yield from _container(("targets", name, "container"), declared.container)
        if declared.deploy is not None:
            yield from deploy_checks.mistakes(("targets", name, "deploy"), declared.deploy)
    for name, model in spec.models.items():
        keys = ("models", name)
        yield from _every_limit((*keys, "limits"), model.limits)
        yield from build_checks.mistakes(keys, model)
        yield from input_checks.mistakes(keys, model)
        yield from output_checks.mistakes(keys, model)
        yield from scenario_checks.mistakes(keys, model)
        for target, override in model.on.items():
            if override.limits is not None:
                yield from _every_limit((*keys, "on", target, "limits"), override.limits)


def doubts(spec: ConfigSpec) -> Iterator[Mistake]:
    """Yield values that are probably unintended, such as tolerances of unused precisions and limits without effect."""
    if spec.measure.budget < spec.measure.duration:
        least = show(spec.measure.duration, "s")
        yield Mistake(("measure", "budget"), f"is less than measure.duration: write at least {least}")
    for name, model in spec.models.items():
        yield from _orders(("models", name, "limits"), model.limits, model.limits)
        for target, override in model.on.items():
            if override.limits is not None:
                keys = ("models", name, "on", target, "limits")
                yield from _orders(keys, override.limits, on_target(model, target).limits)
        yield from build_checks.doubts(("models", name), model)
        yield from scenario_checks.doubts(("models", name), model, spec.measure)
        used = set(model.precisions).union(*(override.precisions or () for override in model.on.values()))
        for precision in model.tolerances:
            if precision not in used:
                yield Mistake(("models", name, "tolerances", precision), NO_EFFECT.format(precision))
        for precision in PRECISIONS:
            if precision not in used and model.limits.own(precision) is not None:
                yield Mistake(("models", name, "limits", precision), NO_EFFECT.format(precision))
        yield from _loose(("models", name), model.tolerances)
        for target, override in model.on.items():
            yield from _loose(("models", name, "on", target), override.tolerances or {})


def _loose(keys: Keys, tolerances: Mapping[Precision, TolerancesSpec]) -> Iterator[Mistake]:
    for precision, tolerance in tolerances.items():
        place = (*keys, "tolerances", precision)
        yield from _vacuous(place, tolerance)
        for output, own in tolerance.outputs.items():
            yield from _vacuous((*place, "outputs", output), own)


def _vacuous(keys: Keys, tolerance: ToleranceSpec) -> Iterator[Mistake]:
    """Yield tolerances that an output unrelated to the reference can meet."""
    loose = (
        ("max_rel", tolerance.max_rel is not None and tolerance.max_rel >= 1),
        ("cosine", tolerance.cosine is not None and tolerance.cosine <= 0),
        ("sqnr_db", tolerance.sqnr_db is not None and tolerance.sqnr_db <= 0),
    )
    for key, is_loose in loose:
        if is_loose:
            what = "an output unrelated to the reference would pass: write the error that the task tolerates"
            yield Mistake((*keys, key), what)


def _every_limit(keys: Keys, limits: LimitsSpec) -> Iterator[Mistake]:
    yield from _limits(keys, limits)
    for precision in PRECISIONS:
        own = limits.own(precision)
        if own is None:
            continue
        yield from _limits((*keys, precision), limits_of(limits, precision))
        if own.speedup is not None and own.speedup.over == precision:
            what = f"{precision} is compared with itself: write another precision"
            yield Mistake((*keys, precision, "speedup", "over"), what)


def _limits(keys: Keys, limits: CommonLimits) -> Iterator[Mistake]:
    above, exclude = limits.regression.above, limits.regression.exclude
    if above is not None and exclude is not None and above > exclude:
        what = f"above ({show(above, '1')}) is greater than exclude ({show(exclude, '1')})"
        yield Mistake((*keys, "regression"), f"{what}: set above to exclude or less")


def _orders(keys: Keys, written: LimitsSpec, merged: LimitsSpec) -> Iterator[Mistake]:
    """Yield the mistakes in the order of latencies in the table ``written``, whose limits are ``merged``."""
    if "latency" in written.model_fields_set:
        yield from _order((*keys, "latency"), merged.latency)
    for precision in PRECISIONS:
        if written.own(precision) is not None:
            yield from _order((*keys, precision, "latency"), limits_of(merged, precision).latency)


def _order(keys: Keys, latency: LatencyLimits) -> Iterator[Mistake]:
    limits = [(name, getattr(latency, name)) for name in ("p50", "p90", "p99")]
    rising = [(name, value) for name, value in limits if value is not None]
    for (low, least), (high, greatest) in pairwise(rising):
        if least > greatest:
            yield Mistake(keys, f"the limit of {low} is above that of {high}, so it has no effect: lower or remove it")


def _container(keys: Keys, container: ContainerSpec) -> Iterator[Mistake]:
    if not is_reference(container.image):
        yield Mistake((*keys, "image"), f"{container.image!r} is not an image reference: write it as NAME:TAG")
    if not container.python or container.python.startswith("-"):
        yield Mistake((*keys, "python"), f"{container.python!r} is not an interpreter: write e.g. 'python3'")
