"""Which operators ONNX Runtime lacks, and which only a quantizer writes, wherever in the file they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx.defs
import pytest
from onnx import parser

from hil.agent.runtimes.onnxruntime import CUSTOM_ADVICE
from hil.errors import EngineBuildError, UserError
from hil.onnx_files.operators import QUANTIZED, foreign, operators, quantized
from hil.onnx_files.ort_errors import check_operators, ort_error
from hil.onnx_files.reference import cpu_session
from hil.onnx_files.signature import Signature, read_signature
from hil.session.preflight import check_unquantized

if TYPE_CHECKING:
    from pathlib import Path

HEAD = '<ir_version: 9, opset_import: ["": 17, "trt": 1, "pkg": 1]> '
PLAIN = "g (float[n, 4] x) => (float[n, 4] y) { y = trt.Decode(x) }"
INNER = """g (float[n, 4] x, bool c) => (float[n, 4] y) {
    y = If(c) <then_branch = t () => (float[n, 4] a) { a = trt.Decode(x) },
               else_branch = e () => (float[n, 4] b) { b = DynamicQuantizeLinear(x) }>
}"""
FUNCTION = """g (float[n, 4] x) => (float[n, 4] y) { y = pkg.Part(x) }
<domain: "pkg", opset_import: ["": 17, "trt": 1]> Part (a) => (b) { b = trt.Decode(a) }"""


@pytest.mark.parametrize("graph", [PLAIN, INNER, FUNCTION])
def test_operators_of_another_domain(graph: str) -> None:
    """Operators of another domain are found in subgraphs and functions too; the file's own functions are not listed."""
    assert foreign(operators(parser.parse_model(HEAD + graph))) == ("trt:Decode",)


def test_operators_of_a_quantizer() -> None:
    """Operators of quantizers, ONNX's and ONNX Runtime's, are recognized, and no others."""
    assert quantized(operators(parser.parse_model(HEAD + INNER))) == ("DynamicQuantizeLinear",)
    assert quantized([("pkg", "QLinearConv"), ("trt", "TRT_FP8QuantizeLinear")]) == ("TRT_FP8QuantizeLinear",)
    names = {schema.name for schema in onnx.defs.get_all_schemas()}
    onnx_own = {name for name in names if QUANTIZED.fullmatch(name)}
    own = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"}
    assert onnx_own == own | {"ConvInteger", "MatMulInteger"}
    others = ("QGemm", "QAttention", "QLinearAdd", "MatMulNBits", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")
    assert all(map(QUANTIZED.fullmatch, others))
    assert not QUANTIZED.fullmatch("QuickGelu")


def test_one_message_for_an_operator_that_is_lacking(tmp_path: Path) -> None:
    """A missing operator gives the same message, with operator, domain and advice, before a run and by a run."""
    path = tmp_path / "m.onnx"
    path.write_bytes(parser.parse_model(HEAD + PLAIN).SerializeToString())
    with pytest.raises(EngineBuildError) as before:
        check_operators(path, read_signature(path).foreign)
    with pytest.raises(EngineBuildError) as ran:
        cpu_session(path)
    assert str(before.value) == str(ran.value)
    assert (
        str(ran.value)
        == f"ONNX Runtime cannot run operator Decode of node 'y' (opset 1 of domain trt): model m: {CUSTOM_ADVICE}"
    )
    check_operators(path, ())


def test_an_operator_that_is_too_new_is_none_of_them(tmp_path: Path) -> None:
    """An unknown operator of ONNX's own domain is named with its node and opset, without a domain."""
    path = tmp_path / "m.onnx"
    path.write_bytes(parser.parse_model(HEAD + PLAIN.replace("trt.Decode", "Decode")).SerializeToString())
    error = ort_error(RuntimeError("No Op registered for Decode with domain_version of 17"), path, "to load")
    assert "of node 'y' (opset 17)" in str(error)


@pytest.mark.parametrize(
    ("graph", "rule"),
    [
        ("g (float[4] x) => (float[4] y) { y = Add(x, nope) }", "input 'nope' of node"),
        ("g (float[4] x) => (float[4] z) { y = Abs(x) }", "output 'z' is not an output of any node"),
        (
            "g (float[4] x) => (float[4] y) { y = Abs(x) y = Neg(x) }",
            "'y' has been used as output names multiple times",
        ),
    ],
)
def test_a_file_that_breaks_a_rule_of_onnx_is_named_with_the_rule(tmp_path: Path, graph: str, rule: str) -> None:
    """What ONNX Runtime refuses since the file is not valid has the rule and the advice; other errors have neither."""
    path = tmp_path / "m.onnx"
    path.write_bytes(parser.parse_model(HEAD + graph).SerializeToString())
    with pytest.raises(EngineBuildError, match=rf"the file is not valid \(.*{rule}.*\): correct it with the onnx"):
        cpu_session(path)
    path.write_bytes(parser.parse_model(HEAD + "g (float[4] x) => (float[4] y) { y = Abs(x) }").SerializeToString())
    assert "not valid" not in str(ort_error(RuntimeError("x"), path, "to load it"))


def test_a_quantized_path_is_refused() -> None:
    """A quantized ``path`` is refused; the message names its operators and the key ``deployed``."""
    signature = Signature((), (), quantized=("DequantizeLinear", "QuantizeLinear"))
    with pytest.raises(
        UserError, match=r"m8.onnx is quantized already \(DequantizeLinear, Quant.*this file as deployed"
    ):
        check_unquantized(signature, "m8.onnx", "m")


def test_a_file_without_pairs_is_not_proposed_as_deployed() -> None:
    """A file that is quantized without Q/DQ nodes is refused too, and is not named as a possible ``deployed``."""
    signature = Signature((), (), quantized=("DynamicQuantizeLinear", "MatMulInteger"))
    with pytest.raises(UserError, match="a file with Q/DQ nodes, or none, as deployed") as raised:
        check_unquantized(signature, "m8.onnx", "m")
    assert "this file as deployed" not in str(raised.value)
