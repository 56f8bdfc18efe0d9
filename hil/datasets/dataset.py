"""What every data set is: batches in a fixed order, a digest of the content, a digest a sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

Arrays = dict[str, "np.ndarray"]

FINGERPRINT = 8
"""Bytes kept of each sample's digest while a run lasts, to notice a source that changes between passes."""


@dataclass(frozen=True)
class Batch:
    """Samples ``start``, ``start + 1``, … along the first dimension of every array.

    ``labels`` holds the truth: ``""`` for ``labels``, ``OUT`` for ``labels.OUT``; empty if there is none.
    """

    start: int
    inputs: Arrays
    labels: Arrays


class Dataset(Protocol):
    """Samples to feed a model with; read as often as wanted, never held whole.

    ``digest`` is the sha256 of content and preprocessing source, ``provenance`` what else tells where
    the samples come from (``source``, ``kind``, ``preprocess``, ``preprocess_digest``).
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - told above
    @property
    def digest(self) -> str: ...  # noqa: D102 - told above
    @property
    def count(self) -> int: ...  # noqa: D102 - told above
    @property
    def synthetic(self) -> bool: ...  # noqa: D102 - told above
    @property
    def has_labels(self) -> bool: ...  # noqa: D102 - told above
    @property
    def provenance(self) -> Mapping[str, str]: ...  # noqa: D102 - told above

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yields the first ``limit`` samples (all if ``None``), ``size`` at a time, fewer at the end."""

    def sample_digests(self) -> Iterator[str]:
        """Yields the sha256 of each sample over all inputs, labels aside; equal samples, equal digests."""


@dataclass(frozen=True)
class Origin:
    """Where samples come from and for whom: ``batch`` is the first dimension the model fixes, or ``None``."""

    name: str
    model: str
    batch: int | None
    provenance: Mapping[str, str]


class Streamed(ABC):
    """What the sources share: limits, the model's own batch size, digests, and that passes repeat."""

    synthetic = False
    chunk = 64
    """Samples read at a time where only digests are wanted."""

    checks_repeats = False
    """Whether passes are held against the first one: code may change its mind, a file does not."""

    def __init__(self, origin: Origin) -> None:
        """What the samples are, before any of them is read."""
        self.name = origin.name
        self.provenance = origin.provenance
        self._model = origin.model
        self._batch = origin.batch
        self._seen: array[int] | None = None

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of samples; at least one."""

    @property
    @abstractmethod
    def has_labels(self) -> bool:
        """Whether batches carry the truth."""

    @abstractmethod
    def _read(self, size: int) -> Iterator[tuple[Arrays, Arrays]]:
        """All inputs and labels, ``size`` samples at a time."""

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yields the first ``limit`` samples (all if ``None``), ``size`` at a time, fewer at the end.

        Raises ``UserError`` where the model fixes another batch size or one that leaves a remainder, and
        where a source gives other samples than it gave before.
        """
        wanted = self.count if limit is None else min(limit, self.count)
        self._check_batch(size, wanted)
        start = 0
        for inputs, labels in self._read(size):
            rows = min(_length(inputs), wanted - start)
            if rows < _length(inputs) and wanted == self.count:
                raise UserError(self._changed(wanted))
            batch = Batch(start, _head(inputs, rows), _head(labels, rows))
            if self.checks_repeats and self._seen is not None:
                self._check_repeats(batch, self._seen)
            yield batch
            start += rows
            if start >= wanted and wanted < self.count:
                return
        if start < wanted:
            raise UserError(self._changed(start))

    @cached_property
    def digest(self) -> str:
        """sha256 over each sample's names, dtypes, shapes and bytes, labels too, and the preprocessing source."""
        total = sha256()
        seen = array("Q")
        for inputs, labels in self._read(self.chunk):
            for row in range(_length(inputs)):
                one = _whole_digest(inputs, labels, row)
                seen.frombytes(one[:FINGERPRINT])
                total.update(one)
        total.update(self.provenance.get("preprocess_digest", "").encode())
        self._seen = seen
        return total.hexdigest()

    def sample_digests(self) -> Iterator[str]:
        """Yields the sha256 of each sample over all inputs, labels aside."""
        for inputs, _ in self._read(self.chunk):
            for row in range(_length(inputs)):
                yield sample_digest(inputs, row).hex()

    def _check_batch(self, size: int, wanted: int) -> None:
        if self._batch is None:
            return
        fixed = f"the inputs of model {self._model} are fixed at batch {self._batch}"
        if size != self._batch:
            raise UserError(f"batch = {size}, but {fixed}: write batch = {self._batch} under [models.{self._model}]")
        if wanted % self._batch:
            raise UserError(
                f"{wanted} samples of {self.name} leave {wanted % self._batch} over, but {fixed}: "
                f"give a multiple of {self._batch}, e.g. samples = {wanted - wanted % self._batch or self._batch}"
            )

    def _check_repeats(self, batch: Batch, seen: array[int]) -> None:
        for row in range(_length(batch.inputs)):
            index = batch.start + row
            one = _whole_digest(batch.inputs, batch.labels, row)[:FINGERPRINT]
            if seen[index : index + 1].tobytes() != one:
                raise UserError(self._changed(index))

    def _changed(self, index: int) -> str:
        return (
            f"sample {index} of {self.name} is not what it was in the pass before: model {self._model}: "
            "give the same samples in the same order each time (seed what is random)"
        )


def sample_digest(arrays: Mapping[str, np.ndarray], row: int) -> bytes:
    """sha256 of one row of each array: name, dtype, shape and bytes, in the order of the names."""
    result = sha256()
    for name in sorted(arrays):
        value = arrays[name][row]
        result.update(f"{name}\0{value.dtype.str}\0{value.shape}\0".encode())
        result.update(value.tobytes())
    return result.digest()


def _whole_digest(inputs: Arrays, labels: Arrays, row: int) -> bytes:
    truth = {f"labels.{name}" if name else "labels": value for name, value in labels.items()}
    return sample_digest({**inputs, **truth}, row)


def _length(arrays: Arrays) -> int:
    return len(next(iter(arrays.values())))


def _head(arrays: Arrays, rows: int) -> Arrays:
    return {name: value[:rows] for name, value in arrays.items()}
