"""Check for paced and sustained limits that cannot be judged, such as those without a rate or with too little time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hil.config.explain import Keys, Mistake
from hil.config.fields import PRECISIONS
from hil.config.merge import limits_of, variants
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.config.spec import CommonLimits, MeasureSpec, ModelSpec

Q = 0.99
"""The percentile, as a fraction, that must be provable for the paced limits ``p99``, ``streak`` and ``jitter``."""


def mistakes(keys: Keys, model: ModelSpec) -> Iterator[Mistake]:
    """Yield the mistakes in a model, and in the model with the overrides of each target, without duplicates."""
    reported: set[tuple[Keys, str]] = set()
    for inner, variant in variants(model):
        for place, what in _unprovable_limits(variant):
            if (place, what) not in reported:  # else the target inherits the mistake from the model
                reported.add((place, what))
                yield Mistake((*keys, *inner, *place), what)


def doubts(keys: Keys, model: ModelSpec, measure: MeasureSpec) -> Iterator[Mistake]:
    """Yield the paced limits of ``model`` that need more releases than fit into the time ``measure.paced``."""
    reported: set[tuple[Keys, str]] = set()
    for inner, variant in variants(model):
        for place, what in _limits_beyond_paced_time(variant, measure):
            if (place, what) not in reported:
                reported.add((place, what))
                yield Mistake((*keys, *inner, *place), what)


def _tables(model: ModelSpec) -> Iterator[tuple[Keys, CommonLimits]]:
    """Yield path and limits of the general table and, with inherited limits, of each precision's table."""
    yield ("limits",), model.limits
    for precision in PRECISIONS:
        if model.limits.own(precision) is not None:
            yield ("limits", precision), limits_of(model.limits, precision)


def _unprovable_limits(model: ModelSpec) -> Iterator[tuple[Keys, str]]:
    for keys, limits in _tables(model):
        yield from ((keys + place, what) for place, what in _unprovable(limits, model))


def _unprovable(limits: CommonLimits, model: ModelSpec) -> Iterator[tuple[Keys, str]]:
    paced, sustained = limits.paced, limits.sustained
    limited = [name for name in type(paced).model_fields if getattr(paced, name) is not None]
    if limited and model.run.rate is None:
        yield ("paced",), "paced limits need the rate of the inputs: write e.g. rate = '30 fps' under run"
    if paced.missed == 0:
        what = "no number of releases can prove that no deadline is ever missed"
        yield ("paced", "missed"), f"{what}: write a share such as '0.1 %', or streak = 0"
    if sustained.slowdown == 0:
        what = "no measurement can prove that the model never gets slower: write an acceptable share, e.g. '5 %'"
        yield ("sustained", "slowdown"), what


def _limits_beyond_paced_time(model: ModelSpec, measure: MeasureSpec) -> Iterator[tuple[Keys, str]]:
    for keys, limits in _tables(model):
        yield from ((keys + place, what) for place, what in _beyond_paced_time(limits, model, measure))


def _beyond_paced_time(limits: CommonLimits, model: ModelSpec, measure: MeasureSpec) -> Iterator[tuple[Keys, str]]:
    paced, rate = limits.paced, model.run.rate
    if rate is None:
        return
    shares = {"missed": paced.missed, **dict.fromkeys(("p99", "streak", "jitter"), 1 - Q)}
    for name, share in shares.items():
        if getattr(paced, name) is None or share is None or not 0 < share < 1:
            continue
        # As hil.stats.smallest_n: the minimum number of releases that proves the share if none exceeds the limit.
        fewest = math.ceil(math.log1p(-measure.confidence) / math.log1p(-share))
        if fewest / rate > measure.paced:
            needed = f"needs at least {fewest} releases, {show(fewest / rate, 's')} at {show(rate, '1/s')}"
            yield ("paced", name), f"{needed}, but measure.paced is {show(measure.paced, 's')}: raise it"
