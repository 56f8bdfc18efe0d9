from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hil.config.spec import ModelSpec
from hil.onnx_files.signature import Signature, TensorSpec
from hil.session.engines.shape_profiles import profiles_of
from hil.session.gather.shapes import outside, resized

IDS = TensorSpec("ids", "int64", ("batch", "length"))
MASK = TensorSpec("mask", "int64", ("batch", "length"))
SCALE = TensorSpec("scale", "float32", (1,))
MODEL = Signature((IDS, MASK, SCALE), (TensorSpec("out", "float32", ("batch", 2)),))


def tried(lengths: tuple[int, int, int], batch: int = 1) -> list[dict[str, list[int]]]:
    """What is tried beyond the profiles of ``MODEL`` with these lengths."""
    spec = ModelSpec(path="m.onnx", data="d.npz", batch=batch, shapes={"length": lengths})
    return list(outside(MODEL, profiles_of(MODEL, spec, "bert")))


def test_each_dynamic_dimension_is_left_at_both_ends() -> None:
    """One dimension beyond its profile, all else at the optimum, equal names moved together; no size below 1."""
    assert tried((8, 16, 32)) == [
        {"ids": [5, 16], "mask": [5, 16], "scale": [1]},
        {"ids": [1, 33], "mask": [1, 33], "scale": [1]},
        {"ids": [1, 7], "mask": [1, 7], "scale": [1]},
    ]


@given(st.tuples(*[st.integers(1, 40)] * 3), st.integers(1, 9))
def test_what_must_be_refused_is_outside_and_nothing_else_is_wrong(lengths: tuple[int, ...], batch: int) -> None:
    """Every such shape has exactly one named dimension outside of its profile, and is the same in every input."""
    low, best, high = sorted(lengths)
    spec = ModelSpec(path="m.onnx", data="d.npz", batch=batch, shapes={"length": (low, best, high)})
    least, _, most = profiles_of(MODEL, spec, "bert")["ids"]
    found = tried((low, best, high), batch)
    assert found
    for shapes in found:
        assert shapes["ids"] == shapes["mask"]
        wrong = [not a <= size <= b for a, size, b in zip(least, shapes["ids"], most, strict=True)]
        assert sum(wrong) == 1
        assert min(shapes["ids"]) >= 1


def test_a_dimension_without_a_name_moves_alone() -> None:
    """The first dimension may have no name: then it is no other input's either."""
    model = Signature((TensorSpec("a", "float32", (None, 2)), TensorSpec("b", "float32", (None, 3))), MODEL.outputs)
    profiles = profiles_of(model, ModelSpec(path="m.onnx", data="d.npz"), "m")
    assert list(outside(model, profiles)) == [{"a": [5, 2], "b": [1, 3]}, {"a": [1, 2], "b": [5, 3]}]


def test_a_static_model_has_nothing_outside() -> None:
    """Its other batch is tried by itself."""
    static = Signature((TensorSpec("a", "float32", (1, 2)),), MODEL.outputs)
    assert list(outside(static, profiles_of(static, ModelSpec(path="m.onnx", data="d.npz"), "m"))) == []


@given(st.integers(1, 5), st.integers(1, 5), st.lists(st.integers(1, 9), min_size=2, max_size=2))
def test_resizing_repeats_real_values(rows: int, columns: int, shape: list[int]) -> None:
    """The shape that was asked for, of values that the data has; what was not asked for stays."""
    have = np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
    feeds: dict[str, np.ndarray[Any, Any]] = {"ids": have, "scale": np.ones(1, np.float32)}
    made = resized(feeds, {"ids": shape})
    assert list(made["ids"].shape) == shape
    assert set(made["ids"].ravel().tolist()) <= set(have.ravel().tolist())
    assert made["ids"].flags.c_contiguous
    assert made["scale"] is feeds["scale"]
