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
from tests.diagnose.graphs import copied, feeds, net, node, with_constant
from tests.models import images, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


MAKE = {"fp32": optimized, "fp16": in_fp16}


def one_weight(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """One element far out of place."""
    changed: np.ndarray[Any, Any] = array.copy()
    changed.flat[7] = 9.0
    return changed


def samples(count: int) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Single samples for calibration."""
    return [{"image": row[None]} for row in images(count, 8)]


@pytest.mark.parametrize(
    ("constant", "change", "named", "cause"),
    [
        ("kernel", one_weight, "conv", Cause.WEIGHTS),
        ("kernel", lambda a: np.flip(a, 1), "conv", Cause.CHANNELS),
        ("kernel", lambda a: a * 0.5, "conv", Cause.SCALE),
        ("offset", lambda a: a * 0, "conv", Cause.BIAS),
        ("dense", one_weight, "head", Cause.WEIGHTS),
        ("gain", lambda a: a * 0.5, "norm", Cause.SCALE),
    ],
)
def test_a_changed_constant_is_found_at_its_node(
    tmp_path: Path, constant: str, change: Callable[[Any], Any], named: str, cause: Cause
) -> None:
    """The node that reads it is named alone, with the kind of change, whatever its error does behind it."""
    model = net(tmp_path, norm=True)
    found = diagnose(model, with_constant(model, constant, change), feeds(), "fp32")
    assert [one.seen.node.name for one in found.culprits] == [named]
    assert found.culprits[0].cause is cause
    assert found.culprits[0].after == pytest.approx(0, abs=1e-6)  # putting that tensor right puts the outputs right
    assert found.culprits[0].before == max(found.outputs.values()) > 0


def test_introducing_is_told_from_passing_on(tmp_path: Path) -> None:
    """Everything behind the fault differs in the whole engine, and only the fault by itself."""
    model = net(tmp_path)
    found = diagnose(model, with_constant(model, "kernel", one_weight), feeds(), "fp32")
    assert found.first is not None
    assert found.first.node.name == "conv"
    behind = [one for one in found.grown if one.node.name != "conv"]
    assert behind
    assert all(one.alone <= one.bound < one.whole for one in behind)


def test_an_attribute_is_found(tmp_path: Path) -> None:
    """Another epsilon is told with both values."""
    model = net(tmp_path, norm=True)
    suspect = copied(model)
    node(suspect, "norm").attribute.append(helper.make_attribute("epsilon", 0.1))
    (culprit,) = diagnose(model, suspect, feeds(), "fp32").culprits
    assert culprit.cause is Cause.EPSILON
    assert "0.1" in culprit.evidence[0]


def test_a_bias_that_is_left_out_is_found(tmp_path: Path) -> None:
    """An operand that the model has and the engine's graph has not."""
    model = net(tmp_path)
    suspect = copied(model)
    del node(suspect, "conv").input[2]
    (culprit,) = diagnose(model, suspect, feeds(), "fp32").culprits
    assert (culprit.seen.node.name, culprit.cause) == ("conv", Cause.BIAS)


def test_other_preprocessing_is_found_at_the_input(tmp_path: Path) -> None:
    """Nodes between the input and the first one of the model are the cause, not that one."""
    model = net(tmp_path)
    suspect = copied(model)
    suspect.graph.initializer.append(numpy_helper.from_array(np.float32(2), "two"))
    node(suspect, "conv").input[0] = "doubled"
    suspect.graph.node.insert(0, helper.make_node("Mul", ["image", "two"], ["doubled"], name="pre"))
    (culprit,) = diagnose(model, suspect, feeds(), "fp32").culprits
    assert (culprit.seen.node.name, culprit.cause) == ("conv", Cause.PREPROCESSING)
    assert "image" in culprit.evidence[0]


def test_fp16_overflow_is_found(tmp_path: Path) -> None:
    """A node whose values FP16 cannot hold is named, not the healthy ones behind it, and its range is told."""
    model = with_constant(net(tmp_path), "kernel", lambda a: a * 1e5)
    model = with_constant(model, "dense", lambda a: a * 1e-5)
    found = diagnose(model, in_fp16(model), feeds(), "fp16")
    assert (found.culprits[0].seen.node.name, found.culprits[0].cause) == ("conv", Cause.OVERFLOW)
    assert "65504" in found.culprits[0].evidence[0]


def narrow(model: onnx.ModelProto, fed: Mapping[str, Any]) -> dict[str, Any]:
    """A runtime that computes in FP16 inside, and keeps what it gives out in FP32, as TensorRT does."""
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
    """The nodes in an order in which each finds what it reads."""
    left, known = list(model.graph.node), {one.name for one in (*model.graph.input, *model.graph.initializer)}
    del model.graph.node[:]
    while left:
        ready = [one for one in left if set(one.input) <= known | {""}]
        model.graph.node.extend(ready)
        known |= {name for one in ready for name in one.output}
        left = [one for one in left if one not in ready]
    return model


@pytest.mark.parametrize("factor", [1e5, 1e3])
def test_an_overflow_inside_the_engine_alone_is_no_wrong_fusion(tmp_path: Path, factor: float) -> None:
    """Each node is right by itself and so is the marked engine: the first tensor that FP16 cannot hold is named."""
    model = with_constant(net(tmp_path), "kernel", lambda a: a * factor)
    model = with_constant(model, "dense", lambda a: a / factor)
    found = diagnose(model, model, feeds(), "fp16", narrow)
    if factor == 1e3:
        assert not found.culprits, list(sentences.lines(found))
        return
    (culprit,) = found.culprits
    assert (culprit.seen.node.name, culprit.cause) == ("conv", Cause.OVERFLOW)
    assert "FP16 ends at 65504" in culprit.evidence[0]
    assert culprit.before == math.inf
    assert culprit.after is not None
    assert culprit.after < 0.01


@pytest.mark.parametrize("tensor", ["pooled", "image"])
@pytest.mark.parametrize(("factor", "cause"), [(0.1, Cause.SATURATED), (10.0, Cause.COARSE)])
def test_a_wrong_scale_is_found_at_its_tensor(tmp_path: Path, factor: float, cause: Cause, tensor: str) -> None:
    """Of an INT8 graph the tensor whose range is wrong, too narrow or too wide, be it an input of the model."""
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
    found = diagnose(model, suspect, feeds(), "int8")
    assert (found.culprits[0].seen.tensor, found.culprits[0].cause) == (tensor, cause)
    assert "covers" in found.culprits[0].evidence[0]


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_healthy_engine_is_not_accused(tmp_path: Path, precision: str, norm: bool) -> None:
    """What rewriting, rounding and quantizing do to a sound graph is nobody's fault."""
    model = net(tmp_path, norm=norm)
    suspect = in_int8(model, samples(16)) if precision == "int8" else MAKE[precision](model)
    found = diagnose(model, suspect, feeds(), precision)
    assert not found.culprits, list(sentences.lines(found))
    assert found.looked_at
    assert sentences.sentence(found) == ""
    assert "no node is at fault" in sentences.verdict(found)


def test_several_outputs_are_all_looked_at(tmp_path: Path) -> None:
    """A fault that only the second output sees is found, and both are told."""
    shape: dict[str, list[int | str]] = {"x": ["n", 3]}
    nodes = [
        helper.make_node("Mul", ["x", "a"], ["one"], name="first"),
        helper.make_node("Mul", ["x", "b"], ["two"], name="second"),
    ]
    weights = {"a": np.array([1, 2, 3], np.float32), "b": np.array([4, 5, 6], np.float32)}
    model = onnx.load(str(write(tmp_path / "two.onnx", nodes, shape, {"one": shape["x"], "two": shape["x"]}, weights)))
    suspect = with_constant(model, "b", lambda array: array[::-1])
    found = diagnose(model, suspect, {"x": np.ones((2, 3), np.float32)}, "fp32")
    assert found.outputs["one"] == 0 < found.outputs["two"]
    assert [one.seen.node.name for one in found.culprits] == ["second"]


def branching(folder: Path, factor: float) -> onnx.ModelProto:
    """If(always) { x * factor }, then relu; the body takes x from outside."""
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
    """A fault inside a body is laid to the outer node, and that nobody looked inside is said."""
    found = diagnose(branching(tmp_path, 2), branching(tmp_path, 3), {"x": np.ones((2, 3), np.float32)}, "fp32")
    assert [one.seen.node.name for one in found.culprits] == ["branch"]
    assert any("bodies of branch" in note for note in found.notes)


def fusing(model: onnx.ModelProto, fed: Mapping[str, Any]) -> dict[str, Any]:
    """A runtime that fuses Conv and Relu, wrongly: where nobody looks between them, the Relu is a LeakyRelu."""
    made = copied(model)
    outputs = {one.name for one in made.graph.output}
    makers = {one.output[0]: one.op_type for one in made.graph.node}
    for one in made.graph.node:
        if one.op_type == "Relu" and makers.get(one.input[0]) == "Conv" and one.input[0] not in outputs:
            one.op_type = "LeakyRelu"
            one.attribute.append(helper.make_attribute("alpha", 0.3))
    return on_host(made, fed)


def test_a_wrong_fusion_that_marking_mends_is_bisected(tmp_path: Path) -> None:
    """Each node is right alone and the marked engine too: the mark that mends the outputs is searched for."""
    model = net(tmp_path)
    found = diagnose(model, model, feeds(), "fp32", fusing)
    (culprit,) = found.culprits
    assert (culprit.seen.node.name, culprit.cause) == ("conv", Cause.FUSION)
    assert max(found.outputs.values()) > 0.01 > max(found.marked.values())
    assert culprit.after == pytest.approx(0, abs=1e-6)


def whole_only(model: onnx.ModelProto, fed: Mapping[str, Any]) -> dict[str, Any]:
    """A runtime that errs at the mean only in a graph that has the convolution too, whatever is marked."""
    made = copied(model)
    if not {"flat", "pooled", "lit"} & set(fed):
        node(made, "mean").op_type = "GlobalMaxPool"
    return on_host(made, fed)


def test_an_error_of_the_whole_engine_alone_is_found_by_what_arrives(tmp_path: Path) -> None:
    """A node that makes something else of the same values inside the engine than by itself is named."""
    model = net(tmp_path)
    (culprit,) = diagnose(model, model, feeds(), "fp32", whole_only).culprits
    assert (culprit.seen.node.name, culprit.cause) == ("mean", Cause.FUSION)


def test_a_diagnosis_is_the_same_twice(tmp_path: Path) -> None:
    """Nothing in it is drawn anew: two runs give the same JSON."""
    model = net(tmp_path)
    suspect = with_constant(model, "kernel", one_weight)
    first, again = (diagnose(model, suspect, feeds(), "fp32").as_json() for _ in range(2))
    assert first == again
