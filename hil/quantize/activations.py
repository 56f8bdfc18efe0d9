"""What flows through the FP32 model, beside the ranges it would be squeezed into."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from hil.onnx_files.external_data import save
from hil.onnx_files.ort_errors import explained
from hil.onnx_files.signature import read_signature
from hil.quantize.calibrate import prepared, silence, stride_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hil.datasets.dataset import Batch, Dataset

FEED = 2**20
"""Bytes of inputs run at once: every activation of a run is held."""

MOST = 512
"""Samples run at most, spread over the whole set."""

LEVELS = 127
"""Largest code of symmetric INT8."""

_APPENDED = "_QuantizeLinear_Input"  # what onnxruntime.quantization calls the float that becomes an output
_CUTS = frozenset({"Relu", "Clip"})


@dataclass
class Use:
    """One tensor over all samples: ``n`` elements, the largest magnitude, and what lies beyond ``top``.

    ``beyond`` counts elements further out than half a step; ``lost`` is the energy that cutting them takes,
    ``energy`` all there is.
    """

    top: float
    n: int = 0
    peak: float = 0.0
    beyond: int = 0
    lost: float = 0.0
    energy: float = 0.0

    def take(self, values: np.ndarray[Any, Any]) -> None:
        """Some more elements."""
        size = np.abs(values.astype(np.float64, copy=False)).ravel()
        if not size.size:
            return
        over = size[size > self.top * (1 + 1 / (2 * LEVELS))]
        self.n += size.size
        self.peak = max(self.peak, float(size.max()))
        self.beyond += over.size
        self.lost += float(np.square(over - self.top).sum())
        self.energy += float(np.square(size).sum())


@dataclass(frozen=True)
class Flow:
    """``uses`` by tensor, ``unknown`` tensors that have a range and are not in the model, ``samples`` that ran."""

    uses: Mapping[str, Use]
    unknown: tuple[str, ...]
    samples: int


def plain_name(tensor: str) -> str:
    """A tensor's name in the FP32 model: the quantizer renames what becomes an output."""
    return tensor.removesuffix(_APPENDED)


def tensors_of(proto: onnx.ModelProto) -> tuple[set[str], set[str]]:
    """Names of what flows (inputs and nodes' outputs), and of constants."""
    graph = proto.graph
    constants = {one.name for one in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    flowing = {one.name for one in graph.input} | {name for node in graph.node for name in node.output if name}
    return flowing - constants, constants


def known_tensors(model: Path) -> tuple[set[str], set[str]]:
    """As ``tensors_of``, of the model as the quantizer gets it; outputs by both their names."""
    with silence(), tempfile.TemporaryDirectory(prefix="hil-flow-") as folder:
        proto = prepared(model, Path(folder))
    flowing, constants = tensors_of(proto)
    return flowing | {f"{one.name}{_APPENDED}" for one in proto.graph.output}, constants


def observe(
    model: Path, tops: Mapping[str, float], data: Dataset, *, limit: int | None = None, fold: bool = True
) -> Flow:
    """Runs the first ``limit`` of ``data`` through the FP32 ``model``, with the tensors of ``tops`` marked as outputs.

    ``tops`` are the largest magnitudes that their ranges hold. A tensor that only a ReLU or a clip takes is judged
    behind it, since what that cuts is lost anyway. ``fold`` prepares the model as the quantizer does. Runs up to
    512 samples, every so many, and holds one feed's activations. Raises ``UserError`` or ``EngineBuildError``.
    """
    signature = read_signature(model)
    try:
        with silence(), tempfile.TemporaryDirectory(prefix="hil-flow-") as folder:
            proto = prepared(model, Path(folder)) if fold else onnx.load(str(model))
            flowing, constants = tensors_of(proto)
            named = {plain_name(tensor): top for tensor, top in tops.items()}
            unknown = sorted(set(named) - flowing - constants)
            places = {name: _behind(proto, name) for name in named if name in flowing}
            uses = {name: Use(named[name]) for name in places}
            samples = 0
            for batch, values in _runs(proto, Path(folder), set(places.values()), _spread(data, signature, limit)):
                samples += len(next(iter(batch.inputs.values())))
                for name, place in places.items():
                    if values[place].dtype.kind == "f":
                        uses[name].take(values[place])
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no class of their own
        raise explained(error, model, "while looking at its activations") from None
    return Flow({name: use for name, use in uses.items() if use.n}, tuple(unknown), samples)


def _behind(proto: onnx.ModelProto, name: str) -> str:
    takers = [node for node in proto.graph.node if name in node.input]
    outputs = {one.name for one in proto.graph.output}
    only = len(takers) == 1 and takers[0].op_type in _CUTS and takers[0].input[0] == name and name not in outputs
    return str(takers[0].output[0]) if only else name


def _spread(data: Dataset, signature: Any, limit: int | None) -> Iterator[Batch]:
    size = stride_of(signature, data, FEED)
    every = max(1, math.ceil(min(limit or data.count, data.count) / MOST))
    return (batch for number, batch in enumerate(data.batches(size, limit)) if number % every == 0)


def _runs(
    proto: onnx.ModelProto, folder: Path, wanted: set[str], batches: Iterable[Batch]
) -> Iterator[tuple[Batch, dict[str, np.ndarray[Any, Any]]]]:
    from hil.onnx_files.reference import cpu_session

    given = {one.name for one in proto.graph.input}
    there = {one.name for one in proto.graph.output}
    marked = sorted(wanted - given)
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in marked if name not in there)
    save(proto, folder / "marked.onnx")
    session = cpu_session(folder / "marked.onnx")
    for batch in batches:
        values = dict(zip(marked, session.run(marked, batch.inputs) if marked else [], strict=True))
        yield batch, {**values, **{name: batch.inputs[name] for name in wanted & given}}
