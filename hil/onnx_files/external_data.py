"""The external data files of an ONNX model: weights in separate files, which the ONNX file refers to by location.

In an *addressed* model each location is the SHA-256 of the data file, so the ONNX file's digest covers the weights too.
"""

from __future__ import annotations

import hashlib
import math
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
from hil.onnx_files.dimension_names import separate
from hil.onnx_files.signature import read_proto

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import onnx

    from hil.onnx_files.signature import TensorSpec

EXPORT = "export it again with its weights in the same folder"
DIGEST = re.compile("[0-9a-f]{64}")
PACKED = re.compile("(?:U?INT|FLOAT)([24])(?:E.*)?")
"""The types of which several elements share a byte."""
INLINE = 2**31 - 2**28
"""Most bytes of weights that are written into an ONNX file; the limit of the whole file is 2 GiB."""

SMALL = 1024
"""Bytes: smaller tensors stay in the ONNX file; ``onnx`` has the same default."""


@dataclass(frozen=True)
class ExternalFile:
    """One external data file.

    ``location`` is the path in the ONNX file (POSIX, relative to the ONNX file's folder). ``path`` is the data file on
    this machine.
    """

    location: str
    path: Path


def external_files(model: Path) -> tuple[ExternalFile, ...]:
    """Return the external data files of ``model``, each once, sorted by location; ``()`` if it has none.

    A location is relative to the folder of ``model`` or, for a symbolic link, of the linked file. Raise ``UserError``
    if the model cannot be read, a location is empty or lies outside these folders, or a data file is missing, shorter
    than its tensors or not regular.
    """
    return external_files_of(read_proto(model), model)


def external_files_of(proto: onnx.ModelProto, model: Path) -> tuple[ExternalFile, ...]:
    """Return the same as ``external_files`` for the parsed file ``model`` (without weights)."""
    needed: dict[str, int] = {}
    for tensor in external_tensors(proto):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        needed[location] = max(needed.get(location, 0), _end(tensor, entries, model))
    return tuple(
        ExternalFile(location, _existing_file(model, location, needed[location])) for location in sorted(needed)
    )


