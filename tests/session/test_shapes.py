from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.spec import ModelSpec
from hil.onnx_files.signature import Signature, TensorSpec
from hil.session.engines.shape_profiles import profiles_of
from hil.session.gather.contract import _bad
from hil.session.gather.shapes import accepted, outside, resized

IDS = TensorSpec("ids", "int64", ("batch", "length"))
MASK = TensorSpec("mask", "int64", ("batch", "length"))
SCALE = TensorSpec("scale", "float32", (1,))
MODEL = Signature((IDS, MASK, SCALE), (TensorSpec("out", "float32", ("batch", 2)),))


def refused_shapes(lengths: tuple[int, int, int], batch: int = 1) -> list[dict[str, list[int]]]:
    """Return the shapes that are tried beyond the profiles of ``MODEL`` with these lengths."""
    spec = ModelSpec(path="m.onnx", data="d.npz", batch=batch, shapes={"length": lengths})
    return list(outside(MODEL, profiles_of(MODEL, spec, "bert")))


def test_each_dynamic_dimension_is_exceeded_at_both_ends() -> None:
    """One dynamic dimension at a time is outside its profile, at both ends; equal names change together."""
    assert refused_shapes((8, 16, 32)) == [
        {"ids": [5, 16], "mask": [5, 16], "scale": [1]},
        {"ids": [1, 33], "mask": [1, 33], "scale": [1]},
        {"ids": [1, 7], "mask": [1, 7], "scale": [1]},
    ]


@given(st.tuples(*[st.integers(1, 40)] * 3), st.integers(1, 9))
def test_exactly_one_named_dimension_is_outside(lengths: tuple[int, ...], batch: int) -> None:
    """Each shape has one named dimension outside of its profile, with the same size in every input."""
    low, best, high = sorted(lengths)
    spec = ModelSpec(path="m.onnx", data="d.npz", batch=batch, shapes={"length": (low, best, high)})
    least, _, most = profiles_of(MODEL, spec, "bert")["ids"]
    cases = refused_shapes((low, best, high), batch)
    assert cases
    for shapes in cases:
        assert shapes["ids"] == shapes["mask"]
        wrong = [not a <= size <= b for a, size, b in zip(least, shapes["ids"], most, strict=True)]
        assert sum(wrong) == 1
        assert min(shapes["ids"]) >= 1


def test_a_dimension_without_a_name_is_varied_alone() -> None:
    """An unnamed first dimension is not the same as another input's."""
    model = Signature((TensorSpec("a", "float32", (None, 2)), TensorSpec("b", "float32", (None, 3))), MODEL.outputs)
    profiles = profiles_of(model, ModelSpec(path="m.onnx", data="d.npz"), "m")
    assert list(outside(model, profiles)) == [{"a": [5, 2], "b": [1, 3]}, {"a": [1, 2], "b": [5, 3]}]


def test_a_static_model_has_no_refused_shapes() -> None:
    """A model without dynamic dimensions has no shape outside of a profile."""
    static = Signature((TensorSpec("a", "float32", (1, 2)),), MODEL.outputs)
    assert list(outside(static, profiles_of(static, ModelSpec(path="m.onnx", data="d.npz"), "m"))) == []


@given(st.integers(1, 5), st.integers(1, 5), st.lists(st.integers(1, 9), min_size=2, max_size=2))
def test_resizing_repeats_real_values(rows: int, columns: int, shape: list[int]) -> None:
    """A resized input has the requested shape and only values of the data; other inputs stay unchanged."""
    data = np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
    feeds: dict[str, np.ndarray[Any, Any]] = {"ids": data, "scale": np.ones(1, np.float32)}
    feeds_resized = resized(feeds, {"ids": shape})
    assert list(feeds_resized["ids"].shape) == shape
    assert set(feeds_resized["ids"].ravel().tolist()) <= set(data.ravel().tolist())
    assert feeds_resized["ids"].flags.c_contiguous
    assert feeds_resized["scale"] is feeds["scale"]


def test_an_input_without_elements_is_resized() -> None:
    """A zero-length input is resized to zeros of the requested size."""
    tried = resized({"x": np.ones((2, 0, 3), np.float32)}, {"x": [4, 2, 3]})
    assert tried["x"].tolist() == np.zeros((4, 2, 3)).tolist()


@pytest.mark.parametrize("length", [0, 2])
def test_the_wrong_size_is_another_size(length: int) -> None:
    """The bad input of a wrong size differs from the declared size, even if that is zero."""
    model = Signature((TensorSpec("x", "float32", ("n", length)),), (TensorSpec("y", "float32", ("n",)),))
    tried = dict(_bad(model, {"x": np.ones((1, length), np.float32)}))
    assert tried["shape"]["x"].shape == (1, max(1, 2 * length))


def test_all_batch_axes_have_one_size() -> None:
    """Batch axes without a name have the size of the named ones."""
    audio = TensorSpec("audio", "float32", ("batch", 512))
    state = TensorSpec("state", "float32", (2, None, 128), batch_axis=1)
    feeds = {"audio": np.zeros((1, 512)), "state": np.zeros((2, 1, 128))}
    spec = ModelSpec(path="vad.onnx", data="synthetic")
    declared = Signature((audio, state), (), sizes={"batch": (1, 3, 5)})
    for model, batches in ((Signature((audio, state), ()), (1, 2, 4)), (declared, (1, 3, 5))):
        assert list(accepted(model, spec, feeds)) == [{"audio": [n, 512], "state": [2, n, 128]} for n in batches]


def test_a_batch_without_any_name_is_varied() -> None:
    """The batch sizes of a model without a named batch dimension are varied too."""
    model = Signature((TensorSpec("x", "float32", (None, 3)),), ())
    shapes = accepted(model, ModelSpec(path="x.onnx", data="synthetic"), {"x": np.zeros((1, 3))})
    assert [shape["x"] for shape in shapes] == [[1, 3], [2, 3], [4, 3]]
