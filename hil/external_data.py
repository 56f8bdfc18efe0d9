"""The external data files of an ONNX model: the weights that its file names by location and does not contain."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hil.errors import UserError
from hil.signature import read_proto

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

EXPORT = "export it again with its weights beside it"


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
        return
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
