"""The external data files of an ONNX model: the weights that its file names by location and does not contain.

An *addressed* model names each of them by the SHA-256 of its content, so that one digest, the ONNX file's, covers all.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hil.errors import UserError
from hil.files.digests import CHUNK, file_digest
from hil.onnx_files.signature import read_proto

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import onnx

EXPORT = "export it again with its weights beside it"
DIGEST = re.compile("[0-9a-f]{64}")
INLINE = 2**31 - 2**28
"""Most bytes of weights that are written into an ONNX file: it may have 2 GiB, and has more than weights in it."""

SMALL = 1024
"""Bytes of a tensor from which on it is written outside; ``onnx`` has the same default."""


@dataclass(frozen=True)
class ExternalFile:
    """One external data file.

    ``location`` is as the ONNX file writes it (POSIX, relative to its folder), ``path`` the file on this machine.
    """

    location: str
    path: Path


def external_files(model: Path) -> tuple[ExternalFile, ...]:
    """Return the external data files that ``model`` names, each once, sorted by location; ``()`` where it has none.

    Every tensor counts: initializers, attributes, subgraphs and local functions. No weights are read. A location
    is looked up beside ``model``, and beside the file that ``model`` is a link to if it is a link. Raise
    ``UserError`` for a model that cannot be read, and for a location that is absent, absolute, outside of the
    model's folder, no regular file or shorter than its tensors. Only of a model that is a link may they be links
    out of the folder.
    """
    return external_files_of(read_proto(model), model)


def external_files_of(proto: onnx.ModelProto, model: Path) -> tuple[ExternalFile, ...]:
    """As ``external_files``, of a model that is read already (without its weights)."""
    needed: dict[str, int] = {}
    for tensor in external_tensors(proto):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        needed[location] = max(needed.get(location, 0), _end(tensor, entries, model))
    return tuple(ExternalFile(location, _found(model, location, needed[location])) for location in sorted(needed))


def external_tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Yield each tensor with external data, at whatever depth of a model, a graph or a node."""
    if message.DESCRIPTOR.name == "TensorProto":
        if message.data_location == message.EXTERNAL:
            yield message
        return  # what else it has are its values
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from external_tensors(one)


def _end(tensor: onnx.TensorProto, entries: dict[str, str], model: Path) -> int:
    """The bytes that the file must have for this tensor, as far as the ONNX file states them."""
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or 0)
    except ValueError:
        offset = length = -1
    if offset < 0 or length < 0:
        raise UserError(f"the external data of {tensor.name!r} has no valid offset and length: model {model}: {EXPORT}")
    return offset + length


def _found(model: Path, location: str, size: int) -> Path:
    where = PurePosixPath(location)
    if not location or "\0" in location or where.is_absolute() or ".." in where.parts:
        raise UserError(
            f"the external data {location!r} is outside of the model's folder: model {model}: "
            "export it again with its weights in that folder"
        )
    folders = [model.parent, *([model.resolve().parent] if model.is_symlink() else [])]
    path = next((one for folder in folders if os.path.exists(one := folder / where)), folders[0] / where)  # noqa: PTH110 - Path.exists raises for a name that is too long
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(
            f"cannot read the external data {path} ({error.strerror}): model {model}: "
            "copy it there together with the ONNX file"
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"the external data {path} is not a regular file: model {model}: {EXPORT}")
    if not model.is_symlink() and not path.resolve().is_relative_to(model.parent.resolve()):
        raise UserError(
            f"the external data {path} is a link out of the model's folder: model {model}: copy the file there"
        )
    if status.st_size < size:
        raise UserError(
            f"the external data {path} has {status.st_size} bytes, its tensors need {size}: model {model}: "
            "copy it again, whole"
        )
    return path


def size_of(model: Path) -> int:
    """Return the bytes of ``model`` with its external data. Raise as ``external_files``."""
    return sum(path.stat().st_size for path in (model, *(file.path for file in external_files(model))))


