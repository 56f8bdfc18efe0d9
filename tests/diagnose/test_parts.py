from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from benchmarks.parity.engines import in_int8
from hil.diagnose import constants, error_bounds
from hil.diagnose.diagnosis import Cause
from hil.diagnose.graph import Graph, Pair, pairs, regions, tensors_read_by
from hil.diagnose.running import on_host, portions
from hil.diagnose.tensor_error import clipped, error, statistics
from hil.diagnose.variants import OWN, marked, patched, severed, types_of
from hil.errors import EngineBuildError
from hil.onnx_files.signature import read_signature
from tests.diagnose.graphs import copied, feeds, net, node
from tests.models import images

if TYPE_CHECKING:
    from pathlib import Path


def test_a_channel_is_not_averaged_away() -> None:
    """A tensor with one wrong channel in a hundred has the error of that channel, not the mean over channels."""
    x = np.ones((2, 100, 5), np.float32)
    y = x.copy()
    y[:, 3] = 2
    assert error(x, y) == pytest.approx(1.0)
    assert error(x, x) == 0


def test_the_only_class_among_thousands_has_no_huge_error() -> None:
    """If one class has all the probability, the error is relative to that class, however many others are zero."""
    x = np.zeros((3, 5, 6625), np.float32)
    x[:, :, 7] = 1
    assert error(x, x * np.float32(0.99)) == pytest.approx(0.01, rel=1e-3)


def plain_error(expected: np.ndarray[Any, Any], obtained: np.ndarray[Any, Any]) -> float:
    """Return the expected result of ``error``, computed one channel after the other."""
    x, y = expected.astype(np.float64), obtained.astype(np.float64)
    parts = [(x, y)]
    for axis in {1, x.ndim - 1} if x.ndim > 1 else ():
        parts += [(np.take(x, at, axis), np.take(y, at, axis)) for at in range(x.shape[axis])]
    scales = [max((one**2).mean(), (x**2).mean()) for one, _ in parts]
    return math.sqrt(max(((b - a) ** 2).mean() / scale for (a, b), scale in zip(parts, scales, strict=True)))


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (1, 3, 2, 2, 4), (2, 1, 4, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "bfloat16"])
def test_an_error_is_the_worst_of_the_whole_and_of_each_channel(shape: tuple[int, ...], dtype: str) -> None:
    """The error is the largest RMS error of the tensor or of any slice of its second or last axis."""
    random = np.random.default_rng(3)
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    x, y = (np.asarray(random.normal(size=shape)).astype(kind) for _ in range(2))
    assert error(x, y) == pytest.approx(plain_error(x, y))
    assert error(x, x) == 0


def test_equal_values_that_are_not_finite_are_no_error() -> None:
    """Infinities and NaN in the same places are not an error; finite values beside them are compared."""
    x = np.array([[1.0, np.inf], [np.nan, -1.0]], np.float32)
    y = np.array([[1.5, np.inf], [np.nan, -1.0]], np.float32)
    assert error(x, x) == 0
    assert error(x, y) == pytest.approx(plain_error(np.nan_to_num(x, posinf=0), np.nan_to_num(y, posinf=0)))
    assert error(x, -y) == math.inf


def test_the_best_range_has_the_error_of_rounding_and_clipping() -> None:
    """``quantization`` is the smallest error of the ranges it tries, and infinite for a tensor with infinity."""
    array = np.random.default_rng(4).standard_t(3, (2, 3, 4, 5)).astype(np.float32)
    top = float(np.abs(array).max())
    steps = [top * shrink / 127 for shrink in error_bounds.SHRINKS]
    tried = [error(array, (np.clip(np.round(array / step), -128, 127) * step).astype(np.float32)) for step in steps]
    assert error_bounds.quantization(array) == pytest.approx(min(tried), rel=1e-4)
    assert error_bounds.quantization(np.array([1.0, np.inf], np.float32)) == math.inf
    assert error_bounds.quantization(np.zeros(3, np.float32)) == 0


