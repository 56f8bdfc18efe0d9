"""Provide the samples of an ``.npz`` file, which has arrays named after the inputs, and ``labels``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.datasets.dataset import Arrays, Origin, Streamed
from hil.datasets.fit_check import label_key
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.datasets.fit_check import Matcher
    from hil.datasets.npz import NpzArrays

NUMBERS = "biuf"
"""numpy's kinds of booleans, integers and floats, which labels must have."""


class NpzDataset(Streamed):
    """The samples in the arrays of one file, read one batch at a time."""

    def __init__(self, arrays: NpzArrays, matcher: Matcher, origin: Origin) -> None:
        """Raise ``UserError`` if the headers have names, dtypes, shapes or counts that do not fit the model."""
        super().__init__(origin)
        model = origin.model
        self._arrays = arrays
        self._inputs, self._labels = matcher.names(arrays.names)
        headers = {one: arrays.header(one) for one in (*self._inputs, *self._labels)}
        matcher.tensors({one: (headers[one][0], headers[one][1][1:]) for one in self._inputs})
        for one in self._labels:
            if headers[one][0].kind not in NUMBERS:
                raise UserError(
                    f"{arrays.path} has {one!r} as {headers[one][0]}: model {model}: save labels as numbers"
                )
        counts = {one: shape[0] for one, (_, shape) in headers.items()}
        if len(set(counts.values())) > 1:
            lengths = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
            raise UserError(
                f"{arrays.path}: the arrays have different lengths ({lengths}): model {model}: save one row per sample"
            )
        self._count = next(iter(counts.values()))
        if self._count == 0:
            raise UserError(f"{arrays.path} holds zero samples: model {model}: add samples")

    @property
    def count(self) -> int:
        """Number of samples."""
        return self._count

    @property
    def has_labels(self) -> bool:
        """Whether the file has an array ``labels`` or ``labels.OUT``."""
        return bool(self._labels)

    def _read(self, size: int) -> Iterator[tuple[Arrays, Arrays]]:
        for rows in self._arrays.rows(size, (*self._inputs, *self._labels)):
            labels = {label_key(name) or "": rows[name] for name in self._labels}
            yield {name: rows[name] for name in self._inputs}, labels