def external_tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Yield each tensor with external data in a model, a graph or a node, at any depth."""
    if message.DESCRIPTOR.name == "TensorProto":
        if message.data_location == message.EXTERNAL:
            yield message
        return  # its other fields are values
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from external_tensors(inner)


def _end(tensor: onnx.TensorProto, entries: dict[str, str], model: Path) -> int:
    """Return how many bytes the data file must have to hold this tensor, by the offset and length in ``entries``.

    Without a length, it is that of the tensor's shape and type. Raise ``UserError`` if the offset, length or type is
    not valid, or if the length is another one.
    """
    try:
        needed = _bytes_of(tensor)
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or 0) or needed
    except (ValueError, KeyError):
        offset = length = needed = -1
    if offset < 0 or length < 0:
        raise UserError(f"the external data of {tensor.name!r} has no valid offset and length: model {model}: {EXPORT}")
    if length != needed:
        raise UserError(
            f"the external data of {tensor.name!r} has a length of {length} bytes, its shape {list(tensor.dims)} and "
            f"type need {needed}: model {model}: {EXPORT}, since one of them is wrong"
        )
    return offset + length


def _bytes_of(tensor: onnx.TensorProto) -> int:
    from onnx.helper import tensor_dtype_to_np_dtype

    packed = PACKED.fullmatch(tensor.DataType.Name(tensor.data_type))
    bits = int(packed[1]) if packed else 8 * tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return -(-int(math.prod(tensor.dims)) * bits // 8)


def _existing_file(model: Path, location: str, size: int) -> Path:
    where = PurePosixPath(location)
    if not location or "\0" in location or where.is_absolute() or ".." in where.parts:
        raise UserError(
            f"the location {location!r} of external data is not a path in the model's folder: model {model}: "
            "export it again with its weights in that folder"
        )
    folders = [model.parent, *([model.resolve().parent] if model.is_symlink() else [])]
    path = next((one for folder in folders if os.path.exists(one := folder / where)), folders[0] / where)  # noqa: PTH110 - Path.exists raises for a name that is too long
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(
            f"cannot read the external data {path} ({error.strerror}): model {model}: "
            "copy it to that place together with the ONNX file"
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
            "copy it again, it was cut short"
        )
    return path


def size_of(model: Path) -> int:
    """Return the size in bytes of ``model`` with its external data.

    Raises ``UserError`` when ``external_files`` does.
    """
    return sum(path.stat().st_size for path in (model, *(file.path for file in external_files(model))))


def addressed(model: Path, folder: Path, inputs: Sequence[TensorSpec] = ()) -> Path:
    """Return an addressed model, whose dimensions have equal names only where their sizes are equal.

    It is ``model`` itself if nothing has to change, otherwise a copy below ``folder``. Raise ``UserError`` when
    ``external_files`` does, or if ``folder`` cannot be written.
    """
    proto = read_proto(model)
    files = external_files_of(proto, model)
    named = separate(proto, inputs)
    if not files and not named:
        return model
    names = repr([(one.name, one.shape) for one in inputs]).encode() if named else b""
    home = folder / hashlib.sha256(os.fsencode(model.absolute()) + names).hexdigest()[:16]
    try:
        home.mkdir(parents=True, exist_ok=True)
        # Not links: ONNX Runtime refuses links out of a model's folder, and onnx refuses hard links.
        digests = {file.location: copy_by_digest(file.path, home) for file in files}
        for tensor in external_tensors(proto):
            place = next(entry for entry in tensor.external_data if entry.key == "location")
            place.value = digests[place.value]
        copy = home / model.name
        _write_atomically(home, copy.name, [proto.SerializeToString(deterministic=True)])
        for other in home.iterdir():
            if DIGEST.fullmatch(other.name) and other.name not in digests.values():
                other.unlink(missing_ok=True)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"cannot copy {model} to {home} ({why}): free some space there") from None
    return copy


def openable(model: Path, folder: Path, inputs: Sequence[TensorSpec] = ()) -> Path:
    """Return a path at which ONNX Runtime can open and run ``model``: its own, or a copy in ``folder`` (``addressed``).

    Raises ``UserError`` when ``addressed`` does.
    """
    proto = read_proto(model)
    files = external_files_of(proto, model)
    return addressed(model, folder, inputs) if separate(proto, inputs) or (files and model.is_symlink()) else model


def is_whole(model: Path) -> bool:
    """Return whether the name of each external data file of an addressed model is the file's SHA-256.

    Raises ``UserError`` when ``external_files`` does.
    """
    return all(file_digest(file.path) == file.location for file in external_files(model))


def save(proto: onnx.ModelProto, path: Path, most: int = INLINE) -> None:
    """Write ``proto``, whose weights are in memory, to ``path``; as an addressed model unless ``fits(proto, most)``.

    The large initializers of an addressed model are in one data file next to ``path``, named by its SHA-256. Raise
    ``OSError`` if a file cannot be written.
    """
    large = _large(proto)
    if fits(proto, most):
        path.write_bytes(proto.SerializeToString())
        return
    sizes = [len(tensor.raw_data) for tensor in large]
    digest = _write_atomically(path.parent, None, (tensor.raw_data for tensor in large))
    try:
        for tensor, offset, size in zip(large, accumulate([0, *sizes]), sizes, strict=False):
            tensor.ClearField("raw_data")
            tensor.data_location = tensor.EXTERNAL
            for key, value in {"location": digest, "offset": offset, "length": size}.items():
                tensor.external_data.add(key=key, value=str(value))
        path.write_bytes(proto.SerializeToString())
    finally:
        with (path.parent / digest).open("rb") as file:  # restored from the file: a copy would double the memory
            for tensor, size in zip(large, sizes, strict=True):
                tensor.ClearField("external_data")
                tensor.ClearField("data_location")
                tensor.raw_data = file.read(size)


def fits(proto: onnx.ModelProto, most: int = INLINE) -> bool:
    """Return whether one ONNX file can hold ``proto``: its large initializers have at most ``most`` bytes."""
    return sum(len(tensor.raw_data) for tensor in _large(proto)) <= most


def _large(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    return [tensor for tensor in proto.graph.initializer if len(tensor.raw_data) >= SMALL]


def copy_by_digest(source: Path, home: Path) -> str:
    """Copy the file ``source`` into the folder ``home``, named by its SHA-256 (hex), and return the SHA-256.

    An intact copy is left as it is. Raise ``UserError`` if ``source`` cannot be read or changes meanwhile, ``OSError``
    if ``home`` cannot be written.
    """
    digest = file_digest(source)
    copy = home / digest
    if copy.is_file() and file_digest(copy) == digest:
        return digest
    with source.open("rb") as stream:
        written = _write_atomically(home, None, iter(lambda: stream.read(CHUNK), b""))
    if written != digest:
        raise UserError(f"{source} was changed while it was read: do not change it, and run again")
    return digest


def _write_atomically(folder: Path, name: str | None, contents: Iterable[bytes]) -> str:
    """Write a file in ``folder`` atomically, since other processes may read it, and return its SHA-256.

    If ``name`` is ``None``, the file is named by its SHA-256.
    """
    state = hashlib.sha256()
    handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            for content in contents:
                state.update(content)
                file.write(content)
        Path(temporary).chmod(0o644)  # mkstemp's files are readable only by their owner
        Path(temporary).replace(folder / (name or state.hexdigest()))
    finally:
        Path(temporary).unlink(missing_ok=True)
    return state.hexdigest()
