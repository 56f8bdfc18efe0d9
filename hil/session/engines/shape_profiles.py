"""Derive TensorRT's optimization profiles from the declared sizes and ``batch``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.config.explain import written
from hil.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.config.spec import ModelSpec
    from hil.onnx_files.signature import Interval, Signature, TensorSpec

Profiles = dict[str, list[list[int]]]

MAX_TRIED = 4
"""The largest batch that ``contract.shapes`` tries if the config sets neither shapes nor a larger batch."""


def profiles_of(signature: Signature, spec: ModelSpec, name: str) -> Profiles:
    """Return the ``[min, opt, max]`` shapes of each input with dynamic dimensions; static inputs are left out.

    The config declares the sizes; a batch dimension without declared sizes gets them from ``batch``. Raise
    ``UserError`` if any other dimension has no sizes, if a name in ``shapes`` is not a dimension, or if ``batch`` is
    outside the sizes of the batch dimension.
    """
    most = spec.batch if signature.alone else max(MAX_TRIED, spec.batch)
    sizes = {**dict.fromkeys(signature.batch_names(), (1, spec.batch, most)), **spec.shapes, **signature.sizes}
    _check_names(signature, spec, name)
    missing = signature.without_sizes(sizes)
    if missing:
        raise UserError(
            f"TensorRT builds for given sizes, and {', '.join(missing)} of model {name} have no sizes: "
            "add the [min, opt, max] of what the robot feeds, in hil.toml:",
            f"[{written(('models', name, 'shapes'))}]",
            *(f"{written((one,))} = [1, 1, 1]" for one in missing),
        )
    return {one.name: _profile(one, sizes, spec, name) for one in signature.inputs if _dynamic(one)}


def _dynamic(tensor: TensorSpec) -> bool:
    return any(not isinstance(size, int) for size in tensor.shape)


def _check_names(signature: Signature, spec: ModelSpec, name: str) -> None:
    known = {size for one in (*signature.inputs, *signature.outputs) for size in one.shape if isinstance(size, str)}
    for own in spec.shapes:
        if own not in known:
            has = f"it has {', '.join(sorted(known))}" if known else "all of its dimensions are fixed"
            raise UserError(
                f"shapes names {own!r}, which is not a dimension of model {name}"
                f"{did_you_mean(own, known) or ': ' + has}"
            )


def _profile(tensor: TensorSpec, declared: Mapping[str, Interval], spec: ModelSpec, name: str) -> list[list[int]]:
    sizes = [_interval(size, declared, spec.batch) for size in tensor.shape]
    axis = tensor.batch_axis
    if axis is not None and not isinstance(tensor.shape[axis], int):
        first = sizes[axis]
        if not first[0] <= spec.batch <= first[2]:
            raise UserError(
                f"batch = {spec.batch} is outside of shapes.{tensor.shape[axis]} = {list(first)}: model {name}: "
                "the batch must be between min and max"
            )
    return [[interval[choice] for interval in sizes] for choice in range(3)]


def _interval(size: int | str | None, declared: Mapping[str, Interval], batch: int) -> Interval:
    if isinstance(size, int):
        return size, size, size
    return declared.get(size or "", (1, batch, max(MAX_TRIED, batch)))
