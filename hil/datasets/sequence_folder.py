"""Provide sequences from a folder of ``.npz`` files, one file a sequence, so that each may have its own length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hil.datasets.dataset import Arrays, Origin, Streamed
from hil.datasets.fit_check import label_key
from hil.datasets.npz import NpzArrays
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.datasets.fit_check import Matcher

PATTERN = "*.npz"


def is_folder_of_sequences(folder: Path) -> bool:
    """Return whether ``folder`` has an ``.npz`` file."""
    return next(folder.glob(PATTERN), None) is not None


class SequenceFolder(Streamed):
    """The sequences in the files of one folder, in the order of their names; one batch is in memory at a time.

    Each file has an array ``[steps, ...]`` for each input. It may have the state in which the sequence begins, without
    the axis of steps, and labels.
    """

    chunk = 1  # sequences may differ in their lengths

    def __init__(self, folder: Path, matcher: Matcher, origin: Origin) -> None:
        """Read all headers.

        Raise ``UserError`` if names, dtypes or shapes do not fit the model, or if the files have different arrays.
        """
        super().__init__(origin)
        self._files = sorted(folder.glob(PATTERN))
        self._names: tuple[list[str], list[str]] | None = None
        for path in self._files:
            arrays = NpzArrays(path, scalars=True)
            names = matcher.names(arrays.names)
            self._names = self._names or names
            if names != self._names:
                raise UserError(
                    f"{path} and {self._files[0].name} have different arrays: model {self._model}: save the same "
                    "inputs and labels in each file"
                )
            try:
                matcher.tensors({name: arrays.header(name) for name in names[0]})
            except UserError as error:
                raise UserError(f"{error}: file {path.name}") from None

    @property
    def count(self) -> int:
        """Number of files."""
        return len(self._files)

    @property
    def has_labels(self) -> bool:
        """Whether the files have an array ``labels`` or ``labels.OUT``."""
        return bool(self._names and self._names[1])

    def _read(self, size: int) -> Iterator[tuple[Arrays, Arrays]]:
        inputs, labels = self._names or ([], [])
        for start in range(0, len(self._files), size):
            rows = [self._whole(path, (*inputs, *labels)) for path in self._files[start : start + size]]
            try:
                stacked = {name: np.stack([row[name] for row in rows]) for name in (*inputs, *labels)}
            except ValueError:
                raise UserError(
                    f"{self.name} has sequences of different lengths in one batch, from {self._files[start].name} on: "
                    f"model {self._model}: write batch = 1 under [models.{self._model}]"
                ) from None
            yield {name: stacked[name] for name in inputs}, {label_key(name) or "": stacked[name] for name in labels}

    def _whole(self, path: Path, names: tuple[str, ...]) -> Arrays:
        arrays = NpzArrays(path, scalars=True)
        if not set(names) <= set(arrays.names):
            raise UserError(f"{path} changed while it was read: model {self._model}: do not change it, and run again")

        def read(name: str) -> np.ndarray:
            dtype, shape = arrays.header(name)
            rows = next(arrays.rows(max((1, *shape[:1])), (name,)), {name: np.empty(shape, dtype)})
            return rows[name].reshape(shape)

        return {name: read(name) for name in names}
