"""What an ONNX file declares: the precision of each convolution and matrix product, and how tensors are quantized."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import TensorProto, parser

from benchmarks.precision.networks import FP8, INT4, INT8, INT8_WEIGHT, SOUND, Network
from hil.onnx_files.precisions import how_to_bring
from hil.onnx_files.quantized_graph import precisions_of, read_precisions

if TYPE_CHECKING:
    from pathlib import Path

HEAD = '<ir_version: 10, opset_import: ["": 21, "pkg": 1]> '


@pytest.mark.parametrize("name", SOUND)
def test_each_way_of_quantizing_is_recognized(name: str) -> None:
    """In a file quantized in any usual way, most multiply-adds count for its precision."""
    precision, network = SOUND[name]
    declared = precisions_of(network.model())
    assert declared.counted
    assert declared.shares()[precision] >= 0.5
    assert len(declared.nodes) == network.layers


def test_multiply_adds_of_each_operator() -> None:
    """Multiply-adds follow from shapes, with declared sizes of dynamic dimensions and one sample by default."""
    graph = """g (float[n, 4, h, 8] x, float[8, 2, 3, 3] w, float[8, 4, 2, 2] u, float[4, 5] v) => (float[n, k] y) {
        a = Conv <group = 2, pads = [1, 1, 1, 1]> (x, w)
        b = ConvTranspose <strides = [2, 2]> (a, u)
        c = GlobalAveragePool(b)
        d = Flatten(c)
        e = MatMul(d, v)
        y = Gemm <transA = 1> (e, e)
    }"""
    model = parser.parse_model(HEAD + graph)
    assert [node.multiply_adds for node in precisions_of(model, {"h": 6}).nodes] == [
        8 * 6 * 8 * 2 * 9,
        8 * 6 * 8 * 4 * 4,
        4 * 5,
        5 * 5,
    ]
    assert precisions_of(model, {"h": 6}, batch=3).nodes[0].multiply_adds == 3 * 8 * 6 * 8 * 2 * 9


def test_unknown_sizes_are_not_counted() -> None:
    """If a size is unknown, the shares count nodes in place of multiply-adds."""
    graph = "g (float[n, h, 4] x, float[4, 4] w) => (float[n, h, 4] y) { a = MatMul(x, w) y = MatMul(a, w) }"
    declared = precisions_of(parser.parse_model(HEAD + graph))
    assert not declared.counted
    assert declared.shares() == {"fp32": 1.0}


def test_weights_alone_are_no_precision_but_int4() -> None:
    """Weights that are stored in FP8 or FP16 and restored to floats do not count as that precision."""
    assert precisions_of(Network(weights=FP8).model()).shares() == {"fp32": 1.0}
    assert precisions_of(Network(activations=FP8).model()).shares() == {"fp32": 1.0}
    assert precisions_of(Network(cast=TensorProto.FLOAT16).model()).shares() == {"fp32": 1.0}
    assert precisions_of(Network(weights=INT4).model()).shares() == {"int4": 1.0}
    mixed = Network(dtype=TensorProto.FLOAT16, activations=FP8, weights=INT4).model()
    assert precisions_of(mixed).shares() == {"fp16": 1.0}


def test_quantized_elsewhere_than_before_a_product() -> None:
    """Q and DQ nodes count only if no computation lies between them and a product."""
    assert precisions_of(Network(activations=INT8, weights=INT8_WEIGHT, after=True).model()).shares() == {"fp32": 1.0}


def test_scales_blocks_and_zero_points() -> None:
    """Each tensor has the types of its values and scales, its block, and whether a zero point is not 0."""
    fp4 = precisions_of(SOUND["fp4 fp16"][1].model()).tensors
    weight = next(one for one in fp4 if one.constant)
    assert (weight.dtype, weight.block) == ("float4_e2m1fn", 16)
    assert (weight.scale, weight.nested) == ("float8_e4m3fn", "float32")
    assert next(one for one in fp4 if not one.constant).dynamic
    shifted = Network(activations=replace(INT8, zero=3), weights=INT8_WEIGHT)
    assert [one.shifted for one in precisions_of(shifted.model()).tensors if not one.constant] == [True] * 8


def test_functions_and_bodies_are_read() -> None:
    """A product in a local function or a branch is read too."""
    graph = """g (float[n, 4] x, bool c) => (float[n, 4] y) {
        a = pkg.Part(x)
        y = If(c) <then_branch = t () => (float[n, 4] b) { b = MatMul(a, a) },
                   else_branch = e () => (float[n, 4] d) { d = Relu(a) }>
    }
    <domain: "pkg", opset_import: ["": 21]> Part (a) => (b) { b = MatMul(a, a) }"""
    model = parser.parse_model(HEAD + graph)
    assert len(precisions_of(model).nodes) == 2
    assert len(model.functions) == 1


def test_reading_changes_nothing(tmp_path: Path) -> None:
    """Reading does not change the model in memory, and needs no external weights."""
    model = SOUND["int8 conv"][1].model()
    before = model.SerializeToString()
    in_memory = precisions_of(model)
    assert model.SerializeToString() == before
    path = tmp_path / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=256)
    (tmp_path / "m.data").unlink()
    assert read_precisions(path).shares() == in_memory.shares()


@pytest.mark.parametrize(("precision", "command"), [("fp8", "--quantize_mode=fp8"), ("fp4", "--qformat=nvfp4")])
def test_how_a_quantized_file_is_made(precision: str, command: str) -> None:
    """The advice on a precision has ModelOpt's command, and names the file to declare."""
    text = how_to_bring("net.onnx", precision)
    assert command in text
    assert f"deployed = 'net.{precision}.onnx'" in text


@pytest.mark.parametrize(("weight", "is_quantized"), [("a", False), ("w", True)])
def test_a_cycle_has_no_source(weight: str, *, is_quantized: bool) -> None:
    """In a damaged file, a weight or a scale that depends on itself is computed by no Q/DQ node, and is unknown."""
    graph = f"""g (float[4, 4] x, int8[4, 4] q) => (float[4, 4] y) {{
        a = Identity(b)
        b = Identity(a)
        w = DequantizeLinear(q, b)
        y = MatMul(x, {weight})
    }}"""
    (found,) = precisions_of(parser.parse_model(HEAD + graph)).nodes
    assert found.first is None
    assert (found.second is not None and found.second.dynamic) is is_quantized
