"""Reference outputs: FP32 under ONNX Runtime's CPU provider, or what the user saved from training.

Outputs are streamed to disk, once for each (model, data, batch, version), and read back batch by batch:
neither costs the memory of more than a batch.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from hil.datasets import polygraphy
from hil.datasets.npz import NpzArrays
from hil.errors import UserError
from hil.files.digests import file_digest
from hil.files.sealing import is_sealed, seal
from hil.onnx_files.ort_errors import explained
from hil.series import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnxruntime

    from hil.datasets.dataset import Batch, Dataset

    Outputs = list[tuple[str, np.ndarray]]

FORMAT = 2
"""Version of the cache's layout: a folder a key; a file an output, of one ``.npy`` record a batch; a sealed index."""

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
    """Outputs that ONNX Runtime gave: a file an output, in it one ``.npy`` record for each batch.

    ``files`` are name, file and each record's SHA-256: what is read is hashed before anything is compared with it.
    """

    folder: Path
    files: tuple[tuple[str, str, tuple[str, ...]], ...]
    names: tuple[str, ...]
    count: int
    batch: int
    digest: str
    source: str

    def batches(self, size: int, limit: int | None = None) -> Iterator[Outputs]:
        """As ``Reference.batches``.

        Raises ``UserError`` for another batch size than the outputs were made with, and for outputs that were changed.
        """
        if size != self.batch:
            raise UserError(f"the reference was run with batch {self.batch}, batch {size} is asked: use the same")
        total = self.count if limit is None else min(limit, self.count)
        with ExitStack() as stack:
            streams = [stack.enter_context((self.folder / file).open("rb")) for _, file, _ in self.files]
            for number, start in enumerate(range(0, total, size)):
                ran, wanted = min(size, self.count - start), min(size, total - start)
                batch = [
                    (name, self._read(file, stream, records[number : number + 1]))
                    for (name, file, records), stream in zip(self.files, streams, strict=True)
                ]
                yield [(n, array[:wanted] if array.ndim and len(array) == ran else array) for n, array in batch]

    def _read(self, file: str, stream: IO[bytes], expected: tuple[str, ...]) -> np.ndarray[Any, Any]:
        hashed = _Hashed(stream)
        try:
            array = np.lib.format.read_array(hashed, allow_pickle=False)
        except (ValueError, OSError) as error:
            raise UserError(f"{self.folder / file} cannot be read ({error}): run again, it is made anew") from None
        if (hashed.state.hexdigest(),) != expected:
            raise UserError(f"{self.folder / file} was changed while the run read it: leave it alone and run again")
        return array


class _Hashed:
    """A file that is hashed as it is read, or as it is written."""

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
    model: Path, dataset: Dataset, batch: int, cache_dir: Path, saved: Path | None = None, limit: int | None = None
) -> Reference:
    """The reference of ``model`` on ``dataset``: ``saved`` outputs if given, else ONNX Runtime's.

    ``batch`` is how many samples one run takes, ``limit`` the most samples run. Raises ``UserError`` for a
    file that cannot be read or inputs the model refuses, ``EngineBuildError`` for an operator that ONNX
    Runtime lacks.
    """
    if saved is not None:
        return _saved(polygraphy.converted(saved, cache_dir) if saved.suffix == polygraphy.SUFFIX else saved, saved)
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
    return _opened(folder, facts) or _made(folder, facts, model, dataset.batches(batch, limit))


def _saved(path: Path, told: Path) -> SavedReference:
    arrays = NpzArrays(path)
    lengths = [arrays.header(name)[1][0] for name in arrays.names]
    count = max(lengths, default=0)
    return SavedReference(path, arrays.names, count, file_digest(path), f"outputs saved in {told.name}")


def _opened(folder: Path, facts: dict[str, Any]) -> CachedReference | None:
    """The cached outputs, or ``None`` where there are none, or not what this user's run wrote for ``facts``."""
    try:
        index = json.loads((folder / INDEX).read_text())
        if index["facts"] != facts or not is_sealed({**index, "seal": None}, index["seal"]):
            return None
        outputs = [(one["name"], one["file"], tuple(one["records"])) for one in index["outputs"]]
        names = tuple(name for name, _, _ in outputs)
        digest = digest_of({"outputs": index["outputs"]})
        source = f"FP32 under ONNX Runtime {facts['onnxruntime']} on the host's CPU"
        found = CachedReference(folder, tuple(outputs), names, index["count"], facts["batch"], digest, source)
        for _ in found.batches(found.batch):  # one that is damaged is made again, now
            pass
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None
    return found


def _made(folder: Path, facts: dict[str, Any], model: Path, batches: Iterator[Batch]) -> CachedReference:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
        try:
            index = {"facts": facts, **_run(model, batches, making), "seal": None}
            (making / INDEX).write_text(json.dumps({**index, "seal": seal(index)}, indent=1))
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
    made = _opened(folder, facts)
    if made is None:
        raise UserError(f"the reference of model {model.stem} in {folder} is damaged: remove that folder")
    return made


def _run(model: Path, batches: Iterator[Batch], folder: Path) -> dict[str, Any]:
    """Writes the outputs; their names, files and records' SHA-256, and how many samples there were."""
    session = cpu_session(model)
    names = [output.name for output in session.get_outputs()]
    count = 0
    outputs = [{"name": name, "file": f"{number}.npy", "records": []} for number, name in enumerate(names)]
    with ExitStack() as stack:
        streams = [stack.enter_context((folder / one["file"]).open("wb")) for one in outputs]
        for batch in batches:
            try:
                results = session.run(names, batch.inputs)
            except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no class of their own
                raise explained(error, model, "while running the reference") from None
            for output, stream, array in zip(outputs, streams, results, strict=True):
                if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
                    what = f"output {output['name']!r} of model {model.stem} is no array of numbers"
                    raise UserError(f"{what}: it has no parity")
                hashed = _Hashed(stream)
                np.lib.format.write_array(hashed, array, allow_pickle=False)
                output["records"].append(hashed.state.hexdigest())
            count += len(next(iter(batch.inputs.values())))
    if not count:
        raise UserError(f"the data of model {model.stem} has no samples: there is nothing to compare with")
    return {"outputs": outputs, "count": count}


def cpu_session(model: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, silent. Raises ``UserError`` or ``EngineBuildError`` in one line."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # it would keep the largest batch's memory for good
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - as above
        raise explained(error, model, "to load it") from None
