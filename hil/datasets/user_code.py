"""Samples made by the user's code: a folder of images through ``preprocess``, or a callable of samples."""

from __future__ import annotations

import os
from abc import abstractmethod
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.datasets.dataset import Arrays, Origin, Streamed
from hil.datasets.fit_check import label_key
from hil.datasets.npz_samples import NUMBERS
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.callables import UserCallable
    from hil.datasets.fit_check import Matcher

Sample = tuple[Arrays, Arrays]
END = object()
MOST_SAMPLES, MOST_BYTES = 100_000, 64 << 30
"""Of a callable without a limit: more is taken for one that yields without end. Twice ImageNet's validation images."""


class CodeDataset(Streamed):
    """What both have in common: each sample is checked as it comes, and again against the pass before."""

    chunk = 1  # samples may differ in shape, and only what is fed together has to be alike

    checks_repeats = True

    def __init__(self, code: UserCallable, matcher: Matcher, origin: Origin) -> None:
        """``code`` is called anew for each pass, or for each file."""
        super().__init__(origin)
        self._code = code
        self._matcher = matcher

    @abstractmethod
    def _samples(self) -> Iterator[Sample]:
        """One pass over the samples, checked, without a batch dimension."""

    def _read(self, size: int) -> Iterator[tuple[Arrays, Arrays]]:
        samples = self._samples()
        while some := list(islice(samples, size)):
            yield self._stacked([inputs for inputs, _ in some]), self._stacked([labels for _, labels in some])

    def _stacked(self, rows: list[Arrays]) -> Arrays:
        try:
            return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        except (KeyError, ValueError):
            raise UserError(
                f"{self.name} gives samples that cannot be stacked, since shapes or names differ: "
                f"model {self._model}: make them alike, or set batch = 1"
            ) from None

    def _checked(self, sample: Any, index: int) -> Sample:
        what = f"{self._code.name} gave sample {index}"
        if not isinstance(sample, dict) or not all(isinstance(name, str) for name in sample):
            raise UserError(
                f"{what} as {type(sample).__name__}: model {self._model}: give a dict of arrays by input name"
            )
        inputs, labels = self._matcher.names(sample)
        for name in inputs:
            if not isinstance(sample[name], np.ndarray):
                kind = type(sample[name]).__name__
                raise UserError(f"{what} with {name!r} as {kind}: model {self._model}: give a numpy array")
        self._matcher.tensors({name: (sample[name].dtype, sample[name].shape) for name in inputs})
        truth = {label_key(name) or "": np.asarray(sample[name]) for name in labels}
        if any(value.dtype.kind not in NUMBERS for value in truth.values()):
            raise UserError(f"{what} with labels that are no numbers: model {self._model}: give numbers")
        return {name: sample[name] for name in inputs}, truth


class CallableDataset(CodeDataset):
    """Samples that a callable of the user's yields: dicts of one sample's arrays, labels beside the inputs.

    It is asked for the first ``limit`` samples and for no more; without a limit it must end.
    """

    def __init__(self, code: UserCallable, matcher: Matcher, origin: Origin, limit: int | None = None) -> None:
        """Runs one pass for the count and the digest. Raises ``UserError``."""
        super().__init__(code, matcher, origin)
        self._limit = limit
        first = next(self._samples(), None)
        if first is None:
            raise UserError(
                f"{self.name} holds zero samples: model {code.model}: yield some, nothing is judged on none"
            )
        self._labels = set(first[1])
        self.digest  # noqa: B018 - the pass that counts and that all others are held against

    @property
    def count(self) -> int:
        """Number of samples of the first pass."""
        return len(self._seen or ())

    @property
    def has_labels(self) -> bool:
        """Whether the first sample carries labels; then all must."""
        return bool(self._labels)

    def _samples(self) -> Iterator[Sample]:
        given = self._code()
        try:
            samples = iter(given)
        except TypeError:
            kind = type(given).__name__
            raise UserError(f"{self._code.name} gave {kind}: model {self._model}: yield one dict a sample") from None
        expected: set[str] | None = None
        index = size = 0
        while index != self._limit:
            with self._code.blamed():
                sample = next(samples, END)
            if sample is END:
                return
            if self._limit is None and (index >= MOST_SAMPLES or size > MOST_BYTES):
                raise UserError(
                    f"{self._code.name} gave {index} samples and has not ended: model {self._model}: "
                    "set samples to how many are wanted, or let it end"
                )
            checked = self._checked(sample, index)
            expected = set(checked[1]) if expected is None else expected
            if set(checked[1]) != expected:
                raise UserError(
                    f"{self._code.name} gave sample {index} other labels than the first: model {self._model}"
                )
            yield checked
            index += 1
            size += sum(array.nbytes for array in checked[0].values())


class FolderDataset(CodeDataset):
    """Files of a folder in the order of their names; the truth is the number of the sub-folder, if there are any."""

    def __init__(self, folder: Path, code: UserCallable, matcher: Matcher, origin: Origin) -> None:
        """Lists the files; each is read when its turn comes. Raises ``UserError``."""
        classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and _visible(path.name))
        super().__init__(code, matcher, origin)
        self.provenance = {**origin.provenance, "classes": " ".join(classes)}
        self._files = _files(folder)
        self._classes = {one: number for number, one in enumerate(classes)}
        self._folder = folder
        if not self._files:
            raise UserError(f"{folder} holds zero samples: model {code.model}: put images there")
        stray = [path for path in self._files if classes and path.parent == folder]
        if stray:
            raise UserError(f"{stray[0]} lies beside sub-folders: model {code.model}: put each image into its class")

    @property
    def count(self) -> int:
        """Number of files."""
        return len(self._files)

    @property
    def has_labels(self) -> bool:
        """Whether there are sub-folders."""
        return bool(self._classes)

    def _samples(self) -> Iterator[Sample]:
        for index, path in enumerate(self._files):
            inputs, labels = self._checked(self._code(path), index)
            if labels:
                raise UserError(
                    f"{self._code.name} gave labels: model {self._model}: sub-folders of {self.name} say them"
                )
            number = self._classes.get(path.relative_to(self._folder).parts[0])
            yield inputs, {} if number is None else {"": np.asarray(number, np.int64)}


def _files(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if _visible(name)]
        found += [Path(place, name) for name in names if _visible(name)]
    return sorted(path for path in found if path.is_file())


def _visible(name: str) -> bool:
    return not name.startswith((".", "__"))
