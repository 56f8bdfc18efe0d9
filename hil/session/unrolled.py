"""Turn sequences into single steps, each with the state that the reference has before it.

Such a step is an ordinary sample of a model without a state, by which INT8 ranges are found and audited.
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

VERSION = 1


def unrolled(onnx: Path, signature: Signature, data: Dataset, cache: Path, model: str) -> Dataset:
    """Return the steps of all sequences of ``data``, in their order, with the reference's states; kept below ``cache``.

    ``onnx`` is the model's file and ``model`` its name. Return ``data`` itself for a model without a state. Raise
    ``UserError`` or ``EngineBuildError`` as ``open_reference`` does, and if the steps cannot be stored.
    """
    if not signature.carry:
        return data
    size = data.stride or 1
    reference = open_reference(onnx, data, size, cache / "reference")
    facts = {"version": VERSION, "data": data.digest, "reference": reference.digest, "carry": signature.carry}
    path = cache / "unrolled" / f"{digest_of(facts)}.npz"
    if not path.is_file():
        pairs = zip(data.batches(size), reference.batches(size), strict=True)
        _write(path, (_steps(signature, batch, dict(outputs)) for batch, outputs in pairs), model)
    plain = replace(signature, inputs=tuple(replace(one, carry=None) for one in signature.inputs))
    matcher = Matcher(plain, model=model, source=data.name)
    dataset = NpzDataset(NpzArrays(path), matcher, Origin(data.name, model, Feeding(plain, model), data.provenance))
    dataset.synthetic = data.synthetic
    return dataset


def _steps(signature: Signature, batch: Batch, outputs: Arrays) -> Arrays:
    """Return the steps of a batch of sequences as samples, ``[sequences x steps, …]``, one sequence after the other."""
    sequence = batch.sequence
    assert sequence is not None  # noqa: S101 - the model has a state; for the type checker
    arrays = {name: array for name, array in batch.inputs.items() if name not in sequence.carry}
    for name, states in sequence.states(outputs).items():
        axis = signature.input(name).batch_axis
        rows = len(next(iter(batch.inputs.values())))
        arrays[name] = np.repeat(states[None], rows, axis=0) if axis is None else np.moveaxis(states, axis + 1, 0)
    return {name: array.reshape(-1, *array.shape[2:]) for name, array in arrays.items()}


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
            np.savez(Path(folder) / "all.npz", allow_pickle=False, **arrays)
            (Path(folder) / "all.npz").replace(path)
    except OSError as error:
        raise UserError(
            f"cannot store the steps of model {model} in {path.parent} ({error.strerror or error}): free some space "
            "there"
        ) from None
