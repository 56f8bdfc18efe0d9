"""Provide the samples of an ``.npz`` file, which has arrays named after the inputs, and ``labels``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.datasets.dataset import Arrays, Origin, Streamed
from hil.datasets.fit_check import label_key
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from hil.datasets.fit_check import Matcher
    from hil.datasets.npz import NpzArrays

LENGTHS = "lengths"
"""The array with the number of steps of each sequence, if the arrays of a model with a state are padded."""

NUMBERS = "biuf"
"""numpy's kinds of booleans, integers and floats, which labels must have."""


class NpzDataset(Streamed):
    """The samples in the arrays of one file, read one batch at a time."""

    def __init__(self, arrays: NpzArrays, matcher: Matcher, origin: Origin) -> None:
        """Raise ``UserError`` if names, dtypes, shapes or counts do not fit the model, and for zero samples.

        Only headers and ``LENGTHS`` are read.
        """
        super().__init__(origin)
        model = origin.model
        self._arrays = arrays
        self._carry = matcher.carry
        self._padded = bool(self._carry) and LENGTHS in arrays.names and LENGTHS not in matcher.inputs
        self._inputs, self._labels = matcher.names(
            name for name in arrays.names if not (self._padded and name == LENGTHS)
        )
        headers = {one: arrays.header(one) for one in (*self._inputs, *self._labels)}
        matcher.tensors({one: (headers[one][0], headers[one][1][1:]) for one in self._inputs})
        for one in self._labels:
            if headers[one][0].kind not in NUMBERS:
                raise UserError(
                    f"{arrays.path} has {one!r} as {headers[one][0]}: model {model}: save labels as numbers"
                )
        if self._padded:
            headers[LENGTHS] = arrays.header(LENGTHS)
        counts = {one: shape[0] for one, (_, shape) in headers.items()}
        if len(set(counts.values())) > 1:
            lengths = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
            raise UserError(
                f"{arrays.path}: the arrays have different lengths ({lengths}): model {model}: save one row per sample"
            )
        self._count = next(iter(counts.values()))
        if self._count == 0:
            raise UserError(f"{arrays.path} holds zero samples: model {model}: add samples")
        if self._padded:
            self.chunk = 1  # sequences differ in their lengths
            steps = next(headers[one][1][1] for one in self._inputs if one not in self._carry)
            self._check_lengths(matcher, headers[LENGTHS], steps)

    def _check_lengths(self, matcher: Matcher, header: tuple[np.dtype, tuple[int, ...]], steps: int) -> None:
        dtype, shape = header
        if dtype.kind not in "iu" or len(shape) != 1:
            raise UserError(
                f"{self._arrays.path} has {LENGTHS!r} as {dtype}{list(shape)}: model {self._model}: save the number of "
                "steps of each sequence as a vector of integers"
            )
        lengths = [int(one) for rows in self._arrays.rows(4096, (LENGTHS,)) for one in rows[LENGTHS]]
        if max(lengths) > steps:
            raise UserError(
                f"{self._arrays.path} has {max(lengths)} in {LENGTHS!r}, but arrays of {steps} steps: model "
                f"{self._model}: no length may exceed the steps of the arrays"
            )
        matcher.steps(min(lengths))

    @property
    def count(self) -> int:
        """Number of samples."""
        return self._count

    @property
    def has_labels(self) -> bool:
        """Whether the file has an array ``labels`` or ``labels.OUT``."""
        return bool(self._labels)

    def _read(self, size: int) -> Iterator[tuple[Arrays, Arrays]]:
        for rows in self._arrays.rows(size, (*self._inputs, *self._labels, *((LENGTHS,) * self._padded))):
            if self._padded:
                rows = self._cut(rows)  # noqa: PLW2901 - the same rows without their padding
            labels = {label_key(name) or "": rows[name] for name in self._labels}
            yield {name: rows[name] for name in self._inputs}, labels

    def _cut(self, rows: Arrays) -> Arrays:
        """Return the sequences of a batch, cut to their length, which must be the same for all."""
        lengths = {int(one) for one in rows[LENGTHS]}
        if len(lengths) > 1:
            raise UserError(
                f"{self._arrays.path} has sequences of {min(lengths)} and {max(lengths)} steps in one batch: model "
                f"{self._model}: write batch = 1 under [models.{self._model}]"
            )
        whole = next(array.shape[1] for name, array in rows.items() if name in self._inputs and name not in self._carry)
        cut = lengths.pop()
        return {
            name: array[:, :cut] if name not in self._carry and array.shape[1:2] == (whole,) else array
            for name, array in rows.items()
        }
