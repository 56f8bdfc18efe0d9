"""Damaged copies of models: noise on all weights, scores that are zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hil.compare_files import compare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Damage = Callable[[onnx.ModelProto], None]

PRECISIONS: Final[tuple[Literal["fp32", "int8"], ...]] = ("fp32", "int8")

SMALLEST = 256
"""The fewest elements of a tensor that counts as weights and not as a constant of the graph."""


def noise_on_weights(share: float, seed: int) -> Damage:
    """Return a function that adds noise to each filter and matrix, with ``share`` of its standard deviation."""

    def apply(model: onnx.ModelProto) -> None:
        random = np.random.default_rng(seed)
        for tensor in _weights(model.graph):
            values = numpy_helper.to_array(tensor)
            noise = random.standard_normal(values.shape) * values.std() * share
            tensor.CopyFrom(numpy_helper.from_array((values + noise).astype(values.dtype), tensor.name))

    return apply


def factors_on_output(factors: NDArray[np.float32]) -> Damage:
    """Return a function that multiplies the first output by ``factors``, e.g. by zero where the scores are."""

    def apply(model: onnx.ModelProto) -> None:
        name = model.graph.output[0].name
        for node in model.graph.node:
            node.input[:] = [f"{one}.whole" if one == name else one for one in node.input]
            node.output[:] = [f"{one}.whole" if one == name else one for one in node.output]
        model.graph.initializer.append(numpy_helper.from_array(factors, f"{name}.factors"))
        model.graph.node.append(helper.make_node("Mul", [f"{name}.whole", f"{name}.factors"], [name]))

    return apply


def _weights(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    constants = (attribute.t for node in graph.node if node.op_type == "Constant" for attribute in node.attribute)
    for tensor in (*graph.initializer, *constants):
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) >= 2 and np.prod(tensor.dims) >= SMALLEST:
            yield tensor


def damages(name: str, labels: NDArray[np.integer] | None) -> dict[str, Damage]:
    """Return the kinds of damage for copies of model ``name``. ``labels`` are the classes of the samples."""
    kinds = {"noise on the weights": noise_on_weights(0.5, 1)}
    if name == "320n":  # four corners, then the scores of 18 classes
        return kinds | {"scores zeroed": factors_on_output(np.repeat([1, 0], [4, 18]).astype(np.float32)[:, None])}
    kinds["scores zeroed"] = factors_on_output(np.zeros(1, np.float32))
    if labels is not None:
        factors = np.ones(CLASSES[name], np.float32)
        factors[labels[labels >= 0][0]] = 0
        kinds["one class zeroed"] = factors_on_output(factors)
    return kinds


CLASSES = {"standard_v3_3": 214, "ch_ppocr_mobile_v2.0_cls_mobile": 2, "ch_PP-OCRv4_rec_infer": 6625}
DAMAGED = (*CLASSES, "ch_PP-OCRv4_det_infer", "320n")
"""The models whose copies are damaged. Each has a single input, so two files can be compared without a config."""


def verdicts(name: str, file: Path, arrays: Mapping[str, NDArray[Any]], folder: Path) -> Iterator[dict[str, str]]:
    """Yield the verdict of comparing each damaged copy of ``file`` with it, by the tolerances of FP32 and of INT8."""
    data, copy = folder / "samples.npz", folder / "damaged.onnx"
    np.savez(data, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle
    for damage, apply in damages(name, arrays.get("labels")).items():
        model = onnx.load(file)
        apply(model)
        onnx.save(model, copy)
        for precision in PRECISIONS:
            judgement = compare(file, copy, data, precision, batch=4).judge()
            row = {"model": name, "damage": damage, "precision": precision, "verdict": judgement.verdict.value}
            yield {**row, "reason": judgement.reason}
