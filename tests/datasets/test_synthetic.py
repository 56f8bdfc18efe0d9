"""``synthetic``: random data with a fixed seed, within ranges, and marked as synthetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.agent.protocol.wire import ITEM_SIZES
from hil.datasets.synthetic import SyntheticDataset
from hil.dtypes import is_finite
from hil.errors import UserError
from hil.onnx_files.signature import Signature
from tests.datasets.project import Project, spec

DTYPES = ("float16", "float32", "float64", "int8", "uint8", "int32", "int64", "uint64", "bool")


def drawn(signature: Signature, **ranges: tuple[float, float]) -> SyntheticDataset:
    """Return a data set of three samples."""
    sized = replace(signature, sizes={"side": (1, 5, 9)})
    return SyntheticDataset(sized, model="m", count=3, ranges=ranges)


def test_synthetic_data_is_marked(project: Project) -> None:
    """Synthetic data is marked, has no labels, and has the same digest each time."""
    data = project.open("synthetic")
    assert (data.synthetic, data.has_labels, data.count) == (True, False, 64)
    assert data.digest == project.open("synthetic").digest
    assert len(set(data.sample_digests())) == 64


@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes_and_dtypes_are_the_inputs(dtype: str) -> None:
    """Dynamic dimensions have the ``opt`` of ``shapes``, else 1; the dtype is the input's."""
    data = drawn(Signature((spec("a", dtype, "batch", "side", None, 3),), ()))
    values = next(data.batches(2)).inputs["a"]
    assert values.dtype == np.dtype(dtype)
    assert values.shape == (2, 5, 1, 3)


@given(batch=st.integers(1, 3), low=st.floats(-100, 100), width=st.floats(1, 100), dtype=st.sampled_from(DTYPES[:3]))
def test_values_lie_within_ranges_whatever_the_batch(batch: int, low: float, width: float, dtype: str) -> None:
    """A sample is the same at each batch size and within its range, up to the dtype's rounding."""
    data = drawn(Signature((spec("a", dtype, "batch", 4),), ()), a=(low, low + width))
    whole = np.concatenate([each.inputs["a"] for each in data.batches(batch)])
    np.testing.assert_array_equal(whole, next(data.batches(3)).inputs["a"])
    slack = 0.1
    assert (whole >= low - slack).all()
    assert (whole <= low + width + slack).all()


def test_bytes_use_their_range_and_integers_are_small() -> None:
    """``uint8``, often an image, uses its whole range; ``int64``, often an index, is 0 or 1."""
    data = drawn(Signature((spec("a", "uint8", "n", 999), spec("b", "int64", "n", 999)), ()))
    values = next(data.batches(1)).inputs
    assert values["a"].max() > 200
    assert set(values["b"].ravel()) == {0, 1}


def test_inputs_that_cannot_be_drawn_are_refused() -> None:
    """Ranges beyond the dtype are user errors."""
    with pytest.raises(UserError, match=r"ranges.a has no value that int8 can hold"):
        drawn(Signature((spec("a", "int8", "n"),), ()), a=(0, 300))
    with pytest.raises(UserError, match=r"ranges.a has no value"):
        drawn(Signature((spec("a", "int8", "n"),), ()), a=(0.2, 0.8))


def test_a_fixed_batch_has_no_remainder() -> None:
    """Without ``samples`` the count is a multiple of the model's fixed batch."""
    data = SyntheticDataset(Signature((spec("a", "float32", 3, 1),), ()), model="m", count=None, ranges={})
    assert data.count == 66
    assert sum(len(batch.inputs["a"]) for batch in data.batches(3)) == 66


def test_inputs_without_a_common_batch_are_refused() -> None:
    """Inputs without a common batch dimension are refused, because samples cannot be counted."""
    for inputs in ((spec("a", "float32"),), (spec("a", "float32", 2, 1), spec("b", "float32", 3, 1))):
        with pytest.raises(UserError, match="share no batch dimension"):
            drawn(Signature(inputs, ()))


@pytest.mark.parametrize("dtype", sorted(ITEM_SIZES))
def test_every_dtype_is_drawn(dtype: str) -> None:
    """Each type of numbers is drawn with finite values of any rank, also with a zero-length dimension."""
    inputs = (spec("a", dtype, "n", 2), spec("b", dtype, "n"), spec("c", dtype, "n", 0, 3))
    batch = next(drawn(Signature(inputs, ())).batches(3)).inputs
    assert {name: (array.dtype.name, array.shape) for name, array in batch.items()} == {
        "a": (dtype, (3, 2)),
        "b": (dtype, (3,)),
        "c": (dtype, (3, 0, 3)),
    }
    assert all(is_finite(array).all() for array in batch.values())
