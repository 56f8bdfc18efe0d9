"""A Concat of unlike ranges, such as boxes and scores, never gets one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from hil.agent.runtimes.onnxruntime import open_session
from hil.config.spec import CalibrationSpec
from hil.quantize import quantize, read_ranges
from tests.memory_data import MemoryData

if TYPE_CHECKING:
    from pathlib import Path

    Array = np.ndarray[Any, Any]

TAILS = {
    "output": "y = Concat<axis = 1>(pixels, scores)",
    "moved": "joined = Concat<axis = 1>(pixels, scores) y = Transpose<perm = [0, 2, 1]>(joined)",
    "padded": "first = Pad(pixels, after) last = Pad(scores, before) y = Add(first, last)",
    "nested": "both = Concat<axis = 1>(pixels, pixels) y = Concat<axis = 1>(scores, both)",
    "scaled": "joined = Concat<axis = 1>(pixels, scores) y = Mul(joined, two)",
    "divided": "joined = Concat<axis = 1>(pixels, scores) one, other = Split<axis = 1>(joined, parts) "
    "y = Concat<axis = 1>(other, one)",
}


def detector(path: Path, tail: str, wide: float = 320.0) -> Path:
    """Write a model of ``x`` [batch, 8, 16] with ``pixels`` up to ``wide`` and ``scores`` up to 1."""
    model = parser.parse_model(f"""<ir_version: 9, opset_import: ["": 17]>
    g (float[batch, 8, 16] x) => (float[batch, a, b] y) {{
        box_logits = MatMul(x, boxes)
        unit = Sigmoid(box_logits)
        pixels = Mul(unit, wide)
        logits = MatMul(x, classes)
        scores = Sigmoid(logits)
        {tail}
    }}""")
    random = np.random.default_rng(7)
    arrays = {"boxes": random.normal(size=(16, 16)), "classes": random.normal(size=(16, 16)), "two": np.array(2.0)}
    weights = {name: array.astype(np.float32) for name, array in (arrays | {"wide": np.array(wide)}).items()}
    weights["parts"] = np.array([8, 8])
    weights |= {"before": np.array([0, 8, 0, 0, 0, 0]), "after": np.array([0, 0, 0, 0, 8, 0])}
    weights["dense"] = random.normal(0, 0.2, (16, 4)).astype(np.float32)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.save(model, path)
    return path


def samples(count: int, seed: int) -> Array:
    """Return inputs of ``detector``."""
    return np.random.default_rng(seed).normal(size=(count, 8, 16)).astype(np.float32)


def outputs(path: Path) -> Array:
    """Return the outputs of a model for 32 samples."""
    session = open_session(str(path), onnxruntime.SessionOptions())
    return np.asarray(session.run(None, {"x": samples(32, 2)})[0])


def quantized(model: Path, folder: Path, **changes: Any) -> Any:
    """Return the model in INT8, calibrated by the default method unless the test sets another one."""
    spec = CalibrationSpec.model_validate({"data": "memory", **changes})
    return quantize(model, folder / "out", MemoryData(x=samples(64, 1)), spec)


@pytest.mark.parametrize("tail", TAILS)
def test_scores_next_to_boxes(tmp_path: Path, tail: str) -> None:
    """Each score is within 0.1 of the float model's, whatever reads the joined values; both products are in INT8."""
    model = detector(tmp_path / "m.onnx", TAILS[tail])
    made = quantized(model, tmp_path)
    expected, obtained = outputs(model), outputs(made.path)
    is_score = expected == outputs(detector(tmp_path / "wider.onnx", TAILS[tail], wide=640.0))
    error = np.abs(obtained - expected)
    assert error[is_score].max() < 0.1 * expected[is_score].max()
    assert error.max() < 0.1 * expected.max()
    assert len(made.provenance["quantized"]) == 2
    assert made.provenance["floating"]["reasons"]["unlike ranges"] >= 2  # also the product that only the Concat reads


def test_a_layer_that_reads_unlike_ranges(tmp_path: Path) -> None:
    """A product that reads the joined values stays in float, in each layout, and the record has the reason."""
    model = detector(tmp_path / "m.onnx", "joined = Concat<axis = 1>(pixels, scores) y = MatMul(joined, dense)")
    data, spec = MemoryData(x=samples(64, 1)), CalibrationSpec(data="memory")
    for layout in ("onnxruntime", "tensorrt"):
        made = quantize(model, tmp_path / layout, data, spec, layout=layout)
        assert len(made.provenance["quantized"]) == 2
        assert "joined" not in read_ranges(made.path).scales
        assert "values up to 1 and up to 32" in made.provenance["skipped"]["joined"]


def test_alike_ranges_stay_in_int8(tmp_path: Path) -> None:
    """A Concat whose inputs differ by less than a factor of eight runs in INT8."""
    made = quantized(detector(tmp_path / "m.onnx", TAILS["output"], wide=4.0), tmp_path)
    assert "unlike ranges" not in made.provenance["floating"]["reasons"]
    assert {"pixels", "scores"} <= set(read_ranges(made.path).scales)


def test_the_sum_behind_a_join_is_quantized(tmp_path: Path) -> None:
    """A sum of joined values and other activations is quantized."""
    tail = "joined = Concat<axis = 1>(pixels, scores) twice = Concat<axis = 1>(logits, logits) "
    made = quantized(detector(tmp_path / "m.onnx", f"{tail} sum = Add(joined, twice) y = MatMul(sum, dense)"), tmp_path)
    assert len(made.provenance["quantized"]) == 3


def test_an_excluded_node_and_its_readers(tmp_path: Path) -> None:
    """Nodes that only move an excluded node's result do not round it; the record names each product that rounds it."""
    tail = "moved = Transpose<perm = [0, 2, 1]>(pixels) half = Mul(moved, two) y = MatMul(half, square)"
    model = onnx.load(str(detector(tmp_path / "m.onnx", tail)))
    model.graph.initializer.append(numpy_helper.from_array(np.ones((8, 8), np.float32) / 8, "square"))
    for node in model.graph.node:
        node.name = f"n_{node.output[0]}"
    onnx.save(model, tmp_path / "m.onnx")
    made = quantized(tmp_path / "m.onnx", tmp_path, exclude_nodes=("n_pixels",))
    assert {"pixels", "moved"}.isdisjoint(read_ranges(made.path).scales)
    assert {"n_pixels", "n_moved", "n_half"} <= set(made.provenance["floating"]["nodes"])
    again = quantized(tmp_path / "m.onnx", tmp_path, exclude_nodes=("n_half",))
    assert again.provenance["floating"]["rounded"] == {
        "n_half": [
            "its input moved is rounded to INT8 by the node before",
            "its output half is rounded to INT8 for n_y",
        ]
    }
