"""Compare the outputs of two ONNX files under ONNX Runtime's CPU provider, without a config or a target.

The two files run one after the other, to save memory: the outputs of the first are stored on disk meanwhile.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from hil.checks.comparison import Comparison, Outputs
from hil.datasets.npz import NpzArrays
from hil.dtypes import for_file, from_file
from hil.errors import UserError
from hil.onnx_files.dimension_names import separated, unequal
from hil.onnx_files.external_data import openable
from hil.onnx_files.host_run import run_on_host
from hil.onnx_files.ort_errors import ort_error
from hil.onnx_files.reference import cpu_session
from hil.onnx_files.signature import read_signature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.config.spec import Precision

LABELS = "labels"
"""Arrays named ``labels`` or ``labels.NAME`` are ground truth, not inputs."""


def compare(model: Path, engine: Path, data: Path, precision: Precision, batch: int = 1) -> Comparison:
    """Run every sample of the .npz file ``data`` through both files, ``batch`` at a time, and compare the outputs.

    ``precision`` selects the tolerances. If names, shapes or dtypes of the outputs differ, nothing is raised, and the
    comparison fails. Raises ``UserError`` if a file cannot be read or ``data`` does not fit the inputs, and
    ``EngineBuildError`` for an operator that ONNX Runtime lacks.
    """
    with tempfile.TemporaryFile() as stored, tempfile.TemporaryDirectory(prefix="hil-parity-") as folder:
        model, engine = (_openable(file, Path(folder), data, batch) for file in (model, engine))
        names_per_batch = [_store(stored, outputs) for outputs in _outputs(model, data, batch)]
        stored.seek(0)
        expected = (_restored(stored, names) for names in names_per_batch)
        comparison = Comparison(precision, samples=_samples(data), batch=batch)
        return comparison.consume(expected, _outputs(engine, data, batch))


def _openable(model: Path, folder: Path, data: Path, batch: int) -> Path:
    """Return a path at which ONNX Runtime can open and run ``model`` on ``data``; that of a copy is in ``folder``.

    Dimensions of equal names whose sizes differ in ``data`` are separated (``hil.onnx_files.dimension_names``).
    """
    inputs, arrays = read_signature(model).inputs, NpzArrays(data)
    present = set(arrays.names)
    shapes = {one.name: (batch, *arrays.header(one.name)[1][1:]) for one in inputs if one.name in present}
    sizes = {(name, axis): size for name, shape in shapes.items() for axis, size in enumerate(shape)}
    return openable(model, folder, separated(inputs, unequal(inputs, sizes)))


def _samples(data: Path) -> int:
    arrays = NpzArrays(data)
    return max((arrays.header(name)[1][0] for name in arrays.names if not _is_label(name)), default=0)


def _is_label(name: str) -> bool:
    return name == LABELS or name.startswith(f"{LABELS}.")


def _outputs(model: Path, data: Path, batch: int) -> Iterator[Outputs]:
    """Run ``model`` on ``data``, and yield the outputs of each batch, in the order of the batches."""
    session = cpu_session(model)
    inputs = {node.name for node in session.get_inputs()}
    names = [node.name for node in session.get_outputs()]
    arrays = NpzArrays(data)
    missing = sorted(inputs - set(arrays.names))
    if missing:
        present = ", ".join(arrays.names)
        raise UserError(
            f"{data} has no array {missing[0]!r}, an input of model {model.stem}: "
            f"name the array like the input (the file has {present})"
        )
    for rows in arrays.rows(batch, inputs):
        try:
            results = run_on_host(session, names, rows)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors have no common base class
            raise ort_error(error, model, f"on the samples of {data.name}") from None
        for name, array in zip(names, results, strict=True):
            if not isinstance(array, np.ndarray):
                raise UserError(f"output {name!r} of model {model.stem} is not a tensor: it cannot be compared")
        yield list(zip(names, results, strict=True))


def _store(file: IO[bytes], outputs: Outputs) -> list[str]:
    for _, array in outputs:
        np.lib.format.write_array(file, for_file(array), allow_pickle=False)
    return [name for name, _ in outputs]


def _restored(file: IO[bytes], names: list[str]) -> list[tuple[str, Any]]:
    return [(name, from_file(np.lib.format.read_array(file, allow_pickle=False))) for name in names]
