"""Opsets from 7 and IR versions from 3 to the newest that ONNX Runtime takes: each is read and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hil.config.spec import CalibrationSpec
from hil.errors import EngineBuildError, UserError
from hil.onnx_files.reference import cpu_session
from hil.onnx_files.signature import read_signature
from hil.quantize import quantize
from tests.memory_data import MemoryData
from tests.models import write

if TYPE_CHECKING:
    from pathlib import Path

    from hil.runtimes import QdqLayout

RANDOM = np.random.default_rng(3)
WEIGHTS = {
    "kernel": RANDOM.normal(0, 0.5, (4, 2, 3, 3)).astype(np.float32),
    "dense": RANDOM.normal(0, 0.2, (64, 5)).astype(np.float32),
    "bias": RANDOM.normal(0, 0.5, 5).astype(np.float32),
    **{name: np.abs(RANDOM.normal(1, 0.1, 4)).astype(np.float32) for name in ("gain", "shift", "mean", "var")},
}
IMAGES = RANDOM.normal(size=(16, 2, 6, 6)).astype(np.float32)
NEWEST = min(28, onnx.defs.onnx_opset_version())
"""The newest opset that ONNX Runtime 1.32 takes, if onnx has it."""
OLD = ((7, 3), (8, 3), (9, 4), (10, 5), (11, 6), (12, 7))


def network(path: Path, opset: int, ir: int) -> Path:
    """Write convolution, batch norm, ReLU, Gemm and softmax: image[batch, 2, 6, 6] to scores[batch, 5]."""
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["c"], name="conv", kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["c", "gain", "shift", "mean", "var"], ["n"], name="norm"),
        helper.make_node("Relu", ["n"], ["r"], name="relu"),
        helper.make_node("Flatten", ["r"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "dense", "bias"], ["g"], name="head"),
        helper.make_node("Softmax", ["g"], ["scores"], name="soft", axis=1),
    ]
    write(path, nodes, {"image": ["batch", 2, 6, 6]}, {"scores": ["batch", 5]}, WEIGHTS, opset=opset, ir=ir)
    if ir < 4:  # until then each weight had to be an input too
        model = onnx.load(path)
        weights = model.graph.initializer
        model.graph.input.extend(helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in weights)
        onnx.save(model, path)
    return path


@pytest.mark.parametrize(("opset", "ir"), [*OLD, *((opset, 8) for opset in range(13, NEWEST + 1))])
def test_each_opset(tmp_path: Path, opset: int, ir: int) -> None:
    """The signature is read, the model runs, and each output of its INT8 version differs by less than 0.1."""
    path = network(tmp_path / "m.onnx", opset, ir)
    signature = read_signature(path)
    assert [str(one) for one in signature.inputs] == ["image: float32[batch, 2, 6, 6]"]
    made = quantize(path, tmp_path / "int8", MemoryData(image=IMAGES), CalibrationSpec(data="c.npz"))
    assert set(made.provenance["quantized"]) == {"conv", "head"}
    [expected], [obtained] = (cpu_session(file).run(None, {"image": IMAGES}) for file in (path, made.path))
    assert expected.shape == (16, 5)
    assert float(np.abs(expected - obtained).max()) < 0.1


@pytest.mark.parametrize("ir", range(3, onnx.IR_VERSION + 1))
def test_each_ir_version(tmp_path: Path, ir: int) -> None:
    """Each IR version is read and runs."""
    path = network(tmp_path / "m.onnx", 11 if ir < 7 else 13, ir)
    assert read_signature(path).ir_version == ir
    assert cpu_session(path).run(None, {"image": IMAGES})[0].shape == (16, 5)


def test_a_model_in_float64(tmp_path: Path) -> None:
    """Products in float64 cannot become INT8, which the message states."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")
    weights = {"w": np.ones((4, 2), np.float64)}
    path = write(tmp_path / "m.onnx", [node], {"x": ["n", 4]}, {"y": ["n", 2]}, weights, dtype=TensorProto.DOUBLE)
    data = MemoryData(x=np.ones((4, 4), np.float64))
    for method in ("minmax", "entropy"):
        with pytest.raises(EngineBuildError, match="or not in float32 or float16: remove int8"):
            quantize(path, tmp_path / "int8", data, CalibrationSpec(data="c.npz", method=method))


@pytest.mark.parametrize("layout", ["onnxruntime", "tensorrt"])
@pytest.mark.parametrize(("beta", "shape"), [(0.0, [5]), (1.0, [5]), (2.0, [5]), (1.0, [1, 5]), (2.0, [1]), (1.0, [])])
def test_the_bias_of_a_gemm(tmp_path: Path, beta: float, shape: list[int], layout: QdqLayout) -> None:
    """With a bias of any shape, scaled by ``beta`` or shared by nodes, INT8 outputs stay within 5 % of the largest."""
    nodes = [
        helper.make_node("Gemm", ["x", "w", "bias"], ["a"], name="first", alpha=0.5, beta=beta),
        helper.make_node("Gemm", ["a", "v", "bias"], ["y"], name="second"),
    ]
    weights = {"w": RANDOM.normal(size=(4, 5)), "v": RANDOM.normal(size=(5, 5)), "bias": np.full(shape, 3.0)}
    floats = {name: array.astype(np.float32) for name, array in weights.items()}
    path = write(tmp_path / "m.onnx", nodes, {"x": ["n", 4]}, {"y": ["n", 5]}, floats)
    x = RANDOM.normal(size=(32, 4)).astype(np.float32)
    made = quantize(path, tmp_path / "int8", MemoryData(x=x), CalibrationSpec(data="c.npz"), layout=layout)
    [expected], [obtained] = (cpu_session(file).run(None, {"x": x}) for file in (path, made.path))
    assert float(np.abs(expected - obtained).max()) < 0.05 * float(np.abs(expected).max())


def test_a_folded_batch_norm_can_be_excluded(tmp_path: Path) -> None:
    """Excluding a batch norm excludes the convolution that it is folded into; a name of no node is refused."""
    path = network(tmp_path / "m.onnx", 17, 8)
    spec = CalibrationSpec(data="c.npz", exclude_nodes=("norm",))
    made = quantize(path, tmp_path / "int8", MemoryData(image=IMAGES), spec)
    assert set(made.provenance["quantized"]) == {"head"}
    unknown = CalibrationSpec(data="c.npz", exclude_nodes=("norm", "nor"))
    with pytest.raises(UserError, match="no node 'nor'"):
        quantize(path, tmp_path / "other", MemoryData(image=IMAGES), unknown)
