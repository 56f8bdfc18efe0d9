"""Convert a float32 ONNX file to FP16 or BF16 on the host, for strongly typed networks of TensorRT.

The tool is NVIDIA's AutoCast (package ``nvidia-modelopt``) or, for FP16, ``onnxruntime.transformers``. Inputs and
outputs of the model keep their types.
"""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.errors import EngineBuildError, Unsupported, UserError
from hil.files.digests import file_digest
from hil.onnx_files.multiply_adds import infer
from hil.onnx_files.operators import with_inner
from hil.series import digest_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import onnx

FP16_MOST = 65504.0
"""The largest finite value of FP16."""
BOUNDED = frozenset(
    {
        *("Softmax", "Sigmoid", "HardSigmoid", "Tanh", "Erf", "Sin", "Cos", "Sign", "ArgMax", "ArgMin", "Clip"),
        *(
            "LayerNormalization",
            "InstanceNormalization",
            "LpNormalization",
            "Equal",
            "Greater",
            "Less",
            "IsInf",
            "IsNaN",
        ),
    }
)
"""Operators whose results always fit in FP16, whatever they read."""
LISTED = 200
EXTERNAL = 1 << 30
"""Bytes: the weights of a larger model are saved in a file beside it; a protobuf message has 2 GiB at most."""
OPTIONS_VERSION = 1
"""Part of the file's name: increase it with every change here that changes a converted model."""


@dataclass(frozen=True)
class Converted:
    """A model in another float type: its path, and ``record``, for the report.

    ``record`` has ``tool`` and its ``version``, ``precision``, ``nodes`` (how many compute with floats), ``kept`` (how
    many of them stayed in float32) and ``in_fp32`` (the first 200 of these, with ``node``, ``op`` and ``why``).
    """

    path: Path
    record: dict[str, Any]

    def __str__(self) -> str:
        """Return what was done, on one line."""
        what = f"converted to {self.record['precision']} by {self.record['tool']}"
        return f"{what}: {self.record['kept']} of {self.record['nodes']} nodes stay in float32"


def convert(model: Path, out_dir: Path, precision: str) -> Converted:
    """Return ``model`` in ``precision``, ``fp16`` or ``bf16``, written to ``out_dir``.

    Raises ``Unsupported`` if no tool for it is installed, ``EngineBuildError`` if the tool fails, and ``UserError`` if
    the result cannot be written.
    """
    tool = _tool(precision)
    parts = {"model": file_digest(model), "precision": precision, "tool": tool, "options": OPTIONS_VERSION}
    made_by = version("nvidia-modelopt" if tool == AUTOCAST else "onnxruntime")
    path = out_dir / f"{digest_of({**parts, 'version': made_by})}.onnx"
    try:
        converted, reasons = _by_autocast(model, precision) if tool == AUTOCAST else _by_onnxruntime(model)
    except Exception as error:  # noqa: BLE001 - both tools raise whatever their own steps raise
        what = f"{tool} cannot convert {model.name} to {precision}: {type(error).__name__}: {str(error)[:300]}"
        advice = "convert the file yourself and write it as deployed"
        raise EngineBuildError(f"{what}: model {model.stem}: {advice}") from None
    _write(converted, path)
    nodes, kept = _in_fp32(converted, reasons)
    record = {
        "tool": tool,
        "version": made_by,
        "precision": precision,
        "nodes": nodes,
        "kept": len(kept),
        "in_fp32": kept[:LISTED],
    }
    return Converted(path, record)


AUTOCAST, ONNXRUNTIME = "modelopt.onnx.autocast", "onnxruntime.transformers.float16"


def _tool(precision: str) -> str:
    try:
        if importlib.util.find_spec("modelopt") is not None and version("nvidia-modelopt"):
            return AUTOCAST
    except PackageNotFoundError:  # another package of this name
        pass
    if precision == "fp16":
        return ONNXRUNTIME
    raise Unsupported(
        f"a strongly typed network takes {precision} from the ONNX file, and converting it needs NVIDIA's AutoCast: "
        "pip install 'pytest-hil[modelopt]', or write a converted file as deployed"
    )


def _by_autocast(model: Path, precision: str) -> tuple[onnx.ModelProto, dict[str, str]]:
    from modelopt.onnx.autocast.convert import (  # type: ignore[import-not-found]  # an optional package without stubs
        convert_to_mixed_precision,
    )

    made = convert_to_mixed_precision(
        onnx_path=str(model), low_precision_type=precision, keep_io_types=True, providers=["cpu"]
    )
    return made, {}


