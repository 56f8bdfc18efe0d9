"""Checks of scenario limits that cannot be judged: without a rate, or with too little time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hil.config.explain import Keys, Mistake
from hil.config.merge import on_target
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.config.spec import MeasureSpec, ModelSpec

Q = 0.99
"""The percentile of the paced limits that are not shares."""


def mistakes(keys: Keys, model: ModelSpec) -> Iterator[Mistake]:
    """Yield the mistakes in a model, and in the model with the overrides of each target, without duplicates."""
    reported: set[tuple[Keys, str]] = set()
    for inner, each in _places(model):
        for place, what in _slips(each):
            if (place, what) not in reported:  # a target that only repeats what the model says
                reported.add((place, what))
                yield Mistake((*keys, *inner, *place), what)


def doubts(keys: Keys, model: ModelSpec, measure: MeasureSpec) -> Iterator[Mistake]:
    """Yield paced limits that no engine could pass within ``measure.paced``."""
    reported: set[tuple[Keys, str]] = set()
    for inner, each in _places(model):
        for place, what in _too_short(each, measure):
            if (place, what) not in reported:
                reported.add((place, what))
                yield Mistake((*keys, *inner, *place), what)


def _slips(model: ModelSpec) -> Iterator[tuple[Keys, str]]:
    paced, sustained = model.limits.paced, model.limits.sustained
    given = [name for name in type(paced).model_fields if getattr(paced, name) is not None]
    if given and model.run.rate is None:
        yield ("limits", "paced"), "nothing says at which rate the model is fed: write e.g. rate = '30 fps' under run"
    if paced.missed == 0:
        what = "no number of releases shows that none is ever missed"
        yield ("limits", "paced", "missed"), f"{what}: write a share such as '0.1 %', or streak = 0"
    if sustained.slowdown == 0:
        what = "no time is enough to show that nothing gets slower: write what can be borne, e.g. '5 %'"
        yield ("limits", "sustained", "slowdown"), what


def _too_short(model: ModelSpec, measure: MeasureSpec) -> Iterator[tuple[Keys, str]]:
    paced, rate = model.limits.paced, model.run.rate
    if rate is None:
        return
    shares = {"missed": paced.missed, **dict.fromkeys(("p99", "streak", "jitter"), 1 - Q)}
    for name, share in shares.items():
        if getattr(paced, name) is None or share is None or not 0 < share < 1:
            continue
        # As hil.stats.smallest_n: the minimum number of releases that proves the share if none exceeds the limit.
        fewest = math.ceil(math.log1p(-measure.confidence) / math.log1p(-share))
        if fewest / rate > measure.paced:
            needed = f"{fewest} releases at least, {show(fewest / rate, 's')} at {show(rate, '1/s')}"
            yield ("limits", "paced", name), f"{needed}, and measure.paced gives {show(measure.paced, 's')}: raise that"


def _places(model: ModelSpec) -> Iterator[tuple[Keys, ModelSpec]]:
    yield (), model
    for target in model.on:
        yield ("on", target), on_target(model, target)
