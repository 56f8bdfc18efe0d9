"""Which layers INT8 hurts most, what keeping them in float would save, and what it then really saves.

Each convolution and matrix product is quantized alone (input and weight) and the model's outputs are held against FP32:
the noise that it adds. Noises of layers are taken as independent, so they add up, which predicts what keeping some of
them in float leaves; that model is then made, run and timed. All on the host's CPU, by ONNX Runtime.
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
from hil.onnx_files.ort_errors import explained
from hil.onnx_files.signature import read_signature
from hil.quantize.calibrate import Feed, collect, insert, prepared, silence, stride_of
from hil.quantize.layout import WEIGHTED
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
"""Validation samples that the outputs are compared on."""

KEPT = 0.25
"""Largest share of the layers that is proposed to stay in float."""

ENOUGH = 4.0
"""Keeping layers stops where the noise that is left is a fourth of what it was: 6 dB, one bit."""

ROUNDS, LEAST = 15, 0.01
"""Rounds of timing in turns, each of this many seconds at least."""


@dataclass(frozen=True)
class Layer:
    """``noise`` is the power that quantizing it alone adds, over that of the FP32 outputs; ``weights`` its elements."""

    node: str
    op: str
    noise: float
    weights: int


@dataclass(frozen=True)
class Whole:
    """A quantized model: noise over signal, seconds an inference (median), mean score a sample where there is one."""

    noise: float
    seconds: float
    score: float | None = None


@dataclass(frozen=True)
class Sensitivity:
    """``layers`` worst first; ``keep`` is what is proposed; ``predicted`` the noise of ``kept``, then measured."""

    layers: tuple[Layer, ...]
    keep: tuple[str, ...]
    fp32: Whole
    int8: Whole
    predicted: float
    kept: Whole | None
    samples: int


def sqnr(noise: float) -> float:
    """Signal over noise in decibel; infinite where there is none."""
    return math.inf if noise <= 0 else -10 * math.log10(noise)


def proposed(layers: Sequence[Layer], noise: float) -> tuple[tuple[str, ...], float]:
    """The layers to keep in float, most noise first, and the noise that this should leave of ``noise``.

    As many as take it to a fourth, a quarter of all at most (one at least); none where they add nothing, or where there
    is one alone. The noise of the whole is scaled to what the layers add up to, since what is between them has its own.
    """
    total = sum(layer.noise for layer in layers)
    if not total > 0 or len(layers) < 2:  # without its only layer nothing would be INT8
        return (), noise
    most = max(1, int(KEPT * len(layers)))
    keep: list[str] = []
    left = total
    for layer in sorted(layers, key=lambda one: -one.noise)[:most]:
        if left <= total / ENOUGH or layer.noise <= 0:
            break
        keep.append(layer.node)
        left -= layer.noise
    return tuple(keep), noise * max(0.0, left) / total


def sensitivity(  # noqa: PLR0913 - a model, its two data sets, how, and who scores
    model: Path,
    calibration: Dataset,
    validation: Dataset,
    spec: CalibrationSpec,
    layout: QdqLayout,
    *,
    metric: Metric | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Sensitivity:
    """Ranks the layers of ``model``, proposes some to keep in float, and measures that proposal.

    ``metric`` is the task's. Raises as ``quantize``.
    """
    signature = read_signature(model)
    try:
        with silence(), tempfile.TemporaryDirectory(prefix="hil-sensitivity-") as folder:
            work = _Work(Path(folder), prepared(model, Path(folder)), spec, metric)
            feed = Feed(calibration, stride_of(signature, calibration), spec.samples or calibration.count, model.stem)
            *_, (_, ranges) = collect(work.proto, work.folder, feed, spec, layout)
            work.look(validation, signature.batch())
            return _ranked(work, ranges, layout, progress)
    except (HilError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - the quantizer raises whatever comes to its mind
        raise explained(error, model, "while ranking its layers") from None


class _Work:
    """The FP32 model, some validation batches and what it answers to them."""

    def __init__(self, folder: Path, proto: onnx.ModelProto, spec: CalibrationSpec, metric: Metric | None) -> None:
        self.folder, self.proto, self.spec, self.metric = folder, proto, spec, metric
        self.batches: list[Batch] = []
        self.answers: list[Outputs] = []
        self.signal = 0.0

    def look(self, data: Dataset, batch: int | None) -> None:
        """Takes every so many batches, up to 128 samples."""
        size = batch or min(16, data.count)
        every = max(1, data.count // MOST)
        self.batches = [one for number, one in enumerate(data.batches(size)) if number % every == 0]
        self.answers = self.run(self.proto)[0]
        self.signal = sum(float(np.square(one, dtype=np.float64).sum()) for each in self.answers for one in each)

    @property
    def samples(self) -> int:
        return sum(len(next(iter(one.inputs.values()))) for one in self.batches)

    def session(self, proto: onnx.ModelProto) -> Any:
        from hil.onnx_files.reference import cpu_session

        path = self.folder / "tried.onnx"
        save(proto, path)
        return cpu_session(path, 1)  # one thread: the same sums in the same order, and times that compare

    def run(self, proto: onnx.ModelProto) -> tuple[list[Outputs], Any]:
        session = self.session(proto)
        return [session.run(None, one.inputs) for one in self.batches], session

    def noise(self, answers: list[Outputs]) -> float:
        """Power of the difference from FP32 over all outputs, by the signal's."""
        pairs = [
            pair for one, other in zip(self.answers, answers, strict=True) for pair in zip(one, other, strict=True)
        ]
        power = sum(float(np.square(np.subtract(a, b, dtype=np.float64)).sum()) for a, b in pairs)
        return power / self.signal if self.signal else math.inf

    def scored(self, names: list[str], answers: list[Outputs]) -> float | None:
        if self.metric is None or (self.metric.needs_labels and not all(one.labels for one in self.batches)):
            return None
        fp32, ours = self._evidence(names, self.answers), self._evidence(names, answers)
        if self.metric.pools is None:
            return float(ours.mean())
        return float(self.metric.pools(fp32, ours)[1](np.ones((1, len(ours))))[0])

    def _evidence(self, names: list[str], answers: list[Outputs]) -> npt.NDArray[np.float64]:
        score = self.metric.score if self.metric else None
        assert score is not None  # noqa: S101 - the caller's condition; for the type checker
        pairs = zip(self.batches, answers, strict=True)
        return np.concatenate([score(dict(zip(names, outputs, strict=True)), one.labels) for one, outputs in pairs])


