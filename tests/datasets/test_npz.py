"""``NpzArrays``: rows of a file of any size, and one message for any defect of it."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hil.datasets.npz import MAX_ROW, NpzArrays, write_npz
from hil.dtypes import for_file
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 2**20


def member(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    """Return the bytes of a ``.npy`` file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def write(path: Path, members: dict[str, bytes]) -> Path:
    """Write a zip file with these members."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@given(
    array=hnp.arrays(
        dtype=st.one_of(hnp.floating_dtypes(), hnp.integer_dtypes(), hnp.boolean_dtypes()),
        shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
    ),
    size=st.integers(1, 6),
)
def test_rows_are_the_array(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, size: int) -> None:
    """The concatenated batches equal the saved array, for each dtype, byte order and shape."""
    path = tmp_path_factory.mktemp("npz") / "x.npz"
    np.savez(path, a=np.ascontiguousarray(array))
    arrays = NpzArrays(path)
    parts = [rows["a"] for rows in arrays.rows(size)]
    whole = np.concatenate(parts) if parts else np.empty(array.shape, array.dtype)
    assert arrays.header("a") == (array.dtype.newbyteorder("="), array.shape)
    assert all(len(part) == size for part in parts[:-1])
    np.testing.assert_array_equal(whole, array)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_memory_is_that_of_a_batch(tmp_path: Path, save: Callable[..., None]) -> None:
    """Reading 64 MiB needs less than 4 MiB of memory."""
    path = tmp_path / "x.npz"
    save(path, a=np.ones((16384, 1024), np.float32), labels=np.arange(16384))
    tracemalloc.start()
    try:
        total = sum(len(rows["a"]) for rows in NpzArrays(path).rows(64))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 16384
    assert peak < 4 * MIB


def test_arrays_are_read_side_by_side(tmp_path: Path) -> None:
    """Rows of all requested arrays are read together; other arrays are not read."""
    path = tmp_path / "x.npz"
    np.savez(path, a=np.arange(5), b=np.arange(5) * 10, other=np.arange(3))
    rows = list(NpzArrays(path).rows(2, ("a", "b")))
    assert [row["b"].tolist() for row in rows] == [[0, 10], [20, 30], [40]]
    assert set(rows[0]) == {"a", "b"}
    with pytest.raises(UserError, match="differ in length"):
        list(NpzArrays(path).rows(2))


def test_pickles_are_refused_unread(tmp_path: Path) -> None:
    """An object array is refused without reading it, because a pickle can run code."""
    path = write(tmp_path / "x.npz", {"a.npy": member(np.array([{}], object), allow_pickle=True)})
    with pytest.raises(UserError, match="holds pickled objects, which are never read"):
        NpzArrays(path)


def test_fortran_order_is_refused(tmp_path: Path) -> None:
    """An array in Fortran order cannot be read by rows; the message states how to save it."""
    np.savez(tmp_path / "x.npz", a=np.asfortranarray(np.ones((3, 4))))
    with pytest.raises(UserError, match="ascontiguousarray"):
        NpzArrays(tmp_path / "x.npz")


def test_a_scalar_has_no_samples(tmp_path: Path) -> None:
    """A scalar is refused, because it has no dimension of samples."""
    np.savez(tmp_path / "x.npz", a=np.float32(1))
    with pytest.raises(UserError, match="is a scalar"):
        NpzArrays(tmp_path / "x.npz")


def claimed(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    """Return a member whose header states ``shape``, with this data."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue() + data


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.txt": b"x"}, "is not an array"),
        ({"a.npy": b"x"}, "array 'a'"),
        ({"a.npy": b"\x93NUMPY\x09\x00aaaa"}, "array 'a'"),
        ({"a.npy": claimed((10,), b"1234")}, "array 'a' is incomplete"),
        ({"a.npy": claimed((1, MAX_ROW))}, "one row of array 'a' is over 2 GiB"),
        ({"a.npy": claimed((2**62, 2**62))}, "is over 2 GiB"),
        ({"a.npy": claimed((-1,))}, "array 'a'"),
        ({"a.npy": member(np.ones(3))[:-1]}, "array 'a' is incomplete"),
    ],
)
def test_damage_is_one_message(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    """A header that does not match the data gives one message, before memory is allocated."""
    with pytest.raises(UserError) as error:
        NpzArrays(write(tmp_path / "x.npz", members))
    assert message in str(error.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    """A truncated and a missing file are refused."""
    np.savez(tmp_path / "x.npz", a=np.ones(1000))
    data = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"is not a whole \.npz file"):
        NpzArrays(tmp_path / "x.npz")
    with pytest.raises(UserError, match="cannot read"):
        NpzArrays(tmp_path / "absent.npz")


def test_a_wrong_checksum_is_detected_while_reading(tmp_path: Path) -> None:
    """A flipped bit in the data is refused while reading."""
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros(1000))
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"is not a whole \.npz file"):
        list(NpzArrays(path).rows(10))


@given(st.data())
def test_no_flipped_byte_gets_through(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """After a change of any byte, the file has the same arrays or no arrays, or gives a ``UserError``."""
    path = tmp_path_factory.mktemp("npz") / "x.npz"
    np.savez_compressed(path, a=np.arange(50, dtype=np.float32).reshape(10, 5))
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        arrays = NpzArrays(path)
        rows = list(arrays.rows(4))
    except UserError:
        return
    if not arrays.names:  # a changed byte at the end can make an archive without members, which no data set accepts
        return
    np.testing.assert_array_equal(np.concatenate([row["a"] for row in rows]).ravel(), np.arange(50))


@pytest.mark.parametrize("compressed", [False, True])
def test_any_arrays_are_written_as_they_are_read(tmp_path: Path, *, compressed: bool) -> None:
    """Arrays are read back whatever their names, order in memory, types and sizes are."""
    arrays = {
        "file": np.arange(6).reshape(2, 3),
        "allow_pickle": np.arange(6.0).reshape(3, 2).T,
        "args/x:0 []": np.empty((2, 0), bool),
        "half": for_file(np.ones((2, 2), ml_dtypes.bfloat16)),
    }
    write_npz(tmp_path / "x.npz", arrays, compressed=compressed)
    (rows,) = NpzArrays(tmp_path / "x.npz").rows(2)
    assert {name: array.tolist() for name, array in rows.items()} == {
        **{name: array.tolist() for name, array in arrays.items()},
        "half": [[1, 1], [1, 1]],
    }
