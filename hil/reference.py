"""Reference outputs: FP32 under ONNX Runtime's CPU provider, or what the user saved from training.

Outputs are streamed to disk, once for each (model, data, batch, version), and read back batch by batch:
neither costs the memory of more than a batch.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hil.datasets import polygraphy
from hil.datasets.npz import NpzArrays
from hil.errors import UserError
from hil.files import file_digest
from hil.measure import digest_of
from hil.ortwords import explained

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import onnxruntime

    from hil.datasets.base import Batch, Dataset

    Outputs = list[tuple[str, np.ndarray]]

FORMAT = 1
"""Version of the cache's layout: a folder a key; a file an output, of one ``.npy`` record a batch; an index."""

INDEX = "index.json"


class Reference(Protocol):
    """What an engine's outputs are compared with.

    ``names`` are the outputs, ``count`` the samples, ``digest`` identifies the values, ``source`` says in
    words where they come from.
    """

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102 - told above
    @property
    def count(self) -> int: ...  # noqa: D102 - told above
    @property
    def digest(self) -> str: ...  # noqa: D102 - told above
    @property
    def source(self) -> str: ...  # noqa: D102 - told above

    def batches(self, size: int, limit: int | None = None) -> Iterator[Outputs]:
        """Outputs of ``size`` samples at a time (fewer at the end), up to ``limit`` samples, in order."""


@dataclass(frozen=True)
class SavedReference:
    """Outputs that the user saved: whatever the file holds, so that what differs fails as parity.

    Names, dtypes and lengths are not checked here; only a file that cannot be read is a ``UserError``.
    """

    path: Path
    names: tuple[str, ...]
    count: int
    digest: str
    source: str

    def batches(self, size: int, limit: int | None = None) -> Iterator[Outputs]:
        """As ``Reference.batches``; an array that ends before the others stops being given."""
        arrays = NpzArrays(self.path)
        streams = {name: arrays.rows(size, {name}) for name in self.names}
        total = self.count if limit is None else min(limit, self.count)
        for start in range(0, total, size):
            rows = min(size, total - start)
            found = ((name, next(stream, {}).get(name)) for name, stream in streams.items())
            yield [(name, array[:rows]) for name, array in found if array is not None]


@dataclass(frozen=True)
class CachedReference:
    """Outputs that ONNX Runtime gave: a file an output, in it one ``.npy`` record for each batch."""

    folder: Path
    files: tuple[tuple[str, str], ...]
    names: tuple[str, ...]
    count: int
    batch: int
    digest: str
    source: str

    def batches(self, size: int, limit: int | None = None) -> Iterator[Outputs]:
        """As ``Reference.batches``. Raises ``UserError`` for another batch size than the outputs were made with."""
        if size != self.batch:
            raise UserError(f"the reference was run with batch {self.batch}, batch {size} is asked: use the same")
        total = self.count if limit is None else min(limit, self.count)
        with ExitStack() as stack:
            streams = [(name, stack.enter_context((self.folder / file).open("rb"))) for name, file in self.files]
            for start in range(0, total, size):
                ran, wanted = min(size, self.count - start), min(size, total - start)
                batch = [(name, np.lib.format.read_array(stream, allow_pickle=False)) for name, stream in streams]
                yield [(n, array[:wanted] if array.ndim and len(array) == ran else array) for n, array in batch]


