"""Check build and calibration keys for settings that TensorRT or a DLA does not support."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.config.explain import Keys, Mistake
from hil.config.merge import variants

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.config.spec import ModelSpec

DLA_PRECISIONS = ("fp16", "int8")
"""The precisions of a DLA (NVIDIA's guide to working with DLA)."""


def mistakes(keys: Keys, model: ModelSpec) -> Iterator[Mistake]:
    """Yield the mistakes in a model, and in the model with the overrides of each target, without duplicates."""
    yield from _calibration(keys, model)
    reported: set[tuple[Keys, str]] = set()
    for inner, variant in variants(model):
        for place, what in _impossible_settings(variant):
            if (place, what) not in reported:  # else the target inherits the mistake from the model
                reported.add((place, what))
                yield Mistake((*keys, *inner, *place), what)


def _impossible_settings(model: ModelSpec) -> Iterator[tuple[Keys, str]]:
    build = model.build
    if build.workspace is not None and build.workspace < 1:
        yield ("build", "workspace"), "must be at least 1 byte: write e.g. '1 GiB'"
    if build.time_limit <= 0:
        yield ("build", "time_limit"), "must be more than 0: write e.g. '30 min'"
    unsupported = [precision for precision in model.precisions if precision not in DLA_PRECISIONS]
    if build.dla is not None and unsupported:
        what = f"a DLA computes in {' and '.join(DLA_PRECISIONS)}, but {', '.join(unsupported)} is listed in precisions"
        yield ("build", "dla"), f"{what}: remove it from precisions, or set precisions for this target"
    if model.engine is not None and len(model.precisions) > 1:
        what = (
            f"an engine file has one precision, but precisions lists {', '.join(model.precisions)}: list only its own"
        )
        yield ("engine",), what


def doubts(keys: Keys, model: ModelSpec) -> Iterator[Mistake]:
    """Yield at most one limit that is useless: ``int8_layers`` without int8, or ``dla_fallback`` without a DLA core."""
    every_variant = [variant for _, variant in variants(model)]
    for inner, variant in variants(model):
        place = (*keys, *inner, "limits")
        if variant.limits.int8_layers is not None and not any("int8" in other.precisions for other in every_variant):
            what = "no precisions list of this model contains int8, so this has no effect: add int8, or remove this"
            yield Mistake((*place, "int8_layers"), what)
            return
        if variant.limits.dla_fallback is not None and all(other.build.dla is None for other in every_variant):
            what = "no engine of this model is built for a DLA, so this can never pass: write build.dla"
            yield Mistake((*place, "dla_fallback"), what)
            return


def _calibration(keys: Keys, model: ModelSpec) -> Iterator[Mistake]:
    """Yield the settings that TensorRT's own calibrators do not support: a percentile, and excluded nodes."""
    calibration = model.calibration
    if calibration is None or calibration.route != "implicit":
        return
    place = (*keys, "calibration")
    if calibration.method == "percentile":
        what = "TensorRT has no percentile calibrator: write 'entropy' or 'minmax', or route = 'explicit'"
        yield Mistake((*place, "method"), what)
    if calibration.exclude_nodes:
        what = "TensorRT's own calibrator cannot exclude nodes: write route = 'explicit', or remove this key"
        yield Mistake((*place, "exclude_nodes"), what)
