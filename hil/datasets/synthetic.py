"""Draw random inputs from a fixed seed: they suffice to run a model, but not to validate it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hil.datasets.dataset import Arrays, Origin, Streamed
from hil.datasets.feeding import Feeding
from hil.dtypes import is_float, limits
from hil.errors import UserError
from hil.onnx_files.valid_positions import all_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.onnx_files.signature import Signature, TensorSpec

COUNT = 64
"""Number of samples if the model's config has none."""

STEPS = 64
"""Number of steps of each sequence of a model with a state."""

SEED = 20_240_229
UNIT = (0.0, 1.0)
BYTE = (0.0, 255.0)

Interval = tuple[float, float]


class SyntheticDataset(Streamed):
    """Uniform random inputs; sample ``i`` is the same for every batch size.

    Values are in the interval of ``ranges``, else in that of the input's declaration. By default they are from 0 to 1,
    for ``uint8`` from 0 to 255, and for a mask the value with which all positions count. A dynamic dimension has the
    ``opt`` of its declared sizes, else its declared multiple (1 by default).
    """

    synthetic = True

    def __init__(
        self,
        signature: Signature,
        *,
        model: str,
        count: int | None,
        ranges: Mapping[str, Interval],
    ) -> None:
        """Raise ``UserError`` if a range is not within the limits of its input's dtype.

        ``count`` is the number of samples (``None``: 64, rounded up to a multiple of the fixed batch size).
        """
        feeding = Feeding(signature, model)
        batch = feeding.fixed
        provenance = {"source": "synthetic", "kind": "synthetic", "seed": str(SEED)}
        super().__init__(Origin("synthetic", model, feeding, provenance))
        self._count = count or math.ceil(COUNT / (batch or 1)) * (batch or 1)
        self._draws = [
            _Draw(spec, model, ranges.get(spec.name) or spec.range, signature)
            for spec in signature.inputs
            if not spec.is_given
        ]

    @property
    def count(self) -> int:
        """The model's ``samples``, else 64 rounded up to a multiple of the model's fixed batch size."""
        return self._count

    @property
    def has_labels(self) -> bool:
        """Always false: random inputs have no labels."""
        return False

    def _read(self, size: int) -> Iterator[tuple[Arrays, Arrays]]:
        for start in range(0, self._count, size):
            numbers = range(start, min(start + size, self._count))
            yield {draw.name: np.stack([draw.sample(number) for number in numbers]) for draw in self._draws}, {}


class _Draw:
    """The random values of one input."""

    def __init__(self, spec: TensorSpec, model: str, interval: Interval | None, signature: Signature) -> None:
        self._dtype = np.dtype(spec.dtype)
        self.name = spec.name
        self._key = [SEED, *spec.name.encode()]
        steps = (STEPS,) if signature.carry else ()
        self._shape = (*steps, *(_size(size, signature) for size in spec.sample))
        self._same = spec.batch_axis is None
        least, greatest = _span(self._dtype)
        default = all_count(spec.name, spec.dtype, len(spec.shape)) or (BYTE if spec.dtype == "uint8" else UNIT)
        self._low, self._high = interval or (max(default[0], least), default[1])  # float8_e8m0fnu has no zero
        if not is_float(self._dtype):
            self._low, self._high = math.ceil(self._low), math.floor(self._high)
        if not least <= self._low <= self._high <= greatest:
            raise UserError(
                f"ranges.{spec.name} has no value that {spec.dtype} can hold: model {model}: "
                f"write [least, greatest] within {least:g} to {greatest:g}"
            )

    def sample(self, number: int) -> np.ndarray:
        random = np.random.default_rng([*self._key, 0 if self._same else number])
        if is_float(self._dtype):
            return random.uniform(self._low, self._high, self._shape).astype(self._dtype)
        return random.integers(int(self._low), int(self._high), self._shape, np.int64, endpoint=True).astype(
            self._dtype
        )


def _size(size: int | str | None, signature: Signature) -> int:
    if isinstance(size, int):
        return size
    name = size or ""
    return signature.sizes[name][1] if name in signature.sizes else signature.multiples.get(name, 1)


def _span(dtype: np.dtype) -> Interval:
    least, greatest = limits(dtype)
    if dtype == np.float64:  # half of the limits, so that the width of the interval is finite
        return least / 2, greatest / 2
    return (least, greatest) if is_float(dtype) else (max(least, -(2.0**62)), min(greatest, 2.0**62))
