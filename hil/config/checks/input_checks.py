"""Check ``[models.NAME.inputs.INPUT]`` for keys that contradict each other and for impossible sizes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hil.config.explain import Keys, Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.config.spec import InputSpec, ModelSpec


def mistakes(keys: Keys, model: ModelSpec) -> Iterator[Mistake]:
    """Yield the mistakes in the inputs of a model, without reading its ONNX file."""
    for name, declared in model.inputs.items():
        place = (*keys, "inputs", name)
        yield from _constants(place, declared)
        yield from _sizes(place, declared)
        if declared.range is not None and name in model.ranges:
            yield Mistake((*place, "range"), f"ranges.{name} sets the same range: remove one of them")
    if model.recurrent and model.run.streams > 1:
        what = "a model whose state goes from step to step has one inference in flight: remove this key, or carry"
        yield Mistake((*keys, "run", "streams"), what)
    if model.recurrent and model.reference is not None:
        what = "saved outputs are not read for a model with a state: remove this key, so that the model runs"
        yield Mistake((*keys, "reference"), f"{what} on the host, or remove carry")


def _constants(keys: Keys, declared: InputSpec) -> Iterator[Mistake]:
    for other in ("range", "carry"):
        if declared.value is not None and getattr(declared, other) is not None:
            yield Mistake((*keys, other), f"has no effect, since value fixes the input: remove {other} or value")
    if declared.range is not None and declared.range[0] > declared.range[1]:
        yield Mistake((*keys, "range"), f"[least, greatest] must not decrease: got {list(declared.range)}")


def _sizes(keys: Keys, declared: InputSpec) -> Iterator[Mistake]:
    shape, multiples = declared.shape or (), declared.multiple_of
    for size in shape:
        if isinstance(size, tuple) and not all(low <= high for low, high in pairwise(size)):
            yield Mistake((*keys, "shape"), f"[min, opt, max] must not decrease: got {list(size)}")
    if multiples is None or declared.shape is None:
        return
    if len(multiples) != len(shape):
        what = f"has {len(multiples)} numbers, and shape has {len(shape)} axes: write one for each axis, 1 for any size"
        yield Mistake((*keys, "multiple_of"), what)
        return
    for size, multiple in zip(shape, multiples, strict=True):
        wrong = [one for one in (size if isinstance(size, tuple) else (size,)) if isinstance(one, int)]
        wrong = [one for one in wrong if one % multiple]
        if wrong:
            yield Mistake((*keys, "shape"), f"{wrong[0]} is not a multiple of {multiple}: correct shape or multiple_of")
