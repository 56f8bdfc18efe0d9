"""The graphs from which engines are built: as a runtime would execute them, in FP32, FP16 or INT8.

ONNX Runtime's CPU provider does not compute in FP16, so FP16 is simulated as tensor cores compute it: weights and
results are rounded to FP16, products are added in FP32.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from hil.agent.failure import Failure
from hil.agent.runtimes.onnxruntime import OnnxRuntime
from hil.config.spec import CalibrationSpec
from hil.datasets.dataset import Batch
from hil.diagnose.graph import Graph
from hil.diagnose.variants import types_of
from hil.errors import EngineError
from hil.onnx_files.signature import read_signature
from hil.quantize import quantize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.parity.graphs import Feeds

THREADS = 1
RAW = ".raw"


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of ``model``."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def in_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` with weights and computed FP32 tensors rounded to FP16; values beyond ±65504 become infinite.

    Operands of a batch normalization remain in FP32, because a runtime folds them into other weights before rounding.
    """
    made, graph = copied(model), Graph(model)
    types = types_of(model)
    nodes: list[onnx.NodeProto] = []
    for node in made.graph.node:
        nodes.append(node)
        for number, name in enumerate(node.output):
            if name in graph.varying and types.get(name) == np.float32:
                node.output[number] = name + RAW
                nodes.append(helper.make_node("Cast", [name + RAW], [name + ".half"], to=TensorProto.FLOAT16))
                nodes.append(helper.make_node("Cast", [name + ".half"], [name], to=TensorProto.FLOAT))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del made.graph.node[:]
    made.graph.node.extend(copies)
    folded = {name for node in model.graph.node if node.op_type == "BatchNormalization" for name in node.input[1:]}
    for tensor in made.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in folded:
            with np.errstate(over="ignore"):
                half = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    return made


def optimized(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` as ONNX Runtime rewrites it: batch normalization folded, nodes fused, other names unchanged."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(Path(folder, "optimized.onnx"))
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


class Samples:
    """Single samples as a data set for calibration; ``stride`` is the number of samples of a call."""

    synthetic, has_labels = False, False

    def __init__(self, samples: Sequence[Feeds], stride: int | None = None) -> None:
        self._samples, self.stride = samples, stride
        self.name, self.count, self.provenance = "samples", len(samples), dict[str, str]()
        self.digest = hashlib.sha256("".join(self.sample_digests()).encode()).hexdigest()

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield batches, as ``hil.datasets.dataset.Dataset.batches``."""
        chosen = self._samples[:limit]
        for start in range(0, len(chosen), size):
            part = chosen[start : start + size]
            yield Batch(start, {name: np.concatenate([one[name] for one in part]) for name in part[0]}, {})

    def sample_digests(self) -> Iterator[str]:
        """Yield a digest per sample, as ``hil.datasets.dataset.Dataset.sample_digests``."""
        for one in self._samples:
            yield hashlib.sha256(b"".join(array.tobytes() for array in one.values())).hexdigest()


def in_int8(model: onnx.ModelProto, calibration: Sequence[Feeds], floating: tuple[str, ...] = ()) -> onnx.ModelProto:
    """Return ``model`` with Q/DQ nodes, as ``hil`` inserts them for ONNX Runtime, except at the nodes ``floating``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.save(model, str(path))
        spec = CalibrationSpec(data="samples", method="minmax", exclude_nodes=floating)
        samples = Samples(calibration, read_signature(path).stride())
        return onnx.load(str(quantize(path, Path(folder), samples, spec).path))


class Engine:
    """Runs variants of a graph with the agent's own runtime, in this process instead of a worker."""

    def __call__(self, model: onnx.ModelProto, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs by name. Raise ``EngineError`` with the runtime's message."""
        return self.many(model, [feeds])[0]

    def many(self, model: onnx.ModelProto, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the outputs by name for each of ``samples``. Raise ``EngineError`` with the runtime's message."""
        try:
            return self._many(model, samples)
        except Failure as failure:
            raise EngineError(str(failure)) from None

    @staticmethod
    def _many(model: onnx.ModelProto, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            path.write_bytes(model.SerializeToString())
            engine = OnnxRuntime().load(str(path), {"threads": THREADS})
        inputs = [port.name for port in engine.inputs]
        names = [port.name for port in engine.outputs]
        answers = []
        for feeds in samples:
            fed = {name: feeds[name] for name in inputs}
            engine.check(fed)
            answers.append(dict(zip(names, engine.bind(fed).run(), strict=True)))
        engine.close()
        return answers
