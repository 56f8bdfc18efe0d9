"""Reference outputs: FP32 under ONNX Runtime's CPU provider, or outputs that the user saved from training.

ONNX Runtime's outputs are cached on disk by model, data, batch size and version, and read back batch by batch.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from hil.agent.runtimes.onnxruntime import open_session
from hil.datasets import polygraphy
from hil.datasets.npz import NpzArrays
from hil.dtypes import for_file, from_file, is_number
from hil.errors import UserError
from hil.files import npy_records
from hil.files.digests import file_digest
from hil.files.sealing import is_sealed, seal
from hil.onnx_files.host_sequence import run_batch
from hil.onnx_files.ort_errors import ort_error
from hil.series import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import onnxruntime

    from hil.datasets.dataset import Batch, Dataset

    Outputs = list[tuple[str, np.ndarray]]

FORMAT = 2
"""Version of the cache's layout: a folder for each key, with a sealed index and a file for each output."""

INDEX = "index.json"


class Reference(Protocol):
    """The outputs that an engine's outputs are compared with.

    ``names`` are the outputs' names, ``count`` is the number of samples, ``digest`` identifies the values, ``source``
    states where the values come from.
    """

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102 - described above
    @property
    def count(self) -> int: ...  # noqa: D102 - described above
    @property
    def digest(self) -> str: ...  # noqa: D102 - described above
    @property
    def source(self) -> str: ...  # noqa: D102 - described above

    def batches(self, size: int, limit: int | None = None) -> Iterator[Outputs]:
        """Yield the outputs of ``size`` samples at a time (fewer at the end), up to ``limit`` samples, in order."""


@dataclass(frozen=True)
class SavedReference:
    """Outputs that the user saved.

    ``batches`` raises ``UserError`` only if the file cannot be read.

    Attributes:
        path: the ``.npz`` file.
        names: the names of the outputs.
        count: the number of samples.
        digest: the digest of the outputs.
        source: where the outputs come from.
        per_call: whether the model has no batch dimension; each row of an array is then the output of one call.
    """

    path: Path
    names: tuple[str, ...]
    count: int
    digest: str
    source: str
    per_call: bool = False

    def batches(self, size: int, limit: int | None = None) -> Iterator[Outputs]:
        """Yield the same as ``Reference.batches``; batches after the end of an output's array lack that output."""
        arrays = NpzArrays(self.path)
        streams = {name: arrays.rows(size, {name}) for name in self.names}
        total = self.count if limit is None else min(limit, self.count)
        for start in range(0, total, size):
            rows = min(size, total - start)
            arrays_of_batch = ((name, next(stream, {}).get(name)) for name, stream in streams.items())
            batch = [(name, array[:rows]) for name, array in arrays_of_batch if array is not None]
            yield [(name, array.reshape(array.shape[1:])) for name, array in batch] if self.per_call else batch


@dataclass(frozen=True)
class CachedReference:
    """Outputs of ONNX Runtime, cached in one file for each output, with one ``.npy`` record for each batch.

    Attributes:
        folder: the folder of the files.
        files: for each output its name, the name of its file, and the SHA-256 of each record, verified on reading.
        names: the names of the outputs.
        count: the number of samples.
        batch: samples per record.
        digest: the digest of the outputs.
        source: where the outputs come from.
    """

    folder: Path
    files: tuple[tuple[str, str, tuple[str, ...]], ...]
    names: tuple[str, ...]
    count: int
    batch: int
    digest: str
    source: str

    def batches(self, size: int, limit: int | None = None) -> Iterator[Outputs]:
        """Yield as ``Reference.batches`` does; with a state, the outputs of all steps are stacked along a first axis.

        Raise ``UserError`` if ``size`` is not that of the cached outputs, or if a file was changed.
        """
        if size != self.batch:
            raise UserError(f"the reference was run with batch {self.batch}, not {size}: use the same batch size")
        total = self.count if limit is None else min(limit, self.count)
        with ExitStack() as stack:
            streams = [stack.enter_context((self.folder / file).open("rb")) for _, file, _ in self.files]
            for number, start in enumerate(range(0, total, size)):
                recorded, rows = min(size, self.count - start), min(size, total - start)
                batch = [
                    (name, self._read(file, stream, records[number : number + 1]))
                    for (name, file, records), stream in zip(self.files, streams, strict=True)
                ]
                yield [(n, array[:rows] if array.ndim and len(array) == recorded else array) for n, array in batch]

    def _read(self, file: str, stream: IO[bytes], expected: tuple[str, ...]) -> np.ndarray[Any, Any]:
        hashed = _Hashed(stream)
        try:
            array = from_file(npy_records.read(hashed))
        except (ValueError, OSError) as error:
            raise UserError(f"{self.folder / file} cannot be read ({error}): run again to recreate it") from None
        if (hashed.state.hexdigest(),) != expected:
            raise UserError(f"{self.folder / file} was changed while the run read it: do not change it, and run again")
        return array


