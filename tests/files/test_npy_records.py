"""Records are those of numpy, and anything else is refused."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hil.files import npy_records

DTYPES = st.one_of(arrays.scalar_dtypes(), st.just(np.dtype([("bfloat16", "<u2")])))


@given(st.lists(arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, min_side=0, max_side=3)), max_size=4))
def test_arrays_come_back_as_they_were(written: list[np.ndarray[Any, Any]]) -> None:
    """Arrays of any type and shape are read back bit for bit, also by numpy, and can be changed."""
    stream = BytesIO()
    for array in written:
        npy_records.write(stream, array)
    stream.seek(0)
    numpys = [np.lib.format.read_array(stream, allow_pickle=False) for _ in written]
    stream.seek(0)
    for array, by_numpy in zip(written, numpys, strict=True):
        read = npy_records.read(stream)
        assert (read.dtype, read.shape) == (array.dtype, array.shape) == (by_numpy.dtype, by_numpy.shape)
        assert read.tobytes() == array.tobytes() == by_numpy.tobytes()
        assert read.flags.writeable


@given(st.integers(0, 200))
def test_a_record_that_is_cut_short_is_refused(length: int) -> None:
    """A record without its end raises ``ValueError``."""
    stream = BytesIO()
    npy_records.write(stream, np.arange(9.0))
    with pytest.raises(ValueError):  # noqa: PT011 - the text is numpy's
        npy_records.read(BytesIO(stream.getvalue()[: min(length, len(stream.getvalue()) - 1)]))


def test_pickled_objects_are_refused() -> None:
    """A record whose header declares Python objects raises ``ValueError``."""
    stream = BytesIO()
    np.lib.format.write_array(stream, np.array([{}], dtype=object), allow_pickle=True)
    stream.seek(0)
    with pytest.raises(ValueError, match="not the header of a record"):
        npy_records.read(stream)
