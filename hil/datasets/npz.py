"""Read the arrays of an ``.npz`` file a few rows at a time, and write such files.

The file is a zip archive of ``.npy`` members (numpy.lib.format, versions 1.0 and 2.0). Pickled objects are never read.
"""

from __future__ import annotations

import math
import zlib
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from numpy.lib import format as npy

from hil.dtypes import from_file, how_to_save, named
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

SUFFIX = ".npy"
MAX_HEADER = 10_000
"""The maximum length of an array's header in characters, which is also numpy's own limit."""

MAX_ROW = 2**31
"""The maximum size of one row in bytes: the header of a small compressed file may state any size."""

BLOCK = 2**20
"""Bytes of an array that are read at a time, if a batch has fewer."""

UNREADABLE = "not a valid dtype descriptor"
"""Words of numpy's error for a type that it writes to a file but cannot read: float8_e5m2 of ml_dtypes."""

READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

Header = tuple[np.dtype, tuple[int, ...]]


def write_npz(file: Path | IO[bytes], arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> None:
    """Write ``arrays`` to an ``.npz`` file, in C order.

    Unlike ``numpy.savez``, it accepts any names, also those of that function's parameters, such as ``file``.
    """
    with ZipFile(file, "w", ZIP_DEFLATED if compressed else ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(name + SUFFIX, "w", force_zip64=True) as stream:
                npy.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)


class NpzArrays:
    """The arrays of one ``.npz`` file, which are read along their first dimension.

    Raises ``UserError`` for a file that is missing, truncated, encrypted or not a zip archive, and for pickled objects,
    arrays in Fortran order and, unless ``scalars``, for scalars, which ``rows`` returns as one row.
    """

    def __init__(self, path: Path, *, scalars: bool = False) -> None:
        """Read and check the headers of all arrays."""
        self.path, self._scalars = path, scalars
        self._headers: dict[str, Header] = {}
        with self._archive() as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(SUFFIX)
                if name == info.filename or name in self._headers:
                    what = "occurs twice" if name in self._headers else "is not an array"
                    raise UserError(self._message(f"{info.filename!r} {what}"))
                with archive.open(info) as stream:
                    header = self._read_header(name, stream)
                    if _row_size(header) > MAX_ROW:
                        raise UserError(self._message(f"one row of array {name!r} is over {MAX_ROW >> 30} GiB"))
                    if _size(header) != info.file_size - stream.tell():
                        raise UserError(self._message(f"array {name!r} is incomplete"))
                self._headers[name] = header

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays in the file's order."""
        return tuple(self._headers)

    def header(self, name: str) -> Header:
        """Return dtype (in native byte order) and shape of an array. Raises ``KeyError`` for an unknown name.

        A type that numpy lacks is read as ``hil.dtypes`` describes.
        """
        dtype, shape = self._headers[name]
        return named(dtype).newbyteorder("="), shape

    def rows(self, size: int, names: Collection[str] | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Yield ``size`` rows of each array at a time (fewer at the end), in this machine's byte order.

        ``names`` selects the arrays; ``None`` selects all. Raises ``UserError`` if they differ in length, and for a
        wrong checksum or a truncated member.
        """
        chosen = [name for name in self.names if names is None or name in names]
        lengths = {(self._headers[name][1] or (1,))[0] for name in chosen}
        if len(lengths) > 1:
            raise UserError(self._message(f"arrays {', '.join(chosen)} differ in length"))
        count = lengths.pop() if lengths else 0
        with ExitStack() as stack:
            archive = stack.enter_context(self._archive())
            streams = {name: stack.enter_context(archive.open(name + SUFFIX)) for name in chosen}
            for name, stream in streams.items():
                self._read_header(name, stream)
            largest = max((_row_size(self._headers[name]) for name in chosen), default=0)
            block = size * max(1, BLOCK // max(1, size * largest))
            for start in range(0, count, block):
                rows = min(block, count - start)
                arrays = {name: self._read_rows(name, stream, rows) for name, stream in streams.items()}
                for at in range(0, rows, size):
                    yield {name: array[at : at + size] for name, array in arrays.items()}

    @contextmanager
    def _archive(self) -> Iterator[ZipFile]:
        try:
            with ZipFile(self.path) as archive:
                yield archive
        except OSError as error:
            raise UserError(
                f"cannot read {self.path} ({error.strerror or error}): check the path in hil.toml"
            ) from None
        except (BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise UserError(self._message(str(error))) from None

    def _read_header(self, name: str, stream: IO[bytes]) -> Header:
        try:
            reader = READERS.get(npy.read_magic(stream))
            if reader is None:
                raise UserError(self._message(f"array {name!r} has a header this version cannot read"))
            shape, fortran, dtype = reader(stream, max_header_size=MAX_HEADER)
        except ValueError as error:
            if UNREADABLE in str(error):
                raise UserError(
                    f"array {name!r} of {self.path} has a type that numpy cannot read: if it is one of ml_dtypes, "
                    + how_to_save("float8_e5m2")
                ) from None
            raise UserError(self._message(f"array {name!r}: {error}")) from None
        if dtype.hasobject:
            raise UserError(f"array {name!r} of {self.path} holds pickled objects, which are never read: save numbers")
        if not shape and not self._scalars:
            raise UserError(f"array {name!r} of {self.path} is a scalar: give it a first dimension that counts samples")
        if fortran and len(shape) > 1:
            raise UserError(
                f"array {name!r} of {self.path} is in Fortran order, which cannot be read row by row: "
                "save numpy.ascontiguousarray(array)"
            )
        return dtype, shape

    def _read_rows(self, name: str, stream: IO[bytes], rows: int) -> np.ndarray:
        dtype, shape = self._headers[name]
        length = rows * _row_size((dtype, shape))
        if not length:
            return np.empty((rows, *shape[1:]), named(dtype).newbyteorder("="))
        data = stream.read(length)
        if len(data) != length:
            raise UserError(self._message(f"array {name!r} ends early"))
        # A bytearray makes the array writable, like any other numpy array.
        array = np.frombuffer(bytearray(data), dtype).reshape(rows, *shape[1:])
        return from_file(array.astype(dtype.newbyteorder("="), copy=False))

    def _message(self, what: str) -> str:
        return f"{self.path} is not a whole .npz file ({what}): save it again with numpy.savez, or copy it again"


def _row_size(header: Header) -> int:
    dtype, shape = header
    return math.prod(shape[1:]) * dtype.itemsize


def _size(header: Header) -> int:
    dtype, shape = header
    return math.prod(shape) * dtype.itemsize
