"""The estimated effect of rounding on a reference: it allows for sound engines in FP16, and for no fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hil.checks.properties import difference
from hil.onnx_files.reference import cpu_session
from hil.onnx_files.rounding_error import RoundingErrors
from hil.session.properties.drawing import KINDS, Recipe
from tests.models import write

MODEL = Path(__file__).parents[2] / "examples/filter/model.onnx"
X = np.full((1, 4), 3.0, np.float32)
STATES = {"estimate": "next_estimate", "memory": "next_memory"}
BEGIN = {"estimate": np.zeros((1, 12), np.float32), "memory": np.zeros((1, 32), np.float32)}
SCALES = {"position": 3.1, "velocity": 5.0, "next_estimate": 5.0, "next_memory": 1.0}


@pytest.mark.parametrize(("precision", "unit"), [("fp16", 2.0**-11), ("tf32", 2.0**-11), ("bf16", 2.0**-8)])
def test_the_error_follows_from_what_the_model_does_with_its_input(precision: str, unit: float, tmp_path: Path) -> None:
    """The estimated error of a difference is that of its two large operands, however small the difference is."""
    nodes = [helper.make_node("Mul", ["x", "x"], ["square"]), helper.make_node("Sub", ["square", "large"], ["y"])]
    large = {"large": np.array(9.0, np.float32)}
    path = write(tmp_path / "m.onnx", nodes, {"x": ["n", 4]}, {"y": ["n", 4]}, large)
    errors = RoundingErrors(path, precision)
    found = errors.of(0, [("y", np.zeros((1, 4), np.float32))], {"x": X})
    # x counts twice in its square, which is rounded too, and so is the constant: sums of uniform errors.
    assert 0.5 < found["y"] / (9 * unit * ((2**2 + 1 + 1) / 3) ** 0.5) < 2
    assert errors.of(0, [("y", np.zeros((1, 4), np.float32))], {"x": X}) == found


def test_sizes_stay_exact_and_a_model_that_does_not_run_has_no_errors(tmp_path: Path) -> None:
    """The scales of a Resize are not rounded, and a model that cannot run with the inputs has no estimated errors."""
    scales = {"scales": np.array([1.0, 3.0], np.float32)}
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")]
    path = write(tmp_path / "m.onnx", nodes, {"x": ["n", 4]}, {"y": ["n", 12]}, scales)
    outputs = [("y", np.full((1, 12), 3.0, np.float32))]
    assert RoundingErrors(path, "fp16").of(0, outputs, {"x": X})["y"] > 0
    assert not RoundingErrors(path, "fp16").of(0, outputs, {"other": X})


def _fp16(model: onnx.ModelProto, scale: float) -> bytes:
    """Return the model with ``memory`` scaled and each FP32 value rounded to FP16, as an engine of FP16 computes."""
    made = onnx.ModelProto.FromString(model.SerializeToString())
    known = onnx.shape_inference.infer_shapes(made).graph
    floats = {one.name for one in known.initializer if one.data_type == TensorProto.FLOAT}
    floats |= {one.name for one in (*known.input, *known.value_info, *known.output)}
    made.graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), "damage"))
    nodes = [helper.make_node("Mul", ["memory", "damage"], ["memory.damaged"])]

    def rounded(source: str, result: str) -> None:
        nodes.append(helper.make_node("Cast", [source], [f"{result}.half"], to=TensorProto.FLOAT16))
        nodes.append(helper.make_node("Cast", [f"{result}.half"], [result], to=TensorProto.FLOAT))

    begins = {one.name: f"{one.name}.rounded" for one in (*known.input, *known.initializer) if one.name in floats}
    for name, result in begins.items():
        rounded("memory.damaged" if name == "memory" else name, result)
    for node in model.graph.node:
        outputs = [f"{name}.raw" if name in floats else name for name in node.output]
        nodes.append(helper.make_node(node.op_type, [begins.get(name, name) for name in node.input], outputs))
        nodes[-1].attribute.extend(node.attribute)
        for name in node.output:
            if name in floats:
                rounded(f"{name}.raw", name)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize(("scale", "sound"), [(1.0, True), (0.98, False), (0.0, False)])
def test_drawn_steps_tell_rounding_from_a_fault(scale: float, sound: bool, tmp_path: Path) -> None:
    """Steps that amplify the rounding of FP16 beyond the tolerance pass; a state that is scaled or lost does not."""
    (tmp_path / "fp16.onnx").write_bytes(_fp16(onnx.load(MODEL), scale))
    reference, engine = cpu_session(MODEL), cpu_session(tmp_path / "fp16.onnx")
    data, errors = np.load(MODEL.parent / "validation.npz"), RoundingErrors(MODEL, "fp16")
    ranges = {name: (float(data[name].min()), float(data[name].max())) for name in ("encoder", "torque")}
    beyond, wrong = 0, 0
    for number, kind in enumerate(KINDS):
        recipe, states = Recipe(kind, seed=number), BEGIN
        steps = {name: recipe.array("float32", (12, 6), *ends) for name, ends in ranges.items()}
        for step in range(12):
            feeds: dict[str, Any] = {name: array[step : step + 1] for name, array in steps.items()} | states
            ours, theirs = (list(zip(SCALES, one.run([*SCALES], feeds), strict=True)) for one in (reference, engine))
            beyond += bool(difference(ours, theirs, SCALES, "fp16"))
            key = (number, step)
            rounding = lambda key=key, ours=ours, feeds=feeds: errors.of(key, ours, feeds)  # noqa: E731 - of this step
            wrong += bool(difference(ours, theirs, SCALES, "fp16", rounding=rounding))
            states = {name: dict(ours)[output] for name, output in STATES.items()}
    assert beyond >= 5
    assert (wrong == 0) is sound
