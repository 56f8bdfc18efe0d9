"""Estimates by Monte Carlo arithmetic how far outputs move if each value of a model is rounded to a precision.

See Parker, Monte Carlo Arithmetic (1997).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from hil.agent.runtimes.onnxruntime import open_session
from hil.onnx_files.host_run import run_on_host
from hil.stats.masks_and_scores import masks

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from pathlib import Path

    Feeds = Mapping[str, np.ndarray[Any, Any]]
    Outputs = Sequence[tuple[str, np.ndarray[Any, Any]]]

BITS: Mapping[str, int] = {"fp32": 24, "tf32": 11, "fp16": 11, "bf16": 8}
"""Significant bits of a value in each precision whose rounding is estimated."""

RUNS = 8
"""Number of runs with rounding for one estimate."""

SIZED_BY = frozenset({"Resize", "Upsample", "Range", "NonMaxSuppression"})
"""Operators whose inputs after the first decide how many elements they return: these inputs stay exact."""


def with_rounding(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """Change ``model`` and return it, with each FP32 input, weight and result of a node multiplied by 1 + a rounding.

    A rounding is drawn anew in each run, uniformly up to half a unit in the last place of ``precision``. Tensors whose
    type ONNX cannot infer and tensors within subgraphs stay exact.
    """
    known = onnx.shape_inference.infer_shapes(model).graph
    floats = {one.name for one in known.initializer if one.data_type == TensorProto.FLOAT}
    for value in (*known.input, *known.value_info, *known.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            floats.add(value.name)
    half = 2.0 ** -BITS[precision]
    made: list[onnx.NodeProto] = []

    def add(source: str, result: str) -> None:
        factor = f"{result}/hil.factor"
        draw = helper.make_node("RandomUniformLike", [source], [factor], low=1 - half, high=1 + half)
        draw.attribute.append(helper.make_attribute("seed", float(len(made))))
        made.append(draw)
        made.append(helper.make_node("Mul", [source, factor], [result]))

    graph = model.graph
    exact = {name for node in graph.node if node.op_type in SIZED_BY for name in node.input[1:]}
    floats -= exact
    begins = {one.name: f"{one.name}/hil.rounded" for one in (*graph.input, *graph.initializer) if one.name in floats}
    for name, rounded in begins.items():
        add(name, rounded)
    for node in graph.node:
        node.input[:] = [begins.get(name, name) for name in node.input]
        results = [name for name in node.output if name in floats]
        node.output[:] = [f"{name}/hil.raw" if name in floats else name for name in node.output]
        made.append(node)
        for name in results:
            add(f"{name}/hil.raw", name)
    del graph.node[:]
    graph.node.extend(made)
    return model


class RoundingErrors:
    """The errors from rounding each value of one model, estimated when they are first asked for."""

    def __init__(self, path: Path, precision: str) -> None:
        self._path, self._precision = path, precision
        self._known: dict[Hashable, Mapping[str, float]] = {}

    def of(self, key: Hashable, reference: Outputs, feeds: Feeds) -> Mapping[str, float]:
        """Return for each FP32 output the largest root mean square error of an element, over ``RUNS`` runs.

        ``reference`` has the outputs for ``feeds`` without rounding. ``key`` identifies both: for a known key, the
        earlier result is returned. Elements that are not finite, and masks, count as exact. The result is empty if a
        copy of the model with rounding does not run.
        """
        if key not in self._known:
            try:
                self._known[key] = _errors(self._session, reference, feeds)
            except Exception:  # noqa: BLE001 - of ONNX and ONNX Runtime; without an estimate the tolerance decides
                self._known[key] = {}
        return self._known[key]

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        return open_session(with_rounding(onnx.load(self._path), self._precision).SerializeToString(), options)


def _errors(session: Any, reference: Outputs, feeds: Feeds) -> dict[str, float]:
    exact = {name: array.astype(np.float64) for name, array in reference if array.dtype == np.float32}
    sums = {name: np.zeros(array.shape) for name, array in exact.items()}
    for _ in range(RUNS):
        for name, made in zip(exact, run_on_host(session, list(exact), feeds), strict=True):
            both = np.isfinite(made) & np.isfinite(exact[name])
            sums[name] += np.square(np.subtract(made, exact[name], where=both, out=np.zeros(exact[name].shape)))
    for name, array in exact.items():
        masked = masks(np.where(np.isfinite(array), array, 0.0))
        if masked is not None:
            sums[name][masked] = 0.0
    return {name: float(np.sqrt(total.max(initial=0.0) / RUNS)) for name, total in sums.items()}
