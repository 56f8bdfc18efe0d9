"""Add to a model's signature what ``hil.toml`` declares about the inputs: sizes, batch axes, constants, ranges."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from hil.config.explain import written
from hil.config.spec import InputSpec
from hil.errors import UserError, did_you_mean
from hil.onnx_files.batch_axes import check_batch_axes
from hil.onnx_files.signature import Signature, TensorSpec, dimension, read_signature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hil.config.spec import ModelSpec

Declared = int | str | tuple[int, int, int]


def declared_signature(path: Path, spec: ModelSpec, name: str, *, apart: bool = False) -> Signature:
    """Return the signature of the ONNX file at ``path``, with what the config ``spec`` of model ``name`` declares.

    ``apart`` is as in ``declare``. Raises ``UserError`` when ``read_signature`` or ``declare`` does.
    """
    return declare(read_signature(path), spec, name, apart=apart)


def declare(signature: Signature, spec: ModelSpec, name: str, *, apart: bool = False) -> Signature:
    """Return ``signature`` with what the config ``spec`` of model ``name`` declares about the inputs.

    A dynamic dimension without a name is named by its position, such as ``images[2]``; a batch dimension gets the name
    of the other batch dimensions. With ``apart``, dimensions that share a name but have different declared sizes are
    named by position too, and ``separated`` of the result lists them. Raise ``UserError`` for a declaration that
    contradicts the file or another declaration, an input without any declared shape, or inputs without a common batch.
    """
    known = [one.name for one in signature.inputs]
    for key in spec.inputs:
        if key not in known:
            raise UserError(f"models.{name}.inputs.{key}: there is no such input{did_you_mean(key, known)}")
    declaring = _Declaring(signature, spec, name, apart=apart)
    inputs = tuple(declaring.input(one) for one in signature.inputs)
    declaring.check_states(signature.inputs, inputs)
    check_batch_axes(inputs, {key for key, own in spec.inputs.items() if own.batch_axis is not None}, name)
    result = replace(
        with_inputs(signature, inputs),
        sizes=declaring.sizes,
        multiples=declaring.multiples,
        separated=tuple(declaring.separated),
    )
    result.batch()
    names = result.batch_names()
    return _with_one_batch(result, *names) if len(names) == 1 else result


def _with_one_batch(signature: Signature, name: str) -> Signature:
    """Return ``signature`` with ``name`` for each batch dimension without a name."""
    inputs = tuple(
        replace(one, shape=(*one.shape[:axis], name, *one.shape[axis + 1 :]))
        if (axis := one.batch_axis) is not None and one.shape[axis] is None
        else one
        for one in signature.inputs
    )
    return replace(signature, inputs=inputs)


def with_inputs(signature: Signature, inputs: Sequence[TensorSpec]) -> Signature:
    """Return ``signature`` with ``inputs``, whose dimensions may be renamed.

    If a name was divided, the outputs' dimensions of this name become unknown (``None``).
    """
    meanings: dict[object, set[object]] = {}
    others: set[object] = set()
    for old, new in zip(signature.inputs, inputs, strict=True):
        for axis, (before, after) in enumerate(zip(old.shape, new.shape, strict=False)):
            meanings.setdefault(before, set()).add(after)
            others |= {before} if axis != new.batch_axis else set()
    divided = {name for name, names in meanings.items() if len(names) > 1 and name in others and isinstance(name, str)}
    outputs = tuple(
        replace(one, shape=tuple(None if size in divided else size for size in one.shape)) for one in signature.outputs
    )
    return replace(signature, inputs=tuple(inputs), outputs=outputs)


class _Declaring:
    """Adds the declarations to one input after another; collects ``sizes`` and ``multiples`` of all dimensions."""

    def __init__(self, signature: Signature, spec: ModelSpec, name: str, *, apart: bool) -> None:
        self.separated: list[str] = []
        self._apart = apart
        self.sizes = dict(spec.shapes)
        self.multiples: dict[str, int] = {}
        self._outputs = {one.name: one for one in signature.outputs}
        self._fed_by: dict[str, str] = {}
        self._spec = spec
        self._name = name

    def input(self, tensor: TensorSpec) -> TensorSpec:
        own = self._spec.inputs.get(tensor.name, InputSpec())
        rank = len(tensor.shape) if tensor.ranked else None if own.shape is None else len(own.shape)
        if rank is None:
            table = written(("models", self._name, "inputs", tensor.name))
            raise UserError(
                f"the ONNX file of model {self._name} declares no shape of input {tensor.name!r}: write the size of "
                "each axis to hil.toml: a number, [min, opt, max] or a name:",
                f"[{table}]",
                "shape = [1]",
            )
        for key in ("shape", "multiple_of"):
            length = len(getattr(own, key) or ()) if getattr(own, key) is not None else rank
            if length != rank:
                raise self._error(tensor, key, f"has {length} entries, but the input has {rank} axes")
        axis = self._batch_axis(tensor, own, rank)
        shape = tuple(
            self._dimension(tensor, place, None if own.shape is None else own.shape[place], batch=place == axis)
            for place in range(rank)
        )
        self._multiples(tensor, shape, own.multiple_of or ())
        self._check_carry(tensor, own)
        limits = own.range or self._spec.ranges.get(tensor.name)
        return TensorSpec(tensor.name, tensor.dtype, shape, tensor.ranked, axis, own.value, limits, own.carry)

    def _batch_axis(self, tensor: TensorSpec, own: InputSpec, rank: int) -> int | None:
        if isinstance(own.batch_axis, int):
            if own.batch_axis >= rank:
                what = f"is {own.batch_axis}, but the input has {rank} axes, counted from 0"
                raise self._error(tensor, "batch_axis", what)
            return own.batch_axis
        if own.batch_axis == "none":
            return None
        constant = own.value is not None and (not rank or isinstance((tensor.shape or (None,))[0], int))
        return None if constant else 0

    def _dimension(self, tensor: TensorSpec, axis: int, declared: Declared | None, *, batch: bool) -> int | str | None:
        size = tensor.shape[axis] if tensor.ranked else None
        if isinstance(size, int):
            if declared is not None and declared not in (size, (size,) * 3):
                raise self._error(
                    tensor, "shape", f"has {_shown(declared)} on axis {axis}, which the file fixes at {size}"
                )
            return size
        if isinstance(declared, str):
            return declared
        own = dimension(tensor.name, axis)
        key = own if own in self._spec.shapes else size or (None if batch and declared is None else own)
        if declared is None or key is None:
            return key
        interval = (declared,) * 3 if isinstance(declared, int) else declared
        before = self.sizes.setdefault(key, interval)
        if before == interval:
            return key
        what = f"has {_shown(declared)} for {key!r}, but {list(before)} is declared for {key!r} elsewhere"
        if not self._apart or key == own:
            place, shapes = written((own,)), written(("models", self._name, "shapes"))
            remedy = f"write one size for both or, to separate the axes, {place} for this axis and {place} = … under"
            raise self._error(tensor, "shape", f"{what}: {remedy} [{shapes}]")
        self.separated.append(f"inputs.{tensor.name}.shape {what}: axis {axis} is now named {own!r}")
        self.sizes[own] = interval
        return own

    def _multiples(self, tensor: TensorSpec, shape: tuple[int | str | None, ...], multiples: tuple[int, ...]) -> None:
        for size, multiple in zip(shape, multiples, strict=False):
            if isinstance(size, str) and multiple > 1:
                self.multiples[size] = math.lcm(multiple, self.multiples.get(size, 1))
                wrong = [one for one in self.sizes.get(size, ()) if one % multiple]
            else:
                wrong = [size] if isinstance(size, int) and size % multiple else []
            if wrong:
                raise self._error(tensor, "multiple_of", f"has {multiple} for an axis with the size {wrong[0]}")

    def _check_carry(self, tensor: TensorSpec, own: InputSpec) -> None:
        if own.carry is None:
            return
        source = self._outputs.get(own.carry)
        if source is None:
            near = did_you_mean(own.carry, self._outputs)
            raise self._error(tensor, "carry", f"names {own.carry!r}, but there is no such output{near}")
        if source.dtype != tensor.dtype:
            raise self._error(tensor, "carry", f"names the output {source}, but the input takes {tensor.dtype}")
        ranked = tensor.ranked and source.ranked
        pairs = zip(tensor.shape, source.shape, strict=False)
        fixed = ((ours, theirs) for ours, theirs in pairs if isinstance(ours, int) and isinstance(theirs, int))
        if ranked and (len(tensor.shape) != len(source.shape) or any(ours != theirs for ours, theirs in fixed)):
            raise self._error(tensor, "carry", f"names the output {source}, which has another shape")
        other = self._fed_by.setdefault(own.carry, tensor.name)
        if other != tensor.name:
            raise self._error(tensor, "carry", f"names the output {own.carry!r}, which feeds {other!r} already")

    def check_states(self, tensors: Sequence[TensorSpec], inputs: Sequence[TensorSpec]) -> None:
        """Raise ``UserError`` for a state whose batch axis is not its dynamic dimension, unlike that of other inputs.

        ``tensors`` are the inputs as in the file. A state without ``batch_axis`` in ``hil.toml`` is left to
        ``check_batch_axes`` if one of its dimensions has a name.
        """
        pairs = [(old, new) for old, new in zip(tensors, inputs, strict=True) if old.ranked]
        batches = {old.shape[axis] for old, new in pairs if new.carry is None for axis in _batch_axis_of(new)}
        if not batches or any(isinstance(size, int) for size in batches):
            return
        for old, new in pairs:
            free = [
                axis
                for axis, size in enumerate(old.shape)
                if size is None or size in batches or (None in batches and not isinstance(size, int))
            ]
            if new.carry is not None and free and new.batch_axis not in free:
                if self._spec.inputs[new.name].batch_axis is None and any(isinstance(size, str) for size in old.shape):
                    continue
                has = "no batch axis" if new.batch_axis is None else f"the batch axis {new.batch_axis}"
                table = written(("models", self._name, "inputs", new.name))
                raise UserError(
                    f"the state {new.name!r} of model {self._name} has {has}, but its dynamic dimension is "
                    f"axis {free[0]}: input {old}: write batch_axis = {free[0]} under [{table}]"
                )

    def _error(self, tensor: TensorSpec, key: str, what: str) -> UserError:
        place = written(("models", self._name, "inputs", tensor.name, key))
        return UserError(f"{place} {what}: input {tensor}: correct it in hil.toml")


def _batch_axis_of(tensor: TensorSpec) -> Sequence[int]:
    axis = tensor.batch_axis
    return () if axis is None or axis >= len(tensor.shape) else (axis,)


def _shown(declared: Declared) -> str:
    return str(list(declared)) if isinstance(declared, tuple) else repr(declared)