def addressed(model: Path, folder: Path) -> Path:
    """Return an ONNX file whose SHA-256 covers its external data too: ``model`` itself where it has none.

    Else a copy of the ONNX file below ``folder`` in which each location is the SHA-256 (hex) of that file's content,
    with copies of the files beside it under these names, hashed now. Copies, since ONNX Runtime refuses links out of
    a model's folder and ``onnx`` refuses hard links. There is one such copy a ``model``: an earlier content's is
    deleted. Raise ``UserError`` as ``external_files``, and where ``folder`` cannot be written.
    """
    proto = read_proto(model)
    files = external_files_of(proto, model)
    if not files:
        return model
    home = folder / hashlib.sha256(os.fsencode(model.absolute())).hexdigest()[:16]
    try:
        home.mkdir(parents=True, exist_ok=True)
        digests = {file.location: copied(file.path, home) for file in files}
        for tensor in external_tensors(proto):
            place = next(entry for entry in tensor.external_data if entry.key == "location")
            place.value = digests[place.value]
        copy = home / model.name
        _written(home, copy.name, [proto.SerializeToString(deterministic=True)])
        for other in home.iterdir():
            if DIGEST.fullmatch(other.name) and other.name not in digests.values():
                other.unlink(missing_ok=True)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"cannot copy the external data of {model} to {home} ({why}): make room there") from None
    return copy


def is_whole(model: Path) -> bool:
    """Whether each external data file of an addressed model has the content that its name states. Raise as above."""
    return all(file_digest(file.path) == file.location for file in external_files(model))


def save(proto: onnx.ModelProto, path: Path, most: int = INLINE) -> None:
    """Write ``proto``, whose weights are in memory, to ``path``: addressed, if it has over ``most`` bytes of weights.

    Then initializers of 1 KiB and more go into one file beside it, named by its SHA-256. ``proto`` is as before when
    this returns. Raise ``OSError``.
    """
    large = _large(proto)
    if fits(proto, most):
        path.write_bytes(proto.SerializeToString())
        return
    sizes = [len(tensor.raw_data) for tensor in large]
    digest = _written(path.parent, None, (tensor.raw_data for tensor in large))
    try:
        for tensor, offset, size in zip(large, accumulate([0, *sizes]), sizes, strict=False):
            tensor.ClearField("raw_data")
            tensor.data_location = tensor.EXTERNAL
            for key, value in {"location": digest, "offset": offset, "length": size}.items():
                tensor.external_data.add(key=key, value=str(value))
        path.write_bytes(proto.SerializeToString())
    finally:
        with (path.parent / digest).open("rb") as file:  # from there: a copy in memory would be as large again
            for tensor, size in zip(large, sizes, strict=True):
                tensor.ClearField("external_data")
                tensor.ClearField("data_location")
                tensor.raw_data = file.read(size)


def fits(proto: onnx.ModelProto, most: int = INLINE) -> bool:
    """Whether ``proto``, whose weights are in memory, may be written as one message."""
    return sum(len(tensor.raw_data) for tensor in _large(proto)) <= most


def _large(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    return [tensor for tensor in proto.graph.initializer if len(tensor.raw_data) >= SMALL]


def copied(source: Path, home: Path) -> str:
    """Return the SHA-256 of ``source``, of which there is a copy under that name in ``home`` then, hashed as well.

    Raise ``UserError`` for a file that cannot be read or changes meanwhile, ``OSError`` where ``home`` cannot be
    written.
    """
    digest = file_digest(source)
    copy = home / digest
    if copy.is_file() and file_digest(copy) == digest:
        return digest
    with source.open("rb") as stream:
        written = _written(home, None, iter(lambda: stream.read(CHUNK), b""))
    if written != digest:
        raise UserError(f"{source} was changed while it was read: leave it alone and run again")
    return digest


def _written(folder: Path, name: str | None, contents: Iterable[bytes]) -> str:
    """Writes a file at once, as another process may read it; by its SHA-256, which is returned, if it has no name."""
    state = hashlib.sha256()
    handle, beside = tempfile.mkstemp(prefix=".writing-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            for content in contents:
                state.update(content)
                file.write(content)
        Path(beside).chmod(0o644)  # a temporary file is its maker's alone
        Path(beside).replace(folder / (name or state.hexdigest()))
    finally:
        Path(beside).unlink(missing_ok=True)
    return state.hexdigest()