def test_a_constant_that_fp16_cannot_hold_is_an_overflow() -> None:
    """A constant beyond FP16 that became infinite or 65504 is named as an overflow, not as a changed weight."""
    model = np.array([2.0, 1e5, 3.0], np.float32)
    for high in (np.inf, 65504.0):
        found = constants.difference(np.array([2.0, high, 3.0], np.float32), model, "fp16")
        assert found is not None
        assert found[0] is Cause.OVERFLOW
    other = constants.difference(np.array([2.0, np.inf, 3.0], np.float32), np.ones(3, np.float32), "fp16")
    assert other is not None
    assert other[0] is Cause.WEIGHTS


def test_infinite_constants_are_compared_one_by_one() -> None:
    """Infinity is equal to itself, as in a mask of -inf, and hides no other element that differs."""
    model = np.array([0.0, -np.inf, 1.0, np.nan], np.float32)
    assert constants.difference(model.copy(), model, "fp32") is None
    other = np.array([0.0, -np.inf, 7.0, np.nan], np.float32)
    assert constants.difference(other, model, "fp32") == (
        Cause.WEIGHTS,
        "1 of 4 elements differ, most at [2]: 7 instead of 1",
    )


@pytest.mark.parametrize("size", [1, 4])
def test_a_small_constant_that_fp16_rounds_is_the_same(size: int) -> None:
    """A small constant that was rounded to FP16 is the same in fp16; half the constant is not."""
    model = np.full(size, 1.01e-5, np.float32)
    half = model.astype(np.float16).astype(np.float32)
    assert np.abs(half / model - 1).max() > constants.SAME["fp16"]
    assert constants.difference(half, model, "fp16") is None
    assert constants.difference(half, model, "fp32") is not None
    assert constants.difference(model / 2, model, "fp16") is not None


def test_values_that_became_infinite_have_an_infinite_error() -> None:
    """NaN for a finite value, another shape and another infinity have an infinite error."""
    x = np.array([1, 2, np.inf], np.float32)
    assert error(x, np.array([1, np.nan, np.inf], np.float32)) == math.inf
    assert error(x, np.array([1, 2, -np.inf], np.float32)) == math.inf
    assert error(x, np.array([1, 2], np.float32)) == math.inf
    assert error(x, x) == 0
    assert error(np.arange(4), np.array([0, 1, 2, 9])) == 0.25


@given(st.floats(1e-3, 1e3), st.sampled_from(["tf32", "fp16", "bf16"]))
def test_rounding_keeps_the_bits_of_a_precision(value: float, precision: str) -> None:
    """The rounding error is at most half a unit in the last place, and rounding again changes nothing."""
    bits = {"tf32": 10, "fp16": 10, "bf16": 7}[precision]
    array = np.array([value], np.float32)
    once = error_bounds.rounded(array, precision)
    assert abs(once[0] - array[0]) <= 2.0 ** -(bits + 1) * 1.01 * array[0]
    np.testing.assert_array_equal(error_bounds.rounded(once, precision), once)


def test_bounds_grow_with_the_rounding_error() -> None:
    """A bound is at least the floor of the precision, and at least the measured rounding error."""
    for precision, floor in error_bounds.FLOORS.items():
        assert error_bounds.bound(0.0, precision) == floor
        assert error_bounds.bound(1.0, precision) > 1
    assert error_bounds.range_bound(0.01, top=1.0, scale=1 / 127) == error_bounds.CLIPPING
    assert error_bounds.range_bound(0.01, top=1.0, scale=10 / 127) < error_bounds.CLIPPING


def test_clipping_is_a_share() -> None:
    """A range that covers half of the values clips the other half; a step of zero clips all."""
    array = np.array([1, 1, 300, -300], np.float32)
    assert clipped(array, 1.0) == 0.5
    assert clipped(array, 0.0) == 1.0


