"""Define the interface of data sets: batches in a fixed order, a digest of the content, a digest of each sample."""

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

    from hil.datasets.feeding import Feeding
    from hil.datasets.sequence import Sequence

Arrays = dict[str, "np.ndarray"]

FINGERPRINT = 8
"""Number of bytes of each sample's digest that are stored, to detect a source that changes between passes."""


@dataclass(frozen=True)
class Batch:
    """The samples from index ``start`` on, along the first dimension of every array.

    Attributes:
        start: the index of the first sample.
        inputs: the arrays of the data, by the input's name.
        labels: the labels by output, with the key ``""`` for the array ``labels``; empty if the data has none.
        fed: the inputs as the model takes them (``hil.datasets.feeding``); ``None`` if ``inputs`` have that form.
        sequence: for a model with a state, each sample is a sequence; these are all its steps, and ``fed`` has only
            the first step. ``None`` for other models.
    """

    start: int
    inputs: Arrays
    labels: Arrays
    fed: Arrays | None = None
    sequence: Sequence | None = None

    @property
    def feeds(self) -> Arrays:
        """The inputs as the model takes them: stacked along each input's batch axis, with the constant inputs."""
        return self.inputs if self.fed is None else self.fed


class Dataset(Protocol):
    """Samples to run a model on. They can be read any number of times and are never all in memory.

    Attributes:
        name: where the samples come from.
        digest: SHA-256 of the content, the preprocessing source and the declarations of the inputs.
        count: the number of samples.
        stride: the number of samples that one call takes; ``None`` if any number is possible.
        synthetic: whether the samples are generated.
        has_labels: whether the samples have labels.
        provenance: other facts about the origin (``source``, ``kind``, ``preprocess``, ``preprocess_digest``).
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see the docstring of the class
    @property
    def digest(self) -> str: ...  # noqa: D102 - see the docstring of the class
    @property
    def count(self) -> int: ...  # noqa: D102 - see the docstring of the class
    @property
    def stride(self) -> int | None: ...  # noqa: D102 - see the docstring of the class
    @property
    def synthetic(self) -> bool: ...  # noqa: D102 - see the docstring of the class
    @property
    def has_labels(self) -> bool: ...  # noqa: D102 - see the docstring of the class
    @property
    def provenance(self) -> Mapping[str, str]: ...  # noqa: D102 - see the docstring of the class

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield batches of ``size`` samples; the last may have fewer. Stop after ``limit`` samples (``None``: all)."""

    def sample_digests(self) -> Iterator[str]:
        """Yield the SHA-256 of each sample over all inputs, without labels. Equal samples have equal digests."""


@dataclass(frozen=True)
class Origin:
    """Where samples come from (``name``, ``provenance``), the name of their model, and how the model is fed."""

    name: str
    model: str
    feeding: Feeding
    provenance: Mapping[str, str]


class Streamed(ABC):
    """Base class of the data sets: it limits the number of samples, checks batch sizes and computes digests."""

    synthetic = False
    chunk = 64
    """Number of samples that are read at a time for digests."""

    checks_repeats = False
    """Whether later passes are compared with the pass that computed ``digest``: user code may return other samples."""

    def __init__(self, origin: Origin) -> None:
        """Store the origin. No sample is read yet."""
        self.name = origin.name
        self.provenance = origin.provenance
        self._model = origin.model
        self._feeding = origin.feeding
        self._fingerprints: array[int] | None = None
        self._of_inputs: bytes | None = None  # the first pass's digests of samples, where each pass runs code

    @property
    def stride(self) -> int | None:
        """Number of samples in one call; ``None`` if any number is possible."""
        return self._feeding.stride

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of samples; at least one."""

    @property
    @abstractmethod
    def has_labels(self) -> bool:
        """Whether batches have labels."""

    @abstractmethod
    def _read(self, size: int) -> Iterator[tuple[Arrays, Arrays]]:
        """Yield the inputs and the labels of all samples, ``size`` samples at a time."""

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield batches of ``size`` samples; the last may have fewer.

        Stop after ``limit`` samples (``None``: all).

        Raise ``UserError`` if a batch would not have the model's fixed batch size, if the source does not return
        ``count`` samples, or if ``checks_repeats`` is true and a sample differs from the first pass.
        """
        count_needed = self.count if limit is None else min(limit, self.count)
        self._check_batch(size, count_needed)
        start = 0
        for inputs, labels in self._read(size):
            rows = min(_length(inputs), count_needed - start)
            if rows < _length(inputs) and count_needed == self.count:
                raise UserError(self._changed(count_needed))
            head = _head(inputs, rows)
            sequence = self._feeding.sequence(head, start)
            fed = self._feeding.feeds(head, start) if sequence is None else {**sequence.step(0), **sequence.begin}
            batch = Batch(start, head, _head(labels, rows), fed, sequence)
            if self.checks_repeats and self._fingerprints is not None:
                self._check_repeats(batch, self._fingerprints)
            yield batch
            start += rows
            if start >= count_needed and count_needed < self.count:
                return
        if start < count_needed:
            raise UserError(self._changed(start))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all samples with their labels (name, dtype, shape and bytes).

        It also covers the source code of the preprocessing, and declarations that change how inputs are fed.
        """
        total = sha256()
        fingerprints, of_inputs = array("Q"), bytearray()
        for inputs, labels in self._read(self.chunk):
            for row in range(_length(inputs)):
                sample = _whole_digest(inputs, labels, row)
                fingerprints.frombytes(sample[:FINGERPRINT])
                total.update(sample)
                if self.checks_repeats:
                    of_inputs += sample_digest(inputs, row)
        total.update(self.provenance.get("preprocess_digest", "").encode())
        total.update(self._feeding.digest)
        self._fingerprints = fingerprints
        self._of_inputs = bytes(of_inputs) if self.checks_repeats else None
        return total.hexdigest()

    def sample_digests(self) -> Iterator[str]:
        """Yield the SHA-256 of each sample over all inputs, without labels, as hexadecimal text."""
        if self._of_inputs is not None:
            size = sha256().digest_size
            yield from (self._of_inputs[at : at + size].hex() for at in range(0, len(self._of_inputs), size))
            return
        for inputs, _ in self._read(self.chunk):
            for row in range(_length(inputs)):
                yield sample_digest(inputs, row).hex()

    def _check_batch(self, size: int, wanted: int) -> None:
        fixed = self._feeding.fixed
        if fixed is None:
            return
        what = f"model {self._model}: {self._feeding.fixed_inputs()} fixed at batch {fixed}"
        if size != fixed:
            raise UserError(f"batch = {size}, but {what}: write batch = {fixed} under [models.{self._model}]")
        if wanted % fixed:
            raise UserError(
                f"{wanted} samples of {self.name} leave {wanted % fixed} over, but {what}: "
                f"give a multiple of {fixed}, e.g. samples = {wanted - wanted % fixed or fixed}"
            )

    def _check_repeats(self, batch: Batch, fingerprints: array[int]) -> None:
        for row in range(_length(batch.inputs)):
            index = batch.start + row
            fingerprint = _whole_digest(batch.inputs, batch.labels, row)[:FINGERPRINT]
            if fingerprints[index : index + 1].tobytes() != fingerprint:
                raise UserError(self._changed(index))

    def _changed(self, index: int) -> str:
        return (
            f"sample {index} of {self.name} differs from the pass before: model {self._model}: "
            "return the same samples in the same order each time (seed random generators)"
        )


def sample_digest(arrays: Mapping[str, np.ndarray], row: int) -> bytes:
    """Return the SHA-256 of one row of each array: name, dtype, shape and bytes, in the order of the names."""
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
