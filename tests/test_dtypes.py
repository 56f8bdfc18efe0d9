from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given

from hil.agent.protocol.wire import BITS, ITEM_SIZES
from hil.dtypes import differences, for_file, from_file, how_to_save, is_finite, is_float, is_number, limits, named
from tests.arrays import ARRAYS

if TYPE_CHECKING:
    import numpy.typing as npt


@given(ARRAYS)
def test_files_keep_every_type_rank_and_bit(array: npt.NDArray[Any]) -> None:
    """An array comes back from an ``.npy`` file with its type, shape and bits; ``numpy.save`` alone loses types."""
    file = io.BytesIO()
    np.lib.format.write_array(file, for_file(array), allow_pickle=False)
    file.seek(0)
    back = from_file(np.lib.format.read_array(file, allow_pickle=False))
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize("name", sorted(ITEM_SIZES))
def test_what_a_type_is(name: str) -> None:
    """Float types have "float" in their name, limits are finite, and NaN and infinity are recognized."""
    dtype = np.dtype(name)
    assert dtype.name == name
    assert dtype.itemsize == ITEM_SIZES[name]
    assert is_number(dtype)
    assert is_float(dtype) == ("float" in name)
    least, greatest = limits(dtype)
    with np.errstate(over="ignore"):
        ends = np.array([least, greatest], np.float64).astype(dtype) if is_float(dtype) else np.zeros(2, dtype)
    assert is_finite(ends).all()
    assert least < greatest
    if is_float(dtype):
        assert not is_finite(np.array([np.nan], np.float32).astype(dtype)).any()


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (np.array([2**60, 5]), np.array([2**60 + 1, 8]), [1.0, 3.0]),
        (np.array([0.0, np.nan, np.inf, np.inf]), np.array([-0.0, np.nan, np.inf, 1.0]), [0.0, 0.0, 0.0, np.inf]),
        (np.array([np.nan, 1.0], np.float32), np.array([1.0, 3.0], np.float32), [np.inf, 2.0]),
        (np.array([True, False]), np.array([True, True]), [0.0, 1.0]),
        (np.array([200], np.uint8), np.array([250], np.uint8), [50.0]),
    ],
)
def test_differences_are_never_nan_or_lost(
    ours: npt.NDArray[Any], theirs: npt.NDArray[Any], expected: list[float]
) -> None:
    """Large integers that differ have a difference; NaN on one side only is infinite, on both sides 0."""
    assert differences(ours, theirs).tolist() == expected


def test_only_numbers_are_numbers() -> None:
    """Text, objects, complex numbers and untyped bytes are not numbers."""
    for value in (np.array(["a"]), np.array([{}]), np.array([1j]), np.zeros(2, "V1"), np.zeros(2, "M8[s]")):
        assert not is_number(value.dtype)
        assert named(value.dtype) == value.dtype


@pytest.mark.parametrize("name", sorted(BITS))
def test_the_advice_on_saving_works(name: str) -> None:
    """An array that is saved as the message advises is read with its type."""
    saved = eval("array" + how_to_save(name).removeprefix("save it with ").split(" after ")[0], {"array": np.ones(2)})  # noqa: S307 - the advice is code
    assert from_file(saved).dtype == np.dtype(name)


def test_two_bytes_of_void_are_bfloat16() -> None:
    """Two bytes of void are read as bfloat16, which ``numpy.save`` writes so; one byte of void stays void."""
    assert named(np.dtype("V2")) == np.dtype("bfloat16")
    assert named(np.dtype("V1")) == np.dtype("V1")