class _Hashed:
    """A stream that hashes the bytes that are read from it or written to it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.state = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.state.update(data)
        return data

    def write(self, data: bytes) -> int:
        self.state.update(data)
        return self.stream.write(data)


def open_reference(  # noqa: PLR0913, PLR0917 - where it comes from, and where it is kept
    model: Path,
    dataset: Dataset,
    batch: int,
    cache_dir: Path,
    saved: Path | None = None,
    limit: int | None = None,
    watched: Callable[[Iterator[Batch]], Iterator[Batch]] = iter,
    *,
    per_call: bool = False,
) -> Reference:
    """Return the reference: the outputs in the file ``saved`` if it is given, otherwise those of ONNX Runtime.

    ONNX Runtime runs ``model`` on the first ``limit`` samples of ``dataset`` (``None``: all), ``batch`` samples per
    inference, and caches the outputs below ``cache_dir``. ``watched`` wraps the iterator of the batches. ``per_call``
    is as in ``SavedReference``. Raise ``UserError`` for an unreadable file, data without samples or a full disk,
    ``EngineBuildError`` if ONNX Runtime fails.
    """
    if saved is not None:
        path = polygraphy.converted(saved, cache_dir) if saved.suffix == polygraphy.SUFFIX else saved
        return replace(_open_saved(path, saved), per_call=per_call)
    import onnxruntime

    facts = {
        "format": FORMAT,
        "model": file_digest(model),
        "data": dataset.digest,
        "batch": batch,
        "limit": limit,
        "onnxruntime": onnxruntime.__version__,
    }
    folder = cache_dir / "reference" / digest_of(facts)
    return _open_cached(folder, facts) or _create(folder, facts, model, watched(dataset.batches(batch, limit)))


def _open_saved(path: Path, original: Path) -> SavedReference:
    arrays = NpzArrays(path)
    lengths = [arrays.header(name)[1][0] for name in arrays.names]
    count = max(lengths, default=0)
    return SavedReference(path, arrays.names, count, file_digest(path), f"outputs saved in {original.name}")


def _open_cached(folder: Path, facts: dict[str, Any]) -> CachedReference | None:
    """Return the outputs cached in ``folder`` for ``facts`` (model, data, batch, versions).

    Return ``None`` if there are none or if they do not match their seal and digests.
    """
    try:
        index = json.loads((folder / INDEX).read_text())
        if index["facts"] != facts or not is_sealed({**index, "seal": None}, index["seal"]):
            return None
        outputs = [(output["name"], output["file"], tuple(output["records"])) for output in index["outputs"]]
        names = tuple(name for name, _, _ in outputs)
        digest = digest_of({"outputs": index["outputs"]})
        source = f"FP32 under ONNX Runtime {facts['onnxruntime']} on the host's CPU"
        cached = CachedReference(folder, tuple(outputs), names, index["count"], facts["batch"], digest, source)
        for _ in cached.batches(cached.batch):  # verifies every record, so that a damaged one is created again now
            pass
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None
    return cached


def _create(folder: Path, facts: dict[str, Any], model: Path, batches: Iterator[Batch]) -> CachedReference:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
        try:
            index = {"facts": facts, **_run(model, batches, making), "seal": None}
            (making / INDEX).write_text(json.dumps({**index, "seal": seal(index)}, indent=1))
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # another process has just created the same folder
                making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"cannot store the reference outputs of model {model.stem} in {folder.parent} ({error.strerror or error}): "
            "free some space there"
        ) from None
    cached = _open_cached(folder, facts)
    if cached is None:
        raise UserError(f"the reference of model {model.stem} in {folder} is damaged: remove that folder")
    return cached


def _run(model: Path, batches: Iterator[Batch], folder: Path) -> dict[str, Any]:
    """Run the model and write its outputs to ``folder``.

    Return ``outputs`` (name, file and the records' SHA-256 of each output) and ``count`` (the number of samples).
    """
    session = cpu_session(model)
    names = [output.name for output in session.get_outputs()]
    count = 0
    outputs = [{"name": name, "file": f"{number}.npy", "records": []} for number, name in enumerate(names)]
    with ExitStack() as stack:
        streams = [stack.enter_context((folder / output["file"]).open("wb")) for output in outputs]
        for batch in batches:
            try:
                results = run_batch(session, names, batch)
            except UserError as error:
                raise UserError(f"model {model.stem}: {error}") from None
            except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no class of their own
                raise ort_error(error, model, "while running the reference") from None
            for output, stream, array in zip(outputs, streams, results, strict=True):
                if not isinstance(array, np.ndarray) or not is_number(array.dtype):
                    what = f"output {output['name']!r} of model {model.stem} is not an array of numbers"
                    raise UserError(f"{what}, so parity cannot be judged: export the model without this output")
                hashed = _Hashed(stream)
                npy_records.write(hashed, for_file(array))
                output["records"].append(hashed.state.hexdigest())
            count += len(next(iter(batch.inputs.values())))
    if not count:
        raise UserError(f"the data of model {model.stem} has no samples, so it has no reference outputs: add samples")
    return {"outputs": outputs, "count": count}


def cpu_session(model: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session on the CPU that logs nothing; raise what ``ort_error`` returns if it cannot load.

    ``threads`` is the number of threads within an operator, ``None`` for ONNX Runtime's default.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # it would never release the memory of the largest batch
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return open_session(str(model), options)
    except Exception as error:  # noqa: BLE001 - as above
        raise ort_error(error, model, "to load it") from None