def _ranked(work: _Work, ranges: Any, layout: QdqLayout, progress: Callable[[str], None]) -> Sensitivity:
    whole = insert(work.proto, ranges, work.spec, layout)
    inside = set(ranges_of(whole).nodes)
    nodes = [node for node in work.proto.graph.node if node.op_type in WEIGHTED and node.name in inside]
    sizes = {one.name: math.prod(one.dims) for one in work.proto.graph.initializer}
    layers = []
    for number, node in enumerate(nodes, start=1):
        progress(f"quantizing {node.name} alone ({number} of {len(nodes)})")
        others = tuple(one.name for one in nodes if one is not node)
        # TensorRT's layout quantizes what the node takes and nothing around it, on whichever runtime it will be.
        alone = insert(work.proto, ranges, _without(work.spec, others), "tensorrt")
        noise = work.noise(work.run(alone)[0])
        layers.append(
            Layer(node.name, node.op_type, noise, max((sizes.get(name, 0) for name in node.input), default=0))
        )
    layers.sort(key=lambda one: (-one.noise, one.node))
    answers, _ = work.run(whole)
    noise = work.noise(answers)
    keep, predicted = proposed(layers, noise)
    kept = insert(work.proto, ranges, _without(work.spec, keep), layout) if keep else None
    progress("measuring what was proposed")
    models = [work.proto, whole, *([kept] if kept is not None else [])]
    measured = _measured(work, models)
    return Sensitivity(
        tuple(layers),
        keep,
        measured[0],
        measured[1],
        predicted,
        measured[2] if kept is not None else None,
        work.samples,
    )


def _without(spec: CalibrationSpec, nodes: tuple[str, ...]) -> CalibrationSpec:
    return spec.model_copy(update={"exclude_nodes": (*spec.exclude_nodes, *nodes)})


def _measured(work: _Work, models: list[onnx.ModelProto]) -> list[Whole]:
    """Noise, score and median time of each; timed in turns, so that what disturbs one disturbs all."""
    sessions, found = [], []
    for proto in models:
        answers, session = work.run(proto)
        sessions.append(session)
        found.append((work.noise(answers), work.scored([one.name for one in session.get_outputs()], answers)))
    feed = work.batches[0].inputs
    times: list[list[float]] = [[] for _ in sessions]
    for _ in range(ROUNDS):
        for session, mine in zip(sessions, times, strict=True):
            mine.append(_seconds(session, feed))
    middle = [float(np.median(one)) for one in times]
    return [Whole(noise, seconds, score) for (noise, score), seconds in zip(found, middle, strict=True)]


def _seconds(session: Any, feed: Any) -> float:
    runs, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < LEAST or not runs:
        session.run(None, feed)
        runs += 1
    return spent / runs
