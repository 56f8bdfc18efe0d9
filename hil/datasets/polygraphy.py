"""Convert inputs and outputs saved by Polygraphy from JSON to ``.npz``, once per content.

The files are those of ``polygraphy run --save-inputs`` and ``--save-outputs``, versions 0.49 to 0.53. Each iteration is
a batch of samples. Pickled objects and PyTorch's format are refused.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hil.datasets.npz import write_npz
from hil.dtypes import for_file, from_file
from hil.errors import UserError
from hil.files.digests import file_digest, writing
from hil.files.sealing import is_sealed, seal

SUFFIX = ".json"
MOST = 2**31
"""The maximum size of a file in bytes; the conversion reads the whole file into memory."""

FORMAT = 1
_REFERENCE = "onnxrt"


def converted(path: Path, folder: Path) -> Path:
    """Return the ``.npz`` file in ``folder`` with the content of ``path``, converted unless an intact one exists.

    Of several runs in ``path``, the only one of ONNX Runtime is used. Raise ``UserError`` if there is no such run, if
    iterations have different arrays, or if Polygraphy did not write the file; ``LabError`` if the disk is full.
    """
    made = folder / "polygraphy" / f"{FORMAT}-{file_digest(path)}.npz"
    note = made.with_suffix(".seal")
    if not _is_intact(made, note):
        arrays = _joined(path, _iterations(path))
        with writing(made.parent, "write cache = 'FOLDER' under [project] in hil.toml"):
            handle, name = tempfile.mkstemp(prefix=".making-", dir=made.parent)
            try:
                with os.fdopen(handle, "wb") as stream:
                    write_npz(stream, arrays)
                note.write_text(seal({"file": made.name, "sha256": file_digest(Path(name))}))
                Path(name).replace(made)
            finally:
                Path(name).unlink(missing_ok=True)
    return made


def _is_intact(made: Path, note: Path) -> bool:
    try:
        return is_sealed({"file": made.name, "sha256": file_digest(made)}, note.read_text())
    except (OSError, UserError, ValueError):
        return False


def _iterations(path: Path) -> list[dict[str, Any]]:
    """Return the arrays of each iteration by name, as JSON values."""
    if path.stat().st_size > MOST:
        raise _wrong(path, f"is over {MOST >> 30} GiB", "save the arrays with numpy.savez instead")
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _wrong(path, f"is not JSON ({error})", "save it again with --save-inputs or --save-outputs") from None
    if isinstance(content, list):
        return [_named(path, one) for one in content]
    if isinstance(content, dict) and content.get("polygraphy_class") == "RunResults":
        return [_named(path, one.get("outputs") if isinstance(one, dict) else None) for one in _run(path, content)]
    raise _wrong(path, "is neither inputs nor results of Polygraphy", "save it with --save-inputs or --save-outputs")


def _run(path: Path, content: dict[str, Any]) -> list[Any]:
    """Return the iterations of the only run or, if there are several, of the only run of ONNX Runtime."""
    runs = content.get("lst")
    # Each run is a pair: [runner name, iterations].
    if not isinstance(runs, list) or not runs or not all(isinstance(one, list) and len(one) == 2 for one in runs):
        raise _wrong(path, "has no run in it", "save it again with polygraphy run --save-outputs")
    chosen = runs if len(runs) == 1 else [one for one in runs if str(one[0]).startswith(_REFERENCE)]
    if len(chosen) != 1:
        names = ", ".join(str(one[0]) for one in runs)
        raise _wrong(
            path, f"holds the runs of {names}, of which exactly one must be of ONNX Runtime", "save only one of them"
        )
    iterations = chosen[0][1]
    return iterations if isinstance(iterations, list) else []


def _named(path: Path, iteration: Any) -> dict[str, Any]:
    if not isinstance(iteration, dict) or not iteration:
        raise _wrong(path, "has an iteration without arrays", "save it again with Polygraphy")
    return iteration


def _joined(path: Path, iterations: list[dict[str, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of all iterations, concatenated along the first dimension."""
    if not iterations:
        raise _wrong(path, "has no iteration in it", "save at least one with Polygraphy")
    names = list(iterations[0])
    if any(list(one) != names for one in iterations):
        raise _wrong(path, "has iterations with different names", "save iterations of one model")
    arrays = {}
    for name in names:
        parts = [_array(path, name, one[name]) for one in iterations]
        like = {(part.dtype, part.shape[1:]) for part in parts}
        if len(like) != 1 or not parts[0].ndim:
            what = f"has iterations of {name!r} with different shapes or dtypes"
            raise _wrong(path, what, "save samples of one shape and dtype")
        arrays[name] = for_file(np.ascontiguousarray(np.concatenate(parts)))
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise _wrong(path, f"has different numbers of samples: {lengths}", "let the first dimension count samples")
    return arrays


def _array(path: Path, name: str, entry: Any) -> np.ndarray[Any, Any]:
    """Return the array in ``entry``, an item of saved inputs or saved outputs."""
    inner = entry.get("values", entry) if isinstance(entry, dict) else entry
    kind = inner.get("polygraphy_class") if isinstance(inner, dict) else type(inner).__name__
    if kind != "ndarray" or not isinstance(inner.get("array"), str):
        raise _wrong(path, f"has {name!r} as {kind}, not as a numpy array", "save numpy arrays")
    try:
        return _npy(base64.b64decode(inner["array"], validate=True))
    except (binascii.Error, ValueError, EOFError, OSError) as error:
        raise _wrong(path, f"has a damaged array {name!r} ({error})", "save it again with Polygraphy") from None


def _npy(data: bytes) -> np.ndarray[Any, Any]:
    stream = io.BytesIO(data)
    array: np.ndarray[Any, Any] = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1):
        raise ValueError("bytes after its end")
    return from_file(array)


def _wrong(path: Path, what: str, remedy: str) -> UserError:
    return UserError(f"{path} {what}: {remedy}")