def open_reference(  # noqa: PLR0913, PLR0917 - where it comes from, and where it is kept
    model: Path, dataset: Dataset, batch: int, cache_dir: Path, saved: Path | None = None, limit: int | None = None
) -> Reference:
    """The reference of ``model`` on ``dataset``: ``saved`` outputs if given, else ONNX Runtime's.

    ``batch`` is how many samples one run takes, ``limit`` the most samples run. Raises ``UserError`` for a
    file that cannot be read or inputs the model refuses, ``EngineBuildError`` for an operator that ONNX
    Runtime lacks.
    """
    if saved is not None:
        return _saved(polygraphy.converted(saved, cache_dir) if saved.suffix == polygraphy.SUFFIX else saved, saved)
    import onnxruntime  # noqa: PLC0415 - heavy

    facts = {
        "format": FORMAT,
        "model": file_digest(model),
        "data": dataset.digest,
        "batch": batch,
        "limit": limit,
        "onnxruntime": onnxruntime.__version__,
    }
    folder = cache_dir / "reference" / digest_of(facts)
    return _opened(folder) or _made(folder, facts, model, dataset.batches(batch, limit))


def _saved(path: Path, told: Path) -> SavedReference:
    arrays = NpzArrays(path)
    lengths = [arrays.header(name)[1][0] for name in arrays.names]
    count = max(lengths, default=0)
    return SavedReference(path, arrays.names, count, file_digest(path), f"outputs saved in {told.name}")


def _opened(folder: Path) -> CachedReference | None:
    """The cached outputs, or ``None`` where there are none or a file is not what the index says."""
    try:
        index = json.loads((folder / INDEX).read_text())
        files = [(str(entry["name"]), str(entry["file"])) for entry in index["outputs"]]
        whole = all(file_digest(folder / entry["file"]) == entry["sha256"] for entry in index["outputs"])
        count, batch = int(index["count"]), int(index["facts"]["batch"])
        digest, source = str(index["digest"]), str(index["source"])
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None
    if not whole or any(Path(file).name != file for _, file in files):
        return None
    return CachedReference(folder, tuple(files), tuple(name for name, _ in files), count, batch, digest, source)


def _made(folder: Path, facts: dict[str, Any], model: Path, batches: Iterator[Batch]) -> CachedReference:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
        try:
            names, count = _run(model, batches, making)
            _index(making, facts, names, count)
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # somebody else was first: theirs is as good
                making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"cannot keep the reference of model {model.stem} in {folder.parent} ({error.strerror or error}): "
            "make room there"
        ) from None
    made = _opened(folder)
    if made is None:
        raise UserError(f"the reference of model {model.stem} in {folder} is damaged: remove that folder")
    return made


def _index(making: Path, facts: dict[str, Any], names: Sequence[str], count: int) -> None:
    files = [f"{number}.npy" for number in range(len(names))]
    outputs = [
        {"name": name, "file": file, "sha256": file_digest(making / file)}
        for name, file in zip(names, files, strict=True)
    ]
    index = {
        "facts": facts,
        "outputs": outputs,
        "count": count,
        "digest": digest_of({"outputs": outputs}),
        "source": f"FP32 under ONNX Runtime {facts['onnxruntime']} on the host's CPU",
    }
    (making / INDEX).write_text(json.dumps(index, indent=1))


def _run(model: Path, batches: Iterator[Batch], folder: Path) -> tuple[list[str], int]:
    session = cpu_session(model)
    names = [output.name for output in session.get_outputs()]
    count = 0
    with ExitStack() as stack:
        streams = [stack.enter_context((folder / f"{number}.npy").open("wb")) for number in range(len(names))]
        for batch in batches:
            try:
                results = session.run(names, batch.inputs)
            except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no class of their own
                raise explained(error, model, "while running the reference") from None
            for name, stream, array in zip(names, streams, results, strict=True):
                if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
                    raise UserError(f"output {name!r} of model {model.stem} is no array of numbers: it has no parity")
                np.lib.format.write_array(stream, array, allow_pickle=False)
            count += len(next(iter(batch.inputs.values())))
    if not count:
        raise UserError(f"the data of model {model.stem} has no samples: there is nothing to compare with")
    return names, count


def cpu_session(model: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, silent. Raises ``UserError`` or ``EngineBuildError`` in one line."""
    import onnxruntime  # noqa: PLC0415 - heavy

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # it would keep the largest batch's memory for good
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - as above
        raise explained(error, model, "to load it") from None