def _by_onnxruntime(model: Path) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Return the converted model, and why nodes were kept in float32, by their names."""
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    source = onnx.load(str(model))
    nodes = list(with_inner(source.graph.node))
    for number, node in enumerate(nodes):
        node.name = node.name or f"{node.op_type}_{number}"
    reasons = dict(_beyond_fp16(source, nodes))
    kept = "onnxruntime.transformers.float16 keeps this operator in float32"
    blocked = {node.name: kept for node in nodes if node.op_type in DEFAULT_OP_BLOCK_LIST}
    made = convert_float_to_float16(
        source, keep_io_types=True, op_block_list=DEFAULT_OP_BLOCK_LIST, node_block_list=sorted(reasons)
    )
    kept_as_is = {**blocked, **reasons}
    _join_kept(made, kept_as_is)
    return made, kept_as_is


def _join_kept(model: onnx.ModelProto, kept: Collection[str]) -> None:
    """Let nodes that stay in float32 read each other's results directly."""
    from onnx import TensorProto

    nodes = list(with_inner(model.graph.node))
    producers = {output: node for node in nodes for output in node.output}
    for node in nodes:
        if node.op_type != "Cast" or node.attribute[0].i != TensorProto.FLOAT:
            continue
        inner = producers.get(node.input[0])
        if inner is None or inner.op_type != "Cast" or inner.attribute[0].i != TensorProto.FLOAT16:
            continue
        source = producers.get(inner.input[0])
        if source is not None and source.name in kept:
            node.input[0] = inner.input[0]


def _beyond_fp16(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> Iterator[tuple[str, str]]:
    """Yield the name of each node with a constant or a result that FP16 may not hold, with the reason."""
    from onnx import TensorProto, numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    own = {}
    for node in nodes:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
            own[node.output[0]] = node.name
    large = {}
    for name, tensor in tensors.items():
        if tensor.data_type == TensorProto.FLOAT:
            most = float(np.abs(numpy_helper.to_array(tensor)).max(initial=0.0))
            if not most <= FP16_MOST:
                large[name] = f"the constant {name} has {most:.3g}, but FP16 ends at {FP16_MOST:g}"
    yield from ((own[name], why) for name, why in large.items() if name in own)
    for node in nodes:  # in topological order
        why = next((large[name] for name in node.input if name in large), None)
        if why is None:
            continue
        yield node.name, why
        if node.op_type not in BOUNDED:
            large.update(dict.fromkeys(node.output, f"it reads the result of {node.name}: there, {why}"[:300]))


def _in_fp32(model: onnx.ModelProto, reasons: dict[str, str]) -> tuple[int, list[dict[str, str]]]:
    """Return how many nodes compute with floats, and those that still use only float32, each with the reason."""
    copy = type(model)()
    copy.CopyFrom(model)
    shapes: dict[str, tuple[int, ...]] = {}
    types = infer(copy, {}, 1, (), shapes)
    stored = {
        tensor.name: {1: "float32", 10: "float16", 16: "bfloat16"}.get(tensor.data_type, "")
        for tensor in model.graph.initializer
    }
    count, kept = 0, []
    for node in model.graph.node:
        if node.op_type in {"Cast", "Constant", "Identity"}:
            continue
        read = {types.get(name) or stored.get(name, "") for name in (*node.input, *node.output)}
        count += bool(read & {"float32", "float16", "bfloat16"})
        if "float32" in read and not read & {"float16", "bfloat16"}:
            why = reasons.get(node.name, "the converter gives no reason")
            kept.append({"node": node.name, "op": node.op_type, "why": why})
    return count, kept


def _write(model: onnx.ModelProto, path: Path) -> None:
    import onnx

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=path.parent) as folder:
            made = Path(folder) / path.name
            external = model.ByteSize() > EXTERNAL
            onnx.save_model(model, str(made), save_as_external_data=external, location=f"{path.stem}.data")
            for file in Path(folder).iterdir():
                file.replace(path.parent / file.name)
    except OSError as error:
        where, why = path.parent, error.strerror or error
        raise UserError(f"cannot write the converted model to {where} ({why}): free space there") from None
