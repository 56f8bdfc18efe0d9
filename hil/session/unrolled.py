"""Turn sequences into single steps, each with the state that the reference has before it.

INT8 ranges are calibrated and audited with these steps.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.datasets import NpzArrays
from hil.datasets.dataset import Origin
from hil.datasets.feeding import Feeding
from hil.datasets.fit_check import Matcher
from hil.datasets.npz import write_npz
from hil.datasets.npz_samples import NpzDataset
from hil.dtypes import for_file
from hil.errors import UserError
from hil.onnx_files.reference import open_reference
from hil.series import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.datasets import Batch, Dataset
    from hil.onnx_files.signature import Signature

    Arrays = dict[str, np.ndarray[Any, Any]]

VERSION = 2

GOLDEN = 0.6180339887498949
"""The fraction of the golden ratio: its multiples modulo 1 lie evenly in [0, 1), whatever their number."""


def unrolled(  # noqa: PLR0913 - a model, data, a place for the result, and how many steps
    onnx: Path, signature: Signature, data: Dataset, cache: Path, model: str, *, samples: int | None = None
) -> Dataset:
    """Return steps of the sequences of ``data``, in their order, each with the reference's state before it.

    ``onnx`` is the model's file, ``model`` its name, ``cache`` the folder where steps are stored. ``samples`` is the
    number of steps to return, spread over all sequences (``None``: all). Return ``data`` itself for a model without a
    state. Raise ``UserError`` or ``EngineBuildError`` as ``open_reference`` does, and ``UserError`` if the steps cannot
    be stored.
    """
    if not signature.carry:
        return data
    size = data.stride or 1
    reference = open_reference(onnx, data, size, cache / "reference")
    facts = {"version": VERSION, "data": data.digest, "reference": reference.digest, "carry": signature.carry}
    facts |= {"samples": samples}
    path = cache / "unrolled" / f"{digest_of(facts)}.npz"
    if not path.is_file():
        chosen = None if samples is None else spread(_lengths(data, size), samples)
        pairs = zip(data.batches(size), reference.batches(size), strict=True)
        _write(path, (_steps(signature, batch, dict(outputs), chosen) for batch, outputs in pairs), model)
    plain = replace(signature, inputs=tuple(replace(one, carry=None) for one in signature.inputs))
    matcher = Matcher(plain, model=model, source=data.name)
    dataset = NpzDataset(NpzArrays(path), matcher, Origin(data.name, model, Feeding(plain, model), data.provenance))
    dataset.synthetic = data.synthetic
    return dataset


def spread(lengths: list[int], samples: int) -> list[np.ndarray[Any, Any]]:
    """Choose ``samples`` steps of sequences with these ``lengths``, or all steps if there are at most ``samples``.

    Return for each sequence the increasing numbers of its chosen steps. Longer sequences get proportionally more steps,
    which are spread over the sequence.
    """
    ends = np.cumsum(lengths)
    counts = np.diff((ends * min(samples, int(ends[-1]))) // int(ends[-1]), prepend=0)
    taken, result = 0, []
    for length, count in zip(lengths, counts, strict=True):
        edges = np.arange(count + 1) * length // max(count, 1)
        places = (np.arange(taken + 1, taken + count + 1) * GOLDEN) % 1
        steps = edges[:-1] + (places * np.diff(edges)).astype(int)
        if count > 1:
            steps[-1] = length - 1
        result.append(steps)
        taken += count
    return result


def _lengths(data: Dataset, size: int) -> list[int]:
    """Return the number of steps of each sequence."""
    made: list[int] = []
    for batch in data.batches(size):
        assert batch.sequence is not None  # noqa: S101 - the model has a state; for the type checker
        made += [len(batch.sequence)] * len(next(iter(batch.inputs.values())))
    return made


def _steps(
    signature: Signature, batch: Batch, outputs: Arrays, chosen: list[np.ndarray[Any, Any]] | None = None
) -> Arrays:
    """Return the steps of a batch of sequences as samples, ``[samples, …]``, one sequence after another.

    ``chosen`` has the numbers of the steps to return for each sequence of the data; ``None`` for all steps.
    """
    sequence = batch.sequence
    assert sequence is not None  # noqa: S101 - the model has a state; for the type checker
    arrays = {name: array for name, array in batch.inputs.items() if name not in sequence.carry}
    for name, states in sequence.states(outputs).items():
        axis = signature.input(name).batch_axis
        rows = len(next(iter(batch.inputs.values())))
        arrays[name] = np.repeat(states[None], rows, axis=0) if axis is None else np.moveaxis(states, axis + 1, 0)
    used: slice | np.ndarray[Any, Any] = slice(None)
    if chosen is not None:
        count = len(sequence)
        parts = chosen[batch.start : batch.start + len(next(iter(batch.inputs.values())))]
        used = np.concatenate([row * count + steps for row, steps in enumerate(parts)])
    return {name: array.reshape(-1, *array.shape[2:])[used] for name, array in arrays.items()}


def _write(path: Path, parts: Iterator[Arrays], model: str) -> None:
    """Write the parts one after another to an ``.npz`` file; only one of them is in memory."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=path.parent) as folder:
            shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
            count = 0
            for part in parts:
                for number, (name, array) in enumerate(part.items()):
                    kept = np.ascontiguousarray(for_file(array))
                    shapes[name] = kept.dtype, kept.shape[1:]
                    with (Path(folder) / str(number)).open("ab") as file:
                        file.write(kept.tobytes())
                count += len(next(iter(part.values())))
            arrays = {
                name: np.memmap(Path(folder) / str(number), dtype, "r", shape=(count, *shape))
                for number, (name, (dtype, shape)) in enumerate(shapes.items())
            }
            write_npz(Path(folder) / "all.npz", arrays)
            (Path(folder) / "all.npz").replace(path)
    except OSError as error:
        raise UserError(
            f"cannot store the steps of model {model} in {path.parent} ({error.strerror or error}): free space there, "
            "or make the folder writable"
        ) from None