def test_statistics_cover_the_finite_values() -> None:
    """NaN and infinity are counted; the other statistics cover the finite values, and are ``None`` without any."""
    facts = statistics(np.array([1, 3, np.nan, np.inf], np.float32))
    assert (facts["nan"], facts["inf"], facts["min"], facts["max"], facts["mean"]) == (1, 1, 1, 3, 2)
    assert statistics(np.array([np.nan], np.float32))["rms"] is None


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda a: np.flip(a, 0), Cause.CHANNELS),
        (lambda a: a[[1, 2, 0]], Cause.CHANNELS),
        (lambda a: 3 * a, Cause.SCALE),
        (lambda a: 0 * a, Cause.BIAS),
        (lambda a: a[:2], Cause.WEIGHTS),
        (lambda a: a + np.eye(3, 4), Cause.WEIGHTS),
    ],
)
def test_the_kind_of_difference_of_constants_is_reported(change: object, cause: Cause) -> None:
    """Permutations, factors and zeros are distinguished from other differences; equal constants give ``None``."""
    assert callable(change)
    array = np.random.default_rng(3).normal(size=(3, 4))
    finding = constants.difference(change(array), array, "fp32")
    assert finding is not None
    assert finding[0] is cause
    assert constants.difference(array, array.copy(), "fp32") is None


def test_a_missing_attribute_equals_its_default() -> None:
    """A node with explicit default attributes equals one without them."""
    bare, full = (
        helper.make_node("BatchNormalization", [], []),
        helper.make_node("BatchNormalization", [], [], epsilon=1e-5),
    )
    assert constants.same(*(constants.attribute(bn, "epsilon") for bn in (bare, full)))
    assert constants.same([1, 1], None)
    assert not constants.same([2, 2, 1], None)
    assert not constants.same(1e-3, 1e-5)


def test_a_node_reads_what_its_body_reads() -> None:
    """Tensors of the outer graph that a branch reads count as read by the node."""
    body = helper.make_graph(
        [helper.make_node("Add", ["outer", "own"], ["sum"])], "b", [], [helper.make_empty_tensor_value_info("sum")]
    )
    body.initializer.append(onnx.numpy_helper.from_array(np.float32(1), "own"))
    assert set(tensors_read_by(helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=body))) == {
        "yes",
        "outer",
    }


def test_the_output_of_a_qdq_pair_is_paired_with_its_input(tmp_path: Path) -> None:
    """The output of a Q/DQ pair corresponds to the reference's tensor that the pair quantizes."""
    model = net(tmp_path)
    quantized = in_int8(model, [{"image": row[None]} for row in images(8, 1)])
    paired = pairs(Graph(model), Graph(quantized))
    assert any(pair.quantized and pair.reference == "lit" for pair in paired)
    assert any(pair.quantized and pair.reference == "image" for pair in paired)
    assert any(not pair.quantized and pair.reference == "logits" for pair in paired)


def test_each_severed_part_is_fed_by_itself(tmp_path: Path) -> None:
    """A part of a cut graph computes from the inputs fed to it, not from the outputs of other parts."""
    model = net(tmp_path)
    graph = Graph(model)
    paired = pairs(graph, graph)
    assert Pair("lit", "lit") in paired
    parts = regions(graph, graph, paired, frozenset(pair.reference for pair in paired))
    values = on_host(marked(graph, [pair.suspect for pair in paired], {}), feeds())
    fed = {**feeds(), **values, "mapped": np.full_like(values["mapped"], -1)}
    got = on_host(severed(graph, parts, fed), fed)
    assert not got["lit" + OWN].any()
    np.testing.assert_allclose(got["mapped" + OWN], values["mapped"], rtol=1e-5)
    np.testing.assert_allclose(got["logits" + OWN], values["logits"], rtol=1e-5)


