"""Checks of build and calibration keys: settings that TensorRT or a DLA does not support."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.config.explain import Keys, Mistake
from hil.config.merge import on_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.config.spec import ModelSpec

DLA_PRECISIONS = ("fp16", "int8")
"""The precisions of a DLA (NVIDIA's guide to working with DLA)."""


def mistakes(keys: Keys, model: ModelSpec) -> Iterator[Mistake]:
    """Yield the mistakes in a model, and in the model with the overrides of each target, without duplicates."""
    yield from _calibration(keys, model)
    reported: set[tuple[Keys, str]] = set()
    for inner, each in _places(model):
        for place, what in _slips(each):
            if (place, what) not in reported:  # a target that only repeats what the model says
                reported.add((place, what))
                yield Mistake((*keys, *inner, *place), what)


def _slips(model: ModelSpec) -> Iterator[tuple[Keys, str]]:
    build = model.build
    if build.workspace is not None and build.workspace < 1:
        yield ("build", "workspace"), "nothing can be built in no memory: write e.g. '1 GiB'"
    if build.time_limit <= 0:
        yield ("build", "time_limit"), "nothing can be built in no time: write e.g. '30 min'"
    wrong = [precision for precision in model.precisions if precision not in DLA_PRECISIONS]
    if build.dla is not None and wrong:
        what = f"a DLA computes in {' and '.join(DLA_PRECISIONS)}, and {', '.join(wrong)} is in precisions"
        yield ("build", "dla"), f"{what}: take it out, or give the target precisions of its own"
    if model.engine is not None and len(model.precisions) > 1:
        what = f"an engine file has one precision, and {', '.join(model.precisions)} are listed: write the one it has"
        yield ("engine",), what


def doubts(keys: Keys, model: ModelSpec) -> Iterator[Mistake]:
    """Yield limits that are never used: on INT8 or a DLA, if no engine is built for it."""
    everywhere = [each for _, each in _places(model)]
    for inner, each in _places(model):
        place = (*keys, *inner, "limits")
        if each.limits.int8_layers is not None and not any("int8" in one.precisions for one in everywhere):
            what = "int8 is in no list of precisions of this model, so nothing uses this"
            yield Mistake((*place, "int8_layers"), what)
            return
        if each.limits.dla_fallback is not None and all(one.build.dla is None for one in everywhere):
            what = "no engine of this model is built for a DLA, so this can never pass: write build.dla"
            yield Mistake((*place, "dla_fallback"), what)
            return


def _places(model: ModelSpec) -> Iterator[tuple[Keys, ModelSpec]]:
    """Yield the model as written, and the model on each target that has overrides, with the path of its keys."""
    yield (), model
    for target in model.on:
        yield ("on", target), on_target(model, target)


def _calibration(keys: Keys, model: ModelSpec) -> Iterator[Mistake]:
    """Yield settings that TensorRT's own calibrators do not have: other methods, and excluded nodes."""
    calibration = model.calibration
    if calibration is None or calibration.route != "implicit":
        return
    place = (*keys, "calibration")
    if calibration.method == "percentile":
        what = "TensorRT has no percentile calibrator: write 'entropy' or 'minmax', or route = 'explicit'"
        yield Mistake((*place, "method"), what)
    if calibration.exclude_nodes:
        what = "TensorRT's own calibrator leaves no node out: write route = 'explicit', or take this out"
        yield Mistake((*place, "exclude_nodes"), what)
