"""Rank layers by the noise that INT8 adds, propose some to keep in float, and measure the proposal.

Each layer (convolution or matrix product) is quantized alone. Its noise is the power of the change of the outputs,
relative to the power of the FP32 outputs. All of this runs on the host's CPU, in ONNX Runtime.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.errors import HilError
from hil.onnx_files.external_data import save
from hil.onnx_files.host_run import run_on_host
from hil.onnx_files.ort_errors import ort_error
from hil.onnx_files.precisions import WEIGHTED
from hil.quantize.calibrate import Feed, collect, insert, silence
from hil.quantize.prepare import prepared
from hil.quantize.ranges import ranges_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    import onnx

    from hil.config.spec import CalibrationSpec
    from hil.datasets.dataset import Batch, Dataset
    from hil.metrics import Metric
    from hil.runtimes import QdqLayout

    Outputs = list[npt.NDArray[Any]]

MOST = 128
"""The most validation samples whose outputs are compared; a whole batch is compared even if it has more."""

KEPT = 0.25
"""Largest share of the layers that is proposed to stay in float."""

ENOUGH = 4.0
"""Layers are added to the proposal until the noise is a quarter of what it was: 6 dB, one bit."""

ROUNDS, LEAST = 15, 0.01
"""The number of rounds in which the models are timed one after the other, and the least seconds per model and round."""


@dataclass(frozen=True)
class Layer:
    """``noise`` is the power that quantizing only this layer adds, relative to the FP32 outputs' power.

    ``weights`` is the number of elements of its weights.
    """

    node: str
    op: str
    noise: float
    weights: int


@dataclass(frozen=True)
class Measurement:
    """The results of one model: its noise, the median seconds per batch, and the task's score.

    ``noise`` is as in ``Layer``. ``score`` is ``None`` if the model has no task or the data lack the labels for it.
    """

    noise: float
    seconds: float
    score: float | None = None


@dataclass(frozen=True)
class Sensitivity:
    """The ranking and the proposal.

    ``layers`` are sorted by noise, largest first. ``keep`` are the names of the layers that are proposed to stay in
    float. ``predicted`` is the predicted noise of the model with these layers in float, and ``kept`` the measurement of
    that model, ``None`` if no layer is proposed. ``fp32`` and ``int8`` are the measurements of the models without and
    with all Q/DQ nodes. ``samples`` is the number of validation samples that ran.
    """

    layers: tuple[Layer, ...]
    keep: tuple[str, ...]
    fp32: Measurement
    int8: Measurement
    predicted: float
    kept: Measurement | None
    samples: int


def sqnr(noise: float) -> float:
    """Return the signal-to-noise ratio in dB; infinite without noise."""
    return math.inf if noise <= 0 else -10 * math.log10(noise)


def proposed(layers: Sequence[Layer], noise: float) -> tuple[tuple[str, ...], float]:
    """Return the layers to keep in float, the noisiest first, and the noise that is predicted to remain.

    Layers are added until a quarter of the noise remains, but at most a quarter of all layers (one layer if there are
    fewer than four). No layer is proposed if there is only one, or if no layer adds noise. ``noise`` is that of the
    model with all layers in INT8.
    """
    total = sum(layer.noise for layer in layers)
    if not total > 0 or len(layers) < 2:  # without its only layer, nothing would be INT8
        return (), noise
    limit = max(1, int(KEPT * len(layers)))
    keep: list[str] = []
    remaining = total
    for layer in sorted(layers, key=lambda layer: -layer.noise)[:limit]:
        if remaining <= total / ENOUGH or layer.noise <= 0:
            break
        keep.append(layer.node)
        remaining -= layer.noise
    return tuple(keep), noise * max(0.0, remaining) / total


def sensitivity(  # noqa: PLR0913 - a model, two data sets, settings and a metric
    model: Path,
    calibration: Dataset,
    validation: Dataset,
    spec: CalibrationSpec,
    layout: QdqLayout,
    *,
    metric: Metric | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Sensitivity:
    """Rank the layers of ``model``, propose some to keep in float, and measure that proposal.

    ``metric`` is that of the model's task; without it no scores are computed. ``progress`` is called with a line of
    text before each step. Raises the same errors as ``quantize``.
    """
    try:
        with silence(), tempfile.TemporaryDirectory(prefix="hil-sensitivity-") as folder:
            work = _Comparison(Path(folder), prepared(model, Path(folder)), spec, metric)
            feed = Feed(calibration, spec.samples or calibration.count, model.stem)
            *_, (_, ranges) = collect(work.proto, work.folder, feed, spec, layout)
            work.load(validation)
            return _ranked(work, ranges, layout, progress)
    except (HilError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - the quantizer's exceptions share no other base class
        raise ort_error(error, model, "while ranking its layers") from None


class _Comparison:
    """The FP32 model, the validation batches, and the outputs of the FP32 model for these batches."""

    def __init__(self, folder: Path, proto: onnx.ModelProto, spec: CalibrationSpec, metric: Metric | None) -> None:
        self.folder, self.proto, self.spec, self.metric = folder, proto, spec, metric
        self.batches: list[Batch] = []
        self.reference: list[Outputs] = []
        self.signal = 0.0

    def load(self, data: Dataset) -> None:
        """Load evenly spaced batches, at most 128 samples but at least one batch; run the FP32 model on them."""
        size = data.stride or min(16, data.count)
        every = math.ceil(math.ceil(data.count / size) / max(1, MOST // size))
        self.batches = [entry for number, entry in enumerate(data.batches(size)) if number % every == 0]
        self.reference = self.run(self.proto)[0]
        arrays = [array for outputs in self.reference for array in outputs]
        self.signal = sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)

    @property
    def samples(self) -> int:
        return sum(len(next(iter(batch.inputs.values()))) for batch in self.batches)

    def session(self, proto: onnx.ModelProto) -> Any:
        from hil.onnx_files.reference import cpu_session

        path = self.folder / "tried.onnx"
        save(proto, path)
        return cpu_session(path, 1)  # one thread: sums in the same order, and comparable times

    def run(self, proto: onnx.ModelProto) -> tuple[list[Outputs], Any]:
        session = self.session(proto)
        names = [one.name for one in session.get_outputs()]
        return [run_on_host(session, names, batch.feeds) for batch in self.batches], session

    def noise(self, outputs: list[Outputs]) -> float:
        """Return the power of the difference from the FP32 outputs, divided by the power of the FP32 outputs.

        Return infinity if all FP32 outputs are zero.
        """
        pairs = [
            pair for fp32, ours in zip(self.reference, outputs, strict=True) for pair in zip(fp32, ours, strict=True)
        ]
        power = sum(float(np.square(np.subtract(a, b, dtype=np.float64)).sum()) for a, b in pairs)
        return power / self.signal if self.signal else math.inf

    def score(self, names: list[str], outputs: list[Outputs]) -> float | None:
        if self.metric is None or (self.metric.needs_labels and not all(batch.labels for batch in self.batches)):
            return None
        fp32, ours = self._evidence(names, self.reference), self._evidence(names, outputs)
        if self.metric.pools is None:
            return float(ours.mean())
        return float(self.metric.pools(fp32, ours)[1](np.ones((1, len(ours))))[0])

    def _evidence(self, names: list[str], outputs: list[Outputs]) -> npt.NDArray[np.float64]:
        score = self.metric.score if self.metric else None
        assert score is not None  # noqa: S101 - the caller's condition; for the type checker
        pairs = zip(self.batches, outputs, strict=True)
        return np.concatenate([score(dict(zip(names, arrays, strict=True)), batch.labels) for batch, arrays in pairs])


def _ranked(comparison: _Comparison, ranges: Any, layout: QdqLayout, progress: Callable[[str], None]) -> Sensitivity:
    quantized = insert(comparison.proto, ranges, comparison.spec, layout)
    int8_nodes = set(ranges_of(quantized).nodes)
    nodes = [node for node in comparison.proto.graph.node if node.op_type in WEIGHTED and node.name in int8_nodes]
    sizes = {weights.name: math.prod(weights.dims) for weights in comparison.proto.graph.initializer}
    layers = []
    for number, node in enumerate(nodes, start=1):
        progress(f"quantizing {node.name} alone ({number} of {len(nodes)})")
        others = tuple(other.name for other in comparison.proto.graph.node if other is not node)
        alone = insert(comparison.proto, ranges, _without(comparison.spec, others), layout)
        noise = comparison.noise(comparison.run(alone)[0])
        layers.append(
            Layer(node.name, node.op_type, noise, max((sizes.get(name, 0) for name in node.input), default=0))
        )
    layers.sort(key=lambda layer: (-layer.noise, layer.node))
    answers, _ = comparison.run(quantized)
    noise = comparison.noise(answers)
    keep, predicted = proposed(layers, noise)
    kept = insert(comparison.proto, ranges, _without(comparison.spec, keep), layout) if keep else None
    progress("measuring the proposal")
    models = [comparison.proto, quantized, *([kept] if kept is not None else [])]
    measured = _measure(comparison, models)
    return Sensitivity(
        tuple(layers),
        keep,
        measured[0],
        measured[1],
        predicted,
        measured[2] if kept is not None else None,
        comparison.samples,
    )


def _without(spec: CalibrationSpec, nodes: tuple[str, ...]) -> CalibrationSpec:
    return spec.model_copy(update={"exclude_nodes": (*spec.exclude_nodes, *nodes)})


def _measure(comparison: _Comparison, models: list[onnx.ModelProto]) -> list[Measurement]:
    """Return noise, score and median time of each model; the models run in turn."""
    sessions, results = [], []
    for proto in models:
        outputs, session = comparison.run(proto)
        sessions.append(session)
        names = [output.name for output in session.get_outputs()]
        results.append((comparison.noise(outputs), comparison.score(names, outputs)))
    feed = comparison.batches[0].feeds
    times: list[list[float]] = [[] for _ in sessions]
    for _ in range(ROUNDS):
        for session, own in zip(sessions, times, strict=True):
            own.append(_seconds(session, feed))
    medians = [float(np.median(own)) for own in times]
    return [Measurement(noise, seconds, score) for (noise, score), seconds in zip(results, medians, strict=True)]


def _seconds(session: Any, feed: Any) -> float:
    names = [one.name for one in session.get_outputs()]
    runs, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < LEAST or not runs:
        run_on_host(session, names, feed)
        runs += 1
    return spent / runs
