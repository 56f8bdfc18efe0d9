"""Convert samples to a model's inputs: stacked along each input's batch axis, with constants and initial states."""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.datasets.sequence import Sequence
from hil.dtypes import is_float, is_number
from hil.errors import UserError

if TYPE_CHECKING:
    from hil.onnx_files.signature import Signature, TensorSpec

    Array = np.ndarray[Any, Any]
    Arrays = dict[str, Array]


class Feeding:
    """Converts samples in the form of the data to the inputs of one model."""

    def __init__(self, signature: Signature, model: str) -> None:
        """Raise ``UserError`` for a declared ``value`` that its input cannot hold or whose shape does not fit."""
        self._signature = signature
        self._model = model
        self._constants = {one.name: self._constant(one) for one in signature.inputs if one.is_given}
        self._odd = [one for one in signature.inputs if one.batch_axis != 0 or one.is_given]

    @property
    def stride(self) -> int | None:
        """The number of samples in one call; ``None`` if any number is possible."""
        return self._signature.stride()

    @property
    def varies(self) -> bool:
        """Whether samples may differ in shape, so that they cannot be stacked."""
        return any(not isinstance(size, int) for one in self._signature.inputs for size in one.sample)

    @property
    def fixed(self) -> int | None:
        """The model's fixed batch size; 1 if no input has a batch axis, ``None`` if it is dynamic."""
        return self._signature.batch()

    def fixed_inputs(self) -> str:
        """Return the subject of a sentence on the inputs whose batch size is fixed: ``"input 'x' is"``."""
        stacked = ((one.name, one.shape[one.batch_axis or 0]) for one in self._signature.stacked)
        names = [repr(name) for name, size in stacked if isinstance(size, int)]
        return f"input {names[0]} is" if len(names) == 1 else f"inputs {', '.join(names)} are"

    @cached_property
    def digest(self) -> bytes:
        """The SHA-256 of the declarations that change how samples are fed; empty if samples are fed unchanged."""
        odd = [(one.name, one.batch_axis, one.value, one.carry, self._shape(one)) for one in self._odd]
        return sha256(repr(odd).encode()).digest() if odd else b""

    def feeds(self, samples: Arrays, start: int) -> Arrays:
        """Return the model's inputs for ``samples``, which are stacked along the first axis of each array.

        ``start`` is the index of the first sample. Raise ``UserError`` if samples differ in an input without a batch
        axis, which takes one tensor per call, or if they differ from an input's declared ``value``.
        """
        if not self._odd:
            return samples
        rows = len(next(iter(samples.values())))
        return {one.name: self._fed(one, samples.get(one.name), rows, start) for one in self._signature.inputs}

    def sequence(self, samples: Arrays, start: int) -> Sequence | None:
        """Return the steps of ``samples``, whose arrays are [samples, steps, ...]; ``None`` for a model without state.

        A carried input has no steps in ``samples``: it is the first state of each sequence, by default zeros. Raise
        ``UserError`` when ``feeds`` does.
        """
        carry = self._signature.carry
        if not carry:
            return None
        rows = len(next(iter(samples.values())))
        free = [one for one in self._signature.inputs if one.name not in carry]
        count = next(samples[one.name].shape[1] for one in free if one.name in samples)
        begin = {name: self._fed(self._signature.input(name), samples.get(name), rows, start) for name in carry}
        steps = {}
        for one in free:
            if one.name in samples:
                each = [self._fed(one, samples[one.name][:, step], rows, start) for step in range(count)]
                steps[one.name] = np.stack(each)
            else:
                fed = self._fed(one, None, rows, start)
                steps[one.name] = np.broadcast_to(fed, (count, *fed.shape))
        return Sequence(steps, begin, carry)

    def _fed(self, one: TensorSpec, samples: np.ndarray[Any, Any] | None, rows: int, start: int) -> Array:
        constant = self._constants.get(one.name)
        if samples is not None and one.value is not None and not (samples == constant).all():
            raise UserError(
                f"models.{self._model}.inputs.{one.name}.value is not what the data has near sample {start}: "
                "remove value, or the array from the data"
            )
        if samples is None:
            assert constant is not None  # noqa: S101 - fit_check ensures it; for the type checker
            samples = np.broadcast_to(constant, (rows, *constant.shape))
        if one.batch_axis is None:
            if not all(np.array_equal(samples[0], each) for each in samples[1:]):
                raise UserError(
                    f"input {one.name!r} takes one tensor a call, and the {rows} samples from {start} on differ in it: "
                    f"model {self._model}: write batch = 1 under [models.{self._model}]"
                )
            return np.ascontiguousarray(samples[0]).reshape(samples.shape[1:])
        return np.ascontiguousarray(np.moveaxis(samples, 0, one.batch_axis))

    def _constant(self, one: TensorSpec) -> Array:
        shape = self._shape(one)
        if one.value is None:
            return np.zeros(shape, one.dtype)
        try:
            exact = np.asarray(one.value)
            value = exact.astype(one.dtype)
            result = np.broadcast_to(value, shape)
            fits = is_number(exact.dtype) and (is_float(value.dtype) or bool((exact == value).all()))
        except (TypeError, ValueError, OverflowError):
            fits = False
        if not fits:
            raise UserError(
                f"models.{self._model}.inputs.{one.name}.value is not a value of {one}: "
                f"write a {one.dtype}, or an array of the shape {list(shape)}"
            )
        return result

    def _shape(self, one: TensorSpec) -> tuple[int, ...]:
        """Return the shape of one sample; a dynamic dimension has its declared ``opt`` size, or 1 without one."""
        sizes = self._signature.sizes
        return tuple(size if isinstance(size, int) else sizes.get(str(size), (1, 1, 1))[1] for size in one.sample)