def test_a_severed_output_that_is_not_fed_has_its_type(tmp_path: Path) -> None:
    """An integer output that is fed to no part keeps its type; without a type, a target refuses the part."""
    model = net(tmp_path)
    model.graph.node.append(helper.make_node("ArgMax", ["logits"], ["best"], name="best", axis=1))
    model.graph.output.append(helper.make_tensor_value_info("best", TensorProto.INT64, ["batch", 1]))
    graph = Graph(model)
    paired = pairs(graph, graph)
    parts = regions(graph, graph, paired, frozenset(pair.reference for pair in paired))
    values = on_host(marked(graph, [pair.suspect for pair in paired], {}), feeds())
    fed = {**feeds(), **{name: array for name, array in values.items() if name != "best"}}
    onnx.save(severed(graph, parts, fed, dtypes=types_of(model)), tmp_path / "part.onnx")
    assert {one.name: one.dtype for one in read_signature(tmp_path / "part.onnx").outputs}["best"] == "int64"


def test_portions_hold_everything_once() -> None:
    """Every name is in exactly one portion; only a portion of a single tensor may exceed the limit."""
    sizes = {"a": 5, "b": 5, "c": 20, "d": 1}
    assert list(portions(sizes, sizes, 10)) == [["a", "b"], ["c"], ["d"]]


def test_a_part_that_cannot_run_is_one_line(tmp_path: Path) -> None:
    """The error quotes ONNX Runtime's message, without a traceback."""
    model = copied(net(tmp_path))
    node(model, "relu").op_type = "Nonsense"
    with pytest.raises(EngineBuildError, match="Nonsense"):
        on_host(model, feeds())


def test_no_dequantize_makes_a_graph_output(tmp_path: Path) -> None:
    """An Identity makes the output (TensorRT 8.6 fails otherwise); readers and values are unchanged."""
    model, x = in_int8(net(tmp_path), [{"image": row[None]} for row in images(8, 1)]), feeds()
    graph = Graph(model)
    dequantized = [n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"]
    names = [name for name in dequantized if name in graph.varying]
    assert names
    variant = marked(graph, names, {})
    makers = {name: n.op_type for n in variant.graph.node for name in n.output}
    assert {makers[output.name] for output in variant.graph.output if output.name in names} == {"Identity"}
    readers = [name for n in variant.graph.node if n.op_type != "Identity" for name in n.input]
    assert not set(readers) & set(names)
    before, after = on_host(model, x), on_host(variant, x)
    assert all(np.array_equal(value, after[name]) for name, value in before.items())
    assert set(names) <= set(after)


def test_patching_an_input_adds_no_second_input(tmp_path: Path) -> None:
    """A corrected input of the model replaces that input; no second input is added."""
    x = feeds()
    (name, value), *_ = x.items()
    made = patched(Graph(net(tmp_path)), name, value)
    assert [one.name for one in made.graph.input].count(name) == 1
    assert on_host(made, x).keys() == on_host(net(tmp_path), x).keys()


@pytest.mark.parametrize("zeros", [None, [0, 0, 0], [128, 5, 0]])
def test_a_dequantized_constant_is_without_its_zero_point(zeros: list[int] | None) -> None:
    """A dequantized constant has the value (q - zero point) * scale, per channel."""
    weights, scales = np.arange(12, dtype=np.uint8).reshape(4, 3), np.array([0.5, 1, 2], np.float32)
    initializers = [numpy_helper.from_array(weights, "q"), numpy_helper.from_array(scales, "s")]
    if zeros is not None:
        initializers.append(numpy_helper.from_array(np.array(zeros, np.uint8), "z"))
    nodes = [
        helper.make_node("DequantizeLinear", [one.name for one in initializers], ["w"], axis=1),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in (("x", 4), ("y", 3))]
    model = helper.make_model(helper.make_graph(nodes, "g", ports[:1], ports[1:], initializers))
    expected = (weights.astype(np.float32) - np.array(zeros or [0, 0, 0], np.float32)) * scales
    np.testing.assert_array_equal(constants.value(Graph(model), "w"), expected)
