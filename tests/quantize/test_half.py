"""Converting a model to FP16 on the host: what stays in float32 is listed with the reason, and values are kept."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.precision.networks import Network
from hil.errors import EngineBuildError, Unsupported
from hil.onnx_files.quantized_graph import read_precisions
from hil.onnx_files.signature import read_signature
from hil.quantize.half import convert

if TYPE_CHECKING:
    from pathlib import Path


def masked(path: Path) -> Path:
    """Write a model with a mask of -1e9, a product, and an operator that the converter keeps in float32."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="product"),
        helper.make_node("Add", ["a", "mask"], ["b"], name="masking"),
        helper.make_node("Constant", [], ["c"], name="huge", value=numpy_helper.from_array(np.float32(1e6).reshape(1))),
        helper.make_node("Mul", ["b", "c"], ["d"], name="scaling"),
        helper.make_node("CumSum", ["x", "axis"], ["s"], name="sums"),
        helper.make_node("Relu", ["s"], ["e"]),
        helper.make_node("Softmax", ["d"], ["y"], name="softmax"),
    ]
    stored = [
        numpy_helper.from_array(np.eye(4, dtype=np.float32), "w"),
        numpy_helper.from_array(np.array([0, 0, 0, -1e9], np.float32), "mask"),
        numpy_helper.from_array(np.array(1, np.int64), "axis"),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("y", "e")]
    graph = helper.make_graph(nodes, "masked", given, made, stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_what_stays_in_float32_has_a_reason(tmp_path: Path) -> None:
    """Nodes with constants beyond FP16, and operators that the converter keeps in float32, have a reason."""
    converted = convert(masked(tmp_path / "m.onnx"), tmp_path / "out", "fp16")
    kept = {one["node"]: one["why"] for one in converted.record["in_fp32"]}
    assert set(kept) >= {"masking", "scaling", "sums"}
    assert "1e+09" in kept["masking"]
    assert "keeps this operator" in kept["sums"]
    assert converted.record["kept"] < converted.record["nodes"]
    assert str(converted).endswith("nodes stay in float32")


def test_outputs_and_signature_are_kept(tmp_path: Path) -> None:
    """The outputs are kept, inputs and outputs are float32, and the products compute in FP16."""
    path = masked(tmp_path / "m.onnx")
    converted = convert(path, tmp_path / "out", "fp16")
    x = np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)
    given, made = (onnxruntime.InferenceSession(str(one)).run(None, {"x": x}) for one in (path, converted.path))
    np.testing.assert_allclose(made[0], given[0], atol=2e-3)
    np.testing.assert_allclose(made[1], given[1], atol=2e-2)
    assert (made[0][:, 3] == 0).all()
    assert read_signature(converted.path).inputs == read_signature(path).inputs
    assert read_precisions(converted.path).shares() == {"fp16": 1.0}


def test_converting_again_gives_the_same_file(tmp_path: Path) -> None:
    """Converting a model again gives the same file."""
    path = tmp_path / "m.onnx"
    onnx.save(Network(4, width=16).model(), path)
    first = convert(path, tmp_path / "out", "fp16").path.read_bytes()
    assert convert(path, tmp_path / "out", "fp16").path.read_bytes() == first
    assert not list((tmp_path / "out").glob(".making-*"))


def test_without_autocast_there_is_no_bf16(tmp_path: Path) -> None:
    """Without NVIDIA's ModelOpt, bf16 is refused with the command that installs it."""
    with pytest.raises(Unsupported, match=r"pip install 'pytest-hil\[modelopt\]'"):
        convert(masked(tmp_path / "m.onnx"), tmp_path / "out", "bf16")
    assert not (tmp_path / "out").exists()


def test_a_package_that_is_only_called_modelopt_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder named like NVIDIA's package, without the package, is not used."""
    (tmp_path / "modelopt").mkdir()
    (tmp_path / "modelopt" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "modelopt", raising=False)
    assert convert(masked(tmp_path / "m.onnx"), tmp_path / "out", "fp16").record["tool"].startswith("onnxruntime")


def test_a_file_that_cannot_be_converted_is_an_error_of_the_build(tmp_path: Path) -> None:
    """A file that cannot be converted is refused with its name and the key ``deployed``."""
    path = tmp_path / "m.onnx"
    path.write_bytes(b"not onnx")
    with pytest.raises(EngineBuildError, match=r"cannot convert m\.onnx to fp16.*deployed"):
        convert(path, tmp_path / "out", "fp16")
