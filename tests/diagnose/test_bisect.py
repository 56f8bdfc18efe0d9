from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.parity.engines import in_fp16, in_int8, optimized
from hil.diagnose import sentences
from hil.diagnose.bisect import diagnose
from hil.diagnose.diagnosis import Cause
from hil.diagnose.graph import DEQUANTIZE, QUANTIZE
from hil.diagnose.running import on_host
from hil.diagnose.tensor_error import error, slice_error
from tests.diagnose.graphs import copied, feeds, net, node, with_constant
from tests.models import images, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


MAKE = {"fp32": optimized, "fp16": in_fp16}


def one_weight(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a copy with one element far off."""
    changed: np.ndarray[Any, Any] = array.copy()
    changed.flat[7] = 9.0
    return changed


def samples(count: int) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Return single samples for calibration."""
    return [{"image": row[None]} for row in images(count, 8)]


@pytest.mark.parametrize(
    ("constant", "change", "named", "cause"),
    [
        ("kernel", one_weight, "conv", Cause.WEIGHTS),
        ("kernel", lambda a: np.flip(a, 1), "conv", Cause.CHANNELS),
        ("kernel", lambda a: a * 0.5, "conv", Cause.SCALE),
        ("kernel", lambda a: a * 0, "conv", Cause.WEIGHTS),
        ("offset", lambda a: a * 0, "conv", Cause.BIAS),
        ("dense", one_weight, "head", Cause.WEIGHTS),
        ("gain", lambda a: a * 0.5, "norm", Cause.SCALE),
    ],
)
def test_a_changed_constant_is_found_at_its_node(
    tmp_path: Path, constant: str, change: Callable[[Any], Any], named: str, cause: Cause
) -> None:
    """Only the node that reads the constant is named, with the kind of change, although later tensors differ too."""
    model = net(tmp_path, norm=True)
    diagnosis = diagnose(model, with_constant(model, constant, change), feeds(), "fp32")
    assert [one.seen.node.name for one in diagnosis.culprits] == [named]
    assert diagnosis.culprits[0].cause is cause
    assert diagnosis.culprits[0].after == pytest.approx(0, abs=1e-6)  # correcting that tensor corrects the outputs
    assert diagnosis.culprits[0].before == max(diagnosis.outputs.values()) > 0


def test_nodes_that_pass_an_error_on_are_not_accused(tmp_path: Path) -> None:
    """Only the faulty node is named, although every later tensor of the engine differs too."""
    model = net(tmp_path)
    diagnosis = diagnose(model, with_constant(model, "kernel", one_weight), feeds(), "fp32")
    assert diagnosis.first is not None
    assert diagnosis.first.node.name == "conv"
    behind = [one for one in diagnosis.grown if one.node.name != "conv"]
    assert behind
    assert all(one.alone <= one.bound < one.whole for one in behind)


def test_ranges_that_follow_from_a_changed_node_are_named_after_it(tmp_path: Path) -> None:
    """Ranges that are wrong because of wrong weights are listed after the node with these weights."""
    model = net(tmp_path)
    suspect = in_int8(with_constant(model, "kernel", lambda array: array * 0.02), samples(64))
    first, *others = diagnose(model, suspect, feeds(), "int8").culprits
    assert (first.seen.node.name, first.cause) == ("conv", Cause.WEIGHTS)
    assert {one.cause for one in others} == {Cause.SATURATED}


def test_an_attribute_is_found(tmp_path: Path) -> None:
    """A different epsilon is reported with its value."""
    model = net(tmp_path, norm=True)
    suspect = copied(model)
    node(suspect, "norm").attribute.append(helper.make_attribute("epsilon", 0.1))
    (culprit,) = diagnose(model, suspect, feeds(), "fp32").culprits
    assert culprit.cause is Cause.EPSILON
    assert "0.1" in culprit.evidence[0]


def test_a_missing_bias_is_found(tmp_path: Path) -> None:
    """A Conv without the model's bias is named, with the cause."""
    model = net(tmp_path)
    suspect = copied(model)
    del node(suspect, "conv").input[2]
    (culprit,) = diagnose(model, suspect, feeds(), "fp32").culprits
    assert (culprit.seen.node.name, culprit.cause) == ("conv", Cause.BIAS)


def test_other_preprocessing_is_found_at_the_input(tmp_path: Path) -> None:
    """Extra nodes before the model's first node are reported as preprocessing."""
    model = net(tmp_path)
    suspect = copied(model)
    suspect.graph.initializer.append(numpy_helper.from_array(np.float32(2), "two"))
    node(suspect, "conv").input[0] = "doubled"
    suspect.graph.node.insert(0, helper.make_node("Mul", ["image", "two"], ["doubled"], name="pre"))
    (culprit,) = diagnose(model, suspect, feeds(), "fp32").culprits
    assert (culprit.seen.node.name, culprit.cause) == ("conv", Cause.PREPROCESSING)
    assert "image" in culprit.evidence[0]


def test_fp16_overflow_is_found(tmp_path: Path) -> None:
    """The node whose values exceed FP16 is named with its range, and not the correct nodes after it."""
    model = with_constant(net(tmp_path), "kernel", lambda a: a * 1e5)
    model = with_constant(model, "dense", lambda a: a * 1e-5)
    diagnosis = diagnose(model, in_fp16(model), feeds(), "fp16")
    assert (diagnosis.culprits[0].seen.node.name, diagnosis.culprits[0].cause) == ("conv", Cause.OVERFLOW)
    assert "65504" in diagnosis.culprits[0].evidence[0]


def narrow(model: onnx.ModelProto, fed: Mapping[str, Any]) -> dict[str, Any]:
    """Run ``model`` with intermediates in FP16 and outputs in FP32, as TensorRT does."""
    made = copied(model)
    outputs = {one.name for one in made.graph.output}
    inner = [one for one in made.graph.node if one.output[0] not in outputs]
    for one in inner:
        name = one.output[0]
        one.output[0] = f"{name}_wide"
        made.graph.node.append(helper.make_node("Cast", [f"{name}_wide"], [f"{name}_half"], to=TensorProto.FLOAT16))
        made.graph.node.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    return on_host(ordered(made), fed)


def ordered(model: onnx.ModelProto) -> onnx.ModelProto:
    """Sort the nodes topologically."""
    left, known = list(model.graph.node), {one.name for one in (*model.graph.input, *model.graph.initializer)}
    del model.graph.node[:]
    while left:
        ready = [one for one in left if set(one.input) <= known | {""}]
        model.graph.node.extend(ready)
        known |= {name for one in ready for name in one.output}
        left = [one for one in left if one not in ready]
    return model


@pytest.mark.parametrize("factor", [1e5, 1e3])
def test_an_overflow_inside_the_engine_is_not_a_wrong_fusion(tmp_path: Path, factor: float) -> None:
    """A tensor beyond FP16's range is named as an overflow, even if each node alone gives the right values."""
    model = with_constant(net(tmp_path), "kernel", lambda a: a * factor)
    model = with_constant(model, "dense", lambda a: a / factor)
    diagnosis = diagnose(model, model, feeds(), "fp16", narrow)
    if factor == 1e3:
        assert not diagnosis.culprits, list(sentences.lines(diagnosis))
        return
    (culprit,) = diagnosis.culprits
    assert (culprit.seen.node.name, culprit.cause) == ("conv", Cause.OVERFLOW)
    assert "FP16 ends at 65504" in culprit.evidence[0]
    assert culprit.before == math.inf
    assert culprit.after is not None
    assert culprit.after < 0.01


@pytest.mark.parametrize("tensor", ["pooled", "image"])
@pytest.mark.parametrize(("factor", "cause"), [(0.1, Cause.SATURATED), (10.0, Cause.COARSE)])
def test_a_wrong_scale_is_found_at_its_tensor(tmp_path: Path, factor: float, cause: Cause, tensor: str) -> None:
    """A range that is too narrow or too wide is found at its tensor, also at an input of the model."""
    model = net(tmp_path)
    suspect = in_int8(model, samples(16))
    wrong = {}
    for one in suspect.graph.node:
        if one.op_type in {QUANTIZE, DEQUANTIZE} and one.input[0] in {tensor, f"{tensor}_QuantizeLinear_Output"}:
            wrong[one.input[1]] = f"{one.input[1]}_wrong"
            one.input[1] = wrong[one.input[1]]
    assert wrong
    for one in list(suspect.graph.initializer):
        if one.name in wrong:
            scaled = numpy_helper.to_array(one) * np.float32(factor)
            suspect.graph.initializer.append(numpy_helper.from_array(scaled, wrong[one.name]))
    diagnosis = diagnose(model, suspect, feeds(), "int8")
    assert (diagnosis.culprits[0].seen.tensor, diagnosis.culprits[0].cause) == (tensor, cause)
    assert "covers" in diagnosis.culprits[0].evidence[0]


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_correct_engine_has_no_culprit(tmp_path: Path, precision: str, norm: bool) -> None:
    """Errors from rewriting, rounding and quantizing a correct graph are not a fault."""
    model = net(tmp_path, norm=norm)
    suspect = in_int8(model, samples(16)) if precision == "int8" else MAKE[precision](model)
    diagnosis = diagnose(model, suspect, feeds(), precision)
    assert not diagnosis.culprits, list(sentences.lines(diagnosis))
    assert diagnosis.looked_at
    assert sentences.sentence(diagnosis) == ""
    assert "no node is at fault" in sentences.verdict(diagnosis)


def test_all_outputs_are_examined(tmp_path: Path) -> None:
    """A fault that affects only the second output is found, and the errors of both are reported."""
    shape: dict[str, list[int | str]] = {"x": ["n", 3]}
    nodes = [
        helper.make_node("Mul", ["x", "a"], ["one"], name="first"),
        helper.make_node("Mul", ["x", "b"], ["two"], name="second"),
    ]
    weights = {"a": np.array([1, 2, 3], np.float32), "b": np.array([4, 5, 6], np.float32)}
    model = onnx.load(str(write(tmp_path / "two.onnx", nodes, shape, {"one": shape["x"], "two": shape["x"]}, weights)))
    suspect = with_constant(model, "b", lambda array: array[::-1])
    diagnosis = diagnose(model, suspect, {"x": np.ones((2, 3), np.float32)}, "fp32")
    assert diagnosis.outputs["one"] == 0 < diagnosis.outputs["two"]
    assert [one.seen.node.name for one in diagnosis.culprits] == ["second"]


def branching(folder: Path, factor: float) -> onnx.ModelProto:
    """Return a model of If(always) { x * factor } and Relu; the body reads x from the outer graph."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["inner"])], "body", [], [value("inner", TensorProto.FLOAT, None)]
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], name="top", keepdims=0),
        helper.make_node("Greater", ["top", "low"], ["yes"], name="ask"),
        helper.make_node("If", ["yes"], ["branched"], name="branch", then_branch=body, else_branch=body),
        helper.make_node("Relu", ["branched"], ["y"], name="relu"),
    ]
    weights = {"factor": np.array(factor, np.float32), "low": np.array(-100, np.float32)}
    return onnx.load(str(write(folder / "if.onnx", nodes, {"x": ["n", 3]}, {"y": ["n", 3]}, weights)))


def test_control_flow_is_one_node(tmp_path: Path) -> None:
    """A fault inside a body is reported at the outer node, with a note that bodies are not examined."""
    diagnosis = diagnose(branching(tmp_path, 2), branching(tmp_path, 3), {"x": np.ones((2, 3), np.float32)}, "fp32")
    assert [one.seen.node.name for one in diagnosis.culprits] == ["branch"]
    assert any("bodies of branch" in note for note in diagnosis.notes)


def fusing(model: onnx.ModelProto, fed: Mapping[str, Any]) -> dict[str, Any]:
    """Run ``model`` with a wrong fusion: a Relu acts as a LeakyRelu if its input is a Conv's and not an output."""
    made = copied(model)
    outputs = {one.name for one in made.graph.output}
    makers = {one.output[0]: one.op_type for one in made.graph.node}
    for one in made.graph.node:
        if one.op_type == "Relu" and makers.get(one.input[0]) == "Conv" and one.input[0] not in outputs:
            one.op_type = "LeakyRelu"
            one.attribute.append(helper.make_attribute("alpha", 0.3))
    return on_host(made, fed)


def test_a_wrong_fusion_that_marking_prevents_is_bisected(tmp_path: Path) -> None:
    """If each node alone is right, the node whose tensor corrects the engine when it is made an output is named."""
    model = net(tmp_path)
    diagnosis = diagnose(model, model, feeds(), "fp32", fusing)
    (culprit,) = diagnosis.culprits
    assert (culprit.seen.node.name, culprit.cause) == ("conv", Cause.FUSION)
    assert max(diagnosis.outputs.values()) > 0.01 > max(diagnosis.marked.values())
    assert culprit.after == pytest.approx(0, abs=1e-6)


def whole_only(model: onnx.ModelProto, fed: Mapping[str, Any]) -> dict[str, Any]:
    """Run ``model`` with a wrong mean, but only in a graph that also has the convolution."""
    made = copied(model)
    if not {"flat", "pooled", "lit"} & set(fed):
        node(made, "mean").op_type = "GlobalMaxPool"
    return on_host(made, fed)


def test_an_error_only_in_the_whole_engine_is_found(tmp_path: Path) -> None:
    """A node is named whose values in the whole engine differ from its values alone on the same inputs."""
    model = net(tmp_path)
    (culprit,) = diagnose(model, model, feeds(), "fp32", whole_only).culprits
    assert (culprit.seen.node.name, culprit.cause) == ("mean", Cause.FUSION)


def turning(path: Path, order: list[int], rows: int) -> onnx.ModelProto:
    """Write and return a network that transposes ``x``, multiplies it with a matrix of ``rows`` rows, and averages."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], name="turn", perm=order),
        helper.make_node("MatMul", ["turned", "weight"], ["product"], name="product"),
        helper.make_node("ReduceMean", ["product"], ["y"], name="mean", axes=[1], keepdims=0),
    ]
    weight = {"weight": np.linspace(-1, 1, 2 * rows, dtype=np.float32).reshape(rows, 2)}
    return onnx.load(write(path, nodes, {"x": [1, 3, 4]}, {"y": [1, 2]}, weight, opset=17))


def test_a_tensor_of_another_shape_is_named_although_correcting_it_cannot_run(tmp_path: Path) -> None:
    """A node that gives another shape is named; the error after correcting it is None, since the rest cannot run."""
    model, engine = turning(tmp_path / "a.onnx", [0, 2, 1], 3), turning(tmp_path / "b.onnx", [0, 1, 2], 4)
    x = np.random.default_rng(0).normal(size=(1, 3, 4)).astype(np.float32)
    diagnosis = diagnose(model, engine, {"x": x}, "fp32")
    assert diagnosis.culprits[0].seen.node.name == "turn"
    assert diagnosis.culprits[0].after is None


def test_a_diagnosis_is_deterministic(tmp_path: Path) -> None:
    """Two runs give the same JSON."""
    model = net(tmp_path)
    suspect = with_constant(model, "kernel", one_weight)
    first, again = (diagnose(model, suspect, feeds(), "fp32").as_json() for _ in range(2))
    assert first == again


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_large_values_are_no_overflow_in_an_engine_without_fp16(tmp_path: Path, precision: str) -> None:
    """Values beyond the range of FP16 that the engine holds are not evidence of an overflow."""
    model = with_constant(net(tmp_path), "kernel", lambda a: a * 1e6)
    suspect = with_constant(model, "kernel", lambda a: a * 1.5)
    (culprit, *_) = diagnose(model, suspect, feeds(), precision).culprits
    assert culprit.seen.node.name == "conv"
    assert culprit.cause not in {Cause.OVERFLOW, Cause.NOT_FINITE}


def test_a_mask_hides_no_error() -> None:
    """Beside equal masks of -1e9, the error is that of the other values; a mask that the engine lacks is an error."""
    expected = np.random.default_rng(0).normal(0, 1, (4, 6, 50)).astype(np.float32)
    masked = np.random.default_rng(1).random(expected.shape) < 0.3
    swapped = np.where(masked, -1e9, -expected).astype(np.float32)
    expected[masked] = -1e9
    assert error(expected, swapped) == pytest.approx(2)
    assert slice_error(expected, swapped) > 1
    assert error(expected, np.where(masked, 0, expected)) == pytest.approx(1)
    assert error(expected, expected) == 0


def test_lost_scores_next_to_boxes_are_a_large_error() -> None:
    """The error of a slice is relative to its own deviation: zeros for scores are an error of about 1."""
    random = np.random.default_rng(0)
    boxes, scores = random.uniform(0, 320, (1, 4, 200)), random.uniform(0, 1, (1, 2, 200))
    expected = np.concatenate([boxes, scores], axis=1).astype(np.float32)
    dead = expected.copy()
    dead[:, 4:] = 0
    assert error(expected, dead) < 0.01
    assert slice_error(expected, dead) > 1
    assert slice_error(expected, expected * np.float32(1.001)) < 0.01
    assert slice_error(np.zeros((2, 3)), np.zeros((2, 3))) == 0
