"""What an engine is built from: the graph as a runtime may have it, in FP32, FP16 or INT8.

ONNX Runtime's CPU provider computes no FP16, so that is simulated as tensor cores do it: operands, weights and results
rounded to FP16, products added up in FP32.
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

from hil.agent.runtimes.onnxruntime import OnnxRuntime
from hil.config.spec import CalibrationSpec
from hil.datasets.dataset import Batch
from hil.diagnose.graph import Graph
from hil.diagnose.variants import types_of
from hil.quantize import quantize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.parity.graphs import Feeds

THREADS = 2
RAW = ".raw"


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of its own."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def in_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with every floating tensor rounded to FP16, and beyond ±65504 to infinity."""
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
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del made.graph.node[:]
    made.graph.node.extend(kept)
    for tensor in made.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            with np.errstate(over="ignore"):
                half = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    return made


def optimized(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` as ONNX Runtime rewrites it: batch normalization folded, nodes fused, names of what is left kept."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(Path(folder, "optimized.onnx"))
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


class Samples:
    """Single samples as a data set for calibration."""

    synthetic, has_labels = False, False

    def __init__(self, samples: Sequence[Feeds]) -> None:
        self._samples = samples
        self.name, self.count, self.provenance = "samples", len(samples), dict[str, str]()
        self.digest = hashlib.sha256("".join(self.sample_digests()).encode()).hexdigest()

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """As ``hil.datasets.dataset.Dataset.batches``."""
        chosen = self._samples[:limit]
        for start in range(0, len(chosen), size):
            part = chosen[start : start + size]
            yield Batch(start, {name: np.concatenate([one[name] for one in part]) for name in part[0]}, {})

    def sample_digests(self) -> Iterator[str]:
        """As ``hil.datasets.dataset.Dataset.sample_digests``."""
        for one in self._samples:
            yield hashlib.sha256(b"".join(array.tobytes() for array in one.values())).hexdigest()


def in_int8(model: onnx.ModelProto, calibration: Sequence[Feeds]) -> onnx.ModelProto:
    """``model`` with Q/DQ nodes, as ``hil`` makes it for ONNX Runtime."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.save(model, str(path))
        spec = CalibrationSpec(data="samples", method="minmax")
        return onnx.load(str(quantize(path, Path(folder), Samples(calibration), spec).path))


class Engine:
    """Runs variants of a graph by the agent's own runtime, in this process: what differs is no process of its own."""

    def __call__(self, model: onnx.ModelProto, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Its outputs. Raises ``Failure`` with the runtime's words."""
        return self.many(model, [feeds])[0]

    def many(self, model: onnx.ModelProto, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Its outputs for each of ``samples``."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            path.write_bytes(model.SerializeToString())
            engine = OnnxRuntime().load(str(path), {"threads": THREADS})
        wanted = [port.name for port in engine.inputs]
        names = [port.name for port in engine.outputs]
        found = []
        for feeds in samples:
            fed = {name: feeds[name] for name in wanted}
            engine.check(fed)
            found.append(dict(zip(names, engine.bind(fed).run(), strict=True)))
        engine.close()
        return found
