from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from benchmarks.parity.engines import in_int8
from hil.diagnose import constants, error_bounds
from hil.diagnose.diagnosis import Cause
from hil.diagnose.graph import Graph, Pair, pairs, regions, taken
from hil.diagnose.running import on_host, portions
from hil.diagnose.tensor_error import clipped, error, statistics
from hil.diagnose.variants import OWN, marked, patched, severed
from hil.errors import EngineBuildError
from tests.diagnose.graphs import copied, feeds, net, node
from tests.models import images

if TYPE_CHECKING:
    from pathlib import Path


def test_a_channel_is_not_averaged_away() -> None:
    """One wrong channel of a hundred weighs as it does in that channel, by the RMS of the whole tensor."""
    x = np.ones((2, 100, 5), np.float32)
    y = x.copy()
    y[:, 3] = 2
    assert error(x, y) == pytest.approx(1.0)
    assert error(x, x) == 0


def test_what_is_not_finite_is_infinitely_off() -> None:
    """NaN where the reference is finite, another shape, and another infinity are beyond every bound."""
    x = np.array([1, 2, np.inf], np.float32)
    assert error(x, np.array([1, np.nan, np.inf], np.float32)) == math.inf
    assert error(x, np.array([1, 2, -np.inf], np.float32)) == math.inf
    assert error(x, np.array([1, 2], np.float32)) == math.inf
    assert error(x, x) == 0
    assert error(np.arange(4), np.array([0, 1, 2, 9])) == 0.25


@given(st.floats(1e-3, 1e3), st.sampled_from(["tf32", "fp16", "bf16"]))
def test_rounding_keeps_the_bits_of_a_precision(value: float, precision: str) -> None:
    """What is rounded is off by half a unit in the last place at most, and rounding again changes nothing."""
    bits = {"tf32": 10, "fp16": 10, "bf16": 7}[precision]
    array = np.array([value], np.float32)
    once = error_bounds.rounded(array, precision)
    assert abs(once[0] - array[0]) <= 2.0 ** -(bits + 1) * 1.01 * array[0]
    np.testing.assert_array_equal(error_bounds.rounded(once, precision), once)


def test_bounds_grow_with_what_rounding_shows() -> None:
    """A bound is never below the precision's floor, nor below several times what was measured."""
    for precision, floor in error_bounds.FLOORS.items():
        assert error_bounds.bound(0.0, precision) == floor
        assert error_bounds.bound(1.0, precision) > 1
    assert error_bounds.range_bound(0.01, top=1.0, scale=1 / 127) == error_bounds.CLIPPING
    assert error_bounds.range_bound(0.01, top=1.0, scale=10 / 127) < error_bounds.CLIPPING


def test_clipping_is_a_share() -> None:
    """Half of the values are beyond a range that ends between them; a step of zero clips all."""
    array = np.array([1, 1, 300, -300], np.float32)
    assert clipped(array, 1.0) == 0.5
    assert clipped(array, 0.0) == 1.0


def test_statistics_leave_out_what_is_not_finite() -> None:
    """Counts tell of NaN and infinity; the numbers are of the rest, and none of an empty rest."""
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
def test_constants_differ_in_a_way(change: object, cause: Cause) -> None:
    """Orders, factors and zeros are told from other differences; nothing is told of equals."""
    assert callable(change)
    array = np.random.default_rng(3).normal(size=(3, 4))
    found = constants.difference(change(array), array, "fp32")
    assert found is not None
    assert found[0] is cause
    assert constants.difference(array, array.copy(), "fp32") is None


def test_an_attribute_that_is_left_out_is_its_default() -> None:
    """An optimizer that writes defaults down changes nothing."""
    bare, full = (
        helper.make_node("BatchNormalization", [], []),
        helper.make_node("BatchNormalization", [], [], epsilon=1e-5),
    )
    assert constants.same(*(constants.attribute(one, "epsilon") for one in (bare, full)))
    assert constants.same([1, 1], None)
    assert not constants.same([2, 2, 1], None)
    assert not constants.same(1e-3, 1e-5)


def test_a_body_takes_from_outside() -> None:
    """What a branch reads and does not make itself is among what its node takes."""
    body = helper.make_graph(
        [helper.make_node("Add", ["outer", "own"], ["sum"])], "b", [], [helper.make_empty_tensor_value_info("sum")]
    )
    body.initializer.append(onnx.numpy_helper.from_array(np.float32(1), "own"))
    assert set(taken(helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=body))) == {"yes", "outer"}


def test_quantized_tensors_are_paired_with_what_went_in(tmp_path: Path) -> None:
    """Each Q/DQ pair is a region of its own, so that its range and the weights behind it are told apart."""
    model = net(tmp_path)
    quantized = in_int8(model, [{"image": row[None]} for row in images(8, 1)])
    found = pairs(Graph(model), Graph(quantized))
    assert any(pair.quantized and pair.reference == "lit" for pair in found)
    assert any(pair.quantized and pair.reference == "image" for pair in found)
    assert any(not pair.quantized and pair.reference == "logits" for pair in found)


def test_each_severed_part_is_fed_by_itself(tmp_path: Path) -> None:
    """A part computes from what it is fed, not from what another part makes."""
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


def test_portions_hold_everything_once() -> None:
    """No list is larger than allowed unless one tensor alone is, and none is lost."""
    sizes = {"a": 5, "b": 5, "c": 20, "d": 1}
    assert list(portions(sizes, sizes, 10)) == [["a", "b"], ["c"], ["d"]]


def test_a_part_that_cannot_run_is_one_line(tmp_path: Path) -> None:
    """ONNX Runtime's words, without a traceback."""
    model = copied(net(tmp_path))
    node(model, "relu").op_type = "Nonsense"
    with pytest.raises(EngineBuildError, match="Nonsense"):
        on_host(model, feeds())


def test_no_dequantize_gives_an_output_itself(tmp_path: Path) -> None:
    """TensorRT 8.6 fails on one that does: an Identity stands between, its readers go on reading it, values stay."""
    model, x = in_int8(net(tmp_path), [{"image": row[None]} for row in images(8, 1)]), feeds()
    graph = Graph(model)
    made = [one.output[0] for one in model.graph.node if one.op_type == "DequantizeLinear"]
    names = [name for name in made if name in graph.varying]
    assert names
    seen = marked(graph, names, {})
    makers = {name: one.op_type for one in seen.graph.node for name in one.output}
    assert {makers[one.name] for one in seen.graph.output if one.name in names} == {"Identity"}
    readers = [name for one in seen.graph.node if one.op_type != "Identity" for name in one.input]
    assert not set(readers) & set(names)
    before, after = on_host(model, x), on_host(seen, x)
    assert all(np.array_equal(value, after[name]) for name, value in before.items())
    assert set(names) <= set(after)


def test_an_input_put_right_is_the_input(tmp_path: Path) -> None:
    """The range of an input may be at fault too; the tensor that is put right then is what is fed anyway."""
    x = feeds()
    (name, value), *_ = x.items()
    made = patched(Graph(net(tmp_path)), name, value)
    assert [one.name for one in made.graph.input].count(name) == 1
    assert on_host(made, x).keys() == on_host(net(tmp_path), x).keys()
