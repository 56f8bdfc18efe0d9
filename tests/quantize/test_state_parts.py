"""Tensors that hold elements of a state are found, with the elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from hil.quantize.state_parts import state_parts
from tests.models import write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_each_part_of_a_state_is_found_with_its_elements(tmp_path: Path, dtype: Any) -> None:
    """Parts, turned and joined copies are found in types of any width; tensors that are computed are not."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Constant", [], ["second"], value_ints=[1]),
        helper.make_node("Gather", ["h", "second"], ["part"], axis=0),
        helper.make_node("Transpose", ["part"], ["turned"], perm=[2, 1, 0]),
        helper.make_node("Concat", ["x", "part"], ["joined"], axis=2),
        helper.make_node("Add", ["part", "part"], ["doubled"]),
        helper.make_node("Concat", ["doubled", "doubled"], ["hn"], axis=0),
    ]
    shapes: dict[str, list[int | str]] = {"x": [1, 2, 5], "h": [2, 2, 600]}
    path = write(tmp_path / "m.onnx", nodes, shapes, {"hn": [2, 2, 600]}, dtype=kind)
    feeds = {name: np.ones([int(size) for size in shape], dtype) for name, shape in shapes.items()}
    found = state_parts(path, ["h"], feeds, {"part", "turned", "joined", "doubled", "x"})
    assert {(state, name) for state, name, _ in found} == {("h", "part"), ("h", "turned"), ("h", "joined")}
    assert all(part[1].all() and not part[0].any() for _, _, part in found)


def test_integers_have_no_ranges(tmp_path: Path) -> None:
    """A state of integers is left out."""
    nodes = [helper.make_node("Identity", ["h"], ["same"]), helper.make_node("Identity", ["same"], ["hn"])]
    path = write(tmp_path / "m.onnx", nodes, {"h": [1, 2]}, {"hn": [1, 2]}, dtype=TensorProto.INT64)
    assert not state_parts(path, ["h"], {"h": np.zeros((1, 2), np.int64)}, {"same"})
