"""TensorRT's optimization profiles, from ``shapes`` and ``batch``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.config.spec import ModelSpec
    from hil.onnx_files.signature import Signature, TensorSpec

Interval = tuple[int, int, int]
Profiles = dict[str, list[list[int]]]

MAX_TRIED = 4
"""The largest batch that ``contract.shapes`` tries if the config sets no shapes."""


def profiles_of(signature: Signature, spec: ModelSpec, name: str) -> Profiles:
    """Return the ``[min, opt, max]`` shapes of each input with dynamic dimensions; static inputs are left out.

    A named dimension has its sizes from ``shapes``. A first dimension without an entry is the batch: 1, ``batch``, and
    the larger of ``batch`` and 4. Raises ``UserError`` for any other dynamic dimension, with the lines to write, for
    names that no tensor has, and for a ``batch`` outside its range in ``shapes``.
    """
    _check_names(signature, spec, name)
    missing = sorted(set(_missing(signature, spec, name)))
    if missing:
        raise UserError(
            f"TensorRT builds for given sizes, and {', '.join(missing)} of model {name} have no sizes: "
            "write the [min, opt, max] that the robot feeds to hil.toml:",
            f"[models.{name}.shapes]",
            *(f"{one} = [1, 1, 1]" for one in missing),
        )
    return {one.name: _profile(one, spec, name) for one in signature.inputs if _dynamic(one)}


def _dynamic(tensor: TensorSpec) -> bool:
    return any(not isinstance(size, int) for size in tensor.shape)


def _check_names(signature: Signature, spec: ModelSpec, name: str) -> None:
    known = {size for one in (*signature.inputs, *signature.outputs) for size in one.shape if isinstance(size, str)}
    for dimension in spec.shapes:
        if dimension not in known:
            has = f"it has {', '.join(sorted(known))}" if known else "all of its dimensions are fixed"
            raise UserError(
                f"shapes names {dimension!r}, which is not a dimension of model {name}"
                f"{did_you_mean(dimension, known) or ': ' + has}"
            )


def _missing(signature: Signature, spec: ModelSpec, name: str) -> Iterator[str]:
    for one in signature.inputs:
        for axis, size in enumerate(one.shape):
            if size is None and axis:
                raise UserError(
                    f"dimension {axis} of input {one} has no name: model {name}: TensorRT must know its sizes: "
                    "export the model with a name for it and give that name [min, opt, max] under shapes"
                )
            if isinstance(size, str) and axis and size not in spec.shapes and not _is_batch(signature, size):
                yield size


def _is_batch(signature: Signature, size: str) -> bool:
    """Whether the name is the first dimension of an input: it has the same size everywhere."""
    return any(one.shape and one.shape[0] == size for one in signature.inputs)


def _profile(tensor: TensorSpec, spec: ModelSpec, name: str) -> list[list[int]]:
    sizes = [_interval(size, spec) for size in tensor.shape]
    first, size = sizes[0], tensor.shape[0]
    if not isinstance(size, int) and not first[0] <= spec.batch <= first[2]:
        raise UserError(
            f"batch = {spec.batch} is outside of shapes.{size} = {list(first)}: model {name}: "
            "the batch must be between min and max"
        )
    return [[interval[choice] for interval in sizes] for choice in range(3)]


def _interval(size: int | str | None, spec: ModelSpec) -> Interval:
    if isinstance(size, int):
        return size, size, size
    if size in spec.shapes:
        return spec.shapes[size]
    return 1, spec.batch, max(MAX_TRIED, spec.batch)
