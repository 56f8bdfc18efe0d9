"""TensorRT-RTX in place of TensorRT: the modern API, whose parser and builder are executed here without any GPU.

It cannot load an engine here.
"""

from __future__ import annotations

import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hil.agent.runtimes.tensorrt.build_engine import build as build_in
from hil.agent.runtimes.tensorrt.open_builder import OpenBuilder
from hil.onnx_files.parser_trial import parser_module
from tests.agent.runtimes.tensorrt.fake import Cuda

if TYPE_CHECKING:
    from hil.agent.runtimes.interface import Built

NAME = parser_module()
needs_rtx = pytest.mark.skipif(NAME is None, reason="TensorRT-RTX has no package for this machine")
DRIVER = Path(__file__).parent.parent / "driver_stub.c"

FLOAT, HALF, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16
INT8, FP8, INT4, FP4 = TensorProto.INT8, TensorProto.FLOAT8E4M3FN, TensorProto.INT4, TensorProto.FLOAT4E2M1


def module() -> Any:
    """Return the module of TensorRT-RTX."""
    return import_module(NAME or "tensorrt_rtx")


class Blackwell(Cuda):
    """A GPU of an architecture for which TensorRT-RTX builds every precision."""

    sm = "12.0"


def build(model: Path, precision: str = "fp32", **options: Any) -> Built:
    """Build with the agent's code and TensorRT-RTX's parser and builder; the plan is written next to the model."""
    opened = OpenBuilder(module(), Blackwell(), options)
    return build_in(opened, str(model), precision, options, str(model.with_suffix(".plan")))


def as_tensorrt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let later processes import TensorRT-RTX as ``tensorrt``, with a stub of the driver."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler for the stub of a driver")
    package = folder / "tensorrt"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        f"import importlib, sys\nsys.modules[__name__] = importlib.import_module({NAME!r})\n"
    )
    driver = folder / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(driver), str(DRIVER)], check=True)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))


def typed(path: Path, kind: int) -> Path:
    """Write a product of ``x: float32[n, 64]`` with weights, computed in the element type ``kind``."""
    weights = np.ones((64, 64), np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=kind),
        helper.make_node("Cast", ["w"], ["b"], to=kind),
        helper.make_node("MatMul", ["a", "b"], ["m"], name="multiply"),
        helper.make_node("Cast", ["m"], ["y"], to=FLOAT),
    ]
    return _written(path, nodes, [numpy_helper.from_array(weights, "w")])


def quantized(path: Path, kind: int) -> Path:
    """Write that product with Q/DQ nodes of the type ``kind``, placed as ModelOpt places them."""
    nodes, tensors = [], [numpy_helper.from_array(np.ones((64, 64), np.float32), "w")]
    for name, made in (("x", "a"), ("w", "b")):
        if name == "x" and kind == INT4:
            nodes.append(helper.make_node("Identity", ["x"], ["a"]))
            continue
        blocks: dict[str, int] = {"INT4": 32, "FLOAT4E2M1": 16}
        block = blocks.get(TensorProto.DataType.Name(kind), 0)
        axis = 0 if name == "w" else 1
        attributes: dict[str, Any] = {"block_size": block, "axis": axis} if block else {}
        scale = f"{name}_scale"
        if block:
            values = np.full((64 // block, 64) if name == "w" else (4, 64 // block), 0.5, np.float32)
        else:
            values = np.full((), 0.5, np.float32)
        if kind == FP4:
            tensors += [
                numpy_helper.from_array(values.astype(ml_dtypes.float8_e4m3fn), f"{name}_fp8"),
                numpy_helper.from_array(np.full((), 0.5, np.float32), f"{name}_scale2"),
            ]
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}_fp8", f"{name}_scale2"], [scale]))
        else:
            tensors.append(numpy_helper.from_array(values, scale))
        nodes += [
            helper.make_node("QuantizeLinear", [name, scale], [f"{name}_q"], output_dtype=kind, **attributes),
            helper.make_node("DequantizeLinear", [f"{name}_q", scale], [made], **attributes),
        ]
    nodes.append(helper.make_node("MatMul", ["a", "b"], ["y"], name="multiply"))
    return _written(path, nodes, tensors, rows=4 if kind == FP4 else "n")


def _written(path: Path, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto], rows: int | str = "n") -> Path:
    graph = helper.make_graph(
        nodes,
        "typed",
        [helper.make_tensor_value_info("x", FLOAT, [rows, 64])],
        [helper.make_tensor_value_info("y", FLOAT, [rows, 64])],
        tensors,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11), path)
    return path
