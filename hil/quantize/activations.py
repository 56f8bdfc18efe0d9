"""Compare the FP32 model's activations with their INT8 ranges."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from hil.dtypes import is_float
from hil.errors import HilError
from hil.onnx_files.external_data import save
from hil.onnx_files.host_run import run_on_host
from hil.onnx_files.ort_errors import ort_error
from hil.quantize.calibrate import silence, stride_of
from hil.quantize.layout import OPERATORS
from hil.quantize.own_constants import copies
from hil.quantize.prepare import prepared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hil.datasets.dataset import Batch, Dataset

FEED = 2**20
"""Bytes of inputs per run; all activations of a run are in memory."""

MOST = 512
"""The most samples that are run, rounded up to whole batches; they are spread evenly over the available samples."""

LEVELS = 127
"""Largest code of symmetric INT8."""

_APPENDED = "_QuantizeLinear_Input"  # onnxruntime.quantization appends this to the name of a float output
_CUTS = frozenset({"Relu", "Clip"})


@dataclass
class Use:
    """The values of one tensor over all samples, compared with ``top``, the largest magnitude within its range.

    ``n`` is the number of elements, ``peak`` their largest magnitude. ``beyond`` counts the clipped elements: those
    more than half an INT8 step above ``top``. ``energy`` is the sum of the squares of all elements, ``lost`` the sum of
    the squares of what clipping cuts off.
    """

    top: float
    n: int = 0
    peak: float = 0.0
    beyond: int = 0
    lost: float = 0.0
    energy: float = 0.0

    def add(self, values: np.ndarray[Any, Any]) -> None:
        """Add more elements."""
        magnitudes = np.abs(values.astype(np.float64, copy=False)).ravel()
        if not magnitudes.size:
            return
        over = magnitudes[magnitudes > self.top * (1 + 1 / (2 * LEVELS))]
        self.n += magnitudes.size
        self.peak = max(self.peak, float(magnitudes.max()))
        self.beyond += over.size
        self.lost += float(np.square(over - self.top).sum())
        self.energy += float(np.square(magnitudes).sum())


@dataclass(frozen=True)
class Flow:
    """The result of ``observe``.

    ``uses`` has an entry for each tensor with a range and floating-point values. ``unknown`` are the tensors that have
    a range but are not in the model. ``samples`` is the number of samples that ran.
    """

    uses: Mapping[str, Use]
    unknown: tuple[str, ...]
    samples: int


def plain_name(tensor: str) -> str:
    """Return the name that ``tensor`` of the quantized model has in the FP32 model; outputs may have another name."""
    return tensor.removesuffix(_APPENDED)


def tensors_of(proto: onnx.ModelProto) -> tuple[set[str], set[str]]:
    """Return the names of activations (inputs and nodes' outputs), and of constants and their copies (``copies``)."""
    graph = proto.graph
    constants = {value.name for value in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    constants |= {copy for *_, copy in copies(graph, OPERATORS["onnxruntime"])}
    flowing = {value.name for value in graph.input} | {name for node in graph.node for name in node.output if name}
    return flowing - constants, constants


def known_tensors(model: Path) -> tuple[set[str], set[str]]:
    """Return the activations and the constants (``tensors_of``) of the model as ``prepared`` for the quantizer."""
    with silence(), tempfile.TemporaryDirectory(prefix="hil-flow-") as folder:
        proto = prepared(model, Path(folder))
    flowing, constants = tensors_of(proto)
    return flowing | {f"{output.name}{_APPENDED}" for output in proto.graph.output}, constants


def observe(
    model: Path, tops: Mapping[str, float], data: Dataset, *, limit: int | None = None, fold: bool = True
) -> Flow:
    """Run the FP32 ``model`` on the first ``limit`` samples (``None``: on all) and compare its tensors with ``tops``.

    ``tops`` maps each tensor to the largest magnitude within its range. If only a ReLU or Clip reads a tensor, the
    output of that node is measured instead. With ``fold`` the model is first prepared as for the quantizer
    (``prepared``). Of more than 512 samples, about 256 to 512, evenly spread, are run. Raises ``UserError`` for data
    that cannot be read, and ``EngineBuildError`` if ONNX Runtime fails.
    """
    try:
        with silence(), tempfile.TemporaryDirectory(prefix="hil-flow-") as folder:
            proto = prepared(model, Path(folder)) if fold else onnx.load(str(model))
            flowing, constants = tensors_of(proto)
            named = {plain_name(tensor): top for tensor, top in tops.items()}
            unknown = sorted(set(named) - flowing - constants)
            places = {name: _measured_at(proto, name) for name in named if name in flowing}
            uses = {name: Use(named[name]) for name in places}
            samples = 0
            for batch, values in _runs(proto, Path(folder), set(places.values()), _spread(data, limit)):
                samples += len(next(iter(batch.inputs.values())))
                for name, place in places.items():
                    if is_float(values[place].dtype):
                        uses[name].add(values[place])
    except (HilError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions share no other base class
        raise ort_error(error, model, "while observing its activations") from None
    return Flow({name: use for name, use in uses.items() if use.n}, tuple(unknown), samples)


def _measured_at(proto: onnx.ModelProto, name: str) -> str:
    readers = [node for node in proto.graph.node if name in node.input]
    outputs = {output.name for output in proto.graph.output}
    only = len(readers) == 1 and readers[0].op_type in _CUTS and readers[0].input[0] == name and name not in outputs
    return str(readers[0].output[0]) if only else name


def _spread(data: Dataset, limit: int | None) -> Iterator[Batch]:
    size = stride_of(data, FEED)
    every = max(1, math.ceil(min(limit or data.count, data.count) / MOST))
    return (batch for number, batch in enumerate(data.batches(size, limit)) if number % every == 0)


def _runs(
    proto: onnx.ModelProto, folder: Path, tensors: set[str], batches: Iterable[Batch]
) -> Iterator[tuple[Batch, dict[str, np.ndarray[Any, Any]]]]:
    from hil.onnx_files.reference import cpu_session

    inputs = {value.name for value in proto.graph.input}
    outputs = {value.name for value in proto.graph.output}
    marked = sorted(tensors - inputs)
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in marked if name not in outputs)
    save(proto, folder / "marked.onnx")
    session = cpu_session(folder / "marked.onnx")
    for batch in batches:
        values = dict(zip(marked, run_on_host(session, marked, batch.feeds) if marked else [], strict=True))
        yield batch, {**values, **{name: batch.feeds[name] for name in tensors & inputs}}
