"""Two ONNX files side by side under ONNX Runtime's CPU provider: no config, no target, as little as it takes.

One session at a time: the reference's outputs wait on disk, so that neither models nor data are held twice.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from hil.checks.comparison import Comparison, Outputs
from hil.datasets.npz import NpzArrays
from hil.errors import UserError
from hil.onnx_files.external_data import addressed, external_files
from hil.onnx_files.ort_errors import explained
from hil.onnx_files.reference import cpu_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.config.spec import Precision

LABELS = "labels"
"""Arrays of this name, or of one that begins with it and a dot, are the truth and no input."""


def compare(model: Path, engine: Path, data: Path, precision: Precision, batch: int = 1) -> Comparison:
    """Every sample of ``data`` through both files, ``batch`` at a time, compared by the tolerances of ``precision``.

    Raises ``UserError`` for files that cannot be read and data that does not fit the inputs, ``EngineBuildError`` for
    an operator that ONNX Runtime lacks. What differs in names, shapes or dtypes of the outputs is the comparison's
    verdict.
    """
    with tempfile.TemporaryFile() as kept, tempfile.TemporaryDirectory(prefix="hil-parity-") as folder:
        model, engine = _openable(model, Path(folder)), _openable(engine, Path(folder))
        counts = [_store(kept, outputs) for outputs in _answers(model, data, batch)]
        kept.seek(0)
        expected = (_restored(kept, names) for names in counts)
        found = Comparison(precision, samples=_samples(data), batch=batch)
        return found.consume(expected, _answers(engine, data, batch))


def _openable(model: Path, folder: Path) -> Path:
    """ONNX Runtime opens a model where it lies, unless it is a link and its external data may be anywhere."""
    return addressed(model, folder) if external_files(model) and model.is_symlink() else model


def _samples(data: Path) -> int:
    arrays = NpzArrays(data)
    return max((arrays.header(name)[1][0] for name in arrays.names if not _is_label(name)), default=0)


def _is_label(name: str) -> bool:
    return name == LABELS or name.startswith(f"{LABELS}.")


def _answers(model: Path, data: Path, batch: int) -> Iterator[Outputs]:
    """The outputs of every batch, in order."""
    session = cpu_session(model)
    wanted = {one.name for one in session.get_inputs()}
    names = [one.name for one in session.get_outputs()]
    arrays = NpzArrays(data)
    missing = sorted(wanted - set(arrays.names))
    if missing:
        there = ", ".join(arrays.names)
        raise UserError(
            f"{data} has no array {missing[0]!r}, an input of model {model.stem}: name it so (there are {there})"
        )
    for rows in arrays.rows(batch, wanted):
        try:
            results = session.run(names, rows)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no class of their own
            raise explained(error, model, f"on the samples of {data.name}") from None
        for name, array in zip(names, results, strict=True):
            if not isinstance(array, np.ndarray):
                raise UserError(f"output {name!r} of model {model.stem} is no tensor: it has no parity")
        yield list(zip(names, results, strict=True))


def _store(file: IO[bytes], outputs: Outputs) -> list[str]:
    for _, array in outputs:
        np.lib.format.write_array(file, array, allow_pickle=False)
    return [name for name, _ in outputs]


def _restored(file: IO[bytes], names: list[str]) -> list[tuple[str, Any]]:
    return [(name, np.lib.format.read_array(file, allow_pickle=False)) for name in names]
